"""Layers: the laws of every one of them, and what makes two descriptions the same layer."""

import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import (
    CENTRE,
    block,
    described,
    every_layer,
    inputs,
    joined,
    key,
    parameters,
    quick,
    refused,
    tied,
    weighed,
)

import fnn
from fnn.network.intern import intern as same_when_equal
from fnn.network.layer import no_parameters

ZEROS = jax.nn.initializers.zeros


def twofold(x):
    return {"a": x, "b": -x}


def call_with(number, params, x):
    return number


# --- laws of every layer


@every_layer
def test_one_example_a_batch_and_vmap_give_the_same_numbers(build, shape, x64):
    with x64():
        give_the_same_numbers(build(), shape)


def give_the_same_numbers(network, shape):
    forward = quick(network.forward)
    params, x = parameters(network, wide(inputs(shape, 3))), wide(inputs(shape, 2, 3))
    batches = forward(params, x)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), x)
    alone = [forward(params, jax.tree.map(lambda leaf, i=i: leaf[i], rows)) for i in range(6)]
    forms = {
        "one batch": forward(params, rows),
        "vmap": quick(jax.vmap(network.forward, in_axes=(None, 0)))(params, x),
        "one by one": jax.tree.map(lambda *ys: np.stack(ys), *alone),
    }
    in_halves = "bf16" in str(jax.make_jaxpr(network.forward)(params, x))
    rounding = 2.0**-6 if in_halves else 1e-12
    for form, y in forms.items():
        y = jax.tree.map(lambda leaf, like: np.asarray(leaf).reshape(like.shape), y, batches)
        chex.assert_trees_all_close(y, batches, rtol=rounding, atol=rounding, custom_message=form)


@every_layer
def test_forward_is_pure_and_deterministic(build, shape):
    network, x = build(), inputs(shape, 3)
    params = parameters(network, x)
    kept = jax.tree.map(np.array, (params, x))
    first = network.forward(params, x)
    network.forward_train(params, x, key(1))
    chex.assert_trees_all_equal(network.forward(params, x), first)
    chex.assert_trees_all_equal((params, x), kept)


@every_layer
def test_forward_train_is_a_function_of_its_key_and_keeps_the_tree(build, shape):
    network, x = build(), inputs(shape, 3)
    params = parameters(network, x)
    y, moved = network.forward_train(params, x, key(1))
    chex.assert_trees_all_equal(network.forward_train(params, x, key(1)), (y, moved))
    chex.assert_trees_all_equal_shapes_and_dtypes(moved, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(y, jax.eval_shape(network.forward, params, x))


@every_layer
def test_gradients_are_a_tree_like_the_trained_part(build, shape):
    network, x = build(), inputs(shape, 3)
    params = parameters(network, x)
    learns = fnn.trained(params)
    grads = quick(jax.grad(lambda part: weighed(network.forward(fnn.merge(part, params), x))))(learns)
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, learns)
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(leaf).all() and np.any(leaf), f"no gradient at {jax.tree_util.keystr(path)}"


def wide(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, np.float64)), tree)


@every_layer
def test_the_gradient_is_the_central_difference_along_a_direction(build, shape, x64):
    network, step = build(), 1e-6
    if "bf16" in str(
        jax.make_jaxpr(network.forward)(parameters(network, inputs(shape, 3)), inputs(shape, 3))
    ):
        return  # a small step is less than bfloat16 can tell
    with x64():
        x = wide(inputs(shape, 3))
        params = parameters(network, x)
        ahead = parameters(network, x, seed=1), wide(inputs(shape, 3, seed=1))
        ahead = fnn.merge(fnn.trained(ahead[0]), jax.tree.map(jnp.zeros_like, params)), ahead[1]

        def along(h):
            at = jax.tree.map(lambda here, there: here + h * there, (params, x), ahead)
            return weighed(network.forward(*at))

        both = quick(lambda h: (along(h), jax.grad(along)(0.0)))
        (after, slope), (before, _) = both(step), both(-step)
        np.testing.assert_allclose(slope, (after - before) / (2 * step), rtol=1e-6, atol=1e-6)


@every_layer
def test_in_bfloat16_the_masters_stay_in_float32(build, shape):
    network, x = fnn.precision(build(), jnp.bfloat16), inputs(shape, 3)
    params = parameters(network, x)

    @quick
    def turn(params, x):
        y, moved = network.forward_train(params, x, key(1))
        return y, moved, jax.grad(lambda params: weighed(network.forward(params, x)))(params)

    y, moved, grads = turn(params, x)
    chex.assert_trees_all_equal_shapes_and_dtypes((moved, grads), (params, params))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} <= {jnp.dtype("float32")}
    chex.assert_trees_all_equal_shapes_and_dtypes(y, jax.eval_shape(build().forward, params, x))
    chex.assert_tree_all_finite((y, moved, grads))


