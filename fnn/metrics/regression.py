"""Metrics for numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.arrays import as_array
from fnn.losses.mean import is_known_to_be_wide, read_alike, read_error, spread
from fnn.losses.targets import Takes, check_same_shape

__all__ = ["explained_variance", "median_absolute_error", "r2_score"]


R2_SCORE, EXPLAINED, MEDIAN = (
    Takes(name, check_same_shape) for name in ("r2_score", "explained_variance", "median_absolute_error")
)


def r2_score(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of the targets' variance that is explained; 1 is perfect, 0 no better than the mean.

        R² = 1 − Σ w(y − ŷ)² / Σ w(y − ȳ)²        over rows, ȳ the weighted mean, averaged over outputs

    Targets that never change give 1 if predicted perfectly, else 0. Hastie et al. 2009, §3.2 (as in
    scikit-learn's r2_score). Raises ValueError for shapes that differ.

    >>> r2_score(jnp.array([1.0, 2.0, 2.0]), jnp.array([1.0, 2.0, 3.0]))      # 1 − 1/2
    Array(0.5, dtype=float32)
    """
    error, targets, weight = _read(R2_SCORE, predictions, targets, sample_weight)
    return _explained((weight * error**2).sum(0), _about_mean(targets, weight))


def explained_variance(
    predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The share of the targets' variance that is not variance of the error: R², blind to a constant shift.

        1 − Σ w(e − ē)² / Σ w(y − ȳ)²        e = y − ŷ, over rows, averaged over outputs

    Targets that never change give 1 if the error never does, else 0. Kvålseth 1985, his R₄². Raises
    ValueError for shapes that differ.

    >>> explained_variance(jnp.array([6.0, 6.0, 9.0, 9.0]), jnp.array([1.0, 2.0, 3.0, 4.0]))   # 1 − 2/5
    Array(0.6, dtype=float32)
    """
    error, targets, weight = _read(EXPLAINED, predictions, targets, sample_weight)
    return _explained(_about_mean(error, weight), _about_mean(targets, weight))


def median_absolute_error(
    predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The error that half the rows stay below: median |y − ŷ|, in units of y, averaged over outputs.

    So few wild rows do not move it. With weights it is the number with half the weight on each side, the mean
    of two where both have it. A NaN makes it NaN. Hampel 1974. Raises ValueError for shapes that differ.

    >>> median_absolute_error(jnp.array([1.0, 2.0, 3.0, 9.0]), jnp.zeros(4))        # (2 + 3) / 2
    Array(2.5, dtype=float32)
    """
    error = abs(read_error(MEDIAN, predictions, targets, sample_weight))
    weight = jnp.ones_like(error) if sample_weight is None else spread(sample_weight, error)
    error = jnp.where(jnp.isnan(error).any(0), jnp.nan, error)
    error, weight = jax.lax.sort((error, weight), dimension=0, num_keys=1)
    below = jnp.cumsum(weight, 0)
    half = below[-1:] / 2
    lower, upper = (
        jnp.take_along_axis(error, reached.argmax(0, keepdims=True), 0)
        for reached in (below >= half, below > half)
    )
    return ((lower + upper) / 2).mean()


def _read(
    takes: Takes, predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """y − ŷ, y (up to a constant), and the weight of each; known 64-bit numbers are narrowed late."""
    p, t = as_array(predictions, f"{takes.name}: predictions"), as_array(targets, f"{takes.name}: targets")
    if is_known_to_be_wide(p, t) and np.shape(p) == np.shape(t) != ():
        origin = np.where(np.isfinite(t[:1]), t[:1], 0)  # without weight the first row may hold anything
        p, t = (np.subtract(each, origin, dtype=np.float64) for each in (p, t))
    p, t = read_alike(takes, p, t, sample_weight)
    return t - p, t, jnp.ones_like(t) if sample_weight is None else spread(sample_weight, t)


def _about_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Σ w(v − v̄)² over rows, exactly 0 where the values never change."""
    first = jnp.take_along_axis(values, (weight > 0).argmax(0, keepdims=True), 0)
    from_first = values - first
    mean = (weight * from_first).sum(0, keepdims=True) / weight.sum(0, keepdims=True)
    return (weight * (from_first - mean) ** 2).sum(0)


def _explained(missed: jax.Array, spreading: jax.Array) -> jax.Array:
    constant = spreading == 0
    score = 1 - missed / jnp.where(constant, 1, spreading)
    return jnp.where(constant, (missed == 0).astype(score.dtype), score).mean()


TARGETS: dict[Any, Takes] = {
    explained_variance: EXPLAINED,
    median_absolute_error: MEDIAN,
    r2_score: R2_SCORE,
}
