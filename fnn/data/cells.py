"""One cell of a table: as text, as a number, as days; which texts mean that it is missing."""

import datetime
import math
import re
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

__all__: list[str] = []


# Texts that mean a missing value: pandas' list but for None, which is a category where a house has no cellar.
MISSING = (
    *("", "NA", "N/A", "n/a", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-NaN", "-nan", "NaT"),
    *("NULL", "null", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)


class Reading(NamedTuple):
    """How the texts of a table are read."""

    missing: tuple[str, ...] = MISSING
    decimal: str = "."
    thousands: str = ""
    units: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()

    def text(self, cell: object) -> str | None:
        """A cell as stripped text, "2" for 2.0 and "2.0"; None if it is missing, by itself or as a text.

        A whole number that was once a float has zeros after its decimal mark: "2.000" is 2 where that is ".",
        and stays as it is where "." separates thousands.
        """
        text = str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()
        if is_gap(cell) or (isinstance(cell, str) and text in self.missing):
            return None
        if not isinstance(cell, str):
            return text
        whole, mark, rest = text.partition(self.decimal)
        return whole if mark and WHOLE.fullmatch(whole) and set(rest) == {"0"} else text

    def number(self, cell: object) -> float:
        """A cell as a number: NaN if it is missing, infinity if it is anything but a finite number."""
        text = self.text(cell)
        if text is None:
            return math.nan
        if isinstance(cell, str):
            text = self._plain(text)
        try:
            number = float(text)
        except ValueError:
            return math.inf
        return number if math.isfinite(number) else math.inf

    def _plain(self, text: str) -> str:
        """The text of a number as Python writes it; "?" for what is none in this notation."""
        for unit in self.units:
            text = text.removeprefix(unit).removesuffix(unit).strip()
        if self.thousands:
            whole, mark, rest = text.partition(self.decimal)
            if self.thousands in whole and not re.fullmatch(
                rf"[-+]?\d{{1,3}}({re.escape(self.thousands)}\d{{3}})+", whole
            ):
                return "?"  # 3.5 is not 35 where "." separates thousands
            text = whole.replace(self.thousands, "") + mark + rest
        if self.decimal != ".":
            text = text.replace(".", "?").replace(self.decimal, ".")
        return text.replace("_", "?")  # Python would read 1_0 as 10

    def days(self, cell: Any) -> float:
        """A date as days since 1970-01-01 (in UTC where it has a zone); a time of day or a duration in days.

        NaN if it is missing, infinity if it is none of these. Texts are as ISO 8601 writes them.
        """
        if self.text(cell) is None:
            return math.nan
        if isinstance(cell, str):
            cell = _from_iso(cell.strip())
        if isinstance(cell, datetime.time):
            cell = datetime.datetime.combine(EPOCH, cell)
        elif isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
            cell = datetime.datetime.combine(cell, datetime.time())
        if isinstance(cell, datetime.datetime):
            cell = cell.astimezone(datetime.UTC).replace(tzinfo=None) if cell.tzinfo else cell
            cell = cell - EPOCH
        return cell / datetime.timedelta(days=1) if isinstance(cell, datetime.timedelta) else math.inf


def is_gap(cell: object) -> bool:
    """Whether a cell is missing by itself: None, NaN, pandas' NA and NaT."""
    return cell is None or (not isinstance(cell, str) and str(cell).strip() in ("nan", "<NA>", "NaT"))


WHOLE = re.compile(r"-?(0|[1-9]\d*)")  # 02 is a code


EPOCH = datetime.datetime(1970, 1, 1)


DATES = (datetime.date, datetime.time, datetime.timedelta)


def _from_iso(text: str) -> Any:
    for kind in (datetime.datetime, datetime.time):
        try:
            return kind.fromisoformat(text)
        except ValueError:
            continue
    return None


# Texts that are hardly categories -----------------------------------------------------------------


# 3,5 and 1,000.00 and $ 5 and 12 kg
SIGNED = r"[€$£¥]?\s*[-+]?[€$£¥]?\s*\d[\d.,'\s]*([€$£¥%]|\s[A-Za-z°]{1,4})?"


DAY = r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}([T\s].*)?|\d{1,2}:\d{2}(:\d{2}.*)?"


MANY = 50  # different texts in more than half of the rows are hardly categories


def refuse_disguised(column: str, values: Collection[str], rows: int, reading: Reading) -> None:
    """Refuse texts that look like numbers, dates or ids: as categories each would be a feature of its own."""
    values = sorted(values)
    numbers = [value for value in values if math.isfinite(reading.number(value))]
    if len(numbers) == len(values) - 1 > 1:
        (marker,) = {*values} - {*numbers}
        raise ValueError(
            f"{column} has numbers, and {marker!r} in most rows. If that means missing, name it in missing=; "
            "if the numbers are codes, name the column in categories=."
        )
    days = "Name the column in dates= (2024-03-31 14:30 is read so; other ways by pandas.to_datetime)"
    for kind, (pattern, fix) in {
        "dates or times": (DAY, days),
        "numbers in another notation": (SIGNED, _notation_of(values)),
    }.items():
        like = [value for value in values if re.fullmatch(pattern, value)]
        if 2 * len(like) > len(values):
            found = f"{kind}, such as {like[0]!r}, {len(like)} of {len(values)} different values"
            raise ValueError(f"{column} looks like {found}. {fix}; or name it in categories=.")
    if len(values) > MANY and 2 * len(values) > rows:
        raise ValueError(
            f"{column} has {len(values)} different texts in {rows} rows, such as {min(values)!r}: an id, or "
            "free text. Leave it out of columns=; or name it in categories=, to have a feature of each."
        )


def _notation_of(values: Collection[str]) -> str:
    """The options that read most of the values as numbers, in the words of a call."""
    signs = (re.fullmatch(r"([€$£¥]?).*?([€$£¥%]|[A-Za-z°]*)", value) for value in values)
    units = tuple(sorted({unit for found in signs if found for unit in found.groups() if unit}))
    marks = [(".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (".", " "), (",", " ")]
    found: dict[str, int] = {}
    for decimal, thousands in marks:
        given = {"decimal": decimal, "thousands": thousands, "units": units}
        changed = {name: value for name, value in given.items() if value != getattr(Reading(), name)}
        words = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        read = Reading(decimal=decimal, thousands=thousands, units=units).number
        found[words] = sum(math.isfinite(read(value)) for value in values)
    most = max(found.values())
    best = [words for words, count in found.items() if count == most > 0][:2]
    return f"Give encode {' or '.join(best)}" if best else "Write them as 1234.5"


def days_of(cells: np.ndarray, reading: Reading) -> np.ndarray:
    """The days (n,) of a column."""
    if cells.dtype.kind == "M":
        return (cells - np.datetime64(0, "D")) / np.timedelta64(1, "D")
    if cells.dtype.kind == "m":
        return cells / np.timedelta64(1, "D")
    return np.array([reading.days(cell) for cell in cells.tolist()])
