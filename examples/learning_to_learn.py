"""Learning to learn: the derivative of the validation cost with respect to the learning rate, through a run.

Run it with `python examples/learning_to_learn.py`. A run is a function of its learning rate: initialise,
three epochs of momentum on handwritten digits, measure on validation rows. `jax.grad` differentiates it
through every step, and gradient descent then descends it to a better learning rate.
"""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import fnn

split_key, key = jax.random.split(jax.random.key(0))
x, y = load_digits(return_X_y=True)
(x, y), (x_held, y_held) = fnn.split(split_key, x / 16, y, stratify=y)
x, y, x_held, y_held = map(jnp.asarray, (x, y, x_held, y_held))
network, cost = fnn.serial(fnn.dense(32), jnp.tanh, fnn.dense(10)), fnn.softmax_cross_entropy

# ── A run as a function of its learning rate ──────────────────────────────────────────────────────
# `epoch` is a fold of steps, and a scan of epochs is one program. Reverse mode needs the number of epochs to
# be fixed, so this scans `epoch` and does not call `train`. The rate is given by its logarithm: a step is
# then a factor, and the rate stays above 0.


def validation_cost(log_rate):
    rule = fnn.momentum(jnp.exp(log_rate))
    state = fnn.start(network, rule, x, key=key)

    def turn(state, _):
        return fnn.epoch(network, cost, rule, state, x, y, batch_size=128)

    state, _ = jax.lax.scan(turn, state, length=3)
    return fnn.loss(network, cost)(state.params, x_held, y_held)


# ── Its derivative ────────────────────────────────────────────────────────────────────────────────
# Backward propagation through 36 steps of forward and backward propagation. A central difference agrees.

begin, h = jnp.log(0.002), 0.02
run = jax.jit(jax.value_and_grad(validation_cost))
value, slope = run(begin)
central = (run(begin + h)[0] - run(begin - h)[0]) / (2 * h)
print(f"at rate {jnp.exp(begin):.3f}: cost {value:.3f}, slope {slope:.4f}, by differences {central:.4f}")

# ── Descended ─────────────────────────────────────────────────────────────────────────────────────
# Gradient descent on the logarithm of the rate. Every step trains a network.

log_rate, path = begin, []
for _ in range(25):
    value, slope = run(log_rate)
    path.append((float(jnp.exp(log_rate)), float(value)))
    log_rate = log_rate - jnp.clip(1.5 * slope, -0.5, 0.5)
for i in (0, 2, 4, 8, 16, 24):
    print(f"step {i:2}  rate {path[i][0]:.3f}  validation cost {path[i][1]:.3f}")

# ── Where it ends ─────────────────────────────────────────────────────────────────────────────────
# Beside a grid of rates, computed in one call by vmap.

grid = jnp.geomspace(0.002, 1.0, 24)
costs = jax.jit(jax.vmap(validation_cost))(jnp.log(grid))
print(f"the best of a grid of 24: rate {grid[costs.argmin()]:.3f}, cost {costs.min():.3f}")

assert abs(path[0][1] - value) > 0.5
assert abs(float(central) / float(run(begin)[1]) - 1) < 0.01
assert path[-1][1] < float(costs.min()) + 0.05
