"""Rules that came of Adam and change one part of its formula.

    adamax     fixes: √v̂ of a rare large gradient lets steps grow beyond α; the largest of late does not
    nadam      fixes: m̂ looks back; with the gradient of this step in it, it looks one step ahead
    amsgrad    fixes: v may shrink, and the step grow again, where large gradients are rare
    radam      fixes: √v̂ of the first few steps varies so much that they need a warm-up

θ parameters, g gradient, α learning rate; m, v, m̂, v̂ as in `adam`; everything is per entry.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import BELOW_1
from fnn.optimizers.adaptive import adam_corrections
from fnn.optimizers.rule import Optimizer, RuleState, correction, for_each_array, root, zeros
from fnn.optimizers.schedules import check_rule_numbers, make_rule

__all__ = ["adamax", "amsgrad", "nadam", "radam"]


# Adamax ------------------------------------------------------------------------------------------


def adamax(
    learning_rate: ArrayLike = 0.002, b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-8
) -> Optimizer:
    """Adam divided by the largest gradient of late: u ← max(β₂u, |g| + ε), Δ = −α·m̂ / u.

    Fixes how √v fades: after one large gradient u falls by β₂ a step, and no step is longer than α. u needs
    no correction for its zero start. Kingma & Ba 2015, Algorithm 2. (Keras: ε in the denominator.)

    >>> rule = adamax(0.5)
    >>> rule.update(jnp.array([2.0, -3.0]), rule.init(jnp.zeros(2)))[0].round(4)    # −α · g/|g|
    Array([-0.5,  0.5], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or a β outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    check_rule_numbers("adamax", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "u"), adamax_update, numbers)


def adamax_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← β₁m + (1 − β₁)g, u ← max(β₂u, |g| + ε), Δ = −α·m̂ / u."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        u: jax.Array,
        *,
        learning_rate: jax.Array,
        b1: jax.Array,
        b2: jax.Array,
        eps: jax.Array,
        m_correction: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        m = b1 * m + (1 - b1) * g
        u = jnp.maximum(b2 * u, jnp.abs(g) + eps)
        m_hat = m / m_correction
        return -learning_rate * m_hat / jnp.where(u == 0, 1, u), m, u  # where u is 0, so is m

    correct = {"m_correction": lambda numbers: correction(numbers["b1"], state.step + 1)}
    return for_each_array(formula, grads, state, **correct)


# Nadam -------------------------------------------------------------------------------------------


def nadam(
    learning_rate: ArrayLike = 0.002,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
) -> Optimizer:
    """Adam whose mean looks a step ahead, as Nesterov's: Δ = −α·n / (√v̂ + ε),

        n = β₁m / (1 − β₁ᵗ⁺¹) + (1 − β₁)g / (1 − β₁ᵗ)

    Fixes Adam's late turns: g of this step counts as it will in the next m̂. Dozat 2016, Algorithm 2, with
    one β₁ for all steps. (PyTorch and Keras let β₁ grow over the first thousands of steps.)

    >>> rule = nadam(0.5, b1=0.5)
    >>> update, _ = rule.update(jnp.array([3.0]), rule.init(jnp.zeros(1)))
    >>> update.round(4)                                                   # −0.5 · (0.25 / 0.75 + 0.5 / 0.5)
    Array([-0.6667], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or a β outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    check_rule_numbers("nadam", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "v"), nadam_update, numbers)


def nadam_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², Δ = −α·n / (√v̂ + ε)."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        v: jax.Array,
        *,
        learning_rate: jax.Array,
        b1: jax.Array,
        b2: jax.Array,
        eps: jax.Array,
        g_correction: jax.Array,
        m_correction: jax.Array,
        v_correction: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        ahead = b1 * m / m_correction + (1 - b1) * g / g_correction
        return -learning_rate * ahead / (root(v / v_correction) + eps), m, v

    return for_each_array(
        formula,
        grads,
        state,
        g_correction=lambda numbers: correction(numbers["b1"], state.step + 1),
        m_correction=lambda numbers: correction(numbers["b1"], state.step + 2),
        v_correction=lambda numbers: correction(numbers["b2"], state.step + 1),
    )


# AMSGrad -----------------------------------------------------------------------------------------


def amsgrad(
    learning_rate: ArrayLike = 0.001, b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-8
) -> Optimizer:
    """Adam divided by the largest v so far: w ← max(w, v), Δ = −α·m̂ / (√(w / (1 − β₂ᵗ)) + ε).

    Fixes an Adam that forgets a rare large gradient, and then steps too far where it comes again. Reddi et
    al. 2018, Algorithm 2, with Adam's corrections, as in PyTorch. (Optax takes the largest v̂.)

    >>> rule = amsgrad(0.5)
    >>> rule.update(jnp.array([2.0, -3.0]), rule.init(jnp.zeros(2)))[0].round(4)    # −α · g/|g|
    Array([-0.5,  0.5], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or a β outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    check_rule_numbers("amsgrad", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "v", "v_max"), amsgrad_update, numbers)


