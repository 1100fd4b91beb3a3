"""What the pure functions were given, checked by types and shapes: under jit too, before anything runs.

Values are looked at only where they stand there, as numbers of Python do; what is traced passes.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.arguments import check_metrics, check_optimizer
from fnn.arrays import as_arrays, row_count
from fnn.derivatives import COSTS
from fnn.functions import is_key, name_of, said
from fnn.layer import Layer, shapes
from fnn.parameters import trained

__all__: list[str] = []

MOST = np.iinfo(np.int32).max  # epochs are counted in 32 bits


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
    check_cost(caller, cost)
    check_optimizer(caller, optimizer)
    _check_state(caller, state)
    if penalty is not None and not callable(penalty):
        raise TypeError(
            f"{caller}: penalty expected a function of the trained parameters, got {said(penalty)}. A number "
            "is a factor in it: lambda params: 0.01 * jnp.sum(params[0]['weight'] ** 2)."
        )
    check_whole(caller, "batch_size", batch_size, mend="It is the number of rows of a step, such as 32.")
    return _rows(x=x, y=y, sample_weight=sample_weight)


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
    raise TypeError(f"{caller}: network expected a layer, such as fnn.serial(…), got {said(network)}. {mend}")


def check_cost(caller: str, cost: Any) -> None:
    """Refuse what cannot be called, and say how a cost is given that was named or swapped."""
    if callable(cost):
        return
    mend = ""
    if isinstance(cost, str):
        name = cost if cost in {known.__name__ for known in COSTS} else "mse"
        mend = f" Give the function itself: fnn.{name}."
    elif hasattr(cost, "update"):
        mend = " Are cost and optimizer swapped?"
    raise TypeError(
        f"{caller}: cost expected a function of predictions and targets, such as fnn.mse, "
        f"got {said(cost)}.{mend}"
    )


def check_key(caller: str, key: Any) -> None:
    """Refuse a seed, None, and a row of keys."""
    if not is_key(key):
        raise TypeError(
            f"{caller}: key expected jax.random.key(seed), got {said(key)}. Each step has its own."
        )


def _check_state(caller: str, state: Any) -> None:
    if not all(hasattr(state, name) for name in ("params", "optimizer", "key", "epoch")):
        whole = hasattr(state, "state")
        mend = "It is in its field .state." if whole else "fnn.start(network, optimizer, x, key=…) makes one."
        raise TypeError(f"{caller}: state expected an fnn.State, got {said(state)}. {mend}")


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


def check_one_a_row(predictions: Any, x: Any) -> None:
    """Refuse a network that gives another number of predictions than it was given rows."""
    n = jax.tree.leaves(x)[0].shape[0]
    if any(jnp.shape(leaf)[:1] != (n,) for leaf in jax.tree.leaves(predictions)):
        raise ValueError(
            f"expected one prediction for each of {n} rows, got predictions of {shapes(predictions)} from "
            f"an input of {shapes(x)}. A single column of features goes in as x[:, None]; layers keep the "
            "leading axis."
        )


# Many turns ---------------------------------------------------------------------------------------


def check_whole(caller: str, name: str, value: Any, least: int = 1, mend: str = "") -> None:
    """Refuse what is no whole number from `least` up; a traced one too, for it decides shapes."""
    try:
        whole = operator.index(value)
    except TypeError:
        whole = least - 1
    if isinstance(value, bool) or not least <= whole <= MOST:
        if isinstance(value, jax.core.Tracer):
            mend = "It decides shapes: under jit it is a static argument."
        bounds = f"at most {MOST}" if whole > MOST else f"at least {least}"
        got = f"{name}={said(value)}"
        raise ValueError(f"{caller}: {name} expected a whole number, {bounds}, got {got}. {mend}".rstrip())


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
    concrete = patience is not None and not isinstance(patience, jax.core.Tracer)
    if concrete:
        check_whole("train", "patience", patience, mend="Without it training goes on to the last epoch.")
    if validation is None:
        needy = "patience" if concrete else "metrics" if metrics else None
        if needy:
            raise ValueError(f"train: {needy} needs rows that are not trained on: give validation=(x, y).")
        return None
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = f"a tuple of {len(validation)}" if isinstance(validation, tuple) else said(validation)
        raise TypeError(
            f"train: validation expected (x, y) or (x, y, sample_weight), got {got}. Give a tuple of rows "
            "that are not trained on; fnn.split sets some aside."
        )
    if metrics is not None:
        check_metrics("train", metrics)
    if metrics and "cost" in metrics:
        raise ValueError(
            "train: metrics['cost'] would stand in the place of the validation cost, 'validation_cost', that "
            "decides which parameters are best. Give the metric another name."
        )
    return _rows(**{f"validation[{i}]": part for i, part in enumerate(validation)})


# Parameters ---------------------------------------------------------------------------------------


def check_slopes(caller: str, params: Any) -> None:
    """Refuse what is no tree of numbers, and trained numbers that are whole: they have no slope."""
    whole = hasattr(params, "params")
    if whole or params is None or not all(map(_is_number, jax.tree.leaves(params))):
        mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
        raise TypeError(
            f"{caller}: params expected a tree of arrays, such as fitted.params, got {said(params)}. {mend}"
        )
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained(params)):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"{caller}: params{jax.tree_util.keystr(path)} expected floating-point numbers, got {dtype} "
                f"of shape {jnp.shape(leaf)}: a whole number has no slope. Give .astype('float32')."
            )


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float | complex) or (hasattr(leaf, "dtype") and hasattr(leaf, "shape"))
