"""A race of optimizers: seven rules in a ravine, on a saddle, in a curved valley, and on handwritten digits.

Run it with `python examples/optimizer_race.py`. It draws the paths to `optimizer_race.png`. A learning rate
is a number in a rule's state: a rule is compiled once, and runs with every rate of a grid, by `vmap`.
"""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

RULES = fnn.gradient_descent, fnn.momentum, fnn.nesterov, fnn.adagrad, fnn.rmsprop, fnn.adadelta, fnn.adam
COLOURS = "black", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#cc79a7", "#0053b8"
NAMES = [rule.__name__ for rule in RULES]

# ── A straight slope ──────────────────────────────────────────────────────────────────────────────
# The steps of each rule, with its defaults, where the slope is the same everywhere. Gradient descent's are α
# times the slope, momentum's grow to ten of them. Adagrad's shrink as 1/√t. Adam's are α from the first on,
# whatever the slope. Adadelta begins near √(ε / (1 − ρ)), for it knows no distance yet, and grows slowly.


def steps_on(slope, rule):
    def turn(state, _):
        update, state = rule().update(jnp.array(slope), state)
        return state, -update

    return np.asarray(jax.lax.scan(turn, rule().init(jnp.zeros(())), length=1000)[1])


gentle, steep = ({rule.__name__: steps_on(slope, rule) for rule in RULES} for slope in (0.1, 1000.0))
print("steps with bare defaults       slope 0.1: 1st      10th     100th    1000th   slope 1000: 1st")
for name in NAMES:
    print(f"  {name:36}{''.join(f'{s:10.2g}' for s in gentle[name][[0, 9, 99, 999]])}{steep[name][0]:18.2g}")

np.testing.assert_allclose([10 * gentle["gradient_descent"][0], gentle["momentum"][-1]], 0.01, rtol=1e-5)
np.testing.assert_allclose(gentle["adagrad"], 0.01 / np.sqrt(np.arange(1, 1001)), rtol=1e-4)
np.testing.assert_allclose([gentle["adam"], steep["adam"]], 0.001, rtol=1e-4)
for first, g in (gentle["adadelta"][0], 0.1), (steep["adadelta"][0], 1000.0):
    np.testing.assert_allclose(first, g * np.sqrt(1e-6) / np.sqrt(0.05 * g**2 + 1e-6), rtol=1e-5)
    np.testing.assert_allclose(first, np.sqrt(1e-6 / (1 - 0.95)), rtol=1e-2)
assert 1 < gentle["adadelta"][-1] / gentle["adadelta"][0] < 2

# ── Three surfaces ────────────────────────────────────────────────────────────────────────────────
# A ravine, a hundred times as curved across as along, once along an axis and once turned; a saddle, begun a
# millionth beside its ridge; and Rosenbrock's curved valley. Each is 0 where it is lowest. Every rule has, on
# every surface, the rate of the grid with which it arrives first: where the height stays under 0.05.

SURFACES = {
    "ravine": (lambda x, y: (x**2 + 100 * y**2) / 2, (-4.0, 1.0)),
    "turned": (lambda x, y: ((0.8 * x + 0.6 * y) ** 2 + 100 * (0.8 * y - 0.6 * x) ** 2) / 2, (-3.8, -1.6)),
    "saddle": (lambda x, y: 10 * x**2 - y**2 + y**4 / 2 + 0.5, (0.7, 1e-6)),
    "valley": (lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2, (-1.5, 2.0)),
}
START, RATES, STEPS = jnp.array([start for _, start in SURFACES.values()]), jnp.logspace(-4, 1, 16), 2000


def race(rule):
    """For each surface: steps to arrive, the rate (if none does, the one that ends lowest), the path."""

    def heights(points):
        return jnp.stack([surface(*point) for (surface, _), point in zip(SURFACES.values(), points)])

    def run(rate):
        def turn(carry, _):
            slopes = jax.grad(lambda points: heights(points).sum())(carry[0])
            updates, state = rule().update(slopes, carry[1])
            points = fnn.apply_updates(carry[0], updates)
            return (points, state), (points, heights(points))

        return jax.lax.scan(turn, (START, rule(rate).init(START)), length=STEPS)[1]

    points, height = map(np.asarray, jax.jit(jax.vmap(run))(RATES))
    away = ~(height < 0.05)  # so that NaN is away too
    steps = np.where(away.any(1), STEPS - away[:, ::-1].argmax(1), 0)
    best = np.lexsort((np.nan_to_num(height[:, -1], nan=np.inf), steps), axis=0)[0]
    return steps[best, range(4)], np.asarray(RATES)[best], points[best, :, range(4)]


