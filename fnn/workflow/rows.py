"""What a network is trained on: rows as arrays, of one length, finite, with targets that the cost takes."""

from types import FunctionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from fnn.guard.numbers import check_finite, is_traced, refuse
from fnn.guard.trees import check_same, places
from fnn.guard.words import place_of
from fnn.losses import costs
from fnn.losses.several import check_outputs, costs_by_output
from fnn.losses.targets import Pair, Takes, check_taken
from fnn.metrics import averages, multilabel, probability, ranking, rates
from fnn.metrics import classification as metrics_for_classes
from fnn.metrics import regression as metrics_for_numbers
from fnn.network.layer import Layer
from fnn.network.programs import compile_recent
from fnn.workflow.shapes import (
    ROWS,
    check_one_a_row,
    checked_forward,
    has_checks,
    layer_error,
    outputs_for,
    params_for,
)

__all__: list[str] = []


# Rows and their targets ---------------------------------------------------------------------------


def check_targets_of(network: Layer, cost: Any, x: Any, y: Any, weight: Any, name: str = "y") -> None:
    """Refuse targets that the cost does not take from this network, before anything is compiled."""
    outputs = outputs_for(network, x)
    shapes = [leaf.shape for leaf in jax.tree.leaves(outputs)]
    if shapes and all(shape[:1] == (ROWS,) for shape in shapes):  # else the network or the cost refuses them
        n = jax.tree.leaves(x)[0].shape[0]
        outputs = jax.tree.map(lambda z: jax.ShapeDtypeStruct((n, *z.shape[1:]), z.dtype), outputs)
        check_targets(cost, outputs, y, weight, name)


WEIGHTS = "A row of weight 0 is left out; weights of classes are an option of the cost, class_weight."


def check_weights(name: str, weight: Any) -> None:
    """Refuse weights that are not finite, or below 0."""
    check_finite(name, weight)
    for leaf in jax.tree.leaves(weight):
        refuse(name, leaf, lambda w: w < 0, "weights of at least 0", WEIGHTS)


METRICS: dict[Any, Takes] = {
    **metrics_for_numbers.TARGETS,
    **metrics_for_classes.TARGETS,
    **multilabel.TARGETS,
    **probability.TARGETS,
    **ranking.TARGETS,
    **rates.TARGETS,
    **averages.TARGETS,
}
TARGETS: dict[Any, Takes] = {
    **costs.TARGETS,
    **METRICS,
}


def check_targets(
    function: Any, predictions: Any, targets: Any, sample_weight: Any = None, name: str = "targets"
) -> None:
    """Refuse targets and options that a cost or metric of fnn does not take; of others nothing is known.

    Predictions may be shapes. Numbers that are traced, and those without weight, are not looked at.
    """
    if outputs := costs_by_output(function):
        check_outputs(outputs, predictions, targets)
    for output, cost in outputs.items():
        check_targets(cost, predictions[output], targets[output], sample_weight, f"{name}[{output!r}]")
    inner = getattr(function, "func", function)
    takes = TARGETS.get(inner) if isinstance(inner, FunctionType) else None
    if takes is None or not (hasattr(predictions, "shape") and hasattr(targets, "shape")):
        return
    bound = getattr(function, "keywords", {})
    options = {option: bound[option] for option in takes.options if bound.get(option) is not None}
    check_taken(takes, Pair(takes.name, predictions, targets, sample_weight, name), options)


# Ids ----------------------------------------------------------------------------------------------


def check_ids(network: Layer, x: Any, name: str) -> None:
    """Refuse ids that an embedding in the network has no row for, before anything is trained.

    XLA computes what the ids depend on, and leaves out the rest of the network.
    """
    if not is_traced(x) and has_checks(network, x):
        refuse_ids(_first_error(network, x), x, name)


def refuse_ids(error: checkify.Error, x: Any, name: str) -> None:
    """Raise what a layer's check found, with the first place of the number in x."""
    found = error.get()
    if found is None:
        return
    words = found.removesuffix(" (`check` failed)")
    got = words.rpartition("got ")[2]
    ids = [leaf for leaf in jax.tree.leaves(x) if jnp.issubdtype(leaf.dtype, jnp.integer)]
    where = [np.argwhere(np.asarray(leaf) == int(got)) for leaf in ids if got.lstrip("-").isdigit()]
    place = next((place_of(places[0].tolist()) for places in where if len(places)), "")
    raise ValueError(f"{name}: {words}{place}.")


@compile_recent(static_argnums=(0,), kept=64)
def _first_error(network: Layer, x: Any) -> Any:
    return checked_forward(network, x)[0]


# Parameters ---------------------------------------------------------------------------------------


def check_shapes(network: Layer, params: Any, x: Any) -> None:
    """Refuse the parameters of another network, and rows that are no rows of predictions; by shapes only."""
    axes = {axis for leaf in jax.tree.leaves(x) for axis in leaf.shape[1:]}
    axes |= {axis for leaf in jax.tree.leaves(params) for axis in leaf.shape}
    if jax.tree.leaves(x)[0].shape[0] in axes:  # a sum over the rows could pass for predictions of them
        check_one_a_row(outputs_for(network, x), x, ROWS)
    if not jax.tree.leaves(params):
        return
    expected = params_for(network, x)
    if expected is None or places(params) == places(expected):
        return
    has_gaps = any(leaf is None for leaf in jax.tree.leaves(params, is_leaf=lambda leaf: leaf is None))
    reason = "" if has_gaps else layer_error(network, params, x)
    fix = f"Are these the parameters of another network, or has x other columns?{reason}"
    check_same("params", expected, params, fix)
