"""An epoch's batches: every row once, in an order that the run's key draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.data.shuffle import Order, shuffle
from fnn.workflow.state import State

__all__: list[str] = []


class Batches(NamedTuple):
    """An epoch's batches: `whole` batches of `size` rows, and one of the rows that are `left`.

    `batch(place, size)` is the one at that place, (x, y, sample_weight), and the key of its step.
    """

    whole: int
    size: int
    left: int
    batch: Callable[[ArrayLike, int], tuple[Any, chex.PRNGKey]]


def make_batches(state: State, data: chex.ArrayTree, batch_size: int) -> Batches:
    """The batches of the state's next epoch, in the order that its key draws."""
    data = jax.tree.map(jnp.asarray, data)
    n = jax.tree.leaves(data)[0].shape[0]
    key = jax.random.fold_in(state.key, state.epoch)
    rows = (lambda first, size: data) if n <= batch_size else _shuffled(data, shuffle(key, n), n)

    def batch(place: ArrayLike, size: int) -> tuple[Any, chex.PRNGKey]:
        return rows(place * batch_size, size), jax.random.fold_in(key, place)

    size = min(batch_size, n)
    return Batches(n // size, size, n % size, batch)


def _shuffled(data: chex.ArrayTree, order: Order, n: int) -> Callable[[ArrayLike, int], Any]:
    """(first, size) → that many rows of the shuffled data.

    Many narrow rows are copied in their order once an epoch, which uses all cores, and read in a row; others
    are taken where they lie. Measured on CPU for 1 to 784 numbers a row and 10³ to 2·10⁶ rows.
    """

    def take(rows: jax.Array) -> Any:
        return jax.tree.map(lambda a: a.at[rows].get(mode="promise_in_bounds"), data)

    if not are_copied(data):
        return lambda first, size: take(order(first + jnp.arange(size)))
    shuffled = take(order(jnp.arange(n)))
    return lambda first, size: jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, first, size), shuffled)


def are_copied(data: chex.ArrayTree) -> bool:
    """Whether the rows are many and narrow."""
    n = jax.tree.leaves(data)[0].shape[0]
    return bool(n >= 8192 and sum(leaf.nbytes // n for leaf in jax.tree.leaves(data)) <= 256)
