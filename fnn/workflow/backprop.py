"""Backward propagation by hand: the chain rule, layer by layer, beside jax.grad and equal to it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
from jax.typing import ArrayLike

from fnn.layers.activation import through
from fnn.layers.dense import dense_forward
from fnn.layers.dropout import dropout_forward
from fnn.layers.flatten import flatten_forward
from fnn.losses import classification, regression
from fnn.network.compose import (
    added,
    branches,
    joined,
    paired,
    parallel_forward,
    residual_forward,
    separated,
    serial_forward,
)
from fnn.network.layer import Layer, call_plain, inside, is_plain
from fnn.network.parameters import trained
from fnn.workflow.arguments import check_compares, check_network, check_slopes
from fnn.workflow.objective import cost_of, real_number

__all__ = ["Backprop", "backprop"]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["cost", "activations", "deltas", "grads"],
    meta_fields=["automatic"],
)
@dataclasses.dataclass(frozen=True)
class Backprop:
    """What backward propagation finds.

    `activations` are the outputs of the network's layers, first to last; `deltas` the derivatives of
    the cost by them; `grads` the derivatives by the trained parameters, a tree like trained(params);
    `automatic` names the layers whose derivative is not written by hand.
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
    """The gradient of the cost by hand: forwards once, keeping what each layer saw, then backwards.

        (1)  δ ← ∂c/∂ŷ                            where it begins: the cost
        (2)  δ ← δ ⊙ σ′(z)                        through an activation a = σ(z)
        (3)  ∂c/∂W = xᵀδ,   ∂c/∂b = Σᵢ δᵢ         what a dense layer z = xW + b learns
        (4)  δ ← δWᵀ                              what it hands on to the layer before

        δ: the derivative of the cost by a layer's output, and of its shape; i: the rows

    The deterministic `forward` is differentiated, as by `jax.grad(fnn.loss(network, cost))`. A layer
    without a rule written here uses its own `jax.vjp`, and is named in `automatic`. Rumelhart et al.
    1986, eq. 4-7; Nielsen 2015, ch. 2, BP1-BP4.

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
    if 0 in (jax.numpy.size(leaf) for leaf in jax.tree.leaves(x)):
        raise ValueError("backprop: x expected at least one row, got none. Leave out what is empty.")
    steps = forwards("network", network, params, x)
    value, delta, by_hand = cost_and_delta(cost, steps.y, y, sample_weight)
    walked = backwards(steps, delta)
    layers = walked.inside if _function(network) is serial_forward else (walked,)
    return Backprop(
        cost=value,
        activations=tuple(layer.y for layer in layers),
        deltas=tuple(layer.delta for layer in layers),
        grads=trained(walked.grads),
        automatic=(*_automatic(walked), *(() if by_hand else ("cost",))),
    )


def cost_and_delta(cost: Any, predictions: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, bool]:
    """The cost, its derivative by the predictions, and whether that is written by hand."""
    value = real_number("cost", cost_of(cost, predictions, y, sample_weight))
    slopes = regression.SLOPES | classification.SLOPES
    rule, bound_by_place = slopes.get(getattr(cost, "func", cost)), getattr(cost, "args", None)
    if rule is None or bound_by_place:
        slope = jax.grad(lambda p: cost_of(cost, p, y, sample_weight))
        return value, slope(predictions), False
    options = dict(getattr(cost, "keywords", {}))
    if sample_weight is not None:
        options["sample_weight"] = sample_weight
    delta = rule(predictions, y, **options)  # (1)  δ ← ∂c/∂ŷ
    return value, delta.astype(predictions.dtype), True


# Forwards, keeping what each layer saw -------------------------------------------------------------


class Walked(NamedTuple):
    """One layer on the way: what it was given and gave; then the derivatives by all of them."""

    place: str
    layer: Layer
    params: Any
    x: Any
    y: Any
    inside: tuple["Walked", ...] = ()
    delta: Any = None
    grads: Any = None
    delta_x: Any = None


def forwards(place: str, layer: Layer, params: Any, x: Any) -> Walked:
    """y = f(x), and the same for the layers inside."""
    function = _function(layer)
    if function is parallel_forward:
        return _forwards_in_parallel(place, layer, params, x)
    if function not in (serial_forward, residual_forward):
        return Walked(place, layer, params, x, layer.forward(params, x))
    parts, y = [], x
    for i, (part, own) in enumerate(paired(layer.parts, params)):
        with inside(f"layer {i}", part, y):
            parts.append(forwards(f"layer {i}, {part.name}", part, own, y))
        y = parts[-1].y
    y = added(x, y) if function is residual_forward else y
    return Walked(place, layer, params, x, y, tuple(parts))


def _forwards_in_parallel(place: str, layer: Layer, params: Any, x: Any) -> Walked:
    layers, names = layer.forward.args  # type: ignore[attr-defined]
    parts = []
    for (where, part, value), own in zip(branches(layers, names, x), separated(layers, names, params)):
        with inside(where, part, value):
            parts.append(forwards(f"{where}, {part.name}", part, own, value))
    return Walked(place, layer, params, x, joined(names, [part.y for part in parts]), tuple(parts))


# Backwards, handing on delta -----------------------------------------------------------------------


def backwards(walked: Walked, delta: Any) -> Walked:
    """With δ, the derivative by what the layer gave: by its parameters, and by what it was given."""
    rule = rule_of(walked.layer)
    if rule is not None:
        return rule(walked._replace(delta=delta))
    y, pull = jax.vjp(walked.layer.forward, walked.params, walked.x)
    grads, delta_x = pull(jax.tree.map(lambda d, v: d.astype(v.dtype), delta, y))
    return walked._replace(delta=delta, grads=grads, delta_x=delta_x)


def _dense(walked: Walked) -> Walked:
    weight = walked.params["weight"]
    x = walked.x.reshape(-1, weight.shape[0])
    delta = walked.delta.reshape(-1, weight.shape[1])
    grads = {"weight": x.T @ delta, "bias": delta.sum(0)}  # (3)  ∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ
    delta_x = delta @ weight.T  # (4)  δ ← δWᵀ
    grads = {name: grad.astype(walked.params[name].dtype) for name, grad in grads.items()}
    return walked._replace(grads=grads, delta_x=delta_x.reshape(walked.x.shape).astype(x.dtype))


def _activation(walked: Walked) -> Walked:
    rule = through(walked.layer.forward.args[0])  # type: ignore[attr-defined]
    assert rule is not None  # it was looked up before it was chosen
    delta_x = rule(walked.delta, walked.x, walked.y)  # (2)  δ ← δ ⊙ σ′(z)
    return walked._replace(grads=(), delta_x=delta_x.astype(walked.x.dtype))


def _reshaped(walked: Walked) -> Walked:
    return walked._replace(grads=(), delta_x=walked.delta.reshape(walked.x.shape))


def _in_series(walked: Walked) -> Walked:
    parts, delta = [], walked.delta
    for part in reversed(walked.inside):  # from the last layer to the first
        parts.append(backwards(part, delta))
        delta = parts[-1].delta_x
    done = tuple(reversed(parts))
    return walked._replace(inside=done, grads=tuple(part.grads for part in done), delta_x=delta)


def _residual(walked: Walked) -> Walked:
    through_layers = _in_series(walked)
    delta_x = jax.tree.map(jax.numpy.add, walked.delta, through_layers.delta_x)  # y = x + f(x): both ways
    return through_layers._replace(delta_x=delta_x)


def _parallel(walked: Walked) -> Walked:
    names = walked.layer.forward.args[1]  # type: ignore[attr-defined]
    deltas = [walked.delta[name] for name in names] if names else walked.delta
    parts = tuple(backwards(part, delta) for part, delta in zip(walked.inside, deltas, strict=True))
    grads = joined(names, [part.grads for part in parts])
    delta_x: Any = joined(names, [part.delta_x for part in parts])
    if not names:  # all were given the same x: their derivatives add up
        delta_x = jax.tree.map(lambda *each: sum(each[1:], each[0]), *delta_x)
    return walked._replace(inside=parts, grads=grads, delta_x=delta_x)


RULES: dict[Any, Callable[[Walked], Walked]] = {
    dense_forward: _dense,
    flatten_forward: _reshaped,
    dropout_forward: _reshaped,  # the trained layer drops nothing
    serial_forward: _in_series,
    residual_forward: _residual,
    parallel_forward: _parallel,
}


def rule_of(layer: Layer) -> Callable[[Walked], Walked] | None:
    """The layer's rule, or None where none is written."""
    if is_plain(layer):
        return _activation if through(layer.forward.args[0]) else None  # type: ignore[attr-defined]
    return RULES.get(_function(layer))


def _function(layer: Layer) -> Any:
    """The function of a layer, without the description bound to it."""
    return call_plain if is_plain(layer) else getattr(layer.forward, "func", layer.forward)


def _automatic(walked: Walked, path: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The paths of the layers without a rule."""
    if rule_of(walked.layer) is None:
        return (" › ".join(path) or walked.place,)
    return tuple(name for part in walked.inside for name in _automatic(part, (*path, part.place)))
