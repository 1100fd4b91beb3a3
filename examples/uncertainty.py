"""How sure is a prediction? Intervals that hold nine in ten targets, learned and made to keep their word.

Run it with `python examples/uncertainty.py`. On the 442 rows of scikit-learn's diabetes it compares, over a
hundred splits: a normal distribution with a variance of its own for each row (`gaussian_nll`), two quantiles
(`quantile`), and the same moved by split-conformal prediction, which promises its coverage. It draws one
split and the coverage of all to `uncertainty.png`.
"""

import functools

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from sklearn.datasets import load_diabetes

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt

import fnn

COVERAGE = 0.9
BOUNDS = jnp.array([0.05, 0.95])
NORMAL = 1.645  # of a normal distribution, nine in ten are within ± 1.645 σ

table, progression = load_diabetes(return_X_y=True, scaled=False)
progression = progression[:, None].astype(np.float32)

# ── Three networks ────────────────────────────────────────────────────────────────────────────────


def network(outputs):
    return fnn.serial(fnn.dense(16), jnp.tanh, fnn.dense(outputs))


def train(outputs, cost, x, y, key):
    return fnn.fit(network(outputs), cost, fnn.adam(0.01), x, y, key=key, epochs=100, penalty=fnn.l2(0.01))


quantiles = functools.partial(fnn.quantile, q=BOUNDS)
normal = functools.partial(fnn.gaussian_nll, variance_floor=0.01)

# ── Five intervals ────────────────────────────────────────────────────────────────────────────────
# A fifth of the rows is held out to measure scores on, and a fifth to count coverage on. Nothing was trained
# on either, and nothing chosen.


def intervals(key):
    """For new rows of one split: the targets, the predicted means, and each method's bounds."""
    keys = jax.random.split(key, 5)
    (x, y), (x_rest, y_rest) = fnn.split(keys[0], table, progression, fraction=0.4)
    (x_held, y_held), (x_new, y_new) = fnn.split(keys[1], x_rest, y_rest, fraction=0.5)
    scale, unit = fnn.standardize(x), fnn.standardize(y)
    x, x_held, x_new = scale(x), scale(x_held), scale(x_new)
    y, y_held, y_new = unit(y), unit(y_held), unit(y_new)

    run = train(1, fnn.mse, x, y, keys[2])
    mean_held, mean_new = (fnn.predict(network(1), run.params, rows) for rows in (x_held, x_new))
    run = train(2, quantiles, x, jnp.repeat(y, 2, 1), keys[3])
    pair_held, pair_new = (
        jnp.split(fnn.predict(network(2), run.params, rows), 2, -1) for rows in (x_held, x_new)
    )
    run = train(2, normal, x, y, keys[4])
    (mu_held, s_held), (mu, s) = (
        jnp.split(fnn.predict(network(2), run.params, rows), 2, -1) for rows in (x_held, x_new)
    )
    q = fnn.conformal_quantile(abs(y_held - mu_held) * jnp.exp(-s_held / 2), COVERAGE)
    return (y_new, mean_new), {
        "quantiles": tuple(pair_new),
        "normal": (mu - NORMAL * jnp.exp(s / 2), mu + NORMAL * jnp.exp(s / 2)),
        "conformal: one width": fnn.conformal_interval(mean_held, y_held, mean_new, COVERAGE),
        "conformal: quantiles": fnn.conformal_interval(pair_held, y_held, pair_new, COVERAGE),
        "conformal: normal": (mu - q * jnp.exp(s / 2), mu + q * jnp.exp(s / 2)),
    }


# ── Coverage on rows never trained on ─────────────────────────────────────────────────────────────

shares, widths = {}, {}
for key in jax.random.split(jax.random.key(0), 100):
    (y_new, mean_new), found = intervals(key)
    for name, (low, high) in found.items():
        shares.setdefault(name, []).append(float(((low <= y_new) & (y_new <= high)).mean()))
        widths.setdefault(name, []).append(float((high - low).mean()))

print("interval               holds   lowest … highest of 100 splits   mean width, in σ of y")
for name in shares:
    own = shares[name]
    print(f"{name:22s} {np.mean(own):5.1%} {min(own):8.1%} … {max(own):.1%} {np.mean(widths[name]):25.2f}")

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────

figure, axes = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
for axis, name in zip(axes, ["normal", "conformal: normal"]):
    low, high = found[name]
    order = np.argsort(low[:, 0] + high[:, 0])
    inside = ((low <= y_new) & (y_new <= high))[order, 0]
    place, targets = np.arange(len(order)), np.asarray(y_new)[order, 0]
    axis.vlines(place, low[order, 0], high[order, 0], color="#56b4e9", linewidth=2)
    axis.scatter(place[inside], targets[inside], s=12, color="black", label="target", zorder=3)
    axis.scatter(place[~inside], targets[~inside], marker="x", color="#d55e00", label="outside", zorder=3)
    axis.set(
        title=f"{name}: {inside.mean():.0%} inside", xlabel="new rows, by their predictions", ylim=(-4, 5)
    )
    axis.legend(frameon=False, loc="upper left")
axes[0].set(ylabel="progression, standardised")
for height, name in enumerate(reversed(shares)):
    axes[2].scatter(shares[name], np.full(100, height), s=60, alpha=0.1, color="#0072b2", linewidth=0)
    axes[2].scatter(np.mean(shares[name]), height, marker="|", s=400, color="black")
axes[2].set_yticks(range(len(shares)), [name.replace(": ", ",\n") for name in reversed(shares)])
axes[2].set(ylim=(-0.5, len(shares) - 0.5))
axes[2].axvline(COVERAGE, color="#d55e00", linestyle="--")
axes[2].set(title="100 splits, their mean and the promise", xlabel="share of new targets inside")
for axis in axes:
    axis.spines[["top", "right"]].set_visible(False)
figure.savefig("uncertainty.png", dpi=110)
print("drawn to uncertainty.png")

# ── What holds ────────────────────────────────────────────────────────────────────────────────────
# 89 held-out rows promise ⌈90 · 0.9⌉/90 = 90 % on average, which a hundred splits know to about ½ %.

for name in shares:
    promised = np.mean(shares[name]) >= COVERAGE - 0.015
    assert promised == name.startswith("conformal"), name
