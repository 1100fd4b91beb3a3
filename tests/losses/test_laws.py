"""Laws that every cost obeys, over numbers drawn by Hypothesis; and options that are leaves."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.tree_util import Partial
from runs import compilations

import fnn
from fnn.workflow.rows import check_targets

ROWS, OUTPUTS = 6, 3
reals = arrays(np.float32, (ROWS, OUTPUTS), elements=st.floats(-20, 20, width=32))
targets = st.fixed_dictionaries(
    {
        "real": reals,
        "counts": arrays(np.int32, (ROWS, OUTPUTS), elements=st.integers(0, 9)),
        "answers": arrays(np.int32, (ROWS, OUTPUTS), elements=st.integers(0, 1)),
        "ids": arrays(np.int32, ROWS, elements=st.integers(0, OUTPUTS - 1)),
    }
)
often = arrays(np.int32, ROWS, elements=st.integers(0, 3))
laws = settings(deadline=None, max_examples=15)

COSTS = {  # cost, its targets, the name of an option and two numbers for it
    "mse": (fnn.mse, "real", None),
    "rmse": (fnn.rmse, "real", None),
    "mae": (fnn.mae, "real", None),
    "huber": (fnn.huber, "real", ("delta", 0.5, 2.0)),
    "log_cosh": (fnn.log_cosh, "real", None),
    "quantile": (fnn.quantile, "real", ("q", 0.1, 0.8)),
    "quantile of each output": (fnn.quantile, "real", ("q", [0.1, 0.5, 0.9], [0.2, 0.5, 0.8])),
    "poisson": (fnn.poisson, "counts", None),
    "gaussian_nll": (fnn.gaussian_nll, "two", ("variance_floor", 1e-3, 40.0)),
    "binary_cross_entropy": (fnn.binary_cross_entropy, "answers", ("positive_weight", 2.0, 5.0)),
    "binary, smoothed": (fnn.binary_cross_entropy, "answers", ("label_smoothing", 0.1, 0.2)),
    "softmax_cross_entropy": (fnn.softmax_cross_entropy, "ids", ("label_smoothing", 0.1, 0.2)),
    "softmax, class weights": (fnn.softmax_cross_entropy, "ids", ("class_weight", [1.0, 2, 3], [3.0, 1, 1])),
    "hinge": (fnn.hinge, "answers", None),
    "hinge of classes": (fnn.hinge, "ids", None),
    "focal": (fnn.focal, "answers", ("gamma", 0.5, 2.0)),
    "focal of classes": (fnn.focal, "ids", ("gamma", 0.0, 3.0)),
    "kl_divergence": (fnn.kl_divergence, "rows", None),
    "cosine_distance": (fnn.cosine_distance, "real", None),
    "ctc": (fnn.ctc, "labels", ("blank", 0, 2)),
    "sum_costs": (
        fnn.sum_costs({"a": fnn.mse, "b": fnn.mae}),
        "both",
        ("weights", {"a": 1.0, "b": 2.0}, {"a": 0.5, "b": 0.1}),
    ),
}
every_cost = pytest.mark.parametrize("name", COSTS)


@functools.cache
def cost_of(name):
    """A cost with an option of its own: one function, so that it is compiled once for all examples."""
    cost, _, option = COSTS[name]
    return functools.partial(cost, **{option[0]: jax.tree.map(np.asarray, option[1])}) if option else cost


def example(name, z, y):
    """A cost with an option of its own, predictions and targets of its kind."""
    cost, kind = cost_of(name), COSTS[name][1]
    if kind == "two":
        return cost, np.concatenate([z, y["real"] / 4], -1), y["real"]
    if kind == "rows":
        return cost, z, np.asarray(jax.nn.softmax(y["real"] / 4))
    if kind == "both":
        return cost, {"a": z, "b": z}, {"a": y["real"], "b": y["real"][:, ::-1]}
    if kind == "labels":
        return cost, np.stack([z, z[::-1], z], 1), np.stack([y["ids"] % 2 + 1, y["answers"][:, 0] - 2], 1)
    return cost, z, y[kind]


def of(rows, tree):
    return jax.tree.map(lambda leaf: leaf[rows], tree)


@every_cost
@given(z=reals, y=targets, order=st.permutations(range(ROWS)), weights=often)
@laws
def test_permuting_the_rows_changes_nothing(name, z, y, order, weights):
    cost, z, y = example(name, z, y)
    check_targets(cost, z, y, weights)
    order, value = np.array(order), jax.jit(cost)
    permuted = value(of(order, z), of(order, y), weights[order])
    np.testing.assert_allclose(permuted, value(z, y, weights), rtol=1e-4, atol=1e-5)


@every_cost
@given(z=reals, y=targets, weights=often)
@laws
def test_a_weight_is_how_often_a_row_comes(name, z, y, weights):
    cost, z, y = example(name, z, y)
    rows = np.repeat(np.arange(ROWS), weights)
    rows = np.append(rows, np.arange(ROWS))  # each at least once, so that there are some
    weights = np.bincount(rows, minlength=ROWS).astype(np.float32)
    filled = np.resize(rows, 4 * ROWS)  # one shape for all examples: what is added has no weight
    there = np.arange(4 * ROWS) < len(rows)
    check_targets(cost, z, y, weights)
    value = jax.jit(cost)
    np.testing.assert_allclose(
        value(of(filled, z), of(filled, y), there), value(z, y, weights), rtol=1e-4, atol=1e-5
    )


SOFTMAX = [
    "softmax_cross_entropy",
    "softmax, class weights",
    "hinge of classes",
    "focal of classes",
    "kl_divergence",
]


@pytest.mark.parametrize("name", [*SOFTMAX, "ctc"])
@given(z=reals, y=targets, shift=st.floats(-30, 30, width=32))
@laws
def test_shifting_all_logits_of_a_row_changes_nothing(name, z, y, shift):
    cost, z, y = example(name, z, y)
    check_targets(cost, z, y)
    value = jax.jit(cost)
    np.testing.assert_allclose(value(z + np.float32(shift), y), value(z, y), rtol=1e-4, atol=1e-3)


@jax.jit
def pairs_at_the_end_of_an_option(z, y, weights):
    return [
        (fnn.focal(z, y["answers"], weights, gamma=0.0), fnn.binary_cross_entropy(z, y["answers"], weights)),
        (fnn.focal(z, y["ids"], weights, gamma=0.0), fnn.softmax_cross_entropy(z, y["ids"], weights)),
        (fnn.huber(z, y["real"], weights, delta=1e6), fnn.mse(z, y["real"], weights) / 2),
        (fnn.quantile(z, y["real"], weights, q=0.5), fnn.mae(z, y["real"], weights) / 2),
        (
            fnn.softmax_cross_entropy(z, y["ids"], weights, class_weight=np.ones(3)),
            fnn.softmax_cross_entropy(z, y["ids"], weights),
        ),
        (
            fnn.binary_cross_entropy(z, y["answers"], weights, positive_weight=1.0),
            fnn.binary_cross_entropy(z, y["answers"], weights),
        ),
    ]  # fmt: skip


@given(z=reals, y=targets, weights=often)
@laws
def test_costs_that_are_another_at_the_end_of_an_option(z, y, weights):
    for one, other in pairs_at_the_end_of_an_option(z, y, weights):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


METRICS = {
    "precision_score": (fnn.precision_score, ("zero_division", 0.0, 1.0)),
    "recall_score": (fnn.recall_score, ("zero_division", 0.0, 1.0)),
    "f1_score": (fnn.f1_score, ("zero_division", 0.0, 1.0)),
    "top_k_accuracy": (fnn.top_k_accuracy, ("k", 1, 2)),
    "calibration_error": (fnn.calibration_error, ("edges", [0.0, 0.5, 1.0], [0.0, 0.4, 1.0])),
}


@pytest.mark.parametrize("name", [*(name for name, (*_, option) in COSTS.items() if option), *METRICS])
def test_another_number_in_an_option_compiles_nothing(name):
    draw = np.random.default_rng(0)
    z = jnp.asarray(draw.normal(size=(ROWS, OUTPUTS)), jnp.float32)
    y = {
        "real": draw.normal(size=(ROWS, OUTPUTS)).astype(np.float32),
        "answers": draw.integers(0, 2, (ROWS, OUTPUTS)),
        "ids": draw.integers(0, OUTPUTS, ROWS),
    }
    function, option = METRICS[name] if name in METRICS else (COSTS[name][0], COSTS[name][2])
    z, y = (z, y["ids"]) if name in METRICS else example(name, z, y)[1:]
    first, second = (
        Partial(function, **{option[0]: jax.tree.map(jnp.asarray, number)}) for number in option[1:]
    )
    z, y = jax.tree.map(jnp.asarray, (z, y))
    run = jax.jit(lambda function, z, y: function(z, y))
    before = run(first, z, y)
    with compilations() as compiled:
        after = run(second, z, y)
    assert compiled == []
    if name not in METRICS and name != "ctc":
        assert not np.array_equal(before, after)
