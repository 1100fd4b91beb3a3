"""Costs for numbers whose noise is not a normal one of fixed width: wild targets, quantiles, counts, a
variance that is learned too.

Each takes the mean over every axis of the targets, weighted over the leading axes by `sample_weight`,
and raises ValueError for shapes that do not fit. Under each cost is its slope, ∂c/∂ŷ.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, Span, refuse
from fnn.losses.mean import mean_slope, read_alike, read_error, read_pair, weighted_mean, without_weightless
from fnn.losses.targets import Pair, Takes, check_same_shape

__all__ = ["gaussian_nll", "log_cosh", "poisson", "quantile"]


def check_counts(pair: Pair) -> None:
    """Refuse targets of another shape, and those below 0."""
    check_same_shape(pair)
    refuse(
        f"{pair.cost}: {pair.called}", pair.targets, lambda y: y < 0, "counts, at least 0",
        "Quantities of either sign go with fnn.mse.", pair.sample_weight,
    )  # fmt: skip


def check_mean_and_variance(pair: Pair) -> None:
    """Refuse predictions that are not two numbers for each target, side by side on the last axis."""
    p, t = pair.predictions.shape, pair.targets.shape
    if t and p == (*t[:-1], 2 * t[-1]):
        return
    if p == (*t, 2):
        fix = "Give the targets an axis of outputs, targets[..., None]."
    elif t:
        fix = f"End the network in fnn.dense({2 * t[-1]}): the means, then the logarithms of the variances."
    else:
        fix = "Give the targets an axis of outputs."
    found = f"predictions have shape {p}, {pair.called} {t}"
    raise ValueError(f"{pair.cost} expected two predictions for each target, {found}. {fix}")


BETWEEN_0_AND_1 = Span("0 < {} < 1", lambda n: (n > 0) & (n < 1))
LOG_COSH = Takes("log_cosh", check_same_shape)
QUANTILE = Takes("quantile", check_same_shape, {"q": BETWEEN_0_AND_1})
POISSON = Takes("poisson", check_counts)
GAUSSIAN_NLL = Takes("gaussian_nll", check_mean_and_variance, {"variance_floor": ABOVE_0})


def log_cosh(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """The mean of log cosh(ŷ − y): ½e² near the target, |e| − log 2 far from it, e = ŷ − y.

    As `huber`, and smooth everywhere: its slope is tanh e. Green 1990.

    >>> log_cosh(jnp.log(jnp.array([1.0, 2.0])), jnp.zeros(2)).round(4)     # (0 + log 5/4) / 2
    Array(0.1116, dtype=float32)
    """
    error = read_error(LOG_COSH, predictions, targets, sample_weight)
    distance = jnp.abs(error)
    near = distance < 1  # the far form would round small costs to 0, the near one would overflow
    close, far = jnp.where(near, error, 0), jnp.where(near, 1, distance)
    bowl = jnp.log1p(2 * jnp.sinh(close / 2) ** 2)
    lines = far + jnp.log1p(jnp.exp(-2 * far)) - math.log(2)
    return weighted_mean(jnp.where(near, bowl, lines), sample_weight)


def log_cosh_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂ŷ = tanh(ŷ − y)/n."""
    error = read_error(LOG_COSH, predictions, targets, sample_weight)
    return jnp.tanh(error) * mean_slope(error, sample_weight)


def quantile(
    predictions: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    q: ArrayLike = 0.5,
) -> jax.Array:
    """The cost under which the q-quantile is the best constant (pinball loss): with e = ŷ − y, the mean of

        (1 − q)·e     where e > 0: ŷ is too large
        q·|e|         elsewhere

    q = ½ is half of `mae`. `q` is a number, or an array of one an output: several quantiles of one target
    y (n, 1) are learned at once with jnp.repeat(y, len(q), 1). The slope at e = 0 is 0. Koenker & Bassett
    1978. Raises ValueError for a q outside 0 < q < 1, and for an array of another length.

    >>> quantile(jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0]), q=0.75)      # (0.25 · 1 + 0.75 · 2) / 2
    Array(0.875, dtype=float32)
    """
    error = read_error(QUANTILE, predictions, targets, sample_weight, q=q)
    return weighted_mean(_tilt(error, q) * error, sample_weight)


def quantile_slope(predictions: Any, targets: Any, sample_weight: Any = None, q: Any = 0.5) -> jax.Array:
    """∂c/∂ŷ = (1 − q)/n where ŷ > y, −q/n where ŷ < y."""
    error = read_error(QUANTILE, predictions, targets, sample_weight)
    return _tilt(error, q) * mean_slope(error, sample_weight)


def _tilt(error: jax.Array, q: ArrayLike) -> jax.Array:
    """The slope of both lines, and 0 where they meet."""
    q = one_an_output("quantile: q", q, error)
    return jnp.where(error > 0, 1 - q, jnp.where(error < 0, -q, 0))


