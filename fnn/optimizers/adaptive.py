"""A step size for every parameter: the gradient, divided by how large it usually is.

    adagrad    fixes: one learning rate for parameters of very different slopes
    rmsprop    fixes: adagrad's steps only ever shrink, until it stands still
    adadelta   fixes: rmsprop's update has no unit, so a learning rate must be found for it
    adam       fixes: rmsprop's jumps uphill, and its first steps, when its average still holds zeros

θ parameters, g gradient, α learning rate; everything is per entry.
"""

from typing import Any

import chex
import jax
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, BELOW_1
from fnn.optimizers.rule import Optimizer, RuleState, correction, for_each_array, init_state, root, zeros
from fnn.optimizers.schedules import check_rule_numbers, make_rule

__all__ = ["adadelta", "adagrad", "adam", "rmsprop"]


# Adagrad -----------------------------------------------------------------------------------------


def adagrad(
    learning_rate: ArrayLike = 0.01,
    eps: ArrayLike = 1e-10,
    eps_root: ArrayLike = 0.0,
    initial: ArrayLike = 0.0,
) -> Optimizer:
    """Each step divided by all gradients so far: G ← G + g², θ ← θ − α·g / (√(G + ε_root) + ε).

    Fixes the one learning rate of the rules before: rare features, whose G is small, still learn. G starts
    at `initial`. Duchi et al. 2011, Fig. 1, diagonal. (Optax and Keras: ε_root = 1e-7, ε = 0, initial = 0.1.)

    >>> rule = adagrad(0.5)
    >>> rule.update(jax.numpy.array([2.0, -3.0]), rule.init(jax.numpy.zeros(2)))[0]      # −0.5 · g/|g|
    Array([-0.5,  0.5], dtype=float32)

    Raises ValueError for a number that is negative or not finite.
    """
    numbers = {"learning_rate": learning_rate, "eps": eps, "eps_root": eps_root, "initial": initial}
    check_rule_numbers("adagrad", numbers)
    return make_rule(_adagrad_init, adagrad_update, numbers)


def _adagrad_init(params: chex.ArrayTree, initial: ArrayLike, **numbers: ArrayLike) -> RuleState:
    return init_state(params, numbers, total=initial)


def adagrad_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """G ← G + g², Δ = −α·g / (√(G + ε_root) + ε)."""

    def formula(
        g: jax.Array, total: jax.Array, *, learning_rate: jax.Array, eps: jax.Array, eps_root: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        total = total + g**2
        return -learning_rate * g / (root(total + eps_root) + eps), total

    return for_each_array(formula, grads, state)


# RMSprop -----------------------------------------------------------------------------------------


def rmsprop(
    learning_rate: ArrayLike = 0.001,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    momentum: ArrayLike | None = None,
    centered: bool = False,
) -> Optimizer:
    """Adagrad that forgets: s ← ρs + (1 − ρ)g², θ ← θ − α·g / (√(s + ε_root) + ε).

    Fixes Adagrad's vanishing steps: a running mean of squares follows the slope of the last 1/(1 − ρ) steps.
    Tieleman & Hinton 2012, lecture 6e. Keras: ε_root = 1e-7, ε = 0. `centered` takes the square of the mean
    gradient off s. With `momentum` steps add up, v ← μv + g/(…), θ ← θ − αv. Graves 2013, eq. 38-41.

    >>> rule = rmsprop(0.5, decay=0.75)
    >>> rule.update(jax.numpy.array([2.0]), rule.init(jax.numpy.zeros(1)))[0]       # −0.5 · 2/√(0.25 · 4)
    Array([-1.], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or ρ or μ outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "decay": decay, "eps": eps, "eps_root": eps_root}
    if momentum is None and not centered:
        check_rule_numbers("rmsprop", numbers, decay=BELOW_1)
        return make_rule(zeros("mean_square"), rmsprop_update, numbers)
    numbers |= {"momentum": 0.0 if momentum is None else momentum, "centered": float(centered)}
    check_rule_numbers("rmsprop", numbers, decay=BELOW_1, momentum=BELOW_1)
    return make_rule(zeros("mean", "variance", "velocity"), rmsprop_momentum_update, numbers)


def rmsprop_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """s ← ρs + (1 − ρ)g², Δ = −α·g / (√(s + ε_root) + ε)."""

    def formula(
        g: jax.Array,
        s: jax.Array,
        *,
        learning_rate: jax.Array,
        decay: jax.Array,
        eps: jax.Array,
        eps_root: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        s = decay * s + (1 - decay) * g**2
        return -learning_rate * g / (root(s + eps_root) + eps), s

    return for_each_array(formula, grads, state)


def rmsprop_momentum_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """w ← ρw + (1 − ρ)(1 − c(1 − ρ))(g − cn)², n ← ρn + (1 − ρ)g, v ← μv + g / (√(w + ε_root) + ε), Δ = −αv.

    w is s − cn², c is 0 or 1: no difference of large squares, which would cost digits.
    """

    def formula(
        g: jax.Array,
        n: jax.Array,
        w: jax.Array,
        v: jax.Array,
        *,
        learning_rate: jax.Array,
        centered: jax.Array,
        decay: jax.Array,
        eps: jax.Array,
        eps_root: jax.Array,
        momentum: jax.Array,
    ) -> tuple[jax.Array, ...]:
        w = decay * w + (1 - decay) * (1 - centered * (1 - decay)) * (g - centered * n) ** 2
        n = decay * n + (1 - decay) * g
        v = momentum * v + g / (root(w + eps_root) + eps)
        return -learning_rate * v, n, w, v

    return for_each_array(formula, grads, state)


# Adadelta ----------------------------------------------------------------------------------------


def adadelta(learning_rate: ArrayLike = 1.0, decay: ArrayLike = 0.95, eps: ArrayLike = 1e-6) -> Optimizer:
    """Steps in the parameter's own units: Δ = −√(d + ε) / √(s + ε) · g, θ ← θ + αΔ,

        s ← ρs + (1 − ρ)g²        before Δ
        d ← ρd + (1 − ρ)Δ²        after it

    Fixes RMSprop's unitless step: Δ is scaled by the steps of late, so that α stays 1. It starts
    slowly: the first step is about √(ε / (1 − ρ)), whatever the slope. Zeiler 2012, Algorithm 1.

    >>> rule = adadelta(decay=0.75, eps=1.0)
    >>> rule.update(jax.numpy.array([2.0]), rule.init(jax.numpy.zeros(1)))[0]      # −1/√(0.25 · 4 + 1) · 2
    Array([-1.4142135], dtype=float32)

    Raises ValueError for a number that is negative or not finite, ε = 0, or ρ outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "decay": decay, "eps": eps}
    check_rule_numbers("adadelta", numbers, decay=BELOW_1, eps=ABOVE_0)  # from ε = 0 it would never start
    return make_rule(zeros("mean_square", "mean_square_update"), adadelta_update, numbers)


