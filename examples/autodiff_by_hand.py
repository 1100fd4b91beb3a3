"""Automatic differentiation in sixty lines: what `jax.grad` does, from scratch, in plain Python.

Run it with `python examples/autodiff_by_hand.py`. Numbers that record how they were computed, and one loop
backwards over these records, are enough to train a small network. The derivatives are compared with JAX's.
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import fnn

# ── The engine ────────────────────────────────────────────────────────────────────────────────────
# A value is a number and its parents: the values it was computed from, each with the local derivative
# ∂value/∂parent. Each operation knows that derivative at once. Nothing else has to be recorded.


@dataclass(frozen=True, eq=False)  # eq=False: two equal numbers are still two values
class Value:
    number: float
    parents: tuple = ()

    def __add__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.number + other.number, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.number * other.number, ((self, other.number), (other, self.number)))

    __radd__, __rmul__ = __add__, __mul__


def tanh(value):
    t = math.tanh(value.number)
    return Value(t, ((value, 1 - t * t),))


def order(value, seen):
    """All values that this one depends on, parents before children, and itself last."""
    if value in seen:
        return []
    seen.add(value)
    return [v for parent, _ in value.parents for v in order(parent, seen)] + [value]


def backward(output):
    """∂output/∂v for every v the output depends on. By the chain rule, each child adds to its parents."""
    slopes = {output: 1.0}
    for value in reversed(order(output, set())):
        for parent, derivative in value.parents:
            slopes[parent] = slopes.get(parent, 0.0) + slopes[value] * derivative
    return slopes


def each(function, tree, *others):  # like jax.tree.map: to every number in nested tuples and dicts
    if isinstance(tree, dict):
        return {name: each(function, *(t[name] for t in (tree, *others))) for name in tree}
    if isinstance(tree, tuple):
        return tuple(each(function, *parts) for parts in zip(tree, *others))
    return function(tree, *others)


def grad(function):
    def gradient(params):
        values = each(Value, params)
        slopes = backward(function(values))
        return each(lambda value: slopes.get(value, 0.0), values)

    return gradient


# ── One function, value by value ──────────────────────────────────────────────────────────────────
# x·x + x uses x three times, so at x = 3 its derivative is a sum of three terms: 3 + 3 + 1. The order is
# important: a value passes its derivative on only after all of its children have added theirs.

x = Value(3.0)
y = x * x + x
slopes = backward(y)
print("y = x·x + x, from the last value to the first")
for value in reversed(order(y, set())):
    print(f"  value {value.number:4.0f}   ∂y/∂value {slopes[value]:4.0f}")
print(f"  jax.grad           {(at_three := jax.grad(lambda x: x * x + x)(3.0)):8.0f}\n")
assert slopes[x] == at_three == 3 + 3 + 1

# ── A network: two inputs, three hidden units, one output ─────────────────────────────────────────
# The four rows are exclusive or: 1 where the inputs differ. The cost, a mean squared error, uses only +, ·
# and tanh, so the same function accepts floats, our values and JAX's. The same network in fnn is a third
# check.

ROWS = (((0.0, 0.0), 0.0), ((0.0, 1.0), 1.0), ((1.0, 0.0), 1.0), ((1.0, 1.0), 0.0))
HIDDEN = {"weight": ((0.9, -0.7, 0.3), (-0.8, 0.6, 0.5)), "bias": (0.1, -0.2, 0.0)}
PARAMS = (HIDDEN, {"weight": ((0.7,), (0.8,), (-0.4,)), "bias": (0.0,)})
calls = Counter()


def cost(caller, tanh, params):
    calls[caller] += 1
    (first, last), total = params, 0.0
    for inputs, target in ROWS:
        sums = [sum(a * w for a, w in zip(inputs, column)) for column in zip(*first["weight"])]
        hidden = [tanh(s + bias) for s, bias in zip(sums, first["bias"])]
        error = sum(h * w[0] for h, w in zip(hidden, last["weight"])) + last["bias"][0] + -target
        total = total + error * error
    return total * (1 / len(ROWS))


our_grad, jax_grad = grad(partial(cost, "ours", tanh)), jax.grad(partial(cost, "jax.grad", jnp.tanh))
x, y = jnp.array([row for row, _ in ROWS]), jnp.array([[target] for _, target in ROWS])
first, last = ({name: jnp.array(numbers) for name, numbers in layer.items()} for layer in PARAMS)
loss, arrays = fnn.loss(fnn.serial(fnn.dense(3), jnp.tanh, fnn.dense(1)), fnn.mse), (first, (), last)
three = our_grad(PARAMS), jax_grad(PARAMS), jax.grad(loss)(arrays, x, y)
ours, theirs, of_fnn = (np.hstack([np.ravel(v) for v in jax.tree.leaves(tree)]) for tree in three)
to_jax, to_fnn = abs(ours - theirs).max(), abs(ours - of_fnn).max()
print(f"{len(ours)} derivatives, at most {to_jax:.0e} from jax.grad's, {to_fnn:.0e} from fnn's network's\n")

# ── Gradient descent ──────────────────────────────────────────────────────────────────────────────

params, costs = PARAMS, [cost("floats", math.tanh, PARAMS)]
for _ in range(STEPS := 100):
    params = each(lambda p, slope: p - 0.3 * slope, params, our_grad(params))
    costs.append(cost("floats", math.tanh, params))
print(f"cost in {STEPS} steps by our gradients: {costs[0]:.3f} → {costs[STEPS // 4]:.3f} → {costs[-1]:.5f}\n")

# ── Where JAX differs ─────────────────────────────────────────────────────────────────────────────
# Its values are whole arrays and its local derivatives are functions. So the cost, as fnn computes it, is a
# handful of operations, and no fewer for half the rows. JAX also records operations, not numbers: a jitted
# gradient runs the Python function once, for all numbers of these shapes. Our grad runs it every time, and so
# does jax.grad without jit.

recorded = len(order(cost("ours", tanh, each(Value, PARAMS)), set()))
operations, of_half = (len(jax.make_jaxpr(loss)(arrays, x[:n], y[:n]).eqns) for n in (4, 2))
calls.clear()
for gradient in (our_grad, jax_grad, jax.jit(jax.grad(partial(cost, "jitted", jnp.tanh)))):
    gradient(PARAMS), gradient(params)
print(f"recorded for one cost                {recorded} values by our engine, {operations} operations by JAX")
print(f"calls of cost for two gradients      {dict(calls)}")
with open(__file__, encoding="utf8") as file:
    engine = file.read().split("# ── ")[1].split("\n\n\n", 1)[1].rstrip().splitlines()
print(f"the engine                           {len(engine)} lines, with blank lines")

assert max(to_jax, to_fnn) < 1e-6
assert all(after < before for before, after in itertools.pairwise(costs)) and costs[-1] < 1e-3 < costs[0]
assert operations == of_half < recorded / 10
assert calls == {"ours": 2, "jax.grad": 2, "jitted": 1}
assert len(engine) <= 60
