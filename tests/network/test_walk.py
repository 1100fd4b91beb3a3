"""What a layer says of its inside, and what follows: any combinator, a user's too, can be walked and pickled."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import LAYERS, inputs, key, parameters

import fnn
from fnn.network.taps import first_bad
from fnn.network.walk import layers_at, parts_inside

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def gate_init(part, key, x):
    return {"gate": jnp.ones(()), "part": part.init(key, x)}


def gate_forward(part, params, x):
    return x + params["gate"] * part.forward(params["part"], x)


def gate_inside(part, params, x):
    return [("gated", part, params["part"], x)]


def gate_backward(part, params, x, y, delta, pull):
    own, delta_x = pull("gated", part, params["part"], x, params["gate"] * delta)
    f = part.forward(params["part"], x)
    return {"gate": (delta * f).sum(), "part": own}, delta + delta_x


def bound_gate(part):
    functions = (functools.partial(f, part) for f in (gate_init, gate_forward))
    inside, backward = functools.partial(gate_inside, part), functools.partial(gate_backward, part)
    return fnn.layer(*functions, name="gate", parts=(part,), inside=inside, backward=backward)


def closed_gate(part):
    return fnn.layer(
        lambda key, x: gate_init(part, key, x),
        lambda params, x: gate_forward(part, params, x),
        name="gate",
        parts=(part,),
        inside=lambda params, x: gate_inside(part, params, x),
        backward=lambda *args: gate_backward(part, *args),
    )


gates = pytest.mark.parametrize("gate", [bound_gate, closed_gate])


@gates
def test_a_users_combinator_is_walked_by_summary_backprop_and_explain(gate):
    network = fnn.serial(fnn.dense(3), gate(fnn.serial(fnn.dense(3), jnp.tanh)), fnn.dense(1))
    params, y = parameters(network, X), X[:, :1]
    assert [line.split()[:2] for line in fnn.summary(network, X).splitlines()[3:6]] == [
        ["1", "gate"], ["gated", "serial"], ["0", "dense(3)"]]  # fmt: skip
    found = fnn.backprop(network, fnn.mse, params, X, y)
    assert found.automatic == ()
    expected = jax.grad(fnn.loss(network, fnn.mse))(params, X, y)
    for one, other in zip(jax.tree.leaves(found.grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)
    text = fnn.explain(network, fnn.mse, fnn.adam(), params, X, y)
    assert "layer 1, gate" in text and "gated, serial" in text and "layer 1, tanh:  a = tanh(z)" in text
    assert text.count("\n  ['gate']  ()\n") == text.count("\n  ∂c/∂['gate']  ()\n") == 1  # its own


def test_explain_shows_the_parts_of_a_combinator_that_has_no_derivative_by_hand():
    network = fnn.wire(lambda net, x: net.b(net.a(x)), a=fnn.dense(2), b=jnp.tanh)
    text = fnn.explain(network, fnn.mse, fnn.adam(), parameters(network, X), X[:2], X[:2, :2])
    assert "    part 'a', dense(2):  y = xW + b\n    ['bias']  (2,)" in text
    assert "    part 'b', tanh:  a = tanh(z)" in text
    assert text.count("∂c/∂['a']['weight']") == 1


def explode(x):
    return jnp.log(x - x)


@gates
def test_where_a_run_went_bad_is_found_inside_a_users_combinator(gate):
    network = fnn.serial(fnn.dense(3), gate(fnn.serial(fnn.dense(3), explode)), fnn.dense(1))
    with pytest.warns(RuntimeWarning, match="explode"):
        fitted = fnn.fit(network, fnn.mse, fnn.adam(), X, X[:, :1], key=jax.random.key(0), epochs=2)
    path = "layer 1, gate › gated, serial › layer 1, explode"
    assert (fitted.not_finite.quantity, fitted.not_finite.where) == ("activation", path)


def masks(x):
    return jnp.where(x > 0, x, -jnp.inf)


NESTED = {  # masks of −∞ on the way, which nothing is to be blamed for, and gates in gates
    "a mask in a gate": (
        lambda gate: gate(fnn.serial(masks, jnp.exp, explode)),
        "gate › gated, serial › layer 2, explode",
    ),
    "a mask before a gate": (
        lambda gate: fnn.serial(masks, jnp.exp, gate(fnn.serial(fnn.dense(3), explode))),
        "serial › layer 2, gate › gated, serial › layer 1, explode",
    ),
    "a gate in a gate": (
        lambda gate: gate(fnn.serial(fnn.dense(3), gate(fnn.serial(jnp.exp, lambda x: x / (x - x))))),
        "gate › gated, serial › layer 1, gate › gated, serial › layer 1, <lambda>",
    ),
}  # fmt: skip


@gates
@pytest.mark.parametrize(("build", "path"), NESTED.values(), ids=NESTED)
def test_the_innermost_layer_that_goes_bad_is_found_past_masks_and_through_gates(gate, build, path):
    network = fnn.serial(build(gate), fnn.dense(1))
    params = parameters(network, X)
    hit = first_bad(network, lambda tapped: tapped.forward_train(params, X, key(1)))
    assert hit.path == tuple(f"layer 0, {path}".split(" › "))
    assert hit.found == f"{'inf' if 'lambda' in path else '-inf'} at (0, 0), 15 of 15 numbers"


def test_the_parts_of_a_series_are_given_what_the_ones_before_return():
    network = fnn.serial(fnn.dense(4), jnp.tanh, fnn.residual(fnn.dense(4), jnp.sin))
    params = parameters(network, X)
    places, layers, owns, given = zip(*network.inside(params, X), strict=True)
    assert places == ("layer 0", "layer 1", "layer 2") and layers == network.parts
    np.testing.assert_array_equal(given[0], X)
    outputs = [layer.forward(own, x) for layer, own, x in zip(layers, owns, given, strict=True)]
    for x, y in zip(given[1:], outputs, strict=False):
        np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(outputs[-1], network.forward(params, X))


@pytest.mark.parametrize(("build", "shape"), LAYERS.values(), ids=LAYERS)
def test_the_shapes_inside_are_those_of_the_numbers(build, shape):
    network, x = build(), inputs(shape, 3)
    params = parameters(network, x)
    shapes = parts_inside(network, params, x)
    numbers = network.inside(params, x) if network.inside else []
    assert [part[:2] for part in shapes] == [(place, layer) for place, layer, *_ in numbers]
    for part, (_, _, own, given) in zip(shapes, numbers, strict=True):
        assert jax.tree.map(jnp.shape, (part.params, part.x)) == jax.tree.map(jnp.shape, (own, given))


def test_an_array_of_the_parameters_is_found_in_its_layer():
    network = fnn.serial(fnn.dense(3), fnn.freeze(fnn.serial(fnn.dense(3), jnp.tanh)))
    params = jax.eval_shape(network.init, key(0), X)
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        names = layers_at(network, params, X, path)
        frozen = ("layer 1, freeze", "frozen, serial", "layer 0, dense(3)")
        assert names == (frozen if path[0].idx == 1 else ("layer 0, dense(3)",))


def double(net, x):
    return net.body(net.body(x))


def test_a_network_can_be_pickled():
    network = fnn.serial(
        fnn.dense(3), jax.nn.relu, fnn.dropout(0.1), fnn.residual(fnn.dense(3), jnp.tanh),
        fnn.repeat(2, fnn.dense(3)), fnn.freeze(fnn.dense(3)), fnn.precision(fnn.dense(3), jnp.bfloat16),
        fnn.wire(double, body=fnn.dense(3)), fnn.flatten(1), bound_gate(fnn.dense(3)),
        functools.partial(jax.nn.leaky_relu, negative_slope=0.1), fnn.parallel(fnn.dense(2), jnp.sin),
    )  # fmt: skip
    params = parameters(network, X)
    again = pickle.loads(pickle.dumps(network))
    one, other = network.forward(params, X), again.forward(params, X)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert again.name == network.name and fnn.summary(again, X) == fnn.summary(network, X)
    with pytest.raises(Exception, match="lambda"):
        pickle.dumps(fnn.serial(lambda x: x))


def test_an_error_in_a_users_layer_keeps_its_type_and_words():
    mine = fnn.layer(lambda key, x: {}, lambda params, x: x @ params["weight"], name="mine")
    with pytest.raises(fnn.LayerError, match=r"^layer 0, mine: KeyError: 'weight'") as caught:
        fnn.serial(mine).forward(({},), X)
    assert isinstance(caught.value.__cause__, KeyError)
