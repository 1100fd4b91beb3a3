"""Handwritten digits: the whole workflow on real data, stage by stage.

Run it with `python examples/digits.py`. It trains a network of one hidden layer on 1,294 images of 8 × 8
pixels, tests it on 359 that it never saw, and draws what happened to `digits.png`.
"""

import math

import jax
import matplotlib

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────
# Pixels from 0 to 16 become 0 to 1. A fifth of the rows, as many of each digit, is kept for the test; of
# the rest a tenth decides when to stop. Every random choice has its own key, made from one seed.

test_key, validation_key, fit_key = jax.random.split(jax.random.key(0), 3)
images, digits = load_digits(return_X_y=True)
x, y = images / 16, digits
(x, y), (x_test, y_test) = fnn.split(test_key, x, y, stratify=y)
(x, y), validation = fnn.split(validation_key, x, y, fraction=0.1, stratify=y)
print(f"data       {len(x)} rows to train, {len(validation[0])} to validate, {len(x_test)} to test\n")

# ── Network ───────────────────────────────────────────────────────────────────────────────────────
# 64 pixels → 64 hidden units → 10 logits. The logits are unnormalised log-probabilities, one a digit.

network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))
print(fnn.summary(network, x[:32]), "\n")

# ── Forward propagation and cost, before anything is learned ──────────────────────────────────────
# A network that knows nothing gives each of ten digits about a tenth: a cost near −log 1/10 = 2.30.

params = network.init(jax.random.key(1), x)
cost = fnn.loss(network, fnn.softmax_cross_entropy)(params, x, y)
print(f"first cost {cost:.2f}, guessing would cost ln 10 = {math.log(10):.2f}\n")

# ── Backward propagation and optimisation, again and again ────────────────────────────────────────
# fit repeats: predictions, their cost, its gradient, a small step. It keeps the parameters with the
# lowest validation cost, and stops when that has not fallen for 20 epochs.


def show(report):
    if report.epoch in (1, 2, 5) or report.epoch % 10 == 0:
        said = "  ".join(f"{name} {value:.3f}" for name, value in report.measures.items())
        print(f"epoch {report.epoch:4}  {said}")


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

# ── Evaluation, on rows that no choice has seen ───────────────────────────────────────────────────

measures = fnn.evaluate(
    network,
    fitted.params,
    x_test,
    y_test,
    {"accuracy": fnn.accuracy, "confusion": fnn.confusion_matrix},
)
print("confusion (row: the digit, column: what it was taken for)")
print(measures["confusion"])
print(f"\nheld-out accuracy {measures['accuracy']:.3f}")

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────

logits = fnn.predict(network, fitted.params, x_test)
probabilities = jax.nn.softmax(logits)
figure = plt.figure(figsize=(11, 4.2), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.15])

axes = left.subplots()
epochs = range(1, len(fitted.history["cost"]) + 1)
axes.plot(epochs, fitted.history["cost"], label="training")
axes.plot(epochs, fitted.history["validation_cost"], label="validation")
axes.axvline(int(fitted.state.best.epoch), color="grey", linestyle=":", label="best")
axes.set(xlabel="epoch", ylabel="cost", yscale="log", title="the cost falls")
axes.legend()

sure = probabilities.max(-1)
wrong = (logits.argmax(-1) != y_test).nonzero()[0]
unsure_first = sorted(range(len(y_test)), key=lambda row: (row not in wrong, sure[row]))
for axes, row in zip(right.subplots(3, 6).ravel(), unsure_first, strict=False):
    guess = int(logits[row].argmax())
    axes.imshow(x_test[row].reshape(8, 8), cmap="gray_r")
    colour = "black" if guess == y_test[row] else "crimson"
    axes.set_title(f"{guess} ({sure[row]:.0%})", fontsize=9, color=colour)
    axes.axis("off")
right.suptitle("the mistakes (red), then the least sure")
figure.savefig("digits.png", dpi=120)
print("drawn to digits.png")

assert abs(float(cost) - math.log(10)) < 0.5
assert measures["accuracy"] >= 0.95
