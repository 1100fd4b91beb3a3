"""The mean that every cost takes, and the shapes and numbers that it refuses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import _told, as_numbers, is_traced

__all__: list[str] = []


# Costs: ∂c/∂ŷ ------------------------------------------------------------------------------------


def _share(values: jax.Array, sample_weight: ArrayLike | None) -> ArrayLike:
    """How much of the mean each value is: 1/n, or w/Σw."""
    if sample_weight is None:
        return 1 / values.size
    weight = spread(sample_weight, values)
    total = weight.sum()
    return jnp.where(total == 0, 0, weight / jnp.where(total == 0, 1, total))


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
    weight = as_numbers("", "sample_weight", sample_weight).astype(values.dtype)
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
    p, t = as_numbers(f"{name}: ", "predictions", predictions), as_numbers(f"{name}: ", "targets", targets)
    if p.shape != t.shape:
        raise ValueError(
            f"{name} compares like with like: predictions have shape {p.shape}, targets {t.shape}. "
            + _mend(p.shape, t.shape)
        )
    dtype = jnp.promote_types(p.dtype, jnp.float32)
    p, t = p.astype(dtype), t.astype(dtype)
    return without_weightless(p, sample_weight), without_weightless(t, sample_weight)


RANGES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "label_smoothing": ("a share from 0 to 1, such as 0.1", lambda a: (a >= 0) & (a <= 1)),
    "positive_weight": ("a finite number, at least 0", lambda a: (a >= 0) & np.isfinite(a)),
    "delta": ("a finite number above 0", lambda a: (a > 0) & np.isfinite(a)),
    "class_weight": ("a finite weight a class, at least 0", lambda a: (a >= 0) & np.isfinite(a)),
}


def check_options(name: str, **options: Any) -> None:
    """Refuse options of a cost that are no numbers or, where they have values, out of their range."""
    for option, value in options.items():
        expected, right = RANGES[option]
        if type(value) in (float, int) and right(value):
            continue  # what almost every call brings, in no time
        expected = f"{name}: {option} expected {expected}, got {_told(value)}."
        if isinstance(value, dict):
            raise TypeError(f"{expected} List them in the order of the ids: [w[0], w[1], …].")
        if is_traced(value):
            continue
        if isinstance(value, bool) or not _are_real(value):
            balanced = "Balanced ones are len(y) / (classes * numpy.bincount(y))."
            raise TypeError(
                f"{expected} {balanced if option == 'class_weight' else f'Such as {option}=0.5.'}"
            )
        if not np.all(right(np.asarray(value))):
            raise ValueError(f"{expected} Its numbers: {np.asarray(value)}." if np.ndim(value) else expected)


def check_bound(cost: Any) -> None:
    """Refuse wrong options bound to a cost of fnn, before a compiled function hides their values."""
    function: Any = getattr(cost, "func", None)
    if getattr(function, "__module__", "").startswith("fnn.losses."):
        bound = {name: value for name, value in cost.keywords.items() if name in RANGES}
        if bound.get("class_weight", 0) is None:
            del bound["class_weight"]
        check_options(function.__name__, **bound)


def _are_real(value: Any) -> bool:
    try:
        dtype = np.asarray(value).dtype
    except (TypeError, ValueError):
        return False
    return dtype.kind in "biuf" or jnp.issubdtype(dtype, jnp.floating)


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
