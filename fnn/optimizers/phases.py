"""Schedules of several phases: up at first, down at the end; round and round; one schedule after another.

    warmup      up a line, then another schedule     warmup_stable_decay   up a line, constant, down a line
    one_cycle   half a wave up, half a wave down     cosine_restarts       half a wave down, again and again
    piecewise   one number after another             join                  one schedule after another

As in schedules.py, t counts the updates made: 0 at the first.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, FROM_1, Span, check_numbers, is_traced
from fnn.guard.words import unexpected
from fnn.optimizers.schedules import as_schedule, cosine_at

__all__ = ["cosine_restarts", "join", "one_cycle", "piecewise", "warmup", "warmup_stable_decay"]

INSIDE = Span("0 < {} < 1", lambda n: (n > 0) & (n < 1))


# Numbers or schedules, one after the other ------------------------------------------------------


def piecewise(first: ArrayLike, changes: dict[int, float]) -> Partial:
    """A number that changes at given steps: `first`, and from step t on `changes[t]`.

        value(t) = first                    t below all steps of changes
                   changes[s]               s the last step in changes with s ≤ t

    >>> rate = piecewise(0.1, {100: 0.01})
    >>> float(rate(99)), float(rate(100))
    (0.10000000149011612, 0.009999999776482582)

    Raises ValueError where changes are none, not at whole steps from 1 on, or not in their order.
    """
    check_changes("piecewise", changes, "{step: number, …}")
    check_numbers("piecewise", {"first": first, **{f"changes[{s}]": v for s, v in changes.items()}})
    return Partial(piecewise_at, steps=tuple(map(float, changes)), values=(first, *changes.values()))


def piecewise_at(t: Any, steps: Any, values: Any) -> jax.Array:
    """The value of the last step that is not after t."""
    value = jnp.asarray(values[0], jnp.result_type(float))
    for step, following in zip(steps, values[1:]):
        value = jnp.where(t >= step, following, value)
    return value


def check_changes(where: str, changes: Any, kind: str) -> None:
    """Refuse what is no dict, and steps that are not whole, from 1 on and in their order."""
    steps = list(changes) if isinstance(changes, dict) else []
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in steps)
    if not steps or not whole or steps != sorted(steps):
        raise ValueError(unexpected(f"{where}: changes", f"{kind} at rising whole steps", changes))


def warmup(steps: ArrayLike, after: Any) -> Partial:
    """Up a line over the first `steps` steps, then another schedule or number: small steps while all is new.

        value(t) = after(0) · (t + 1) / (steps + 1)     t < steps
                   after(t − steps)                     from there on

    No step is lost: the first is 1/(steps + 1) of the whole. (Goyal et al. 2017, section 2.2.)

    >>> import fnn
    >>> rate = warmup(3, fnn.cosine(1.0, steps=4))
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


def join(first: Any, changes: dict[int, Any]) -> Partial:
    """Schedules or numbers, one after another: `first`, and from step s on `changes[s]`, which begins there.

        value(t) = first(t)                  t below all steps of changes
                   changes[s](t − s)         s the last step in changes with s ≤ t

    Every part counts from its own first step. It begins as `first` does and ends as the last part does. Of
    numbers alone it is `piecewise`.

    >>> import fnn
    >>> rate = join(0.5, {2: fnn.polynomial_decay(1.0, steps=4), 5: 0.125})
    >>> [float(rate(t)) for t in range(7)]
    [0.5, 0.5, 1.0, 0.75, 0.5, 0.125, 0.125]

    Raises ValueError where changes are none, not at whole steps from 1 on, or not in their order, TypeError
    for what is neither number nor schedule.
    """
    check_changes("join", changes, "{step: schedule or number, …}")
    parts = {"first": first, **{f"changes[{step}]": part for step, part in changes.items()}}
    check_numbers("join", {name: part for name, part in parts.items() if not callable(part)})
    first, *then = map(as_schedule, parts.values())
    return Partial(join_at, first=first, then=tuple(then), steps=tuple(map(float, changes)))


def join_at(t: Any, first: Any, then: Any, steps: Any) -> jax.Array:
    """The last part that has begun, at the steps since it began."""
    value = first(jnp.minimum(t, steps[0]))
    for part, begin, end in zip(then, steps, (*steps[1:], math.inf)):
        # No part is asked beyond its own steps: growing without end, it would make the derivative NaN.
        value = jnp.where(t < begin, value, part(jnp.clip(t, begin, end) - begin))
    return value


# Fixed forms -------------------------------------------------------------------------------------


def warmup_stable_decay(
    value: ArrayLike, steps: ArrayLike, warmup: ArrayLike, decay: ArrayLike, end: ArrayLike = 0.0
) -> Partial:
    """Up a line, constant, and at last down a line: a run can still be made longer while it is constant.

        value(t) = value · (t + 1) / (warmup + 1)                     t < warmup
                   value                                              warmup ≤ t ≤ steps − decay
                   end + (value − end) · (steps − t) / decay          steps − decay ≤ t ≤ steps

    It is value/(warmup + 1) at the first step, and `end` from step `steps` on. Warm-up and decay may be 0
    steps long. Zhai et al. 2022, section 3.5; Hu et al. 2024, 4.2 (their own decay, 6.2: exponential). With
    another way down it is warmup(warmup, join(value, {steps − warmup − decay: …})).

    >>> rate = warmup_stable_decay(1.0, steps=8, warmup=3, decay=2)
    >>> [float(rate(t)) for t in range(10)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]

    Raises ValueError for numbers that are negative, steps of 0, or fewer than warm-up and decay together.
    """
    numbers: dict[str, Any] = {"value": value, "steps": steps, "warmup": warmup, "decay": decay, "end": end}
    check_numbers("warmup_stable_decay", numbers, steps=ABOVE_0)
    both = numbers["warmup"] + numbers["decay"]
    if not is_traced((both, steps)) and both > steps:
        fix = "steps are those of the whole run, warm-up and decay among them."
        where = "warmup_stable_decay: warmup + decay"
        raise ValueError(unexpected(where, f"at most {steps}, the steps", both, fix))
    return Partial(warmup_stable_decay_at, **numbers)


