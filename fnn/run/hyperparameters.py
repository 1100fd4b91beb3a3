"""The numbers of a rule: found in an optimizer's state, and compared with those of an optimizer."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnn.network.parameters import trained
from fnn.optimizers.scheduled import ScheduledState
from fnn.workflow.state import State

__all__: list[str] = []


def hyperparameters(state: Any) -> dict[str, np.ndarray]:
    """The rule's numbers, by their place in an optimizer's state; empty where it keeps none.

    In place of a number that changes with the step, those of its schedule.
    """
    plain = jax.tree.map(_with_schedules, state, is_leaf=_is_scheduled)
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(plain):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        if "hyperparameters" in names:
            found["/".join(n for n in names if n != "hyperparameters")] = np.asarray(leaf)
    return found


def _is_scheduled(node: Any) -> bool:
    return isinstance(node, ScheduledState)


def _with_schedules(node: Any) -> Any:
    """The state of a rule, with the numbers of each schedule in the place of its value."""
    if not _is_scheduled(node):
        return node
    now = node.rule.hyperparameters
    return node.rule._replace(hyperparameters={k: node.schedules.get(k, n) for k, n in now.items()})


def compare_numbers(state: State, init: Callable[..., Any]) -> list[str]:
    """Which numbers of a state are not those of the optimizer with this `init`, in words."""
    there, given = hyperparameters(state.optimizer), _numbers(init, state.params)
    return [
        f"{name} is {_digits(there.get(name))} in the state, {_digits(given.get(name))} in the optimizer"
        for name in {**there, **given}
        if not _is_same(there.get(name), given.get(name))
    ]


def _numbers(init: Callable[..., Any], params: Any) -> dict[str, np.ndarray]:
    """The rule's numbers; most rules need no parameters for that."""
    try:
        return hyperparameters(init(()))
    except Exception:  # a rule that looks into its parameters
        return hyperparameters(init(trained(params)))


def _is_same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two numbers are equal in the narrower of their types: 0.01 is 0.01 in float32 too."""
    if one is None or other is None:
        return False
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return np.array_equal(one.astype(narrow), other.astype(narrow))


def _digits(number: np.ndarray | None) -> str:
    return "absent" if number is None else f"{number:.7g}" if number.ndim == 0 else str(number)
