"""An epoch's batches: every row once, in an order that the run's key draws."""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

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
    shuffle_key, step_key = jax.random.split(jax.random.fold_in(state.key, state.epoch))
    order = None if n <= batch_size else jax.random.permutation(shuffle_key, n)

    def batch(place: ArrayLike, size: int) -> tuple[Any, chex.PRNGKey]:
        key = jax.random.fold_in(step_key, place)
        if order is None:
            return data, key
        rows = jax.lax.dynamic_slice_in_dim(order, place * batch_size, size)
        return jax.tree.map(lambda a: a[rows], data), key

    size = min(batch_size, n)
    return Batches(n // size, size, n % size, batch)
