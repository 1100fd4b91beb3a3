"""Layers one after the other: each combinator takes layers and returns a layer."""

import functools
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import shape_struct
from fnn.guard.words import shapes
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_train_key, layer, name_errors

__all__ = ["residual", "serial"]


# One after the other ---------------------------------------------------------------------------


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
        functools.partial(_serial_init, parts),
        functools.partial(serial_forward, parts),
        functools.partial(_serial_forward_train, parts),
        name="serial",
        parts=parts,
        inside=functools.partial(_serial_inside, parts),
        backward=functools.partial(_serial_backward, parts),
    )


def as_layers(name: str, layers: tuple[Layer | Forward, ...]) -> tuple[Layer, ...]:
    """The parts of a combinator, at least one."""
    if not layers:
        raise ValueError(f"{name}() holds no layers: give at least one, as in {name}(fnn.dense(10)).")
    return tuple(as_layer(part, name) for part in layers)


def _serial_init(parts: tuple[Layer, ...], key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
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


def _serial_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    check_train_key(key)
    moved = []
    for place, (part, own) in enumerate(pair_up(parts, params)):
        with name_errors(f"layer {place}", part, x):
            x, own = part.forward_train(own, x, jax.random.fold_in(key, place))
            moved.append(own)
    return x, tuple(moved)


def _serial_inside(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> list[Any]:
    handed = []
    for place, (part, own) in enumerate(pair_up(parts, params)):
        handed.append((f"layer {place}", part, own, x))
        with name_errors(f"layer {place}", part, x):
            x = part.forward(own, x)
    return handed


def _serial_backward(parts: tuple[Layer, ...], params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """The chain rule through a series: δ goes from the last layer to the first."""
    grads = []
    for handed in reversed(_serial_inside(parts, params, x)):
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


@intern
def residual(*layers: Layer | Forward) -> Layer:
    """What the layers add to their input: y = x + fₙ(… f₁(x)), x and y of one shape.

    The identity path carries the gradient past the layers (He et al. 2016, eq. 1).

    >>> double = residual(lambda x: x)
    >>> double.forward(((),), jnp.array([1.0, 2.0]))
    Array([2., 4.], dtype=float32)

    Raises ValueError where the layers change the shape.
    """
    parts = as_layers("residual", layers)
    return layer(
        functools.partial(_serial_init, parts),
        functools.partial(residual_forward, parts),
        functools.partial(_residual_forward_train, parts),
        name="residual",
        parts=parts,
        inside=functools.partial(_serial_inside, parts),
        backward=functools.partial(_residual_backward, parts),
    )


def residual_forward(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> chex.ArrayTree:
    """x + f(x)."""
    return add_input(x, serial_forward(parts, params, x))


def _residual_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    y, moved = _serial_forward_train(parts, params, x, key)
    return add_input(x, y), moved


def _residual_backward(parts: tuple[Layer, ...], params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """Through a sum, y = x + f(x): δ goes both ways, and comes back as δ + δ_f."""
    grads, through_layers = _serial_backward(parts, params, x, y, delta, pull)
    return grads, jax.tree.map(jnp.add, delta, through_layers)


def add_input(x: chex.ArrayTree, y: chex.ArrayTree) -> chex.ArrayTree:
    """x + y, of one shape."""
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(
            f"residual adds its input back, so its layers must keep the shape: they were given "
            f"{shapes(x)} and returned {shapes(y)}. Let the last layer return the input's width."
        )
    return jax.tree.map(jnp.add, x, y)
