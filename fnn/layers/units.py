"""What happens to units: the derivative of each activation function, and dropout.

z what goes into an activation, a what comes out, δ the derivative of the cost with respect to a; a rule gives
the derivative of the cost with respect to z.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.words import unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer, no_parameters

__all__ = ["dropout"]


# Activations that act on each number alone: δ ⊙ σ′(z) ---------------------------------------------


def _identity(z: jax.Array, a: jax.Array) -> ArrayLike:
    return 1.0


def _sigmoid(z: jax.Array, a: jax.Array) -> ArrayLike:
    return a * (1 - a)


def _tanh(z: jax.Array, a: jax.Array) -> ArrayLike:
    return 1 - a**2


def _relu(z: jax.Array, a: jax.Array) -> ArrayLike:
    return jnp.where(z > 0, 1.0, 0.0)


def _leaky_relu(z: jax.Array, a: jax.Array, negative_slope: ArrayLike = 0.01) -> ArrayLike:
    return jnp.where(z >= 0, 1, negative_slope)


def _elu(z: jax.Array, a: jax.Array, alpha: ArrayLike = 1.0) -> ArrayLike:
    return jnp.where(z > 0, 1, a + alpha)  # where z ≤ 0, a = α(eᶻ − 1), so αeᶻ = a + α


def _softplus(z: jax.Array, a: jax.Array) -> ArrayLike:
    return jax.nn.sigmoid(z)


def _silu(z: jax.Array, a: jax.Array) -> ArrayLike:
    s = jax.nn.sigmoid(z)
    return s + a * (1 - s)  # a = zs, so s + zs(1 − s)


def _gelu(z: jax.Array, a: jax.Array, approximate: bool = True) -> ArrayLike:
    if not approximate:
        density = jnp.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return jax.scipy.stats.norm.cdf(z) + z * density
    c, k = math.sqrt(2 / math.pi), 0.044715
    t = jnp.tanh(c * (z + k * z**3))
    return (1 + t) / 2 + z / 2 * (1 - t**2) * c * (1 + 3 * k * z**2)


SLOPES: dict[Any, Callable[..., ArrayLike]] = {
    jax.nn.identity: _identity,
    jax.nn.sigmoid: _sigmoid,
    jnp.tanh: _tanh,
    jax.nn.relu: _relu,
    jax.nn.leaky_relu: _leaky_relu,
    jax.nn.elu: _elu,
    jax.nn.softplus: _softplus,
    jax.nn.silu: _silu,
    jax.nn.gelu: _gelu,
}


# Activations in which every output depends on every input -----------------------------------------


def _softmax(delta: jax.Array, z: jax.Array, a: jax.Array, axis: int = -1) -> jax.Array:
    return a * (delta - (delta * a).sum(axis, keepdims=True))


def _log_softmax(delta: jax.Array, z: jax.Array, a: jax.Array, axis: int = -1) -> jax.Array:
    return delta - jnp.exp(a) * delta.sum(axis, keepdims=True)


WHOLE: dict[Any, Callable[..., jax.Array]] = {
    jax.nn.softmax: _softmax,
    jax.nn.log_softmax: _log_softmax,
}


def derivative_of(function: Any) -> Callable[..., Any] | None:
    """The backward(params, x, y, δ) of an activation with its options, or None where none is written."""
    options = getattr(function, "keywords", {})
    inner = function if getattr(function, "args", ()) else getattr(function, "func", function)
    if inner in WHOLE:
        return functools.partial(_whole_backward, WHOLE[inner], options)
    return functools.partial(_slope_backward, SLOPES[inner], options) if inner in SLOPES else None


def _slope_backward(slope: Any, options: Any, params: tuple[()], z: Any, a: Any, delta: Any) -> Any:
    """δ ← δ ⊙ σ′(z)."""
    return (), delta * slope(z, a, **options)  # (2)  δ ← δ ⊙ σ′(z)


def _whole_backward(rule: Any, options: Any, params: tuple[()], z: Any, a: Any, delta: Any) -> Any:
    """δ ← Jᵀδ, J the derivatives of each output with respect to each input."""
    return (), rule(delta, z, a, **options)


# Dropout: noise that keeps units from relying on one another ----------------------------------------


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
