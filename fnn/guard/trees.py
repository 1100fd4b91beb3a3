"""What a tree must be: of the same places and shapes as another, its leaves arrays of numbers; its names."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_arrays
from fnn.guard.words import is_array, unexpected

__all__: list[str] = []


def check_same(name: str, expected: Any, given: Any, fix: str, of: Callable[[Any], Any] = jnp.shape) -> None:
    """Refuse a tree with other places, or leaves of another shape (or whatever `of` says of a leaf)."""
    there, here = places(expected, of), places(given, of)
    differing = [
        f"{name}{place} expected {there.get(place, 'nothing')}, got {here.get(place, 'nothing')}"
        for place in there | here
        if there.get(place) != here.get(place)
    ]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError(f"{'; '.join(differing[:3])}{more}. {fix}")


def places(tree: Any, of: Callable[[Any], Any] = jnp.shape) -> dict[str, Any]:
    """The shape of each leaf, by its place in the tree."""
    return {jax.tree_util.keystr(p): of(v) for p, v in jax.tree_util.tree_leaves_with_path(tree)}


SPARED = frozenset({"bias", "scale", "offset", "table"})  # by name: the number of axes says nothing


def spared_by_name(path: tuple[Any, ...]) -> str:
    """The name in this path of the parameters that spares it from decay and penalties, or an empty text."""
    names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    return next((name for name in names if name in SPARED), "")


def matches(path: tuple[Any, ...], pattern: str) -> bool:
    """Whether a path of the parameters, as `0/weight`, matches a pattern; `*/bias` a bias at the top too."""
    written = jax.tree_util.keystr(path, simple=True, separator="/")
    return fnmatchcase(written, pattern) or fnmatchcase(f"/{written}", pattern)


def as_patterns(where: str, patterns: Any) -> tuple[str, ...] | None:
    """Patterns of paths as a tuple, refused where they are none: each letter of a text would be one."""
    if patterns is None:
        return None
    if not isinstance(patterns, tuple | list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise TypeError(unexpected(where, "patterns of paths, such as ('*/bias',)", patterns))
    return tuple(patterns)


def first_of(trees: list[Any]) -> Any:
    """The trees as one: each place from the tree that has it, the others having None there."""

    def pick(*leaves: Any) -> Any:
        return next((leaf for leaf in leaves if leaf is not None), None)

    return jax.tree.map(pick, *trees, is_leaf=lambda leaf: leaf is None)


def shape_and_type(leaf: Any) -> str:
    """What a compiled loop keeps of an array that it carries, for a message."""
    return f"shape {jnp.shape(leaf)} {jnp.result_type(leaf)}"


def check_params(caller: str, params: Any, also: tuple[type, ...] = ()) -> None:
    """Refuse what is not a tree of parameters: a whole result, None, a network."""
    whole = hasattr(params, "params")
    fix = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
    if whole or params is None or hasattr(params, "forward_train"):
        expected = "a tree of arrays, such as fitted.params"
        raise TypeError(unexpected(f"{caller}: params", expected, params, fix))
    check_leaves(caller, "params", params, fix, also)


def check_leaves(caller: str, name: str, tree: Any, fix: str, also: tuple[type, ...] = ()) -> None:
    """Refuse a tree of other things than arrays of numbers and random keys, naming the first's place."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if isinstance(leaf, jax.Array):  # random keys among them
            continue
        where = f"{caller}: {name}{jax.tree_util.keystr(path)}"
        if not (is_array(leaf) or isinstance(leaf, also)):
            expected = "an array of numbers" if path else "a tree of arrays"
            raise TypeError(unexpected(where, expected, leaf, fix))
        try:  # text, durations, numbers that JAX's types cannot hold
            as_arrays(np.asarray(leaf), where)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error} {fix}") from None
