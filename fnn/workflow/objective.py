"""The quantity that is lowered: predictions and targets → one real number, as a function of parameters."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.functions import call_in_order
from fnn.guard.words import Words, name_of, unexpected
from fnn.network.layer import Layer
from fnn.network.parameters import merge, trained
from fnn.workflow.arguments import check_compares, check_network, check_takes_weight

__all__ = ["Objective", "loss"]


Function = Callable[..., Any]


class Objective(NamedTuple):
    """The cost of one batch as a function of the trained parameters, and open to be taken apart.

        objective(θ) = cost(predict(θ)) + penalty(θ)

    Rules that look further than a gradient are given it as `value_fn`.
    """

    predict: Function
    cost: Function
    penalty: Function | None = None

    def __call__(self, params: chex.ArrayTree) -> jax.Array:
        """The cost at these trained parameters, a real number."""
        return self.costs(params, self.predict(params))["cost"]

    def costs(self, params: chex.ArrayTree, predictions: chex.ArrayTree) -> dict[str, jax.Array]:
        """The cost of predictions made with these parameters; with a penalty on them, without it too."""
        cost = real_number("cost", self.cost(predictions))
        if self.penalty is None:
            return {"cost": cost}
        penalty = real_number("penalty", self.penalty(params))
        return {"cost": cost + penalty, "cost_without_penalty": cost}


def real_number(name: str, value: Any) -> jax.Array:
    """The value, refused where it is no single real number."""
    if not isinstance(value, jax.Array | np.ndarray | np.generic | int | float | complex):
        raise TypeError(unexpected(f"the {name}", "one real number", value, "Does the function return it?"))
    if jnp.shape(value) != () or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        got = Words(f"{jnp.result_type(value)} of shape {jnp.shape(value)}")
        fix = "Take the mean over rows and outputs."
        raise ValueError(unexpected(f"the {name}", "one real number", got, fix))
    return jnp.asarray(value)


def loss(network: Layer, cost: Function, penalty: Function | None = None) -> Function:
    """The cost as a function of parameters and data, ready for `jax.grad`.

        loss(params, x, y) = cost(forward(params, x), y) + penalty(trained(params))

    >>> from fnn import mse, serial
    >>> loss(serial(jnp.sin), mse)(((),), jnp.zeros(3), jnp.full(3, 2.0))
    Array(4., dtype=float32)
    """
    check_network("loss", network, cost)
    check_compares("loss", "cost", cost, "fnn.mse")
    return functools.partial(_loss, network, cost, penalty)


def _loss(
    network: Layer,
    cost: Function,
    penalty: Function | None,
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    sample_weight: ArrayLike | None = None,
) -> jax.Array:
    objective = Objective(
        lambda learns: network.forward(merge(learns, params), x),
        lambda predictions: cost_of(cost, predictions, y, sample_weight),
        penalty,
    )
    return objective(trained(params))


def cost_of(cost: Function, predictions: Any, y: Any, sample_weight: Any) -> Any:
    """The cost, given weights only where there are any: a user's cost need not take them."""
    if sample_weight is None:
        return call_in_order(cost, predictions, y)
    check_takes_weight(f"the cost or metric {name_of(cost)}", cost)
    return call_in_order(cost, predictions, y, sample_weight=sample_weight)
