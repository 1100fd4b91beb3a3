"""Checking a gradient against the slope of the cost: right ones pass, wrong ones are found and named."""

import functools
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CENTRE, parameters, refused

import fnn

dense = fnn.dense
TIGHT, COARSE = 1e-7, 2e-2  # float64, float32
NETWORK = fnn.serial(dense(5), jnp.tanh, fnn.residual(dense(5), jnp.tanh), dense(3))
COSTS = {
    "mse": (fnn.mse, False),
    "rmse": (fnn.rmse, False),
    "huber": (fnn.huber, False),
    "binary_cross_entropy": (fnn.binary_cross_entropy, False),
    "softmax_cross_entropy": (fnn.softmax_cross_entropy, True),
}


def normal(*shape, seed=0):
    """Normal numbers in the widest float that is on."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.result_type(float))


def prepared(network=NETWORK, seed=0):
    """Parameters, inputs and quantities as targets."""
    x = normal(6, 4, seed=seed)
    params = parameters(network, x, seed)
    return params, x, normal(*jax.eval_shape(network.forward, params, x).shape, seed=seed + 1)


def in_both_precisions(x64, run):
    """The largest error in float32, then in float64."""
    assert run().error < COARSE
    with x64():
        assert run().error < TIGHT


# A derivative that is wrong by ten per cent


@jax.custom_jvp
def warped(x):
    return x


warped.defjvp(lambda x, dx: (x[0], 1.1 * dx[0]))


@jax.custom_jvp
def wrong_tanh(x):
    return jnp.tanh(x)


wrong_tanh.defjvp(lambda x, dx: (jnp.tanh(x[0]), 1.1 * (1 - jnp.tanh(x[0]) ** 2) * dx[0]))


# --- right gradients


@pytest.mark.parametrize(("cost", "ids"), COSTS.values(), ids=COSTS)
def test_the_gradients_of_tanh_networks_are_right(x64, cost, ids):
    def run():
        params, x, y = prepared()
        y = jnp.argmax(y, -1) if ids else jax.nn.sigmoid(y)
        return fnn.check_gradients(fnn.loss(NETWORK, cost), params, x, y)

    in_both_precisions(x64, run)


@pytest.mark.parametrize("seed", range(3))
def test_other_numbers_change_nothing(x64, seed):
    in_both_precisions(x64, lambda: fnn.check_gradients(fnn.loss(NETWORK, fnn.mse), *prepared(seed=seed)))


def test_what_is_given_after_the_parameters_goes_to_the_loss(x64):
    def run():
        loss = fnn.loss(NETWORK, fnn.mse, penalty=lambda learns: 0.1 * jnp.sum(learns[0]["weight"] ** 2))
        return fnn.check_gradients(loss, *prepared(), jnp.array([1.0, 0, 2, 0, 3, 1]))

    in_both_precisions(x64, run)


def test_it_says_the_two_derivatives_of_the_worst_entry(x64):
    with x64():
        check = fnn.check_gradients(lambda params: params["a"] ** 3, {"a": jnp.array(2.0)})
        wrong = fnn.check_gradients(lambda params: warped(params["a"]) ** 3, {"a": jnp.array(2.0)})
    assert isinstance(check, fnn.GradientCheck) and check.place == wrong.place == "['a']"
    assert check.automatic == 12 and abs(check.numeric - 12) < 1e-8 and check.error < 1e-9
    np.testing.assert_allclose(
        [wrong.error, wrong.automatic, wrong.numeric], [1.2 / 13.2, 13.2, 12], rtol=1e-8
    )


def test_the_error_is_relative_to_the_largest_derivative_of_the_array():
    def loss(params):
        return jnp.sum(params["small"] ** 2) + 1e3 * jnp.sum(params["large"] ** 2)

    params = {"small": jnp.array([1.0, 1e-6]), "large": jnp.array([1.0, -1e-6])}
    assert fnn.check_gradients(loss, params).error < COARSE
    check = fnn.check_gradients(lambda p: loss({**p, "small": warped(p["small"])}), params)
    assert check.place == "['small'][0]" and 0.05 < check.error < 0.15


def test_the_step_grows_with_the_parameter():
    for size in (1.0, 1e2, 1e4):
        assert (
            fnn.check_gradients(lambda p: jnp.sum((p / size) ** 3), size * jnp.array([1.0, 2.0])).error
            < COARSE
        )


def test_parameters_that_the_cost_does_not_depend_on_have_no_error(x64):
    in_both_precisions(
        x64, lambda: fnn.check_gradients(lambda p: p["a"] ** 2, {"a": jnp.ones(()), "b": jnp.ones(3)})
    )


def test_parameters_that_cancel_have_no_error(x64):
    """A bias before a layer that takes the mean off: its derivative is rounding, on both sides."""
    network = fnn.serial(dense(5), lambda z: z - z.mean(0), jnp.tanh, dense(3))
    in_both_precisions(x64, lambda: fnn.check_gradients(fnn.loss(network, fnn.mse), *prepared(network)))


def test_the_bottom_of_a_smooth_cost_is_no_kink(x64):
    """Where the slope is 0 it changes its sign, however small the step."""

    def at_a_minimum():
        x = normal(6, 4)
        y = normal(6, 3, seed=1)
        params = {"weight": jnp.zeros((4, 3)), "bias": y.mean(0)}  # the best bias for zero weights
        return fnn.check_gradients(fnn.loss(dense(3), fnn.mse), params, x, y)

    in_both_precisions(x64, lambda: fnn.check_gradients(lambda p: jnp.sum(p**2), jnp.zeros(2)))
    in_both_precisions(x64, at_a_minimum)


# --- wrong gradients are found, and named


@pytest.mark.parametrize("place", ["[0]['weight']", "[0]['bias']", "[2][0]['weight']", "[2][0]['bias']", "[3]['weight']", "[3]['bias']"])  # fmt: skip
def test_a_wrong_derivative_is_found_in_whichever_array_it_is(x64, place):
    def warp(path, leaf):
        return warped(leaf) if jax.tree_util.keystr(path) == place else leaf

    def run():
        loss = fnn.loss(NETWORK, fnn.mse)
        params, x, y = prepared()
        return fnn.check_gradients(
            lambda p, x, y: loss(jax.tree_util.tree_map_with_path(warp, p), x, y), params, x, y
        )

    checks = [run()]
    with x64():
        checks.append(run())
    for check in checks:
        assert check.place.startswith(place + "[") and 0.05 < check.error < 0.15
        assert 1.05 < check.automatic / check.numeric < 1.15


def test_a_wrong_derivative_of_an_activation_is_found_before_it_and_not_after_it(x64):
    network = fnn.serial(dense(5), wrong_tanh, dense(3))
    with x64():
        params, x, y = prepared(network)
        check = fnn.check_gradients(fnn.loss(network, fnn.mse), params, x, y)
        assert check.place.startswith("[0]") and 0.05 < check.error < 0.15
        last = lambda p, *data: fnn.loss(network, fnn.mse)((params[0], (), p), *data)
        assert fnn.check_gradients(last, params[2], x, y).error < TIGHT


@pytest.mark.parametrize("index", [(0, 0), (1, 2), (2, 1), (2, 2)])
def test_a_single_wrong_entry_is_named(x64, index):
    def loss(p):
        entry = p["weight"][index]
        return jnp.sum(jnp.sin(p["weight"].at[index].set(warped(entry))))

    with x64():
        check = fnn.check_gradients(loss, {"weight": 0.1 * jnp.arange(9.0).reshape(3, 3)})
    assert check.place == f"['weight']{list(index)}" and 0.05 < check.error < 0.15


def test_the_first_and_the_last_entry_of_a_large_array_are_always_compared(x64):
    with x64():
        for index, place in ((0, "[0]"), (-1, "[999]")):
            loss = lambda p: jnp.sum(p.at[index].set(warped(p[index])) ** 2)
            assert fnn.check_gradients(loss, jnp.ones(1000), entries=2).place == place
            assert fnn.check_gradients(loss, jnp.ones(1000)).place == place


def test_more_entries_find_what_few_pass_over(x64):
    with x64():
        loss = lambda p: jnp.sum(p.at[37].set(warped(p[37])) ** 2)
        assert fnn.check_gradients(loss, jnp.ones(100), entries=10).error < TIGHT
        assert fnn.check_gradients(loss, jnp.ones(100), entries=100).place == "[37]"


def test_a_wrong_sign_and_a_lost_gradient_are_found(x64):
    with x64():
        lost = fnn.check_gradients(
            lambda p: jnp.sum(jax.lax.stop_gradient(p["a"]) ** 2) + p["b"], {"a": jnp.ones(2), "b": 1.0}
        )
        assert lost.place.startswith("['a']") and lost.automatic == 0 and abs(lost.error - 1) < TIGHT
        turned = lambda p: 2 * jax.lax.stop_gradient(jnp.sum(p**2)) - jnp.sum(p**2)
        assert abs(fnn.check_gradients(turned, jnp.ones(2)).error - 2) < TIGHT


NOT_A_NUMBER = {
    "the gradient is NaN, the cost is not": (lambda p: jnp.sum(jnp.where(p["a"] > 1, jnp.sqrt(p["a"] - 1), p["a"])), 0.5),
    "the gradient is infinite": (lambda p: jnp.sum(jnp.sqrt(jnp.abs(p["a"]) + 0.0)), 0.0),
    "the cost is NaN": (lambda p: jnp.sum(jnp.log(p["a"])), -1.0),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "value"), NOT_A_NUMBER.values(), ids=NOT_A_NUMBER)
def test_a_gradient_that_is_no_number_is_never_called_right(loss, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it may be reported as a kink
        check = fnn.check_gradients(loss, {"a": jnp.full(2, value), "b": jnp.ones(2)})
    assert not check.error < COARSE and check.place.startswith("['a']")


# --- a layer's own backward


def scale_init(key, x):
    return {"scale": jnp.ones(x.shape[-1], x.dtype)}


def scale_forward(params, x):
    return params["scale"] * x


def scale_backward(params, x, y, delta, grads_by=1.0, delta_by=1.0):
    return {"scale": grads_by * (delta * x).sum(0)}, delta_by * delta * params["scale"]


def scale(**wrong):
    backward = functools.partial(scale_backward, **wrong)
    return fnn.layer(scale_init, scale_forward, name="scale", backward=backward)


OWN = {  # a layer, the shape of its input
    "dense": (dense(3), (6, 4)),
    "dense, one example": (dense(3), (4,)),
    "a user's": (scale(), (6, 4)),
    "softmax": (fnn.serial(jax.nn.softmax), (6, 4)),
    "serial": (fnn.serial(dense(5), jnp.tanh, scale(), dense(3)), (6, 4)),
    "residual": (fnn.residual(dense(4), jnp.tanh, scale()), (6, 4)),
    "parallel": (fnn.parallel(dense(2), scale(), jnp.tanh), (6, 4)),
    "parallel by key": (fnn.parallel(a=dense(2), b=scale()), {"a": (6, 4), "b": (6, 3)}),
    "by jax.vjp": (fnn.serial(CENTRE, fnn.freeze(dense(2)), jnp.sin), (6, 4)),
}


@pytest.mark.parametrize(("layer", "shape"), OWN.values(), ids=OWN)
def test_a_right_backward_is_found_right(x64, layer, shape):
    def run():
        x = jax.tree.map(lambda own: normal(*own), shape, is_leaf=lambda own: isinstance(own, tuple))
        return fnn.check_gradients(layer, parameters(layer, x), x)

    in_both_precisions(x64, run)


WRONG = {"grads_by": "params['scale']", "delta_by": "x"}


@pytest.mark.parametrize(("wrong", "place"), WRONG.items(), ids=WRONG)
def test_a_wrong_backward_is_found_and_its_place_is_named(x64, wrong, place):
    with x64():
        x = normal(6, 4)
        layer = scale(**{wrong: 1.1})
        check = fnn.check_gradients(layer, parameters(layer, x), x)
        assert check.place.startswith(place + "[") and 0.05 < check.error < 0.15
        assert abs(check.automatic / check.numeric - 1.1) < TIGHT
        inner = fnn.serial(dense(4), layer)
        check = fnn.check_gradients(inner, parameters(inner, x), x)
        assert check.place.startswith("params[1]['scale'][" if place != "x" else ("params[0]", "x["))
        assert 0.05 < check.error < 0.15


def test_a_combinator_that_forgets_its_input_is_found(x64):
    """residual's δ is δ + δ_f: here the identity path is left out."""
    right = fnn.residual(dense(4), jnp.tanh)
    wrong = right._replace(backward=fnn.serial(dense(4), jnp.tanh).backward)
    with x64():
        x = normal(6, 4)
        params = parameters(right, x)
        assert fnn.check_gradients(right, params, x).error < TIGHT
        check = fnn.check_gradients(wrong, params, x)
    assert check.place.startswith("x[") and check.error > 0.1


