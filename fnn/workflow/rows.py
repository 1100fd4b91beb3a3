"""What a network is trained on: rows as arrays, of one length, finite, their targets those of the cost."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_arrays, row_count
from fnn.guard.numbers import check_finite
from fnn.guard.trees import check_same, places
from fnn.guard.words import place_of, shapes
from fnn.losses.classification import binary_cross_entropy, softmax_cross_entropy
from fnn.network.layer import Layer, LayerError

__all__: list[str] = []


ROWS = 1021  # in shapes only: a number of rows that is no number of features by chance


# What a network makes of them ---------------------------------------------------------------------


def suited(network: Layer, x: chex.ArrayTree) -> Any:
    """x as the network takes it: whole numbers as floats where it takes no ids, and rows, not one row."""
    x = as_floats(network, x)
    flat = any(leaf.ndim == 1 for leaf in jax.tree.leaves(x))
    y = outputs_for(network, x) if flat else None
    if any(leaf.shape[:1] != (ROWS,) for leaf in jax.tree.leaves(y)):
        raise ValueError(
            f"expected one prediction for each row of x, got predictions of {shapes(y)} from an input of "
            f"{shapes(x)}. One row goes in as x[None], a single column as x[:, None]; layers keep the "
            "leading axis."
        )
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
    return next(taken, x)  # what fails for another reason is told so where it is used


def outputs_for(network: Layer, x: chex.ArrayTree) -> Any:
    """The shapes of the predictions for rows like those of x; None where the network does not take them."""
    leaves, structure = jax.tree.flatten(x)
    return _outputs(network, structure, tuple(((ROWS, *leaf.shape[1:]), leaf.dtype) for leaf in leaves))


@functools.lru_cache(maxsize=1024)
def _outputs(network: Layer, structure: Any, leaves: tuple[Any, ...]) -> Any:
    x = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    key = jax.eval_shape(jax.random.key, 0)
    try:
        return jax.eval_shape(lambda key, x: network.forward(network.init(key, x), x), key, x)
    except (TypeError, ValueError):
        return None


def check_one_a_row(predictions: Any, x: Any) -> None:
    """Refuse a network that gives another number of predictions than it was given rows."""
    n = jax.tree.leaves(x)[0].shape[0]
    if any(jnp.shape(leaf)[:1] != (n,) for leaf in jax.tree.leaves(predictions)):
        raise ValueError(
            f"expected one prediction for each of {n} rows, got predictions of {shapes(predictions)} from "
            f"an input of {shapes(x)}. A single column of features goes in as x[:, None]; layers keep the "
            "leading axis."
        )


def checked_rows(
    network: Layer, cost: Any, x: Any, y: Any, sample_weight: Any, validation: Any
) -> tuple[Any, ...]:
    """Everything as arrays, of one length where rows belong together, finite, targets as the cost takes."""
    x, y, sample_weight = _rows(network, cost, x=x, y=y, sample_weight=sample_weight)
    if validation is not None:
        validation = _rows(network, cost, **{f"validation[{i}]": part for i, part in enumerate(validation)})
    return x, y, sample_weight, validation


def _rows(network: Layer, cost: Any, **named: Any) -> tuple[Any, ...]:
    named = {name: as_arrays(part, name) for name, part in named.items()}
    row_count(**named)
    check_finite(**named)
    (x, y, *weight), (_, y_name, *_) = named.values(), named
    x = as_floats(network, x)
    check = TARGETS.get(getattr(cost, "func", cost))
    if check is not None and hasattr(y, "dtype"):
        check(y_name, np.asarray(y), outputs_for(network, x))
    for place, w in enumerate(weight):
        _check_weights([*named][2 + place], w)
    return x, y, *weight


def _check_weights(name: str, weight: Any) -> None:
    """Refuse weights below 0, and none above."""
    if not hasattr(weight, "dtype"):
        return
    known = np.asarray(weight)
    mend = "A row of weight 0 is left out; weights of classes are an option of the cost, class_weight."
    _refuse(known < 0, known, f"{name} expected weights of at least 0", mend)
    if not known.any():
        raise ValueError(f"{name} expected a weight above 0 in some row, got only zeros. {mend}")


def _check_class_ids(name: str, y: np.ndarray, outputs: Any) -> None:
    """Refuse ids that are no class of the network's, and rows that are no probabilities of classes."""
    if not hasattr(outputs, "shape") or outputs.ndim < 2 or outputs.shape[-1] < 2:
        return  # not one array with an output a class: the cost says what it expected
    if y.dtype.kind in "iu" and y.shape[1:] != outputs.shape[1:]:
        classes = outputs.shape[-1]
        _refuse(
            (y < 0) | (y >= classes), y,
            f"{name} expected class ids from 0 to {classes - 1}, for the network has {classes} outputs",
            "fnn.labels numbers classes from 0; or let the last layer have an output for each class.",
        )  # fmt: skip
    else:
        _check_probabilities(name, y, outputs)


