"""Training is a fold: one step, an epoch of steps, epochs until enough. All pure.

step    forward → cost → backward → optimise      one turn of the wheel
epoch   scan(step) over shuffled batches
train   epochs, compiled as one program: validation, early stopping and history inside
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.functions import accepted
from fnn.guard.numbers import check_key
from fnn.network.layer import Layer
from fnn.network.parameters import merge, statistics, trained
from fnn.optimizers.rule import Optimizer, apply_updates
from fnn.workflow.arguments import check_epochs, checked_turn, checked_validation
from fnn.workflow.batches import drawn
from fnn.workflow.evaluation import forward_in_blocks
from fnn.workflow.objective import Function, Objective, cost_of
from fnn.workflow.rows import check_one_a_row
from fnn.workflow.state import Best, State, better, stalled, still_finite, watched

__all__ = ["epoch", "step", "train"]


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
    x, y, sample_weight = checked_turn("step", network, cost, optimizer, state, penalty, x, y, sample_weight)
    check_key("step", key, "Each step has its own.")
    turn = one_turn(network, cost, optimizer, state, x, y, key, sample_weight, penalty)
    return turn.state, turn.cost


class Turn(NamedTuple):
    """What one step computes on its way."""

    cost: jax.Array
    grads: chex.ArrayTree
    updates: chex.ArrayTree
    state: State


def one_turn(
    network: Layer,
    cost: Function,
    optimizer: Optimizer,
    state: State,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    key: chex.PRNGKey,
    sample_weight: ArrayLike | None,
    penalty: Function | None,
) -> Turn:
    """The step, with all that it computes."""
    objective = Objective(
        lambda learns: network.forward_train(merge(learns, state.params), x, key)[0],
        lambda predictions: cost_of(cost, predictions, y, sample_weight),
        penalty,
    )

    def forward(learns: chex.ArrayTree) -> tuple[jax.Array, chex.ArrayTree]:
        predictions, moved = network.forward_train(merge(learns, state.params), x, key)
        check_one_a_row(predictions, x)
        return objective.total(learns, predictions), moved

    learns = trained(state.params)
    (value, moved), grads = jax.value_and_grad(forward, has_aux=True)(learns)
    extra = accepted(optimizer.update, {"value": value, "grad": grads, "value_fn": objective})
    updates, memory = optimizer.update(grads, state.optimizer, learns, **extra)
    params = merge(apply_updates(learns, updates), moved)  # of what moved, only the untrained part
    return Turn(value, grads, updates, state._replace(params=params, optimizer=memory))


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
    data = checked_turn("epoch", network, cost, optimizer, state, penalty, x, y, sample_weight, batch_size)
    batches = drawn(state, data, batch_size)

    def turn(state: State, place: ArrayLike, size: int) -> tuple[State, tuple[jax.Array, jax.Array]]:
        (x, y, weight), key = batches.batch(place, size)
        state, value = step(network, cost, optimizer, state, x, y, key, weight, penalty)
        return state, (value, jnp.float32(size) if weight is None else jnp.sum(weight))

    state, (values, weights) = jax.lax.scan(
        lambda state, place: turn(state, place, batches.size), state, jnp.arange(batches.whole)
    )
    if batches.left:
        state, (value, weight) = turn(state, batches.whole, batches.left)
        values, weights = jnp.append(values, value), jnp.append(weights, weight)
    total = weights.sum()
    mean = (values * (weights / jnp.where(total == 0, 1, total))).sum()  # shares: a sum may overflow
    return state._replace(epoch=state.epoch + 1), mean


# Many epochs -------------------------------------------------------------------------------------


def train(
    network: Layer,
    cost: Function,
    optimizer: Optimizer,
    state: State,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    *,
    epochs: int | jax.Array,
    batch_size: int = 32,
    sample_weight: ArrayLike | None = None,
    penalty: Function | None = None,
    validation: tuple[Any, ...] | None = None,
    metrics: Mapping[str, Function] | None = None,
    patience: ArrayLike | None = None,
    capacity: int | None = None,
) -> tuple[State, dict[str, jax.Array]]:
    """Epochs in one compiled loop: state ← epoch(state), so many times; and the history, (epochs,) each.

    `validation` is (x, y) or (x, y, sample_weight): after each epoch its cost and metrics are taken,
    and the best parameters kept; training ends when the cost has not fallen for `patience` epochs,
    and after an epoch whose cost, validation cost, or statistics of layers are not finite.
    The history has `capacity` rows (by default `epochs`), of which as many are filled as epochs were
    made: `epochs` may be traced, so that another number compiles nothing, and then needs a capacity.
    Prechelt 1998, on when to stop.

    >>> from fnn import adam, dense, mse, start
    >>> x = jnp.ones((10, 2))
    >>> state = start(dense(1), adam(), x, key=jax.random.key(0))
    >>> state, history = train(dense(1), mse, adam(), state, x, x[:, :1], epochs=3)
    >>> history["cost"].shape
    (3,)
    """
    data = checked_turn("train", network, cost, optimizer, state, penalty, x, y, sample_weight, batch_size)
    x, y, sample_weight = data
    check_epochs(epochs, capacity)
    validation = checked_validation(validation, metrics, patience)
    if validation is not None:
        state = watched(state)
    rows = int(epochs) if capacity is None else capacity

    def measure(state: State) -> dict[str, jax.Array]:
        if validation is None:
            return {}
        return measured(network, {"cost": cost, **(metrics or {})}, state.params, *validation)

    def going(carry: tuple[Any, Any, State, Any]) -> jax.Array:
        done, sound, state, history = carry
        return (done < epochs) & sound & costs_are_finite(history, done) & ~stalled(state, patience)

    def turn(carry: tuple[Any, Any, State, Any]) -> tuple[Any, Any, State, Any]:
        done, _, before, history = carry
        state, value = epoch(
            network, cost, optimizer, before, x, y,
            batch_size=batch_size, sample_weight=sample_weight, penalty=penalty,
        )  # fmt: skip
        sound = still_finite(statistics(before.params), statistics(state.params))
        row = {"cost": value, **measure(state)}
        if state.best is not None and validation is not None:
            candidate = Best(state.params, row["validation_cost"], state.epoch)
            state = state._replace(best=better(state.best, candidate))
        history = jax.tree.map(lambda h, r: h.at[done].set(r), history, row)
        return done + 1, sound, state, history

    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    row = {"cost": number, **jax.eval_shape(measure, state)}
    history = jax.tree.map(lambda r: _nothing((rows, *r.shape), r.dtype), row)
    if rows:
        begin = jnp.int32(0), jnp.bool_(True), state, history
        _, _, state, history = jax.lax.while_loop(going, turn, begin)
    return state, history


def costs_are_finite(history: Mapping[str, jax.Array], done: ArrayLike) -> jax.Array:
    """Whether the costs of the last of the epochs done are numbers.

    It reads the history: asked of the value itself, XLA computes the cost twice, a tenth of a step
    on the full batch.
    """
    last = jnp.maximum(done, 1) - 1
    costs = [history[name][last] for name in ("cost", "validation_cost") if name in history]
    return (jnp.asarray(done) == 0) | jnp.isfinite(jnp.stack(costs)).all()


def measured(
    network: Layer,
    metrics: Mapping[str, Function],
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    sample_weight: ArrayLike | None = None,
) -> dict[str, jax.Array]:
    """Each metric over all validation rows at once (a mean of batch means would be another number)."""
    predictions = forward_in_blocks(network, params, x)
    return {
        f"validation_{name}": jnp.asarray(cost_of(metric, predictions, y, sample_weight))
        for name, metric in metrics.items()
    }


def _nothing(shape: tuple[int, ...], dtype: Any) -> jax.Array:
    empty = jnp.nan if jnp.issubdtype(dtype, jnp.floating) else 0
    return jnp.full(shape, empty, dtype)
