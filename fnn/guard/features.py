"""What layers share: features on the last axis, the steps of sequences, and what parameters begin with."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from fnn.guard.words import Words, name_of, unexpected

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


def sequence_parts(layer: str, x: Any, options: tuple[str, ...]) -> dict[str, Any]:
    """The steps (…, T, features) as "x", alone or in a dict with others; refused with none or other names."""
    given = x if isinstance(x, dict) else {"x": x}
    if not {"x"} <= set(given) <= {"x", *options}:
        got = Words(f"{sorted(given)}")
        raise ValueError(unexpected(layer, f"an array, or a dict of x and {' and '.join(options)}", got))
    check_features(layer, given["x"])
    if given["x"].ndim < 2:
        expected, got = "an axis of steps before that of the features", Words(f"shape {given['x'].shape}")
        raise ValueError(unexpected(layer, expected, got, "One sequence goes in as (steps, features)."))
    return given


def initial(name: str, init: Initializer, key: chex.PRNGKey, shape: tuple[int, ...]) -> jax.Array:
    """What an initializer draws, refused where it is no array of this shape."""
    value = init(key, shape) if callable(init) else init
    if not isinstance(value, jax.Array) or value.shape != shape:
        got = f"shape {value.shape}" if isinstance(value, jax.Array) else repr(init)
        got = f"{name_of(init)}, which makes one: call it" if callable(value) else got
        expected = f"an initializer, (key, shape) → an array of shape {shape}"
        fix = "Such as jax.nn.initializers.he_normal()."
        raise TypeError(unexpected(name, expected, Words(got), fix))
    return value
