"""What `fit` was given, checked before anything is compiled."""

import contextlib
import inspect
import operator
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from fnn.arrays import not_finite
from fnn.functions import as_partial, is_key, name_of, said
from fnn.layer import Layer
from fnn.losses.mean import check_bound
from fnn.metrics.classification import accuracy, confusion_matrix
from fnn.metrics.regression import r2_score
from fnn.parameters import trained

__all__: list[str] = []

METRICS = (accuracy, confusion_matrix, r2_score)
MOST = 2**31 - 1  # epochs are counted in int32


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
    _check_cost(cost)
    check_optimizer("fit", optimizer)
    _check_protocol(optimizer)
    check_count("epochs", epochs, 0)
    check_count("batch_size", batch_size, 1)
    if params is not None:
        check_params("fit", params)
        _check_numbers("params", params)
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
    if not _takes(function, "predictions", "targets"):
        swapped = " Are cost and optimizer swapped?" if hasattr(function, "update") else ""
        raise TypeError(
            f"{caller}: {name} expected a function of predictions and targets, such as {example}, "
            f"got {said(function)}{_signature(function)}.{swapped}"
        )


def _check_of_one(name: str, function: Any, argument: str) -> None:
    """Refuse what cannot be called with one argument; None stands for no function."""
    if function is not None and not _takes(function, argument):
        raise TypeError(
            f"fit: {name} expected a function of one argument, {argument}, got "
            f"{said(function)}{_signature(function)}."
        )


def _takes(function: Any, *arguments: str) -> bool:
    """Whether it can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some functions of C have no signature
        return callable(function)
    return True


def _signature(function: Any) -> str:
    with contextlib.suppress(TypeError, ValueError):
        return str(inspect.signature(function)) if callable(function) else ""
    return ""


def _check_cost(cost: Any) -> None:
    """Refuse what is no cost: another thing, a metric, or one with options that are not finite."""
    _check_function("fit", "cost", cost, "fnn.mse")
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
    if whole > MOST:
        raise ValueError(f"fit: {name} expected a whole number, at most {MOST}, got {said(value)}.")


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
        if not isinstance(name, str):
            raise TypeError(f"{caller}: metrics expected texts as names, got {said(name)}.")
        if name == "cost" and caller == "fit":
            raise ValueError("fit: metrics: 'cost' is the name of the validation cost. Choose another.")
        _check_function(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


def _is_array(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and not isinstance(leaf, type) and leaf.dtype != object


def check_params(caller: str, params: Any) -> None:
    """Refuse parameters that are no tree of arrays: a whole result, or none."""
    leaves = jax.tree.leaves(params)
    whole = hasattr(params, "params")
    if whole or params is None or not all(map(_is_array, leaves)):
        mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
        raise TypeError(
            f"{caller}: params expected a tree of arrays, such as fitted.params, got {said(params)}. {mend}"
        )


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update: a rule that was not called, a number, a plain function."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        mend = f" Call it: {name_of(optimizer)}(…)." if callable(optimizer) else ""
        if "predictions" in _signature(optimizer):
            mend = " Are cost and optimizer swapped?"
        raise TypeError(f"{caller}: optimizer expected one such as fnn.adam(), got {said(optimizer)}.{mend}")


def _check_protocol(optimizer: Any) -> None:
    """Refuse an optimizer whose functions take something else."""
    if not (_takes(optimizer.init, "params") and _takes(optimizer.update, "grads", "state", "params")):
        raise TypeError(
            "fit: optimizer expected init(params) → state and update(grads, state, params) → updates, state; "
            f"got {said(optimizer.init)} and {said(optimizer.update)}{_signature(optimizer.update)}."
        )


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


def _check_parts(state: Any) -> None:
    """Refuse what was put into a state by hand and is not what its place is for."""
    check_params("fit", state.params)
    _check_numbers("state.params", state.params)
    check_count("state.epoch", state.epoch, 0)
    if not is_key(state.key):
        raise TypeError(f"fit: state.key expected a random key, got {said(state.key)}.")
    best = state.best
    if best is not None and not all(hasattr(best, name) for name in ("params", "cost", "epoch")):
        raise TypeError(f"fit: state.best expected fnn.Best(params, cost, epoch) or None, got {said(best)}.")
    if best is not None:
        check_count("state.best.epoch", best.epoch, 0)


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
