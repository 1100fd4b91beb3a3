"""Every comparison with other libraries, taken in turns on the same data.

    pip install -e ".[bench]"
    python -m tests.benchmarks                        everything; on two cores half an hour
    python -m tests.benchmarks training sweep         parts: training, layers, each, convolutions, rules, limits, sweep,
                                                      start, memory
    python -m tests.benchmarks --json out.json --picture out.png

Run it on a machine that does nothing else. A time is the median of repeated runs, warm and waited for; its
range stands beside it. A ratio is the median of the ratios of runs that followed one another. Whole processes
and compilation are measured apart, in `start`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import fnn
from tests.benchmarks import beside_flax, beside_optax, convolutions, peers, sequences_and_images
from tests.benchmarks.peers import PEERS, Task

IN_PYTHON = {"PyTorch", "Equinox + Optax", "Flax NNX + Optax", "Keras on JAX"}  # a call a step: fewer epochs


def rows(n, inputs, outputs):
    """Random rows, and targets that depend on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, inputs)).astype("float32")
    return x, np.sin(x @ rng.normal(size=(inputs, outputs)).astype("float32"))


def tasks():
    """From four rows to a million, and from 33 parameters to 670,000."""
    digits = load_digits().data[:1437].astype("float32") / 16, load_digits().target[:1437].astype("int32")
    x, y = rows(6400, 784, 10)
    yield Task("2-8-1, 4 rows, full batch", (2, 8, 1), *rows(4, 2, 1), 4, 4000)
    for power, epochs in ((3, 100), (4, 20), (5, 4), (6, 1)):
        yield Task(f"10-32-1, 10^{power} rows, batch 256", (10, 32, 1), *rows(10**power, 10, 1), 256, epochs)
    yield Task("digits 64-64-10, batch 32", (64, 64, 10), *digits, 32, 50)
    yield Task("784-512-512-10, batch 128", (784, 512, 512, 10), x, y.argmax(-1).astype("int32"), 128, 2)


def seconds(run):
    """How long it takes."""
    clock = time.perf_counter()
    run()
    return time.perf_counter() - clock


def in_turns(runs, repeats):
    """Seconds of each run by name, `repeats` times, one after the other in turns; the first of each is warm-up."""
    for run in runs.values():
        run()
    turns = [{name: seconds(run) for name, run in runs.items()} for _ in range(repeats)]
    return {name: [turn[name] for turn in turns] for name in runs}


def line(part, name, values, unit, reference=None):
    """A row of the table, printed and returned."""
    median, low, high = statistics.median(values), min(values), max(values)
    ratio, shown = None, ""
    if reference is not None:
        ratio = statistics.median(b / a for a, b in zip(reference, values, strict=True))
        shown = f"{ratio:8.2f} × fnn"
    print(f"{part:47}{name:22}{median:11.4g} {unit:12}({low:.4g} … {high:.4g}){shown}", flush=True)
    row = {"part": part, "name": name, "unit": unit}
    return row | {"median": median, "low": low, "high": high, "ratio": ratio}


# The parts -----------------------------------------------------------------------------------------


