"""Which learning rate, how wide a network? Sixty-three runs on handwritten digits, side by side.

Run it with `python examples/sweep.py`. It draws the validation cost by rate and width to `sweep.png`. `sweep`
is `fit` with lists: each combination of three widths, seven rates and three seeds is a run. Runs of one width
differ in numbers only and share a compiled program; every core works.
"""

import time

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

WIDTHS, RATES, SEEDS = (4, 16, 64), [float(rate) for rate in np.geomspace(1e-4, 1, 9)[:-2]], 3

test_key, validation_key, key = jax.random.split(jax.random.key(0), 3)
x, y = load_digits(return_X_y=True)
(x, y), (x_test, y_test) = fnn.split(test_key, x / 16, y, stratify=y)
(x, y), held = fnn.split(validation_key, x, y, stratify=y)


def network(width):
    return fnn.serial(fnn.dense(width), jax.nn.relu, fnn.dense(10))


# ── Every combination ─────────────────────────────────────────────────────────────────────────────
# The cost that decides is that of the validation rows. The test rows wait until everything is chosen.

begin = time.perf_counter()
swept = fnn.sweep(
    {width: network(width) for width in WIDTHS},
    fnn.softmax_cross_entropy,
    [fnn.adam(rate) for rate in RATES],
    x,
    y,
    key=jax.random.split(key, SEEDS),
    epochs=20,
    validation=held,
    metrics={"accuracy": fnn.accuracy},
)
print(f"{len(swept.runs)} runs of 20 epochs in {time.perf_counter() - begin:.0f} s, compilation in it")
print("\n".join(str(swept).splitlines()[:9]))

# ── What to look for ──────────────────────────────────────────────────────────────────────────────
# Too low a rate has not arrived after 20 epochs. Too high a rate jumps about. In between there is a valley,
# and the best rate stands inside the grid: at its edge, the grid would have to be longer. The band is the
# range over the seeds. Differences within it are chance.

costs = np.reshape([float(run.state.best.cost) for run in swept.runs], (len(WIDTHS), len(RATES), SEEDS))
figure, axes = plt.subplots(figsize=(7, 4))
for width, each in zip(WIDTHS, costs, strict=True):
    (line,) = axes.loglog(RATES, each.mean(-1), marker="o", label=f"{width} hidden units")
    axes.fill_between(RATES, each.min(-1), each.max(-1), color=line.get_color(), alpha=0.2, linewidth=0)
axes.set(
    xlabel="learning rate of Adam", ylabel="lowest validation cost", title="Mean and range over three seeds"
)
axes.legend()
figure.tight_layout()
figure.savefig("sweep.png", dpi=150)

width, rate = (
    each[i] for each, i in zip((WIDTHS, RATES), np.unravel_index(costs.mean(-1).argmin(), costs.shape[:2]))
)
print(f"\nlowest on the mean of the seeds: {width} hidden units, rate {rate:.2g}")

# ── An ensemble of the seeds ──────────────────────────────────────────────────────────────────────
# The seeds of the chosen setting are networks that make different mistakes. The mean of their probabilities
# is often better than each alone, and its spread says where they disagree.

chosen = [
    run
    for names, run in zip(swept.settings, swept.runs, strict=True)
    if (names["network"], names["learning_rate"]) == (width, rate)
]
accuracy = {"accuracy": fnn.accuracy}
alone = [fnn.evaluate(network(width), run.params, x_test, y_test, accuracy)["accuracy"] for run in chosen]
probabilities = fnn.serial(network(width), jax.nn.softmax)
mean, spread = fnn.ensemble(probabilities, [(run.params, ()) for run in chosen], x_test)
right, doubt = np.argmax(mean, -1) == y_test, np.max(spread, -1)
print(f"test accuracy of each seed {np.round(alone, 3)}, of the ensemble {right.mean():.3f}")
print(f"spread where it is right {doubt[right].mean():.3f}, where it is wrong {doubt[~right].mean():.3f}")

best = costs.mean(-1).argmin(-1)
assert all(0 < place < len(RATES) - 1 for place in best), "a best rate stands at the edge of the grid"
assert right.mean() >= np.mean(alone)
assert doubt[~right].mean() > 3 * doubt[right].mean()