def warmup_stable_decay_at(t: Any, value: Any, steps: Any, warmup: Any, decay: Any, end: Any) -> jax.Array:
    """value · (t + 1)/(warmup + 1), value, end + (value − end)(steps − t)/decay."""
    rising = value * (t + 1) / (jnp.asarray(warmup) + 1)
    left = jnp.clip((steps - t) / jnp.maximum(decay, 1), 0, 1)  # at whole steps, a decay of 0 is one of 1
    return jnp.where(t < warmup, rising, end + (value - end) * left)


def one_cycle(
    peak: ArrayLike,
    steps: ArrayLike,
    rise: ArrayLike = 0.3,
    start_factor: ArrayLike = 0.04,
    end: ArrayLike = 0.0,
) -> Partial:
    """Half a wave up to a peak, too high a rate for a whole run, and half a wave down, in `steps` steps.

        value(t) = half a wave from start_factor · peak to peak      t ≤ rise · steps
                   half a wave from peak to end                      from there on, until t = steps

    It is start_factor · peak at the first step, the peak at step rise · steps, and `end` from step `steps`
    on. Momentum often goes the other way: one_cycle(0.85, steps, start_factor=0.95 / 0.85, end=0.95). Smith &
    Topin 2018, section 3, go along lines; waves, and these defaults, are fastai's, PyTorch's and Optax's.

    >>> rate = one_cycle(1.0, steps=6, rise=1/3, start_factor=0.5)
    >>> [round(float(rate(t)), 3) for t in range(8)]
    [0.5, 0.75, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]

    Raises ValueError for numbers that are negative, steps of 0, or a rise that is not between 0 and 1.
    """
    numbers = {"peak": peak, "steps": steps, "rise": rise, "start_factor": start_factor, "end": end}
    check_numbers("one_cycle", numbers, steps=ABOVE_0, rise=INSIDE)
    return Partial(one_cycle_at, **numbers)


def one_cycle_at(t: Any, peak: Any, steps: Any, rise: Any, start_factor: Any, end: Any) -> jax.Array:
    """A cosine up over rise · steps, a cosine down over the rest."""
    top = rise * jnp.asarray(steps)
    up = cosine_at(t, start_factor * peak, top, peak)
    return jnp.where(t < top, up, cosine_at(t - top, peak, steps - top, end))


def cosine_restarts(
    value: ArrayLike, steps: ArrayLike, end: ArrayLike = 0.0, stretch: ArrayLike = 1.0
) -> Partial:
    """Half a wave from value to end, again and again, each `stretch` times as long as the one before.

        value(t) = end + ½(value − end)(1 + cos(π(t − bᵢ)/Tᵢ))          in period i = 0, 1, …
              bᵢ = steps · (1 + stretch + … + stretchⁱ⁻¹)               its first step
              Tᵢ = steps · stretchⁱ                                     its length

    It is `value` at the first step and again at every bᵢ, nearly `end` at the step before, and goes on for
    ever. A bᵢ between two steps restarts at the nearer one. Loshchilov & Hutter 2017, eq. 5, where steps and
    stretch are T₀ and T_mult.

    >>> rate = cosine_restarts(1.0, steps=2, stretch=2)
    >>> [round(float(rate(t)), 3) for t in range(8)]                  # periods of 2, 4, 8, …
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0, 0.962]

    Raises ValueError for numbers that are negative, or steps or a stretch below 1.
    """
    numbers = {"value": value, "steps": steps, "end": end, "stretch": stretch}
    check_numbers("cosine_restarts", numbers, steps=FROM_1, stretch=FROM_1)
    return Partial(cosine_restarts_at, **numbers)


def cosine_restarts_at(t: Any, value: Any, steps: Any, end: Any, stretch: Any) -> jax.Array:
    """`cosine` since bᵢ, over Tᵢ."""
    even = jnp.equal(stretch, 1)
    s = jnp.where(even, 2, stretch)  # 1 + s + … + sⁱ⁻¹ = (sⁱ − 1)/(s − 1), unless s = 1
    # Half a step more keeps whole restarts half a step away from where the floor jumps. float32 needs it: at
    # step 10⁵ it is 0.02 steps off.
    periods = (t + 0.5) / jnp.asarray(steps)
    i = jnp.floor(jnp.where(even, periods, jnp.log1p(periods * (s - 1)) / jnp.log(s)))
    equal = i + i * (i - 1) / 2 * (stretch - 1)  # the sum at s = 1, and its slope
    begin = steps * jnp.where(even, equal, jnp.expm1(i * jnp.log(s)) / (s - 1))
    return cosine_at(t - begin, value, steps * jnp.power(stretch, i), end)
