"""A random order of rows, computed place by place: nothing is sorted, no order is stored."""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

__all__: list[str] = []

Order = Callable[[chex.Array], jax.Array]


def shuffle(key: chex.PRNGKey, n: int) -> Order:
    """A random order of n rows, a bijection of 0 … n−1: order(places) are the rows at these places.

    A Feistel network on numbers of two digits, place = l·b + r with l < a, r < b and a·b ≥ n:

        l ← (l + f₁(r)) mod a    r ← (r + f₂(l)) mod b    l ← (l + f₃(r)) mod a    …    row = l·b + r

    Each step changes one digit by a function of the other, which stays, so it can be undone: the network is
    a bijection of 0 … a·b−1, whatever the fᵢ. A row ≥ n is sent through again until it is below n: this
    walk along a cycle of the bijection comes back below n, where it began. n is at most 2³¹.
    Luby & Rackoff 1988; Black & Rogaway 2002, methods 2 and 3.

    >>> shuffle(jax.random.key(0), 6)(jnp.arange(6))
    Array([2, 3, 5, 1, 4, 0], dtype=int32)
    """
    a, b = sides(n)
    keys = round_keys(key, 24 if n < 64 else 8)  # with few rows each step mixes little
    return bijection(keys, n, a, b, a * b - n)


def bijection(keys: jax.Array, n: ArrayLike, a: ArrayLike, b: ArrayLike, beyond: int) -> Order:
    """The network of these keys, and the walks of rows ≥ n, of which there are at most `beyond`."""
    n, a, b = (jnp.asarray(number, jnp.uint32) for number in (n, a, b))
    ends = network(keys, a, b, n + jnp.arange(beyond, dtype=jnp.uint32))
    for _ in range(
        beyond.bit_length()
    ):  # ends[i], where the walk from n + i ends: followed twice as far a turn
        ends = jnp.where(ends < n, ends, ends[ends - n])

    def order(places: chex.Array) -> jax.Array:
        rows = network(keys, a, b, places.astype(jnp.uint32))
        rows = jnp.where(rows < n, rows, ends[rows - n]) if beyond else rows
        return rows.astype(jnp.int32)

    return order


def network(keys: jax.Array, a: jax.Array, b: jax.Array, numbers: jax.Array) -> jax.Array:
    """The steps of all keys, on numbers of 0 … a·b−1."""
    left, right = numbers // b, numbers % b
    for i in range(0, len(keys), 2):
        left = (left + mix(right + keys[i]) // 2) % a  # halved: the sum stays below 2³²
        right = (right + mix(left + keys[i + 1]) // 2) % b
    return left * b + right


def sides(n: int) -> tuple[int, int]:
    """a and b, near √n, with a·b ≥ n by as little as can be, so that few rows walk.

    `a` is even: steps by odd sides alone make even permutations, half of all.
    """
    root = math.isqrt(n - 1) + 1
    evens = range(root + root % 2, root + root // 4 + 2, 2)
    return min(((a, -(-n // a)) for a in evens), key=math.prod)


def round_keys(key: chex.PRNGKey, steps: int) -> jax.Array:
    """A number for each step from the words of the key, which are random already."""
    numbers = jnp.arange(steps, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    for word in jnp.ravel(jax.random.key_data(key)):
        numbers = mix(numbers + word)
    return numbers


def mix(x: jax.Array) -> jax.Array:
    """A bijection of 32 bits, of which each bit of x changes about half (C. Wellons 2018, lowbias32)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