steps, rates, paths = map(np.array, zip(*map(race, RULES)))
print(f"\nsteps to arrive (best of {len(RATES)} rates){''.join(f'{name:>15}' for name in SURFACES)}")
for name, counts, own in zip(NAMES, steps, rates):
    cells = [f"{n if n < STEPS else '> 2000'} ({rate:.2g})" for n, rate in zip(counts, own)]
    print(f"  {name:31}{''.join(f'{cell:>15}' for cell in cells)}")

# Momentum hurries along the ravine. How it is turned is all one to rules with one rate for all directions,
# but not to Adagrad, with one for each axis. Beside the ridge the slope is next to nothing, and gradient
# descent waits longest. Adadelta, with its slow start, is last in the turned ravine.

ravine, turned, saddle, valley = (dict(zip(NAMES, column)) for column in steps.T)
assert max(turned["momentum"], turned["nesterov"]) < turned["gradient_descent"] / 2
assert 10 * ravine["adagrad"] < turned["adagrad"] and all(abs(ravine[n] - turned[n]) <= 2 for n in NAMES[:3])
assert max(saddle, key=saddle.get) == "gradient_descent" and max(turned, key=turned.get) == "adadelta"
assert max(valley["momentum"], valley["nesterov"], valley["adam"]) < valley["gradient_descent"] == STEPS

# ── Digits ────────────────────────────────────────────────────────────────────────────────────────
# From the same parameters, on the same batches. With bare defaults Adadelta leads from the first epoch, slow
# start or not. With the best rate of a grid for each they end closer together, and gradient descent last.

x, y = jnp.asarray(load_digits().data / 16), jnp.asarray(load_digits().target)
network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(10))


def learn(rule):
    """The costs of ten epochs, with the default rate and with that of the grid which ends lowest."""

    def run(rate):
        state = fnn.start(network, rule(rate), x, key=jax.random.key(0))
        return fnn.train(network, fnn.softmax_cross_entropy, rule(rate), state, x, y, epochs=10)[1]["cost"]

    rates = jnp.append(jnp.logspace(-3, 0.5, 8), rule().init(x).hyperparameters["learning_rate"])
    costs = np.asarray(jax.jit(jax.vmap(run))(rates))
    return costs[-1], costs[best := np.nanargmin(costs[:, -1])], rates[best]


bare, best, rates = map(np.array, zip(*map(learn, RULES)))
print("\ndigits: cost of epochs 1 and 10           bare default             best rate")
for name, *costs, rate in zip(NAMES, bare, best, rates):
    print(f"  {name:31}{''.join(f'{c[0]:12.2f} → {c[-1]:.3f}' for c in costs)} ({rate:.2g})")

assert NAMES[bare[:, 0].argmin()] == NAMES[bare[:, -1].argmin()] == "adadelta"
assert NAMES[best[:, -1].argmax()] == "gradient_descent" and np.ptp(best[:, -1]) < np.ptp(bare[:, -1])

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────

plt.rc("axes", prop_cycle=plt.cycler(color=COLOURS, linestyle=["-", "-", "--", "-", "-", "-", "-"]))
figure, axes = plt.subplots(2, 3, figsize=(12, 8), layout="constrained")
views = ((0, 0), (-4.6, 1, -4, 1)), ((0, 1), (-1, 1, -0.5, 1.5)), ((1, 1), (-2, 3.3, -0.8, 4.5))
for place, (axis, (lowest, view)) in enumerate(zip(axes[0], views), start=1):
    title, (surface, start) = list(SURFACES.items())[place]
    across, up = np.meshgrid(np.linspace(*view[:2], 200), np.linspace(*view[2:], 200))
    axis.contour(across, up, np.log1p(50 * surface(across, up)), 12, colors="0.85", linewidths=0.8)
    for rank, path in enumerate(paths[:, place, :40]):
        axis.plot(*np.vstack([start, path]).T, linewidth=1.2)
        axis.plot(*path[-1], "o", color=COLOURS[rank], markersize=13 - rank, mec="white", zorder=3)
    axis.plot(*start, "s", *lowest, "*", color="0.3", markersize=9)
    axis.set(title=title.replace("turned", "ravine, turned"), xlim=view[:2], ylim=view[2:])
    axis.locator_params(nbins=6)
for axis, costs, title in zip(axes[1], (bare, best), ("digits, bare defaults", "digits, best rates")):
    lines = axis.plot(range(1, 11), costs.T)
    axis.set(yscale="log", title=title, xlabel="epoch", ylabel="cost")
axes[1, 2].axis("off")
axes[1, 2].legend(lines, NAMES, title="■ start   ● after 40 steps   ★ lowest", loc="center", frameon=False)
figure.savefig("optimizer_race.png", dpi=110)
print("\ndrawn to optimizer_race.png")
