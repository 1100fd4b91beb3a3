"""What a cost of classes takes as targets: ids, one-hot rows, probabilities; and what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import refuse_values

__all__: list[str] = []


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
