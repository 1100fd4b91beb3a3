"""Where a run went bad: the steps of an epoch made again, up to the first NaN or infinity."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.arrays import row_count
from fnn.guard.words import name_of
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.network.programs import compile_recent
from fnn.network.taps import first_bad, not_finite_in
from fnn.network.walk import layers_at
from fnn.workflow.batches import make_batches
from fnn.workflow.epochs import COSTS
from fnn.workflow.evaluation import forward_in_blocks
from fnn.workflow.objective import cost_of
from fnn.workflow.setting import Setting
from fnn.workflow.state import NotFinite, State, average_params, stays_finite
from fnn.workflow.training import one_turn

__all__: list[str] = []


class Suspect(NamedTuple):
    """A quantity that is not finite."""

    quantity: str
    where: str
    found: str


def ends_finite(history: Mapping[str, Any], before: State, after: State) -> bool:
    """Whether the last epoch's costs are finite, and all of the state that was finite before.

    Read by NumPy where the numbers lie on the host: a program of hundreds of arrays takes seconds to compile.
    """
    last = int(after.epoch) - int(before.epoch) - 1  # JAX waits here, and looks for Ctrl-C while it does
    costs = [np.asarray(history[name])[last] for name in COSTS if name in history]
    if last >= 0 and not np.isfinite(costs).all():
        return False
    if any(device.platform != "cpu" for leaf in jax.tree.leaves(after.params) for device in leaf.devices()):
        return bool(_stays_finite(before, after))
    return not any(lost.any() for lost in lost_numbers(before, after))


def lost_numbers(before: State, after: State) -> Iterator[np.ndarray]:
    """For each array of floats in a state, which of its numbers were finite and are not any more."""
    old, new = (jax.tree.leaves((state.params, state.optimizer)) for state in (before, after))
    for was, now in zip(old, new):
        if jnp.issubdtype(now.dtype, jnp.inexact):
            yield np.isfinite(np.asarray(was)) & ~np.isfinite(np.asarray(now))


_stays_finite = compile_recent()(stays_finite)


def find(setting: Setting, state: State) -> NotFinite:
    """What goes bad first in the epoch after `state`, which is finite itself."""
    begin, again = (state._replace(key=jax.random.clone(state.key)) for _ in range(2))  # the same numbers
    place, state = _before_the_first_bad_step(setting, again)
    n = row_count(x=setting.x)
    most = min(setting.batch_size, n)
    size = min(most, n - int(place) * most)  # rows of the batch at this place; 0 after the last
    suspects = _bad_validation(setting, average_params(state))
    if size:
        suspects = _suspects(setting, state, *_batch_at(setting, begin, place, size))
    try:
        suspect = next(suspects, UNSEEN)
    except Exception as error:  # of the user's functions, which ran so far: the run is not lost for it
        suspect = UNSEEN._replace(found=f"and could not be looked into: {type(error).__name__}: {error}")
    return NotFinite(int(begin.epoch) + 1, int(place) + bool(size), *suspect)


UNSEEN = Suspect("cost", "the whole epoch", "though no step made alone shows it: it depends on rounding")


@compile_recent(static_argnums=(3,))
def _batch_at(setting: Setting, state: State, place: jax.Array, size: int) -> tuple[Any, chex.PRNGKey]:
    batches = make_batches(state, (setting.x, setting.y, setting.sample_weight), setting.batch_size)
    return batches.batch(place, size)


@compile_recent()
def _before_the_first_bad_step(setting: Setting, state: State) -> tuple[jax.Array, State]:
    """How many of the whole batches' steps are finite, and the state after them."""
    batches = make_batches(state, (setting.x, setting.y, setting.sample_weight), setting.batch_size)

    def going(carry: tuple[Any, Any, State]) -> jax.Array:
        place, is_finite, _ = carry
        return is_finite & (place < batches.whole)

    def turn(carry: tuple[Any, Any, State]) -> tuple[Any, Any, State]:
        place, _, before = carry
        made = one_turn(setting, before, *batches.batch(place, batches.size))
        is_finite = jnp.isfinite(made.costs["cost"]) & stays_finite(before, made.state)
        moved, stayed = ((state.params, state.optimizer) for state in (made.state, before))
        params, memory = jax.tree.map(lambda a, b: jnp.where(is_finite, a, b), moved, stayed)
        return place + is_finite, is_finite, before._replace(params=params, optimizer=memory)

    place, _, state = jax.lax.while_loop(going, turn, (jnp.int32(0), jnp.bool_(True), state))
    return place, state


