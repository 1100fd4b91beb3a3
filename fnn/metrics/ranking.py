"""Metrics for a yes or no that need no threshold: only the order of the scores counts."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.losses.mean import read_alike, spread
from fnn.losses.targets import Pair, Takes, check_decision, is_yes_or_no

__all__ = ["average_precision", "roc_auc"]


def check_scores(pair: Pair) -> None:
    """Refuse what is not a score of a yes and a yes or no for each row."""
    z = pair.predictions.shape
    if len(z) > 1 and z[-1] != 1 and not is_yes_or_no(z, pair.targets.shape):
        raise ValueError(
            f"{pair.cost} expected one logit of a yes for each row, (rows,) or (rows, 1), got predictions of "
            f"shape {z}. Of two classes give logits[..., 1] - logits[..., 0]; each class against the rest is "
            f"jax.vmap(fnn.{pair.cost}, in_axes=(1, 1))(logits, fnn.one_hot(y, {z[-1]}))."
        )
    check_decision(pair)


ROC_AUC, AVERAGE_PRECISION = (Takes(name, check_scores) for name in ("roc_auc", "average_precision"))


def roc_auc(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """How often a yes has a higher score than a no: the area under the ROC curve, exact.

        Σ wᵢwⱼ ([zᵢ > zⱼ] + ½[zᵢ = zⱼ]) / Σ wᵢwⱼ        over pairs yᵢ = 1, yⱼ = 0;   z, y: (n,) or (n, 1)

    ½ is chance. NaN where all rows are of one class, or a score is NaN. Any scores will do; logits tie less
    than probabilities. Raises ValueError for predictions of several outputs, and what `accuracy` refuses.
    Hanley & McNeil 1982.

    >>> roc_auc(jnp.array([0.1, 0.4, 0.3, 0.8]), jnp.array([0, 0, 1, 1]))          # 3 of 4 pairs
    Array(0.75, dtype=float32)
    """
    yes, no, first, last = _fall(ROC_AUC, logits, targets, sample_weight)
    above = _running_sum(yes) / yes.sum()
    return (no * (above[first] + above[last])).sum() / (2 * no.sum())


def average_precision(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None
) -> jax.Array:
    """The precision at the score of each yes, on the mean: the area under the steps of precision and recall.

        Σᵢ wᵢ Pᵢ / Σᵢ wᵢ        over yᵢ = 1,   Pᵢ = Σⱼ wⱼ yⱼ [zⱼ ≥ zᵢ] / Σⱼ wⱼ [zⱼ ≥ zᵢ]

    Chance is the share of yes. 0 where there is no yes; NaN where a score is NaN. Takes and refuses what
    `roc_auc` does. Manning et al. 2008, §8.4.

    >>> average_precision(jnp.array([0.1, 0.4, 0.3, 0.8]), jnp.array([0, 1, 0, 1]))    # (1/1 + 2/2) / 2
    Array(1., dtype=float32)
    """
    yes, no, _, last = _fall(AVERAGE_PRECISION, logits, targets, sample_weight)
    found, taken = _running_sum(yes)[last], _running_sum(yes + no)[last]
    precision = found / jnp.where(taken == 0, 1, taken)
    total = yes.sum()
    return (yes * precision).sum() / jnp.where(total == 0, 1, total)


def _fall(
    takes: Takes, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """By falling score: weights of yes and of no; how many rows are above each, and how many tied too."""
    z, y = read_alike(takes, logits, targets, sample_weight)
    weight = jnp.ones_like(z) if sample_weight is None else spread(sample_weight, z)
    weight = jnp.where(jnp.isnan(z), jnp.nan, weight)  # what has no place in the order spoils it
    yes, no = weight * (y > 0.5), weight * (y <= 0.5)
    falling, yes, no = jax.lax.sort((-z.ravel(), yes.ravel(), no.ravel()), num_keys=1)
    first, last = (jnp.searchsorted(falling, falling, side=side) for side in ("left", "right"))
    return yes, no, first, last


def _running_sum(weights: jax.Array) -> jax.Array:
    """0, w₀, w₀ + w₁, …: the weight of the first i."""
    return jnp.concatenate([jnp.zeros_like(weights[:1]), jnp.cumsum(weights)])


TARGETS: dict[Any, Takes] = {roc_auc: ROC_AUC, average_precision: AVERAGE_PRECISION}
