"""Thresholds: the best of every threshold there is, tried one by one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused

import fnn


def rows(seed, count=40):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=count).round(1).astype(np.float32)
    return z, (draw.normal(size=count) < z).astype(int), draw.integers(0, 3, count).astype(np.float32)


def every_threshold(z):
    scores = np.unique(z)
    return [-np.inf, *((scores[1:] + scores[:-1]) / 2), np.inf]


def error_cost(z, y, w, false_positive=1.0, false_negative=1.0):
    missed, alarms = (y == 1) & (z <= 0), (y == 0) & (z > 0)
    return -np.sum(w * (false_positive * alarms + false_negative * missed))


def constrained(score, limit, least):
    score, limit = jax.jit(score), jax.jit(limit)

    def value(z, y, w):
        return float(score(z, y, w)) if limit(z, y, w) >= least - 1e-6 else -1.0

    return value


AIMS = {
    "f1": (fnn.f1_threshold, jax.jit(fnn.f1_score)),
    "cost": (fnn.cost_threshold, error_cost),
    "cost of a miss": (
        functools.partial(fnn.cost_threshold, false_negative=5.0),
        functools.partial(error_cost, false_negative=5.0),
    ),
    "cost of an alarm": (
        functools.partial(fnn.cost_threshold, false_positive=3.0),
        functools.partial(error_cost, false_positive=3.0),
    ),
    "recall at a precision": (
        functools.partial(fnn.precision_threshold, precision=0.6),
        constrained(fnn.recall_score, fnn.precision_score, 0.6),
    ),
    "precision at a recall": (
        functools.partial(fnn.recall_threshold, recall=0.8),
        constrained(fnn.precision_score, fnn.recall_score, 0.8),
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("aim", AIMS)
def test_no_other_threshold_is_better_and_a_higher_one_is_worse(aim, seed):
    choose, score = AIMS[aim]
    z, y, weights = rows(seed)
    for w in (np.ones_like(weights), weights):
        chosen = choose(z, y, w)
        value = {t: float(score(z - np.float32(t), y, w)) for t in every_threshold(z[w > 0])}
        best = max(value.values())
        assert float(score(z - np.float32(chosen), y, w)) == pytest.approx(best, rel=1e-5)
        assert max(t for t, v in value.items() if v > best - 1e-6 * abs(best)) == pytest.approx(chosen)


def test_rows_of_one_column_and_rows_without_weight():
    z, y, weights = rows(0)
    chosen = fnn.f1_threshold(z, y, weights)
    assert chosen == fnn.f1_threshold(z[:, None], y[:, None], weights[:, None])
    assert chosen == fnn.f1_threshold(np.where(weights == 0, np.nan, z), y, weights)
    assert chosen == fnn.f1_threshold(jnp.array(z), jnp.array(y), jnp.array(weights))


def test_where_probabilities_are_right_the_threshold_of_costs_is_known():
    draw = np.random.default_rng(0)
    z = draw.normal(size=200_000).astype(np.float32)
    y = draw.random(z.size) < 1 / (1 + np.exp(-z))
    chosen = fnn.cost_threshold(z, y, false_positive=1.0, false_negative=4.0)
    assert chosen == pytest.approx(np.log(1 / 4), abs=0.05)
    f1 = jax.jit(fnn.f1_score)(z - (chosen := fnn.f1_threshold(z, y)), y)
    assert 1 / (1 + np.exp(-chosen)) == pytest.approx(float(f1) / 2, abs=0.02)


def test_a_share_that_is_reached_exactly_is_reached():
    z, y = np.arange(20.0), np.array([0, 1] * 10)
    for share in (0.1, 0.3, 0.6, 0.7, 0.9):  # 0.7 · 10 is 7.000000000000001
        found = jax.jit(fnn.recall_score)(z - np.float32(fnn.recall_threshold(z, y, recall=share)), y)
        assert found == pytest.approx(share)


def test_no_yes_at_all_and_nothing_but_yes_are_thresholds_too():
    z, y = np.array([1.0, 2.0, 3.0]), np.array([1, 0, 0])
    assert fnn.cost_threshold(z, y) == np.inf
    assert fnn.recall_threshold(z, y, recall=1.0) == -np.inf
    assert fnn.accuracy(z - np.float32(np.inf), y) == pytest.approx(2 / 3)


def test_between_neighbouring_floats_the_right_rows_are_taken():
    low = np.float32(1)
    z = np.array([low, np.nextafter(low, np.float32(2))])
    chosen = np.float32(fnn.f1_threshold(z, np.array([0, 1])))
    np.testing.assert_array_equal(z > chosen, [False, True])


Z, Y, _ = rows(0)
WRONG = {
    "one class": (lambda: fnn.f1_threshold(Z, 0 * Y), ValueError, "f1_threshold expected rows of both classes"),
    "classes": (lambda: fnn.f1_threshold(np.zeros((40, 3)), Y), ValueError, "one logit of a yes for each row"),
    "a precision out of reach": (
        lambda: fnn.precision_threshold(np.array([3.0, 2.0, 1.0]), np.array([0, 1, 1]), precision=0.9), ValueError,
        "no threshold reaches a precision of 0.9; the highest is 0.667",
    ),
    "a precision in percent": (lambda: fnn.precision_threshold(Z, Y, precision=90), ValueError, "0 < precision ≤ 1"),
    "no recall": (lambda: fnn.recall_threshold(Z, Y, recall=0.0), ValueError, "0 < recall ≤ 1"),
    "a gain": (lambda: fnn.cost_threshold(Z, Y, false_positive=-1.0), ValueError, "0 ≤ false_positive"),
    "y first": (lambda: fnn.f1_threshold(Y, Z), ValueError, "f1_threshold: targets expected"),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
