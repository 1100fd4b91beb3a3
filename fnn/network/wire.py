"""A network as a plain function of its named parts, for what no other combinator can express."""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax

from fnn.guard.arrays import shape_struct
from fnn.guard.functions import takes
from fnn.guard.words import Words, describe, shapes, signature, unexpected
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_names, check_train_key, layer, name_errors
from fnn.network.parameters import check_branches
from fnn.network.stream import stream_of

__all__ = ["wire"]


@intern
def wire(function: Callable[..., Any], /, **parts: Layer | Forward) -> Layer:
    """A network written as a function `(net, x) → y`, in which `net.name(x)` calls a part.

    For shared weights, several inputs and skip connections of any kind. A part that is called twice uses
    the same weights twice. `net.name.params` reads them, after the part's first call. Parameters are a dict
    by name. Call parts in the function itself, not inside a vmap, scan or checkpoint within it.

    >>> network = wire(lambda net, x: net.f(net.f(x)), f=lambda x: 2 * x)
    >>> network.forward({"f": ()}, jax.numpy.array(3.0))
    Array(12., dtype=float32, weak_type=True)

    Raises ValueError for a part that is never called, or read before its first call.
    """
    _check_function(function)
    if not parts:
        raise ValueError("wire expected named parts, as in wire(function, body=fnn.dense(8)), got none.")
    check_branches("wire", tuple(parts))
    named = tuple((name, as_layer(parts[name], "wire")) for name in sorted(parts))
    return layer(
        functools.partial(_wire_init, function, named),
        functools.partial(wire_forward, function, named),
        functools.partial(_wire_forward_train, function, named),
        name=f"wire({', '.join(name for name, _ in named)})",
        parts=tuple(part for _, part in named),
        inside=functools.partial(_wire_inside, function, named),
        stream=(
            functools.partial(_wire_begin, function, named),
            functools.partial(_wire_step, function, named),
        ),
    )


def _check_function(function: Any) -> None:
    """Refuse what cannot be called with the parts and an input."""
    if not takes(function, "net", "x"):
        expected = "a function of the parts and the input, such as lambda net, x: net.body(x)"
        got = Words(describe(function) + signature(function))
        fix = "A layer is a part: wire(function, body=layer)."
        raise TypeError(unexpected("wire: function", expected, got, fix))


Named = tuple[tuple[str, Layer], ...]


class _Part:
    """A part while the function runs: `call(params, x)` gives what it returns and its parameters."""

    def __init__(self, name: str, part: Layer, call: Callable[..., Any], params: Any) -> None:
        self._name, self._part, self._call, self._params = name, part, call, params

    def __call__(self, x: chex.ArrayTree) -> chex.ArrayTree:
        with name_errors(f"part '{self._name}'", self._part, x):
            y, self._params = self._call(self._params, x)
        return y

    @property
    def params(self) -> Any:
        if self._params is None:
            raise ValueError(
                f"the parameters of part '{self._name}' were read before its first call: "
                "they take their shapes from what it is called with, so call it first."
            )
        return self._params


class _Net:
    """The named parts, as attributes."""

    def __init__(self, parts: dict[str, _Part]) -> None:
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the function calls net.{name}, and '{name}' is none of: {', '.join(vars(self))}."
        )


def wire_forward(function: Callable[..., Any], named: Named, params: Any, x: chex.ArrayTree) -> Any:
    """function(net, x)."""

    def call(part: Layer, own: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
        return part.forward(own, x), own

    check_names("wire", params, [name for name, _ in named])
    net = {n: _Part(n, part, functools.partial(call, part), params[n]) for n, part in named}
    return function(_Net(net), x)


def _wire_forward_train(
    function: Callable[..., Any], named: Named, params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[Any, Any]:
    check_train_key(key)
    calls = iter(range(2**31))  # every call draws its own random numbers

    def call(part: Layer, own: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
        return part.forward_train(own, x, jax.random.fold_in(key, next(calls)))

    check_names("wire", params, [name for name, _ in named])
    net = {n: _Part(n, part, functools.partial(call, part), params[n]) for n, part in named}
    y = function(_Net(net), x)
    return y, {name: part.params for name, part in net.items()}


def _wire_inside(function: Callable[..., Any], named: Named, params: Any, x: chex.ArrayTree) -> list[Any]:
    """Each part as it is first called."""
    first = _first_calls(function, named, params, x)
    return [first[name] for name, _ in named if name in first]


def _first_calls(
    function: Callable[..., Any], named: Named, params: Any, x: chex.ArrayTree
) -> dict[str, Any]:
    first: dict[str, Any] = {}

    def call(name: str, part: Layer, own: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
        first.setdefault(name, (f"part '{name}'", part, own, x))
        return part.forward(own, x), own

    check_names("wire", params, [name for name, _ in named])
    function(_Net({n: _Part(n, p, functools.partial(call, n, p), params[n]) for n, p in named}), x)
    return first


def _wire_begin(
    function: Callable[..., Any], named: Named, params: Any, x: chex.ArrayTree, length: int
) -> dict[str, Any]:
    calls = _first_calls(function, named, params, x)
    return {name: stream_of(part).begin(own, given, length) for name, (_, part, own, given) in calls.items()}


def _wire_step(
    function: Callable[..., Any], named: Named, params: Any, state: Any, x: chex.ArrayTree
) -> tuple[Any, Any]:
    """function(net, x), each part with its state; a part that has one is called once."""
    moved: dict[str, Any] = {}

    def call(name: str, part: Layer, own: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
        if jax.tree.leaves(moved.get(name)):
            raise ValueError(f"part '{name}' has a state of the steps before, so it is called once a step.")
        y, moved[name] = stream_of(part).step(own, state[name], x)
        return y, own

    check_names("wire", params, [name for name, _ in named])
    y = function(_Net({n: _Part(n, p, functools.partial(call, n, p), params[n]) for n, p in named}), x)
    return y, moved


def _wire_init(function: Callable[..., Any], named: Named, key: chex.PRNGKey, x: Any) -> Any:
    inputs = first_inputs(function, named, x)
    keys = jax.random.split(key, len(named))
    return {name: part.init(k, inputs[name]) for (name, part), k in zip(named, keys)}


def first_inputs(function: Forward, named: Named, x: chex.ArrayTree) -> dict[str, Any]:
    """The shapes that each part is first called with, found without computing anything."""
    inputs: dict[str, Any] = {}

    def call(name: str, part: Layer, own: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
        if own is None:
            inputs[name] = jax.tree.map(lambda v: shape_struct(v, *v.shape), x)
            own = part.init(jax.random.key(0), inputs[name])  # only its shapes are used
        return part.forward(own, x), own

    def run(x: chex.ArrayTree) -> Any:  # the parts live inside, so that nothing traced outlives it
        net = {n: _Part(n, part, functools.partial(call, n, part), None) for n, part in named}
        return function(_Net(net), x)

    jax.eval_shape(run, x)
    for name, part in named:
        if name not in inputs:
            raise ValueError(
                f"part '{name}', {part.name}, is never called for an input of {shapes(x)}: "
                "call it in the function, or leave it out."
            )
    return inputs
