"""raw columns → arrays: a table of numbers, categories, dates and gaps becomes one array of features."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.data.cells import DATES, MISSING, Reading, refuse_disguised
from fnn.data.columns import NAMES, Table, as_list, each, first_few, read_table, refuse_names, refuse_twice
from fnn.data.features import Category, Cycle, Embedded, Number, numbers_of, read_numbers, refuse_in
from fnn.data.standardize import standardize
from fnn.guard.numbers import ABOVE_0, check_number, check_whole
from fnn.guard.words import Words, unexpected

__all__ = ["Encoder", "encode"]


Column = Number | Cycle | Category | Embedded
FEATURES = "features"  # the name of the array beside the ids of embedded columns


class Encoder(NamedTuple):
    """What `encode` learned of a table. Texts, numbers and truth values are all that it holds."""

    columns: tuple[Column, ...]
    allow_missing: bool
    reading: Reading = Reading()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features, such as "mass", "island=Biscoe" and "sex missing"."""
        return tuple(name for column in self.columns for name in _names(column))

    @property
    def counts(self) -> dict[str, int]:
        """How many ids each embedded column has, as `fnn.embedding` wants to know."""
        return {column.name: column.total for column in self.columns if isinstance(column, Embedded)}

    def __str__(self) -> str:
        """What each column was taken for, a line each."""
        width = max(len(column.name) for column in self.columns)
        gaps = {True: ", with missing values", False: ""}
        return "\n".join(f"{column.name:{width}}  {column}{gaps[column.gaps]}" for column in self.columns)

    def __call__(self, table: Table) -> Any:
        """The features of a table, (n, features): a NumPy array in JAX's float.

        With embedded columns it is a dict: the array under "features", and (n,) ids under the name of each.
        What `encode` refuses in the table it learns from is a ValueError here too, and so is a missing
        column. Columns that it did not learn are ignored.
        """
        read = read_table(table, list(dict.fromkeys(column.name for column in self.columns)))
        blocks: list[np.ndarray] = []
        ids: dict[str, np.ndarray] = {}
        for column in self.columns:
            features, missing = column.features(read[column.name], self.reading)
            if not self.allow_missing:
                _refuse_missing(column.name, read[column.name], missing)
            if isinstance(column, Embedded):
                ids[column.name] = features
            else:
                blocks += [features, missing[:, None]] if column.gaps else [features]
        x = {FEATURES: np.concatenate(blocks, axis=1, dtype=jnp.result_type(float))} if blocks else {}
        return {**x, **ids} if ids else x[FEATURES]

    def inverse(self, x: Any) -> dict[str, list[float | str | None]]:
        """Features (n, features) back to columns: None where a value was missing or unseen.

        Where a column had no gaps when learned, a missing number comes back as the mean. Dates come back
        as days since 1970-01-01, and what is a cycle alone as a number in its first period.
        """
        given = dict(x) if self.counts else {FEATURES: x}
        rows = len(next(iter(given.values())))
        x = np.asarray(given.get(FEATURES, np.zeros((rows, 0))), np.float64)
        widths = [len(_names(column)) for column in self.columns]
        if x.ndim != 2 or x.shape[1] != sum(widths):
            raise ValueError(f"Encoder.inverse: expected x (n, {sum(widths)}), got {x.shape}.")
        table: dict[str, list[float | str | None]] = {}
        for column, block in zip(self.columns, np.split(x, np.cumsum(widths)[:-1], axis=1)):
            if isinstance(column, Embedded):
                table[column.name] = list(column.inverse(np.asarray(given[column.name])))
                continue
            values = column.inverse(block[:, : len(column.names)])
            missing = block[:, -1] > 0.5 if column.gaps else np.zeros(len(x), bool)
            found = [None if m else value for m, value in zip(missing, values)]
            table.setdefault(column.name, found)
        return table


