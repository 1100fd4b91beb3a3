"""Down the slope: gradient descent, and the same with a velocity.

    gradient_descent   a step against the gradient
    momentum           fixes: zigzag across a ravine, crawling along it
    nesterov           fixes: a velocity that overshoots, because it sees the slope too late

θ parameters, g gradient, α learning rate, μ momentum, v velocity.
"""

from typing import Any

import jax
from jax.typing import ArrayLike

from fnn.guard.numbers import BELOW_1
from fnn.optimizers.rule import Optimizer, RuleState, for_each_array, zeros
from fnn.optimizers.schedules import check_rule_numbers, make_rule

__all__ = ["gradient_descent", "momentum", "nesterov"]


# Gradient descent --------------------------------------------------------------------------------


def gradient_descent(learning_rate: ArrayLike = 0.01) -> Optimizer:
    """A step against the gradient: θ ← θ − αg.

    Cauchy 1847; on random batches, Robbins & Monro 1951.

    >>> rule = gradient_descent(0.5)
    >>> updates, _ = rule.update(jax.numpy.array([2.0]), rule.init(jax.numpy.array([1.0])))
    >>> updates                                                      # −0.5 · 2
    Array([-1.], dtype=float32)

    Raises ValueError for a learning rate that is negative or not finite.
    """
    numbers = {"learning_rate": learning_rate}
    check_rule_numbers("gradient_descent", numbers)
    return make_rule(zeros(), gradient_descent_update, numbers)


def gradient_descent_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = −αg."""

    def formula(g: jax.Array, *, learning_rate: jax.Array) -> tuple[jax.Array]:
        return (-learning_rate * g,)

    return for_each_array(formula, grads, state)


# Momentum ----------------------------------------------------------------------------------------


def momentum(learning_rate: ArrayLike = 0.01, momentum: ArrayLike = 0.9) -> Optimizer:
    """A ball rolling downhill: v ← μv + g, θ ← θ − αv.

    Fixes gradient descent in a ravine: what changes sign from step to step cancels in v, what keeps
    its sign adds up, to 1/(1 − μ) times the step. Polyak 1964.

    >>> rule = momentum(0.5, momentum=0.9)
    >>> state = rule.init(jax.numpy.array([1.0]))
    >>> _, state = rule.update(jax.numpy.array([2.0]), state)
    >>> rule.update(jax.numpy.array([2.0]), state)[0]                # −0.5 · (0.9 · 2 + 2)
    Array([-1.9], dtype=float32)

    Raises ValueError for a learning rate that is negative or not finite, or μ outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "momentum": momentum}
    check_rule_numbers("momentum", numbers, momentum=BELOW_1)
    return make_rule(zeros("velocity"), momentum_update, numbers)


def momentum_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """v ← μv + g, Δ = −αv."""

    def formula(
        g: jax.Array, v: jax.Array, *, learning_rate: jax.Array, momentum: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        v = momentum * v + g
        return -learning_rate * v, v

    return for_each_array(formula, grads, state)


# Nesterov ----------------------------------------------------------------------------------------


def nesterov(learning_rate: ArrayLike = 0.01, momentum: ArrayLike = 0.9) -> Optimizer:
    """Momentum that looks ahead: v ← μv + g, θ ← θ − α(g + μv).

    Fixes momentum's overshoot: the gradient is in effect taken where the velocity is about to
    carry θ, so a rising slope brakes one step earlier; but α must be smaller in the steepest direction.
    Nesterov 1983, in the form of Sutskever et al. 2013, eq. 3-4, for the looked-ahead parameters.

    >>> rule = nesterov(0.5, momentum=0.9)
    >>> rule.update(jax.numpy.array([2.0]), rule.init(jax.numpy.array([1.0])))[0]    # −0.5 · (2 + 0.9 · 2)
    Array([-1.9], dtype=float32)

    Raises ValueError for a learning rate that is negative or not finite, or μ outside [0, 1).
    """
    numbers = {"learning_rate": learning_rate, "momentum": momentum}
    check_rule_numbers("nesterov", numbers, momentum=BELOW_1)
    return make_rule(zeros("velocity"), nesterov_update, numbers)


def nesterov_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """v ← μv + g, Δ = −α(g + μv)."""

    def formula(
        g: jax.Array, v: jax.Array, *, learning_rate: jax.Array, momentum: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        v = momentum * v + g
        return -learning_rate * (g + momentum * v), v

    return for_each_array(formula, grads, state)
