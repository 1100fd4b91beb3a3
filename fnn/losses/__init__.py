"""The costs: predictions, targets → one real number."""

from fnn.losses.classification import binary_cross_entropy, softmax_cross_entropy
from fnn.losses.regression import huber, mae, mse, rmse

__all__ = ["binary_cross_entropy", "huber", "mae", "mse", "rmse", "softmax_cross_entropy"]
