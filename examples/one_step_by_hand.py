"""One step by hand: a network of 3 inputs, 4 hidden units and 1 output, with every number of its first step.

Run it with `python examples/one_step_by_hand.py`. Six evenings at the cinema: the genre, the rating that the
film had, and with whom one went; was it a good evening? What `fit` does thousands of times is printed here
once, so that each number can be checked with a pocket calculator.
"""

import chex
import jax
import jax.numpy as jnp

import fnn

# ── Data: one category, one rating, one more category, encoded into three numbers ─────────────────

genres = ["comedy", "drama", "comedy", "drama", "drama", "comedy"]
ratings = [8.1, 6.4, 5.2, 8.8, 7.5, 6.9]
company = ["friends", "alone", "alone", "friends", "alone", "friends"]
good = [1, 0, 0, 1, 1, 1]

genre, company_of = fnn.labels(genres), fnn.labels(company)
x = jnp.stack([genre(genres), jnp.array(ratings) / 10, company_of(company)], axis=1)
y = jnp.array(good, float)[:, None]
print(f"genre     {dict(enumerate(genre.classes))}")
print(f"company   {dict(enumerate(company_of.classes))}")
print(f"{genres[0]}, rated {ratings[0]}, with {company[0]}  →  {[round(v, 2) for v in x[0].tolist()]}\n")

# ── Network: 3 → 4 → 1, its weights from one key ──────────────────────────────────────────────────

network = fnn.serial(fnn.dense(4), jnp.tanh, fnn.dense(1))
params = network.init(jax.random.key(0), x)
rule = fnn.adam(0.1)
cost = fnn.binary_cross_entropy

# ── One turn of the wheel, with all its numbers ───────────────────────────────────────────────────

print(fnn.explain(network, cost, rule, params, x, y))

# ── The same gradients from jax.grad ──────────────────────────────────────────────────────────────
# What is written out above by the chain rule is what JAX finds by itself.

by_hand = fnn.backprop(network, cost, params, x, y)
by_jax = jax.grad(fnn.loss(network, cost))(params, x, y)
chex.assert_trees_all_close(by_hand.grads, by_jax, rtol=1e-5, atol=1e-7)
assert by_hand.automatic == ()  # every layer and the cost by hand
print("\nthe gradients by hand are those of jax.grad\n")

# ── Ten steps more ────────────────────────────────────────────────────────────────────────────────

state, costs = rule.init(params), []
for number in range(11):
    found = fnn.backprop(network, cost, params, x, y)
    updates, state = rule.update(found.grads, state, params)
    params = fnn.apply_updates(params, updates)
    costs.append(float(found.cost))
    print(f"step {number + 1:2}  cost {costs[-1]:.4f}")

assert costs == sorted(costs, reverse=True)  # each lower than the one before
assert costs[-1] < 0.75 * costs[0]
