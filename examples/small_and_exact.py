"""A small network on all its rows at once: two rules that find their own step length, beside Adam.

Run it with `python examples/small_and_exact.py`. It draws paths in a valley to `small_and_exact.png`, and
the cost of two networks by steps and by time to `small_and_exact_cost.png`. L-BFGS and Levenberg–Marquardt
use the curvature of the cost. They need no learning rate, and the cost never rises. Their steps cost more
than Adam's, so both steps and time are shown.
"""

import time
import warnings

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes
from sklearn.neural_network import MLPRegressor

import fnn

RULES = {  # and how many steps: about the same time for each
    "Adam": (fnn.adam(0.01), 6000),
    "L-BFGS": (fnn.lbfgs(), 1500),
    "Levenberg–Marquardt": (fnn.levenberg_marquardt(), 150),
}
COLORS = {"Adam": "#0072b2", "L-BFGS": "#d55e00", "Levenberg–Marquardt": "#009e73", "scikit-learn": "0.4"}

# ── A valley ──────────────────────────────────────────────────────────────────────────────────────
# Rosenbrock's: a sum of squares whose floor is curved and almost flat. Down the slope is easy, along the
# floor is hard. Levenberg–Marquardt knows that it is a sum of squares, and is given their terms: the
# predictions of an fnn.Objective, whose cost compares them with 0.

valley = fnn.Objective(
    lambda place: jnp.stack([10 * (place[1] - place[0] ** 2), 1 - place[0]]),
    lambda terms: fnn.mse(terms, jnp.zeros(2)),
)


def path(rule, steps):
    """The places of a descent from (−1.2, 1), and how many steps it takes to a cost below 1e-6."""

    def turn(carry, _):
        place, state = carry
        value, grads = jax.value_and_grad(valley)(place)
        extra = {} if rule.update is fnn.adam().update else {"value": value, "value_fn": valley}
        updates, state = rule.update(grads, state, place, **extra)
        place = fnn.apply_updates(place, updates)
        return (place, state), (place, value)

    begin = jnp.array([-1.2, 1.0])
    _, (places, costs) = jax.lax.scan(turn, (begin, rule.init(begin)), length=steps)
    return np.vstack([begin, places]), int(np.argmax(costs < 1e-6))


a, b = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-0.6, 1.8, 200))
height = np.log10((100 * (b - a**2) ** 2 + (1 - a) ** 2) / 2 + 1e-3)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharey=True)
through_valley = {name: rule for name, (rule, _) in RULES.items()} | {"Adam": fnn.adam(0.03)}
for axis, (name, rule) in zip(axes, through_valley.items()):
    places, steps = path(rule, 3000 if name == "Adam" else 60)
    axis.contourf(a, b, height, 12, cmap="Greys")
    axis.plot(*places[: steps + 1].T, "o-", color=COLORS[name], markersize=3, linewidth=1)
    axis.plot(1, 1, "*", color="black", markersize=10)
    axis.set(title=f"{name}: {steps} steps", xlabel="first parameter", xlim=(-1.6, 1.6), ylim=(-0.6, 1.8))
    print(f"{name}: {steps} steps through the valley")
    assert steps
axes[0].set(ylabel="second parameter")
figure.tight_layout()
figure.savefig("small_and_exact.png", dpi=110)

# ── Two problems ──────────────────────────────────────────────────────────────────────────────────
# A curve with noise, of variance 0.01: no network can come below that on new points. And a table, whose rows
# of patients are few and noisy: there a network that fits its rows too well gets worse on new ones.


def curve():
    noise_key, x_key = jax.random.split(jax.random.key(0))
    x = jax.random.uniform(x_key, (200, 1), minval=-3, maxval=3)
    return x, jnp.sin(2 * x) + 0.1 * jax.random.normal(noise_key, (200, 1))


def table():
    x, y = load_diabetes(return_X_y=True)
    y = y[:, None]
    return fnn.standardize(x)(x), fnn.standardize(y)(y)


PROBLEMS = {"a curve, 1-20-1": (20, *curve()), "diabetes, 10-10-1": (10, *table())}
key, split_key = jax.random.split(jax.random.key(1))

# ── Runs ──────────────────────────────────────────────────────────────────────────────────────────
# All rows are one batch. The validation cost chooses the parameters that fit returns.


