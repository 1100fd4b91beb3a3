"""What becomes of places: one axis of numbers, or the largest or the mean of each window."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from fnn.guard.features import check_features
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.layers.windows import Padding, Windows, add_back, as_images, make_windows, shifts
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer, no_parameters
from fnn.network.stream import needs_all_steps

__all__ = ["avg_pool", "flatten", "global_avg_pool", "max_pool"]


@intern
def flatten(axes: int) -> Layer:
    """The last `axes` axes as one: (…, a, b, c) → (…, a·b·c) for `flatten(3)`.

    Axes are counted from the end, so one example, a batch and a batch of batches are treated alike.

    >>> flatten(2).forward((), jax.numpy.ones((5, 8, 8))).shape
    (5, 64)

    Raises ValueError where `axes` is no positive integer, or the input has fewer axes.
    """
    fix = "flatten(2) for images of height and width, flatten(3) with channels."
    axes = check_whole("flatten", "axes", axes, fix=fix)
    return layer(
        no_parameters,
        functools.partial(flatten_forward, axes),
        name=f"flatten({axes})",
        backward=flatten_backward,
        stream=needs_all_steps("flatten") if axes > 1 else None,
    )


def flatten_forward(axes: int, params: tuple[()], x: jax.Array) -> jax.Array:
    """The last axes as one."""
    if not hasattr(x, "ndim"):
        raise TypeError(f"flatten({axes}) expected one array, got a {type(x).__name__}.")
    if x.ndim < axes:
        raise ValueError(f"flatten({axes}) expected at least {axes} axes, got shape {x.shape}.")
    kept = x.ndim - axes
    return x.reshape(*x.shape[:kept], math.prod(x.shape[kept:]))


def flatten_backward(
    params: tuple[()], x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[tuple[()], jax.Array]:
    """δ in the shape of x."""
    return (), delta.reshape(x.shape)


@intern
def max_pool(
    window: tuple[int, ...], stride: int | tuple[int, ...] | None = None, padding: Padding = "VALID"
) -> Layer:
    """The largest number of each window: y[o] = maxₜ x[s·o + t − lo].

        x: (…, places…, channels)   y: (…, places…, channels)

    The stride is the window, if none is given. Padding never is the largest. Among equal numbers the
    gradient goes to the first. (Ranzato et al. 2007, section 2.)

    >>> max_pool((2,)).forward((), jnp.array([[1.0], [3.0], [2.0], [0.0]]))[:, 0]
    Array([3., 2.], dtype=float32)

    Raises ValueError for numbers that are not whole and positive, and input with too few axes or places.
    """
    windows = make_windows("max_pool", window, window if stride is None else stride, padding)
    return _pool(windows, max_pool_forward, max_pool_backward)


@intern
def avg_pool(
    window: tuple[int, ...], stride: int | tuple[int, ...] | None = None, padding: Padding = "VALID"
) -> Layer:
    """The mean of each window: y[o] = Σₜ x[s·o + t − lo] / n[o].

        x, y: (…, places…, channels)   n[o]: how many places of the window are no padding

    The stride is the window, if none is given. Padding does not count, so that the mean of ones is 1 at the
    edges, too. (LeCun et al. 1998, section 2.2.)

    >>> avg_pool((2,), padding="SAME").forward((), jnp.array([[1.0], [3.0], [5.0]]))[:, 0]
    Array([2., 5.], dtype=float32)

    Raises ValueError as `max_pool` does.
    """
    windows = make_windows("avg_pool", window, window if stride is None else stride, padding)
    return _pool(windows, avg_pool_forward, avg_pool_backward)


@intern
def global_avg_pool(axes: int) -> Layer:
    """The mean over all places: (…, places…, channels) → (…, channels), over the `axes` axes of places.

    `global_avg_pool(2)` for images. (Lin, Chen & Yan 2014, section 3.2.)

    >>> global_avg_pool(2).forward((), jnp.arange(8.0).reshape(2, 2, 2))
    Array([3., 4.], dtype=float32)

    Raises ValueError where `axes` is no positive integer, or the input has fewer axes.
    """
    count = check_whole("global_avg_pool", "axes", axes, fix="global_avg_pool(2) for images.")
    return layer(
        no_parameters,
        functools.partial(global_avg_pool_forward, count),
        name=f"global_avg_pool({count})",
        backward=functools.partial(global_avg_pool_backward, count),
        stream=needs_all_steps("global_avg_pool"),
    )


def _pool(windows: Windows, forward: Any, backward: Any) -> Layer:
    return layer(
        no_parameters,
        functools.partial(forward, windows),
        name=f"{windows.name}({windows.shape})",
        backward=functools.partial(backward, windows),
        stream=needs_all_steps(windows.name),
    )


def _shifts(windows: Windows, x: Any, value: float) -> list[jax.Array]:
    check_features(windows.name, x)
    return shifts(windows, as_images(windows, x), value)


def _shaped(windows: Windows, y: jax.Array, x: jax.Array) -> jax.Array:
    return y.reshape(*x.shape[: x.ndim - len(windows.shape) - 1], *y.shape[1:])


def max_pool_forward(windows: Windows, params: tuple[()], x: jax.Array) -> jax.Array:
    """y[o] = maxₜ x[s·o + t − lo]."""
    first, *rest = _shifts(windows, x, -math.inf)
    for shift in rest:  # where, and not maximum: that would give half of the gradient to each of two equals
        first = jnp.where((shift > first) | jnp.isnan(shift), shift, first)
    return _shaped(windows, first, x)


def max_pool_backward(
    windows: Windows, params: tuple[()], x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[tuple[()], jax.Array]:
    """δ_x[s·o + t − lo] += δ[o] at the first t whose number is the largest."""
    images = as_images(windows, x)
    y, delta = (each.reshape(len(images), *each.shape[x.ndim - images.ndim + 1 :]) for each in (y, delta))
    free, parts = jnp.ones(y.shape, bool), []
    for shift in _shifts(windows, x, -math.inf):
        hit = free & (shift == y)
        free &= ~hit
        parts.append(jnp.where(hit, delta, 0))
    return (), add_back(windows, images, parts).reshape(x.shape)


def avg_pool_forward(windows: Windows, params: tuple[()], x: jax.Array) -> jax.Array:
    """y[o] = Σₜ x[s·o + t − lo] / n[o]."""
    total = functools.reduce(jnp.add, _shifts(windows, x, 0.0))
    return _shaped(windows, total / _counts(windows, as_images(windows, x)), x)


def avg_pool_backward(
    windows: Windows, params: tuple[()], x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[tuple[()], jax.Array]:
    """δ_x[s·o + t − lo] += δ[o] / n[o]."""
    images = as_images(windows, x)
    delta = delta.reshape(len(images), *delta.shape[x.ndim - images.ndim + 1 :])
    share = delta / _counts(windows, images)
    return (), add_back(windows, images, [share] * math.prod(windows.shape)).reshape(x.shape)


def _counts(windows: Windows, images: jax.Array) -> jax.Array:
    """n[o]: (1, places out…, 1)."""
    ones = jnp.ones((1, *images.shape[1:-1], 1), images.dtype)
    return functools.reduce(jnp.add, shifts(windows, ones))


def global_avg_pool_forward(axes: int, params: tuple[()], x: jax.Array) -> jax.Array:
    """The mean over the axes before the channels."""
    check_features("global_avg_pool", x)
    if x.ndim <= axes:
        expected, got = f"at least {axes + 1} axes, the last of channels", Words(f"shape {x.shape}")
        raise ValueError(unexpected(f"global_avg_pool({axes})", expected, got))
    return x.mean(tuple(range(x.ndim - axes - 1, x.ndim - 1)))


def global_avg_pool_backward(
    axes: int, params: tuple[()], x: jax.Array, y: jax.Array, delta: jax.Array
) -> tuple[tuple[()], jax.Array]:
    """δ ← δ / n at every place."""
    over = tuple(range(x.ndim - axes - 1, x.ndim - 1))
    n = math.prod(x.shape[axis] for axis in over)
    return (), jnp.broadcast_to(jnp.expand_dims(delta, over) / n, x.shape)
