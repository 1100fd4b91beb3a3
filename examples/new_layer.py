"""Layers of your own, one with statistics, their derivatives by hand, and a combinator around them.

Run it with `python examples/new_layer.py`. A layer is two pure functions, and it brings its own derivative.
Nothing else is needed: summary, backprop, explain and the search for NaN find all they need in the layer.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import fnn

# ── A layer ───────────────────────────────────────────────────────────────────────────────────────
# y = s ⊙ x, with a learned scale s for each feature. init takes shapes, so it is given x only for its width.


def scale_init(key, x):
    return {"scale": jnp.ones(x.shape[-1])}


def scale_forward(params, x):
    """y = s ⊙ x."""
    return params["scale"] * x


def scale_backward(params, x, y, delta):
    """∂c/∂s = Σᵢ δᵢ ⊙ xᵢ, δ ← s ⊙ δ."""
    grads = {"scale": (delta * x).reshape(-1, x.shape[-1]).sum(0)}
    return grads, params["scale"] * delta


scale = fnn.layer(scale_init, scale_forward, name="scale", backward=scale_backward)

# δ = ∂c/∂y comes in; the gradient of the parameters and δ for the layer before go out. Is that right? Central
# differences say so: they need no derivative at all.

draw = np.random.default_rng(0)
x = draw.normal(size=(256, 3)).astype(np.float32)
check = fnn.check_gradients(scale, {"scale": jnp.array([1.0, -2.0, 0.5])}, x[:4])
print(f"largest relative error of the derivative by hand: {check.error:.0e}\n")

# A mistake is found: here the factor s is forgotten on the way back.

wrong = scale._replace(backward=lambda params, x, y, delta: (scale_backward(params, x, y, delta)[0], delta))
mistake = fnn.check_gradients(wrong, {"scale": jnp.array([1.0, -2.0, 0.5])}, x[:4])
print(f"with a mistake: {mistake.error:.0e} at {mistake.place}\n")

# ── A layer with statistics ───────────────────────────────────────────────────────────────────────
# Columns of any size are no problem if the layer itself learns how large they are. While the network learns,
# each batch moves a running maximum of |x|; the trained network divides by it. What stands under the key
# `statistics` is moved by forward_train alone: no gradient, no optimizer and no penalty touches it.

DECAY = 0.99


def largest_init(key, x):
    return {"statistics": {"largest": jnp.zeros(x.shape[-1])}}


def largest_forward(params, x):
    """y = x / largest."""
    largest = params["statistics"]["largest"]
    return x / jnp.where(largest > 0, largest, 1)  # before the first batch: x as it is


def largest_forward_train(params, x, key):
    """largest ← max(decay · largest, |x|), then forward."""
    seen = jnp.abs(x).reshape(-1, x.shape[-1]).max(0)
    largest = jnp.maximum(DECAY * params["statistics"]["largest"], jax.lax.stop_gradient(seen))
    moved = {"statistics": {"largest": largest}}
    return largest_forward(moved, x), moved


def largest_backward(params, x, y, delta):
    """δ ← δ / largest: a constant of the trained network."""
    return jax.tree.map(jnp.zeros_like, params), largest_forward(params, delta)


largest = fnn.layer(
    largest_init, largest_forward, largest_forward_train, name="largest", backward=largest_backward
)

# ── A combinator ──────────────────────────────────────────────────────────────────────────────────
# A gate around any layer: y = x + g · f(x), with one learned number g that starts at 0, so that the network
# begins as the identity. A combinator holds its parts, says with `inside` what it hands to them, and passes δ
# through them with `pull`: each part brings its own derivative.


def gate_init(part, key, x):
    return {"gate": jnp.zeros(()), "part": part.init(key, x)}


def gate_forward(part, params, x):
    """y = x + g · f(x)."""
    return x + params["gate"] * part.forward(params["part"], x)


def gate_inside(part, params, x):
    return [("gated", part, params["part"], x)]


def gate_backward(part, params, x, y, delta, pull):
    """∂c/∂g = Σ δ ⊙ f(x), δ ← δ + the part's δ."""
    f = part.forward(params["part"], x)
    own, delta_x = pull("gated", part, params["part"], x, params["gate"] * delta)
    return {"gate": (delta * f).sum(), "part": own}, delta + delta_x


def gate(part):
    return fnn.layer(
        functools.partial(gate_init, part),
        functools.partial(gate_forward, part),
        name="gate",
        parts=(part,),
        inside=functools.partial(gate_inside, part),
        backward=functools.partial(gate_backward, part),
    )


# ── Together ──────────────────────────────────────────────────────────────────────────────────────
# All three stand in a network beside fnn's own layers, and in the summary.

y = (np.sin(2 * x[:, :1]) + x[:, 1:2] * x[:, 2:]).astype(np.float32)
x = x * np.array([1.0, 1000.0, 0.01], np.float32)
network = fnn.serial(largest, scale, fnn.dense(16), gate(fnn.serial(fnn.dense(16), jnp.tanh)), fnn.dense(1))
print(fnn.summary(network, x[:32]), "\n")

fitted = fnn.fit(network, fnn.mse, fnn.adam(0.01), x, y, key=jax.random.key(0), epochs=300)
by_hand = fnn.backprop(network, fnn.mse, fitted.params, x, y)
automatic = fnn.trained(jax.grad(fnn.loss(network, fnn.mse))(fitted.params, x, y))
differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), by_hand.grads, automatic)
print(f"cost {fitted.history['cost'][0]:.2f} → {fitted.history['cost'][-1]:.3f}")
print(
    f"gate {float(fitted.params[3]['gate']):.2f}, scale {np.round(np.asarray(fitted.params[1]['scale']), 2)}"
)
print("largest", *(f"{n:.3g}" for n in fitted.params[0]["statistics"]["largest"]))
print(f"backprop by hand and jax.grad differ by at most {max(jax.tree.leaves(differences)):.0e}")

assert check.error < 1e-2 < mistake.error
assert by_hand.automatic == ()  # no derivative was left to jax.vjp
assert max(jax.tree.leaves(differences)) < 1e-4
assert np.allclose(fitted.params[0]["statistics"]["largest"], abs(x).max(0), rtol=0.5)
assert fitted.history["cost"][-1] < 0.1 * fitted.history["cost"][0]
