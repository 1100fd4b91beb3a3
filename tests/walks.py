"""Paths of an optimizer on the asymmetric objective of the oracles, as a tree of parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from oracles import START, slope

import fnn


def tree_of(flat):
    """A flat (…, 8) as parameters."""
    return {"weight": flat[..., :6], "deep": ({"bias": flat[..., 6:]}, ())}


def flat_of(tree):
    return jnp.concatenate([tree["weight"], tree["deep"][0]["bias"]], axis=-1)


def gradient(params, t):
    return tree_of(slope(flat_of(params), t))


@partial(jax.jit, static_argnames=("update", "steps"))
def walk_from(state, params, *, update, steps):
    def turn(carry, t):
        params, state = carry
        updates, state = update(gradient(params, t), state, params)
        params = fnn.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(turn, (params, state), jnp.arange(1, steps + 1))


def walk(optimizer, steps, start=START):
    """Parameters (steps, 8) after each step, flat."""
    params = tree_of(jnp.array(start))
    _, path = walk_from(optimizer.init(params), params, update=optimizer.update, steps=steps)
    return flat_of(path)


def assert_close(actual, expected, tolerance):
    """Equal up to `tolerance` of the largest size of each coordinate, over the leading axis."""
    scale = np.abs(expected).max(axis=0)
    right = np.abs(np.asarray(actual, np.float64) - expected) <= tolerance * scale
    assert right.all(), f"{(~right).sum()} entries, first at {np.argwhere(~right)[0]}"
