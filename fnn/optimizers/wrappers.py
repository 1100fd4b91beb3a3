"""What holds a rule back: until all batches are in, where a gradient is not finite, on a plateau."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import FROM_1, TO_1, check_number, check_numbers
from fnn.guard.words import unexpected
from fnn.optimizers.rule import (
    Optimizer,
    RuleState,
    accepted,
    check_like,
    check_rule,
    init_as_partial,
    init_state,
)
from fnn.optimizers.schedules import ScheduledState

__all__ = ["accumulate", "reduce_on_plateau", "skip_not_finite"]


@functools.cache  # on the update inside alone, as in a chain
def _wrapped(function: Callable[..., Any], update: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partial(function, update)


# Several batches, one step ------------------------------------------------------------------------


class AccumulateState(NamedTuple):
    """The rule's state, and what has come since its last step: Σwg, Σw and how many batches."""

    batches: RuleState
    rule: Any


def accumulate(steps: ArrayLike, rule: Optimizer) -> Optimizer:
    """One step of a rule for each `steps` batches, by the mean of their gradients: g = Σwᵢgᵢ / Σwᵢ.

    It is the step of one large batch, in the memory of a small one. w is a batch's number of rows, or the sum
    of their weights, which `fit` hands on as `weight=`; in other loops each batch counts alike. In between
    the updates are 0, and the rule's schedules stand still. What is left over at the end of an epoch goes on
    in the next.

    >>> from fnn import gradient_descent
    >>> rule = accumulate(2, gradient_descent(1.0))
    >>> state, zero = rule.init(jnp.zeros(1)), jnp.zeros(1)
    >>> first, state = rule.update(jnp.array([1.0]), state, zero)
    >>> first, rule.update(jnp.array([3.0]), state, zero)[0]                              # −(1 + 3) / 2
    (Array([0.], dtype=float32), Array([-2.], dtype=float32))

    Raises ValueError for steps below 1, TypeError for what is no optimizer.
    """
    check_number("accumulate", "steps", steps, FROM_1)
    check_rule("accumulate: rule", rule)
    init = Partial(accumulate_init, init_as_partial(rule.init), steps=steps)
    return Optimizer(init, _wrapped(accumulate_update, rule.update))


def accumulate_init(init: Callable[..., Any], params: chex.ArrayTree, steps: ArrayLike) -> AccumulateState:
    """Nothing has come yet."""
    own = init_state(params, {"steps": steps}, gradients=0.0)
    zero = jnp.zeros((), jnp.float32)
    return AccumulateState(own._replace(moments={**own.moments, "weight": zero}), init(params))


def accumulate_update(
    update: Callable[..., Any],
    grads: Any,
    state: AccumulateState,
    params: Any = None,
    *,
    weight: ArrayLike = 1.0,
) -> tuple[Any, AccumulateState]:
    """Σwg ← Σwg + wg, Σw ← Σw + w; after enough batches a step of the rule by Σwg / Σw."""
    own = state.batches
    check_like("gradients", own.moments["gradients"], grads)
    summed = jax.tree.map(lambda s, g: s + weight * g.astype(s.dtype), own.moments["gradients"], grads)
    total = own.moments["weight"] + weight
    share = 1 / jnp.where(total == 0, 1, total)
    mean = jax.tree.map(lambda s: share * s, summed)
    is_full = own.step + 1 >= own.hyperparameters["steps"]

    def step() -> Any:
        return update(mean, state.rule, params)

    def wait() -> Any:
        return jax.tree.map(lambda u: jnp.zeros(u.shape, u.dtype), jax.eval_shape(step)[0]), state.rule

    updates, rule = jax.lax.cond(is_full, step, wait)
    kept = jax.tree.map(lambda s: jnp.where(is_full, 0, s), {"gradients": summed, "weight": total})
    count = jnp.where(is_full, 0, own.step + 1)
    return updates, AccumulateState(own._replace(step=count, moments=kept), rule)


# What is not finite -------------------------------------------------------------------------------


class SkipState(NamedTuple):
    """The rule's state, how many steps were skipped in all, and how many of late, one after the other."""

    skipped: jax.Array
    in_a_row: jax.Array
    rule: Any


def skip_not_finite(rule: Optimizer) -> Optimizer:
    """A rule that leaves out a step whose gradient or update is not finite: Δ = 0, and its state stays.

    For a rare bad batch, which would make all parameters NaN. In `fit` such a batch is left out of the
    epoch's cost, and moves no statistics; an epoch of nothing else ends the run. `state.skipped` counts.
    Around `accumulate` it leaves out a batch, inside it the sum of all. A run that often skips has a fault
    that this hides: `fit` without it says where.

    >>> from fnn import gradient_descent
    >>> rule = skip_not_finite(gradient_descent(1.0))
    >>> update, state = rule.update(jnp.array([1.0, jnp.nan]), rule.init(jnp.zeros(2)))
    >>> update, int(state.skipped)
    (Array([0., 0.], dtype=float32), 1)

    Raises TypeError for what is no optimizer.
    """
    check_rule("skip_not_finite: rule", rule)
    init = Partial(skip_init, init_as_partial(rule.init))
    return Optimizer(init, _wrapped(skip_update, rule.update))


def skip_init(init: Callable[..., Any], params: chex.ArrayTree) -> SkipState:
    """Nothing was skipped yet."""
    return SkipState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), init(params))


