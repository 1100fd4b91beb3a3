"""A layer: two pure functions, a name, and the layers inside it."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, ParamSpec

import chex
import jax
import numpy as np

from fnn.guard.numbers import is_key
from fnn.guard.words import describe, name_of, shapes

__all__ = ["Layer", "LayerError", "layer"]


P = ParamSpec("P")


Forward = Callable[..., Any]


class Layer(NamedTuple):
    """What a part of a network does, as pure functions of its parameters.

        init(key, x)                 → params      x: arrays or jax.ShapeDtypeStructs, only shapes are used
        forward(params, x)           → y           what the trained layer does: deterministic
        forward_train(params, x, key) → y, params  what it does while it learns

    `parts` are the layers inside, so that a network can be walked. Build one with `fnn.layer`.
    """

    init: Forward
    forward: Forward
    forward_train: Forward
    name: str
    parts: tuple["Layer", ...] = ()

    def __repr__(self) -> str:
        return self.name


class LayerError(ValueError):
    """What went wrong inside a network; `path` names the layers from the outermost in."""

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        """`path › path: reason` is the message."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return " › ".join(self.path) + ": " + self.reason


@contextlib.contextmanager
def inside(place: str, part: Layer, x: chex.ArrayTree) -> Iterator[None]:
    """Name the layer in whatever goes wrong while it works on `x`."""
    here = f"{place}, {part.name}"
    try:
        yield
    except LayerError as error:
        raise LayerError((here, *error.path), error.reason) from error.__cause__ or error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        reason = str(error).strip()
        if is_plain(part):
            reason = (
                f"this plain function could not take its input of {shapes(x)}: "
                f"{type(error).__name__}: {reason} "
                "(a layer is given the whole batch, leading axes first)"
            )
        raise LayerError((here,), reason) from error


# Making a layer ---------------------------------------------------------------------------------


def layer(
    init: Forward,
    forward: Forward,
    forward_train: Forward | None = None,
    *,
    name: str,
    parts: tuple[Layer, ...] = (),
) -> Layer:
    """Make a layer from its functions; without `forward_train` it learns as it works.

        init(key, x) → params     forward(params, x) → y     forward_train(params, x, key) → y, params

    Its `init` is compiled, and takes shapes for `x` as well as arrays. Bind options with
    `functools.partial` to functions of a module, so that equal descriptions are equal.

    >>> def init(key, x):
    ...     return {"scale": jax.numpy.ones(x.shape[-1])}
    >>> def forward(params, x):
    ...     return params["scale"] * x
    >>> stretch = layer(init, forward, name="stretch")
    >>> stretch.init(jax.random.key(0), jax.ShapeDtypeStruct((4, 2), "float32"))
    {'scale': Array([1., 1.], dtype=float32)}
    """
    if forward_train is None:
        forward_train = functools.partial(_as_when_trained, forward)
    _check_functions(init=init, forward=forward, forward_train=forward_train)
    return Layer(functools.partial(_initialise, init), forward, forward_train, name, parts)


def _check_functions(**functions: Any) -> None:
    """Refuse what cannot be called, where the layer is written rather than where it is used."""
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(
                f"layer: {name} expected a function, got {describe(function)}. fnn.dense shows how."
            )


def check_train_key(key: Any) -> None:
    """Refuse what is no key at all: a seed, or None."""
    if not hasattr(key, "dtype"):
        raise TypeError(f"forward_train(params, x, key) expected jax.random.key(seed), got {describe(key)}.")


def check_names(layer: str, params: Any, names: Iterable[str]) -> None:
    """Refuse parameters without these names: those of another layer."""
    has = sorted(params) if isinstance(params, Mapping) else f"a {type(params).__name__}"
    if not isinstance(params, Mapping) or not set(names) <= set(params):
        raise ValueError(
            f"{layer} expected parameters named {sorted(names)}, got {has}: are these the parameters of "
            "another network, or are params and x swapped?"
        )


def _as_when_trained(
    forward: Forward, params: chex.ArrayTree, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    return forward(params, x), params


def _initialise(init: Forward, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    if not is_key(key):
        swapped = " Are key and x swapped?" if is_key(x) else ""
        raise TypeError(
            f"init(key, x) expected jax.random.key(seed) for its key, got {describe(key)}.{swapped}"
        )
    leaves, structure = jax.tree.flatten(x)
    if not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves) or not leaves:
        got = repr(x) if len(repr(x)) < 100 else describe(x)
        raise TypeError(
            f"init takes arrays, or jax.ShapeDtypeStruct(shape, dtype), for x; got {got}. "
            "Pass the inputs themselves, or jax.ShapeDtypeStruct((32, 64), 'float32')."
        )
    described = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    return _compiled_init(init, structure, described, key)


# Op by op, initialisation took 1.2 s of a 3 s first run: compiled, it takes 0.2 s.
@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled_init(init: Any, structure: Any, leaves: tuple[Any, ...], key: chex.PRNGKey) -> Any:
    return init(key, jax.tree.unflatten(structure, leaves))


# Plain functions ---------------------------------------------------------------------------------


def as_layer(part: object, combinator: str) -> Layer:
    """A layer as it is; a plain function `x → y` as a layer without parameters."""
    if isinstance(part, Layer):
        return part
    if getattr(getattr(part, "func", part), "makes_a_layer", False):
        raise TypeError(f"{combinator}: {name_of(part)} makes a layer: call it, as in {name_of(part)}(…).")
    if not callable(part):
        raise TypeError(
            f"{combinator} expected a layer or a function x → y such as jax.nn.relu, got {describe(part)}. "
            "Give layers one by one."
        )
    return _plain(part)


def is_plain(part: Layer) -> bool:
    """Whether a layer is a plain function (which then stands in `part.forward.args[0]`)."""
    return getattr(part.forward, "func", None) is call_plain


def call_plain(function: Forward, params: tuple[()], x: chex.ArrayTree) -> Any:
    """The forward of a plain function: it has no parameters."""
    return function(x)


def no_parameters(key: chex.PRNGKey, x: chex.ArrayTree) -> tuple[()]:
    """The init of a layer that has none."""
    return ()


# Equal descriptions are the same layer -------------------------------------------------------------


def intern(factory: Callable[P, Layer]) -> Callable[P, Layer]:
    """Let a factory give the same layer for the same description, so that it compiles once.

    Arguments count by value: `dense(64)` is `dense(features=64)`, and a `functools.partial` is its
    function and its options. A lambda or an initializer made anew is a new description.
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
        if key not in made:
            made.setdefault(key, factory(*bound.args, **bound.kwargs))  # two threads get the same layer
        return made[key]

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


@intern
def _plain(function: Forward) -> Layer:
    return layer(no_parameters, functools.partial(call_plain, function), name=name_of(function))