def adadelta_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """s ← ρs + (1 − ρ)g², Δ = −√(d + ε) / √(s + ε) · g, d ← ρd + (1 − ρ)Δ²."""

    def formula(
        g: jax.Array,
        s: jax.Array,
        d: jax.Array,
        *,
        learning_rate: jax.Array,
        decay: jax.Array,
        eps: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        s = decay * s + (1 - decay) * g**2
        change = -root(d + eps) / root(s + eps) * g
        d = decay * d + (1 - decay) * change**2
        return learning_rate * change, s, d

    return for_each_array(formula, grads, state)


# Adam --------------------------------------------------------------------------------------------


def adam(
    learning_rate: ArrayLike = 0.001,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
) -> Optimizer:
    """Momentum and RMSprop, both freed of their zero start: θ ← θ − α·m̂ / (√(v̂ + ε_root) + ε),

        m ← β₁m + (1 − β₁)g     m̂ = m / (1 − β₁ᵗ)      the mean of the gradient
        v ← β₂v + (1 − β₂)g²    v̂ = v / (1 − β₂ᵗ)      the mean of its square

    Fixes RMSprop's jumps (m averages, so fewer steps go uphill) and its first steps (t counts from 1,
    so the first is α, whatever the slope). Kingma & Ba 2015, Algorithm 1.

    >>> rule = adam(0.5)
    >>> rule.update(jax.numpy.array([2.0, -3.0]), rule.init(jax.numpy.zeros(2)))[0]    # −α · g/|g|
    Array([-0.5,  0.5], dtype=float32)

    Raises ValueError for a number that is negative or not finite, or a β outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    check_rule_numbers("adam", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "v"), adam_update, numbers)


def adam_corrections(state: RuleState) -> dict[str, Any]:
    """1 − β₁ᵗ and 1 − β₂ᵗ of this step, for `for_each_array`."""
    return {
        "m_correction": lambda numbers: correction(numbers["b1"], state.step + 1),
        "v_correction": lambda numbers: correction(numbers["b2"], state.step + 1),
    }


def adam_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², Δ = −α·m̂ / (√(v̂ + ε_root) + ε)."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        v: jax.Array,
        *,
        learning_rate: jax.Array,
        b1: jax.Array,
        b2: jax.Array,
        eps: jax.Array,
        eps_root: jax.Array,
        m_correction: jax.Array,
        v_correction: jax.Array,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / m_correction
        v_hat = v / v_correction
        return -learning_rate * m_hat / (root(v_hat + eps_root) + eps), m, v

    return for_each_array(formula, grads, state, **adam_corrections(state))
