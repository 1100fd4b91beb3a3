"""Convolution: the same weights at every place."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnn.guard.features import check_features, check_width, initial
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.layers.dense import lecun_normal
from fnn.layers.windows import (
    Padding,
    Windows,
    add_back,
    as_images,
    make_windows,
    pads_of,
    places_of,
    places_out,
    shifts,
)
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer

__all__ = ["conv"]


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

    Parameters {"weight": W, "bias": b}; W ~ N(0, 1/n) with n the numbers that a window sees. On a CPU it is
    computed as a matrix product of shifted copies, which in the loop of a training is many times as fast as
    XLA's convolution; elsewhere as XLA's. (LeCun et al. 1989, section 3.)

    >>> params = {"weight": jnp.array([[[1.0]], [[2.0]], [[3.0]]]), "bias": jnp.zeros(1)}
    >>> conv(1, (3,)).forward(params, jnp.array([[0.0], [1.0], [0.0], [0.0]]))[:, 0]
    Array([3., 2., 1., 0.], dtype=float32)

    Raises ValueError for numbers that are not whole and positive, inputs or features that are no multiple of
    the groups, and input with too few axes, no floating-point channels or other ones than W is for.
    """
    count, parts = check_whole("conv", "features", features), check_whole("conv", "groups", groups)
    if count % parts:
        raise ValueError(unexpected("conv: features", f"a multiple of {parts} groups", count))
    windows = make_windows("conv", window, stride, padding, dilation)
    return layer(
        functools.partial(_conv_init, windows, count, parts, weight_init, bias_init),
        functools.partial(conv_forward, windows, parts),
        name=f"conv({count}, {windows.shape})",
        backward=functools.partial(conv_backward, windows, parts),
    )


def _conv_init(
    windows: Windows,
    features: int,
    groups: int,
    weight_init: Initializer,
    bias_init: Initializer,
    key: chex.PRNGKey,
    x: Any,
) -> dict[str, jax.Array]:
    check_features("conv", x)
    if x.shape[-1] % groups:
        got = Words(f"{x.shape[-1]} in shape {x.shape}")
        raise ValueError(unexpected("conv", f"a multiple of {groups} input channels", got))
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
    shifted = functools.partial(_by_shifts, windows, groups)
    y = jax.lax.platform_dependent(
        images, weight, cpu=shifted, default=functools.partial(_by_xla, windows, groups)
    )
    y = y + params["bias"].reshape(_row(y))
    return y.reshape(*x.shape[: x.ndim - images.ndim + 1], *y.shape[1:])


def _check(windows: Windows, groups: int, params: Any, x: Any) -> tuple[jax.Array, jax.Array]:
    check_names("conv", params, ("weight", "bias"))
    weight = params["weight"]
    check_width("conv", x, groups * weight.shape[-2], "weight", weight.shape)
    return weight, as_images(windows, x)


def _by_xla(windows: Windows, groups: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    kind = jnp.result_type(x, weight)
    axes = "XYZ"[: len(windows.shape)]
    return jax.lax.conv_general_dilated(
        x.astype(kind),
        weight.astype(kind),
        windows.stride,
        pads_of(windows, x.shape[1:-1]),
        rhs_dilation=windows.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def _by_shifts(windows: Windows, groups: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    """One matrix product of the shifted copies side by side; of single channels, their weighted sum."""
    inputs, features = weight.shape[-2:]
    copies, w = shifts(windows, x), weight.reshape(-1, inputs, features)
    if groups == 1:
        return jnp.concatenate(copies, -1) @ w.reshape(-1, features)
    if inputs == 1:  # each output sees one channel
        seen = [jnp.repeat(shift, features // groups, -1) for shift in copies]
        return functools.reduce(jnp.add, [part * w[t].reshape(_row(part)) for t, part in enumerate(seen)])
    stack = jnp.stack([shift.reshape(*shift.shape[:-1], groups, inputs) for shift in copies], -3)
    w = w.reshape(len(copies), inputs, groups, features // groups)
    return jnp.einsum("...tgi,tigf->...gf", stack, w).reshape(*copies[0].shape[:-1], features)


def _row(like: jax.Array) -> tuple[int, ...]:
    return (1,) * (like.ndim - 1) + (-1,)


def conv_backward(
    windows: Windows, groups: int, params: Any, x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[Any, jax.Array]:
    """∂c/∂Wₜ = Σₒ x[s·o + d·t − lo]ᵀδ[o], ∂c/∂b = Σₒ δ[o];   δ_x[s·o + d·t − lo] += δ[o]Wₜᵀ."""
    weight, images = _check(windows, groups, params, x)
    inputs, features = weight.shape[-2:]
    delta = delta.reshape(len(images), *delta.shape[x.ndim - images.ndim + 1 :])
    d = delta.reshape(*delta.shape[:-1], groups, features // groups)
    w = weight.reshape(-1, inputs, groups, features // groups)
    copies = [each.reshape(*each.shape[:-1], groups, inputs) for each in shifts(windows, images)]
    grads = [jnp.einsum("...gi,...gf->igf", copy, d) for copy in copies]
    parts = [jnp.einsum("...gf,igf->...gi", d, each).reshape(*d.shape[:-2], groups * inputs) for each in w]
    bias = delta.reshape(-1, features).sum(0)
    delta_x = add_back(windows, images, parts).reshape(x.shape)
    return {"weight": jnp.stack(grads).reshape(weight.shape), "bias": bias}, delta_x
