"""raw columns → arrays: tables and columns, read and checked."""

import decimal
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import chex
import numpy as np

from fnn.data.cells import DATES, Reading, is_gap
from fnn.guard.arrays import as_array
from fnn.guard.numbers import refuse
from fnn.guard.words import Words, unexpected

__all__: list[str] = []


Label = str | int | float | bool


Table = Mapping[str, Any] | Iterable[Mapping[str, Any]]


NAMES = "a list of names, such as ['mass', 'sex']"


ROWS = "rows as dicts, as csv.DictReader(file) reads them, or a dict of columns"


def read_table(table: Table, wanted: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The wanted columns of a table, or all of them, in that order: one axis each, of one length.

    A table is rows as dicts, or anything with keys() and []: of columns, or of one row's values.
    """
    columns, rows = _columns_or_rows(table)
    if not any([columns, *rows]):
        raise ValueError("encode: the table is empty; it needs at least one row and one column.")
    every = columns or dict.fromkeys(name for row in rows for name in row)
    names = list(every if wanted is None else wanted)
    refuse_names(names)
    for place, source in enumerate(rows or [columns]):
        for name in names:
            if name not in source:
                where = f"row {place}" if rows else "the table"
                raise ValueError(f"encode: no column {name!r} in {where}, only {first_few(source)}.")
    found = {name: [row[name] for row in rows] if rows else columns[name] for name in names}
    cells = {name: flat_column(values, f"encode: column {name!r}") for name, values in found.items()}
    lengths = {len(column): name for name, column in cells.items()}
    if len(lengths) != 1 or 0 in lengths:
        each = " and ".join(f"{name!r} has {rows}" for rows, name in lengths.items())
        raise ValueError(f"encode: expected columns of equal length, got {each or 'no columns'}.")
    return cells


def _columns_or_rows(table: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The table as columns or as rows; the other is empty. A table of single values is one row."""
    if hasattr(table, "keys"):
        refuse_twice(table.keys(), "column")
        columns = dict(table)
        return (columns, []) if any(map(_is_column, columns.values())) else ({}, [columns])
    rows = as_list("table", table, ROWS)
    for place, row in enumerate(rows):
        if not hasattr(row, "keys"):
            raise ValueError(unexpected(f"encode: row {place} of the table", ROWS, row))
    return {}, list(map(dict, rows))


def _is_column(values: object) -> bool:
    return isinstance(values, list | tuple) or bool(getattr(values, "shape", ()))


def as_list(argument: str, values: Any, expected: str) -> list[Any]:
    """Anything iterable as a list; one text is not a list of its letters."""
    is_single = isinstance(values, str | bytes) or getattr(values, "shape", None) == ()
    if is_single or not isinstance(values, Iterable):
        raise TypeError(unexpected(f"encode: {argument}", expected, values))
    return list(values)


def refuse_names(names: Iterable[object]) -> None:
    """Refuse what is no name of a column, and a name that comes more than once."""
    for name in names:
        if not isinstance(name, str):
            fix = "Rename it, or list columns=. (csv.DictReader puts under None what a row has too many.)"
            raise ValueError(unexpected("encode: names of columns", "texts", name, fix))
    refuse_twice(names, "column")


def refuse_twice(names: Iterable[object], what: str) -> None:
    """Refuse a name that comes more than once."""
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(f"encode: the {what} {name!r} is there twice; rename or drop one.")


def flat_column(values: object, column: str) -> np.ndarray:
    """A column of any kind, (n,): numbers and dates of NumPy as they are, all else as Python objects.

    More than one axis, and a cell that is no text, number, truth value, date or gap, are a ValueError.
    """
    array = np.asarray(values, None if hasattr(values, "dtype") else object)
    if array.ndim != 1:
        got = Words(array.shape or type(values).__name__)
        expected, fix = "one flat list or array of texts or numbers", "A table gives its columns one by one."
        raise ValueError(unexpected(f"{column}:", expected, got, fix))
    if array.dtype.kind in "iuf":
        return array
    if array.dtype.kind in "mM":
        return array.astype(f"{array.dtype.kind}8[us]")  # of nanoseconds tolist makes integers
    cells = [_plain(cell) for cell in array.astype(object)]
    for row, cell in enumerate(cells):
        if is_gap(cell):
            cells[row] = cell if isinstance(cell, float) else None  # pandas' NA, NaT
        elif not isinstance(cell, (str, int, float, *DATES)):
            expected = "text, a number, a date, True, False or None"
            raise ValueError(unexpected(f"{column}: row {row}", expected, cell))
    floats = {*map(type, cells)} == {float}
    return np.fromiter(cells, float if floats else object, len(cells))


def _plain(cell: Any) -> Any:
    """A number of NumPy or of a database as Python's, a period as its begin; all else as it is."""
    if isinstance(cell, decimal.Decimal):
        return float(cell)
    if hasattr(cell, "to_timestamp"):
        return cell.to_timestamp()
    return cell.item() if isinstance(cell, np.generic) else cell


def each(read: Callable[[object], Any], cells: np.ndarray) -> list[Any]:
    """Every cell read; equal ones only once, but 1, 1.0 and True are not equal here."""
    return list(map(functools.lru_cache(None, typed=True)(read), cells.tolist()))


def class_names(values: object, column: str) -> list[Label]:
    """A column of classes as Python values, texts as `encode` reads them; a missing one is a ValueError."""
    read, cells = Reading(missing=()).text, flat_column(values, column).tolist()
    names: list[Any] = [read(cell) if isinstance(cell, str) else cell for cell in cells]
    is_date = [isinstance(name, DATES) for name in names]
    refuse_cells(column, names, is_date, "a class in every row", "Make texts of dates, with .astype(str).")
    fix = "Drop rows without a class, or give them one of their own, such as 'unknown'."
    missing = [Reading().text(name) is None for name in names]
    refuse_cells(column, names, missing, "a class in every row", fix)
    return names


def refuse_cells(column: str, cells: Any, wrong: Any, expected: str, fix: str) -> None:
    """Raise ValueError for the first cell that is `wrong`, a truth value for each."""
    refuse(column, np.asarray(cells, object), lambda _: wrong, expected, fix)


def class_ids(ids: chex.Array, classes: int, function: str) -> chex.Array:
    """Ids as an array: whole numbers, and where they are known, ids of the classes."""
    name = f"{function}: ids"
    ids = as_array(ids, name)
    if ids.dtype.kind not in "iub":
        fix = "Give ids.astype(int), or logits.argmax(-1)."
        raise ValueError(f"{name} expected whole numbers, got {ids.dtype} of shape {ids.shape}. {fix}")
    refuse(
        name, ids, lambda ids: (ids < 0) | (ids >= classes),
        f"class ids from 0 to {classes - 1} for {classes} classes", "",
    )  # fmt: skip
    return ids


def first_few(values: Iterable[object], most: int = 20) -> str:
    """Values for a message: the first of them, and how many more there are."""
    words = list(map(repr, values))
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
