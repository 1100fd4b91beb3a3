"""What a run computes with, all but its state: functions are structure, numbers and data are leaves."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.network.layer import Layer
from fnn.optimizers.rule import Optimizer

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
