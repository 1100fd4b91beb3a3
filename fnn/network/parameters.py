"""Which parameters are trained: their place in the tree decides."""

from collections.abc import Set
from typing import Any

import chex
import jax

__all__ = ["merge", "trained"]


UNTRAINED = frozenset({"frozen", "statistics"})


def trained(params: chex.ArrayTree) -> Any:
    """The part that learns: None in place of what is under `statistics` or `frozen`.

    Gradients, optimizers and penalties see only this part: merge(trained(params), params) = params.

    >>> trained({"weight": 1.0, "statistics": {"mean": 2.0}})
    {'statistics': {'mean': None}, 'weight': 1.0}
    """
    return jax.tree_util.tree_map_with_path(lambda path, leaf: None if is_untrained(path) else leaf, params)


def merge(trained: Any, params: chex.ArrayTree) -> Any:
    """The trained part where there is one, and `params` where it has None: θ ← (θ_trained, θ_rest).

    >>> merge({"weight": 3.0, "statistics": None}, {"weight": 1.0, "statistics": 2.0})
    {'statistics': 2.0, 'weight': 3.0}

    Raises ValueError for the parts of different trees, naming the first place that differs.
    """
    try:
        return jax.tree.map(lambda new, old: old if new is None else new, trained, params, is_leaf=_is_none)
    except ValueError as error:
        raise ValueError(
            f"merge expected two parts of one tree, but {_first_difference(trained, params)}. Give "
            "merge(fnn.trained(params), params), both of the same network."
        ) from error


def _first_difference(trained: Any, params: Any) -> str:
    """Where two trees differ; None in place of a branch of the other is no difference."""
    here, there = _paths(trained), _paths(params)
    for path in here:
        if not any(other[: len(path)] == path for other in there):
            return f"only the trained part has {_place(path)}"
    for path in there:
        if not any(path[: len(other)] == other for other in here):
            return f"only params has {_place(path)}"
    return f"one is a {type(trained).__name__}, the other a {type(params).__name__}, or holds such ones"


def _paths(tree: Any) -> list[tuple[Any, ...]]:
    return [path for path, _ in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_is_none)]


def _place(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path) or "a single leaf"


def _is_none(value: Any) -> bool:
    return value is None


def untrained(params: chex.ArrayTree) -> Any:
    """The rest of `trained`."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf if is_untrained(path) else None, params)


def statistics(params: chex.ArrayTree) -> Any:
    """What layers move themselves, with None in place of everything else."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if _stands_under(path, {"statistics"}) else None, params
    )


def check_branches(combinator: str, names: tuple[str, ...]) -> None:
    """Refuse names of parts that would keep their parameters from learning."""
    for name in UNTRAINED.intersection(names):
        raise ValueError(
            f"{combinator}: what stands under '{name}' is not trained, so no part can be called so; "
            "choose another name, or fnn.freeze the part."
        )


def is_untrained(path: tuple[Any, ...]) -> bool:
    """Whether a parameter at this path is not trained."""
    return _stands_under(path, UNTRAINED)


def _stands_under(path: tuple[Any, ...], names: Set[str]) -> bool:
    return any(getattr(step, "key", None) in names for step in path)
