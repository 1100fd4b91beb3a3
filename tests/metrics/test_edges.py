"""Metrics where their definition ends: one class, no weight, ties, constants; and what they refuse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused, quick

import fnn

ORDER = np.array([0.1, 0.4, 0.35, 0.8])
LAST_TWO = np.array([0, 0, 1, 1])


def macro_average(logits, targets, sample_weight=None):
    return fnn.macro_average(fnn.f1_score)(logits, targets, sample_weight)


def known(function, *given, **options):
    """What a function makes of numbers that it knows, in one program."""
    return jax.device_get(quick(lambda: function(*given, **options))())


def logits_of(guesses, classes=3):
    """Logits whose largest are those of these classes."""
    return np.eye(classes)[np.array(guesses)]


# --- ranking


@pytest.mark.parametrize(
    ("scores", "targets", "weights", "area", "precision"),
    [
        (ORDER, LAST_TWO, None, 0.75, 0.8333333),
        (ORDER, LAST_TWO, [1, 2, 3, 4], 0.7142857, 0.9047619),
        ([0.5, 0.5, 0.2, 0.8], [0, 1, 0, 1], None, 0.875, 0.8333333),
        ([1, 1, 1, 1], [0, 1, 0, 1], None, 0.5, 0.5),
        ([1, 1, 1, 1], [0, 1, 0, 0], None, 0.5, 0.25),
        ([0.0, -0.0], [0, 1], None, 0.5, 0.5),
        ([-np.inf, 3, np.inf, np.inf], [0, 0, 1, 1], None, 1, 1),
        ([1, 2], [1, 0], None, 0, 0.5),
        ([1, 2, 3], [0, 0, 0], None, np.nan, 0),
        ([1, 2, 3], [1, 1, 1], None, np.nan, 1),
        ([1, 2, 3], [0, 1, 0], [1, 0, 1], np.nan, 0),
        ([1, 2, 3], [0, 1, 0], [0, 0, 0], np.nan, 0),
    ],
)
def test_a_ranking_of_a_few_rows(scores, targets, weights, area, precision):
    scores, targets = np.array(scores, np.float32), np.array(targets)
    weights = None if weights is None else np.array(weights, np.float32)
    rows = scores, targets, weights
    both = known(lambda: (fnn.roc_auc(*rows), fnn.average_precision(*rows)))
    np.testing.assert_allclose(both, (area, precision), rtol=1e-6)


def test_many_rows_keep_their_digits(x64):
    draw = np.random.default_rng(0)
    scores = draw.normal(size=200_000).astype(np.float32)
    targets = draw.random(200_000) < 0.1 + 0.3 * (scores > 0)
    for metric in (jax.jit(fnn.roc_auc), jax.jit(fnn.average_precision)):
        narrow = metric(scores, targets)
        with x64():
            exact = metric(scores.astype(np.float64), targets)
        np.testing.assert_allclose(narrow, exact, rtol=1e-6)


def test_each_class_against_the_rest_as_its_message_says():
    draw = np.random.default_rng(0)
    logits, ids = draw.normal(size=(20, 3)).astype(np.float32), draw.integers(0, 3, 20)
    areas = known(lambda: jax.vmap(fnn.roc_auc, in_axes=(1, 1))(logits, fnn.one_hot(ids, 3)))
    expected = known(lambda: [fnn.roc_auc(logits[:, k], ids == k) for k in range(3)])
    np.testing.assert_allclose(areas, expected, rtol=1e-6)


# --- rates


@pytest.mark.parametrize(
    ("true", "guess", "instead", "expected"),
    [
        ([0, 0], [0, 0], 0, (0, 0, 0)),
        ([0, 0], [0, 0], 1, (1, 1, 1)),
        ([0, 0], [0, 0], np.nan, (np.nan, np.nan, np.nan)),
        ([0, 0], [0, 1], 1, (0, 1, 0)),
        ([0, 1], [0, 0], 1, (1, 0, 0)),
    ],
)
def test_nothing_of_nothing_is_zero_division(true, guess, instead, expected):
    logits, true = 2.0 * np.array(guess) - 1, np.array(true)
    both = np.stack([-logits, logits], -1)
    for metric, value in zip((fnn.precision_score, fnn.recall_score, fnn.f1_score), expected, strict=True):
        metric = functools.partial(metric, zero_division=instead)
        one, each = known(lambda: (metric(logits, true), metric(both, true)))
        np.testing.assert_array_equal(one, value)
        np.testing.assert_array_equal(each[1], value)


AVERAGES = fnn.macro_average, fnn.weighted_average, fnn.micro_average
RATES = fnn.precision_score, fnn.recall_score, fnn.f1_score


@pytest.mark.parametrize(
    ("guess", "instead", "rows"),
    [
        ([0, 1, 1, 1, 1], 0.0, [[0.5, 0.5, 4 / 9], [0.6, 0.6, 0.5333333], [0.6] * 3]),
        ([0, 1, 1, 1, 1], 1.0, [[0.8333333, 0.5, 4 / 9], [0.8, 0.6, 0.5333333], [0.6] * 3]),
        ([0, 1, 1, 1, 1], np.nan, [[0.75, 0.5, 4 / 9], [0.75, 0.6, 0.5333333], [0.6] * 3]),
        ([0, 3, 1, 1, 2], 0.0, [[0.75, 0.625, 2 / 3], [1.0, 0.8, 0.8666667], [0.8] * 3]),
    ],
)
def test_averages_over_classes(guess, instead, rows):
    true, guess = np.array([0, 0, 1, 1, 2]), logits_of(guess, 5)  # the fifth class never comes
    rates = [functools.partial(rate, zero_division=instead) for rate in RATES]
    found = known(lambda: [[average(rate)(guess, true) for rate in rates] for average in AVERAGES])
    np.testing.assert_allclose(found, rows, rtol=1e-6)


def test_several_labels_are_averaged_as_the_page_says():
    metrics = pytest.importorskip("sklearn.metrics")
    true = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    logits = 2.0 * np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]) - 1
    each = known(jax.vmap(fnn.f1_score, (1, 1)), logits, true)
    np.testing.assert_allclose(each, metrics.f1_score(true, logits > 0, average=None, zero_division=0))
    micro = metrics.f1_score(true, logits > 0, average="micro")
    np.testing.assert_allclose(known(fnn.f1_score, logits.ravel(), true.ravel()), micro, rtol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
def test_an_average_is_of_precision_recall_or_f1(average):
    with pytest.raises(TypeError, match=f"{average.__name__}: rate expected fnn.precision_score"):
        average(fnn.accuracy)
    with pytest.raises(TypeError, match="with a zero_division at most"):
        average(functools.partial(fnn.f1_score, sample_weight=np.ones(3)))
    with pytest.raises(ValueError, match="zero_division expected a number, 0 ≤ zero_division ≤ 1, or nan"):
        average(functools.partial(fnn.f1_score, zero_division=2.0))


def test_the_same_average_is_compiled_once():
    metric = fnn.macro_average(functools.partial(fnn.f1_score, zero_division=0.0))
    other = fnn.macro_average(functools.partial(fnn.f1_score, zero_division=1.0))
    assert jax.tree.structure(metric) == jax.tree.structure(other) and hash(jax.tree.structure(metric))


def test_a_class_that_nobody_has_is_left_out_of_a_mean():
    with jax.debug_nans(True):  # nor is it a NaN on the way
        assert macro_average(logits_of([0, 2, 1, 1], 4), np.array([0, 0, 1, 1])) == pytest.approx(5 / 9)
    three, weights = (logits_of([0, 2, 1]), np.array([0, 0, 1])), np.array([1.0, 1.0, 0.0])
    assert known(fnn.balanced_accuracy, *three) == 0.75
    assert known(fnn.balanced_accuracy, *three, weights) == 0.5
    assert known(macro_average, np.array([1, 1, 1, -1]), np.array([0, 0, 0, 1])) == 0
    assert known(macro_average, np.array([-1, 1, 1, 1]), np.array([0, 0, 0, 1])) == 0.5


def test_a_traced_target_that_is_no_class_gives_nan():
    logits, ids, weights = np.zeros((3, 3), np.float32), np.array([0, 1, 3]), np.array([1.0, 1.0, 0.0])
    metrics = (
        fnn.precision_score, fnn.recall_score, fnn.f1_score, macro_average, fnn.balanced_accuracy,
        fnn.top_k_accuracy, fnn.brier_score, fnn.calibration_error, fnn.perplexity,
    )  # fmt: skip

    @quick
    def run(logits, ids, rows, weights):
        return [
            (metric(logits, ids), metric(logits, rows), metric(logits, ids, weights)) for metric in metrics
        ]

    found = run(logits, ids, 2 * np.eye(3, dtype=np.float32)[ids % 3], weights)
    for metric, (of_ids, of_rows, weighted) in zip(metrics, found, strict=True):
        assert np.isnan(of_ids).all(), metric
        assert np.isnan(of_rows).all(), metric
        assert np.isfinite(weighted).all(), metric


def test_sequences_count_every_token():
    draw = np.random.default_rng(1)
    logits, ids = draw.normal(size=(4, 5, 3)), draw.integers(0, 3, size=(4, 5))
    mask = np.arange(5) < np.array([[5], [3], [1], [0]])
    metrics = fnn.f1_score, fnn.balanced_accuracy, fnn.top_k_accuracy, fnn.perplexity, fnn.brier_score
    whole = known(lambda: [metric(logits, ids, mask) for metric in metrics])
    kept = known(lambda: [metric(logits[mask], ids[mask]) for metric in metrics])
    for one, other in zip(whole, kept, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_of_equal_logits_the_first_class_is_taken():
    draw = np.random.default_rng(0)
    logits, ids = draw.integers(0, 2, size=(50, 4)).astype(float), draw.integers(0, 4, size=50)
    found = known(lambda: {k: fnn.top_k_accuracy(logits, ids, k=k) for k in (1, 2, 4, 9)})
    accuracy, (_, best) = known(lambda: (fnn.accuracy(logits, ids), jax.lax.top_k(jnp.array(logits), 2)))
    assert found[1] == accuracy
    assert found[2] == pytest.approx((best == ids[:, None]).any(1).mean())
    assert found[4] == found[9] == 1
    assert known(fnn.top_k_accuracy, np.zeros((3, 3)), np.arange(3), k=1) == pytest.approx(1 / 3)


def test_another_number_compiles_nothing():
    logits, ids = jnp.array(np.random.default_rng(0).normal(size=(9, 4))), jnp.arange(9) % 4
    metric = jax.jit(lambda *rows, k: fnn.top_k_accuracy(*rows, k=k))
    found = [float(metric(logits, ids, k=k)) for k in (1, 2, 4)]
    assert metric._cache_size() == 1 and found == sorted(found) and found[-1] == 1
    rate = jax.jit(lambda z: fnn.precision_score(jnp.array([-1.0]), jnp.array([1]), zero_division=z))
    assert [float(rate(z)) for z in (0.0, 0.5)] == [0, 0.5]
    assert rate._cache_size() == 1


# --- probabilities


def test_two_outputs_and_one_output_say_the_same():
    draw = np.random.default_rng(0)
    logits, ids = draw.normal(size=(20, 2)), draw.integers(0, 2, 20)
    one = logits[:, 1] - logits[:, 0]
    metrics = fnn.brier_score, fnn.balanced_accuracy, fnn.f1_score
    two_brier, two_balanced, two_f1 = known(lambda: [metric(logits, ids) for metric in metrics])
    brier, balanced, f1 = known(lambda: [metric(one, ids) for metric in metrics])
    for two_outputs, one_output in ((two_brier, 2 * brier), (two_balanced, balanced), (two_f1[1], f1)):
        np.testing.assert_allclose(two_outputs, one_output, rtol=1e-5)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [(np.linspace(0, 1, 11), 0.16), (np.linspace(0, 1, 6), 0.14), (None, 0.1933333)],
    ids=str,
)
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(edges, expected, x64):
    confidence = np.array([0.95, 0.9, 0.85, 0.6, 0.55, 0.99])
    right = np.array([1, 1, 0, 1, 0, 1])
    with x64():
        logits = np.stack([np.log(confidence), np.log(1 - confidence)], -1)
        logits[[1, 3]] += 1e-12 * np.array([-1, 1])  # softmax may round upwards
        value = known(fnn.calibration_error, logits, 1 - right, edges=edges)
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_the_first_and_the_last_bin_are_closed():
    certain, targets = np.array([-1e4, 1e4]), np.array([0, 1])
    for given, expected in ((targets, 0), (1 - targets, 1)):
        found = known(lambda: [metric(certain, given) for metric in (fnn.calibration_error, fnn.brier_score)])
        assert found == [expected, expected]


def test_without_any_weight_nothing_is_wrong():
    none = np.zeros(4)
    metrics = fnn.brier_score, fnn.calibration_error, fnn.top_k_accuracy, macro_average, fnn.balanced_accuracy
    rows = logits_of([0, 1, 2, 0]), np.array([0, 0, 0, 0]), none
    assert known(lambda: [metric(*rows) for metric in metrics]) == [0] * len(metrics)
    assert known(fnn.perplexity, logits_of([0, 1]), np.array([0, 0]), none[:2]) == 1
    assert known(fnn.median_absolute_error, ORDER, LAST_TWO, none) == 0


# --- numbers


@pytest.mark.parametrize(
    ("errors", "weights", "expected"),
    [
        ([1, 2, 3, 10], None, 2.5),
        ([1, 2, 3, 10], [1, 1, 1, 5], 10),
        ([1, 2, 9], [1, 0, 1], 5),
        ([-7], None, 7),
        ([1, np.nan, 2], None, np.nan),
        ([1, np.nan, 2], [1, 0, 1], 1.5),
        ([[1, 10], [3, 30], [2, 0]], None, 6),
    ],
)
def test_the_median_of_a_few_errors(errors, weights, expected):
    errors = np.array(errors, np.float32)
    weights = None if weights is None else np.array(weights, np.float32)
    value = known(fnn.median_absolute_error, errors, np.zeros_like(errors), weights)
    np.testing.assert_allclose(value, expected)


def test_a_constant_shift_is_no_unexplained_variance():
    targets = np.array([1.0, 2.0, 4.0], np.float32)
    constant = np.full(3, 0.1, np.float32)
    assert known(fnn.r2_score, targets + 8, targets) < 0
    pairs = (
        (targets + 8, targets),
        (constant + 8, constant),
        (targets, constant),
        (targets[:1], constant[:1]),
    )
    assert known(lambda: [fnn.explained_variance(*pair) for pair in pairs]) == [1, 1, 0, 1]


@pytest.mark.parametrize("metric", [fnn.r2_score, fnn.explained_variance])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [np.nan, np.inf, 5.0])
def test_constant_targets_stay_constant_behind_a_row_without_weight(metric, dtype, hidden):
    weights = np.array([0] + 7 * [0.1], np.float32)
    for number in (0.1, 1 / 3, 0.7, 1e4 + 0.1):  # whose mean may round to another number
        targets = np.array([hidden] + 7 * [number], dtype)
        wrong = np.append(targets[:-1], number + 1).astype(dtype)
        assert metric(wrong, targets, weights) == 0
        assert metric(targets, targets, weights) == 1


def test_large_numbers_are_compared_before_they_are_narrowed():
    times = 1.7e9 + 3600 * np.arange(50.0)
    error = np.random.default_rng(0).normal(50, 900, 50)
    expected = 1 - np.var(error) / np.var(times)
    np.testing.assert_allclose(known(fnn.explained_variance, times + error, times), expected, rtol=1e-6)
    median = known(fnn.median_absolute_error, times + error, times)
    np.testing.assert_allclose(median, np.median(abs(error)), rtol=1e-6)


# --- errors

ROW, COLUMN, WIDE, IDS = np.zeros(4), np.zeros((4, 1)), np.zeros((4, 3)), np.array([0, 2, 1, 2])
OF_YES = fnn.roc_auc, fnn.average_precision
OF_CLASSES = (
    fnn.precision_score, fnn.recall_score, fnn.f1_score, macro_average, fnn.balanced_accuracy, fnn.brier_score,
    fnn.calibration_error,
)  # fmt: skip
OF_SOFTMAX = fnn.top_k_accuracy, fnn.perplexity
OF_NUMBERS = fnn.median_absolute_error, fnn.explained_variance


def refused_by(metrics, what, predictions, targets, *pieces, **options):
    """One mistake with each of these metrics; the message has its name."""
    return {
        f"{metric.__name__}, {what}": (
            functools.partial(metric, predictions, targets, **options),
            ValueError,
            f"{metric.__name__}",
            *pieces,
        )
        for metric in metrics
    }


WRONG = {
    **refused_by(OF_YES, "several outputs", WIDE, IDS, "one logit of a yes for each row", "(4, 3)", "in_axes=(1, 1)"),
    **refused_by(OF_YES, "labels", WIDE, WIDE, "one logit of a yes for each row", "(4, 3)", "fnn.one_hot(y, 3)"),
    **refused_by(OF_YES, "ids for a score", ROW, IDS, "targets expected 0 or 1", "got 2 in row 1"),
    **refused_by(OF_CLASSES, "ids for a logit", ROW, IDS, "targets expected 0 or 1", "got 2 in row 1"),
    **refused_by(OF_YES + OF_CLASSES + OF_NUMBERS, "a column against a row", COLUMN, ROW, "(4, 1)", "(4,)", "[..., 0]"),
    **refused_by(OF_CLASSES + OF_SOFTMAX, "no such class", WIDE, IDS + 1, "class ids from 0 to 2", "got 3 in row 1"),
    **refused_by(OF_SOFTMAX, "no axis of classes", ROW, IDS > 0, "binary_cross_entropy"),
    **refused_by(OF_NUMBERS, "other shapes", WIDE, np.zeros((4, 2)), "(4, 3)", "(4, 2)"),
    **refused_by(OF_SOFTMAX[:1], "k of 0", WIDE, IDS, "k expected", "k = 1, 2, 3, …", "got 0", k=0),
    **refused_by(OF_SOFTMAX[:1], "half of k", WIDE, IDS, "k = 1, 2, 3, …", "got 1.5", k=1.5),
    **refused_by(OF_CLASSES[:3], "a percentage", WIDE, IDS, "0 ≤ zero_division ≤ 1", "got 50", zero_division=50),
    **refused_by(OF_CLASSES[-1:], "a number of bins", WIDE, IDS, "0 ≤ edges ≤ 1, rising", "got 10", edges=10),
    **refused_by(OF_CLASSES[-1:], "one edge", WIDE, IDS, "0 ≤ edges ≤ 1, rising", "got 0.5", edges=0.5),
    **refused_by(OF_CLASSES[-1:], "falling edges", WIDE, IDS, "0 ≤ edges ≤ 1, rising", "got 0.0", edges=[1.0, 0.0]),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)


@pytest.mark.parametrize("metric", [*OF_YES, *OF_CLASSES])
def test_evaluate_refuses_the_same_before_it_measures(metric):
    name = metric.__name__
    metric = fnn.macro_average(fnn.f1_score) if metric is macro_average else metric
    network = fnn.layer(lambda key, x: (), lambda params, x: x[:, 0], name="first")
    with pytest.raises(ValueError, match=f"{name}: y expected .*got 2.* in row 1"):
        fnn.evaluate(network, (), WIDE, IDS, {"it": metric})
    with pytest.raises(ValueError, match="cost expected .*the metric "):
        fnn.fit(network, metric, fnn.adam(), WIDE, IDS, epochs=1, key=jax.random.key(0))
