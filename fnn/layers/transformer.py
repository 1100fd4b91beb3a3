"""What a transformer is made of beside attention: places of the steps, and the block that is repeated."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.features import sequence_parts
from fnn.guard.numbers import check_whole
from fnn.guard.words import unexpected
from fnn.layers.attention import attention
from fnn.layers.linear import dense
from fnn.layers.normalization import layer_norm
from fnn.layers.units import dropout as drop
from fnn.network.compose import serial
from fnn.network.intern import as_layer, intern
from fnn.network.layer import Forward, Layer, check_names, layer, no_parameters
from fnn.network.parallel import add_input, residual
from fnn.network.wire import wire

__all__ = ["positional_embedding", "positional_encoding", "transformer_block"]


# Places -------------------------------------------------------------------------------------------


@intern
def positional_encoding() -> Layer:
    """To each step waves that tell its place: y[t] = x[t] + P[t].

        P[t, 2i] = sin(t / 10000^(2i/n))   P[t, 2i + 1] = cos(t / 10000^(2i/n))     x, y: (…, T, n)

    The waves have mean square ½. Embeddings before them are multiplied by √n, to be as large.
    Places that turn queries and keys instead: `attention(…, rotary=10_000)`.
    (Vaswani et al. 2017, sections 3.4 and 3.5.)

    >>> positional_encoding().forward((), jnp.zeros((2, 2))).round(3)
    Array([[0.   , 1.   ],
           [0.841, 0.54 ]], dtype=float32)

    Raises ValueError for input without steps or floating-point features.
    """
    return layer(
        no_parameters,
        positional_encoding_forward,
        name="positional_encoding",
        backward=positional_encoding_backward,
        stream=(_waves_begin, _waves_step),
    )


def waves(steps: int, features: int) -> np.ndarray:
    """P: (steps, features), in float64."""
    place = np.arange(steps)[:, None] / 10_000.0 ** (np.arange(0, features, 2) / features)
    return np.stack([np.sin(place), np.cos(place)], -1).reshape(steps, -1)[:, :features]


def positional_encoding_forward(params: tuple[()], x: jax.Array) -> jax.Array:
    """y[t] = x[t] + P[t]."""
    sequence_parts("positional_encoding", _array(x), ())
    return x + jnp.asarray(waves(*x.shape[-2:]), x.dtype)


def positional_encoding_backward(params: tuple[()], x: Any, y: Any, delta: Any) -> tuple[tuple[()], Any]:
    """δ as it is."""
    return (), delta


def _array(x: Any) -> Any:
    """Refuse a dict where the layer takes the steps alone."""
    if isinstance(x, dict):
        fix = "For x in a dict fnn.parallel(x=…, mask=lambda mask: mask)."
        raise TypeError(unexpected("positions", "an array of steps", x, fix))
    return x


def _waves_begin(params: Any, x: jax.Array, length: int) -> Any:
    return {"count": jnp.int32(0), "table": jnp.asarray(waves(length, x.shape[-1]), x.dtype)}


def _waves_step(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    return _add_places(state["table"], state["count"], x), {**state, "count": state["count"] + x.shape[-2]}


def _add_places(table: jax.Array, count: jax.Array, x: jax.Array) -> jax.Array:
    """x[t] + table[count + t], NaN where the table has no such row."""
    places = count + jnp.arange(x.shape[-2])
    return x + table.at[places].get(mode="fill", fill_value=jnp.nan).astype(x.dtype)


@intern
def positional_embedding(length: int) -> Layer:
    """To each step a learned row for its place: y[t] = x[t] + table[t].

        x, y: (…, T, n), T ≤ length     table: (length, n)

    Parameters {"table"}, at first N(0, 0.02²). (Gehring et al. 2017, section 3.1.)

    >>> params = {"table": jnp.array([[0.5], [0.25], [0.0]])}
    >>> positional_embedding(3).forward(params, jnp.ones((2, 1)))
    Array([[1.5 ],
           [1.25]], dtype=float32)

    Raises ValueError where `length` is no positive integer, and for longer input.
    """
    length = check_whole("positional_embedding", "length", length, fix="That of the longest sequence.")
    return layer(
        functools.partial(_places_init, length),
        positional_embedding_forward,
        name=f"positional_embedding({length})",
        backward=positional_embedding_backward,
        stream=(_places_begin, _places_step),
    )


def _places_init(length: int, key: chex.PRNGKey, x: Any) -> dict[str, jax.Array]:
    sequence_parts("positional_embedding", _array(x), ())
    _check_length(length, x.shape[-2])
    return {"table": 0.02 * jax.random.normal(key, (length, x.shape[-1]))}


def _check_length(length: int, steps: int) -> None:
    if steps > length:
        fix = "Cut the sequence, or give as many places as the longest one has."
        raise ValueError(unexpected("positional_embedding", f"at most {length} steps", steps, fix))


def positional_embedding_forward(params: Any, x: jax.Array) -> jax.Array:
    """y[t] = x[t] + table[t]."""
    check_names("positional_embedding", params, ("table",))
    sequence_parts("positional_embedding", _array(x), ())
    _check_length(len(params["table"]), x.shape[-2])
    return x + params["table"][: x.shape[-2]]


def positional_embedding_backward(params: Any, x: Any, y: Any, delta: Any) -> tuple[Any, Any]:
    """∂c/∂table[t] = Σ δ[t] over all sequences;   δ as it is."""
    own = delta.reshape(-1, *delta.shape[-2:]).sum(0)
    return {"table": jnp.zeros_like(params["table"]).at[: len(own)].set(own)}, delta


def _places_begin(params: Any, x: Any, length: int) -> jax.Array:
    _check_length(len(params["table"]), length)
    return jnp.int32(0)


def _places_step(params: Any, state: jax.Array, x: jax.Array) -> tuple[jax.Array, Any]:
    return _add_places(params["table"], state, x), state + x.shape[-2]


# The block ----------------------------------------------------------------------------------------


@intern
def transformer_block(
    features: int,
    heads: int,
    hidden: int | None = None,
    causal: bool = False,
    rotary: float | None = None,
    dropout: float = 0.0,
    activation: Layer | Forward = jax.nn.gelu,
    norm: Layer | Forward = layer_norm(),  # noqa: B008  it is a value
) -> Layer:
    """Attention among the steps, then two dense layers on each.

        h = x + attention(norm(x))     y = h + f(norm(h))     f = dense(hidden), activation, dense(features)
        x, y: (…, T, features), or {"x": x, "mask": m}

    `hidden` is 4 · features if it is not given. Norms come first, so that a last one belongs after the last
    block. `dropout` acts on the weights of attention and at the end of both branches. The rest is as in
    `attention`; a dict is given back with y in place of x, so that blocks follow each other with their mask.
    Parameters {"norm", "attention", "feed_forward"}. (Vaswani et al. 2017, section 3.1; norms first: Xiong
    et al. 2020.)

    >>> block = transformer_block(8, heads=2, causal=True)
    >>> block.init(jax.random.key(0), jnp.ones((5, 8)))["attention"][0]["query"]["weight"].shape
    (8, 8)

    Raises ValueError as its parts do, and where the input has other features than `features`.
    """
    attend = serial(attention(features, heads, causal, rotary, dropout), drop(dropout))
    hidden = 4 * features if hidden is None else hidden
    feed = residual(norm, dense(hidden), activation, dense(features), drop(dropout))
    parts = as_layer(norm, "transformer_block"), attend, feed
    block = wire(block_forward, norm=norm, attention=attend, feed_forward=feed)
    name = f"transformer_block({features}, {heads} heads)"
    return block._replace(name=name, backward=functools.partial(block_backward, parts))


def block_forward(net: Any, x: Any) -> Any:
    """h = x + attention(norm(x)), y = h + f(norm(h))."""
    steps = _steps(x)
    h = add_input(steps, net.attention(_with(x, net.norm(steps))))
    return _with(x, net.feed_forward(h))


def block_backward(
    parts: tuple[Layer, Layer, Layer], params: Any, x: Any, y: Any, delta: Any, pull: Any
) -> tuple[Any, Any]:
    """δ_h = δ + what f hands back;   δ_x = δ_h + what attention and norm hand back of it."""
    norm, attend, feed = parts
    steps, grads = _steps(x), {}
    given = _with(x, norm.forward(params["norm"], steps))
    h = steps + attend.forward(params["attention"], given)
    grads["feed_forward"], delta_h = pull(
        "part 'feed_forward'", feed, params["feed_forward"], h, _steps(delta)
    )
    grads["attention"], back = pull("part 'attention'", attend, params["attention"], given, delta_h)
    grads["norm"], back = pull("part 'norm'", norm, params["norm"], steps, _steps(back))
    return grads, _with(jax.tree.map(jnp.zeros_like, x), delta_h + back)


def _steps(x: Any) -> Any:
    return x["x"] if isinstance(x, dict) else x


def _with(x: Any, steps: Any) -> Any:
    """What was given, with other steps."""
    return {**x, "x": steps} if isinstance(x, dict) else steps
