"""Penalties: what large parameters cost, for `fit(penalty=…)` and `fnn.loss`.

Each gives a function of the trained parameters, its numbers bound as leaves: another rate compiles nothing.
What is named `bias`, `scale`, `offset` or `table` is spared, unless `spared_rate` gives it a rate too.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import TO_1, check_numbers
from fnn.guard.trees import spared_by_name

__all__ = ["elastic", "l1", "l2"]


def l1(rate: ArrayLike, spared_rate: ArrayLike = 0.0) -> Partial:
    """λ Σ |θ|: a pull of the same strength on every weight, which ends at 0 (the lasso).

    Its gradient is λ·sign θ, and 0 at 0. What is spared by its name has the rate `spared_rate`. Tibshirani
    1996. Raises ValueError for a rate that is not finite, or below 0.

    >>> l1(0.1)({"weight": jnp.array([2.0, -3.0]), "bias": jnp.array([9.0])})      # 0.1 · (2 + 3)
    Array(0.5, dtype=float32)
    """
    numbers = {"rate": rate, "spared_rate": spared_rate}
    check_numbers("l1", numbers)
    return Partial(l1_penalty, **numbers)


def l1_penalty(params: chex.ArrayTree, rate: ArrayLike, spared_rate: ArrayLike) -> jax.Array:
    """λ Σ |θ|."""
    return _total(_size, params, rate, spared_rate)


def l2(rate: ArrayLike, spared_rate: ArrayLike = 0.0) -> Partial:
    """½λ Σ θ²: a pull on every weight in proportion to it (ridge regression).

    Its gradient is λθ, which an adaptive rule rescales as the rest of the gradient: the decay of `adamw` is
    another. What is spared by its name has the rate `spared_rate`. Hoerl & Kennard 1970. Raises ValueError
    for a rate that is not finite, or below 0.

    >>> l2(0.1)({"weight": jnp.array([2.0, -4.0]), "bias": jnp.array([9.0])})      # 0.1 · (4 + 16) / 2
    Array(1., dtype=float32)
    """
    numbers = {"rate": rate, "spared_rate": spared_rate}
    check_numbers("l2", numbers)
    return Partial(l2_penalty, **numbers)


def l2_penalty(params: chex.ArrayTree, rate: ArrayLike, spared_rate: ArrayLike) -> jax.Array:
    """½λ Σ θ²."""
    return _total(_half_square, params, rate, spared_rate)


def elastic(rate: ArrayLike, l1_ratio: ArrayLike = 0.5, spared_rate: ArrayLike = 0.0) -> Partial:
    """λ (ρ Σ |θ| + ½(1 − ρ) Σ θ²): `l1` where the ratio ρ is 1, `l2` where it is 0.

    Of weights that do the same, `l1` keeps one and this all. What is spared by its name has the rate
    `spared_rate`. Zou & Hastie 2005. Raises ValueError for a rate that is not finite, or below 0, and for a
    ratio outside [0, 1].

    >>> elastic(0.1, 0.5)({"weight": jnp.array([2.0, -4.0])})                      # 0.1 · (6/2 + 20/4)
    Array(0.8, dtype=float32)
    """
    numbers = {"rate": rate, "l1_ratio": l1_ratio, "spared_rate": spared_rate}
    check_numbers("elastic", numbers, l1_ratio=TO_1)
    return Partial(elastic_penalty, **numbers)


def elastic_penalty(
    params: chex.ArrayTree, rate: ArrayLike, l1_ratio: ArrayLike, spared_rate: ArrayLike
) -> jax.Array:
    """λ (ρ Σ |θ| + ½(1 − ρ) Σ θ²)."""

    def of(theta: jax.Array) -> Any:
        return l1_ratio * _size(theta) + (1 - l1_ratio) * _half_square(theta)

    return _total(of, params, rate, spared_rate)


def _size(theta: jax.Array) -> jax.Array:
    """Σ |θ|, with slope 0 at 0: jnp.abs has 1 there, and would move a weight that is nothing."""
    return (theta * jnp.sign(theta)).sum()


def _half_square(theta: jax.Array) -> jax.Array:
    return 0.5 * (theta**2).sum()


def _total(
    of: Callable[[jax.Array], Any], params: chex.ArrayTree, rate: ArrayLike, spared_rate: ArrayLike
) -> jax.Array:
    """Σ λ·of(θ) over all arrays, in float32 at least."""
    total = jnp.zeros((), jnp.float32)
    for path, theta in jax.tree_util.tree_leaves_with_path(params):
        wide = theta.astype(jnp.promote_types(theta.dtype, jnp.float32))
        total += (spared_rate if spared_by_name(path) else rate) * of(wide)
    return total