@every_layer
def test_an_empty_batch_is_defined_and_a_batch_of_one_is_its_row(build, shape):
    network, one = build(), inputs(shape, 1)
    params, forward = parameters(network, one), quick(network.forward)
    y = forward(params, inputs(shape, 0))
    expected = jax.eval_shape(network.forward, params, inputs(shape, 3))
    for leaf, like in zip(jax.tree.leaves(y), jax.tree.leaves(expected), strict=True):
        assert leaf.shape == (0, *like.shape[1:]) and leaf.dtype == like.dtype
    row = forward(params, jax.tree.map(lambda leaf: np.asarray(leaf)[0], one))
    y = jax.tree.map(lambda leaf: np.asarray(leaf)[0], forward(params, one))
    chex.assert_trees_all_close(y, row, rtol=2.0**-6, atol=2.0**-6)
    y, _ = quick(network.forward_train)(params, one, key(1))  # statistics of one row, too
    chex.assert_tree_all_finite(y)


@every_layer
def test_init_uses_only_the_shape_and_dtype_of_x(build, shape):
    network, x = build(), inputs(shape, 3)

    def program(x):
        return str(jax.make_jaxpr(lambda key: network.init(key, x))(key(0)))

    for other in (described(x), inputs(shape, 3, seed=1), jax.tree.map(np.asarray, x)):
        assert program(other) == program(x)
    params = network.init(key(0), x)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))
    for other in (described(x), x, inputs(shape), inputs(shape, 2, 5)):
        found = jax.eval_shape(network.init, key(0), other)
        chex.assert_trees_all_equal_shapes_and_dtypes(found, params)


@every_layer
def test_every_function_works_under_jit_vmap_and_grad_and_leaks_nothing(build, shape):
    network, x = build(), inputs(shape, 3)
    init = jax.vmap(network.init, in_axes=(0, None))

    def pair():
        return jax.random.split(key(1), 2)

    def turn(params, key):
        out, back = jax.vjp(lambda params, x: network.forward_train(params, x, key), params, x)
        return network.forward(params, x), out, back(out)

    with jax.checking_leaks():
        stacked = jax.eval_shape(jax.jit(init), pair(), x)
        jax.make_jaxpr(jax.jit(jax.vmap(turn)))(stacked, pair())
    params = parameters(network, x)
    for many, one in zip(jax.tree.leaves(stacked), jax.tree.leaves(params), strict=True):
        assert (many.shape, many.dtype) == ((2, *one.shape), one.dtype)
    y, (y_train, moved), slopes = quick(jax.vmap(turn, in_axes=(None, 0)))(params, pair())
    expected = network.forward(params, x), *network.forward_train(params, x, pair()[1])
    found = jax.tree.map(lambda leaf: np.asarray(leaf)[1], (y, y_train, moved))
    chex.assert_trees_all_close(found, expected, rtol=2.0**-6, atol=2.0**-6)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


@every_layer
def test_the_same_description_is_the_same_layer_and_compiles_once(build, shape):
    traces = []

    def forward(network, params, x):
        traces.append(network)
        return network.forward(params, x)

    x, compiled = inputs(shape, 3), quick(forward, static_argnums=0)
    for seed in (0, 1):
        compiled(build(), parameters(build(), x, seed), x)
    assert build() is build() and len(traces) == 1


# --- equal and other descriptions


def scaled(x, by, plus):
    return by * x + plus