def training(repeats):
    """Microseconds a step of each library on each task."""
    for task in tasks():
        own, runs = {}, {}
        for name, peer in PEERS.items():
            own[name] = task._replace(epochs=max(1, task.epochs // 10)) if name in IN_PYTHON else task
            try:
                runs[name] = peer(own[name])
            except ImportError as error:
                print(f"{name} is not installed: {error}")
        times = in_turns(runs, repeats)
        steps = {name: [t / own[name].steps * 1e6 for t in each] for name, each in times.items()}
        for name, each in steps.items():
            yield line(task.name, name, each, "µs a step", steps["fnn"])
        if task.sizes[0] == 10:
            rows_made = task.epochs * len(task.x)
            yield line(task.name, "fnn", [t / rows_made * 1e9 for t in times["fnn"]], "ns a row")


def limits(repeats):
    """What the machine can do: products of matrices, copies; and how near the largest task comes."""
    task = list(tasks())[-1]
    square, long = jnp.ones((2048, 2048)), jnp.ones(2**26)
    product = jax.jit(lambda w: jax.lax.fori_loop(0, 10, lambda i, x: x @ w * 1e-4, w))
    copy = jax.jit(lambda x: x + 1)
    runs = {
        "matrices": lambda: jax.block_until_ready(product(square)),
        "copy": lambda: jax.block_until_ready(copy(long)),
        "fnn": PEERS["fnn"](task),
    }
    times = in_turns(runs, repeats)
    rate = [10 * 2 * 2048**3 / t / 1e9 for t in times["matrices"]]
    yield line("limits", "matrix product", rate, "GFLOP/s")
    yield line("limits", "memory, read and write", [2 * 4 * 2**26 / t / 1e9 for t in times["copy"]], "GB/s")
    weights = sum(a * b for a, b in zip(task.sizes[:-1], task.sizes[1:], strict=True))
    flops = 2 * task.batch * (3 * weights - task.sizes[0] * task.sizes[1]) * task.steps  # no δ for the inputs
    share = [flops / t / 1e9 / r for t, r in zip(times["fnn"], rate, strict=True)]
    yield line("limits", f"fnn on {task.name[:14]}", share, "of the product's rate")


def sweep(repeats):
    """Thirty-two learning rates on digits: fnn.sweep, and scikit-learn with joblib on every core."""
    from joblib import Parallel, delayed

    task = list(tasks())[-2]._replace(epochs=20)
    rates = [float(rate) for rate in np.geomspace(1e-4, 1e-2, 32)]

    def ours():
        rules, key = [fnn.adam(rate) for rate in rates], jax.random.key(0)
        cost = fnn.softmax_cross_entropy
        fnn.sweep(peers.network(task), cost, rules, task.x, task.y, key=key, epochs=task.epochs)

    one = peers.scikit_learn(task)
    runs = {"fnn": ours, "scikit-learn, joblib": lambda: Parallel(-1)(delayed(one)() for _ in rates)}
    times = in_turns(runs, repeats)
    for name, each in times.items():
        per_step = [t / task.steps / len(rates) * 1e6 for t in each]
        yield line(
            "32 networks on digits",
            name,
            per_step,
            "µs a step",
            [t / task.steps / 32 * 1e6 for t in times["fnn"]],
        )


IMPORTS = {
    "fnn": """
import fnn, jax
network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))
fitted = fnn.fit(network, fnn.softmax_cross_entropy, fnn.adam(), x, y, key=jax.random.key(0), epochs=50)
print(fnn.evaluate(network, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy}))""",
    "scikit-learn": """
import warnings
from sklearn.neural_network import MLPClassifier
warnings.simplefilter("ignore")
model = MLPClassifier((64,), alpha=0, batch_size=32, max_iter=50, tol=0, n_iter_no_change=10**9).fit(x, y)
print(model.score(x_test, y_test))""",
}
DIGITS = """
from sklearn.datasets import load_digits
x, y = load_digits(return_X_y=True)
x, y, x_test, y_test = x[:1437] / 16, y[:1437], x[1437:] / 16, y[1437:]
"""
PARTS_OF_IMPORT = """
import time
clock = time.perf_counter()
import jax, chex
middle = time.perf_counter()
import fnn
print(middle - clock, time.perf_counter() - middle)
"""
NEW_NETWORKS = """
import fnn, jax, jax.numpy as jnp
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
x = jnp.ones((64, 8))
for i in range(1, {fits} + 1):
    network = fnn.serial(fnn.dense(8), lambda x: jnp.tanh(x), fnn.dense(1))
    fnn.fit(network, fnn.mse, fnn.adam(), x, x[:, :1], key=jax.random.key(0), epochs=1)
    if i in (10, {fits}):
        print(megabytes())
"""
DEEP = """
import time, fnn, jax, numpy as np
x = np.ones((64, 8), "float32")
network = fnn.serial(*[layer for _ in range({depth}) for layer in (fnn.dense(8), jax.nn.tanh)])
clock = time.perf_counter()
fnn.fit(network, fnn.mse, fnn.adam(), x, x, key=jax.random.key(0), epochs=1)
print(time.perf_counter() - clock)
"""


def start(repeats):
    """Seconds of new processes: imports; data, 50 epochs of digits, accuracy; the first fit of deep networks."""
    with tempfile.TemporaryDirectory() as folder:
        own = {**os.environ, "PYTHONPYCACHEPREFIX": f"{folder}/code", "PYTHONDONTWRITEBYTECODE": ""}
        warm = {**own, "JAX_COMPILATION_CACHE_DIR": f"{folder}/programs"}
        warm |= {
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        runs = {
            "fnn": lambda: process(DIGITS + IMPORTS["fnn"], own),
            "fnn, persistent cache": lambda: process(DIGITS + IMPORTS["fnn"], warm),
            "scikit-learn": lambda: process(DIGITS + IMPORTS["scikit-learn"], own),
        }
        times = in_turns(runs, repeats)
        for name, each in times.items():
            yield line("a new process, digits", name, each, "s", times["fnn"])
        imports = [process(PARTS_OF_IMPORT, own).split() for _ in range(repeats)]
        for name, each in zip(("jax and chex", "fnn, beyond them"), zip(*imports, strict=True), strict=True):
            yield line("import", name, list(map(float, each)), "s")
        for depth in (2, 50, 200):
            found = [float(process(DEEP.format(depth=depth), own)) for _ in range(min(repeats, 3))]
            yield line(f"first fit, {depth} layers of 8", "fnn", found, "s")


def memory(repeats, fits=500):
    """Megabytes of a process after ten fits of new networks, and after hundreds; on Linux, some twenty minutes."""
    after = process(NEW_NETWORKS.format(fits=fits), os.environ).split()
    for count, megabytes in zip((10, fits), after, strict=True):
        yield line("memory of a process", f"{count} new networks", [float(megabytes)], "MB")


def process(program, environment):
    """What a new process prints that runs the program."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def layers(repeats):
    """Milliseconds a step of networks with convolutions, with a GRU and with attention."""
    for name in sequences_and_images.DATA:
        found = sequences_and_images.times(name, repeats)
        steps = {each: [t / sequences_and_images.STEPS * 1e3 for t in own] for each, own in found.items()}
        for each, own in steps.items():
            yield line(name, each, own, "ms a step", steps["fnn"])


def each(repeats):
    """Milliseconds of one layer's forward and derivative."""
    for name in beside_flax.pairs():
        found = in_turns(beside_flax.runs(name), 10 * repeats)
        for own, times in found.items():
            yield line(name, own, [1e3 * t for t in times], "ms", found["fnn"])


def convolutions_alone(repeats):
    """Milliseconds of a convolution in fnn's form and in each of the two that it chooses from, and megabytes."""
    ways = [(derived, in_loop) for derived in (False, True) for in_loop in (True, False)]
    for case in convolutions.CASES:
        for derived, in_loop in ways:
            part = f"{convolutions.described(case)}{', derived' * derived}{', loop' * in_loop}"
            calls, megabytes = convolutions.programs(case, derived, in_loop)
            turns = convolutions.TURNS if in_loop else 1
            found = {own: [1e3 * t / turns for t in times] for own, times in in_turns(calls, repeats).items()}
            for own, times in found.items():
                yield line(part, own, times, "ms", found["fnn"])
                yield line(part, own, [megabytes[own]], "MB")


def rules(repeats):
    """Milliseconds of a rule's step on a million parameters."""
    for name in beside_optax.pairs():
        found = in_turns(beside_optax.runs(name), 3 * repeats)
        steps = {own: [1e3 * t / beside_optax.STEPS for t in times] for own, times in found.items()}
        for own, times in steps.items():
            yield line(name, own, times, "ms a step", steps["fnn"])


PARTS = {
    "training": training,
    "layers": layers,
    "each": each,
    "convolutions": convolutions_alone,
    "rules": rules,
    "limits": limits,
    "sweep": sweep,
    "start": start,
    "memory": memory,
}


# What is shown -------------------------------------------------------------------------------------


def draw(found, path):
    """Time a step beside fnn's, a group of bars a task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    timed = [row for row in found if row["unit"] == "µs a step" and row["ratio"]]
    parts = list({row["part"]: None for row in timed})
    figure, axes = plt.subplots(figsize=(9, 1 + 0.9 * len(parts)))
    names = [name for name in [*PEERS, "scikit-learn, joblib"] if any(row["name"] == name for row in timed)][
        1:
    ]
    for i, name in enumerate(names):
        own = [row for row in timed if row["name"] == name]
        places = [parts.index(row["part"]) + (i - len(names) / 2) * 0.1 for row in own]
        axes.barh(places, [row["ratio"] for row in own], height=0.09, label=name)
    axes.axvline(1, color="black", linewidth=1)
    axes.set(
        xscale="log",
        xlabel="time a step, as a multiple of fnn's",
        yticks=range(len(parts)),
        yticklabels=parts,
    )
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.1), ncols=4, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main():
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json")
    parser.add_argument("--picture")
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{platform.machine()}, {cores} cores, {jax.devices()[0].platform}, jax {jax.__version__}"
    print(machine, "\n")
    found = [row for part in asked.parts or PARTS for row in PARTS[part](asked.repeats)]
    if asked.json:
        with open(asked.json, "w", encoding="utf8") as file:
            json.dump({"machine": machine, "rows": found}, file, indent=1, ensure_ascii=False)
    if asked.picture:
        draw(found, asked.picture)


if __name__ == "__main__":
    main()
