"""Metrics for classes that are not of one size: how much of a class is found, and how much of it is right."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import Span
from fnn.losses.mean import read_pair, weighted_mean, without_weightless
from fnn.losses.targets import Takes, check_classes, check_decision, is_yes_or_no, nan_if_not_probabilities
from fnn.metrics.classification import count_pairs, read_classes

__all__ = ["balanced_accuracy", "f1_score", "macro_f1", "precision_score", "recall_score", "top_k_accuracy"]


SHARE = Span("0 ≤ {} ≤ 1, or nan", lambda n: (n >= 0) & (n <= 1) | (n != n))
COUNT = Span("{} = 1, 2, 3, …", lambda n: (n >= 1) & (n % 1 == 0))
PRECISION, RECALL, F1 = (
    Takes(name, check_decision, {"zero_division": SHARE})
    for name in ("precision_score", "recall_score", "f1_score")
)
MACRO_F1, BALANCED = (Takes(name, check_decision) for name in ("macro_f1", "balanced_accuracy"))
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
    with a NaN makes it NaN. The mean over classes is the macro average; the micro average is the accuracy.
    Raises ValueError for what `accuracy` refuses. van Rijsbergen 1979, ch. 7.

    >>> precision_score(jnp.array([1.0, 2.0, -1.0, -1.0]), jnp.array([1, 0, 1, 1]))    # 1 of 2
    Array(0.5, dtype=float32)
    """
    hit, _, taken = _counts(PRECISION, logits, targets, sample_weight, zero_division)
    return _ratio(hit, taken, zero_division)


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
    hit, true, _ = _counts(RECALL, logits, targets, sample_weight, zero_division)
    return _ratio(hit, true, zero_division)


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
    hit, true, taken = _counts(F1, logits, targets, sample_weight, zero_division)
    return _ratio(2 * hit, true + taken, zero_division)


def macro_f1(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The mean of the classes' F1, each class counted alike.

        mean over k of 2 · #{ŷ = k, y = k} / (#{ŷ = k} + #{y = k})

    A class that no row is of or taken for is left out. Of yes-or-no targets both answers are classes.
    Takes and refuses what `accuracy` does. Opitz & Burst 2019, eq. 2.

    >>> macro_f1(jnp.array([1.0, 1.0, 1.0, -1.0]), jnp.array([1, 0, 0, 0]))            # (½ + ½) / 2
    Array(0.5, dtype=float32)
    """
    hit, true, taken = _margins(_confusion(MACRO_F1, logits, targets, sample_weight))
    present = true + taken
    return weighted_mean(_ratio(2 * hit, present, 0), present != 0)


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
    hit, true, _ = _margins(_confusion(BALANCED, logits, targets, sample_weight))
    return weighted_mean(_ratio(hit, true, 0), true != 0)


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
    margins = _margins(_confusion(takes, logits, targets, sample_weight, zero_division=zero_division))
    if is_yes_or_no(np.shape(logits), np.shape(targets)):
        hit, true, taken = (each[1] for each in margins)
        return hit, true, taken
    return margins


def _margins(confusion: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return confusion.diagonal(), confusion.sum(1), confusion.sum(0)


def _confusion(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> jax.Array:
    """The confusion matrix in floats, NaN if a row with weight has no class."""
    guess, truth, classes = read_classes(takes, logits, targets, sample_weight, **options)
    unknown = (guess < 0) | (truth < 0) | (truth >= classes)
    counts = count_pairs(guess, truth, classes, sample_weight).astype(jnp.result_type(float))
    return jnp.where(without_weightless(unknown, sample_weight).any(), jnp.nan, counts)


def _ratio(part: jax.Array, whole: jax.Array, zero_division: ArrayLike) -> jax.Array:
    empty = whole == 0
    return jnp.where(empty, zero_division, part / jnp.where(empty, 1, whole))


TARGETS: dict[Any, Takes] = {
    precision_score: PRECISION,
    recall_score: RECALL,
    f1_score: F1,
    macro_f1: MACRO_F1,
    balanced_accuracy: BALANCED,
    top_k_accuracy: TOP_K,
}
