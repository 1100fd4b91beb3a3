"""Several rules as one: links one after the other, or a rule for each part of the parameters."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.trees import first_of, matches
from fnn.guard.words import Words, describe, unexpected
from fnn.optimizers.rule import Optimizer, accepted, check_rule, init_as_partial
from fnn.optimizers.schedules import rule_name
from fnn.optimizers.transformations import average_init, clip_init, clip_norm_init, decay_init
from fnn.optimizers.wrappers import plateau_init

__all__ = ["chain", "partition"]


# Links one after the other -----------------------------------------------------------------------


def chain(*links: Optimizer) -> Optimizer:
    """Rules one after the other, each given the updates of the one before: Δ = uₙ(… u₁(g)).

    One link is the rule with the learning rate. Clipping comes before it, decay after it, `average` last. The
    state is the tuple of the links' states. `chain` of equal links compiles once, whatever their numbers.

    >>> from fnn import clip_by_global_norm, gradient_descent
    >>> rule = chain(clip_by_global_norm(1.0), gradient_descent(0.5))
    >>> rule.update(jax.numpy.array([3.0, 4.0]), rule.init(jax.numpy.zeros(2)), jax.numpy.zeros(2))[0]
    Array([-0.3, -0.4], dtype=float32)

    Raises TypeError for a link that is no optimizer, ValueError for links in an order that goes wrong.
    """
    if not links:
        raise ValueError("chain() holds no links: give at least one, as in chain(fnn.adam()).")
    for place, link in enumerate(links):
        check_rule(f"chain: link {place}", link, "" if callable(link) else "Give links one by one.")
    _check_order(links)
    init = Partial(chain_init, *map(init_as_partial, (link.init for link in links)))
    return Optimizer(init, _chained(tuple(link.update for link in links)))


def chain_init(*inits_and_params: Any) -> tuple[Any, ...]:
    """The state of each link."""
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
    *,
    weight: ArrayLike = 1.0,
    full_batch: bool = True,
    **extra: Any,
) -> tuple[Any, tuple[Any, ...]]:
    """g ← uᵢ(g), first to last; of `extra` each link is given what it accepts."""
    if not isinstance(state, tuple) or len(state) != len(links):
        got = f"a tuple of {len(state)}" if type(state) is tuple else describe(state)
        raise ValueError(
            f"chain: update expected a tuple of the states of its {len(links)} links, got {got}. The order "
            "is update(grads, state, params), the state from this chain's init or its last update."
        )
    states, extra = [], extra | {"weight": weight, "full_batch": full_batch}
    for link, own in zip(links, state):
        grads, own = link(grads, own, params, **accepted(link, extra))
        states.append(own)
    return grads, tuple(states)


# The order of links -------------------------------------------------------------------------------

BEFORE, AFTER = (clip_init, clip_norm_init), (decay_init, average_init, plateau_init)  # of a rule


def _inits_of(init: Any) -> Iterator[Any]:
    """The inits that an init calls, those of a chain in a chain one by one; or itself."""
    inside = [arg for arg in getattr(init, "args", ()) if isinstance(arg, Partial)]
    if not inside or "learning_rate" in getattr(init, "keywords", {}):
        yield init
        return
    for each in inside:
        yield from _inits_of(each)


def _is_one_of(init: Any, functions: tuple[Callable[..., Any], ...]) -> bool:
    return getattr(init, "func", None) in functions


def _is_rule(init: Any) -> bool:
    """Whether it has a learning rate, or is another of fnn's that is made for no place beside a rule."""
    function = getattr(init, "func", init)
    module = getattr(getattr(function, "func", function), "__module__", "")
    is_ours = module.startswith("fnn.") and function not in BEFORE + AFTER
    return is_ours or "learning_rate" in getattr(init, "keywords", {})


def _check_order(links: tuple[Optimizer, ...]) -> None:
    """Before a rule there are gradients, uphill; after it updates, downhill. Each link is made for one."""
    inits = [(place, init) for place, link in enumerate(links) for init in _inits_of(link.init)]
    rules = list({place: None for place, init in inits if _is_rule(init)})
    unknown = [p for p, init in inits if not _is_one_of(init, BEFORE + AFTER)]
    after = [p for p, init in inits if _is_one_of(init, AFTER)]
    first = (rules or unknown)[:1]
    if first and after and after[0] < first[0]:
        name, rule = rule_name(links[after[0]].update), rule_name(links[first[0]].update)
        raise ValueError(
            f"chain: link {after[0]}, {name}, comes before the rule, link {first[0]}, {rule}. It is made for "
            f"updates, which go downhill: put it after, as in chain({rule}(…), {name}(…)). (A decay in the "
            "gradient is a penalty, and before a rule such as adam its number hardly matters.)"
        )
    if len(rules) > 1:
        one, other = (f"link {place}, {rule_name(links[place].update)}" for place in rules[:2])
        raise ValueError(
            f"chain: expected one rule, got {one}, and {other}: a rule turns its gradient downhill, and "
            "the next would turn it uphill again. Keep one of them."
        )
    means = [i for i, (_, init) in enumerate(inits) if _is_one_of(init, (average_init,))]
    if means and means[0] < len(inits) - 1:
        raise ValueError(
            f"chain: link {inits[means[0]][0]}, average, comes before link {inits[means[0] + 1][0]}, which "
            "changes the step that it counts. Put it last."
        )


