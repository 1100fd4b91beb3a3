"""The host's side of a run: compiled calls one after the other, and what may happen between them.

No buffer is donated to a call. Whatever goes wrong in one, the run before it is still there.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fnn.guard.warn import warn_user
from fnn.workflow.state import Fitted, NotFinite, State, average_params

__all__ = ["Report"]


CAPACITY = 1024  # the most epochs in one compiled call: the length of its history


SECONDS = 0.5  # about how long a call may run, so that the host can step in


PIECES = 100  # of a history, before they are joined


Train = Callable[[State, np.int32], tuple[State, dict[str, Any], bool]]


class Report(NamedTuple):
    """What `on_epoch` is given: `epoch` of `epochs` are finished, with these measures and this state."""

    epoch: int
    epochs: int
    measures: dict[str, float]
    state: State


class Run(NamedTuple):
    """The progress of a run: its state, and the history that each call added."""

    state: State
    pieces: tuple[dict[str, np.ndarray], ...]

    @property
    def history(self) -> dict[str, np.ndarray]:
        """One array for each measure, an entry for each epoch."""
        filled = [piece for piece in self.pieces if len(piece["cost"])] or self.pieces
        return {name: np.concatenate([piece[name] for piece in filled]) for name in filled[0]}


class Plan(NamedTuple):
    """What happens to a run, and who watches it.

    `train(state, epochs)` is the compiled call: it returns the state after them, their history, and whether
    all is finite; where the run is made `one_by_one`, each call makes one epoch. `end` is the epoch at which
    the run ends. `keep` writes a checkpoint, after each `every` epochs. `find` says where the epoch after a
    state goes bad.
    """

    train: Train
    end: int
    patience: int | None
    watchers: tuple[Callable[[Report], Any], ...]
    one_by_one: bool
    keep: Callable[[Run], None] | None
    every: int
    find: Callable[[State], NotFinite]


def loop(plan: Plan, run: Run, kept: int | None) -> Fitted:
    """Call after call until the run ends; an error carries what was learned, as its `fitted`.

    `kept` is the epoch of the run's newest checkpoint, None where there is none.
    """
    stopped, found, error = "", None, None
    try:
        if plan.keep and kept is None:
            plan.keep(run)  # a folder that cannot be written is refused before anything is trained
            kept = int(run.state.epoch)
        for after, finite in _calls(plan, run):
            if not finite:
                run = _last_finite(plan, run, after)
                found, stopped = plan.find(run.state), "not_finite"
                break
            run = after
            if int(run.state.epoch) % plan.every == 0:
                kept = _keep(plan, run)
            if _should_stop(plan, run):
                stopped = "on_epoch"
                break
    except KeyboardInterrupt:
        stopped = "interrupted"
    except Exception as raised:
        stopped, error = "error", raised
    fitted = _fitted(run, stopped or _how_it_ended(plan, run), found)
    with _attach(fitted):
        if kept not in (None, int(run.state.epoch)):  # None: the first failed
            _keep_last(plan, run)
        if error is not None:
            raise error
        if found is not None:
            warn_user(f"fit: {found}", RuntimeWarning)
    return fitted


def _calls(plan: Plan, run: Run) -> Iterator[tuple[Run, bool]]:
    """The run after each call: of one epoch, or of about half a second."""
    size = 1
    while not _has_ended(plan, run.state):
        clock, epoch = time.perf_counter(), int(run.state.epoch)
        made = min(size, plan.end - epoch, plan.every - epoch % plan.every)
        run, finite = _call(plan, run, made)
        if not plan.one_by_one:
            size = next_size(made, time.perf_counter() - clock)
        yield run, finite


def _has_ended(plan: Plan, state: State) -> bool:
    stale = 0 if state.best is None else int(state.epoch) - int(state.best.epoch)
    return int(state.epoch) >= plan.end or (plan.patience is not None and stale >= plan.patience)


def _call(plan: Plan, run: Run, epochs: int) -> tuple[Run, bool]:
    """The run after up to `epochs` more, and whether it is finite."""
    state, history, finite = plan.train(run.state, np.int32(epochs))
    made = int(state.epoch) - int(run.state.epoch)
    piece = {name: np.asarray(rows)[:made] for name, rows in history.items()}
    pieces = run.pieces if len(run.pieces) < PIECES else (run.history,)
    return Run(state, (*pieces, piece)), finite


def _last_finite(plan: Plan, run: Run, after: Run) -> Run:
    """The run before the epoch in which it went bad: the call's epochs are made again, one by one."""
    for _ in range(int(run.state.epoch) + 1, int(after.state.epoch)):
        following, finite = _call(plan, run, 1)
        if not finite:
            return run
        run = following
    return run


def next_size(size: int, seconds: float) -> int:
    """How many epochs the next call makes, after one of this size took so long."""
    return max(1, min(int(size * SECONDS / seconds), CAPACITY))


def _should_stop(plan: Plan, run: Run) -> bool:
    """Whether a watcher ends the run; each is called, whatever the first returns."""
    if not plan.watchers:
        return False
    measures = {n: rows[-1].item() if rows.ndim == 1 else rows[-1] for n, rows in run.pieces[-1].items()}
    report = Report(int(run.state.epoch), plan.end, measures, run.state)
    return True in [bool(watch(report)) for watch in plan.watchers]


def _keep(plan: Plan, run: Run) -> int:
    """Write a checkpoint; where that fails, warn and go on: there may be room on the disk before the end."""
    try:
        if plan.keep:
            plan.keep(run)
    except (OSError, ValueError) as error:
        warn_user(
            f"fit: the checkpoint of epoch {int(run.state.epoch)} could not be written: {error}. The run "
            "goes on, and its parameters are returned; the checkpoints before it are still there."
        )
    return int(run.state.epoch)


def _keep_last(plan: Plan, run: Run) -> None:
    """Write the last checkpoint, again where Ctrl-C interrupted it; the run is returned in any case."""
    for _ in range(2):
        with contextlib.suppress(KeyboardInterrupt):
            _keep(plan, run)
            return


def _how_it_ended(plan: Plan, run: Run) -> str:
    return "epochs" if int(run.state.epoch) >= plan.end else "patience"


def _fitted(run: Run, stopped: str, found: NotFinite | None = None) -> Fitted:
    state = run.state
    params = average_params(state) if state.best is None else state.best.params
    return Fitted(params, run.history, state, stopped, found)


@contextlib.contextmanager
def _attach(fitted: Fitted) -> Iterator[None]:
    """Attach the run to whatever is raised, also to warnings that are errors."""
    try:
        yield
    except Exception as error:
        with contextlib.suppress(AttributeError, TypeError):  # few errors take no attributes
            error.fitted = fitted  # type: ignore[attr-defined]
            epochs = int(fitted.state.epoch)
            error.add_note(f"fit: what was learned in {epochs} epochs is in this error: error.fitted.params")
        raise