# One step, quantity by quantity --------------------------------------------------------------------


def _suspects(setting: Setting, state: State, batch: tuple[Any, ...], key: chex.PRNGKey) -> Iterator[Suspect]:
    """What is not finite in a step, in the order in which it is computed."""
    network, cost, penalty = setting.network, setting.cost, setting.penalty
    x, y, weight = batch
    keys = (jax.random.clone(key) for _ in range(4))  # each time the same random numbers
    of_layer = functools.partial(_layer_of, network, state.params, x)
    for name, rows in {"x": x, "y": y, "sample_weight": weight}.items():
        yield from _bad("input", rows, functools.partial(_place, name))
    yield from _bad("parameter", _without_masks(state.params), of_layer)
    predictions, _ = jax.jit(network.forward_train)(state.params, x, next(keys))
    value = cost_of(cost, predictions, y, weight)
    taken = next(keys)
    hit = first_bad(network, lambda tapped: tapped.forward_train(state.params, x, jax.random.clone(taken)))
    if hit is not None and not (hit.is_mask and jnp.isfinite(value).all()):
        yield Suspect("activation", " › ".join(hit.path) or network.name, hit.found)
    yield from _bad("cost", value, lambda path: name_of(cost))
    if penalty is not None:
        yield from _bad("penalty", penalty(trained(state.params)), lambda path: name_of(penalty))
    turn = jax.jit(one_turn)(setting, state, batch, next(keys))
    yield from reversed([*_bad("gradient", turn.grads, of_layer)])  # from the last layer to the first
    yield from _bad("update", turn.updates, of_layer)
    yield from _bad("moment", _lost(state.optimizer, turn.state.optimizer), jax.tree_util.keystr)
    yield from _bad("parameter", _lost(state.params, turn.state.params), of_layer)
    yield from _bad_validation(setting, average_params(turn.state))


def _bad_validation(setting: Setting, params: Any) -> Iterator[Suspect]:
    """The validation cost after the epoch's last step, by the layer where it goes bad."""
    if setting.validation is None:
        return
    network = setting.network
    x, y, *weight = setting.validation
    predictions = jax.jit(functools.partial(forward_in_blocks, network))(params, x)
    value = cost_of(setting.cost, predictions, y, *weight or [None])
    for suspect in _bad("validation cost", value, lambda path: network.name):
        hit = first_bad(network, lambda tapped: tapped.forward(params, x))
        path = hit.path if hit else ()
        yield suspect._replace(where=" › ".join(path) or suspect.where)


def _without_masks(tree: Any) -> Any:
    """The tree with 0 for its negative infinities, which stand in masks and maxima on purpose."""

    def without(leaf: Any) -> Any:
        return jnp.where(jnp.isneginf(leaf), 0, leaf) if _is_real(leaf) else leaf

    return jax.tree.map(without, tree)


def _lost(before: Any, after: Any) -> Any:
    """The later tree, with 0 for what was not finite before."""

    def new(old: Any, leaf: Any) -> Any:
        return jnp.where(jnp.isfinite(old), leaf, 0) if _is_real(leaf) else leaf

    return jax.tree.map(new, before, after)


def _is_real(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jnp.floating))


def _place(name: str, path: Any) -> str:
    return name + jax.tree_util.keystr(path)


def _bad(quantity: str, tree: Any, words: Callable[[Any], str]) -> Iterator[Suspect]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found = not_finite_in(leaf)
        if found:
            yield Suspect(quantity, words(path), found)


def _layer_of(network: Layer, params: Any, x: Any, path: tuple[Any, ...]) -> str:
    """The layers to which the array at this path of the parameters belongs, and its name."""
    names = layers_at(network, params, x, path)
    return ", ".join([" › ".join(names), str(getattr(path[-1], "key", ""))]) if names else network.name
