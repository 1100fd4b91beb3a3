"""Sequences piece by piece: a network is given the next steps, and carries what it needs of those before.

A layer that acts on each step alone needs nothing. Others bring (begin, step): a recurrent layer carries its
state, attention the keys and values of all steps so far.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.numbers import ABOVE_0, check_key, check_number, check_whole
from fnn.guard.trees import check_params
from fnn.guard.words import Words, describe, shapes, unexpected
from fnn.network.intern import as_layer
from fnn.network.layer import Forward, Layer
from fnn.network.programs import compile_recent

__all__ = ["Stream", "generate", "stream"]


class Stream(NamedTuple):
    """How a network goes through a sequence, as two pure functions.

    begin(params, x, length) → state      x: a piece, of which only shapes are used; length: of all pieces
    step(params, state, x)   → y, state   the next piece
    """

    begin: Forward
    step: Forward


def stream(network: Layer | Forward) -> Stream:
    """A network that reads a sequence piece by piece, each of one step or of many.

        state    = begin(params, x, length)     before the first step, for sequences of at most `length` steps
        y, state = step(params, state, x)       the next n steps, x: (…, n, features) or ids (…, n)

    Pieces one after the other give what `network.forward` gives for the whole, up to rounding, and no piece
    is computed twice: recurrent layers carry their state, attention its keys and values. A plain function,
    and a layer that says nothing else, is taken for one that acts on each step alone.

    >>> import fnn
    >>> one = {"weight": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
    >>> params, x = {"input": one, "recurrent": one}, jnp.array([[1.0], [0.0]])
    >>> begin, step = stream(fnn.rnn(1))
    >>> y, state = step(params, begin(params, x[:1], length=2), x[:1])     # tanh 1
    >>> step(params, state, x[1:])[0].round(3)                             # tanh of tanh 1
    Array([[0.642]], dtype=float32)

    Raises ValueError at `begin` for a layer that needs the steps to come: a recurrent layer that reads from
    the end, attention that is not causal, a convolution.
    """
    part = as_layer(network, "stream")
    return Stream(functools.partial(_begin_door, part), functools.partial(_step, part))


def _begin_door(network: Layer, params: Any, x: Any, length: int) -> Any:
    check_params("stream", params)
    shaped = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jax.dtypes.canonicalize_dtype(leaf.dtype)), x)
    return _begin(network, params, shaped, check_whole("stream", "length", length))


@compile_recent(static_argnums=(0, 3))
def _begin(network: Layer, params: Any, x: Any, length: int) -> Any:
    return stream_of(network).begin(params, x, length)


@compile_recent(static_argnums=(0,))
def _step(network: Layer, params: Any, state: Any, x: Any) -> Any:
    return stream_of(network).step(params, state, x)


# What layers bring --------------------------------------------------------------------------------


def stream_of(part: Layer) -> Stream:
    """The stream that a layer brings; without one, it acts on each step alone."""
    if part.stream is None and part.parts:
        raise ValueError(
            f"{part.name} does not say how it goes through a sequence piece by piece: give fnn.layer "
            "stream=(begin, step), which call those of its parts."
        )
    return Stream(*part.stream) if part.stream else Stream(_no_state, functools.partial(_alone, part.forward))


def _no_state(params: Any, x: Any, length: int) -> tuple[()]:
    return ()


def _alone(forward: Forward, params: Any, state: tuple[()], x: Any) -> tuple[Any, tuple[()]]:
    return forward(params, x), state


def begin_parts(inside: Callable[..., Any], params: Any, x: Any, length: int) -> tuple[Any, ...]:
    """The state of each part that a combinator says is `inside` it."""
    return tuple(stream_of(part).begin(own, given, length) for _, part, own, given in inside(params, x))


def needs_all_steps(name: str) -> tuple[Forward, Forward]:
    """The stream of a layer that has none, as each of its outputs sees steps to come."""
    refuse = functools.partial(refuse_stream, name)
    return refuse, refuse


def refuse_stream(name: str, *given: Any) -> NoReturn:
    """Refuse a sequence in pieces: whatever is given."""
    raise ValueError(f"{name} sees the steps to come, so it cannot go through a sequence piece by piece.")


# Generation ---------------------------------------------------------------------------------------


def generate(
    network: Layer | Forward,
    params: chex.ArrayTree,
    prompt: Any,
    steps: int,
    *,
    key: chex.PRNGKey | None = None,
    temperature: float = 1.0,
) -> jax.Array:
    """The network's predictions as its next inputs: idₜ₊₁ ~ softmax(f(id₁ … idₜ) / temperature).

        f: ids (…, t) ↦ logits (…, t, count)     prompt: (…, T) ids     returns the next ids, (…, steps)

    Without a key each id is the most probable one. Below 1 the temperature prefers probable ids, above 1 it
    levels them; a logit of −∞ is never drawn. No step is computed twice, as `stream` carries what came
    before. Afterwards the network is run over the whole sequence once, and refused where it does not give
    the logits that the steps gave. Beyond the lengths that it was trained on, a network may fail.

    >>> table = jnp.array([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])     # 0 → 1 → 2 → 0
    >>> generate(lambda ids: table[ids], (), jnp.array([0]), 4)
    Array([1, 2, 0, 1], dtype=int32)

    Raises ValueError for a prompt without ids, a network that does not give logits for each of them, that
    sees later ones, or whose logits are NaN, as for ids that have no row.
    """
    part = as_layer(network, "generate")
    steps = check_whole("generate", "steps", steps)
    check_number("generate", "temperature", temperature, ABOVE_0)
    if key is not None:
        check_key("generate", key)
    check_params("generate", params)
    ids = _check_prompt(prompt if isinstance(prompt, jax.Array) else np.asarray(prompt))
    logits = jax.eval_shape(part.forward, params, ids)
    if getattr(logits, "shape", ())[:-1] != ids.shape:
        expected = f"a network with logits for each id, {ids.shape} and one more axis"
        raise ValueError(unexpected("generate", expected, Words(shapes(logits))))
    drawn, is_finite, is_same = _generate(part, params, ids, steps, key, temperature)
    if not isinstance(drawn, jax.core.Tracer):
        _check(part, bool(is_finite), bool(is_same))
    return drawn


def _check_prompt(ids: Any) -> jax.Array:
    if not np.issubdtype(ids.dtype, np.integer) or not ids.ndim or ids.shape[-1] == 0:
        got = Words(f"{ids.dtype} of shape {ids.shape}")
        fix = "Text is ids first, by the numbers that it was trained with."
        raise ValueError(unexpected("generate: prompt", "at least one id, whole numbers (…, T)", got, fix))
    return jnp.asarray(ids, jax.dtypes.canonicalize_dtype(ids.dtype))


def _check(network: Layer, is_finite: bool, is_same: bool) -> None:
    if not is_finite:
        fix = "Has each id of the prompt a row in the embedding?"
        raise ValueError(unexpected("generate", "logits that are numbers", Words("NaN or +∞"), fix))
    if not is_same:
        raise ValueError(
            f"generate: {describe(network)} gives other logits for the whole sequence than step by step: a "
            "layer sees later ids, or takes one step for another. Attention wants causal=True, a function of "
            "all steps a layer with stream=(begin, step)."
        )


@compile_recent(static_argnums=(0, 3))
def _generate(
    network: Layer, params: Any, prompt: jax.Array, steps: int, key: Any, temperature: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The next ids; whether all logits were finite, and whether they are those of the whole sequence."""
    begin, step = stream_of(network)
    state = begin(params, prompt, prompt.shape[-1] + steps)

    def turn(carried: Any, place: jax.Array) -> Any:
        state, logits = carried
        if key is None:
            ids = logits.argmax(-1)
        else:
            ids = jax.random.categorical(jax.random.fold_in(key, place), logits / temperature)
        following, state = step(params, state, ids[..., None].astype(prompt.dtype))
        return (state, following[..., -1, :]), (ids.astype(prompt.dtype), logits)

    logits, state = step(params, state, prompt)
    _, (ids, seen) = jax.lax.scan(turn, (state, logits[..., -1, :]), jnp.arange(steps))
    ids, seen = jnp.moveaxis(ids, 0, -1), jnp.moveaxis(seen, 0, -2)
    whole = network.forward(params, jnp.concatenate([prompt, ids], -1))[..., prompt.shape[-1] - 1 : -1, :]
    largest = jnp.where(jnp.isfinite(whole), abs(whole), 0).max()
    is_same = ((seen == whole) | (abs(seen - whole) <= ROUNDING * largest)).all()
    return ids, ~(jnp.isnan(seen) | jnp.isposinf(seen)).any(), is_same


ROUNDING = 0.05  # of the largest logit: a network in bfloat16 rounds by some of its eight bits
