"""Curves: the points of scikit-learn's, the areas of fnn's own metrics, and laws."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused, quick
from scipy import stats

import fnn


def scores(rows=60, seed=0, digits=1):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=rows).round(digits)
    return z, (draw.normal(size=rows) < z).astype(int), draw.integers(0, 4, size=rows).astype(float)


CURVES = [fnn.roc_curve, fnn.precision_recall_curve]


@pytest.mark.parametrize("seed", range(3))
def test_the_points_are_those_of_scikit_learn(seed, x64):
    metrics = pytest.importorskip("sklearn.metrics")
    z, y, weights = scores(seed=seed)
    for w in (None, weights):
        with x64():
            roc, pr = fnn.roc_curve(z, y, w), fnn.precision_recall_curve(z[:, None], y[:, None], w)
        kept = slice(None) if w is None else w > 0  # scikit-learn keeps the thresholds of weightless rows
        options = {"sample_weight": None if w is None else w[kept], "drop_intermediate": False}
        false, true, threshold = metrics.roc_curve(y[kept], z[kept], **options)
        np.testing.assert_allclose(roc, [false, true, threshold], rtol=1e-10)
        precision, recall, threshold = metrics.precision_recall_curve(y[kept], z[kept], **options)
        np.testing.assert_allclose(pr.precision, precision[::-1], rtol=1e-10)
        np.testing.assert_allclose(pr.recall, recall[::-1], rtol=1e-10)
        np.testing.assert_allclose(pr.threshold[1:], threshold[::-1], rtol=1e-10)


@pytest.mark.parametrize("kind", ["none", "weights"])
def test_the_areas_are_the_metrics(kind):
    z, y, weights = scores()
    w = {"none": None, "weights": weights}[kind]
    roc, pr = fnn.roc_curve(z, y, w), fnn.precision_recall_curve(z, y, w)
    auc, precision = quick(lambda: (fnn.roc_auc(z, y, w), fnn.average_precision(z, y, w)))()
    area = np.trapezoid(roc.true_positive_rate, roc.false_positive_rate)
    np.testing.assert_allclose(area, auc, rtol=1e-5)
    steps = np.sum(np.diff(pr.recall) * pr.precision[1:])
    np.testing.assert_allclose(steps, precision, rtol=1e-5)


@pytest.mark.parametrize("curve", CURVES)
def test_order_does_not_count_and_a_weight_is_how_often_a_row_comes(curve):
    z, y, weights = scores()
    order, often = np.random.default_rng(1).permutation(len(z)), weights.astype(int)
    hidden = np.where(weights == 0, np.nan, z)
    for points in (
        curve(z[order], y[order], weights[order]),
        curve(hidden, y, weights),
        curve(z, y, 2 * weights),
    ):
        np.testing.assert_allclose(points, curve(np.repeat(z, often), np.repeat(y, often)), rtol=1e-12)


@pytest.mark.parametrize(("kind", "edges"), [("yes", None), ("yes", np.linspace(0, 1, 6)), ("classes", None)])
def test_the_distance_from_the_diagonal_is_the_calibration_error(kind, edges):
    z, y, weights = scores()
    if kind == "classes":
        z, y = np.random.default_rng(2).normal(size=(60, 3)), np.random.default_rng(3).integers(0, 3, 60)
    for w in (None, weights):
        curve = fnn.calibration_curve(z, y, w, edges)
        distance = np.average(abs(curve.confidence - curve.share), weights=curve.weight)
        np.testing.assert_allclose(distance, fnn.calibration_error(z, y, w, edges), rtol=1e-5)
        np.testing.assert_allclose(curve.weight.sum(), 60 if w is None else w.sum(), rtol=1e-6)


def test_the_calibration_of_a_yes_is_that_of_scikit_learn(x64):
    calibration = pytest.importorskip("sklearn.calibration")
    z, y, _ = scores(digits=6)
    with x64():
        curve = fnn.calibration_curve(z, y, edges=np.linspace(0, 1, 6))
    share, confidence = calibration.calibration_curve(y, 1 / (1 + np.exp(-z)))
    np.testing.assert_allclose(curve.share, share, rtol=1e-10)
    np.testing.assert_allclose(curve.confidence, confidence, rtol=1e-10)


@pytest.mark.parametrize("shape", [(40,), (40, 2)])
def test_residuals_stand_beside_their_predictions_in_the_order_of_the_rows(shape):
    draw = np.random.default_rng(0)
    p, y, weights = draw.normal(size=shape), draw.normal(size=shape), draw.integers(0, 3, 40)
    found = fnn.residuals(p, y, weights)
    np.testing.assert_allclose(found.residual, (y - p)[weights > 0], rtol=1e-5)
    np.testing.assert_allclose(found.prediction, p[weights > 0], rtol=1e-6)
    ranks = stats.rankdata(found.residual, axis=0) - 0.5
    np.testing.assert_allclose(found.normal, stats.norm.ppf(ranks / len(ranks)), rtol=1e-4, atol=1e-6)


def test_large_targets_keep_their_residuals():
    times = 1.7e9 + 3600 * np.arange(5.0)
    np.testing.assert_array_equal(fnn.residuals(times - 50, times).residual, 50)


ROWS = np.array([0.5, 1.0, -1.0])
WRONG = {
    **{
        f"one class, {curve.__name__}": (
            functools.partial(curve, ROWS, np.ones(3)), ValueError, f"{curve.__name__} expected rows of both",
            "got 3 of one",
        )
        for curve in CURVES
    },
    "one class that counts": (
        lambda: fnn.roc_curve(ROWS, np.array([0, 1, 1]), np.array([0, 1, 1])), ValueError, "got 2 of one",
    ),
    "nan": (
        lambda: fnn.roc_curve(np.array([0.0, 1.0, np.nan]), np.array([0, 1, 1]), np.array([0, 1, 1])), ValueError,
        "roc_curve: predictions expected numbers, got nan in row 2",
    ),
    "no answer": (
        lambda: fnn.roc_curve(ROWS, np.array([0.0, np.nan, 1.0])), ValueError, "targets expected", "nan in row 1",
    ),
    "a negative weight": (
        lambda: fnn.roc_curve(ROWS, np.array([0, 1, 1]), np.array([1, -1, 1])), ValueError,
        "sample_weight expected weights of at least 0, got -1",
    ),
    "weights of outputs": (
        lambda: fnn.residuals(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2))), ValueError, "one weight a row",
    ),
    "classes": (
        lambda: fnn.precision_recall_curve(np.zeros((3, 2)), np.array([0, 1, 1])), ValueError,
        "one logit of a yes for each row", "logits[..., 1] - logits[..., 0]",
    ),
    "falling edges": (
        lambda: fnn.calibration_curve(ROWS, np.ones(3), edges=[1.0, 0.0]), ValueError, "calibration_curve: edges",
    ),
    "another shape": (
        lambda: fnn.residuals(jnp.zeros((3, 1)), np.zeros(3)), ValueError, "residuals compares like with like",
    ),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