SAME = {
    "argument by name": (lambda: fnn.dense(64), lambda: fnn.dense(features=64)),
    "default written out": (lambda: fnn.dense(8), lambda: fnn.dense(8, bias_init=ZEROS)),
    "initializer by name": (lambda: fnn.dense(8, ZEROS), lambda: fnn.dense(8, weight_init=ZEROS)),
    "number of NumPy": (lambda: fnn.dense(8), lambda: fnn.dense(np.int64(8))),
    "dropout": (lambda: fnn.dropout(0.5), lambda: fnn.dropout(rate=0.5)),
    "flatten": (lambda: fnn.flatten(2), lambda: fnn.flatten(axes=2)),
    "repeat": (lambda: fnn.repeat(2, fnn.dense(4)), lambda: fnn.repeat(part=fnn.dense(4), times=2)),
    "precision": (
        lambda: fnn.precision(fnn.dense(4), jnp.bfloat16),
        lambda: fnn.precision(dtype=jnp.bfloat16, part=fnn.dense(4)),
    ),
    "partial rebuilt": (
        lambda: fnn.serial(partial(jax.nn.leaky_relu, negative_slope=0.1)),
        lambda: fnn.serial(partial(jax.nn.leaky_relu, negative_slope=0.1)),
    ),
    "partial's options in any order": (
        lambda: fnn.serial(partial(scaled, by=2, plus=1)),
        lambda: fnn.serial(partial(scaled, plus=1, by=2)),
    ),
    "parallel in any order": (
        lambda: fnn.parallel(a=fnn.dense(2), b=jnp.tanh),
        lambda: fnn.parallel(b=jnp.tanh, a=fnn.dense(2)),
    ),
    "wire in any order": (
        lambda: fnn.wire(tied, embed=fnn.dense(3), body=fnn.dense(3)),
        lambda: fnn.wire(tied, body=fnn.dense(3), embed=fnn.dense(3)),
    ),
}
OTHER = {
    "number": (lambda: fnn.dense(8), lambda: fnn.dense(9)),
    "rate": (lambda: fnn.dropout(0.5), lambda: fnn.dropout(0.25)),
    "order": (lambda: fnn.serial(jnp.tanh, jnp.sin), lambda: fnn.serial(jnp.sin, jnp.tanh)),
    "combinator": (lambda: fnn.serial(jnp.tanh), lambda: fnn.residual(jnp.tanh)),
    "names": (lambda: fnn.parallel(a=jnp.tanh, b=jnp.sin), lambda: fnn.parallel(a=jnp.sin, b=jnp.tanh)),
    "precision": (
        lambda: fnn.precision(jnp.tanh, jnp.float16),
        lambda: fnn.precision(jnp.tanh, jnp.bfloat16),
    ),
    "option of a partial": (
        lambda: fnn.serial(partial(scaled, by=2, plus=1)),
        lambda: fnn.serial(partial(scaled, by=2, plus=3)),
    ),
    "initializer made anew": (
        lambda: fnn.dense(8, jax.nn.initializers.he_normal()),
        lambda: fnn.dense(8, jax.nn.initializers.he_normal()),
    ),
    "lambda": (lambda: fnn.serial(lambda x: x), lambda: fnn.serial(lambda x: x)),
    "lambda of wire": (
        lambda: fnn.wire(lambda net, x: net.f(x), f=jnp.tanh),
        lambda: fnn.wire(lambda net, x: net.f(x), f=jnp.tanh),
    ),
}


@pytest.mark.parametrize(("one", "two"), SAME.values(), ids=SAME)
def test_equal_descriptions_are_the_same_layer(one, two):
    assert one() is two()


@pytest.mark.parametrize(("one", "two"), OTHER.values(), ids=OTHER)
def test_another_description_is_another_layer(one, two):
    assert one() is not two() and one() != two()


def test_initialisation_compiles_once_for_equal_descriptions_and_shapes():
    traced = []

    def counted(key, shape):
        traced.append(shape)
        return jnp.zeros(shape)

    def build():
        return fnn.serial(fnn.dense(7, bias_init=counted), jnp.tanh)

    x = inputs((4,), 3)
    for seed, given in enumerate((x, 2 * x, described(x))):
        build().init(key(seed), given)
    assert traced == [(7,)]
    build().init(key(3), inputs((5,), 3))
    assert traced == [(7,), (7,)]


NAMING = {"parallel": fnn.parallel, "wire": partial(fnn.wire, lambda net, x: (net.a(x), net.b(x)))}


@pytest.mark.parametrize("combine", NAMING.values(), ids=NAMING)
def test_names_in_another_order_start_from_the_same_parameters(combine):
    """Else what a process built first would decide; the lambdas make both descriptions new."""

    def build(*names):
        drawn = fnn.layer(lambda key, x: {"scale": jax.random.uniform(key)}, lambda p, x: x, name="drawn")
        return combine(**dict.fromkeys(names, drawn))

    x = {"a": jnp.ones(3), "b": jnp.ones(3)}
    chex.assert_trees_all_equal(build("a", "b").init(key(0), x), build("b", "a").init(key(0), x))


def test_threads_that_build_the_same_description_get_one_layer():
    together = threading.Barrier(8)

    @same_when_equal
    def slow(number):
        time.sleep(0.02)  # long enough for all of them to be inside
        return fnn.layer(no_parameters, lambda params, x: x, name="slow")

    def build(_):
        together.wait()
        return slow(3)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(build, range(8))))) == 1


