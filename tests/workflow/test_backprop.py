"""Backward propagation by hand: equal to jax.grad for every activation, cost and shape of network."""

import functools
import importlib
import inspect
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import CENTRE, as_ids, parameters, refused, twice

import fnn
from fnn.layers import units as activations
from fnn.layers.linear import dense_backward
from fnn.layers.units import SLOPES, WHOLE
from fnn.losses import classification, regression

partial, dense = functools.partial, fnn.dense
BACKPROP = importlib.import_module("fnn.workflow.backprop")  # the module: fnn.backprop is the function
MODULES = (
    BACKPROP,
    activations,
    importlib.import_module("fnn.layers.linear"),
)  # with lines of the four equations


def normal(*shape, seed=0):
    """Normal numbers in the widest float that is on."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


def by_jax(network, cost, params, x, y, sample_weight=None):
    """The cost and its gradient by jax.grad."""
    cost, grads = jax.jit(jax.value_and_grad(fnn.loss(network, cost)))(params, x, y, sample_weight)
    return cost, fnn.trained(grads)


def equal_to_jax(network, cost, params, x, y, sample_weight=None):
    """What backprop found, once it is found equal to jax.grad."""
    found = fnn.backprop(network, cost, params, x, y, sample_weight)
    return compared(found, network, cost, params, x, y, sample_weight)


def compared(found, network, cost, params, x, y, sample_weight=None):
    """What backprop found, once it is found equal to jax.grad."""
    assert_found(found, by_jax(network, cost, params, x, y, sample_weight))
    return found


def assert_found(found, expected):
    """Backprop found the expected cost and gradients."""
    chex.assert_trees_all_close((found.cost, found.grads), expected, rtol=1e-12, atol=1e-12)
    chex.assert_trees_all_equal_dtypes((found.cost, found.grads), expected)


# --- every activation, every cost, every shape of network

ACTIVATIONS = {
    "identity": jax.nn.identity,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "leaky_relu of another slope": partial(jax.nn.leaky_relu, negative_slope=0.3),
    "elu": jax.nn.elu,
    "elu of another size": partial(jax.nn.elu, alpha=0.4),
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "gelu, exact": partial(jax.nn.gelu, approximate=False),
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
}
QUANTITIES = np.array([[0.3, -1.2, 2.0], [-0.4, 0.9, 0.1], [1.5, -0.7, -2.2]])
YES_OR_NO = np.array([[1.0, 0.0, 0.3], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
IDS = np.array([0, 2, 1])
SHARES = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
CLASS_WEIGHT = np.array([1.0, 3.0, 0.5])
COSTS_AND_TARGETS = {
    "mse": (fnn.mse, QUANTITIES),
    "rmse": (fnn.rmse, QUANTITIES),
    "mae": (fnn.mae, QUANTITIES),
    "huber": (fnn.huber, QUANTITIES),
    "huber of another corner": (partial(fnn.huber, delta=0.3), QUANTITIES),
    "binary_cross_entropy": (fnn.binary_cross_entropy, YES_OR_NO),
    "binary_cross_entropy with options": (
        partial(fnn.binary_cross_entropy, label_smoothing=0.2, positive_weight=3.0),
        YES_OR_NO,
    ),
    "softmax_cross_entropy": (fnn.softmax_cross_entropy, IDS),
    "softmax_cross_entropy of probabilities": (fnn.softmax_cross_entropy, SHARES),
    "softmax_cross_entropy with options": (
        partial(fnn.softmax_cross_entropy, label_smoothing=0.1, class_weight=CLASS_WEIGHT),
        IDS,
    ),
}
SHAPES = {  # how it is built of an activation, and of how many rows it is taken
    "one hidden layer": (lambda f: fnn.serial(dense(4), f, dense(3)), 3),
    "three hidden layers": (
        lambda f: fnn.serial(dense(4), f, dense(4), f, dense(4), f, dense(3)),
        3,
    ),
    "residual": (lambda f: fnn.serial(dense(4), fnn.residual(dense(4), f), dense(3)), 3),
    "batch of one": (lambda f: fnn.serial(dense(4), f, dense(3)), 1),
}
every_activation = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
every_activation_with_a_cost = pytest.mark.parametrize(  # in turn: it is given a δ, whatever the cost
    ("activation", "cost", "targets"),
    [(f, *case) for f, case in zip(ACTIVATIONS.values(), 2 * [*COSTS_AND_TARGETS.values()])],
    ids=ACTIVATIONS,
)
every_shape = pytest.mark.parametrize(("build", "rows"), SHAPES.values(), ids=SHAPES)

every_cost = pytest.mark.parametrize(("cost", "targets"), COSTS_AND_TARGETS.values(), ids=COSTS_AND_TARGETS)


def inner(function):
    return getattr(function, "func", function)


def by_hand(activation, build, rows, cost, targets):
    """A gradient equal to that of jax.grad, in float64, with no derivative left to JAX."""
    network, x = build(activation), normal(rows, 4)
    found = equal_to_jax(network, cost, parameters(network, x), x, jnp.asarray(targets[:rows]))
    assert found.cost.dtype == "float64" and found.automatic == ()
    assert any(np.any(leaf) for leaf in jax.tree.leaves(found.grads))


@every_activation_with_a_cost
@every_shape
def test_it_equals_jax_grad_for_every_activation(x64, build, rows, activation, cost, targets):
    with x64(), jax.disable_jit():  # op by op: each is compiled once for all cases
        by_hand(activation, build, rows, cost, targets)


@every_cost
@every_shape
def test_it_equals_jax_grad_for_every_cost(x64, build, rows, cost, targets):
    with x64(), jax.disable_jit():  # op by op: each is compiled once for all cases
        by_hand(jnp.tanh, build, rows, cost, targets)


def test_every_written_rule_stands_in_the_tables_above():
    assert {inner(f) for f in ACTIVATIONS.values()} == {*SLOPES, *WHOLE}
    assert {inner(cost) for cost, _ in COSTS_AND_TARGETS.values()} == {
        *regression.SLOPES,
        *classification.SLOPES,
    }


# --- a wrong rule is found

BRING_THEIR_OWN = {
    "dense": dense(4),
    "flatten": fnn.flatten(1),
    "dropout": fnn.dropout(0.5),
    "batch_norm": fnn.batch_norm(),
    "layer_norm": fnn.layer_norm(),
    "rms_norm": fnn.rms_norm(),
    "group_norm": fnn.group_norm(2, axes=1),
    "conv": fnn.conv(4, (3,)),
    "max_pool": fnn.max_pool((1,)),
    "avg_pool": fnn.avg_pool((1,)),
    "rnn": fnn.rnn(4),
    "gru": fnn.gru(4, reverse=True),
    "lstm": fnn.lstm(2, bidirectional=True),
    "prelu": fnn.prelu(),
    "swish": fnn.swish(),
    "mixture": fnn.mixture(jnp.tanh, jax.nn.relu),
    "serial": fnn.serial(dense(4), jnp.tanh),
    "residual": fnn.residual(dense(4)),
    "parallel": fnn.parallel(dense(4), jnp.tanh),
    "repeat": fnn.repeat(2, fnn.serial(dense(4), jnp.tanh)),
    "freeze": fnn.freeze(dense(4)),
    "precision": fnn.precision(dense(4), jnp.float64),
}


def slightly_off(right):
    return lambda *args, **options: jax.tree.map(lambda v: v * (1 + 1e-9), right(*args, **options))


def off_in(field, layer):
    """The layer with a derivative that is off in its gradients, or in what it hands on."""

    def wrong(*args):
        both = list(layer.backward(*args))
        both[field] = jax.tree.map(lambda v: v * (1 + 1e-9), both[field])
        return tuple(both)

    return layer._replace(backward=wrong)


@every_activation
def test_a_wrong_slope_of_an_activation_is_found(x64, monkeypatch, activation):
    function = inner(activation)
    table = SLOPES if function in SLOPES else WHOLE
    with x64(), jax.disable_jit():  # nothing compiled before the slope is changed is used
        network, x = fnn.serial(dense(4), activation, dense(3)), normal(3, 4)
        args = network, fnn.mse, parameters(network, x), x, jnp.asarray(QUANTITIES)
        equal_to_jax(*args)
        monkeypatch.setitem(table, function, slightly_off(table[function]))
        with pytest.raises(AssertionError):
            equal_to_jax(*args)


@every_cost
def test_a_wrong_slope_of_a_cost_is_found(x64, monkeypatch, cost, targets):
    function = inner(cost)
    with x64(), jax.disable_jit():  # nothing compiled before the slope is changed is used
        x = normal(3, 4)
        args = dense(3), cost, parameters(dense(3), x), x, jnp.asarray(targets)
        equal_to_jax(*args)
        table = regression.SLOPES if function in regression.SLOPES else classification.SLOPES
        monkeypatch.setitem(table, function, slightly_off(table[function]))
        with pytest.raises(AssertionError):
            equal_to_jax(*args)


@pytest.mark.parametrize("field", [0, 1], ids=["grads", "delta_x"])
@pytest.mark.parametrize("layer", BRING_THEIR_OWN.values(), ids=BRING_THEIR_OWN)
def test_a_wrong_derivative_of_a_layer_is_found(x64, layer, field):
    def cost(predictions, targets):
        return fnn.mse(jax.tree.leaves(predictions)[0][:, :3], targets)

    with x64():
        x = normal(3, 4)
        params = parameters(fnn.serial(dense(4), layer), x)
        args = cost, params, x, jnp.asarray(QUANTITIES)
        expected = by_jax(fnn.serial(dense(4), layer), *args)
        assert_found(fnn.backprop(fnn.serial(dense(4), layer), *args), expected)
        field = field if jax.tree.leaves(fnn.trained(params[1])) else 1
        wrong = fnn.backprop(fnn.serial(dense(4), off_in(field, layer)), *args)
        with pytest.raises(AssertionError):
            assert_found(wrong, expected)


# --- every layer


def joined(pair):
    return jnp.concatenate(pair, axis=-1)


def difference(pair):
    return pair["a"] - pair["b"]


def columns(ids):
    return jax.nn.one_hot(ids, 4, dtype=jnp.result_type(float))


def crossed(net, x):
    return net.left(x) * net.right(x) + net.left(2 * x)


pair = fnn.parallel(dense(2), fnn.serial(dense(3), jnp.tanh, dense(1)))
by_key = fnn.parallel(a=dense(3), b=fnn.serial(fnn.flatten(2), jnp.tanh, dense(3)))
cubed = lambda x: x**3
LAYERS = {  # the network, the shape of x, and what is not derived by hand
    "a layer alone": (dense(3), (3, 4), ()),
    "a function alone": (fnn.serial(jnp.tanh), (3, 3), ()),
    "flatten": (fnn.serial(fnn.flatten(2), dense(4), jnp.tanh, dense(3)), (3, 2, 3), ()),
    "flatten inside": (fnn.serial(dense(2), jnp.tanh, fnn.flatten(3), dense(3)), (3, 2, 2, 4), ()),
    "dropout": (fnn.serial(dense(4), fnn.dropout(0.5), jnp.tanh, fnn.dropout(0.9), dense(3)), (3, 4), ()),
    "serial in serial": (
        fnn.serial(fnn.serial(dense(4), jnp.tanh), fnn.serial(fnn.serial(dense(3)))),
        (3, 4),
        (),
    ),
    "residual in residual": (
        fnn.serial(fnn.residual(dense(4), fnn.residual(jnp.tanh, dense(4)), jnp.tanh), dense(3)),
        (3, 4),
        (),
    ),
    "softmax over another axis": (
        fnn.serial(dense(4), partial(jax.nn.softmax, axis=0), partial(jax.nn.log_softmax, axis=-2), dense(3)),
        (3, 4),
        (),
    ),
    "parallel": (fnn.serial(dense(4), pair, joined), (3, 4), ("layer 2, joined",)),
    "parallel in parallel": (
        fnn.serial(fnn.parallel(fnn.parallel(dense(2), dense(2)), dense(4)), lambda t: t[0][0] + t[1][:, 1:3]),
        (3, 4),
        ("layer 1, <lambda>",),
    ),
    "parallel by key": (
        fnn.serial(by_key, difference),
        {"a": (3, 4), "b": (3, 2, 2)},
        ("layer 1, difference",),
    ),
    "residual of a tree": (
        fnn.serial(fnn.residual(fnn.parallel(a=dense(3), b=jnp.tanh)), difference),
        {"a": (3, 3), "b": (3, 3)},
        ("layer 1, difference",),
    ),
    "freeze": (
        fnn.serial(dense(4), fnn.freeze(fnn.serial(dense(4), jnp.tanh)), dense(3)),
        (3, 4),
        (),
    ),
    "precision": (
        fnn.serial(dense(4), fnn.precision(dense(4), jnp.float64), dense(3)),
        (3, 4),
        (),
    ),
    "batch_norm": (fnn.serial(dense(4), fnn.batch_norm(), jnp.tanh, dense(3)), (3, 4), ()),
    "batch_norm of images": (fnn.serial(fnn.batch_norm(), fnn.flatten(3), dense(3)), (3, 2, 2, 4), ()),
    "layer_norm": (fnn.serial(dense(4), fnn.layer_norm(), jnp.tanh, dense(3)), (3, 4), ()),
    "rms_norm": (fnn.serial(dense(4), fnn.rms_norm(), jnp.tanh, dense(3)), (3, 4), ()),
    "group_norm": (fnn.serial(fnn.group_norm(2, axes=3), fnn.flatten(3), dense(3)), (3, 2, 2, 4), ()),
    "embedding": (
        fnn.serial(as_ids, fnn.embedding(5, 2), fnn.flatten(2), dense(3)), (3, 4), ("layer 0, as_ids",)),
    "conv and pools": (
        fnn.serial(fnn.conv(4, (3, 3)), jax.nn.relu, fnn.max_pool((2, 2)), fnn.conv(3, (2, 2), stride=2),
                   fnn.avg_pool((2, 2), 1, "SAME"), fnn.conv_transpose(2, (3, 2), stride=2),
                   fnn.global_avg_pool(2), dense(3)),
        (3, 6, 5, 2), ()),
    "rnn": (fnn.serial(dense(4), fnn.rnn(3), dense(3)), (2, 5, 4), ()),
    "rnn, last": (fnn.serial(fnn.rnn(3, last=True), dense(3)), (2, 5, 4), ()),
    "rnn, reverse": (fnn.serial(fnn.rnn(3, reverse=True), dense(3)), (2, 5, 4), ()),
    "rnn, both ways": (
        fnn.serial(fnn.rnn(3, bidirectional=True, last=True), dense(3)), (2, 5, 4), ()),
    "gru": (fnn.serial(dense(4), fnn.gru(3), dense(3)), (2, 5, 4), ()),
    "gru, last": (fnn.serial(fnn.gru(3, last=True), dense(3)), (2, 5, 4), ()),
    "gru, reverse": (fnn.serial(fnn.gru(3, reverse=True), dense(3)), (2, 5, 4), ()),
    "gru, both ways": (
        fnn.serial(fnn.gru(3, bidirectional=True, last=True), dense(3)), (2, 5, 4), ()),
    "lstm": (fnn.serial(dense(4), fnn.lstm(3), dense(3)), (2, 5, 4), ()),
    "lstm, last": (fnn.serial(fnn.lstm(3, last=True), dense(3)), (2, 5, 4), ()),
    "lstm, reverse": (fnn.serial(fnn.lstm(3, reverse=True), dense(3)), (2, 5, 4), ()),
    "lstm, both ways": (
        fnn.serial(fnn.lstm(3, bidirectional=True, last=True), dense(3)), (2, 5, 4), ()),
    "attention to steps before": (
        fnn.serial(fnn.attention(8, heads=2, causal=True, rotary=10_000.0), dense(3)), (2, 5, 4), ()),
    "attention to a context": (
        fnn.serial(fnn.attention(6, heads=3), dense(3)), {"x": (2, 5, 4), "context": (2, 3, 2)}, ()),
    "positions": (
        fnn.serial(fnn.positional_encoding(), dense(4), fnn.positional_embedding(6), dense(3)), (2, 5, 3), ()),
    "transformer blocks": (
        fnn.serial(fnn.repeat(2, fnn.transformer_block(4, 2, hidden=3, causal=True, norm=fnn.rms_norm())), dense(3)),
        (2, 5, 4), ()),
    "prelu": (fnn.serial(dense(4), fnn.prelu(), dense(3)), (3, 4), ()),
    "prelu per unit": (fnn.serial(dense(4), fnn.prelu(per_unit=True), dense(3)), (3, 2, 4), ()),
    "swish": (fnn.serial(dense(4), fnn.swish(), dense(3)), (3, 4), ()),
    "swish per unit": (fnn.serial(dense(4), fnn.swish(per_unit=True), dense(3)), (3, 2, 4), ()),
    "mixture": (fnn.serial(dense(4), fnn.mixture(jnp.tanh, jax.nn.relu, jax.nn.softmax), dense(3)), (3, 4), ()),
    "mixture per unit": (
        fnn.serial(dense(4), fnn.mixture(jnp.tanh, cubed, per_unit=True), dense(3)),
        (3, 2, 4),
        ("layer 1, mixture › function 1, <lambda>",),
    ),
    "repeat": (
        fnn.serial(dense(4), fnn.repeat(3, fnn.serial(dense(4), jnp.tanh)), dense(3)),
        (3, 4),
        (),
    ),
    "wire": (
        fnn.serial(dense(4), fnn.wire(crossed, left=dense(3), right=fnn.serial(dense(3), jnp.tanh))),
        (3, 4),
        ("layer 1, wire(left, right)",),
    ),
    "wire alone": (fnn.wire(twice, inner=dense(4)), (3, 4), ("network",)),
    "a user's layer": (fnn.serial(dense(4), CENTRE, dense(3)), (3, 4), ("layer 1, centre",)),
    "lambdas": (
        fnn.serial(lambda x: 2 * x, dense(4), cubed, jnp.tanh, dense(3)),
        (3, 4),
        ("layer 0, <lambda>", "layer 2, <lambda>"),
    ),
    "nested": (
        fnn.serial(dense(4), fnn.residual(fnn.serial(dense(4), cubed), fnn.freeze(dense(4))), pair, joined),
        (3, 4),
        (
            "layer 1, residual › layer 0, serial › layer 1, <lambda>",
            "layer 3, joined",
        ),
    ),
    "nested in branches": (
        fnn.serial(fnn.parallel(a=fnn.serial(cubed), b=fnn.parallel(jnp.tanh, cubed)), lambda t: t["a"] * t["b"][1]),
        {"a": (3, 4), "b": (3, 4)},
        (
            "layer 0, parallel(a, b) › branch 'a', serial › layer 0, <lambda>",
            "layer 0, parallel(a, b) › branch 'b', parallel › branch 1, <lambda>",
            "layer 1, <lambda>",
        ),
    ),
}  # fmt: skip
every_layer = pytest.mark.parametrize(("network", "shape", "automatic"), LAYERS.values(), ids=LAYERS)


def prepared(network, shape):
    """Inputs, parameters and targets for a network, in the widest float that is on."""
    x = jax.tree.map(lambda own: normal(*own), shape, is_leaf=lambda own: isinstance(own, tuple))
    params = parameters(network, x)
    y = normal(*jax.eval_shape(network.forward, params, x).shape, seed=2)
    return params, x, y


FOUND = {}


def propagated(network, shape):
    """Parameters, inputs, targets and what backprop finds of them: compiled once for the tests of a network."""
    if id(network) not in FOUND:
        problem = prepared(network, shape)
        FOUND[id(network)] = *problem, fnn.backprop(network, fnn.mse, *problem)
    return FOUND[id(network)]


@every_layer
def test_it_equals_jax_grad_through_every_layer(x64, network, shape, automatic):
    with x64():
        params, x, y, found = propagated(network, shape)
        compared(found, network, fnn.mse, params, x, y)
        assert any(np.any(leaf) for leaf in jax.tree.leaves(found.deltas))


@every_layer
def test_it_names_the_layers_that_are_not_derived_by_hand_with_their_path(x64, network, shape, automatic):
    with x64():
        assert propagated(network, shape)[-1].automatic == automatic


@every_layer
def test_activations_are_what_the_layers_give(x64, network, shape, automatic):
    with x64():
        params, x, _, found = propagated(network, shape)

        @jax.jit
        def one_by_one(params, x):
            parts, own = (network.parts, params) if isinstance(params, tuple) else ((network,), (params,))
            last, activations = network.forward(params, x), []
            for part, its in zip(parts, own, strict=True):
                x = part.forward(its, x)
                activations.append(x)
            return last, tuple(activations)

        expected = one_by_one(params, x)
        close = partial(chex.assert_trees_all_close, rtol=1e-12, atol=1e-12)
        close((found.activations[-1], found.activations), expected)


def layers_give_ids(activation):
    return any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in jax.tree.leaves(activation))


@every_layer
def test_deltas_are_the_derivatives_of_the_cost_by_the_activations(x64, network, shape, automatic):
    with x64():
        params, _, y, found = propagated(network, shape)
        parts, own = (network.parts, params) if isinstance(params, tuple) else ((network,), (params,))
        assert len(found.deltas) == len(found.activations) == len(parts)

        def rest(activation, own, y):
            for part, its in zip(parts[len(parts) - len(own) :], own, strict=True):
                activation = part.forward(its, activation)
            return fnn.mse(activation, y)

        places = [i for i, activation in enumerate(found.activations) if not layers_give_ids(activation)]

        @jax.jit
        def slopes(activations, own, y):  # ids have no derivative
            return [jax.grad(rest)(activations[i], own[i + 1 :], y) for i in places]

        expected = slopes(found.activations, own, y)
        chex.assert_trees_all_close([found.deltas[i] for i in places], expected, rtol=1e-12, atol=1e-12)


def test_in_a_narrow_precision_it_equals_jax_grad_but_for_its_rounding():
    network = fnn.serial(dense(4), fnn.precision(fnn.residual(dense(4)), jnp.bfloat16), dense(3))
    params, x, y = prepared(network, (3, 4))
    found = fnn.backprop(network, fnn.mse, params, x, y)
    _, expected = by_jax(network, fnn.mse, params, x, y)
    chex.assert_trees_all_equal_dtypes(found.grads, expected)
    for one, other in zip(jax.tree.leaves(found.grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0.02, atol=0.02 * abs(other).max())
    assert found.automatic == ()


def test_it_takes_a_single_example_without_a_batch(x64):
    network = fnn.serial(dense(4), fnn.residual(jnp.tanh, dense(4)), jax.nn.softmax, dense(3))
    with x64():
        x = normal(4)
        params = parameters(network, x)
        for cost, targets in COSTS_AND_TARGETS.values():
            found = equal_to_jax(network, cost, params, x, jnp.asarray(targets[0]))
            assert found.deltas[-1].shape == (3,) and found.automatic == ()


def test_it_takes_sequences_and_a_mask_of_their_places(x64):
    network = fnn.serial(dense(4), jnp.tanh, fnn.residual(dense(4)), jax.nn.gelu, dense(3))
    mask = jnp.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    with x64():
        x = normal(2, 5, 4)
        params = parameters(network, x)
        ids = jnp.asarray(np.arange(10).reshape(2, 5) % 3)
        for weight in (mask, jnp.array([2.0, 0.5])):
            for cost, y in (
                (COSTS_AND_TARGETS["softmax_cross_entropy with options"][0], ids),
                (fnn.huber, normal(2, 5, 3, seed=3)),
            ):
                found = equal_to_jax(network, cost, params, x, y, weight)
                assert found.deltas[-1].shape == (2, 5, 3)
                if weight is mask:
                    assert not np.any(found.deltas[-1][0, 3:]) and np.any(found.deltas[-1][0, 2])


def test_it_takes_predictions_without_an_axis_of_outputs(x64):
    network = fnn.serial(dense(4), jnp.tanh, dense(1), lambda z: z[..., 0])
    with x64():
        x = normal(3, 4)
        for cost in (fnn.mse, fnn.rmse, fnn.mae, fnn.huber, fnn.binary_cross_entropy):
            found = equal_to_jax(network, cost, parameters(network, x), x, jnp.asarray(YES_OR_NO[0]))
            assert found.automatic == ("layer 3, <lambda>",)


def test_it_takes_ids_where_the_network_does(x64):
    network = fnn.serial(columns, dense(4), jnp.tanh, dense(3))
    with x64():
        x = jnp.array([3, 0, 0, 1])
        params = parameters(network, x)
        found = equal_to_jax(network, fnn.softmax_cross_entropy, params, x, jnp.array([0, 1, 2, 2]))
        assert found.automatic == ("layer 0, columns",)


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_it_takes_numpy_arrays(convert):
    network = fnn.serial(fnn.flatten(1), dense(4), jnp.tanh, fnn.residual(jax.nn.relu), dense(3))
    x = normal(3, 4)
    args = jax.tree.map(convert, (parameters(network, x), x, jnp.asarray(QUANTITIES, jnp.float32)))
    found, (cost, grads) = fnn.backprop(network, fnn.mse, *args), by_jax(network, fnn.mse, *args)
    chex.assert_trees_all_close((found.cost, found.grads), (cost, grads), rtol=1e-5, atol=1e-6)


# --- costs: weights, options, a user's own


@every_cost
@pytest.mark.parametrize("weight", [[1.0, 2.0, 0.5], [0.0, 3.0, 0.0], [2, 0, 1], [0.0, 0.0, 0.0]], ids=str)
def test_weights_count_as_jax_grad_counts_them(x64, cost, targets, weight):
    with x64():
        network, x = fnn.serial(dense(4), jnp.tanh, dense(3)), normal(3, 4)
        params, weight = parameters(network, x), jnp.array(weight)
        found = equal_to_jax(network, cost, params, x, jnp.asarray(targets), weight)
        np.testing.assert_array_equal(np.any(found.deltas[-1], axis=-1), weight > 0)


def test_a_weight_of_every_output_counts_as_jax_grad_counts_it(x64):
    with x64():
        x, weight = normal(3, 4), jnp.array([[1.0, 0.0, 2.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
        for name in ("mse", "rmse", "mae", "huber", "binary_cross_entropy with options"):
            cost, targets = COSTS_AND_TARGETS[name]
            found = equal_to_jax(dense(3), cost, parameters(dense(3), x), x, jnp.asarray(targets), weight)
            np.testing.assert_array_equal(found.deltas[-1] != 0, weight > 0)


def fourth_power(predictions, targets, sample_weight=None):
    fourth = (predictions - targets) ** 4
    return fourth.mean() if sample_weight is None else (sample_weight[:, None] * fourth).mean()


def power(exponent, predictions, targets):
    return (jnp.abs(predictions - targets) ** exponent).mean()


@pytest.mark.parametrize("cost", [fourth_power, partial(power, 3.0), lambda p, y: fnn.mse(p, y) + p.sum()])
def test_a_users_cost_is_derived_by_jax_and_it_is_said(x64, cost):
    with x64():
        network, x = fnn.serial(dense(4), cubed, dense(3)), normal(3, 4)
        params, y = parameters(network, x), jnp.asarray(QUANTITIES)
        found = equal_to_jax(network, cost, params, x, y)
        assert found.automatic == ("layer 1, <lambda>", "cost")
        if cost is fourth_power:
            equal_to_jax(network, cost, params, x, y, jnp.array([1.0, 0.0, 2.0]))


def test_a_users_cost_takes_a_tree_of_predictions(x64):
    def cost(predictions, targets):
        return fnn.mse(predictions["a"], targets) + fnn.mae(predictions["b"], 2 * targets)

    with x64():
        x = {"a": normal(3, 4), "b": normal(3, 2, 2, seed=1)}
        found = equal_to_jax(by_key, cost, parameters(by_key, x), x, jnp.asarray(QUANTITIES))
        assert found.automatic == ("cost",)


OPTIONS = {  # however an option is bound, fnn.loss takes it
    "a number of JAX": (partial(fnn.huber, delta=jnp.float32(0.3)), QUANTITIES),
    "a number of NumPy": (partial(fnn.binary_cross_entropy, label_smoothing=np.float32(0.2)), YES_OR_NO),
    "a Partial": (jax.tree_util.Partial(fnn.huber, delta=0.3), QUANTITIES),
    "a partial of a partial": (partial(partial(fnn.huber, delta=2.0), delta=0.3), QUANTITIES),
    "weights as a list": (partial(fnn.softmax_cross_entropy, class_weight=[1.0, 3.0, 0.5]), IDS),
    "bound weights": (partial(fnn.mse, sample_weight=np.array([1.0, 0.0, 2.0])), QUANTITIES),
}


@pytest.mark.parametrize(("cost", "targets"), OPTIONS.values(), ids=OPTIONS)
def test_options_of_a_cost_are_bound_in_any_way_that_the_loss_takes(x64, cost, targets):
    with x64():
        x = normal(3, 4)
        equal_to_jax(dense(3), cost, parameters(dense(3), x), x, jnp.asarray(targets))


# --- against the perceptron written in NumPy


@pytest.mark.parametrize("cost", ["mse", "softmax_cross_entropy"])
@pytest.mark.parametrize("hidden", ["tanh", "relu"])
@pytest.mark.parametrize("widths", [(3,), (5, 3), (5, 4, 6, 3)], ids=str)
def test_it_equals_a_perceptron_written_in_numpy(x64, widths, hidden, cost):
    with x64():
        activation = {"tanh": jnp.tanh, "relu": jax.nn.relu}[hidden]
        *inside, last = [dense(width) for width in widths]
        network = fnn.serial(*(part for layer in inside for part in (layer, activation)), last)
        x = normal(7, 4)
        params = parameters(network, x)
        y = np.arange(7) % 3 if cost == "softmax_cross_entropy" else np.asarray(normal(7, 3, seed=2))
        found = fnn.backprop(network, getattr(fnn, cost), params, x, jnp.asarray(y))
        layers = [(np.asarray(own["weight"]), np.asarray(own["bias"])) for own in params[::2]]
        value, grads, activations, deltas = oracles.mlp(layers, x, y, hidden, cost)

        close = partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
        close(found.cost, value)
        for own, (weight, bias) in zip(found.grads[::2], grads, strict=True):
            close(own["weight"], weight)
            close(own["bias"], bias)
        for got, z in zip(found.deltas[::2], deltas, strict=True):  # by what the dense layers give
            close(got, z)
        for got, after, (weight, _) in zip(found.deltas[1::2], deltas[1:], layers[1:], strict=True):
            close(got, after @ weight.T)  # by what the activations give
        for got, a in zip((*found.activations[1::2], found.activations[-1]), activations[1:], strict=True):
            close(got, a)
        for got, a, (weight, bias) in zip(found.activations[::2], activations[:-1], layers, strict=True):
            close(got, a @ weight + bias)


# --- saturated: where jax.grad is finite, so is this

EXTREMES = np.array([[1e4, -1e4, 0.0, 1.0], [-1e4, -1e4, 1e4, 1e4], [-30.0, 30.0, -700.0, 100.0]])
LOGITS = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0]])


def assert_as_finite(found, expected, tolerance):
    """Finite wherever jax.grad is, and then equal to it, up to the size of the array."""
    for ours, its in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        ours, its = np.asarray(ours, np.float64), np.asarray(its, np.float64)
        finite = np.isfinite(its)
        scale = np.abs(its[finite]).max(initial=1e-300)
        assert np.all(np.abs(ours[finite] - its[finite]) <= tolerance * scale)


def extreme(activation, cost, targets):
    """A network whose pre-activations are the extremes themselves, and its data."""
    first = {"weight": jnp.eye(4), "bias": jnp.zeros(4)}
    last = {"weight": normal(4, 3, seed=4), "bias": normal(3, seed=5)}
    x = jnp.asarray(EXTREMES, jnp.result_type(float))
    y = jnp.asarray(targets, x.dtype if targets.dtype.kind == "f" else None)
    return fnn.serial(dense(4), activation, dense(3)), cost, (first, (), last), x, y


@every_activation_with_a_cost
def test_it_is_finite_where_jax_grad_is_at_extreme_pre_activations(x64, activation, cost, targets):
    with x64():
        args = extreme(activation, cost, targets)
        found, expected = fnn.backprop(*args), by_jax(*args)
        assert_as_finite((found.cost, found.grads), expected, 1e-12)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))


@every_activation
def test_it_is_finite_in_float32_too(activation):
    args = extreme(activation, fnn.huber, QUANTITIES)
    found, expected = fnn.backprop(*args), by_jax(*args)
    assert_as_finite((found.cost, found.grads), expected, 1e-5)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))


@every_cost
def test_it_is_finite_where_jax_grad_is_at_extreme_and_at_perfect_predictions(x64, cost, targets):
    network = fnn.serial(jax.nn.identity)
    slope = jax.jit(jax.value_and_grad(cost))
    perfect = targets if targets.ndim == 2 else oracles.one_hot(targets, 3)
    corners = perfect + np.array([0.3, -0.3, 1.0])

    def compared(tolerance):
        number = jnp.result_type(float)
        y = jnp.asarray(targets, number if targets.dtype.kind == "f" else None)
        for predictions in (LOGITS, -LOGITS, perfect, corners, perfect * 1e4):
            x = jnp.asarray(predictions, number)
            found, expected = fnn.backprop(network, cost, ((),), x, y), slope(x, y)
            assert_as_finite((found.cost, found.deltas[-1]), expected, tolerance)
            assert np.isfinite(expected[0]) and np.isfinite(expected[1]).all()

    compared(1e-5)
    with x64():
        compared(1e-12)


# --- what it finds is a gradient like any other

LEARNS = fnn.serial(dense(5), jnp.tanh, fnn.freeze(dense(5)), fnn.residual(CENTRE, jax.nn.silu), dense(3))


def test_grads_are_a_tree_like_the_trained_parameters():
    x, y = normal(3, 4), jnp.asarray(QUANTITIES, jnp.float32)
    params = parameters(LEARNS, x)
    grads = fnn.backprop(LEARNS, fnn.mse, params, x, y).grads
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, fnn.trained(params))
    assert grads[2] == {"frozen": {"weight": None, "bias": None}}
    assert grads[3][0]["statistics"] == {"mean": None} and grads[3][0]["offset"].shape == (5,)


def types_compared(cost, targets, dtype):
    network = fnn.serial(dense(4), jax.nn.gelu, jax.nn.leaky_relu, dense(3))
    x = normal(3, 4).astype(dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), parameters(network, x))
    args = network, cost, params, x, jnp.asarray(targets)
    found, (_, grads) = fnn.backprop(*args), by_jax(*args)
    chex.assert_trees_all_equal_dtypes(found.deltas, found.activations)
    chex.assert_trees_all_equal_dtypes(found.grads, grads)
    coarse = 16 * float(jnp.finfo(dtype).eps)
    wide = partial(jax.tree.map, lambda leaf: np.asarray(leaf, np.float64))
    chex.assert_trees_all_close(wide(found.grads), wide(grads), rtol=coarse, atol=coarse)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
@pytest.mark.parametrize("name", ["mse", "binary_cross_entropy with options", "softmax_cross_entropy"])
def test_deltas_and_grads_have_the_types_of_what_they_belong_to(dtype, name):
    types_compared(*COSTS_AND_TARGETS[name], dtype)


@pytest.mark.parametrize("name", ["rmse", "softmax_cross_entropy with options"])
def test_float32_stays_float32_where_float64_is_on(x64, name):
    cost, targets = COSTS_AND_TARGETS[name]
    with x64():
        types_compared(cost, targets.astype("float32") if targets.dtype.kind == "f" else targets, "float32")


def rule_of_many():
    return fnn.chain(fnn.clip_by_global_norm(0.5), fnn.adam(0.05), fnn.weight_decay(0.01))


@pytest.mark.parametrize(
    "rule", [fnn.gradient_descent(0.1), fnn.nesterov(0.05), fnn.adam(0.05), rule_of_many()],
    ids=["gradient_descent", "nesterov", "adam", "chain"],
)  # fmt: skip
def test_training_with_either_gradient_gives_the_same_parameters(x64, rule):
    with x64():
        x, y = normal(6, 4), jnp.asarray(np.arange(6) % 3)
        params = parameters(LEARNS, x)

        def trained_by(gradient):
            def turn(carry, _):
                params, state = carry
                learns = fnn.trained(params)
                updates, state = rule.update(gradient(params), state, learns)
                return (fnn.merge(fnn.apply_updates(learns, updates), params), state), None

            start = params, rule.init(fnn.trained(params))
            return jax.jit(lambda start: jax.lax.scan(turn, start, length=20)[0])(start)[0]

        cost = fnn.softmax_cross_entropy
        by_hand = trained_by(lambda params: fnn.backprop(LEARNS, cost, params, x, y).grads)
        expected = trained_by(lambda params: by_jax(LEARNS, cost, params, x, y)[1])
        chex.assert_trees_all_close(by_hand, expected, rtol=1e-12, atol=1e-12)
        moved = jax.tree.map(lambda new, old: not np.allclose(new, old, atol=1e-3), by_hand, params)
        assert jax.tree.leaves(fnn.trained(moved)) == [True] * 5 and not any(jax.tree.leaves(moved[2]))


def test_it_gives_the_same_under_jit(x64):
    network = fnn.serial(dense(4), cubed, fnn.residual(jnp.tanh), dense(3))
    with x64():
        x, y = normal(3, 4), jnp.asarray(QUANTITIES)
        params, weight = parameters(network, x), jnp.array([1.0, 0.0, 2.0])
        compiled = jax.jit(fnn.backprop, static_argnums=(0, 1))
        found, expected = (run(network, fnn.rmse, params, x, y, weight) for run in (compiled, fnn.backprop))
        assert isinstance(found, fnn.Backprop) and found.automatic == expected.automatic == (
            "layer 1, <lambda>",
        )
        chex.assert_trees_all_close(found, expected, rtol=1e-12, atol=1e-12)


def test_another_number_of_a_cost_compiles_nothing(x64):
    traced = []

    @jax.jit
    def run(cost, params, x, y):
        traced.append(cost)
        return fnn.backprop(dense(3), cost, params, x, y).grads

    with x64():
        x, y = normal(3, 4), jnp.asarray(QUANTITIES)
        params = parameters(dense(3), x)
        for delta in (0.3, 0.7):
            grads = run(jax.tree_util.Partial(fnn.huber, delta=delta), params, x, y)
            _, expected = by_jax(dense(3), partial(fnn.huber, delta=delta), params, x, y)
            chex.assert_trees_all_close(grads, expected, rtol=1e-12, atol=1e-12)
    assert len(traced) == 1


def test_vmap_gives_the_gradient_of_every_example(x64):
    network = fnn.serial(dense(4), jax.nn.softmax, fnn.residual(dense(4), cubed), dense(3))
    with x64():
        x, ids = normal(3, 4), jnp.asarray(IDS)
        params = parameters(network, x)
        one = lambda x, y: fnn.backprop(network, fnn.softmax_cross_entropy, params, x, y)
        together = jax.vmap(one)(x, ids)
        chex.assert_trees_all_close(
            together, jax.tree.map(lambda *v: jnp.stack(v), *map(one, x, ids)), rtol=1e-12, atol=1e-12
        )
        mean = jax.tree.map(lambda leaf: leaf.mean(0), together.grads)
        _, expected = by_jax(network, fnn.softmax_cross_entropy, params, x, ids)
        chex.assert_trees_all_close(mean, expected, rtol=1e-12, atol=1e-12)


def test_vmap_runs_many_networks_at_once(x64):
    network = fnn.serial(dense(4), jnp.tanh, dense(3))
    with x64():
        x, y = normal(3, 4), jnp.asarray(QUANTITIES)
        each = [parameters(network, x, seed) for seed in range(3)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
        grads = jax.vmap(lambda params: fnn.backprop(network, fnn.mse, params, x, y).grads)(stacked)
        expected = [by_jax(network, fnn.mse, params, x, y)[1] for params in each]
        chex.assert_trees_all_close(
            grads, jax.tree.map(lambda *leaves: jnp.stack(leaves), *expected), rtol=1e-12, atol=1e-12
        )


# --- the four equations


def test_the_four_equations_stand_in_the_docstring_and_mark_the_lines_that_compute_them():
    said = dict(re.findall(r"^ *\((\d)\) +(.*)$", inspect.getdoc(fnn.backprop), re.MULTILINE))
    assert sorted(said) == ["1", "2", "3", "4"]
    marked = {}
    for line in "\n".join(map(inspect.getsource, MODULES)).splitlines():
        code, _, comment = line.partition("  # ")
        if match := re.match(r"\((\d)\) +(.*)$", comment):
            assert code.strip(), line
            marked.setdefault(match[1], []).append((code, match[2]))
    assert sorted(marked) == sorted(said) and all(len(lines) == 1 for lines in marked.values())
    for number, ((code, formula),) in marked.items():
        plain = " ".join(said[number].split())
        assert plain.startswith(" ".join(formula.split())), (formula, plain)
        assert "=" in code or "return" in code
    assert "x.T @ delta" in marked["3"][0][0] and "delta.sum(0)" in marked["3"][0][0]
    assert "delta @ weight.T" in marked["4"][0][0]


def test_a_dense_layer_brings_its_own_derivative():
    assert dense(3).backward is dense_backward


# --- errors: in the words of forward

NETWORK = fnn.serial(dense(4), jnp.tanh, dense(3))
BRANCHES = fnn.serial(fnn.parallel(dense(2), fnn.serial(jnp.tanh, dense(1))), joined)
NAMED = fnn.parallel(a=dense(3), b=dense(3))
DEEP = fnn.serial(dense(4), fnn.residual(fnn.serial(dense(4), jnp.tanh)))
X, Y = normal(3, 4), jnp.asarray(QUANTITIES, jnp.float32)
PAIR = {"a": X, "b": X}
PARAMS, OF_BRANCHES, OF_DEEP = (parameters(network, X) for network in (NETWORK, BRANCHES, DEEP))
OF_NAMED = parameters(NAMED, PAIR)
take_a = lambda predictions, y: fnn.mse(predictions["a"], y)
narrow = {"weight": jnp.ones((4, 1)), "bias": jnp.ones(1)}
REFUSED = {  # network, parameters, x, cost, y, weight; and what stands in the message
    "a wrong width": (NETWORK, PARAMS, X[:, :3], fnn.mse, Y, None, "layer 0, dense(4): dense expected 4 features"),
    "a wrong width inside": (
        DEEP, (OF_DEEP[0], (({**narrow}, ()),)), X, fnn.mse, X, None, "layer 1, residual: residual adds"),
    "a wrong width, deeper": (
        DEEP, ({"weight": jnp.ones((4, 2)), "bias": jnp.ones(2)}, OF_DEEP[1]), X, fnn.mse, X, None,
        "layer 1, residual › layer 0, serial › layer 0, dense(4): dense expected 4 features"),
    "a wrong width in a branch": (
        BRANCHES, OF_BRANCHES, X[:, :3], fnn.mse, Y, None, "layer 0, parallel › branch 0, dense(2): dense expected 4"),
    "a wrong width in a named branch": (
        NAMED, OF_NAMED, {"a": X, "b": X[:, :3]}, take_a, Y, None, "branch 'b', dense(3): dense expected 4"),
    "no dict of inputs": (NAMED, OF_NAMED, X, take_a, Y, None, "expected a dict of ['a', 'b']"),
    "fewer layers": (NETWORK, PARAMS[:2], X, fnn.mse, Y, None, "expected the parameters of 3 layers"),
    "more layers": (NETWORK, (*PARAMS, ()), X, fnn.mse, Y, None, "expected the parameters of 3 layers"),
    "another tree": (NETWORK, PARAMS[0], X, fnn.mse, Y, None, "as a tuple, got a dict"),
    "fewer layers inside": (
        DEEP, (OF_DEEP[0], ()), X, fnn.mse, X, None, "layer 1, residual: expected the parameters of 1 layers"),
    "fewer branches": (
        BRANCHES, (OF_BRANCHES[0][:1], ()), X, fnn.mse, Y, None, "layer 0, parallel: expected the parameters of 2"),
    "another name of a branch": (
        NAMED, {"a": OF_NAMED["a"]}, PAIR, take_a, Y, None, "parallel expected parameters named ['a', 'b']"),
    "another name of an array": (
        NETWORK, ({"kernel": PARAMS[0]["weight"]}, (), PARAMS[2]), X, fnn.mse, Y, None,
        "layer 0, dense(4): dense expected parameters named ['bias', 'weight']"),
    "a residual that changes the shape": (
        fnn.residual(dense(1)), (narrow,), X, fnn.mse, X, None, "residual adds its input back"),
    "a plain function that fails": (
        fnn.serial(dense(4), difference), (PARAMS[0], ()), X, fnn.mse, Y, None,
        "layer 1, difference: this plain function could not take its input"),
    "whole numbers": (NETWORK, PARAMS, jnp.arange(4)[None], fnn.mse, Y[:1], None, "layer 0, dense(4): dense expected float"),
    "targets of another shape": (NETWORK, PARAMS, X, fnn.mse, Y[:, 0], None, "mse compares like with like"),
    "targets that would broadcast": (NETWORK, PARAMS, X, fnn.huber, Y[:, :1], None, "huber compares like with like"),
    "ids of another shape": (
        NETWORK, PARAMS, X, fnn.softmax_cross_entropy, jnp.zeros((3, 1), int), None, "expected class ids of shape (3,)"),
    "ids that are no integers": (
        NETWORK, PARAMS, X, fnn.softmax_cross_entropy, jnp.zeros(3), None, "expected whole-number class ids"),
    "class weights of another shape": (
        NETWORK, PARAMS, X, partial(fnn.softmax_cross_entropy, class_weight=jnp.ones(2)), jnp.asarray(IDS), None,
        "class_weight expected one weight a class"),
    "weights of another shape": (NETWORK, PARAMS, X, fnn.mse, Y, jnp.ones(2), "sample_weight expected one weight a row"),
    "weights that a cost does not take": (
        NETWORK, PARAMS, X, lambda p, y: (p - y).mean(), Y, jnp.ones(3), "takes no sample_weight"),
    "a cost that is no number": (
        NETWORK, PARAMS, X, lambda p, y: (p - y) ** 2, Y, None, "the cost expected one real number"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_it_refuses_what_the_loss_refuses_in_the_same_words(case):
    network, params, x, cost, y, weight, words = case
    with pytest.raises((TypeError, ValueError), match=oracles.says(words)) as expected:
        by_jax(network, cost, params, x, y, weight)
    with pytest.raises(type(expected.value)) as caught:
        fnn.backprop(network, cost, params, x, y, weight)
    assert str(caught.value) == str(expected.value)
    assert getattr(caught.value, "path", None) == getattr(expected.value, "path", None)


MISTAKES = {  # network, cost, parameters, input; pieces of the message
    "network and cost swapped": (fnn.mse, NETWORK, PARAMS, X, ("network expected a layer", "mse", "swapped?")),
    "a factory not called": (fnn.dense, fnn.mse, PARAMS, X, ("network expected a layer", "Call it: fnn.dense(…)")),
    "parameters first": (PARAMS, fnn.mse, NETWORK, X, ("network expected a layer", "come first?")),
    "a cost by name": (NETWORK, "mse", PARAMS, X, ("cost expected a function", "got 'mse'", "itself: fnn.mse")),
    "no parameters": (NETWORK, fnn.mse, None, X, ("params expected a tree of arrays", "got None", "network.init(")),
    "whole numbers": (
        NETWORK, fnn.mse, jax.tree.map(lambda p: p.astype(int), PARAMS), X, ("params[0]['bias']", "int", "no derivative")),
    "no rows": (NETWORK, fnn.mse, PARAMS, X[:0], ("x expected at least one row", "got none")),
}  # fmt: skip


@pytest.mark.parametrize(("network", "cost", "params", "x", "pieces"), MISTAKES.values(), ids=MISTAKES)
def test_it_refuses_what_is_not_what_its_name_says(network, cost, params, x, pieces):
    with refused("backprop: ", *pieces):
        fnn.backprop(network, cost, params, x, Y[: len(x)])
