"""What a network is trained on: rows as arrays, of one length, finite, their ids those of classes."""

import functools
from typing import Any

import jax
import numpy as np

from fnn.arrays import as_arrays, check_finite, row_count, suited
from fnn.layer import Layer
from fnn.losses import softmax_cross_entropy

__all__: list[str] = []


def checked_rows(
    network: Layer, cost: Any, x: Any, y: Any, sample_weight: Any, validation: Any
) -> tuple[Any, ...]:
    """Everything as arrays, of one length where rows belong together, finite, its ids those of classes."""
    x, y = suited(network, as_arrays(x, "x")), as_arrays(y, "y")
    sample_weight = as_arrays(sample_weight, "sample_weight")
    row_count(x=x, y=y, sample_weight=sample_weight)
    check_finite(x=x, y=y, sample_weight=sample_weight)
    _check_class_ids(network, cost, x, y=y)
    if validation is not None:
        held = {f"validation[{i}]": part for i, part in enumerate(validation)}
        held = {name: as_arrays(part, name) for name, part in held.items()}
        row_count(**held)
        check_finite(**held)
        held_x, held_y, *weight = held.values()
        _check_class_ids(network, cost, x, **{"validation[1]": held_y})
        validation = (suited(network, held_x), held_y, *weight)
    return x, y, sample_weight, validation


def _check_class_ids(network: Layer, cost: Any, x: Any, **targets: Any) -> None:
    """Refuse ids that are no class of a network trained by softmax cross-entropy, naming the row."""
    if getattr(cost, "func", cost) is not softmax_cross_entropy:
        return
    leaves, structure = jax.tree.flatten(x)
    one = tuple(jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype) for leaf in leaves)
    classes = _outputs(network, structure, one)
    for name, ids in targets.items():
        ids = np.asarray(ids)
        if ids.dtype.kind not in "iu" or classes is None:
            continue
        wrong = np.argwhere((ids < 0) | (ids >= classes))
        if len(wrong):
            row, *rest = (int(i) for i in wrong[0])
            raise ValueError(
                f"{name} expected class ids from 0 to {classes - 1}, for the network has {classes} outputs, "
                f"got {ids[(row, *rest)]} in row {row}. fnn.labels numbers classes from 0; or let the "
                "last layer have an output for each class."
            )


@functools.lru_cache(maxsize=1024)
def _outputs(network: Layer, structure: Any, leaves: tuple[Any, ...]) -> int | None:
    """How many outputs the network has; None where it has not one array of them."""
    x = jax.tree.unflatten(structure, leaves)
    y = jax.eval_shape(lambda key, x: network.forward(network.init(key, x), x), jax.random.key(0), x)
    return int(y.shape[-1]) if hasattr(y, "shape") and y.ndim > 1 else None
