"""What a network makes of rows, in shapes: nothing is computed, and each shape is tried once."""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.experimental import checkify

from fnn.guard.arrays import shape_struct
from fnn.guard.words import shapes
from fnn.network.layer import Layer, LayerError

__all__: list[str] = []

KEPT = 1024  # shapes of each function

ROWS = 1021  # in shapes only: a number of rows that is hardly a number of features, too


def abstract(tree: Any) -> tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]:
    """What jit compares of a tree: its structure, and each leaf's shape and type; it can be hashed.

    >>> abstract([1.5, jax.numpy.zeros(3, "int8")])[1]
    (((), dtype('float32')), ((3,), dtype('int8')))
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(
        (leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype, allow_extended_dtype=True))
        if hasattr(leaf, "dtype")
        else ((), jax.dtypes.canonicalize_dtype(type(leaf)))  # a number of Python
        for leaf in leaves
    )


def shaped(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(static, *trees)`, called with the shapes of the trees; its result is remembered.

    Remembered by the static argument and the trees' structure, shapes and dtypes. An argument that cannot
    be hashed is computed without memory; an exception is not remembered.

    >>> count = shaped(lambda static, x: static * x.shape[0])
    >>> count(2, jax.numpy.zeros((5, 3)))
    10
    """

    remembered: dict[Any, Any] = {}

    @functools.wraps(function)
    def call(static: Any, *trees: Any) -> Any:
        structure, leaves = abstract(trees)
        with contextlib.suppress(TypeError, KeyError):  # it cannot be hashed, or it is new
            return remembered[static, structure, leaves]
        trees = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
        found = function(static, *trees)
        with contextlib.suppress(TypeError):
            remembered[static, structure, leaves] = found
        if len(remembered) > KEPT:
            remembered.pop(next(iter(remembered)), None)  # the oldest
        return found

    return call


def rows_for(network: Layer, x: chex.ArrayTree) -> Any:
    """x as the network takes it: whole numbers as floats where it takes no ids, and rows, not one row."""
    x = as_floats(network, x)
    if any(leaf.ndim == 1 for leaf in jax.tree.leaves(x)):
        check_one_a_row(outputs_for(network, x), x, ROWS)
    return x


def as_floats(network: Layer, x: chex.ArrayTree) -> Any:
    """x with its whole numbers as floats, where the network takes no whole numbers.

    Ids stay ids: only a network that refuses them is given floats.
    """
    leaves = jax.tree.leaves(x)
    if all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        return x
    floats = jax.tree.map(lambda a: a.astype(jnp.result_type(float)), x)
    taken = (taken for taken in (x, floats) if outputs_for(network, taken) is not None)
    return next(taken, x)  # what fails for another reason fails again where it is used


def outputs_for(network: Layer, x: chex.ArrayTree) -> Any:
    """The shapes of the predictions for rows like those of x; None where the network does not take them."""
    return _outputs(network, _many_rows(x))[0]


def has_checks(network: Layer, x: chex.ArrayTree) -> bool:
    """Whether a layer of the network asks something of its input that only its numbers tell."""
    return bool(jax.tree.leaves(_outputs(network, _many_rows(x))[1]))


def _many_rows(x: chex.ArrayTree) -> Any:
    return jax.tree.map(lambda leaf: shape_struct(leaf, ROWS, *leaf.shape[1:]), x)


@shaped
def _outputs(network: Layer, x: Any) -> tuple[Any, Any]:
    try:
        error, outputs = jax.eval_shape(functools.partial(checked_forward, network), x)
    except (TypeError, ValueError):
        return None, None
    return outputs, error


def checked_forward(network: Layer, x: Any) -> tuple[checkify.Error, Any]:
    """The first error that a layer's check finds, and the predictions, of parameters as they start."""

    def forward(x: Any) -> Any:
        return network.forward(network.init(jax.random.key(0), x), x)

    return checkify.checkify(forward, errors=checkify.user_checks)(x)


def params_for(network: Layer, x: chex.ArrayTree) -> Any:
    """The shapes of the network's own parameters for rows like those of x; None where it does not take x."""
    return _params(network, _many_rows(x))


@shaped
def _params(network: Layer, x: Any) -> Any:
    """The shapes of the network's own parameters; None where it does not take x, which a layer refuses."""
    try:
        return jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0), x)
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def layer_error(network: Layer, params: Any, x: Any) -> str:
    """Why the network fails with these parameters; an error of a layer inside, the most exact, is raised."""
    try:
        jax.eval_shape(network.forward, params, x)
    except LayerError:
        raise
    except Exception as error:
        return f" ({error})"
    return ""


def check_one_a_row(predictions: Any, x: Any, rows: int | None = None) -> None:
    """Refuse a network that gives another number of predictions than it was given rows."""
    rows = jax.tree.leaves(x)[0].shape[0] if rows is None else rows
    if any(jnp.shape(leaf)[:1] != (rows,) for leaf in jax.tree.leaves(predictions)):
        raise ValueError(
            f"expected one prediction for each row of x, got predictions of {shapes(predictions)} from an "
            f"input of {shapes(x)}. One row goes in as x[None], a single column of features as x[:, None]; "
            "layers keep the leading axis."
        )
