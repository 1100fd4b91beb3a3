"""Handwritten digits once more, now with convolutions: the same weights at every place of the image.

Run it with `python examples/images.py`. It draws the learning curves, the filters and what they see to
`images.png`. A dense network (digits.py) learns each place of the image by itself. A convolution sees 3 × 3
neighbours, and what it has learned at one place it knows at every other.
"""

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import fnn

images, y = load_digits(return_X_y=True)
images = (images / 16).reshape(-1, 8, 8, 1).astype("float32")  # height, width, channels: grey is one channel
test_key, key = jax.random.split(jax.random.key(0))
(x, y), (x_test, y_test) = fnn.split(test_key, images, y, stratify=y)

# ── The network ───────────────────────────────────────────────────────────────────────────────────
# Two convolutions, each followed by batch normalisation and ReLU. Max pooling halves height and width: where
# exactly a stroke lies does not matter. Dropout before the last layer, as there are 1,438 images only.


def block(features):
    return fnn.serial(fnn.conv(features, (3, 3)), fnn.batch_norm(), jax.nn.relu, fnn.max_pool((2, 2)))


network = fnn.serial(block(32), block(64), fnn.flatten(3), fnn.dropout(0.5), fnn.dense(10))
print(fnn.summary(network, x[:64]))

fitted = fnn.fit(
    network,
    fnn.softmax_cross_entropy,
    fnn.adam(0.001),
    x,
    y,
    key=key,
    epochs=30,
    batch_size=64,
    progress=True,
)
found = fnn.evaluate(
    network, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy, "confusion": fnn.confusion_matrix}
)
wrong = int(found["confusion"].sum() - np.trace(found["confusion"]))
print(f"\nheld-out accuracy {found['accuracy']:.3f}: {wrong} of {len(y_test)} images taken for another digit")
assert found["accuracy"] > 0.97

# ── One pixel to the side ─────────────────────────────────────────────────────────────────────────
# All training images stand in the middle. Moved by one pixel, a digit is the same digit to the convolutions,
# and pooling forgives some of the rest. To a dense network it is something that it has never seen.

dense = fnn.serial(fnn.flatten(3), fnn.dense(128), jax.nn.relu, fnn.dropout(0.5), fnn.dense(10))
other = fnn.fit(
    dense,
    fnn.softmax_cross_entropy,
    fnn.adam(0.001),
    x,
    y,
    key=jax.random.clone(key),
    epochs=30,
    batch_size=64,
)
around = np.pad(x_test, ((0, 0), (0, 0), (1, 1), (0, 0)))
moved = {"as they are": x_test, "one pixel to the right": around[:, :, :8], "to the left": around[:, :, 2:]}
print(f"\n{'held-out accuracy':24s}convolutions  dense")
for name, each in moved.items():
    shares = [
        fnn.evaluate(net, run.params, each, y_test, {"accuracy": fnn.accuracy})["accuracy"]
        for net, run in ((network, fitted), (dense, other))
    ]
    print(f"{name:24s}{shares[0]:12.3f} {shares[1]:6.3f}")
    assert name == "as they are" or shares[0] > shares[1] + 0.2

# ── What the filters see ──────────────────────────────────────────────────────────────────────────
# A filter looks for ink where it is blue, and for none where it is red. Below each of the eight with the
# largest weights is its output for the digit on the left.

first = network.parts[0].parts[0]
own = fitted.params[0][0]
strength = np.abs(own["weight"]).sum((0, 1, 2))
chosen = np.argsort(strength)[::-1][:8]
seen = jax.nn.relu(first.forward(own, x_test[0]))
figure = plt.figure(figsize=(11, 4.6))
grid = figure.add_gridspec(2, 13)
curve = figure.add_subplot(grid[:, :4])
for name, run in {"convolutions": fitted, "dense": other}.items():
    curve.semilogy(np.arange(1, 31), run.history["cost"], label=name)
curve.set(xlabel="epoch", ylabel="cost of the training batches", title="learning curves")
curve.legend()
places = [grid[:, 4], *(grid[i, 5 + j] for i in (0, 1) for j in range(8))]
filters, outputs = (np.moveaxis(each[..., chosen], -1, 0) for each in (own["weight"][:, :, 0], seen))
panels = [figure.add_subplot(place) for place in places]
for i, (panel, picture) in enumerate(zip(panels, [x_test[0, ..., 0], *filters, *outputs], strict=True)):
    reach = np.abs(filters).max()
    signed = {"cmap": "RdBu", "vmin": -reach, "vmax": reach}
    panel.imshow(picture, **(signed if 0 < i <= 8 else {"cmap": "gray_r"}))
    panel.set(xticks=[], yticks=[])
panels[0].set_title("a digit", fontsize=9)
panels[1].set_title("filters", fontsize=9)
panels[9].set_title("outputs", fontsize=9)
figure.tight_layout()
figure.savefig("images.png", dpi=110)
