"""A folder of checkpoints: the last few of one run, from which the same call continues it."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fnn.guard.numbers import check_whole
from fnn.guard.warn import warn_user
from fnn.guard.words import describe, unexpected
from fnn.saving.checkpoint import NewerFormatError, check_alike, contents, save
from fnn.saving.description import build, to_node
from fnn.saving.fingerprint import compare
from fnn.workflow.state import State

__all__: list[str] = []


COPIES = 3  # checkpoints that stay in the folder, in case the newest is damaged


TEMPORARY = re.compile(r"\.epoch-\d{8,}\.fnn\.[0-9a-f]{16}\.tmp")


History = dict[str, np.ndarray]


class Folder(NamedTuple):
    """Where a run keeps its checkpoints, and the fingerprint of its call."""

    path: str
    fingerprint: dict[str, str]


def check_folder(path: Any, every: Any) -> None:
    """Refuse a path that cannot be a folder, and an `every` that is no number of epochs."""
    if path is None:
        if every is not None:
            raise ValueError(f"fit: every={describe(every)} needs checkpoint=, the folder for the run.")
        return
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(unexpected("fit: checkpoint", "a folder's path, such as 'runs/digits'", path))
    if every is not None:
        check_whole("fit", "every", every)
    name = os.fsdecode(path)
    if not name or "\0" in name or (os.path.exists(name) and not os.path.isdir(name)):
        raise NotADirectoryError(f"fit: checkpoint expected a folder, got {name!r}, which is none.")


@contextlib.contextmanager
def lock_folder(path: str) -> Iterator[str]:
    """Make the folder, lock it for this run, and delete the half-written files of a killed run."""
    path = os.path.abspath(path)  # a callback may change the working directory
    os.makedirs(path, exist_ok=True)
    with _lock(path):
        for name in filter(TEMPORARY.fullmatch, os.listdir(path)):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, name))
        yield path


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """The operating system's lock, which it releases when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _take(path, functools.partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child would keep it
        os.close(descriptor)


def _take(path: str, lock: Callable[[], None]) -> None:
    try:
        lock()
    except BlockingIOError:
        raise BlockingIOError(
            f"fit: another run is using the folder {path!r}: wait until it ends, or give each run "
            "a folder of its own."
        ) from None
    except OSError:  # a file system without locks
        pass


def keep(folder: Folder, state: State, history: History) -> None:
    """Write the checkpoint of this epoch, and delete all but the last few."""
    epoch = int(state.epoch)
    save(_file(folder.path, epoch), {"fingerprint": folder.fingerprint, "history": history, "state": state})
    older = [e for e in _epochs(folder.path) if e < epoch]
    for old in older[: -(COPIES - 1)]:
        with contextlib.suppress(OSError):
            os.unlink(_file(folder.path, old))


def read_newest(folder: Folder, like: State, epochs: int) -> tuple[State, tuple[History]] | None:
    """The state and the history of the newest checkpoint that can be read; None in an empty folder.

    Raises ValueError if none can be read, if another call made it, or if it has more than `epochs` epochs.
    """
    damaged: list[str] = []
    for epoch in reversed(_epochs(folder.path)):
        name = _file(folder.path, epoch)
        try:
            tree = contents(name)
        except NewerFormatError:
            raise  # it is not damaged
        except ValueError as error:
            damaged.append(str(error))
            continue
        if damaged:
            warn_user(f"fit: {'; '.join(damaged)}. The run continues from epoch {epoch}, the one before.")
        state, history = _unpack(folder, name, tree, like)
        check_total(f"the run in {folder.path!r}", epoch, epochs)
        return state, (history,)
    if damaged:
        raise ValueError(
            f"fit: no checkpoint in {folder.path!r} can be read: {'; '.join(damaged)}. To start again from "
            "the beginning, move them away."
        )
    return None


def check_total(run: str, made: int, epochs: int) -> None:
    """Refuse a run with more epochs than the total."""
    if made > epochs:
        raise ValueError(
            f"fit: {run} has made {made} epochs, more than epochs={epochs}; with checkpoint=, epochs is the "
            "total."
        )


def _unpack(folder: Folder, name: str, tree: Any, like: State) -> tuple[State, History]:
    """The state and the history in a checkpoint; ValueError if another call made it."""
    parts = tree.get("parts", {})
    if set(parts) != {"fingerprint", "history", "state"}:
        raise ValueError(f"fit: {name!r} is no checkpoint of a run: give checkpoint= a folder of its own.")
    differing = compare(dict(build(parts["fingerprint"], "", {})), folder.fingerprint)
    if differing:
        raise ValueError(
            f"fit: {name!r} was made by another call: {'; '.join(differing)}. Repeat the call that made it, "
            "or give another folder. (To train on from it anyway: state=fnn.load(file)['state'].)"
        )
    classes: dict[str, Any] = {}
    check_alike(name, to_node(like, "tree", classes), parts["state"], "tree")
    history = build(parts["history"], "", {})
    return build(parts["state"], "tree", classes), {k: np.asarray(rows) for k, rows in history.items()}


def _file(path: str, epoch: int) -> str:
    return os.path.join(path, f"epoch-{epoch:08d}.fnn")


def _epochs(path: str) -> list[int]:
    """The epochs that have a checkpoint, in order. Files with similar names are ignored."""
    names = [re.fullmatch(r"epoch-(\d{8}|[1-9]\d{8,})\.fnn", name) for name in os.listdir(path)]
    return sorted(int(name[1]) for name in names if name)
