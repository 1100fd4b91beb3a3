"""Rules that came of Adam and change one part of its formula: decay, the largest gradient, a look ahead.

    adamw      fixes: a decay in the gradient is divided by √v̂, so that it hardly depends on its number
    adamax     fixes: √v̂ of a rare large gradient lets steps grow beyond α; the largest of late does not
    nadam      fixes: m̂ looks back; with the gradient of this step in it, it looks one step ahead

θ parameters, g gradient, α learning rate; m, v, m̂, v̂ as in `adam`; everything is per entry.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import BELOW_1
from fnn.optimizers.adaptive import adam_init, adam_update
from fnn.optimizers.rule import Optimizer, RuleState, correction, for_each_array, init_state, root
from fnn.optimizers.scheduled import check_rule_numbers, make_rule
from fnn.optimizers.transformations import pull_to_zero

__all__ = ["adamax", "adamw", "nadam"]


# AdamW -------------------------------------------------------------------------------------------


def adamw(
    learning_rate: ArrayLike = 0.001,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.01,
) -> Optimizer:
    """Adam, and beside it a pull to zero that its moments do not see: Δ = Δ_adam − αλθ.

    Fixes decay before Adam, where λ hardly decides how far a weight is pulled. What is named `bias`, `scale`,
    `offset` or `table` is spared. The rate multiplies the decay, as in PyTorch, Keras and Optax; their λ are
    0.01, 0.004 and 0.0001. Loshchilov & Hutter 2019, Algorithm 2.

    >>> rule, weight = adamw(0.5, weight_decay=0.1), {"weight": jnp.array([4.0])}
    >>> updates, _ = rule.update({"weight": jnp.array([2.0])}, rule.init(weight), weight)
    >>> updates["weight"].round(4)                                           # −0.5 · (1 + 0.1 · 4)
    Array([-0.7], dtype=float32)

    Raises ValueError for a number that is negative or not finite, a β outside [0, 1), or where `update` is
    given no params.
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    numbers["weight_decay"] = weight_decay
    check_rule_numbers("adamw", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(adam_init, adamw_update, numbers)


def adamw_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = Δ_adam − αλθ."""
    return pull_to_zero("adamw", adam_update, grads, state, params)


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
    return make_rule(_adamax_init, adamax_update, numbers)


def _adamax_init(params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    return init_state(params, numbers, m=0.0, u=0.0)


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
    return make_rule(adam_init, nadam_update, numbers)


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
