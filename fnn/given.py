"""What the pure functions were given, checked by types and shapes: under jit too, before anything runs.

Values are looked at only where they stand there, as numbers of Python do; what is traced passes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.arrays import as_arrays, row_count
from fnn.checks import (
    check_compares,
    check_network,
    check_optimizer,
    check_params,
    check_validation,
    check_whole,
)
from fnn.functions import said
from fnn.layer import shapes
from fnn.parameters import trained

__all__: list[str] = []


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
            f"{caller}: penalty expected a function of the trained parameters, got {said(penalty)}. A number "
            "is a factor in it: lambda params: 0.01 * jnp.sum(params[0]['weight'] ** 2)."
        )
    check_whole(caller, "batch_size", batch_size, mend="It is the number of rows of a step, such as 32.")
    return _rows(x=x, y=y, sample_weight=sample_weight)


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
