"""Costs for numbers: how far a prediction ŷ is from its target y.

Each takes the mean over every axis, outputs too, weighted over the leading axes by `sample_weight`,
and raises ValueError for shapes that differ.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses.mean import _share, check_options, comparable, weighted_mean

__all__ = ["huber", "mae", "mse", "rmse"]


def _mse(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    p, t = comparable("mse", predictions, targets, sample_weight)
    return 2 * (p - t) * _share(p, sample_weight)


def _rmse(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    p, t = comparable("rmse", predictions, targets, sample_weight)
    cost = rmse(p, t, sample_weight)
    return (p - t) * _share(p, sample_weight) / jnp.where(cost == 0, 1, cost)


def _mae(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    p, t = comparable("mae", predictions, targets, sample_weight)
    return jnp.sign(p - t) * _share(p, sample_weight)


def _huber(predictions: Any, targets: Any, sample_weight: Any = None, delta: Any = 1.0) -> jax.Array:
    p, t = comparable("huber", predictions, targets, sample_weight)
    delta = jnp.asarray(delta, p.dtype)
    return jnp.clip(p - t, -delta, delta) * _share(p, sample_weight)


def mse(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Mean squared error: mean (ŷ − y)², in squared units of y.

    The cost under which the mean is the best constant (Bishop 2006, eq. 1.90; without the ½ of 3.12).

    >>> mse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))         # (0 + 4) / 2
    Array(2., dtype=float32)
    """
    p, t = comparable("mse", predictions, targets, sample_weight)
    return weighted_mean((p - t) ** 2, sample_weight)


def rmse(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Root mean squared error: √ mean (ŷ − y)², in units of y.

    Its gradient is (ŷ − y) / (n · rmse), so steps do not shrink as the error does; at a perfect
    prediction, where the root has no derivative, it is 0. Hyndman & Koehler 2006, §2.1.

    >>> rmse(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))        # √2
    Array(1.4142135, dtype=float32)
    """
    p, t = comparable("rmse", predictions, targets, sample_weight)
    square = weighted_mean((p - t) ** 2, sample_weight)
    perfect = square == 0
    return jnp.where(perfect, 0, jnp.sqrt(jnp.where(perfect, 1, square)))


def mae(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Mean absolute error: mean |ŷ − y|, in units of y.

    The cost under which the median is the best constant, so that a few wild targets move it little
    (Hastie et al. 2009, §10.6).

    >>> mae(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0]))         # (0 + 2) / 2
    Array(1., dtype=float32)
    """
    p, t = comparable("mae", predictions, targets, sample_weight)
    error = p - t
    return weighted_mean(error * jnp.sign(error), sample_weight)  # |e|, with slope 0 at 0 (jnp.abs has 1)


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
    check_options("huber", delta=delta)
    p, t = comparable("huber", predictions, targets, sample_weight)
    distance = jnp.abs(p - t)
    delta = jnp.asarray(delta, p.dtype)
    near = jnp.minimum(distance, delta)  # ½·near² + δ·(the rest of the way) is both lines at once
    return weighted_mean(0.5 * near**2 + delta * (distance - near), sample_weight)


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    mse: _mse,
    rmse: _rmse,
    mae: _mae,
    huber: _huber,
}
