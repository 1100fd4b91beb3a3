"""Metrics beyond accuracy: each equals its definition in float64, with ties and weights, and scikit-learn's."""

import functools
import importlib
import itertools
import pathlib

import jax
import numpy as np
import oracles
import pytest
from networks import quick
from scipy.special import expit, softmax

import fnn
from fnn.workflow.rows import METRICS

# --- definitions, without weights: a weight of 2 is the row twice, of 0 the row left out


def roc_auc(z, y):
    z, y = z.ravel(), y.ravel()
    pairs = [(a > b) + 0.5 * (a == b) for a in z[y == 1] for b in z[y == 0]]
    return np.mean(pairs)


def average_precision(z, y):
    z, y = z.ravel(), y.ravel()
    return np.mean([y[z >= score].mean() for score in z[y == 1]])


def each_class(rate, z, y):
    true, guess = oracles.decide(z, y)
    binary = z.ndim == 1 or z.shape[-1] == 1
    classes = range(2 if binary else z.shape[-1])
    rates = np.array([rate(true == k, guess == k) for k in classes])
    return rates[1] if binary else rates


def precision_of(true, guess):
    return true[guess].mean() if guess.any() else 0.0


def recall_of(true, guess):
    return guess[true].mean() if true.any() else 0.0


def f1_of(true, guess):
    return 2 * (true & guess).sum() / max(true.sum() + guess.sum(), 1)


def present(rate, among, z, y):
    true, guess = oracles.decide(z, y)
    return np.mean([rate(true == k, guess == k) for k in sorted(among(true, guess))])


def averaged(average, rate, z, y):
    true, guess = oracles.decide(z, y)
    if average == "micro":
        return (true == guess).mean()
    classes = sorted({*true, *guess})
    rates = [rate(true == k, guess == k) for k in classes]
    return np.average(rates, weights=[(true == k).sum() if average == "weighted" else 1 for k in classes])


def top_k_accuracy(z, y, k=2):
    true, _ = oracles.decide(z, y)
    best = np.argsort(-z, axis=-1, kind="stable")[:, :k]  # of equal ones the first
    return np.mean([t in row for t, row in zip(true, best, strict=True)])


def probabilities(z, y):
    """Probabilities and outcomes as rows, of one column for yes or no."""
    if z.ndim == 1 or z.shape[-1] == 1:
        return expit(z).reshape(-1, 1), y.reshape(-1, 1)
    return softmax(z, -1), np.eye(z.shape[-1])[oracles.decide(z, y)[0]]


def brier_score(z, y):
    p, y = probabilities(z, y)
    return ((p - y) ** 2).sum(-1).mean()


def calibration_error(z, y, edges=None):
    p, y = probabilities(z, y)
    edges = np.linspace(0, 1, 16) if edges is None else edges
    confidence, right = p.max(-1), y[np.arange(len(y)), p.argmax(-1)]
    total = 0.0
    for lower, upper in itertools.pairwise(edges):
        inside = (lower < confidence) & (confidence <= upper)
        total += abs(confidence[inside].sum() - right[inside].sum())
    return total / len(y)


def perplexity(z, y):
    p, y = probabilities(z, y)
    return np.prod(p[y == 1] ** (-1 / len(y)))


def median_absolute_error(p, y):
    return np.mean(np.median(abs(p - y), axis=0))


def explained_variance(p, y):
    return np.mean(1 - np.var(y - p, axis=0) / np.var(y, axis=0))


BINARY, CLASSES, REALS = ("row", "column"), ("ids", "one_hot"), ("vector", "matrix")
ORACLES = {
    "roc_auc": (roc_auc, BINARY),
    "average_precision": (average_precision, BINARY),
    "precision_score": (functools.partial(each_class, precision_of), BINARY + CLASSES),
    "recall_score": (functools.partial(each_class, recall_of), BINARY + CLASSES),
    "f1_score": (functools.partial(each_class, f1_of), BINARY + CLASSES),
    **{
        f"{average}_{name}": (functools.partial(averaged, average, rate), BINARY + CLASSES)
        for average in ("macro", "weighted", "micro")
        for name, rate in (("precision", precision_of), ("recall", recall_of), ("f1", f1_of))
    },
    "balanced_accuracy": (functools.partial(present, recall_of, lambda t, g: {*t}), BINARY + CLASSES),
    "top_k_accuracy": (top_k_accuracy, CLASSES),
    "brier_score": (brier_score, BINARY + CLASSES),
    "calibration_error": (calibration_error, BINARY + CLASSES),
    "perplexity": (perplexity, CLASSES),
    "median_absolute_error": (median_absolute_error, REALS),
    "explained_variance": (explained_variance, REALS),
}
CASES = [(name, kind) for name, (_, kinds) in ORACLES.items() for kind in kinds]
AVERAGED = {
    f"{average.__name__.removesuffix('_average')}_{rate.__name__.removesuffix('_score')}": average(rate)
    for average in (fnn.macro_average, fnn.weighted_average, fnn.micro_average)
    for rate in (fnn.precision_score, fnn.recall_score, fnn.f1_score)
}
every_metric = pytest.mark.parametrize(("name", "kind"), CASES)
OPTIONS = {"top_k_accuracy": {"k": 2}}


