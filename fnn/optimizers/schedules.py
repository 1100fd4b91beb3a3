"""Numbers of a rule that change with the step: `fnn.adam(fnn.cosine(0.01, steps=5000))`.

A schedule is a function of the step, t = 0 at the first, with its numbers bound by `jax.tree_util.Partial`.
They are leaves, so that others compile nothing. Any function of the step will do, Optax's schedules too.

    piecewise             one number after another          exponential_decay    α · factor^(t / steps)
    polynomial_decay      a line to `end`, or a power        cosine               half a wave to `end`
    inverse_square_root   up a line, then as 1/√t            warmup               up a line, then another one
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, check_numbers
from fnn.guard.words import unexpected

__all__ = ["cosine", "exponential_decay", "inverse_square_root", "piecewise", "polynomial_decay", "warmup"]


def piecewise(first: ArrayLike, changes: dict[int, float]) -> Partial:
    """A number that changes at given steps: `first`, and from step t on `changes[t]`.

        value(t) = first                    t below all steps of changes
                   changes[s]               s the last step in changes with s ≤ t

    >>> rate = piecewise(0.1, {100: 0.01})
    >>> float(rate(99)), float(rate(100))
    (0.10000000149011612, 0.009999999776482582)

    Raises ValueError where changes are none, not at whole steps from 1 on, or not in their order.
    """
    steps = list(changes) if isinstance(changes, dict) else []
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in steps)
    if not steps or not whole or steps != sorted(steps):
        raise ValueError(unexpected("piecewise: changes", "{step: number, …} at rising whole steps", changes))
    check_numbers("piecewise", {"first": first, **{f"changes[{s}]": v for s, v in changes.items()}})
    values = (first, *changes.values())
    return Partial(piecewise_at, steps=tuple(map(float, steps)), values=tuple(values))


def piecewise_at(t: Any, steps: Any, values: Any) -> jax.Array:
    """The value of the last step that is not after t."""
    value = jnp.asarray(values[0], jnp.result_type(float))
    for step, following in zip(steps, values[1:]):
        value = jnp.where(t >= step, following, value)
    return value


def exponential_decay(value: ArrayLike, steps: ArrayLike, factor: ArrayLike) -> Partial:
    """By the same factor every `steps` steps, smoothly: value · factor^(t / steps), without end.

    >>> rate = exponential_decay(0.5, steps=10, factor=0.25)
    >>> float(rate(0)), float(rate(5)), float(rate(10))
    (0.5, 0.25, 0.125)

    Raises ValueError for a negative value, or steps or a factor that are not above 0.
    """
    numbers = {"value": value, "steps": steps, "factor": factor}
    check_numbers("exponential_decay", numbers, steps=ABOVE_0, factor=ABOVE_0)
    return Partial(exponential_decay_at, **numbers)


def exponential_decay_at(t: Any, value: Any, steps: Any, factor: Any) -> jax.Array:
    """value · factor^(t / steps)."""
    return value * jnp.power(factor, t / jnp.asarray(steps))


def polynomial_decay(
    value: ArrayLike, steps: ArrayLike, end: ArrayLike = 0.0, power: ArrayLike = 1.0
) -> Partial:
    """From value to end over `steps` steps, in a line or by a power: end + (value − end)(1 − t/steps)^power.

    It is `value` at the first step, and `end` from step `steps` on.

    >>> rate = polynomial_decay(1.0, steps=4, end=0.5)
    >>> float(rate(0)), float(rate(2)), float(rate(4)), float(rate(9))
    (1.0, 0.75, 0.5, 0.5)

    Raises ValueError for numbers that are negative, or steps or a power of 0.
    """
    numbers = {"value": value, "steps": steps, "end": end, "power": power}
    check_numbers("polynomial_decay", numbers, steps=ABOVE_0, power=ABOVE_0)
    return Partial(polynomial_decay_at, **numbers)


def polynomial_decay_at(t: Any, value: Any, steps: Any, end: Any, power: Any) -> jax.Array:
    """end + (value − end)(1 − t/steps)^power."""
    left = 1 - jnp.clip(t / jnp.asarray(steps), 0, 1)
    return end + (value - end) * jnp.power(left, power)


def cosine(value: ArrayLike, steps: ArrayLike, end: ArrayLike = 0.0) -> Partial:
    """From value to end over `steps` steps along half a wave: end + ½(value − end)(1 + cos(πt/steps)).

    It is `value` at the first step, and `end` from step `steps` on. Loshchilov & Hutter 2017, eq. 5, without
    restarts.

    >>> rate = cosine(1.0, steps=4)
    >>> [round(float(rate(t)), 3) for t in (0, 1, 2, 3, 4, 9)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Raises ValueError for numbers that are negative, or steps of 0.
    """
    numbers = {"value": value, "steps": steps, "end": end}
    check_numbers("cosine", numbers, steps=ABOVE_0)
    return Partial(cosine_at, **numbers)


def cosine_at(t: Any, value: Any, steps: Any, end: Any) -> jax.Array:
    """end + ½(value − end)(1 + cos(πt/steps))."""
    share = jnp.clip(t / jnp.asarray(steps), 0, 1)
    return end + (value - end) * (1 + jnp.cos(jnp.pi * share)) / 2


def inverse_square_root(value: ArrayLike, warmup: ArrayLike) -> Partial:
    """Up a line to value at step `warmup`, then as one over the root: value · min(t/warmup, √(warmup/t)).

    The step counts from 1 here, so that the first is not lost: t is 1 at the first step. Without end.
    Vaswani et al. 2017, eq. 3.

    >>> rate = inverse_square_root(1.0, warmup=4)
    >>> [round(float(rate(t)), 3) for t in (0, 1, 3, 15)]      # 1/4, 2/4, 4/4, √(4/16)
    [0.25, 0.5, 1.0, 0.5]

    Raises ValueError for a negative value, or a warm-up that is not above 0.
    """
    numbers = {"value": value, "warmup": warmup}
    check_numbers("inverse_square_root", numbers, warmup=ABOVE_0)
    return Partial(inverse_square_root_at, **numbers)


def inverse_square_root_at(t: Any, value: Any, warmup: Any) -> jax.Array:
    """value · min(t/warmup, √(warmup/t)), t from 1 on."""
    t = jnp.asarray(t, jnp.result_type(float)) + 1
    return value * jnp.minimum(t / warmup, jnp.sqrt(warmup / t))


def warmup(steps: ArrayLike, after: Any) -> Partial:
    """Up a line over the first `steps` steps, then another schedule or number: small steps while all is new.

        value(t) = after(0) · (t + 1) / (steps + 1)     t < steps
                   after(t − steps)                     from there on

    No step is lost: the first is 1/(steps + 1) of the whole. (Goyal et al. 2017, section 2.2.)

    >>> rate = warmup(3, cosine(1.0, steps=4))
    >>> [round(float(rate(t)), 3) for t in (0, 1, 2, 3, 4, 7)]
    [0.25, 0.5, 0.75, 1.0, 0.854, 0.0]

    Raises ValueError for steps that are not above 0, TypeError for what is neither number nor schedule.
    """
    check_numbers("warmup", {"steps": steps} | ({} if callable(after) else {"after": after}), steps=ABOVE_0)
    return Partial(warmup_at, steps=steps, after=as_schedule(after))


def warmup_at(t: Any, steps: Any, after: Any) -> jax.Array:
    """A line to after(0), then after(t − steps)."""
    rising = after(jnp.zeros_like(jnp.asarray(t))) * (t + 1) / (jnp.asarray(steps) + 1)
    return jnp.where(t < steps, rising, after(jnp.maximum(t - jnp.asarray(steps), 0)))


def as_schedule(number: Any) -> Partial:
    """A schedule as it is, a function of the step without numbers, a number as a schedule that stays."""
    if isinstance(number, Partial):
        return number
    return Partial(number) if callable(number) else Partial(constant_at, value=number)


def constant_at(t: Any, value: Any) -> ArrayLike:
    """value."""
    return value
