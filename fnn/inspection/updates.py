"""One update of a rule with its numbers, link by link, for the parameter of the largest gradient."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.inspection.formulas import Value, read_aloud, run
from fnn.inspection.text import formula_of, show_tree, six_digits
from fnn.optimizers.combine import chain_update
from fnn.optimizers.rule import accepted
from fnn.optimizers.schedules import rule_inside, rule_name

__all__: list[str] = []


class Given(NamedTuple):
    """What a rule is given."""

    grads: Any
    state: Any
    learns: Any
    extra: dict[str, Any]


def links_of(update: Any) -> tuple[Any, ...]:
    """The updates of a chain's links; another rule is its own only link."""
    return update.args[0] if getattr(update, "func", None) is chain_update else (update,)


def optimisation(update: Any, turn: Given) -> Iterator[str]:
    """Each link: its formula, its numbers, and both together for the parameter of the largest gradient."""
    links, flat = links_of(update), jax.tree_util.tree_leaves_with_path(turn.grads)
    if not flat:
        yield "  nothing in this network is trained"
        return
    path, g = max(flat, key=lambda entry: float(jnp.abs(entry[1]).max()))
    index = tuple(int(i) for i in np.unravel_index(int(jnp.abs(g).argmax()), g.shape))
    where = f"params{jax.tree_util.keystr(path)}{[*index]}"
    yield f"  worked out for {where}, where the gradient is largest: g = {six_digits(g[index])}"
    states = turn.state if getattr(update, "func", None) is chain_update else (turn.state,)
    for place, (link, state) in enumerate(zip(links, states, strict=True)):
        yield ""
        if link is not rule_inside(link):  # its numbers are those of the first step, as init leaves them
            link, state = rule_inside(link), state.rule
        turn = turn._replace(state=state)
        after = link(turn.grads, state, turn.learns, **accepted(link, turn.extra))
        yield from _link(link, turn, after, path, index, "Δ" if place == len(links) - 1 else "g")
        turn = turn._replace(grads=after[0])


def _link(
    link: Any, turn: Given, after: tuple[Any, Any], path: Any, index: tuple[int, ...], name: str
) -> Iterator[str]:
    yield f"  {rule_name(link)}{formula_of(link)}"
    numbers = getattr(turn.state, "hyperparameters", {})
    if numbers:
        yield "    " + ",  ".join(f"{key} = {six_digits(value)}" for key, value in numbers.items())
    yield from (f"    {line}" for line in read_link(link, turn, path, index, name))
    for when, state in (("before", turn.state), ("after", after[1])):
        step = getattr(state, "step", None)
        yield f"  its state {when}" + ("" if step is None else f": step {int(step)}")
        yield from show_tree("", getattr(state, "moments", state))
    yield from show_tree(name, after[0])


def read_link(link: Any, turn: Given, path: Any, index: tuple[int, ...], name: str) -> Iterator[str]:
    """The rule's own program, with the numbers of this entry."""
    leaves, structure = jax.tree.flatten(turn.state)
    moves = [jnp.ndim(leaf) > 0 or "moments" in jax.tree_util.keystr(p)
             for p, leaf in jax.tree_util.tree_leaves_with_path(turn.state)]  # fmt: skip

    def update(known: list[Any], data: Any) -> Any:
        grads, learns, moments = data
        rest, moving = iter(known), iter(moments)
        state = jax.tree.unflatten(structure, [next(moving if moved else rest) for moved in moves])
        extra = accepted(link, turn.extra | {"grad": grads})
        return link(grads, state, learns, **extra)

    known = [leaf for leaf, moved in zip(leaves, moves) if not moved]
    moments = [leaf for leaf, moved in zip(leaves, moves) if moved]
    updates, state = run(update, known, (turn.grads, turn.learns, moments))
    here = jax.tree_util.keystr(path)
    results = {
        place.removesuffix(here).rpartition(".")[2].strip("[']").rpartition("'")[2] or place: (value, index)
        for place, value in _by_place(state)
        if place.endswith(here) and value.array.ndim == len(index) and value.operation
    }
    return read_aloud(results | {name: (dict(_by_place(updates))[here], index)})


def _by_place(tree: Any) -> list[tuple[str, Value]]:
    return [(jax.tree_util.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(tree)]