def metric_of(name, **options):
    made = AVERAGED.get(name) or getattr(fnn, name)
    return functools.partial(made, **(options or OPTIONS.get(name, {})))


def with_and_without(metric, z, y, weights):
    """The metric without weights and with them, of numbers that it knows, in one program."""
    return quick(lambda: (metric(z, y), metric(z, y, weights)))()


def data(kind, rows=30, seed=0):
    """Predictions with ties, targets and whole weights; four classes, of which the last never comes."""
    draw = np.random.default_rng(seed)
    shape = {"row": (rows,), "column": (rows, 1), "vector": (rows,)}.get(kind, (rows, 4))
    predictions = draw.normal(size=shape).round(1)
    predictions[..., 3:] -= 9  # nor is it taken
    ids = draw.integers(0, 3, size=rows)
    targets = {
        "ids": lambda: ids,
        "one_hot": lambda: np.eye(4)[ids],
        "row": lambda: draw.integers(0, 2, size=shape),
        "column": lambda: draw.integers(0, 2, size=shape),
        "vector": lambda: draw.normal(size=shape),
        "matrix": lambda: predictions + draw.normal(size=shape),
    }[kind]()
    return predictions, targets, draw.integers(0, 4, size=rows).astype(float)


@every_metric
def test_equals_its_definition_and_a_weight_is_how_often_a_row_comes(name, kind, x64):
    oracle = ORACLES[name][0]
    z, y, weights = data(kind)
    metric = metric_of(name)
    run = jax.jit(lambda z, y, weights: (metric(z, y), metric(z, y, weights)))
    often = weights.astype(int)
    hidden = np.where((weights == 0).reshape(-1, *(1,) * (z.ndim - 1)), np.nan, z)
    order = np.random.default_rng(1).permutation(len(z))
    with x64():
        whole, doubled = run(z, y, 2 * weights)
        _, weighted = run(hidden, y, weights)
        _, moved = run(z[order], y[order], weights[order])
    expected = oracle(np.repeat(z, often, axis=0), np.repeat(y, often, axis=0))
    assert whole.dtype == np.float64 and whole.shape == np.shape(expected)
    np.testing.assert_allclose(whole, oracle(z, y), rtol=1e-12)
    np.testing.assert_allclose(weighted, expected, rtol=1e-12)
    np.testing.assert_allclose(moved, expected, rtol=1e-12)
    np.testing.assert_allclose(doubled, expected, rtol=1e-12)


def decided(score, **options):
    return lambda z, y, w: score(*oracles.decide(z, y), sample_weight=w, **options)


def peers():
    sklearn = pytest.importorskip("sklearn.metrics")
    flat = {name: getattr(sklearn, f"{name}_score") for name in ("roc_auc", "average_precision")}

    def each(score):
        return lambda z, y, w: decided(
            score, zero_division=0, **({} if z.size == len(z) else {"average": None, "labels": range(4)})
        )(z, y, w)

    def outcomes(score, z, y, w, **options):
        p = expit(z).ravel() if z.size == len(z) else softmax(z, -1)
        return score(oracles.decide(z, y)[0], p, sample_weight=w, **options)

    def brier(z, y, w):
        labels = {} if z.size == len(z) else {"labels": range(4)}
        return outcomes(sklearn.brier_score_loss, z, y, w, **labels)

    return {
        **{name: lambda z, y, w, f=f: f(y.ravel(), z.ravel(), sample_weight=w) for name, f in flat.items()},
        **{name: each(getattr(sklearn, name)) for name in ("precision_score", "recall_score", "f1_score")},
        **{
            f"{average}_{name}": decided(getattr(sklearn, f"{name}_score"), average=average, zero_division=0)
            for average in ("macro", "weighted", "micro")
            for name in ("precision", "recall", "f1")
        },
        "balanced_accuracy": decided(sklearn.balanced_accuracy_score),
        "top_k_accuracy": lambda z, y, w: sklearn.top_k_accuracy_score(
            oracles.decide(z, y)[0], z, k=2, labels=range(4), sample_weight=w
        ),
        "brier_score": brier,
        "perplexity": lambda z, y, w: np.exp(outcomes(sklearn.log_loss, z, y, w, labels=range(4))),
        "median_absolute_error": lambda z, y, w: sklearn.median_absolute_error(y, z, sample_weight=w),
        "explained_variance": lambda z, y, w: sklearn.explained_variance_score(y, z, sample_weight=w),
    }