def encode(
    table: Table,
    *,
    columns: Iterable[str] | None = None,
    categories: Iterable[str] = (),
    embed: Iterable[str] = (),
    dates: Iterable[str] = (),
    cyclic: Mapping[str, float | Iterable[float]] | None = None,
    missing: Iterable[str] = MISSING,
    decimal: str = ".",
    thousands: str = "",
    units: Iterable[str] = (),
    max_categories: int = 1000,
    allow_missing: bool = True,
    allow_unseen: bool = False,
) -> Encoder:
    """The Encoder of a table: numbers are standardized, each category becomes a feature of its own.

    A table is rows as dicts (csv.DictReader too), a dict or pandas table of columns, or a dict of
    single values, which is one row. Its `columns`, or all of them, are read in that order. Printed, the
    encoder says what it took each column for.

    A column is of numbers if all of its values read as finite ones (" 3.5 " does, True does not)
    and `categories` does not name it; else of categories, which are compared as stripped text, so
    that 2, 2.0 and "2" are one. If half of the values are numbers and some are not, that is a
    ValueError, and so are columns whose texts look like numbers in another notation, dates or ids, and more
    than `max_categories`. Columns that `embed` names are of categories, of any number: each becomes an id for
    `fnn.embedding`, and what is missing or unseen the id 0. Numbers as texts are written with `decimal` and
    `thousands` marks, and with `units` such as ("€", "kg") before or behind. `dates` are columns of dates,
    times or durations: days since 1970-01-01, in UTC where they have a zone, are their numbers. `cyclic`
    gives the period, or several, of columns of numbers or dates (in days), {"hour": 24, "sold": (7,
    365.2425)}: their features are sin 2πx/P and cos 2πx/P, so that 23 h is near to 0 h. A date stays a number
    too if `dates` names it.

    None, NaN, pandas' NA, the empty text and those in `missing` (by default pandas' but "None") are
    missing values: a number then becomes the mean of this table, a category sets no feature, and a column
    with gaps in this table gets one more feature that is 1 where the value is missing. Without
    `allow_missing` they are a ValueError. A category that this table does not have is one unless
    `allow_unseen`.

    >>> birds = encode({"mass": [3.0, "5", 4], "sex": ["f", "m", None]})
    >>> print(birds)
    mass  number    mean 4, standard deviation 0.816497
    sex   category  2: 'f', 'm', with missing values
    >>> birds.names
    ('mass', 'sex=f', 'sex=m', 'sex missing')
    >>> birds({"mass": 4, "sex": "m"}).tolist()
    [[0.0, 0.0, 1.0, 0.0]]
    """
    read = read_table(table, None if columns is None else as_list("columns", columns, NAMES))
    chosen, days = _chosen("categories", categories, read), _chosen("dates", dates, read)
    embedded = _chosen_to_embed(embed, read, {*days, *(cyclic or ())})
    periods = _periods(cyclic or {}, read)
    most = check_whole("encode", "max_categories", max_categories)
    reading = _reading(missing, decimal, thousands, units)
    cycles = [name for name in periods if name not in days and not _is_numeric(name, read[name], reading)]
    reading = reading._replace(dates=(*days, *cycles))
    learned: list[Column] = []
    for name, cells in read.items():
        if name in periods:
            learned.append(_learn_cycle(name, cells, periods[name], reading))
        if name not in periods or name in days:
            found: Column = _learn(name, cells, name in (*chosen, *embedded), allow_unseen, reading)
            found = Embedded(*found) if name in embedded else found
            _check_few(found, most)
            learned.append(found._replace(gaps=found.gaps and name not in periods))
    for name in () if allow_missing else [column.name for column in learned if column.gaps]:
        _refuse_missing(name, read[name], np.isnan(numbers_of(name, read[name], reading)))
    encoder = Encoder(tuple(learned), allow_missing, reading)
    refuse_twice(encoder.names, "feature")
    return encoder


# The options --------------------------------------------------------------------------------------


def _chosen(option: str, names: Iterable[str], read: Mapping[str, Any]) -> list[str]:
    """The columns that an option names."""
    chosen = as_list(option, names, NAMES)
    refuse_names(chosen)
    for name in chosen:
        if name not in read:
            raise ValueError(f"encode: {option} names {name!r}, no column of {first_few(read)}.")
    return chosen


