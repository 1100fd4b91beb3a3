"""One step by hand: a network of 3 inputs, 4 hidden units and 1 output, with every number of its first step.

Run it with `python examples/one_step_by_hand.py`. The data are six evenings at the cinema: the genre, the
rating of the film, the company, and whether it was a good evening. `fit` takes thousands of such steps. Here
one is printed in full, so that you can check each number with a pocket calculator.
"""

import chex
import jax
import jax.numpy as jnp

import fnn

# ── Data: two categories and a rating, encoded as three numbers ───────────────────────────────────

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

# ── Network: 3 → 4 → 1, all weights from one random key ───────────────────────────────────────────

network = fnn.serial(fnn.dense(4), jnp.tanh, fnn.dense(1))
params = network.init(jax.random.key(0), x)
rule = fnn.adam(0.1)
cost = fnn.binary_cross_entropy

# ── One training step, with all its numbers ───────────────────────────────────────────────────────

print(fnn.explain(network, cost, rule, params, x, y))

# ── The same gradients from jax.grad ──────────────────────────────────────────────────────────────
# The chain rule written out above gives the gradients that JAX finds by automatic differentiation.

by_hand = fnn.backprop(network, cost, params, x, y)
by_jax = jax.grad(fnn.loss(network, cost))(params, x, y)
chex.assert_trees_all_close(by_hand.grads, by_jax, rtol=1e-5, atol=1e-7)
assert by_hand.automatic == ()  # every layer and the cost have a hand-written derivative
print("\nthe gradients by hand equal those of jax.grad\n")

# ── The first step again, and ten more ────────────────────────────────────────────────────────────

state, costs = rule.init(params), []
for number in range(11):
    found = fnn.backprop(network, cost, params, x, y)
    updates, state = rule.update(found.grads, state, params)
    params = fnn.apply_updates(params, updates)
    costs.append(float(found.cost))
    print(f"step {number + 1:2}  cost {costs[-1]:.4f}")

assert costs == sorted(costs, reverse=True)  # the cost falls at every step
assert costs[-1] < 0.75 * costs[0]
