"""Activations with a shape that is learned; each starts as a standard one.

Their parameter is called `scale`, as that of a normalisation, so weight decay spares it. It is one number for
the layer, or with `per_unit=True` one a feature.
"""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fnn.guard.features import check_features
from fnn.guard.numbers import check_number
from fnn.guard.words import unexpected
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_names, is_plain, layer, name_errors

__all__ = ["mixture", "prelu", "swish"]


# The slope where x < 0 ----------------------------------------------------------------------------


@intern
def prelu(start: float = 0.25, per_unit: bool = False) -> Layer:
    """Leaky ReLU with a learned slope: y = x where x ≥ 0, and scale · x elsewhere.

        x, y: (…, features)   scale: (), or (features,) with per_unit

    Parameters {"scale"}, at first `start`: the layer starts as `leaky_relu` of that slope.
    (He et al. 2015, eq. 1.)

    >>> network = prelu()
    >>> network.forward({"scale": jnp.array(0.5)}, jnp.array([-2.0, 3.0]))
    Array([-1.,  3.], dtype=float32)

    Raises ValueError for a start below 0 or not finite, and input without floating-point features.
    """
    check_number("prelu", "start", start)
    return layer(
        functools.partial(_scale_init, "prelu", start, per_unit),
        prelu_forward,
        name="prelu",
        backward=prelu_backward,
    )


def prelu_forward(params: Any, x: jax.Array) -> jax.Array:
    """y = x where x ≥ 0, and scale · x elsewhere."""
    return jnp.where(x >= 0, x, _scale("prelu", params, x) * x)


def prelu_backward(params: Any, x: jax.Array, y: jax.Array, delta: jax.Array) -> tuple[Any, jax.Array]:
    """∂c/∂scale = Σ δx over x < 0;   δ ← δ where x ≥ 0, and scale · δ elsewhere."""
    scale = _scale("prelu", params, x)
    return _scale_grads(params, jnp.where(x >= 0, 0, delta * x)), jnp.where(x >= 0, delta, scale * delta)


# The bend at 0 ------------------------------------------------------------------------------------


@intern
def swish(per_unit: bool = False) -> Layer:
    """SiLU with a learned sharpness: y = x · σ(scale · x).

        x, y: (…, features)   scale: (), or (features,) with per_unit

    Parameters {"scale"}, at first 1: the layer starts as `jax.nn.silu`. At 0 it is x/2, and towards ∞ ReLU.
    (Ramachandran, Zoph & Le 2017, section 4.)

    >>> network = swish()
    >>> network.forward({"scale": jnp.array(0.0)}, jnp.array([-2.0, 3.0]))
    Array([-1. ,  1.5], dtype=float32)

    Raises ValueError for input without floating-point features.
    """
    init = functools.partial(_scale_init, "swish", 1.0, per_unit)
    return layer(init, swish_forward, name="swish", backward=swish_backward)


def swish_forward(params: Any, x: jax.Array) -> jax.Array:
    """y = x · σ(scale · x)."""
    return x * jax.nn.sigmoid(_scale("swish", params, x) * x)


def swish_backward(params: Any, x: jax.Array, y: jax.Array, delta: jax.Array) -> tuple[Any, jax.Array]:
    """s = σ(scale · x);   ∂c/∂scale = Σ δx² s(1 − s);   δ ← δ ⊙ (s + scale · x s(1 − s))."""
    scale = _scale("swish", params, x)
    s = jax.nn.sigmoid(scale * x)
    slope = s * (1 - s)
    return _scale_grads(params, delta * x**2 * slope), delta * (s + scale * x * slope)


# A sum of several ---------------------------------------------------------------------------------