@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[0] != "calibration_error"])
def test_equals_scikit_learn(name, kind, x64):
    theirs = peers()[name]
    z, y, weights = data(kind, seed=2)
    if name == "top_k_accuracy":  # ties go to the later class there
        z = z + np.random.default_rng(3).uniform(0, 0.01, z.shape)
    with x64():
        values = with_and_without(metric_of(name), z, y, weights + 0.25)
    for value, w in zip(values, (None, weights + 0.25), strict=True):
        np.testing.assert_allclose(value, theirs(z, y, w), rtol=1e-10)


@pytest.mark.parametrize("kind", ["row", "ids"])
def test_a_cost_as_a_metric_is_the_log_loss_of_scikit_learn(kind, x64):
    metrics = pytest.importorskip("sklearn.metrics")
    z, y, weights = data(kind)
    cost, p = (
        (fnn.softmax_cross_entropy, softmax(z, -1)) if kind == "ids" else (fnn.binary_cross_entropy, expit(z))
    )
    expected = metrics.log_loss(
        y, p, labels=range(4) if kind == "ids" else None, sample_weight=weights + 0.25
    )
    with x64():
        value = quick(lambda: cost(z, y, weights + 0.25))()
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@every_metric
def test_a_map_over_problems_is_a_loop(name, kind):
    metric = metric_of(name)
    problems = [np.stack(parts) for parts in zip(data(kind), data(kind, seed=1), strict=True)]

    @quick
    def run(problems):
        return jax.vmap(metric)(*problems), jax.lax.map(lambda problem: metric(*problem), problems)

    together, alone = run(problems)
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@every_metric
def test_a_nan_is_never_hidden(name, kind):
    z, y, weights = data(kind)
    z[weights.argmax()] = np.nan
    whole, weighted = with_and_without(metric_of(name), z, y, weights)
    assert np.isnan(weighted).all() and np.isnan(whole).all()


@pytest.mark.parametrize("kind", ["column", "ids", "matrix"])
def test_training_measures_them_inside_its_compiled_call(kind):
    x, y, weights = data(kind)
    network = fnn.dense(x.shape[-1])
    cost = {"column": fnn.binary_cross_entropy, "ids": fnn.softmax_cross_entropy, "matrix": fnn.mse}[kind]
    options = {"top_k_accuracy": {"k": 2}, "calibration_error": {"edges": np.linspace(0, 1, 6)}}
    metrics = {
        name: metric_of(name, **options.get(name, {}))
        for name, (_, kinds) in ORACLES.items()
        if kind in kinds
    }
    state = fnn.start(network, fnn.adam(), x, key=jax.random.key(0))
    state, history = fnn.train(
        network, cost, fnn.adam(), state, x, y, epochs=2, validation=(x, y, weights), metrics=metrics
    )
    predictions = quick(network.forward)(state.params, x)
    expected = quick(lambda: {name: metric(predictions, y, weights) for name, metric in metrics.items()})()
    for name, value in expected.items():
        np.testing.assert_allclose(history[f"validation_{name}"][1], value, rtol=1e-5, err_msg=name)


def test_fit_and_evaluate_know_every_metric():
    files = {path.stem for path in pathlib.Path(fnn.__file__).parent.glob("metrics/[a-z]*.py")}
    decisions = {"conformal", "temperature", "threshold"}  # made once a network is trained
    assert decisions < files
    offered = {
        getattr(fnn, name)
        for file in files - decisions
        for name in importlib.import_module(f"fnn.metrics.{file}").__all__
    }
    curves = {fnn.roc_curve, fnn.precision_recall_curve, fnn.calibration_curve, fnn.residuals}
    averages = {fnn.macro_average, fnn.weighted_average, fnn.micro_average}
    assert curves | averages < offered
    made = {average(fnn.f1_score).func for average in averages}
    assert (offered - curves - averages) | made == set(METRICS)
