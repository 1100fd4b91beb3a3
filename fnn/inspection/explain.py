"""One training step with all its numbers: forward, cost, backward, optimise."""

from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.words import name_of
from fnn.inspection.formulas import Value, read_aloud, run
from fnn.inspection.text import formula_of, show_array, show_tree, six_digits
from fnn.inspection.updates import Given, links_of, optimisation
from fnn.network.layer import Layer, is_plain
from fnn.network.parameters import merge, trained
from fnn.network.walk import parts_inside
from fnn.optimizers.rule import Optimizer, accepted, apply_updates
from fnn.optimizers.schedules import rule_name
from fnn.workflow.arguments import check_compares, check_network, check_optimizer, check_slopes
from fnn.workflow.backprop import Step, backward_of, cost_and_delta, step_back
from fnn.workflow.objective import Objective, cost_of, loss
from fnn.workflow.setting import read_all_rows

__all__ = ["explain"]

ROWS_SHOWN = 8  # of a batch: where there are more, the text says so


def explain(
    network: Layer,
    cost: Callable[..., Any],
    optimizer: Optimizer,
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
) -> str:
    """One training step as a text, with every number that it computes, in the order of the stages.

        ŷ = forward(θ, x)     c = cost(ŷ, y)     δ ← … ← ∂c/∂ŷ, g = ∂c/∂θ     θ ← θ + update(g)

    For small networks and few rows: an array of more than 64 numbers is shown by its range. Layers, costs
    and rules are read from their own programs and docstrings, so a user's own are explained too. It is the
    step of `fnn.step` for a network that does the same while it learns (no dropout, no statistics), with the
    gradients of `fnn.backprop`.

    >>> import fnn, jax.numpy as jnp
    >>> network = fnn.serial(fnn.dense(1))
    >>> params = ({"weight": jnp.array([[3.0]]), "bias": jnp.array([0.0])},)
    >>> text = fnn.explain(network, fnn.mse, fnn.gradient_descent(0.1), params, [[2.0]], [[5.0]])
    >>> print(text[text.index("4. ") : text.index("5. ")].split("its state")[0].strip())
    4. Optimisation: gradient_descent
    <BLANKLINE>
      worked out for params[0]['weight'][0, 0], where the gradient is largest: g = 4
    <BLANKLINE>
      gradient_descent:  Δ = −αg
        learning_rate = 0.1
        Δ = (−0.1) · 4 = −0.4
    """
    check_network("explain", network, cost)
    check_compares("explain", "cost", cost, "fnn.mse")
    check_optimizer("explain", optimizer)
    check_slopes("explain", params)
    x, y, *_ = read_all_rows(network, cost, x, y, None)
    rows = len(jax.tree.leaves(x)[0])
    predictions = network.forward(params, x)
    value, delta, by_hand = cost_and_delta(cost, predictions, y, None)
    step = step_back(f"network, {network.name}", network, params, x, delta)
    layers = step.inside or (step,)
    learns, grads = trained(params), trained(step.grads)
    objective = Objective(
        lambda learns: network.forward(merge(learns, params), x), lambda p: cost_of(cost, p, y, None)
    )
    state, extra = optimizer.init(learns), {"value": value, "grad": grads, "value_fn": objective}
    updates, _ = optimizer.update(grads, state, learns, **accepted(optimizer.update, extra))
    new = apply_updates(learns, updates)
    now = loss(network, cost)(merge(new, params), x, y)
    lines = [
        f"One training step, on {rows} row{'s' if rows > 1 else ''}",
        *("", "1. Forward propagation, from the first layer to the last", ""),
        *show_array("x", x),
        *_forward(layers),
        *("", "2. The cost", ""),
        *_cost(cost, predictions, y, value),
        *("", "3. Backward propagation, from the last layer to the first", ""),
        *show_array("δ = ∂c/∂ŷ" if by_hand else "δ = ∂c/∂ŷ, by jax.grad", delta),
        *_backward(layers),
        *("", f"4. Optimisation: {' → '.join(map(rule_name, links_of(optimizer.update)))}", ""),
        *optimisation(optimizer.update, Given(grads, state, learns, extra)),
        *("", "5. The new parameters", ""),
        *show_tree("", new),
        "",
        f"  the cost was {six_digits(value)}, and is now {six_digits(now)}",
    ]
    return "\n".join(line.rstrip() for line in lines)


