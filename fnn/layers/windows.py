"""Windows over the places of an image, a sequence or a volume: where they lie, and what is in them.

x: (…, places…, channels), the places over the last axes but one. A window of shape k takes every d-th place
(dilation), and moves on by s (stride) over places that are padded by lo before and hi after:

    places out = ⌊(n + lo + hi − d(k − 1) − 1) / s⌋ + 1            "SAME": ⌈n / s⌉, lo the smaller half
"""

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
