"""What happens to a gradient before the rule: links of a chain."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, check_numbers
from fnn.guard.words import describe, name_of
from fnn.optimizers.rule import (
    Optimizer,
    RuleState,
    accepted,
    check_like,
    check_rule,
    check_rule_state,
    init_state,
)

__all__ = ["chain", "clip_by_global_norm", "weight_decay"]


SPARED = frozenset({"bias", "scale", "offset", "table"})  # by name: the number of axes says nothing


# Links one after the other -----------------------------------------------------------------------


def chain(*links: Optimizer) -> Optimizer:
    """Rules one after the other, each given the updates of the one before: Δ = uₙ(… u₁(g)).

    The last link is the rule with the learning rate; its state is the tuple of the links' states.
    `chain` of equal links compiles once, whatever their numbers.

    >>> rule = chain(clip_by_global_norm(1.0), weight_decay(0.0))
    >>> rule.update(jnp.array([3.0, 4.0]), rule.init(jnp.zeros(2)), jnp.zeros(2))[0]
    Array([0.6, 0.8], dtype=float32)

    Raises TypeError for a link that is no optimizer, ValueError for two rules or decay after one.
    """
    if not links:
        raise ValueError("chain() holds no links: give at least one, as in chain(fnn.adam()).")
    for place, link in enumerate(links):
        check_rule(f"chain: link {place}", link, "" if callable(link) else "Give links one by one.")
    _check_order(links)
    init = Partial(_chain_init, *map(_as_partial, (link.init for link in links)))
    return Optimizer(init, _chained(tuple(link.update for link in links)))


def _as_partial(init: Callable[..., Any]) -> Partial:
    """A rule's init, whose numbers are leaves; that of another library as it is."""
    return init if isinstance(init, Partial) else Partial(init)


def _check_order(links: tuple[Optimizer, ...]) -> None:
    """After a rule an update points downhill: decay would push weights away, another rule go uphill."""
    inits = [(place, init) for place, link in enumerate(links) for init in _inits_of(link.init)]
    rules = [place for place, init in inits if "learning_rate" in getattr(init, "keywords", {})]
    decays = [place for place, init in inits if getattr(init, "func", None) is _init_decay]
    if rules and decays and max(decays) > rules[0]:
        raise ValueError(
            f"chain: link {max(decays)}, weight_decay, comes after the rule, link {rules[0]}, where it would "
            "push weights away from zero. Put it before: chain(weight_decay(rate), rule)."
        )
    if len(rules) > 1:
        first, second = (f"link {place}, {_rule_name(links[place])}" for place in rules[:2])
        raise ValueError(
            f"chain: expected one rule, got {first}, and {second}: a rule turns its gradient downhill, and "
            "the next would turn it uphill again. Keep one of them, as the last link."
        )


def _rule_name(link: Optimizer) -> str:
    return name_of(getattr(link.update, "func", link.update)).removesuffix("_update")


def _inits_of(init: Any) -> Iterator[Any]:
    """The inits of the links, those of a chain in a chain one by one."""
    if getattr(init, "func", None) is not _chain_init:
        yield init
        return
    for link in init.args:
        yield from _inits_of(link)


def check_has_rule(init: Any) -> None:
    """Refuse links that prepare a gradient and no rule after them: added as they are, they go uphill.

    Only the links of this file are known to be none; what comes from elsewhere passes.
    """
    if all(getattr(link, "func", None) in (_init_clip, _init_decay) for link in _inits_of(init)):
        raise ValueError(
            "optimizer expected a rule with a learning rate, got only what comes before one (clipping, "
            "decay): gradients as they are go uphill. Put a rule after it, as in "
            "fnn.chain(fnn.weight_decay(0.1), fnn.adam())."
        )


def _chain_init(*inits_and_params: Any) -> tuple[Any, ...]:
    *inits, params = inits_and_params
    return tuple(init(params) for init in inits)


@functools.cache  # on the updates alone: chains that differ in their numbers are the same program
def _chained(updates: tuple[Callable[..., Any], ...]) -> Callable[..., Any]:
    return functools.partial(chain_update, updates)


def chain_update(
    links: tuple[Callable[..., Any], ...],
    grads: Any,
    state: tuple[Any, ...],
    params: Any = None,
    **extra: Any,
) -> tuple[Any, tuple[Any, ...]]:
    """g ← uᵢ(g), first to last; of `extra` each link is given what it accepts."""
    if not isinstance(state, tuple) or len(state) != len(links):
        got = f"a tuple of {len(state)}" if type(state) is tuple else describe(state)
        raise ValueError(
            f"chain: update expected a tuple of the states of its {len(links)} links, got {got}. The order "
            "is update(grads, state, params), the state from this chain's init or its last update."
        )
    states = []
    for link, own in zip(links, state):
        grads, own = link(grads, own, params, **accepted(link, extra))
        states.append(own)
    return grads, tuple(states)


