"""One layer, changed: repeated in depth, frozen, or computed in another precision."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from fnn.guard.arrays import shape_struct
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, shapes, unexpected
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_names, layer, name_errors
from fnn.network.parameters import merge, statistics, untrained

__all__ = ["freeze", "precision", "repeat"]


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
    )


def _repeat_init(times: int, part: Layer, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    with name_errors("each layer", part, x):
        return jax.vmap(lambda one: part.init(one, x))(jax.random.split(key, times))


def repeat_forward(times: int, part: Layer, params: chex.ArrayTree, x: chex.ArrayTree) -> Any:
    """x ← f(x; θᵢ), as a scan over i."""

    def turn(x: Any, own: Any) -> tuple[Any, None]:
        with name_errors("each layer", part, x):
            return _check_shape_stays(x, part.forward(own, x)), None

    return jax.lax.scan(turn, _in_type_of_output(times, part, params, x), params, length=times)[0]


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
    y, moved = jax.lax.scan(turn, x, (params, jnp.arange(times)))
    return y, merge(moved, params)


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


# Frozen ----------------------------------------------------------------------------------------


@intern
def freeze(part: Layer | Forward) -> Layer:
    """The layer as it is now: its parameters are under `frozen` and are never trained.

    It does the same while the network learns as afterwards: nothing is dropped, no statistics move.
    Gradients pass through it to the layers before.

    >>> network = freeze(lambda x: 3 * x)
    >>> network.init(jax.random.key(0), jnp.ones(2))
    {'frozen': ()}
    """
    inner = as_layer(part, "freeze")
    return layer(
        functools.partial(_freeze_init, inner),
        functools.partial(freeze_forward, inner),
        name="freeze",
        parts=(inner,),
        inside=functools.partial(_freeze_inside, inner),
        backward=functools.partial(_freeze_backward, inner),
    )


def _freeze_init(part: Layer, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    with name_errors("frozen", part, x):
        return {"frozen": part.init(key, x)}


def freeze_forward(part: Layer, params: Any, x: chex.ArrayTree) -> Any:
    """f(x), with no gradient to its parameters."""
    check_names("freeze", params, ("frozen",))
    with name_errors("frozen", part, x):
        return part.forward(jax.lax.stop_gradient(params["frozen"]), x)


def _freeze_inside(part: Layer, params: Any, x: chex.ArrayTree) -> list[Any]:
    return [("frozen", part, params["frozen"], x)]


def _freeze_backward(part: Layer, params: Any, x: Any, y: Any, delta: Any, pull: Any) -> Any:
    """δ goes through the layer, and its parameters have no gradient."""
    _, delta_x = pull("frozen", part, params["frozen"], x, delta)
    return jax.tree.map(jnp.zeros_like, params), delta_x


# In another precision --------------------------------------------------------------------------


@intern
def precision(part: Layer | Forward, dtype: DTypeLike) -> Layer:
    """The layer computed in `dtype`: parameters and input are cast for the computation only.

    Parameters and output keep the type that they have without it, and statistics are never narrowed. So the
    optimizer adds small updates to full-precision weights (Micikevicius et al. 2018, §3.1).

    >>> network = precision(lambda x: x + 1e-3, jnp.bfloat16)
    >>> network.forward((), jnp.array([1.0]))                   # bfloat16 cannot hold 1.001
    Array([1.], dtype=float32)
    """
    if not _is_floating(dtype):
        expected = "a floating-point type such as jnp.bfloat16 after the layer"
        raise ValueError(unexpected("precision", expected, Words(repr(dtype))))
    inner = as_layer(part, "precision")
    return layer(
        functools.partial(_precision_init, inner),
        functools.partial(precision_forward, inner, dtype),
        functools.partial(_precision_forward_train, inner, dtype),
        name=f"precision({jnp.dtype(dtype).name})",
        parts=(inner,),
        inside=functools.partial(_precision_inside, inner, dtype),
        backward=functools.partial(_precision_backward, inner, dtype),
    )


def _is_floating(dtype: Any) -> bool:
    try:
        return dtype is not None and jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
    except TypeError:
        return False


def _precision_init(part: Layer, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    with name_errors("inner", part, x):
        return part.init(key, x)


def precision_forward(part: Layer, dtype: DTypeLike, params: Any, x: chex.ArrayTree) -> Any:
    """f(x) computed in dtype."""
    with name_errors("inner", part, x):
        usual = jax.eval_shape(part.forward, params, x)
        return _cast_like(usual, part.forward(_narrow(params, dtype), _cast(x, dtype)))


def _precision_inside(part: Layer, dtype: DTypeLike, params: Any, x: chex.ArrayTree) -> list[Any]:
    return [("inner", part, _narrow(params, dtype), _cast(x, dtype))]


def _precision_backward(
    part: Layer, dtype: DTypeLike, params: Any, x: Any, y: Any, delta: Any, pull: Any
) -> tuple[Any, Any]:
    """δ goes through the layer in `dtype`; gradients are of the parameters' own type again."""
    grads, delta_x = pull("inner", part, _narrow(params, dtype), _cast(x, dtype), _cast(delta, dtype))
    return _cast_like(params, grads), _cast_like(x, delta_x)


def _precision_forward_train(
    part: Layer, dtype: DTypeLike, params: Any, x: chex.ArrayTree, key: chex.PRNGKey
) -> tuple[Any, Any]:
    with name_errors("inner", part, x):
        usual = jax.eval_shape(part.forward, params, x)
        y, moved = part.forward_train(_narrow(params, dtype), _cast(x, dtype), key)
        return _cast_like(usual, y), merge(statistics(moved), params)


def _narrow(params: chex.ArrayTree, dtype: DTypeLike) -> Any:
    """The parameters in `dtype`, but for statistics: they move by less than it can tell."""
    return merge(statistics(params), _cast(params, dtype))


def _cast(tree: chex.ArrayTree, dtype: DTypeLike) -> Any:
    return jax.tree.map(lambda v: v.astype(dtype) if jnp.issubdtype(v.dtype, jnp.floating) else v, tree)


def _cast_like(like: chex.ArrayTree, tree: chex.ArrayTree) -> Any:
    return jax.tree.map(lambda to, v: v.astype(to.dtype), like, tree)