def test_integers_among_the_input_and_output_have_no_derivative():
    def forward(params, x):
        return {"rows": params["table"][x["ids"]] * x["by"], "ids": x["ids"]}

    layer = fnn.layer(lambda key, x: {"table": jnp.ones(3)}, forward, name="look_up")
    x = {"ids": jnp.array([0, 2, 2]), "by": jnp.array([1.0, 2.0, 3.0])}
    assert fnn.check_gradients(layer, {"table": jnp.arange(3.0)}, x).error < COARSE


def test_a_backward_of_other_shapes_is_refused():
    def summed(params, x, y, delta):
        return {"scale": delta * x}, delta.sum(0)

    x = normal(6, 4)
    layer = fnn.layer(scale_init, scale_forward, name="scale", backward=summed)
    with refused("scale: backward's grads['scale'] expected (4,), got (6, 4)", "forward of scale agree?"):
        fnn.check_gradients(layer, {"scale": jnp.ones(4)}, x)
    with refused("layer 0, scale: backward's grads['scale'] expected (4,), got (6, 4)"):
        fnn.check_gradients(fnn.serial(layer), ({"scale": jnp.ones(4)},), x)
    lost = layer._replace(backward=lambda params, x, y, delta: ({}, delta))
    with refused("backward's grads['scale'] expected (4,), got nothing"):
        fnn.backprop(fnn.serial(lost), fnn.mse, ({"scale": jnp.ones(4)},), x, x)


