"""The dense layer: every output sees every input."""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
from jax.nn.initializers import Initializer

from fnn.guard.features import check_features, check_width, initial
from fnn.guard.numbers import check_whole
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer

__all__ = ["dense"]


def lecun_normal(key: chex.PRNGKey, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
    """N(0, 1/in) without its tails: a function of this module, so that a network can be pickled."""
    return jax.nn.initializers.lecun_normal()(key, shape, dtype, out_sharding)


@intern
def dense(
    features: int,
    weight_init: Initializer = lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Every output a weighted sum of every input: y = xW + b.

        x: (…, in)   W: (in, features)   b: (features,)   y: (…, features)

    Parameters {"weight": W, "bias": b}. Weights start as W ~ N(0, 1/in), without its tails, so that
    outputs are as large as inputs (LeCun et al. 1998, section 4.6); biases at 0. ReLU halves the mean square:
    tens of such layers in a row want `weight_init=he_normal`, N(0, 2/in), bound once as
    `he_normal = jax.nn.initializers.he_normal()` (He et al. 2015, eq. 10).

    >>> import jax.numpy as jnp
    >>> params = {"weight": jnp.array([[1.0, 0.0], [2.0, 1.0]]), "bias": jnp.array([0.5, 0.0])}
    >>> dense(2).forward(params, jnp.array([1.0, 1.0]))
    Array([3.5, 1. ], dtype=float32)

    Raises ValueError where `features` is no positive integer, or the input has no floating-point
    features or other ones than the weights are for.
    """
    count = check_whole("dense", "features", features, fix="For 64 outputs fnn.dense(64).")
    return layer(
        functools.partial(_dense_init, count, weight_init, bias_init),
        dense_forward,
        name=f"dense({count})",
        backward=dense_backward,
    )


def _dense_init(
    features: int, weight_init: Initializer, bias_init: Initializer, key: chex.PRNGKey, x: Any
) -> dict[str, jax.Array]:
    check_features("dense", x)
    weight_key, bias_key = jax.random.split(key)
    return {
        "weight": initial("dense: weight_init", weight_init, weight_key, (x.shape[-1], features)),
        "bias": initial("dense: bias_init", bias_init, bias_key, (features,)),
    }


def dense_forward(params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    """y = xW + b."""
    check_names("dense", params, ("weight", "bias"))
    weight, bias = params["weight"], params["bias"]
    check_width("dense", x, weight.shape[0], "weight", weight.shape)
    rows = x.reshape(-1, x.shape[-1]) @ weight + bias[None, :]  # one matrix product for all leading axes
    return rows.reshape(*x.shape[:-1], weight.shape[1])


def dense_backward(params: Any, x: jax.Array, y: jax.Array, delta: jax.Array) -> tuple[Any, jax.Array]:
    """∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ, δ ← δWᵀ."""
    weight, shape = params["weight"], x.shape
    x, delta = x.reshape(-1, weight.shape[0]), delta.reshape(-1, weight.shape[1])
    grads = {"weight": x.T @ delta, "bias": delta.sum(0)}  # (3)  ∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ
    delta_x = delta @ weight.T  # (4)  δ ← δWᵀ
    return grads, delta_x.reshape(shape)
