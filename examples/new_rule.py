"""A rule of your own in fifteen lines: at home in fit, chains, sweeps and explain, and in Optax.

Run it with `python examples/new_rule.py`. A rule is two pure functions: `init` makes its state from the
parameters, `update` turns gradients into updates. The state is an fnn.RuleState: its step, its numbers, its
moments. The numbers are in the state, so another rate compiles nothing; and any of them may be a schedule.
"""

import jax
import jax.numpy as jnp
from sklearn.datasets import load_digits

import fnn

# ── The rule ──────────────────────────────────────────────────────────────────────────────────────
# Signum (Bernstein et al. 2018): steps of one size, by the sign of a velocity.


def signum(learning_rate=0.001, momentum=0.9):
    return fnn.make_rule(init, signum_update, {"learning_rate": learning_rate, "momentum": momentum})


def init(params, **numbers):
    velocity = jax.tree.map(jnp.zeros_like, params)
    return fnn.RuleState(jnp.int32(0), jax.tree.map(jnp.float32, numbers), {"velocity": velocity})


def signum_update(grads, state, params=None):
    """v ← μv + g, Δ = −α·sign(v)."""
    number = state.hyperparameters
    v = jax.tree.map(lambda v, g: number["momentum"] * v + g, state.moments["velocity"], grads)
    updates = jax.tree.map(lambda v: -number["learning_rate"] * jnp.sign(v), v)
    return updates, state._replace(step=state.step + 1, moments={"velocity": v})


# ── Explained, with its numbers ───────────────────────────────────────────────────────────────────
# Nothing is written for it: explain reads the docstring and the program of the update.

line = fnn.dense(1)
params = {"weight": jnp.array([[3.0]]), "bias": jnp.array([1.0])}
text = fnn.explain(line, fnn.mse, signum(0.1), params, jnp.array([[2.0]]), jnp.array([[5.0]]))
print(text[text.index("4. Optimisation") : text.index("  its state before")])
assert "signum:  v ← μv + g, Δ = −α·sign(v)" in text and "velocity = 0.9 · 0 + 8 = 8" in text

# ── In fit; and in a chain, its rate falling, its parameters averaged ──────────────────────────────

x, y = load_digits(return_X_y=True)
split_key, fit_key, sweep_key = jax.random.split(jax.random.key(0), 3)
(x, y), (x_test, y_test) = fnn.split(split_key, x / 16, y, stratify=y)
network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(10))
cost, epochs, steps = fnn.softmax_cross_entropy, 20, 20 * -(-len(x) // 32)

falling = signum(fnn.cosine(0.01, steps))
rules = {
    "signum(0.003)": signum(0.003),
    "in a chain": fnn.chain(fnn.clip_by_global_norm(1.0), falling, fnn.weight_decay(1e-5), fnn.average(0.99)),
}
for name, rule in rules.items():
    fitted = fnn.fit(network, cost, rule, x, y, key=jax.random.clone(fit_key), epochs=epochs)
    measures = fnn.evaluate(network, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy})
    print(f"{name}: accuracy {measures['accuracy']:.3f} on digits that it has not seen")
    assert measures["accuracy"] > 0.94

# ── In a sweep: one program for all rates ─────────────────────────────────────────────────────────

swept = fnn.sweep(
    network, cost, [signum(rate) for rate in (1e-4, 1e-3, 1e-2)], x, y,
    key=jax.random.split(sweep_key, 2), epochs=10, validation=(x_test, y_test),
)  # fmt: skip
print(swept)
assert swept.settings[swept.order[-1]]["learning_rate"] == 1e-4

# ── In Optax, as one of its own ───────────────────────────────────────────────────────────────────

try:
    import optax

    rule = optax.chain(optax.clip_by_global_norm(1.0), signum(0.1))
    updates, _ = rule.update(params, rule.init(params), params)
    print("in a chain of Optax, from weight 3 to", optax.apply_updates(params, updates)["weight"])
except ModuleNotFoundError:
    print("Optax is not installed: pip install optax")
