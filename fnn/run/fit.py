"""The host loop around `train`: data in, a trained network and its history out."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.network.layer import Layer
from fnn.network.programs import compile_recent
from fnn.optimizers.rule import Optimizer
from fnn.run.arguments import check_course, check_known, check_parts, check_start, check_state
from fnn.run.begin import begin, make_strong, parts_of
from fnn.run.host_metrics import measure_on_host, split_metrics
from fnn.run.loop import CAPACITY, Plan, Report, Run, loop
from fnn.run.not_finite import ends_finite, find
from fnn.run.progress import progress_bar
from fnn.run.rehearsal import rehearse
from fnn.saving.fingerprint import fingerprint
from fnn.saving.folder import Folder, check_folder, check_total, keep, lock_folder, read_newest
from fnn.workflow.epochs import many_epochs
from fnn.workflow.setting import Setting, make_setting, read_all_rows
from fnn.workflow.state import Fitted, State

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
    """Train a network on arrays: x (n, …), y (n, …), in shuffled mini-batches, for `epochs` epochs.

        repeat   ŷ = forward(θ, x)   c = cost(ŷ, y) + penalty(θ)   g = ∂c/∂θ   θ ← θ + update(g)

    `validation` is (x, y) or (x, y, sample_weight), never trained on. After each epoch its cost and the
    `metrics` are computed; those that JAX cannot compile, such as scikit-learn's, on the host. The parameters
    with the lowest validation cost are returned; `patience` epochs without a lower one end the run. With a
    penalty, the history has the cost without it too, as `cost_without_penalty`.
    `on_epoch(report)` is called after each epoch; returning true ends the run. `params` are parameters to
    begin from. `state` is a run to continue for `epochs` more. With `checkpoint`, a folder, the run is saved
    after each `every` epochs (1). `epochs` is then the total, and the same call continues a run that was
    killed.

    The same key gives the same bits, and a continued run has the bits of the whole. Another key, number of
    epochs, learning rate or patience compiles nothing. Ctrl-C returns what was learned. So does an epoch
    that is not finite, with a warning that says where. An error in `on_epoch` carries it as `.fitted`.

    >>> import fnn, jax, jax.numpy as jnp
    >>> x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    >>> key = jax.random.key(0)
    >>> fitted = fnn.fit(fnn.dense(1), fnn.mse, fnn.adam(0.1), x, 3 * x + 2, key=key, epochs=200)
    >>> print(jnp.round(fitted.params["weight"], 2), jnp.round(fitted.params["bias"], 2))
    [[3.]] [2.]

    Raises ValueError or TypeError, before anything is compiled, for what does not fit together, and
    OSError for a folder that cannot be written.
    """
    check_course(epochs, patience, validation, metrics, on_epoch)
    check_start(key, params, state)
    check_folder(checkpoint, every)
    check_parts("fit", network, cost, optimizer, penalty, batch_size)
    setting, hosted = read_setting(
        network, cost, optimizer, penalty, batch_size, x, y, sample_weight, validation, metrics
    )
    check_known("fit", setting, key, params, state)
    if state is not None:
        check_state(state, optimizer.init)
        state = make_strong(state)
    given, epochs = (key, params), int(epochs)
    like = rehearse(setting, given, state)
    with contextlib.ExitStack() as stack:
        folder, kept = None, None
        if checkpoint is not None:
            check_total("the state given", 0 if state is None else int(state.epoch), epochs)
            path = stack.enter_context(lock_folder(os.fsdecode(checkpoint)))
            more = {"patience": patience, "key": key, "params": params, "state": state}
            more["metrics"] = {**setting.metrics, **hosted}
            folder = Folder(path, fingerprint(**parts_of(setting, like, more)))
            kept = read_newest(folder, like, epochs)
        run = Run(*(kept or begin(setting, given, state, metrics or ())))
        before = int(run.state.epoch) if state is not None and checkpoint is None else 0
        watchers = (on_epoch,) if on_epoch is not None else ()
        if progress:
            bar = progress_bar(before + epochs, int(run.state.epoch))
            watchers = (stack.enter_context(bar), *watchers)
        plan = _plan(setting, hosted, patience, watchers, folder, every, before + epochs)
        return loop(plan, run, None if kept is None else int(run.state.epoch))


def read_setting(
    network: Any,
    cost: Any,
    optimizer: Any,
    penalty: Any,
    batch_size: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    validation: Any,
    metrics: Any,
) -> tuple[Setting, Mapping[str, Callable[..., Any]]]:
    """What the run computes with: functions that fit together, rows as arrays; and metrics of the host."""
    x, y, sample_weight, validation = read_all_rows(network, cost, x, y, sample_weight, validation, metrics)
    rest = {"batch_size": int(batch_size), "x": x, "y": y, "sample_weight": sample_weight}
    init = as_partial(optimizer.init)
    compiled, hosted = split_metrics(network, metrics or {}, validation)
    setting = make_setting(
        network, cost, optimizer, penalty, compiled, **rest, validation=validation, init=init
    )
    return setting, hosted


def _plan(
    setting: Setting,
    hosted: Mapping[str, Callable[..., Any]],
    patience: int | None,
    watchers: tuple[Callable[[Report], Any], ...],
    folder: Folder | None,
    every: int | None,
    end: int,
) -> Plan:
    most = np.int32(np.iinfo(np.int32).max if patience is None else patience)
    setting, most = jax.device_put((setting, most))  # the data once, not in each call

    def train(state: State, epochs: np.int32) -> tuple[State, dict[str, Any], bool]:
        after, history = _train(setting, state, jax.device_put(epochs), most)
        finite = ends_finite(history, state, after)
        if hosted and finite:  # else the epoch is not kept
            history |= measure_on_host(setting, hosted, after)
        return after, history, finite

    return Plan(
        train=train,
        end=end,
        patience=patience,
        watchers=watchers,
        one_by_one=bool(watchers or hosted),
        keep=None if folder is None else lambda run: keep(folder, run.state, run.history),
        every=sys.maxsize if folder is None else int(every or 1),
        find=lambda state: find(setting, state),
    )


@compile_recent()
def _train(
    setting: Setting, state: State, epochs: ArrayLike, patience: ArrayLike
) -> tuple[State, dict[str, Any]]:
    return many_epochs(setting, state, epochs, patience, CAPACITY)
