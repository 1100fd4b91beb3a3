"""Equal descriptions are the same layer; and a plain function is a layer."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np

from fnn.guard.words import name_of, unexpected
from fnn.network.layer import Forward, Layer, call_plain, layer, no_parameters

__all__: list[str] = []

P = ParamSpec("P")

KEPT = 4096  # descriptions of each factory: each lambda is one more, and keeps alive what it closes over


def intern(factory: Callable[P, Layer]) -> Callable[P, Layer]:
    """Let a factory give the same layer for the same description, so that it compiles once.

    Arguments are compared by value: `dense(64)` is `dense(features=64)`, and a `functools.partial` is its
    function and its options. A new lambda or a new initializer is a new description. The last 4,096
    descriptions are remembered.
    """
    signature = inspect.signature(factory)
    made: dict[Any, Layer] = {}

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> Layer:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            takes = ", ".join(signature.parameters)
            raise TypeError(
                f"{factory.__name__} takes ({takes}): {error}. An activation is a layer of its own, as in "
                "fnn.serial(fnn.dense(8), jax.nn.relu)."
            ) from None
        bound.apply_defaults()
        for name, value in bound.arguments.items():
            bound.arguments[name] = value.item() if isinstance(value, np.generic) else value
        key = tuple(_identity(v, f"{factory.__name__}: {k}") for k, v in bound.arguments.items())
        found = made.get(key)
        if found is None:
            found = made.setdefault(key, factory(*bound.args, **bound.kwargs))  # one for two threads
            if len(made) > KEPT:
                made.pop(next(iter(made)), None)  # the oldest
        return found

    make.makes_a_layer = True  # type: ignore[attr-defined]
    return make


def _identity(value: Any, where: str) -> Any:
    """What a described argument is equal to; refuses what has no identity, and says which."""
    if isinstance(value, functools.partial):
        named = tuple((k, _identity(v, f"{where}, {k}")) for k, v in sorted(value.keywords.items()))
        return "partial", _identity(value.func, where), _identity(value.args, where), named
    if type(value) is tuple:
        return tuple(_identity(v, f"{where}[{i}]") for i, v in enumerate(value))
    if type(value) is dict:  # branches, parts: the names decide, not their order
        return tuple((k, _identity(v, f"{where}, {k}")) for k, v in sorted(value.items()))
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{where} is a {type(value).__name__}, which cannot describe a layer: use numbers, tuples, "
            "functions and layers, these one by one; arrays belong in the parameters."
        ) from None
    return type(value), value


def as_layer(part: object, combinator: str) -> Layer:
    """A layer as it is; a plain function `x → y` as a layer without parameters."""
    if isinstance(part, Layer):
        return part
    if getattr(getattr(part, "func", part), "makes_a_layer", False):
        raise TypeError(f"{combinator}: {name_of(part)} makes a layer: call it, as in {name_of(part)}(…).")
    if not callable(part):
        expected = "a layer or a function x → y such as jax.nn.relu"
        raise TypeError(unexpected(combinator, expected, part, "Give layers one by one."))
    return _plain(part)


def as_layers(name: str, layers: tuple[Layer | Forward, ...]) -> tuple[Layer, ...]:
    """The parts of a combinator, at least one."""
    if not layers:
        raise ValueError(f"{name}() holds no layers: give at least one, as in {name}(fnn.dense(10)).")
    return tuple(as_layer(part, name) for part in layers)


@intern
def _plain(function: Forward) -> Layer:
    return layer(no_parameters, functools.partial(call_plain, function), name=name_of(function))
