"""Which layer's output is the first that is not finite: a network run with numbers, not compiled."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.network.layer import Layer
from fnn.network.walk import origins_of, parts_inside

__all__: list[str] = []


Run = Callable[[Layer], Any]  # the network, run once


class Hit(NamedTuple):
    """An output that is not finite: the layers from the outermost in to the one it is of, and what was found.

    `is_mask` says that every number in it that is not finite is −∞: so masks are written, and some overflow.
    """

    path: tuple[str, ...]
    found: str
    is_mask: bool


class Call(NamedTuple):
    """A layer at work: its parameters, its input, and the calls that it has made so far."""

    layer: Layer
    params: Any
    x: Any
    made: list[Any]


class Tap(NamedTuple):
    """A look at each output, and the calls that it is reached by: they stay as they are when it raises."""

    look: Callable[[Any], Any]
    calls: list[Call]

    def enter(self, layer: Layer, params: Any, x: Any) -> None:
        """A layer begins."""
        call = Call(layer, params, x, [])
        if self.calls:
            self.calls[-1].made.append(call)
        self.calls.append(call)

    def leave(self, y: Any) -> Any:
        """The layer's output, looked at."""
        y = self.look(y)
        self.calls.pop()
        return y


def first_bad(network: Layer, run: Run) -> Hit | None:
    """The innermost layer whose output goes bad first; where a scan hides it, the scan goes step by step."""
    hit, is_hidden = _first(network, run)
    if hit is None or not is_hidden:
        return hit
    with jax.disable_jit():  # each step of a scan is then made in Python: it may take its time
        inner, _ = _first(network, run)
    return inner or hit


def _first(network: Layer, run: Run, last_mask: int | None = None) -> tuple[Hit | None, bool]:
    """The first bad output, and whether some could not be looked at.

    An output of only −∞ is passed over, with 0 in its place. It is to blame, the last of them, where no other
    output is bad: then the network is run again up to there.
    """
    places, masks, hidden = itertools.count(), [], []

    def tap(y: Any) -> Any:
        place = next(places)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(y)):
            hidden.append(place)
            return y
        found, is_mask = look_at(y)
        if found and (not is_mask or place == last_mask):
            raise _NotFiniteError(found, is_mask)
        if found:
            masks.append(place)
        return jax.tree.map(_unmasked, y) if found else y

    hit = None
    calls: list[Call] = []
    try:
        run(_tapped(network, Tap(tap, calls)))
    except _NotFiniteError as error:
        deeper = _inside(calls[-1].layer, calls[-1].params, calls[-1].x) or Hit((), *error.args)
        hit = deeper._replace(path=(*_path(calls), *deeper.path))
    except Exception:  # a function may not run so: the step's other quantities are left
        return None, bool(hidden)
    if hit is None and masks and last_mask is None:
        hit, _ = _first(network, run, masks[-1])
    return hit, bool(hidden)


class _NotFiniteError(Exception):
    """An output that is not finite; no layer takes it for an error of its own."""


def _path(calls: list[Call]) -> Iterator[str]:
    """The names of layers that call each other, each at the place that the one around it gives it."""
    for outer, inner in itertools.pairwise(calls):
        parts = parts_inside(outer.layer, outer.params, outer.x)
        alike = [part for part in parts if part.layer is inner.layer]
        origins = origins_of(inner.params, outer.params)
        alike = [part for part in alike if part.origins == origins] or alike  # not the weights of another
        place = sum(inner.layer is made.layer and inner.params is made.params for made in outer.made) - 1
        yield f"{alike[min(place, len(alike) - 1)].place}, {inner.layer.name}" if alike else inner.layer.name


def _inside(layer: Layer, params: Any, x: Any) -> Hit | None:
    """The first bad output inside a layer, else the last mask, by what it says is `inside` it.

    It goes where no tap reaches: into a combinator whose parts are in the closures of its functions.
    """
    hit = None
    for place, part, own, given in layer.inside(params, x) if layer.inside else ():
        found, is_mask = look_at(part.forward(own, given))
        if found:
            hit = _inside(part, own, given) or Hit((), found, is_mask)
            hit = hit._replace(path=(f"{place}, {part.name}", *hit.path))
            if not is_mask:
                break
    return hit


# Taps ----------------------------------------------------------------------------------------------


def _tapped(layer: Layer, tap: Tap) -> Layer:
    """The same layer, and the same in it, with a tap on what it puts out."""
    return layer._replace(
        forward=functools.partial(_forward, _with_taps(layer.forward, tap), tap, layer),
        forward_train=functools.partial(_forward_train, _with_taps(layer.forward_train, tap), tap, layer),
    )


def _with_taps(bound: Any, tap: Tap) -> Any:
    """What a combinator bound to its functions, its layers tapped."""
    if isinstance(bound, Layer):
        return _tapped(bound, tap)
    if isinstance(bound, functools.partial):
        options = {name: _with_taps(value, tap) for name, value in bound.keywords.items()}
        return functools.partial(bound.func, *(_with_taps(part, tap) for part in bound.args), **options)
    return tuple(_with_taps(part, tap) for part in bound) if type(bound) is tuple else bound


def _forward(forward: Callable[..., Any], tap: Tap, layer: Layer, params: Any, x: Any) -> Any:
    tap.enter(layer, params, x)
    return tap.leave(forward(params, x))


def _forward_train(
    forward_train: Callable[..., Any], tap: Tap, layer: Layer, params: Any, x: Any, key: Any
) -> tuple[Any, Any]:
    tap.enter(layer, params, x)
    y, moved = forward_train(params, x, key)
    return tap.leave(y), moved


# What is not finite --------------------------------------------------------------------------------


def look_at(y: Any) -> tuple[str, bool]:
    """What in a tree is not finite, or nothing; and whether all that is not is −∞, as in a mask."""
    leaves = jax.tree.leaves(y)
    return next(filter(None, map(not_finite_in, leaves)), ""), all(map(_is_masked, leaves))


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
