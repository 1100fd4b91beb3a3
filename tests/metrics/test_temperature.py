"""The temperature: the minimum that SciPy finds, and the one that the rows were drawn with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused
from scipy import optimize

import fnn


def rows(kind, temperature=2.5, count=400, seed=0):
    """Logits that are `temperature` times too large, and targets drawn from the right probabilities."""
    draw = np.random.default_rng(seed)
    right = draw.normal(size=(count, 4) if kind in ("ids", "one_hot") else (count,))
    noise = draw.gumbel(size=right.shape) if right.ndim > 1 else draw.logistic(size=right.shape)
    targets = (right + noise).argmax(-1) if right.ndim > 1 else (right + noise > 0).astype(int)
    logits = temperature * right
    if kind == "one_hot":
        targets = np.eye(4)[targets]
    if kind == "column":
        logits, targets = logits[:, None], targets[:, None]
    return logits, targets, draw.integers(0, 3, count).astype(float)


def cost(kind):
    return fnn.softmax_cross_entropy if kind in ("ids", "one_hot") else fnn.binary_cross_entropy


@pytest.mark.parametrize("kind", ["ids", "one_hot", "row", "column"])
def test_it_is_the_minimum_of_the_cross_entropy(kind, x64):
    z, y, weights = rows(kind)
    for w in (None, weights):
        with x64():
            both = jax.jit(jax.value_and_grad(lambda t, w=w: cost(kind)(z / t, y, w)))
            value = lambda t, both=both: float(both(np.float64(t))[0])
            found = optimize.minimize_scalar(value, (0.5, 2.0, 9.0), options={"xtol": 1e-10})
            ours = fnn.fit_temperature(z, y, w)
            assert ours == pytest.approx(found.x, rel=1e-6)
            np.testing.assert_allclose(both(np.float64(ours))[1], 0, atol=1e-10)


@pytest.mark.parametrize("kind", ["ids", "row"])
@pytest.mark.parametrize("temperature", [0.2, 1.0, 5.0])
def test_it_finds_the_one_that_the_rows_were_drawn_with(kind, temperature):
    z, y, _ = rows(kind, temperature, count=20_000)
    found = fnn.fit_temperature(z, y)
    assert found == pytest.approx(temperature, rel=0.05)
    assert jax.jit(lambda z: fnn.calibration_error(z, y))(z / found) < 0.02


def test_laws():
    z, y, weights = rows("ids")
    found = fnn.fit_temperature(z, y, weights)
    assert fnn.fit_temperature(3 * z, y, weights) == pytest.approx(3 * found, rel=1e-5)
    assert fnn.fit_temperature(z + z[:, :1], y, weights) == pytest.approx(found, rel=1e-4)
    assert fnn.fit_temperature(z[::-1], y[::-1], 2 * weights[::-1]) == pytest.approx(found, rel=1e-6)
    often = weights.astype(int)
    repeated = fnn.fit_temperature(np.repeat(z, often, 0), np.repeat(y, often))
    assert repeated == pytest.approx(found, rel=1e-6)
    hidden = np.where(weights[:, None] == 0, np.nan, z)
    assert fnn.fit_temperature(hidden, np.where(weights == 0, -1, y), weights) == pytest.approx(
        found, rel=1e-6
    )
    z, answers, _ = rows("row")
    two, one = jnp.stack([jnp.zeros(len(z)), z], -1), fnn.fit_temperature(z, answers)
    assert fnn.fit_temperature(two, answers) == pytest.approx(one, rel=1e-6)


def test_sizes_that_overflow_when_squared():
    z, y, _ = rows("ids")
    for size in (1e-30, 1e30):
        assert fnn.fit_temperature(size * z, y) == pytest.approx(size * fnn.fit_temperature(z, y), rel=1e-5)


def test_no_decision_changes():
    z, y, _ = rows("ids")
    cooled = z / fnn.fit_temperature(z, y)
    accuracy_and_cost = jax.jit(lambda z: (fnn.accuracy(z, y), fnn.softmax_cross_entropy(z, y)))
    (after, lower), (before, higher) = accuracy_and_cost(cooled), accuracy_and_cost(z)
    assert after == before
    assert float(lower) < float(higher)


Z = np.array([[2.0, 0.0], [0.0, 1.0]])
WRONG = {
    "each row right": (
        lambda: fnn.fit_temperature(Z, np.array([0, 1])), ValueError, "got each row right", "not trained on",
    ),
    "less than chance": (
        lambda: fnn.fit_temperature(Z, np.array([1, 0])), ValueError, "favour it no more than the others",
    ),
    "logits that tell nothing": (lambda: fnn.fit_temperature(0 * Z, np.array([1, 0])), ValueError, "no temperature"),
    "nan": (
        lambda: fnn.fit_temperature(np.array([[0.0, 1.0], [0.0, np.nan]]), np.array([1, 1])), ValueError,
        "fit_temperature: predictions expected finite numbers, got nan in row 1, column 1",
    ),
    "no answer": (
        lambda: fnn.fit_temperature(np.array([1.0, -1.0]), np.array([1.0, np.nan])), ValueError, "targets", "nan",
    ),
    "a negative weight": (
        lambda: fnn.fit_temperature(Z, np.array([0, 1]), np.array([1.0, -1.0])), ValueError, "at least 0", "-1",
    ),
    "ids of other classes": (lambda: fnn.fit_temperature(Z, np.array([0, 2])), ValueError, "class ids from 0 to 1"),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
