"""Metrics for probabilities: whether what is said to be likely happens as often. The cost is one more."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import Span
from fnn.losses.classification import softmax_cross_entropy
from fnn.losses.mean import read_pair, spread, weighted_mean, without_weightless
from fnn.losses.targets import (
    Pair,
    Takes,
    check_answers,
    check_classes,
    check_decision,
    is_yes_or_no,
    nan_if_not_probabilities,
)

__all__ = ["brier_score", "calibration_error", "perplexity"]


def check_outcomes(pair: Pair) -> None:
    """Refuse targets that are neither classes for logits (…, K) nor the chance of a yes for each logit."""
    yes_or_no = is_yes_or_no(pair.predictions.shape, pair.targets.shape)
    (check_answers if yes_or_no else check_decision)(pair)


def rises(edges: Any) -> Any:
    """Whether each is above the one before; one alone bounds nothing."""
    steps = np.diff(np.ravel(edges), prepend=-1).reshape(np.shape(edges))
    return (steps > 0) & (np.size(edges) > 1)


RISING = Span("0 ≤ {} ≤ 1, rising", lambda n: (n >= 0) & (n <= 1) & rises(n))
EDGES = np.linspace(0, 1, 16)
BRIER = Takes("brier_score", check_outcomes)
CALIBRATION = Takes("calibration_error", check_outcomes, {"edges": RISING})
PERPLEXITY = Takes("perplexity", check_classes)


def brier_score(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The mean squared error of the probabilities.

        mean Σₖ (softmax(z)ₖ − yₖ)²    z: (…, K)   y: ids (…) or one-hot (…, K)
        mean (σ(z) − y)²               z, y: (…) or (…, 1) of one shape, for yes-or-no targets

    0 is perfect. Two classes as (…, 2) count both, so twice the score of yes or no. Raises ValueError for
    shapes that do not fit, and targets that are no probabilities. Brier 1950, eq. 2.

    >>> brier_score(jnp.array([0.0, 0.0]), jnp.array([1, 0]))                 # (½² + ½²) / 2
    Array(0.25, dtype=float32)
    """
    probabilities, outcomes = _read(BRIER, logits, targets, sample_weight)
    error = ((probabilities - outcomes) ** 2).sum(-1)
    return weighted_mean(without_weightless(error, sample_weight), sample_weight)


def calibration_error(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    edges: ArrayLike | None = None,
) -> jax.Array:
    """How far confidence is from the share that is right, in bins of confidence: the expected error.

        Σ_b |Σ_{i ∈ b} wᵢ (pᵢ − rᵢ)| / Σᵢ wᵢ

    p is the largest of softmax(z) and r whether that class is the true one; for yes-or-no targets p = σ(z)
    and r = y. Bins are (lower, upper] between `edges`, 15 of one width if there are none, and 0 belongs
    to the first; `edges=numpy.linspace(0, 1, 11)` makes ten. The number depends on them. Logits and
    targets as in `brier_score`. Raises ValueError for edges that do not rise, or are outside 0…1.
    Guo et al. 2017, eq. 3.

    >>> calibration_error(jnp.array([0.0, 0.0, 0.0, 0.0]), jnp.array([1, 0, 0, 0]))    # |½ − ¼|
    Array(0.25, dtype=float32)
    """
    edges = EDGES if edges is None else edges
    confidence, right, weight = read_confidence(CALIBRATION, logits, targets, sample_weight, edges=edges)
    gap, limits = (weight * (confidence - right)).ravel(), jnp.asarray(edges)
    sums = jax.ops.segment_sum(gap, bin_of(confidence.ravel(), limits), num_segments=limits.size - 1)
    total = weight.sum()
    return abs(sums).sum() / jnp.where(total == 0, 1, total)


def read_confidence(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The probability of the likeliest class, whether it is the true one, and the weight, of each row."""
    probabilities, outcomes = _read(takes, logits, targets, sample_weight, **options)
    guess = probabilities.argmax(-1, keepdims=True)
    right = jnp.take_along_axis(outcomes, guess, -1)[..., 0]
    weight = jnp.ones_like(right) if sample_weight is None else spread(sample_weight, right)
    confidence = without_weightless(probabilities.max(-1), sample_weight)
    return confidence, without_weightless(right, sample_weight), weight


def bin_of(confidence: ArrayLike, edges: ArrayLike) -> jax.Array:
    """The number of the bin (lower, upper] of each; 0 belongs to the first."""
    limits = jnp.asarray(edges, jnp.result_type(confidence))
    return jnp.searchsorted(limits, jnp.asarray(confidence)).clip(1, limits.size - 1) - 1


def perplexity(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """How many classes, equally likely, would surprise as much.

        exp(mean −log softmax(z)_y)        z: (…, K)   y: ids (…) or one-hot (…, K)

    1 is perfect, K is no knowledge. It is exp of `softmax_cross_entropy` over all rows, and takes and refuses
    what that does; with float32 it is ∞ from a cost of 88.7. Jelinek et al. 1977.

    >>> perplexity(jnp.zeros((2, 4)), jnp.array([0, 3]))
    Array(4., dtype=float32)
    """
    z, y = read_pair(PERPLEXITY, logits, targets, sample_weight)
    return jnp.exp(softmax_cross_entropy(z, y, sample_weight))


def read_logits(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """Logits and outcomes, (…, K), or (…, 1) of a yes; NaN where a traced row turns out to be none."""
    z, y = read_pair(takes, logits, targets, sample_weight, **options)
    if is_yes_or_no(z.shape, y.shape):
        return z[..., None], y.astype(z.dtype)[..., None]
    rows = jax.nn.one_hot(y, z.shape[-1], dtype=z.dtype) if y.ndim < z.ndim else y.astype(z.dtype)
    return z, nan_if_not_probabilities(rows)


def _read(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None, **options: Any
) -> tuple[jax.Array, jax.Array]:
    """Probabilities and outcomes, (…, K), or (…, 1) of a yes."""
    z, outcomes = read_logits(takes, logits, targets, sample_weight, **options)
    return (jax.nn.sigmoid if z.shape[-1] == 1 else jax.nn.softmax)(z), outcomes


TARGETS: dict[Any, Takes] = {
    brier_score: BRIER,
    calibration_error: CALIBRATION,
    perplexity: PERPLEXITY,
}
