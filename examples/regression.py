"""Regression: the progression of diabetes after one year, from ten measurements of each patient.

Run it with `python examples/regression.py`. The target is an index from 25 to 346. Errors are given in its
unit, next to those of linear least squares on the same rows. The table is small (442 rows) and noisy, so a
linear model does well and a network overfits easily. Two things limit that here. Weight decay pulls the
weights towards zero. Early stopping ends the run when the cost of held-out validation rows no longer falls,
and keeps the parameters of the best epoch.
"""

import jax
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

import fnn

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────
# Features and target are standardised with the means and deviations of the training rows. The target has
# the shape (n, 1), like the network's output: the cost raises ValueError for (n,) against (n, 1).

x_all, y_all = load_diabetes(return_X_y=True, scaled=False)
y_all = y_all[:, None]


def run(seed):
    """RMSE on the test rows, of the network and of least squares, in the target's unit; and the fit."""
    test_key, validation_key, fit_key = jax.random.split(jax.random.key(seed), 3)
    (x, y), (x_test, y_test) = fnn.split(test_key, x_all, y_all)
    line = LinearRegression().fit(x, y)
    (x, y), (x_held, y_held) = fnn.split(validation_key, x, y)
    x_scale, y_scale = fnn.standardize(x), fnn.standardize(y)

    network = fnn.serial(fnn.dense(32), jax.nn.tanh, fnn.dense(1))
    fitted = fnn.fit(
        network,
        fnn.rmse,
        fnn.chain(fnn.momentum(0.01), fnn.weight_decay(0.001)),
        x_scale(x),
        y_scale(y),
        key=fit_key,
        epochs=300,
        validation=(x_scale(x_held), y_scale(y_held)),
        patience=30,
    )
    predictions = y_scale.inverse(fnn.predict(network, fitted.params, x_scale(x_test)))
    return float(fnn.rmse(predictions, y_test)), float(fnn.rmse(line.predict(x_test), y_test)), fitted


# ── One split, then ten ───────────────────────────────────────────────────────────────────────────
# With so few rows the result depends on the split. The mean over ten splits comes with its standard error.

ours, line, fitted = run(0)
print(f"cost (RMSE, standardised)   {fitted.history['cost'][0]:.3f} → {fitted.history['cost'][-1]:.3f}")
print(f"epochs                      {len(fitted.history['cost'])}, the best {int(fitted.state.best.epoch)}")
print(f"RMSE on test rows           {ours:.1f}, least squares {line:.1f}\n")

errors = np.array([run(seed)[:2] for seed in range(10)])
mean, spread = errors.mean(0), errors.std(0, ddof=1) / np.sqrt(len(errors))
print("over ten splits             RMSE on test rows, in the target's unit")
print(f"  network                   {mean[0]:.1f} ± {spread[0]:.1f}")
print(f"  least squares             {mean[1]:.1f} ± {spread[1]:.1f}")
print(f"  predicting the mean       {y_all.std():.1f}")

assert mean[0] < 1.05 * mean[1]
assert mean[0] < 0.8 * y_all.std()
