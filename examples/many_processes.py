"""A pool of processes, each training networks: how to search on several cores without a worker that hangs.

Run it with `python examples/many_processes.py`. JAX has threads, and a process made by fork, the default on
Linux before Python 3.14, has their locks but not the threads: it can wait for ever. So workers are spawned:
each begins as a new process and imports this file, so the pool is made under `if __name__ == "__main__"`.
"""

import concurrent.futures
import multiprocessing

import jax
import numpy as np

import fnn

SPLIT, START = jax.random.split(jax.random.key(0))


def data():
    """Points in a disc and around it."""
    x = np.random.default_rng(0).uniform(-1, 1, (400, 2))
    y = (np.hypot(*x.T) > 0.7).astype(int)
    return fnn.split(SPLIT, x, y, stratify=y)


def accuracy(width):
    """Held-out accuracy of a network of that width. A worker imports this function and calls it."""
    (x, y), (x_test, y_test) = data()
    network = fnn.serial(fnn.dense(width), jax.nn.relu, fnn.dense(2))
    fitted = fnn.fit(network, fnn.softmax_cross_entropy, fnn.adam(0.01), x, y, key=START, epochs=60)
    return fnn.evaluate(network, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy})["accuracy"]


if __name__ == "__main__":
    widths = (2, 16)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(max_workers=2, mp_context=spawn) as pool:
        found = dict(zip(widths, pool.map(accuracy, widths)))
    for width, score in found.items():
        print(f"{width:2} units: accuracy {score:.2f}")
    assert found[16] > 0.9 and found[16] > found[2]
