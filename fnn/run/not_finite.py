"""Where a run went bad: the steps of an epoch made once more, up to the first NaN or infinity."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from fnn.guard.words import name_of
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.network.taps import first_bad, not_finite_in
from fnn.network.walk import children
from fnn.optimizers.rule import Optimizer
from fnn.workflow.batches import drawn
from fnn.workflow.evaluation import forward_in_blocks
from fnn.workflow.objective import Function, cost_of
from fnn.workflow.state import State, stays_finite
from fnn.workflow.training import Turn, one_turn, step

__all__ = ["NotFinite"]


class NotFinite(NamedTuple):
    """Where a run first met NaN or infinity: what of which layer, in which step of which epoch.

    `quantity` is "input", "parameter", "activation", "cost", "penalty", "gradient", "update", "moment"
    or "validation cost"; `where` the layer or the array; `found` the numbers. Epochs and steps count
    from 1.
    """

    epoch: int
    step: int
    quantity: str
    where: str
    found: str

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} was not finished: in its step {self.step} the {self.quantity} of "
            f"{self.where} was the first that is not finite, {self.found}. The run is returned as it was "
            f"after epoch {self.epoch - 1}. What often helps: a smaller learning rate, "
            "fnn.clip_by_global_norm before the rule, inputs and targets scaled by fnn.standardize."
        )


class Suspect(NamedTuple):
    """A quantity that is not finite."""

    quantity: str
    where: str
    found: str


def find(
    network: Layer,
    update: Function,
    cost: Partial,
    penalty: Partial | None,
    batch_size: int,
    data: tuple[Any, ...],
    state: State,
) -> NotFinite:
    """What goes bad first in the epoch after `state`, which is sound itself."""
    *rows, validation = data
    begin, again = (state._replace(key=jax.random.clone(state.key)) for _ in range(2))  # the same numbers
    place, state = _before_the_first_bad_step(network, update, batch_size, cost, penalty, again, rows)
    batches = drawn(begin, rows, batch_size)
    size = batches.size if place < batches.whole else batches.left
    step = _Step(network, cost, Optimizer(update, update), penalty)
    suspects = _bad_validation(step, state.params, validation)
    if size:
        batch, key = batches.batch(int(place), size)
        suspects = _suspects(step, state, batch, key, validation)
    try:
        suspect = next(suspects, UNSEEN)
    except Exception as error:  # of the user's functions, which ran so far: the run is not lost for it
        suspect = UNSEEN._replace(found=f"and could not be looked into: {type(error).__name__}: {error}")
    return NotFinite(int(begin.epoch) + 1, int(place) + bool(size), *suspect)


UNSEEN = Suspect("cost", "the whole epoch", "though no step made alone shows it: it hangs on rounding")


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _before_the_first_bad_step(
    network: Layer,
    update: Function,
    batch_size: int,
    cost: Partial,
    penalty: Partial | None,
    state: State,
    rows: tuple[Any, ...],
) -> tuple[jax.Array, State]:
    """How many of the whole batches' steps are sound, and the state after them."""
    batches = drawn(state, rows, batch_size)

    def going(carry: tuple[Any, Any, State]) -> jax.Array:
        place, sound, _ = carry
        return sound & (place < batches.whole)

    def turn(carry: tuple[Any, Any, State]) -> tuple[Any, Any, State]:
        place, _, before = carry
        (x, y, weight), key = batches.batch(place, batches.size)
        after, value = step(network, cost, Optimizer(update, update), before, x, y, key, weight, penalty)
        sound = jnp.isfinite(value) & stays_finite(before, after)
        moved, stayed = ((state.params, state.optimizer) for state in (after, before))
        params, memory = jax.tree.map(lambda a, b: jnp.where(sound, a, b), moved, stayed)
        return place + sound, sound, before._replace(params=params, optimizer=memory)

    place, _, state = jax.lax.while_loop(going, turn, (jnp.int32(0), jnp.bool_(True), state))
    return place, state


# One step, quantity by quantity --------------------------------------------------------------------


class _Step(NamedTuple):
    """What a step is made with."""

    network: Layer
    cost: Partial
    optimizer: Optimizer
    penalty: Partial | None


def _suspects(
    made: _Step, state: State, batch: tuple[Any, ...], key: chex.PRNGKey, validation: Any
) -> Iterator[Suspect]:
    """What is not finite in a step, in the order in which it is computed."""
    network, cost, _, penalty = made
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
    turn = jax.jit(functools.partial(_turn, made))(state, batch, next(keys))
    yield from reversed([*_bad("gradient", turn.grads, of_layer)])  # from the last layer to the first
    yield from _bad("update", turn.updates, of_layer)
    yield from _bad("moment", _lost(state.optimizer, turn.state.optimizer), jax.tree_util.keystr)
    yield from _bad("parameter", _lost(state.params, turn.state.params), of_layer)
    yield from _bad_validation(made, turn.state.params, validation)


def _turn(made: _Step, state: State, batch: tuple[Any, ...], key: chex.PRNGKey) -> Turn:
    x, y, weight = batch
    return one_turn(made.network, made.cost, made.optimizer, state, x, y, key, weight, made.penalty)


def _bad_validation(made: _Step, params: Any, validation: Any) -> Iterator[Suspect]:
    """The validation cost after the epoch's last step, by the layer where it goes bad."""
    if validation is None:
        return
    x, y, *weight = validation
    predictions = jax.jit(functools.partial(forward_in_blocks, made.network))(params, x)
    value = cost_of(made.cost, predictions, y, *weight or [None])
    for suspect in _bad("validation cost", value, lambda path: made.network.name):
        hit = first_bad(made.network, lambda tapped: tapped.forward(params, x))
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
    """The layers from the outermost in to which the array at this path of the parameters belongs."""
    described = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (params, x))
    leaves = dict(jax.tree_util.tree_leaves_with_path(described[0]))
    names = [*_descended(network, described[0], described[1], leaves[path])]
    return ", ".join([" › ".join(names), str(getattr(path[-1], "key", ""))]) if names else network.name


def _descended(layer: Layer, params: Any, x: Any, leaf: Any) -> Iterator[str]:
    for child in children(layer, params, x):
        if any(own is leaf for own in jax.tree.leaves(child.params)):
            place = f"layer {child.place}" if child.place.isdigit() else child.place
            yield f"{place}, {child.layer.name}".removeprefix(", ")
            yield from _descended(child.layer, child.params, child.x, leaf)
