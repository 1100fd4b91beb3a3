"""Costs for numbers: how far a prediction ŷ is from its target y.

Each takes the mean over every axis, outputs too, weighted over the leading axes by `sample_weight`,
and raises ValueError for shapes that differ. Under each cost is its slope, ∂c/∂ŷ, which backward propagation
by hand begins with.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0
from fnn.losses.mean import mean_slope, read_error, weighted_mean
from fnn.losses.targets import Takes, check_same_shape

__all__ = ["huber", "mae", "mse", "rmse"]


MSE, RMSE, MAE = (Takes(name, check_same_shape) for name in ("mse", "rmse", "mae"))
HUBER = Takes("huber", check_same_shape, {"delta": ABOVE_0})


def mse(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Mean squared error: mean (ŷ − y)², in squared units of y.

    The cost under which the mean is the best constant (Bishop 2006, eq. 1.90; without the ½ of 3.12).

    >>> mse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))         # (0 + 4) / 2
    Array(2., dtype=float32)
    """
    error = read_error(MSE, predictions, targets, sample_weight)
    return weighted_mean(error**2, sample_weight)


def mse_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂ŷ = 2(ŷ − y)/n."""
    error = read_error(MSE, predictions, targets, sample_weight)
    return 2 * error * mean_slope(error, sample_weight)


def rmse(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Root mean squared error: √ mean (ŷ − y)², in units of y.

    Its gradient is (ŷ − y) / (n · rmse), so steps do not shrink as the error does; at a perfect
    prediction, where the root has no derivative, it is 0. Hyndman & Koehler 2006, §2.1.

    >>> rmse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))        # √2
    Array(1.4142135, dtype=float32)
    """
    error = read_error(RMSE, predictions, targets, sample_weight)
    square = weighted_mean(error**2, sample_weight)
    perfect = square == 0
    return jnp.where(perfect, 0, jnp.sqrt(jnp.where(perfect, 1, square)))


def rmse_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂ŷ = (ŷ − y)/(n · rmse), and 0 at a perfect prediction."""
    error = read_error(RMSE, predictions, targets, sample_weight)
    cost = rmse(predictions, targets, sample_weight)
    return error * mean_slope(error, sample_weight) / jnp.where(cost == 0, 1, cost)


def mae(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Mean absolute error: mean |ŷ − y|, in units of y.

    The cost under which the median is the best constant, so that a few wild targets move it little
    (Hastie et al. 2009, §10.6).

    >>> mae(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))         # (0 + 2) / 2
    Array(1., dtype=float32)
    """
    error = read_error(MAE, predictions, targets, sample_weight)
    return weighted_mean(error * jnp.sign(error), sample_weight)  # |e|, with slope 0 at 0 (jnp.abs has 1)


def mae_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂ŷ = sign(ŷ − y)/n."""
    error = read_error(MAE, predictions, targets, sample_weight)
    return jnp.sign(error) * mean_slope(error, sample_weight)


def huber(
    predictions: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    delta: ArrayLike = 1.0,
) -> jax.Array:
    """Squared near the target, absolute far from it: with e = ŷ − y, the mean of

        ½e²            where |e| ≤ δ
        δ(|e| − ½δ)    elsewhere

    so its gradient is that of ½e², clipped to ±δ; a δ that is not above 0 is a ValueError. Huber 1964.

    >>> huber(jnp.array([1.0, 2.0]), jnp.array([0.5, 5.0]))       # (0.125 + 2.5) / 2
    Array(1.3125, dtype=float32)
    """
    error = read_error(HUBER, predictions, targets, sample_weight, delta=delta)
    distance = jnp.abs(error)
    delta = jnp.asarray(delta, error.dtype)
    near = jnp.minimum(distance, delta)  # ½·near² + δ·(the rest of the way) is both lines at once
    return weighted_mean(0.5 * near**2 + delta * (distance - near), sample_weight)


def huber_slope(predictions: Any, targets: Any, sample_weight: Any = None, delta: Any = 1.0) -> jax.Array:
    """∂c/∂ŷ = clip(ŷ − y, −δ, δ)/n."""
    error = read_error(HUBER, predictions, targets, sample_weight)
    delta = jnp.asarray(delta, error.dtype)
    return jnp.clip(error, -delta, delta) * mean_slope(error, sample_weight)


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    mse: mse_slope,
    rmse: rmse_slope,
    mae: mae_slope,
    huber: huber_slope,
}

TARGETS: dict[Any, Takes] = {mse: MSE, rmse: RMSE, mae: MAE, huber: HUBER}
