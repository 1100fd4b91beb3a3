"""Layers one after the other, different ones or the same again: combinators take layers and return one."""

import functools
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import shape_struct
from fnn.guard.numbers import check_whole
from fnn.guard.words import shapes
from fnn.network.intern import as_layer, as_layers, intern
from fnn.network.layer import Forward, Layer, check_train_key, layer, name_errors
from fnn.network.parameters import merge, untrained
from fnn.network.programs import scan
from fnn.network.stream import begin_parts, stream_of

__all__ = ["repeat", "serial"]


@intern
def serial(*layers: Layer | Forward) -> Layer:
    """Layers one after the other: y = fₙ(… f₂(f₁(x))).

    Its parameters are the tuple of theirs. A plain function is a layer, with `()` for parameters.

    >>> network = serial(jnp.square, jnp.sum)
    >>> network.forward(network.init(jax.random.key(0), jnp.ones(2)), jnp.array([3.0, 4.0]))
    Array(25., dtype=float32)

    Raises LayerError, a ValueError, that names the layer, whatever goes wrong inside one.
    """
    parts = as_layers("serial", layers)
    return layer(
        functools.partial(serial_init, parts),
        functools.partial(serial_forward, parts),
        functools.partial(serial_forward_train, parts),
        name="serial",
        parts=parts,
        inside=functools.partial(serial_inside, parts),
        backward=functools.partial(serial_backward, parts),
        stream=(
            functools.partial(begin_parts, functools.partial(serial_inside, parts)),
            functools.partial(serial_step, parts),
        ),
    )