def test_what_is_no_input_of_a_layer_is_refused():
    x = normal(6, 4)
    params = parameters(dense(3), x)
    with refused("x expected the layer's input, got None", "Give an array"):
        fnn.check_gradients(dense(3), params, None)
    with refused("check_gradients: x expected numbers, got 'a'"):
        fnn.check_gradients(dense(3), params, ["a"])
    with refused("are params and x swapped?"):
        fnn.check_gradients(dense(3), x, x)
    with refused("got dense(3)", "A layer alone takes params and x."):
        fnn.check_gradients(dense(3), params)
    with refused("got dense(3)", "A layer alone takes params and x."):
        fnn.check_gradients(dense(3), params, x, x)
    with refused("check_gradients: entries expected a whole number, at least 1"):
        fnn.check_gradients(dense(3), params, x, entries=0)


def test_a_kink_of_a_layer_is_named_in_params_or_x(x64):
    with x64(), pytest.warns(UserWarning, match=r"^x\[0, 1\] is at a kink") as caught:
        check = fnn.check_gradients(fnn.serial(jax.nn.relu), ((),), jnp.array([[1.0, 0.0, -2.0]]))
    assert check.error < TIGHT and caught[0].filename == __file__


# --- only what is trained


def test_what_is_not_trained_is_not_checked(x64):
    network = fnn.serial(dense(3), fnn.freeze(dense(3)), CENTRE)
    unseen = []

    def warp(path, leaf):
        if {"frozen", "statistics"} & {getattr(step, "key", None) for step in path}:
            unseen.append(path)
            return warped(leaf)
        return leaf

    def run():
        loss = fnn.loss(network, fnn.mse)
        return fnn.check_gradients(
            lambda p, x, y: loss(jax.tree_util.tree_map_with_path(warp, p), x, y), *prepared(network)
        )

    in_both_precisions(x64, run)
    assert unseen


