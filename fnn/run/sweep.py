"""Many runs side by side: networks, hyperparameters and seeds compared, on every core and device."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import chex
import jax
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.functions import as_partial
from fnn.guard.numbers import check_key, check_whole
from fnn.guard.warn import warn_user
from fnn.guard.words import name_of
from fnn.run.arguments import check_known, check_parts
from fnn.run.choices import Member, Names, members_of
from fnn.run.fit import read_setting
from fnn.run.group import Job, Result, make_jobs, run_job
from fnn.run.rehearsal import rehearse
from fnn.workflow.arguments import check_validation
from fnn.workflow.batches import are_copied
from fnn.workflow.setting import Setting, make_setting
from fnn.workflow.shapes import abstract
from fnn.workflow.state import Fitted, State, average_params

__all__ = ["Sweep", "sweep"]


class Sweep(NamedTuple):
    """Runs side by side: `runs[i]` was given `settings[i]`, by name. print(sweep) is a table, best first.

    `order` are the places of the runs from the best on: by the lowest validation cost, or without validation
    by the last cost; those that were not finite come last. `best` is the first of them.
    """

    settings: tuple[Names, ...]
    runs: tuple[Fitted, ...]

    @property
    def order(self) -> list[int]:
        """The places of the runs, best first."""
        return sorted(range(len(self.runs)), key=lambda i: _score(self.runs[i]))

    @property
    def best(self) -> Fitted:
        """The run with the lowest cost."""
        return self.runs[self.order[0]]

    def __str__(self) -> str:
        rows = [{**self.settings[i], **_measures(self.runs[i])} for i in self.order]
        names = list({name: None for row in rows for name in row})
        lines = [names, *([_text(row.get(name, "")) for name in names] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _score(run: Fitted) -> tuple[bool, float]:
    cost = run.history["cost"][-1:].sum() if run.state.best is None else run.state.best.cost
    return run.stopped == "not_finite", float(cost)


def _measures(run: Fitted) -> dict[str, Any]:
    """A run's measures at the epoch whose parameters it returns, and why it ended if that was early."""
    epoch = int(run.state.epoch if run.state.best is None else run.state.best.epoch)
    measures = {name: rows[epoch - 1] for name, rows in run.history.items() if epoch}
    return {"epoch": epoch, **measures, **({} if run.stopped == "epochs" else {"stopped": run.stopped})}


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value).replace("\n", " ")


def sweep(
    network: Any,
    cost: Any,
    optimizer: Any,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    *,
    key: Any,
    epochs: int,
    batch_size: Any = 32,
    sample_weight: ArrayLike | None = None,
    penalty: Any = None,
    validation: tuple[Any, ...] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    patience: int | None = None,
    grid: bool = True,
) -> Sweep:
    """`fit`, for several networks, costs, rules, penalties, batch sizes and keys at once.

    Where `fit` takes one of these, give a list, or a dict of named ones: every combination is run. With
    `grid=False` they are taken side by side, as zip does. An array of keys, `jax.random.split(key, 5)`, is a
    list of seeds. All else is as in `fit`; each run ends for itself, by its own validation and patience.

    Runs that differ in numbers only share a compiled program. Small ones are computed some at once, and every
    core works, or every device. Each run is that of `fit` with the same arguments, but for rounding: products
    of several matrices at once may add up in another order. One that is not finite is returned as it was
    before, and the others go on. Ctrl-C returns the runs begun.

    >>> import fnn, jax.numpy as jnp
    >>> x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    >>> rules = [fnn.adam(0.001), fnn.adam(0.1)]
    >>> found = sweep(fnn.dense(1), fnn.mse, rules, x, 3 * x, key=jax.random.key(0), epochs=100)
    >>> found.settings[found.order[0]], round(float(found.best.params["weight"][0, 0]), 2)
    ({'learning_rate': 0.1}, 3.0)

    Raises ValueError or TypeError, before anything is compiled, for what fit refuses, for a metric that JAX
    cannot compile, and for lists of different lengths with `grid=False`.
    """
    check_whole("sweep", "epochs", epochs)
    check_validation("sweep", validation, metrics, patience)
    chosen = {"network": network, "cost": cost, "optimizer": optimizer, "penalty": penalty}
    chosen |= {"batch_size": batch_size, "key": key}
    data = {"x": x, "y": y, "sample_weight": sample_weight, "validation": validation, "metrics": metrics}
    check_known("sweep", chosen, data)
    members = members_of(chosen, grid)
    workers = _workers()
    jobs = [_jobs(group, data, patience, workers) for group in _groups(members)]
    in_turn = [job for row in itertools.zip_longest(*jobs) for job in row if job]  # so groups compile at once
    results = _run_all(in_turn, int(epochs), patience, len(workers))
    runs = dict(sorted(pair for result in results for pair in _fitted(result)))
    settings = {i: members[i].names for i in runs}
    bad = [f"{settings[i]}" for i, run in runs.items() if run.stopped == "not_finite"]
    if bad:
        warn_user(
            f"sweep: {len(bad)} of {len(runs)} runs met a number that is not finite, and are returned as "
            f"they were before: {', '.join(bad[:8])}{' …' * (len(bad) > 8)}. fit says where.",
            RuntimeWarning,
        )
    return Sweep(tuple(settings.values()), tuple(runs.values()))


