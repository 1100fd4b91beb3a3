"""Several outputs with a cost each: the weighted sum, its slope by hand, and what is refused."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused
from runs import compilations

import fnn
from fnn.guard.words import name_of
from fnn.losses.several import slope_of

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(12, 3)).astype(np.float32)
Y = {"kind": DRAW.integers(0, 4, size=12), "size": DRAW.normal(size=(12, 2)).astype(np.float32)}
COSTS = {"kind": fnn.softmax_cross_entropy, "size": functools.partial(fnn.huber, delta=0.5)}
COST = fnn.sum_costs(COSTS, {"size": 0.25})


def two_heads(net, x):
    hidden = jnp.tanh(net.body(x))
    return {"kind": net.kind(hidden), "size": net.size(hidden)}


NETWORK = fnn.wire(two_heads, body=fnn.dense(8), kind=fnn.dense(4), size=fnn.dense(2))


def test_it_is_the_weighted_sum():
    params, alone = NETWORK.init(jax.random.key(0), X), fnn.sum_costs(COSTS, {"kind": 0.0})

    @jax.jit
    def results(params):
        z = NETWORK.forward(params, X)
        parts = [{key: COSTS[key](z[key], Y[key], w) for key in COSTS} for w in (None, np.arange(12.0))]
        return parts, [COST(z, Y, w) for w in (None, np.arange(12.0))], alone(z, Y)

    parts, totals, of_size = results(params)
    for part, total in zip(parts, totals, strict=True):
        np.testing.assert_allclose(total, part["kind"] + 0.25 * part["size"], rtol=1e-6)
    np.testing.assert_allclose(of_size, parts[0]["size"], rtol=1e-6)


def test_backward_propagation_begins_with_each_costs_own_slope():
    params = NETWORK.init(jax.random.key(0), X)
    slopes = jax.jit(jax.grad(fnn.loss(NETWORK, COST)))
    for weights in (None, np.arange(12, dtype=np.float32)):
        found = fnn.backprop(NETWORK, COST, params, X, Y, weights)
        grads = slopes(params, X, Y, weights)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found.grads, grads)
        assert "cost" not in found.automatic
    own = fnn.sum_costs({**COSTS, "size": lambda p, y: jnp.mean((p - y) ** 4)})
    assert fnn.backprop(NETWORK, own, params, X, Y).automatic[-1] == "cost"


def test_fit_lowers_both_and_measures_each_output():
    metrics = {"accuracy": lambda p, y, sample_weight=None: fnn.accuracy(p["kind"], y["kind"], sample_weight)}
    train = functools.partial(
        fnn.fit, NETWORK, x=X, y=Y, epochs=20, batch_size=5, validation=(X, Y), metrics=metrics
    )
    run = train(cost=COST, optimizer=fnn.adam(0.05), key=jax.random.key(1))
    value = fnn.evaluate(NETWORK, run.params, X, Y, {"cost": COST, **metrics})
    best = run.history["validation_cost"].argmin()
    assert run.history["cost"][-1] < 0.7 * run.history["cost"][0]
    np.testing.assert_allclose(run.history["validation_cost"][best], value["cost"], rtol=1e-5)
    np.testing.assert_allclose(run.history["validation_accuracy"][best], value["accuracy"], rtol=1e-6)
    with compilations() as compiled:
        train(cost=fnn.sum_costs(COSTS, {"size": 4.0}), optimizer=fnn.adam(0.05), key=jax.random.key(1))
    assert compiled == []


def test_a_users_cost_is_called_by_the_names_of_its_parameters():
    def asymmetric(y_true, y_pred):
        return jnp.mean(y_pred - y_true)

    cost = fnn.sum_costs({"size": asymmetric})
    assert cost({"size": jnp.array([3.0])}, {"size": jnp.array([1.0])}) == 2


def test_outputs_one_after_the_other_are_tuples():
    network = fnn.serial(fnn.dense(8), jnp.tanh, fnn.parallel(fnn.dense(4), fnn.dense(2)))
    cost, targets = fnn.sum_costs(tuple(COSTS.values()), (1.0, 0.25)), (Y["kind"], Y["size"])
    params = network.init(jax.random.key(0), X)

    @jax.jit
    def values(params):
        z = network.forward(params, X)
        return cost(z, targets), COST({"kind": z[0], "size": z[1]}, Y)

    as_tuple, as_dict = values(params)
    assert as_tuple == as_dict
    found = fnn.backprop(network, cost, params, X, targets)
    grads = jax.jit(jax.grad(fnn.loss(network, cost)))(params, X, targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found.grads, grads)
    assert found.automatic == ()
    run = fnn.fit(network, cost, fnn.adam(0.05), X, targets, epochs=20, key=jax.random.key(1))
    assert run.history["cost"][-1] < 0.7 * run.history["cost"][0]


def test_sums_may_hold_sums():
    inner = fnn.sum_costs({"a": fnn.mse}, {"a": 2.0})
    cost = fnn.sum_costs({"left": inner, "right": fnn.mae}, {"left": 3.0})
    one, none = {"a": jnp.ones(2)}, {"a": jnp.zeros(2)}
    guess, truth = {"left": one, "right": jnp.ones(2)}, {"left": none, "right": jnp.zeros(2)}
    assert cost(guess, truth) == 7
    slopes = slope_of(cost)(guess, truth)
    jax.tree.map(np.testing.assert_allclose, slopes, jax.jit(jax.grad(cost))(guess, truth))


def test_outputs_of_a_named_tuple_keep_their_type():
    class Pair(NamedTuple):
        first: jax.Array
        second: jax.Array

    guess, truth = Pair(jnp.ones(2), jnp.ones(2)), Pair(jnp.zeros(2), jnp.zeros(2))
    slopes = slope_of(fnn.sum_costs((fnn.mse, fnn.mae)))(guess, truth)
    assert slopes == Pair(*slopes) and type(slopes) is Pair


def test_a_cost_in_a_sum_is_checked_as_if_it_stood_alone():
    with pytest.raises(ValueError, match="cost expected a function to be lowered.*the metric accuracy"):
        fit(fnn.sum_costs({"kind": fnn.accuracy, "size": fnn.mse}))
    own = fnn.sum_costs({"kind": fnn.softmax_cross_entropy, "size": lambda p, y: jnp.mean(p - y)})
    with pytest.raises(TypeError, match="the cost of 'size', <lambda>, takes no sample_weight"):
        fnn.fit(NETWORK, own, fnn.adam(), X, Y, epochs=1, key=jax.random.key(0), sample_weight=np.ones(12))
    assert "0x" not in name_of(own) and name_of(COST).startswith("total_cost(costs={'kind': softmax")


def fit(cost=COST, network=NETWORK, y=Y):
    return fnn.fit(network, cost, fnn.adam(), X, y, epochs=1, key=jax.random.key(0))


WRONG = {
    "one cost": (lambda: fnn.sum_costs(fnn.mse), TypeError, "costs by name of the output", "the function mse"),
    "three targets for two": (
        lambda: fnn.sum_costs((fnn.mse, fnn.mae))((X, X), (X, X, X)), ValueError, "targets expected a tuple of 2",
    ),
    "no functions": (lambda: fnn.sum_costs({"a": 1.0}), TypeError, "costs by name of the output"),
    "another name of a weight": (
        lambda: fnn.sum_costs({"a": fnn.mse}, {"b": 1.0}), ValueError, "a number for some of ['a'], got ['b']",
    ),
    "an array of weights": (
        lambda: fnn.sum_costs((fnn.mse, fnn.mae), np.ones(2)), ValueError, "a number for some of [0, 1], got an ndarray",
    ),
    "one weight": (
        lambda: fnn.sum_costs((fnn.mse, fnn.mae), 0.5), ValueError, "a number for some of [0, 1], got 0.5",
    ),
    "a negative weight": (
        lambda: fnn.sum_costs({"a": fnn.mse}, {"a": -1.0}), ValueError, "weights['a'] expected a number, 0 ≤",
    ),
    "targets without names": (
        lambda: fit(y=Y["kind"]), ValueError, "sum_costs: targets expected a dict with the keys ['kind', 'size']",
    ),
    "targets of other names": (
        lambda: fit(y={"kind": Y["kind"], "length": Y["size"]}), ValueError, "targets", "['kind', 'length']",
    ),
    "one output": (
        lambda: fit(network=fnn.dense(4)), ValueError, "sum_costs: predictions expected a dict", "fnn.wire",
    ),
    "an id that is no class": (
        lambda: fit(y={**Y, "kind": Y["kind"] + 1}), ValueError, "softmax_cross_entropy: y['kind']",
        "class ids from 0 to 3", "got 4 in row",
    ),
    "a column too many": (
        lambda: fit(y={**Y, "size": Y["size"][:, 0]}), ValueError, "huber", "y['size'] (12,)",
    ),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
