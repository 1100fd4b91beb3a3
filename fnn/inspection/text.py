"""Numbers, arrays and formulas as lines of a text."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

__all__: list[str] = []

ENTRIES = 64  # of an array: a larger one is shown by its range


def six_digits(value: Any) -> str:
    """A number to six digits, as in every line of an explanation."""
    return f"{float(value) + 0.0:.6g}".replace("-", "−")  # + 0.0: a zero has no sign


def show_array(name: str, value: Any) -> Iterator[str]:
    """An array under its name; a tree array by array; a large array by its range."""
    if not hasattr(value, "shape"):
        yield from show_tree(name, value)
        return
    array = np.asarray(value)
    yield f"  {name}  {array.shape}"
    if array.size > ENTRIES:
        low, high = six_digits(array.min()), six_digits(array.max())
        yield f"      {array.size:,} numbers, too many to print: from {low} to {high}"
        return
    for row in array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1):
        yield "      " + " ".join(f"{six_digits(number):>12}" for number in row)


def show_tree(name: str, tree: Any) -> Iterator[str]:
    """The arrays of a tree, each under its place."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield from show_array(name + jax.tree_util.keystr(path), leaf)


def formula_of(function: Any) -> str:
    """The first line of a function's docstring: its formula, as fnn writes it."""
    inner = getattr(function, "func", function)
    doc = "" if isinstance(inner, type) else (getattr(inner, "__doc__", None) or "")
    return "".join(f":  {line.rstrip('.')}" for line in doc.strip().splitlines()[:1])
