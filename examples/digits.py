"""Handwritten digits: the whole workflow on real data, stage by stage.

Run it with `python examples/digits.py`. It trains a network with one hidden layer on 1,294 images of 8 × 8
pixels and tests it on 359 images that were held out. It draws the costs and the mistakes to `digits.png`.
"""

import math

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────
# Pixels are scaled from 0…16 to 0…1. A fifth of the rows is held out for the test, with every digit in the
# same proportion. A tenth of the rest is for validation: it decides when to stop. Every random choice has its
# own key, and all keys come from one seed.

test_key, validation_key, fit_key = jax.random.split(jax.random.key(0), 3)
images, digits = load_digits(return_X_y=True)
x, y = images / 16, digits
(x, y), (x_test, y_test) = fnn.split(test_key, x, y, stratify=y)
(x, y), validation = fnn.split(validation_key, x, y, fraction=0.1, stratify=y)
print(f"data       {len(x)} rows to train, {len(validation[0])} to validate, {len(x_test)} to test\n")

# ── Network ───────────────────────────────────────────────────────────────────────────────────────
# 64 pixels → 64 hidden units → 10 logits. Logits are unnormalised log-probabilities, one for each digit.

network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))
print(fnn.summary(network, x[:32]), "\n")

# ── Forward propagation and cost, before training ─────────────────────────────────────────────────
# An untrained network gives each of the ten digits a probability of about 1/10: a cost near −ln(1/10) = 2.30.

params = network.init(jax.random.key(1), x)
cost = fnn.loss(network, fnn.softmax_cross_entropy)(params, x, y)
print(f"first cost {cost:.2f}, guessing would cost ln 10 = {math.log(10):.2f}\n")
assert abs(float(cost) - math.log(10)) < 0.5

# ── Training ──────────────────────────────────────────────────────────────────────────────────────
# fit repeats four stages on one mini-batch after another: predictions, cost, gradient, a small step. An epoch
# is one pass over all training rows. fit keeps the parameters with the lowest validation cost, and stops when
# that cost has not fallen for 20 epochs (early stopping).


def show(report):
    if report.epoch in (1, 2, 5) or report.epoch % 10 == 0:
        line = "  ".join(f"{name} {value:.3f}" for name, value in report.measures.items())
        print(f"epoch {report.epoch:4}  {line}")


fitted = fnn.fit(
    network,
    fnn.softmax_cross_entropy,
    fnn.adam(0.002),
    x,
    y,
    key=fit_key,
    epochs=200,
    validation=validation,
    metrics={"accuracy": fnn.accuracy},
    patience=20,
    on_epoch=show,
)
print(f"stopped by {fitted.stopped}; the best epoch was {int(fitted.state.best.epoch)}\n")

# ── Evaluation, on rows used for nothing else ─────────────────────────────────────────────────────

measures = fnn.evaluate(
    network,
    fitted.params,
    x_test,
    y_test,
    {"accuracy": fnn.accuracy, "confusion": fnn.confusion_matrix},
)
print("confusion matrix (row: the digit, column: the prediction)")
print(measures["confusion"])
print(f"\nheld-out accuracy {measures['accuracy']:.3f}")
assert measures["accuracy"] >= 0.95

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────
# Overfitting, on the left: after the best epoch the training cost keeps falling, and the validation cost does
# not. Mistakes are marked by ✗ as well as by colour, for colour-blind readers.

training, validating = fitted.history["cost"], fitted.history["validation_cost"]
best, last = int(fitted.state.best.epoch), len(training)
figure = plt.figure(figsize=(12, 5), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.2])

axes = left.subplots()
axes.axvspan(best, last, color="0.93")
axes.axvline(best, color="0.4", linestyle=":", label=f"best epoch, {best}")
axes.plot(range(1, last + 1), validating, color="#d55e00", label="validation cost")
axes.plot(range(1, last + 1), training, "--", color="#0072b2", label="training cost")
axes.set(xlabel="epoch", ylabel="cost", yscale="log", xlim=(0, last))
axes.legend(frameon=False)
fate = f"Overfitting after epoch {best}: the training cost\nkeeps falling, the validation cost does not"
left.suptitle(fate)

logits = fnn.predict(network, fitted.params, x_test)
guesses, sure = np.asarray(logits.argmax(-1)), np.asarray(jax.nn.softmax(logits).max(-1))
unsure_first = sorted(range(len(y_test)), key=lambda row: (guesses[row] == y_test[row], sure[row]))
for axes, row in zip(right.subplots(3, 6).flat, unsure_first, strict=False):
    correct = guesses[row] == y_test[row]
    axes.imshow(x_test[row].reshape(8, 8), cmap="gray_r")
    axes.set(xticks=[], yticks=[])
    axes.set_title(f"predicted {guesses[row]}, {sure[row]:.0%}", fontsize=8.5)
    mark, colour, weight = ("✓", "0.3", "normal") if correct else ("✗", "#d55e00", "bold")
    axes.set_xlabel(f"{mark} true digit {y_test[row]}", fontsize=9, color=colour, fontweight=weight)
wrong = (guesses != y_test).sum()
right.suptitle(f"The {wrong} mistakes (✗) on {len(y_test)} test images,\nthen the least certain others (✓)")
figure.savefig("digits.png", dpi=110)
print("drawn to digits.png")

assert training[-1] < 0.7 * training[best - 1] and min(validating[best:]) >= validating[best - 1]
