"""A rule whose numbers may be schedules: each step, the rule is given their values at this step."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from fnn.guard.numbers import Span, check_numbers
from fnn.guard.words import Words, describe, shapes, unexpected
from fnn.optimizers.rule import Optimizer, RuleState
from fnn.optimizers.schedules import as_schedule

__all__ = ["ScheduledState"]


class ScheduledState(NamedTuple):
    """What a rule with schedules carries: `rule.hyperparameters` shows the numbers of its last step.

    `schedules` has the numbers of each schedule, by the name of the rule's number.
    """

    schedules: dict[str, dict[str, jax.Array]]
    rule: RuleState


Form = tuple[
    str, Any, tuple[str, ...]
]  # the rule's number, the schedule's functions, the names of its numbers


def check_rule_numbers(where: str, numbers: dict[str, Any], **spans: Span) -> None:
    """Refuse wrong numbers of a rule; a function is a schedule, whose numbers are its own."""
    check_numbers(where, {name: n for name, n in numbers.items() if not callable(n)}, **spans)


def make_rule(init: Callable[..., Any], update: Callable[..., Any], numbers: dict[str, Any]) -> Optimizer:
    """The rule of these numbers, some of which may be schedules. What is a schedule is structure."""
    schedules = {name: as_schedule(number) for name, number in numbers.items() if callable(number)}
    if not schedules:
        return Optimizer(Partial(init, **numbers), update)
    for name, schedule in schedules.items():
        value = jax.eval_shape(schedule, jnp.int32(0))
        if getattr(value, "shape", None) != ():
            expected = "a number, or a schedule: a function of the step that gives one"
            got = Words(f"{describe(numbers[name])}, which gives {shapes(value)}")
            raise ValueError(unexpected(f"{update.__name__.removesuffix('_update')}: {name}", expected, got))
    forms = tuple(
        (name, jax.tree.structure(schedule), _names(schedule)) for name, schedule in schedules.items()
    )
    return Optimizer(
        Partial(_scheduled_init, Partial(init), **(numbers | schedules)), _scheduled(update, forms)
    )


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
