"""Training is a fold: one step, and an epoch of steps. (Epochs until enough are `train`, in epochs.py.)

step    forward → cost → backward → optimise      one turn of the wheel
epoch   scan(step) over shuffled mini-batches

Each is a door: it checks its arguments and calls a compiled core. Cores call cores.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import check_key
from fnn.network.layer import Layer
from fnn.network.parameters import merge, trained
from fnn.network.programs import compile_recent
from fnn.optimizers.rule import Optimizer, accepted, apply_updates
from fnn.optimizers.wrappers import count_skipped
from fnn.workflow.arguments import check_turn
from fnn.workflow.batches import make_batches
from fnn.workflow.objective import Function, Objective, cost_of
from fnn.workflow.rows import check_targets_of
from fnn.workflow.setting import Setting, make_setting, read_rows
from fnn.workflow.shapes import check_one_a_row
from fnn.workflow.state import State

__all__ = ["epoch", "step"]


# One turn of the wheel ---------------------------------------------------------------------------


def step(
    network: Layer,
    cost: Function,
    optimizer: Optimizer,
    state: State,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    key: chex.PRNGKey,
    sample_weight: ArrayLike | None = None,
    penalty: Function | None = None,
) -> tuple[State, jax.Array]:
    """One turn of the wheel on one batch: forward, cost, backward, optimise.

        ŷ = forward_train(θ, x)    c = cost(ŷ, y) + penalty(θ)    g = ∂c/∂θ    θ ← θ + update(g)

    Returns the state after it and the cost before it. `key` is for this step's random numbers.

    >>> from fnn import dense, gradient_descent, mse, start
    >>> line, rule, x = dense(1), gradient_descent(0.1), jnp.ones((4, 1))
    >>> state = start(line, rule, x, key=jax.random.key(0))
    >>> after, cost = step(line, mse, rule, state, x, 5 * x, jax.random.key(1))
    >>> bool(mse(line.forward(after.params, x), 5 * x) < cost)
    True
    """
    check_turn("step", network, cost, optimizer, state, penalty)
    check_key("step", key, "Each step has its own.")
    batch = read_rows(state, x=x, y=y, sample_weight=sample_weight)
    check_targets_of(network, cost, *batch)
    return _step(make_setting(network, cost, optimizer, penalty), state, batch, key)


@compile_recent()
def _step(
    setting: Setting, state: State, batch: tuple[Any, ...], key: chex.PRNGKey
) -> tuple[State, jax.Array]:
    turn = one_turn(setting, state, batch, key)
    return turn.state, turn.costs["cost"]


class Turn(NamedTuple):
    """What one step computes on its way; `weight` is what its costs count in an epoch's mean."""

    costs: dict[str, jax.Array]
    weight: jax.Array
    grads: chex.ArrayTree
    updates: chex.ArrayTree
    state: State


def one_turn(
    setting: Setting, state: State, batch: tuple[Any, ...], key: chex.PRNGKey, is_full_batch: bool = True
) -> Turn:
    """The step on a batch (x, y, sample_weight), with all that it computes.

    A rule is given what it takes of: value, grad, value_fn; weight, the batch's share of an epoch; and
    full_batch, whether the batch has all rows.
    """
    x, y, sample_weight = batch
    objective = Objective(
        lambda learns: setting.network.forward_train(merge(learns, state.params), x, key)[0],
        lambda predictions: cost_of(setting.cost, predictions, y, sample_weight),
        setting.penalty,
    )

    def forward(learns: chex.ArrayTree) -> tuple[jax.Array, tuple[dict[str, jax.Array], chex.ArrayTree]]:
        predictions, moved = setting.network.forward_train(merge(learns, state.params), x, key)
        check_one_a_row(predictions, x)
        costs = objective.costs(learns, predictions)
        return costs["cost"], (costs, moved)

    learns = trained(state.params)
    (value, (costs, moved)), grads = jax.value_and_grad(forward, has_aux=True)(learns)
    weight = jnp.float32(len(jax.tree.leaves(x)[0])) if sample_weight is None else jnp.sum(sample_weight)
    extra = {"value": value, "grad": grads, "value_fn": objective, "weight": weight}
    extra = accepted(setting.update, extra | {"full_batch": is_full_batch})
    updates, memory = setting.update(grads, state.optimizer, learns, **extra)
    params = merge(apply_updates(learns, updates), moved)  # of what moved, only the untrained part
    turn = Turn(costs, weight, grads, updates, state._replace(params=params, optimizer=memory))
    return _without_skipped(state, turn)


