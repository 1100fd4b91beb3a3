"""One turn of the wheel with all its numbers: forward, cost, backward, optimise."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.functions import accepted
from fnn.guard.words import name_of
from fnn.inspection.formulas import ROWS, RULES, Entry, six_digits
from fnn.layers.activation import WHOLE, through
from fnn.layers.dense import dense_forward
from fnn.losses.regression import rmse
from fnn.network.compose import serial_forward
from fnn.network.layer import Layer, is_plain
from fnn.network.parameters import merge, trained
from fnn.optimizers.rule import Optimizer, RuleState, apply_updates
from fnn.optimizers.transformations import chain_update, spared
from fnn.workflow.arguments import check_compares, check_network, check_optimizer, check_slopes
from fnn.workflow.backprop import Walked, backwards, cost_and_delta, forwards, rule_of
from fnn.workflow.objective import Objective, cost_of, loss
from fnn.workflow.rows import checked_rows

__all__ = ["explain"]


ENTRIES, ROWS_SHOWN = 64, 8  # of an array and of a batch: more are not printed, and it is said


def explain(
    network: Layer,
    cost: Callable[..., Any],
    optimizer: Optimizer,
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
) -> str:
    """One step of training as a text, with every number that it computes, in the order of the stages.

        ŷ = forward(θ, x)     c = cost(ŷ, y)     δ ← … ← ∂c/∂ŷ, g = ∂c/∂θ     θ ← θ + update(g)

    For small networks and few rows: of what is larger than 64 numbers it says so, and shows the range.
    It is the step of `fnn.step` where the network does while it learns what it does afterwards (no dropout,
    no statistics), with the gradients of `fnn.backprop`.

    >>> import fnn
    >>> network = fnn.serial(fnn.dense(1))
    >>> params = ({"weight": jnp.array([[3.0]]), "bias": jnp.array([0.0])},)
    >>> text = fnn.explain(network, fnn.mse, fnn.gradient_descent(0.1), params, [[2.0]], [[5.0]])
    >>> print(text[text.index("4. ") : text.index("5. ")].split("its state")[0].strip())
    4. Optimisation: gradient_descent
    <BLANKLINE>
      worked out for params[0]['weight'][0, 0], where the gradient is largest: g = 4
    <BLANKLINE>
      gradient_descent
        learning_rate = 0.1
        Δ = −αg = −0.1 · 4 = −0.4
    """
    check_network("explain", network, cost)
    check_compares("explain", "cost", cost, "fnn.mse")
    check_optimizer("explain", optimizer)
    check_slopes("explain", params)
    x, y, *_ = checked_rows(network, cost, x, y, None, None)
    rows = len(jax.tree.leaves(x)[0])
    walked = forwards(f"network, {network.name}", network, params, x)
    value, delta, by_hand = cost_and_delta(cost, walked.y, y, None)
    walked = backwards(walked, delta)
    learns, grads = trained(params), trained(walked.grads)
    state = optimizer.init(learns)
    objective = Objective(
        lambda learns: network.forward(merge(learns, params), x), lambda p: cost_of(cost, p, y, None)
    )
    extra = {"value": value, "grad": grads, "value_fn": objective}
    updates, after = optimizer.update(grads, state, learns, **accepted(optimizer.update, extra))
    new = apply_updates(learns, updates)
    now = loss(network, cost)(merge(new, params), x, y)
    lines = [
        f"One turn of the wheel, on {rows} row{'s' if rows > 1 else ''}",
        *("", "1. Forward propagation, from the first layer to the last", ""),
        *_array("x", x),
        *_forward(_layers(walked)),
        *("", "2. The cost", ""),
        *_cost(cost, walked.y, y, value),
        *("", "3. Backward propagation, from the last layer to the first", ""),
        *_array("δ = ∂c/∂ŷ" if by_hand else "δ = ∂c/∂ŷ, by jax.grad", delta),
        *_backward(_layers(walked)),
        *("", f"4. Optimisation: {_rule_name(optimizer.update)}", ""),
        *_optimisation(optimizer, learns, grads, state, after, extra),
        *("", "5. The new parameters", ""),
        *_tree("", new),
        "",
        f"  the cost was {six_digits(value)}, and is now {six_digits(now)}",
    ]
    return "\n".join(line.rstrip() for line in lines)


# Numbers ------------------------------------------------------------------------------------------


def _array(name: str, value: Any) -> Iterator[str]:
    """An array under its name; a tree array by array; what is too large by its range."""
    if not hasattr(value, "shape"):
        yield from _tree(name, value)
        return
    array = np.asarray(value)
    yield f"  {name}  {array.shape}"
    if array.size > ENTRIES:
        low, high = six_digits(array.min()), six_digits(array.max())
        yield f"      {array.size:,} numbers, too many to print: from {low} to {high}"
        return
    for row in array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1):
        yield "      " + " ".join(f"{six_digits(number):>12}" for number in row)


def _tree(name: str, tree: Any) -> Iterator[str]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield from _array(name + jax.tree_util.keystr(path), leaf)


# The stages ---------------------------------------------------------------------------------------


def _layers(walked: Walked) -> tuple[Walked, ...]:
    """The layers of a series; anything else is shown as one, with what is inside it."""
    in_series = getattr(walked.layer.forward, "func", None) is serial_forward
    return walked.inside if in_series else (walked,)


def _forward(parts: tuple[Walked, ...]) -> Iterator[str]:
    for part in parts:
        yield ""
        if part.inside:
            yield f"  {part.place}"
            yield from ("  " + line for line in _forward(part.inside))
        elif part.layer.forward is dense_forward:
            yield f"  {part.place}:  z = xW + b"
            yield from _array("W", part.params["weight"])
            yield from _array("b", part.params["bias"])
            yield from _array("z, its pre-activations", part.y)
            continue
        elif is_plain(part.layer):
            yield f"  {part.place}:  a = {part.layer.name}(z)"
        else:
            yield f"  {part.place}"
            yield from _tree("params", part.params)
        yield from _array("a, its activations", part.y)


def _backward(parts: tuple[Walked, ...]) -> Iterator[str]:
    for part in reversed(parts):
        yield ""
        if part.inside:
            yield f"  {part.place}"
            yield from ("  " + line for line in _backward(part.inside))
        elif part.layer.forward is dense_forward:
            yield f"  {part.place}:  ∂c/∂W = xᵀδ,  ∂c/∂b = Σδ,  δ ← δWᵀ"
            yield from _array("∂c/∂W", part.grads["weight"])
            yield from _array("∂c/∂b", part.grads["bias"])
        elif is_plain(part.layer):
            yield f"  {part.place}:  {_passed(part)}"
        else:
            yield f"  {part.place}"
            yield from _tree("∂c/∂", trained(part.grads))
        if all(
            leaf.dtype != jax.dtypes.float0 for leaf in jax.tree.leaves(part.delta_x)
        ):  # ids have no slope
            by = ", by jax.vjp" if rule_of(part.layer) is None else ""
            yield from _array(f"δ, for the layer before{by}", part.delta_x)


def _passed(part: Walked) -> str:
    """How δ passes an activation."""
    function, name = part.layer.forward.args[0], part.layer.name  # type: ignore[attr-defined]
    if through(function) is None:
        return "δ ← the derivative by z, by jax.vjp"
    if getattr(function, "func", function) in WHOLE:
        return f"δ ← the derivative by z = Jᵀδ, J the derivatives of {name}"
    return f"δ ← the derivative by z = δ ⊙ {name}′(z)"


def _cost(cost: Any, predictions: Any, y: Any, value: Any) -> Iterator[str]:
    yield from _array("ŷ, the predictions", predictions)
    yield from _array("y, the targets", y)
    yield ""
    name, inner = name_of(cost), getattr(cost, "func", cost)
    options = getattr(cost, "keywords", {})
    if inner not in ROWS or options.get("class_weight") is not None:
        yield f"  c = {name}(ŷ, y) = {six_digits(value)}"
        yield "  its formula is not written here"
        return
    n = len(predictions)
    root = inner is rmse
    row_cost = functools.partial(_row_cost, cost, root)
    for i, (p, t) in enumerate(zip(predictions[:ROWS_SHOWN], y[:ROWS_SHOWN], strict=True)):
        one = six_digits(row_cost(p, t))
        yield f"  row {i}:  {ROWS[inner](np.asarray(p), np.asarray(t), **options)} = {one}"
    if n > ROWS_SHOWN:
        yield f"  … and {n - ROWS_SHOWN} rows more"
    mean = "√(the mean over rows)" if root else "the mean over rows"
    yield f"  c = {name}(ŷ, y) = {mean} = {six_digits(value)}"


def _row_cost(cost: Any, root: bool, prediction: jax.Array, target: jax.Array) -> jax.Array:
    value = cost(prediction[None], target[None])
    return value**2 if root else value  # what the root is taken of


def _rule_name(update: Any) -> str:
    if getattr(update, "func", None) is chain_update:
        return " → ".join(map(_rule_name, _links(update)))
    return name_of(update).removesuffix("_update")


def _links(update: Any) -> tuple[Any, ...]:
    return update.args[0] if getattr(update, "func", None) is chain_update else (update,)


def _optimisation(
    optimizer: Optimizer, learns: Any, grads: Any, state: Any, after: Any, extra: dict[str, Any]
) -> Iterator[str]:
    """Each link: its numbers, its state before and after, and its formula filled in for one parameter."""
    links = _links(optimizer.update)
    if getattr(optimizer.update, "func", None) is not chain_update:
        state, after = (state,), (after,)
    flat = jax.tree_util.tree_leaves_with_path(grads)
    if not flat:
        yield "  nothing in this network is trained"
        return
    place = max(range(len(flat)), key=lambda i: float(jnp.abs(flat[i][1]).max()))
    path, g = flat[place]
    index = np.unravel_index(int(jnp.abs(g).argmax()), g.shape)
    where = f"params{jax.tree_util.keystr(path)}{[int(i) for i in index]}"
    yield f"  worked out for {where}, where the gradient is largest: g = {six_digits(g[index])}"

    def at(tree: Any) -> float:
        return float(jax.tree.leaves(tree)[place][index])

    for link, before, then in zip(links, state, after, strict=True):
        updates, _ = link(grads, before, learns, **accepted(link, extra))
        yield ""
        yield from _link(link, before, then, learns, grads, updates, at, path)
        grads = updates


def _link(
    link: Any, before: Any, then: Any, learns: Any, grads: Any, updates: Any, at: Any, path: Any
) -> Iterator[str]:
    yield f"  {_rule_name(link)}"
    if link not in RULES or not isinstance(before, RuleState):
        yield "  its formula is not written here; its updates:"
        yield from _tree("Δ", updates)
        return
    numbers = {name: float(value) for name, value in before.hyperparameters.items()}
    yield "    " + ",  ".join(f"{name} = {six_digits(value)}" for name, value in numbers.items())
    old, new = ({name: at(tree) for name, tree in s.moments.items()} for s in (before, then))
    norm = float(jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))))
    t, by_name = int(then.step), spared(path)
    entry = Entry(at(learns), at(grads), old, new, numbers, t, at(updates), norm, by_name)
    yield from (f"    {line}" for line in RULES[link](entry))
    yield f"  its state before: step {int(before.step)}"
    yield from _tree("", before.moments)
    yield f"  its state after: step {int(then.step)}"
    yield from _tree("", then.moments)
    yield from _tree("Δ", updates)
