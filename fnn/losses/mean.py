"""The mean that every cost takes: weighted over the leading axes, blind to what has no weight."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.arrays import as_array
from fnn.losses.targets import Pair, Takes, check_taken

__all__: list[str] = []


def weighted_mean(values: jax.Array, sample_weight: ArrayLike | None) -> jax.Array:
    """Σ w·v / Σ w over every axis, w: a prefix of v's axes; 0 where no weight is left.

    >>> weighted_mean(jnp.array([[1.0, 3.0], [9.0, 9.0]]), jnp.array([1.0, 0.0]))
    Array(2., dtype=float32)
    """
    if sample_weight is None:
        return values.mean()
    weight = spread(sample_weight, values)
    total = weight.sum()
    return jnp.where(total == 0, 0, (weight * values).sum() / jnp.where(total == 0, 1, total))


def mean_slope(values: jax.Array, sample_weight: ArrayLike | None) -> ArrayLike:
    """The derivative of the weighted mean with respect to each value: 1/n, or w/Σw."""
    if sample_weight is None:
        return 1 / values.size
    weight = spread(sample_weight, values)
    total = weight.sum()
    return jnp.where(total == 0, 0, weight / jnp.where(total == 0, 1, total))


def spread(sample_weight: ArrayLike, values: jax.Array) -> jax.Array:
    """The weights of the leading axes, given to everything under them."""
    dtype = jnp.promote_types(values.dtype, jnp.float32)  # whole numbers would make 0 of a weight of ½
    weight = jnp.asarray(as_array(sample_weight, "sample_weight")).astype(dtype)
    if weight.shape != values.shape[: weight.ndim]:
        raise ValueError(
            f"sample_weight expected one weight a row, of shape {values.shape[:1]}, or of more leading "
            f"axes of {values.shape}; got shape {weight.shape}."
        )
    trailing = (1,) * (values.ndim - weight.ndim)
    return jnp.broadcast_to(weight.reshape(weight.shape + trailing), values.shape)


def without_weightless(values: jax.Array, sample_weight: ArrayLike | None) -> jax.Array:
    """The values, with 0 where there is no weight: what they hold counts in no value and no slope.

    Weighting comes too late for that: 0 · NaN is NaN.
    """
    if sample_weight is None:
        return values
    return jnp.where(spread(sample_weight, values) == 0, 0, values)


def read_pair(
    takes: Takes, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """Predictions and targets as JAX's arrays, and predictions of at least float32, once they are checked."""
    p, t = as_array(predictions, f"{takes.name}: predictions"), as_array(targets, f"{takes.name}: targets")
    check_taken(takes, Pair(takes.name, p, t, sample_weight), options)
    p = jnp.asarray(p)
    return p.astype(jnp.promote_types(p.dtype, jnp.float32)), jnp.asarray(t)


def read_error(
    takes: Takes, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> jax.Array:
    """e = ŷ − y, and 0 where there is no weight; known 64-bit numbers are narrowed after it is taken."""
    p, t = as_array(predictions, f"{takes.name}: predictions"), as_array(targets, f"{takes.name}: targets")
    if is_known_to_be_wide(p, t) and np.shape(p) == np.shape(t):  # else they are refused below
        p = np.subtract(p, t, dtype=np.float64)
        t = np.zeros_like(p)
    p, t = read_alike(takes, p, t, sample_weight, **options)
    return p - t


def is_known_to_be_wide(*arrays: Any) -> bool:
    """Whether numbers are known of which JAX's float keeps too few digits.

    float32 would make one number of two times of 1.7·10⁹ s that are 50 s apart.
    """
    kinds = [array.dtype for array in arrays]
    is_wide = any(kind.kind in "fiu" and kind.itemsize > 4 for kind in kinds)
    return is_wide and not any(isinstance(array, jax.core.Tracer) for array in arrays)


def read_alike(
    takes: Takes, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """Both in one type, with 0 where there is no weight."""
    p, t = read_pair(takes, predictions, targets, sample_weight, **options)
    t = t.astype(p.dtype)
    return without_weightless(p, sample_weight), without_weightless(t, sample_weight)
