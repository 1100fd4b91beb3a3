"""Precision, recall or F1 as one number for several classes: three ways to take the mean."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.guard.numbers import check_number
from fnn.guard.words import unexpected
from fnn.losses.mean import weighted_mean
from fnn.losses.targets import Takes, check_decision
from fnn.metrics.rates import PARTS, SHARE, count_classes, ratio

__all__ = ["macro_average", "micro_average", "weighted_average"]


MACRO, MICRO, WEIGHTED = (
    Takes(name, check_decision) for name in ("macro_average", "micro_average", "weighted_average")
)


def macro_average(rate: Any) -> Partial:
    """A metric: the mean of the classes' precision, recall or F1, each class counted alike.

        mean over k of rateₖ        k: the classes that some row is of, or is taken for

    `rate` is precision_score, recall_score or f1_score, with a `zero_division` of its own if need be: nan
    leaves out a class where the rate is 0/0. Of yes-or-no targets both answers are classes. Logits and
    targets as in `accuracy`; a row with a NaN makes it NaN. Raises TypeError for another rate. The F1 of mean
    precision and mean recall (Sokolova & Lapalme 2009, table 3) is another number: Opitz & Burst 2019, whose
    averaged F1 this is.

    >>> from fnn import f1_score
    >>> macro_average(f1_score)(jnp.array([1.0, 1.0, 1.0, -1.0]), jnp.array([1, 0, 0, 0]))     # (½ + ½) / 2
    Array(0.5, dtype=float32)
    """
    return Partial(mean_over_classes, rate=_read_rate("macro_average", rate))


def weighted_average(rate: Any) -> Partial:
    """A metric: the mean of the classes' precision, recall or F1, each class counted by its rows.

        Σₖ #{y = k} · rateₖ / Σₖ #{y = k}

    All else as in `macro_average`. It is scikit-learn's average="weighted" (Pedregosa et al. 2011).

    >>> from fnn import f1_score
    >>> rows = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]), jnp.array([0, 0, 1])
    >>> weighted_average(f1_score)(*rows).round(4)                                # (2 · 4/5 + 1 · 0) / 3
    Array(0.5333, dtype=float32)
    """
    return Partial(mean_over_rows_of_classes, rate=_read_rate("weighted_average", rate))


def micro_average(rate: Any) -> Partial:
    """A metric: precision, recall or F1 of all classes' counts taken together.

        #{ŷ = y} / #{all rows}        which is the accuracy, for each of the three

    Precision, recall and F1 differ here only where a row may have several labels; there the metric is
    `f1_score(logits.ravel(), targets.ravel())`, each label a yes or no. All else as in `macro_average`.
    Sokolova & Lapalme 2009, table 3.

    >>> from fnn import f1_score
    >>> micro_average(f1_score)(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([0, 0]))
    Array(0.5, dtype=float32)
    """
    return Partial(rate_of_sums, rate=_read_rate("micro_average", rate))


def mean_over_classes(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None, *, rate: Partial
) -> jax.Array:
    """Mean over k of rateₖ."""
    scores, left_out, _ = _each_class(MACRO, rate, logits, targets, sample_weight)
    return weighted_mean(scores, ~left_out)


def mean_over_rows_of_classes(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None, *, rate: Partial
) -> jax.Array:
    """Σₖ #{y = k} · rateₖ / Σₖ #{y = k}."""
    scores, left_out, true = _each_class(WEIGHTED, rate, logits, targets, sample_weight)
    return weighted_mean(scores, jnp.where(left_out, 0, true))


def rate_of_sums(
    logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None, *, rate: Partial
) -> jax.Array:
    """The rate of Σₖ of the classes' counts."""
    counts = count_classes(MICRO, logits, targets, sample_weight)
    part, whole = PARTS[rate.func](*counts)
    return ratio(part.sum(), whole.sum(), rate.keywords.get("zero_division", 0.0))


def _read_rate(caller: str, rate: Any) -> Partial:
    others = set(getattr(rate, "keywords", {})) - {"zero_division"}
    if getattr(rate, "func", rate) not in PARTS or getattr(rate, "args", None) or others:
        expected = "fnn.precision_score, fnn.recall_score or fnn.f1_score, with a zero_division at most"
        raise TypeError(unexpected(f"{caller}: rate", expected, rate))
    rate = as_partial(rate)
    check_number(caller, "zero_division", rate.keywords.get("zero_division", 0.0), SHARE)
    return rate


def _each_class(
    takes: Takes, rate: Partial, logits: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The rate of each class (K,), which classes are left out, and how many rows are of each."""
    hit, true, taken = count_classes(takes, logits, targets, sample_weight)
    part, whole = PARTS[rate.func](hit, true, taken)
    zero_division = jnp.asarray(rate.keywords.get("zero_division", 0.0))
    left_out = (true + taken == 0) | ((whole == 0) & jnp.isnan(zero_division))
    return jnp.where(left_out, 0, ratio(part, whole, zero_division)), left_out, true


TARGETS: dict[Any, Takes] = {
    mean_over_classes: MACRO,
    mean_over_rows_of_classes: WEIGHTED,
    rate_of_sums: MICRO,
}
