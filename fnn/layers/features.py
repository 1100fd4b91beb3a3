"""What layers that act on the last axis take: one array of floating-point features."""

from typing import Any

import jax.numpy as jnp

from fnn.guard.words import Words, unexpected

__all__: list[str] = []


def check_features(layer: str, x: Any) -> None:
    """Refuse what is no array of features: a tree, a single number, integers."""
    if not hasattr(x, "shape"):
        fix = "Take what it needs from it in a plain function before, or use fnn.parallel or fnn.wire."
        raise TypeError(unexpected(layer, "one array of features", x, fix))
    if x.ndim == 0 or x.shape[-1] == 0:
        fix = "A single column of n rows goes in as x[:, None], of shape (n, 1)."
        raise ValueError(unexpected(layer, "features on the last axis", Words(f"shape {x.shape}"), fix))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        fix = "Quantities go in as x.astype('float32'), categories as fnn.one_hot(ids, classes)."
        raise ValueError(
            unexpected(layer, "floating-point features", Words(f"{x.dtype} of shape {x.shape}"), fix)
        )


def check_width(layer: str, x: Any, width: int, name: str, shape: tuple[int, ...]) -> None:
    """Refuse another number of features than the parameter called `name`, of this shape, is for."""
    check_features(layer, x)
    if x.shape[-1] != width:
        expected = f"{width} features on the last axis (its {name} is {shape})"
        got = Words(f"{x.shape[-1]} in an input of shape {x.shape}")
        fix = "Give it the columns it was initialised for, or initialise it again for these."
        raise ValueError(unexpected(layer, expected, got, fix))
