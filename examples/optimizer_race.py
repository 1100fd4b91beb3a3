"""A race of optimizers: seven rules in a ravine, on a saddle, in a curved valley, and on handwritten digits.

Run it with `python examples/optimizer_race.py`. It draws paths through the ravine to `optimizer_race.png`. A
learning rate is a number in the optimizer's state. So each rule is compiled once, and `vmap` runs it with
every rate of a grid side by side.
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
NAMES = [rule.__name__ for rule in RULES]

# ── A straight slope ──────────────────────────────────────────────────────────────────────────────
# The step sizes of each rule, with its default settings, where the slope is the same everywhere. Gradient
# descent takes steps of α times the slope. Momentum's steps grow to ten times that. Adagrad's shrink as 1/√t.
# Adam's are α from the first step, whatever the slope. Adadelta starts near √(ε / (1 − ρ)), because it has no
# past steps to measure by, and grows slowly.


def steps_on(slope, rule):
    def turn(state, _):
        update, state = rule().update(jnp.array(slope), state)
        return state, -update

    return np.asarray(jax.lax.scan(turn, rule().init(jnp.zeros(())), length=1000)[1])


gentle, steep = ({rule.__name__: steps_on(slope, rule) for rule in RULES} for slope in (0.1, 1000.0))
print("step sizes with default rates  slope 0.1: 1st      10th     100th    1000th   slope 1000: 1st")
for name in NAMES:
    print(f"  {name:36}{''.join(f'{s:10.2g}' for s in gentle[name][[0, 9, 99, 999]])}{steep[name][0]:18.2g}")

np.testing.assert_allclose([10 * gentle["gradient_descent"][0], gentle["momentum"][-1]], 0.01, rtol=1e-5)
np.testing.assert_allclose(gentle["adagrad"], 0.01 / np.sqrt(np.arange(1, 1001)), rtol=1e-4)
np.testing.assert_allclose([gentle["adam"], steep["adam"]], 0.001, rtol=1e-4)
for first, g in (gentle["adadelta"][0], 0.1), (steep["adadelta"][0], 1000.0):
    np.testing.assert_allclose(first, g * np.sqrt(1e-6) / np.sqrt(0.05 * g**2 + 1e-6), rtol=1e-5)
    np.testing.assert_allclose(first, np.sqrt(1e-6 / (1 - 0.95)), rtol=1e-2)
assert 1 < gentle["adadelta"][-1] / gentle["adadelta"][0] < 2

# ── Four surfaces ─────────────────────────────────────────────────────────────────────────────────
# A ravine that curves a hundred times as much across as along; the same ravine rotated; a saddle, with the
# start a millionth away from its ridge; and Rosenbrock's curved valley. The lowest height of each is 0. A run
# arrives when its height stays below 0.05 from then on. On each surface, each rule uses the rate of the grid
# with which it arrives first.

SURFACES = {
    "ravine": (lambda x, y: (x**2 + 100 * y**2) / 2, (-4.0, 1.0)),
    "rotated": (lambda x, y: ((0.8 * x + 0.6 * y) ** 2 + 100 * (0.8 * y - 0.6 * x) ** 2) / 2, (-3.8, -1.6)),
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
    away = ~(height < 0.05)  # true for NaN too
    steps = np.where(away.any(1), STEPS - away[:, ::-1].argmax(1), 0)
    best = np.lexsort((np.nan_to_num(height[:, -1], nan=np.inf), steps), axis=0)[0]
    return steps[best, range(4)], np.asarray(RATES)[best], points[best, :, range(4)]


steps, race_rates, paths = map(np.array, zip(*map(race, RULES)))
print(f"\nsteps to arrive (best of {len(RATES)} rates){''.join(f'{name:>15}' for name in SURFACES)}")
for name, counts, own in zip(NAMES, steps, race_rates):
    cells = [f"{n if n < STEPS else '> 2000'} ({rate:.2g})" for n, rate in zip(counts, own)]
    print(f"  {name:31}{''.join(f'{cell:>15}' for cell in cells)}")

# Momentum is fast along the ravine. Rotating the ravine makes no difference to rules with one rate for all
# directions. It slows the four that scale the step for each axis separately, most of all Adagrad. Near the
# ridge of the saddle the slope is almost 0, and gradient descent takes longest to leave it. Adadelta starts
# slowly, and is last in the rotated ravine.

ravine, rotated, saddle, valley = (dict(zip(NAMES, column)) for column in steps.T)
assert max(rotated["momentum"], rotated["nesterov"]) < rotated["gradient_descent"] / 2
assert 10 * ravine["adagrad"] < rotated["adagrad"] and all(ravine[name] < rotated[name] for name in NAMES[3:])
assert all(abs(ravine[name] - rotated[name]) <= 2 for name in NAMES[:3])
assert max(saddle, key=saddle.get) == "gradient_descent" and max(rotated, key=rotated.get) == "adadelta"
assert max(valley["momentum"], valley["nesterov"], valley["adam"]) < valley["gradient_descent"] == STEPS

# ── Digits ────────────────────────────────────────────────────────────────────────────────────────
# All rules start from the same parameters and see the same batches. With default rates, Adadelta has the
# lowest cost after one epoch and after ten, in spite of its slow start. With the best rate of a grid for each
# rule, all end within a tenth of that range: the rate matters more than the rule.

x, y = jnp.asarray(load_digits().data / 16), jnp.asarray(load_digits().target)
network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(10))


def learn(rule):
    """The costs of ten epochs: with the default rate, and with the rate of the grid that ends lowest."""

    def run(rate):
        state = fnn.start(network, rule(rate), x, key=jax.random.key(0))
        return fnn.train(network, fnn.softmax_cross_entropy, rule(rate), state, x, y, epochs=10)[1]["cost"]

    rates = jnp.append(jnp.logspace(-3, 0.5, 8), rule().init(x).hyperparameters["learning_rate"])
    costs = np.asarray(jax.jit(jax.vmap(run))(rates))
    return costs[-1], costs[best := np.nanargmin(costs[:, -1])], rates[best]


bare, best, rates = map(np.array, zip(*map(learn, RULES)))
print("\ndigits: cost of epochs 1 and 10           default rate             best rate")
for name, *costs, rate in zip(NAMES, bare, best, rates):
    print(f"  {name:31}{''.join(f'{c[0]:12.2f} → {c[-1]:.3f}' for c in costs)} ({rate:.2g})")

assert NAMES[bare[:, 0].argmin()] == NAMES[bare[:, -1].argmin()] == "adadelta"
assert best[:, -1].max() < 0.1 and np.ptp(best[:, -1]) < np.ptp(bare[:, -1]) / 10

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────
# The first 40 steps in the rotated ravine, one panel for each rule. Vermilion, from the Okabe–Ito palette, is
# easy to tell from blue and grey for colour-blind readers too.

SHOWN, INK = 40, "#d55e00"
place = list(SURFACES).index("rotated")
surface, start = SURFACES["rotated"]
drawn = [np.vstack([start, path]) for path in paths[:, place, :SHOWN]]
across, up = np.meshgrid(np.linspace(-4.4, 0.6, 200), np.linspace(-4.1, 0.6, 200))
height = np.sqrt(surface(across, up))

figure, axes = plt.subplots(2, 4, figsize=(11, 5.9), sharex=True, sharey=True, layout="constrained")
*panels, corner = axes.flat
for axis, name, path, rate in zip(panels, NAMES, drawn, race_rates[:, place]):
    axis.contourf(across, up, height, 10, cmap="Blues", alpha=0.25)
    axis.contour(across, up, height, 10, colors="#9fb6c8", linewidths=0.6)
    for other in drawn:
        (others,) = axis.plot(*other.T, color="0.68", linewidth=0.8)
    axis.plot(*path.T, color="white", linewidth=4)
    (own,) = axis.plot(*path.T, ".-", color=INK, linewidth=1.6, markersize=5)
    (end,) = axis.plot(*path[-1], "o", color="white", mec=INK, mew=1.8, markersize=8)
    first, lowest = axis.plot(*start, "s", 0, 0, "*", color="black", markersize=8)
    axis.set_title(name.replace("_", " "), loc="left", fontsize=11, fontweight="bold")
    note = f"rate {rate:.2g}\narrives after {rotated[name]} steps"
    axis.text(0.03, 0.97, note, transform=axis.transAxes, va="top", fontsize=8.5, color="0.25")
    axis.set(aspect="equal", xlabel="θ₁", ylabel="θ₂")
    axis.label_outer()
panels[3].tick_params(labelbottom=True)
panels[3].set_xlabel("θ₁")
corner.axis("off")
meaning = {
    "start": first,
    "lowest point": lowest,
    "this rule, a dot for each step": own,
    f"after {SHOWN} steps": end,
    "the other rules": others,
}
corner.legend(meaning.values(), meaning, loc="center", fontsize=9, frameon=False, labelspacing=1)
figure.savefig("optimizer_race.png", dpi=110)
print("\ndrawn to optimizer_race.png")