# Members, grouped by what is compiled -------------------------------------------------------------

Group = dict[int, tuple[Member, Setting]]  # members by their places in the sweep, and what each computes with


def _groups(members: list[Member]) -> list[Group]:
    """The members whose functions differ in numbers only, together."""
    groups: dict[Any, Group] = {}
    for i, member in enumerate(members):
        _, network, cost, optimizer, penalty, batch_size, key = member
        check_parts("sweep", network, cost, optimizer, penalty, batch_size)
        check_key("sweep", key, "A list of them, or jax.random.split(key, 5), is a list of seeds.")
        init = as_partial(optimizer.init)
        own = make_setting(network, cost, optimizer, penalty, batch_size=batch_size, init=init)
        structure, leaves = abstract(own)
        groups.setdefault((structure, *(shape for shape, _ in leaves)), {})[i] = member, own
    return list(groups.values())


def _jobs(group: Group, data: dict[str, Any], patience: int | None, workers: list[Any]) -> Iterator[Job]:
    """The group's members in jobs of some; its first is tried in shapes, and its rows are read once."""
    first, _ = next(iter(group.values()))
    _, network, cost, optimizer, penalty, batch_size, key = first
    try:
        read, hosted = read_setting(network, cost, optimizer, penalty, batch_size, **data)
        like = rehearse(read, (key, None), None)
    except Exception as error:
        if first.names:
            error.add_note(f"This came up in the run of the sweep with {first.names}.")
        raise
    for name, metric in hosted.items():
        raise TypeError(
            f"sweep: metrics[{name!r}], {name_of(metric)}, computes outside JAX, which only fit waits for: "
            "fnn.evaluate(network, run.params, x, y, …) measures it for each of sweep.runs."
        )
    settings = [
        dataclasses.replace(read, cost=own.cost, penalty=own.penalty, init=own.init)
        for _, own in group.values()
    ]
    size = _members_at_once(len(settings), len(workers), read, like)
    keys = [member.key for member, _ in group.values()]
    return make_jobs(list(group), settings, keys, size, patience, workers)


def _members_at_once(count: int, workers: int, setting: Setting, like: State) -> int:
    """How many members a program computes at once, so that every worker has some, and memory is bounded.

    On a CPU what fits a core's cache: 16 networks 2-8-1 at once take 0.9 µs a step each, one by one 4.1; of
    networks with 20,000 parameters 4 at once are as fast as 16. For accelerators the bounds are not measured.
    """
    most, room = (16, 2**22) if jax.default_backend() == "cpu" else (256, 2**30)
    rows = setting.x, setting.y, setting.sample_weight
    own = 8 * _bytes(like.params)  # and gradients, moments, updates
    if are_copied(rows):
        own += _bytes(rows)
    most = max(1, min(most, count, room // max(own, 1)))

    def in_a_row(size: int) -> int:
        """How many members the busiest worker computes: its rounds, of `size` each."""
        jobs = -(-count // size)
        return -(-jobs // workers) * size

    return min(range(most, 0, -1), key=in_a_row)  # the largest of the best


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree) if hasattr(leaf, "dtype"))


# Worked on ----------------------------------------------------------------------------------------


def _workers() -> list[Any]:
    """A device for each worker: every local device; or a CPU that is one device, once for each core."""
    devices = jax.local_devices()
    if len(devices) > 1 or devices[0].platform != "cpu":
        return devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return devices * (cores or 1)


def _run_all(jobs: list[Job], epochs: int, patience: int | None, workers: int) -> list[Result]:
    """What became of each job that was begun; after Ctrl-C no more are."""
    halt = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(run_job, job, epochs, patience, halt) for job in jobs]
        with contextlib.suppress(KeyboardInterrupt):
            concurrent.futures.wait(working, return_when=concurrent.futures.FIRST_EXCEPTION)
        halt.set()
        pool.shutdown(cancel_futures=True)
    results = [done.result() for done in working if not done.cancelled()]
    return [result for result in results if result.histories]


def _fitted(result: Result) -> Iterator[tuple[int, Fitted]]:
    """Each member's run, by its place in the sweep."""
    keys = result.states.key
    numbers = jax.device_get(result.states._replace(key=None))
    for i, place in enumerate(result.places):
        state = jax.device_put(jax.tree.map(lambda leaf, i=i: leaf[i], numbers))._replace(key=keys[i])
        params = average_params(state) if state.best is None else state.best.params
        yield place, Fitted(params, result.histories[i], state, result.stopped[i])
