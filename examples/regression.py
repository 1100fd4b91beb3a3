"""Regression: how far diabetes has gone after a year, from ten measurements of the patient.

Run it with `python examples/regression.py`. The target is an index from 25 to 346; errors are given in
its own units, beside ordinary least squares on the same rows. The table is small (442 rows) and noisy,
and a straight line does well on it: a network has to be held back to keep up, here by weight decay and
early stopping.
"""

import jax
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import fnn

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────
# Features and target are standardised by the training rows. The target stands as a column, (n, 1), as
# the network's one output does: (n,) against (n, 1) would be refused.

x_all, y_all = load_diabetes(return_X_y=True, scaled=False)
y_all = y_all[:, None]


def run(seed):
    """Held-out RMSE of the network and of least squares, in the target's units."""
    test_key, validation_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    (x, y), (x_test, y_test) = fnn.split(test_key, x_all, y_all)
    line = LinearRegression().fit(x, y)
    (x, y), (x_held, y_held) = fnn.split(validation_key, x, y)
    x_scale, y_scale = fnn.standardize(x), fnn.standardize(y)

    network = fnn.serial(fnn.dense(32), jax.nn.tanh, fnn.dense(1))
    fitted = fnn.fit(
        network,
        fnn.rmse,
        fnn.chain(fnn.weight_decay(0.01), fnn.adam(0.003)),
        x_scale(x),
        y_scale(y),
        key=fit_key,
        epochs=300,
        validation=(x_scale(x_held), y_scale(y_held)),
        patience=30,
    )
    predictions = y_scale.inverse(fnn.predict(network, fitted.params, x_scale(x_test)))
    return float(fnn.rmse(predictions, y_test)), float(fnn.rmse(line.predict(x_test), y_test)), fitted


# ── One run, then several ─────────────────────────────────────────────────────────────────────────
# One split of so few rows says little: the mean over ten, with the standard error, says more.

ours, line, fitted = run(0)
print(f"cost (RMSE, standardised)   {fitted.history['cost'][0]:.3f} → {fitted.history['cost'][-1]:.3f}")
print(f"epochs                      {len(fitted.history['cost'])}, the best {int(fitted.state.best.epoch)}")
print(f"held-out RMSE               {ours:.1f}, least squares {line:.1f}\n")

errors = np.array([run(seed)[:2] for seed in range(10)])
mean, spread = errors.mean(0), errors.std(0, ddof=1) / np.sqrt(len(errors))
print("over ten splits             held-out RMSE in units of the target")
print(f"  network                   {mean[0]:.1f} ± {spread[0]:.1f}")
print(f"  least squares             {mean[1]:.1f} ± {spread[1]:.1f}")
print(f"  always the mean           {y_all.std():.1f}")

assert mean[0] < 1.05 * mean[1]
assert mean[0] < 0.8 * y_all.std()