UNHASHABLE = {
    "positional": (lambda: fnn.dense([8]), "dense: features", "list"),
    "by name": (lambda: fnn.dense(8, bias_init=np.ones(8)), "dense: bias_init", "ndarray"),
    "array": (lambda: fnn.dropout(jnp.array(0.5)), "dropout: rate", "ArrayImpl"),
    "one of many": (lambda: fnn.residual(jnp.tanh, {"a"}), "residual: layers[1]", "set"),
    "branch": (lambda: fnn.parallel(a=jnp.tanh, b=[jnp.tanh]), "parallel: by_key, b", "list"),
    "part": (lambda: fnn.wire(tied, embed=[3]), "wire: parts, embed", "list"),
    "partial": (lambda: fnn.serial(partial(jnp.add, np.ones(2))), "serial: layers[0]", "ndarray"),
    "option": (lambda: fnn.freeze(partial(scaled, by=[2])), "freeze: part, by", "list"),
}


@pytest.mark.parametrize(("build", "where", "got"), UNHASHABLE.values(), ids=UNHASHABLE)
def test_an_argument_without_identity_is_named(build, where, got):
    with refused(where, f"is a {got}", "use numbers, tuples, functions", "arrays belong in the parameters"):
        build()


# --- making a layer


def test_a_layer_without_forward_train_learns_as_it_works():
    stretch = fnn.layer(
        lambda key, x: {"scale": jnp.full(x.shape[-1], 2.0)}, lambda p, x: p["scale"] * x, name="stretch"
    )
    params = stretch.init(key(0), jax.ShapeDtypeStruct((3,), "float32"))
    y, same = stretch.forward_train(params, jnp.arange(3.0), key(1))
    np.testing.assert_array_equal(y, [0.0, 2.0, 4.0])
    assert same is params and stretch.name == "stretch" and stretch.parts == ()


def test_a_plain_function_is_a_layer_without_parameters():
    network = fnn.serial(jax.nn.relu, partial(jax.nn.leaky_relu, negative_slope=0.1), lambda x: x)
    x = jnp.array([-1.0, 2.0])
    assert network.init(key(0), x) == ((), (), ())
    assert [part.name for part in network.parts] == ["relu", "leaky_relu(negative_slope=0.1)", "<lambda>"]
    np.testing.assert_array_equal(network.forward(((), (), ()), x), [0.0, 2.0])


def test_a_layer_is_a_named_tuple_of_functions_and_of_the_layers_inside():
    assert fnn.Layer._fields == (
        "init",
        "forward",
        "forward_train",
        "name",
        "parts",
        "inside",
        "backward",
        "stream",
    )
    assert fnn.serial(CENTRE, joined).parts[0] is CENTRE
    assert [part.name for part in block().parts] == ["dense(4)", "tanh", "dropout(0.5)", "centre"]


NO_INPUTS = [(32, 64), [[1.0, 2.0]], {}, 3, None, {"a": jnp.ones(2), "b": 3}]


@pytest.mark.parametrize("x", NO_INPUTS, ids=map(str, range(len(NO_INPUTS))))
def test_init_takes_arrays_or_shapes(x):
    with refused("init takes arrays, or jax.ShapeDtypeStruct", f"got {x!r}", "Pass the inputs themselves"):
        fnn.serial(fnn.dense(2)).init(key(0), x)


def test_a_layer_error_is_a_value_error_that_can_be_passed_between_processes():
    error = fnn.LayerError(("layer 1, residual", "layer 0, dense(8)"), "expected 4 features")
    assert isinstance(error, ValueError)
    assert str(error) == "layer 1, residual › layer 0, dense(8): expected 4 features"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, again.reason) == (str(error), error.path, error.reason)


NO_FUNCTIONS = {
    "init": (None, joined),
    "forward": (no_parameters, None),
    "forward_train": (no_parameters, joined, 3),
}


@pytest.mark.parametrize(("name", "functions"), NO_FUNCTIONS.items(), ids=NO_FUNCTIONS)
def test_a_layer_of_what_is_no_function_is_refused_where_it_is_written(name, functions):
    with refused(f"layer: {name} expected a function", "got"):
        fnn.layer(*functions, name="mine")


