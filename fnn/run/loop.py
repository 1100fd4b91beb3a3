"""The host's side of a run: compiled calls one after the other, and what may come between them.

Nothing is donated to a call: whatever goes wrong in one, the run as it was before it is still there.
"""

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from fnn.run.not_finite import NotFinite
from fnn.workflow.state import State

__all__ = ["Fitted", "Report"]


CAPACITY = 1024  # epochs at most in one compiled call: the length of its history


SECONDS = 0.5  # about how long a call may run, so that the host can step in


GROWTH = 8  # times longer at most than the call before: one epoch alone is timed badly


PIECES = 100  # of a history, before they are joined


Train = Callable[[State, np.int32], tuple[State, dict[str, jax.Array], jax.Array]]


class Report(NamedTuple):
    """What `on_epoch` is given: `epoch` of `epochs` are finished, with these measures and this state."""

    epoch: int
    epochs: int
    measures: dict[str, float]
    state: State


class Fitted(NamedTuple):
    """A finished run.

    `params` are what validation chose (the best), or the last; `history` has a NumPy array for each
    measure, one entry an epoch; `state` goes on, with fit(…, state=fitted.state); `stopped` says why it
    ended: "epochs", "patience", "on_epoch", "interrupted" (by Ctrl-C), "error" (in an error's `fitted`)
    or "not_finite", and then `not_finite` says where; all numbers are those of the last good epoch.
    """

    params: chex.ArrayTree
    history: dict[str, np.ndarray]
    state: State
    stopped: str
    not_finite: NotFinite | None = None


class Run(NamedTuple):
    """How far a run has come: its state, and the history that each call added."""

    state: State
    pieces: tuple[dict[str, np.ndarray], ...]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """One array for each measure, an entry for each epoch."""
        filled = [piece for piece in self.pieces if len(piece["cost"])] or self.pieces
        return {name: np.concatenate([piece[name] for piece in filled]) for name in filled[0]}


class Plan(NamedTuple):
    """What happens to a run, and who watches it.

    `train` is the compiled call, from a state over so many epochs to another, with their history and
    whether all is finite; `end` the epoch at which the run ends; `keep` writes a checkpoint, after each
    `every` epochs; `find` says where the epoch after a state goes bad.
    """

    train: Train
    end: int
    patience: int | None
    watchers: tuple[Callable[[Report], Any], ...]
    keep: Callable[[Run], None] | None
    every: int
    find: Callable[[State], NotFinite]


def loop(plan: Plan, run: Run, kept: int) -> Fitted:
    """Call after call until the run ends; an error carries what was learned, as its `fitted`.

    `kept` is the epoch of the run's newest checkpoint, or -1.
    """
    stopped, found, error = "", None, None
    try:
        if plan.keep and kept < 0:
            plan.keep(run)  # a folder that cannot be written is told of before anything is trained
            kept = int(run.state.epoch)
        for after, finite in _calls(plan, run):
            if not finite:
                run = _last_finite(plan, run, after)
                found, stopped = plan.find(run.state), "not_finite"
                break
            run = after
            if int(run.state.epoch) % plan.every == 0:
                kept = _keep(plan, run)
            if _is_told_to_stop(plan, run):
                stopped = "on_epoch"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    except Exception as raised:
        stopped, error = "error", raised
    fitted = _fitted(run, stopped or _how_it_ended(plan, run), found)
    with _carried(fitted):
        if kept not in (-1, int(run.state.epoch)):  # -1: the first failed
            _keep_at_last(plan, run)
        if error is not None:
            raise error
        if found is not None:
            warnings.warn(f"fit: {found}", RuntimeWarning, stacklevel=3)
    return fitted


def _calls(plan: Plan, run: Run) -> Iterator[tuple[Run, bool]]:
    """The run after each call, of one epoch where somebody watches, else of about half a second."""
    size = 1
    while not _has_ended(plan, run.state):
        clock, epoch = time.perf_counter(), int(run.state.epoch)
        made = min(size, plan.end - epoch, plan.every - epoch % plan.every)
        run, finite = _called(plan, run, made)
        if not plan.watchers:
            size = _next_size(made, time.perf_counter() - clock)
        yield run, finite


def _has_ended(plan: Plan, state: State) -> bool:
    stale = 0 if state.best is None else int(state.epoch) - int(state.best.epoch)
    return int(state.epoch) >= plan.end or (plan.patience is not None and stale >= plan.patience)


def _called(plan: Plan, run: Run, epochs: int) -> tuple[Run, bool]:
    """The run after so many epochs more, fewer where they ended it, and whether it is finite."""
    state, history, finite = plan.train(run.state, np.int32(epochs))
    made = int(state.epoch) - int(run.state.epoch)  # JAX waits here, and looks for Ctrl-C while it does
    piece = {name: np.asarray(rows)[:made] for name, rows in history.items()}
    pieces = run.pieces if len(run.pieces) < PIECES else (run.history,)
    return Run(state, (*pieces, piece)), bool(finite)


def _last_finite(plan: Plan, run: Run, after: Run) -> Run:
    """The run before the epoch in which it went bad: the call's epochs once more, one by one."""
    for _ in range(int(run.state.epoch) + 1, int(after.state.epoch)):
        following, finite = _called(plan, run, 1)
        if not finite:
            return run
        run = following
    return run


def _next_size(size: int, seconds: float) -> int:
    return max(1, min(GROWTH * size, int(size * SECONDS / seconds), CAPACITY))


def _is_told_to_stop(plan: Plan, run: Run) -> bool:
    """Tell each watcher, whatever the first says."""
    if not plan.watchers:
        return False
    measures = {n: rows[-1].item() if rows.ndim == 1 else rows[-1] for n, rows in run.pieces[-1].items()}
    report = Report(int(run.state.epoch), plan.end, measures, run.state)
    return True in [bool(watch(report)) for watch in plan.watchers]


def _keep(plan: Plan, run: Run, stacklevel: int = 4) -> int:
    """Write a checkpoint; where that fails, say so and go on: the disk may be emptied before the end."""
    try:
        if plan.keep:
            plan.keep(run)
    except (OSError, ValueError) as error:
        warnings.warn(
            f"fit: the checkpoint of epoch {int(run.state.epoch)} could not be written: {error}. The run "
            "goes on, and its parameters are returned; what was kept before is still there.",
            stacklevel=stacklevel,
        )
    return int(run.state.epoch)


def _keep_at_last(plan: Plan, run: Run) -> None:
    """Write the last checkpoint, once more where Ctrl-C cut it short; the run is returned all the same."""
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt):
            _keep(plan, run, stacklevel=5)
            return


def _how_it_ended(plan: Plan, run: Run) -> str:
    return "epochs" if int(run.state.epoch) >= plan.end else "patience"


def _fitted(run: Run, stopped: str, found: NotFinite | None = None) -> Fitted:
    state = run.state
    params = state.params if state.best is None else state.best.params
    return Fitted(params, run.history, state, stopped, found)


@contextlib.contextmanager
def _carried(fitted: Fitted) -> Iterator[None]:
    """What is raised, warnings that are errors too, carries the run."""
    try:
        yield
    except Exception as error:
        with contextlib.suppress(AttributeError, TypeError):  # few errors take no attributes
            error.fitted = fitted  # type: ignore[attr-defined]
            epochs = int(fitted.state.epoch)
            error.add_note(f"fit: what was learned in {epochs} epochs is in this error: error.fitted.params")
        raise
