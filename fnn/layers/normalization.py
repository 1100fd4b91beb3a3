"""Normalisation of each example by itself: over its features, or over groups of its channels.

M the mean over the axes that are normalised, r = 1/√(M((x − M(x))²) + ε). Deviations from the mean are
squared, not numbers: M(x²) − M(x)² loses every digit where the mean is large. All is computed in float32 or
wider. ε stands inside the root, so that a row of equal numbers has a derivative.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fnn.guard.features import check_features, check_width
from fnn.guard.numbers import ABOVE_0, check_number, check_whole
from fnn.guard.words import Words, unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer
from fnn.network.stream import needs_all_steps

__all__ = ["group_norm", "layer_norm", "rms_norm"]


# Over the features --------------------------------------------------------------------------------


@intern
def layer_norm(eps: float = 1e-5) -> Layer:
    """The features of each example with mean 0 and variance 1, then scaled and shifted.

        y = scale ⊙ (x − M(x)) · r + offset                          M over the last axis
        x, y: (…, features)   scale, offset: (features,)

    Parameters {"scale", "offset"}, 1 and 0 at the start. An example is normalised by itself, so learning
    and predicting are the same. (Ba, Kiros & Hinton 2016, section 3.)

    >>> network = layer_norm()
    >>> x = jnp.array([1.0, 3.0])
    >>> network.forward(network.init(jax.random.key(0), x), x).round(3)
    Array([-1.,  1.], dtype=float32)

    Raises ValueError for an ε that is not above 0, and input that has no floating-point features or other
    ones than the parameters are for.
    """
    check_number("layer_norm", "eps", eps, ABOVE_0)
    return layer(
        functools.partial(scale_and_offset, "layer_norm"),
        functools.partial(layer_norm_forward, eps),
        name="layer_norm",
        backward=functools.partial(layer_norm_backward, eps),
    )


def layer_norm_forward(eps: float, params: Any, x: jax.Array) -> jax.Array:
    """y = scale ⊙ (x − M(x)) · r + offset."""
    check_scale("layer_norm", params, x, ("scale", "offset"))
    return affine(params, _normalise(widen(x), _mean, eps)[0], x)


def layer_norm_backward(eps: float, params: Any, x: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    """∂c/∂scale = Σᵢ δᵢ ⊙ x̂ᵢ, ∂c/∂offset = Σᵢ δᵢ;   q = δ ⊙ scale, δ ← r(q − M(q) − x̂ M(q x̂))."""
    x_hat, r = _normalise(widen(x), _mean, eps)
    grads, q = affine_backward(params, x_hat, delta)
    return grads, _normalise_backward(q, x_hat, r, _mean)


@intern
def rms_norm(eps: float = 1e-6) -> Layer:
    """The features of each example with mean square 1, then scaled: layer_norm without its mean.

        y = scale ⊙ x · r,   r = 1/√(M(x²) + ε)                      M over the last axis
        x, y: (…, features)   scale: (features,)

    Parameters {"scale"}, 1 at the start. (Zhang & Sennrich 2019, eq. 4.) ε is part of a trained network:
    PyTorch's default is 1.2e-7, which small inputs feel.

    >>> network = rms_norm()
    >>> x = jnp.array([3.0, 3.0, 3.0, -3.0])
    >>> network.forward(network.init(jax.random.key(0), x), x).round(3)
    Array([ 1.,  1.,  1., -1.], dtype=float32)

    Raises ValueError as layer_norm does.
    """
    check_number("rms_norm", "eps", eps, ABOVE_0)
    return layer(
        rms_norm_init,
        functools.partial(rms_norm_forward, eps),
        name="rms_norm",
        backward=functools.partial(rms_norm_backward, eps),
    )


def rms_norm_init(key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    """Scale 1."""
    check_features("rms_norm", x)
    return {"scale": jnp.ones(x.shape[-1:])}


def rms_norm_forward(eps: float, params: Any, x: jax.Array) -> jax.Array:
    """y = scale ⊙ x · r."""
    check_scale("rms_norm", params, x, ("scale",))
    wide = widen(x)
    return affine(params, wide * _root_mean_square(wide, eps), x)


def rms_norm_backward(eps: float, params: Any, x: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    """∂c/∂scale = Σᵢ δᵢ ⊙ x̂ᵢ;   q = δ ⊙ scale, δ ← r(q − x̂ M(q x̂))."""
    r = _root_mean_square(widen(x), eps)
    x_hat = widen(x) * r
    grads, q = affine_backward(params, x_hat, delta)
    return grads, r * (q - x_hat * (q * x_hat).mean(-1, keepdims=True))


def _root_mean_square(x: jax.Array, eps: float) -> jax.Array:
    """r = 1/√(M(x²) + ε)."""
    return jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + eps)


# Over groups of channels --------------------------------------------------------------------------


@intern
def group_norm(groups: int, axes: int, eps: float = 1e-5) -> Layer:
    """Each group of channels of an example with mean 0 and variance 1, then scaled and shifted.

        y = scale ⊙ (x − M(x)) · r + offset          M over an example's channels of one group, and its places
        x, y: (…, places…, channels)   scale, offset: (channels,)

    An example is the last `axes` axes: `group_norm(8, axes=3)` for images of height, width and channels.
    Groups are neighbouring channels. Parameters {"scale", "offset"}, 1 and 0 at the start. One channel a
    group is instance normalisation. (Wu & He 2018, eq. 7.)

    >>> network = group_norm(2, axes=1)
    >>> x = jnp.array([1.0, 3.0, 50.0, 70.0])
    >>> network.forward(network.init(jax.random.key(0), x), x).round(3)
    Array([-1.,  1., -1.,  1.], dtype=float32)

    Raises ValueError where the channels are no multiple of `groups`, where the input has fewer axes, and as
    layer_norm does.
    """
    groups = check_whole("group_norm", "groups", groups)
    axes = check_whole("group_norm", "axes", axes, fix="group_norm(8, axes=3) for images with channels.")
    check_number("group_norm", "eps", eps, ABOVE_0)
    return layer(
        functools.partial(_group_norm_init, groups, axes),
        functools.partial(group_norm_forward, groups, axes, eps),
        name=f"group_norm({groups})",
        backward=functools.partial(group_norm_backward, groups, axes, eps),
        stream=needs_all_steps("group_norm") if axes > 1 else None,
    )


def _group_norm_init(groups: int, axes: int, key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    params = scale_and_offset("group_norm", key, x)
    _grouped(groups, axes, x)
    return params


def group_norm_forward(groups: int, axes: int, eps: float, params: Any, x: jax.Array) -> jax.Array:
    """y = scale ⊙ (x − M(x)) · r + offset."""
    check_scale("group_norm", params, x, ("scale", "offset"))
    shape = _grouped(groups, axes, x)
    x_hat, _ = _normalise(
        widen(x).reshape(*shape, x.shape[-1]), functools.partial(_mean_of_group, groups), eps
    )
    return affine(params, x_hat.reshape(x.shape), x)


def group_norm_backward(
    groups: int, axes: int, eps: float, params: Any, x: Any, y: Any, delta: Any
) -> tuple[Any, Any]:
    """∂c/∂scale = Σᵢ δᵢ ⊙ x̂ᵢ, ∂c/∂offset = Σᵢ δᵢ;   q = δ ⊙ scale, δ ← r(q − M(q) − x̂ M(q x̂))."""
    mean, shape = functools.partial(_mean_of_group, groups), (*_grouped(groups, axes, x), x.shape[-1])
    x_hat, r = _normalise(widen(x).reshape(shape), mean, eps)
    grads, q = affine_backward(params, x_hat.reshape(x.shape), delta)
    return grads, _normalise_backward(q.reshape(shape), x_hat, r, mean).reshape(x.shape)


def _mean_of_group(groups: int, x: jax.Array) -> jax.Array:
    """M of x (…, places, channels), for each channel that of its group: (…, 1, channels)."""
    each = x.mean(-2, keepdims=True)  # first of each channel alone: the last axis stays as wide as it is
    means = each.reshape(*each.shape[:-1], groups, x.shape[-1] // groups).mean(-1)
    return jnp.repeat(means, x.shape[-1] // groups, -1)


def _mean(x: jax.Array) -> jax.Array:
    """M of the last axis."""
    return x.mean(-1, keepdims=True)


def _grouped(groups: int, axes: int, x: Any) -> tuple[int, ...]:
    """The shape (…, places) before the channels."""
    name = f"group_norm({groups}, axes={axes})"
    if x.ndim < axes:
        raise ValueError(unexpected(name, f"at least {axes} axes", Words(f"shape {x.shape}")))
    if x.shape[-1] % groups:
        expected, got = f"a multiple of {groups} channels", Words(f"{x.shape[-1]} in shape {x.shape}")
        raise ValueError(unexpected(name, expected, got))
    kept = x.ndim - axes
    return *x.shape[:kept], math.prod(x.shape[kept:-1])


# What they share ----------------------------------------------------------------------------------


def scale_and_offset(name: str, key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    """Scale 1, offset 0."""
    check_features(name, x)
    return {"scale": jnp.ones(x.shape[-1:]), "offset": jnp.zeros(x.shape[-1:])}


def check_scale(name: str, params: Any, x: Any, names: tuple[str, ...]) -> None:
    """Refuse the parameters of another layer, or for another number of features."""
    check_names(name, params, names)
    scale = params["scale"]
    check_width(name, x, scale.shape[0], "scale", scale.shape)


def widen(x: jax.Array) -> jax.Array:
    """x in float32 or wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def rows_of(x: jax.Array) -> jax.Array:
    """(…, features) as (rows, features)."""
    return x.reshape(-1, x.shape[-1])