def one_an_output(name: str, number: ArrayLike, values: jax.Array) -> jax.Array:
    """A number for all outputs, or an array of one for each, spread over the values (…, outputs)."""
    number = jnp.asarray(number, values.dtype)
    if number.shape not in ((), values.shape[-1:]):
        expected = f"a number, or one an output, of shape {values.shape[-1:]}"
        raise ValueError(f"{name} expected {expected}, got shape {number.shape}.")
    return jnp.broadcast_to(number, values.shape)


def poisson(predictions: ArrayLike, targets: ArrayLike, sample_weight: ArrayLike | None = None) -> jax.Array:
    """Negative log-likelihood of counts y = 0, 1, 2, … of rate eᶻ, without log y!: the mean of eᶻ − y·z.

    The prediction z is the logarithm of the rate, any real number; jnp.exp makes the rate of it. A perfect
    prediction, z = log y, costs y − y·log y, not 0. eᶻ overflows in float32 from z = 88.73: value and slope
    are ∞ there. Targets may be fractions. McCullagh & Nelder 1989, §6.2.
    Raises ValueError for shapes that differ, and for targets below 0.

    >>> poisson(jnp.log(jnp.array([1.0, 2.0])), jnp.array([3, 0]))          # (1 − 3·0 + 2 − 0) / 2
    Array(1.5, dtype=float32)
    """
    z, y = read_alike(POISSON, predictions, targets, sample_weight)
    return weighted_mean(jnp.exp(z) - y * z, sample_weight)


def poisson_slope(predictions: Any, targets: Any, sample_weight: Any = None) -> jax.Array:
    """∂c/∂z = (eᶻ − y)/n."""
    z, y = read_alike(POISSON, predictions, targets, sample_weight)
    return (jnp.exp(z) - y) * mean_slope(z, sample_weight)


def gaussian_nll(
    predictions: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    variance_floor: ArrayLike = 1e-6,
) -> jax.Array:
    """Negative log-likelihood of a normal y of predicted mean and variance, without ½log 2π: the mean of

        ½(s + (μ − y)²·e⁻ˢ)        ŷ: (…, 2·outputs) holds the means μ, then s = log σ²    y: (…, outputs)

    so that a network learns where it is unsure: μ, s = jnp.split(ŷ, 2, −1), σ = jnp.exp(s / 2). A variance
    below `variance_floor` (a number, or one an output) counts as the floor, where the slope in s is 0: else
    a target that is hit exactly would drive the cost to −∞. Scale the targets, or the floor to them.
    Nix & Weigend 1994. Raises ValueError for shapes that do not fit, and for a floor that is not above 0.

    >>> gaussian_nll(jnp.array([[3.0, jnp.log(4.0)]]), jnp.array([[1.0]])).round(4)     # (log 4 + 2²/4) / 2
    Array(1.1931, dtype=float32)
    """
    error, s, _ = _read_normal(predictions, targets, sample_weight, variance_floor)
    return weighted_mean(0.5 * (s + error**2 * jnp.exp(-s)), sample_weight)


def gaussian_nll_slope(
    predictions: Any, targets: Any, sample_weight: Any = None, variance_floor: Any = 1e-6
) -> jax.Array:
    """∂c/∂μ = (μ − y)·e⁻ˢ/n, and ∂c/∂s = ½(1 − (μ − y)²·e⁻ˢ)/n above the floor, 0 on it."""
    error, s, on_floor = _read_normal(predictions, targets, sample_weight, variance_floor)
    precision, share = jnp.exp(-s), mean_slope(error, sample_weight)
    widen = jnp.where(on_floor, 0, 0.5 * (1 - error**2 * precision))
    return jnp.concatenate([error * precision * share, widen * share], -1)


def _read_normal(
    predictions: Any, targets: Any, sample_weight: Any, variance_floor: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """μ − y, s = log σ² of at least the floor, and where it stands on the floor."""
    p, y = read_pair(GAUSSIAN_NLL, predictions, targets, sample_weight, variance_floor=variance_floor)
    y = y.astype(p.dtype)
    mean, s, y = (without_weightless(part, sample_weight) for part in (*jnp.split(p, 2, -1), y))
    floor = jnp.log(one_an_output("gaussian_nll: variance_floor", variance_floor, s))
    on_floor = s <= floor
    return mean - y, jnp.where(on_floor, floor, s), on_floor


SLOPES: dict[Any, Callable[..., jax.Array]] = {
    log_cosh: log_cosh_slope,
    quantile: quantile_slope,
    poisson: poisson_slope,
    gaussian_nll: gaussian_nll_slope,
}

TARGETS: dict[Any, Takes] = {
    log_cosh: LOG_COSH,
    quantile: QUANTILE,
    poisson: POISSON,
    gaussian_nll: GAUSSIAN_NLL,
}