@intern
def mixture(*functions: Forward | Layer, per_unit: bool = False) -> Layer:
    """A learned sum of activations: y = Σₖ scaleₖ · fₖ(x).

        x, y: (…, features)   scale: (functions,), or (functions, features) with per_unit

    Parameters {"scale"}, at first 1, 0, 0, …: the layer starts as the first function. Scales are free: they
    need not be positive or add up to 1. (Manessi & Rozza 2018, eq. 2, where they add up to 1.)

    >>> network = mixture(jnp.tanh, jax.nn.identity)
    >>> network.forward({"scale": jnp.array([0.0, 0.5])}, jnp.array([-2.0, 3.0]))
    Array([-1. ,  1.5], dtype=float32)

    Raises TypeError for what is no plain function, ValueError where none is given or one changes the shape.
    """
    parts = tuple(as_layer(function, "mixture") for function in functions)
    if not parts:
        raise ValueError("mixture expected at least one function, as in fnn.mixture(jax.nn.relu, jnp.tanh).")
    for part in parts:
        if not is_plain(part):
            raise TypeError(unexpected("mixture", "plain functions, such as jnp.tanh", part))
    return layer(
        functools.partial(_mixture_init, parts, per_unit),
        functools.partial(mixture_forward, parts),
        name="mixture",
        parts=parts,
        inside=functools.partial(_mixture_inside, parts),
        backward=functools.partial(mixture_backward, parts),
    )


def _mixture_init(parts: Any, per_unit: bool, key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    check_features("mixture", x)
    first = jnp.zeros(len(parts)).at[0].set(1)
    return {"scale": jnp.tile(first[:, None], x.shape[-1]) if per_unit else first}


def mixture_forward(parts: tuple[Layer, ...], params: Any, x: jax.Array) -> jax.Array:
    """y = Σₖ scaleₖ · fₖ(x)."""
    _check_scales(parts, params, x)
    terms = [_spread(scale, x) * _apply(i, f, x) for i, (f, scale) in enumerate(zip(parts, params["scale"]))]
    return functools.reduce(jnp.add, terms)


def _apply(place: int, part: Layer, x: jax.Array) -> jax.Array:
    with name_errors(f"function {place}", part, x):
        y = part.forward((), x)
        if jnp.shape(y) != x.shape:
            changed = f"{x.shape} became {jnp.shape(y)}"
            raise ValueError(f"mixture adds functions up, so each must keep the shape: {changed}.")
        return y


def _mixture_inside(parts: tuple[Layer, ...], params: Any, x: jax.Array) -> list[Any]:
    return [(f"function {i}", part, (), x) for i, part in enumerate(parts)]


def mixture_backward(
    parts: tuple[Layer, ...], params: Any, x: jax.Array, y: jax.Array, delta: jax.Array, pull: Any
) -> tuple[Any, jax.Array]:
    """∂c/∂scaleₖ = Σ δ fₖ(x);   δ ← Σₖ δ scaleₖ ⊙ fₖ′(x)."""
    grads, delta_x = [], jnp.zeros_like(x)
    for i, part in reversed(list(enumerate(parts))):
        scale = params["scale"][i]
        grads.append(_sum_like(scale, delta * part.forward((), x)))
        delta_x = delta_x + pull(f"function {i}", part, (), x, delta * _spread(scale, x))[1]
    return {"scale": jnp.stack(grads[::-1])}, delta_x


def _check_scales(parts: tuple[Layer, ...], params: Any, x: jax.Array) -> None:
    check_names("mixture", params, ("scale",))
    check_features("mixture", x)
    shape, fits = params["scale"].shape, [(len(parts),), (len(parts), x.shape[-1])]
    if shape not in fits:
        raise ValueError(f"mixture expected a scale of shape {fits[0]} or {fits[1]}, got {shape}.")


# What they share ----------------------------------------------------------------------------------


def _scale_init(name: str, start: float, per_unit: bool, key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    check_features(name, x)
    return {"scale": jnp.full(x.shape[-1:] if per_unit else (), start, float)}


def _scale(name: str, params: Any, x: Any) -> jax.Array:
    """The scale of each feature, or of all, ready to be multiplied with x."""
    check_names(name, params, ("scale",))
    check_features(name, x)
    scale = params["scale"]
    if scale.shape not in ((), x.shape[-1:]):
        raise ValueError(f"{name} expected a scale of shape () or {x.shape[-1:]}, got {scale.shape}.")
    return _spread(scale, x)


def _spread(scale: jax.Array, x: jax.Array) -> jax.Array:
    return scale.reshape((1,) * (x.ndim - scale.ndim) + scale.shape) if scale.ndim else scale


def _scale_grads(params: Any, each: jax.Array) -> dict[str, jax.Array]:
    return {"scale": _sum_like(params["scale"], each)}


def _sum_like(scale: jax.Array, each: jax.Array) -> jax.Array:
    """The sum over the axes that share a scale."""
    return each.reshape(-1, *scale.shape).sum(0)
