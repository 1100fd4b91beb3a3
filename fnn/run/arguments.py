"""What `fit` was given, checked before anything is compiled."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from fnn.guard.functions import as_partial
from fnn.guard.numbers import check_finite, check_key, check_whole, is_traced
from fnn.guard.trees import check_leaves, check_params
from fnn.guard.words import Words, name_of, unexpected
from fnn.losses.several import costs_by_output
from fnn.run.hyperparameters import compare_numbers
from fnn.workflow.arguments import check_functions, check_of_one, check_validation
from fnn.workflow.rows import METRICS
from fnn.workflow.state import State

__all__: list[str] = []


def check_course(epochs: Any, patience: Any, validation: Any, metrics: Any, on_epoch: Any) -> None:
    """Refuse what cannot say how long the run goes on."""
    check_whole("fit", "epochs", epochs, 0)
    check_validation("fit", validation, metrics, patience)
    check_of_one("fit: on_epoch", on_epoch, "the report, such as print")


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
        check_finite("fit: params", params, BEGIN)


def check_known(caller: str, *trees: Any) -> None:
    """Refuse numbers that have no values yet: the run is made on the host, between compiled calls."""
    if is_traced(trees):
        raise TypeError(
            f"{caller} runs on the host, and is given traced numbers here, inside jit, grad, vmap or scan: "
            "call it outside, or train inside with fnn.start and fnn.train, which are pure."
        )


def check_parts(caller: str, network: Any, cost: Any, optimizer: Any, penalty: Any, batch_size: Any) -> None:
    """Refuse what a run cannot be made of."""
    check_functions(caller, network, cost, optimizer, penalty)
    _check_cost(caller, cost)
    check_whole(caller, "batch_size", batch_size)


def _check_cost(caller: str, cost: Any) -> None:
    """Refuse a metric in the place of a cost, and options of a cost that are out of range or not finite."""
    inner = getattr(cost, "func", cost)
    if any(inner is metric for metric in METRICS):
        got = Words(f"the metric {name_of(cost)}")
        metric = f"fnn.{name_of(inner)}" if not getattr(cost, "keywords", {}) else "…"
        fix = f"Give it as metrics={{{name_of(inner)!r}: {metric}}}."
        raise ValueError(unexpected(f"{caller}: cost", "a function to be lowered, such as fnn.mse", got, fix))
    for part in costs_by_output(cost).values():
        _check_cost(caller, part)
    for path, leaf in jax.tree_util.tree_leaves_with_path(as_partial(cost)):
        if isinstance(leaf, int | float | np.ndarray | jax.Array):
            check_finite(
                f"{caller}: the option {jax.tree_util.keystr(path[1:])} of {name_of(cost)}", leaf, ""
            )


BEGIN = "Begin from network.init(key, x), or from parameters saved before a run went wrong."


# A state to continue from -------------------------------------------------------------------------


def check_state(state: Any, init: Callable[..., Any]) -> None:
    """Refuse a state that was changed by hand into what a run cannot use, or that another optimizer made."""
    if not isinstance(state, State):
        fix = "It is in its field .state." if hasattr(state, "state") else "Parameters go in as params=."
        raise TypeError(unexpected("fit: state", "fitted.state", state, fix))
    _check_parts(state)
    differing = compare_numbers(state, init)
    if differing:
        raise ValueError(
            f"fit: the state belongs to another optimizer: {'; '.join(differing)}. Give the optimizer "
            "it was made with; or change its number in the state too, by fnn.set_hyperparameters(state, …); "
            "or begin anew from its parameters with params=fitted.params."
        )


def _check_parts(state: State) -> None:
    check_whole("fit", "state.epoch", state.epoch, 0)
    check_key("fit: state", state.key)
    best = state.best
    if best is not None:
        if not all(hasattr(best, name) for name in ("params", "cost", "epoch")):
            raise TypeError(unexpected("fit: state.best", "fnn.Best(params, cost, epoch) or None", best))
        check_whole("fit", "state.best.epoch", best.epoch, 0)
    fix = "fnn.start, fit and fnn.load make a state; ._replace changes a number in it."
    check_leaves("fit", "state", state, fix, also=(int, float))
    check_finite("fit: state.params", state.params, BEGIN)
