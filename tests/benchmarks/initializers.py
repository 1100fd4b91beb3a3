"""Which initializer should be the default of `fnn.dense`? Six are compared on fourteen tables.

    python tests/benchmarks/initializers.py                            some six minutes on two CPU cores
    python tests/benchmarks/initializers.py --rate 0.001 --layers 6    another learning rate, more layers

Networks have two hidden layers of 32 units, with ReLU, tanh or no activation. Adam trains them with learning
rate 0.003 and batches of 32. Each of ten seeds draws its own split (25 % held out), first weights and order
of the batches, the same for all initializers, so that differences from he_normal are taken seed by seed.
Inputs, and targets of regressions, are standardised by the training rows. Measures are of the held-out rows
after 30 epochs, after 100, and after the epoch of these with the lowest held-out cost: what early stopping
would choose if it knew the held-out rows, so a little too good.

For each activation it prints means over tables: R² of regressions, accuracy and cross-entropy of
classifications, each with its difference from he_normal ± one standard error over seeds; the mean rank among
the six by R² or accuracy (1 is best, 3.5 the middle); and on how many tables the held-out cost is lower, and
higher, than he_normal's by more than two standard errors (chance makes each of them 1 table in 26). Then come
the tables whose R² or accuracy differs most, of those that differ by more than two standard errors.
"""

import argparse
import csv
import functools
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.datasets as bundled

import fnn

SEEDS, EPOCHS, BATCH, UNITS, SHOWN = 10, 100, 32, 32, 15
WHEN = "30 epochs", "100 epochs", "best epoch"
ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "none": jax.nn.identity}
HE, LECUN = jax.nn.initializers.he_normal(), jax.nn.initializers.lecun_normal()
NORMAL, UNIFORM = jax.nn.initializers.glorot_normal(), jax.nn.initializers.glorot_uniform()
INITIALIZERS = {  # of hidden layers, and of the output; the first is what the others are compared with
    "he_normal": (HE, HE),
    "glorot_uniform": (UNIFORM, UNIFORM),
    "glorot_normal": (NORMAL, NORMAL),
    "lecun_normal": (LECUN, LECUN),
    "he, out glorot": (HE, UNIFORM),
    "he, out lecun": (HE, LECUN),
}
PENGUINS = pathlib.Path(__file__).parents[2] / "examples" / "data" / "penguins.csv"


def tables():
    """Rows and targets by name. Integer targets are classes, others quantities."""
    draw = np.random.default_rng(0)
    with open(PENGUINS, newline="") as file:
        penguins = [row for row in csv.DictReader(file) if "NA" not in row.values()]
    names, mass = [row["species"] for row in penguins], [float(row["body_mass_g"]) for row in penguins]
    without = lambda name: [{column: row[column] for column in row if column != name} for row in penguins]
    x, line, noise = draw.normal(size=(1000, 8)), draw.uniform(-1, 1, (500, 1)), draw.normal(size=1000)
    arm, turn = np.arange(600) % 2, draw.uniform(0.5, 2.5, (600, 1)) * np.pi
    angle = turn + np.pi * arm[:, None]
    spirals = turn * np.hstack([np.cos(angle), np.sin(angle)]) + draw.normal(scale=0.5, size=(600, 2))
    return {
        "diabetes": bundled.load_diabetes(return_X_y=True),
        "penguin mass": (without("body_mass_g"), np.array(mass)),
        "friedman1": bundled.make_friedman1(1000, noise=1.0, random_state=0),
        "friedman2": bundled.make_friedman2(1000, noise=100.0, random_state=0),
        "tanh": (x, np.tanh(x @ draw.normal(size=(8, 2)) / 2) @ [1.0, 0.5] + 0.2 * noise),
        "sine": (line, np.sin(6 * line[:, 0]) + 0.2 * noise[:500]),
        "digits": bundled.load_digits(return_X_y=True),
        "wine": bundled.load_wine(return_X_y=True),
        "breast cancer": bundled.load_breast_cancer(return_X_y=True),
        "iris": bundled.load_iris(return_X_y=True),
        "penguins": (without("species"), fnn.labels(names)(names)),
        "moons": bundled.make_moons(600, noise=0.25, random_state=0),
        "circles": bundled.make_circles(600, noise=0.15, factor=0.5, random_state=0),
        "spirals": (spirals, arm),
    }


def has_classes(y):
    return np.issubdtype(y.dtype, np.integer)


def split(x, y, seed):
    """Rows to train on and held-out rows, scaled by the first."""
    y, classes = (y.astype(np.int32), y) if has_classes(y) else (y[:, None], None)
    (x, y), (x_test, y_test) = fnn.split(jax.random.key(seed), x, y, fraction=0.25, stratify=classes)
    scale_x = fnn.encode(x) if isinstance(x, list) else fnn.standardize(x)
    scale_y = fnn.standardize(y) if classes is None else np.asarray
    return scale_x(x), scale_y(y), scale_x(x_test), scale_y(y_test)


