"""Windows over the places of an image, a sequence or a volume: where they lie, and what is in them, and its
product with weights.

x: (…, places…, channels), the places over the last axes but one. A window of shape k takes every d-th place
(dilation), and moves on by s (stride) over places that are padded by lo before and hi after:

    places out = ⌊(n + lo + hi − d(k − 1) − 1) / s⌋ + 1            "SAME": ⌈n / s⌉, lo the smaller half
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.numbers import check_whole
from fnn.guard.words import Words, unexpected

__all__: list[str] = []

Padding = str | int | tuple[tuple[int, int], ...]


class Windows(NamedTuple):
    """The shape of a window, how far it moves, how far its places lie apart, and what is added around."""

    name: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Padding


def make_windows(name: str, window: Any, stride: Any, padding: Any, dilation: Any = 1) -> Windows:
    """Windows of checked numbers: a single stride or dilation is that of every axis."""
    if not isinstance(window, tuple | list) or not 1 <= len(window) <= 3:
        fix = "(3, 3) for images, (3,) for sequences, (3, 3, 3) for volumes."
        raise ValueError(unexpected(f"{name}: window", "its size along one to three axes", window, fix))
    shape = tuple(check_whole(name, "window", size) for size in window)
    each = {"stride": stride, "dilation": dilation}
    for option, value in each.items():
        values = tuple(value) if isinstance(value, tuple | list) else (value,) * len(shape)
        if len(values) != len(shape):
            raise ValueError(unexpected(f"{name}: {option}", f"a number, or {len(shape)} of them", value))
        each[option] = tuple(check_whole(name, option, one) for one in values)
    return Windows(name, shape, each["stride"], each["dilation"], _padding(name, padding, len(shape)))


def _padding(name: str, padding: Any, axes: int) -> Padding:
    if padding in ("SAME", "VALID"):
        return padding
    if isinstance(padding, int) and not isinstance(padding, bool):
        return ((check_whole(name, "padding", padding, least=0),) * 2,) * axes
    pairs = tuple(map(tuple, padding)) if np.shape(padding) == (axes, 2) else ()
    if not pairs:
        expected = f"'SAME', 'VALID', a number, or {axes} pairs (before, after)"
        raise ValueError(unexpected(f"{name}: padding", expected, padding))
    return tuple((check_whole(name, "padding", a, 0), check_whole(name, "padding", b, 0)) for a, b in pairs)


def places_of(windows: Windows, x: Any) -> tuple[int, ...]:
    """The places of x (…, places…, channels), whose shape is all that counts."""
    axes = len(windows.shape) + 1
    if not hasattr(x, "ndim") or x.ndim < axes:
        got = Words(f"shape {x.shape}") if hasattr(x, "shape") else x
        fix = "Channels come last; a grey image goes in as image[..., None]."
        raise ValueError(unexpected(windows.name, f"at least {axes} axes, the last of channels", got, fix))
    return tuple(x.shape[x.ndim - axes : -1])


def as_images(windows: Windows, x: Any) -> jax.Array:
    """x (…, places…, channels) with one axis before the places."""
    places = places_of(windows, x)
    return x.reshape(math.prod(x.shape[: x.ndim - len(places) - 1]), *places, x.shape[-1])


def pads_of(windows: Windows, places: Sequence[int]) -> list[tuple[int, int]]:
    """How many places are added before and after, along each axis."""
    if not isinstance(windows.padding, str):
        return list(windows.padding)  # type: ignore[arg-type]
    spans = [d * (k - 1) + 1 for k, d in zip(windows.shape, windows.dilation)]
    return list(jax.lax.padtype_to_pads(places, spans, windows.stride, windows.padding))


def places_out(windows: Windows, places: Sequence[int]) -> tuple[int, ...]:
    """How many windows there are along each axis."""
    found = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, (lo, hi), k, s, d in zip(
            places, pads_of(windows, places), windows.shape, windows.stride, windows.dilation
        )
    )
    if min(found) < 1:
        got = Words(f"{tuple(places)} places for a window of {windows.shape}")
        raise ValueError(unexpected(windows.name, "at least one window along each axis", got))
    return found


def places_before(windows: Windows, places: Sequence[int]) -> tuple[int, ...]:
    """The fewest places that have so many windows; "SAME": s · n."""
    if windows.padding == "SAME":
        return tuple(n * s for n, s in zip(places, windows.stride))
    pads = pads_of(windows, places) if windows.padding != "VALID" else [(0, 0)] * len(places)
    found = tuple(
        (n - 1) * s + d * (k - 1) + 1 - lo - hi
        for n, (lo, hi), k, s, d in zip(places, pads, windows.shape, windows.stride, windows.dilation)
    )
    if min(found) < 1:
        got = Words(f"{tuple(places)} places and padding {windows.padding}")
        raise ValueError(unexpected(windows.name, "at least one place along each axis", got))
    return found


def shifts(windows: Windows, images: jax.Array, value: float = 0) -> list[jax.Array]:
    """For each place in a window, what all windows have there: (n, places out…, channels) each."""
    padded = _pad(windows, images, value)
    return [padded[tap] for tap in taps(windows, images.shape[1:-1])]


def add_back(windows: Windows, images: jax.Array, parts: Iterable[jax.Array]) -> jax.Array:
    """The adjoint of `shifts`: a part for each place in a window, added up where it came from."""
    places = images.shape[1:-1]
    total = jnp.zeros_like(_pad(windows, images, 0))
    for tap, part in zip(taps(windows, places), parts):
        total = total.at[tap].add(part)
    return total[(slice(None), *(slice(lo, lo + n) for (lo, _), n in zip(pads_of(windows, places), places)))]


def _pad(windows: Windows, images: jax.Array, value: float) -> jax.Array:
    pairs = [(0, 0), *pads_of(windows, images.shape[1:-1]), (0, 0)]
    return jnp.pad(images, pairs, constant_values=value)


def taps(windows: Windows, places: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """For each place in a window, in row order, where all windows find it among the padded places."""
    counts = places_out(windows, places)
    for place in itertools.product(*map(range, windows.shape)):
        yield (
            slice(None),
            *(
                slice(t * d, t * d + (o - 1) * s + 1, s)
                for t, d, o, s in zip(place, windows.dilation, counts, windows.stride)
            ),
        )


# Products with weights W: (window…, in / groups, features) -------------------------------------------


def product_by_xla(windows: Windows, groups: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    """Σₜ x[s·o + d·t − lo] Wₜ as one convolution of XLA."""
    return _convolve(windows, groups, x, weight, "IO")


def _convolve(windows: Windows, groups: int, x: jax.Array, weight: jax.Array, order: str) -> jax.Array:
    """XLA's convolution with weights whose last axes are inputs and features, in this order."""
    kind = jnp.result_type(x, weight)
    axes = "XYZ"[: len(windows.shape)]
    return jax.lax.conv_general_dilated(
        x.astype(kind),
        weight.astype(kind),
        windows.stride,
        pads_of(windows, x.shape[1:-1]),
        rhs_dilation=windows.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}{order}", f"N{axes}C"),
        feature_group_count=groups,
    )


