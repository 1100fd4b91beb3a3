"""Epochs, compiled as one program: validation, early stopping and history inside."""

from collections.abc import Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.network.layer import Layer
from fnn.network.parameters import statistics
from fnn.network.programs import compile_recent
from fnn.optimizers.rule import Optimizer
from fnn.optimizers.wrappers import changing_numbers
from fnn.workflow.arguments import check_epochs, check_turn, check_validation
from fnn.workflow.evaluation import forward_in_blocks
from fnn.workflow.objective import Function, cost_of
from fnn.workflow.rows import check_targets_of
from fnn.workflow.setting import Setting, make_setting, name_parts, read_rows
from fnn.workflow.state import (
    Best,
    State,
    average_params,
    is_stalled,
    lower_of,
    still_finite,
    with_best,
)
from fnn.workflow.training import one_epoch

__all__ = ["train"]


COSTS = ("cost", "validation_cost")  # what must be finite for a run to go on


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
    """Epochs in one compiled loop: state ← epoch(state), `epochs` times; and the history, (epochs,) each.

    `validation` is (x, y) or (x, y, sample_weight). After each epoch its cost and metrics are computed,
    and the parameters of the lowest cost are kept. Training ends early when that cost has not fallen for
    `patience` epochs, or when a cost or the statistics of a layer are not finite. The history has
    `capacity` rows, by default `epochs`; the rows after the last epoch repeat it. `epochs` may be traced,
    so that another number compiles nothing, and then needs a capacity. Prechelt 1998, on when to stop.

    >>> from fnn import adam, dense, mse, start
    >>> x = jnp.ones((10, 2))
    >>> state = start(dense(1), adam(), x, key=jax.random.key(0))
    >>> state, history = train(dense(1), mse, adam(), state, x, x[:, :1], epochs=3)
    >>> history["cost"].shape
    (3,)
    """
    check_turn("train", network, cost, optimizer, state, penalty, batch_size)
    check_epochs(epochs, capacity)
    check_validation("train", validation, metrics, patience)
    x, y, sample_weight = read_rows(state, x=x, y=y, sample_weight=sample_weight)
    check_targets_of(network, cost, x, y, sample_weight)
    if validation is not None:
        validation = read_rows(state, **name_parts(validation))
        held_x, held_y, weight = (*validation, None)[:3]
        for function in (cost, *(metrics or {}).values()):
            check_targets_of(network, function, held_x, held_y, weight, "validation[1]")
    setting = make_setting(
        network, cost, optimizer, penalty, metrics,
        batch_size=int(batch_size), x=x, y=y, sample_weight=sample_weight, validation=validation,
    )  # fmt: skip
    rows = int(epochs) if capacity is None else int(capacity)
    count = epochs if isinstance(epochs, jax.Array) else jax.device_put(np.int32(epochs))
    patience = patience if patience is None else jax.device_put(patience)
    return _train(setting, state, count, patience, rows)


def many_epochs(
    setting: Setting,
    state: State,
    epochs: ArrayLike,
    patience: ArrayLike | None,
    rows: int,
) -> tuple[State, dict[str, jax.Array]]:
    """The fold of one epoch, until there are enough; and its history, of `rows` rows, zeros at first."""
    if setting.validation is not None:
        state = with_best(state)

    def going(carry: tuple[Any, Any, State, Any]) -> jax.Array:
        done, sound, state, history = carry
        return (done < epochs) & sound & costs_are_finite(history, done) & ~is_stalled(state, patience)

    def turn(carry: tuple[Any, Any, State, Any]) -> tuple[Any, Any, State, Any]:
        done, _, before, history = carry
        state, costs = one_epoch(setting, before)
        sound = still_finite(statistics(before.params), statistics(state.params))
        row = costs | changing_numbers(state.optimizer) | measure(setting, average_params(state))
        if state.best is not None and setting.validation is not None:
            candidate = Best(average_params(state), row["validation_cost"], state.epoch)
            state = state._replace(best=lower_of(state.best, candidate))
        history = jax.tree.map(lambda h, r: h.at[done].set(r), history, row)
        return done + 1, sound, state, history

    number = jax.ShapeDtypeStruct((), jnp.result_type(float))
    row = dict.fromkeys(setting.costs, number) | jax.eval_shape(changing_numbers, state.optimizer)
    row |= jax.eval_shape(measure, setting, state.params)
    history = jax.tree.map(lambda r: jnp.zeros((rows, *r.shape), r.dtype), row)
    if rows:
        begin = jnp.int32(0), jnp.bool_(True), state, history
        _, _, state, history = jax.lax.while_loop(going, turn, begin)
    return state, history


@compile_recent(static_argnums=(4,))
def _train(
    setting: Setting, state: State, epochs: ArrayLike, patience: ArrayLike | None, rows: int
) -> tuple[State, dict[str, jax.Array]]:
    after, history = many_epochs(setting, state, epochs, patience, rows)
    last = jnp.maximum(after.epoch - state.epoch, 1) - 1
    places = jnp.minimum(jnp.arange(rows), last)  # NaN would set off jax_debug_nans
    return after, jax.tree.map(lambda filled: filled[places], history)


def costs_are_finite(history: Mapping[str, jax.Array], done: ArrayLike) -> jax.Array:
    """Whether the costs of the last finished epoch are finite.

    It reads the history. If it read the value itself, XLA would compute the cost twice: a tenth of a step on
    the full batch.
    """
    last = jnp.maximum(done, 1) - 1
    costs = [history[name][last] for name in COSTS if name in history]
    return (jnp.asarray(done) == 0) | jnp.isfinite(jnp.stack(costs)).all()


def measure(setting: Setting, params: chex.ArrayTree) -> dict[str, jax.Array]:
    """The cost and each metric over all validation rows at once, not as a mean of batch means."""
    if setting.validation is None:
        return {}
    x, y, *weight = setting.validation
    predictions = forward_in_blocks(setting.network, params, x)
    return {
        f"validation_{name}": jnp.asarray(cost_of(metric, predictions, y, *weight or [None]))
        for name, metric in {"cost": setting.cost, **setting.metrics}.items()
    }
