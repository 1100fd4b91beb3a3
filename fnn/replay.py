"""Where a run went bad: the steps of an epoch made once more, up to the first NaN or infinity."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from fnn.batches import drawn
from fnn.functions import name_of
from fnn.layer import Layer, LayerError
from fnn.objective import Function, cost_of
from fnn.optimizers import Optimizer
from fnn.parameters import trained
from fnn.state import State, stays_finite
from fnn.training import one_turn, step
from fnn.walk import children

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
    rows, validated = data[:3], data[3] is not None
    begin, again = (state._replace(key=jax.random.clone(state.key)) for _ in range(2))  # the same numbers
    place, state = _before_the_first_bad_step(network, update, batch_size, cost, penalty, again, rows)
    batches = drawn(begin, rows, batch_size)
    size = batches.size if place < batches.whole else batches.left
    suspects: Iterator[Suspect] = iter(())
    if size:
        batch, key = batches.batch(int(place), size)
        suspects = _suspects(network, cost, Optimizer(update, update), penalty, state, batch, key)
    last = Suspect("validation cost", network.name, "NaN or infinity in validation=") if validated else UNSEEN
    suspect = next(suspects, last)
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


def _suspects(
    network: Layer,
    cost: Partial,
    optimizer: Optimizer,
    penalty: Partial | None,
    state: State,
    batch: tuple[Any, ...],
    key: chex.PRNGKey,
) -> Iterator[Suspect]:
    """What is not finite in a step, in the order in which it is computed."""
    x, y, weight = batch
    keys = (jax.random.clone(key) for _ in range(3))  # each time the same random numbers
    of_layer = functools.partial(_layer_of, network, state.params, x)
    for name, rows in {"x": x, "y": y, "sample_weight": weight}.items():
        yield from _bad("input", rows, functools.partial(_place, name))
    yield from _bad("parameter", state.params, of_layer)
    yield from _bad_activation(network, state.params, x, next(keys))
    predictions, _ = network.forward_train(state.params, x, next(keys))
    yield from _bad("cost", cost_of(cost, predictions, y, weight), lambda path: name_of(cost))
    if penalty is not None:
        yield from _bad("penalty", penalty(trained(state.params)), lambda path: name_of(penalty))
    turn = one_turn(network, cost, optimizer, state, x, y, next(keys), weight, penalty)
    yield from reversed([*_bad("gradient", turn.grads, of_layer)])  # from the last layer to the first
    yield from _bad("update", turn.updates, of_layer)
    yield from _bad("moment", turn.state.optimizer, jax.tree_util.keystr)
    yield from _bad("parameter", turn.state.params, of_layer)


def _place(name: str, path: Any) -> str:
    return name + jax.tree_util.keystr(path)


def _bad(quantity: str, tree: Any, words: Callable[[Any], str]) -> Iterator[Suspect]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found = _said_of(leaf)
        if found:
            yield Suspect(quantity, words(path), found)


def _said_of(leaf: Any) -> str:
    """What in an array is not finite, or nothing."""
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) or isinstance(leaf, jax.core.Tracer):
        return ""
    array = np.asarray(leaf)
    wrong = np.argwhere(~np.isfinite(array.astype(np.float32) if array.dtype.kind == "V" else array))
    if not len(wrong):
        return ""
    place = tuple(int(i) for i in wrong[0])
    return f"{array[place]} at {place}, {len(wrong)} of {array.size} numbers" if place else f"{array[()]}"


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


# The layers, each asked for its output -------------------------------------------------------------


def _bad_activation(network: Layer, params: Any, x: Any, key: chex.PRNGKey) -> Iterator[Suspect]:
    """The innermost layer whose output is not finite first, by the path that every layer's errors take."""
    try:
        with jax.disable_jit():  # a scan too goes step by step, with numbers in it
            _tapped(network).forward_train(params, x, key)
    except _NotFiniteError as error:
        yield Suspect("activation", network.name, str(error))
    except Exception as error:  # a function may not run without jit: the step's other quantities are left
        if isinstance(error, LayerError) and isinstance(error.__cause__, _NotFiniteError):
            yield Suspect("activation", " › ".join(error.path), error.reason)


class _NotFiniteError(ValueError):
    """An output that is not finite."""


def _tapped(layer: Layer) -> Layer:
    """The same layer, and the same in it, that refuses to put out what is not finite."""
    forward, forward_train = _with_taps(layer.forward), _with_taps(layer.forward_train)
    return layer._replace(
        forward=functools.partial(_refusing, forward),
        forward_train=functools.partial(_refusing_train, forward_train),
    )


def _with_taps(bound: Any) -> Any:
    """What a combinator bound to its functions, its layers tapped."""
    if isinstance(bound, Layer):
        return _tapped(bound)
    if isinstance(bound, functools.partial):
        options = {name: _with_taps(value) for name, value in bound.keywords.items()}
        return functools.partial(bound.func, *map(_with_taps, bound.args), **options)
    return tuple(map(_with_taps, bound)) if type(bound) is tuple else bound


def _refusing(forward: Function, params: Any, x: Any) -> Any:
    return _finite(forward(params, x))


def _refusing_train(forward_train: Function, params: Any, x: Any, key: Any) -> tuple[Any, Any]:
    y, params = forward_train(params, x, key)
    return _finite(y), params


def _finite(y: Any) -> Any:
    for suspect in _bad("activation", y, str):
        raise _NotFiniteError(suspect.found)
    return y
