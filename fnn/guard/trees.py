"""What a tree must be: of the same places and shapes as another, its leaves arrays of numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.words import describe, is_array

__all__: list[str] = []


def check_same(name: str, expected: Any, given: Any, mend: str) -> None:
    """Refuse a tree with other places or shapes, naming the first that differ."""
    there, here = places(expected), places(given)
    differing = [
        f"{name}{place} expected {there.get(place, 'nothing')}, got {here.get(place, 'nothing')}"
        for place in there | here
        if there.get(place) != here.get(place)
    ]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError(f"{'; '.join(differing[:3])}{more}. {mend}")


def places(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf, by its place in the tree."""
    return {jax.tree_util.keystr(p): jnp.shape(v) for p, v in jax.tree_util.tree_leaves_with_path(tree)}


def check_leaves(caller: str, name: str, tree: Any, mend: str, also: tuple[type, ...] = ()) -> None:
    """Refuse a tree of other things than arrays of numbers and random keys, naming the first's place."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):  # random keys among them
            continue
        if not (_is_numbers(leaf) or isinstance(leaf, also)):
            kind = f", {leaf.dtype}" if is_array(leaf) else ""
            place = _place(tree, leaf)
            expected = "an array of numbers" if place else "a tree of arrays"
            raise TypeError(
                f"{caller}: {name}{place} expected {expected}, got {describe(leaf)}{kind}. {mend}"
            )
        if not _is_held(leaf):
            expected = f"numbers that {jnp.result_type(leaf)} can hold"
            raise ValueError(
                f"{caller}: {name}{_place(tree, leaf)} expected {expected}, got {describe(leaf)}. {mend}"
            )


def _place(tree: Any, leaf: Any) -> str:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return next(jax.tree_util.keystr(path) for path, other in found if other is leaf)


def _is_numbers(leaf: Any) -> bool:
    """Whether JAX takes it: no texts, no durations, no bytes in another machine's order."""
    try:
        return is_array(leaf) and jnp.result_type(leaf) is not None
    except TypeError:
        return False


def _is_held(leaf: Any) -> bool:
    """Whether JAX's type for these numbers holds them, near enough."""
    given, dtype = np.asarray(leaf), jnp.result_type(leaf)
    if given.dtype == dtype:
        return True
    try:
        with np.errstate(over="ignore"):
            return np.allclose(given.astype(dtype), given, rtol=0.1, equal_nan=True)
    except OverflowError:  # of an integer of Python
        return False
