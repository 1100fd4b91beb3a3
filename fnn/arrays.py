"""What a user holds → what JAX computes with: arrays of rows."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.layer import Layer

__all__: list[str] = []


def as_arrays(tree: Any, name: str) -> Any:
    """The tree with its lists, tables and NumPy arrays as arrays of types that JAX has on.

    float64 becomes JAX's float. Refused: text, objects, and numbers that the narrower type cannot hold.
    """
    return jax.tree.map(lambda leaf: _as_array(leaf, name), tree, is_leaf=_is_array_like)


def _is_array_like(value: Any) -> bool:
    return isinstance(value, list) or hasattr(value, "__array__")


def _as_array(value: Any, name: str) -> Any:
    if isinstance(value, jax.Array):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} expected rows of equal length, got a ragged list: {error}.") from None
    if array.dtype.kind not in "biufV" or array.dtype.names:
        raise TypeError(
            f"{name} expected numbers, got {array.dtype} of shape {array.shape}. Columns of text go "
            "through fnn.encode, names of classes through fnn.labels."
        )
    return _narrowed(array, name)


def _narrowed(array: np.ndarray, name: str) -> np.ndarray:
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    if dtype == array.dtype:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    lost = narrow != array if array.dtype.kind in "iu" else np.isinf(narrow) & ~np.isinf(array)
    if np.any(lost):
        place = tuple(int(i) for i in np.argwhere(lost)[0])
        raise ValueError(
            f"{name} holds {array[place]} at {place}, which {dtype} cannot hold. Scale the column "
            "(fnn.standardize), or turn on JAX's 64-bit types (jax_enable_x64)."
        )
    return narrow


def check_finite(**trees: Any) -> None:
    """Refuse NaN and infinity, naming the row and the column: one of them would make every weight NaN."""
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            array = np.asarray(leaf)
            if not jnp.issubdtype(array.dtype, jnp.floating) or np.isfinite(array).all():
                continue
            row, *column = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
            where = f"row {row}" + (f", column {', '.join(map(str, column))}" if column else "")
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} expected finite numbers, got {array[(row, *column)]} in "
                f"{where}. Leave the row out, or let fnn.encode fill what is missing."
            )


def row_count(**trees: Any) -> int:
    """The length of the leading axis that everything named shares; None counts for nothing."""
    counts: dict[str, int] = {}
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            where = name + jax.tree_util.keystr(path)
            if jnp.ndim(leaf) == 0:
                raise ValueError(f"{where} expected rows on its first axis, got a single number.")
            counts[where] = leaf.shape[0]
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(f"expected the same number of rows everywhere, got: {listed}.")
    if not counts or 0 in counts.values():
        raise ValueError(f"expected at least one row, got none in {', '.join(counts) or 'x'}.")
    return next(iter(counts.values()))


def suited(network: Layer, x: chex.ArrayTree) -> Any:
    """x with its whole numbers as floats, where the network takes no whole numbers.

    Ids stay ids: only a network that refuses them is given floats.
    """
    leaves = jax.tree.leaves(x)
    if all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        return x
    try:
        jax.eval_shape(network.init, jax.random.key(0), x)
    except (TypeError, ValueError):
        floats = jax.tree.map(lambda a: a.astype(jnp.result_type(float)), x)
        try:
            jax.eval_shape(network.init, jax.random.key(0), floats)
        except (TypeError, ValueError):
            return x  # it fails for another reason, and is told so where it is used
        return floats
    return x
