"""What a network is trained on: rows as arrays, of one length, finite, their targets those of the cost."""

from typing import Any

import numpy as np

from fnn.arrays import as_arrays, as_floats, check_finite, outputs_for, place_of, row_count
from fnn.layer import Layer
from fnn.losses import binary_cross_entropy, softmax_cross_entropy

__all__: list[str] = []


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