def _check_probabilities(name: str, y: np.ndarray, outputs: Any) -> None:
    """Refuse what is no probability, where there is one target for each output."""
    if y.shape[1:] == getattr(outputs, "shape", (None,))[1:]:
        _refuse(
            (y < 0) | (y > 1), y,
            f"{name} expected 0 or 1, or a probability between them",
            "(y + 1) / 2 makes 0 and 1 of -1 and 1; class ids go with fnn.softmax_cross_entropy, without an "
            "axis of classes; quantities with fnn.mse.",
        )  # fmt: skip


def _refuse(wrong: np.ndarray, y: np.ndarray, expected: str, mend: str) -> None:
    if wrong.any():
        index = tuple(np.argwhere(wrong)[0])
        raise ValueError(f"{expected}, got {y[index]} in {place_of(index)}. {mend}")


TARGETS = {softmax_cross_entropy: _check_class_ids, binary_cross_entropy: _check_probabilities}


def _check_shapes(network: Layer, params: Any, x: Any) -> None:
    """Refuse the parameters of another network, and rows that are no rows of predictions; by shapes only."""
    axes = {axis for leaf in jax.tree.leaves(x) for axis in leaf.shape[1:]}
    axes |= {axis for leaf in jax.tree.leaves(params) for axis in leaf.shape}
    if jax.tree.leaves(x)[0].shape[0] in axes:  # a sum over the rows could pass for predictions of them
        for leaf in jax.tree.leaves(outputs_for(network, x)):
            if leaf.shape[:1] != (ROWS,):
                raise ValueError(
                    f"expected one prediction for each row of x, got the shape {leaf.shape} for {ROWS} rows "
                    f"like those of {shapes(x)}: layers keep the leading axis."
                )
    if not jax.tree.leaves(params):
        return
    leaves, structure = jax.tree.flatten(x)
    expected = _expected(network, structure, tuple(((ROWS, *leaf.shape[1:]), leaf.dtype) for leaf in leaves))
    if expected is None or places(params) == places(expected):
        return
    reason = "" if _has_gaps(params, expected) else _what_it_says(network, params, x)
    mend = f"Are these the parameters of another network, or has x other columns?{reason}"
    check_same("params", expected, params, mend)


@functools.lru_cache(maxsize=1024)
def _expected(network: Layer, structure: Any, leaves: tuple[Any, ...]) -> Any:
    """The shapes of the network's own parameters; None where it does not take x, as a layer says itself."""
    x = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    try:
        return jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0), x)
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _has_gaps(params: Any, expected: Any) -> bool:
    """Whether None stands where a parameter is expected."""
    leaves = jax.tree_util.tree_leaves_with_path(params, is_leaf=lambda leaf: leaf is None)
    return any(leaf is None and jax.tree_util.keystr(path) in places(expected) for path, leaf in leaves)


def _what_it_says(network: Layer, params: Any, x: Any) -> str:
    """What the network says of these parameters; a layer inside it knows best what it lacks, and raises."""
    try:
        jax.eval_shape(network.forward, params, x)
    except LayerError:
        raise
    except Exception as error:
        return f" ({error})"
    return ""
