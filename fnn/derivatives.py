"""The derivatives, written out: of the activations and of the costs, looked up by function.

z what goes into an activation, a what comes out, δ the derivative of the cost by a; a rule gives the
derivative of the cost by z. A cost's rule gives the derivative by the predictions, (1) of the four
equations in `fnn.backprop`.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses import binary_cross_entropy, huber, mae, mse, rmse, softmax_cross_entropy
from fnn.losses.classification import class_probabilities, one_a_class
from fnn.losses.mean import comparable, spread, without_weightless

__all__: list[str] = []


# Activations that act on each number alone: δ ⊙ σ′(z) ---------------------------------------------


def _identity(z: jax.Array, a: jax.Array) -> ArrayLike:
    return 1.0


def _sigmoid(z: jax.Array, a: jax.Array) -> ArrayLike:
    return a * (1 - a)


def _tanh(z: jax.Array, a: jax.Array) -> ArrayLike:
    return 1 - a**2


def _relu(z: jax.Array, a: jax.Array) -> ArrayLike:
    return z > 0


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


def through(function: Any) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None:
    """The rule (δ, z, a) → ∂c/∂z of an activation with its options, or None where none is written."""
    options = getattr(function, "keywords", {})
    inner = function if getattr(function, "args", ()) else getattr(function, "func", function)
    if inner in WHOLE:
        return lambda delta, z, a: WHOLE[inner](delta, z, a, **options)
    if inner in SLOPES:
        return lambda delta, z, a: delta * SLOPES[inner](z, a, **options)
    return None


# Costs: ∂c/∂ŷ ------------------------------------------------------------------------------------


def _share(values: jax.Array, sample_weight: ArrayLike | None) -> ArrayLike:
    """How much of the mean each value is: 1/n, or w/Σw."""
    if sample_weight is None:
        return 1 / values.size
    weight = spread(sample_weight, values)
    total = weight.sum()
    return jnp.where(total == 0, 0, weight / jnp.where(total == 0, 1, total))


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


def _binary_cross_entropy(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    positive_weight: Any = 1.0,
) -> jax.Array:
    z, y = comparable("binary_cross_entropy", logits, targets, sample_weight)
    smoothing, weight = (jnp.asarray(number, z.dtype) for number in (label_smoothing, positive_weight))
    y = (1 - smoothing) * y + smoothing / 2
    slope = (1 - y) * jax.nn.sigmoid(z) - weight * y * jax.nn.sigmoid(-z)
    return slope * _share(z, sample_weight)  # σ(z) − y, where w₊ = 1


def _softmax_cross_entropy(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    class_weight: Any = None,
) -> jax.Array:
    z = jnp.asarray(logits)
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    y = class_probabilities("softmax_cross_entropy", z, jnp.asarray(targets))
    z, y = without_weightless(z, sample_weight), without_weightless(y, sample_weight)
    weight = sample_weight
    if class_weight is not None:
        rows = (y * one_a_class(class_weight, z)).sum(-1)
        weight = rows if weight is None else rows * spread(weight, rows)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / z.shape[-1]
    share = jnp.asarray(_share(z[..., 0], weight))
    return (jax.nn.softmax(z) - y) * share[..., None]


COSTS: dict[Any, Callable[..., jax.Array]] = {
    mse: _mse,
    rmse: _rmse,
    mae: _mae,
    huber: _huber,
    binary_cross_entropy: _binary_cross_entropy,
    softmax_cross_entropy: _softmax_cross_entropy,
}
