"""Tables of weights: `dense` multiplies its features by one, `embedding` looks up rows of one by ids."""

import functools
from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jax.nn.initializers import Initializer

from fnn.guard.features import check_features, check_width, initial
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer

__all__ = ["dense", "embedding"]


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


def dense_backward(params: Any, x: jax.Array, y: Any, delta: jax.Array) -> tuple[Any, jax.Array]:
    """∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ, δ ← δWᵀ."""
    weight, shape = params["weight"], x.shape
    x, delta = x.reshape(-1, weight.shape[0]), delta.reshape(-1, weight.shape[1])
    grads = {"weight": x.T @ delta, "bias": delta.sum(0)}  # (3)  ∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ
    delta_x = delta @ weight.T  # (4)  δ ← δWᵀ
    return grads, delta_x.reshape(shape)


# Rows by ids -------------------------------------------------------------------------------------


def row_normal(key: chex.PRNGKey, shape: Any, dtype: Any = None, out_sharding: Any = None) -> jax.Array:
    """N(0, 1/features): rows of length 1 or so, whatever the number of features."""
    return jax.nn.initializers.normal(shape[-1] ** -0.5)(key, shape, dtype, out_sharding)


@intern
def embedding(count: int, features: int, table_init: Initializer = row_normal) -> Layer:
    """Each id becomes its row of a table: y = table[id].

        ids: (…) whole numbers, 0 ≤ id < count   table: (count, features)   y: (…, features)

    Parameters {"table"}, at first N(0, 1/features), so that a table tied to an output gives logits of
    deviation 1. It equals one_hot(ids, count) @ table, and costs a fetch of rows instead of a product with a
    matrix of zeros. (Bengio et al. 2003, section 2.)

    An id without a row becomes NaN, and never another id's row. `fit`, `sweep`, `predict` and `evaluate`
    refuse such ids before anything is trained, wherever in the network the layer stands.

    >>> params = {"table": jnp.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])}
    >>> embedding(3, 2).forward(params, jnp.array([2, 0]))
    Array([[4., 5.],
           [0., 1.]], dtype=float32)

    Raises ValueError where `count` or `features` is no positive integer, and for ids that are no whole
    numbers.
    """
    count = check_whole("embedding", "count", count, fix="The number of different ids.")
    features = check_whole("embedding", "features", features)
    return layer(
        functools.partial(_embedding_init, count, features, table_init),
        embedding_forward,
        name=f"embedding({count}, {features})",
        backward=embedding_backward,
    )


def _embedding_init(
    count: int, features: int, table_init: Initializer, key: chex.PRNGKey, x: Any
) -> dict[str, jax.Array]:
    _check_ids(x)
    return {"table": initial("embedding: table_init", table_init, key, (count, features))}


def embedding_forward(params: Any, x: jax.Array) -> jax.Array:
    """y = table[id]."""
    check_names("embedding", params, ("table",))
    _check_ids(x)
    table, ids = params["table"], _rows(params, x)
    count, features = table.shape
    words = f"embedding({count}, {features}) expected ids from 0 to {count - 1} ({count} in all), got {{id}}"
    wrong = ids == count
    first = jnp.ravel(x)[jnp.argmax(wrong.ravel())] if x.size else jnp.int32(0)
    checkify.debug_check(~wrong.any(), words, id=first)  # does nothing but where fit and predict ask it
    return table.at[ids].get(mode="fill", fill_value=jnp.nan)


def embedding_backward(params: Any, x: jax.Array, y: jax.Array, delta: jax.Array) -> tuple[Any, jax.Array]:
    """∂c/∂table[id] = Σ δ over all places with this id; ids have no derivative."""
    table = jnp.zeros_like(params["table"]).at[_rows(params, x)].add(delta, mode="drop")
    return {"table": table}, jnp.zeros_like(x)


def _rows(params: Any, ids: jax.Array) -> jax.Array:
    """The rows of the ids; of an id without one, the row after the last."""
    count = params["table"].shape[0]
    ids = ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids  # 8 bits do not count up to 256
    return jnp.where((ids >= 0) & (ids < count), ids, count)


def _check_ids(x: Any) -> None:
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.integer):
        got = Words(f"{x.dtype} of shape {x.shape}") if hasattr(x, "dtype") else x
        fix = "Give .astype('int32') if they are ids; quantities go through fnn.dense."
        raise ValueError(unexpected("embedding", "an array of whole numbers, ids", got, fix))
