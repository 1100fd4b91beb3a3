"""One step and one validation in shapes only: what does not fit is refused before anything is compiled."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from fnn.guard.trees import check_same, places, shape_and_type
from fnn.guard.words import describe, name_of
from fnn.network.parameters import trained
from fnn.run.begin import Given, shapes_of_start
from fnn.workflow.epochs import measure
from fnn.workflow.setting import Setting
from fnn.workflow.shapes import shaped
from fnn.workflow.state import State
from fnn.workflow.training import one_turn

__all__: list[str] = []

CARRIED = "What a layer or a rule carries keeps its shape and type, and so does a number changed by hand."

NUMBERS = (jax.Array, np.ndarray, np.generic, int, float, complex)


def rehearse(setting: Setting, given: Given, state: State | None) -> State:
    """The state that the run begins from, in shapes; the same shapes are tried once.

    Refuses what would go wrong in a step or in the validation after it. An error of a layer, a cost, a
    penalty or a metric comes through.
    """
    begins: State = _rehearse(None, setting, given, state)
    return begins


@shaped
def _rehearse(_: None, setting: Setting, given: Given, state: State | None) -> State:
    state = shapes_of_start(setting, given, state)
    first = functools.partial(jax.tree.map, functools.partial(_first_rows, setting.batch_size))
    batch = first((setting.x, setting.y, setting.sample_weight))
    _check_begin(setting, state, batch[0])
    turn = functools.partial(_turn)  # new, so that JAX forgets what it traced together with it
    moved = jax.eval_shape(turn, setting, state, batch)
    check_same("after a step, state", state, moved, CARRIED, of=shape_and_type)
    if setting.validation is not None:
        with _add_note("This came up with the rows of validation=."):
            jax.eval_shape(functools.partial(_measure), setting, state.params)
    return state


def _first_rows(batch_size: int, rows: Any) -> Any:
    return jax.ShapeDtypeStruct((min(rows.shape[0], batch_size), *rows.shape[1:]), rows.dtype)


def _check_begin(setting: Setting, state: State, x: Any) -> None:
    """Refuse the parameters of another network, and an optimizer's state made for others."""
    network = setting.network
    expected = jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0), x)
    if places(state.params).keys() != places(expected).keys():
        jax.eval_shape(network.forward, state.params, x)  # a layer knows best what it lacks
    check_same("params", expected, state.params, "Are these the parameters of another network?")
    if state.best is not None:
        check_same(
            "state.best.params", expected, state.best.params, "It keeps parameters of the same network."
        )
    expected = jax.eval_shape(lambda init, learns: init(learns), setting.init, trained(state.params))
    check_same(
        "state.optimizer", expected, state.optimizer, "Is this the state of another optimizer or network?"
    )


# What is tried ------------------------------------------------------------------------------------


def _turn(setting: Setting, state: State, batch: tuple[Any, ...]) -> State:
    cost: Any = _watch("cost", setting.cost)
    penalty: Any = None if setting.penalty is None else _watch("penalty", setting.penalty, constant=True)
    setting = dataclasses.replace(setting, cost=cost, penalty=penalty)
    return one_turn(setting, state, batch, state.key, _is_full(setting)).state


def _is_full(setting: Setting) -> bool:
    return setting.batch_size >= len(jax.tree.leaves(setting.x)[0])


def _measure(setting: Setting, params: Any) -> dict[str, jax.Array]:
    metrics: Any = {name: _watch(f"metrics[{name!r}]", each, True) for name, each in setting.metrics.items()}
    cost: Any = _watch("cost", setting.cost)
    return measure(dataclasses.replace(setting, cost=cost, metrics=metrics), params)


def _watch(name: str, function: Callable[..., Any], constant: bool = False) -> Callable[..., Any]:
    """The function, refused where it leaves JAX for NumPy, or returns nothing that it computed.

    A penalty or a metric may return a `constant`; a cost that is constant has nothing to lower.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            value = function(*args, **options)
        except jax.errors.JAXTypeError as error:
            reason = str(error).splitlines()[0]
            raise TypeError(
                f"{name} expected a function of jax.numpy, but {name_of(function)} takes its numbers out of "
                f"JAX, into NumPy's or Python's: write jnp.log for np.log, jnp.where for if. ({reason})"
            ) from error
        except Exception as error:
            error.add_note(f"This came up in {name}.")
            raise
        if not isinstance(value, NUMBERS if constant else jax.core.Tracer):
            got, fix = describe(value), "does it return what it computes, with jax.numpy?"
            if callable(value):
                got, fix = "a function", "is it called first, as fnn.l2(0.001) makes a penalty?"
            expected = "numbers computed from its arguments"
            raise TypeError(f"{name} expected {expected}, got {got} from {name_of(function)}: {fix}")
        return value

    call.__name__ = name_of(function)  # wraps finds none in a partial
    return call


@contextlib.contextmanager
def _add_note(note: str) -> Iterator[None]:
    """Say where an error came up; its type and message stay its own."""
    try:
        yield
    except Exception as error:
        error.add_note(note)
        raise
