"""Handwritten digits once more, now with convolutions: the same weights at every place of the image.

Run it with `python examples/images.py`. It draws the learning curves, the filters and what they see to
`images.png`. A dense network (digits.py) knows nothing of neighbours: shuffle the pixels, and it learns as
well. Here a unit sees 3 × 3 neighbours, and whatever it finds, it finds everywhere.
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

# ── The pixels shuffled ───────────────────────────────────────────────────────────────────────────
# The same pixels in another order, the same for all images: neighbours are strangers now, and convolutions
# lose what they are good at.

order = np.random.default_rng(0).permutation(64)
shuffled, shuffled_test = (each.reshape(-1, 64)[:, order].reshape(each.shape) for each in (x, x_test))
lost = fnn.fit(
    network,
    fnn.softmax_cross_entropy,
    fnn.adam(0.001),
    shuffled,
    y,
    key=jax.random.clone(key),
    epochs=30,
    batch_size=64,
)
without = fnn.evaluate(network, lost.params, shuffled_test, y_test, {"accuracy": fnn.accuracy})["accuracy"]
print(f"with its pixels shuffled          {without:.3f}")
assert without < found["accuracy"]

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
for name, run in {"as they are": fitted, "pixels shuffled": lost}.items():
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
