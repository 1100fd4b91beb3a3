"""Layers into networks: each combinator takes layers and returns a layer."""

import functools
from collections.abc import Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fnn.guard.words import shapes
from fnn.network.layer import Forward, Layer, as_layer, check_names, check_train_key, inside, intern, layer
from fnn.network.parameters import check_branches

__all__ = ["parallel", "residual", "serial"]


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
    parts = _as_layers("serial", layers)
    return layer(
        functools.partial(_serial_init, parts),
        functools.partial(serial_forward, parts),
        functools.partial(_serial_forward_train, parts),
        name="serial",
        parts=parts,
    )


def _as_layers(name: str, layers: tuple[Layer | Forward, ...]) -> tuple[Layer, ...]:
    if not layers:
        raise ValueError(f"{name}() holds no layers: give at least one, as in {name}(fnn.dense(10)).")
    return tuple(as_layer(part, name) for part in layers)


def _serial_init(parts: tuple[Layer, ...], key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    params = []
    for place, (part, part_key) in enumerate(zip(parts, jax.random.split(key, len(parts)))):
        with inside(f"layer {place}", part, x):
            params.append(part.init(part_key, x))
            x = jax.eval_shape(part.forward, params[-1], x)
    return tuple(params)


def serial_forward(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> chex.ArrayTree:
    """x ← fᵢ(x), first to last."""
    for place, (part, own) in enumerate(paired(parts, params)):
        with inside(f"layer {place}", part, x):
            x = part.forward(own, x)
    return x


def _serial_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    check_train_key(key)
    moved = []
    for place, (part, own) in enumerate(paired(parts, params)):
        with inside(f"layer {place}", part, x):
            x, own = part.forward_train(own, x, jax.random.fold_in(key, place))
            moved.append(own)
    return x, tuple(moved)


def paired(parts: tuple[Layer, ...], params: Any) -> Iterator[tuple[Layer, Any]]:
    """Each layer with its parameters; refuses those of another network."""
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
    parts = _as_layers("residual", layers)
    return layer(
        functools.partial(_serial_init, parts),
        functools.partial(residual_forward, parts),
        functools.partial(_residual_forward_train, parts),
        name="residual",
        parts=parts,
    )


def residual_forward(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> chex.ArrayTree:
    """x + f(x)."""
    return added(x, serial_forward(parts, params, x))


def _residual_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    y, moved = _serial_forward_train(parts, params, x, key)
    return added(x, y), moved


def added(x: chex.ArrayTree, y: chex.ArrayTree) -> chex.ArrayTree:
    """x + y, of one shape."""
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(
            f"residual adds its input back, so its layers must keep the shape: they were given "
            f"{shapes(x)} and returned {shapes(y)}. Let the last layer return the input's width."
        )
    return jax.tree.map(jnp.add, x, y)


# Side by side ----------------------------------------------------------------------------------


@intern
def parallel(*same_input: Layer | Forward, **by_key: Layer | Forward) -> Layer:
    """Layers side by side, for the same input or each for its own.

        parallel(f, g):      x ↦ (f(x), g(x))
        parallel(a=f, b=g):  {a: x, b: z} ↦ {a: f(x), b: g(z)}

    >>> both = parallel(jnp.min, jnp.max)
    >>> both.forward(((), ()), jnp.array([1.0, 2.0]))
    (Array(1., dtype=float32), Array(2., dtype=float32))

    Raises ValueError for a mixture of the two forms, or where the input has other keys.
    """
    if same_input and by_key:
        raise ValueError(
            "parallel takes layers for the same input, parallel(f, g), or layers by key, "
            "parallel(a=f, b=g), not both: nest one in the other."
        )
    names = tuple(sorted(by_key))
    check_branches("parallel", names)
    parts = _as_layers("parallel", same_input or tuple(by_key[name] for name in names))
    return layer(
        functools.partial(_parallel_init, parts, names),
        functools.partial(parallel_forward, parts, names),
        functools.partial(_parallel_forward_train, parts, names),
        name=f"parallel({', '.join(names)})" if names else "parallel",
        parts=parts,
    )


def branches(parts: tuple[Layer, ...], names: tuple[str, ...], x: Any) -> list[tuple[str, Layer, Any]]:
    """Each branch's place, layer and input."""
    if not names:
        return [(f"branch {i}", part, x) for i, part in enumerate(parts)]
    if not isinstance(x, dict) or set(x) != set(names):
        got = f"a dict of {sorted(x)}" if isinstance(x, dict) else f"an input of {shapes(x)}"
        raise ValueError(f"parallel by key expected a dict of {sorted(names)}, got {got}.")
    return [(f"branch '{name}'", part, x[name]) for name, part in zip(names, parts)]


def joined(names: tuple[str, ...], values: list[Any]) -> Any:
    """What the branches gave: a dict by name, or a tuple."""
    return dict(zip(names, values)) if names else tuple(values)


def separated(parts: tuple[Layer, ...], names: tuple[str, ...], params: Any) -> list[Any]:
    """The parameters of each branch; refuses those of another network."""
    if not names:
        return [own for _, own in paired(parts, params)]
    check_names("parallel", params, names)
    return [params[name] for name in names]


def _parallel_init(parts: Any, names: Any, key: chex.PRNGKey, x: Any) -> chex.ArrayTree:
    params = []
    keys = jax.random.split(key, len(parts))
    for (place, part, value), part_key in zip(branches(parts, names, x), keys):
        with inside(place, part, value):
            params.append(part.init(part_key, value))
    return joined(names, params)


def parallel_forward(parts: Any, names: Any, params: Any, x: Any) -> chex.ArrayTree:
    """yᵢ = fᵢ(x), or fᵢ(xᵢ) by key."""
    values = []
    for (place, part, value), own in zip(branches(parts, names, x), separated(parts, names, params)):
        with inside(place, part, value):
            values.append(part.forward(own, value))
    return joined(names, values)


def _parallel_forward_train(
    parts: Any, names: Any, params: Any, x: Any, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    check_train_key(key)
    values, moved = [], []
    together = zip(branches(parts, names, x), separated(parts, names, params))
    for i, ((place, part, value), own) in enumerate(together):
        with inside(place, part, value):
            y, own = part.forward_train(own, value, jax.random.fold_in(key, i))
            values.append(y)
            moved.append(own)
    return joined(names, values), joined(names, moved)