def test_counts_among_the_statistics_do_no_harm():
    params = {"weight": jnp.array([1.0, 2.0]), "statistics": {"count": jnp.array(3)}}
    check = fnn.check_gradients(lambda p: jnp.sum(p["weight"] ** 2) * p["statistics"]["count"], params)
    assert check.error < COARSE and check.place.startswith("['weight']")


def test_parameters_stay_as_they_are():
    params, x, y = prepared()
    before = jax.tree.map(np.array, params)
    numpy = jax.tree.map(np.array, params)
    for given in (params, numpy):
        fnn.check_gradients(fnn.loss(NETWORK, fnn.mse), given, x, y)
        chex.assert_trees_all_equal(given, before)


# --- kinks


def at_a_kink(rows):
    """A network of two ReLU units; for the last row the first unit's pre-activation is exactly 0."""
    network = fnn.serial(dense(2), jax.nn.relu, dense(1))
    x = jnp.concatenate([jnp.abs(normal(rows - 1, 1)) + 0.5, jnp.zeros((1, 1))])
    first = {"weight": jnp.array([[0.7, 0.4]]), "bias": jnp.array([0.0, 1.0])}
    params = first, (), {"weight": jnp.array([[1.5], [-0.8]]), "bias": jnp.array([0.1])}
    assert network.parts[0].forward(first, x)[-1, 0] == 0
    return network, params, x, x**2 + 3


