"""Normalisation: each layer equals its formula and PyTorch's, keeps its digits, and refuses what it must."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import inputs, key, parameters, quick, refused

import fnn

TINY = 1e-12


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- the formulas

FORMULAS = {  # the layer, its oracle, the shape of an input
    "batch_norm": (fnn.batch_norm(eps=1e-3), functools.partial(oracles.batch_norm, eps=1e-3), (6, 4)),
    "batch_norm of images": (fnn.batch_norm(), functools.partial(oracles.batch_norm, eps=1e-5), (3, 2, 5, 4)),
    "batch_norm of a row": (fnn.batch_norm(), functools.partial(oracles.batch_norm, eps=1e-5), (1, 4)),
    "layer_norm": (fnn.layer_norm(), functools.partial(oracles.layer_norm, eps=1e-5), (6, 4)),
    "layer_norm of one": (fnn.layer_norm(eps=0.5), functools.partial(oracles.layer_norm, eps=0.5), (4,)),
    "layer_norm of sequences": (fnn.layer_norm(), functools.partial(oracles.layer_norm, eps=1e-5), (3, 5, 4)),
    "layer_norm of nothing": (fnn.layer_norm(), functools.partial(oracles.layer_norm, eps=1e-5), (0, 4)),
    "layer_norm of one feature": (fnn.layer_norm(), functools.partial(oracles.layer_norm, eps=1e-5), (6, 1)),
    "group_norm": (
        fnn.group_norm(2, axes=3), functools.partial(oracles.group_norm, groups=2, eps=1e-5), (3, 2, 5, 4)),
    "instance norm": (
        fnn.group_norm(4, axes=3, eps=1e-3), functools.partial(oracles.group_norm, groups=4, eps=1e-3), (3, 2, 5, 4)),
    "one group": (
        fnn.group_norm(1, axes=3), functools.partial(oracles.group_norm, groups=1, eps=1e-5), (3, 2, 5, 4)),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "oracle", "shape"), FORMULAS.values(), ids=FORMULAS)
def test_it_is_its_formula(x64, layer, oracle, shape):
    x = 3 * normal(*shape) + 2
    with x64():
        params = parameters(layer, jnp.asarray(x))
        expected = oracle(x, np.asarray(params["scale"]), np.asarray(params["offset"]))
        y, _ = quick(layer.forward_train)(params, x, key(0))
    np.testing.assert_allclose(y, expected, rtol=TINY, atol=TINY)


def test_rms_norm_is_its_formula(x64):
    x = normal(3, 5, 4)
    with x64():
        params = parameters(fnn.rms_norm(), jnp.asarray(x))
        y = quick(fnn.rms_norm().forward)(params, x)
    np.testing.assert_allclose(y, oracles.rms_norm(x, np.asarray(params["scale"]), 1e-6), rtol=TINY)


@pytest.mark.parametrize("places", [(), (5,), (2, 5), (2, 2, 3)], ids=str)
def test_group_norm_counts_the_axes_of_an_example(x64, places):
    layer = fnn.group_norm(2, axes=len(places) + 1)
    with x64():
        x = jnp.asarray(normal(3, *places, 4))
        params = parameters(layer, x)
        as_image = np.asarray(x).reshape(3, 1, -1, 4)
        expected = oracles.group_norm(
            as_image, *map(np.asarray, (params["scale"], params["offset"])), 2, 1e-5
        )
        y = quick(layer.forward)(params, x)
        np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=TINY, atol=TINY)


@pytest.mark.parametrize("layer", [fnn.layer_norm(), fnn.group_norm(2, axes=1), fnn.batch_norm()], ids=repr)
def test_a_shift_and_a_factor_of_the_input_change_nothing(x64, layer):
    with x64():
        x = normal(6, 8)
        params = parameters(layer, jnp.asarray(x))
        train = quick(lambda x: layer.forward_train(params, x, key(0))[0])
        near_scale = np.abs(np.asarray(params["scale"])).max()
        np.testing.assert_allclose(train(1000 * x + 7), train(1000 * x), atol=1e-9 * near_scale)
        np.testing.assert_allclose(train(2000 * x), train(1000 * x), atol=1e-9 + 1e-5 * near_scale)


# --- statistics of batches


def test_statistics_move_towards_those_of_the_batch_and_are_used_afterwards(x64):
    layer = fnn.batch_norm(decay=0.9, eps=1e-3)
    with x64():
        batches = [jnp.asarray(2 * normal(5, 3, 4, seed=i) + i) for i in range(4)]
        params = layer.init(key(0), batches[0])
        mean, variance = np.zeros(4), np.ones(4)
        for batch in batches:
            before = params["statistics"]
            layer.forward(params, batch)
            assert params["statistics"] is before  # forward moves nothing
            _, params = layer.forward_train(params, batch, key(0))
            rows = np.asarray(batch).reshape(-1, 4)
            mean = 0.9 * mean + 0.1 * rows.mean(0)
            variance = 0.9 * variance + 0.1 * ((rows - rows.mean(0)) ** 2).sum(0) / len(rows)
        np.testing.assert_allclose(params["statistics"]["mean"], mean, rtol=TINY)
        np.testing.assert_allclose(params["statistics"]["variance"], variance, rtol=TINY)
        expected = (batches[0] - mean) / np.sqrt(variance + 1e-3)
        np.testing.assert_allclose(layer.forward(params, batches[0]), expected, rtol=TINY, atol=TINY)


def test_a_batch_of_one_row_gives_the_offset_and_leaves_the_statistics():
    layer, x = fnn.batch_norm(), jnp.array([[3.0, -2.0]])
    params = parameters(layer, x)

    def run(x):
        y, moved = layer.forward_train(params, x, key(0))
        return y, moved

    (y, moved), slope = quick(lambda x: (run(x), jax.grad(lambda x: run(x)[0].sum())(x)))(x)
    np.testing.assert_array_equal(y, np.asarray(params["offset"])[None])
    np.testing.assert_array_equal(moved["statistics"]["variance"], params["statistics"]["variance"])
    np.testing.assert_array_equal(moved["statistics"]["mean"], params["statistics"]["mean"])
    np.testing.assert_array_equal(slope, 0)


def test_statistics_are_kept_wide_under_a_narrow_precision():
    network, x = fnn.precision(fnn.batch_norm(), jnp.bfloat16), jnp.full((4, 1), 1.5)
    params = network.init(key(0), x)
    for _ in range(300):
        _, params = network.forward_train(params, x, key(0))
    np.testing.assert_allclose(params["statistics"]["mean"], 1.5 * (1 - 0.99**300), rtol=1e-4)


def test_neither_decay_nor_the_optimizer_moves_statistics():
    network = fnn.serial(
        fnn.batch_norm(decay=0.9), fnn.dense(1)
    )  # first, so that weights do not move what it sees
    x, y = 2 * inputs((4,), 19) + 1, inputs((1,), 19, seed=1)
    rule = fnn.chain(fnn.adam(0.1), fnn.weight_decay(0.5))
    fitted = fnn.fit(network, fnn.mse, rule, x, y, key=key(0), epochs=3, batch_size=19)
    found, rows = fitted.params[0]["statistics"], np.asarray(x, np.float64)
    np.testing.assert_allclose(found["mean"], (1 - 0.9**3) * rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found["variance"], 0.9**3 + (1 - 0.9**3) * rows.var(0), rtol=1e-5)
    assert jax.tree.leaves(fnn.trained(fitted.params)[0]["statistics"]) == []


# --- digits


@pytest.mark.parametrize(
    "layer", [fnn.layer_norm(), fnn.group_norm(4, axes=1), fnn.batch_norm(eps=1e-5)], ids=repr
)
@pytest.mark.parametrize("mean", [0.0, 1e3, 1e4])
def test_a_large_mean_costs_no_digits_but_its_own(layer, mean):
    wide = normal(64, 512) + mean
    x = np.asarray(wide, np.float32)
    params = layer.init(key(0), jnp.asarray(x))
    y, _ = jax.jit(layer.forward_train)(params, jnp.asarray(x), key(0))
    axis = 0 if layer == fnn.batch_norm(eps=1e-5) else -1
    parts = (
        x.astype(np.float64).reshape(64, 4, 128) if layer.name == "group_norm(4)" else x.astype(np.float64)
    )
    exact = (parts - parts.mean(axis, keepdims=True)) / np.sqrt(parts.var(axis, keepdims=True) + 1e-5)
    rounding = 4e-7 * max(mean, 10)  # half a unit in the last place of the mean, in deviations
    np.testing.assert_allclose(y, exact.reshape(x.shape), atol=rounding)


@pytest.mark.parametrize("layer", [fnn.layer_norm(), fnn.group_norm(2, axes=1), fnn.rms_norm()], ids=repr)
def test_equal_numbers_have_an_output_and_a_derivative(layer):
    x = jnp.zeros((3, 4))
    params = parameters(layer, x)
    y, slope = quick(jax.value_and_grad(lambda x: layer.forward(params, x).sum()))(x)
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(
        y, 3 * np.asarray(params["offset"]).sum() if "offset" in params else 0, rtol=1e-6
    )


@pytest.mark.parametrize("layer", [fnn.layer_norm(), fnn.rms_norm(), fnn.batch_norm()], ids=repr)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_computed_in_float32(layer, dtype):
    x = 200 * inputs((512,), 8) + 300  # the sum of the squares is beyond float16
    narrow = x.astype(dtype)
    params = layer.init(key(0), x)
    y, _ = layer.forward_train(jax.tree.map(lambda leaf: leaf.astype(dtype), params), narrow, key(0))
    expected, _ = layer.forward_train(params, narrow.astype(jnp.float32), key(0))
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y, np.float32), expected, rtol=0.01, atol=0.01)
    assert layer.forward(params, narrow).dtype == jnp.float32  # the wider of the two


# --- PyTorch

CHANNELS_LAST = (0, 2, 3, 1)
LIKE_TORCH = {
    "layer_norm": (fnn.layer_norm(), lambda nn: nn.LayerNorm(6), (5, 6)),
    "rms_norm": (fnn.rms_norm(eps=1e-3), lambda nn: nn.RMSNorm(6, eps=1e-3), (5, 6)),
    "group_norm": (fnn.group_norm(3, axes=3), lambda nn: nn.GroupNorm(3, 6), (5, 2, 3, 6)),
    "batch_norm": (fnn.batch_norm(decay=0.8), lambda nn: nn.BatchNorm1d(6, momentum=0.2), (5, 6)),
    "batch_norm of images": (
        fnn.batch_norm(decay=0.8), lambda nn: nn.BatchNorm2d(6, momentum=0.2), (5, 2, 3, 6)),
}  # fmt: skip


@pytest.mark.parametrize("name", LIKE_TORCH)
def test_outputs_gradients_and_statistics_are_those_of_pytorch(x64, name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    layer, build, shape = LIKE_TORCH[name]
    is_image = len(shape) == 4
    theirs = build(torch.nn).double()
    x, weights = normal(*shape), normal(*shape, seed=1)
    with x64(), torch.random.fork_rng():
        params = parameters(layer, jnp.asarray(x))
        names = {"scale": "weight", "offset": "bias"}
        for ours, its in names.items():
            if ours in params:
                getattr(theirs, its).data = torch.tensor(np.asarray(params[ours]))
        first = lambda array: np.moveaxis(array, -1, 1) if is_image else array
        given = torch.tensor(first(x), requires_grad=True)
        y = theirs(given)
        (y * torch.tensor(first(weights))).sum().backward()

        def total(trained, x):
            y, moved = layer.forward_train(fnn.merge(trained, params), x, key(0))
            return (y * weights).sum(), (y, moved)

        slopes = quick(jax.grad(total, (0, 1), has_aux=True))
        grads, (ours_y, moved) = slopes(fnn.trained(params), jnp.asarray(x))
        close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
        close(first(np.asarray(ours_y)), y.detach().numpy())
        close(first(np.asarray(grads[1])), given.grad.numpy())
        for ours, its in names.items():
            if ours in params:
                close(grads[0][ours], getattr(theirs, its).grad.numpy())
        if "statistics" in params:
            n = x.size // 6
            mean, variance = (
                np.asarray(moved["statistics"]["mean"]),
                np.asarray(moved["statistics"]["variance"]),
            )
            start = jax.tree.map(np.asarray, params["statistics"])
            close(mean - 0.8 * start["mean"], theirs.running_mean.numpy())
            unbiased = (variance - 0.8 * start["variance"]) * n / (n - 1)  # as PyTorch's running variance is
            close(unbiased, theirs.running_var.numpy() - 0.8)


# --- what they refuse

X = jnp.ones((5, 4))
WRONG = {
    "decay": (lambda: fnn.batch_norm(decay=1.0), ("batch_norm: decay expected a number, 0 ≤ decay < 1", "got 1.0")),
    "eps": (lambda: fnn.layer_norm(eps=0.0), ("layer_norm: eps expected a number, 0 < eps", "got 0.0")),
    "eps as a text": (lambda: fnn.rms_norm("small"), ("rms_norm: eps expected a number", "'small'")),
    "groups": (lambda: fnn.group_norm(0, axes=3), ("group_norm: groups expected a whole number, at least 1",)),
    "axes not given": (lambda: fnn.group_norm(2), ("group_norm takes (groups, axes, eps)", "axes")),
    "channels": (
        lambda: fnn.group_norm(3, axes=1).init(key(0), X),
        ("group_norm(3, axes=1) expected a multiple of 3 channels, got 4 in shape (5, 4)",)),
    "fewer axes": (
        lambda: fnn.group_norm(2, axes=3).init(key(0), X),
        ("group_norm(2, axes=3) expected at least 3 axes, got shape (5, 4)",)),
    "another width": (
        lambda: fnn.layer_norm().forward({"scale": jnp.ones(3), "offset": jnp.ones(3)}, X),
        ("layer_norm expected 3 features", "its scale is (3,)", "got 4 in an input of shape (5, 4)")),
    "whole numbers": (lambda: fnn.batch_norm().init(key(0), X.astype(int)), ("batch_norm expected floating-point", "int32")),
    "parameters of another": (
        lambda: fnn.batch_norm().forward({"scale": jnp.ones(4), "offset": jnp.ones(4)}, X),
        ("batch_norm expected parameters named ['offset', 'scale', 'statistics']",)),
    "an empty batch": (
        lambda: fnn.batch_norm().forward_train(fnn.batch_norm().init(key(0), X), X[:0], key(0)),
        ("batch_norm expected at least one row", "(0, 4)")),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
