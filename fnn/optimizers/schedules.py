"""Numbers of a rule that change with the step: `fnn.adam(fnn.cosine(0.01, steps=5000))`.

A schedule is a function of the step, t = 0 at the first, with its numbers bound by `jax.tree_util.Partial`.
They are leaves, so that others compile nothing. Any function of the step will do, Optax's schedules too.

    step_decay            α · factor^⌊t / steps⌋            exponential_decay    α · factor^(t / steps)
    polynomial_decay      a line to `end`, or a power       cosine               half a wave to `end`
    inverse_square_root   up a line, then as 1/√t

Those of several phases, a warm-up among them, are in phases.py.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, Span, check_numbers
from fnn.guard.words import Words, describe, name_of, shapes, unexpected
from fnn.optimizers.rule import Optimizer, RuleState

__all__ = ["ScheduledState", "cosine", "exponential_decay", "inverse_square_root", "make_rule"]
__all__ += ["polynomial_decay", "step_decay"]


def step_decay(value: ArrayLike, steps: ArrayLike, factor: ArrayLike) -> Partial:
    """By a factor at once after every `steps` steps, and constant between: value · factor^⌊t / steps⌋.

    It is `value` for the first `steps` steps. It goes on for ever. Ge et al. 2019.

    >>> rate = step_decay(0.5, steps=10, factor=0.25)
    >>> [float(rate(t)) for t in (0, 9, 10, 19, 20)]
    [0.5, 0.5, 0.125, 0.125, 0.03125]

    Raises ValueError for a negative value, or steps or a factor that are not above 0.
    """
    numbers = {"value": value, "steps": steps, "factor": factor}
    check_numbers("step_decay", numbers, steps=ABOVE_0, factor=ABOVE_0)
    return Partial(step_decay_at, **numbers)


def step_decay_at(t: Any, value: Any, steps: Any, factor: Any) -> jax.Array:
    """value · factor^⌊t / steps⌋."""
    # By the exact remainder: compiled, t / steps is t · (1 / steps), and at a change may round below it.
    times = jnp.floor_divide(t, jnp.asarray(steps, jnp.result_type(float)))
    return value * jnp.power(factor, times)


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
    over = left == 0  # a power below 1 has slope ∞ there
    return end + (value - end) * jnp.where(over, 0, jnp.power(jnp.where(over, 1, left), power))


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


def as_schedule(number: Any) -> Partial:
    """A schedule as it is, a function of the step without numbers, a number as a schedule that stays."""
    if isinstance(number, Partial):
        return number
    return Partial(number) if callable(number) else Partial(constant_at, value=number)


def constant_at(t: Any, value: Any) -> ArrayLike:
    """value."""
    return value


# A rule whose numbers follow schedules -----------------------------------------------------------


class ScheduledState(NamedTuple):
    """What a rule with schedules carries: `rule.hyperparameters` shows the numbers of its last step.

    `schedules` has the numbers of each schedule, by the name of the rule's number.
    """

    schedules: dict[str, dict[str, jax.Array]]
    rule: RuleState


def check_rule_numbers(where: str, numbers: dict[str, Any], **spans: Span) -> None:
    """Refuse wrong numbers of a rule; a function is a schedule, whose numbers are its own."""
    check_numbers(where, {name: n for name, n in numbers.items() if not callable(n)}, **spans)


def make_rule(init: Callable[..., Any], update: Callable[..., Any], numbers: dict[str, Any]) -> Optimizer:
    """The rule of two functions and these numbers, any of which may be a schedule.

        init(params, **numbers) → RuleState      update(grads, state, params) → updates, state

    `update` finds the numbers in `state.hyperparameters`; those of a schedule are what they are at this step.
    What is a schedule is structure, numbers are leaves: other numbers compile nothing.

    >>> def init(params, **numbers):
    ...     return RuleState(jnp.int32(0), jax.tree.map(jnp.float32, numbers), {})
    >>> def update(grads, state, params=None):
    ...     updates = jax.tree.map(lambda g: -state.hyperparameters["learning_rate"] * g, grads)
    ...     return updates, state._replace(step=state.step + 1)
    >>> rule = make_rule(init, update, {"learning_rate": lambda t: 1 / (t + 1)})
    >>> first, state = rule.update(jnp.array([2.0]), rule.init(jnp.zeros(1)))
    >>> first, rule.update(jnp.array([2.0]), state)[0]                                  # −1/1 · 2, −1/2 · 2
    (Array([-2.], dtype=float32), Array([-1.], dtype=float32))

    Raises ValueError for a function of the step that does not give one number.
    """
    schedules = {name: as_schedule(number) for name, number in numbers.items() if callable(number)}
    if not schedules:
        return Optimizer(Partial(init, **numbers), update)
    for name, schedule in schedules.items():
        value = jax.eval_shape(schedule, jnp.int32(0))
        if getattr(value, "shape", None) != ():
            expected = "a number, or a schedule: a function of the step that gives one"
            got = Words(f"{describe(numbers[name])}, which gives {shapes(value)}")
            raise ValueError(unexpected(f"{rule_name(update)}: {name}", expected, got))
    forms = tuple((name, jax.tree.structure(each), _names(each)) for name, each in schedules.items())
    begin = Partial(_scheduled_init, Partial(init), **(numbers | schedules))
    return Optimizer(begin, _scheduled(update, forms))


def _names(schedule: Partial) -> tuple[str, ...]:
    """A name for each number of a schedule: `steps`, or `after/steps` of one in it."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(schedule)]
    words = [[str(getattr(step, "key", "")) for step in path] for path in paths]
    named = ["/".join(word for word in own if word and not word.isdigit()) for own in words]
    return tuple(
        f"{name} {named[:i].count(name)}" if named.count(name) > 1 else name for i, name in enumerate(named)
    )


