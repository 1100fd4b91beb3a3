"""What `fit` was given, checked before anything is compiled."""

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fnn.arrays import not_finite
from fnn.functions import is_key, name_of
from fnn.layer import Layer, said

__all__: list[str] = []


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
    if not isinstance(network, Layer):
        uncalled = getattr(network, "makes_a_layer", False)
        mend = f"Call it: {said(network).split()[-1]}(…)." if uncalled else "fnn.serial(function) makes one."
        raise TypeError(f"fit: network expected a layer, such as fnn.serial(…), got {said(network)}. {mend}")
    _check_function("fit", "cost", cost, "fnn.mse")
    check_optimizer("fit", optimizer)
    check_count("epochs", epochs, 0)
    check_count("batch_size", batch_size, 1)
    if params is not None:
        check_params("fit", params)
        _check_numbers(params)
    _check_of_one("on_epoch", on_epoch, "the report, such as print")
    _check_of_one("penalty", penalty, "the trained parameters")
    if patience is not None:
        check_count("patience", patience, 1)
    _check_validation(validation, metrics, patience)
    if key is None and state is None:
        raise ValueError("fit expected a key, the root of its random numbers: pass key=jax.random.key(0).")
    if key is not None and not is_key(key):
        raise TypeError(f"fit: key expected jax.random.key(seed), got {said(key)}. A run has one key.")


def _check_function(caller: str, name: str, function: Any, example: str) -> None:
    if not callable(function):
        swapped = " Are cost and optimizer swapped?" if hasattr(function, "update") else ""
        raise TypeError(
            f"{caller}: {name} expected a function of predictions and targets, such as {example}, "
            f"got {said(function)}.{swapped}"
        )


def _check_of_one(name: str, function: Any, argument: str) -> None:
    """Refuse what cannot be called with one argument; None stands for no function."""
    if function is None:
        return
    try:
        inspect.signature(function).bind(argument)
    except TypeError:
        takes = inspect.signature(function) if callable(function) else ""
        raise TypeError(
            f"fit: {name} expected a function of one argument, {argument}, got {said(function)}{takes}."
        ) from None
    except ValueError:
        pass  # some functions of C have no signature


def _check_numbers(params: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        index = not_finite(leaf)
        if index is not None:
            raise ValueError(
                f"fit: params{jax.tree_util.keystr(path)} expected finite numbers, got "
                f"{np.asarray(leaf)[index]} at {index}. Begin from network.init(key, x), or from parameters "
                "saved before a run went wrong."
            )


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number, or a smaller one than `least`."""
    try:
        whole = operator.index(value)
    except TypeError:
        whole = least - 1
    if isinstance(value, bool) or whole < least:
        mend = (
            f" Give {name}={value:.0f}."
            if isinstance(value, float) and value.is_integer() and value >= least
            else ""
        )
        raise ValueError(f"fit: {name} expected a whole number, at least {least}, got {said(value)}.{mend}")


def _check_validation(validation: Any, metrics: Any, patience: Any) -> None:
    if validation is None:
        needy = "patience" if patience is not None else "metrics" if metrics else None
        if needy:
            raise ValueError(
                f"fit: {needy} needs rows that are not trained on: give validation=(x, y). "
                "fnn.split sets some aside; fnn.evaluate measures after training."
            )
        return
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = f"a tuple of {len(validation)}" if isinstance(validation, tuple) else said(validation)
        raise TypeError(
            f"fit: validation expected (x, y) or (x, y, sample_weight), got {got}. Give a tuple of rows that "
            "are not trained on; fnn.split sets some aside."
        )
    check_metrics("fit", metrics or {})


def check_metrics(caller: str, metrics: Any) -> None:
    """Refuse metrics that are no functions by name."""
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{caller}: metrics expected functions by name, such as {{'accuracy': fnn.accuracy}}, "
            f"got {said(metrics)}."
        )
    for name, metric in metrics.items():
        _check_function(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


def check_params(caller: str, params: Any) -> None:
    """Refuse parameters that are no tree of arrays: a whole result, or none."""
    leaves = jax.tree.leaves(params)
    whole = hasattr(params, "params")
    if whole or params is None or not all(hasattr(leaf, "dtype") for leaf in leaves):
        mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
        raise TypeError(
            f"{caller}: params expected a tree of arrays, such as fitted.params, got {said(params)}. {mend}"
        )


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update: a rule that was not called, a number, a plain function."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        mend = f" Call it: {name_of(optimizer)}(…)." if callable(optimizer) else ""
        raise TypeError(f"{caller}: optimizer expected one such as fnn.adam(), got {said(optimizer)}.{mend}")


def check_state(state: Any, optimizer: Any, key: Any, params: Any) -> None:
    """Refuse a state to continue from that another optimizer, key or set of parameters would change."""
    if key is not None or params is not None:
        raise ValueError(
            "fit: with state= the run goes on with its own key and parameters: leave out key= and "
            "params=. (A new run from trained parameters is params=fitted.params, key=….)"
        )
    if not (hasattr(state, "optimizer") and hasattr(state, "epoch")):
        mend = "It is in its field .state." if hasattr(state, "state") else "Parameters go in as params=."
        raise TypeError(f"fit: state expected fitted.state, got {said(state)}. {mend}")
    there, given = hyperparameters(state.optimizer), hyperparameters(optimizer.init(()))
    differing = [
        f"{name} is {_said(there.get(name))} in the state, {_said(given.get(name))} in the optimizer"
        for name in {**there, **given}
        if not np.array_equal(there.get(name, np.nan), given.get(name, np.nan))
    ]
    if differing:
        raise ValueError(
            f"fit: the state belongs to another optimizer: {'; '.join(differing)}. Give the optimizer "
            "it was made with; or change its number in the state too, in state.optimizer.hyperparameters "
            "by _replace; or begin anew from its parameters with params=fitted.params."
        )


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
