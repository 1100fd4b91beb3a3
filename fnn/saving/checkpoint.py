"""a pytree ↔ a file: `save` keeps every bit of the arrays, `load` gives them back.

The file is an archive of arrays under their paths ("tree['layers'][0]['weight']"), bfloat16 and its
like as integers of the same bits, random keys as their numbers; beside them "structure", a JSON text
as uint8: the format's version, and the tree's description.
"""

import json
import os
from typing import Any

import numpy as np

from fnn.saving.archive import read, write
from fnn.saving.description import Node, build, differences, entry_kind, filled, stored, to_node

__all__ = ["load", "save"]


VERSION = 2  # 1 had no checksum


class NewerFormatError(ValueError):
    """A file that a later fnn wrote: whole, and not for this one."""


def save(path: str | os.PathLike[str], tree: object) -> None:
    """Write a tree to the file `path`, used as given, whole or not at all.

    A tree is dicts with str keys, lists, tuples and NamedTuples of JAX and NumPy arrays, random
    keys, bool, int, float, complex, str and None; anything else is a TypeError. The new file takes
    the old one's place in one step: a reader meets the one or the other, and a failed save leaves
    the old one as it was. Equal trees give equal files.

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     sorted(np.load(folder + "/network.fnn", allow_pickle=False))
    ['structure', "tree['weight']"]

    Raises OSError, which names the file, where the disk is full or may not be written.
    """
    name, seen = _file_name("save", path), dict[str, Any]()
    text = json.dumps({"version": VERSION, "tree": to_node(tree, "tree", seen)})
    entries = {where: leaf for where, leaf in seen.items() if entry_kind(leaf)}
    arrays = {where: stored(leaf, where) for where, leaf in entries.items()}
    write(name, {"structure": np.frombuffer(text.encode(), np.uint8), **arrays})


def load(path: str | os.PathLike[str], like: object = None) -> Any:
    """The tree that `save` wrote to the file `path`.

    With `like`, a tree of arrays, keys, `jax.ShapeDtypeStruct`s and Python values (each for any of
    its type) such as `jax.eval_shape(network.init, key, x)`, it has that structure, shapes, dtypes.
    Without, the only NamedTuples known are fnn's own: prepared data (Labels, Standardizer, Encoder)
    and runs (State, Best, RuleState).
    Arrays come as JAX arrays of the saved dtype, or as NumPy arrays where JAX has no such dtype
    (float64 and int64 while x64 is off, text), so that no bit is lost. A damaged or foreign file, a
    newer format, and a tree unlike `like` is a ValueError; a NamedTuple that needs `like` a TypeError.

    >>> import tempfile, jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     load(folder + "/network.fnn", like={"weight": jnp.zeros(2), "epoch": 0})
    {'weight': Array([1., 1.], dtype=float32), 'epoch': 7}
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
        raise ValueError(f"{function} expected the file's path, got {name!r}, which no file can be named.")
    return name


def contents(name: str) -> Node:
    """The tree of a file as it describes itself, its arrays filled in; ValueError for a bad file."""
    try:
        arrays = read(name)
        if "structure" not in arrays:
            raise ValueError("it has no entry named 'structure'; np.load may open it")
        text = json.loads(arrays.pop("structure").tobytes())
        if text["version"] > VERSION:
            raise NewerFormatError(f"its format is {text['version']}, not {VERSION}; update fnn")
        if text["version"] != VERSION:
            raise ValueError(f"its format is {text['version']}, not {VERSION}; save it anew")
        tree = filled(text["tree"], "tree", arrays)
        if arrays:
            raise ValueError(f"it holds {sorted(arrays)[0]}, which its structure does not name")
        return tree
    except Exception as error:
        is_named = isinstance(error, OSError) and error.filename is not None  # a place that lies is not
        if isinstance(error, MemoryError) or is_named:
            raise
        said = error if isinstance(error, ValueError) else f"malformed, {type(error).__name__}: {error}"
        kind = NewerFormatError if isinstance(error, NewerFormatError) else ValueError
        raise kind(f"{name!r} cannot be read as a checkpoint: {said}") from error


def check_alike(name: str, wanted: Node, tree: Node, where: str) -> None:
    """Refuse a tree that is not as wanted, with the first five places where it differs."""
    found = [*differences(wanted, tree, where)]
    if found:
        rest = [f"and {len(found) - 5} more"] if len(found) > 5 else []
        lines = [f"{name!r} does not fit `like`:", *found[:5], *rest]
        raise ValueError("\n  ".join(lines) + "\nMake `like` with the same network and optimizer.")
