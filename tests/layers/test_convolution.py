"""Convolution: its loop in NumPy, PyTorch's and XLA's, in each form that it is computed in."""

import functools

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, output_and_slopes, parameters, quick, refused

import fnn
from fnn.layers.windows import (
    adjoint_by_shifts,
    adjoint_by_xla,
    make_windows,
    product_by_shifts,
    product_by_xla,
)

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


CASES = {  # places, channels in, features, window, and the options
    "images": ((5, 6), 2, 3, (3, 3), {}),
    "of one place": ((4, 3), 3, 2, (1, 1), {}),
    "even windows": ((5, 6), 2, 3, (2, 4), {}),
    "stride 2, even": ((6, 6), 2, 3, (3, 3), {"stride": 2}),
    "stride 2, odd": ((7, 5), 2, 3, (3, 3), {"stride": (2, 3)}),
    "dilation": ((7, 8), 2, 3, (3, 2), {"dilation": (2, 3)}),
    "dilation and stride": ((9, 8), 2, 3, (3, 3), {"dilation": 2, "stride": 2}),
    "valid": ((5, 6), 2, 3, (3, 2), {"padding": "VALID"}),
    "pairs": ((5, 6), 2, 3, (3, 3), {"padding": ((2, 0), (1, 3)), "stride": 2}),
    "a number": ((5, 6), 2, 3, (3, 3), {"padding": 1}),
    "more padding than window": ((2, 2), 2, 3, (5, 5), {}),
    "groups": ((5, 4), 4, 6, (3, 3), {"groups": 2}),
    "groups, strided": ((5, 4), 6, 3, (2, 2), {"groups": 3, "stride": 2, "dilation": 2}),
    "depthwise": ((5, 4), 3, 3, (3, 3), {"groups": 3}),
    "depthwise, two each": ((5, 4), 3, 6, (3, 3), {"groups": 3, "stride": 2}),
    "sequences": ((7,), 2, 3, (3,), {}),
    "causal": ((7,), 2, 3, (3,), {"padding": ((4, 0),), "dilation": 2}),
    "volumes": ((4, 3, 5), 2, 2, (2, 3, 2), {"stride": (1, 2, 2)}),
    "many channels": ((5, 6), 16, 3, (3, 3), {}),
    "many channels, pairs": ((5, 6), 17, 2, (2, 4), {"padding": ((2, 0), (1, 5))}),
    "many channels, valid": ((5, 6), 16, 3, (1, 3), {"padding": "VALID"}),
    "many channels, strided": ((7, 5), 16, 3, (3, 3), {"stride": (1, 2)}),
    "many channels, groups": ((5, 4), 32, 4, (3, 3), {"groups": 2}),
    "many channels, causal": ((9,), 16, 2, (4,), {"padding": ((6, 0),), "dilation": 2}),
}
every_case = pytest.mark.parametrize(
    ("places", "inputs", "features", "window", "options"), CASES.values(), ids=CASES
)


def full(window, options):
    """The options of the oracle."""
    each = lambda value: value if isinstance(value, tuple) else (value,) * len(window)
    padding = options.get("padding", "SAME")
    padding = ((padding, padding),) * len(window) if isinstance(padding, int) else padding
    return {
        "stride": each(options.get("stride", 1)),
        "dilation": each(options.get("dilation", 1)),
        "padding": padding,
        "groups": options.get("groups", 1),
    }


