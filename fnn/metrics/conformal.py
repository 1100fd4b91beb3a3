"""Intervals and sets that hold the truth as often as promised: split-conformal prediction.

A score says how badly a prediction fits a target. Among n held-out rows and a new one that are exchangeable,
the new score is as likely to be of any rank; so a new one does not exceed the ⌈(n + 1)·coverage⌉-th smallest
of the n with probability `coverage` or more, and at most 1/(n + 1) more where no scores are equal. It holds
for any network, on average over rows: not for each kind of row alone, nor for rows of another distribution.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.arrays import as_array
from fnn.guard.numbers import check_finite, check_number
from fnn.losses.distribution import BETWEEN_0_AND_1
from fnn.losses.mean import is_known_to_be_wide, read_error, read_pair
from fnn.losses.targets import Takes, check_classes, check_same_shape

__all__ = ["conformal_interval", "conformal_quantile", "conformal_set"]


INTERVAL = Takes("conformal_interval", check_same_shape)
SET = Takes("conformal_set", check_classes)


def conformal_quantile(scores: ArrayLike, coverage: float = 0.9) -> Any:
    """The score that a new row's does not exceed, with probability `coverage` at least.

        the ⌈(n + 1) · coverage⌉-th smallest of the scores (n, …), one for each column

    Any score will do, as long as it was not fitted on these rows: |y − ŷ|, or |y − ŷ|/σ of `gaussian_nll`.
    The interval is then all targets of no higher score. Raises ValueError for fewer rows than
    coverage/(1 − coverage), and for scores that are not finite. Lei et al. 2018, §2.2.

    >>> conformal_quantile(jnp.array([4.0, 1.0, 3.0, 2.0]), coverage=0.6)               # the 3rd of 4
    Array(3., dtype=float32)
    """
    check_number("conformal_quantile", "coverage", coverage, BETWEEN_0_AND_1)
    scores = as_array(scores, "conformal_quantile: scores")
    check_finite("conformal_quantile: scores", scores, "Leave the row out.")
    if not np.ndim(scores):
        raise ValueError("conformal_quantile: scores expected one a row, (n, …), got a single number.")
    n = np.shape(scores)[0]
    rank = math.ceil((n + 1) * coverage - 1e-9)  # 10 · 0.7 is 7.000000000000001
    if rank > n:
        least = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(
            f"conformal_quantile: a coverage of {coverage} needs {least} held-out rows or more, got {n}."
        )
    found = jnp.sort(jnp.asarray(scores), 0)[rank - 1]
    return jnp.where(jnp.isnan(jnp.asarray(scores)).any(0), jnp.nan, found)  # of traced scores


def conformal_interval(
    held_predictions: Any, held_targets: ArrayLike, predictions: Any, coverage: float = 0.9
) -> tuple[Any, Any]:
    """Bounds (low, high) for new rows that hold the target with probability `coverage` at least.

        ŷ ± q                  q: the conformal quantile of |y − ŷ| on held-out rows       predictions: (m, …)
        (l − q, h + q)         q: that of max(l − y, y − h)                 predictions: a pair (l, h) of them

    The first has one width everywhere. The second takes two quantiles that a network learned and moves them
    by as much as they were wrong (conformalised quantile regression), so its width follows the noise. Each
    output has its own q, and the coverage by itself. Held-out rows (n, …) were not trained on, nor used to
    choose anything. Raises ValueError for shapes that differ, and too few rows. Lei et al. 2018, alg. 2;
    Romano et al. 2019, alg. 1.

    >>> held, y_held = jnp.zeros(4), jnp.array([1.0, -2.0, 3.0, -4.0])
    >>> conformal_interval(held, y_held, jnp.array([10.0]), coverage=0.6)           # 10 ± 3
    (Array([7.], dtype=float32), Array([13.], dtype=float32))
    """
    is_pair = _is_pair(held_predictions)
    held, new = (given if _is_pair(given) else (given, given) for given in (held_predictions, predictions))
    below, above = (read_error(INTERVAL, one, held_targets, None) for one in held)
    q = conformal_quantile(jnp.maximum(below, -above), coverage)[None]
    low, high = (as_array(each, "conformal_interval: predictions") for each in new)
    if {np.shape(low)[1:], np.shape(high)[1:]} != {q.shape[1:]} or is_pair != _is_pair(predictions):
        raise ValueError(
            f"conformal_interval expected predictions like the held-out ones, of shape {_shapes(held)}, got "
            f"{_shapes(new)}: the same columns, and a pair beside a pair."
        )
    if is_known_to_be_wide(low, high, q):
        return low - np.asarray(q), high + np.asarray(q)  # float32 has no room for both
    return jnp.asarray(low) - q, jnp.asarray(high) + q


def _is_pair(given: Any) -> bool:
    """Whether these are lower and upper bounds, not one prediction a row."""
    return isinstance(given, tuple | list) and len(given) == 2 and all(map(np.ndim, given))


def _shapes(pair: Any) -> str:
    return " and ".join(dict.fromkeys(str(np.shape(each)) for each in pair))


def conformal_set(
    held_logits: ArrayLike, held_targets: ArrayLike, logits: ArrayLike, coverage: float = 0.9
) -> jax.Array:
    """Which classes a new row may have: a set that holds the true one with probability `coverage` at least.

        {k: 1 − softmax(z)ₖ ≤ q}        q: the conformal quantile of 1 − softmax(z)_y on held-out rows

    z: (n, K) and ids y: (n,) held out, new z: (m, K); returns truth values (m, K). No sets are smaller on
    average if the probabilities are right. A set of several says "one of these"; an empty one, that no class
    is probable enough, as for unsure rows at a low coverage. Raises ValueError for what
    `softmax_cross_entropy` refuses, for new logits of other classes or NaN, and for too few rows. Sadinle et
    al. 2019.

    >>> held, y = jnp.array([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 3.0]]), jnp.array([0, 1, 1, 1])
    >>> print(conformal_set(held, y, jnp.array([[0.0, 5.0], [0.2, 0.0]]), coverage=0.8))
    [[False  True]
     [ True  True]]
    """
    z, y = read_pair(SET, held_logits, held_targets, None)
    rows = jax.nn.softmax(z)
    truth = y if y.ndim < z.ndim else y.argmax(-1)
    truth = jnp.where(truth < 0, z.shape[-1], truth)[..., None]  # no class, if it turns out so, is NaN
    q = conformal_quantile(1 - jnp.take_along_axis(rows, truth, -1, mode="fill")[..., 0], coverage)
    new = jnp.asarray(as_array(logits, "conformal_set: logits"), rows.dtype)
    if new.shape[-1:] != z.shape[-1:]:
        raise ValueError(f"conformal_set expected logits of {z.shape[-1]} classes, got shape {new.shape}.")
    check_finite("conformal_set: logits", new, "A network that diverged predicts them.")
    return ~(1 - jax.nn.softmax(new) > q)  # where a number is not known, every class is possible