def skip_update(
    update: Callable[..., Any],
    grads: Any,
    state: SkipState,
    params: Any = None,
    *,
    weight: ArrayLike = 1.0,
    full_batch: bool = True,
    **extra: Any,
) -> tuple[Any, SkipState]:
    """The rule's step where g and Δ are finite, else none."""
    if not isinstance(state, SkipState):
        expected = "the state of a rule inside skip_not_finite, of its init or last update"
        raise TypeError(unexpected("skip_not_finite: update: state", expected, state))
    extra |= {"weight": weight, "full_batch": full_batch}
    updates, rule = update(grads, state.rule, params, **accepted(update, extra))
    numbers = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((grads, updates))]
    is_finite = functools.reduce(jnp.logical_and, numbers, jnp.bool_(True))
    updates = jax.tree.map(lambda u: jnp.where(is_finite, u, 0), updates)
    rule = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), rule, state.rule)
    in_a_row = jnp.where(is_finite, 0, state.in_a_row + 1)
    return updates, SkipState(state.skipped + ~is_finite, in_a_row, rule)


def count_skipped(state: Any) -> jax.Array | None:
    """How many steps were skipped so far, by an optimizer's state; None where none can be."""
    nodes = jax.tree.leaves(state, is_leaf=_is_skip)
    counts = [node.skipped for node in nodes if _is_skip(node)]
    return functools.reduce(jnp.add, counts) if counts else None


def _is_skip(node: Any) -> bool:
    return isinstance(node, SkipState)


# A cost that stands still -------------------------------------------------------------------------


class PlateauState(NamedTuple):
    """What an update is multiplied by, and the RuleState that decides it."""

    scale: jax.Array
    watch: RuleState


def reduce_on_plateau(
    factor: ArrayLike = 0.1, patience: ArrayLike = 10, steps: ArrayLike = 1, rtol: ArrayLike = 1e-4
) -> Optimizer:
    """Smaller steps once the cost stops falling: Δ ← scale · Δ, scale ← factor · scale at each plateau.

    A link after the rule. It looks at the mean cost of each `steps` steps: in `fit` give those of an epoch,
    ⌈n / batch_size⌉. A plateau is `patience` such means, one after the other, that are not below the lowest
    so far by the share rtol. The history has `scale`. (PyTorch waits for one more; Keras's rtol is absolute.)

    >>> rule = reduce_on_plateau(0.5, patience=2)
    >>> state = rule.init(jnp.zeros(1))
    >>> for cost in (1.0, 0.8, 0.8, 0.9):
    ...     update, state = rule.update(jnp.array([1.0]), state, value=jnp.float32(cost))
    >>> update, float(state.scale)
    (Array([0.5], dtype=float32), 0.5)

    Raises ValueError for a factor outside [0, 1], or patience or steps below 1.
    """
    numbers = {"factor": factor, "patience": patience, "steps": steps, "rtol": rtol}
    check_numbers("reduce_on_plateau", numbers, factor=TO_1, patience=FROM_1, steps=FROM_1)
    return Optimizer(Partial(plateau_init, **numbers), reduce_on_plateau_update)


def plateau_init(params: chex.ArrayTree, **numbers: ArrayLike) -> PlateauState:
    """Nothing was seen yet: any cost is lower than the lowest."""
    moments = dict.fromkeys(("stale", "total"), jnp.zeros((), jnp.float32))
    moments["lowest"] = jnp.asarray(jnp.finfo(jnp.float32).max, jnp.float32)
    return PlateauState(jnp.ones((), jnp.float32), init_state(params, numbers)._replace(moments=moments))


def reduce_on_plateau_update(
    updates: Any, state: PlateauState, params: Any = None, *, value: ArrayLike | None = None
) -> tuple[Any, PlateauState]:
    """scale · Δ."""
    if value is None or not isinstance(state, PlateauState):
        expected = "the cost and its own state: update(updates, state, params, value=cost)"
        raise TypeError(unexpected("reduce_on_plateau", expected, state if value is not None else value))
    numbers, seen = state.watch.hyperparameters, state.watch.moments
    count, total = state.watch.step + 1, seen["total"] + value
    is_full = count >= numbers["steps"]
    mean, lowest = total / count, seen["lowest"]
    is_lower = mean < lowest - numbers["rtol"] * jnp.abs(lowest)
    stale = jnp.where(is_full, jnp.where(is_lower, 0, seen["stale"] + 1), seen["stale"])
    is_plateau = stale >= numbers["patience"]
    scale = jnp.where(is_plateau, numbers["factor"], 1) * state.scale
    after = {
        "lowest": jnp.where(is_full & is_lower, mean, lowest),
        "stale": jnp.where(is_plateau, 0, stale),
        "total": jnp.where(is_full, 0, total),
    }
    after = {name: new.astype(seen[name].dtype) for name, new in after.items()}
    watch = state.watch._replace(step=jnp.where(is_full, 0, count), moments=after)
    scaled = jax.tree.map(lambda u: (scale * u).astype(u.dtype), updates)
    return scaled, PlateauState(scale.astype(state.scale.dtype), watch)


def changing_numbers(state: Any) -> dict[str, jax.Array]:
    """What a history records of an optimizer's state: numbers that follow a schedule, and `scale`."""
    found: dict[str, jax.Array] = {}
    for node in jax.tree.leaves(state, is_leaf=_changes):
        if isinstance(node, PlateauState):
            own = {"scale": node.scale}
        else:
            names = getattr(node, "schedules", ())
            own = {name: node.rule.hyperparameters[name] for name in names}
        for name, number in own.items():
            several = sum(other.partition(" ")[0] == name for other in found)
            found[f"{name} {several + 1}" if several else name] = number
    return found


def _changes(node: Any) -> bool:
    return isinstance(node, ScheduledState | PlateauState)
