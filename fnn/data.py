"""raw columns → arrays: split rows, standardize numbers, give classes ids, and ids one-hot rows.

Tables of mixed columns are read by `encode`, in encoding.py beside this file.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.columns import Label, class_ids, class_names, count_rows, is_list, place_name, some
from fnn.functions import as_array, check_key, real_numbers, said, whole_number

__all__ = ["Labels", "Standardizer", "labels", "one_hot", "split", "standardize"]


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
    rows = count_rows(arrays)
    size = _test_rows(fraction, rows)
    order: chex.Array = jax.random.permutation(key, rows)
    if not isinstance(order, jax.core.Tracer):
        order = np.asarray(order)  # lists, NumPy and pandas are taken on the host
    test = np.arange(rows) < size if stratify is None else _stratified(order, stratify, size)
    return _take(arrays, order[~test]), _take(arrays, order[test])


class Standardizer(NamedTuple):
    """The change of scale that `standardize` measured.

        z = (x − μ)/σ        x, z: (…, features)   μ, σ: (features,), or scalars for any x

    JAX arrays are computed in JAX's float, traced or not. Anything else is computed in float64
    NumPy, where a large offset costs no digits; z is then rounded to JAX's float, x is not.
    """

    mean: chex.Array
    scale: chex.Array

    def __call__(self, x: chex.Array) -> chex.Array:
        """The z of x; another number of columns than μ has is a ValueError."""
        z = (self._columns(x) - self.mean) / self.scale
        return z if isinstance(z, jax.Array) else z.astype(jnp.result_type(float))

    def inverse(self, z: chex.Array) -> chex.Array:
        """The x = σz + μ of z; another number of columns than μ has is a ValueError."""
        return self._columns(z) * self.scale + self.mean

    def _columns(self, x: chex.Array) -> chex.Array:
        x, columns = _floats(x, "Standardizer"), np.shape(self.mean)[-1:]
        if columns and x.shape[-1:] != columns:
            raise ValueError(
                f"Standardizer: made from {columns[0]} columns, but x of shape {x.shape} has "
                f"{x.shape[-1] if x.ndim else 'none'}. Give the same columns in the same order."
            )
        return x


def standardize(x: chex.Array) -> Standardizer:
    """The Standardizer that gives each column of x mean 0 and standard deviation 1.

        μ = mean(x)   σ² = mean((x − μ)²)      x: (…, features)   μ, σ: (features,)

    The means run over all axes but the last; a flat x, such as a target, is one column with
    scalars μ, σ. A constant column gets σ = 1, and so becomes 0. Concrete numbers are measured in
    float64 NumPy, and μ, σ stay so until `jax.jit` narrows them; traced ones in JAX's float.
    Measure the training rows only. No rows, NaN, infinity and text are a ValueError.

    >>> heights = standardize([160.0, 170.0, 180.0, 190.0])
    >>> heights.mean.item(), round(heights.scale.item() ** 2, 6)
    (175.0, 125.0)
    >>> heights.inverse(heights([175.0, 190.0])).round(4).tolist()
    [175.0, 190.0]
    """
    traced = isinstance(x, jax.core.Tracer)
    x = _floats(np.asarray(x) if isinstance(x, jax.Array) and not traced else x, "standardize")
    if not x.ndim or not x.size:
        raise ValueError(f"standardize: x of shape {x.shape} has no rows to take the mean of.")
    if not traced:
        _refuse_not_finite(x)
    axes = tuple(range(max(x.ndim - 1, 1)))
    origin = x[(0,) * len(axes)]
    shifted = x - origin  # exactly 0 in a constant column, and free of any large offset
    reach = abs(shifted).max(axes)
    reach = reach + (reach == 0)
    unit = shifted / reach  # in −1 … 1, so that its square neither overflows nor vanishes
    mean = unit.mean(axes)
    variance = ((unit - mean) ** 2).mean(axes)
    scale = reach * (variance + (variance == 0)) ** 0.5
    return Standardizer(origin + reach * mean, scale + (scale == 0))  # it may be too small to be a float


def one_hot(ids: chex.Array, classes: int) -> jax.Array:
    """Each id as a row of zeros with a single one: (…,) whole numbers → (…, classes) floats.

    An id outside 0 … classes − 1 is a ValueError; under `jax.jit`, where ids have no values yet,
    its row is all zeros.

    >>> one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    count = whole_number(classes, 1)
    if count is None:
        raise ValueError(f"one_hot(ids, classes): classes expected a count, at least 1, got {said(classes)}.")
    ids = as_array(ids, "one_hot(ids, classes): ids")
    ids = class_ids(ids, count, "one_hot")
    return jax.nn.one_hot(ids.astype(np.int32), count)  # int8 cannot count to 200 classes


