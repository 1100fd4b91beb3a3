"""The mean that every cost takes, and the shapes that it refuses."""

import reprlib

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

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


def spread(sample_weight: ArrayLike, values: jax.Array) -> jax.Array:
    """The weights of the leading axes, given to everything under them."""
    weight = jnp.asarray(sample_weight, values.dtype)
    if weight.shape != values.shape[: weight.ndim]:
        raise ValueError(
            f"sample_weight expected one weight a row, of shape {values.shape[:1]}, or of more leading "
            f"axes of {values.shape}; got shape {weight.shape}."
        )
    trailing = (1,) * (values.ndim - weight.ndim)
    return jnp.broadcast_to(weight.reshape(weight.shape + trailing), values.shape)


def without_weightless(values: jax.Array, sample_weight: ArrayLike | None) -> jax.Array:
    """The values, with 0 where there is no weight: what stands there counts in no value and no slope.

    Weighing comes too late for that: 0 · NaN is NaN.
    """
    if sample_weight is None:
        return values
    return jnp.where(spread(sample_weight, values) == 0, 0, values)


def comparable(
    name: str, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Both as arrays of one shape and of at least float32; refuses what would broadcast."""
    p, t = as_numbers(name, "predictions", predictions), as_numbers(name, "targets", targets)
    if p.shape != t.shape:
        raise ValueError(
            f"{name} compares like with like: predictions have shape {p.shape}, targets {t.shape}. "
            + _mend(p.shape, t.shape)
        )
    dtype = jnp.promote_types(p.dtype, jnp.float32)
    p, t = p.astype(dtype), t.astype(dtype)
    return without_weightless(p, sample_weight), without_weightless(t, sample_weight)


def as_numbers(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """The value as an array; refuses None, text and objects."""
    try:
        return jnp.asarray(value)
    except TypeError:
        raise TypeError(
            f"{name}: {argument} expected numbers, got {reprlib.repr(value)}. Names of classes go through "
            "fnn.labels, numbers as text through float(…)."
        ) from None


def _mend(predictions: tuple[int, ...], targets: tuple[int, ...]) -> str:
    if predictions == (*targets, 1):
        return "Give the targets that axis, targets[..., None], or drop it there, predictions[..., 0]."
    if targets == (*predictions, 1):
        return "Drop the last axis of the targets, targets[..., 0], or let the network end in one output."
    if predictions[:-1] == targets:
        return (
            "Class ids go with fnn.softmax_cross_entropy, or as "
            f"fnn.one_hot(targets, {predictions[-1]}); for quantities let the network end in one output."
        )
    return "Let the network's last layer give as many outputs as there are targets."
