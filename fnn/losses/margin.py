"""Costs for answers: how far the true one is ahead of the others, and how alike two distributions or
directions are.

`hinge` and `focal` are functions of one number, the margin m of the truth over its rivals:

    a yes or no          m = z for a yes, −z for a no          z, y: (…) of one shape
    one class among K    m = z_y − rival of the other z        z: (…, K), y: ids (…)

Each cost takes the mean, weighted over the leading axes by `sample_weight`; under each is its slope, ∂c/∂ŷ.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import FROM_0, refuse
from fnn.losses.mean import mean_slope, read_alike, read_pair, weighted_mean, without_weightless
from fnn.losses.targets import Pair, Takes, check_classes, check_same_shape, nan_if_not_probabilities

__all__ = ["cosine_distance", "focal", "hinge", "kl_divergence"]


def check_truth(pair: Pair) -> None:
    """Refuse targets that are neither a yes or no for each logit nor class ids (…) for logits (…, K)."""
    z, y = pair.predictions.shape, pair.targets.shape
    if z == (*y, 1) or y == (*z, 1):
        check_same_shape(pair)  # one column against none
    if z != y:
        check_classes(pair)
        return
    refuse(
        f"{pair.cost}: {pair.called}", pair.targets, lambda y: ~((y == 0) | (abs(y) == 1)),
        f"0 or 1, or -1 or 1, beside logits of the same shape {z}",
        "Class ids go with logits (rows, classes); quantities go with fnn.mse.", pair.sample_weight,
    )  # fmt: skip


def check_distributions(pair: Pair) -> None:
    """Refuse targets that are not the probabilities of each class, beside its logits."""
    check_same_shape(pair)
    check_classes(pair)


def check_vectors(pair: Pair) -> None:
    """Refuse targets of another shape, and vectors of fewer than two numbers: they have no direction."""
    check_same_shape(pair)
    shape = pair.targets.shape
    if shape[-1:] in ((), (0,), (1,)):
        expected = "vectors of at least 2 numbers on the last axis"
        raise ValueError(
            f"{pair.cost} expected {expected}, got shape {shape}. Single numbers go with fnn.mse."
        )


HINGE = Takes("hinge", check_truth)
FOCAL = Takes("focal", check_truth, {"gamma": FROM_0})
KL_DIVERGENCE = Takes("kl_divergence", check_distributions)
COSINE_DISTANCE = Takes("cosine_distance", check_vectors)


# Margins ------------------------------------------------------------------------------------------


def hinge(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The mean of max(0, 1 − m): nothing once the truth is ahead by 1 (support vector machines).

        a yes or no          m = s·z, s = ±1           z, y: (…) of one shape, y: 0 or 1, or −1 or 1
        one class among K    m = z_y − max_{k≠y} zₖ    z: (…, K), y: ids (…)

    One-hot rows have the shape of the logits, so each of their entries is a yes or no. The slope at m = 1
    is 0; rivals that are equal share theirs. Cortes & Vapnik 1995; Crammer & Singer 2001.
    Raises ValueError for shapes that do not fit, and for targets that are no answers.

    >>> hinge(jnp.array([0.5, 3.0]), jnp.array([1, 0]))                     # (0.5 + 4) / 2
    Array(2.25, dtype=float32)
    >>> hinge(jnp.array([[2.0, 1.5, 0.0]]), jnp.array([0]))                 # 1 + 1.5 − 2
    Array(0.5, dtype=float32)
    """
    margin, _ = _margin(HINGE, _largest, logits, targets, sample_weight)
    return weighted_mean(jnp.where(margin >= 1, 0, 1 - margin), sample_weight)


