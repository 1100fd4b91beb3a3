"""How well: the held-out accuracy on digits, of 64-64-10 over ten stratified splits, of convolutions over five.

    python tests/benchmarks/accuracy.py

Learning rate and number of epochs are chosen on a validation part, and the network is trained again on all
training rows. The rows that measure it are never trained on and choose nothing.
"""

import jax
import numpy as np
from sklearn.datasets import load_digits

import fnn

RATES, EPOCHS = (0.001, 0.002, 0.005), 150


def network():
    """The network that is measured."""
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


def convolutions(splits=5):
    """The network of examples/images.py, on splits of its own; nothing is chosen."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).reshape(-1, 8, 8, 1).astype("float32")

    def block(features):
        return fnn.serial(fnn.conv(features, (3, 3)), fnn.batch_norm(), jax.nn.relu, fnn.max_pool((2, 2)))

    net = fnn.serial(block(32), block(64), fnn.flatten(3), fnn.dropout(0.5), fnn.dense(10))
    found = []
    for seed in range(splits):
        test_key, key = jax.random.split(jax.random.key(seed))
        (x, y), test = fnn.split(test_key, images, labels, stratify=labels)
        rule, given = fnn.adam(0.001), {"key": key, "epochs": 30, "batch_size": 64}
        params = fnn.fit(net, fnn.softmax_cross_entropy, rule, x, y, **given).params
        found.append(fnn.evaluate(net, params, *test, {"accuracy": fnn.accuracy})["accuracy"])
    error = np.std(found, ddof=1) / np.sqrt(splits)
    print(f"convolutions: {np.round(found, 4)}, mean {np.mean(found):.4f} ± {error:.4f} over {splits} splits")


def accuracies(splits=10):
    """A line a split, and the mean with its standard error."""
    found = [one_split(seed) for seed in range(splits)]
    for seed, (accuracy, rate, epochs) in enumerate(found):
        print(f"split {seed}  rate {rate}  epochs {epochs:3}  held-out accuracy {accuracy:.4f}")
    values = np.array([accuracy for accuracy, *_ in found])
    print(f"mean {values.mean():.4f} ± {values.std(ddof=1) / np.sqrt(splits):.4f} over {splits} splits\n")


if __name__ == "__main__":
    accuracies()
    convolutions()
