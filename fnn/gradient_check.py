"""Is a gradient right? Compared with the slope of the cost itself."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.parameters import merge, trained

__all__ = ["GradientCheck", "check_gradients"]


class GradientCheck(NamedTuple):
    """The largest relative error found, and where: `place` in the parameters, its two derivatives."""

    error: float
    place: str
    automatic: float
    numeric: float


def check_gradients(
    loss: Callable[..., Any], params: chex.ArrayTree, *args: Any, entries: int = 10
) -> GradientCheck:
    """Compare `jax.grad` of a loss with central differences, at some entries of every trained array.

        ∂c/∂θᵢ ≈ (c(θᵢ + h) − c(θᵢ − h)) / 2h        h = ε^⅓ · max(1, |θᵢ|), ε the dtype's rounding

    The error of an entry is relative to the largest derivative of its array. An entry where the slopes
    to the left and to the right differ, as at a ReLU's corner, is left out with a warning: there is no
    derivative to compare with. Expect 1e-8 in float64, 1e-2 in float32. Nocedal & Wright 2006, §8.1.

    >>> check = check_gradients(lambda params: params["a"] ** 3, {"a": jnp.float32(2.0)})
    >>> print(check.place, round(check.automatic), round(check.numeric), check.error < 1e-2)
    ['a'] 12 12 True
    """
    learns = trained(params)
    cost = jax.jit(lambda learns, *args: loss(merge(learns, params), *args))
    grads = jax.jit(jax.grad(cost))(learns, *args)
    leaves, structure = jax.tree.flatten(learns)
    slopes = jax.tree_util.tree_leaves_with_path(grads)
    found = [GradientCheck(0.0, "", 0.0, 0.0)]
    for place, (path, slope) in enumerate(slopes):

        def at(value: Any, place: int = place) -> float:
            changed = [*leaves[:place], value, *leaves[place + 1 :]]
            return float(cost(jax.tree.unflatten(structure, changed), *args))

        found += _compare(at, jnp.asarray(leaves[place]), np.asarray(slope), path, entries)
    return max(found, key=lambda check: check.error)


def _compare(
    at: Callable[[Any], float], leaf: jax.Array, slope: np.ndarray, path: Any, entries: int
) -> list[GradientCheck]:
    epsilon = float(np.finfo(leaf.dtype).eps)
    scale = max(float(np.abs(slope).max(initial=0)), epsilon)
    here, found = at(leaf), []
    for flat in np.unique(np.linspace(0, leaf.size - 1, min(entries, leaf.size)).astype(int)):
        index = np.unravel_index(flat, leaf.shape)
        where = jax.tree_util.keystr(path) + (str([int(i) for i in index]) if index else "")
        h = epsilon ** (1 / 3) * max(1.0, abs(float(leaf[index])))
        values = [float(leaf[index]) + step for step in (-h, h)]
        below, above = (at(leaf.at[index].set(value)) for value in values)
        left, right = (here - below) / h, (above - here) / h
        numeric = (above - below) / (values[1] - values[0])
        if abs(right - left) > 0.1 * max(scale, abs(numeric)) + 8 * epsilon * abs(here) / h:
            warnings.warn(
                f"params{where} stands at a kink: the slope is {left:.3g} to the left and {right:.3g} "
                "to the right of it, so it has no derivative there; the entry is left out.",
                stacklevel=3,
            )
            continue
        error = abs(float(slope[index]) - numeric) / max(scale, abs(numeric))
        found.append(GradientCheck(error, where, float(slope[index]), numeric))
    return found
