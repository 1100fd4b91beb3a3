"""a pytree ↔ a file: `save` writes every bit of the arrays, `load` reads them back.

The file is an archive of arrays, each named by its path ("tree['layers'][0]['weight']"). bfloat16 and
similar types are saved as integers with the same bits, random keys as their numbers. The entry "structure"
is a JSON text as uint8: the version of the format and the description of the tree.
"""

import json
import os
from typing import Any

import numpy as np

from fnn.saving.archive import read_archive, write
from fnn.saving.description import Node, build, differences, entry_kind, fill, to_node, to_numpy

__all__ = ["load", "save"]


VERSION = 2  # 1 had no checksum


class NewerFormatError(ValueError):
    """An undamaged file that a later version of fnn wrote."""


def save(path: str | os.PathLike[str], tree: object) -> None:
    """Write a tree to the file `path`, completely or not at all. No suffix is added to the path.

    A tree consists of dicts with str keys, lists, tuples and NamedTuples of JAX and NumPy arrays, random
    keys, bool, int, float, complex, str and None. An old file is replaced in one step: a reader sees
    either the old or the new one, and if saving fails the old file is unchanged. Equal trees give equal
    files.

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     sorted(np.load(folder + "/network.fnn", allow_pickle=False))
    ['structure', "tree['weight']"]

    Raises TypeError for anything else in the tree, and OSError, which names the file, if the disk is full
    or cannot be written.
    """
    name, seen = _file_name("save", path), dict[str, Any]()
    text = json.dumps({"version": VERSION, "tree": to_node(tree, "tree", seen)})
    entries = {where: leaf for where, leaf in seen.items() if entry_kind(leaf)}
    arrays = {where: to_numpy(leaf, where) for where, leaf in entries.items()}
    write(name, {"structure": np.frombuffer(text.encode(), np.uint8), **arrays})


def load(path: str | os.PathLike[str], like: object = None) -> Any:
    """Read the tree that `save` wrote to the file `path`.

    `like` is a tree of arrays, keys, `jax.ShapeDtypeStruct`s and Python values, such as
    `jax.eval_shape(network.init, key, x)`: the file must have its structure, shapes and dtypes, and its
    NamedTuples are those of `like`. Without `like`, only fnn's own NamedTuples can be loaded: prepared
    data (Labels, Standardizer, Encoder) and runs (Fitted, State, Best, RuleState, ScheduledState).

    Arrays are JAX arrays of the saved dtype, or NumPy arrays if JAX has no such dtype (float64 and int64
    while x64 is off, text), so that no bit is lost.

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     load(folder + "/network.fnn", like={"weight": jnp.zeros(2), "epoch": 0})
    {'weight': Array([1., 1.], dtype=float32), 'epoch': 7}

    Raises ValueError for a damaged file, one of another kind or of a newer format, and a tree that differs
    from `like`; TypeError for a NamedTuple that needs `like`.
    """
    name, seen = _file_name("load", path), dict[str, Any]()
    wanted = None if like is None else to_node(like, "tree", seen)
    tree = contents(name)
    if wanted is not None:
        check_alike(name, wanted, tree, "tree")
    return build(tree, "tree", seen)


def _file_name(function: str, path: Any) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(
            f"{function} expected the file's path first, such as 'network.fnn', got a {type(path).__name__}."
        )
    name = os.fsdecode(path)
    if "\0" in name:
        raise ValueError(f"{function} expected the file's path, got {name!r}, which cannot name a file.")
    return name


def contents(name: str) -> Node:
    """The tree in a file as a node with its arrays; ValueError if it is damaged or no checkpoint."""
    try:
        arrays = read_archive(name)
        if "structure" not in arrays:
            raise ValueError("it has no entry named 'structure'; try np.load")
        text = json.loads(arrays.pop("structure").tobytes())
        if text["version"] > VERSION:
            raise NewerFormatError(f"its format is {text['version']}, not {VERSION}; update fnn")
        if text["version"] != VERSION:
            raise ValueError(f"its format is {text['version']}, not {VERSION}; save it again")
        tree = fill(text["tree"], "tree", arrays)
        if arrays:
            raise ValueError(f"it has the entry {sorted(arrays)[0]}, which its structure does not name")
        return tree
    except Exception as error:
        is_named = isinstance(error, OSError) and error.filename is not None  # not for a bad offset in it
        if isinstance(error, MemoryError) or is_named:
            raise
        reason = error if isinstance(error, ValueError) else f"malformed, {type(error).__name__}: {error}"
        kind = NewerFormatError if isinstance(error, NewerFormatError) else ValueError
        raise kind(f"{name!r} cannot be read as a checkpoint: {reason}") from error


def check_alike(name: str, wanted: Node, tree: Node, where: str) -> None:
    """Refuse a tree that differs from `wanted`; the message has the first five differences."""
    found = [*differences(wanted, tree, where)]
    if found:
        rest = [f"and {len(found) - 5} more"] if len(found) > 5 else []
        lines = [f"{name!r} does not match `like`:", *found[:5], *rest]
        raise ValueError("\n  ".join(lines) + "\nMake `like` with the network and optimizer that were saved.")
