"""What every door asks of its arguments; each message begins with the door's name."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import as_arrays, row_count
from fnn.guard.functions import accepted, takes
from fnn.guard.numbers import check_whole
from fnn.guard.trees import check_leaves
from fnn.guard.words import describe, name_of, signature
from fnn.losses import classification, regression
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.optimizers.transformations import check_has_rule

__all__: list[str] = []


# Functions ----------------------------------------------------------------------------------------


def check_network(caller: str, network: Any, cost: Any = None) -> None:
    """Refuse what is not a layer: a factory that was not called, a function, swapped arguments."""
    if isinstance(network, Layer):
        return
    if isinstance(cost, Layer):
        fix = "Are network and cost swapped?"
    elif getattr(network, "makes_a_layer", False):
        fix = f"Call it: fnn.{name_of(network)}(…)."
    else:
        fix = "fnn.serial(function) makes one." if callable(network) else "Does the network come first?"
    raise TypeError(
        f"{caller}: network expected a layer, such as fnn.serial(…), got {describe(network)}. {fix}"
    )


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update, or where they take something else."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        fix = f" Call it: {name_of(optimizer)}(…)." if callable(optimizer) else ""
        if "predictions" in signature(optimizer):
            fix = " Are cost and optimizer swapped?"
        expected = f"{caller}: optimizer expected one such as fnn.adam()"
        raise TypeError(f"{expected}, got {describe(optimizer)}.{fix}")
    if not (takes(optimizer.init, "params") and _is_update(optimizer.update)):
        raise TypeError(
            f"{caller}: optimizer expected init(params) → state and update(grads, state, params) → updates, "
            f"state; got {describe(optimizer.init)} and {describe(optimizer.update)}"
            f"{signature(optimizer.update)}."
        )
    check_has_rule(optimizer.init)


def _is_update(update: Any) -> bool:
    """Whether it takes grads, state and params; of the extra arguments it may ask for any."""
    if takes(update, "grads", "state", "params"):
        return True
    if not callable(update):
        return False
    asked = accepted(update, {"value": None, "grad": None, "value_fn": None})
    return takes(functools.partial(update, **asked), "grads", "state", "params")


def check_compares(caller: str, name: str, function: Any, example: str) -> None:
    """Refuse what cannot be called with predictions and targets: a name, a rule, another function."""
    if takes(function, "predictions", "targets"):
        return
    fix = " Are cost and optimizer swapped?" if hasattr(function, "update") else ""
    if isinstance(function, str):
        itself = f"fnn.{function}" if function in classification.__all__ + regression.__all__ else example
        fix = f" Give the function itself: {itself}."
    raise TypeError(
        f"{caller}: {name} expected a function of predictions and targets, such as {example}, "
        f"got {describe(function)}{signature(function)}.{fix}"
    )


def check_penalty(caller: str, penalty: Any) -> None:
    """Refuse what cannot be called with the parameters; None is no penalty."""
    if penalty is not None and not takes(penalty, "params"):
        raise TypeError(
            f"{caller}: penalty expected a function of one argument, the trained parameters, got "
            f"{describe(penalty)}{signature(penalty)}. A number is a factor in it: "
            "lambda params: 0.01 * jnp.sum(params[0]['weight'] ** 2)."
        )


def check_functions(caller: str, network: Any, cost: Any, optimizer: Any, penalty: Any) -> None:
    """Refuse what a step cannot be made of."""
    check_network(caller, network, cost)
    check_compares(caller, "cost", cost, "fnn.mse")
    check_optimizer(caller, optimizer)
    check_penalty(caller, penalty)


def check_metrics(caller: str, metrics: Any) -> None:
    """Refuse metrics that are not functions by name."""
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{caller}: metrics expected functions by name, such as {{'accuracy': fnn.accuracy}}, "
            f"got {describe(metrics)}."
        )
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f"{caller}: metrics expected texts as names, got {describe(name)}.")
        check_compares(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


# Parameters and states ----------------------------------------------------------------------------


def check_params(caller: str, params: Any, also: tuple[type, ...] = ()) -> None:
    """Refuse what is not a tree of parameters: a whole result, None, a network."""
    whole = hasattr(params, "params")
    fix = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
    if whole or params is None or isinstance(params, Layer):
        expected = "params expected a tree of arrays, such as fitted.params"
        raise TypeError(f"{caller}: {expected}, got {describe(params)}. {fix}")
    check_leaves(caller, "params", params, fix, also)


def check_slopes(caller: str, params: Any) -> None:
    """Refuse what is not a tree of numbers, and trained integers: they have no derivative."""
    check_params(caller, params, also=(int, float, complex))
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained(params)):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{caller}: params{jax.tree_util.keystr(path)} expected floating-point numbers, got {dtype} "
                f"of shape {jnp.shape(leaf)}: integers have no derivative. Give .astype('float32')."
            )


def check_state_fields(caller: str, state: Any) -> None:
    """Refuse what has not the fields of a State."""
    if not all(hasattr(state, name) for name in ("params", "optimizer", "key", "epoch")):
        whole = hasattr(state, "state")
        fix = "It is in its field .state." if whole else "fnn.start(network, optimizer, x, key=…) makes one."
        raise TypeError(f"{caller}: state expected an fnn.State, got {describe(state)}. {fix}")


# One turn and many --------------------------------------------------------------------------------


def check_turn(
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
    """The rows (x, y, sample_weight) as arrays of one length; refuses what is not what its name says."""
    check_functions(caller, network, cost, optimizer, penalty)
    check_state_fields(caller, state)
    check_whole(caller, "batch_size", batch_size, mend="It is the number of rows of a step, such as 32.")
    return _read_rows(state, x=x, y=y, sample_weight=sample_weight)


def _read_rows(state: Any, **trees: Any) -> tuple[Any, ...]:
    rows = tuple(_as_arrays(name, tree) for name, tree in trees.items())
    row_count(**dict(zip(trees, rows)))
    if isinstance(state.epoch, jax.core.Tracer):  # under a user's jit a NumPy array is a constant of it,
        return jax.tree.map(jnp.asarray, rows)  # and JAX remembers its type from where it was first seen
    return rows


def _as_arrays(name: str, rows: Any) -> Any:
    """Lists and tables as arrays; what JAX computes with is left as it is."""
    return rows if all(map(_is_numeric, jax.tree.leaves(rows))) else as_arrays(rows, name)


def _is_numeric(leaf: Any) -> bool:
    numeric = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
    return isinstance(leaf, jax.Array) or (numeric and not np.ma.is_masked(leaf))


def check_epochs(epochs: Any, capacity: Any) -> None:
    """Refuse epochs that cannot be counted, and a history that cannot hold them."""
    if capacity is not None:
        check_whole("train", "capacity", capacity, mend="It is the number of rows of the history.")
    if not isinstance(epochs, jax.core.Tracer):
        check_whole("train", "epochs", epochs, 0, "A run is continued by calling train with its state.")
        if capacity is not None and epochs > capacity:
            raise ValueError(
                f"train: capacity expected room for {epochs} epochs, got capacity={capacity}: the rest "
                "would be lost. Leave it out, or give the largest number of epochs."
            )
    elif epochs.shape != () or not jnp.issubdtype(epochs.dtype, jnp.integer):
        raise ValueError(
            f"train: epochs expected one whole number, got {epochs.dtype} of shape {epochs.shape}."
        )
    elif capacity is None:
        raise ValueError(
            "train: epochs is traced here, so it cannot decide the length of the history: give capacity=, "
            "the largest number of epochs."
        )


def check_validation(caller: str, validation: Any, metrics: Any, patience: Any) -> None:
    """Refuse what is not (x, y) or (x, y, sample_weight), and what needs one where there is none."""
    if patience is not None and not isinstance(patience, jax.core.Tracer):
        check_whole(caller, "patience", patience, mend="Without it training goes on to the last epoch.")
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
            f"{caller}: metrics['cost'] would replace the validation cost, which decides what is best. "
            "Choose another name."
        )


def read_validation(state: Any, validation: Any, metrics: Any, patience: Any) -> tuple[Any, ...] | None:
    """The rows that are not trained on, as arrays."""
    check_validation("train", validation, metrics, patience)
    if validation is None:
        return None
    return _read_rows(state, **{f"validation[{i}]": part for i, part in enumerate(validation)})
