"""What `fit` was given, checked before anything is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnn.guard.functions import as_partial, takes
from fnn.guard.numbers import check_key, check_whole, not_finite
from fnn.guard.trees import check_leaves
from fnn.guard.words import describe, name_of, signature
from fnn.losses.mean import check_bound
from fnn.metrics.classification import accuracy, confusion_matrix
from fnn.metrics.regression import r2_score
from fnn.network.parameters import trained
from fnn.workflow.arguments import check_functions, check_params, check_validation
from fnn.workflow.rows import checked_rows
from fnn.workflow.setting import Setting, make_setting
from fnn.workflow.state import State

__all__: list[str] = []

METRICS = (accuracy, confusion_matrix, r2_score)


def read_setting(
    network: Any,
    cost: Any,
    optimizer: Any,
    x: Any,
    y: Any,
    batch_size: Any,
    sample_weight: Any,
    penalty: Any,
    validation: Any,
    metrics: Any,
) -> Setting:
    """What the run computes with: functions that fit together, and rows as arrays."""
    check_functions("fit", network, cost, optimizer, penalty)
    _check_cost(cost)
    check_whole("fit", "batch_size", batch_size)
    x, y, sample_weight, validation = checked_rows(network, cost, x, y, sample_weight, validation)
    rest = {"batch_size": int(batch_size), "x": x, "y": y, "sample_weight": sample_weight}
    init = as_partial(optimizer.init)
    return make_setting(network, cost, optimizer, penalty, metrics, **rest, validation=validation, init=init)


def check_course(epochs: Any, patience: Any, validation: Any, metrics: Any, on_epoch: Any) -> None:
    """Refuse what cannot say how long the run goes on."""
    check_whole("fit", "epochs", epochs, 0)
    check_validation("fit", validation, metrics, patience)
    if on_epoch is not None and not takes(on_epoch, "report"):
        raise TypeError(
            f"fit: on_epoch expected a function of one argument, the report, such as print, got "
            f"{describe(on_epoch)}{signature(on_epoch)}."
        )


def check_start(key: Any, params: Any, state: Any) -> None:
    """Refuse what the run cannot begin from: neither a key nor a state, or both."""
    if state is not None and (key is not None or params is not None):
        raise ValueError(
            "fit: with state= the run goes on with its own key and parameters: leave out key= and "
            "params=. (A new run from trained parameters is params=fitted.params, key=….)"
        )
    if state is None and key is None:
        raise ValueError("fit expected a key, the root of its random numbers: pass key=jax.random.key(0).")
    if key is not None:
        check_key("fit", key, "A run has one key.")
    if params is not None:
        check_params("fit", params)
        _check_finite("params", params)


def _check_cost(cost: Any) -> None:
    """Refuse a metric in the place of a cost, and options of a cost that are out of range or not finite."""
    if cost in METRICS:
        raise ValueError(
            f"fit: cost expected a function to be lowered, such as fnn.mse, got the metric {name_of(cost)}: "
            f"give it as metrics={{{name_of(cost)!r}: fnn.{name_of(cost)}}}."
        )
    check_bound(cost)
    for path, leaf in jax.tree_util.tree_leaves_with_path(as_partial(cost)):
        if isinstance(leaf, int | float | np.ndarray | jax.Array) and not_finite(leaf) is not None:
            option = jax.tree_util.keystr(path[1:])
            raise ValueError(f"fit: the option {option} of {name_of(cost)} expected finite numbers.")


def _check_finite(name: str, params: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        index = not_finite(leaf)
        if index is not None:
            raise ValueError(
                f"fit: {name}{jax.tree_util.keystr(path)} expected finite numbers, got "
                f"{np.asarray(leaf)[index]} at {index}. Begin from network.init(key, x), or from parameters "
                "saved before a run went wrong."
            )


# A state to continue from -------------------------------------------------------------------------


def check_state(state: Any, init: Callable[..., Any]) -> None:
    """Refuse a state that was changed by hand into what a run cannot use, or that another optimizer made."""
    if not isinstance(state, State):
        fix = "It is in its field .state." if hasattr(state, "state") else "Parameters go in as params=."
        raise TypeError(f"fit: state expected fitted.state, got {describe(state)}. {fix}")
    _check_parts(state)
    there, given = hyperparameters(state.optimizer), _numbers(init, state.params)
    differing = [
        f"{name} is {_digits(there.get(name))} in the state, {_digits(given.get(name))} in the optimizer"
        for name in {**there, **given}
        if not _is_same(there.get(name), given.get(name))
    ]
    if differing:
        raise ValueError(
            f"fit: the state belongs to another optimizer: {'; '.join(differing)}. Give the optimizer "
            "it was made with; or change its number in the state too, in state.optimizer.hyperparameters "
            "by _replace; or begin anew from its parameters with params=fitted.params."
        )


def _check_parts(state: State) -> None:
    check_whole("fit", "state.epoch", state.epoch, 0)
    check_key("fit: state", state.key)
    best = state.best
    if best is not None:
        if not all(hasattr(best, name) for name in ("params", "cost", "epoch")):
            expected = "fit: state.best expected fnn.Best(params, cost, epoch) or None"
            raise TypeError(f"{expected}, got {describe(best)}.")
        check_whole("fit", "state.best.epoch", best.epoch, 0)
    fix = "fnn.start, fit and fnn.load make a state; ._replace changes a number in it."
    check_leaves("fit", "state", state, fix, also=(int, float))
    _check_finite("state.params", state.params)


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


def hyperparameters(state: Any) -> dict[str, np.ndarray]:
    """The rule's numbers, by their place in an optimizer's state; empty where it keeps none."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        if "hyperparameters" in names:
            found["/".join(n for n in names if n != "hyperparameters")] = np.asarray(leaf)
    return found
