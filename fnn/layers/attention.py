"""Attention: each step takes what it needs from others, by how well its query meets their keys.

    Q = xW_q + b_q    K = zW_k + b_k    V = zW_v + b_v        in each head d = features / heads columns
    S = QKᵀ/√d        P = softmax(S) over the keys that the mask allows        y = (PV)W_o + b_o

z is the context: x itself, or another sequence. A query that no key is allowed for takes nothing, PV = 0.
"""

import functools
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.features import check_features, sequence_parts
from fnn.guard.numbers import ABOVE_0, BELOW_1, check_number, check_whole
from fnn.guard.words import Words, unexpected
from fnn.layers.linear import dense, dense_backward, dense_forward
from fnn.network.intern import intern
from fnn.network.layer import Layer, check_names, layer
from fnn.network.stream import refuse_stream

__all__ = ["attention"]


@intern
def attention(
    features: int, heads: int, causal: bool = False, rotary: float | None = None, dropout: float = 0.0
) -> Layer:
    """Each step a mean of the values of all steps, weighted by softmax(QKᵀ/√d): y = (PV)W_o + b_o.

        x: (…, T, in), or {"x": x, "context": z, "mask": m}          y: (…, T, features)
        z: (…, S, in′), x itself if it is not given                  m: (…, S), or (…, T, S), true or false
        W_q: (in, features)   W_k, W_v: (in′, features)   W_o: (features, features)

    A mask is true where a key may be seen: (…, S) says which steps of z are no padding, which is read as
    zeros, (…, T, S) which of them each query sees. `causal` lets a step see itself and those before.
    `rotary`, 10_000 in most networks, turns queries and keys by their places (Su et al. 2021, eq. 34; here in
    pairs of the first and the second half).
    `dropout` is the share of P that is dropped while it learns. Parameters {"query", "key", "value",
    "output"}, each {"weight", "bias"} as in `dense`. (Vaswani et al. 2017, eq. 1 and section 3.2.2.)

    >>> network, x = attention(4, heads=2, causal=True), jnp.ones((3, 4))
    >>> params = jax.tree.map(jnp.ones_like, network.init(jax.random.key(0), x))
    >>> network.forward(params, jnp.arange(3.0)[:, None] * x)[:, 0]     # V = 4t + 1, and each sees itself
    Array([ 5., 21., 37.], dtype=float32)

    Raises ValueError where `features` is no multiple of `heads`, or with `rotary` of 2 · heads, for a mask
    that is no array of booleans of one of its shapes, and input as in `rnn`.
    """
    count, parts = check_whole("attention", "features", features), check_whole("attention", "heads", heads)
    if count % ((1 if rotary is None else 2) * parts):
        halves = f"{parts} heads" if rotary is None else f"{parts} heads of two halves"
        raise ValueError(unexpected("attention: features", f"a multiple of {halves}", count))
    if rotary is not None:
        check_number("attention", "rotary", rotary, ABOVE_0)
    check_number("attention", "dropout", dropout, BELOW_1)
    form = Form(count, parts, bool(causal), rotary)
    return layer(
        functools.partial(_attention_init, form),
        functools.partial(attention_forward, form),
        functools.partial(_attention_forward_train, form, dropout),
        name=f"attention({count}, {parts} heads)",
        backward=functools.partial(attention_backward, form),
        stream=(functools.partial(_begin, form), functools.partial(attention_step, form)),
    )


class Form(NamedTuple):
    """What a layer's functions are bound to: sizes, who sees whom, and the base of the rotation."""

    features: int
    heads: int
    causal: bool
    rotary: float | None


NAMES = "query", "key", "value", "output"


def _attention_init(form: Form, key: chex.PRNGKey, x: Any) -> dict[str, Any]:
    given = _parts(x)
    x, context = given["x"], given.get("context", given["x"])
    inputs = x, context, context, jax.ShapeDtypeStruct((form.features,), x.dtype)
    return {
        n: dense(form.features).init(k, one) for n, k, one in zip(NAMES, jax.random.split(key, 4), inputs)
    }


def attention_forward(form: Form, params: Any, x: Any) -> jax.Array:
    """y = (softmax(QKᵀ/√d) V)W_o + b_o."""
    steps, z, allowed = _read(form, x)
    q, k, v = _project(form, params, steps, z)
    return dense_forward(params["output"], _together(weights(q, k, allowed) @ v))


