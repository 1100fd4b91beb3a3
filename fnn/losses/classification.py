"""Costs for classes: how surprising the true class is, from logits.

A logit is an unnormalised log-probability, the output of a last layer without activation: softmax(z)
are the probabilities. Taking logits keeps value and gradient finite where a probability would round
to 0 or 1. Each cost takes the mean, weighted over the leading axes by `sample_weight`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses.mean import (
    as_numbers,
    check_options,
    comparable,
    refuse_values,
    spread,
    weighted_mean,
    without_weightless,
)

__all__ = ["binary_cross_entropy", "softmax_cross_entropy"]


def binary_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    positive_weight: ArrayLike = 1.0,
) -> jax.Array:
    """Cross-entropy of yes-or-no targets y ∈ [0, 1]: the mean, over outputs too, of

        w₊ · y · log(1 + e⁻ᶻ) + (1 − y) · log(1 + eᶻ)        z, y: (…) of one shape

    `label_smoothing` a replaces y by (1 − a)·y + a/2; `positive_weight` w₊ counts a yes that often.
    Raises ValueError for shapes that differ, and for targets outside 0…1. Bishop 2006, eq. 4.90.

    >>> # (log 2 + log 4/3) / 2
    >>> binary_cross_entropy(jnp.array([0.0, jnp.log(3.0)]), jnp.array([1, 1])).round(4)
    Array(0.4904, dtype=float32)
    """
    check_options("binary_cross_entropy", label_smoothing=label_smoothing, positive_weight=positive_weight)
    z, y = comparable("binary_cross_entropy", logits, targets, sample_weight)
    check_answers("binary_cross_entropy", targets, sample_weight)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / 2
    surprise = jnp.asarray(positive_weight, z.dtype) * y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z)
    return weighted_mean(surprise, sample_weight)


def softmax_cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    class_weight: ArrayLike | None = None,
) -> jax.Array:
    """Cross-entropy of one class among K, the mean over rows of

        ℓ(z, y) = log Σₖ exp(zₖ) − Σₖ yₖ zₖ        z: (…, K)   y: ids (…) or one-hot (…, K)

    `label_smoothing` a replaces y by (1 − a)·y + a/K (Szegedy et al. 2016, §7); `class_weight` (K,)
    multiplies a row's weight by that of its class. An id outside 0…K−1 costs NaN.
    One example is z: (K,) with y: () or floats (K,); whole numbers of one axis are ids of rows.
    Raises ValueError for shapes that do not fit, ids that are no integers, negative probabilities, and
    options out of range. Bishop 2006, eq. 4.108.

    >>> softmax_cross_entropy(jnp.array([[0.0, jnp.log(3.0)]]), jnp.array([1])).round(4)     # log 4/3
    Array(0.2877, dtype=float32)
    """
    check_options("softmax_cross_entropy", label_smoothing=label_smoothing)
    z = as_numbers("softmax_cross_entropy: ", "logits", logits)
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    y = as_numbers("softmax_cross_entropy: ", "targets", targets)
    if y.shape == z.shape:
        check_probabilities("softmax_cross_entropy", targets, sample_weight)
    y = class_probabilities("softmax_cross_entropy", z, y)
    z, y = without_weightless(z, sample_weight), without_weightless(y, sample_weight)
    weight = sample_weight
    if class_weight is not None:
        check_options("softmax_cross_entropy", class_weight=class_weight)
        rows = (y * one_a_class(class_weight, z)).sum(-1)
        weight = rows if weight is None else rows * spread(weight, rows)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / z.shape[-1]
    chosen = jnp.where(y == 0, 0, y * z).sum(-1)  # a class ruled out by a logit of −∞ costs nothing
    return weighted_mean(jax.nn.logsumexp(z, -1) - chosen, weight)


def check_answers(name: str, targets: Any, sample_weight: Any) -> None:
    """Refuse what is no probability of a yes."""
    refuse_values(
        lambda y: (y < 0) | (y > 1), targets, sample_weight,
        f"{name}: targets expected 0 or 1, or a probability between them",
        "(y + 1) / 2 makes 0 and 1 of -1 and 1; class ids go with fnn.softmax_cross_entropy, quantities with "
        "fnn.mse.",
    )  # fmt: skip


def check_probabilities(name: str, targets: Any, sample_weight: Any) -> None:
    """Refuse what is no probability of a class."""
    refuse_values(
        lambda y: y < 0, targets, sample_weight,
        f"{name}: targets expected a probability for each class, at least 0",
        "Class ids are whole numbers without an axis of classes; quantities go with fnn.mse.",
    )  # fmt: skip


def one_a_class(class_weight: ArrayLike, logits: jax.Array) -> jax.Array:
    """The classes' weights, for every row."""
    weights = jnp.asarray(class_weight, logits.dtype)
    if weights.shape != logits.shape[-1:]:
        raise ValueError(
            f"class_weight expected one weight a class, of shape {logits.shape[-1:]}, got {weights.shape}."
        )
    return jnp.broadcast_to(weights, logits.shape)


def class_probabilities(name: str, logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Class ids (…) or probabilities (…, K) as probabilities; says what does not fit the logits."""
    if logits.ndim == 0 or logits.shape[-1] < 2:
        raise ValueError(
            f"{name} expected one logit a class on the last axis, at least 2, got shape {logits.shape}. "
            "For one yes-or-no output use binary_cross_entropy."
        )
    if targets.shape == logits.shape and targets.ndim == 1 and not jnp.issubdtype(targets.dtype, jnp.inexact):
        raise ValueError(
            f"{name} expected (rows, classes) of logits for the class ids of rows, got logits of shape "
            f"{logits.shape} for {targets.dtype} targets of the same shape. Let the network keep its axis of "
            "classes; for one yes-or-no output use binary_cross_entropy; one example's own one-hot row goes "
            "in as floats."
        )
    if targets.shape == logits.shape:
        return targets.astype(logits.dtype)
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"{name} expected class ids of shape {logits.shape[:-1]}, or one-hot targets of the logits' "
            f"shape {logits.shape}, got targets of shape {targets.shape}. "
            + _mend(logits.shape, targets.shape)
        )
    if jnp.issubdtype(targets.dtype, jnp.inexact):
        raise ValueError(
            f"{name} expected whole-number class ids, got {targets.dtype} of shape {targets.shape}. "
            "Use targets.astype('int32'), such as y.astype(int); for names fnn.labels; for quantities a cost "
            "such as fnn.mse."
        )
    return _one_hot_or_nan(targets, logits)


def _mend(logits: tuple[int, ...], targets: tuple[int, ...]) -> str:
    if targets == (*logits[:-1], 1):
        return "Drop the last axis: targets[..., 0], of a column y[:, 0]."
    if targets[:-1] == logits[:-1]:
        return f"Let the last layer have {targets[-1]} outputs, one a class."
    if logits == targets[:-1]:
        return "Are logits and targets swapped?"
    return "Is there one target a row? Images go through fnn.flatten before fnn.dense."


def _one_hot_or_nan(ids: jax.Array, logits: jax.Array) -> jax.Array:
    """One-hot rows; an id that is no class gives NaN, never a silent zero."""
    ids = ids.astype(jnp.int32)[..., None]
    known = (ids >= 0) & (ids < logits.shape[-1])
    classes = jnp.arange(logits.shape[-1]).reshape((1,) * (logits.ndim - 1) + (-1,))
    return jnp.where(known, (ids == classes).astype(logits.dtype), jnp.nan)
