"""Is a gradient right? Compared with the slope of the cost itself."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_arrays
from fnn.guard.numbers import check_whole
from fnn.guard.warn import warn_user
from fnn.guard.words import unexpected
from fnn.network.layer import Layer
from fnn.network.parameters import merge, trained
from fnn.workflow.arguments import check_slopes
from fnn.workflow.backprop import step_back
from fnn.workflow.objective import real_number
from fnn.workflow.setting import on_device

__all__ = ["GradientCheck", "check_gradients"]


class GradientCheck(NamedTuple):
    """The largest relative error found, its place, and the two derivatives there."""

    error: float
    place: str
    automatic: float
    numeric: float


def check_gradients(
    loss: Callable[..., Any] | Layer, params: chex.ArrayTree, *args: Any, entries: int = 10
) -> GradientCheck:
    """Compare the derivatives of a loss or a layer with central differences, at some entries of each array.

        check_gradients(loss, params, *args)     jax.grad of loss(params, *args)
        check_gradients(layer, params, x)        backward of the layer, for c = Σᵢ wᵢyᵢ, wᵢ = cos(1 + i)

        ∂c/∂θᵢ ≈ (c(θᵢ + h) − c(θᵢ − h)) / 2h        h = ε^⅓ · max(1, |θᵢ|), ε the dtype's rounding

    A loss is checked with respect to the trained parameters. A layer is checked with respect to these and to
    the floating-point arrays of x; its derivative is its own `backward`, as in `fnn.backprop`.

    The error of an entry is relative to the largest derivative of its array. An entry where the slopes
    to the left and to the right differ, as at a ReLU's corner, is left out with a warning: there is no
    derivative to compare with. Expect 1e-8 in float64, 1e-2 in float32, where slopes below about 2e-4 of
    the cost are lost in its rounding and pass as right. Nocedal & Wright 2006, §8.1.

    >>> check = check_gradients(lambda params: params["a"] ** 3, {"a": jnp.float32(2.0)})
    >>> print(check.place, round(check.automatic), round(check.numeric), check.error < 1e-2)
    ['a'] 12 12 True
    """
    if isinstance(loss, Layer) and len(args) == 1:
        found = _compare_layer(loss, params, args[0], entries)
    else:
        found = _compare_loss(loss, params, args, entries)
    return max(found, key=lambda check: check.error, default=GradientCheck(0.0, "", 0.0, 0.0))


def _compare_loss(loss: Any, params: Any, args: tuple[Any, ...], entries: Any) -> list[GradientCheck]:
    if not callable(loss):
        fix = "Are loss and params swapped?" if callable(params) else "fnn.loss(network, cost) makes one."
        fix += " A layer alone takes params and x." * isinstance(loss, Layer)
        expected = "a function of params, such as fnn.loss(network, cost)"
        raise TypeError(unexpected("check_gradients: loss", expected, loss, fix))
    _check(params, entries)
    learns, args = on_device((trained(params), args))
    cost = jax.jit(lambda learns, *args: real_number("loss", loss(merge(learns, params), *args)))
    grads = jax.jit(jax.grad(cost))(learns, *args)
    found = _compare_tree("params", lambda learns: cost(learns, *args), learns, grads, entries)
    return [check._replace(place=check.place.removeprefix("params")) for check in found]


def _compare_layer(layer: Layer, params: Any, x: Any, entries: Any) -> list[GradientCheck]:
    """The layer's own derivative of c = Σ wᵢyᵢ, with respect to its trained parameters and to x."""
    _check(params, entries)
    x = as_arrays(x, "check_gradients: x")
    if not jax.tree.leaves(x):
        raise TypeError(
            unexpected("check_gradients: x", "the layer's input", x, "Give an array or a tree of them.")
        )
    params, x = on_device((params, x))
    learns, floats = trained(params), jax.tree.map(lambda leaf: leaf if _is_floating(leaf) else None, x)

    @jax.jit
    def cost(learns: Any, floats: Any) -> Any:
        y = layer.forward(merge(learns, params), merge(floats, x))
        return sum((leaf * _weights(leaf)).sum() for leaf in jax.tree.leaves(y) if _is_floating(leaf))

    @jax.jit
    def slopes() -> Any:
        delta = jax.tree.map(_weights, jax.eval_shape(layer.forward, params, x))
        step = step_back(layer.name, layer, params, x, delta)
        delta_x = jax.tree.map(lambda leaf, slope: slope if _is_floating(leaf) else None, x, step.delta_x)
        return trained(step.grads), delta_x

    grads, delta_x = slopes()
    return [
        *_compare_tree("params", lambda learns: cost(learns, floats), learns, grads, entries),
        *_compare_tree("x", lambda floats: cost(learns, floats), floats, delta_x, entries),
    ]


def _check(params: Any, entries: Any) -> None:
    check_slopes("check_gradients", params)
    check_whole("check_gradients", "entries", entries, fix="It is the number compared in each array.")


def _is_floating(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _weights(y: Any) -> Any:
    """∂c/∂y of c = Σ wᵢyᵢ. Were they equal, a softmax, whose outputs add up to 1, would have no slope."""
    if not _is_floating(y):
        return np.zeros(y.shape, jax.dtypes.float0)
    return jnp.cos(1 + jnp.arange(math.prod(y.shape))).reshape(y.shape).astype(y.dtype)


def _compare_tree(
    name: str, cost: Callable[[Any], Any], tree: Any, slopes: Any, entries: int
) -> list[GradientCheck]:
    leaves, structure = jax.tree.flatten(tree)
    found: list[GradientCheck] = []
    for number, (path, slope) in enumerate(jax.tree_util.tree_leaves_with_path(slopes)):

        def at(value: Any, number: int = number) -> float:
            moved = [*leaves[:number], jax.device_put(value), *leaves[number + 1 :]]
            return float(cost(jax.tree.unflatten(structure, moved)))

        place = name + jax.tree_util.keystr(path)
        found += _compare(at, np.asarray(leaves[number]), np.asarray(slope), place, entries)
    return found


def _compare(
    at: Callable[[Any], float], leaf: np.ndarray, slope: np.ndarray, place: str, entries: int
) -> list[GradientCheck]:
    epsilon = float(jnp.finfo(leaf.dtype).eps)
    here, found = at(leaf), []
    for flat in np.unique(np.linspace(0, leaf.size - 1, min(entries, leaf.size)).astype(int)):
        index = np.unravel_index(flat, leaf.shape)
        where = place + (str([int(i) for i in index]) if index else "")
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
    at: Callable[[Any], float], leaf: np.ndarray, index: Any, here: float, h: float
) -> tuple[float, float, float]:
    """The cost's slope to the left, to the right, and across, over steps of h."""
    low, high = leaf.copy(), leaf.copy()
    low[index] -= h
    high[index] += h
    middle = float(leaf[index])
    below, above = middle - float(low[index]), float(high[index]) - middle  # h, as it was rounded
    down, up = at(low), at(high)
    return (here - down) / below, (up - here) / above, (up - down) / (below + above)


def _warn_of_kink(where: str, left: float, right: float) -> None:
    warn_user(
        f"{where} is at a kink: the slope is {left:.3g} to the left and {right:.3g} to the right of it, so "
        "it has no derivative there; the entry is left out."
    )
