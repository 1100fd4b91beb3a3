"""Dropout: noise that keeps units from relying on one another."""

import functools

import chex
import jax
import jax.numpy as jnp

from fnn.guard.words import unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer, no_parameters

__all__ = ["dropout"]


@intern
def dropout(rate: float) -> Layer:
    """While learning, each unit is 0 with probability `rate`; afterwards nothing is dropped.

        y = m ⊙ x / (1 − rate),   mᵢ ~ Bernoulli(1 − rate)        x, y: (…)

    Dividing while learning keeps the mean, so that the trained network needs no correction
    (Srivastava et al. 2014, §10).

    >>> y, _ = dropout(0.5).forward_train((), jnp.ones(6), jax.random.key(0))
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]

    Raises ValueError where the rate is not in [0, 1).
    """
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        fix = "(It is the share dropped, not the share kept.)"
        raise ValueError(unexpected("dropout", "the share of units to drop, 0 ≤ rate < 1", rate, fix))
    return layer(
        no_parameters,
        dropout_forward,
        functools.partial(_dropout_forward_train, rate),
        name=f"dropout({rate})",
        backward=dropout_backward,
    )


def dropout_forward(params: tuple[()], x: jax.Array) -> jax.Array:
    """x as it is."""
    return x


def dropout_backward(
    params: tuple[()], x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[tuple[()], jax.Array]:
    """δ as it is: the trained layer drops nothing."""
    return (), delta


def _dropout_forward_train(
    rate: float, params: tuple[()], x: jax.Array, key: chex.PRNGKey
) -> tuple[jax.Array, tuple[()]]:
    if rate == 0:
        return x, params
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), jnp.zeros_like(x)), params
