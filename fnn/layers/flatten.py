"""Flatten: several axes into one."""

import functools
import math

import jax

from fnn.guard.numbers import check_whole
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer, no_parameters

__all__ = ["flatten"]


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
