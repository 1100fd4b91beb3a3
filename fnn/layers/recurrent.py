"""Recurrent layers: a state that each step of a sequence moves on.

    aₜ = xₜW + b      of all steps in one product      qₜ = hₜ₋₁U      what the state adds
    hₜ = step(aₜ, qₜ, hₜ₋₁)                             h₀ = 0

A cell is one step and its derivative; the scan over the steps, masks, directions and backward propagation
through time are the same for all. Where the mask is 0 the state stays, and the output repeats the last one.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from fnn.guard.features import check_width, sequence_parts
from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected
from fnn.layers.cells import GRU, LSTM, RNN, Blocks, Cell, State, draw
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer
from fnn.network.programs import scan
from fnn.network.stream import needs_all_steps

__all__ = ["gru", "lstm", "rnn"]


@intern
def rnn(features: int, last: bool = False, reverse: bool = False, bidirectional: bool = False) -> Layer:
    """The plain recurrent layer: hₜ = tanh(xₜW + b + hₜ₋₁U).

        x: (…, T, in) or {"x": x, "mask": (…, T)}     y: (…, T, features), all hₜ, or with last (…, features)
        W: (in, features)   U: (features, features)   b: (features,)

    Parameters {"input": {"weight": W, "bias": b}, "recurrent": {"weight": U}}; W ~ N(0, 1/in), U orthogonal,
    b = 0. `mask` is true at the steps of a sequence and false at its padding, which changes nothing. With
    `reverse` the last step is read first, and outputs stand where their inputs do. `bidirectional` reads
    both ways, with parameters under "forward" and "backward", and returns 2 · features; its last outputs are
    those after each has read everything. (Elman 1990.)

    >>> one = {"weight": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
    >>> rnn(1).forward({"input": one, "recurrent": one}, jnp.array([[1.0], [0.0]])).round(3)  # tanh of tanh 1
    Array([[0.762],
           [0.642]], dtype=float32)

    Raises ValueError where `features` is no positive integer, for input without an axis of steps or without
    floating-point features, and for a mask of another shape.
    """
    return _make(RNN, features, last, reverse, bidirectional)


@intern
def gru(features: int, last: bool = False, reverse: bool = False, bidirectional: bool = False) -> Layer:
    """The gated recurrent unit: the new state is a mixture of the old one and a candidate n.

        r = σ(aᵣ + qᵣ)   z = σ(a_z + q_z)   n = tanh(aₙ + r ⊙ (qₙ + d))   hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁
        a = xₜW + b, q = hₜ₋₁U, in blocks r, z, n     W: (in, 3 · features)   U: (features, 3 · features)

    Parameters {"input": {"weight": W, "bias": b}, "recurrent": {"weight": U, "bias": d}}; U starts orthogonal
    in each block. The reset gate acts after the product, as in PyTorch, whose blocks these are. The rest is
    as in `rnn`. (Cho et al. 2014, eq. 5 to 8, where it acts before the product.)

    >>> gru(4).init(jax.random.key(0), jnp.ones((5, 7, 3)))["recurrent"]["weight"].shape
    (4, 12)

    Raises ValueError as `rnn` does.
    """
    return _make(GRU, features, last, reverse, bidirectional)


@intern
def lstm(features: int, last: bool = False, reverse: bool = False, bidirectional: bool = False) -> Layer:
    """Long short-term memory: a cell state c that gates forget, write to and read.

        i, f, o = σ(a + q)   g = tanh(a + q)      cₜ = f ⊙ cₜ₋₁ + i ⊙ g      hₜ = o ⊙ tanh(cₜ)
        a = xₜW + b, q = hₜ₋₁U, in blocks i, f, g, o     W: (in, 4 · features)   U: (features, 4 · features)

    Parameters {"input": {"weight": W, "bias": b}, "recurrent": {"weight": U}}. The bias of the forget gate
    starts at 1, so that memory lasts (Jozefowicz et al. 2015). The rest is as in `rnn`.
    (Hochreiter & Schmidhuber 1997; the forget gate: Gers et al. 2000.)

    >>> lstm(2).init(jax.random.key(0), jnp.ones((7, 3)))["input"]["bias"]
    Array([0., 0., 1., 1., 0., 0., 0., 0.], dtype=float32)

    Raises ValueError as `rnn` does.
    """
    return _make(LSTM, features, last, reverse, bidirectional)


class Way(NamedTuple):
    """How a sequence is read: by which cell, whether for its last output only, and whether from its end."""

    cell: Cell
    last: bool
    reverse: bool


def _make(cell: Cell, features: int, last: bool, reverse: bool, bidirectional: bool) -> Layer:
    count = check_whole(cell.name, "features", features)
    if reverse and bidirectional:
        raise ValueError(f"{cell.name} expected reverse or bidirectional, which reads both ways already.")
    directions = (False, True) if bidirectional else (bool(reverse),)
    ways = tuple(Way(cell, bool(last), each) for each in directions)
    forwards = functools.partial(_begin, ways), functools.partial(recurrent_step, ways)
    return layer(
        functools.partial(_recurrent_init, count, ways),
        functools.partial(recurrent_forward, ways),
        name=f"{cell.name}({count})",
        backward=functools.partial(recurrent_backward, ways),
        stream=needs_all_steps(f"{cell.name} that reads from the end") if True in directions else forwards,
    )


def _recurrent_init(features: int, ways: tuple[Way, ...], key: chex.PRNGKey, x: Any) -> Any:
    steps, _ = _parts(ways[0].cell.name, x)
    keys = jax.random.split(key, len(ways))
    return _named([draw(way.cell, features, steps.shape[-1], each) for way, each in zip(ways, keys)])


def recurrent_forward(ways: tuple[Way, ...], params: Any, x: Any) -> jax.Array:
    """hₜ of every step, or of the last one."""
    steps, rows, real = _read(ways, params, x)
    read = [_output(way, *_states(way, own, rows, real)) for way, own in zip(ways, _owns(params))]
    y = jnp.concatenate(read, -1)
    return y.reshape(*steps.shape[:-2], *y.shape[1:])


def _output(way: Way, end: State, after: State) -> jax.Array:
    return end[0] if way.last else _ordered(way, after[0]).swapaxes(0, 1)


def _begin(ways: tuple[Way, ...], params: Any, x: Any, length: int) -> State:
    return _zeros(ways[0], params, _read(ways, params, x)[1])


def recurrent_step(ways: tuple[Way, ...], params: Any, state: State, x: Any) -> tuple[jax.Array, State]:
    """The next steps, from the state that those before have left."""
    steps, rows, real = _read(ways, params, x)
    end, after = _states(ways[0], params, rows, real, state)
    y = _output(ways[0], end, after)
    return y.reshape(*steps.shape[:-2], *y.shape[1:]), end


def recurrent_backward(ways: tuple[Way, ...], params: Any, x: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    """δₜ ← δₜ + what step t + 1 hands back;   ∂c/∂W = Σₜ xₜᵀ∂aₜ, ∂c/∂b = Σₜ ∂aₜ, ∂c/∂U = Σₜ hₜ₋₁ᵀ∂qₜ."""
    steps, rows, real = _read(ways, params, x)
    deltas = jnp.split(delta.reshape(rows.shape[1], *delta.shape[steps.ndim - 2 :]), len(ways), axis=-1)
    each = [_through_time(way, own, rows, real, d) for way, own, d in zip(ways, _owns(params), deltas)]
    delta_x = functools.reduce(jnp.add, [part for _, part in each]).swapaxes(0, 1).reshape(steps.shape)
    grads = _named([grads for grads, _ in each])
    return grads, {**jax.tree.map(jnp.zeros_like, x), "x": delta_x} if isinstance(x, dict) else delta_x


# Through time -------------------------------------------------------------------------------------


def _states(way: Way, own: Any, rows: jax.Array, real: Any, begin: Any = None) -> tuple[State, State]:
    """The state at the end (rows, features), and after each step (T, rows, features), in order of reading."""
    a, u = _inputs(way, own, rows), own["recurrent"]["weight"]
    begin = _zeros(way, own, rows) if begin is None else begin

    def turn(state: State, step: Any) -> tuple[State, State]:
        a, real = step
        new = way.cell.step(own, a, state[0] @ u, state)
        new = new if real is None else tuple(jnp.where(real[:, None], n, old) for n, old in zip(new, state))
        return new, new

    return scan(turn, begin, (a, _ordered(way, real)))


def _zeros(way: Way, own: Any, rows: jax.Array) -> State:
    """h₀ = 0: (rows, features)."""
    u = own["recurrent"]["weight"]
    kind = jnp.result_type(rows, own["input"]["weight"], u)
    return (jnp.zeros((rows.shape[1], len(u)), kind),) * way.cell.states


def _through_time(way: Way, own: Any, rows: jax.Array, real: Any, delta: jax.Array) -> tuple[Any, jax.Array]:
    """The gradients of one direction, and δ of the steps (T, rows, in)."""
    a, u, w = _inputs(way, own, rows), own["recurrent"]["weight"], own["input"]["weight"]
    zero, (_, after) = _zeros(way, own, rows), _states(way, own, rows, real)
    before = tuple(jnp.concatenate([first[None], each])[:-1] for first, each in zip(zero, after))
    if way.last:
        delta = jnp.zeros(before[0].shape, delta.dtype).at[-1:].set(delta)
    else:
        delta = _ordered(way, delta.swapaxes(0, 1))

    def turn(handed: State, step: Any) -> tuple[State, tuple[jax.Array, jax.Array]]:
        a, q, state, delta, real = step
        handed = (handed[0] + delta, *handed[1:])
        share = 1 if real is None else real[:, None].astype(delta.dtype)
        d_a, d_q, (direct, *rest) = way.cell.back(own, a, q, state, tuple(share * d for d in handed))
        old = direct + d_q @ u.T, *rest
        return tuple(part + (1 - share) * d for part, d in zip(old, handed)), (d_a, d_q)

    steps = a, before[0] @ u, before, delta, _ordered(way, real)
    _, (d_a, d_q) = jax.lax.scan(turn, zero, steps, reverse=True)
    x, h, flat_a, flat_q = map(_flat, (_ordered(way, rows), before[0], d_a, d_q))
    recurrent = {"weight": h.T @ flat_q, "bias": flat_q[:, -len(u) :].sum(0)}  # d adds to the last block
    grads = {
        "input": {"weight": x.T @ flat_a, "bias": flat_a.sum(0)},
        "recurrent": {name: recurrent[name] for name in own["recurrent"]},
    }
    return grads, _ordered(way, d_a @ w.T)


def _inputs(way: Way, own: Any, rows: jax.Array) -> Blocks:
    """a = xW + b of all steps by blocks, in the order of reading."""
    a = _flat(_ordered(way, rows)) @ own["input"]["weight"] + own["input"]["bias"][None]
    return tuple(jnp.split(a.reshape(*rows.shape[:2], a.shape[-1]), way.cell.blocks, -1))


def _ordered(way: Way, steps: Any) -> Any:
    """Steps in the order of reading, or back in that of the input; None as it is."""
    return steps[::-1] if way.reverse and steps is not None else steps


def _flat(steps: jax.Array) -> jax.Array:
    return steps.reshape(-1, steps.shape[-1])


# Input and parameters -----------------------------------------------------------------------------


def _parts(name: str, x: Any) -> tuple[Any, Any]:
    """The steps (…, T, in), and the mask (…, T) or None."""
    given = sequence_parts(name, x, ("mask",))
    steps, mask = given["x"], given.get("mask")
    if mask is not None and jnp.shape(mask) != steps.shape[:-1]:
        got = Words(f"shape {jnp.shape(mask)}")
        raise ValueError(unexpected(f"{name}: mask", f"one truth value a step, {steps.shape[:-1]}", got))
    return steps, mask


def _read(ways: tuple[Way, ...], params: Any, x: Any) -> tuple[Any, jax.Array, Any]:
    """The steps as they came, the steps (T, rows, in), and which of them (T, rows) are real."""
    name = ways[0].cell.name
    steps, mask = _parts(name, x)
    check_names(name, params, ("forward", "backward") if len(ways) == 2 else ("input", "recurrent"))
    for own in _owns(params):
        weight = own["input"]["weight"]
        check_width(name, steps, weight.shape[0], "weight", weight.shape)
    count = math.prod(steps.shape[:-2])
    rows = steps.reshape(count, *steps.shape[-2:]).swapaxes(0, 1)
    if mask is None:
        return steps, rows, None
    real = jnp.asarray(mask, bool).reshape(count, mask.shape[-1]).T
    rows = jnp.where(real[..., None], rows, 0)  # NaN in the padding would reach the gradient of W
    return steps, rows, real


def _named(owns: list[Any]) -> Any:
    return owns[0] if len(owns) == 1 else {"forward": owns[0], "backward": owns[1]}


def _owns(params: Any) -> list[Any]:
    return [params["forward"], params["backward"]] if "forward" in params else [params]
