"""Penalties: their formulas, whom they spare, and that their numbers are leaves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused

import fnn

PARAMS = (
    {"weight": jnp.array([[1.0, -2.0], [0.0, 3.0]]), "bias": jnp.array([5.0, -1.0])},
    {"scale": jnp.array([2.0]), "offset": jnp.array([-4.0])},
    {"table": jnp.array([[6.0]]), "kernel": jnp.array([-0.5]), "frozen": None},
)
WEIGHTS = np.array([1.0, -2.0, 0.0, 3.0, -0.5])
SPARED = np.array([5.0, -1.0, 2.0, -4.0, 6.0])


def formula(theta, ratio):
    return sum(ratio * abs(t) + (1 - ratio) * t * t / 2 for t in theta)


FORMS = {
    "l1": (fnn.l1, {}, 1.0),
    "l2": (fnn.l2, {}, 0.0),
    "elastic": (fnn.elastic, {}, 0.5),
    "elastic 0.8": (fnn.elastic, {"l1_ratio": 0.8}, 0.8),
}
every_form = pytest.mark.parametrize("form", FORMS)


@every_form
def test_it_is_its_formula_and_spares_by_name_unless_asked(form):
    penalty, options, ratio = FORMS[form]
    np.testing.assert_allclose(penalty(0.1, **options)(PARAMS), 0.1 * formula(WEIGHTS, ratio), rtol=1e-6)
    both = penalty(0.1, **options, spared_rate=0.01)(PARAMS)
    np.testing.assert_allclose(both, 0.1 * formula(WEIGHTS, ratio) + 0.01 * formula(SPARED, ratio), rtol=1e-6)


@every_form
def test_its_gradient_is_the_formula_and_a_weight_of_0_stays(form):
    penalty, options, ratio = FORMS[form]
    grads = jax.device_get(jax.jit(jax.grad(penalty(0.1, **options)))(PARAMS))
    weight = np.asarray(PARAMS[0]["weight"])
    slopes = 0.1 * (ratio * np.sign(weight) + (1 - ratio) * weight)
    np.testing.assert_allclose(grads[0]["weight"], slopes, rtol=1e-6)
    assert grads[0]["weight"][1, 0] == 0 and not grads[0]["bias"].any() and not grads[2]["table"].any()


def test_the_ends_of_elastic_are_l1_and_l2():
    assert fnn.elastic(0.3, 1.0)(PARAMS) == fnn.l1(0.3)(PARAMS)
    assert fnn.elastic(0.3, 0.0)(PARAMS) == fnn.l2(0.3)(PARAMS)


def test_what_is_small_adds_up_in_float32_and_no_parameter_costs_0():
    halves = {"weight": jnp.full(1000, 0.01, jnp.bfloat16)}
    value = fnn.l1(1.0)(halves)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 10.0, rtol=2e-3)
    assert fnn.l2(1.0)(()) == 0 and fnn.l1(1.0)((None,)).dtype == jnp.float32


def test_another_rate_compiles_nothing_and_may_be_mapped_over():
    run = jax.jit(lambda penalty: penalty(PARAMS))
    alone = [run(fnn.elastic(rate, 0.2)) for rate in (0.1, 0.4)]
    assert run._cache_size() == 1
    together = jax.jit(jax.vmap(lambda rate: fnn.elastic(rate, 0.2)(PARAMS)))(np.array([0.1, 0.4]))
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def fitted_weights(penalty, x, y, rule, epochs):
    fitted = fnn.fit(
        fnn.dense(1),
        fnn.mse,
        rule,
        x,
        y,
        key=jax.random.key(0),
        epochs=epochs,
        batch_size=len(x),
        penalty=penalty,
    )
    return np.asarray(fitted.params["weight"])[:, 0], float(fitted.params["bias"][0])


def test_fit_with_elastic_finds_what_scikit_learn_does():
    linear = pytest.importorskip("sklearn.linear_model")
    draw = np.random.default_rng(0)
    x = draw.normal(size=(60, 4)).astype(np.float32)
    y = (x @ np.array([2.0, -1.0, 0.0, 0.3], np.float32) + 1 + 0.1 * draw.normal(size=60))[:, None]
    theirs = linear.ElasticNet(alpha=0.2, l1_ratio=0.5, tol=1e-10).fit(np.float64(x), y[:, 0])
    # scikit-learn halves the mean square, so the penalty counts twice beside mse
    rule = fnn.gradient_descent(fnn.cosine(0.1, steps=600))
    weights, bias = fitted_weights(fnn.elastic(0.4, 0.5), x, np.float32(y), rule, 600)
    np.testing.assert_allclose(weights, theirs.coef_, atol=2e-3)
    np.testing.assert_allclose(bias, theirs.intercept_, atol=2e-3)


def test_fit_with_l2_finds_the_ridge():
    draw = np.random.default_rng(1)
    x = draw.normal(size=(40, 3)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.5], np.float32) + 3)[:, None]
    weights, bias = fitted_weights(fnn.l2(0.2), x, y, fnn.gradient_descent(0.2), 300)
    centred = x - x.mean(0)  # mean square + ½λ‖w‖²: (2/n XᵀX + λ) w = 2/n Xᵀy
    ridge = np.linalg.solve(
        2 / 40 * centred.T @ centred + 0.2 * np.eye(3), 2 / 40 * centred.T @ (y[:, 0] - y.mean())
    )
    np.testing.assert_allclose(weights, ridge, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bias, y.mean() - x.mean(0) @ ridge, rtol=1e-4)


WRONG = {
    **{f"a rate of {rate}, {p.__name__}": (lambda p=p, rate=rate: p(rate), ValueError, f"{p.__name__}: rate expected a number, 0 ≤ rate < ∞", f"got {rate}") for p in (fnn.l1, fnn.l2, fnn.elastic) for rate in (-0.1, float("nan"), float("inf"))},
    "a rate of text": (lambda: fnn.l2("0.1"), TypeError, "l2: rate expected a number", "got '0.1'"),
    "several rates": (lambda: fnn.l1([0.1, 0.2]), ValueError, "l1: rate expected a number", "jax.vmap"),
    "a ratio beyond 1": (lambda: fnn.elastic(0.1, 1.5), ValueError, "elastic: l1_ratio expected a number, 0 ≤ l1_ratio ≤ 1", "got 1.5"),
    "a spared rate below 0": (lambda: fnn.l2(0.1, -1.0), ValueError, "l2: spared_rate expected a number", "got -1.0"),
    "parameters for a rate": (lambda: fnn.l2(PARAMS), TypeError, "l2: rate expected a number"),
}  # fmt: skip


test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)


def test_the_history_shows_the_cost_without_and_with_the_penalty(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y, penalty = x[:, :1] - x[:, 1:2], fnn.l2(0.5)
    options = {"batch_size": 20, "key": jax.random.key(0), "validation": (x, y), "penalty": penalty}
    run = fnn.fit(fnn.dense(1), fnn.mse, fnn.gradient_descent(0.1), x, y, epochs=3, **options)
    params = fnn.start(fnn.dense(1), fnn.gradient_descent(0.1), x, key=jax.random.key(0)).params
    both = jax.jit(jax.value_and_grad(fnn.loss(fnn.dense(1), fnn.mse, penalty)))
    without = jax.jit(fnn.loss(fnn.dense(1), fnn.mse))
    for epoch in range(3):  # on the full batch an epoch's cost is that of the parameters before it
        value, grads = both(params, x, y)
        expected = {"cost": value, "cost_without_penalty": without(params, x, y)}
        for name, value in expected.items():
            np.testing.assert_allclose(run.history[name][epoch], value, rtol=1e-5)
        params = jax.tree.map(lambda theta, g: theta - np.float32(0.1) * g, *jax.device_get((params, grads)))
    np.testing.assert_allclose(run.history["validation_cost"][2], without(params, x, y), rtol=1e-5)


def test_batches_weights_and_a_resumed_run_keep_both_costs(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    y, weights = x[:, :1], np.arange(20.0)

    def run(epochs, penalty, **options):
        return fnn.fit(
            fnn.dense(1), fnn.mse, fnn.adam(), x, y, epochs=epochs, batch_size=8, sample_weight=weights,
            key=jax.random.key(0), penalty=penalty, **options,
        )  # fmt: skip

    constant = functools.partial(_constant, number=2.0)
    whole, plain = run(4, constant), run(4, None)
    np.testing.assert_allclose(whole.history["cost_without_penalty"], plain.history["cost"], rtol=1e-6)
    np.testing.assert_allclose(whole.history["cost"], plain.history["cost"] + 2, rtol=1e-6)
    assert "cost_without_penalty" not in plain.history
    run(2, constant, checkpoint=tmp_path)
    resumed = run(4, constant, checkpoint=tmp_path)
    for name, values in whole.history.items():
        np.testing.assert_array_equal(resumed.history[name], values)


def _constant(params, number):
    return jnp.asarray(number) + 0 * params["weight"].sum()
