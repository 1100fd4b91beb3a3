"""One step and one validation in shapes only: what does not fit together is told before a compilation."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.functions import abstract, as_partial
from fnn.guard.trees import check_same, places
from fnn.guard.words import describe, name_of
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.optimizers.rule import Optimizer
from fnn.run.setting import Setting
from fnn.workflow.evaluation import forward_in_blocks
from fnn.workflow.objective import cost_of, real_number
from fnn.workflow.state import State
from fnn.workflow.training import step

__all__: list[str] = []


NUMBERS = (jax.Array, np.ndarray, np.generic, int, float, complex)


def rehearse(setting: Setting, state: State) -> None:
    """Refuse what would go wrong in a step or in the validation after it; the same shapes are tried once.

    `state` is one of arrays or of shapes. What a layer, a cost, a penalty or a metric raises comes through.
    """
    network, cost, optimizer, penalty, metrics, batch_size, data = setting
    functions = cost, as_partial(optimizer.init), penalty, metrics
    arguments = network, optimizer.update, batch_size, *abstract((functions, state, data))
    try:
        hash(arguments)
    except TypeError:
        _rehearsed.__wrapped__(*arguments)
    else:
        _rehearsed(*arguments)


@functools.lru_cache(maxsize=256)
def _rehearsed(network: Layer, update: Any, batch_size: int, structure: Any, leaves: Any) -> None:
    shapes = [jax.ShapeDtypeStruct(*leaf) for leaf in leaves]
    (cost, init, penalty, metrics), state, (*rows, validation) = jax.tree.unflatten(structure, shapes)
    batch = jax.tree.map(functools.partial(_first, batch_size), rows)
    _check_begin(network, init, state, batch[0])
    moved = jax.eval_shape(functools.partial(_turn, network, update), cost, penalty, state, *batch)
    check_same(
        "after a step, params", state.params, moved.params, "A layer keeps the shapes of what it moves."
    )
    if validation is not None:
        with _noted("This came up with the rows of validation=."):
            jax.eval_shape(functools.partial(_validated, network), cost, metrics, state.params, *validation)


def _first(batch_size: int, rows: Any) -> Any:
    return jax.ShapeDtypeStruct((min(rows.shape[0], batch_size), *rows.shape[1:]), rows.dtype)


def _check_begin(network: Layer, init: Callable[..., Any], state: State, x: Any) -> None:
    """Refuse the parameters of another network, and what an optimizer remembers of others."""
    expected = jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0), x)
    if places(state.params).keys() != places(expected).keys():
        jax.eval_shape(network.forward, state.params, x)  # a layer knows best what it lacks
    check_same("params", expected, state.params, "Are these the parameters of another network?")
    if state.best is not None:
        check_same(
            "state.best.params", expected, state.best.params, "It keeps parameters of the same network."
        )
    expected = jax.eval_shape(lambda init, learns: init(learns), init, trained(state.params))
    check_same(
        "state.optimizer", expected, state.optimizer, "Is this the state of another optimizer or network?"
    )


# What is tried ------------------------------------------------------------------------------------


def _turn(
    network: Layer, update: Any, cost: Any, penalty: Any, state: State, x: Any, y: Any, weight: Any
) -> State:
    cost, penalty = _told("cost", cost), None if penalty is None else _told("penalty", penalty, constant=True)
    return step(network, cost, Optimizer(update, update), state, x, y, state.key, weight, penalty)[0]


def _validated(
    network: Layer, cost: Any, metrics: Any, params: Any, x: Any, y: Any, weight: Any = None
) -> dict[str, jax.Array]:
    predictions = forward_in_blocks(network, params, x)
    real_number("cost", cost_of(_told("cost", cost), predictions, y, weight))
    measured = {}
    for name, metric in metrics.items():
        with _noted(f"This came up in metrics[{name!r}]."):
            value = cost_of(_told(f"metrics[{name!r}]", metric, constant=True), predictions, y, weight)
            measured[name] = jnp.asarray(value)
    return measured


def _told(name: str, function: Callable[..., Any], constant: bool = False) -> Callable[..., Any]:
    """The function, and what is said where it leaves JAX for NumPy, or gives nothing that it computed.

    A `constant` may come from a penalty or a metric; a cost that is one has nothing to lower.
    """

    @functools.wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        try:
            value = function(*args, **options)
        except jax.errors.JAXTypeError as error:
            reason = str(error).splitlines()[0]
            raise TypeError(
                f"{name} expected a function of jax.numpy, but {name_of(function)} takes its numbers out of "
                f"JAX, into NumPy's or Python's: write jnp.log for np.log, jnp.where for if. ({reason})"
            ) from error
        if not isinstance(value, NUMBERS if constant else jax.core.Tracer):
            raise TypeError(
                f"{name} expected numbers computed from its arguments, got {describe(value)} from "
                f"{name_of(function)}: does it return what it computes, with jax.numpy?"
            )
        return value

    called.__name__ = name_of(function)  # wraps finds none in a partial
    return called


@contextlib.contextmanager
def _noted(note: str) -> Iterator[None]:
    """Say where an error came up; its type and message stay its own."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
