"""What a user holds → what JAX computes with: arrays of rows."""

import datetime
import functools
import numbers
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.functions import said
from fnn.layer import Layer, shapes

__all__: list[str] = []

ROWS = 1021  # in shapes only: a number of rows that is no number of features by chance
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
        got = said(entry) + (f" in {place_of(place)}" if array.ndim else "")
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


def place_of(index: Any) -> str:
    """Where an entry stands, for a message."""
    row, *column = (int(i) for i in index)
    return f"row {row}" + (f", column {', '.join(map(str, column))}" if column else "")


# What rows must be --------------------------------------------------------------------------------


def check_finite(**trees: Any) -> None:
    """Refuse NaN and infinity, naming the row and the column: one of them would make every weight NaN."""
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            index = not_finite(leaf)
            if index is not None:
                raise ValueError(
                    f"{name}{jax.tree_util.keystr(path)} expected finite numbers, got "
                    f"{np.asarray(leaf)[index]} in {place_of(index)}. Leave the row out, or let fnn.encode "
                    "fill what is missing."
                )


def not_finite(leaf: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, if there is one; random keys have none."""
    if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
        return None
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating) or np.isfinite(array).all():
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])


def row_count(**trees: Any) -> int:
    """The length of the leading axis that all arrays share; None after the first counts for nothing."""
    first, x = next(iter(trees.items()))
    if not jax.tree.leaves(x):
        raise TypeError(f"{first} expected an array of rows, or a tree of such arrays, got {said(x)}.")
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


# What a network makes of them ---------------------------------------------------------------------


def suited(network: Layer, x: chex.ArrayTree) -> Any:
    """x as the network takes it: whole numbers as floats where it takes no ids, and rows, not one row."""
    x = as_floats(network, x)
    flat = any(leaf.ndim == 1 for leaf in jax.tree.leaves(x))
    y = outputs_for(network, x) if flat else None
    if any(leaf.shape[:1] != (ROWS,) for leaf in jax.tree.leaves(y)):
        raise ValueError(
            f"expected one prediction for each row of x, got predictions of {shapes(y)} from an input of "
            f"{shapes(x)}. One row goes in as x[None], a single column as x[:, None]; layers keep the "
            "leading axis."
        )
    return x


def as_floats(network: Layer, x: chex.ArrayTree) -> Any:
    """x with its whole numbers as floats, where the network takes no whole numbers.

    Ids stay ids: only a network that refuses them is given floats.
    """
    leaves = jax.tree.leaves(x)
    if all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        return x
    floats = jax.tree.map(lambda a: a.astype(jnp.result_type(float)), x)
    taken = (taken for taken in (x, floats) if outputs_for(network, taken) is not None)
    return next(taken, x)  # what fails for another reason is told so where it is used


def outputs_for(network: Layer, x: chex.ArrayTree) -> Any:
    """The shapes of the predictions for rows like those of x; None where the network does not take them."""
    leaves, structure = jax.tree.flatten(x)
    return _outputs(network, structure, tuple(((ROWS, *leaf.shape[1:]), leaf.dtype) for leaf in leaves))


@functools.lru_cache(maxsize=1024)
def _outputs(network: Layer, structure: Any, leaves: tuple[Any, ...]) -> Any:
    x = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    key = jax.eval_shape(jax.random.key, 0)
    try:
        return jax.eval_shape(lambda key, x: network.forward(network.init(key, x), x), key, x)
    except (TypeError, ValueError):
        return None
