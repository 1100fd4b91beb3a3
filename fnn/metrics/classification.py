"""Metrics for classes."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses.classification import class_probabilities
from fnn.losses.mean import comparable, spread, weighted_mean

__all__ = ["accuracy", "confusion_matrix"]


def accuracy(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of rows whose most probable class is the true one.

        mean [argmaxₖ zₖ = y]    z: (…, K)   y: ids (…) or one-hot (…, K)
        mean [(z > 0) = y]       z, y: (…) or (…, 1) of one shape, for yes-or-no targets

    Raises ValueError for shapes that do not fit. Hastie et al. 2009, eq. 2.19 (its complement).

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array(0.5, dtype=float32)
    """
    guess, truth = _classes("accuracy", logits, targets)
    return weighted_mean((guess == truth).astype(jnp.result_type(float)), sample_weight)


def confusion_matrix(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """How often each true class (row) was taken for each class (column): Cᵢⱼ = #{y = i, ŷ = j}, (K, K).

    With `sample_weight` the sums of weights. Logits and targets as in `accuracy`. Pearson 1904 (his
    contingency table).

    >>> confusion_matrix(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array([[1, 1],
           [0, 0]], dtype=int32)
    """
    guess, truth = _classes("confusion_matrix", logits, targets)
    z = jnp.asarray(logits)
    classes = 2 if _yes_or_no(z, jnp.asarray(targets)) else z.shape[-1]
    counts = jnp.int32(1)
    if sample_weight is not None:
        counts = spread(sample_weight, guess.astype(jnp.result_type(float))).ravel()
    zeros = jnp.zeros((classes, classes), counts.dtype)
    rows = jnp.where(truth < 0, classes, truth).ravel()  # what is no class is counted nowhere
    return zeros.at[rows, guess.ravel()].add(counts, mode="drop")


def _classes(name: str, logits: ArrayLike, targets: ArrayLike) -> tuple[jax.Array, jax.Array]:
    z, y = jnp.asarray(logits), jnp.asarray(targets)
    if (z.shape[-1:] == (1,) and z.shape[:-1] == y.shape) or y.shape == (*z.shape, 1):
        comparable(name, z, y)  # one column against none: refused, with the mend
    if _yes_or_no(z, y):
        return (z > 0).astype(jnp.int32), (y > 0.5).astype(jnp.int32)
    if y.shape == z.shape[:-1] and jnp.issubdtype(y.dtype, jnp.integer) and z.shape[-1] > 1:
        return z.argmax(-1), y
    return z.argmax(-1), class_probabilities(name, z, y).argmax(-1)


def _yes_or_no(logits: jax.Array, targets: jax.Array) -> bool:
    same = logits.shape == targets.shape
    return same and (logits.ndim == 1 or logits.shape[-1] == 1)
