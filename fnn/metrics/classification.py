"""Metrics for classes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import as_numbers, refuse_values
from fnn.losses.classification import binary_cross_entropy, softmax_cross_entropy
from fnn.losses.mean import check_bound, comparable, spread, weighted_mean
from fnn.losses.targets import check_answers, check_probabilities, class_probabilities

__all__ = ["accuracy", "confusion_matrix"]


def accuracy(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of rows whose most probable class is the true one.

        mean [argmaxₖ zₖ = y]    z: (…, K)   y: ids (…) or one-hot (…, K)
        mean [(z > 0) = y]       z, y: (…) or (…, 1) of one shape, for yes-or-no targets

    Raises ValueError for shapes that do not fit, and yes-or-no targets above 1. Hastie et al. 2009,
    eq. 2.19 (its complement).

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array(0.5, dtype=float32)
    """
    guess, truth = _classes("accuracy", logits, targets, sample_weight)
    return weighted_mean((guess == truth).astype(jnp.result_type(float)), sample_weight)


def confusion_matrix(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """How often each true class (row) was taken for each class (column): Cᵢⱼ = #{y = i, ŷ = j}, (K, K).

    With `sample_weight` the sums of weights. Logits and targets as in `accuracy`. Pearson 1904 (his
    contingency table).

    >>> confusion_matrix(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array([[1, 1],
           [0, 0]], dtype=int32)
    """
    guess, truth = _classes("confusion_matrix", logits, targets, sample_weight)
    z = jnp.asarray(logits)
    classes = 2 if yes_or_no(z, jnp.asarray(targets)) else z.shape[-1]
    counts = jnp.int32(1)
    if sample_weight is not None:
        counts = spread(sample_weight, guess.astype(jnp.result_type(float))).ravel()
    zeros = jnp.zeros((classes, classes), counts.dtype)
    rows = jnp.where(truth < 0, classes, truth).ravel()  # what is no class is counted nowhere
    return zeros.at[rows, guess.ravel()].add(counts, mode="drop")


def _classes(
    name: str, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[jax.Array, jax.Array]:
    z, y = as_numbers(f"{name}: ", "logits", logits), as_numbers(f"{name}: ", "targets", targets)
    if (z.shape[-1:] == (1,) and z.shape[:-1] == y.shape) or y.shape == (*z.shape, 1):
        comparable(name, z, y)  # one column against none: refused, with the mend
    if yes_or_no(z, y):
        check_yes_or_no(name, z.shape, targets, sample_weight)
        return (z > 0).astype(jnp.int32), (y > 0.5).astype(jnp.int32)
    if y.shape == z.shape[:-1] and jnp.issubdtype(y.dtype, jnp.integer) and z.shape[-1] > 1:
        return z.argmax(-1), y
    return z.argmax(-1), class_probabilities(name, z, y).argmax(-1)


def check_yes_or_no(name: str, shape: tuple[int, ...], targets: Any, sample_weight: Any) -> None:
    """Refuse ids of more than two classes beside predictions without an axis of classes: ids, most likely."""
    refuse_values(
        lambda y: y > 1, targets, sample_weight,
        f"{name}: targets expected 0 or 1 beside predictions of the same shape {shape}, logits of a yes",
        "Give the logits (rows, classes) themselves, not their argmax; ids against ids are "
        "(guess == y).mean().",
    )  # fmt: skip


def yes_or_no(logits: jax.Array, targets: jax.Array) -> bool:
    """Whether there is no axis of classes, so that a prediction is the logit of a yes."""
    same = logits.shape == targets.shape
    return same and (logits.ndim == 1 or logits.shape[-1] == 1)


def check_targets(metric: Callable[..., Any], z: Any, y: Any, sample_weight: Any) -> None:
    """Refuse targets that a cost or metric of fnn does not take, while they have values."""
    check_bound(metric)
    function = getattr(metric, "func", metric)
    if function not in OF_CLASSES or not (hasattr(z, "shape") and hasattr(y, "shape")):
        return
    name, classes = function.__name__, z.shape[-1]
    if function is binary_cross_entropy:
        check_answers(name, y, sample_weight)
    elif y.shape == z.shape and function is softmax_cross_entropy:
        check_probabilities(name, y, sample_weight)
    elif yes_or_no(z, y):
        check_yes_or_no(name, z.shape, y, sample_weight)
    elif y.shape == z.shape[:-1] and classes > 1 and y.dtype.kind in "iu":
        refuse_values(
            lambda ids: (ids < 0) | (ids >= classes), y, sample_weight,
            f"{name}: y expected class ids from 0 to {classes - 1}, for the network has {classes} outputs",
            "fnn.labels numbers classes from 0; a weight of 0 leaves a row out.",
        )  # fmt: skip


OF_CLASSES = (accuracy, binary_cross_entropy, confusion_matrix, softmax_cross_entropy)
