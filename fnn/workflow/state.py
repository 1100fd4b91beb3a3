"""What a run carries from step to step, saves and resumes."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import check_key
from fnn.guard.trees import check_params
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.optimizers.rule import Optimizer
from fnn.workflow.arguments import check_network, check_optimizer

__all__ = ["Best", "State", "start"]


class Best(NamedTuple):
    """The parameters with the lowest validation cost so far, and after how many epochs."""

    params: chex.ArrayTree
    cost: jax.Array
    epoch: jax.Array


class State(NamedTuple):
    """All there is to carry, save and resume: a run continued from it gives the same bits.

    `key` is the root of all random numbers and never changes; `epoch` counts the finished epochs;
    `best` is None until a run is validated.
    """

    params: chex.ArrayTree
    optimizer: chex.ArrayTree
    key: chex.PRNGKey
    epoch: jax.Array
    best: Best | None = None


def start(
    network: Layer,
    optimizer: Optimizer,
    x: chex.ArrayTree,
    *,
    key: chex.PRNGKey,
    params: chex.ArrayTree | None = None,
) -> State:
    """The state before the first step: θ ~ network.init (or the parameters given), the optimizer's zeros.

    Of `x`, a batch (n, …) of inputs, only shapes and types are used.

    >>> from fnn import adam, dense
    >>> start(dense(3), adam(), jnp.ones((8, 2)), key=jax.random.key(0)).params["weight"].shape
    (2, 3)
    """
    check_network("start", network)
    check_optimizer("start", optimizer)
    check_key("start", key)
    if params is not None:
        check_params("start", params)
    return first_state(network, optimizer.init, x, key, params)


def first_state(network: Layer, init: Callable[..., Any], x: Any, key: chex.PRNGKey, params: Any) -> State:
    """The state of new parameters, or of those given, and of the rule's `init` for them."""
    init_key, run_key = jax.random.split(key)
    if params is None:
        params = network.init(init_key, x)
    return State(params, init(trained(params)), run_key, jnp.zeros((), jnp.int32))


def with_best(state: State) -> State:
    """The state with a place for the best parameters, for a run that is validated."""
    if state.best is not None:
        return state
    infinite = jnp.full((), jnp.inf, jnp.result_type(float))
    return state._replace(best=Best(state.params, infinite, state.epoch))


def is_stalled(state: State, patience: ArrayLike | None) -> jax.Array:
    """Whether the validation cost has not fallen for `patience` epochs."""
    if patience is None or state.best is None:
        return jnp.bool_(False)
    return state.epoch - state.best.epoch >= patience


def lower_of(old: Best, new: Best) -> Best:
    """The one with the lower cost; the earlier one where they are equal."""
    lower = new.cost < old.cost
    return jax.tree.map(lambda n, o: jnp.where(lower, n, o).astype(o.dtype), new, old)


def stays_finite(before: State, after: State) -> jax.Array:
    """Whether all that was finite before still is: a rule may keep an infinity of its own (a best so far)."""
    return still_finite((before.params, before.optimizer), (after.params, after.optimizer))


def still_finite(before: chex.ArrayTree, after: chex.ArrayTree) -> jax.Array:
    """Whether each number of a tree that was finite before still is."""
    lost = [
        (jnp.isfinite(old) & ~jnp.isfinite(new)).any()
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after))
        if jnp.issubdtype(new.dtype, jnp.inexact)
    ]
    return ~functools.reduce(jnp.logical_or, lost, jnp.bool_(False))
