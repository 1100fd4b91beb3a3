"""Backward propagation by hand: the chain rule, layer by layer, beside jax.grad and equal to it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.guard.trees import check_same
from fnn.layers.units import derivative_of
from fnn.losses.several import slope_of
from fnn.network.layer import Layer, plain_function
from fnn.network.parameters import trained
from fnn.network.programs import compile_recent
from fnn.workflow.arguments import check_compares, check_network, check_slopes
from fnn.workflow.objective import cost_of, real_number
from fnn.workflow.rows import check_targets_of
from fnn.workflow.setting import on_device

__all__ = ["Backprop", "backprop"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["cost", "activations", "deltas", "grads"],
    meta_fields=["automatic"],
)
@dataclasses.dataclass(frozen=True)
class Backprop:
    """What backward propagation finds.

    `activations` are the outputs of the layers that the network hands its input to, first to last; `deltas`
    the derivatives of the cost with respect to them; `grads` those with respect to the trained parameters, a
    tree like trained(params); `automatic` names the layers whose derivative is not written by hand.
    """

    cost: jax.Array
    activations: tuple[Any, ...]
    deltas: tuple[Any, ...]
    grads: Any
    automatic: tuple[str, ...]


def backprop(
    network: Layer,
    cost: Callable[..., Any],
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    sample_weight: ArrayLike | None = None,
) -> Backprop:
    """The gradient of the cost by hand: forward once, then backward from the last layer to the first.

        (1)  δ ← ∂c/∂ŷ                            where it begins: the cost
        (2)  δ ← δ ⊙ σ′(z)                        through an activation a = σ(z)
        (3)  ∂c/∂W = xᵀδ,   ∂c/∂b = Σᵢ δᵢ         what a dense layer z = xW + b learns
        (4)  δ ← δWᵀ                              what it hands to the layer before

        δ: the derivative of the cost with respect to a layer's output, and of its shape; i: the rows

    Each layer brings its own derivative, `backward`; combinators bring the chain rule. A layer without
    one uses `jax.vjp`, and is named in `automatic`. The deterministic `forward` is differentiated, as by
    `jax.grad(fnn.loss(network, cost))`. Rumelhart et al. 1986, eq. 4-7; Nielsen 2015, ch. 2, BP1-BP4.

    >>> import fnn, jax.numpy as jnp
    >>> params = ({"weight": jnp.array([[3.0]]), "bias": jnp.array([0.0])},)
    >>> x, y = jnp.array([[2.0]]), jnp.array([[5.0]])
    >>> found = fnn.backprop(fnn.serial(fnn.dense(1)), fnn.mse, params, x, y)
    >>> found.deltas[0], found.grads[0]["weight"]           # 2(6 − 5), and 2 times that
    (Array([[2.]], dtype=float32), Array([[4.]], dtype=float32))
    """
    check_network("backprop", network, cost)
    check_compares("backprop", "cost", cost, "fnn.mse")
    check_slopes("backprop", params)
    if 0 in (jnp.size(leaf) for leaf in jax.tree.leaves(x)):
        raise ValueError("backprop: x expected at least one row, got none. Leave out what is empty.")
    check_targets_of(network, cost, x, y, sample_weight, "targets")
    return _backprop(network, as_partial(cost), *on_device((params, x, y, sample_weight)))


@compile_recent(static_argnums=(0,))
def _backprop(network: Layer, cost: Partial, params: Any, x: Any, y: Any, sample_weight: Any) -> Backprop:
    value, delta, by_hand = cost_and_delta(cost, network.forward(params, x), y, sample_weight)
    step = step_back("network", network, params, x, delta)
    layers = step.inside or (step,)
    return Backprop(
        cost=value,
        activations=tuple(layer.y for layer in layers),
        deltas=tuple(layer.delta for layer in layers),
        grads=trained(step.grads),
        automatic=(*_automatic(step), *(() if by_hand else ("cost",))),
    )


def cost_and_delta(
    cost: Callable[..., Any], predictions: Any, y: Any, sample_weight: ArrayLike | None
) -> tuple[Any, Any, bool]:
    """The cost, its derivative with respect to the predictions, and whether that is written by hand."""
    value = real_number("cost", cost_of(cost, predictions, y, sample_weight))
    rule = slope_of(cost)
    if rule is None:
        return value, jax.grad(lambda p: cost_of(cost, p, y, sample_weight))(predictions), False
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    delta = rule(predictions, y, **options)  # (1)  δ ← ∂c/∂ŷ
    return value, _cast_like(predictions, delta), True


class Step(NamedTuple):
    """One layer on the way back: its input and output, and the derivatives with respect to them."""

    place: str
    layer: Layer
    params: Any
    x: Any
    y: Any
    delta: Any
    grads: Any
    delta_x: Any
    by_hand: bool
    inside: tuple["Step", ...] = ()


def step_back(place: str, layer: Layer, params: Any, x: Any, delta: Any) -> Step:
    """δ through a layer, and through the layers inside it, by its own derivative or by `jax.vjp`."""
    y, rule, inside = layer.forward(params, x), backward_of(layer), list[Step]()
    delta = _cast_like(y, delta)

    def pull(place: str, part: Layer, params: Any, x: Any, delta: Any) -> tuple[Any, Any]:
        inside.append(step_back(f"{place}, {part.name}", part, params, x, delta))
        return inside[-1].grads, inside[-1].delta_x

    if rule is None:
        grads, delta_x = jax.vjp(layer.forward, params, x)[1](_cotangent(y, delta))
    else:
        grads, delta_x = rule(params, x, y, delta, pull) if layer.parts else rule(params, x, y, delta)
        fix = f"Do backward(params, x, y, delta) and forward of {layer.name} agree?"
        check_same(f"{place}: backward's grads", params, grads, fix)
        check_same(f"{place}: backward's delta_x", x, delta_x, fix)
        grads, delta_x = _cast_like(params, grads), _cast_like(x, delta_x)
    return Step(place, layer, params, x, y, delta, grads, delta_x, rule is not None, tuple(reversed(inside)))


def backward_of(layer: Layer) -> Callable[..., Any] | None:
    """The layer's own derivative, or that of the activation that it is; None where none is written."""
    function = plain_function(layer)
    return layer.backward if function is None else derivative_of(function)


def _cast_like(like: Any, tree: Any) -> Any:
    """The tree in the dtypes of another; integers have no derivative, and stay as they are."""

    def cast(one: Any, other: Any) -> Any:
        return other.astype(one.dtype) if jnp.issubdtype(one.dtype, jnp.inexact) else other

    return jax.tree.map(cast, like, tree)


def _cotangent(y: Any, delta: Any) -> Any:
    """δ as `jax.vjp` takes it: ids and counts have no derivative."""

    def cast(one: Any, other: Any) -> Any:
        is_real = jnp.issubdtype(one.dtype, jnp.inexact)
        return other if is_real else np.zeros(one.shape, jax.dtypes.float0)

    return jax.tree.map(cast, y, delta)


def _automatic(step: Step, path: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The paths of the layers without a derivative by hand."""
    if not step.by_hand:
        return (" › ".join(path) or step.place,)
    return tuple(name for part in step.inside for name in _automatic(part, (*path, part.place)))
