"""Learned activations: each starts as a standard one, is its formula, and learns another shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import inputs, key, parameters, quick, refused

import fnn

X = jnp.array([[-3.0, -0.5, 0.0, 2.0], [1.0, -1.0, 4.0, -0.25]])
STARTS = {  # a layer, the activation that it starts as, the shape of its scale
    "prelu": (fnn.prelu(), functools.partial(jax.nn.leaky_relu, negative_slope=0.25), ()),
    "prelu, of another slope": (fnn.prelu(0.0, per_unit=True), jax.nn.relu, (4,)),
    "swish": (fnn.swish(), jax.nn.silu, ()),
    "swish per unit": (fnn.swish(per_unit=True), jax.nn.silu, (4,)),
    "mixture": (fnn.mixture(jax.nn.gelu, jnp.tanh, jnp.sin), jax.nn.gelu, (3,)),
    "mixture per unit": (fnn.mixture(jnp.tanh, jax.nn.relu, per_unit=True), jnp.tanh, (2, 4)),
}


@pytest.mark.parametrize(("layer", "standard", "shape"), STARTS.values(), ids=STARTS)
def test_it_starts_exactly_as_a_standard_activation(layer, standard, shape):
    params = layer.init(key(0), X)
    assert params["scale"].shape == shape
    np.testing.assert_array_equal(layer.forward(params, X), standard(X))


@pytest.mark.parametrize("per_unit", [False, True])
def test_it_is_its_formula(x64, per_unit):
    x = np.random.default_rng(0).normal(size=(3, 5, 4))
    x[0, 0] = 0
    with x64():
        scale = np.array([0.5, -1.0, 2.0, 0.1]) if per_unit else 0.7
        given, at = {"scale": jnp.asarray(scale)}, jnp.asarray(x)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-13, atol=1e-13)
        prelu, swish = (quick(make(per_unit=per_unit).forward) for make in (fnn.prelu, fnn.swish))
        close(prelu(given, at), np.where(x >= 0, x, scale * x))
        close(swish(given, at), x / (1 + np.exp(-scale * x)))
        both = np.stack([scale + np.zeros(4), np.full(4, 0.3)]) if per_unit else np.array([scale, 0.3])
        layer = fnn.mixture(jnp.tanh, jnp.cos, per_unit=per_unit)
        expected = both[0] * np.tanh(x) + both[1] * np.cos(x)
        close(quick(layer.forward)({"scale": jnp.asarray(both)}, at), expected)


def test_prelu_is_that_of_pytorch_with_its_gradients(x64):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    x, slopes = np.random.default_rng(0).normal(size=(5, 4)), np.array([0.5, -1.0, 0.1, 2.0])
    theirs = torch.nn.PReLU(4).double()
    theirs.weight.data = torch.tensor(slopes)
    given = torch.tensor(x, requires_grad=True)
    y = theirs(given)
    (y**2).sum().backward()
    with x64():
        loss = lambda scale, x: (fnn.prelu(per_unit=True).forward({"scale": scale}, x) ** 2).sum()
        grads = quick(jax.grad(loss, (0, 1)))(jnp.asarray(slopes), jnp.asarray(x))
    np.testing.assert_allclose(grads[0], theirs.weight.grad.numpy(), rtol=1e-12)
    np.testing.assert_allclose(grads[1], given.grad.numpy(), rtol=1e-12)


def test_swish_is_finite_for_any_scale():
    far = jnp.array([[-1e4, 1e4]])
    slope = quick(jax.value_and_grad(lambda s: fnn.swish().forward({"scale": s}, far).sum()))
    for scale in (-1e3, 0.0, 1e3):
        y, grads = slope(jnp.array(scale))
        assert np.isfinite(y) and np.isfinite(grads)


LEARNED = {  # a layer, the curve that it is to learn, the scale of that curve
    "prelu": (fnn.prelu(), lambda x: jnp.where(x >= 0, x, 0.6 * x), 0.6),
    "swish": (fnn.swish(), lambda x: x * jax.nn.sigmoid(3 * x), 3.0),
    "mixture": (
        fnn.mixture(jnp.tanh, jax.nn.relu),
        lambda x: 0.5 * jnp.tanh(x) - 2 * jax.nn.relu(x),
        [0.5, -2.0],
    ),
}


@pytest.mark.parametrize(("layer", "curve", "scale"), LEARNED.values(), ids=LEARNED)
def test_it_learns_the_shape_of_its_data(layer, curve, scale):
    x = jnp.linspace(-3, 3, 64)[:, None]
    fitted = fnn.fit(layer, fnn.mse, fnn.adam(0.1), x, curve(x), key=key(0), epochs=400, batch_size=64)
    np.testing.assert_allclose(fitted.params["scale"], scale, atol=0.02)


def test_weight_decay_spares_the_scale():
    network = fnn.serial(fnn.dense(4), fnn.prelu())
    params = parameters(network, X)
    rule = fnn.weight_decay(0.1)
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, params), rule.init(params), params)
    assert not np.any(updates[1]["scale"]) and np.any(updates[0]["weight"])


def test_an_unknown_function_in_a_mixture_is_named_by_backprop():
    network = fnn.serial(fnn.dense(4), fnn.mixture(jnp.tanh, jnp.sinc))
    params = parameters(network, X)
    found = fnn.backprop(network, fnn.mse, params, X, inputs((4,), 2))
    assert found.automatic == ("layer 1, mixture › function 1, sinc",)


WRONG = {
    "start": (lambda: fnn.prelu(-0.1), ("prelu: start expected a number, 0 ≤ start",)),
    "no function": (fnn.mixture, ("mixture expected at least one function", "fnn.mixture(jax.nn.relu, jnp.tanh)")),
    "a layer with parameters": (lambda: fnn.mixture(fnn.dense(4)), ("mixture expected plain functions",)),
    "a function that changes the shape": (
        lambda: fnn.mixture(jnp.sum).forward({"scale": jnp.ones(1)}, X),
        ("function 0, sum", "each must keep the shape: (2, 4) became ()")),
    "a scale of another width": (
        lambda: fnn.swish().forward({"scale": jnp.ones(3)}, X), ("swish expected a scale of shape () or (4,)", "(3,)")),
    "scales of other functions": (
        lambda: fnn.mixture(jnp.sin).forward({"scale": jnp.ones(3)}, X), ("mixture expected a scale of shape (1,)", "(3,)")),
    "whole numbers": (lambda: fnn.prelu().init(key(0), X.astype(int)), ("prelu expected floating-point",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
