"""The cells of recurrent layers: one step, its derivative written out, and what its parameters begin with.

a = xW + b and q = hU are what input and state add, in blocks of `features` columns: a as a tuple of them (XLA
computes a loop 2.6 × as fast whose steps need not cut a row), q side by side. A state is a tuple whose first
array is the output h. `back` gets the derivative of the cost with respect to the new state, and gives those
with respect to a, to q, and to the old state where it does not act through q.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from fnn.layers.linear import lecun_normal

__all__: list[str] = []

State = tuple[jax.Array, ...]
Blocks = tuple[jax.Array, ...]
Slopes = tuple[jax.Array, jax.Array, State]  # ∂c/∂a, ∂c/∂q, and what goes to the old state directly


class Cell(NamedTuple):
    """A step, its derivative, what the bias of each block of a starts at, and how many arrays a state has.

    step(own, a, q, state) → state        back(own, a, q, state, delta) → ∂c/∂a, ∂c/∂q, δ of the old state
    """

    name: str
    bias: tuple[float, ...]
    states: int
    step: Callable[[Any, Blocks, jax.Array, State], State]
    back: Callable[[Any, Blocks, jax.Array, State, State], Slopes]

    @property
    def blocks(self) -> int:
        """How many blocks of `features` columns a and q have."""
        return len(self.bias)


# Plain --------------------------------------------------------------------------------------------


def rnn_step(own: Any, a: Blocks, q: jax.Array, state: State) -> State:
    """h ← tanh(a + q)."""
    return (jnp.tanh(a[0] + q),)


def rnn_back(own: Any, a: Blocks, q: jax.Array, state: State, delta: State) -> Slopes:
    """∂a = ∂q = δ(1 − h²)."""
    slope = delta[0] * (1 - jnp.tanh(a[0] + q) ** 2)
    return slope, slope, (jnp.zeros_like(state[0]),)


# GRU ----------------------------------------------------------------------------------------------


def _gru_gates(own: Any, a: Blocks, q: jax.Array) -> tuple[jax.Array, ...]:
    """r, z, n, and qₙ + d."""
    (a_r, a_z, a_n), (q_r, q_z, q_n) = a, jnp.split(q, 3, -1)
    r, z = jax.nn.sigmoid(a_r + q_r), jax.nn.sigmoid(a_z + q_z)
    q_n = q_n + own["recurrent"]["bias"]
    return r, z, jnp.tanh(a_n + r * q_n), q_n


def gru_step(own: Any, a: Blocks, q: jax.Array, state: State) -> State:
    """h ← (1 − z) ⊙ n + z ⊙ h."""
    _, z, n, _ = _gru_gates(own, a, q)
    return ((1 - z) * n + z * state[0],)


def gru_back(own: Any, a: Blocks, q: jax.Array, state: State, delta: State) -> Slopes:
    """∂n = δ(1 − z)(1 − n²), ∂z = δ(h − n)z(1 − z), ∂r = ∂n(qₙ + d)r(1 − r); ∂qₙ = ∂n r; δz to the old h."""
    r, z, n, q_n = _gru_gates(own, a, q)
    (h,), (d,) = state, delta
    d_n = d * (1 - z) * (1 - n**2)
    d_z = d * (h - n) * z * (1 - z)
    d_r = d_n * q_n * r * (1 - r)
    return jnp.concatenate([d_r, d_z, d_n], -1), jnp.concatenate([d_r, d_z, d_n * r], -1), (d * z,)


# LSTM ---------------------------------------------------------------------------------------------


def _lstm_gates(a: Blocks, q: jax.Array) -> tuple[jax.Array, ...]:
    """i, f, g, o."""
    i, f, g, o = (mine + added for mine, added in zip(a, jnp.split(q, 4, -1)))
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


def lstm_step(own: Any, a: Blocks, q: jax.Array, state: State) -> State:
    """c ← f ⊙ c + i ⊙ g,   h ← o ⊙ tanh(c)."""
    i, f, g, o = _lstm_gates(a, q)
    c = f * state[1] + i * g
    return o * jnp.tanh(c), c


def lstm_back(own: Any, a: Blocks, q: jax.Array, state: State, delta: State) -> Slopes:
    """κ = δ_c + δ_h o(1 − t²), t = tanh c of the new c;   ∂i = κgi(1 − i), ∂f = κcf(1 − f), ∂g = κi(1 − g²),
    ∂o = δ_h t o(1 − o);   κf to the old c.
    """
    i, f, g, o = _lstm_gates(a, q)
    (_, c), (d_h, d_c) = state, delta
    t = jnp.tanh(f * c + i * g)
    k = d_c + d_h * o * (1 - t**2)
    slopes = [k * g * i * (1 - i), k * c * f * (1 - f), k * i * (1 - g**2), d_h * t * o * (1 - o)]
    d_a = jnp.concatenate(slopes, -1)
    return d_a, d_a, (jnp.zeros_like(d_h), k * f)


RNN = Cell("rnn", (0,), 1, rnn_step, rnn_back)
GRU = Cell("gru", (0, 0, 0), 1, gru_step, gru_back)
LSTM = Cell("lstm", (0, 1, 0, 0), 2, lstm_step, lstm_back)


def draw(cell: Cell, features: int, inputs: int, key: chex.PRNGKey) -> dict[str, Any]:
    """The parameters of one direction: W ~ N(0, 1/in), U orthogonal in each block."""
    weight_key, *keys = jax.random.split(key, 1 + cell.blocks)
    weight = lecun_normal(weight_key, (inputs, cell.blocks * features))
    bias = jnp.concatenate([jnp.full(features, value, float) for value in cell.bias])
    orthogonal = jax.nn.initializers.orthogonal()
    blocks = [orthogonal(each, (features, features)) for each in keys]
    recurrent = {"weight": jnp.concatenate(blocks, -1)}
    recurrent |= {"bias": jnp.zeros(features)} if cell is GRU else {}
    return {"input": {"weight": weight, "bias": bias}, "recurrent": recurrent}
