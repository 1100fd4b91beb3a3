"""What stands beside a rule in a chain: clipping before it, decay and averages after it."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, TO_1
from fnn.guard.trees import as_patterns, first_of, matches, spared_by_name
from fnn.optimizers.rule import (
    Optimizer,
    RuleState,
    check_like,
    check_rule_state,
    correction,
    init_state,
    root,
)
from fnn.optimizers.schedules import check_rule_numbers, make_rule

__all__ = ["average", "clip", "clip_by_global_norm", "weight_decay"]


# Clipping ----------------------------------------------------------------------------------------


def clip(limit: ArrayLike) -> Optimizer:
    """Every entry of a gradient between −limit and limit: g ← min(max(g, −c), c).

    It turns the gradient: what is small stays as it is. `clip_by_global_norm` keeps the direction. NaN stays
    NaN. Mikolov 2012, section 3.2.2.

    >>> rule = clip(1.0)
    >>> rule.update(jnp.array([3.0, -4.0, 0.5]), rule.init(jnp.zeros(3)))[0]
    Array([ 1. , -1. ,  0.5], dtype=float32)

    Raises ValueError where the limit is not above 0.
    """
    check_rule_numbers("clip", {"limit": limit}, limit=ABOVE_0)
    return make_rule(clip_init, clip_update, {"limit": limit})


def clip_init(params: chex.ArrayTree, limit: ArrayLike) -> RuleState:
    """The limit alone."""
    return init_state(params, {"limit": limit})


def clip_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """min(max(g, −c), c)."""
    check_rule_state("clip", state, {"limit"})
    limit = state.hyperparameters["limit"]
    updates = jax.tree.map(lambda g: jnp.clip(g, -limit.astype(g.dtype), limit.astype(g.dtype)), grads)
    return updates, state._replace(step=state.step + 1)


def clip_by_global_norm(max_norm: ArrayLike) -> Optimizer:
    """A gradient no longer than `max_norm`: g ← g · min(1, max_norm / ‖g‖), ‖g‖ over all arrays together.

    Its direction stays. Pascanu et al. 2013, Algorithm 1.

    >>> rule = clip_by_global_norm(1.0)
    >>> rule.update(jnp.array([3.0, 4.0]), rule.init(jnp.zeros(2)))[0]              # ‖g‖ = 5
    Array([0.6, 0.8], dtype=float32)

    Raises ValueError where the norm is not above 0.
    """
    check_rule_numbers("clip_by_global_norm", {"max_norm": max_norm}, max_norm=ABOVE_0)
    return make_rule(clip_norm_init, clip_by_global_norm_update, {"max_norm": max_norm})


def clip_norm_init(params: chex.ArrayTree, max_norm: ArrayLike) -> RuleState:
    """The largest norm alone."""
    return init_state(params, {"max_norm": max_norm})


def clip_by_global_norm_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """g · min(1, max_norm / ‖g‖)."""
    check_rule_state("clip_by_global_norm", state, {"max_norm"})
    norm = global_norm(grads)
    limit = state.hyperparameters["max_norm"].astype(norm.dtype)
    too_long = norm > limit
    inverse, length = 1 / jnp.where(too_long, norm, 1), jnp.where(too_long, limit, 1)
    updates = jax.tree.map(lambda g: (length * (inverse * g)).astype(g.dtype), grads)
    return updates, state._replace(step=state.step + 1)


def global_norm(tree: Any) -> jax.Array:
    """‖g‖ over all arrays, in float32 at least, and in units of the largest entry: no square overflows."""
    wide = [g.astype(jnp.promote_types(g.dtype, jnp.float32)) for g in jax.tree.leaves(tree)]
    sizes = [jnp.max(jnp.abs(g), initial=0) for g in wide]
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, sizes, jnp.zeros((), jnp.float32)))
    unit = jnp.where(largest == 0, 1, largest)
    return unit * root(sum((jnp.sum((g / unit) ** 2) for g in wide), jnp.zeros((), jnp.float32)))


# Decay -------------------------------------------------------------------------------------------


def weight_decay(rate: ArrayLike, spare: tuple[str, ...] | None = None) -> Optimizer:
    """A pull of the weights to zero after a rule: Δ ← Δ − λθ, so that each step takes the share λ off.

    What is named `bias`, `scale`, `offset` or `table` is spared; or else the paths that match the patterns
    `spare`, as ("*/bias", "head/*"). The rule's moments do not see λ, and its learning rate does not multiply
    it: `adamw` does that, and chain(adam(α), weight_decay(αλ)) is the same. (The gradient of an L2 penalty
    ½λ‖θ‖², which moments do see, is a `penalty`.) Loshchilov & Hutter 2019.

    >>> rule, weight = weight_decay(0.1), {"weight": jnp.array([2.0])}
    >>> rule.update({"weight": jnp.array([-1.0])}, rule.init(weight), weight)[0]       # −1 − 0.1 · 2
    {'weight': Array([-1.2], dtype=float32)}

    Raises ValueError for a rate outside [0, 1], or where `update` is given no params; TypeError for what is
    no pattern.
    """
    check_rule_numbers("weight_decay", {"rate": rate}, rate=TO_1)
    patterns = as_patterns("weight_decay: spare", spare)
    return make_rule(
        decay_init, weight_decay_update if patterns is None else _sparing(patterns), {"rate": rate}
    )


@functools.cache  # so that equal patterns are the same program
def _sparing(patterns: tuple[str, ...]) -> Callable[..., Any]:
    return functools.partial(weight_decay_update, spare=patterns)


def decay_init(params: chex.ArrayTree, rate: ArrayLike) -> RuleState:
    """The share alone."""
    return init_state(params, {"rate": rate})


def weight_decay_update(
    updates: Any, state: RuleState, params: Any = None, *, spare: tuple[str, ...] | None = None
) -> tuple[Any, RuleState]:
    """Δ − λθ, for what is not spared."""
    check_rule_state("weight_decay", state, {"rate"})
    pulled = pull_to_zero("weight_decay", updates, params, state.hyperparameters["rate"], spare)
    return pulled, state._replace(step=state.step + 1)


def pull_to_zero(
    rule: str, updates: Any, params: Any, share: jax.Array, spare: tuple[str, ...] | None = None
) -> Any:
    """Δ − share · θ, for what is not spared: by its name, or by patterns."""
    if params is None:
        raise ValueError(f"{rule} needs the parameters: optimizer.update(grads, state, params).")
    check_like("gradients", params, updates)

    def pull(path: Any, u: jax.Array, p: jax.Array) -> jax.Array:
        spared = spared_by_name(path) if spare is None else any(matches(path, each) for each in spare)
        return u if spared else u - (share * p).astype(u.dtype)

    return jax.tree_util.tree_map_with_path(pull, updates, params)


# Averages ----------------------------------------------------------------------------------------


class AverageState(NamedTuple):
    """A RuleState with the averaged parameters, `moments["mean"]`; of its own type, so that it is found."""

    step: jax.Array
    hyperparameters: dict[str, jax.Array]
    moments: dict[str, chex.ArrayTree]


def average(decay: ArrayLike = 0.999, start: ArrayLike = 0) -> Optimizer:
    """The mean of the parameters over the steps, beside the run: θ̄ ← θ̄ + (1 − d)/(1 − dᵗ) · (θ − θ̄).

    The last link of a chain. With d < 1 the steps of late count most, in about the last 1/(1 − d); with d = 1
    all count alike, (1 − d)/(1 − dᵗ) being 1/t. The first `start` steps do not count. The run is not changed:
    θ̄ is what `fit` validates and returns as `fitted.params`; `average_params(state)` reads it. Noise of
    mini-batches averages out in it, as with a rate that is lowered. Statistics of layers are not averaged.
    Polyak & Juditsky 1992; the mean of the last part of a run, Izmailov et al. 2018.

    >>> rule, state = average(decay=1.0), average(decay=1.0).init(jnp.zeros(1))
    >>> for theta in (1.0, 2.0, 6.0):
    ...     _, state = rule.update(jnp.array([1.0]), state, jnp.array([theta - 1.0]))    # a step to θ
    >>> state.moments["mean"]                                                            # (1 + 2 + 6) / 3
    Array([3.], dtype=float32)

    Raises ValueError for a decay outside [0, 1], or where `update` is given no params.
    """
    numbers = {"decay": decay, "start": start}
    check_rule_numbers("average", numbers, decay=TO_1)
    return make_rule(average_init, average_update, numbers)


def average_init(params: chex.ArrayTree, decay: ArrayLike, start: ArrayLike) -> AverageState:
    """θ̄ = 0, which weighs nothing."""
    return AverageState(*init_state(params, {"decay": decay, "start": start}, mean=0.0))


def average_update(updates: Any, state: AverageState, params: Any = None) -> tuple[Any, AverageState]:
    """θ̄ ← θ̄ + (1 − d)/(1 − dᵗ) · (θ + Δ − θ̄); Δ stays."""
    check_rule_state("average", state, {"decay", "start"}, moments=1)
    if params is None:
        raise ValueError("average needs the parameters: optimizer.update(grads, state, params).")
    decay, start = state.hyperparameters["decay"], state.hyperparameters["start"]
    t = jnp.maximum(state.step + 1 - start, 1)
    is_uniform = decay == 1
    inner = jnp.where(is_uniform, 0.5, decay)  # any: its derivative stays finite
    share = jnp.where(is_uniform, 1 / t, (1 - inner) / correction(inner, t))

    def move(mean: jax.Array, p: jax.Array, u: jax.Array) -> jax.Array:
        after = (p + u).astype(p.dtype).astype(mean.dtype)
        return mean + share.astype(mean.dtype) * (after - mean)

    mean = jax.tree.map(move, state.moments["mean"], params, updates)
    return updates, state._replace(step=state.step + 1, moments={"mean": mean})


def find_average(state: Any) -> Any:
    """The averaged parameters in an optimizer's state, None for those that it does not average; or None."""
    nodes = jax.tree.leaves(state, is_leaf=_is_average)
    means = [node.moments["mean"] for node in nodes if _is_average(node)]
    return first_of(means) if means else None


def _is_average(node: Any) -> bool:
    return isinstance(node, AverageState)