@pytest.mark.parametrize("rows", [1, 2, 6, 32])
def test_a_kink_is_left_out_with_a_warning_that_names_it(x64, rows):
    """However many rows stand elsewhere: the bias has no derivative where one of them is at a corner."""

    def run():
        network, params, x, y = at_a_kink(rows)
        return fnn.check_gradients(fnn.loss(network, fnn.mse), params, x, y)

    with x64(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check = run()
    said = [str(warning.message) for warning in caught]
    assert [message.split(" is at a kink: ")[0] for message in said] == ["params[0]['bias'][0]"]
    assert all("no derivative there; the entry is left out" in message for message in said)
    assert check.error < TIGHT


def test_the_warning_says_both_slopes_and_points_to_the_caller():
    with pytest.warns(UserWarning, match="the slope is -1 to the left and 1 to the right") as caught:
        check = fnn.check_gradients(
            lambda p: jnp.abs(p["a"]) + p["b"] ** 2, {"a": jnp.zeros(()), "b": jnp.ones(())}
        )
    assert check.error < COARSE and check.place == "['b']"
    assert len(caught) == 1 and caught[0].filename == __file__


def test_beside_a_kink_there_is_a_derivative(x64):
    def run():
        network = fnn.serial(dense(5), jax.nn.relu, dense(3))
        return fnn.check_gradients(fnn.loss(network, fnn.mae), *prepared(network))

    with x64():
        assert run().error < TIGHT


# --- what parameters may be


@pytest.mark.parametrize("scalar", [2.0, np.float32(2.0), jnp.float32(2.0), jnp.array([2.0])], ids=repr)
def test_a_single_number_is_checked(scalar):
    assert fnn.check_gradients(lambda p: jnp.sum(p**3), scalar).error < COARSE
    assert 0.05 < fnn.check_gradients(lambda p: jnp.sum(warped(p) ** 3), scalar).error < 0.15


@pytest.mark.parametrize(
    "params", [(), {}, ((), ()), {"frozen": jnp.ones(2)}, {"a": jnp.zeros((0, 3))}], ids=repr
)
def test_without_parameters_there_is_no_error(params):
    assert fnn.check_gradients(lambda p: jnp.float32(1.0), params) == (0.0, "", 0.0, 0.0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=lambda d: d.__name__)
def test_half_precision_is_checked_as_well_as_it_can_be(dtype):
    params = {"a": jnp.array([1.0, -2.0], dtype), "b": jnp.ones((), "float32")}
    loss = lambda p: jnp.sum(p["a"].astype("float32") ** 2) + p["b"] ** 2
    assert fnn.check_gradients(loss, params).error < 0.1
    wrong = lambda p: loss({**p, "a": 2 * p["a"] - jax.lax.stop_gradient(p["a"])})  # twice the gradient
    assert fnn.check_gradients(wrong, params).error > 0.3


def test_float32_parameters_are_checked_where_float64_is_on(x64):
    with x64():
        params = {"a": jnp.array([0.5, 2.0], "float32"), "b": jnp.array(1.0, "float64")}
        check = fnn.check_gradients(lambda p: jnp.sum(jnp.sin(p["a"])) * p["b"], params)
        assert check.error < COARSE


def test_a_partial_is_a_loss():
    loss = functools.partial(lambda power, params: jnp.sum(params**power), 3)
    assert fnn.check_gradients(loss, jnp.array([1.0, 2.0])).error < COARSE


def test_what_is_no_real_number_or_has_no_gradient_is_refused():
    with refused("the loss expected one real number", "float32 of shape (2,)", "Take the mean"):
        fnn.check_gradients(lambda p: p**2, jnp.ones(2))
    with refused("the loss expected one real number", "int32 of shape ()"):
        fnn.check_gradients(lambda p: jnp.int32(3), jnp.ones(2))
    with refused("the loss expected one real number", "got None", "return it?"):
        fnn.check_gradients(lambda p: None, jnp.ones(2))
    with refused("params['a'] expected floating-point numbers", "int32 of shape (2,)", ".astype('float32')"):
        fnn.check_gradients(lambda p: jnp.sum(p["a"] ** 2), {"a": jnp.array([1, 2])})


@pytest.mark.parametrize("entries", [0, -1, "3", 2.5, None])
def test_a_number_of_entries_that_compares_nothing_is_refused(entries):
    with refused("check_gradients: entries expected a whole number, at least 1", f"got {entries!r}"):
        fnn.check_gradients(jnp.sum, jnp.ones(2), entries=entries)


def test_what_is_no_loss_and_no_parameters_is_refused():
    params, x, y = prepared()
    loss = fnn.loss(NETWORK, fnn.mse)
    with refused("loss expected a function of params", "a tuple", "swapped?"):
        fnn.check_gradients(params, loss, x, y)
    with refused("loss expected a function of params", "got serial", "fnn.loss(network, cost) makes one"):
        fnn.check_gradients(NETWORK, params, x, y)
    with refused("params expected a tree of arrays", "a State", "field .params"):
        fnn.check_gradients(loss, fnn.start(NETWORK, fnn.adam(), x, key=jax.random.key(0)), x, y)


def test_errors_of_the_network_come_through_in_its_words():
    params, x, y = prepared()
    with pytest.raises(fnn.LayerError, match=r"^layer 0, dense\(5\): dense expected 4 features"):
        fnn.check_gradients(fnn.loss(NETWORK, fnn.mse), params, x[:, :3], y)