def hinge_slope(logits: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂z = −∂m/∂z/n where m < 1: −s/n, or 1/n for the largest rival and −1/n for the true class."""
    margin, ahead = _margin(HINGE, _largest, logits, targets, sample_weight)
    slope = jnp.where(margin >= 1, 0, -jnp.ones_like(margin))
    return _along(slope * mean_slope(margin, sample_weight), ahead)


def focal(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
) -> jax.Array:
    """Cross-entropy that counts less what is already right: the mean of −(1 − p)^γ · log p, p = σ(m).

        a yes or no          m = s·z, s = ±1                  z, y: (…) of one shape, y: 0 or 1, or −1 or 1
        one class among K    m = z_y − log Σ_{k≠y} exp zₖ     z: (…, K), y: ids (…)

    so p is the probability of the truth, by σ or by softmax. γ = 0 is `binary_cross_entropy`, or
    `softmax_cross_entropy`. One-hot rows have the shape of the logits, so each of their entries is a yes or
    no. The paper's α_t is a `sample_weight`. Lin et al. 2017, eq. 4.
    Raises ValueError for shapes that do not fit, for targets that are no answers, and for a γ below 0.

    >>> focal(jnp.array([0.0]), jnp.array([1])).round(4)                    # (1/2)² · log 2
    Array(0.1733, dtype=float32)
    """
    margin, _ = _margin(FOCAL, _soft_largest, logits, targets, sample_weight, gamma=gamma)
    gamma = jnp.asarray(gamma, margin.dtype)
    doubt = jnp.exp(-gamma * jax.nn.softplus(margin))  # (1 − p)^γ, and no power of a 0
    return weighted_mean(doubt * jax.nn.softplus(-margin), sample_weight)


def focal_slope(logits: Any, targets: Any, sample_weight: Any = None, gamma: Any = 2.0) -> jax.Array:
    """∂c/∂z = (1 − p)^γ · (γ · p · log p − (1 − p)) · ∂m/∂z/n."""
    margin, ahead = _margin(FOCAL, _soft_largest, logits, targets, sample_weight)
    gamma = jnp.asarray(gamma, margin.dtype)
    doubt, surprise = jnp.exp(-gamma * jax.nn.softplus(margin)), jax.nn.softplus(-margin)
    slope = -doubt * (gamma * jax.nn.sigmoid(margin) * surprise + jax.nn.sigmoid(-margin))
    return _along(slope * mean_slope(margin, sample_weight), ahead)


def _margin(
    takes: Takes,
    rival: Callable[[jax.Array], Any],
    logits: Any,
    targets: Any,
    sample_weight: Any,
    **options: Any,
) -> tuple[jax.Array, jax.Array]:
    """m, and ∂m/∂z; both NaN where a traced target turns out to be no answer: never a wrong number."""
    z, y = read_alike(takes, logits, targets, sample_weight, **options)
    if z.shape == y.shape:
        sign = jnp.where((y == 0) | (jnp.abs(y) == 1), jnp.where(y > 0, 1, -1), jnp.nan).astype(z.dtype)
        return sign * z, sign
    classes = jnp.arange(z.shape[-1], dtype=z.dtype).reshape((1,) * (z.ndim - 1) + (-1,))
    true = y[..., None] == classes
    best, shares = rival(jnp.where(true, -jnp.inf, z))
    ahead = jnp.where(true.any(-1, keepdims=True), jnp.where(true, 1, -shares), jnp.nan)
    return jnp.where(true.any(-1), jnp.where(true, z, 0).sum(-1) - best, jnp.nan), ahead


def _largest(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """max z, and its derivative: equal ones share it."""
    best = z.max(-1)
    is_best = (z == best[..., None]).astype(z.dtype)
    return best, is_best / is_best.sum(-1, keepdims=True)


def _soft_largest(z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log Σ exp z, and its derivative."""
    return jax.nn.logsumexp(z, -1), jax.nn.softmax(z)


def _along(slope: jax.Array, ahead: jax.Array) -> jax.Array:
    """∂c/∂m · ∂m/∂z: of a yes or no (…), of classes (…, K)."""
    return slope.reshape(slope.shape + (1,) * (ahead.ndim - slope.ndim)) * ahead


# Distributions and directions ---------------------------------------------------------------------


def kl_divergence(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Divergence of softmax(z) from the probabilities p: Σₖ pₖ (log pₖ − log softmax(z)ₖ), mean over rows.

    z, p: (…, K). 0 where they agree; else `softmax_cross_entropy` less the entropy of p, of the same slope
    in z. A class with pₖ = 0 adds nothing. With jax.nn.softmax of a larger network's logits for p, a small
    one learns from it (Hinton et al. 2015). Kullback & Leibler 1951.
    Raises ValueError for shapes that differ, and for rows that are no probabilities; under `jit` those cost
    NaN.

    >>> kl_divergence(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]])).round(4)      # log 2
    Array(0.6931, dtype=float32)
    """
    z, p = _read_distributions(logits, targets, sample_weight)
    absent = p == 0
    terms = p * (jnp.log(jnp.where(absent, 1, p)) - jax.nn.log_softmax(z))
    return weighted_mean(jnp.where(absent, 0, terms).sum(-1), sample_weight)


def kl_divergence_slope(logits: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂z = (softmax(z) · Σp − p)/n: p may sum to 1 not quite."""
    z, p = _read_distributions(logits, targets, sample_weight)
    slope = jax.nn.softmax(z) * p.sum(-1, keepdims=True) - p
    return slope * _share(z, sample_weight)


