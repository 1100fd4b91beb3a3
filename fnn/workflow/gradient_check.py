"""Is a gradient right? Compared with the slope of the cost itself."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.numbers import check_whole
from fnn.guard.words import describe
from fnn.network.parameters import merge, trained
from fnn.workflow.arguments import check_slopes
from fnn.workflow.objective import real_number

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
    derivative to compare with. Expect 1e-8 in float64, 1e-2 in float32, where slopes below about 2e-4 of
    the cost are lost in its rounding and pass as right. Nocedal & Wright 2006, §8.1.

    >>> check = check_gradients(lambda params: params["a"] ** 3, {"a": jnp.float32(2.0)})
    >>> print(check.place, round(check.automatic), round(check.numeric), check.error < 1e-2)
    ['a'] 12 12 True
    """
    _check(loss, params, entries)
    learns = trained(params)
    cost = jax.jit(lambda learns, *args: real_number("loss", loss(merge(learns, params), *args)))
    grads = jax.jit(jax.grad(cost))(learns, *args)
    leaves, structure = jax.tree.flatten(learns)
    slopes = jax.tree_util.tree_leaves_with_path(grads)
    found: list[GradientCheck] = []
    for place, (path, slope) in enumerate(slopes):

        def at(value: Any, place: int = place) -> float:
            changed = [*leaves[:place], value, *leaves[place + 1 :]]
            return float(cost(jax.tree.unflatten(structure, changed), *args))

        found += _compare(at, jnp.asarray(leaves[place]), np.asarray(slope), path, entries)
    return max(found, key=lambda check: check.error, default=GradientCheck(0.0, "", 0.0, 0.0))


def _check(loss: Any, params: Any, entries: Any) -> None:
    """Refuse what is no loss, no parameters, or no number of entries."""
    if not callable(loss):
        mend = "Are loss and params swapped?" if callable(params) else "fnn.loss(network, cost) makes one."
        raise TypeError(
            f"check_gradients: loss expected a function of params, such as fnn.loss(network, cost), got "
            f"{describe(loss)}. {mend}"
        )
    check_slopes("check_gradients", params)
    check_whole("check_gradients", "entries", entries, mend="So many are compared in each trained array.")


def _compare(
    at: Callable[[Any], float], leaf: jax.Array, slope: np.ndarray, path: Any, entries: int
) -> list[GradientCheck]:
    epsilon = float(jnp.finfo(leaf.dtype).eps)
    here, found = at(leaf), []
    for flat in np.unique(np.linspace(0, leaf.size - 1, min(entries, leaf.size)).astype(int)):
        index = np.unravel_index(flat, leaf.shape)
        where = jax.tree_util.keystr(path) + (str([int(i) for i in index]) if index else "")
        h = epsilon ** (1 / 3) * max(1.0, abs(float(leaf[index])))
        noise = 8 * epsilon * abs(here) / h  # what rounding of the cost alone makes of a slope
        left, right, numeric = _slopes(at, leaf, index, here, h)
        automatic = float(slope[index])
        scale = max(float(np.abs(slope).max()), abs(numeric), epsilon)
        bend = right - left
        if abs(bend) > max(0.01 * scale, noise):  # at a corner it stays, on a curve it goes with h
            nearer = _slopes(at, leaf, index, here, h / 2)
            if abs(nearer[1] - nearer[0]) > 0.75 * abs(bend):
                _warn_of_kink(where, left, right)
                continue
        error = abs(automatic - numeric)
        error = np.inf if not np.isfinite(error) else 0.0 if scale < noise else error / scale
        found.append(GradientCheck(float(error), where, automatic, numeric))
    return found


def _slopes(
    at: Callable[[Any], float], leaf: jax.Array, index: Any, here: float, h: float
) -> tuple[float, float, float]:
    """The cost's slope to the left, to the right, and across, over steps of h."""
    low, high = leaf.at[index].add(-h), leaf.at[index].add(h)
    middle = float(leaf[index])
    below, above = middle - float(low[index]), float(high[index]) - middle  # h, as it was rounded
    down, up = at(low), at(high)
    return (here - down) / below, (up - here) / above, (up - down) / (below + above)


def _warn_of_kink(where: str, left: float, right: float) -> None:
    warnings.warn(
        f"params{where} stands at a kink: the slope is {left:.3g} to the left and {right:.3g} to the right "
        "of it, so it has no derivative there; the entry is left out.",
        stacklevel=4,
    )
