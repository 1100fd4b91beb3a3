"""Rules that came of Adam and change how its step is measured.

    amsgrad    fixes: v may shrink, and the step grow again, where large gradients are rare
    radam      fixes: √v̂ of the first few steps varies so much that they need a warm-up
    lion       fixes: v costs as much memory as the weights; the sign of a mean needs none

θ parameters, g gradient, α learning rate; m, v, m̂, v̂ as in `adam`; everything is per entry.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import BELOW_1
from fnn.optimizers.adaptive import adam_corrections, adam_init
from fnn.optimizers.rule import Optimizer, RuleState, correction, for_each_array, init_state, root
from fnn.optimizers.scheduled import check_rule_numbers, make_rule
from fnn.optimizers.transformations import pull_to_zero

__all__ = ["amsgrad", "lion", "radam"]


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
    return make_rule(_amsgrad_init, amsgrad_update, numbers)


def _amsgrad_init(params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    return init_state(params, numbers, m=0.0, v=0.0, v_max=0.0)


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
    return make_rule(adam_init, radam_update, numbers)


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


# Lion --------------------------------------------------------------------------------------------


def lion(
    learning_rate: ArrayLike = 1e-4,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 0.0,
) -> Optimizer:
    """Steps of one size, by the sign of a mean: Δ = −α·sign(β₁m + (1 − β₁)g) − αλθ, then m ← β₂m + (1 − β₂)g.

    Fixes Adam's memory, one moment instead of two. Every entry moves by α, so rates are three to ten times
    smaller than Adam's, and λ as much larger. What is named `bias`, `scale`, `offset` or `table` is spared
    from decay. Chen et al. 2023, Program 1.

    >>> rule = lion(0.5)
    >>> rule.update({"bias": jnp.array([2.0, -3.0, 0.0])}, rule.init({"bias": jnp.zeros(3)}),
    ...             {"bias": jnp.zeros(3)})[0]
    {'bias': Array([-0.5,  0.5, -0. ], dtype=float32)}

    Raises ValueError for a number that is negative or not finite, a β outside [0, 1), or where `update` is
    given no params.
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "weight_decay": weight_decay}
    check_rule_numbers("lion", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(_lion_init, lion_update, numbers)


def _lion_init(params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    return init_state(params, numbers, m=0.0)


def lion_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = −α·sign(β₁m + (1 − β₁)g) − αλθ, m ← β₂m + (1 − β₂)g."""
    return pull_to_zero("lion", sign_update, grads, state, params)


def sign_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = −α·sign(β₁m + (1 − β₁)g), m ← β₂m + (1 − β₂)g."""

    def formula(
        g: jax.Array, m: jax.Array, *, learning_rate: jax.Array, b1: jax.Array, b2: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        change = -learning_rate * jnp.sign(b1 * m + (1 - b1) * g)
        return change, b2 * m + (1 - b2) * g

    return for_each_array(formula, grads, state)
