"""Costs for classes: how surprising the true class is, from logits.

A logit is an unnormalised log-probability, the output of a last layer without activation: softmax(z)
are the probabilities. Taking logits keeps value and gradient finite where a probability would round
to 0 or 1. Each cost takes the mean, weighted over the leading axes by `sample_weight`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import as_numbers
from fnn.losses.mean import _share, check_options, comparable, spread, weighted_mean, without_weightless
from fnn.losses.targets import check_answers, check_probabilities, class_probabilities, one_a_class

__all__ = ["binary_cross_entropy", "softmax_cross_entropy"]


def _binary_cross_entropy(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    positive_weight: Any = 1.0,
) -> jax.Array:
    z, y = comparable("binary_cross_entropy", logits, targets, sample_weight)
    smoothing, weight = (jnp.asarray(number, z.dtype) for number in (label_smoothing, positive_weight))
    y = (1 - smoothing) * y + smoothing / 2
    slope = (1 - y) * jax.nn.sigmoid(z) - weight * y * jax.nn.sigmoid(-z)
    return slope * _share(z, sample_weight)  # σ(z) − y, where w₊ = 1


def _softmax_cross_entropy(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    class_weight: Any = None,
) -> jax.Array:
    z = jnp.asarray(logits)
    z = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    y = class_probabilities("softmax_cross_entropy", z, jnp.asarray(targets))
    z, y = without_weightless(z, sample_weight), without_weightless(y, sample_weight)
    weight = sample_weight
    if class_weight is not None:
        rows = (y * one_a_class(class_weight, z)).sum(-1)
        weight = rows if weight is None else rows * spread(weight, rows)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / z.shape[-1]
    share = jnp.asarray(_share(z[..., 0], weight))
    return (jax.nn.softmax(z) - y) * share[..., None]


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


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    binary_cross_entropy: _binary_cross_entropy,
    softmax_cross_entropy: _softmax_cross_entropy,
}
