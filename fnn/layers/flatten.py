"""Several axes into one."""

import functools
import math

import jax

from fnn.guard.numbers import whole_number
from fnn.guard.words import unexpected
from fnn.network.intern import intern
from fnn.network.layer import Layer, layer, no_parameters

__all__ = ["flatten"]


@intern
def flatten(axes: int) -> Layer:
    """The last `axes` axes laid out as one: (…, a, b, c) → (…, a·b·c) for `flatten(3)`.

    It counts from the end, so that one example, a batch and a batch of batches are treated alike.

    >>> flatten(2).forward((), jax.numpy.ones((5, 8, 8))).shape
    (5, 64)

    Raises ValueError where `axes` is no positive integer, or the input has fewer axes.
    """
    if whole_number(axes, 1) is None:
        fix = "flatten(2) for images of height and width, flatten(3) with channels."
        raise ValueError(unexpected("flatten", "how many of the last axes to join, at least 1", axes, fix))
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
