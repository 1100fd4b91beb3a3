"""What a user holds → what JAX computes with: arrays of rows."""

import datetime
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.words import describe, place_of

__all__: list[str] = []


def as_array(values: Any, where: str) -> Any:
    """The values as one array, JAX's as it is; refuses a ragged list."""
    try:
        return values if isinstance(values, jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{where} expected rows of equal length, got {describe(values)}: {error}.") from None


def real_numbers(values: Any) -> np.ndarray:
    """The values in float64; refuses what NumPy makes floats of in silence: texts, dates, complex, masks."""
    array = np.asarray(values)
    if np.ma.is_masked(values):
        raise ValueError(
            f"row {np.argwhere(np.ma.getmaskarray(values))[0][0]} is masked: .filled(value) fills it"
        )
    texts = array.flat if array.dtype.kind in "USO" else ()
    for text in texts:
        if isinstance(text, str | bytes):
            raise ValueError(f"could not convert the text {describe(text)}, float(…) does")
    if array.dtype.kind in "cmM":
        mend = "give .real and .imag as columns" if array.dtype.kind == "c" else "count days from one of them"
        raise ValueError(f"got {array.dtype}: {mend}")
    return np.asarray(array, np.float64)


DATES = (np.datetime64, np.timedelta64, datetime.date, datetime.timedelta)


MENDS: tuple[tuple[Callable[[Any], bool], str], ...] = (  # by the first entry that is no real number
    (lambda entry: hasattr(entry, "toarray"), "A sparse matrix goes in whole: call .toarray()."),
    (lambda entry: hasattr(entry, "fieldnames"), "The rows of a CSV file go through fnn.encode."),
    (lambda entry: isinstance(entry, Iterator), "Its rows come only once: give numpy.asarray(list(…))."),
    (lambda entry: isinstance(entry, numbers.Complex), "Give its parts as columns, .real and .imag."),
    (lambda entry: isinstance(entry, DATES), "Count days: (dates - dates[0]) / numpy.timedelta64(1, 'D')."),
    (lambda entry: True, "Columns of text go through fnn.encode, names of classes through fnn.labels."),
)  # fmt: skip


# Into arrays --------------------------------------------------------------------------------------


def as_arrays(tree: Any, name: str) -> Any:
    """The tree with its lists, tables and NumPy arrays as arrays of types that JAX has on.

    float64 becomes JAX's float. Refused: text, objects, and numbers that the narrower type cannot hold.
    """
    if _is_leaf(tree):
        return _as_array(tree, name)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _as_array(leaf, name + jax.tree_util.keystr(path)), tree, is_leaf=_is_leaf
    )


def _is_leaf(value: Any) -> bool:
    return isinstance(value, list | Iterator) or hasattr(value, "__array__")


def _as_array(value: Any, name: str) -> Any:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.complexfloating):
        value = np.asarray(value)
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise TypeError(f"{name} expected numbers, got random keys of shape {value.shape}.")
        return value
    if hasattr(value, "columns") and hasattr(value, "items"):
        return _from_table(value, name)
    if np.ma.is_masked(value):
        place = np.argwhere(np.ma.getmaskarray(value))[0]
        raise ValueError(
            f"{name} expected a number everywhere, got a masked entry in {place_of(place)}. Leave the row "
            "out, or fill it: .filled(value)."
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} expected rows of equal length, got a ragged list: {error}.") from None
    kind = getattr(getattr(value, "dtype", array.dtype), "kind", array.dtype.kind)
    is_void = array.dtype.kind == "V" and array.dtype.isbuiltin != 2  # 2: bfloat16 and its like
    if {kind, array.dtype.kind} - set("biufV") or is_void:
        entries = np.asarray(value, object) if isinstance(value, list) else array  # numbers beside texts
        dtype = getattr(value, "dtype", array.dtype) if array.ndim else array.dtype
        raise _no_numbers(array, entries, dtype, name)
    return _narrowed(array, name)


def _from_table(table: Any, name: str) -> np.ndarray:
    """A data frame, column by column: each has a type of its own, and a name for the message."""
    columns = [_as_array(column, f"{name}, column {label!r},") for label, column in table.items()]
    return np.column_stack(columns) if columns else np.zeros((len(table), 0), np.float32)


def _no_numbers(array: np.ndarray, entries: np.ndarray, dtype: Any, name: str) -> TypeError:
    """What an array of other things than numbers is told: its first such entry, and what to do with it."""
    wrong = (i for i, entry in enumerate(entries.flat) if not isinstance(entry, numbers.Real))
    first = next(wrong, None)
    if first is None:
        got, mend = (
            str(dtype),
            "If its entries are quantities, give .astype(float); categories go through fnn.encode.",
        )
    else:
        place = np.unravel_index(first, array.shape)
        entry = entries[place]
        got = describe(entry) + (f" in {place_of(place)}" if array.ndim else "")
        mend = next(mend for fits, mend in MENDS if fits(entry))
    return TypeError(f"{name} expected numbers, got {got} ({dtype} of shape {array.shape}). {mend}")


def _narrowed(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # NumPy's longdouble
    native = array.dtype.newbyteorder("=")
    dtype = jax.dtypes.canonicalize_dtype(native)
    if dtype == array.dtype:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if dtype == native:
        return narrow
    lost = narrow != array if array.dtype.kind in "iu" else np.isinf(narrow) & ~np.isinf(array)
    if np.any(lost):
        place = tuple(int(i) for i in np.argwhere(lost)[0])
        raise ValueError(
            f"{name} holds {array[place]} at {place}, which {dtype} cannot hold. Scale the column "
            "(fnn.standardize), or turn on JAX's 64-bit types (jax_enable_x64)."
        )
    return narrow


def row_count(**trees: Any) -> int:
    """The length of the leading axis that all arrays share; None after the first counts for nothing."""
    first, x = next(iter(trees.items()))
    if not jax.tree.leaves(x):
        raise TypeError(f"{first} expected an array of rows, or a tree of such arrays, got {describe(x)}.")
    found: dict[str, tuple[int, ...]] = {}
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            where = name + jax.tree_util.keystr(path)
            found[where] = jnp.shape(leaf)
            if not found[where]:
                raise ValueError(
                    f"{where} expected rows on its first axis, got a single number, {leaf}. Rows in tuples "
                    f"go in as numpy.asarray({name})."
                )
    counts = {shape[0] for shape in found.values()}
    if len(counts) > 1:
        listed = ", ".join(f"{where} has {shape[0]}" for where, shape in found.items())
        raise ValueError(f"expected the same number of rows everywhere, got: {listed}.{_turned(found)}")
    if 0 in counts:
        raise ValueError(f"expected at least one row, got none in {', '.join(found)}.")
    return counts.pop()


def _turned(found: dict[str, tuple[int, ...]]) -> str:
    """The mend where one array would have as many rows as the others if it were transposed."""
    for where, shape in found.items():
        if {other[0] for name, other in found.items() if name != where} == set(shape[1:2]) and len(
            shape
        ) == 2:
            return f" {where} of shape {shape} looks transposed: rows go on the first axis, {where}.T."
    return ""
