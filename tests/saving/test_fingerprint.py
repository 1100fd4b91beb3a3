"""Fingerprints: what a call is made of tells it from another, and never from itself in another process."""

import collections
import dataclasses
import enum
import functools
import operator
import os
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.saving.fingerprint import compare, fingerprint

SCALE, HELPER = 1.0, abs


def digest(value):
    return fingerprint(part=value)


@dataclasses.dataclass(frozen=True)
class Weighted:
    by: float

    def __call__(self, predictions, targets):
        return self.by * fnn.mse(predictions, targets)

    def method(self, predictions, targets):
        return self(predictions, targets)


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


def closing_over(value):
    return lambda x: value


def by_global(scale):
    function = lambda predictions, targets: SCALE * fnn.mse(predictions, targets)
    return types.FunctionType(function.__code__, {**globals(), "SCALE": scale})


def inner_by_global(scale):
    function = lambda xs: [SCALE * x for x in xs]
    return types.FunctionType(function.__code__, {**globals(), "SCALE": scale})


def helper_of(factor):
    """A function of this module, which others name."""
    return eval("lambda x: factor * x", {"factor": factor, "__name__": __name__})


def by_helper(factor, wrap=lambda function: function):
    function = lambda xs: [HELPER(x) for x in xs]
    return types.FunctionType(function.__code__, {**globals(), "HELPER": wrap(helper_of(factor))})


def decorated(factor):
    @functools.wraps(fnn.mse)
    def cost(*args):
        return factor * fnn.mse(*args)

    return cost


def bent(factor):
    @jax.custom_vjp
    def same(x):
        return x

    same.defvjp(lambda x: (x, None), lambda _, delta: (factor * delta,))
    return same


def attributed(value):
    function = closing_over(0)
    function.options = value
    return function


def scaled(x, by, function=None):
    return by * (function or jnp.tanh)(x)


def frame(value):
    return pytest.importorskip("pandas", reason="the frame is of pandas").DataFrame({"a": [1, value]})


PAIRS = {  # made by a value, which another makes differ
    "a closure": (closing_over, 2, 3),
    "the sign of nothing": (closing_over, 0.0, -0.0),
    "one and true": (closing_over, 1, True),
    "a closure over an array": (closing_over, np.arange(3), np.arange(3) + 1),
    "over an array of objects": (closing_over, np.array([1, "a"], object), np.array([1, "b"], object)),
    "over a scalar of another type": (closing_over, np.float16(0.1), np.float32(0.1)),
    "over a frame": (lambda v: closing_over(frame(v)), 1, 2),
    "over a slice": (lambda v: closing_over(slice(v)), 1, 2),
    "over a range": (lambda v: closing_over(range(v)), 1, 2),
    "over a deque": (lambda v: closing_over(collections.deque([v])), 1, 2),
    "over a namespace": (lambda v: closing_over(types.SimpleNamespace(a=v)), 1, 2),
    "over an enum": (closing_over, Kind.ONE, Kind.TWO),
    "over a module": (closing_over, jnp, np),
    "over a type of numbers": (closing_over, np.float32, np.float16),
    "over a shape": (lambda v: closing_over(jax.ShapeDtypeStruct((v,), jnp.float32)), 1, 2),
    "a default": (lambda v: eval(f"lambda x, y={v}: x"), 1, 2),
    "an instance that is called": (Weighted, 1.0, 100.0),
    "its method": (lambda v: Weighted(v).method, 1.0, 100.0),
    "its compiled method": (lambda v: jax.jit(Weighted(v).method), 1.0, 100.0),
    "a number of the module": (by_global, 1.0, 100.0),
    "a number of the module, inside": (inner_by_global, 1.0, 100.0),
    "a function of the module": (by_helper, 1.0, 100.0),
    "a compiled function of the module": (lambda v: by_helper(v, jax.jit), 1.0, 100.0),
    "a decorator": (decorated, 1.0, 100.0),
    "a backward rule": (bent, 1.0, -1.0),
    "an attribute": (attributed, 1, 2),
    "a partial": (lambda v: functools.partial(scaled, by=v), 1, 2),
    "a function in a partial": (lambda v: functools.partial(scaled, function=v), jnp.tanh, jnp.sin),
    "a Partial": (lambda v: jax.tree_util.Partial(scaled, by=v), 1.0, 2.0),
    "an item": (operator.itemgetter, "a", "b"),
    "a bound method of NumPy": (lambda v: np.full(2, v).dot, 1, 2),
    "axes of vmap": (lambda v: jax.vmap(scaled, in_axes=v), 0, 1),
    "the argument of grad": (lambda v: jax.grad(scaled, argnums=v), 0, 1),
    "a dict": (lambda v: closing_over({"a": v}), 1, 2),
    "a dict by functions": (lambda v: closing_over({jnp.tanh: v, jnp.sin: 0}), 1, 2),
    "a set": (lambda v: closing_over({v, "b"}), "a", "c"),
}


