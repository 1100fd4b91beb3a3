"""The host loop around `train`: data in, a trained network and its history out."""

import contextlib
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.arguments import check_fit, check_state
from fnn.arrays import row_count
from fnn.functions import as_partial
from fnn.layer import Layer
from fnn.optimizers import Optimizer
from fnn.progress import progress_bar
from fnn.rows import checked_rows
from fnn.state import State, start, watched
from fnn.training import train

__all__ = ["Fitted", "Report", "fit"]

CAPACITY = 1024  # epochs at most in one compiled call: the length of its history
SECONDS = 0.5  # about how long a call may run, so that the host can step in


class Report(NamedTuple):
    """What `on_epoch` is given: `epoch` of `epochs` are finished, with these measures and this state."""

    epoch: int
    epochs: int
    measures: dict[str, float]
    state: State


class Fitted(NamedTuple):
    """A finished run.

    `params` are what validation chose (the best), or the last; `history` has a NumPy array for each
    measure, one entry an epoch; `state` goes on, with fit(…, state=fitted.state); `stopped` says why it
    ended: "epochs", "patience" or "on_epoch".
    """

    params: chex.ArrayTree
    history: dict[str, np.ndarray]
    state: State
    stopped: str


def fit(
    network: Layer,
    cost: Callable[..., Any],
    optimizer: Optimizer,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    *,
    key: chex.PRNGKey | None = None,
    epochs: int,
    batch_size: int = 32,
    sample_weight: ArrayLike | None = None,
    penalty: Callable[..., Any] | None = None,
    validation: tuple[Any, ...] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    patience: int | None = None,
    on_epoch: Callable[[Report], Any] | None = None,
    progress: bool = False,
    params: chex.ArrayTree | None = None,
    state: State | None = None,
) -> Fitted:
    """Train a network on arrays: x (n, …), y (n, …), in shuffled batches, for so many epochs.

        repeat   ŷ = forward(θ, x)   c = cost(ŷ, y) + penalty(θ)   g = ∂c/∂θ   θ ← θ + update(g)

    `validation` is (x, y) or (x, y, sample_weight), never trained on: its cost and `metrics` are taken
    after each epoch, the parameters of its lowest cost are kept, and `patience` epochs without a lower
    one end the run. `on_epoch(report)` is called after each epoch and ends the run by returning true.
    `params` are parameters to begin from; `state` is a run to continue, for `epochs` more.

    The same key gives the same bits, and a run continued those of the whole. Another key, number of
    epochs, learning rate or patience compiles nothing.

    >>> import fnn, jax, jax.numpy as jnp
    >>> x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    >>> key = jax.random.key(0)
    >>> fitted = fnn.fit(fnn.dense(1), fnn.mse, fnn.adam(0.1), x, 3 * x + 2, key=key, epochs=200)
    >>> print(jnp.round(fitted.params["weight"], 2), jnp.round(fitted.params["bias"], 2))
    [[3.]] [2.]

    Raises ValueError or TypeError, before anything is compiled, for what does not fit together.
    """
    check_fit(
        network,
        cost,
        optimizer,
        epochs,
        batch_size,
        validation,
        metrics,
        patience,
        key,
        state,
        params,
        on_epoch,
        penalty,
    )
    data = checked_rows(network, cost, x, y, sample_weight, validation)
    x, *_, validation = data
    run = functools.partial(
        _train,
        network,
        optimizer.update,
        as_partial(cost),
        penalty=None if penalty is None else as_partial(penalty),
        metrics={name: as_partial(metric) for name, metric in (metrics or {}).items()},
        patience=np.int32(np.iinfo(np.int32).max if patience is None else patience),
        batch_size=batch_size,
        data=jax.device_put(data),
    )
    if state is None:
        state = _start(network, optimizer, x, batch_size, key, params)
    else:
        check_state(state, optimizer, key, params)
    if validation is not None:
        state = watched(state)
    with contextlib.ExitStack() as stack:
        watchers = [stack.enter_context(progress_bar(epochs))] if progress else []
        watchers += [on_epoch] if on_epoch is not None else []
        return _loop(run, state, epochs, patience, watchers)


def _start(
    network: Layer, optimizer: Optimizer, x: Any, batch_size: int, key: chex.PRNGKey, params: Any
) -> State:
    n = row_count(x=x)
    leaves, structure = jax.tree.flatten(x)
    batch = tuple(jax.ShapeDtypeStruct((min(n, batch_size), *v.shape[1:]), v.dtype) for v in leaves)
    return _compiled_start(network, as_partial(optimizer.init), structure, batch, key, params)


# It runs once: compiled lightly, it is ready in 0.2 s instead of 0.5. (Never so in a function that a
# user may trace: jit with compiler options raises under jit, grad and scan.)
@functools.partial(
    jax.jit,
    static_argnums=(0, 2, 3),
    compiler_options={"xla_backend_optimization_level": 1},
)
def _compiled_start(
    network: Layer, init: Partial, structure: Any, leaves: tuple[Any, ...], key: Any, params: Any
) -> State:
    x = jax.tree.unflatten(structure, leaves)
    return start(network, Optimizer(init, init), x, key=key, params=params)


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames="batch_size")
def _train(
    network: Layer,
    update: Callable[..., Any],
    cost: Partial,
    state: State,
    epochs: jax.Array,
    *,
    data: tuple[Any, ...],
    penalty: Partial | None,
    metrics: dict[str, Partial],
    patience: jax.Array,
    batch_size: int,
) -> tuple[State, dict[str, jax.Array]]:
    x, y, sample_weight, validation = data
    return train(
        network,
        cost,
        Optimizer(update, update),
        state,
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        sample_weight=sample_weight,
        penalty=penalty,
        validation=validation,
        metrics=metrics,
        patience=patience,
        capacity=CAPACITY,
    )


def _loop(
    run: Callable[..., Any], state: State, epochs: int, patience: int | None, watchers: list[Any]
) -> Fitted:
    """Calls of one epoch where somebody watches, else of about half a second."""
    begin, pieces, stopped, size = int(state.epoch), [], "epochs", 1
    done = 0
    while done < epochs:
        clock = time.perf_counter()
        state, history = run(state, np.int32(min(size, epochs - done)))
        made = int(state.epoch) - begin - done
        pieces.append({name: np.asarray(rows)[:made] for name, rows in history.items()})
        done += made
        if made and watchers:
            report = _report(state, begin + epochs, pieces[-1])
            if True in [bool(watch(report)) for watch in watchers]:  # each is told, whatever the first says
                stopped = "on_epoch"
                break
        if patience and state.best and int(state.epoch) - int(state.best.epoch) >= patience:
            stopped = "patience"
            break
        if not watchers:
            size = _next_size(size, time.perf_counter() - clock)
    names = pieces[0] if pieces else {}
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in names}
    params = state.params if state.best is None else state.best.params
    return Fitted(params, joined, state, stopped)


def _next_size(size: int, seconds: float) -> int:
    return max(1, min(2 * size, int(size * SECONDS / seconds), CAPACITY))


def _report(state: State, epochs: int, piece: dict[str, np.ndarray]) -> Report:
    measures = {name: rows[-1].item() if rows.ndim == 1 else rows[-1] for name, rows in piece.items()}
    return Report(int(state.epoch), epochs, measures, state)