def check_has_rule(init: Any) -> None:
    """Refuse links and no rule among them: gradients added as they are go uphill.

    Only fnn's own links are known to be none; what comes from elsewhere passes.
    """
    if all(_is_one_of(each, BEFORE + AFTER) for each in _inits_of(init)):
        raise ValueError(
            "optimizer expected a rule with a learning rate, got only what stands beside one (clipping, "
            "decay, …): gradients as they are go uphill. Put a rule between, as in "
            "fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam())."
        )


# A rule for each part -----------------------------------------------------------------------------


def partition(rules: dict[str, Optimizer]) -> Optimizer:
    """A rule for each part of the parameters: the first whose pattern matches an array's path has it.

    A path is written `0/weight`, or `body/1/bias`; `*` stands for anything, so that `*/bias` are all biases
    and `*` is the rest. The norm of a gradient is that of its part: to clip the whole, put the clip before,
    chain(clip_by_global_norm(1.0), partition(…)). The state is a dict of the parts' states, by pattern.

    >>> from fnn import gradient_descent
    >>> rule = partition({"*/bias": gradient_descent(1.0), "*": gradient_descent(0.1)})
    >>> grads = {"weight": jax.numpy.array([2.0]), "bias": jax.numpy.array([2.0])}
    >>> rule.update(grads, rule.init(grads))[0]
    {'bias': Array([-2.], dtype=float32), 'weight': Array([-0.2], dtype=float32)}

    Raises TypeError for what is no dict of optimizers; ValueError, at `init`, for an array that no pattern
    matches, or a pattern that matches none.
    """
    if not isinstance(rules, dict) or not rules or not all(isinstance(pattern, str) for pattern in rules):
        fix = "The patterns are those of paths, such as '*/bias'."
        raise TypeError(unexpected("partition: rules", "{pattern: optimizer, …}", rules, fix))
    for pattern, rule in rules.items():
        check_rule(f"partition: the rule of {pattern!r}", rule)
    patterns = tuple(rules)
    inits = (init_as_partial(rule.init) for rule in rules.values())
    update = _divided(partition_update, patterns, tuple(rule.update for rule in rules.values()))
    return Optimizer(Partial(_divided(partition_init, patterns), *inits), update)


@functools.cache  # as in a chain
def _divided(function: Callable[..., Any], *structure: Any) -> Callable[..., Any]:
    return functools.partial(function, *structure)


def partition_init(patterns: tuple[str, ...], *inits_and_params: Any) -> dict[str, Any]:
    """The state of each part, by its pattern."""
    *inits, params = inits_and_params
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    for path in paths:
        if not any(matches(path, pattern) for pattern in patterns):
            fix = "Add '*' as the last pattern for all that is left."
            got = Words(", ".join(patterns))
            raise ValueError(unexpected("partition", f"a pattern for {_written(path)}", got, fix))
    for pattern in patterns:
        if not any(matches(path, pattern) for path in paths):
            got = Words(", ".join(map(_written, paths[:8])) + " …" * (len(paths) > 8))
            raise ValueError(unexpected("partition", f"an array whose path matches {pattern!r}", got))
    parts = zip(patterns, inits, divide(patterns, params))
    return {pattern: init(part) for pattern, init, part in parts}


def partition_update(
    patterns: tuple[str, ...],
    updates: tuple[Callable[..., Any], ...],
    grads: Any,
    state: dict[str, Any],
    params: Any = None,
    *,
    value: ArrayLike | None = None,
    weight: ArrayLike = 1.0,
) -> tuple[Any, dict[str, Any]]:
    """Each part by its own rule, which is given no function of all parameters."""
    if not isinstance(state, dict) or set(state) != set(patterns):
        fix = "The order is update(grads, state, params), the state from this rule's init or its last update."
        expected = f"the states of {', '.join(map(repr, patterns))}"
        raise ValueError(unexpected("partition: update", expected, state, fix))
    extra = {"value": value, "weight": weight}
    moved, after = [], {}
    for pattern, update, g, p in zip(patterns, updates, divide(patterns, grads), divide(patterns, params)):
        change, after[pattern] = update(g, state[pattern], p, **accepted(update, extra))
        moved.append(change)
    return first_of(moved), after


def divide(patterns: tuple[str, ...], tree: Any) -> list[Any]:
    """The tree once for each pattern, with None for what belongs to another."""

    def owner(path: Any) -> str | None:
        return next((pattern for pattern in patterns if matches(path, pattern)), None)

    def part(pattern: str) -> Any:
        return jax.tree_util.tree_map_with_path(lambda p, leaf: leaf if owner(p) == pattern else None, tree)

    return [part(pattern) for pattern in patterns]


def _written(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
