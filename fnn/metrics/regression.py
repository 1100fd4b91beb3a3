"""Metrics for numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.arrays import as_array
from fnn.losses.mean import is_known_to_be_wide, read_alike, spread
from fnn.losses.targets import Takes, check_same_shape

__all__ = ["r2_score"]


R2_SCORE = Takes("r2_score", check_same_shape)


def r2_score(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of the targets' variance that is explained; 1 is perfect, 0 no better than the mean.

        R² = 1 − Σ w(y − ŷ)² / Σ w(y − ȳ)²        over rows, ȳ the weighted mean, averaged over outputs

    Targets that never change give 1 if predicted perfectly, else 0. Hastie et al. 2009, §3.2 (as in
    scikit-learn's r2_score). Raises ValueError for shapes that differ.

    >>> r2_score(jnp.array([1.0, 2.0, 2.0]), jnp.array([1.0, 2.0, 3.0]))      # 1 − 1/2
    Array(0.5, dtype=float32)
    """
    p, t = as_array(predictions, "r2_score: predictions"), as_array(targets, "r2_score: targets")
    if is_known_to_be_wide(p, t) and np.shape(p) == np.shape(t) != ():
        p, t = (np.subtract(each, t[:1], dtype=np.float64) for each in (p, t))  # before they are narrowed
    p, t = read_alike(R2_SCORE, p, t, sample_weight)
    weight = jnp.ones_like(t) if sample_weight is None else spread(sample_weight, t)
    missed = (weight * (t - p) ** 2).sum(0)
    from_first = t - t[:1]  # exactly 0 where the targets never change
    mean = (weight * from_first).sum(0, keepdims=True) / weight.sum(0, keepdims=True)
    spreading = (weight * (from_first - mean) ** 2).sum(0)
    constant = spreading == 0
    score = 1 - missed / jnp.where(constant, 1, spreading)
    return jnp.where(constant, (missed == 0).astype(t.dtype), score).mean()


TARGETS: dict[Any, Takes] = {r2_score: R2_SCORE}
