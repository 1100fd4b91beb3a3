"""Metrics for classes that are not of one size: how much of a class is found, and how much of it is right."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import Span
from fnn.losses.mean import read_pair, weighted_mean, without_weightless
from fnn.losses.targets import Takes, check_classes, check_decision, is_yes_or_no, nan_if_not_probabilities
from fnn.metrics.classification import count_pairs, read_classes

__all__ = ["balanced_accuracy", "f1_score", "precision_score", "recall_score", "top_k_accuracy"]


SHARE = Span("0 ≤ {} ≤ 1, or nan", lambda n: (n >= 0) & (n <= 1) | (n != n))
COUNT = Span("{} = 1, 2, 3, …", lambda n: (n >= 1) & (n % 1 == 0))
PRECISION, RECALL, F1 = (
    Takes(name, check_decision, {"zero_division": SHARE})
    for name in ("precision_score", "recall_score", "f1_score")
)
BALANCED = Takes("balanced_accuracy", check_decision)
TOP_K = Takes("top_k_accuracy", check_classes, {"k": COUNT})


def precision_score(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    zero_division: ArrayLike = 0.0,
) -> jax.Array:
    """Of the rows taken for a class, the share that is of it.

        #{ŷ = k, y = k} / #{ŷ = k}        one number (of the yes) for yes-or-no targets, else (K,)

    `zero_division` stands where nothing was taken for the class. Logits and targets as in `accuracy`; a row
    with a NaN makes it NaN. One number for all classes: `macro_average`, `weighted_average`.
    Raises ValueError for what `accuracy` refuses. van Rijsbergen 1979, ch. 7.

    >>> precision_score(jnp.array([1.0, 2.0, -1.0, -1.0]), jnp.array([1, 0, 1, 1]))    # 1 of 2
    Array(0.5, dtype=float32)
    """
    counts = _counts(PRECISION, logits, targets, sample_weight, zero_division)
    return ratio(*PARTS[precision_score](*counts), zero_division)


def recall_score(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    zero_division: ArrayLike = 0.0,
) -> jax.Array:
    """Of the rows of a class, the share that is taken for it.

        #{ŷ = k, y = k} / #{y = k}        one number (of the yes) for yes-or-no targets, else (K,)

    `zero_division` stands where no row is of the class. All else as in `precision_score`.
    van Rijsbergen 1979, ch. 7.

    >>> recall_score(jnp.array([1.0, 2.0, -1.0, -1.0]), jnp.array([1, 0, 1, 0]))       # 1 of 2
    Array(0.5, dtype=float32)
    """
    counts = _counts(RECALL, logits, targets, sample_weight, zero_division)
    return ratio(*PARTS[recall_score](*counts), zero_division)


def f1_score(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    zero_division: ArrayLike = 0.0,
) -> jax.Array:
    """The harmonic mean of precision and recall.

        2 · #{ŷ = k, y = k} / (#{ŷ = k} + #{y = k})        one number for yes-or-no targets, else (K,)

    `zero_division` stands where no row is of the class or taken for it. All else as in `precision_score`.
    van Rijsbergen 1979, ch. 7 (his 1 − E with α = ½).

    >>> f1_score(jnp.array([1.0, 2.0, -1.0, -1.0]), jnp.array([1, 0, 1, 0]))           # 2 · 1 / (2 + 2)
    Array(0.5, dtype=float32)
    """
    counts = _counts(F1, logits, targets, sample_weight, zero_division)
    return ratio(*PARTS[f1_score](*counts), zero_division)


PARTS: dict[Any, Callable[..., tuple[jax.Array, jax.Array]]] = {  # of what is right, true and taken
    precision_score: lambda hit, true, taken: (hit, taken),
    recall_score: lambda hit, true, taken: (hit, true),
    f1_score: lambda hit, true, taken: (2 * hit, true + taken),
}


def balanced_accuracy(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The mean of the classes' recall: the accuracy if all classes had as many rows.

        mean over k of #{ŷ = k, y = k} / #{y = k}

    A class without rows is left out. Of yes-or-no targets both answers are classes. Takes and refuses what
    `accuracy` does. Brodersen et al. 2010.

    >>> balanced_accuracy(jnp.array([-1.0, -1.0, -1.0, -1.0]), jnp.array([0, 0, 0, 1]))    # (1 + 0) / 2
    Array(0.5, dtype=float32)
    """
    hit, true, _ = count_classes(BALANCED, logits, targets, sample_weight)
    return weighted_mean(ratio(hit, true, 0), true != 0)


def top_k_accuracy(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None, k: ArrayLike = 5
) -> jax.Array:
    """The share of rows whose true class is among the k most probable ones.

        mean [#{j: zⱼ > z_y, or zⱼ = z_y and j < y} < k]        z: (…, K)   y: ids (…) or one-hot (…, K)

    So k = 1 is `accuracy`, and k ≥ K gives 1. A row with a NaN makes it NaN. Raises ValueError for a k that
    is no whole number from 1 up, and what `softmax_cross_entropy` refuses. Russakovsky et al. 2015.

    >>> top_k_accuracy(jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), jnp.array([1, 2]), k=2)
    Array(0.5, dtype=float32)
    """
    z, y = read_pair(TOP_K, logits, targets, sample_weight, k=k)
    rows = jax.nn.one_hot(y, z.shape[-1]) if y.ndim < z.ndim else y.astype(z.dtype)
    unknown = jnp.isnan(z + nan_if_not_probabilities(rows)).any(-1)
    truth = rows.argmax(-1, keepdims=True)
    chosen = jnp.take_along_axis(z, truth, -1)
    before = jax.lax.broadcasted_iota(truth.dtype, z.shape, z.ndim - 1) < truth
    ahead = ((z > chosen) | (z == chosen) & before).sum(-1)
    right = jnp.where(unknown, jnp.nan, (ahead < k).astype(z.dtype))
    return weighted_mean(without_weightless(right, sample_weight), sample_weight)


def _counts(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, zero_division: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weight of what is right, true and taken: of the yes, or of each class."""
    counts = count_classes(takes, logits, targets, sample_weight, zero_division=zero_division)
    if is_yes_or_no(np.shape(logits), np.shape(targets)):
        hit, true, taken = (each[1] for each in counts)
        return hit, true, taken
    return counts


def count_classes(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The weight of what is right, true and taken for each class, (K,); NaN if a row has no class."""
    guess, truth, classes = read_classes(takes, logits, targets, sample_weight, **options)
    unknown = (guess < 0) | (truth < 0) | (truth >= classes)
    counts = count_pairs(guess, truth, classes, sample_weight).astype(jnp.result_type(float))
    counts = jnp.where(without_weightless(unknown, sample_weight).any(), jnp.nan, counts)
    return counts.diagonal(), counts.sum(1), counts.sum(0)


def ratio(part: jax.Array, whole: jax.Array, zero_division: ArrayLike) -> jax.Array:
    """part / whole, and `zero_division` for 0/0."""
    empty = whole == 0
    return jnp.where(empty, zero_division, part / jnp.where(empty, 1, whole))


TARGETS: dict[Any, Takes] = {
    precision_score: PRECISION,
    recall_score: RECALL,
    f1_score: F1,
    balanced_accuracy: BALANCED,
    top_k_accuracy: TOP_K,
}
