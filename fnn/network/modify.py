"""One layer, changed: frozen, or computed in another precision."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from fnn.guard.words import Words, unexpected
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_names, layer, name_errors
from fnn.network.parameters import merge, statistics
from fnn.network.stream import begin_parts, stream_of

__all__ = ["freeze", "precision"]


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
        stream=(
            functools.partial(begin_parts, functools.partial(_freeze_inside, inner)),
            functools.partial(_freeze_step, inner),
        ),
    )


def _freeze_init(part: Layer, key: chex.PRNGKey, x: chex.ArrayTree) -> chex.ArrayTree:
    with name_errors("frozen", part, x):
        return {"frozen": part.init(key, x)}


def freeze_forward(part: Layer, params: Any, x: chex.ArrayTree) -> Any:
    """f(x), with no gradient to its parameters."""
    check_names("freeze", params, ("frozen",))
    with name_errors("frozen", part, x):
        return part.forward(jax.lax.stop_gradient(params["frozen"]), x)


def _freeze_step(part: Layer, params: Any, state: Any, x: chex.ArrayTree) -> tuple[Any, Any]:
    with name_errors("frozen", part, x):
        y, new = stream_of(part).step(jax.lax.stop_gradient(params["frozen"]), state[0], x)
        return y, (new,)


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
        stream=(
            functools.partial(begin_parts, functools.partial(_precision_inside, inner, dtype)),
            functools.partial(_precision_step, inner, dtype),
        ),
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


def _precision_step(
    part: Layer, dtype: DTypeLike, params: Any, state: Any, x: chex.ArrayTree
) -> tuple[Any, Any]:
    with name_errors("inner", part, x):
        usual = jax.eval_shape(part.forward, params, x)
        y, new = stream_of(part).step(_narrow(params, dtype), state[0], _cast(x, dtype))
        return _cast_like(usual, y), (new,)


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
