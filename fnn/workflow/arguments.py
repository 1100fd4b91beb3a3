"""What every door asks of its arguments; each refusal names the door."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_arrays, row_count
from fnn.guard.functions import takes
from fnn.guard.numbers import check_whole
from fnn.guard.trees import check_leaves
from fnn.guard.words import describe, name_of, signature
from fnn.losses import classification, regression
from fnn.network.layer import Layer
from fnn.network.parameters import trained

__all__: list[str] = []


def check_network(caller: str, network: Any, cost: Any = None) -> None:
    """Refuse what is no layer: a factory that was not called, a function, what was swapped."""
    if isinstance(network, Layer):
        return
    if isinstance(cost, Layer):
        mend = "Are network and cost swapped?"
    elif getattr(network, "makes_a_layer", False):
        mend = f"Call it: fnn.{name_of(network)}(…)."
    else:
        mend = "fnn.serial(function) makes one." if callable(network) else "Does the network come first?"
    raise TypeError(
        f"{caller}: network expected a layer, such as fnn.serial(…), got {describe(network)}. {mend}"
    )


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update: a rule that was not called, a number, a plain function."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        mend = f" Call it: {name_of(optimizer)}(…)." if callable(optimizer) else ""
        if "predictions" in signature(optimizer):
            mend = " Are cost and optimizer swapped?"
        raise TypeError(
            f"{caller}: optimizer expected one such as fnn.adam(), got {describe(optimizer)}.{mend}"
        )


def check_params(caller: str, params: Any, also: tuple[type, ...] = ()) -> None:
    """Refuse what is no tree of parameters: a whole result, None, a network; leaves may be of `also` too."""
    whole = hasattr(params, "params")
    mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
    if whole or params is None or isinstance(params, Layer):
        expected = "params expected a tree of arrays, such as fitted.params"
        raise TypeError(f"{caller}: {expected}, got {describe(params)}. {mend}")
    check_leaves(caller, "params", params, mend, also)


def check_validation(caller: str, validation: Any, metrics: Any, patience: Any) -> None:
    """Refuse what is no (x, y) or (x, y, sample_weight), and what needs one where there is none."""
    if validation is None:
        needy = "patience" if patience is not None else "metrics" if metrics else None
        if needy:
            raise ValueError(
                f"{caller}: {needy} needs rows that are not trained on: give validation=(x, y). "
                "fnn.split sets some aside; fnn.evaluate measures after training."
            )
        return
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = f"a tuple of {len(validation)}" if isinstance(validation, tuple) else describe(validation)
        raise TypeError(
            f"{caller}: validation expected (x, y) or (x, y, sample_weight), got {got}. Give a tuple of rows "
            "that are not trained on; fnn.split sets some aside."
        )
    check_metrics(caller, {} if metrics is None else metrics)
    if "cost" in (metrics or {}):
        raise ValueError(
            f"{caller}: metrics['cost'] would stand in the place of the validation cost, which decides what "
            "is best. Choose another name."
        )


def check_metrics(caller: str, metrics: Any) -> None:
    """Refuse metrics that are no functions by name."""
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{caller}: metrics expected functions by name, such as {{'accuracy': fnn.accuracy}}, "
            f"got {describe(metrics)}."
        )
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f"{caller}: metrics expected texts as names, got {describe(name)}.")
        check_compares(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


def check_compares(caller: str, name: str, function: Any, example: str) -> None:
    """Refuse what cannot be called with predictions and targets: a name, a rule, a function of others."""
    if not takes(function, "predictions", "targets"):
        mend = " Are cost and optimizer swapped?" if hasattr(function, "update") else ""
        if isinstance(function, str):
            itself = f"fnn.{function}" if function in classification.__all__ + regression.__all__ else example
            mend = f" Give the function itself: {itself}."
        raise TypeError(
            f"{caller}: {name} expected a function of predictions and targets, such as {example}, "
            f"got {describe(function)}{signature(function)}.{mend}"
        )


# One turn -----------------------------------------------------------------------------------------


def checked_turn(
    caller: str,
    network: Any,
    cost: Any,
    optimizer: Any,
    state: Any,
    penalty: Any,
    x: Any,
    y: Any,
    sample_weight: Any,
    batch_size: Any = 1,
) -> tuple[Any, ...]:
    """The rows as arrays, of one number; refuses what is not what its name says."""
    check_network(caller, network, cost)
    check_compares(caller, "cost", cost, "fnn.mse")
    check_optimizer(caller, optimizer)
    _check_state(caller, state)
    if penalty is not None and not callable(penalty):
        raise TypeError(
            f"{caller}: penalty expected a function of the trained parameters, got {describe(penalty)}. A "
            "number is a factor in it: lambda params: 0.01 * jnp.sum(params[0]['weight'] ** 2)."
        )
    check_whole(caller, "batch_size", batch_size, mend="It is the number of rows of a step, such as 32.")
    return _rows(x=x, y=y, sample_weight=sample_weight)


def _check_state(caller: str, state: Any) -> None:
    if not all(hasattr(state, name) for name in ("params", "optimizer", "key", "epoch")):
        whole = hasattr(state, "state")
        mend = "It is in its field .state." if whole else "fnn.start(network, optimizer, x, key=…) makes one."
        raise TypeError(f"{caller}: state expected an fnn.State, got {describe(state)}. {mend}")


def _rows(**named: Any) -> tuple[Any, ...]:
    named = {name: _as_arrays(name, rows) for name, rows in named.items()}
    row_count(**named)
    return tuple(named.values())


def _as_arrays(name: str, rows: Any) -> Any:
    """Lists and tables as arrays; what JAX computes with stays what it is."""
    return rows if all(map(_is_numeric, jax.tree.leaves(rows))) else as_arrays(rows, name)


def _is_numeric(leaf: Any) -> bool:
    numeric = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
    return isinstance(leaf, jax.Array) or (numeric and not np.ma.is_masked(leaf))


# Many turns ---------------------------------------------------------------------------------------


def check_epochs(epochs: Any, capacity: Any) -> None:
    """Refuse epochs that cannot be counted, and a history that cannot hold them."""
    if capacity is not None:
        check_whole("train", "capacity", capacity, mend="It is the number of rows of the history.")
    if not isinstance(epochs, jax.core.Tracer):
        check_whole("train", "epochs", epochs, 0, "A run is continued by calling train with its state.")
        if capacity is not None and epochs > capacity:
            raise ValueError(
                f"train: capacity expected room for {epochs} epochs, got capacity={capacity}: what does not "
                "fit would be lost. Leave it out, or let it be the largest number of epochs."
            )
    elif epochs.shape != () or not jnp.issubdtype(epochs.dtype, jnp.integer):
        raise ValueError(
            f"train: epochs expected one whole number, got {epochs.dtype} of shape {epochs.shape}."
        )
    elif capacity is None:
        raise ValueError(
            "train: epochs is traced here, so it cannot decide how long the history is: give capacity=, the "
            "largest number of epochs."
        )


def checked_validation(validation: Any, metrics: Any, patience: Any) -> tuple[Any, ...] | None:
    """The rows that are not trained on, as arrays; refuses what needs them where there are none."""
    known = None if isinstance(patience, jax.core.Tracer) else patience
    if known is not None:
        check_whole("train", "patience", known, mend="Without it training goes on to the last epoch.")
    check_validation("train", validation, metrics, known)
    if validation is None:
        return None
    return _rows(**{f"validation[{i}]": part for i, part in enumerate(validation)})


# Parameters ---------------------------------------------------------------------------------------


def check_slopes(caller: str, params: Any) -> None:
    """Refuse what is no tree of numbers, and trained numbers that are whole: they have no slope."""
    check_params(caller, params, also=(int, float, complex))
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained(params)):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{caller}: params{jax.tree_util.keystr(path)} expected floating-point numbers, got {dtype} "
                f"of shape {jnp.shape(leaf)}: a whole number has no slope. Give .astype('float32')."
            )