class Labels(NamedTuple):
    """The classes that `labels` found, in the order of their ids."""

    classes: tuple[Label, ...]

    def __call__(self, values: object) -> np.ndarray:
        """Names of classes to int32 ids (n,); one that is none of the classes is a ValueError."""
        ids = {name: place for place, name in enumerate(self.classes)}
        names = class_names(values, "labels")
        for row, name in enumerate(names):
            if name not in ids:
                raise ValueError(
                    f"labels: row {row} holds {name!r}, which is none of the known classes "
                    f"{some(self.classes)}. Mend the value, or make labels of all the classes."
                )
        return np.array([ids[name] for name in names], np.int32)

    def inverse(self, ids: chex.Array) -> list[Label]:
        """Ids (n,) back to names of classes; an id that no class has is a ValueError."""
        ids = np.asarray(class_ids(ids, len(self.classes), "labels.inverse"))
        if ids.ndim != 1:
            raise ValueError(f"labels.inverse: expected ids (n,), got the shape {ids.shape}.")
        return [self.classes[place] for place in ids]


def labels(values: object) -> Labels:
    """The classes of a column: numbers by size, texts by alphabet, False before True.

    `values` is a list, an array or a pandas column. No rows, a missing value, and texts beside
    numbers are a ValueError.

    >>> species = labels(["gentoo", "adelie", "gentoo"])
    >>> species.classes, species(["gentoo", "adelie"]).tolist(), species.inverse([0, 1])
    (('adelie', 'gentoo'), [1, 0], ['adelie', 'gentoo'])
    """
    names = class_names(values, "labels")
    kinds = {isinstance(name, str): f"{name!r} in row {row}" for row, name in enumerate(names)}
    if len(kinds) != 1:
        found = " and ".join(kinds.values()) or "no rows"
        raise ValueError(f"labels: expected only texts or only numbers, got {found}.")
    return Labels(tuple(sorted(set(names))))


def _floats(x: chex.Array, function: str) -> chex.Array:
    if isinstance(x, jax.Array) and not jnp.iscomplexobj(x):
        return x.astype(jnp.result_type(float))
    try:
        return real_numbers(x)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{function}: expected numbers ({error}). encode(table) reads text and gaps."
        ) from error


def _refuse_not_finite(x: np.ndarray) -> None:
    table = x if x.ndim > 1 else x[:, None]
    for *rows, column in np.argwhere(~np.isfinite(table))[:1].tolist():
        raise ValueError(
            f"standardize: {place_name(rows)}, column {column} holds {table[(*rows, column)]}. "
            "Mend or drop the row, or use encode(table), which fills in what is missing."
        )


def _test_rows(fraction: Any, rows: int) -> int:
    try:
        size = round(fraction * rows)
    except (TypeError, ValueError, OverflowError):  # a text, None, NaN
        size = 0
    if not 0 < size < rows:
        raise ValueError(
            f"split: fraction={said(fraction)} of {rows} rows makes {size} test rows, but both parts "
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
    for row, name in enumerate(names):
        if isinstance(name, float) and not name.is_integer():
            raise ValueError(
                f"split: stratify needs classes, but row {row} holds {name}. Leave it out for a "
                "target of numbers, or give bins of it: numpy.digitize(y, edges)."
            )
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
