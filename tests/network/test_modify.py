"""One layer, changed: repeated in depth, held still, computed in another precision."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CENTRE, block, inputs, key, parameters, quick, refused, weighed

import fnn

X = inputs((4,), 5)
BF16 = jnp.bfloat16


# --- repeat: the same layer n times in a row

REPEATED = {
    "plain function": jnp.tanh,
    "dense, dropout and statistics": block(),
    "with a frozen part": fnn.serial(fnn.freeze(fnn.dense(4)), fnn.residual(fnn.dense(4), jnp.tanh)),
    "repeat": fnn.repeat(2, fnn.serial(CENTRE, fnn.dropout(0.2))),
}


@pytest.mark.parametrize("part", REPEATED.values(), ids=REPEATED)
def test_repeat_equals_as_many_layers_in_series_random_numbers_included(part, x64):
    depth, series = fnn.repeat(3, part), fnn.serial(part, part, part)
    equal = functools.partial(chex.assert_trees_all_close, rtol=1e-12, atol=1e-12)

    def stacked(each):
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    with x64():  # the last bit is the compiler's and the processor's
        x = X.astype("float64")
        params, each = (quick(network.init)(key(0), x) for network in (depth, series))
        equal(params, stacked(each))
        equal(quick(depth.forward)(params, x), quick(series.forward)(each, x))
        y, moved = quick(depth.forward_train)(params, x, key(1))
        expected, moved_each = quick(series.forward_train)(each, x, key(1))
        equal((y, moved), (expected, stacked(moved_each)))


def test_repeat_compiles_its_layer_once_at_any_depth():
    def steps(times):
        traced = []
        network = fnn.repeat(times, fnn.serial(fnn.dense(4), lambda x: traced.append(x) or jnp.tanh(x)))
        params = jax.eval_shape(network.init, key(0), X)
        program = jax.make_jaxpr(jax.value_and_grad(lambda p: network.forward(p, X).sum()))(params)
        return len(traced), len(str(program).splitlines())

    assert steps(2) == steps(24)


def test_repeat_computes_in_the_type_that_series_computes_in():
    halves = fnn.repeat(2, lambda x: x / 2)
    np.testing.assert_array_equal(halves.forward((), jnp.array([3])), [0.75])


@pytest.mark.parametrize("times", [0, -1, 2.0, True, "2", None], ids=repr)
def test_repeat_refuses_what_is_no_number_of_times(times):
    with refused("repeat: times expected a whole number, at least 1", f"got {times!r}"):
        fnn.repeat(times, fnn.dense(4))


def test_repeat_refuses_its_arguments_in_the_other_order():
    with refused("repeat: times expected a whole number", "got", "dense(4)"):
        fnn.repeat(fnn.dense(4), 3)


# --- freeze: never trained, always as when trained

FROZEN = fnn.serial(fnn.dense(4), fnn.freeze(block()), fnn.dense(2))


def test_a_frozen_layer_has_no_trained_parameters_and_zero_gradients():
    params = parameters(FROZEN, X)
    assert jax.tree.leaves(fnn.trained(params)[1]) == []
    assert [np.shape(leaf) for leaf in jax.tree.leaves(params[1]["frozen"])] != []
    for run in (FROZEN.forward, lambda p, x: FROZEN.forward_train(p, x, key(1))[0]):
        grads = quick(jax.grad(lambda p: weighed(run(p, X))))(params)
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads[1]))
        assert all(np.any(leaf) for leaf in jax.tree.leaves((grads[0], grads[2])))


def test_the_gradient_passes_through_a_frozen_layer_to_the_layers_before():
    params = parameters(FROZEN, X)
    open_network = fnn.serial(fnn.dense(4), block(), fnn.dense(2))
    opened = params[0], params[1]["frozen"], params[2]
    grads = quick(jax.grad(lambda p: weighed(FROZEN.forward(p, X))))(params)
    expected = quick(jax.grad(lambda p: weighed(open_network.forward(p, X))))(opened)
    chex.assert_trees_all_close((grads[0], grads[2]), (expected[0], expected[2]), rtol=1e-6)


def test_a_frozen_layer_does_while_learning_what_it_does_afterwards():
    network, params = fnn.freeze(block()), parameters(fnn.freeze(block()), X)
    y, moved = network.forward_train(params, X, key(1))
    np.testing.assert_array_equal(y, network.forward(params, X))
    chex.assert_trees_all_equal(moved, params)


def test_frozen_parameters_stay_as_they_are_while_the_rest_learns():
    params = start = parameters(FROZEN, X)

    @quick
    def step(params, key):
        def cost(part):
            y, moved = FROZEN.forward_train(fnn.merge(part, params), X, key)
            return weighed(y), moved

        part = fnn.trained(params)
        grads, moved = jax.grad(cost, has_aux=True)(part)
        return fnn.merge(jax.tree.map(lambda p, g: 0.9 * p - 0.1 * g, part, grads), moved)

    for seed in range(3):
        params = step(params, key(seed))
    chex.assert_trees_all_equal(params[1], start[1])
    for now, before in zip(jax.tree.leaves(params[::2]), jax.tree.leaves(start[::2]), strict=True):
        assert np.all(now != before)


# --- precision: computed in another type, kept in full


def rounded(tree):
    return jax.tree.map(lambda leaf: leaf.astype(BF16), tree)


def test_precision_computes_in_its_type_and_gives_back_the_usual_one():
    part, half = fnn.dense(3), fnn.precision(fnn.dense(3), BF16)
    params = parameters(half, X)
    expected = part.forward(rounded(params), rounded(X)).astype(jnp.float32)
    for y in (half.forward(params, X), half.forward_train(params, X, key(1))[0]):
        np.testing.assert_array_equal(y, expected)
        assert y.dtype == jnp.float32 and np.all(y != part.forward(params, X))


def test_precision_reaches_no_further_than_its_layer():
    def third(x):
        return x + 1e-3  # bfloat16 cannot hold 1.001

    network = fnn.serial(third, fnn.precision(third, BF16), third)
    np.testing.assert_allclose(network.forward(((), (), ()), jnp.ones(1)), [1.001], rtol=1e-6)
    assert fnn.precision(third, BF16).forward((), jnp.ones(1)) == 1.0
    assert fnn.precision(third, jnp.float32).forward((), jnp.ones(1)) == np.float32(1.001)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_precision_gives_the_type_that_the_layer_would_have_given(dtype):
    x = X.astype(dtype)
    for part in (jnp.tanh, lambda x: {"most": x.argmax(-1), "sum": x.sum(-1)}, fnn.dense(3)):
        layer, usual = fnn.precision(part, BF16), fnn.serial(part)
        params, plain = parameters(layer, x), parameters(usual, x)
        found, expected = jax.eval_shape(layer.forward, params, x), jax.eval_shape(usual.forward, plain, x)
        chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)


def counted_init(key, x):
    return {"scale": jnp.ones(4), "statistics": {"calls": jnp.zeros((), jnp.int32), "mean": jnp.ones(4)}}


def counted_forward_train(params, x, key):
    calls, mean = params["statistics"]["calls"] + 1, params["statistics"]["mean"]
    moved = {"calls": calls, "mean": 0.99 * mean + 0.01 * x.mean(0)}
    return params["scale"] * x, {**params, "statistics": moved}


COUNTED = fnn.layer(
    counted_init, lambda params, x: params["scale"] * x, counted_forward_train, name="counted"
)


def test_parameters_gradients_and_statistics_keep_their_type_under_precision():
    network = fnn.precision(fnn.serial(fnn.dense(4), COUNTED), BF16)
    params = parameters(network, X)
    y, moved = network.forward_train(params, X, key(1))
    grads = jax.grad(lambda p: weighed(network.forward(p, X)), allow_int=True)(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(moved, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(fnn.trained(grads), fnn.trained(params))
    assert y.dtype == jnp.float32
    assert moved[1]["statistics"]["calls"] == params[1]["statistics"]["calls"] + 1


def test_statistics_move_under_precision_by_less_than_its_type_can_tell():
    network, x = fnn.precision(COUNTED, BF16), jnp.full((5, 4), 1.25)  # 1.25 is a bfloat16, 1.0025 is not
    params = network.init(key(0), x)
    for seed in range(40):
        _, params = network.forward_train(params, x, key(seed))
    np.testing.assert_allclose(params["statistics"]["mean"], 1.25 - 0.25 * 0.99**40, rtol=1e-3)


def test_precision_leaves_whole_numbers_whole():
    following = fnn.precision(lambda ids: ids + 1, BF16)
    np.testing.assert_array_equal(following.forward((), jnp.array([257])), [258])  # 257 is no bfloat16


PUT = {"alone": lambda part: part, "in serial": fnn.serial, "in repeat": lambda part: fnn.repeat(1, part)}


@pytest.mark.parametrize("put", PUT.values(), ids=PUT)
def test_frozen_parameters_are_not_rounded_by_precision(put):
    network = fnn.precision(put(fnn.freeze(fnn.dense(4))), BF16)
    params = parameters(network, X)
    chex.assert_trees_all_equal(network.forward_train(params, X, key(1))[1], params)


NO_PRECISION = [jnp.int32, "int8", bool, jnp.complex64, "half precision", None]


@pytest.mark.parametrize("dtype", NO_PRECISION, ids=str)
def test_precision_refuses_what_is_no_floating_point_type(dtype):
    with refused("precision expected a floating-point type such as jnp.bfloat16", f"got {dtype!r}"):
        fnn.precision(fnn.dense(4), dtype)


def test_precision_refuses_its_arguments_in_the_other_order():
    with refused("precision expected a floating-point type such as jnp.bfloat16", "got"):
        fnn.precision(BF16, fnn.dense(4))