@every_case
def test_it_is_a_loop_over_windows_in_both_forms_with_its_derivative(
    x64, places, inputs, features, window, options
):
    layer = fnn.conv(features, window, **options)
    with x64():
        x = jnp.asarray(normal(2, *places, inputs))
        params = parameters(layer, x)
        weight, bias = np.asarray(params["weight"]), np.asarray(params["bias"])
        assert weight.shape == (*window, inputs // options.get("groups", 1), features)
        expected = np.array(
            [oracles.conv(image, weight, bias, **full(window, options)) for image in np.asarray(x)]
        )
        geometry = {name: options[name] for name in ("stride", "dilation") if name in options}
        windows = make_windows("conv", window, geometry.get("stride", 1), options.get("padding", "SAME"),
                               geometry.get("dilation", 1))  # fmt: skip
        groups = options.get("groups", 1)

        @jax.jit
        def run(params, x, delta):
            y, pull = jax.vjp(layer.forward, params, x)
            forms = [
                product(windows, groups, x, params["weight"])
                for product in (product_by_xla, product_by_shifts)
            ]
            y = y, layer.forward(params, x)  # with a derivative, and without
            return y, forms, layer.backward(params, x, y[0], delta), pull(delta)

        y, forms, by_hand, by_jax = run(params, x, jnp.asarray(normal(*expected.shape, seed=2)))
        for each in y:
            close(each, expected)
        close(*forms)
        chex.assert_trees_all_close(by_hand, by_jax, rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere XLA's convolution is used for both")
@pytest.mark.parametrize(
    ("window", "inputs", "groups", "by_xla"),
    [
        ((3, 3), 16, 1, [True, True]),
        ((3, 3), 8, 1, [True, False]),
        ((3, 3), 1, 1, [False, False]),
        ((1, 1), 64, 1, [False, False]),
        ((5,), 16, 2, [True, False]),
        ((7, 7), 4, 4, [False, False]),
        ((3, 3, 3), 16, 1, [False, False]),
    ],
)
def test_on_a_cpu_xla_convolves_where_it_is_faster(window, inputs, groups, by_xla):
    layer, x = fnn.conv(4, window, groups=groups), jnp.ones((2, *len(window) * [5], inputs))
    params = parameters(layer, x)
    derived = jax.grad(lambda params, x: (layer.forward(params, x) ** 2).sum(), 1)
    programs = [jax.jit(f).lower(params, x).as_text() for f in (layer.forward, derived)]
    assert ["stablehlo.convolution" in program for program in programs] == by_xla


@every_case
def test_outputs_and_gradients_are_those_of_pytorch(x64, places, inputs, features, window, options):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    form = full(window, options)
    around = oracles.pads(places, window, form["stride"], form["dilation"], form["padding"])
    kinds = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}
    theirs = kinds[len(window)](
        inputs, features, window, stride=form["stride"], dilation=form["dilation"], groups=form["groups"]
    ).double()
    x = normal(2, *places, inputs)
    channels_first = (0, x.ndim - 1, *range(1, x.ndim - 1))
    given = torch.tensor(x.transpose(channels_first), requires_grad=True)
    flat = [number for pair in reversed(around) for number in pair]
    y = theirs(torch.nn.functional.pad(given, flat))
    weights = normal(*y.shape, seed=1)
    (y * torch.tensor(weights)).sum().backward()
    last = lambda array: np.moveaxis(array.detach().numpy(), 1, -1)
    kernel = lambda array: np.moveaxis(array.detach().numpy(), (0, 1), (-1, -2))
    with x64():
        layer = fnn.conv(features, window, **options)
        params = {
            "weight": jnp.asarray(kernel(theirs.weight)),
            "bias": jnp.asarray(theirs.bias.detach().numpy()),
        }
        delta = np.moveaxis(weights, 1, -1)
        ours, grads, slope = output_and_slopes(layer.forward, params, x, delta)
        close(ours, last(y))
        close(slope, last(given.grad))
        close(grads["weight"], kernel(theirs.weight.grad))
        close(grads["bias"], theirs.bias.grad.numpy())


# --- the way back as a layer


@every_case
def test_its_transpose_spreads_each_place_in_both_forms_with_its_derivative(
    x64, places, inputs, features, window, options
):
    features = inputs * options.get("groups", 1)  # any multiple of the groups
    layer = fnn.conv_transpose(features, window, **options)
    channels = inputs
    with x64():
        x = jnp.asarray(normal(2, *places, channels))
        params = parameters(layer, x)
        weight, bias = np.asarray(params["weight"]), np.asarray(params["bias"])
        assert weight.shape == (*window, features // options.get("groups", 1), channels)
        form = full(window, options)
        expected = np.array([oracles.conv_transpose(image, weight, bias, **form) for image in np.asarray(x)])
        if options.get("padding", "SAME") == "SAME":
            assert expected.shape[1:-1] == tuple(n * s for n, s in zip(places, form["stride"]))
        windows = make_windows(
            "conv", window, form["stride"], options.get("padding", "SAME"), form["dilation"]
        )
        larger, groups = jnp.zeros(expected.shape), options.get("groups", 1)

        @jax.jit
        def run(params, x, delta):
            y, pull = jax.vjp(layer.forward, params, x)
            forms = [
                adjoint(windows, groups, larger, params["weight"], x)
                for adjoint in (adjoint_by_shifts, adjoint_by_xla)
            ]
            return y, forms, layer.backward(params, x, y, delta), pull(delta)

        y, forms, by_hand, by_jax = run(params, x, jnp.asarray(normal(*expected.shape, seed=2)))
        close(y, expected)
        close(*forms)
        chex.assert_trees_all_close(by_hand, by_jax, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 0), (0, 1))], ids=str)
