"""Layers side by side: each is given the same input, or its own by key; and layers beside the identity."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp

from fnn.guard.words import shapes
from fnn.network.compose import (
    pair_up,
    serial_backward,
    serial_forward,
    serial_forward_train,
    serial_init,
    serial_inside,
    serial_step,
)
from fnn.network.intern import as_layers, intern
from fnn.network.layer import Forward, Layer, check_names, check_train_key, layer, name_errors
from fnn.network.parameters import check_branches
from fnn.network.stream import begin_parts, stream_of

__all__ = ["parallel", "residual"]


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
    parts = as_layers("parallel", same_input or tuple(by_key[name] for name in names))
    return layer(
        functools.partial(_parallel_init, parts, names),
        functools.partial(parallel_forward, parts, names),
        functools.partial(_parallel_forward_train, parts, names),
        name=f"parallel({', '.join(names)})" if names else "parallel",
        parts=parts,
        inside=functools.partial(_parallel_inside, parts, names),
        backward=functools.partial(_parallel_backward, parts, names),
        stream=(
            functools.partial(begin_parts, functools.partial(_parallel_inside, parts, names)),
            functools.partial(_parallel_step, parts, names),
        ),
    )


def branches(parts: tuple[Layer, ...], names: tuple[str, ...], x: Any) -> list[tuple[str, Layer, Any]]:
    """Each branch's place, layer and input."""
    if not names:
        return [(f"branch {i}", part, x) for i, part in enumerate(parts)]
    if not isinstance(x, dict) or set(x) != set(names):
        got = f"a dict of {sorted(x)}" if isinstance(x, dict) else f"an input of {shapes(x)}"
        raise ValueError(f"parallel by key expected a dict of {sorted(names)}, got {got}.")
    return [(f"branch '{name}'", part, x[name]) for name, part in zip(names, parts)]


def join_by_name(names: tuple[str, ...], values: list[Any]) -> Any:
    """What the branches return: a dict by name, or a tuple."""
    return dict(zip(names, values)) if names else tuple(values)


def separate(parts: tuple[Layer, ...], names: tuple[str, ...], params: Any) -> list[Any]:
    """The parameters of each branch; those of another network are refused."""
    if not names:
        return [own for _, own in pair_up(parts, params)]
    check_names("parallel", params, names)
    return [params[name] for name in names]


def _parallel_init(parts: Any, names: Any, key: chex.PRNGKey, x: Any) -> chex.ArrayTree:
    params = []
    keys = jax.random.split(key, len(parts))
    for (place, part, value), part_key in zip(branches(parts, names, x), keys):
        with name_errors(place, part, value):
            params.append(part.init(part_key, value))
    return join_by_name(names, params)


def parallel_forward(parts: Any, names: Any, params: Any, x: Any) -> chex.ArrayTree:
    """yᵢ = fᵢ(x), or fᵢ(xᵢ) by key."""
    values = []
    for (place, part, value), own in zip(branches(parts, names, x), separate(parts, names, params)):
        with name_errors(place, part, value):
            values.append(part.forward(own, value))
    return join_by_name(names, values)


def _parallel_forward_train(
    parts: Any, names: Any, params: Any, x: Any, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    check_train_key(key)
    values, moved = [], []
    together = zip(branches(parts, names, x), separate(parts, names, params))
    for i, ((place, part, value), own) in enumerate(together):
        with name_errors(place, part, value):
            y, own = part.forward_train(own, value, jax.random.fold_in(key, i))
            values.append(y)
            moved.append(own)
    return join_by_name(names, values), join_by_name(names, moved)


def _parallel_step(parts: Any, names: Any, params: Any, state: Any, x: Any) -> tuple[Any, Any]:
    values, moved = [], []
    together = zip(branches(parts, names, x), separate(parts, names, params), state)
    for (place, part, value), own, old in together:
        with name_errors(place, part, value):
            y, new = stream_of(part).step(own, old, value)
            values.append(y)
            moved.append(new)
    return join_by_name(names, values), tuple(moved)


def _parallel_inside(parts: Any, names: Any, params: Any, x: Any) -> list[Any]:
    owns = separate(parts, names, params)
    return [(place, part, own, value) for (place, part, value), own in zip(branches(parts, names, x), owns)]


def _parallel_backward(parts: Any, names: Any, params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """Through branches: each passes its own δ; where all were given the same x, what comes back adds up."""
    deltas = [delta[name] for name in names] if names else delta
    handed = zip(_parallel_inside(parts, names, params, x), deltas, strict=True)
    pulled = [pull(*step, own) for step, own in reversed([*handed])][::-1]
    back = join_by_name(names, [delta_x for _, delta_x in pulled])
    if not names:
        back = jax.tree.map(lambda *each: sum(each[1:], each[0]), *back)
    return join_by_name(names, [grads for grads, _ in pulled]), back


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
        functools.partial(serial_init, parts),
        functools.partial(residual_forward, parts),
        functools.partial(_residual_forward_train, parts),
        name="residual",
        parts=parts,
        inside=functools.partial(serial_inside, parts),
        backward=functools.partial(_residual_backward, parts),
        stream=(
            functools.partial(begin_parts, functools.partial(serial_inside, parts)),
            functools.partial(_residual_step, parts),
        ),
    )


def residual_forward(parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree) -> chex.ArrayTree:
    """x + f(x)."""
    return add_input(x, serial_forward(parts, params, x))


def _residual_forward_train(
    parts: tuple[Layer, ...], params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[chex.ArrayTree, chex.ArrayTree]:
    y, moved = serial_forward_train(parts, params, x, key)
    return add_input(x, y), moved


def _residual_step(parts: tuple[Layer, ...], params: Any, state: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
    y, moved = serial_step(parts, params, state, x)
    return add_input(x, y), moved


def _residual_backward(parts: tuple[Layer, ...], params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """Through a sum, y = x + f(x): δ goes both ways, and comes back as δ + δ_f."""
    grads, through_layers = serial_backward(parts, params, x, y, delta, pull)
    return grads, jax.tree.map(jnp.add, delta, through_layers)


def add_input(x: chex.ArrayTree, y: chex.ArrayTree) -> chex.ArrayTree:
    """x + y, of one shape."""
    if jax.tree.map(jnp.shape, x) != jax.tree.map(jnp.shape, y):
        raise ValueError(
            f"residual adds its input back, so its layers must keep the shape: they were given "
            f"{shapes(x)} and returned {shapes(y)}. Let the last layer return the input's width."
        )
    return jax.tree.map(jnp.add, x, y)
