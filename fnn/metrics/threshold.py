"""Thresholds for a yes or no, chosen on rows that were not trained on.

Each is a number t for logits (n,) or (n, 1): `logits > t` is a yes, and `logits - t` goes into any metric of
a yes or no, where the threshold is 0. Of all thresholds between two neighbouring scores it is the middle, ∞
where no row should be a yes, −∞ where each should; of several that are as good, the highest.
"""

import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import FROM_0, Span
from fnn.losses.targets import Takes
from fnn.metrics.curves import Counts, count_above
from fnn.metrics.ranking import check_scores

__all__ = ["cost_threshold", "f1_threshold", "precision_threshold", "recall_threshold"]


SHARE = Span("0 < {} ≤ 1", lambda n: (n > 0) & (n <= 1))
F1 = Takes("f1_threshold", check_scores)
COST = Takes("cost_threshold", check_scores, {"false_positive": FROM_0, "false_negative": FROM_0})
PRECISION = Takes("precision_threshold", check_scores, {"precision": SHARE})
RECALL = Takes("recall_threshold", check_scores, {"recall": SHARE})


def f1_threshold(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """The threshold of the highest `f1_score`.

        argmaxₜ 2 · #{z > t, y = 1} / (#{z > t} + #{y = 1})

    Where probabilities are right, its probability σ(t) is half of the F1 that is reached, so ½ at most.
    Raises ValueError for rows of one class only, scores that are NaN, and what `roc_auc` refuses. Lipton et
    al. 2014.

    >>> f1_threshold(np.array([-3.0, -1.0, 1.0, 2.0]), np.array([0, 1, 0, 1]))       # F1 = 4/5 from −1 up
    -2.0
    """
    counts = count_above(F1, logits, targets, sample_weight)
    return _best(counts, 2 * counts.yes / (counts.yes + counts.no + counts.yes[-1]))


def cost_threshold(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    false_positive: ArrayLike = 1.0,
    false_negative: ArrayLike = 1.0,
) -> float:
    """The threshold of the lowest cost of errors.

        argminₜ c₊ · #{z > t, y = 0} + c₋ · #{z ≤ t, y = 1}

    `false_positive` c₊ is what a false alarm costs, `false_negative` c₋ a miss. Where probabilities are
    right, it is the logit of c₊/(c₊ + c₋). Raises as `f1_threshold`, and for a cost below 0. Elkan 2001,
    eq. 2.

    >>> cost_threshold(np.array([-3.0, -1.0, 1.0, 2.0]), np.array([0, 1, 0, 1]), false_negative=5.0)
    -2.0
    """
    options = {"false_positive": false_positive, "false_negative": false_negative}
    counts = count_above(COST, logits, targets, sample_weight, **options)
    return _best(counts, -(false_positive * counts.no + false_negative * (counts.yes[-1] - counts.yes)))


def precision_threshold(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    precision: ArrayLike = 0.9,
) -> float:
    """The threshold of the highest recall among those that reach a precision.

        argmaxₜ #{z > t, y = 1} / #{y = 1}        over #{z > t, y = 1} / #{z > t} ≥ precision

    On new rows the precision is near it, not above it for certain: few rows of a class decide it. Raises as
    `f1_threshold`, for a precision outside 0 < … ≤ 1, and where no threshold reaches it. Manning et al. 2008,
    §8.4 (the curve).

    >>> scores, answers = np.array([-3.0, -1.0, 1.0, 2.0]), np.array([0, 1, 0, 1])
    >>> precision_threshold(scores, answers, precision=0.6)                   # 2 of 3 are right from −1 up
    -2.0
    """
    counts = count_above(PRECISION, logits, targets, sample_weight, precision=precision)
    reached = _precision(counts)
    enough = (reached >= precision) & (counts.yes > 0)
    if not enough.any():
        raise ValueError(
            f"precision_threshold: no threshold reaches a precision of {precision}; the highest is "
            f"{reached[1:].max():.3g}. Ask for less, or train a better network."
        )
    return _best(counts, np.where(enough, counts.yes, -1))


def recall_threshold(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    recall: ArrayLike = 0.9,
) -> float:
    """The threshold of the highest precision among those that reach a recall.

        argmaxₜ #{z > t, y = 1} / #{z > t}        over #{z > t, y = 1} / #{y = 1} ≥ recall

    On new rows the recall is near it, not above it for certain. Raises as `f1_threshold`, and for a recall
    outside 0 < … ≤ 1. Manning et al. 2008, §8.4.

    >>> recall_threshold(np.array([-3.0, -1.0, 1.0, 2.0]), np.array([0, 1, 0, 1]), recall=0.5)
    1.5
    """
    counts = count_above(RECALL, logits, targets, sample_weight, recall=recall)
    return _best(counts, np.where(counts.yes / counts.yes[-1] >= recall, _precision(counts), -1))


def _precision(counts: Counts) -> np.ndarray:
    taken = counts.yes + counts.no
    return np.asarray(counts.yes / np.where(taken == 0, 1, taken))


def _best(counts: Counts, score: np.ndarray) -> float:
    """The threshold between the last score that is taken and the first that is not."""
    place = int(np.argmax(score))
    if place + 1 == len(score):
        return -np.inf
    above, below = counts.threshold[place], counts.threshold[place + 1]
    middle = below + (above - below) / 2 if place else np.inf
    return float(middle if middle < above or not place else below)  # neighbouring floats have no middle
