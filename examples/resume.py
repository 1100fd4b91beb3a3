"""Kill a training run and resume it: the result is the same as without the interruption.

`fit` saves a checkpoint after each epoch. A second process starts the run and kills itself with SIGKILL,
which no program can catch, after epoch 11. The same call, made again here, resumes the run. The validation
costs of the resumed run equal those of an uninterrupted run at every epoch, and the results are the same
to the last bit.
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
    (x, y), validation = fnn.split(split_key, x / 16, y, stratify=y)
    network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dropout(0.2), fnn.dense(10))
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(), fnn.weight_decay(1e-4))
    return fnn.fit(
        network, fnn.softmax_cross_entropy, rule, x, y,
        key=fit_key, epochs=EPOCHS, validation=validation, metrics={"accuracy": fnn.accuracy},
        checkpoint=folder, on_epoch=on_epoch,
    )  # fmt: skip


def kill_process(report):
    if report.epoch == KILLED_AFTER:
        os.kill(os.getpid(), signal.SIGKILL)


def draw(uninterrupted, resumed):
    """Both curves as text, one line per epoch: x is the resumed run, o the other one where it differs."""
    lines, top = ["epoch  validation cost"], uninterrupted.max()
    for epoch, (one, other) in enumerate(zip(uninterrupted, resumed), 1):
        columns = {round(40 * float(one / top)): "o", round(40 * float(other / top)): "x"}
        row = "".join(columns.get(column, " ") for column in range(41)).rstrip()
        note = "  ← killed here" if epoch == KILLED_AFTER else ""
        lines.append(f"{epoch:5}  {row}{note}")
    return "\n".join(lines)


if len(sys.argv) > 1:  # this is the second process
    run(sys.argv[1], kill_process)

with tempfile.TemporaryDirectory() as folder:
    killed = subprocess.run([sys.executable, __file__, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    print("killed; checkpoints in the folder:", ", ".join(sorted(os.listdir(folder))))
    resumed = run(folder)


def numbers(fitted):
    """All arrays of a run, apart from its random key (NumPy cannot compare keys)."""
    return jax.tree.leaves((fitted.params, fitted.state._replace(key=()), fitted.history))


uninterrupted = run()
print(draw(uninterrupted.history["validation_cost"], resumed.history["validation_cost"]))

for one, other in zip(numbers(uninterrupted), numbers(resumed), strict=True):
    np.testing.assert_array_equal(one, other)
accuracy = uninterrupted.history["validation_accuracy"][-1]
print(f"validation accuracy {accuracy:.3f}, the same to the last bit")
