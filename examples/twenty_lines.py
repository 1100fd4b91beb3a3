"""Twenty lines: a whole network in plain JAX, and the same run with fnn, number for number.

Run it with `python examples/twenty_lines.py`. Initialisation, forward propagation, cost, gradient, Adam and
the compiled loop fit in twenty lines. fnn computes the same: from the same parameters, on the same batches of
handwritten digits, it ends with the same parameters.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn.initializers import lecun_normal
from sklearn.datasets import load_digits

import fnn

# ── Plain JAX ─────────────────────────────────────────────────────────────────────────────────────
# The state is what one step passes to the next: the parameters, Adam's two running means, and the step count.


def init(key, *sizes):
    layers = zip(jax.random.split(key, len(sizes) - 1), sizes, sizes[1:])
    params = [(lecun_normal()(k, (m, n)), jnp.zeros(n)) for k, m, n in layers]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return params, zeros, zeros, 1


def forward(params, x):
    for weight, bias in params[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ params[-1][0] + params[-1][1]


def loss(params, x, y):
    return -jax.nn.log_softmax(forward(params, x))[jnp.arange(len(y)), y].mean()


def step(state, batch):
    params, m, v, t = state
    cost, g = jax.value_and_grad(loss)(params, *batch)
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
    a, b = 1 - 0.9**t, 1 - 0.999**t
    params = jax.tree.map(lambda p, m, v: p - 0.001 * (m / a) / (jnp.sqrt(v / b) + 1e-8), params, m, v)
    return (params, m, v, t + 1), cost


train = jax.jit(functools.partial(jax.lax.scan, step))

# ── The same with fnn ─────────────────────────────────────────────────────────────────────────────
# jax.lax.scan runs fnn.step over the same batches. In a program of your own, fnn.fit makes the batches, and
# one call to it replaces this section.

network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))


@jax.jit
def fnn_train(state, batches):
    def turn(state, batch):  # no layer here uses random numbers, so any key works
        return fnn.step(network, fnn.softmax_cross_entropy, fnn.adam(), state, *batch, state.key)

    return jax.lax.scan(turn, state, batches)


# ── Both, from the same parameters, on the same batches ───────────────────────────────────────────
# The two programs compute the same formulas in a different order. So they round differently, and training
# makes the difference grow. In float64, rounding errors are smaller by more than eight digits. If the final
# difference is smaller by as much, rounding is its only cause.

images, digits = load_digits(return_X_y=True)
split_key, init_key, unused_key = jax.random.split(jax.random.key(0), 3)
(images, digits), (test_images, test_digits) = fnn.split(split_key, images / 16, digits, stratify=digits)
generator = np.random.default_rng(0)
rows = np.concatenate([generator.permutation(len(images))[:1408].reshape(44, 32) for _ in range(20)])


def largest_difference(tree, other):
    """The largest difference between the parameters of two trees."""
    pairs = zip(*map(jax.tree.leaves, (tree, other)), strict=True)
    return max(float(abs(a - b).max()) for a, b in pairs)


def compare(steps):
    batches = jnp.asarray(images)[rows[:steps]], jnp.asarray(digits)[rows[:steps]]
    initial = init(init_key, 64, 64, 10)
    first, last = ({"weight": weight, "bias": bias} for weight, bias in initial[0])
    state = fnn.start(network, fnn.adam(), batches[0][0], key=unused_key, params=(first, (), last))

    (plain, *_), costs = train(initial, batches)
    state, fnn_costs = fnn_train(state, batches)
    ours = [(layer["weight"], layer["bias"]) for layer in state.params if layer]
    predictions = [forward(params, jnp.asarray(test_images)).argmax(-1) for params in (plain, ours)]
    right = [float((digit == test_digits).mean()) for digit in predictions]
    return largest_difference(plain, ours), largest_difference(plain, initial[0]), costs, fnn_costs, right


found = {}
print("         steps  largest change   plain vs. fnn  last cost: plain       fnn  accuracy: plain    fnn")
for x64 in False, True:
    jax.config.update("jax_enable_x64", x64)
    for steps in 1, len(rows):
        apart, moved, costs, fnn_costs, right = found[x64, steps] = compare(steps)
        numbers = f"{moved:16.4f}{apart:16.0e}{costs[-1]:18.6f}{fnn_costs[-1]:10.6f}"
        print(f"{costs.dtype} {steps:5}{numbers}{right[0]:17.3f}{right[1]:7.3f}")

with open(__file__, encoding="utf8") as file:
    section = file.read().split("# ── ")[1].splitlines()[1:]
lines = [line for line in section if line and line[0] != "#"]
print(f"\nplain JAX takes {len(lines)} lines, without blank lines and comments")

# In float64 the tolerance is 1e-12, for every parameter and every cost of the run. In float32 it is 1e-6 for
# the parameters after one step, and 1e-2 for every cost of the run.

for steps in 1, len(rows):
    single, double = found[False, steps], found[True, steps]
    assert double[0] < 1e-12 and double[0] * 1e8 < single[0]
    np.testing.assert_allclose(double[2], double[3], rtol=0, atol=1e-12)
    np.testing.assert_allclose(single[2], single[3], rtol=0, atol=1e-2)
assert found[False, 1][0] < 1e-6 < found[False, len(rows)][0]
assert all(min(found[x64, len(rows)][4]) > 0.95 for x64 in (False, True))
assert len(lines) <= 20 and not any(";" in line for line in lines)
