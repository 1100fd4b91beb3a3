"""The host loop around `train`: data in, a trained network and its history out."""

import contextlib
import functools
import operator
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.network.layer import Layer
from fnn.optimizers.rule import Optimizer
from fnn.run.arguments import check_fit, check_state
from fnn.run.loop import CAPACITY, Fitted, Plan, Report, Run, loop
from fnn.run.not_finite import find
from fnn.run.progress import progress_bar
from fnn.run.rehearsal import rehearse
from fnn.run.setting import Setting, begun, described_start, parts_of, strong
from fnn.saving.fingerprint import fingerprint
from fnn.saving.folder import Folder, check_folder, check_total, held, keep, newest
from fnn.workflow.rows import checked_rows
from fnn.workflow.state import State, stays_finite
from fnn.workflow.training import costs_are_finite, train

__all__ = ["fit"]


def fit(
    network: Layer,
    cost: Callable[..., Any],
    optimizer: Optimizer,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    *,
    key: chex.PRNGKey | None = None,
    epochs: int,
    batch_size: int = 32,
    sample_weight: ArrayLike | None = None,
    penalty: Callable[..., Any] | None = None,
    validation: tuple[Any, ...] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    patience: int | None = None,
    on_epoch: Callable[[Report], Any] | None = None,
    progress: bool = False,
    params: chex.ArrayTree | None = None,
    state: State | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int | None = None,
) -> Fitted:
    """Train a network on arrays: x (n, …), y (n, …), in shuffled batches, for so many epochs.

        repeat   ŷ = forward(θ, x)   c = cost(ŷ, y) + penalty(θ)   g = ∂c/∂θ   θ ← θ + update(g)

    `validation` is (x, y) or (x, y, sample_weight), never trained on: its cost and `metrics` are taken
    after each epoch, the parameters of its lowest cost are kept, and `patience` epochs without a lower
    one end the run. `on_epoch(report)` is called after each epoch and ends the run by returning true.
    `params` are parameters to begin from; `state` is a run to continue, for `epochs` more. In the
    folder `checkpoint` the run is kept after each `every` epochs (1): `epochs` is then the total, and
    the same call, made again, goes on where a killed one was.

    The same key gives the same bits, and a run continued those of the whole. Another key, number of
    epochs, learning rate or patience compiles nothing. Ctrl-C returns what was learned, and so does an
    epoch that is not finite, with a warning where; an error of `on_epoch` carries it as `.fitted`.

    >>> import fnn, jax, jax.numpy as jnp
    >>> x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    >>> key = jax.random.key(0)
    >>> fitted = fnn.fit(fnn.dense(1), fnn.mse, fnn.adam(0.1), x, 3 * x + 2, key=key, epochs=200)
    >>> print(jnp.round(fitted.params["weight"], 2), jnp.round(fitted.params["bias"], 2))
    [[3.]] [2.]

    Raises ValueError or TypeError, before anything is compiled, for what does not fit together, and
    OSError for a folder that cannot be written.
    """
    check_fit(
        network, cost, optimizer, epochs, batch_size, validation, metrics, patience, key, state, params,
        on_epoch, penalty,
    )  # fmt: skip
    check_folder(checkpoint, every)
    epochs, batch_size = operator.index(epochs), operator.index(batch_size)
    if state is not None:
        check_state(state, optimizer, key, params)
        state = strong(state)
    data = checked_rows(network, cost, x, y, sample_weight, validation)
    setting = Setting(
        network,
        as_partial(cost),
        optimizer,
        None if penalty is None else as_partial(penalty),
        {name: as_partial(metric) for name, metric in (metrics or {}).items()},
        batch_size,
        data,
    )
    like = described_start(setting, key, params, state)
    rehearse(setting, like)
    with contextlib.ExitStack() as stack:
        folder, kept = None, None
        if checkpoint is not None:
            check_total("the state given", 0 if state is None else int(state.epoch), epochs)
            path = stack.enter_context(held(os.fsdecode(checkpoint)))
            given = {"patience": patience, "key": key, "params": params, "state": state}
            folder = Folder(path, fingerprint(**parts_of(setting, like.params, given)))
            kept = newest(folder, like, epochs)
        run = Run(*(kept or begun(setting, key, params, state)))
        before = int(run.state.epoch) if state is not None and checkpoint is None else 0
        watchers = (on_epoch,) if on_epoch is not None else ()
        if progress:
            bar = progress_bar(before + epochs, int(run.state.epoch))
            watchers = (stack.enter_context(bar), *watchers)
        plan = _plan(setting, patience, watchers, folder, every, before + epochs)
        return loop(plan, run, -1 if kept is None else int(run.state.epoch))


def _plan(
    setting: Setting,
    patience: int | None,
    watchers: tuple[Callable[[Report], Any], ...],
    folder: Folder | None,
    every: int | None,
    end: int,
) -> Plan:
    network, cost, optimizer, penalty, metrics, batch_size, data = setting
    held_data = jax.device_put(data)
    train = functools.partial(
        _train,
        network,
        optimizer.update,
        cost,
        penalty=penalty,
        metrics=metrics,
        patience=np.int32(np.iinfo(np.int32).max if patience is None else patience),
        batch_size=batch_size,
        data=held_data,
    )
    keep_run = None if folder is None else lambda run: keep(folder, run.state, run.history)
    find_bad = functools.partial(find, network, optimizer.update, cost, penalty, batch_size, held_data)
    often = 1 if every is None else int(every)
    return Plan(train, end, patience, watchers, keep_run, often if folder else sys.maxsize, find_bad)


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="batch_size")
def _train(
    network: Layer,
    update: Callable[..., Any],
    cost: Partial,
    state: State,
    epochs: jax.Array,
    *,
    data: tuple[Any, ...],
    penalty: Partial | None,
    metrics: dict[str, Partial],
    patience: jax.Array,
    batch_size: int,
) -> tuple[State, dict[str, jax.Array], jax.Array]:
    """`train`, and whether all that came out is finite: its last epoch's cost, and the state."""
    x, y, sample_weight, validation = data
    after, history = train(
        network,
        cost,
        Optimizer(update, update),
        state,
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        sample_weight=sample_weight,
        penalty=penalty,
        validation=validation,
        metrics=metrics,
        patience=patience,
        capacity=CAPACITY,
    )
    finite = costs_are_finite(history, after.epoch - state.epoch) & stays_finite(state, after)
    return after, history, finite