def product_by_shifts(windows: Windows, groups: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    """One matrix product of the shifted copies side by side; of single channels, their weighted sum."""
    inputs, features = weight.shape[-2:]
    copies, w = shifts(windows, x), weight.reshape(-1, inputs, features)
    if groups == 1:
        return jnp.concatenate(copies, -1) @ w.reshape(-1, features)
    if inputs == 1:  # each output sees one channel
        seen = [jnp.repeat(shift, features // groups, -1) for shift in copies]
        return functools.reduce(jnp.add, [part * w[t].reshape(as_row(part)) for t, part in enumerate(seen)])
    stack = jnp.stack([shift.reshape(*shift.shape[:-1], groups, inputs) for shift in copies], -3)
    w = w.reshape(len(copies), inputs, groups, features // groups)
    return jnp.einsum("...tgi,tigf->...gf", stack, w).reshape(*copies[0].shape[:-1], features)


def as_row(like: jax.Array) -> tuple[int, ...]:
    """The shape of one number a channel."""
    return (1,) * (like.ndim - 1) + (-1,)


def weight_slope(
    windows: Windows, groups: int, weight: jax.Array, x: jax.Array, delta: jax.Array
) -> jax.Array:
    """∂c/∂Wₜ = Σₒ x[s·o + d·t − lo]ᵀδ[o]."""
    d = delta.reshape(*delta.shape[:-1], groups, -1)
    copies = [each.reshape(*each.shape[:-1], groups, -1) for each in shifts(windows, x)]
    return jnp.stack([jnp.einsum("...gi,...gf->igf", copy, d) for copy in copies]).reshape(weight.shape)


def adjoint_by_shifts(
    windows: Windows, groups: int, images: jax.Array, weight: jax.Array, delta: jax.Array
) -> jax.Array:
    """x[s·o + d·t − lo] += δ[o]Wₜᵀ: of `images` only the shape is used."""
    inputs, features = weight.shape[-2:]
    d = delta.reshape(*delta.shape[:-1], groups, features // groups)
    w = weight.reshape(-1, inputs, groups, features // groups)
    parts = [jnp.einsum("...gf,igf->...gi", d, each).reshape(*d.shape[:-2], groups * inputs) for each in w]
    return add_back(windows, jnp.zeros(images.shape, jnp.result_type(delta, weight)), parts)


def adjoint_by_xla(
    windows: Windows, groups: int, images: jax.Array, weight: jax.Array, delta: jax.Array
) -> jax.Array:
    """The same as the adjoint of XLA's convolution."""
    kind = jnp.result_type(delta, weight)
    forward = functools.partial(product_by_xla, windows, groups, weight=weight.astype(kind))
    return jax.linear_transpose(forward, images.astype(kind))(delta.astype(kind))[0]


# On a CPU ------------------------------------------------------------------------------------------


FEW = 32  # numbers in a window, up to which the copies take no longer than XLA's convolution
MANY = 16  # channels, from which on XLA's convolution is faster in training too


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def product_on_cpu(windows: Windows, groups: int, x: jax.Array, weight: jax.Array) -> jax.Array:
    """XLA's convolution, or shifted copies where XLA is slower: small windows, depthwise, and volumes."""
    inputs, places = weight.shape[-2], math.prod(windows.shape)
    slow = len(windows.shape) == 3 or places == 1 or inputs == 1 < groups or inputs * places <= FEW
    return (product_by_shifts if slow else product_by_xla)(windows, groups, x, weight)


@product_on_cpu.defjvp
def _derive_on_cpu(windows: Windows, groups: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """ẏ = Σₜ ẋ[s·o + d·t − lo] Wₜ + Σₜ x[s·o + d·t − lo] Ẇₜ.

    In a loop JAX's own derivative of XLA's convolution takes up to fifty times as long as that of copies.
    With the weights' axes swapped here, JAX's transpose of the first sum is a convolution that XLA computes
    fast. The second sum stays a product of copies, which are made again on the way back.
    """
    (x, weight), (x_dot, weight_dot) = primals, tangents
    plain = groups == 1 and set(windows.stride + windows.dilation) == {1} and windows.shape != (1, 1)
    if not plain or len(windows.shape) != 2 or x.shape[-1] < MANY:
        return jax.jvp(functools.partial(product_by_shifts, windows, groups), primals, tangents)
    by_rows = jax.checkpoint(functools.partial(_product_by_rows, windows))
    first = _convolve(windows, groups, x_dot, weight.swapaxes(-1, -2), "OI")
    return product_on_cpu(windows, groups, x, weight), first + by_rows(x, weight_dot)


def _product_by_rows(windows: Windows, x: jax.Array, weight: jax.Array) -> jax.Array:
    """A matrix product for each row of the window, and their sum: fewer copies stand side by side."""
    copies, width = shifts(windows, x), windows.shape[1]
    rows = [jnp.concatenate(copies[i : i + width], -1) for i in range(0, len(copies), width)]
    parts = [row @ w.reshape(-1, w.shape[-1]) for row, w in zip(rows, weight)]
    return functools.reduce(jnp.add, parts)