@pytest.mark.parametrize(("make", "one", "other"), PAIRS.values(), ids=PAIRS)
def test_another_value_is_another_fingerprint_and_the_same_is_the_same(make, one, other):
    assert digest(make(one)) == digest(make(one))
    (name, there), (_, here) = digest(make(one)).popitem(), digest(make(other)).popitem()
    assert there != here
    assert compare({name: there}, {name: here}) == [f"{name} is {there} there, {here} here"]
    assert " at 0x" not in there + here


def test_a_function_may_name_itself():
    def endless(x):
        return endless(x)

    assert digest(endless) == digest(endless)


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n > 0 and even(n - 1)


def test_two_functions_may_name_each_other():
    assert digest(even) == digest(even) != digest(odd)


def test_a_function_of_another_module_counts_by_its_name_only():
    """Another version of a library is not another call: what it computes is the library's promise."""
    function = lambda x: HELPER(x)
    one, other = (
        types.FunctionType(function.__code__, {**globals(), "HELPER": helper}) for helper in (np.sin, jnp.cos)
    )
    assert digest(one) == digest(other)


PROGRAM = """
import functools, jax, jax.numpy as jnp, numpy as np, operator, fnn
from fnn.saving.fingerprint import fingerprint

class Times:
    def __init__(self, by): self.by = by
    def __call__(self, x): return self.by * x

def inside():
    import jax.numpy as jnp
    return lambda x: jnp.sin(x)

@jax.custom_vjp
def same(x): return x
same.defvjp(lambda x: (x, None), lambda _, delta: (delta,))

def scaled(x, by, function): return by * function(x)

def helper(x): return x * 2
mine = lambda x: {"a", "b"} and helper(x)
functions = [
    mine, inside(), Times(3.0), Times(3.0).__call__, same, jax.jit(scaled), jax.vmap(mine, in_axes=1), jax.grad(mine),
    functools.partial(scaled, by=2.0, function=jnp.tanh), functools.partial(scaled, function=Times(1.0), by=1),
    jax.nn.relu, jax.nn.gelu, jnp.tanh, jnp.add, np.tanh, operator.itemgetter("a"), lambda x: frozenset("abc"),
    functools.lru_cache(mine), jax.nn.initializers.he_normal(), lambda x, table={jnp.sin: 1, jnp.cos: 2}: x,
]
partial = functools.partial(scaled, by=2.0, function=jnp.tanh)
network = fnn.serial(fnn.dense(4), partial, fnn.residual(mine, fnn.dropout(0.5)), fnn.dense(2))
rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam())
print(fingerprint(network=network, rule=rule.update, cost=fnn.mse, key=jax.random.key(3), x=np.arange(3), f=functions))
"""


def test_a_fingerprint_is_the_same_in_every_process(tmp_path):
    """Other addresses, another order of sets, another place in the file."""
    said = set()
    for seed, lines in (("1", ""), ("2", "\n" * 9)):
        path = tmp_path / "program.py"
        path.write_text(lines + PROGRAM)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, path], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        said.add(done.stdout)
    assert len(said) == 1 and " at 0x" not in said.pop()