def run(rule, steps, network, rows, held):
    """The run, and the seconds of its second call: the first compiles."""
    for _ in range(2):
        clock = time.perf_counter()
        fitted = fnn.fit(
            network, fnn.mse, rule, *rows,
            key=jax.random.clone(key), epochs=steps, batch_size=len(rows[0]), validation=held,
        )  # fmt: skip
    return fitted, time.perf_counter() - clock


def scikit_learn(hidden, rows, held):
    """Held-out cost and seconds of scikit-learn's L-BFGS, which stops by itself."""
    clock = time.perf_counter()
    peer = MLPRegressor(
        hidden_layer_sizes=(hidden,), activation="tanh", solver="lbfgs", alpha=0,
        max_iter=1500, max_fun=10**6, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings(action="ignore"):  # it says that 1500 iterations were not enough
        peer.fit(np.asarray(rows[0], float), np.asarray(rows[1], float).ravel())
    seconds = time.perf_counter() - clock
    errors = peer.predict(np.asarray(held[0], float)) - np.asarray(held[1], float).ravel()
    return float(np.mean(errors**2)), float(2 * peer.loss_), seconds


found = {}
for problem, (hidden, x, y) in PROBLEMS.items():
    rows, held = fnn.split(jax.random.clone(split_key), x, y)
    network = fnn.serial(fnn.dense(hidden), jnp.tanh, fnn.dense(1))
    print(problem)
    for name, (rule, steps) in RULES.items():
        fitted, seconds = run(rule, steps, network, rows, held)
        cost, best = fitted.history["cost"], float(fitted.history["validation_cost"].min())
        found[problem, name] = cost, seconds, best
        print(f"  {name:20s} {steps:5d} steps, {1e6 * seconds / steps:5.0f} µs each: cost {cost[-1]:.4f}, "
              f"best on held-out rows {best:.4f}")  # fmt: skip
    best, cost, seconds = scikit_learn(hidden, rows, held)
    found[problem, "scikit-learn"] = cost, seconds, best
    print(
        f"  scikit-learn, lbfgs  {seconds:.2f} s until it stops: cost {cost:.4f}, on held-out rows {best:.4f}"
    )

# ── How many steps for the same cost ──────────────────────────────────────────────────────────────

for problem in PROBLEMS:
    exact = found[problem, "Levenberg–Marquardt"][0]
    target = exact[30]
    needed = {name: int(np.argmax(found[problem, name][0] <= target)) or None for name in RULES}
    print(f"{problem}: a cost of {target:.3f} takes", needed)
    assert needed["Adam"] is None or needed["Adam"] > 10 * needed["Levenberg–Marquardt"]

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────

curves, axes = plt.subplots(2, 2, figsize=(10, 7), sharey="row")
for row, problem in zip(axes, PROBLEMS):
    for name in RULES:
        cost, seconds, _ = found[problem, name]
        steps = np.arange(1, len(cost) + 1)
        row[0].plot(steps, cost, color=COLORS[name], label=name)
        row[1].plot(1e3 * seconds * steps / len(cost), cost, color=COLORS[name])
    cost, seconds, _ = found[problem, "scikit-learn"]
    row[1].plot(1e3 * seconds, cost, "D", color=COLORS["scikit-learn"])
    row[1].annotate(
        "scikit-learn,\nlbfgs", (1e3 * seconds, cost), (4, 6), textcoords="offset points", fontsize=8
    )
    row[0].set(title=problem, xscale="log", yscale="log", xlabel="steps", ylabel="mean squared error")
    row[1].set(title=problem, xscale="log", yscale="log", xlabel="milliseconds, without compilation")
axes[0, 0].legend(frameon=False)
for axis in axes.flat:
    axis.spines[["top", "right"]].set_visible(False)
curves.tight_layout()
curves.savefig("small_and_exact_cost.png", dpi=110)
print("drawn to small_and_exact.png and small_and_exact_cost.png")

# ── What holds ────────────────────────────────────────────────────────────────────────────────────

for problem in PROBLEMS:
    for name in ("L-BFGS", "Levenberg–Marquardt"):
        cost, _, best = found[problem, name]
        assert (np.diff(cost) <= 1e-6).all(), "the cost never rises"
        assert best < 1.25 * found[problem, "Adam"][2], "about as good as Adam on rows that it has not seen"
