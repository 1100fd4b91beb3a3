"""The cost of a network with several outputs: a cost for each, summed with weights."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial, call_in_order, takes
from fnn.guard.numbers import check_number
from fnn.guard.words import Words, describe, name_of, unexpected
from fnn.losses.costs import SLOPES

__all__ = ["sum_costs"]


Outputs = Mapping[str, Any] | Sequence[Any]


def sum_costs(costs: Outputs, weights: Outputs | None = None) -> Partial:
    """The cost of a network with several outputs: each has a cost of its own.

        c(ŷ, y) = Σₖ wₖ · costₖ(ŷ[k], y[k])        ŷ, y: dicts of the same names as `costs`, or tuples

    A weight that is not given is 1; another one compiles nothing. Costs have units: a mean of squares may be
    thousands beside a cross-entropy of 1, and is then all that is learned. `sample_weight` is that of the
    rows, the same for each output. Raises ValueError for outputs or targets of other names, and for weights
    below 0. Caruana 1997.

    >>> from fnn import mae, mse
    >>> cost = sum_costs({"size": mse, "age": mae}, {"age": 0.5})
    >>> guess, truth = {"size": jnp.full(1, 3.0), "age": jnp.full(1, 5.0)}, {"size": [1.0], "age": [4.0]}
    >>> cost(guess, truth)                                                    # 2² + 0.5 · 1
    Array(4.5, dtype=float32)
    """
    parts, given = _by_name(costs), _by_name(() if weights is None else weights)
    if not parts or not all(map(callable, parts.values())):
        expected = "costs by name of the output, such as {'size': fnn.mse}, or a tuple of them"
        raise TypeError(unexpected("sum_costs: costs", expected, costs))
    is_by_name = weights is None or isinstance(weights, Mapping | tuple | list)
    if not is_by_name or not set(given) <= set(parts):
        expected = f"a number for some of {sorted(parts, key=str)}"
        raise ValueError(unexpected("sum_costs: weights", expected, Words(_names_of(weights))))
    for name, weight in given.items():
        check_number("sum_costs", f"weights[{name!r}]", weight)
    parts = {name: as_partial(cost) for name, cost in parts.items()}
    return Partial(total_cost, costs=parts, weights={name: given.get(name, 1.0) for name in parts})


def total_cost(
    predictions: Any,
    targets: Any,
    sample_weight: ArrayLike | None = None,
    *,
    costs: Mapping[Any, Partial],
    weights: Mapping[Any, ArrayLike],
) -> jax.Array:
    """Σₖ wₖ · costₖ(ŷ[k], y[k])."""
    check_outputs(costs, predictions, targets)
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    for name, cost in costs.items() if options else ():
        if not takes(cost, "predictions", "targets", named=("sample_weight",)):
            fix = f"let it be {name_of(cost)}(predictions, targets, sample_weight=None)."
            where = f"sum_costs: the cost of {name!r}, {name_of(cost)},"
            raise TypeError(f"{where} takes no sample_weight, and weights are given: {fix}")
    each = (
        weights[name] * call_in_order(cost, predictions[name], targets[name], **options)
        for name, cost in costs.items()
    )
    return functools.reduce(jnp.add, each)


def slope_of(cost: Any) -> Callable[..., Any] | None:
    """The derivative written under a cost, with the numbers bound to it; None where none is written."""
    options = dict(getattr(cost, "keywords", {}))
    slopes = {name: slope_of(part) for name, part in costs_by_output(cost).items()}
    if slopes:
        written = {name: slope for name, slope in slopes.items() if slope is not None}
        return functools.partial(_slopes, written, options["weights"]) if written == slopes else None
    rule = SLOPES.get(getattr(cost, "func", cost))
    is_bound_by_place = bool(getattr(cost, "args", None))
    return None if rule is None or is_bound_by_place else functools.partial(rule, **options)


def _slopes(
    slopes: Mapping[Any, Callable[..., Any]], weights: Any, predictions: Any, targets: Any, **options: Any
) -> Any:
    """∂c/∂ŷ[k] = wₖ · ∂costₖ/∂ŷ[k]."""

    def of(name: Any) -> Any:
        slope = slopes[name](predictions[name], targets[name], **options)
        return jax.tree.map(lambda leaf: weights[name] * leaf, slope)

    outer = jax.tree.structure(predictions, is_leaf=lambda part: part is not predictions)
    names = sorted(slopes) if isinstance(predictions, Mapping) else list(slopes)  # as JAX orders a dict
    return jax.tree.unflatten(outer, [of(name) for name in names])


# Outputs by name, or one after the other ----------------------------------------------------------


def costs_by_output(cost: Any) -> Mapping[Any, Any]:
    """The costs in a sum of them, by the name or place of the output; none in any other cost."""
    parts: Mapping[Any, Any] = cost.keywords["costs"] if getattr(cost, "func", None) is total_cost else {}
    return parts


def check_outputs(costs: Mapping[Any, Any], predictions: Any, targets: Any) -> None:
    """Refuse predictions and targets that have not the names or the places of the costs."""
    _check_names("sum_costs: predictions", costs, predictions)
    _check_names("sum_costs: targets", costs, targets)


def _check_names(where: str, costs: Mapping[Any, Any], given: Any) -> None:
    found = _by_name(given)
    if set(found) == set(costs):
        return
    by_name = isinstance(next(iter(costs)), str)
    expected = f"a dict with the keys {sorted(costs)}" if by_name else f"a tuple of {len(costs)}"
    fix = "One input gives several outputs by fnn.parallel, or by name with fnn.wire."
    raise ValueError(unexpected(where, expected, Words(_names_of(given)), fix))


def _names_of(given: Any) -> str:
    """The names or places that came, for a message."""
    found = _by_name(given)
    return f"{sorted(found, key=str)}" if found else describe(given)


def _by_name(outputs: Any) -> dict[Any, Any]:
    """What is given for each output: by its name, or by its place in a tuple."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    return dict(enumerate(outputs)) if isinstance(outputs, tuple | list) else {}
