"""The words for what came: functions, values, shapes and places, in a message."""

import contextlib
import functools
import inspect
import reprlib
from collections.abc import Mapping
from typing import Any

import chex
import jax
import numpy as np

__all__: list[str] = []


def name_of(function: Any) -> str:
    """What a function is called in a message, with the options bound to it."""
    if type(function) is tuple:
        return f"({', '.join(map(name_of, function))})"
    if isinstance(function, Mapping):
        return f"{{{', '.join(f'{key!r}: {name_of(value)}' for key, value in function.items())}}}"
    if not callable(function):
        return repr(function)
    if not isinstance(function, functools.partial):
        return str(getattr(function, "__name__", type(function).__name__))
    options = [
        *map(name_of, function.args),
        *(f"{key}={name_of(value)}" for key, value in function.keywords.items()),
    ]
    return name_of(function.func) + (f"({', '.join(options)})" if options else "")


def describe(value: Any) -> str:
    """What came, in a few words, for a message: no long list, no address in memory."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bytes | int | float | complex | None) or hasattr(value, "forward_train"):
        return reprlib.repr(value)
    if callable(value):
        return f"the function {name_of(value)}"
    kind = "array" if isinstance(value, jax.Array) else type(value).__name__
    kind = f"{'an' if kind[0] in 'AEIOUaeiou' or kind == 'ndarray' else 'a'} {kind}"
    if not hasattr(value, "__array__"):
        return kind
    holds_objects = getattr(getattr(value, "dtype", None), "hasobject", False)  # their words have addresses
    return f"{kind} of shape {tuple(value.shape)}" if np.ndim(value) or holds_objects else repr(value)


def signature(function: Any) -> str:
    """What a function takes, for a message; nothing where that cannot be read."""
    with contextlib.suppress(TypeError, ValueError):
        return str(inspect.signature(function)) if callable(function) else ""
    return ""


def is_array(value: Any) -> bool:
    """Whether this is JAX's or NumPy's array: tables have a dtype too, and so has the type np.float32."""
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def place_of(index: Any) -> str:
    """The place of an entry, for a message: " in row 3, column 1"; nothing for a single number."""
    row, column = list(index)[:1], list(index)[1:]
    where = f" in row {row[0]}" if row else ""
    return where + (f", column {', '.join(map(str, column))}" if column else "")


def shapes(x: chex.ArrayTree) -> str:
    """The shapes and types of a tree, for a message."""
    leaves, structure = jax.tree.flatten(x)
    words = [f"shape {tuple(v.shape)} {v.dtype}" if hasattr(v, "shape") else repr(v) for v in leaves]
    return words[0] if words and jax.tree_util.treedef_is_leaf(structure) else f"[{'; '.join(words)}]"


def unexpected(where: str, expected: str, got: Any, fix: str = "") -> str:
    """A message: where, what was expected, what came (as words, or a value to be described), the remedy."""
    came = got if isinstance(got, Words) else describe(got)
    return f"{where} expected {expected}, got {came}. {fix}".rstrip()


class Words(str):
    """What came, already in words."""
