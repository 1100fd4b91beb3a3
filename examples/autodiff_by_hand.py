"""The grad in sixty lines: what `jax.grad` does, from nothing, in plain Python.

Run it with `python examples/autodiff_by_hand.py`. Numbers that remember how they were made, and one loop back
over them, are enough to train a small network. The slopes are compared with those of JAX.
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
# A value is a number and its parents: what it was computed from, each with the local derivative
# ∂value/∂parent, which the operation knows at once. Nothing else has to be remembered.


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


def ordered(value, seen):
    """All that the value was made of, parents before children, and the value itself last."""
    if value in seen:
        return []
    seen.add(value)
    return [v for parent, _ in value.parents for v in ordered(parent, seen)] + [value]


def backward(output):
    """∂output/∂v for every v behind it. The chain rule: a child gives each parent its share."""
    slopes = {output: 1.0}
    for value in reversed(ordered(output, set())):
        for parent, derivative in value.parents:
            slopes[parent] = slopes.get(parent, 0.0) + slopes[value] * derivative
    return slopes


def each(function, tree, *others):  # of the numbers in nested tuples and dicts
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
# x·x + x takes x three times, so at x = 3 three shares come back and are added: 3 + 3 + 1. The order
# matters: a value passes its slope on only when all of its children have given theirs.

x = Value(3.0)
y = x * x + x
slopes = backward(y)
print("y = x·x + x, from the last value to the first")
for value in reversed(ordered(y, set())):
    print(f"  value {value.number:4.0f}   ∂y/∂value {slopes[value]:4.0f}")
print(f"  jax.grad says      {(at_three := jax.grad(lambda x: x * x + x)(3.0)):8.0f}\n")
assert slopes[x] == at_three == 3 + 3 + 1

# ── A network: two inputs, three hidden units, one output ─────────────────────────────────────────
# The four rows are exclusive or, 1 where the inputs differ. The cost, mean squared error, uses +, · and tanh
# alone, so that one function takes floats, our values and those of JAX. fnn's layers are a third opinion.

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
print(f"{len(ours)} slopes, at most {to_jax:.0e} from jax.grad's, {to_fnn:.0e} from those of fnn's layers\n")

# ── Gradient descent by it ────────────────────────────────────────────────────────────────────────

params, costs = PARAMS, [cost("floats", math.tanh, PARAMS)]
for _ in range(STEPS := 100):
    params = each(lambda p, slope: p - 0.3 * slope, params, our_grad(params))
    costs.append(cost("floats", math.tanh, params))
print(f"cost in {STEPS} steps by our slopes: {costs[0]:.3f} → {costs[STEPS // 4]:.3f} → {costs[-1]:.5f}\n")

# ── Where JAX differs ─────────────────────────────────────────────────────────────────────────────
# Its values are whole arrays, its local derivatives functions: the cost, as fnn writes it, is a handful of
# operations, as many for half the rows. And it records operations, not numbers: a jitted gradient runs the
# Python function once, for all numbers of these shapes. Ours runs it each time; a bare jax.grad does too.

recorded = len(ordered(cost("ours", tanh, each(Value, PARAMS)), set()))
operations, of_half = (len(jax.make_jaxpr(loss)(arrays, x[:n], y[:n]).eqns) for n in (4, 2))
calls.clear()
for gradient in (our_grad, jax_grad, jax.jit(jax.grad(partial(cost, "jitted", jnp.tanh)))):
    gradient(PARAMS), gradient(params)
print(f"recorded for one cost                {recorded} values by us, {operations} operations by JAX")
print(f"the function ran, for two gradients  {dict(calls)}")
with open(__file__, encoding="utf8") as file:
    engine = file.read().split("# ── ")[1].split("\n\n\n", 1)[1].rstrip().splitlines()
print(f"the engine                           {len(engine)} lines, blank ones too")

assert max(to_jax, to_fnn) < 1e-6
assert all(after < before for before, after in itertools.pairwise(costs)) and costs[-1] < 1e-3 < costs[0]
assert operations == of_half < recorded / 10
assert calls == {"ours": 2, "jax.grad": 2, "jitted": 1}
assert len(engine) <= 60
