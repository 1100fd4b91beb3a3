"""Every schedule, drawn; and what a falling rate does to a run on handwritten digits.

Run it with `python examples/schedules.py`. It draws the schedules, and the costs that they lead to, to
`schedules.png`. A high rate is fast, and never settles. A low rate settles, and is slow. A schedule is high
at first, and low at the end.
"""

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

# ── The schedules ─────────────────────────────────────────────────────────────────────────────────
# A schedule counts updates, one for each batch. So a run of 10 epochs of 90 batches is 900 steps long.

split_key, key = jax.random.split(jax.random.key(0))
x, y = load_digits(return_X_y=True)
(x, y), held = fnn.split(split_key, x / 16, y, stratify=y)
EPOCHS, BATCH, RATES, SEEDS = 10, 16, (0.01, 0.03, 0.1, 0.3), 5
STEPS = EPOCHS * -(-len(x) // BATCH)
TENTH = STEPS // 10

SCHEDULES = {  # each by its highest rate
    "constant": lambda rate: rate,
    "piecewise": lambda rate: fnn.piecewise(rate, {5 * TENTH: rate / 3, 8 * TENTH: rate / 10}),
    "step_decay": lambda rate: fnn.step_decay(rate, steps=STEPS / 4, factor=0.3),
    "exponential_decay": lambda rate: fnn.exponential_decay(rate, STEPS, factor=0.05),
    "polynomial_decay": lambda rate: fnn.polynomial_decay(rate, STEPS),
    "cosine": lambda rate: fnn.cosine(rate, STEPS),
    "warmup, then cosine": lambda rate: fnn.warmup(TENTH, fnn.cosine(rate, STEPS - TENTH)),
    "warmup_stable_decay": lambda rate: fnn.warmup_stable_decay(rate, STEPS, warmup=TENTH, decay=3 * TENTH),
    "one_cycle": lambda rate: fnn.one_cycle(rate, STEPS),
    "inverse_square_root": lambda rate: fnn.inverse_square_root(rate, warmup=TENTH),
    "cosine_restarts": lambda rate: fnn.cosine_restarts(rate, steps=STEPS / 7, stretch=2),
    "join": lambda rate: fnn.join(rate / 2, {3 * TENTH: rate, 5 * TENTH: fnn.cosine(rate, 5 * TENTH)}),
}

# ── Six of them in a run ──────────────────────────────────────────────────────────────────────────
# Every combination of six schedules, four highest rates and five seeds is a run. Runs of one schedule differ
# in numbers only: six programs are compiled for 120 runs. What counts is the cost of the held-out rows after
# the last epoch.

RUN = "constant", "step_decay", "cosine", "warmup, then cosine", "warmup_stable_decay", "one_cycle"
swept = fnn.sweep(
    fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(10)),
    fnn.softmax_cross_entropy,
    {(name, rate): fnn.momentum(SCHEDULES[name](rate)) for name in RUN for rate in RATES},
    x,
    y,
    key=jax.random.split(key, SEEDS),
    epochs=EPOCHS,
    batch_size=BATCH,
    validation=held,
    metrics={"accuracy": fnn.accuracy},
)


def last(measure):
    """The measure after the last epoch, by schedule, rate and seed."""
    found = [run.history[measure][-1] for run in swept.runs]
    return dict(zip(RUN, np.reshape(found, (len(RUN), len(RATES), SEEDS))))


costs, accuracies = last("validation_cost"), last("validation_accuracy")
best = {name: cost.mean(-1).argmin() for name, cost in costs.items()}  # the place of the best rate
print(f"held-out cost after {STEPS} updates, mean of {SEEDS} seeds, and accuracy at the best rate")
print(f"{'highest rate':22}{''.join(f'{rate:9g}' for rate in RATES)}")
for name in RUN:
    accuracy = accuracies[name][best[name]].mean()
    print(f"{name:22}{''.join(f'{cost:9.3f}' for cost in costs[name].mean(-1))}{accuracy:11.3f}")

# Each schedule beats the best constant rate, from a higher rate than that one. A run that stays at the higher
# rate ends worse, and differs more from seed to seed.

constant = costs["constant"]
for name in RUN[1:]:
    own = costs[name][best[name]]
    assert own.mean() < 0.95 * constant.mean(-1).min(), name
    assert RATES[best[name]] > RATES[best["constant"]], name
    assert own.mean() < constant[best[name]].mean() and own.std() < constant[best[name]].std(), name

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────
# On the left is what each schedule does, during the run and after it. On the right are the costs: a dot for
# each seed, a bar for their mean. Shapes tell what the colours tell.

figure = plt.figure(figsize=(13, 6.4), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[2.5, 1])
steps = np.arange(int(1.2 * STEPS))
for axes, (name, make) in zip(left.subplots(3, 4, sharex=True, sharey=True).flat, SCHEDULES.items()):
    schedule = make(0.1)
    rates = jax.vmap(schedule)(steps) if callable(schedule) else np.full(steps.shape, schedule)
    axes.axvspan(STEPS, steps[-1], color="0.92")
    axes.plot(steps, rates, color="#0072b2", linewidth=1.8)
    axes.plot(0, rates[0], "o", color="#d55e00", markersize=5, clip_on=False, zorder=3)
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold" if name in RUN else "normal")
    axes.set(xlim=(0, steps[-1]), ylim=(-0.004, 0.108), xlabel="step", ylabel="rate")
    axes.label_outer()
left.suptitle("The rate at each step: a dot at the first, grey after the run, bold what is run", fontsize=11)

axes = right.subplots()
for row, name in enumerate(RUN):
    own = costs[name][best[name]]
    axes.scatter(own, [row] * SEEDS, s=22, color="#0072b2", alpha=0.7, linewidths=0)
    axes.scatter(own.mean(), row, s=420, marker="|", color="#d55e00", linewidths=2.5)
    note = f"{name}\nhighest rate {RATES[best[name]]:g}: cost {own.mean():.3f}"
    axes.text(0.02, row - 0.2, note, transform=axes.get_yaxis_transform(), fontsize=9, va="bottom")
axes.set(ylim=(len(RUN) - 0.6, -0.9), yticks=[], xlabel="cost of the held-out digits")
right.suptitle("After a run, at the best of four rates", fontsize=11)
figure.savefig("schedules.png", dpi=110)
print("\ndrawn to schedules.png")
