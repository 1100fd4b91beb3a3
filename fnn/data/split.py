"""Rows in two parts: those that a network is trained on, and held-out ones that it is tested on."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.data.columns import class_names, refuse_cells
from fnn.data.labels import labels
from fnn.guard.arrays import is_list, row_count
from fnn.guard.numbers import check_key
from fnn.guard.words import describe

__all__ = ["split"]


def split(
    key: chex.PRNGKey, *arrays: chex.ArrayTree, fraction: float = 0.2, stratify: object = None
) -> tuple[tuple[chex.ArrayTree, ...], tuple[chex.ArrayTree, ...]]:
    """Shuffled rows in two parts, `(train, …), (test, …)`: of n rows round(fraction · n) are test.

    Each of `arrays` is a NumPy or JAX array, a list, a pandas table or column, or a tuple or dict
    of those, and stays what it is. `stratify`, a column of classes, gives each class its share of
    the test rows (largest remainders), and where there is room at least one row of both parts.
    Without it, arrays are split under `jax.jit` too. An empty part, unequal lengths, and a class
    of one row are a ValueError.

    >>> x, y = np.arange(8.0), ["a", "b"] * 4
    >>> (x_train, y_train), (x_test, y_test) = split(
    ...     jax.random.key(0), x, y, fraction=0.5, stratify=y)
    >>> x_train.shape, sorted(y_train), sorted(y_test)
    ((4,), ['a', 'a', 'b', 'b'], ['a', 'a', 'b', 'b'])
    """
    check_key("split(key, …)", key)
    if any(hasattr(leaf, "toarray") for leaf in jax.tree.leaves(arrays, is_leaf=is_list)):
        raise TypeError("split: arrays expected rows, got a sparse matrix: call its .toarray().")
    rows = row_count(arrays=arrays)
    size = _test_rows(fraction, rows)
    order: chex.Array = jax.random.permutation(key, rows)
    if not isinstance(order, jax.core.Tracer):
        order = np.asarray(order)  # lists, NumPy and pandas are taken on the host
    test = np.arange(rows) < size if stratify is None else _stratified(order, stratify, size)
    return _take(arrays, order[~test]), _take(arrays, order[test])


def _test_rows(fraction: Any, rows: int) -> int:
    try:
        size = round(fraction * rows)
    except (TypeError, ValueError, OverflowError):  # a text, None, NaN
        size = 0
    if not 0 < size < rows:
        raise ValueError(
            f"split: fraction={describe(fraction)} of {rows} rows makes {size} test rows, but both parts "
            "need one. Give more rows, or another fraction between 0 and 1 (0.2 is a fifth)."
        )
    return size


def _take(arrays: tuple[chex.ArrayTree, ...], rows: chex.Array) -> tuple[chex.ArrayTree, ...]:
    """The rows of every array; `rows` is a JAX array only while it is traced."""

    def take(column: chex.Array) -> chex.Array:
        if isinstance(column, list):
            return [column[row] for row in rows]
        column = getattr(column, "iloc", column)
        return jnp.asarray(column)[rows] if isinstance(rows, jax.Array) else column[rows]

    return tuple(jax.tree.map(take, arrays, is_leaf=is_list))


def _stratified(order: np.ndarray, stratify: object, size: int) -> np.ndarray:
    """Which places of the shuffled order are test rows, so that each class gives its share."""
    names = class_names(stratify, "stratify")
    if len(names) != len(order):
        raise ValueError(f"split: stratify has {len(names)} rows, the arrays have {len(order)}.")
    fix = "Leave it out for a target of numbers, or give bins of it: numpy.digitize(y, edges)."
    quantities = [isinstance(name, float) and not name.is_integer() for name in names]
    refuse_cells("split: stratify", names, quantities, "classes", fix)
    ids = labels(names)(names)
    counts = np.bincount(ids)
    if counts.min() == 1:
        row = ids.tolist().index(counts.argmin())
        raise ValueError(
            f"split: the class {names[row]!r} has a single row, row {row}, for two parts. Drop the "
            "row, join the class with another, or leave stratify out."
        )
    test, shuffled = np.zeros(len(order), bool), ids[order]
    for place, share in enumerate(_shares(counts, size)):
        test[np.flatnonzero(shuffled == place)[:share]] = True
    return test


def _shares(counts: np.ndarray, size: int) -> np.ndarray:
    """Whole numbers close to size · counts/n, of sum size, in 1 … counts − 1 if there is room."""
    exact = size * counts / counts.sum()
    least = int(size >= len(counts))
    most = counts - int(counts.sum() - size >= len(counts))
    shares: np.ndarray = np.clip(np.floor(exact).astype(int), least, most)
    while left := size - shares.sum():
        step = np.sign(left)
        room = shares < most if step > 0 else shares > least
        shares[np.argmax(np.where(room, step * (exact - shares), -np.inf))] += step
    return shares
