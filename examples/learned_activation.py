"""Which activation suits the data? Let training decide: its shape is made of parameters, too.

Run it with `python examples/learned_activation.py`. It draws the shapes before and after training to
`learned_activation.png`. The derivative of the cost with respect to an activation's parameters is computed as
that with respect to weights.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

x, y = load_digits(return_X_y=True)
test_key, key = jax.random.split(jax.random.key(0))
(x, y), (x_test, y_test) = fnn.split(test_key, x / 16, y, stratify=y)

# ── Three shapes ──────────────────────────────────────────────────────────────────────────────────
# prelu learns the slope left of zero, swish how sharply it bends, mixture how much there is of each function.
# Each starts as a standard activation, and each hidden layer learns its own.

KINDS = {
    "prelu, from leaky ReLU": fnn.prelu(),
    "swish, from SiLU": fnn.swish(),
    "mixture, from tanh": fnn.mixture(jnp.tanh, jax.nn.relu, jnp.sin),
}
grid = jnp.linspace(-3, 3, 121)[:, None]
figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), sharex=True)
print("accuracy on rows not trained on        learned  as it starts   scales of the two hidden layers")
for panel, (title, activation) in zip(panels, KINDS.items(), strict=True):
    network = fnn.serial(fnn.dense(32), activation, fnn.dense(32), activation, fnn.dense(10))
    fixed = fnn.freeze(activation)  # the same network with the shape that it starts with
    plain = fnn.serial(fnn.dense(32), fixed, fnn.dense(32), fixed, fnn.dense(10))
    right = {}
    for name, each in {"learned": network, "fixed": plain}.items():
        seed = jax.random.clone(key)  # the same start and the same batches for both
        fitted = fnn.fit(each, fnn.softmax_cross_entropy, fnn.adam(0.003), x, y, key=seed, epochs=30)
        found = fnn.evaluate(each, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy})
        right[name] = found["accuracy"]
        if name == "learned":
            params = fitted.params
    start = activation.init(jax.random.key(0), grid)
    panel.plot(grid, activation.forward(start, grid), "k--", label="at the start")
    for layer in (1, 3):
        panel.plot(grid, activation.forward(params[layer], grid), label=f"hidden layer {layer // 2 + 1}")
    panel.set(title=title, xlabel="input")
    scales = "   ".join(str(np.round(np.atleast_1d(params[layer]["scale"]), 2)) for layer in (1, 3))
    print(f"{title.split()[0].strip(','):38s} {right['learned']:7.3f} {right['fixed']:13.3f}   {scales}")
    assert right["learned"] > 0.94
    for layer in (1, 3):  # training used the freedom that it was given
        assert np.abs(params[layer]["scale"] - start["scale"]).max() > 0.05

# ── What it is worth ──────────────────────────────────────────────────────────────────────────────
# On a table like this one the accuracies differ by chance: all standard activations do well here. A learned
# shape is worth trying where they differ, and it shows what the layers make of their freedom.

panels[0].set(ylabel="output")
panels[0].legend()
figure.tight_layout()
figure.savefig("learned_activation.png", dpi=110)
