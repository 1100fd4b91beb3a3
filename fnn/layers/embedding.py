"""The embedding: a row of numbers for each id, learned."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jax.nn.initializers import Initializer

from fnn.guard.features import initial
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer

__all__ = ["embedding"]


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
    _check(x)
    return {"table": initial("embedding: table_init", table_init, key, (count, features))}


def embedding_forward(params: Any, x: jax.Array) -> jax.Array:
    """y = table[id]."""
    check_names("embedding", params, ("table",))
    _check(x)
    table, ids = params["table"], _places(params, x)
    count, features = table.shape
    words = f"embedding({count}, {features}) expected ids from 0 to {count - 1} ({count} in all), got {{id}}"
    wrong = ids == count
    first = jnp.ravel(x)[jnp.argmax(wrong.ravel())] if x.size else jnp.int32(0)
    checkify.debug_check(~wrong.any(), words, id=first)  # does nothing but where fit and predict ask it
    return table.at[ids].get(mode="fill", fill_value=jnp.nan)


def embedding_backward(params: Any, x: jax.Array, y: jax.Array, delta: jax.Array) -> tuple[Any, jax.Array]:
    """∂c/∂table[id] = Σ δ over all places with this id; ids have no derivative."""
    table = jnp.zeros_like(params["table"]).at[_places(params, x)].add(delta, mode="drop")
    return {"table": table}, jnp.zeros_like(x)


def _places(params: Any, ids: jax.Array) -> jax.Array:
    """The rows of the ids; of an id without one, the row after the last."""
    count = params["table"].shape[0]
    ids = ids.astype(jnp.int32) if ids.dtype.itemsize < 4 else ids  # 8 bits do not count up to 256
    return jnp.where((ids >= 0) & (ids < count), ids, count)


def _check(x: Any) -> None:
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.integer):
        got = Words(f"{x.dtype} of shape {x.shape}") if hasattr(x, "dtype") else x
        fix = "Give .astype('int32') if they are ids; quantities go through fnn.dense."
        raise ValueError(unexpected("embedding", "an array of whole numbers, ids", got, fix))