def measure(x, y, rate, depth):
    """Held-out scores and costs, (2, activations, initializers, seeds, when)."""
    outputs, cost, score = 1, fnn.mse, fnn.r2_score
    if has_classes(y):
        outputs, cost, score = int(y.max()) + 1, fnn.softmax_cross_entropy, fnn.accuracy
    rows = stack([split(x, y, seed) for seed in range(SEEDS)])
    init_keys, run_keys = jax.random.split(jax.random.key(SEEDS), (2, SEEDS))

    def network(activation, hidden=HE, output=HE):
        return fnn.serial(*depth * (fnn.dense(UNITS, hidden), activation), fnn.dense(outputs, output))

    def begin(key, x):
        return stack([network(jnp.tanh, *pair).init(key, x) for pair in INITIALIZERS.values()])

    @functools.partial(jax.jit, static_argnums=0)
    @functools.partial(jax.vmap, in_axes=(None, 0, None, None))  # initializers, compiled once for all
    @functools.partial(jax.vmap, in_axes=(None, 0, 0, 0))  # seeds
    def run(activation, params, key, rows):
        x, y, *_ = rows
        state = fnn.start(network(activation), fnn.adam(rate), x, key=key, params=params)
        options = dict(epochs=EPOCHS, batch_size=BATCH, validation=rows[2:], metrics={"score": score})
        _, history = fnn.train(network(activation), cost, fnn.adam(rate), state, x, y, **options)
        costs = history["validation_cost"]
        when = jnp.array([29, EPOCHS - 1, costs.argmin()])
        return jnp.stack([history["validation_score"][when], costs[when]])

    params = jax.jit(jax.vmap(begin, out_axes=1))(init_keys, rows[0])
    found = [run(activation, params, run_keys, rows) for activation in ACTIVATIONS.values()]
    return np.moveaxis(np.asarray(found, float), 3, 0)


def stack(trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def with_error(differences):
    """Means over the last axis, the seeds, and their standard errors."""
    return differences.mean(-1), differences.std(-1, ddof=1) / np.sqrt(SEEDS)


def ranks(scores):
    """The mean rank of each initializer over tables, by its mean over seeds; ties share theirs."""
    means = scores.mean(-1).round(6)
    mine, others = means[:, :, None], means[:, None]
    return ((others > mine).sum(-1) + ((others == mine).sum(-1) + 1) / 2).mean(0)


def print_means(title, scores, costs, classes):
    """A line for each initializer; scores and costs are (tables, initializers, seeds)."""
    columns = {"R²": scores[~classes], "accuracy": scores[classes], "cross-entropy": costs[classes]}
    print(f"\n{title:24}" + "".join(f"{name:27}" for name in columns) + "rank   cost lower, higher")
    change, error = with_error(costs - costs[:, :1])
    lower, higher = (change < -2 * error).sum(0), (change > 2 * error).sum(0)
    for place, name in enumerate(INITIALIZERS):
        line = f"  {name:22}"
        for values in columns.values():
            means = values.mean(0)  # over tables: (initializers, seeds)
            line += f"{means[place].mean():.4f} "
            line += "{:+.4f} ± {:.4f}   ".format(*with_error(means[place] - means[0])) if place else " " * 20
        line += f"{ranks(scores)[place]:4.1f}"
        print(line + f"{lower[place]:8}{higher[place]:8}" if place else line)


def print_largest(scores, names):
    """The largest differences; scores are (tables, activations, when, initializers, seeds)."""
    change, error = with_error(scores - scores[..., :1, :])
    clear = np.where(abs(change) > 2 * error, abs(change), 0).max(-1)  # (tables, activations, when)
    heads = "".join(f"{name:16}" for name in [*INITIALIZERS][1:])
    print(f"\n{'R² or accuracy':36}he_normal  {heads.rstrip()}")
    order = np.argsort(-clear.max(-1), axis=None)[:SHOWN]
    for table, activation in zip(*np.unravel_index(order, clear.shape[:2])):
        when = clear[table, activation].argmax()
        place = table, activation, when
        line = f"  {[*ACTIVATIONS][activation]:6}{names[table]:15}{WHEN[when]:13}"
        line += f"{scores[place][0].mean():6.3f}   "
        print(line + "".join(f"  {d:+.3f} ± {e:.3f}" for d, e in zip(change[place][1:], error[place][1:])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--layers", type=int, default=2)
    options, clock, data = parser.parse_args(), time.perf_counter(), tables()
    platform = jax.devices()[0].platform
    print(f"jax {jax.__version__} on {platform}, {len(data)} tables, {SEEDS} seeds, ", end="")
    print(f"{options.layers} hidden layers of {UNITS}, Adam {options.rate}")
    found = np.stack([measure(x, y, options.rate, options.layers) for x, y in data.values()])
    scores, costs = np.moveaxis(found, (1, 5), (0, 3))  # (tables, activations, when, initializers, seeds)
    classes = np.array([has_classes(y) for _, y in data.values()])
    for place, activation in enumerate(ACTIVATIONS):
        for when, title in enumerate(WHEN):
            print_means(f"{activation}, {title}", scores[:, place, when], costs[:, place, when], classes)
    print_largest(scores, list(data))
    print(f"\n{time.perf_counter() - clock:.0f} s")
