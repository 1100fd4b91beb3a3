"""What `fit` was given, checked before anything is compiled."""

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
from fnn.workflow.arguments import (
    check_compares,
    check_network,
    check_optimizer,
    check_params,
    check_validation,
)
from fnn.workflow.state import State

__all__: list[str] = []


METRICS = (accuracy, confusion_matrix, r2_score)


def check_fit(
    network: Any,
    cost: Any,
    optimizer: Any,
    epochs: Any,
    batch_size: Any,
    validation: Any,
    metrics: Any,
    patience: Any,
    key: Any,
    state: Any,
    params: Any,
    on_epoch: Any,
    penalty: Any,
) -> None:
    """Refuse arguments that are not what their names say."""
    check_network("fit", network, cost)
    _check_cost(cost)
    check_optimizer("fit", optimizer)
    _check_protocol(optimizer)
    check_whole("fit", "epochs", epochs, 0)
    check_whole("fit", "batch_size", batch_size)
    if params is not None:
        check_params("fit", params)
        _check_numbers("params", params)
    _check_of_one("on_epoch", on_epoch, "the report, such as print")
    _check_of_one("penalty", penalty, "the trained parameters")
    if patience is not None:
        check_whole("fit", "patience", patience)
    check_validation("fit", validation, metrics, patience)
    if key is None and state is None:
        raise ValueError("fit expected a key, the root of its random numbers: pass key=jax.random.key(0).")
    if key is not None:
        check_key("fit", key, "A run has one key.")


def _check_of_one(name: str, function: Any, argument: str) -> None:
    """Refuse what cannot be called with one argument; None stands for no function."""
    if function is not None and not takes(function, argument):
        raise TypeError(
            f"fit: {name} expected a function of one argument, {argument}, got "
            f"{describe(function)}{signature(function)}."
        )


def _check_cost(cost: Any) -> None:
    """Refuse what is no cost: another thing, a metric, or one with options that are not finite."""
    check_compares("fit", "cost", cost, "fnn.mse")
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


def _check_numbers(name: str, params: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        index = not_finite(leaf)
        if index is not None:
            raise ValueError(
                f"fit: {name}{jax.tree_util.keystr(path)} expected finite numbers, got "
                f"{np.asarray(leaf)[index]} at {index}. Begin from network.init(key, x), or from parameters "
                "saved before a run went wrong."
            )


def _check_protocol(optimizer: Any) -> None:
    """Refuse an optimizer whose functions take something else."""
    if not (takes(optimizer.init, "params") and takes(optimizer.update, "grads", "state", "params")):
        raise TypeError(
            "fit: optimizer expected init(params) → state and update(grads, state, params) → updates, state; "
            f"got {describe(optimizer.init)} and {describe(optimizer.update)}{signature(optimizer.update)}."
        )


def check_state(state: Any, optimizer: Any, key: Any, params: Any) -> None:
    """Refuse a state to continue from that another optimizer, key or set of parameters would change."""
    if key is not None or params is not None:
        raise ValueError(
            "fit: with state= the run goes on with its own key and parameters: leave out key= and "
            "params=. (A new run from trained parameters is params=fitted.params, key=….)"
        )
    if not isinstance(state, State):
        mend = "It is in its field .state." if hasattr(state, "state") else "Parameters go in as params=."
        raise TypeError(f"fit: state expected fitted.state, got {describe(state)}. {mend}")
    _check_parts(state)
    there, given = hyperparameters(state.optimizer), _numbers(optimizer, state.params)
    differing = [
        f"{name} is {_said(there.get(name))} in the state, {_said(given.get(name))} in the optimizer"
        for name in {**there, **given}
        if not _same(there.get(name), given.get(name))
    ]
    if differing:
        raise ValueError(
            f"fit: the state belongs to another optimizer: {'; '.join(differing)}. Give the optimizer "
            "it was made with; or change its number in the state too, in state.optimizer.hyperparameters "
            "by _replace; or begin anew from its parameters with params=fitted.params."
        )


def _numbers(optimizer: Any, params: Any) -> dict[str, np.ndarray]:
    """The rule's numbers; most rules tell them without parameters, for nothing."""
    try:
        return hyperparameters(optimizer.init(()))
    except Exception:  # a rule that looks into its parameters
        return hyperparameters(optimizer.init(trained(params)))


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two numbers are one, in the narrower of their types: 0.01 is 0.01 in float32 too."""
    if one is None or other is None:
        return False
    narrow = min(one.dtype, other.dtype, key=lambda dtype: dtype.itemsize)
    return np.array_equal(one.astype(narrow), other.astype(narrow))


def _check_parts(state: State) -> None:
    """Refuse what was put into a state by hand and is not what its place is for."""
    check_whole("fit", "state.epoch", state.epoch, 0)
    check_key("fit: state", state.key)
    best = state.best
    if best is not None and not all(hasattr(best, name) for name in ("params", "cost", "epoch")):
        raise TypeError(
            f"fit: state.best expected fnn.Best(params, cost, epoch) or None, got {describe(best)}."
        )
    if best is not None:
        check_whole("fit", "state.best.epoch", best.epoch, 0)
    mend = "fnn.start, fit and fnn.load make a state; ._replace changes a number in it."
    check_leaves("fit", "state", state, mend, also=(int, float))
    _check_numbers("state.params", state.params)


def _said(number: np.ndarray | None) -> str:
    return "absent" if number is None else f"{number:.7g}" if number.ndim == 0 else str(number)


def hyperparameters(state: Any) -> dict[str, np.ndarray]:
    """The rule's numbers, by their place in an optimizer's state; empty where it keeps none."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        if "hyperparameters" in names:
            found["/".join(n for n in names if n != "hyperparameters")] = np.asarray(leaf)
    return found
