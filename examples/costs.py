"""What each cost asks for: its shape, its slope, and the best constant under it.

Run it with `python examples/costs.py`. It draws `costs.png`: the cost of one prediction by its error or its
logit, and its slope, which backward propagation begins with. Where the inputs do not tell the target, a
network predicts the best constant: under `mse` the mean, under `mae` the median. That is what a cost decides.
"""

import functools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt

import fnn

# ── Shapes and slopes ─────────────────────────────────────────────────────────────────────────────
# Numbers: by the error ŷ − y. Counts and classes: by the prediction, where the target is 3, or a yes.

PANELS = {
    "mse": (fnn.mse, 0.0, "error"),
    "mae": (fnn.mae, 0.0, "error"),
    "huber, δ = 1": (fnn.huber, 0.0, "error"),
    "log_cosh": (fnn.log_cosh, 0.0, "error"),
    "quantile, q = 0.9": (functools.partial(fnn.quantile, q=0.9), 0.0, "error"),
    "poisson": (fnn.poisson, 3.0, "log of the predicted rate, count 3"),
    "binary_cross_entropy": (fnn.binary_cross_entropy, 1.0, "logit of a yes that is one"),
    "focal, γ = 2": (fnn.focal, 1.0, "logit of a yes that is one"),
    "hinge": (fnn.hinge, 1.0, "logit of a yes that is one"),
}
predictions = jnp.linspace(-4, 4, 161)


def of_one(cost, target):
    """The cost of each prediction alone, and its slope."""
    return jax.vmap(jax.value_and_grad(lambda z: cost(z[None], jnp.array([target]))))(predictions)


figure, axes = plt.subplots(3, 3, figsize=(9, 7.5), sharex=True)
for axis, (name, (cost, target, meaning)) in zip(axes.flat, PANELS.items()):
    value, slope = of_one(cost, target)
    axis.axhline(0, color="0.8", linewidth=1)
    axis.plot(predictions, value, color="#0072b2", label="cost")
    axis.plot(predictions, slope, color="#d55e00", linestyle="--", label="slope")
    axis.set(title=name, ylim=(-3, 6), xlabel=meaning)
    axis.spines[["top", "right"]].set_visible(False)
axes[0, 0].legend(frameon=False, loc="upper center")
figure.tight_layout()
figure.savefig("costs.png", dpi=110)
print("drawn to costs.png")

# ── The best constant ─────────────────────────────────────────────────────────────────────────────
# Targets with a long tail, as prices and delays have: exponential, so their mean is above their median.

targets = np.random.default_rng(0).exponential(size=2001).astype(np.float32)
constants = np.linspace(0, 4, 4001, dtype=np.float32)
asked = {
    "mse": (fnn.mse, targets.mean()),
    "rmse": (fnn.rmse, targets.mean()),
    "mae": (fnn.mae, np.median(targets)),
    "quantile, q = 0.1": (functools.partial(fnn.quantile, q=0.1), np.quantile(targets, 0.1)),
    "quantile, q = 0.9": (functools.partial(fnn.quantile, q=0.9), np.quantile(targets, 0.9)),
}


def best_constant(cost):
    """The constant of the lowest cost."""

    def of_all(constant):
        return cost(jnp.full(len(targets), constant), targets)

    return constants[np.argmin(jax.lax.map(of_all, constants, batch_size=256))]


for name, (cost, expected) in asked.items():
    best = best_constant(cost)
    print(f"{name:18s} best constant {best:.3f}, expected {expected:.3f}")
    assert abs(best - expected) < 0.003

for name, cost in {"huber": fnn.huber, "log_cosh": fnn.log_cosh}.items():
    best = best_constant(cost)
    print(f"{name:18s} best constant {best:.3f}, between median and mean")
    assert np.median(targets) < best < targets.mean()
