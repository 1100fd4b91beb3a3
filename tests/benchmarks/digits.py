"""Digits, 64-64-10: how well, how fast, and how soon. Run it on a machine that does nothing else.

    python tests/benchmarks/digits.py            accuracy, microseconds a step, seconds of a first run

Accuracy is on rows never trained on, over ten stratified splits; learning rate and number of epochs are
chosen on a validation part, and the network trained again on all training rows. Speeds are medians of
repeated runs, warm, blocked on; scikit-learn's are taken in turn with ours. A first run is a new process.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import jax
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import fnn

RATES, EPOCHS, BATCH = (0.001, 0.002, 0.005), 150, 32
SPEED_EPOCHS, REPEATS = 50, 9


def network():
    """The network of all measurements."""
    return fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))


def fit(rate, x, y, key, epochs, **options):
    """One run of Adam."""
    rule = fnn.adam(rate)
    return fnn.fit(network(), fnn.softmax_cross_entropy, rule, x, y, key=key, epochs=epochs, **options)


def one_split(seed):
    """Held-out accuracy, after rate and epochs were chosen on a validation part of the training rows."""
    data = load_digits().data / 16, load_digits().target
    test_key, validation_key, fit_key, last_key = jax.random.split(jax.random.key(seed), 4)
    (x, y), (x_test, y_test) = fnn.split(test_key, *data, stratify=data[1])
    (x_part, y_part), held = fnn.split(validation_key, x, y, stratify=y)
    keys = jax.random.split(fit_key, len(RATES))
    tried = [
        fit(rate, x_part, y_part, key, EPOCHS, validation=held) for rate, key in zip(RATES, keys, strict=True)
    ]
    rate, chosen = min(zip(RATES, tried, strict=True), key=lambda pair: float(pair[1].state.best.cost))
    epochs = int(chosen.state.best.epoch)
    fitted = fit(rate, x, y, last_key, epochs)
    accuracy = fnn.evaluate(network(), fitted.params, x_test, y_test, {"accuracy": fnn.accuracy})["accuracy"]
    return accuracy, rate, epochs


def accuracies(splits=10):
    """A line a split, and the mean with its standard error."""
    found = [one_split(seed) for seed in range(splits)]
    for seed, (accuracy, rate, epochs) in enumerate(found):
        print(f"split {seed}  rate {rate}  epochs {epochs:3}  held-out accuracy {accuracy:.4f}")
    values = np.array([accuracy for accuracy, *_ in found])
    print(f"mean {values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(splits):.4f} over {splits} splits\n")


def seconds(run):
    """How long a run takes."""
    clock = time.perf_counter()
    run()
    return time.perf_counter() - clock


def speeds():
    """Microseconds a step of fit and of scikit-learn's MLPClassifier, taken in turn."""
    x, y = load_digits().data[:1437] / 16, load_digits().target[:1437]
    steps = SPEED_EPOCHS * -(-len(x) // BATCH)

    def ours():
        jax.block_until_ready(fit(0.001, x, y, jax.random.key(0), SPEED_EPOCHS).state)

    def theirs():
        peer = MLPClassifier((64,), alpha=0, batch_size=BATCH, max_iter=SPEED_EPOCHS, n_iter_no_change=10**6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(x, y)

    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(REPEATS)]
    us, peer = (statistics.median(column) / steps * 1e6 for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"fit, compiled once      {us:6.1f} µs a step (batch {BATCH}, Adam, {SPEED_EPOCHS} epochs)")
    print(f"scikit-learn's MLP      {peer:6.1f} µs a step, {ratio:.1f} × as long\n")


FIRST_RUN = """
import time
clock = time.perf_counter()
import jax, chex
imported = time.perf_counter()
import fnn
ours = time.perf_counter()
import numpy as np
x = np.random.default_rng(0).normal(size=(1437, 64)); y = np.arange(1437) % 10
network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))
def run():
    begin = time.perf_counter()
    fitted = fnn.fit(network, fnn.softmax_cross_entropy, fnn.adam(), x[:1200], y[:1200], key=jax.random.key(0),
                     epochs=1, validation=(x[1200:], y[1200:]), metrics={"accuracy": fnn.accuracy})
    jax.block_until_ready(fnn.predict(network, fitted.params, x[1200:]))
    return time.perf_counter() - begin
first, second = run(), run()
print(imported - clock, ours - imported, first, second, time.perf_counter() - clock)
"""


def first_runs():
    """Seconds of a whole new process that trains, validates and predicts, and their parts."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:  # of bytecode, which the first process leaves to the others
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(6):
            clock = time.perf_counter()
            command = [sys.executable, "-c", FIRST_RUN]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            rows.append([*map(float, done.stdout.split()), time.perf_counter() - clock])
    columns = zip(*rows[1:], strict=True)
    jax_s, fnn_s, first, second, _, whole = (statistics.median(column) for column in columns)
    print(f"import jax and chex     {jax_s:6.3f} s")
    print(f"import fnn, beyond      {fnn_s:6.3f} s")
    print(f"first fit and predict   {first:6.3f} s, compilation in it")
    print(f"second                  {second:6.3f} s")
    print(f"whole process           {whole:6.3f} s")


if __name__ == "__main__":
    print(f"jax {jax.__version__} on {jax.devices()[0].platform}, {jax.device_count()} device\n")
    accuracies()
    speeds()
    first_runs()