def _chosen_to_embed(names: Iterable[str], read: Mapping[str, Any], others: set[str]) -> list[str]:
    """The columns that become ids."""
    chosen = _chosen("embed", names, read)
    for name in chosen:
        if name in {*others, FEATURES}:
            why = f"{FEATURES!r} is the array of the others" if name == FEATURES else "an id has no distance"
            raise ValueError(f"encode: embed names {name!r}, but {why}: rename it, or leave it out.")
    return chosen


def _periods(cyclic: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    periods = {}
    for name in _chosen("cyclic", cyclic, read):
        given = cyclic[name] if isinstance(cyclic[name], Iterable) else [cyclic[name]]
        periods[name] = tuple(as_list("cyclic", given, "periods, such as {'hour': 24}"))
        for period in periods[name]:
            check_number("encode", f"cyclic[{name!r}]", period, ABOVE_0)
    return periods


def _reading(missing: Iterable[str], decimal: str, thousands: str, units: Iterable[str]) -> Reading:
    if not (len(decimal) == 1 and len(thousands) < 2 and decimal != thousands):
        got = Words(f"{decimal!r} and {thousands!r}")
        raise ValueError(unexpected("encode: decimal and thousands", "two different marks", got))
    texts = [as_list("missing", missing, "a list of texts"), as_list("units", units, "a list of texts")]
    missing, units = (tuple(str(text).strip() for text in given) for given in texts)
    return Reading(tuple(dict.fromkeys(("", *missing))), decimal, thousands, units)


# One column ---------------------------------------------------------------------------------------


def _is_numeric(name: str, cells: np.ndarray, reading: Reading) -> bool:
    return bool(np.isfinite(numbers_of(name, cells, reading)).any())


def _learn(
    name: str, cells: np.ndarray, category: bool, allow_unseen: bool, reading: Reading
) -> Number | Category:
    numbers = numbers_of(name, cells, reading)
    missing, other = np.isnan(numbers), np.isinf(numbers)
    _refuse_nothing(name, missing)
    if not category and name not in reading.dates and cells.dtype.kind in "mMO":
        is_date = [isinstance(cell, (np.datetime64, np.timedelta64, *DATES)) for cell in cells]
        fix = "Name the column in dates=, for days since 1970, or in cyclic=; or in categories=."
        refuse_in(np.array(is_date), name, cells, "texts or numbers", fix)
    texts = sum(isinstance(cell, (str, bool, *DATES)) for cell in cells[other])  # 1e999 is none
    if category or (name not in reading.dates and 2 * texts > len(cells) - missing.sum()):
        values = {text for text in each(reading.text, cells) if text is not None}
        if not category:
            refuse_disguised(f"encode: column {name!r}", values, len(cells), reading)
        ordered = sorted(values, key=lambda text: (reading.number(text), text))  # "9", then "10", then "a"
        return Category(name, tuple(ordered), bool(missing.any()), allow_unseen)
    mean, scale = standardize(read_numbers(name, cells, reading)[~missing])
    return Number(name, float(mean), float(scale), bool(missing.any()))


def _learn_cycle(name: str, cells: np.ndarray, periods: tuple[float, ...], reading: Reading) -> Cycle:
    missing = np.isnan(read_numbers(name, cells, reading))
    _refuse_nothing(name, missing)
    return Cycle(name, periods, bool(missing.any()))


def _refuse_nothing(name: str, missing: np.ndarray) -> None:
    if missing.all():
        raise ValueError(f"encode: all of column {name!r} is missing; leave it out of columns=.")


def _check_few(column: Column, most: int) -> None:
    if len(column.names) > most:
        raise ValueError(
            f"encode: column {column.name!r} has {len(column.names)} categories, more than max_categories="
            f"{most}, and each is a feature. Name it in embed=, leave it out, join rare ones, or allow more."
        )


def _names(column: Column) -> tuple[str, ...]:
    return (*column.names, f"{column.name} missing") if column.gaps and column.names else column.names


def _refuse_missing(name: str, cells: np.ndarray, missing: np.ndarray) -> None:
    fix = "Fill it in, drop the row, or encode with allow_missing=True."
    refuse_in(missing, name, cells, "no missing value", fix)
