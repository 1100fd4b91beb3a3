"""What every update rule shares: its state, its numbers, and the walk over the parameters."""

import inspect
from collections.abc import Callable, Set
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.words import describe, is_array

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


def apply_updates(params: chex.ArrayTree, updates: chex.ArrayTree) -> Any:
    """θ ← θ + Δ, each parameter in its own dtype; where the update is None it stays as it is.

    >>> apply_updates({"bias": jnp.array([1.0, 2.0])}, {"bias": jnp.array([0.5, -0.5])})
    {'bias': Array([1.5, 1.5], dtype=float32)}

    Raises ValueError for updates of another structure or shape.
    """
    moved = params
    if any(update is None for update in jax.tree.leaves(updates, is_leaf=_is_none)):
        moved = jax.tree.map(lambda u, p: None if u is None else p, updates, params, is_leaf=_is_none)
    check_same_tree("updates", updates, "parameters", moved)
    return jax.tree.map(
        lambda update, param: param if update is None else (param + update).astype(param.dtype),
        updates,
        params,
        is_leaf=_is_none,
    )


def fresh(params: chex.ArrayTree, numbers: dict[str, ArrayLike], **starts: ArrayLike) -> RuleState:
    """A state before the first step: each moment a tree like `params`, filled with its start.

    Numbers take the widest float that JAX has on; moments are at least float32, whatever the
    parameters are, so that small squares do not vanish.
    """

    check_arrays(params)

    def filled(start: ArrayLike) -> Any:
        return jax.tree.map(
            lambda p: jnp.full(p.shape, start, jnp.promote_types(p.dtype, jnp.float32)), params
        )

    return RuleState(
        step=jnp.zeros((), jnp.int32),
        hyperparameters={k: jnp.asarray(v, jnp.result_type(float)) for k, v in numbers.items()},
        moments={name: filled(start) for name, start in starts.items()},
    )


def for_each_array(formula: Callable[..., Any], grads: Any, state: RuleState) -> tuple[Any, RuleState]:
    """Apply `formula(g, *moments, **numbers) → update, *moments` to every array of the gradients."""
    check_state_for(formula, state)
    names = tuple(state.moments)
    for name in names:
        check_same_tree("gradients", grads, f"parameters of optimizer.init ({name})", state.moments[name])
    leaves, structure = jax.tree.flatten(grads)
    results = []
    for g, *own in zip(leaves, *(jax.tree.leaves(state.moments[name]) for name in names)):
        dtype = own[0].dtype if own else jnp.promote_types(g.dtype, jnp.float32)
        numbers = {k: v.astype(dtype) for k, v in state.hyperparameters.items()}
        results.append(formula(g.astype(dtype), *own, **numbers))
    columns = zip(*results) if results else [()] * (1 + len(names))
    updates, *moved = [jax.tree.unflatten(structure, column) for column in columns]
    return updates, state._replace(step=state.step + 1, moments=dict(zip(names, moved)))


def check_arrays(params: Any) -> None:
    """Refuse what a rule cannot learn: a network, a number, a run that holds its parameters."""
    whole, leaves = hasattr(params, "params"), jax.tree.leaves(params)
    if whole or not all(is_array(v) or isinstance(v, jax.ShapeDtypeStruct) for v in leaves):
        mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes it."
        raise TypeError(
            f"optimizer.init expected a tree of arrays, fnn.trained(params), got {describe(params)}. {mend}"
        )


def check_state_for(formula: Callable[..., Any], state: Any) -> None:
    """Refuse a state without the moments that a rule's formula takes by place, and its numbers by name."""
    takes = inspect.signature(formula).parameters
    numbers = {name for name, taken in takes.items() if taken.kind is taken.KEYWORD_ONLY}
    check_rule_state(
        formula.__qualname__.partition("_update")[0], state, numbers, len(takes) - len(numbers) - 1
    )


def check_rule_state(rule: str, state: Any, numbers: Set[str], moments: int = 0) -> None:
    """Refuse the state of another rule, and what is no state at all."""
    mend = "The order is update(grads, state, params), the state from this rule's init or its last update."
    if not all(hasattr(state, name) for name in RuleState._fields):
        raise TypeError(f"{rule}: update expected the state of the rule, got {describe(state)}. {mend}")
    if set(state.hyperparameters) != numbers or len(state.moments) != moments:
        raise ValueError(
            f"{rule}: update expected a state with the numbers {', '.join(sorted(numbers))}, got one with "
            f"{', '.join(sorted(state.hyperparameters))}, of another rule. {mend}"
        )


def check_same_tree(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Refuse trees that differ in structure or shapes: they would broadcast, or be taken apart wrongly."""
    structure: Any = jax.tree.structure(tree)
    if structure != jax.tree.structure(other):
        here, there = _places(tree), _places(other)
        raise ValueError(
            f"the {name} are another tree than the {other_name}: only the {name} have "
            f"{sorted(set(here) - set(there))}, only the {other_name} {sorted(set(there) - set(here))}. "
            "Gradients, optimizer.init and optimizer.update take the same tree, fnn.trained(params)."
        )
    for (place, shape), other_shape in zip(_places(tree).items(), _places(other).values()):
        if shape != other_shape:
            raise ValueError(
                f"the {name} at {place} have shape {shape}, the {other_name} {other_shape}: "
                "were they taken of other parameters?"
            )


def _places(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path) or "the root": jnp.shape(leaf) for path, leaf in leaves}


def _is_none(value: Any) -> bool:
    return value is None


def root(x: jax.Array) -> jax.Array:
    """√x, with derivative 0 at 0 instead of ∞, so that an update can be differentiated there."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def correction(b: jax.Array, t: jax.Array) -> jax.Array:
    """1 − bᵗ, exact in float32 too, where 1 − b**t loses three digits at t = 1."""
    return -jnp.expm1(t.astype(b.dtype) * jnp.log(b))
