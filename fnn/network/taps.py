"""Which layer's output is the first that is not finite: a network run with numbers, not compiled."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.network.layer import Layer, LayerError

__all__: list[str] = []


Tap = Callable[[Any], Any]  # an output, looked at


Run = Callable[[Layer], Any]  # the network, run once


class Hit(NamedTuple):
    """An output that is not finite: its number in the order of computation, its layer, and what was found.

    `is_mask` says that every number in it that is not finite is −∞: so masks are written, and some overflow.
    """

    place: int
    path: tuple[str, ...]
    found: str
    is_mask: bool


def first_bad(network: Layer, run: Run) -> Hit | None:
    """The innermost layer whose output goes bad first; where a scan hides it, the scan goes step by step."""
    hit, is_hidden = _first_without_masks(network, run)
    if hit is None or not is_hidden:
        return hit
    with jax.disable_jit():  # each step of a scan is then made in Python: it may take its time
        inner, _ = _first_without_masks(network, run)
    return inner or hit


def path_inside(layer: Layer, params: Any, x: Any) -> tuple[str, ...]:
    """The layers down to the innermost whose output is not finite, by what each layer says is `inside` it.

    It also goes into a combinator whose parts are out of reach of the taps, in the closures of its functions.
    """
    for place, part, own, given in layer.inside(params, x) if layer.inside else ():
        y = part.forward(own, given)
        if any(map(not_finite_in, jax.tree.leaves(y))):
            return (f"{place}, {part.name}", *path_inside(part, own, given))
    return ()


def _first_without_masks(network: Layer, run: Run) -> tuple[Hit | None, bool]:
    """The first bad output; one of only −∞ is passed over, with 0 in its place, as long as others follow."""
    passed: set[int] = set()
    last = None
    while True:
        hit, is_hidden = _first(network, run, passed)
        if hit is None:
            return last, is_hidden
        if not hit.is_mask:
            return hit, is_hidden
        last = hit
        passed.add(hit.place)


def _first(network: Layer, run: Run, passed: set[int]) -> tuple[Hit | None, bool]:
    """The first bad output that is not passed over, and whether some could not be looked at."""
    places, hidden = itertools.count(), []

    def tap(y: Any) -> Any:
        place = next(places)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(y)):
            hidden.append(place)
            return y
        found = next(filter(None, map(not_finite_in, jax.tree.leaves(y))), "")
        if found and place not in passed:
            raise _NotFiniteError(place, found, all(map(_is_masked, jax.tree.leaves(y))))
        return jax.tree.map(_unmasked, y) if found else y

    hit = None
    try:
        run(_tapped(network, tap))
    except Exception as error:  # a function may not run so: the step's other quantities are left
        cause = error.__cause__ if isinstance(error, LayerError) else error
        if isinstance(cause, _NotFiniteError):
            place, found, is_mask = cause.args
            hit = Hit(place, getattr(error, "path", ()), found, is_mask)
    return hit, bool(hidden)


class _NotFiniteError(ValueError):
    """An output that is not finite."""


def _tapped(layer: Layer, tap: Tap) -> Layer:
    """The same layer, and the same in it, with a tap on what it puts out."""
    forward, forward_train = _with_taps(layer.forward, tap), _with_taps(layer.forward_train, tap)
    return layer._replace(
        forward=functools.partial(_forward, forward, tap),
        forward_train=functools.partial(_forward_train, forward_train, tap),
    )


def _with_taps(bound: Any, tap: Tap) -> Any:
    """What a combinator bound to its functions, its layers tapped."""
    if isinstance(bound, Layer):
        return _tapped(bound, tap)
    if isinstance(bound, functools.partial):
        options = {name: _with_taps(value, tap) for name, value in bound.keywords.items()}
        return functools.partial(bound.func, *(_with_taps(part, tap) for part in bound.args), **options)
    return tuple(_with_taps(part, tap) for part in bound) if type(bound) is tuple else bound


def _forward(forward: Callable[..., Any], tap: Tap, params: Any, x: Any) -> Any:
    return tap(forward(params, x))


def _forward_train(
    forward_train: Callable[..., Any], tap: Tap, params: Any, x: Any, key: Any
) -> tuple[Any, Any]:
    y, params = forward_train(params, x, key)
    return tap(y), params


# One array -----------------------------------------------------------------------------------------


def not_finite_in(leaf: Any) -> str:
    """What in an array is not finite, or nothing."""
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) or isinstance(leaf, jax.core.Tracer):
        return ""
    array = np.asarray(leaf)
    wrong = np.argwhere(~np.isfinite(_as_numpy(array)))
    if not len(wrong):
        return ""
    place = tuple(int(i) for i in wrong[0])
    return f"{array[place]} at {place}, {len(wrong)} of {array.size} numbers" if place else f"{array[()]}"


def _as_numpy(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16 and its like


def _is_masked(leaf: Any) -> bool:
    array = _as_numpy(np.asarray(leaf))
    return array.dtype.kind not in "fc" or bool((np.isfinite(array) | (array == -np.inf)).all())


def _unmasked(leaf: Any) -> Any:
    return jnp.where(jnp.isneginf(leaf), 0, leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
