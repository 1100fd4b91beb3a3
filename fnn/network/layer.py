"""A layer: two pure functions, a name, and the layers inside it."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import chex
import jax

from fnn.guard.arrays import shape_struct
from fnn.guard.numbers import is_key
from fnn.guard.words import describe, shapes, unexpected
from fnn.network.pickling import from_names, to_names
from fnn.network.programs import compile_recent

__all__ = ["Layer", "LayerError", "layer"]


Forward = Callable[..., Any]


class Layer(NamedTuple):
    """What a part of a network does, as pure functions of its parameters.

        init(key, x)                 → params      x: arrays or jax.ShapeDtypeStructs, only shapes are used
        forward(params, x)           → y           what the trained layer does: deterministic
        forward_train(params, x, key) → y, params  what it does while it learns

        inside(params, x)            → [(place, layer, params, x), …]   what it hands to the layers in it
        backward(params, x, y, δ)    → grads, δ_x      its derivative by hand, δ = ∂c/∂y
        stream                       → (begin, step)   how it goes through a sequence: see `fnn.stream`

    `parts` are the layers inside. `inside` says what each is given, so any network can be walked. A layer
    with parts has backward(params, x, y, δ, pull), where pull(place, layer, params, x, δ) → grads, δ_x
    passes δ through one of them. Without `backward`, `jax.vjp` is used. Make one with `fnn.layer`.
    """

    init: Forward
    forward: Forward
    forward_train: Forward
    name: str
    parts: tuple["Layer", ...] = ()
    inside: Forward | None = None
    backward: Forward | None = None
    stream: tuple[Forward, Forward] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, tuple(map(to_names, self))

    def __repr__(self) -> str:
        return self.name


def _unpickle(*fields: Any) -> Layer:
    """The same layer each time that it is read from the same bytes, so that it compiles once."""
    try:
        return _restore(repr(fields), fields)  # repr tells 1 from 1.0, which are equal
    except TypeError:  # an array is bound to a function
        return _restore.__wrapped__("", fields)


@functools.lru_cache(maxsize=1024)
def _restore(words: str, fields: tuple[Any, ...]) -> Layer:
    return Layer(*map(from_names, fields))


class LayerError(ValueError):
    """An error inside a network; `path` names the layers from the outermost in."""

    def __init__(self, path: tuple[str, ...], reason: str) -> None:
        """The message is `path › path: reason`."""
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return " › ".join(self.path) + ": " + self.reason


@contextlib.contextmanager
def name_errors(place: str, part: Layer, x: chex.ArrayTree) -> Iterator[None]:
    """Name the layer in an error raised while it works on `x`, beside the error's own type and words."""
    here = f"{place}, {part.name}"
    try:
        yield
    except LayerError as error:
        raise LayerError((here, *error.path), error.reason) from error.__cause__ or error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        reason = str(error).strip()
        if not isinstance(error, ValueError) and not is_plain(part):
            reason = f"{type(error).__name__}: {reason}"
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
    inside: Forward | None = None,
    backward: Forward | None = None,
    stream: tuple[Forward, Forward] | None = None,
) -> Layer:
    """Make a layer from its functions; without `forward_train` it does the same while it learns.

        init(key, x) → params     forward(params, x) → y     forward_train(params, x, key) → y, params
        backward(params, x, y, δ) → grads, δ_x               δ = ∂c/∂y, and δ_x = ∂c/∂x

    `init` is compiled, and takes shapes for `x` as well as arrays. Bind options with `functools.partial` to
    functions of a module: two layers made alike are then equal, and compile once. `backward` is the
    derivative by hand. `fnn.backprop` uses it, and `fnn.check_gradients(layer, params, x)` checks it. A layer
    with `parts` says by `inside` what it hands to them: see `fnn.Layer` and examples/new_layer.py. A layer
    whose steps need those before brings stream=(begin, step): see `fnn.stream`.

    >>> def init(key, x):
    ...     return {"scale": jax.numpy.ones(x.shape[-1])}
    >>> def forward(params, x):
    ...     return params["scale"] * x
    >>> def backward(params, x, y, delta):
    ...     return {"scale": (delta * x).sum(0)}, delta * params["scale"]
    >>> stretch = layer(init, forward, name="stretch", backward=backward)
    >>> stretch.init(jax.random.key(0), jax.ShapeDtypeStruct((4, 2), "float32"))
    {'scale': Array([1., 1.], dtype=float32)}
    """
    if forward_train is None:
        forward_train = functools.partial(_train_as_forward, forward)
    _check_functions(
        init=init, forward=forward, forward_train=forward_train, inside=inside, backward=backward
    )
    started = functools.partial(_initialise, init)
    return Layer(started, forward, forward_train, name, parts, inside, backward, stream)


def _check_functions(**functions: Any) -> None:
    """Refuse what cannot be called, where the layer is written rather than where it is used."""
    for name, function in functions.items():
        if not callable(function) and not (function is None and name in ("inside", "backward")):
            raise TypeError(unexpected(f"layer: {name}", "a function", function, "fnn.dense shows how."))


def check_train_key(key: Any) -> None:
    """Refuse what is no key at all: a seed, or None."""
    if not hasattr(key, "dtype"):
        raise TypeError(unexpected("forward_train(params, x, key)", "jax.random.key(seed)", key))


def check_names(layer: str, params: Any, names: Iterable[str]) -> None:
    """Refuse parameters without these names: those of another layer."""
    has = sorted(params) if isinstance(params, Mapping) else f"a {type(params).__name__}"
    if not isinstance(params, Mapping) or not set(names) <= set(params):
        raise ValueError(
            f"{layer} expected parameters named {sorted(names)}, got {has}: are these the parameters of "
            "another network, or are params and x swapped?"
        )


def _train_as_forward(
    forward: Forward, params: chex.ArrayTree, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    return forward(params, x), params


def _initialise(init: Forward, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    if not is_key(key):
        swapped = "Are key and x swapped?" if is_key(x) else ""
        raise TypeError(unexpected("init(key, x)", "jax.random.key(seed) for its key", key, swapped))
    leaves, structure = jax.tree.flatten(x)
    if not all(hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves) or not leaves:
        got = repr(x) if len(repr(x)) < 100 else describe(x)
        raise TypeError(
            f"init takes arrays, or jax.ShapeDtypeStruct(shape, dtype), for x; got {got}. "
            "Pass the inputs themselves, or jax.ShapeDtypeStruct((32, 64), 'float32')."
        )
    described = tuple(shape_struct(leaf, *leaf.shape) for leaf in leaves)
    return _compiled_init(init, structure, described, key)


# Op by op, initialisation took 1.2 s of a 3 s first run: compiled, it takes 0.2 s.
@compile_recent(static_argnums=(0, 1, 2))
def _compiled_init(init: Any, structure: Any, leaves: tuple[Any, ...], key: chex.PRNGKey) -> Any:
    return init(key, jax.tree.unflatten(structure, leaves))


# Plain functions ---------------------------------------------------------------------------------


def is_plain(part: Layer) -> bool:
    """Whether a layer is a plain function."""
    return getattr(part.forward, "func", None) is call_plain


def plain_function(part: Layer) -> Forward | None:
    """The function that a layer was made of, None where it is more than a plain function."""
    return part.forward.args[0] if isinstance(part.forward, functools.partial) and is_plain(part) else None


def call_plain(function: Forward, params: tuple[()], x: chex.ArrayTree) -> Any:
    """The forward of a plain function: it has no parameters."""
    return function(x)


def no_parameters(key: chex.PRNGKey, x: chex.ArrayTree) -> tuple[()]:
    """The init of a layer that has none."""
    return ()