def amsgrad_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², w ← max(w, v), Δ = −α·m̂ / (√(w / (1 − β₂ᵗ)) + ε)."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        v: jax.Array,
        v_max: jax.Array,
        *,
        learning_rate: jax.Array,
        b1: jax.Array,
        b2: jax.Array,
        eps: jax.Array,
        m_correction: jax.Array,
        v_correction: jax.Array,
    ) -> tuple[jax.Array, ...]:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_max = jnp.maximum(v_max, v)
        m_hat = m / m_correction
        return -learning_rate * m_hat / (root(v_max / v_correction) + eps), m, v, v_max

    return for_each_array(formula, grads, state, **adam_corrections(state))


# RAdam -------------------------------------------------------------------------------------------


def radam(
    learning_rate: ArrayLike = 0.001, b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-8
) -> Optimizer:
    """Adam with steps as long as its v̂ can be relied on: Δ = −α·r·m̂ / (√v̂ + ε), at first Δ = −α·m̂,

        ρ∞ = 2/(1 − β₂) − 1     ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ)      over how many gradients v is a mean
        r² = (ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ)             from ρ > 5 on

    Fixes the warm-up that Adam wants: r grows from 0 to 1 by itself. Liu et al. 2020, Algorithm 2; the
    threshold 5 is that of its authors' code.

    >>> rule = radam(0.5)
    >>> rule.update(jnp.array([2.0, -3.0]), rule.init(jnp.zeros(2)))[0].round(4)    # −α · g, at first
    Array([-1. ,  1.5], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or a β outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps}
    check_rule_numbers("radam", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "v"), radam_update, numbers)


def radam_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², Δ = −α·r·m̂ / (√v̂ + ε), or −α·m̂ while ρ ≤ 5."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        v: jax.Array,
        *,
        learning_rate: jax.Array,
        b1: jax.Array,
        b2: jax.Array,
        eps: jax.Array,
        m_correction: jax.Array,
        v_correction: jax.Array,
        rectifier: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / m_correction
        divided = rectifier * m_hat / (root(v / v_correction) + eps)
        return -learning_rate * jnp.where(rectifier > 0, divided, m_hat), m, v

    rectified = {"rectifier": lambda numbers: rectifier_of(numbers["b2"], state.step + 1)}
    return for_each_array(formula, grads, state, **adam_corrections(state), **rectified)


def rectifier_of(b2: jax.Array, t: jax.Array) -> jax.Array:
    """r of step t, 0 while ρ ≤ 5."""
    most = 2 / (1 - b2) - 1
    length = most - 2 * t * jnp.exp(t * jnp.log(b2)) / correction(b2, t)
    is_long = length > 5
    rho = jnp.where(is_long, length, 5)
    square = (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho)
    return jnp.where(is_long, jnp.sqrt(jnp.where(is_long, square, 1)), 0)