def test_it_is_the_derivative_of_the_convolution_with_the_same_weights(x64, stride, padding):
    down, up = fnn.conv(4, (3, 3), stride, padding), fnn.conv_transpose(2, (3, 3), stride, padding)
    with x64():
        small = jnp.asarray(normal(2, 3, 4, 4))
        params = parameters(up, small) | {"bias": jnp.zeros(2)}

        @quick
        def run(params, small):
            large = up.forward(params, small)
            forward = lambda x: down.forward(params | {"bias": jnp.zeros(4)}, x)
            y, pull = jax.vjp(forward, jnp.zeros(large.shape))
            return large, y, pull(small)[0]

        large, y, slope = run(params, small)
        assert y.shape == small.shape
        close(slope, large)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "dilation", "crop"), [(1, 1, 0), (2, 1, 1), (3, 2, 2)])
def test_its_outputs_and_gradients_are_those_of_pytorch(x64, groups, stride, dilation, crop):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    theirs = torch.nn.ConvTranspose2d(4, 6, (3, 2), stride, crop, dilation=dilation, groups=groups).double()
    x = normal(2, 3, 5, 4)
    given = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    y = theirs(given)
    (y**2).sum().backward()
    last = lambda array: np.moveaxis(array.detach().numpy(), 1, -1)
    kernel = lambda array: array.detach().numpy().transpose(2, 3, 1, 0)
    with x64():
        layer = fnn.conv_transpose(6, (3, 2), stride, crop, dilation, groups)
        params = {
            "weight": jnp.asarray(kernel(theirs.weight)),
            "bias": jnp.asarray(theirs.bias.detach().numpy()),
        }
        ours, grads, slope = output_and_slopes(layer.forward, params, x, 2 * last(y))
        close(ours, last(y))
        close(slope, last(given.grad))
        close(grads["weight"], kernel(theirs.weight.grad))
        close(grads["bias"], theirs.bias.grad.numpy())


def test_what_arrives_at_a_place_starts_as_large_as_what_was_there():
    layer, x = fnn.conv_transpose(64, (4, 4), stride=2), jnp.asarray(normal(2, 16, 16, 32), jnp.float32)
    y = np.asarray(quick(layer.forward)(layer.init(key(0), x), x))
    assert abs(float(y[:, 4:-4, 4:-4].std()) - 1) < 0.1


@pytest.mark.parametrize("leading", [(), (1,), (2, 3), (0,)], ids=str)
def test_any_axes_may_stand_before_the_places(leading):
    layer = fnn.conv(3, (3, 3), stride=2)
    x = jnp.asarray(normal(*leading, 5, 6, 2), jnp.float32)
    params = parameters(layer, x)
    forward = quick(layer.forward)
    y = np.asarray(forward(params, x))
    assert y.shape == (*leading, 3, 3, 3)
    rows = np.asarray(x).reshape(-1, 5, 6, 2)
    for one, row in zip(y.reshape(-1, 3, 3, 3), rows, strict=True):
        np.testing.assert_allclose(one, forward(params, row), rtol=1e-4, atol=1e-5)


def test_weights_start_by_the_numbers_that_a_window_sees():
    for layer, fan in ((fnn.conv(512, (3, 3)), 9 * 32), (fnn.conv(512, (3, 3), groups=8), 9 * 4)):
        weight = np.asarray(layer.init(key(0), jnp.ones((1, 8, 8, 32)))["weight"], np.float64)
        assert abs(weight.std() * np.sqrt(fan) - 1) < 0.03