OTHERS = {  # two trees, where they differ
    "fewer layers": (({"w": 1.0}, {"w": 2.0}), ({"w": 1.0},), "only the trained part has [1]['w']"),
    "more names": ({"a": 1.0}, {"a": 1.0, "b": 2.0}, "only params has ['b']"),
    "other names, deep": (
        ({"w": None}, {"b": 1.0}),
        ({"w": 1.0}, {"c": 3.0}),
        "only the trained part has [1]['b']",
    ),
    "a number": ({"a": 1.0}, 3.0, "only the trained part has ['a']"),
    "a list": ((1.0, 2.0), [1.0, 2.0], "one is a tuple, the other a list"),
}


@pytest.mark.parametrize(("some", "other", "where"), OTHERS.values(), ids=OTHERS)
def test_parts_of_different_trees_are_not_merged(some, other, where):
    with refused("merge expected two parts of one tree", where, "merge(fnn.trained(params), params)"):
        fnn.merge(some, other)


# --- an error inside a layer keeps its type and its words


def failing(error):
    def forward(params, x):
        raise error

    return fnn.serial(fnn.layer(no_parameters, forward, name="mine"))


ERRORS = {
    "KeyError": (KeyError("weight"), "layer 0, mine: KeyError: 'weight'"),
    "TypeError": (TypeError("no sum of these"), "layer 0, mine: TypeError: no sum of these"),
    "IndexError": (IndexError("3 of 2"), "layer 0, mine: IndexError: 3 of 2"),
    "ValueError": (ValueError("too wide"), "layer 0, mine: too wide"),
}


@pytest.mark.parametrize(("error", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_inside_a_users_layer_names_its_type_and_keeps_it_as_the_cause(error, message):
    with pytest.raises(fnn.LayerError) as caught:
        failing(error).forward(((),), jnp.ones(2))
    assert str(caught.value) == message and caught.value.__cause__ is error


# --- pickled


def halved(x):
    return x / 2


PICKLED = {
    "serial": fnn.serial(fnn.dense(3), jax.nn.relu, fnn.dropout(0.1), fnn.dense(2), halved, jnp.tanh),
    "options": fnn.serial(
        partial(jax.nn.leaky_relu, negative_slope=0.3), fnn.flatten(1), fnn.dense(2, ZEROS)
    ),
    "residual": fnn.residual(fnn.dense(4), jax.nn.softmax),
    "parallel": fnn.parallel(fnn.dense(2), fnn.serial(jnp.sin)),
    "parallel by key": fnn.serial(twofold, fnn.parallel(a=fnn.dense(2), b=jax.nn.silu)),
    "repeat": fnn.repeat(2, fnn.serial(fnn.dense(4), jax.nn.elu)),
    "freeze": fnn.freeze(fnn.dense(4)),
    "precision": fnn.precision(fnn.dense(4), jnp.bfloat16),
    "wire": fnn.wire(tied, embed=fnn.dense(3), body=fnn.dense(3)),
    "a user's layer": fnn.serial(CENTRE, fnn.dense(3)),
}


@pytest.mark.parametrize("network", PICKLED.values(), ids=PICKLED)
def test_a_network_is_pickled_and_does_the_same(network):
    x, data = inputs((4,), 3), pickle.dumps(network)
    again = pickle.loads(data)
    params = again.init(key(0), x)
    chex.assert_trees_all_equal(params, network.init(key(0), x))
    chex.assert_trees_all_equal(again.forward(params, x), network.forward(params, x))
    trained = network.forward_train(params, x, key(1))
    chex.assert_trees_all_equal(again.forward_train(params, x, key(1)), trained)
    assert again.name == network.name and [p.name for p in again.parts] == [p.name for p in network.parts]
    assert pickle.loads(data) is again  # and so it compiles once


def test_numbers_that_are_equal_and_of_other_types_are_not_mixed_up_when_read():
    one, other = (fnn.layer(no_parameters, partial(call_with, n), name="mine") for n in (1, 1.0))
    read = [pickle.loads(pickle.dumps(layer)) for layer in (one, other)]
    assert [type(layer.forward((), jnp.ones(2))) for layer in read] == [int, float]


def test_a_layer_with_an_array_bound_to_it_is_pickled_too():
    layer = fnn.layer(no_parameters, partial(call_with, np.arange(3)), name="mine")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer)).forward((), 0), [0, 1, 2])


def test_only_so_many_descriptions_are_kept(monkeypatch):
    monkeypatch.setattr(sys.modules["fnn.network.intern"], "KEPT", 3)

    @same_when_equal
    def numbered(number):
        return fnn.layer(no_parameters, partial(call_with, number), name="numbered")

    first, *_, last = [numbered(n) for n in range(5)]
    assert numbered(4) is last and numbered(0) is not first
