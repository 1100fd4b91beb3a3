"""Combinators: what they compute, from which parameters and keys, and how they say what is wrong."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import inputs, joined, key, nested, parameters, quick, refused

import fnn

X = inputs((4,), 5)
DENSE = {"weight": jnp.arange(12.0).reshape(4, 3) / 8, "bias": jnp.array([0.5, -1.0, 0.25])}
SQUARE = {"weight": jnp.arange(16.0).reshape(4, 4) / 8, "bias": jnp.ones(4)}


def affine(params, x):
    return np.asarray(x) @ np.asarray(params["weight"]) + np.asarray(params["bias"])


def structure(network, x):
    return jax.tree.map(jnp.shape, jax.eval_shape(network.init, key(0), x))


# --- what they compute

COMPUTED = {  # network, parameters, input, output by hand
    "serial": (fnn.serial(fnn.dense(3), jnp.tanh), (DENSE, ()), X, np.tanh(affine(DENSE, X))),
    "residual": (fnn.residual(fnn.dense(4), jnp.tanh), (SQUARE, ()), X, X + np.tanh(affine(SQUARE, X))),
    "residual of a tree": (fnn.residual(lambda x: {"a": 2 * x["a"]}), ((),), {"a": X}, {"a": 3 * X}),
    "parallel": (fnn.parallel(fnn.dense(3), jnp.sin), (DENSE, ()), X, (affine(DENSE, X), np.sin(X))),
    "parallel by key": (
        fnn.parallel(b=jnp.cos, a=fnn.dense(3)),
        {"a": DENSE, "b": ()},
        {"b": X[0], "a": X},
        {"a": affine(DENSE, X), "b": np.cos(X[0])},
    ),
    "nested": (
        fnn.serial(fnn.parallel(fnn.residual(fnn.dense(4)), jnp.sin), joined, fnn.serial(jnp.cos)),
        (((SQUARE,), ()), (), ((),)),
        X,
        np.cos(np.concatenate([X + affine(SQUARE, X), np.sin(X)], -1)),
    ),
}


@pytest.mark.parametrize(("network", "params", "x", "y"), COMPUTED.values(), ids=COMPUTED)
def test_a_combinator_computes_what_its_formula_says(network, params, x, y):
    chex.assert_trees_all_close(network.forward(params, x), y, rtol=1e-5, atol=1e-6)
    trained, same = network.forward_train(params, x, key(0))
    chex.assert_trees_all_close(trained, y, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_equal(same, params)


def test_parameters_mirror_the_network():
    centre = {"offset": (2, 4), "statistics": {"mean": (2, 4)}}
    stacked = {"weight": (2, 4, 4), "bias": (2, 4)}, (), (), centre
    assert structure(nested(), X) == (
        {"weight": (4, 4), "bias": (4,)},
        ({"inner": stacked},),
        ({"frozen": {"weight": (4, 2), "bias": (2,)}}, {"weight": (4, 2), "bias": (2,)}),
        (),
        {"weight": (4, 1), "bias": (1,)},
    )
    network = fnn.parallel(a=fnn.dense(2), b=fnn.serial(jnp.tanh, fnn.flatten(1)))
    assert structure(network, {"a": X, "b": X}) == {"a": {"weight": (4, 2), "bias": (2,)}, "b": ((), ())}


def test_each_layer_in_series_is_drawn_from_its_own_key_however_many_are_equal():
    """Equal layers on equal shapes are drawn in one loop; between others, they keep their places."""
    four, three = fnn.dense(4), fnn.dense(3)
    layers = four, jnp.tanh, three, four, jnp.tanh, four, fnn.dropout(0.5), three, three
    params = quick(fnn.serial(*layers).init)(key(7), X)
    x = X
    for own, part, part_key in zip(params, layers, jax.random.split(key(7), len(layers)), strict=True):
        part = part if isinstance(part, fnn.Layer) else fnn.serial(part)
        expected = quick(part.init)(part_key, x)
        chex.assert_trees_all_close(own, expected if expected != ((),) else (), rtol=1e-6)  # a last bit
        x = jax.eval_shape(part.forward, expected, x)
    weights = [np.asarray(params[place]["weight"]) for place in (3, 5)]
    assert weights[0].shape == (3, 4) and weights[1].shape == (4, 4)
    assert not np.allclose(params[0]["weight"], params[5]["weight"])


@pytest.mark.parametrize("combine", [fnn.serial, fnn.residual, fnn.parallel])
def test_the_same_layer_in_two_places_has_two_sets_of_weights(combine):
    init = quick(combine(fnn.dense(4), fnn.dense(4)).init)
    weights = [layer["weight"] for seed in (0, 1) for layer in init(key(seed), X)]
    assert len(np.unique(np.stack(weights))) == 4 * 16


HALF = fnn.dropout(0.5)
TWO_DROPOUTS = {
    "serial": fnn.serial(HALF, HALF),
    "serial in serial": fnn.serial(fnn.serial(HALF), HALF),
    "serials in serial": fnn.serial(fnn.serial(HALF), fnn.serial(HALF)),
    "residual": fnn.residual(HALF, HALF),
    "parallel": fnn.serial(fnn.parallel(HALF, HALF), lambda pair: pair[0] * pair[1]),
    "parallel by key": fnn.serial(
        lambda x: {"a": x, "b": x}, fnn.parallel(a=HALF, b=HALF), lambda y: y["a"] * y["b"]
    ),
    "repeat": fnn.repeat(2, HALF),
    "repeat of serial": fnn.repeat(2, fnn.serial(HALF)),
    "wire, two parts": fnn.wire(lambda net, x: net.b(net.a(x)), a=HALF, b=HALF),
    "wire, two calls": fnn.wire(lambda net, x: net.a(net.a(x)), a=HALF),
    "precision": fnn.precision(fnn.serial(HALF, HALF), jnp.bfloat16),
}


@pytest.mark.parametrize("network", TWO_DROPOUTS.values(), ids=TWO_DROPOUTS)
def test_two_dropouts_in_a_network_draw_differently(network):
    units = 4096
    y, _ = network.forward_train(parameters(network, jnp.ones(units)), jnp.ones(units), key(1))
    kept = (y - y.min() > 0).mean()  # the residual's identity is 1, not 0
    assert abs(kept - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / units)


# --- errors name the layer

FAULTY = {  # how a dense layer is put in, its path from there
    "serial": (fnn.serial, "serial › layer 0"),
    "later in serial": (lambda part: fnn.serial(jnp.tanh, part), "serial › layer 1"),
    "residual": (fnn.residual, "residual › layer 0"),
    "parallel": (lambda part: fnn.parallel(jnp.tanh, part), "parallel › branch 1"),
    "parallel by key": (
        lambda part: fnn.serial(lambda x: {"a": x, "b": x}, fnn.parallel(a=jnp.tanh, b=part)),
        "serial › layer 1, parallel(a, b) › branch 'b'",
    ),
    "repeat": (lambda part: fnn.repeat(2, part), "repeat(2) › each layer"),
    "freeze": (fnn.freeze, "freeze › frozen"),
    "precision": (lambda part: fnn.precision(part, jnp.bfloat16), "precision(bfloat16) › inner"),
    "wire": (lambda part: fnn.wire(lambda net, x: net.body(x), body=part), "wire(body) › part 'body'"),
    "all": (
        lambda part: fnn.residual(
            fnn.repeat(2, fnn.wire(lambda net, x: net.f(x), f=fnn.freeze(fnn.precision(part, jnp.float16))))
        ),
        "residual › layer 0, repeat(2) › each layer, wire(f) › part 'f', freeze › frozen, "
        "precision(float16) › inner",
    ),
}


@pytest.mark.parametrize(("put", "path"), FAULTY.values(), ids=FAULTY)
def test_an_error_names_the_layer_from_the_outermost_in(put, path):
    network = fnn.serial(jnp.sin, put(fnn.dense(4)))
    path, params, narrow = f"layer 1, {path}, dense(4)", parameters(network, X), jnp.ones((5, 3))
    message = ("expected 4 features", "(4, 4)", "got 3 in an input of shape (5, 3)", "initialise it again")
    with refused(*message, path=path):
        network.forward(params, narrow)
    with refused(*message, path=path):
        jax.jit(network.forward_train)(params, narrow, key(1))
    with refused("expected features on the last axis", "shape ()", "x[:, None]", path=path):
        network.init(key(0), jnp.ones(()))


WIDE = fnn.serial(fnn.dense(4), fnn.residual(fnn.dense(8)))
WRONG_INPUT = {  # what is initialised, for which input, layer, pieces of the message
    "integers": (
        fnn.serial(fnn.dense(3)),
        jnp.ones((3, 2), int),
        "layer 0, dense(3)",
        ("expected floating-point features", "int32 of shape (3, 2)", "astype('float32')", "fnn.one_hot"),
    ),
    "truth values": (
        fnn.serial(jnp.abs, fnn.dense(3)),
        jnp.ones((3, 2), bool),
        "layer 1, dense(3)",
        ("expected floating-point", "bool"),
    ),
    "a pair for dense": (
        fnn.serial(fnn.parallel(jnp.sin, jnp.cos), fnn.dense(3)),
        X,
        "layer 1, dense(3)",
        ("expected one array", "got a tuple", "fnn.parallel or fnn.wire"),
    ),
    "a pair for flatten": (
        fnn.serial(fnn.parallel(jnp.sin, jnp.cos), fnn.flatten(2)),
        X,
        "layer 1, flatten(2)",
        ("tuple",),
    ),
    "too few axes": (
        fnn.serial(jnp.sin, fnn.flatten(3)),
        X,
        "layer 1, flatten(3)",
        ("expected at least 3 axes", "got shape (5, 4)"),
    ),
    "plain function, other shape": (
        fnn.serial(fnn.dense(3), lambda x: x @ jnp.ones((7, 2))),
        X,
        "layer 1, <lambda>",
        ("plain function", "shape (5, 3) float32", "(3,) and (7,)", "whole batch, leading axes first"),
    ),
    "plain function, other type": (
        fnn.serial(fnn.parallel(jnp.sin, jnp.cos), jax.nn.relu),
        X,
        "layer 1, relu",
        ("plain function", "[shape (5, 4) float32; shape (5, 4) float32]", "whole batch"),
    ),
    "plain function, other key": (
        fnn.serial(fnn.parallel(jnp.sin, jnp.cos), lambda y: y["c"], fnn.dense(3)),
        X,
        "layer 1, <lambda>",
        ("plain function", "whole batch"),
    ),
    "plain function, no such key": (
        fnn.serial(jnp.sin, lambda x: {"a": x}, lambda y: y["c"]),
        X,
        "layer 2, <lambda>",
        ("plain function", "'c'", "shape (5, 4) float32"),
    ),
    "plain function, no such attribute": (
        fnn.serial(jnp.sin, lambda x: x.width),
        X,
        "layer 1, <lambda>",
        ("plain function", "width", "shape (5, 4) float32"),
    ),
    "residual changes the shape": (
        WIDE,
        X,
        "layer 1, residual",
        ("keep the shape", "given shape (5, 4)", "returned shape (5, 8)", "Let the last layer return"),
    ),
    "repeat changes the shape": (
        fnn.serial(jnp.sin, fnn.repeat(3, fnn.dense(8))),
        X,
        "layer 1, repeat(3) › each layer, dense(8)",
        ("must keep the shape", "given shape (5, 4)", "returned shape (5, 8)"),
    ),
    "parallel, other keys": (
        fnn.serial(fnn.parallel(a=fnn.dense(3), b=jnp.sin)),
        {"a": X, "c": X},
        "layer 0, parallel(a, b)",
        ("expected a dict of ['a', 'b']", "got a dict of ['a', 'c']"),
    ),
    "parallel, no keys": (
        fnn.serial(fnn.parallel(a=fnn.dense(3), b=jnp.sin)),
        X,
        "layer 0, parallel(a, b)",
        ("expected a dict of ['a', 'b']", "got an input of shape (5, 4) float32"),
    ),
}


@pytest.mark.parametrize(("network", "x", "path", "pieces"), WRONG_INPUT.values(), ids=WRONG_INPUT)
def test_a_wrong_input_is_refused_before_training_by_the_layer_that_cannot_take_it(network, x, path, pieces):
    with refused(*pieces, path=path):
        network.init(key(0), x)


MLP = fnn.serial(fnn.dense(8), jax.nn.relu, fnn.dense(2))
PAIR = fnn.parallel(fnn.dense(3), fnn.dense(3))
NAMED = fnn.parallel(a=fnn.dense(3), b=jnp.sin)
WIRED = fnn.wire(lambda net, x: net.body(x), body=fnn.dense(3))
ANOTHER = {  # network, parameters that are not its own, layer (None: the network itself), pieces
    "more layers": (
        fnn.serial(fnn.dense(8), fnn.dense(2)),
        (DENSE, (), DENSE),
        None,
        ("parameters of 2 layers (dense(8), dense(2))", "a tuple of 3", "another network"),
    ),
    "other layers": (
        fnn.serial(jnp.sin, fnn.dense(3)),
        ((), ()),
        "layer 1, dense(3)",
        ("weight", "got a tuple", "another network"),
    ),
    "a layer deeper": (
        fnn.serial(fnn.residual(fnn.dense(4), jnp.sin)),
        ((SQUARE,),),
        "layer 0, residual",
        ("parameters of 2 layers (dense(4), sin)", "a tuple of 1", "another network"),
    ),
    "branch missing": (
        fnn.serial(PAIR),
        ((DENSE,),),
        "layer 0, parallel",
        ("parameters of 2 layers (dense(3), dense(3))", "a tuple of 1", "another network"),
    ),
    "more branches": (
        fnn.serial(PAIR),
        ((DENSE,) * 3,),
        "layer 0, parallel",
        ("parameters of 2 layers (dense(3), dense(3))", "a tuple of 3", "another network"),
    ),
    "key missing": (
        fnn.serial(NAMED),
        ({"a": DENSE},),
        "layer 0, parallel(a, b)",
        ("['a', 'b']", "['a']", "another network"),
    ),
    "part missing": (
        fnn.serial(WIRED),
        ({"head": DENSE},),
        "layer 0, wire(body)",
        ("['body']", "['head']", "another network"),
    ),
    "not frozen": (
        fnn.serial(fnn.freeze(fnn.dense(3))),
        (DENSE,),
        "layer 0, freeze",
        ("frozen", "['bias', 'weight']", "another network"),
    ),
    "not repeated": (
        fnn.serial(fnn.repeat(2, fnn.dense(4))),
        (SQUARE,),
        "layer 0, repeat(2)",
        ("leading axis", "of 2", "got", "4"),
    ),
}


@pytest.mark.parametrize(("network", "params", "path", "pieces"), ANOTHER.values(), ids=ANOTHER)
def test_the_parameters_of_another_network_are_refused(network, params, path, pieces):
    x = {"a": X, "b": X} if NAMED in network.parts else X
    for run in (network.forward, partial(network.forward_train, key=key(0))):
        with refused(*pieces, path=path):
            run(params, x)


@pytest.mark.parametrize("network", [MLP, fnn.residual(fnn.dense(4)), fnn.dense(4)], ids=lambda n: n.name)
def test_parameters_and_input_swapped_are_told_apart(network):
    with refused("params and x swapped?"):
        network.forward(X, parameters(network, X))


DESCRIPTIONS = {  # a wrong description, pieces of the message
    "nothing": (lambda: fnn.serial(), ("serial() holds no layers", "serial(fnn.dense(10))")),
    "nothing added": (lambda: fnn.residual(), ("residual() holds no layers", "residual(fnn.dense(10))")),
    "no branch": (lambda: fnn.parallel(), ("parallel() holds no layers", "parallel(fnn.dense(10))")),
    "factory not called": (lambda: fnn.serial(fnn.dense), ("dense makes a layer", "call it, as in dense(…)")),
    "combinator not called": (lambda: fnn.freeze(fnn.serial), ("serial makes a layer", "as in serial(…)")),
    "factory in a partial": (lambda: fnn.serial(partial(fnn.dense, 8)), ("dense(8) makes a layer: call it",)),
    "list": (lambda: fnn.serial([fnn.dense(8), jnp.tanh]), ("serial", "layers", "list", "one by one")),
    "tuple": (lambda: fnn.serial((fnn.dense(8), jnp.tanh)), ("a layer or a function x → y", "one by one")),
    "word": (lambda: fnn.serial("relu"), ("serial", "a layer or a function x → y", "'relu'", "jax.nn.relu")),
    "number": (lambda: fnn.residual(64), ("residual", "a layer or a function x → y", "got 64")),
    "both forms": (
        lambda: fnn.parallel(fnn.dense(8), b=fnn.dense(3)),
        ("parallel(f, g)", "parallel(a=f, b=g)", "not both", "nest one in the other"),
    ),
    "a word to wire": (
        lambda: fnn.wire("f", a=fnn.dense(3)),
        ("wire: function expected", "lambda net, x", "got 'f'"),
    ),
    "nothing to wire": (lambda: fnn.wire(None, a=fnn.dense(3)), ("wire: function expected", "got None")),
    "a layer to wire": (
        lambda: fnn.wire(fnn.dense(3), a=jnp.sin),
        ("got dense(3)", "wire(function, body=layer)"),
    ),
    "a function without net": (
        lambda: fnn.wire(lambda x: x, a=jnp.sin),
        ("wire: function expected", "<lambda>(x)"),
    ),
    "argument missing": (lambda: fnn.dense(), ("dense", "features")),
    "argument unknown": (lambda: fnn.dense(8, activation=jnp.tanh), ("dense", "features", "activation")),
}


@pytest.mark.parametrize(("build", "pieces"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_wrong_description_is_refused_with_the_fix(build, pieces):
    with refused(*pieces):
        build().init(key(0), X)


NO_KEYS = {
    "serial": (MLP, X),
    "residual": (fnn.residual(fnn.dense(4)), X),
    "parallel": (fnn.parallel(jnp.sin, fnn.dense(2)), X),
    "wire": (fnn.wire(lambda net, x: net.a(x), a=fnn.dense(2)), X),
}


@pytest.mark.parametrize(("network", "x"), NO_KEYS.values(), ids=NO_KEYS)
@pytest.mark.parametrize("wrong", [0, None])
def test_to_learn_without_a_key_is_refused(network, x, wrong):
    with refused("forward_train(params, x, key) expected jax.random.key(seed)", f"got {wrong}"):
        network.forward_train(parameters(network, x), x, wrong)


def test_key_and_input_swapped_are_told_apart_in_few_words():
    with refused(
        "init(key, x) expected jax.random.key(seed)", "an ndarray of shape", "Are key and x swapped?"
    ):
        MLP.init(np.ones((500, 4)), key(0))
    with refused("init takes arrays", "got a list", "Pass the inputs themselves"):
        MLP.init(key(0), np.ones((500, 4)).tolist())