def _attention_forward_train(
    form: Form, rate: float, params: Any, x: Any, key: chex.PRNGKey
) -> tuple[jax.Array, Any]:
    steps, z, allowed = _read(form, x)
    q, k, v = _project(form, params, steps, z)
    p = weights(q, k, allowed)
    if rate:
        p = jnp.where(jax.random.bernoulli(key, 1 - rate, p.shape), p / (1 - rate), jnp.zeros_like(p))
    return dense_forward(params["output"], _together(p @ v)), params


def attention_backward(form: Form, params: Any, x: Any, y: Any, delta: jax.Array) -> tuple[Any, Any]:
    """δ ← δW_oᵀ;   ∂V = Pᵀδ,   ∂S = P ∘ (δVᵀ − Σⱼ (δVᵀ ∘ P)ⱼ),   ∂Q = ∂S K/√d,   ∂K = ∂Sᵀ Q/√d;
    ∂W_q = xᵀ∂Q and so on, δ_x = ∂Q W_qᵀ, δ_z = ∂K W_kᵀ + ∂V W_vᵀ, which add up where z is x.
    """
    steps, z, allowed = _read(form, x)
    q, k, v = _project(form, params, steps, z)
    p = weights(q, k, allowed)
    o = _together(p @ v)
    grads = {}
    grads["output"], delta = dense_backward(params["output"], o, y, delta)
    delta = _split(form, delta)
    d_v, d_p = p.swapaxes(-1, -2) @ delta, delta @ v.swapaxes(-1, -2)
    d_s = p * (d_p - (d_p * p).sum(-1, keepdims=True)) / math.sqrt(q.shape[-1])
    d_q, d_k = d_s @ k, d_s.swapaxes(-1, -2) @ q
    if form.rotary is not None:  # turned back, by −θ
        back = np.array([1, -1])[:, None, None]
        d_q, d_k = (rotate(d, back * rotation(form, d.shape[-2])) for d in (d_q, d_k))
    grads["query"], delta_x = dense_backward(params["query"], steps, None, _together(d_q))
    grads["key"], delta_k = dense_backward(params["key"], z, None, _together(d_k))
    grads["value"], delta_v = dense_backward(params["value"], z, None, _together(d_v))
    return grads, _handed_back(x, delta_x, delta_k + delta_v)


def _handed_back(x: Any, delta_x: jax.Array, delta_z: jax.Array) -> Any:
    """δ for each array that was given; padding has none."""
    if not isinstance(x, dict):
        return delta_x + delta_z
    back = {"x": delta_x, "context": delta_z} if "context" in x else {"x": delta_x + delta_z}
    mask, padded = x.get("mask"), "context" if "context" in x else "x"
    if mask is not None and mask.ndim < delta_z.ndim:
        back[padded] = jnp.where(mask[..., None], back[padded], 0)
    return {**jax.tree.map(jnp.zeros_like, x), **back}


# The steps of the formula -------------------------------------------------------------------------


def _read(form: Form, x: Any) -> tuple[jax.Array, jax.Array, Any]:
    """The steps, the context, and which keys each query may see: (…, 1, T or 1, S), or None for all."""
    given = _parts(x)
    mask = given.get("mask")
    if mask is not None and mask.ndim < given["x"].ndim:  # 0 · NaN of the padding would be NaN
        padded = "context" if "context" in given else "x"
        given = {**given, padded: jnp.where(mask[..., None], given[padded], 0)}
        mask = mask[..., None, :]
    steps, z = given["x"], given.get("context", given["x"])
    mask = None if mask is None else mask[..., None, :, :]
    return steps, z, before((steps.shape[-2], z.shape[-2]), 0, mask) if form.causal else mask


def _parts(x: Any) -> dict[str, Any]:
    """What was given, of shapes that go together."""
    given = sequence_parts("attention", x, ("context", "mask"))
    x, mask = given["x"], given.get("mask")
    z = given.get("context", x)
    check_features("attention: context", z)
    if z.shape[:-2] != x.shape[:-2]:
        expected, got = f"as many sequences as x, {x.shape[:-2]}", Words(f"shape {z.shape}")
        raise ValueError(unexpected("attention: context", expected, got))
    pairs = (*x.shape[:-1], *z.shape[-2:-1])
    if mask is not None and (jnp.shape(mask) not in (z.shape[:-1], pairs) or mask.dtype != bool):
        got = Words(f"{mask.dtype} of shape {mask.shape}" if hasattr(mask, "dtype") else repr(mask))
        fix = "It is true where a key may be seen: mask > 0 for ones and zeros, mask == 0 for added −∞."
        raise ValueError(unexpected("attention: mask", f"booleans of {z.shape[:-1]} or {pairs}", got, fix))
    return given


