"""Walking a network: what each combinator hands to the layers inside it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from fnn.network.compose import branches, parallel_forward, residual_forward, serial_forward
from fnn.network.layer import Layer
from fnn.network.modify import freeze_forward, precision_forward, repeat_forward
from fnn.network.wire import first_inputs, wire_forward

__all__: list[str] = []


class Child(NamedTuple):
    """A layer inside another: where it stands, its own parameters, and what it is given."""

    place: str
    layer: Layer
    params: Any
    x: Any


def is_made_by(part: Layer, forward: Callable[..., Any]) -> bool:
    """Whether this function, whatever its options, is the layer's forward."""
    return getattr(part.forward, "func", part.forward) is forward


def children(part: Layer, params: Any, x: Any) -> list[Child]:
    """The layers inside a layer with their parameters and inputs, as shapes; none in a plain layer."""
    for forward, walk in WALKS:
        if is_made_by(part, forward):
            return walk(part, params, x)
    return []


def _in_series(part: Layer, params: Any, x: Any) -> list[Child]:
    inside = []
    for place, (inner, own) in enumerate(zip(part.parts, params)):
        inside.append(Child(str(place), inner, own, x))
        x = jax.eval_shape(inner.forward, own, x)
    return inside


def _side_by_side(part: Layer, params: Any, x: Any) -> list[Child]:
    parts, names = _bound(part)
    own = [params[name] for name in names] if names else params
    return [
        Child(place.removeprefix("branch "), inner, held, value)
        for (place, inner, value), held in zip(branches(parts, names, x), own)
    ]


def _repeated(part: Layer, params: Any, x: Any) -> list[Child]:
    one = jax.eval_shape(lambda stack: jax.tree.map(lambda p: p[0], stack), params)
    return [Child("each", part.parts[0], one, x)]


def _held(part: Layer, params: Any, x: Any) -> list[Child]:
    return [Child("", part.parts[0], params["frozen"], x)]


def _same(part: Layer, params: Any, x: Any) -> list[Child]:
    return [Child("", part.parts[0], params, x)]


def _wired(part: Layer, params: Any, x: Any) -> list[Child]:
    function, named = _bound(part)
    inputs = first_inputs(function, named, x)
    return [Child(name, inner, params[name], inputs[name]) for name, inner in named]


def _bound(part: Layer) -> tuple[Any, ...]:
    """The description that a combinator bound to its forward."""
    return getattr(part.forward, "args", ())


WALKS: tuple[tuple[Callable[..., Any], Callable[[Layer, Any, Any], list[Child]]], ...] = (
    (serial_forward, _in_series),
    (residual_forward, _in_series),
    (parallel_forward, _side_by_side),
    (repeat_forward, _repeated),
    (freeze_forward, _held),
    (precision_forward, _same),
    (wire_forward, _wired),
)
