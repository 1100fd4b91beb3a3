"""What a user holds → what JAX computes with: arrays of numbers, in rows."""

import datetime
import decimal
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.numbers import refuse
from fnn.guard.words import Words, describe, place_of, unexpected

__all__: list[str] = []


# The only reader of arrays ------------------------------------------------------------------------


def as_array(value: Any, name: str) -> Any:
    """The value as one array of real numbers: JAX's as it is, traced or not; of all else NumPy's.

    Tables and lists are read; text, dates, objects, complex numbers and masked entries are refused.
    """
    if isinstance(value, jax.Array):
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            raise TypeError(f"{name} expected numbers, got random keys of shape {value.shape}.")
        if jnp.iscomplexobj(value):
            got = f"{value.dtype} of shape {value.shape}"
            raise TypeError(f"{name} expected numbers, got {got}. {_fix_for(1j)}")
        return value
    if hasattr(value, "columns") and hasattr(value, "items"):  # of a table each column has its own type
        columns = [as_array(column, f"{name}, column {label!r},") for label, column in value.items()]
        return np.column_stack(columns) if columns else np.zeros((len(value), 0), np.float32)
    if np.ma.is_masked(value):
        fix = "Leave the row out, or fill it: .filled(value)."
        refuse(name, value, lambda _: np.ma.getmaskarray(value), "no masked entry", fix)
    try:
        array = np.asarray(value)
    except jax.errors.TracerArrayConversionError:  # in a list
        return as_array(jnp.asarray(value), name)
    except ValueError as error:
        raise ValueError(f"{name} expected rows of equal length, got a ragged list: {error}.") from None
    if array.dtype == object and {*map(type, array.flat)} == {decimal.Decimal}:  # as databases give them
        return array.astype(np.float64)
    kind = getattr(getattr(value, "dtype", array.dtype), "kind", array.dtype.kind)
    is_void = array.dtype.kind == "V" and array.dtype.isbuiltin != 2  # 2: bfloat16 and its like
    if {kind, array.dtype.kind} - set("biufV") or is_void:
        raise _not_numbers(value, array, name)
    return array


DATES = (np.datetime64, np.timedelta64, datetime.date, datetime.time, datetime.timedelta)


FIXES: tuple[tuple[Callable[[Any], bool], str], ...] = (  # by the first entry that is no real number
    (lambda entry: hasattr(entry, "toarray"), "A sparse matrix goes in whole: call .toarray()."),
    (lambda entry: hasattr(entry, "fieldnames"), "The rows of a CSV file go through fnn.encode."),
    (lambda entry: isinstance(entry, dict), "Rows as dicts go through fnn.encode; arrays go in one by one."),
    (lambda entry: isinstance(entry, Iterator), "Its rows come only once: give numpy.asarray(list(…))."),
    (
        lambda entry: isinstance(entry, DATES) or hasattr(entry, "to_timestamp"),
        "fnn.encode({'when': dates}, dates=['when']) makes days of dates, periods and durations.",
    ),
    (lambda entry: isinstance(entry, numbers.Complex), "Give its parts as columns, .real and .imag."),
    (lambda entry: True, "Columns of text go through fnn.encode, names of classes through fnn.labels."),
)  # fmt: skip


def _fix_for(entry: Any) -> str:
    return next(fix for fits, fix in FIXES if fits(entry))


def _not_numbers(value: Any, array: np.ndarray, name: str) -> TypeError:
    """The error for an array of other things than numbers: its first such entry, and what to do with it."""
    entries = np.asarray(value, object) if isinstance(value, list | tuple) else array  # numbers beside texts
    dtype = getattr(value, "dtype", array.dtype) if array.ndim else array.dtype
    wrong = (place for place, entry in np.ndenumerate(entries) if not isinstance(entry, numbers.Real))
    place = next(wrong, None)
    if place is None:
        got = f"{dtype}"
        fix = "If its entries are quantities, give .astype(float); categories go through fnn.encode."
        if array.dtype.kind == "m":  # durations, which are whole numbers to NumPy
            fix = _fix_for(np.timedelta64(1))
    else:
        got, fix = describe(entries[place]) + place_of(place), _fix_for(entries[place])
    return TypeError(f"{name} expected numbers, got {got} ({dtype} of shape {array.shape}). {fix}")


PLAIN = frozenset(map(np.dtype, ("bool", "int32", "float32")))  # JAX has these on, whatever else


# Trees of arrays ----------------------------------------------------------------------------------


def as_arrays(tree: Any, name: str) -> Any:
    """The tree with its lists, tables and NumPy arrays as arrays of types that JAX has on.

    float64 becomes JAX's float; numbers that the narrower type cannot hold are refused.
    """
    return _read(tree, name, _in_types_of_jax)


def as_rows(tree: Any, name: str) -> Any:
    """As `as_arrays`, and columns are refused whose different numbers would become one."""
    return _read(tree, name, _told_apart)


def as_exact(tree: Any, name: str) -> Any:
    """The tree as arrays of the types that they come in."""
    return _read(tree, name, as_array)


def _read(tree: Any, name: str, read: Callable[[Any, str], Any]) -> Any:
    if _is_leaf(tree):
        return read(tree, name)
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: read(leaf, name + jax.tree_util.keystr(path)), tree, is_leaf=_is_leaf
    )


