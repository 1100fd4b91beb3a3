"""Costs for classes: how surprising the true class is, from logits.

A logit is an unnormalised log-probability, the output of a last layer without activation: softmax(z)
are the probabilities. Taking logits keeps value and gradient finite where a probability would round
to 0 or 1. Each cost takes the mean, weighted over the leading axes by `sample_weight`; under each is its
slope, ∂c/∂z.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import FROM_0, TO_1
from fnn.losses.mean import mean_slope, read_alike, read_pair, spread, weighted_mean, without_weightless
from fnn.losses.targets import Takes, check_answers, check_classes, nan_if_not_probabilities

__all__ = ["binary_cross_entropy", "softmax_cross_entropy"]


IN_ORDER = "Give them in the order of the ids; balanced ones are len(y) / (classes * numpy.bincount(y))."
BINARY = Takes("binary_cross_entropy", check_answers, {"label_smoothing": TO_1, "positive_weight": FROM_0})
SOFTMAX = Takes(
    "softmax_cross_entropy",
    check_classes,
    {"label_smoothing": TO_1, "class_weight": FROM_0._replace(fix=IN_ORDER)},
)


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
    options = {"label_smoothing": label_smoothing, "positive_weight": positive_weight}
    z, y = read_alike(BINARY, logits, targets, sample_weight, **options)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / 2
    surprise = jnp.asarray(positive_weight, z.dtype) * y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z)
    return weighted_mean(surprise, sample_weight)


def binary_cross_entropy_slope(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    positive_weight: Any = 1.0,
) -> jax.Array:
    """∂c/∂z = ((1 − y) · σ(z) − w₊ · y · σ(−z))/n, which is (σ(z) − y)/n where w₊ = 1."""
    z, y = read_alike(BINARY, logits, targets, sample_weight)
    smoothing, weight = (jnp.asarray(number, z.dtype) for number in (label_smoothing, positive_weight))
    y = (1 - smoothing) * y + smoothing / 2
    slope = (1 - y) * jax.nn.sigmoid(z) - weight * y * jax.nn.sigmoid(-z)
    return slope * mean_slope(z, sample_weight)


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
    multiplies a row's weight by that of its class. One example is
    z: (K,) with y: () or floats (K,); whole numbers of one axis are ids of rows.
    Raises ValueError for shapes that do not fit, ids outside 0…K−1, rows that are no probabilities (at least
    0, of sum 1 to 0.02; under `jit`, where targets have no values yet, such a row costs NaN), and options
    out of range; what has weight 0 is exempt. Bishop 2006, eq. 4.108.

    >>> softmax_cross_entropy(jnp.array([[0.0, jnp.log(3.0)]]), jnp.array([1])).round(4)     # log 4/3
    Array(0.2877, dtype=float32)
    """
    z, y, weight = _read_classes(
        logits, targets, sample_weight, label_smoothing=label_smoothing, class_weight=class_weight
    )
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / z.shape[-1]
    chosen = jnp.where(y == 0, 0, y * z).sum(-1)  # a class ruled out by a logit of −∞ costs nothing
    return weighted_mean(jax.nn.logsumexp(z, -1) - chosen, weight)


def softmax_cross_entropy_slope(
    logits: Any,
    targets: Any,
    sample_weight: Any = None,
    label_smoothing: Any = 0.0,
    class_weight: Any = None,
) -> jax.Array:
    """∂c/∂z = (softmax(z) − y)/n."""
    z, y, weight = _read_classes(logits, targets, sample_weight, class_weight=class_weight)
    smoothing = jnp.asarray(label_smoothing, z.dtype)
    y = (1 - smoothing) * y + smoothing / z.shape[-1]
    share = jnp.broadcast_to(mean_slope(z[..., 0], weight), z.shape[:-1])
    return (jax.nn.softmax(z) - y) * share[..., None]


def _read_classes(
    logits: Any, targets: Any, sample_weight: Any, *, class_weight: Any, **options: Any
) -> tuple[jax.Array, jax.Array, Any]:
    """Logits and class probabilities (…, K), and the weight of each row, that of its class in it."""
    if class_weight is not None:
        options["class_weight"] = class_weight
    z, y = read_pair(SOFTMAX, logits, targets, sample_weight, **options)
    y = nan_if_not_probabilities(y.astype(z.dtype)) if y.shape == z.shape else _one_hot_or_nan(y, z)
    z, y = without_weightless(z, sample_weight), without_weightless(y, sample_weight)
    if class_weight is None:
        return z, y, sample_weight
    weights = jnp.asarray(class_weight, z.dtype)
    if weights.shape != z.shape[-1:]:
        raise ValueError(
            f"class_weight expected one weight a class, of shape {z.shape[-1:]}, got {weights.shape}."
        )
    rows = (y * weights).sum(-1)
    return z, y, rows if sample_weight is None else rows * spread(sample_weight, rows)


def _one_hot_or_nan(ids: jax.Array, logits: jax.Array) -> jax.Array:
    """One-hot rows; an id that is no class, found out only when the program runs, gives NaN and never 0."""
    ids = ids.astype(jnp.int32)[..., None]
    known = (ids >= 0) & (ids < logits.shape[-1])
    classes = jnp.arange(logits.shape[-1]).reshape((1,) * (logits.ndim - 1) + (-1,))
    return jnp.where(known, (ids == classes).astype(logits.dtype), jnp.nan)


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    binary_cross_entropy: binary_cross_entropy_slope,
    softmax_cross_entropy: softmax_cross_entropy_slope,
}

TARGETS: dict[Any, Takes] = {binary_cross_entropy: BINARY, softmax_cross_entropy: SOFTMAX}