def test_a_sequence_is_causal_with_padding_before_it_alone():
    layer = fnn.conv(2, (3,), padding=((4, 0),), dilation=2)
    x = np.asarray(normal(1, 9, 2), np.float32)
    params, forward = parameters(layer, jnp.asarray(x)), quick(layer.forward)
    other = np.where(np.arange(9)[:, None] < 5, x, np.float32(7))
    before, after = np.asarray(forward(params, x)), np.asarray(forward(params, other))
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert np.all(before[:, 5:] != after[:, 5:])


def test_the_form_is_chosen_by_platform():
    x = jnp.ones((2, 5, 5, 2))
    for layer in (fnn.conv(3, (3, 3)), fnn.conv_transpose(3, (3, 3), stride=2)):
        params = parameters(layer, x)
        for platform, is_xla in (("cpu", False), ("cuda", True), ("tpu", True)):
            program = jax.export.export(jax.jit(layer.forward), platforms=[platform])(params, x).mlir_module()
            assert ("stablehlo.convolution" in program) == is_xla


def test_a_small_network_learns_to_tell_crosses_from_rings():
    draw = np.random.default_rng(0)
    shapes = np.zeros((2, 5, 5, 1), np.float32)
    shapes[0, np.arange(5), np.arange(5)] = shapes[0, np.arange(5), 4 - np.arange(5)] = 1
    shapes[1, [0, -1]] = shapes[1, :, [0, -1]] = 1
    y, x = draw.integers(0, 2, 200), draw.normal(0, 0.3, (200, 12, 12, 1)).astype(np.float32)
    for image, kind, (row, column) in zip(x, y, draw.integers(0, 7, (200, 2)), strict=True):
        image[row : row + 5, column : column + 5] += shapes[kind]
    network = fnn.serial(
        fnn.conv(8, (3, 3)), jax.nn.relu, fnn.max_pool((2, 2)), fnn.conv(8, (3, 3)), jax.nn.relu,
        fnn.global_avg_pool(2), fnn.dense(2),
    )  # fmt: skip
    fitted = fnn.fit(
        network, fnn.softmax_cross_entropy, fnn.adam(0.01), x[:150], y[:150], key=key(0), epochs=40
    )
    found = fnn.evaluate(network, fitted.params, x[150:], y[150:], {"accuracy": fnn.accuracy})
    assert found["accuracy"] > 0.9


X = jnp.ones((2, 5, 5, 4))
WRONG = {
    "features": (lambda: fnn.conv(0, (3, 3)), ("conv: features expected a whole number, at least 1",)),
    "a single number for the window": (
        lambda: fnn.conv(8, 3), ("conv: window expected its size along one to three axes", "got 3", "(3, 3) for images")),
    "a window of nothing": (lambda: fnn.conv(8, (3, 0)), ("conv: window expected a whole number, at least 1",)),
    "strides for other axes": (lambda: fnn.conv(8, (3, 3), stride=(1, 1, 1)), ("conv: stride expected a number, or 2 of them",)),
    "padding by another name": (
        lambda: fnn.conv(8, (3, 3), padding="full"), ("conv: padding expected 'SAME', 'VALID', a number, or 2 pairs", "'full'")),
    "padding for other axes": (lambda: fnn.conv(8, (3, 3), padding=((1, 1),)), ("conv: padding expected", "2 pairs")),
    "features and groups": (lambda: fnn.conv(8, (3, 3), groups=3), ("conv: features expected a multiple of 3 groups",)),
    "inputs and groups": (
        lambda: fnn.conv(9, (3, 3), groups=3).init(key(0), X), ("conv expected a multiple of 3 input channels", "got 4")),
    "no channels": (
        lambda: fnn.conv(8, (3, 3)).init(key(0), jnp.ones((5, 5))), ("conv expected at least 3 axes",)),
    "a window larger than the image": (
        lambda: fnn.conv(8, (7, 7), padding="VALID").init(key(0), X), ("conv expected at least one window", "(5, 5) places")),
    "other channels": (
        lambda: fnn.conv(8, (3, 3)).forward(parameters(fnn.conv(8, (3, 3)), X), X[..., :2]),
        ("conv expected 4 features on the last axis", "(3, 3, 4, 8)", "got 2")),
    "whole numbers": (lambda: fnn.conv(8, (3, 3)).init(key(0), X.astype(int)), ("conv expected floating-point",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
