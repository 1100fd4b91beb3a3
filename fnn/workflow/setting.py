"""What a run computes with, all but its state: functions are structure, numbers and data are leaves."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.arrays import as_arrays, as_rows, row_count
from fnn.guard.functions import as_partial
from fnn.guard.numbers import check_finite
from fnn.network.layer import Layer
from fnn.optimizers.rule import Optimizer
from fnn.workflow.rows import WEIGHTS, check_ids, check_targets_of, check_weights
from fnn.workflow.shapes import as_floats
from fnn.workflow.state import State

__all__: list[str] = []

Function = Callable[..., Any]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["cost", "penalty", "metrics", "x", "y", "sample_weight", "validation", "init"],
    meta_fields=["network", "update", "batch_size"],
)
@dataclasses.dataclass(frozen=True)
class Setting:
    """What a run computes with.

    A pytree: `jax.jit(core)(setting, state)` compiles once for a network, a rule and a batch size, whatever
    the numbers bound to the cost, the penalty and the metrics, and whatever the data of one shape.
    """

    network: Layer
    cost: Partial
    update: Function
    penalty: Partial | None = None
    metrics: dict[str, Partial] = dataclasses.field(default_factory=dict)
    batch_size: int = 1
    x: chex.ArrayTree = None
    y: chex.ArrayTree = None
    sample_weight: ArrayLike | None = None
    validation: tuple[Any, ...] | None = None
    init: Partial | None = None  # of the rule: only a run that begins needs it

    @property
    def costs(self) -> list[str]:
        """What a step lowers, as the history names it; with a penalty the cost without it, too."""
        return ["cost"] if self.penalty is None else ["cost", "cost_without_penalty"]


def make_setting(
    network: Layer,
    cost: Function,
    optimizer: Optimizer,
    penalty: Function | None = None,
    metrics: Mapping[str, Function] | None = None,
    **rest: Any,
) -> Setting:
    """The setting of functions as a user gives them: each becomes a Partial, its bound numbers leaves."""
    return Setting(
        network,
        as_partial(cost),
        optimizer.update,
        None if penalty is None else as_partial(penalty),
        {name: as_partial(metric) for name, metric in (metrics or {}).items()},
        **rest,
    )


def read_rows(state: State, **trees: Any) -> tuple[Any, ...]:
    """Lists and tables as arrays of one length; what JAX computes with is left as it is."""
    rows = tuple(
        tree if all(map(_is_numeric, jax.tree.leaves(tree))) else as_arrays(tree, name)
        for name, tree in trees.items()
    )
    row_count(**dict(zip(trees, rows)))
    if isinstance(state.epoch, jax.core.Tracer):  # under a user's jit a NumPy array is a constant of it,
        return jax.tree.map(jnp.asarray, rows)  # and JAX remembers its type from where it was first seen
    return on_device(rows)


def on_device(tree: Any) -> Any:
    """The tree with its NumPy arrays on the device, openly, as `jax.transfer_guard` wants it."""
    return jax.tree.map(  # a view: JAX remembers 32 bits for an array that a function closed over
        lambda leaf: jax.device_put(leaf.view()) if isinstance(leaf, np.ndarray) else leaf, tree
    )


def _is_numeric(leaf: Any) -> bool:
    numeric = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
    return isinstance(leaf, jax.Array) or (numeric and not np.ma.is_masked(leaf))


def read_all_rows(
    network: Layer, cost: Any, x: Any, y: Any, sample_weight: Any, validation: Any = None, metrics: Any = None
) -> tuple[Any, ...]:
    """Everything as arrays, of one length where rows belong together, finite, targets as costs take them."""
    x, y, sample_weight = _rows(network, [cost], x=x, y=y, sample_weight=sample_weight)
    if validation is not None:
        compared = [cost, *(metrics or {}).values()]
        validation = _rows(network, compared, **name_parts(validation))
    return x, y, sample_weight, validation


def name_parts(validation: tuple[Any, ...]) -> dict[str, Any]:
    """What each part of validation=(x, y) or (x, y, sample_weight) is called in a message."""
    return {f"validation[{i}]": part for i, part in enumerate(validation)}


def _rows(network: Layer, compared: Iterable[Any], **named: Any) -> tuple[Any, ...]:
    rows = {name: (as_rows, as_rows, as_arrays)[i](named[name], name) for i, name in enumerate(named)}
    row_count(**rows)
    (x_name, x), (y_name, y), *weights = rows.items()
    weight = weights[0][1] if weights else None
    check_finite(x_name, x)
    check_finite(y_name, y, sample_weight=weight)
    if weight is not None:
        check_weights(weights[0][0], weight)
        if not any(np.any(leaf) for leaf in jax.tree.leaves(weight)):
            name = weights[0][0]
            raise ValueError(f"{name} expected a weight above 0 in some row, got only zeros. {WEIGHTS}")
    x, y = as_floats(network, x), jax.tree.map(_as_ids, y)
    check_ids(network, x, x_name)
    for function in compared:
        check_targets_of(network, function, x, y, weight, y_name)
    return x, y, *(weight for _, weight in weights)


def _as_ids(leaf: Any) -> Any:
    """A column of whole numbers of few bits as int32: one program, and the same bits, for each type."""
    is_narrow = leaf.ndim == 1 and leaf.dtype.kind in "iu" and leaf.dtype.itemsize < 4
    return leaf.astype(np.int32) if is_narrow else leaf
