"""Conformal intervals and sets: their coverage is counted, over exchangeable rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused

import fnn


@pytest.mark.parametrize("coverage", [0.5, 0.6, 0.7, 0.9, 0.95])
@pytest.mark.parametrize("rows", [19, 20, 37])
def test_of_rows_in_every_role_exactly_the_promised_share_is_covered(rows, coverage):
    """Each of n + 1 rows is once the new one: exchangeability, with nothing left to chance."""
    scores = np.random.default_rng(rows).permutation(rows + 1).astype(float)
    covered = [scores[i] <= fnn.conformal_quantile(np.delete(scores, i), coverage) for i in range(rows + 1)]
    assert np.sum(covered) == math.ceil(round((rows + 1) * coverage, 9))
    assert coverage <= np.mean(covered) + 1e-12 < coverage + 1 / (rows + 1) + 1e-9


def problem(key, rows):
    keys = jax.random.split(key, 3)
    x = jax.random.uniform(keys[0], (rows, 1), minval=-1.0)
    return x, x**2 + (0.1 + 0.5 * abs(x)) * jax.random.t(keys[1], 3.0, (rows, 1))


def covered(make, splits=400, held=49, new=50):
    """The share of covered new rows over many splits, and its standard error."""
    every = jax.jit(lambda key: jax.vmap(lambda key: make(key, held, new))(jax.random.split(key, splits)))
    shares = np.asarray(every(jax.random.key(0)))
    return float(shares.mean()), float(shares.std() / splits**0.5)


def around_a_mean(key, held, new):
    x, y = problem(key, held + new)
    low, high = fnn.conformal_interval(x[:held] ** 2, y[:held], x[held:] ** 2, 0.8)
    return ((low <= y[held:]) & (y[held:] <= high)).mean()


def around_two_quantiles(key, held, new):
    x, y = problem(key, held + new)
    bounds = x**2 - 0.3, x**2 + 0.1  # wrong ones, and of another width than needed
    low, high = fnn.conformal_interval(
        tuple(b[:held] for b in bounds), y[:held], tuple(b[held:] for b in bounds), 0.8
    )
    return ((low <= y[held:]) & (y[held:] <= high)).mean()


def scaled(key, held, new):
    x, y = problem(key, held + new)
    width = 0.1 + 0.5 * abs(x)
    q = fnn.conformal_quantile(abs(y - x**2)[:held] / width[:held], 0.8)
    return (abs(y - x**2)[held:] <= (q * width)[held:]).mean()


def of_classes(key, held, new):
    keys = jax.random.split(key, 3)
    z = jax.random.normal(keys[0], (held + new, 4))
    y = jax.random.categorical(keys[1], 2 * z)
    sets = fnn.conformal_set(z[:held], y[:held], z[held:], 0.8)
    return jnp.take_along_axis(sets, y[held:, None], 1).mean()


@pytest.mark.parametrize("make", [around_a_mean, around_two_quantiles, scaled, of_classes])
def test_new_rows_are_covered_as_promised(make):
    share, error = covered(make)
    expected = math.ceil(50 * 0.8) / 50  # exactly, where no two scores are equal
    assert abs(share - expected) < 4 * error and error < 0.006


def test_bounds_by_hand():
    held, y, new = jnp.zeros((4, 2)), jnp.array([[1.0, 10], [-2, 20], [3, -30], [-4, 40]]), jnp.ones((1, 2))
    low, high = fnn.conformal_interval(held, y, new, coverage=0.6)
    np.testing.assert_array_equal(low, [[-2.0, -29.0]])
    np.testing.assert_array_equal(high, [[4.0, 31.0]])
    wide = jnp.full((4,), -5.0), jnp.full((4,), 5.0)
    low, high = fnn.conformal_interval(wide, y[:, 0], (jnp.array([0.0]), jnp.array([10.0])), 0.6)
    np.testing.assert_array_equal([low, high], [[2.0], [8.0]])  # bounds that are too wide move inwards


def test_sets_hold_the_classes_that_are_likely_enough():
    draw = np.random.default_rng(0)
    held, y, new = draw.normal(size=(60, 3)), draw.integers(0, 3, 60), draw.normal(size=(20, 3))
    p = np.exp(held) / np.exp(held).sum(-1, keepdims=True)
    q = np.sort(1 - p[np.arange(60), y])[math.ceil(61 * 0.7) - 1]
    expected = 1 - np.exp(new) / np.exp(new).sum(-1, keepdims=True) <= q
    cases = (y, 0.7), (np.eye(3)[y], 0.7), (y, 0.9)
    sets = jax.jit(lambda new: [fnn.conformal_set(held, y, new, coverage) for y, coverage in cases])
    of_ids, of_rows, more = map(np.asarray, sets(new))
    np.testing.assert_array_equal(of_ids, expected)
    np.testing.assert_array_equal(of_rows, expected)
    assert (more >= expected).all() and more.sum() > expected.sum()


@pytest.mark.parametrize("wrong", [-1, 3])
def test_where_a_class_turns_out_to_be_none_every_class_is_possible(wrong):
    z, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    y[7] = wrong
    assert jax.jit(fnn.conformal_set)(z, y, z).all()
    assert np.isnan(jax.jit(fnn.conformal_interval)(np.where(y == wrong, np.nan, z[:, 0]), y, z[:, 0])).all()


def test_large_targets_keep_their_width():
    times = 1.7e9 + 3600 * np.arange(20.0)
    assert fnn.conformal_quantile(abs(fnn.residuals(times - 50, times).residual)) == 50
    low, high = fnn.conformal_interval(times - 50, times, times[:3] + 7)
    np.testing.assert_array_equal([low - times[:3], high - times[:3]], [[-43.0] * 3, [57.0] * 3])


SCORES = np.arange(8.0)
WRONG = {
    "too few rows": (
        lambda: fnn.conformal_quantile(SCORES, 0.9), ValueError,
        "a coverage of 0.9 needs 9 held-out rows or more, got 8",
    ),
    "a coverage in percent": (lambda: fnn.conformal_quantile(SCORES, 90), ValueError, "0 < coverage < 1", "got 90"),
    "all of the rows": (lambda: fnn.conformal_quantile(SCORES, 1.0), ValueError, "0 < coverage < 1"),
    "a score that is not finite": (
        lambda: fnn.conformal_quantile(np.append(SCORES, np.nan), 0.5), ValueError,
        "conformal_quantile: scores expected finite numbers, got nan in row 8",
    ),
    "one number": (lambda: fnn.conformal_quantile(3.0, 0.5), ValueError, "one a row, (n, …)", "a single number"),
    "a column beside a row": (
        lambda: fnn.conformal_interval(np.zeros((20, 1)), np.zeros((20, 1)), np.zeros(3)), ValueError,
        "predictions like the held-out ones, of shape (20, 1), got (3,)", "the same columns",
    ),
    "two rows beside a pair": (
        lambda: fnn.conformal_interval((SCORES, SCORES), SCORES, np.zeros(2), 0.5), ValueError, "a pair beside a pair",
    ),
    "a pair beside one": (
        lambda: fnn.conformal_interval(SCORES, SCORES, (SCORES, SCORES + 1), 0.5), ValueError, "a pair beside a pair",
    ),
    "other classes": (
        lambda: fnn.conformal_set(np.zeros((20, 3)), np.zeros(20, int), np.zeros((3, 4))), ValueError,
        "logits of 3 classes, got shape (3, 4)",
    ),
    "logits that are not finite": (
        lambda: fnn.conformal_set(np.zeros((20, 3)), np.zeros(20, int), np.full((1, 3), np.nan)), ValueError, "nan",
    ),
    "another shape": (
        lambda: fnn.conformal_interval(np.zeros((20, 1)), np.zeros(20), np.zeros((3, 1))), ValueError,
        "conformal_interval compares like with like", "targets[..., None]",
    ),
    "quantities for classes": (
        lambda: fnn.conformal_set(np.zeros((20, 3)), np.zeros(20), np.zeros((3, 3))), ValueError,
        "conformal_set expected whole-number class ids",
    ),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