def before(shape: tuple[int, ...], first: Any, mask: Any = None) -> jax.Array:
    """Which keys are no later than each query, the first of which stands at `first`."""
    causal = jnp.arange(shape[1]) <= first + jnp.arange(shape[0])[:, None]
    return causal if mask is None else causal & mask


def _project(form: Form, params: Any, x: Any, z: Any, first: Any = 0, length: int = 0) -> tuple[Any, ...]:
    """Q, K and V by heads, (…, heads, steps, d), turned by their places, of which x begins at `first`."""
    check_names("attention", params, NAMES)
    q, k, v = (_split(form, dense_forward(params[name], one)) for name, one in zip(NAMES, (x, z, z)))
    if form.rotary is not None:
        table = rotation(form, max(length, x.shape[-2], z.shape[-2]))
        own = (jax.lax.dynamic_slice_in_dim(table, first, one.shape[-2], 1) for one in (q, k))
        q, k = map(rotate, (q, k), own)
    return q, k, v


def weights(q: jax.Array, k: jax.Array, allowed: Any) -> jax.Array:
    """P = softmax(QKᵀ/√d) over the allowed keys, 0 where there are none."""
    scores = (q @ k.swapaxes(-1, -2)).astype(jnp.promote_types(q.dtype, jnp.float32))
    if scores.shape[-1] == 0:
        return scores.astype(q.dtype)  # no keys at all
    return jax.nn.softmax(scores / math.sqrt(q.shape[-1]), where=allowed).astype(q.dtype)


def _split(form: Form, rows: jax.Array) -> jax.Array:
    """(…, T, features) by heads: (…, heads, T, d)."""
    return rows.reshape(*rows.shape[:-1], form.heads, form.features // form.heads).swapaxes(-2, -3)


def _together(o: jax.Array) -> jax.Array:
    """Heads side by side again."""
    o = o.swapaxes(-2, -3)
    return o.reshape(*o.shape[:-2], o.shape[-2] * o.shape[-1])


def rotation(form: Form, steps: int) -> np.ndarray:
    """cos θ and sin θ of θ[t, i] = t · base^(−2i/d): (2, steps, d/2), in float64."""
    d = form.features // form.heads
    theta = np.arange(steps)[:, None] * float(form.rotary or 1) ** (-np.arange(0, d, 2) / d)
    return np.stack([np.cos(theta), np.sin(theta)])


def rotate(x: jax.Array, table: Any) -> jax.Array:
    """(x₁ cos θ − x₂ sin θ, x₁ sin θ + x₂ cos θ), of the first and second half of x (…, T, d)."""
    cos, sin = jnp.asarray(table, x.dtype)
    first, second = jnp.split(x, 2, -1)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


# Piece by piece -----------------------------------------------------------------------------------


def _begin(form: Form, params: Any, x: Any, length: int) -> Any:
    if "context" in _parts(x) and not form.causal:
        return ()  # each query sees the context alone
    steps = _alone(form, x)
    _, k, v = _project(form, params, steps, steps)
    room = jnp.zeros((*k.shape[:-2], length, k.shape[-1]), jnp.result_type(k, v))
    return {"keys": room, "values": room, "count": jnp.int32(0)}


def _alone(form: Form, x: Any) -> jax.Array:
    """The steps; refused where they would see others than those before, or not all of them."""
    given = _parts(x)
    if not form.causal or len(given) > 1:
        refuse_stream("attention without causal=True, or with a mask,")
    return given["x"]


def attention_step(form: Form, params: Any, state: Any, x: Any) -> tuple[jax.Array, Any]:
    """The next steps see those before by the keys and values that they have left."""
    if not state:
        return attention_forward(form, params, x), state
    count, length = state["count"], state["keys"].shape[-2]
    steps = _alone(form, x)
    q, k, v = _project(form, params, steps, steps, count, length)
    keep = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=count, axis=-2)
    k, v = keep(state["keys"], k), keep(state["values"], v)
    p = weights(q, k, before((q.shape[-2], length), count))
    y, moved = dense_forward(params["output"], _together(p @ v)), count + q.shape[-2]
    y = jnp.where(moved > length, jnp.nan, y)  # without room it would write over the last
    return y, {"keys": k, "values": v, "count": moved}