# Clipping ----------------------------------------------------------------------------------------


def clip_by_global_norm(max_norm: ArrayLike) -> Optimizer:
    """A gradient no longer than `max_norm`: g ← g · min(1, max_norm / ‖g‖), ‖g‖ over all arrays together.

    Its direction stays. Pascanu et al. 2013, Algorithm 1.

    >>> rule = clip_by_global_norm(1.0)
    >>> rule.update(jnp.array([3.0, 4.0]), rule.init(jnp.zeros(2)))[0]              # ‖g‖ = 5
    Array([0.6, 0.8], dtype=float32)

    Raises ValueError where the norm is not above 0.
    """
    check_numbers("clip_by_global_norm", {"max_norm": max_norm}, max_norm=ABOVE_0)
    return Optimizer(Partial(_init_clip, max_norm=max_norm), clip_by_global_norm_update)


def _init_clip(params: chex.ArrayTree, max_norm: ArrayLike) -> RuleState:
    return init_state(params, {"max_norm": max_norm})


def clip_by_global_norm_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """g · min(1, max_norm / ‖g‖)."""
    check_rule_state("clip_by_global_norm", state, {"max_norm"})
    wide = [g.astype(jnp.promote_types(g.dtype, jnp.float32)) for g in jax.tree.leaves(grads)]
    square = sum((jnp.sum(g**2) for g in wide), jnp.zeros((), jnp.float32))
    limit = state.hyperparameters["max_norm"].astype(square.dtype)
    too_long = square > limit**2
    factor = jnp.where(too_long, limit / jnp.sqrt(jnp.where(too_long, square, 1)), 1)
    updates = jax.tree.map(lambda g: (factor * g).astype(g.dtype), grads)
    return updates, state._replace(step=state.step + 1)


# Decay -------------------------------------------------------------------------------------------


def weight_decay(rate: ArrayLike) -> Optimizer:
    """A pull of the weights to zero: g ← g + λθ, the gradient of ½λ‖θ‖².

    What is named `bias`, `scale`, `offset` or `table` is spared. It is a link before a rule and goes
    through that rule's moments, as an L2 penalty does: before Adam, whose step hardly depends on the
    size of the gradient, λ decides when a weight is pulled more than how far: see `adamw`.
    Krogh & Hertz 1991.

    >>> rule, weight = weight_decay(0.1), {"weight": jnp.array([2.0])}
    >>> rule.update({"weight": jnp.array([1.0])}, rule.init(weight), weight)[0]
    {'weight': Array([1.2], dtype=float32)}

    Raises ValueError for a rate that is negative or not finite, or where `update` is given no params.
    """
    check_numbers("weight_decay", {"rate": rate})
    return Optimizer(Partial(_init_decay, rate=rate), weight_decay_update)


def _init_decay(params: chex.ArrayTree, rate: ArrayLike) -> RuleState:
    return init_state(params, {"rate": rate})


def weight_decay_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """g + λθ, for what is not spared."""
    check_rule_state("weight_decay", state, {"rate"})
    if params is None:
        raise ValueError("weight_decay needs the parameters: optimizer.update(grads, state, params).")
    check_like("gradients", params, grads)
    rate = state.hyperparameters["rate"]

    def pull(path: Any, g: jax.Array, p: jax.Array) -> jax.Array:
        return g if spared_by_name(path) else (g + rate * p).astype(g.dtype)

    updates = jax.tree_util.tree_map_with_path(pull, grads, params)
    return updates, state._replace(step=state.step + 1)


def pull_to_zero(
    name: str, update: Callable[..., Any], grads: Any, state: RuleState, params: Any
) -> tuple[Any, RuleState]:
    """Decay beside a rule: Δ − αλθ for what is not spared, Δ of the rule, which does not see λ."""
    numbers = state.hyperparameters if hasattr(state, "hyperparameters") else {}
    if "weight_decay" not in numbers:
        check_rule_state(name, state, {"weight_decay", *numbers})
    if params is None:
        raise ValueError(f"{name} needs the parameters: optimizer.update(grads, state, params).")
    own = {key: number for key, number in numbers.items() if key != "weight_decay"}
    updates, moved = update(grads, state._replace(hyperparameters=own))
    share = numbers["learning_rate"] * numbers["weight_decay"]

    def pull(path: Any, u: jax.Array, p: jax.Array) -> jax.Array:
        return u if spared_by_name(path) else u - (share * p).astype(u.dtype)

    return jax.tree_util.tree_map_with_path(pull, updates, params), moved._replace(hyperparameters=numbers)


def spared_by_name(path: tuple[Any, ...]) -> str:
    """The name in this path of the parameters that spares it from decay, or an empty text."""
    names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    return next((name for name in names if name in SPARED), "")