Mean = Callable[[jax.Array], jax.Array]  # M, with an axis of 1 where it was taken


def _normalise(x: jax.Array, mean: Mean, eps: float) -> tuple[jax.Array, jax.Array]:
    """x̂ = (x − M(x)) · r, and r."""
    deviation = x - mean(x)
    r = jax.lax.rsqrt(mean(deviation**2) + eps)
    return deviation * r, r


def _normalise_backward(q: jax.Array, x_hat: jax.Array, r: jax.Array, mean: Mean) -> jax.Array:
    """δ ← r(q − M(q) − x̂ M(q x̂))."""
    return r * (q - mean(q) - x_hat * mean(q * x_hat))


def affine(params: Any, x_hat: jax.Array, x: jax.Array) -> jax.Array:
    """y = scale ⊙ x̂ + offset, in the wider type of x and scale."""
    y = rows_of(x_hat) * params["scale"][None]
    y = y + params["offset"][None] if "offset" in params else y
    return y.reshape(x.shape).astype(jnp.result_type(x, params["scale"]))


def affine_backward(params: Any, x_hat: jax.Array, delta: jax.Array) -> tuple[dict[str, Any], jax.Array]:
    """∂c/∂scale = Σᵢ δᵢ ⊙ x̂ᵢ, ∂c/∂offset = Σᵢ δᵢ, q = δ ⊙ scale."""
    rows = rows_of(widen(delta))
    grads = {"scale": (rows * rows_of(x_hat)).sum(0), "offset": rows.sum(0)}
    grads = {name: grads[name] for name in params if name in grads}
    return grads, (rows * params["scale"][None]).reshape(delta.shape)
