"""The dense layer: every output sees every input."""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnn.guard.numbers import whole_number
from fnn.guard.words import describe, name_of
from fnn.network.layer import Layer, check_names, intern, layer

__all__ = ["dense"]


HE_NORMAL = jax.nn.initializers.he_normal()  # made once: made anew it would be another description


@intern
def dense(
    features: int,
    weight_init: Initializer = HE_NORMAL,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Every output a weighted sum of every input: y = xW + b.

        x: (…, in)   W: (in, features)   b: (features,)   y: (…, features)

    Parameters {"weight": W, "bias": b}. Weights start as W ~ N(0, 2/in), without its tails
    (He et al. 2015, eq. 10), so that ReLU layers keep the size of the signal; biases at 0.

    >>> params = {"weight": jnp.array([[1.0, 0.0], [2.0, 1.0]]), "bias": jnp.array([0.5, 0.0])}
    >>> dense(2).forward(params, jnp.array([1.0, 1.0]))
    Array([3.5, 1. ], dtype=float32)

    Raises ValueError where `features` is no positive integer, or the input has no floating-point
    features or other ones than the weights are for.
    """
    count = whole_number(features, 1)
    if count is None:
        raise ValueError(
            f"dense expected a whole number of output features, at least 1, got {describe(features)}: "
            "for 64 of them fnn.dense(64)."
        )
    return layer(
        functools.partial(_dense_init, count, weight_init, bias_init),
        dense_forward,
        name=f"dense({count})",
    )


def _dense_init(
    features: int, weight_init: Initializer, bias_init: Initializer, key: chex.PRNGKey, x: Any
) -> dict[str, jax.Array]:
    _check(x)
    weight_key, bias_key = jax.random.split(key)
    return {
        "weight": _begun("weight_init", weight_init, weight_key, (x.shape[-1], features)),
        "bias": _begun("bias_init", bias_init, bias_key, (features,)),
    }


def _begun(name: str, init: Initializer, key: chex.PRNGKey, shape: tuple[int, ...]) -> jax.Array:
    value = init(key, shape) if callable(init) else init
    if not isinstance(value, jax.Array) or value.shape != shape:
        got = f"shape {value.shape}" if isinstance(value, jax.Array) else repr(init)
        got = f"{name_of(init)}, which makes one: call it" if callable(value) else got
        raise TypeError(
            f"dense: {name} expected an initializer, (key, shape) → an array of shape {shape}, such as "
            f"jax.nn.initializers.he_normal(); got {got}."
        )
    return value


def dense_forward(params: Mapping[str, jax.Array], x: jax.Array) -> jax.Array:
    """xW + b, the leading axes flattened into one matrix product."""
    check_names("dense", params, ("weight", "bias"))
    _check(x)
    weight, bias = params["weight"], params["bias"]
    if x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"dense expected {weight.shape[0]} features on the last axis (its weight is "
            f"{weight.shape}), got {x.shape[-1]} in an input of shape {x.shape}. Give it the columns "
            "it was initialised for, or initialise it again for these."
        )
    rows = x.reshape(-1, x.shape[-1]) @ weight + bias[None, :]
    return rows.reshape(*x.shape[:-1], weight.shape[1])


def _check(x: Any) -> None:
    if not hasattr(x, "shape"):
        raise TypeError(
            f"dense expected one array of features, got a {type(x).__name__}. Take what it needs from "
            "it in a plain function before this layer, or use fnn.parallel or fnn.wire."
        )
    if x.ndim == 0:
        raise ValueError(
            "dense expected features on the last axis, got a single number of shape (). "
            "A single column of n rows goes in as x[:, None], of shape (n, 1)."
        )
    if x.shape[-1] == 0:
        raise ValueError(
            f"dense expected at least one feature on the last axis, got none in shape {x.shape}."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"dense expected floating-point features, got {x.dtype} of shape {x.shape}. Quantities go in "
            "as x.astype('float32'), categories as fnn.one_hot(ids, classes)."
        )
