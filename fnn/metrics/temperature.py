"""The temperature of logits: one number, fitted on held-out rows, makes their probabilities believable."""

import numpy as np
from jax.typing import ArrayLike

from fnn.guard.numbers import check_finite, refuse
from fnn.losses.mean import spread
from fnn.losses.targets import Takes
from fnn.metrics.probability import check_outcomes, read_logits

__all__ = ["fit_temperature"]


TEMPERATURE = Takes("fit_temperature", check_outcomes)


def fit_temperature(logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """The temperature T that makes the cross-entropy of logits / T lowest (temperature scaling).

        Σ w (Σₖ softmax(z/T)ₖ zₖ − z_y) = 0      z: (…, K), y: ids (…);  or z, y: (…) or (…, 1) of one shape

    A network that is too sure of itself has T > 1. Divide its logits on new rows by T: no decision changes.
    Fit it on rows that were not trained on. Raises ValueError for what `brier_score` refuses, for NaN, and
    where no temperature is best: each row is right (T → 0), or logits do not favour the true class (T → ∞).
    Guo et al. 2017, §4.2.

    >>> logits, answers = np.full(4, 2.0), np.array([1, 1, 1, 0])        # three in four: the logit log 3
    >>> round(fit_temperature(logits, answers), 4), round(2 / np.log(3).item(), 4)
    (1.8205, 1.8205)
    """
    read = read_logits(TEMPERATURE, logits, targets, sample_weight)
    weight = np.ones(read[0].shape[:-1]) if sample_weight is None else spread(sample_weight, read[0][..., 0])
    for name, array in {"predictions": read[0], "targets": read[1]}.items():
        check_finite(f"fit_temperature: {name}", array, "Leave the row out.", sample_weight)
    refuse("fit_temperature: sample_weight", weight, lambda w: ~(w >= 0), "weights of at least 0", "")
    counts, weight = np.asarray(weight != 0), np.asarray(weight, np.float64)
    z, y, weight = (np.asarray(each, np.float64)[counts] for each in (*read, weight))
    if z.shape[-1] == 1:  # a yes or no is one of the classes of logits (0, z)
        z, y = np.append(0 * z, z, -1), np.append(1 - y, y, -1)
    z = z - z.max(-1, keepdims=True)
    size = np.abs(z).max(initial=np.finfo(float).tiny)
    z = z / size

    def slope(sharpness: float) -> float:
        """∂(Σ w ℓ)/∂(1/T), which rises with 1/T: the cost is convex in it."""
        p = np.exp(sharpness * z)
        p /= p.sum(-1, keepdims=True)
        return float((weight * ((p - y) * z).sum(-1)).sum())

    if slope(0.0) >= 0 or not (weight * (y * z).sum(-1)).any():
        raise ValueError(
            "fit_temperature expected logits that favour the true class on average, but not in each row, got "
            f"{'logits that favour it no more than the others' if slope(0.0) >= 0 else 'each row right'}: no "
            "temperature is best. Give more rows that were not trained on."
        )
    low, high = 0.0, 1.0
    while slope(high) < 0:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(size / high)
