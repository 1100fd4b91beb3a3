"""Curves for people: arrays ready to be drawn, one per axis. The data decides their lengths: no `jit`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import refuse
from fnn.losses.mean import read_alike, read_error, spread
from fnn.losses.targets import Takes, check_same_shape
from fnn.metrics.probability import EDGES, RISING, bin_of, check_outcomes, read_confidence
from fnn.metrics.ranking import check_scores

__all__ = ["calibration_curve", "precision_recall_curve", "residuals", "roc_curve"]


ROC, PRECISION_RECALL = (Takes(name, check_scores) for name in ("roc_curve", "precision_recall_curve"))
CALIBRATION = Takes("calibration_curve", check_outcomes, {"edges": RISING})
RESIDUALS = Takes("residuals", check_same_shape)


class RocCurve(NamedTuple):
    """Where scores of at least `threshold` are a yes: false alarms, and how much of the yes is found."""

    false_positive_rate: np.ndarray
    true_positive_rate: np.ndarray
    threshold: np.ndarray


def roc_curve(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> RocCurve:
    """What is found against what is a false alarm, for every threshold: false and true positive rate.

        #{z ≥ t, y = 0} / #{y = 0}  and  #{z ≥ t, y = 1} / #{y = 1}        t: ∞, then each score, falling

    z, y: (n,) or (n, 1). `roc_auc` is the area under it. Raises ValueError for rows of one class only, scores
    that are NaN, and what `roc_auc` refuses. Fawcett 2006, alg. 1.

    >>> curve = roc_curve(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 1, 1]))
    >>> print(curve.false_positive_rate, curve.true_positive_rate)
    [0.  0.  0.5 0.5 1. ] [0.  0.5 0.5 1.  1. ]
    """
    counts = count_above(ROC, logits, targets, sample_weight)
    return RocCurve(counts.no / counts.no[-1], counts.yes / counts.yes[-1], counts.threshold)


class PrecisionRecallCurve(NamedTuple):
    """Where scores of at least `threshold` are a yes: how much of the yes is found, and how much is right."""

    recall: np.ndarray
    precision: np.ndarray
    threshold: np.ndarray


def precision_recall_curve(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> PrecisionRecallCurve:
    """How much is right against how much is found, for every threshold.

        #{z ≥ t, y = 1} / #{z ≥ t}  and  #{z ≥ t, y = 1} / #{y = 1}        t: ∞, then each score, falling

    Before the first row the precision counts as 1. Draw it with steps (`matplotlib`: drawstyle="steps-pre"):
    a straight line between two points promises too much. `average_precision` is the area under the steps. All
    else as in `roc_curve`. Davis & Goadrich 2006.

    >>> curve = precision_recall_curve(np.array([0.1, 0.4, 0.3, 0.8]), np.array([0, 0, 1, 1]))
    >>> print(curve.recall, curve.precision.round(2))
    [0.  0.5 0.5 1.  1. ] [1.   1.   0.5  0.67 0.5 ]
    """
    counts = count_above(PRECISION_RECALL, logits, targets, sample_weight)
    taken = counts.yes + counts.no
    precision = np.where(taken == 0, 1, counts.yes / np.where(taken == 0, 1, taken))
    return PrecisionRecallCurve(counts.yes / counts.yes[-1], precision, counts.threshold)


class CalibrationCurve(NamedTuple):
    """For each bin of confidence that has rows: its mean, the share that is right, the weight of the rows."""

    confidence: np.ndarray
    share: np.ndarray
    weight: np.ndarray


def calibration_curve(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    edges: ArrayLike | None = None,
) -> CalibrationCurve:
    """The share that is right against the confidence, in bins: on the diagonal, probabilities are right.

    Confidence, bins and `edges` as in `calibration_error`, which is the mean distance from the diagonal,
    weighted by `weight`. Bins without rows are left out. Raises ValueError for what that refuses. DeGroot &
    Fienberg 1983.

    >>> curve = calibration_curve(np.array([0.0, 0.0, 2.0, 2.0]), np.array([0, 1, 1, 1]))
    >>> print(curve.confidence.round(2), curve.share, curve.weight)
    [0.5  0.88] [0.5 1. ] [2. 2.]
    """
    edges = EDGES if edges is None else np.asarray(edges)
    found = read_confidence(CALIBRATION, logits, targets, sample_weight, edges=edges)
    confidence, right, weight = (np.asarray(each, np.float64).ravel() for each in found)
    bins, size = np.asarray(bin_of(confidence, edges)), edges.size - 1
    total = np.bincount(bins, weight, size)
    sums = (np.bincount(bins, weight * each, size) for each in (confidence, right))
    confidence, right = (each[total > 0] / total[total > 0] for each in sums)
    return CalibrationCurve(confidence, right, total[total > 0])


class Residuals(NamedTuple):
    """For each row that counts: the prediction, what it misses, and where a normal residual would be."""

    prediction: np.ndarray
    residual: np.ndarray
    normal: np.ndarray


def residuals(
    predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> Residuals:
    """What predictions miss, y − ŷ, row by row, to be drawn against them and against a normal variable.

        ŷ,   e = y − ŷ,   Φ⁻¹((rank of e − ½)/n)        (n, …) each, ranks over rows

    A cloud around 0 without shape has nothing left to be learned: a bend calls for a larger network, a funnel
    for `gaussian_nll` or the logarithm of the target. Against `normal`, sorted, a straight line is normal
    noise; ends that leave it are wild rows, where `huber` helps. Rows of weight 0 are left out. Raises
    ValueError for shapes that differ, and for more than one weight a row. Wilk & Gnanadesikan 1968.

    >>> found = residuals(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 2.0]))
    >>> print(found.residual, found.normal.round(2))
    [ 0.5  0.  -1. ] [ 0.97  0.   -0.97]
    """
    error = 0 - read_error(RESIDUALS, predictions, targets, sample_weight)
    weight = jnp.ones(len(error)) if sample_weight is None else jnp.asarray(sample_weight)
    counts = np.asarray(spread(weight, error.reshape(len(error), -1)[:, 0]) != 0)
    missed, prediction = np.asarray(error)[counts], np.asarray(predictions)[counts]
    rank = missed.argsort(0, kind="stable").argsort(0)
    normal = jax.scipy.special.ndtri((rank + 0.5) / len(missed))
    return Residuals(prediction, missed, np.asarray(normal))


class Counts(NamedTuple):
    """The weight of yes and of no among the scores of at least `threshold`, from ∞ down."""

    yes: np.ndarray
    no: np.ndarray
    threshold: np.ndarray


def count_above(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: Any, **options: Any
) -> Counts:
    """What is above each threshold, in float64; refuses rows of one class."""
    scores, answers = read_alike(takes, logits, targets, sample_weight, **options)
    weights = jnp.ones_like(scores) if sample_weight is None else spread(sample_weight, scores)
    for name, array in {"predictions": scores, "targets": answers}.items():
        refuse(f"{takes.name}: {name}", array, np.isnan, "numbers", "Leave the row out, or give it weight 0.")
    refuse(f"{takes.name}: sample_weight", weights, lambda w: ~(w >= 0), "weights of at least 0", "")
    z, y, weight = (np.asarray(each)[np.asarray(weights != 0)] for each in (scores, answers, weights))
    weight = weight.astype(np.float64)
    if not 0 < (y > 0.5).sum() < len(y):
        raise ValueError(f"{takes.name} expected rows of both classes, got {len(y)} of one. Give more rows.")
    order = np.argsort(-z, kind="stable")
    z, y, weight = z[order], y[order] > 0.5, weight[order]
    last = np.append(z[1:] != z[:-1], True)  # of each group of scores that are equal
    yes, no = (np.append(0, np.cumsum(weight * each)[last]) for each in (y, ~y))
    return Counts(yes, no, np.append(np.inf, z[last]).astype(z.dtype))
