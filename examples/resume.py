"""Killed in the middle, and gone on with: the same call, made again, ends where it would have ended.

The run keeps a checkpoint after each epoch. A second process makes the same call and is killed with
SIGKILL, which no program can catch, somewhere in its epochs; the same call then goes on here. Its curve
lies on the uninterrupted one, point for point, and every bit of the two results is the same.
"""

import os
import signal
import subprocess
import sys
import tempfile

import jax
import numpy as np
from sklearn.datasets import load_digits

import fnn

EPOCHS, KILLED_AFTER = 30, 11


def run(folder=None, on_epoch=None):
    x, y = load_digits(return_X_y=True)
    split_key, fit_key = jax.random.split(jax.random.key(0))
    (x, y), held = fnn.split(split_key, x / 16, y, stratify=y)
    network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dropout(0.2), fnn.dense(10))
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.weight_decay(1e-4), fnn.adam())
    return fnn.fit(
        network, fnn.softmax_cross_entropy, rule, x, y,
        key=fit_key, epochs=EPOCHS, validation=held, metrics={"accuracy": fnn.accuracy},
        checkpoint=folder, on_epoch=on_epoch,
    )  # fmt: skip


def die(report):
    if report.epoch == KILLED_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)


def curves(whole, begun):
    """The two histories over each other, one line an epoch: where they differ, there would be two marks."""
    lines, top = ["epoch  validation cost"], whole.max()
    for epoch, (one, other) in enumerate(zip(whole, begun), 1):
        places = {round(40 * float(one / top)): "o", round(40 * float(other / top)): "x"}
        row = "".join(places.get(place, " ") for place in range(41)).rstrip()
        note = "  ← killed here" if epoch == KILLED_AFTER else ""
        lines.append(f"{epoch:5}  {row}{note}")
    return "\n".join(lines)


if len(sys.argv) > 1:
    run(sys.argv[1], die)

with tempfile.TemporaryDirectory() as folder:
    killed = subprocess.run([sys.executable, __file__, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    print("killed; the folder holds", ", ".join(sorted(os.listdir(folder))))
    resumed = run(folder)


def numbers(fitted):
    return jax.tree.leaves((fitted.params, fitted.state._replace(key=()), fitted.history))


whole = run()
print(curves(whole.history["validation_cost"], resumed.history["validation_cost"]))

for one, other in zip(numbers(whole), numbers(resumed), strict=True):
    np.testing.assert_array_equal(one, other)
print(f"validation accuracy {whole.history['validation_accuracy'][-1]:.3f}, and every bit is the same")
