"""raw columns → arrays: a table of numbers, categories and gaps becomes one array of features."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from fnn.data.columns import (
    NAMES,
    Table,
    as_list,
    as_text,
    first_few,
    read_table,
    refuse_cells,
    refuse_disguised,
    refuse_names,
    refuse_twice,
)
from fnn.data.standardize import Standardizer, standardize

__all__ = ["Encoder", "encode"]


class Number(NamedTuple):
    """A column of numbers: one feature, (x − mean)/scale, which is 0 where x is missing."""

    name: str
    mean: float
    scale: float
    gaps: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The name of the feature: the column's."""
        return (self.name,)

    def features(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The feature (n, 1), and whether a number is missing (n,)."""
        numbers = _numbers(cells)
        _refuse_not_finite(self.name, cells, numbers)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            z = Standardizer(self.mean, self.scale)(np.where(missing, self.mean, numbers))
            z = np.asarray(z).astype(jnp.result_type(float))
        near = f"a number near enough to the mean, {self.mean:.6g}, for {z.dtype}"
        _refuse(np.isinf(z), self.name, cells, near, "Fix it, or leave the row out.")
        return z[:, None], missing

    def inverse(self, features: np.ndarray) -> list[float]:
        """The numbers behind features (n, 1)."""
        x: list[float] = Standardizer(self.mean, self.scale).inverse(features[:, 0]).tolist()
        return x


class Category(NamedTuple):
    """A column of categories: a feature for each, 1 where it is the value, so none for a gap."""

    name: str
    values: tuple[str, ...]
    gaps: bool
    allow_unseen: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, such as "island=Biscoe"."""
        return tuple(f"{self.name}={value}" for value in self.values)

    def features(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features (n, values), and whether a category is missing (n,)."""
        missing, unseen = -1, -2
        places = {None: missing} | {value: place for place, value in enumerate(self.values)}
        found = np.array(_each(lambda cell: places.get(as_text(cell), unseen), cells))
        if not self.allow_unseen:
            known = f"one of the known categories {first_few(self.values)}"
            fix = "Fix the value, or encode with allow_unseen=True: it then sets no feature."
            _refuse(found == unseen, self.name, cells, known, fix)
        return found[:, None] == np.arange(len(self.values)), found == missing

    def inverse(self, features: np.ndarray) -> list[str | None]:
        """The largest of features (n, values), as text; None where it is not above 1/2."""
        places, largest = features.argmax(axis=1), features.max(axis=1)
        return [self.values[p] if top > 0.5 else None for p, top in zip(places, largest)]


class Encoder(NamedTuple):
    """What `encode` learned of a table. Texts, numbers and truth values are all that it holds."""

    columns: tuple[Number | Category, ...]
    allow_missing: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, such as "mass", "island=Biscoe" and "sex missing"."""
        return tuple(name for column in self.columns for name in _names(column))

    def __call__(self, table: Table) -> np.ndarray:
        """The features of a table, (n, features): a NumPy array in JAX's float.

        What `encode` refuses in the table it learns from is a ValueError here too, and so is a
        missing column. Columns that it did not learn are ignored.
        """
        read = read_table(table, [column.name for column in self.columns])
        blocks: list[np.ndarray] = []
        for column in self.columns:
            features, missing = column.features(read[column.name])
            if not self.allow_missing:
                _refuse_missing(column.name, read[column.name], missing)
            blocks += [features, missing[:, None]] if column.gaps else [features]
        return np.concatenate(blocks, axis=1, dtype=jnp.result_type(float))

    def inverse(self, x: chex.Array) -> dict[str, list[float | str | None]]:
        """Features (n, features) back to columns: None where a value was missing or unseen.

        Where a column had no gaps when learned, a missing number comes back as the mean.
        """
        x = np.asarray(x, np.float64)
        widths = [len(_names(column)) for column in self.columns]
        if x.ndim != 2 or x.shape[1] != sum(widths):
            raise ValueError(f"Encoder.inverse: expected x (n, {sum(widths)}), got {x.shape}.")
        table: dict[str, list[float | str | None]] = {}
        for column, block in zip(self.columns, np.split(x, np.cumsum(widths)[:-1], axis=1)):
            values = column.inverse(block[:, : len(column.names)])
            missing = block[:, -1] > 0.5 if column.gaps else np.zeros(len(x), bool)
            table[column.name] = [None if m else value for m, value in zip(missing, values)]
        return table


def encode(
    table: Table,
    *,
    columns: Iterable[str] | None = None,
    categories: Iterable[str] = (),
    allow_missing: bool = True,
    allow_unseen: bool = False,
) -> Encoder:
    """The Encoder of a table: numbers are standardized, each category becomes a feature of its own.

    A table is rows as dicts (csv.DictReader too), a dict or pandas table of columns, or a dict of
    single values, which is one row. Its `columns`, or all of them, are read in that order.

    A column is of numbers if all of its values read as finite ones (" 3.5 " does, True does not)
    and `categories` does not name it; else of categories, which are compared as stripped text, so
    that 2, 2.0 and "2" are one. If half of the values are numbers and some are not, that is a
    ValueError: fix those, or name the column in `categories`. So are columns whose texts look like
    numbers in another notation, dates or ids.

    None, NaN, pandas' NA and the texts of fnn.data.columns.MISSING are missing values: a number then
    becomes the mean of this table, a category sets no feature, and a column with gaps in this
    table gets one more feature that is 1 where the value is missing. Without `allow_missing` they
    are a ValueError. A category that this table does not have is one unless `allow_unseen`.

    >>> birds = encode({"mass": [3.0, "5", 4], "sex": ["f", "m", None]})
    >>> birds.names
    ('mass', 'sex=f', 'sex=m', 'sex missing')
    >>> birds({"mass": 4, "sex": "m"}).tolist()
    [[0.0, 0.0, 1.0, 0.0]]
    """
    read = read_table(table, None if columns is None else as_list("columns", columns, NAMES))
    chosen = as_list("categories", categories, NAMES)
    refuse_names(chosen)
    for name in chosen:
        if name not in read:
            raise ValueError(f"encode: categories names {name!r}, no column of {first_few(read)}.")
    learned = [_learn(n, cells, n in chosen, allow_unseen) for n, cells in read.items()]
    for column in learned:
        if column.gaps and not allow_missing:
            cells = read[column.name]
            _refuse_missing(column.name, cells, np.isnan(_numbers(cells)))
    encoder = Encoder(tuple(learned), allow_missing)
    refuse_twice(encoder.names, "feature")
    return encoder


def _learn(name: str, cells: np.ndarray, category: bool, allow_unseen: bool) -> Number | Category:
    numbers = _numbers(cells)
    missing, other = np.isnan(numbers), np.isinf(numbers)
    if missing.all():
        raise ValueError(f"encode: all of column {name!r} is missing; leave it out of columns=.")
    texts = sum(isinstance(cell, str | bool) for cell in cells[other])  # 1e999 is none
    if category or 2 * texts > len(cells) - missing.sum():
        values = {text for text in _each(as_text, cells) if text is not None}
        if not category:
            refuse_disguised(f"encode: column {name!r}", values, len(cells))
        ordered = sorted(values, key=lambda text: (_number(text), text))  # "9", then "10", then "a"
        return Category(name, tuple(ordered), bool(missing.any()), allow_unseen)
    _refuse_not_finite(name, cells, numbers)
    mean, scale = standardize(numbers[~missing])
    return Number(name, float(mean), float(scale), bool(missing.any()))


def _names(column: Number | Category) -> tuple[str, ...]:
    return (*column.names, f"{column.name} missing") if column.gaps else column.names


def _number(cell: object) -> float:
    """A cell as a number: NaN if it is missing, infinity if it is anything but a finite number."""
    text = as_text(cell)
    if text is None:
        return math.nan
    try:
        number = float(text.replace("_", "?"))  # Python would read 1_0 as 10
    except ValueError:
        return math.inf
    return number if math.isfinite(number) else math.inf


def _numbers(cells: np.ndarray) -> np.ndarray:
    return np.array(_each(_number, cells)) if cells.dtype == object else cells.astype(np.float64)


def _each(read: Callable[[object], Any], cells: np.ndarray) -> list[Any]:
    """Every cell read; equal ones only once, but 1, 1.0 and True are not equal here."""
    return list(map(functools.lru_cache(None, typed=True)(read), cells.tolist()))


def _refuse(wrong: np.ndarray, name: str, cells: np.ndarray, expected: str, fix: str) -> None:
    refuse_cells(f"encode: column {name!r}", cells, wrong, expected, fix)


def _refuse_not_finite(name: str, cells: np.ndarray, numbers: np.ndarray) -> None:
    fix = "Fix it, or name the column in categories=."
    _refuse(np.isinf(numbers), name, cells, "finite numbers, as others are", fix)


def _refuse_missing(name: str, cells: np.ndarray, missing: np.ndarray) -> None:
    fix = "Fill it in, drop the row, or encode with allow_missing=True."
    _refuse(missing, name, cells, "no missing value", fix)
