"""Metrics for several labels at once: a yes or no for each."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses.mean import read_pair, weighted_mean, without_weightless
from fnn.losses.targets import Takes, check_answers

__all__ = ["binary_accuracy", "exact_match"]


BINARY_ACCURACY, EXACT_MATCH = (Takes(name, check_answers) for name in ("binary_accuracy", "exact_match"))


def binary_accuracy(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The share of labels that are right, each label of each row counted alone.

        mean [(z > 0) = (y > ½)]        z, y: (…, labels)

    A logit that is NaN makes it NaN. Raises ValueError for shapes that differ, and targets outside 0…1. It
    is 1 − the Hamming loss of Schapire & Singer 2000, §3.

    >>> binary_accuracy(jnp.array([[5.0, 1.0], [1.0, -5.0]]), jnp.array([[1, 1], [0, 0]]))
    Array(0.75, dtype=float32)
    """
    right = _is_right(BINARY_ACCURACY, logits, targets, sample_weight)
    return weighted_mean(without_weightless(right, sample_weight), sample_weight)


def exact_match(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The share of rows in which every label is right.

        mean over rows of [(zₖ > 0) = (yₖ > ½) for all k]        z, y: (…, labels)

    Takes and refuses what `binary_accuracy` does. scikit-learn calls it the subset accuracy.

    >>> exact_match(jnp.array([[5.0, 1.0], [1.0, -5.0]]), jnp.array([[1, 1], [0, 0]]))
    Array(0.5, dtype=float32)
    """
    right = _is_right(EXACT_MATCH, logits, targets, sample_weight)
    rows = right.min(-1) if right.ndim > 1 else right  # a NaN stays one
    return weighted_mean(without_weightless(rows, sample_weight), sample_weight)


def _is_right(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None
) -> jax.Array:
    """1 where a label is right, 0 where it is wrong, NaN where its logit is."""
    z, y = read_pair(takes, logits, targets, sample_weight)
    return jnp.where(jnp.isnan(z), jnp.nan, (z > 0) == (y > 0.5))


TARGETS: dict[Any, Takes] = {binary_accuracy: BINARY_ACCURACY, exact_match: EXACT_MATCH}