def _is_leaf(value: Any) -> bool:
    return isinstance(value, list | Iterator) or hasattr(value, "__array__")


def _in_types_of_jax(value: Any, name: str) -> Any:
    if type(value) is np.ndarray and value.dtype in PLAIN:
        return value  # what almost every call brings
    array = as_array(value, name)
    if isinstance(array, jax.Array):
        return array
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)  # NumPy's longdouble
    native = array.dtype.newbyteorder("=")
    dtype = jax.dtypes.canonicalize_dtype(native)
    if dtype == array.dtype:
        return array.view()  # of its own: JAX remembers 32 bits for an array that a function closed over
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if dtype != native:
        whole = array.dtype.kind in "iu"
        if (narrow != array).any() if whole else not np.isfinite(narrow).all():
            lost = narrow != array if whole else np.isinf(narrow) & ~np.isinf(array)
            fix = "Scale the column (fnn.standardize), or turn on JAX's 64-bit types (jax_enable_x64)."
            refuse(name, array, lambda _: lost, f"numbers that {dtype} can hold", fix)
    return narrow


def _told_apart(value: Any, name: str) -> Any:
    narrow = _in_types_of_jax(value, name)
    if getattr(value, "dtype", None) != narrow.dtype:
        check_told_apart(as_array(value, name), name)
    return narrow


def check_told_apart(array: Any, name: str) -> None:
    """Refuse a column of known 64-bit numbers of which JAX's float would make one of two."""
    for column in np.flatnonzero(is_coarse(array)):
        numbers = np.unique(array[..., column] if array.ndim > 1 else array)
        rounded = numbers.astype(jnp.result_type(float))
        if (same := rounded[1:] == rounded[:-1]).any():
            one, other = numbers[same.argmax() :][:2].tolist()
            where = f"{name}, column {column}," if array.ndim > 1 else name
            got = Words(f"{one!r} and {other!r}, which are one number there")
            fix = "Subtract before it rounds: fnn.standardize(x)(x), or fnn.encode."
            raise ValueError(unexpected(where, f"numbers that {rounded.dtype} tells apart", got, fix))


LEVELS = 1024  # fewer steps of JAX's float than this from the least to the largest number are few


def is_coarse(array: Any) -> np.ndarray:
    """Which columns of known 64-bit numbers JAX's float rounds, to few levels; of others none."""
    known = isinstance(array, np.ndarray) and array.dtype in (np.float64, np.int64) and array.ndim
    if not known or not array.size or jnp.result_type(float) == np.float64:
        return np.zeros(0, bool)
    axes = tuple(range(max(array.ndim - 1, 1)))
    low, high = (each.astype(np.float64) for each in (array.min(axes), array.max(axes)))
    step = float(jnp.finfo(jnp.result_type(float)).eps) * np.maximum(abs(low), abs(high))
    with np.errstate(invalid="ignore"):  # of infinity
        few = np.atleast_1d(high - low < LEVELS * step)
    return few & (array != array.astype(jnp.result_type(float))).any() if few.any() else few


def shape_struct(leaf: Any, *shape: int) -> jax.ShapeDtypeStruct:
    """An array of this shape, in shapes only; of the leaf's type, or the one that JAX has on for it."""
    dtype = jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True)  # random keys are extended
    return jax.ShapeDtypeStruct(shape, dtype)


def is_list(leaf: Any) -> bool:
    """Whether a leaf is a list: its items are rows, where a tuple's are arrays."""
    return isinstance(leaf, list)


def row_count(**trees: Any) -> int:
    """The number of rows that all arrays and lists share; None after the first counts for nothing."""
    first, x = next(iter(trees.items()))
    if not jax.tree.leaves(x, is_leaf=is_list):
        raise TypeError(f"{first} expected an array of rows, or a tree of such arrays, got {describe(x)}.")
    found: dict[str, tuple[int, ...]] = {}
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_list):
            where = name + jax.tree_util.keystr(path)
            found[where] = (len(leaf),) if is_list(leaf) else tuple(getattr(leaf, "shape", ()))
            if not found[where]:
                got = leaf if np.ndim(leaf) else Words(f"a single number, {leaf}")
                fix = f"Rows in tuples go in as numpy.asarray({name})."
                raise ValueError(unexpected(where, "rows on its first axis", got, fix))
    counts = {shape[0] for shape in found.values()}
    if len(counts) > 1:
        each = ", ".join(f"{where} has {shape[0]}" for where, shape in found.items())
        raise ValueError(f"expected the same number of rows everywhere, got: {each}.{_transpose(found)}")
    if 0 in counts:
        raise ValueError(f"expected at least one row, got none in {', '.join(found)}.")
    return counts.pop()


def _transpose(found: dict[str, tuple[int, ...]]) -> str:
    """The fix where one array would have as many rows as the others if it were transposed."""
    for where, shape in found.items():
        others = {other[0] for name, other in found.items() if name != where}
        if len(shape) == 2 and others == {shape[1]}:
            return f" {where} of shape {shape} looks transposed: rows go on the first axis, {where}.T."
    return ""