def _without_skipped(before: State, turn: Turn) -> Turn:
    """The step; where the rule skipped it, its costs count nothing and no statistics move."""
    counts = count_skipped(before.optimizer), count_skipped(turn.state.optimizer)
    if counts[0] is None:
        return turn
    skipped = counts[0] != counts[1]
    stayed = jax.tree.map(lambda old, new: jnp.where(skipped, old, new), before.params, turn.state.params)
    costs, weight = jax.tree.map(lambda number: jnp.where(skipped, 0, number), (turn.costs, turn.weight))
    return turn._replace(costs=costs, weight=weight, state=turn.state._replace(params=stayed))


def epoch(
    network: Layer,
    cost: Function,
    optimizer: Optimizer,
    state: State,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    *,
    batch_size: int = 32,
    sample_weight: ArrayLike | None = None,
    penalty: Function | None = None,
) -> tuple[State, jax.Array]:
    """Every row once, in a random order, so steps = ⌈n / batch_size⌉; the last batch holds what is left.

    Returns the state after it and the mean of the steps' costs, weighted as their rows are. Random
    numbers come from the state's key by `fold_in` of the epoch, then of the step in it.

    >>> from fnn import adam, dense, mse, start
    >>> x = jnp.ones((10, 2))
    >>> state = start(dense(1), adam(), x, key=jax.random.key(0))
    >>> state, cost = epoch(dense(1), mse, adam(), state, x, x[:, :1], batch_size=4)
    >>> int(state.epoch), int(state.optimizer.step)
    (1, 3)
    """
    check_turn("epoch", network, cost, optimizer, state, penalty, batch_size)
    x, y, sample_weight = read_rows(state, x=x, y=y, sample_weight=sample_weight)
    check_targets_of(network, cost, x, y, sample_weight)
    rest: Any = {"batch_size": int(batch_size), "x": x, "y": y, "sample_weight": sample_weight}
    state, costs = _epoch(make_setting(network, cost, optimizer, penalty, **rest), state)
    return state, costs["cost"]


def one_epoch(setting: Setting, state: State) -> tuple[State, dict[str, jax.Array]]:
    """The fold of one turn over the epoch's batches, and the means of its costs, with and without penalty."""
    data = setting.x, setting.y, setting.sample_weight
    batches = make_batches(state, data, setting.batch_size)

    is_full_batch = batches.whole == 1 and not batches.left

    def turn(state: State, place: ArrayLike, size: int) -> tuple[State, tuple[Any, jax.Array]]:
        done = one_turn(setting, state, *batches.batch(place, size), is_full_batch)
        return done.state, (done.costs, done.weight)

    state, (costs, weights) = jax.lax.scan(
        lambda state, place: turn(state, place, batches.size), state, jnp.arange(batches.whole)
    )
    if batches.left:
        state, last = turn(state, batches.whole, batches.left)
        costs, weights = jax.tree.map(jnp.append, (costs, weights), last)
    total = weights.sum()
    shares = weights / jnp.where(total == 0, 1, total)  # first: a sum may overflow
    means = jax.tree.map(lambda values: (values * shares).sum(), costs)
    if count_skipped(state.optimizer) is not None:
        means = jax.tree.map(lambda mean: jnp.where(total == 0, jnp.nan, mean), means)
    return state._replace(epoch=state.epoch + 1), means


_epoch = compile_recent()(one_epoch)