def _read_distributions(logits: Any, targets: Any, sample_weight: Any) -> tuple[jax.Array, jax.Array]:
    z, p = read_pair(KL_DIVERGENCE, logits, targets, sample_weight)
    p = nan_if_not_probabilities(p.astype(z.dtype))
    return without_weightless(z, sample_weight), without_weightless(p, sample_weight)


def cosine_distance(
    predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """How far two vectors differ in direction: 1 − a·b / (‖a‖‖b‖) over the last axis, mean over rows.

    a, b: (…, features). 0 for one direction, 1 for a right angle, 2 for opposite ones; lengths do not count.
    A vector of zeros has distance 1 and slope 0. Salton et al. 1975.
    Raises ValueError for shapes that differ, and for vectors of fewer than two numbers.

    >>> cosine_distance(jnp.array([[1.0, 0.0], [0.0, 3.0]]), jnp.array([[5.0, 0.0], [2.0, 0.0]]))      # ½
    Array(0.5, dtype=float32)
    """
    a, b = _read_vectors(predictions, targets, sample_weight)
    return weighted_mean(1 - (_unit(a)[0] * _unit(b)[0]).sum(-1), sample_weight)


def cosine_distance_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂a = −(b̂ − (â·b̂)·â)/(‖a‖ · n), â = a/‖a‖."""
    a, b = _read_vectors(predictions, targets, sample_weight)
    (a, length), (b, _) = _unit(a), _unit(b)
    cosine = (a * b).sum(-1, keepdims=True)
    slope = jnp.where(length == 0, 0, (cosine * a - b) / jnp.where(length == 0, 1, length))
    return slope * _share(a, sample_weight)


def _share(values: jax.Array, sample_weight: Any) -> jax.Array:
    """The derivative of the mean with respect to each row (…), beside its entries (…, K)."""
    return jnp.broadcast_to(mean_slope(values[..., 0], sample_weight), values.shape[:-1])[..., None]


def _read_vectors(predictions: Any, targets: Any, sample_weight: Any) -> tuple[jax.Array, jax.Array]:
    return read_alike(COSINE_DISTANCE, predictions, targets, sample_weight)


def _unit(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
    """v/‖v‖ and ‖v‖, in units of the largest entry: no square overflows; of zeros 0, with slope 0."""
    largest = jax.lax.stop_gradient(jnp.abs(vector).max(-1, keepdims=True))
    is_zero = largest == 0
    scaled = jnp.where(is_zero, 0, vector / jnp.where(is_zero, 1, largest))
    length = jnp.sqrt(jnp.where(is_zero, 1, (scaled**2).sum(-1, keepdims=True)))
    return scaled / length, largest * length


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    hinge: hinge_slope,
    focal: focal_slope,
    kl_divergence: kl_divergence_slope,
    cosine_distance: cosine_distance_slope,
}

TARGETS: dict[Any, Takes] = {
    hinge: HINGE,
    focal: FOCAL,
    kl_divergence: KL_DIVERGENCE,
    cosine_distance: COSINE_DISTANCE,
}
