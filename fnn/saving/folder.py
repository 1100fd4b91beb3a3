"""A folder of checkpoints: the last few of one run, each whole, from which the same call goes on."""

import contextlib
import functools
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fnn.guard.numbers import check_whole
from fnn.guard.words import describe
from fnn.saving.checkpoint import NewerFormatError, check_alike, contents, save
from fnn.saving.description import build, to_node
from fnn.saving.fingerprint import unlike
from fnn.workflow.state import State

__all__: list[str] = []


KEPT = 3  # so many checkpoints stay, in case the newest is damaged


HALF_WRITTEN = re.compile(r"\.epoch-\d{8,}\.fnn\.[0-9a-f]{16}\.tmp")


History = dict[str, np.ndarray]


class Folder(NamedTuple):
    """Where a run keeps its checkpoints, and the fingerprint of the call that makes it."""

    path: str
    fingerprint: dict[str, str]


def check_folder(path: Any, every: Any) -> None:
    """Refuse what names no folder, and no number of epochs."""
    if path is None:
        if every is not None:
            raise ValueError(
                f"fit: every={describe(every)} needs checkpoint=, the folder to keep the run in."
            )
        return
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(
            f"fit: checkpoint expected a folder's path, such as 'runs/digits', got {describe(path)}."
        )
    if every is not None:
        check_whole("fit", "every", every)
    name = os.fsdecode(path)
    if not name or "\0" in name or (os.path.exists(name) and not os.path.isdir(name)):
        raise NotADirectoryError(f"fit: checkpoint expected a folder, got {name!r}, which is none.")


@contextlib.contextmanager
def held(path: str) -> Iterator[str]:
    """The folder, made if it is not there, for this run alone; what a killed run left half written goes."""
    path = os.path.abspath(path)  # wherever a callback goes
    os.makedirs(path, exist_ok=True)
    with _locked(path):
        for name in filter(HALF_WRITTEN.fullmatch, os.listdir(path)):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, name))
        yield path


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """The lock is the operating system's: it goes with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _lock(path, functools.partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child would hold it on
        os.close(descriptor)


def _lock(path: str, lock: Callable[[], None]) -> None:
    try:
        lock()
    except BlockingIOError:
        raise BlockingIOError(
            f"fit: another run is keeping its checkpoints in {path!r}: wait for its end, or give each run "
            "a folder of its own."
        ) from None
    except OSError:  # a file system without locks
        pass


def keep(folder: Folder, state: State, history: History) -> None:
    """Write the checkpoint of this epoch, and let those go that are older than the last few."""
    epoch = int(state.epoch)
    save(_file(folder.path, epoch), {"fingerprint": folder.fingerprint, "history": history, "state": state})
    older = [e for e in _epochs(folder.path) if e < epoch]
    for gone in older[: -(KEPT - 1)]:
        with contextlib.suppress(OSError):
            os.unlink(_file(folder.path, gone))


def newest(folder: Folder, like: State, epochs: int) -> tuple[State, tuple[History]] | None:
    """The state and the history of the newest checkpoint that can be read, or none in an empty folder.

    Raises ValueError where none of them can be read, where another call made it, and where it has made
    more than so many epochs.
    """
    damaged: list[str] = []
    for epoch in reversed(_epochs(folder.path)):
        name = _file(folder.path, epoch)
        try:
            tree = contents(name)
        except NewerFormatError:
            raise  # it is whole
        except ValueError as error:
            damaged.append(str(error))
            continue
        if damaged:
            said = "; ".join(damaged)
            warnings.warn(f"fit: {said}. It goes on from epoch {epoch}, the one before.", stacklevel=3)
        state, history = _resumed(folder, name, tree, like)
        check_total(f"the run in {folder.path!r}", epoch, epochs)
        return state, (history,)
    if damaged:
        raise ValueError(
            f"fit: no checkpoint in {folder.path!r} can be read: {'; '.join(damaged)}. Move them away to "
            "begin anew."
        )
    return None


def check_total(run: str, made: int, epochs: int) -> None:
    """Refuse a run that has made more epochs than it is to make."""
    if made > epochs:
        raise ValueError(
            f"fit: {run} has made {made} epochs, more than epochs={epochs}; with checkpoint= they are "
            "the total."
        )


def _resumed(folder: Folder, name: str, tree: Any, like: State) -> tuple[State, History]:
    parts = tree.get("parts", {})
    if set(parts) != {"fingerprint", "history", "state"}:
        raise ValueError(f"fit: {name!r} is no checkpoint of a run: give checkpoint= a folder of its own.")
    differing = unlike(dict(build(parts["fingerprint"], "", {})), folder.fingerprint)
    if differing:
        raise ValueError(
            f"fit: {name!r} was made by another call: {'; '.join(differing)}. Give what it was made with, "
            "or another folder. (To go on from it all the same: state=fnn.load(file)['state'].)"
        )
    seen: dict[str, Any] = {}
    check_alike(name, to_node(like, "tree", seen), parts["state"], "tree")
    history = build(parts["history"], "", {})
    return build(parts["state"], "tree", seen), {k: np.asarray(rows) for k, rows in history.items()}


def _file(path: str, epoch: int) -> str:
    return os.path.join(path, f"epoch-{epoch:08d}.fnn")


def _epochs(path: str) -> list[int]:
    """Of which epochs there are checkpoints, in order; what only looks like one is let alone."""
    names = [re.fullmatch(r"epoch-(\d{8}|[1-9]\d{8,})\.fnn", name) for name in os.listdir(path)]
    return sorted(int(name[1]) for name in names if name)
