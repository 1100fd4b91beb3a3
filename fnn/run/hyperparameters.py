"""The numbers of a rule, by name: read from a state, changed in it, compared with an optimizer's."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, GetAttrKey
from jax.typing import ArrayLike

from fnn.guard.numbers import check_numbers
from fnn.guard.words import Words, unexpected
from fnn.network.parameters import trained
from fnn.optimizers.schedules import ScheduledState
from fnn.workflow.state import State

__all__ = ["hyperparameters", "set_hyperparameters"]

Tree = TypeVar("Tree")


def hyperparameters(state: Any) -> dict[str, jax.Array]:
    """The numbers of a running optimizer, by name: in the state of a run, or of an optimizer.

    A number that follows a schedule is what it was in the last step, and beside it stand those of the
    schedule, as `learning_rate/steps`. Where several parts have a number of one name, their places tell them
    apart: `0/learning_rate`.

    >>> from fnn import chain, clip, cosine, momentum
    >>> state = chain(clip(1.0), momentum(cosine(0.5, steps=100))).init(jnp.zeros(2))
    >>> list(hyperparameters(state))
    ['limit', 'learning_rate/end', 'learning_rate/steps', 'learning_rate/value', 'learning_rate', 'momentum']
    """
    return {name: number.value for name, number in _numbers(state).items()}


def set_hyperparameters(state: Tree, **numbers: ArrayLike) -> Tree:
    """The same state with other numbers, by the names that `hyperparameters` gives.

    Nothing is compiled for it. `fit` goes on from it where its optimizer has the same numbers.

    >>> from fnn import adam
    >>> state = adam(0.1).init(jnp.zeros(2))
    >>> float(hyperparameters(set_hyperparameters(state, learning_rate=0.5))["learning_rate"])
    0.5

    Raises ValueError for a name that the state has not, a number that follows a schedule, and for numbers
    that are negative or not finite.
    """
    found = _numbers(state)
    for name in numbers:
        if name not in found:
            fix = "A number of several parts is given by its place, as **{'0/learning_rate': 0.1}."
            raise ValueError(unexpected("set_hyperparameters", f"one of {', '.join(found)}", name, fix))
        if found[name].follows:
            own = ", ".join(n for n in found if n.startswith(f"{name}/")) or "a number that stays"
            got = Words(f"{name}, which follows a schedule")
            raise ValueError(unexpected("set_hyperparameters", own, got))
    check_numbers("set_hyperparameters", numbers)
    changed = {found[name].place: number for name, number in numbers.items()}

    def replace(path: tuple[Any, ...], leaf: Any) -> Any:
        return jnp.asarray(changed[path], leaf.dtype) if path in changed else leaf

    moved: Tree = jax.tree_util.tree_map_with_path(replace, state)
    return moved


# By name -------------------------------------------------------------------------------------------


FIELDS = ("hyperparameters", "schedules")  # of the states of rules, of Optax's too


class Hyperparameter(NamedTuple):
    """A number of a rule, its place in the state, and whether it follows a schedule."""

    place: tuple[Any, ...]
    value: Any
    follows: bool


def _numbers(state: Any) -> dict[str, Hyperparameter]:
    """Each number by its own name; where there are several of it, with the place of its part before it."""
    nodes = jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_scheduled)
    scheduled = {(_written(path), name) for path, node in nodes for name in getattr(node, "schedules", ())}
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        marks = [i for i, key in enumerate(path) if getattr(key, "name", "") in FIELDS]
        if marks:
            part, own = (_written(keys) for keys in (path[: marks[-1]], path[marks[-1] + 1 :]))
            found[part, own] = Hyperparameter(path, leaf, (part, own) in scheduled)
    owns = [own for _, own in found]
    return {
        f"{part}/{own}" if part and owns.count(own) > 1 else own: number
        for (part, own), number in found.items()
    }


def _is_scheduled(node: Any) -> bool:
    return isinstance(node, ScheduledState)


def _written(path: tuple[Any, ...]) -> str:
    """The keys and places of a path, without the fields of states."""
    keys = (key for key in path if not isinstance(key, GetAttrKey))
    return "/".join(str(key.key if isinstance(key, DictKey) else getattr(key, "idx", key)) for key in keys)


# Compared -------------------------------------------------------------------------------------------


def settings_of(state: Any) -> dict[str, np.ndarray]:
    """The numbers that were given: in place of one that follows a schedule those of the schedule."""
    return {name: np.asarray(n.value) for name, n in _numbers(state).items() if not n.follows}


def compare_numbers(state: State, init: Callable[..., Any]) -> list[str]:
    """Which numbers of a state are not those of the optimizer with this `init`, in words."""
    there, given = settings_of(state.optimizer), _settings(init, state.params)
    return [
        f"{name} is {_digits(there.get(name))} in the state, {_digits(given.get(name))} in the optimizer"
        for name in {**there, **given}
        if not _is_same(there.get(name), given.get(name))
    ]


def _settings(init: Callable[..., Any], params: Any) -> dict[str, np.ndarray]:
    """The rule's numbers; most rules need no parameters for that."""
    try:
        return settings_of(init(()))
    except Exception:  # a rule that looks into its parameters
        return settings_of(init(trained(params)))


def _is_same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two numbers are equal in the narrower of their types: 0.01 is 0.01 in float32 too."""
    if one is None or other is None:
        return False
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return np.array_equal(one.astype(narrow), other.astype(narrow))


def _digits(number: np.ndarray | None) -> str:
    return "absent" if number is None else f"{number:.7g}" if number.ndim == 0 else str(number)
