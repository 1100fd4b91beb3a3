"""Pooling: the largest and the mean of windows, their gradients, and padding that does not count."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, quick, refused

import fnn

close = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
POOLS = {"max": fnn.max_pool, "avg": fnn.avg_pool}
CASES = {  # places, window, stride, padding
    "halves": ((4, 6), (2, 2), None, "VALID"),
    "a place left over": ((5, 7), (2, 2), None, "VALID"),
    "overlapping": ((5, 6), (3, 3), 2, "SAME"),
    "every place": ((4, 5), (3, 2), 1, "SAME"),
    "pairs": ((4, 5), (3, 3), (2, 3), ((1, 0), (2, 1))),
    "gaps": ((7, 7), (2, 2), 3, "VALID"),
    "sequences": ((9,), (3,), 2, "SAME"),
    "volumes": ((4, 5, 3), (2, 2, 2), None, "SAME"),
}
every_case = pytest.mark.parametrize(("places", "window", "stride", "padding"), CASES.values(), ids=CASES)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@every_case
@pytest.mark.parametrize("kind", POOLS)
def test_it_is_a_loop_over_windows_with_its_derivative(x64, kind, places, window, stride, padding):
    layer = POOLS[kind](window, stride, padding)
    steps = window if stride is None else stride if isinstance(stride, tuple) else (stride,) * len(window)
    with x64():
        x = jnp.asarray(normal(2, *places, 3))
        expected = np.array([oracles.pool(image, window, steps, padding, kind) for image in np.asarray(x)])

        @jax.jit
        def run(x, delta):
            y, pull = jax.vjp(lambda x: layer.forward((), x), x)
            return y, layer.backward((), x, y, delta)[1], pull(delta)[0]

        y, by_hand, by_jax = run(x, jnp.asarray(normal(*expected.shape, seed=1)))
        close(y, expected)
        chex.assert_trees_all_close(by_hand, by_jax, rtol=1e-12, atol=1e-12)


@every_case
def test_among_equal_numbers_the_gradient_goes_to_the_first_as_in_pytorch(
    x64, places, window, stride, padding
):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    if padding != "VALID":
        pytest.skip("PyTorch pads both ends alike")
    x = np.random.default_rng(0).integers(0, 3, (2, *places, 3)).astype(float)  # many are equal
    kinds = {1: torch.nn.MaxPool1d, 2: torch.nn.MaxPool2d, 3: torch.nn.MaxPool3d}
    given = torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)
    y = kinds[len(window)](window, stride)(given)
    weights = normal(*y.shape, seed=1)
    (y * torch.tensor(weights)).sum().backward()
    with x64():
        layer = fnn.max_pool(window, stride)

        @quick
        def run(x, delta):
            y, pull = jax.vjp(lambda x: layer.forward((), x), x)
            return pull(delta)[0], layer.backward((), x, y, delta)[1]

        slope, by_hand = run(jnp.asarray(x), jnp.asarray(np.moveaxis(weights, 1, -1)))
        close(slope, np.moveaxis(given.grad.numpy(), 1, -1))
        close(by_hand, slope)


def test_zeros_after_relu_get_the_gradient_once():
    total = lambda x: fnn.max_pool((2, 2)).forward((), x).sum()
    slope = np.asarray(quick(jax.grad(total))(jnp.zeros((1, 4, 4, 1))))
    assert slope.sum() == 4 and set(np.unique(slope)) == {0.0, 1.0}


def test_padding_is_never_the_largest_nor_counted():
    ones = np.ones((3, 3, 1), np.float32)
    largest, mean = (quick(pool((3, 3), 1, "SAME").forward) for pool in (fnn.max_pool, fnn.avg_pool))
    np.testing.assert_array_equal(largest((), -ones), -ones)
    np.testing.assert_allclose(mean((), ones), ones, rtol=1e-6)


def test_nan_is_not_hidden():
    x = np.ones((4, 4, 1), np.float32)
    x[1, 2] = np.nan
    for pool in POOLS.values():
        y = quick(pool((2, 2)).forward)((), x)
        np.testing.assert_array_equal(np.isnan(y)[..., 0], [[0, 1], [0, 0]])


def test_the_mean_over_all_places(x64):
    with x64():
        x = jnp.asarray(normal(2, 3, 4, 5))
        layer = fnn.global_avg_pool(2)

        @quick
        def run(x):
            y, pull = jax.vjp(lambda x: layer.forward((), x), x)
            return y, layer.backward((), x, y, y)[1], pull(y)[0]

        y, by_hand, by_jax = run(x)
        close(y, np.asarray(x).mean((1, 2)))
        close(by_hand, by_jax)


X = jnp.ones((2, 5, 5, 4))
WRONG = {
    "a single number": (lambda: fnn.max_pool(2), ("max_pool: window expected its size along one to three axes", "got 2")),
    "a stride of 0": (lambda: fnn.avg_pool((2, 2), 0), ("avg_pool: stride expected a whole number, at least 1",)),
    "fewer axes": (lambda: fnn.max_pool((2, 2)).forward((), X[0, 0]), ("max_pool expected at least 3 axes", "image[..., None]")),
    "fewer axes of places": (lambda: fnn.global_avg_pool(3).forward((), X[0]), ("global_avg_pool(3) expected at least 4 axes",)),
    "no number of axes": (lambda: fnn.global_avg_pool(0), ("global_avg_pool: axes expected a whole number",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()


def test_a_window_larger_than_the_image_is_refused_by_fit_before_anything_is_compiled():
    network = fnn.serial(fnn.avg_pool((6, 6)), fnn.flatten(3), fnn.dense(1))
    with refused(
        "avg_pool expected at least one window along each axis", "(5, 5) places for a window of (6, 6)"
    ):
        fnn.fit(network, fnn.mse, fnn.adam(), X, jnp.ones((2, 1)), key=key(0), epochs=1)
