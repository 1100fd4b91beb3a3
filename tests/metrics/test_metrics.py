"""Metrics: what people read beside the cost, checked against scikit-learn and the formulas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import each_is_refused, quick
from oracles import says

import fnn


def data(kind, rows=40, seed=0):
    """Predictions, targets and weights: logits against ids, one-hot or 0/1; reals against reals."""
    draw = np.random.default_rng(seed)
    shape = {"row": (rows,), "column": (rows, 1), "vector": (rows,)}.get(kind, (rows, 3))
    predictions = draw.normal(size=shape).astype(np.float32)
    ids = draw.integers(0, 3, size=rows, dtype=np.int32)
    targets = {
        "ids": ids,
        "one_hot": np.eye(3, dtype=np.float32)[ids],
        "labels": draw.integers(0, 2, size=shape, dtype=np.int32),
        "row": draw.integers(0, 2, size=shape, dtype=np.int32),
        "column": draw.integers(0, 2, size=shape).astype(np.float32),
        "vector": draw.normal(size=shape).astype(np.float32),
        "matrix": predictions + draw.normal(size=shape).astype(np.float32),
    }[kind]
    return predictions, targets, draw.integers(0, 4, size=rows).astype(np.float32)


CLASSES = ["ids", "one_hot", "row", "column"]
REALS = ["vector", "matrix"]
METRICS = [("accuracy", kind) for kind in CLASSES] + [("confusion_matrix", k) for k in CLASSES]
METRICS += [("r2_score", kind) for kind in REALS]
METRICS += [
    (name, kind) for name in ("binary_accuracy", "exact_match") for kind in ("row", "column", "labels")
]
every_metric = pytest.mark.parametrize(("name", "kind"), METRICS)


@every_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_the_formula(name, kind, weighted):
    predictions, targets, weights = data(kind)
    weights = weights if weighted else None
    value = jax.jit(getattr(fnn, name))(predictions, targets, weights)
    expected = getattr(oracles, name)(predictions, targets, weights)
    assert value.shape == np.shape(expected)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_a_row_of_nan_is_no_class():
    logits = np.array([[1.0, 2.0], [np.nan, 1.0]], np.float32)
    unknown = (
        (fnn.exact_match, logits, [[1, 0], [0, 1]]),
        (fnn.binary_accuracy, [np.nan], [1]),
        (fnn.accuracy, logits, [1, 0]),
        (fnn.accuracy, [np.nan, 1.0], [0, 1]),
    )
    assert np.isnan(quick(lambda: [metric(*rows) for metric, *rows in unknown])()).all()
    assert quick(lambda: fnn.accuracy(logits, [1, 0], np.array([1.0, 0.0])))() == 1  # it has no weight
    assert jax.jit(fnn.confusion_matrix)(logits, np.array([1, 0])).tolist() == [[0, 0], [0, 1]]
    with pytest.raises(
        ValueError, match="confusion_matrix: predictions expected numbers, got nan in row 1, column 0"
    ):
        fnn.confusion_matrix(logits, [1, 0])


def test_large_numbers_are_compared_before_they_are_narrowed():
    times = 1.7e9 + 3600 * np.arange(50.0)
    late = times + np.random.default_rng(0).normal(0, 900, 50)
    error = late - times
    expected = {
        fnn.rmse: np.sqrt(np.mean(error**2)),
        fnn.mae: abs(error).mean(),
        fnn.mse: np.mean(error**2),
        fnn.r2_score: 1 - np.sum(error**2) / np.sum((times - times.mean()) ** 2),
    }
    found = quick(lambda: [cost(late, times) for cost in expected])()
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-6)
    assert fnn.rmse(np.array([2**40 + 5]), np.array([2**40])) == 5
    assert fnn.huber(times + 50, times) == 49.5


@every_metric
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_scikit_learn(name, kind, weighted):
    sklearn = pytest.importorskip("sklearn.metrics")
    predictions, targets, weights = data(kind)
    weights = weights if weighted else None
    value = quick(lambda: getattr(fnn, name)(predictions, targets, weights))()
    theirs = {
        "accuracy": sklearn.accuracy_score,
        "exact_match": sklearn.accuracy_score,
        "binary_accuracy": lambda y, z, sample_weight: (
            1 - sklearn.hamming_loss(y, z, sample_weight=sample_weight)
        ),
    }.get(name) or getattr(sklearn, name)
    if kind == "labels":
        expected = theirs(targets, (predictions > 0).astype(int), sample_weight=weights)
    elif name == "r2_score":
        expected = theirs(targets, predictions, sample_weight=weights)
    else:
        expected = theirs(*oracles.decide(predictions, targets), sample_weight=weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_sequences_count_every_token():
    draw = np.random.default_rng(1)
    logits, ids = draw.normal(size=(4, 5, 3)), draw.integers(0, 3, size=(4, 5))
    mask = np.arange(5) < np.array([[5], [3], [1], [0]])
    for weights, kept in ((None, np.full((4, 5), True)), (mask, mask)):
        flat, rows = (logits[kept], ids[kept]), (logits, ids, weights)
        accuracy, matrix = quick(lambda: (fnn.accuracy(*rows), fnn.confusion_matrix(*rows)))()
        np.testing.assert_allclose(accuracy, oracles.accuracy(*flat))
        np.testing.assert_allclose(matrix, oracles.confusion_matrix(*flat))


def test_a_weight_for_each_sequence_counts_for_all_its_tokens():
    draw = np.random.default_rng(1)
    logits, ids = draw.normal(size=(4, 5, 3)), draw.integers(0, 3, size=(4, 5))
    weights = np.array([1.0, 0.0, 2.0, 0.5])
    each = np.repeat(weights[:, None], 5, axis=1)
    for metric, oracle in (
        (fnn.accuracy, oracles.accuracy),
        (fnn.confusion_matrix, oracles.confusion_matrix),
    ):
        expected = oracle(logits, ids, each)
        value = quick(lambda: metric(logits, ids, weights))()
        np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_counts_are_integers_and_sums_of_weights_are_floats():
    predictions, targets, weights = data("ids")
    counts = np.asarray(fnn.confusion_matrix(predictions, targets))
    assert (counts.dtype, int(counts.sum())) == (jnp.int32, 40)
    sums = np.asarray(fnn.confusion_matrix(predictions, targets, weights))
    assert (sums.dtype, float(sums.sum())) == (jnp.float32, weights.sum())


def test_a_class_that_never_comes_has_an_empty_row():
    matrix = quick(lambda: fnn.confusion_matrix(np.eye(4)[[0, 2, 2]], np.array([0, 1, 2])))()
    np.testing.assert_array_equal(matrix, [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0] * 4])


def test_the_positive_class_begins_above_a_logit_of_0():
    logits = np.array([0.0, 1e-6, -1e-6], np.float32)
    share = quick(lambda: fnn.accuracy(logits, np.array([0, 1, 0])))()
    matrix = quick(lambda: fnn.confusion_matrix(logits, np.array([1, 1, 0])))()
    assert share == 1
    np.testing.assert_array_equal(matrix, [[1, 0], [1, 1]])


def test_a_constant_target_scores_1_when_met_and_0_when_missed():
    score = quick(fnn.r2_score)
    constant = np.full((4, 2), 3.0, np.float32)
    met = constant.copy()
    met[0, 1] += 1
    assert score(constant, constant) == 1
    assert score(met, constant) == 0.5
    assert score(constant[:, 0], np.arange(4, dtype=np.float32)) < 0
    for number in (0.1, 1 / 3, 1e4 + 0.1):  # whose mean may round to another number
        target = np.full(7, number, np.float32)
        assert score(target, target) == 1
        assert score(target + 1, target) == 0


@every_metric
def test_a_map_over_problems_is_a_loop(name, kind):
    metric = getattr(fnn, name)
    problems = [np.stack(parts) for parts in zip(data(kind), data(kind, seed=1), strict=True)]

    @quick
    def run(problems):
        return jax.vmap(metric)(*problems), jax.lax.map(lambda problem: metric(*problem), problems)

    together, alone = run(problems)
    np.testing.assert_allclose(together, alone, rtol=1e-6)


# --- errors

COLUMN, ROW = jnp.zeros((4, 1)), jnp.zeros(4)
DECIDING = [fnn.accuracy, fnn.confusion_matrix]


@pytest.mark.parametrize("metric", [*DECIDING, fnn.r2_score])
def test_refuses_a_column_against_a_row_and_says_the_fix(metric):
    fix = r"(?s)(?=.*\(4, 1\))(?=.*\(4,\)).*\[(:|\.\.\.), (None|0)\]"
    for predictions, targets in ((COLUMN, ROW), (ROW, COLUMN)):
        targets = targets if metric is fnn.r2_score else targets.astype(int)
        with pytest.raises(ValueError, match=fix):
            metric(predictions, targets)


@pytest.mark.parametrize("metric", DECIDING)
def test_refuses_labels_that_are_a_column_or_no_integers(metric):
    logits = jnp.zeros((4, 3))
    with pytest.raises(ValueError, match=r"(?s)(?=.*\(4, 1\))(?=.*\(4, 3\)).*\[(:|\.\.\.), 0\]"):
        metric(logits, COLUMN.astype(int))
    with pytest.raises((ValueError, TypeError), match="(?s)(?=.*float32).*int"):
        metric(logits, ROW)


@pytest.mark.parametrize("shape", [(3,), (5,), (), (1, 3), (4, 2), (2, 4, 3)], ids=str)
def test_refuses_targets_of_any_other_shape(shape):
    for metric in (*DECIDING, fnn.r2_score):
        with pytest.raises(ValueError, match=says("(4, 3)", str(shape))):
            metric(jnp.zeros((4, 3)), jnp.zeros(shape, int))


@pytest.mark.parametrize("shape", [(3,), (1,), (5,), (4, 1), (1, 4)], ids=str)
def test_refuses_weights_that_are_no_prefix(shape):
    for metric in (*DECIDING, fnn.r2_score):
        targets = jnp.zeros((4, 3)) if metric is fnn.r2_score else jnp.zeros(4, int)
        with pytest.raises(ValueError, match=says("sample_weight", str(shape), "(4,")):
            metric(jnp.zeros((4, 3)), targets, jnp.ones(shape))


GUESSES, IDS = jnp.array([0, 2, 1, 1]), np.array([0, 2, 1, 2])
WRONG = {
    **{
        f"{metric.__name__}, {what}": (functools.partial(metric, *given), error, f"{metric.__name__}: ", *pieces)
        for metric in DECIDING
        for what, given, error, *pieces in (
            ("ids for logits", (GUESSES, IDS), ValueError, "targets expected 0 or 1", "got 2 in row 1", "not their argmax"),
            ("ids in a column", (GUESSES[:, None], IDS[:, None]), ValueError, "got 2 in row 1, column 0", "not their argmax"),
            ("no logits", (None, IDS), TypeError, "predictions expected numbers", "got None"),
            ("no targets", (jnp.zeros((4, 3)), None), TypeError, "targets expected numbers", "got None"),
            ("text", (jnp.zeros((4, 3)), ["a", "b", "c", "a"]), TypeError, "targets expected numbers", "fnn.labels"),
        )
    },
    "r2_score without targets": (lambda: fnn.r2_score(ROW, None), TypeError, "r2_score: targets expected numbers", "got None"),
    "r2_score of text": (lambda: fnn.r2_score(ROW, ["a"] * 4), TypeError, "r2_score: targets expected numbers", "got 'a' in row 0"),
    "r2_score without predictions": (lambda: fnn.r2_score(None, ROW), TypeError, "r2_score: predictions expected numbers", "got None"),
}  # fmt: skip


test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)


def test_a_yes_or_no_in_any_form_is_taken():
    guess = jnp.array([1, 0, 1, 1])
    for yes in ([1, 0, 0, 1], [True, False, False, True], [1.0, -1.0, -1.0, 1.0], [0.9, 0.1, 0.2, 0.8]):
        assert fnn.accuracy(guess, yes) == 0.75
    assert fnn.accuracy(guess, [1, 0, 7, 1], [1, 1, 0, 1]) == 1