def serial_init(parts: tuple[Layer, ...], key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    """The parameters of each layer; those of equal layers are drawn in a loop, which compiles once."""
    alike: dict[Any, tuple[list[int], Any, Any]] = {}  # places of the same layer on the same shapes; x, y
    for place, part in enumerate(parts):
        leaves, structure = jax.tree.flatten(x)
        described = part, structure, *(shape_struct(leaf, *leaf.shape) for leaf in leaves)
        if described not in alike:
            with name_errors(f"layer {place}", part, x):
                y = jax.eval_shape(lambda k, x, part=part: part.forward(part.init(k, x), x), key, x)
            alike[described] = [], x, y
        places, _, x = alike[described]
        places.append(place)
    order = [place for places, *_ in alike.values() for place in places]
    keys = jax.random.split(key, len(parts))[np.asarray(order)]
    params: list[Any] = []
    for (part, *_), (places, given, _) in alike.items():
        params += _draw(part, given, keys[len(params) : len(params) + len(places)])
    return tuple(own for _, own in sorted(zip(order, params), key=lambda pair: pair[0]))


def _draw(part: Layer, x: chex.ArrayTree, keys: chex.PRNGKey) -> list[Any]:
    """The layer's parameters for each key."""
    if len(keys) == 1:
        return [part.init(keys[0], x)]
    drawn = jax.lax.map(lambda key: part.init(key, x), keys)
    return [jax.tree.map(lambda stack, i=i: stack[i], drawn) for i in range(len(keys))]


def serial_forward(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> chex.ArrayTree:
    """x ← fᵢ(x), first to last."""
    for place, (part, own) in enumerate(pair_up(parts, params)):
        with name_errors(f"layer {place}", part, x):
            x = part.forward(own, x)
    return x


def serial_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    """x ← fᵢ(x) as each does while it learns."""
    check_train_key(key)
    moved = []
    for place, (part, own) in enumerate(pair_up(parts, params)):
        with name_errors(f"layer {place}", part, x):
            x, own = part.forward_train(own, x, jax.random.fold_in(key, place))
            moved.append(own)
    return x, tuple(moved)


def serial_step(parts: tuple[Layer, ...], params: Any, state: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
    """The next steps of a sequence: x ← fᵢ(x), each with the state that it carries along."""
    moved = []
    for place, ((part, own), old) in enumerate(zip(pair_up(parts, params), state)):
        with name_errors(f"layer {place}", part, x):
            x, new = stream_of(part).step(own, old, x)
            moved.append(new)
    return x, tuple(moved)


def serial_inside(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> list[Any]:
    """What each layer is given."""
    handed = []
    for place, (part, own) in enumerate(pair_up(parts, params)):
        handed.append((f"layer {place}", part, own, x))
        with name_errors(f"layer {place}", part, x):
            x = part.forward(own, x)
    return handed


def serial_backward(parts: tuple[Layer, ...], params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """The chain rule through a series: δ goes from the last layer to the first."""
    grads = []
    for handed in reversed(serial_inside(parts, params, x)):
        own, delta = pull(*handed, delta)
        grads.append(own)
    return tuple(reversed(grads)), delta


def pair_up(parts: tuple[Layer, ...], params: Any) -> Iterator[tuple[Layer, Any]]:
    """Each layer with its parameters; the parameters of another network are refused."""
    if not isinstance(params, tuple) or len(params) != len(parts):
        if hasattr(params, "params"):
            raise TypeError(
                f"expected the parameters of {len(parts)} layers, got a {type(params).__name__}, which holds "
                "them in its field .params."
            )
        got = f"a tuple of {len(params)}" if isinstance(params, tuple) else f"a {type(params).__name__}"
        names = ", ".join(part.name for part in parts)
        raise ValueError(
            f"expected the parameters of {len(parts)} layers ({names}) as a tuple, got {got}: "
            "are these the parameters of another network, or are params and x swapped?"
        )
    return zip(parts, params)


# Repeated --------------------------------------------------------------------------------------


@intern
def repeat(times: int, part: Layer | Forward) -> Layer:
    """The same layer `times` in a row, each with its own parameters: y = f(… f(x; θ₁) …; θₙ).

    Every parameter has one more leading axis, of length `times`. It compiles as one scan, so a deeper
    network takes no longer to compile. Equal to `serial` of as many layers, random numbers included.

    >>> network = repeat(3, lambda x: 2 * x)
    >>> network.forward((), jnp.ones(1))
    Array([8.], dtype=float32)

    Raises ValueError where `times` is no positive integer or the layer changes the shape.
    """
    times = check_whole("repeat", "times", times, fix="As in fnn.repeat(3, layer).")
    inner = as_layer(part, "repeat")
    return layer(
        functools.partial(_repeat_init, times, inner),
        functools.partial(repeat_forward, times, inner),
        functools.partial(_repeat_forward_train, times, inner),
        name=f"repeat({times})",
        parts=(inner,),
        inside=functools.partial(_repeat_inside, inner),
        backward=functools.partial(_repeat_backward, times, inner),
        stream=(
            functools.partial(_repeat_begin, times, inner),
            functools.partial(_repeat_step, times, inner),
        ),
    )


def _repeat_init(times: int, part: Layer, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    with name_errors("each layer", part, x):
        return jax.vmap(lambda one: part.init(one, x))(jax.random.split(key, times))


def repeat_forward(times: int, part: Layer, params: chex.ArrayTree, x: chex.ArrayTree) -> Any:
    """x ← f(x; θᵢ), as a scan over i."""

    def turn(x: Any, own: Any) -> tuple[Any, None]:
        with name_errors("each layer", part, x):
            return _check_shape_stays(x, part.forward(own, x)), None

    return scan(turn, _in_type_of_output(times, part, params, x), params, length=times)[0]


def _repeat_inside(part: Layer, params: Any, x: chex.ArrayTree) -> list[Any]:
    first = jax.tree.map(lambda stack: stack[0], params)  # the others are given what it returns
    return [("each layer", part, first, x)]


def _repeat_backward(times: int, part: Layer, params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """The chain rule through a series: δ goes from the last layer to the first; gradients are stacked."""
    owns = [jax.tree.map(lambda stack, i=i: stack[i], params) for i in range(times)]
    given = [_in_type_of_output(times, part, params, x)]
    for own in owns[:-1]:
        given.append(part.forward(own, given[-1]))
    grads = []
    for i in reversed(range(times)):
        own, delta = pull(f"layer {i}", part, owns[i], given[i], delta)
        grads.append(own)
    return jax.tree.map(lambda *each: jnp.stack(each[::-1]), *grads), delta


def _repeat_forward_train(
    times: int, part: Layer, params: chex.ArrayTree, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[Any, Any]:
    def turn(x: Any, own_and_place: Any) -> tuple[Any, Any]:
        own, place = own_and_place
        with name_errors("each layer", part, x):
            y, moved = part.forward_train(own, x, jax.random.fold_in(key, place))
            return _check_shape_stays(x, y), untrained(moved)  # the rest would be copied every step

    x = _in_type_of_output(times, part, params, x)
    y, moved = scan(turn, x, (params, jnp.arange(times)))
    return y, merge(moved, params)


def _repeat_begin(times: int, part: Layer, params: Any, x: chex.ArrayTree, length: int) -> Any:
    (first,) = begin_parts(functools.partial(_repeat_inside, part), params, x, length)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (times, *leaf.shape)), first)


def _repeat_step(times: int, part: Layer, params: Any, state: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
    def turn(x: Any, own_and_state: Any) -> tuple[Any, Any]:
        with name_errors("each layer", part, x):
            return stream_of(part).step(own_and_state[0], own_and_state[1], x)

    return jax.lax.scan(turn, _in_type_of_output(times, part, params, x), (params, state), length=times)


def _in_type_of_output(times: int, part: Layer, params: Any, x: chex.ArrayTree) -> Any:
    """x in the type that the layer gives, as from its second turn on; checks the stack of parameters."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if leaf.shape[:1] != (times,):
            raise ValueError(
                f"repeat({times}) expected parameters with a leading axis of {times}, got shape {leaf.shape} "
                f"at params{jax.tree_util.keystr(path)}: are these the parameters of another network?"
            )
    with name_errors("each layer", part, x):
        first = jax.tree.map(lambda leaf: shape_struct(leaf, *leaf.shape[1:]), params)
        y = _check_shape_stays(x, jax.eval_shape(part.forward, first, x))
    return jax.tree.map(lambda old, new: jnp.asarray(old, new.dtype), x, y)


def _check_shape_stays(x: chex.ArrayTree, y: chex.ArrayTree) -> chex.ArrayTree:
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(
            f"repeat hands a layer's output to the same layer, so it must keep the shape: it was given "
            f"{shapes(x)} and returned {shapes(y)}."
        )
    return y