# Forward and backward -------------------------------------------------------------------------------


def _forward(steps: tuple[Step, ...]) -> Iterator[str]:
    for step in steps:
        yield ""
        if is_plain(step.layer):
            yield f"  {step.place}:  a = {step.layer.name}(z)"
        else:
            yield f"  {step.place}{formula_of(step.layer.forward)}"
            yield from _own_arrays("", step, step.params)
            yield from ("  " + line for line in _forward(step.inside or _parts(step)))
        yield from show_array("its output", step.y)


def _parts(step: Step) -> tuple[Step, ...]:
    """The layers inside one that has no derivative by hand, and so was not passed through part by part."""
    handed = step.layer.inside(step.params, step.x) if step.layer.inside else ()
    return tuple(
        step._replace(place=f"{place}, {part.name}", layer=part, params=own, x=x, y=part.forward(own, x))
        for place, part, own, x in handed
    )


def _backward(steps: tuple[Step, ...], learns: bool = True) -> Iterator[str]:
    """δ from layer to layer, and the gradients of what `learns`: in a frozen layer nothing does."""
    for step in reversed(steps):
        yield ""
        rule = backward_of(step.layer)
        yield f"  {step.place}{formula_of(rule) if rule else ':  by jax.vjp'}"
        learns_inside = learns and bool(jax.tree.leaves(trained(step.params)))
        yield from ("  " + line for line in _backward(step.inside, learns_inside))
        grads = trained(step.grads) if learns else None
        yield from _own_arrays("∂c/∂", step, grads) if step.inside else show_tree("∂c/∂", grads)
        if all(leaf.dtype != jax.dtypes.float0 for leaf in jax.tree.leaves(step.delta_x)):  # of integers
            yield from show_array("δ, for the layer before", step.delta_x)


def _own_arrays(name: str, step: Step, tree: Any) -> Iterator[str]:
    """The arrays of a tree like a layer's parameters that belong to none of the layers inside it."""
    parts = parts_inside(step.layer, step.params, step.x)
    inner = {path for part in parts for path in part.origins}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if path not in inner and None not in inner:  # None: the parts' are computed from the layer's
            yield from show_array(name + jax.tree_util.keystr(path), leaf)


# The cost -------------------------------------------------------------------------------------------


def _cost(cost: Any, predictions: Any, y: Any, value: Any) -> Iterator[str]:
    yield from show_array("ŷ, the predictions", predictions)
    yield from show_array("y, the targets", y)
    yield ""
    rows = [_row_cost(cost, predictions, y, i) for i in range(len(jax.tree.leaves(predictions)[0]))]
    for i, row in enumerate(rows[:ROWS_SHOWN]):
        if row is not None:
            yield from ("  " + line for line in read_aloud({f"row {i}: c": (row, ())}))
    if len(rows) > ROWS_SHOWN:
        yield f"  … and {len(rows) - ROWS_SHOWN} more rows"
    numbers = [float("nan") if row is None else float(row.array) for row in rows]
    is_mean = np.isclose(np.mean(numbers), float(value), rtol=1e-5)
    yield f"  c = {name_of(cost)}(ŷ, y) = {'the mean over rows = ' if is_mean else ''}{six_digits(value)}"


def _row_cost(cost: Any, predictions: Any, y: Any, i: int) -> Value | None:
    """The cost of one row alone; None where the cost cannot be taken of it."""
    one = jax.tree.map(lambda rows: rows[i : i + 1], (y, predictions))
    try:
        return run(lambda target, prediction: jnp.asarray(cost_of(cost, prediction, target, None)), *one)
    except Exception:  # a user's cost may need all rows, or numbers that it can look at
        return None