def _scheduled_init(init: Callable[..., Any], params: Any, **numbers: Any) -> ScheduledState:
    schedules = {name: number for name, number in numbers.items() if isinstance(number, Partial)}
    wide = jnp.result_type(float)
    now = {name: schedule(jnp.int32(0)) for name, schedule in schedules.items()}
    kept = {
        name: dict(zip(_names(schedule), (jnp.asarray(n, wide) for n in jax.tree.leaves(schedule))))
        for name, schedule in schedules.items()
    }
    return ScheduledState(kept, init(params, **(numbers | now)))


Form = tuple[str, Any, tuple[str, ...]]  # a rule's number, its schedule's functions, their numbers' names


@functools.cache  # on functions and names alone: other numbers are the same program
def _scheduled(update: Callable[..., Any], forms: tuple[Form, ...]) -> Callable[..., Any]:
    return functools.partial(scheduled_update, update, forms)


def scheduled_update(
    update: Callable[..., Any], forms: tuple[Form, ...], grads: Any, state: Any, params: Any = None
) -> tuple[Any, ScheduledState]:
    """The rule's update, by the schedules' values at this step."""
    if not isinstance(state, ScheduledState):
        expected = "the state of a rule with schedules, of this rule's init or last update"
        raise TypeError(unexpected("update: state", expected, state))
    numbers = dict(state.rule.hyperparameters)
    for name, structure, names in forms:
        own = state.schedules[name]
        schedule = jax.tree.unflatten(structure, [own[each] for each in names])
        numbers[name] = jnp.asarray(schedule(state.rule.step), numbers[name].dtype)
    updates, rule = update(grads, state.rule._replace(hyperparameters=numbers), params)
    return updates, state._replace(rule=rule)


def rule_inside(update: Any) -> Any:
    """Of an update by schedules that of the rule itself."""
    return update.args[0] if getattr(update, "func", None) is scheduled_update else update


def rule_name(update: Any) -> str:
    """What a rule is called: its update's name."""
    update = rule_inside(update)
    return name_of(getattr(update, "func", update)).removesuffix("_update")
