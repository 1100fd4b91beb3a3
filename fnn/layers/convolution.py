"""Convolution: the same weights at every place."""

import functools
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnn.guard.features import check_features, check_width, initial
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.layers.linear import lecun_normal
from fnn.layers.windows import (
    Padding,
    Windows,
    adjoint_by_shifts,
    adjoint_by_xla,
    as_images,
    as_row,
    make_windows,
    places_before,
    places_of,
    places_out,
    product_by_shifts,
    product_by_xla,
    product_on_cpu,
    weight_slope,
)
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer
from fnn.network.stream import needs_all_steps

__all__ = ["conv", "conv_transpose"]


@intern
def conv(
    features: int,
    window: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: Padding = "SAME",
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    weight_init: Initializer = lecun_normal,
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Each place a weighted sum of the window around it: y[o] = Σₜ x[s·o + d·t − lo] Wₜ + b.

        x: (…, places…, in)   W: (window…, in / groups, features)   b: (features,)   y: (…, places…, features)

    The window has one axis for sequences, two for images, three for volumes; channels come last. t runs over
    the window, s is the stride, d the dilation, lo the padding before. Padding is "SAME" (as many places as
    before, divided by the stride), "VALID" (none), a number for both ends, or a pair for each axis;
    ((d(k − 1), 0),) makes a sequence causal. With groups, features of a group see the inputs of that group
    only; `groups` as many as inputs is a depthwise convolution. The window is not flipped.

    Parameters {"weight": W, "bias": b}; W ~ N(0, 1/n) with n the numbers that a window sees. XLA's
    convolution computes it. On a CPU a matrix product of shifted copies does so where that is faster: for
    small windows, and for most derivatives. (LeCun et al. 1989, section 3.)

    >>> params = {"weight": jnp.array([[[1.0]], [[2.0]], [[3.0]]]), "bias": jnp.zeros(1)}
    >>> conv(1, (3,)).forward(params, jnp.array([[0.0], [1.0], [0.0], [0.0]]))[:, 0]
    Array([3., 2., 1., 0.], dtype=float32)

    Raises ValueError for numbers that are not whole and positive, inputs or features that are no multiple of
    the groups, and input with too few axes, no floating-point channels or other ones than W is for.
    """
    count, parts = _check_groups("conv", features, groups)
    windows = make_windows("conv", window, stride, padding, dilation)
    return layer(
        functools.partial(_conv_init, windows, count, parts, weight_init, bias_init),
        functools.partial(conv_forward, windows, parts),
        name=f"conv({count}, {windows.shape})",
        backward=functools.partial(conv_backward, windows, parts),
        stream=needs_all_steps("conv"),
    )


def _check_groups(name: str, features: int, groups: int) -> tuple[int, int]:
    count, parts = check_whole(name, "features", features), check_whole(name, "groups", groups)
    if count % parts:
        raise ValueError(unexpected(f"{name}: features", f"a multiple of {parts} groups", count))
    return count, parts


def _check_channels(windows: Windows, groups: int, x: Any) -> None:
    check_features(windows.name, x)
    if x.shape[-1] % groups:
        got = Words(f"{x.shape[-1]} in shape {x.shape}")
        raise ValueError(unexpected(windows.name, f"a multiple of {groups} input channels", got))


def _conv_init(
    windows: Windows,
    features: int,
    groups: int,
    weight_init: Initializer,
    bias_init: Initializer,
    key: chex.PRNGKey,
    x: Any,
) -> dict[str, jax.Array]:
    _check_channels(windows, groups, x)
    places_out(windows, places_of(windows, x))
    weight_key, bias_key = jax.random.split(key)
    shape = (*windows.shape, x.shape[-1] // groups, features)
    return {
        "weight": initial("conv: weight_init", weight_init, weight_key, shape),
        "bias": initial("conv: bias_init", bias_init, bias_key, (features,)),
    }


def conv_forward(windows: Windows, groups: int, params: Any, x: jax.Array) -> jax.Array:
    """y[o] = Σₜ x[s·o + d·t − lo] Wₜ + b."""
    weight, images = _check(windows, groups, params, x)
    y = jax.lax.platform_dependent(
        images,
        weight,
        cpu=functools.partial(product_on_cpu, windows, groups),
        default=functools.partial(product_by_xla, windows, groups),
    )
    y = y + params["bias"].reshape(as_row(y))
    return y.reshape(*x.shape[: x.ndim - images.ndim + 1], *y.shape[1:])


def _check(windows: Windows, groups: int, params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    check_names("conv", params, ("weight", "bias"))
    weight = params["weight"]
    check_width("conv", x, groups * weight.shape[-2], "weight", weight.shape)
    return weight, as_images(windows, x)


def conv_backward(
    windows: Windows, groups: int, params: Any, x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[Any, jax.Array]:
    """∂c/∂Wₜ = Σₒ x[s·o + d·t − lo]ᵀδ[o], ∂c/∂b = Σₒ δ[o];   δ_x[s·o + d·t − lo] += δ[o]Wₜᵀ."""
    weight, images = _check(windows, groups, params, x)
    delta = delta.reshape(len(images), *delta.shape[x.ndim - images.ndim + 1 :])
    grads = {"weight": weight_slope(windows, groups, weight, images, delta), "bias": _total(delta)}
    return grads, adjoint_by_shifts(windows, groups, images, weight, delta).reshape(x.shape)


def _total(delta: jax.Array) -> jax.Array:
    return delta.reshape(-1, delta.shape[-1]).sum(0)


# The way back as a layer --------------------------------------------------------------------------


@intern
def conv_transpose(
    features: int,
    window: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: Padding = "SAME",
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Layer:
    """Each place spread over the window around it: y = b, then y[s·o + d·t − lo] += x[o] Wₜᵀ.

        x: (…, places…, in)   W: (window…, features / groups, in)   b: (features,)   y: (…, places…, features)

    The adjoint of the `conv` of stride s that makes images like x of images like y: its derivative with
    respect to its input is this layer, with the same W. "SAME" gives s · n places of n, "VALID"
    s(n − 1) + d(k − 1) + 1, and numbers or pairs that many fewer. Parameters {"weight": W, "bias": b};
    W ~ N(0, 1/m) with m the numbers that arrive at a place on average. (Zeiler et al. 2010, section 3.)

    >>> params = {"weight": jnp.array([[[1.0]], [[2.0]], [[3.0]]]), "bias": jnp.zeros(1)}
    >>> conv_transpose(1, (3,), stride=2, padding="VALID").forward(params, jnp.array([[1.0], [0.0]]))[:, 0]
    Array([1., 2., 3., 0., 0.], dtype=float32)

    Raises ValueError as `conv` does.
    """
    count, parts = _check_groups("conv_transpose", features, groups)
    windows = make_windows("conv_transpose", window, stride, padding, dilation)
    return layer(
        functools.partial(_transpose_init, windows, count, parts),
        functools.partial(conv_transpose_forward, windows, parts),
        name=f"conv_transpose({count}, {windows.shape})",
        backward=functools.partial(conv_transpose_backward, windows, parts),
        stream=needs_all_steps("conv_transpose"),
    )


def _transpose_init(
    windows: Windows, features: int, groups: int, key: chex.PRNGKey, x: Any
) -> dict[str, jax.Array]:
    _check_channels(windows, groups, x)
    places_before(windows, places_of(windows, x))
    shape = (*windows.shape, features // groups, x.shape[-1])
    arriving = x.shape[-1] // groups * math.prod(windows.shape) / math.prod(windows.stride)
    return {
        "weight": jax.random.normal(key, shape) / math.sqrt(arriving),
        "bias": jnp.zeros(features),
    }


def conv_transpose_forward(windows: Windows, groups: int, params: Any, x: jax.Array) -> jax.Array:
    """y = b, then y[s·o + d·t − lo] += x[o] Wₜᵀ."""
    weight, images, larger = _check_transpose(windows, groups, params, x)
    y = jax.lax.platform_dependent(
        larger,
        weight,
        images,
        cpu=functools.partial(adjoint_by_shifts, windows, groups),
        default=functools.partial(adjoint_by_xla, windows, groups),
    )
    y = y + params["bias"].reshape(as_row(y))
    return y.reshape(*x.shape[: x.ndim - images.ndim + 1], *y.shape[1:])


def _check_transpose(windows: Windows, groups: int, params: Any, x: Any) -> tuple[Any, jax.Array, jax.Array]:
    """W, x with one axis before its places, and an image like y, of zeros."""
    check_names("conv_transpose", params, ("weight", "bias"))
    weight = params["weight"]
    check_width("conv_transpose", x, weight.shape[-1], "weight", weight.shape)
    images = as_images(windows, x)
    places = places_before(windows, images.shape[1:-1])
    return weight, images, jnp.zeros((len(images), *places, groups * weight.shape[-2]), images.dtype)


def conv_transpose_backward(
    windows: Windows, groups: int, params: Any, x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[Any, jax.Array]:
    """∂c/∂Wₜ = Σₒ δ[s·o + d·t − lo]ᵀx[o], ∂c/∂b = Σ δ;   δ_x[o] = Σₜ δ[s·o + d·t − lo] Wₜ: a convolution."""
    weight, images, larger = _check_transpose(windows, groups, params, x)
    delta = delta.reshape(larger.shape)
    grads = {"weight": weight_slope(windows, groups, weight, delta, images), "bias": _total(delta)}
    return grads, product_by_shifts(windows, groups, delta, weight).reshape(x.shape)
