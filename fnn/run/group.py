"""Members of a sweep that share a program: some at once, in a loop of compiled calls, on one device."""

import dataclasses
import functools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.network.programs import compile_recent
from fnn.run.begin import first_batch, lightly, make_strong
from fnn.run.loop import CAPACITY, next_size
from fnn.run.not_finite import lost_numbers
from fnn.workflow.epochs import COSTS, many_epochs
from fnn.workflow.setting import Setting
from fnn.workflow.state import Batch, State, first_state, with_best

__all__: list[str] = []

SHARED = ("x", "y", "sample_weight", "validation", "metrics")  # the fields of a setting that members share


class Job(NamedTuple):
    """Members computed at once, on one device: their places in the sweep, and two compiled programs.

    start() → states     train(states, epochs) → states, history      each with a leading axis of members
    """

    places: tuple[int, ...]
    start: Callable[[], State]
    train: Callable[[State, np.ndarray], tuple[State, dict[str, jax.Array]]]


class Result(NamedTuple):
    """What became of a job's members: their states, and for each its history and why it ended."""

    places: tuple[int, ...]
    states: State
    histories: list[dict[str, np.ndarray]]
    stopped: list[str]


# Compiled -----------------------------------------------------------------------------------------


def make_jobs(
    places: list[int],
    settings: list[Setting],
    keys: list[Any],
    size: int,
    patience: int | None,
    devices: list[Any],
) -> Iterator[Job]:
    """Jobs of `size` members each, for settings that differ in numbers only.

    All is traced here, in the caller's thread, for JAX's switches are a thread's own; workers compile.
    """
    shared = {name: getattr(settings[0], name) for name in SHARED}
    batch = first_batch(settings[0]), settings[0].validation is not None
    most = np.int32(np.iinfo(np.int32).max if patience is None else patience)
    rows_on = functools.cache(lambda device: jax.device_put((shared, most), device))
    programs: dict[Any, tuple[Any, Any]] = {}
    for i, begin in enumerate(range(0, len(settings), size)):
        device = devices[i % len(devices)]
        filled = [min(begin + j, len(settings) - 1) for j in range(size)]  # the last one again, to fill up
        numbers = _stack([_numbers(settings[j]) for j in filled])
        key = jnp.stack([jax.random.clone(keys[j]) for j in filled])  # a key may be that of several members
        numbers, key = jax.device_put((numbers, key), device)
        own = dataclasses.replace(numbers, init=None)
        if device not in programs:
            states = jax.eval_shape(functools.partial(_start_members, *batch), numbers.init, key)
            epochs = jax.ShapeDtypeStruct((size,), np.int32)
            programs[device] = (
                compile_once(_compiled_start.lower(*batch, numbers.init, key)),
                compile_once(_compiled_train.lower(own, *rows_on(device), states, epochs)),
            )
        start, train = programs[device]
        yield Job(
            tuple(places[begin : begin + size]),
            functools.partial(start, numbers.init, key),
            functools.partial(train, own, *rows_on(device)),
        )


def compile_once(lowered: Any) -> Callable[..., Any]:
    """The lowered function, compiled by the first call, from whichever thread."""
    lock, compiled = threading.Lock(), functools.cache(lowered.compile)

    def call(*args: Any) -> Any:
        with lock:
            program = compiled()
        return program(*args)

    return call


def _numbers(setting: Setting) -> Setting:
    """The setting without what it shares with others."""
    nothing: dict[str, Any] = dict.fromkeys(SHARED)
    return dataclasses.replace(setting, **nothing)


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _start_members(batch: Batch, is_validated: bool, inits: Any, keys: jax.Array) -> State:
    def start(init: Any, key: jax.Array) -> State:
        state = make_strong(first_state(batch, init, key, None))
        return with_best(state) if is_validated else state

    return jax.vmap(start)(inits, keys)


_compiled_start: Any = compile_recent(static_argnums=(0, 1), compiler_options=lightly)(_start_members)


def _train_members(
    numbers: Setting, shared: dict[str, Any], patience: ArrayLike, states: State, epochs: jax.Array
) -> tuple[State, dict[str, jax.Array]]:
    def train(own: Setting, state: State, count: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        return many_epochs(dataclasses.replace(own, **shared), state, count, patience, CAPACITY)

    return jax.vmap(train)(numbers, states, epochs)


_compiled_train: Any = compile_recent()(_train_members)


# The loop on the host -----------------------------------------------------------------------------


def run_job(job: Job, end: int, patience: int | None, halt: threading.Event) -> Result:
    """Call after call until every member has ended, or `halt` is set. A member that goes bad stays before it.

    A call whose last epochs are not finite for some members is made again, with fewer epochs for these.
    """
    states, size = job.start(), 1
    count = len(np.asarray(states.epoch))
    longest = np.full(count, CAPACITY)  # of a call; for a member that goes bad, down to 0
    pieces: list[list[dict[str, np.ndarray]]] = [[] for _ in range(count)]
    while not halt.is_set() and (going := _going(states, end, patience) & (longest > 0)).any():
        clock, before = time.perf_counter(), np.asarray(states.epoch)
        epochs = np.where(going, np.minimum(np.minimum(longest, size), end - before), 0)
        while True:
            after, history = job.train(states, epochs.astype(np.int32))
            made = np.asarray(after.epoch) - before
            finite = (made == 0) | _costs_are_finite(history, made) & _stay_finite(states, after)
            if finite.all():
                break
            longest = np.where(finite, longest, np.where(made < epochs, made - 1, made // 2))
            epochs = np.where(finite, made, longest)
        rows = {name: np.asarray(row) for name, row in history.items()}
        for i, piece in enumerate(pieces):
            piece.append({name: row[i, : made[i]] for name, row in rows.items()})
        states, size = after, next_size(max(1, int(made.max())), time.perf_counter() - clock)
    histories = [_join(piece) for piece in pieces if piece]
    return Result(job.places, states, histories, _how_they_ended(states, end, patience, longest == 0))


def _join(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _how_they_ended(states: State, end: int, patience: int | None, is_bad: np.ndarray) -> list[str]:
    reached, going = np.asarray(states.epoch) >= end, _going(states, end, patience)
    conditions = [is_bad, reached, ~going]
    return list(np.select(conditions, ["not_finite", "epochs", "patience"], "interrupted"))


def _going(states: State, end: int, patience: int | None) -> np.ndarray:
    """Which members have epochs left, and patience."""
    epoch = np.asarray(states.epoch)
    stale = 0 if states.best is None else epoch - np.asarray(states.best.epoch)
    return (epoch < end) & (stale < (np.inf if patience is None else patience))


def _costs_are_finite(history: dict[str, Any], made: np.ndarray) -> np.ndarray:
    """Which members' last costs are finite."""
    members, last = np.arange(len(made)), np.maximum(made, 1) - 1
    costs = [np.asarray(history[name])[members, last] for name in COSTS if name in history]
    return np.asarray(np.isfinite(costs).all(0))


def _stay_finite(before: State, after: State) -> np.ndarray:
    """Which members have lost no number that was finite."""
    lost = [each.reshape(len(each), -1).any(1) for each in lost_numbers(before, after)]
    return np.asarray(~np.any(lost, axis=0))
