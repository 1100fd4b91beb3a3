"""What a cost or a metric takes for targets: numbers like the predictions, answers, ids, probabilities.

The only place where that is decided. A cost says what it takes by `Takes`, in its own file, and asks
`check_taken` each time; `fit` and `evaluate` ask the same before anything is compiled. Predictions need only
a shape. Values are checked where they are known, and not where there is no weight.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.numbers import Span, check_number, refuse

__all__: list[str] = []


ROUNDING = 0.02  # how far from 1 the probabilities of a row may sum: [0.33, 0.33, 0.33], and bfloat16


class Pair(NamedTuple):
    """Predictions and targets of one shape or another, and what they are called in a message."""

    cost: str
    predictions: Any
    targets: Any
    sample_weight: Any = None
    called: str = "targets"
    options: Mapping[str, Any] = MappingProxyType({})


class Takes(NamedTuple):
    """What a cost or metric takes: its name, the check of its targets, the spans of its options."""

    name: str
    check: Callable[[Pair], None]
    options: Mapping[str, Span] = MappingProxyType({})


def check_taken(takes: Takes, pair: Pair, options: Mapping[str, Any]) -> None:
    """Refuse options out of their span, and targets that do not go with the predictions."""
    for option, value in options.items():
        check_number(takes.name, option, value, takes.options[option], several=True)
    takes.check(pair._replace(options=options))


def check_same_shape(pair: Pair) -> None:
    """Refuse targets of another shape: they would broadcast."""
    p, t = pair.predictions.shape, pair.targets.shape
    if p == t:
        return
    fix = "Let the network's last layer give as many outputs as there are targets."
    if p == (*t, 1):
        fix = "Give the targets that axis, targets[..., None], or drop it there, predictions[..., 0]."
    elif t == (*p, 1):
        fix = "Drop the last axis of the targets, targets[..., 0], or let the network end in one output."
    elif p[:-1] == t:
        fix = (
            f"Class ids go with fnn.softmax_cross_entropy, or as fnn.one_hot(targets, {p[-1]}); for "
            "quantities let the network end in one output."
        )
    found = f"predictions have shape {p}, {pair.called} {t}"
    raise ValueError(f"{pair.cost} compares like with like: {found}. {fix}")


def check_answers(pair: Pair) -> None:
    """Refuse targets that are not the probability of a yes for each logit."""
    check_same_shape(pair)
    _refuse(
        pair, lambda y: (y < 0) | (y > 1), "0 or 1, or a probability between them",
        "(y + 1) / 2 makes 0 and 1 of -1 and 1; class ids go with fnn.softmax_cross_entropy, quantities with "
        "fnn.mse.",
    )  # fmt: skip


def check_decision(pair: Pair) -> None:
    """Refuse targets that are neither classes for logits (…, K) nor a yes or no for each logit."""
    z, y = pair.predictions.shape, pair.targets.shape
    if z == (*y, 1) or y == (*z, 1):
        check_same_shape(pair)  # one column against none
    if not is_yes_or_no(z, y):
        check_classes(pair)
        return
    _refuse(
        pair, lambda y: y > 1, f"0 or 1 beside predictions of the same shape {z}, logits of a yes",
        "Give the logits (rows, classes) themselves, not their argmax; ids against ids are "
        "(guess == y).mean().",
    )  # fmt: skip


def is_yes_or_no(logits: tuple[int, ...], targets: tuple[int, ...]) -> bool:
    """Whether shapes have no axis of classes, so that a prediction is the logit of a yes."""
    return logits == targets and (len(logits) == 1 or logits[-1:] == (1,))


def check_classes(pair: Pair) -> None:
    """Refuse targets that are neither class ids (…) nor class probabilities (…, K) for logits (…, K)."""
    z, y, dtype = pair.predictions.shape, pair.targets.shape, pair.targets.dtype
    is_whole = not jnp.issubdtype(dtype, jnp.inexact)
    expected = f"class ids of shape {z[:-1]}, or one-hot rows of the logits' shape {z}"
    if z[-1:] in ((), (1,)):
        expected = "logits with an axis of at least 2 classes"
        fix = "For one yes-or-no output use fnn.binary_cross_entropy."
    elif y == z and is_whole and len(y) == 1:
        expected = "logits (rows, classes) for the class ids of rows"
        fix = "Keep the axis of classes, or use fnn.binary_cross_entropy; one one-hot row goes in as floats."
    elif y == (*z[:-1], 1):
        fix = "Drop the last axis: targets[..., 0], of a column y[:, 0]."
    elif y[:-1] == z[:-1] != y != z:
        fix = f"Let the last layer have {y[-1]} outputs, one a class."
    elif y not in (z, z[:-1]):
        fix = "Is there one target a row? Images need fnn.flatten, sequences a layer with last=True."
    elif y != z and not is_whole:
        expected = "whole-number class ids"
        fix = "Give y.astype(int); names go through fnn.labels; quantities go with fnn.mse."
    else:
        (_check_probabilities if y == z else _check_ids)(pair)
        return
    found = f"logits of shape {z} and {pair.called} of shape {y} {dtype}"
    raise ValueError(f"{pair.cost} expected {expected}, got {found}. {fix}")


def _check_ids(pair: Pair) -> None:
    classes = pair.predictions.shape[-1]
    _refuse(
        pair, lambda ids: (ids < 0) | (ids >= classes),
        f"class ids from 0 to {classes - 1} for {classes} outputs",
        "fnn.labels numbers classes from 0; a weight of 0 leaves a row out.",
    )  # fmt: skip


def _check_probabilities(pair: Pair) -> None:
    fix = (
        "(y + 1) / 2 makes 0 and 1 of -1 and 1; class ids are whole numbers without an axis of classes; "
        "several labels at once go with fnn.binary_cross_entropy, fnn.binary_accuracy and fnn.exact_match, "
        "quantities with fnn.mse."
    )
    _refuse(pair, lambda y: y < 0, "a probability for each class, at least 0", fix)
    if not isinstance(pair.targets, jax.core.Tracer):
        sums = pair._replace(targets=np.asarray(pair.targets).sum(-1, dtype=np.float32))
        expected = "probabilities that sum to 1 in each row"
        _refuse(sums, lambda s: abs(s - 1) > ROUNDING, expected, fix)


def nan_if_not_probabilities(rows: jax.Array) -> jax.Array:
    """Rows of class probabilities, NaN where a traced row turns out to be none: never a wrong number."""
    is_one = abs(rows.sum(-1, keepdims=True, dtype=jnp.float32) - 1) <= ROUNDING
    return jnp.where(is_one, rows, jnp.nan)


def _refuse(pair: Pair, wrong: Callable[[np.ndarray], Any], expected: str, fix: str) -> None:
    refuse(f"{pair.cost}: {pair.called}", pair.targets, wrong, expected, fix, pair.sample_weight)
