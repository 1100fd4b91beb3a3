"""Metrics for classes."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.arrays import as_array
from fnn.guard.numbers import refuse
from fnn.losses.mean import read_pair, spread, weighted_mean, without_weightless
from fnn.losses.targets import Takes, check_decision, is_yes_or_no, nan_if_not_probabilities

__all__ = ["accuracy", "confusion_matrix"]


ACCURACY, CONFUSION = (Takes(name, check_decision) for name in ("accuracy", "confusion_matrix"))


def accuracy(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of rows whose most probable class is the true one.

        mean [argmaxₖ zₖ = y]    z: (…, K)   y: ids (…) or one-hot (…, K)
        mean [(z > 0) = y]       z, y: (…) or (…, 1) of one shape, for yes-or-no targets

    A row with a NaN is no class: the accuracy is NaN. Raises ValueError for shapes that do not fit, yes-or-no
    targets above 1, and what `softmax_cross_entropy` refuses as classes (several labels at once go with
    `binary_accuracy`). Hastie et al. 2009, eq. 2.19 (its complement).

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array(0.5, dtype=float32)
    """
    guess, truth, _ = read_classes(ACCURACY, logits, targets, sample_weight)
    right = (guess == truth).astype(jnp.result_type(float))
    right = jnp.where(guess < 0, jnp.nan, right)
    return weighted_mean(without_weightless(right, sample_weight), sample_weight)


def confusion_matrix(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """How often each true class (row) was taken for each class (column): Cᵢⱼ = #{y = i, ŷ = j}, (K, K).

    With `sample_weight` the sums of weights. Logits and targets as in `accuracy`. A row of NaN is counted
    nowhere, and refused with a ValueError where its numbers are known. Pearson 1904 (his contingency table).

    >>> confusion_matrix(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array([[1, 1],
           [0, 0]], dtype=int32)
    """
    z = as_array(logits, "confusion_matrix: predictions")
    fix = "A network that diverged predicts them."
    refuse("confusion_matrix: predictions", z, lambda z: z != z, "numbers", fix, sample_weight)
    guess, truth, classes = read_classes(CONFUSION, z, targets, sample_weight)
    return count_pairs(guess, truth, classes, sample_weight)


def count_pairs(guess: jax.Array, truth: jax.Array, classes: int, sample_weight: Any) -> jax.Array:
    """The confusion matrix of ids; what is no class is counted nowhere."""
    counts = jnp.int32(1)
    if sample_weight is not None:
        counts = spread(sample_weight, guess.astype(jnp.result_type(float))).ravel()
    zeros = jnp.zeros((classes, classes), counts.dtype)
    rows, columns = (jnp.where(ids < 0, classes, ids).ravel() for ids in (truth, guess))
    return zeros.at[rows, columns].add(counts, mode="drop")


def read_classes(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array, int]:
    """The class taken for each row, −1 where that is not known; its true class; and how many there are."""
    z, y = read_pair(takes, logits, targets, sample_weight, **options)
    if is_yes_or_no(z.shape, y.shape):
        guess, truth, classes = (z > 0).astype(jnp.int32), (y > 0.5).astype(jnp.int32), 2
        return jnp.where(jnp.isnan(z), -1, guess), truth, classes
    guess, unknown = z.argmax(-1), jnp.isnan(z).any(-1)
    if y.ndim < z.ndim:
        truth = y.astype(jnp.int32)
    else:
        rows = nan_if_not_probabilities(y.astype(z.dtype))
        truth, unknown = rows.argmax(-1), unknown | jnp.isnan(rows).any(-1)
    return jnp.where(unknown, -1, guess), truth, z.shape[-1]


TARGETS: dict[Any, Takes] = {accuracy: ACCURACY, confusion_matrix: CONFUSION}
