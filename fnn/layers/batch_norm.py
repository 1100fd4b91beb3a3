"""Batch normalisation: each feature by the mean and variance of the batch, once trained by those of many."""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fnn.guard.numbers import ABOVE_0, BELOW_1, check_number
from fnn.guard.words import Words, unexpected
from fnn.layers.normalization import affine, affine_backward, check_scale, rows_of, scale_and_offset, widen
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer

__all__ = ["batch_norm"]


@intern
def batch_norm(decay: float = 0.99, eps: float = 1e-5) -> Layer:
    """Each feature with mean 0 and variance 1 over the batch, then scaled and shifted.

        while it learns      y = scale ⊙ (x − M(x)) · r + offset              M over all axes but the last
        once trained         y = scale ⊙ (x − mean) / √(variance + ε) + offset
        statistics           mean ← decay · mean + (1 − decay) · M(x), and so the variance
        x, y: (…, features)   scale, offset, mean, variance: (features,)

    Parameters {"scale", "offset", "statistics": {"mean", "variance"}}; scale and variance start at 1, the
    others at 0. `decay` is the weight of the old statistics, where PyTorch's `momentum` is that of the new
    ones. The variance is that of the batch, Σ(x − M(x))²/n. A batch of one row has none: its output is the
    offset, and statistics stay. After few steps `forward` still differs from `forward_train`, as statistics
    begin at 0 and 1: some 1/(1 − decay) steps bring them to the data.
    (Ioffe & Szegedy 2015, algorithms 1 and 2.)

    >>> network = batch_norm(decay=0.5)
    >>> x = jnp.array([[1.0], [3.0]])
    >>> y, params = network.forward_train(network.init(jax.random.key(0), x), x, jax.random.key(1))
    >>> y.round(3).ravel(), params["statistics"]["mean"]
    (Array([-1.,  1.], dtype=float32), Array([1.], dtype=float32))

    Raises ValueError for a decay outside [0, 1), an ε that is not above 0, an empty batch, and input that has
    no floating-point features or other ones than the parameters are for.
    """
    check_number("batch_norm", "decay", decay, BELOW_1)
    check_number("batch_norm", "eps", eps, ABOVE_0)
    return layer(
        batch_norm_init,
        functools.partial(batch_norm_forward, eps),
        functools.partial(_batch_norm_forward_train, decay, eps),
        name="batch_norm",
        backward=functools.partial(batch_norm_backward, eps),
    )


def batch_norm_init(key: chex.PRNGKey, x: Any) -> dict[str, Any]:
    """Scale and variance 1, offset and mean 0."""
    statistics = {"mean": jnp.zeros(x.shape[-1:]), "variance": jnp.ones(x.shape[-1:])}
    return {**scale_and_offset("batch_norm", key, x), "statistics": statistics}


def batch_norm_forward(eps: float, params: Any, x: jax.Array) -> jax.Array:
    """y = scale ⊙ (x − mean) / √(variance + ε) + offset."""
    check_scale("batch_norm", params, x, ("scale", "offset", "statistics"))
    x_hat, _ = _by_statistics(eps, params, x)
    return affine(params, x_hat, x)


def _by_statistics(eps: float, params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x̂ = (x − mean) · r with r = 1/√(variance + ε), both of the layer's statistics."""
    statistics = jax.lax.stop_gradient(params["statistics"])
    r = jax.lax.rsqrt(widen(statistics["variance"]) + eps)
    rows = rows_of(widen(x))
    return ((rows - statistics["mean"][None]) * r[None]).reshape(x.shape), r


def _batch_norm_forward_train(
    decay: float, eps: float, params: Any, x: jax.Array, key: chex.PRNGKey
) -> tuple[jax.Array, Any]:
    check_scale("batch_norm", params, x, ("scale", "offset", "statistics"))
    count = math.prod(x.shape[:-1])
    if count == 0:
        raise ValueError(unexpected("batch_norm", "at least one row", Words(f"shape {x.shape}")))
    rows = rows_of(widen(x))
    mean, variance = rows.mean(0), rows.var(0)
    x_hat = (rows - mean[None]) * jax.lax.rsqrt(variance + eps)[None]
    moved = params["statistics"]
    if count > 1:  # one row says nothing about a variance
        new = {"mean": mean, "variance": variance}
        moved = jax.tree.map(lambda old, now: (decay * old + (1 - decay) * now).astype(old.dtype), moved, new)
    return affine(params, x_hat, x), {**params, "statistics": moved}


def batch_norm_backward(eps: float, params: Any, x: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    """∂c/∂scale = Σᵢ δᵢ ⊙ x̂ᵢ, ∂c/∂offset = Σᵢ δᵢ;   δ ← δ ⊙ scale / √(variance + ε)."""
    x_hat, r = _by_statistics(eps, params, x)  # the statistics are constants of `forward`
    grads, q = affine_backward(params, x_hat, delta)
    delta_x = (rows_of(q) * r[None]).reshape(x.shape)
    return {**grads, "statistics": jax.tree.map(jnp.zeros_like, params["statistics"])}, delta_x
