"""What every update rule shares: its state, its numbers, and the walk over the parameters."""

import functools
import inspect
from collections.abc import Callable, Set
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import is_traced
from fnn.guard.trees import check_params, check_same
from fnn.guard.words import describe, name_of, unexpected

__all__ = ["Optimizer", "RuleState", "apply_updates"]


class Optimizer(NamedTuple):
    """A rule that turns gradients into updates, as two pure functions.

        init(params)                         → state
        update(grads, state, params, **extra) → updates, state

    The protocol of Optax: rules of either library train in loops of the other.
    """

    init: Callable[..., Any]
    update: Callable[..., Any]


class RuleState(NamedTuple):
    """What a rule carries from step to step.

    `step` counts the updates made; `hyperparameters` are the rule's numbers, as arrays, so that
    another learning rate compiles nothing; `moments` are trees like the parameters, by name.
    """

    step: jax.Array
    hyperparameters: dict[str, jax.Array]
    moments: dict[str, chex.ArrayTree]


OWN = ("weight", "full_batch")  # arguments that Optax does not know, and refuses where it takes any


def accepted(function: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Of the extra arguments, those that the function takes."""
    takes = inspect.signature(function).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values())
    return {name: v for name, v in extra.items() if name in takes or (takes_any and name not in OWN)}


def apply_updates(params: chex.ArrayTree, updates: chex.ArrayTree) -> Any:
    """θ ← θ + Δ, each parameter in its own dtype; where the update is None, the parameter stays as it is.

    >>> apply_updates({"bias": jnp.array([1.0, 2.0])}, {"bias": jnp.array([0.5, -0.5])})
    {'bias': Array([1.5, 1.5], dtype=float32)}

    Raises ValueError for updates of another structure or shape.
    """
    moved = params
    if any(update is None for update in jax.tree.leaves(updates, is_leaf=_is_none)):
        moved = jax.tree.map(lambda u, p: None if u is None else p, updates, params, is_leaf=_is_none)
    check_like("updates", moved, updates)
    return jax.tree.map(
        lambda update, param: param if update is None else (param + update).astype(param.dtype),
        updates,
        params,
        is_leaf=_is_none,
    )


def init_as_partial(init: Callable[..., Any]) -> Partial:
    """A rule's init, whose numbers are leaves; that of another library as it is."""
    return init if isinstance(init, Partial) else Partial(init)


def init_state(params: chex.ArrayTree, numbers: dict[str, ArrayLike], **starts: ArrayLike) -> RuleState:
    """A state before the first step: each moment is a tree like `params`, full of its start.

    Numbers take the widest float that JAX has on; moments are at least float32, whatever the
    parameters are, so that small squares do not vanish.
    """
    check_params("optimizer.init", params)

    def full(start: ArrayLike) -> Any:
        return jax.tree.map(
            lambda p: jnp.full(p.shape, start, jnp.promote_types(p.dtype, jnp.float32)), params
        )

    return RuleState(
        step=jnp.zeros((), jnp.int32),
        hyperparameters={k: jnp.asarray(v, jnp.result_type(float)) for k, v in numbers.items()},
        moments={name: full(start) for name, start in starts.items()},
    )


@functools.cache  # one function for the same names: a rule's init is compared when it is compiled
def zeros(*names: str) -> Callable[..., RuleState]:
    """The init of a rule whose moments, by these names, are zeros like the parameters."""
    return functools.partial(_init_zeros, names)


def _init_zeros(names: tuple[str, ...], params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    return init_state(params, numbers, **dict.fromkeys(names, 0.0))


def for_each_array(
    formula: Callable[..., Any], grads: Any, state: RuleState, **once: Callable[[dict[str, Any]], jax.Array]
) -> tuple[Any, RuleState]:
    """Apply `formula(g, *moments, **numbers) → update, *moments` to every array of the gradients.

    `once` are more numbers for it, functions of the others: computed once a step, not for each array. In a
    compiled step the formula is traced once a shape: a deep network has many arrays, and few shapes.
    """
    takes = inspect.signature(formula).parameters
    own = {name for name, taken in takes.items() if taken.kind is taken.KEYWORD_ONLY}
    rule = formula.__qualname__.partition("_update")[0]
    check_rule_state(rule, state, own - set(once), moments=len(takes) - len(own) - 1)
    names = tuple(state.moments)
    for name in names:
        check_like("gradients", state.moments[name], grads)

    @functools.cache
    def numbers(dtype: Any) -> dict[str, jax.Array]:
        cast = {k: v.astype(dtype) for k, v in state.hyperparameters.items()}
        return cast | {k: compute(cast) for k, compute in once.items()}

    leaves, structure = jax.tree.flatten(grads)
    apply, results = jax.jit(formula) if is_traced(leaves) else formula, []
    for g, *memory in zip(leaves, *(jax.tree.leaves(state.moments[name]) for name in names)):
        dtype = memory[0].dtype if memory else jnp.promote_types(g.dtype, jnp.float32)
        results.append(apply(g.astype(dtype), *memory, **numbers(dtype)))
    columns = zip(*results) if results else [()] * (1 + len(names))
    updates, *moved = [jax.tree.unflatten(structure, column) for column in columns]
    return updates, state._replace(step=state.step + 1, moments=dict(zip(names, moved)))


def check_rule(where: str, rule: Any, fix: str = "") -> None:
    """Refuse what has no init and update: a rule that was not called, a number."""
    if not (hasattr(rule, "init") and hasattr(rule, "update")):
        fix = f"Call it: fnn.{name_of(rule)}(…)." if callable(rule) and not fix else fix
        raise TypeError(unexpected(where, "an optimizer such as fnn.adam()", rule, fix))


def check_rule_state(rule: str, state: Any, numbers: Set[str], moments: int = 0) -> None:
    """Refuse the state of another rule, and what is no state at all."""
    fix = "The order is update(grads, state, params), the state from this rule's init or its last update."
    if not all(hasattr(state, name) for name in RuleState._fields):
        raise TypeError(f"{rule}: update expected the state of the rule, got {describe(state)}. {fix}")
    if set(state.hyperparameters) != numbers or len(state.moments) != moments:
        raise ValueError(
            f"{rule}: update expected a state with the numbers {', '.join(sorted(numbers))}, got one with "
            f"{', '.join(sorted(state.hyperparameters))}, of another rule. {fix}"
        )


def check_untouched(rule: str, grads: Any, grad: Any) -> None:
    """Refuse a gradient that a link before the rule has changed: it is not that of the cost any more."""
    if grad is not None and any(a is not b for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(grad))):
        raise ValueError(
            f"{rule} looks along the cost, and a link before it has changed the gradient. Put clipping after "
            "it, or leave it out: its steps are never longer than the cost allows."
        )


def check_full_batch(rule: str, full_batch: bool) -> None:
    """Refuse a part of the rows, where a rule is made for all of them."""
    if not full_batch:
        raise ValueError(
            f"{rule} expected all rows in every step, got a batch of them: from one to the next the cost is "
            "another. Give batch_size=len(x), or take a rule for batches, such as fnn.adam()."
        )


def check_like(name: str, expected: Any, given: Any) -> None:
    """Refuse a tree with other places or shapes than the parameters: it would broadcast."""
    fix = "Gradients, optimizer.init and optimizer.update take the same tree, fnn.trained(params)."
    check_same(name, expected, given, fix)


def _is_none(value: Any) -> bool:
    return value is None


def root(x: jax.Array) -> jax.Array:
    """√x, with derivative 0 at 0 instead of ∞, so that an update can be differentiated there."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def correction(b: jax.Array, t: jax.Array) -> jax.Array:
    """1 − bᵗ, exact in float32 too, where 1 − b**t loses three digits at t = 1."""
    return -jnp.expm1(t.astype(b.dtype) * jnp.log(b))
