"""A column of a table ↔ its features: numbers, categories, and quantities that come round again."""

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.data.cells import Reading, days_of
from fnn.data.columns import each, first_few, refuse_cells
from fnn.data.standardize import Standardizer

__all__: list[str] = []


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

    def __str__(self) -> str:
        return f"number    mean {self.mean:.6g}, standard deviation {self.scale:.6g}"

    def features(self, cells: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """The feature (n, 1), and whether a number is missing (n,)."""
        numbers = read_numbers(self.name, cells, reading)
        missing = np.isnan(numbers)
        with np.errstate(over="ignore"):
            z = Standardizer(self.mean, self.scale)(np.where(missing, self.mean, numbers))
            z = np.asarray(z).astype(jnp.result_type(float))
        near = f"a number near enough to the mean, {self.mean:.6g}, for {z.dtype}"
        refuse_in(np.isinf(z), self.name, cells, near, "Fix it, or leave the row out.")
        return z[:, None], missing

    def inverse(self, features: np.ndarray) -> list[float]:
        """The numbers behind features (n, 1)."""
        x: list[float] = Standardizer(self.mean, self.scale).inverse(features[:, 0]).tolist()
        return x


class Cycle(NamedTuple):
    """A column that comes round again after a period P: the features sin 2πx/P, cos 2πx/P."""

    name: str
    periods: tuple[float, ...]
    gaps: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, such as "hour sin 24" and "hour cos 24"."""
        return tuple(f"{self.name} {wave} {period:g}" for period in self.periods for wave in ("sin", "cos"))

    def __str__(self) -> str:
        return f"cycle     of {', '.join(f'{period:g}' for period in self.periods)}"

    def features(self, cells: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """The features (n, 2 · periods), 0 where x is missing, and whether it is (n,)."""
        numbers = read_numbers(self.name, cells, reading)
        missing = np.isnan(numbers)
        angles = 2 * math.pi * np.where(missing, 0, numbers)[:, None] / np.asarray(self.periods)
        waves = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(len(numbers), -1)
        return np.where(missing[:, None], 0, waves), missing

    def inverse(self, features: np.ndarray) -> list[float]:
        """The numbers from 0 to the first period behind features (n, 2 · periods)."""
        turn = np.arctan2(features[:, 0], features[:, 1]) / (2 * math.pi)
        x: list[float] = (turn % 1 * self.periods[0]).tolist()
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

    def __str__(self) -> str:
        return f"category  {len(self.values)}: {first_few(self.values, 5)}"

    def features(self, cells: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """The features (n, values), and whether a category is missing (n,)."""
        found = _places(self, cells, reading)
        return found[:, None] == np.arange(len(self.values)), found == MISSING

    def inverse(self, features: np.ndarray) -> list[str | None]:
        """The largest of features (n, values), as text; None where it is not above 1/2."""
        places, largest = features.argmax(axis=1), features.max(axis=1)
        return [self.values[p] if top > 0.5 else None for p, top in zip(places, largest)]


class Embedded(NamedTuple):
    """A column of categories for `fnn.embedding`: an id for each, 0 for a gap and for what is unseen."""

    name: str
    values: tuple[str, ...]
    gaps: bool
    allow_unseen: bool

    @property
    def names(self) -> tuple[str, ...]:
        """No name of a feature: its ids stand beside the features."""
        return ()

    @property
    def total(self) -> int:
        """How many ids there are."""
        return len(self.values) + 1

    def __str__(self) -> str:
        return f"ids       {self.total}: 0, missing or unseen, and {first_few(self.values, 5)}"

    def features(self, cells: np.ndarray, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
        """The ids (n,), and whether a category is missing (n,)."""
        found = _places(self, cells, reading)
        return np.maximum(found + 1, 0).astype(np.int32), found == MISSING

    def inverse(self, ids: np.ndarray) -> list[str | None]:
        """The categories behind ids (n,); None for id 0."""
        return [self.values[i - 1] if i else None for i in ids.tolist()]


MISSING, UNSEEN = -1, -2  # in place of a category's place


def _places(column: Category | Embedded, cells: np.ndarray, reading: Reading) -> np.ndarray:
    """The place (n,) of each cell's category among those known; an unseen one is refused, or allowed."""
    places = {None: MISSING} | {value: place for place, value in enumerate(column.values)}
    found = np.array(each(lambda cell: places.get(reading.text(cell), UNSEEN), cells))
    if not column.allow_unseen:
        known = f"one of the known categories {first_few(column.values)}"
        fix = "Fix the value, or encode with allow_unseen=True: it is then treated as a missing one."
        refuse_in(found == UNSEEN, column.name, cells, known, fix)
    return found


def read_numbers(name: str, cells: np.ndarray, reading: Reading) -> np.ndarray:
    """The numbers of a column, NaN where one is missing; anything else is a ValueError."""
    numbers = numbers_of(name, cells, reading)
    fix = "Fix it, or name it in missing= if that is what it means, or the column in categories=."
    expected = "finite numbers, as others are"
    if name in reading.dates:
        expected = "dates or times as ISO 8601 writes them"
        fix = "Fix it, or read the column with pandas.to_datetime first."
    refuse_in(np.isinf(numbers), name, cells, expected, fix)
    return numbers


def numbers_of(name: str, cells: np.ndarray, reading: Reading) -> np.ndarray:
    """The numbers (n,) of a column, days of dates: NaN if one is missing, infinity if it is no number."""
    if name in reading.dates:
        return days_of(cells, reading)
    if cells.dtype.kind in "mM":
        return np.full(len(cells), np.inf)
    return np.array(each(reading.number, cells)) if cells.dtype == object else cells.astype(np.float64)


def refuse_in(wrong: np.ndarray, name: str, cells: np.ndarray, expected: str, fix: str) -> None:
    """Raise ValueError for the first cell of a column that is `wrong`."""
    refuse_cells(f"encode: column {name!r}", cells, wrong, expected, fix)
