"""Convolution on a CPU: fnn's choice beside shifted copies alone and XLA's own alone.

    python -m tests.benchmarks convolutions

Each is measured with and without its derivative, as one call of a program and as a turn of a loop.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fnn.layers.windows import make_windows, product_by_shifts, product_by_xla, product_on_cpu

TURNS = 2
FORMS = {"fnn": product_on_cpu, "copies": product_by_shifts, "XLA": product_by_xla}


class Case(NamedTuple):
    """A window, the places of an image, channels in and out, rows, and how the channels are grouped."""

    window: tuple[int, ...]
    places: tuple[int, ...]
    inputs: int
    features: int
    rows: int
    groups: int = 1


CASES = [
    Case((3, 3), (28, 28), 1, 16, 64),
    Case((3, 3), (14, 14), 8, 32, 64),
    Case((3, 3), (14, 14), 16, 32, 64),
    Case((3, 3), (28, 28), 32, 32, 32),
    Case((3, 3), (8, 8), 128, 128, 32),
    Case((3, 3), (64, 64), 16, 16, 8),
    Case((5, 5), (14, 14), 16, 32, 32),
    Case((7, 7), (28, 28), 32, 32, 16),
    Case((7, 7), (64, 64), 3, 16, 8),
    Case((1, 1), (28, 28), 32, 32, 64),
    Case((5,), (128,), 32, 32, 32),
    Case((3, 3, 3), (12, 12, 12), 8, 16, 8),
    Case((3, 3), (14, 14), 32, 32, 64, groups=32),
]


def described(case):
    """The case in words."""
    sizes = "×".join(map(str, case.window)), "×".join(map(str, case.places))
    groups = f", {case.groups} groups" if case.groups > 1 else ""
    return f"{sizes[0]}, {case.inputs} → {case.features}, {sizes[1]}{groups}"


def programs(case, derived, in_loop):
    """A call of each form by its name, and the megabytes that its program needs."""
    windows = make_windows("conv", case.window, 1, "SAME")
    x = jax.random.normal(jax.random.key(0), (TURNS, case.rows, *case.places, case.inputs))
    shape = (*case.window, case.inputs // case.groups, case.features)
    weight = jax.random.normal(jax.random.key(1), shape) / math.sqrt(math.prod(shape[:-1]))

    def once(form, weight, x):
        total = lambda weight, x: (form(windows, case.groups, jnp.tanh(x), weight) ** 2).sum()
        slopes = jax.grad(total, (0, 1))(weight, x) if derived else (total(weight, x),)
        return weight, [slope.sum() for slope in slopes]

    def run(form, weight, x):
        turn = functools.partial(once, form)
        return jax.lax.scan(turn, weight, x)[1] if in_loop else turn(weight, x[0])[1]

    calls, megabytes = {}, {}
    for name, form in FORMS.items():
        program = jax.jit(functools.partial(run, form)).lower(weight, x).compile()
        calls[name] = lambda program=program: jax.block_until_ready(program(weight, x))
        megabytes[name] = program.memory_analysis().temp_size_in_bytes / 1e6
    return calls, megabytes
