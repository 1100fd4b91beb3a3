"""What can go wrong: four ways in which a network does not learn, each shown, measured and mended.

Run it with `python examples/what_can_go_wrong.py`. One run can mislead, so everything is made from five seeds
side by side: training is a pure function of its key, and `vmap` maps it over keys.
"""

import jax
import jax.numpy as jnp
from jax.nn.initializers import constant, he_normal, zeros
from sklearn.datasets import load_digits, load_wine

import fnn

KEYS = jax.random.split(jax.random.key(0), 5)
images, digits = (jnp.asarray(array) for array in load_digits(return_X_y=True))
images = images / 16
RANDOM = he_normal()  # what fnn.dense begins with, unless told otherwise


def network_of(classes, weight_init=RANDOM, bias_init=zeros):
    last = fnn.dense(classes, weight_init=weight_init, bias_init=bias_init)
    return fnn.serial(fnn.dense(32, weight_init=weight_init), jax.nn.relu, last)


def learn(network, cost, x, y, rate=0.3, rule=fnn.gradient_descent, epochs=10):
    """Parameters and costs of five runs, each from a seed of its own."""

    def run(key):
        state = fnn.start(network, rule(rate), x, key=key)
        state, history = fnn.train(network, cost, rule(rate), state, x, y, epochs=epochs, batch_size=64)
        return state.params, history["cost"]

    return jax.jit(jax.vmap(run))(KEYS)


def accuracies(network, params, x, y):
    return jax.vmap(lambda own: fnn.accuracy(network.forward(own, x), y))(params)


def alive(network, params, x):
    """The share of hidden units that answer at least one row of x."""
    return jax.vmap(lambda own: (network.parts[0].forward(own[0], x).max(0) > 0).mean())(params)


def row(numbers, form=".2f"):
    return "".join(f"{number:10{form}}" for number in numbers)


table = {}

# ── Every weight begins at zero ───────────────────────────────────────────────────────────────────
# Units that begin equal get equal slopes and stay equal: a whole layer does the work of one unit. At zero
# they do not even move, since the slopes of each layer have the other layer's zeros as a factor. Random
# weights tell the units apart.

print("all weights begin at     cost in the end, of five seeds")
ended, weights, right = {}, {}, {}
for name, weight_init in {"0": zeros, "0.1": constant(0.1), "random numbers": RANDOM}.items():
    network = network_of(10, weight_init)
    params, costs = learn(network, fnn.softmax_cross_entropy, images, digits)
    ended[name], weights[name] = costs[:, -1], params[0]["weight"]
    right[name] = accuracies(network, params, images, digits)
    print(f"  {name:22} {row(ended[name])}")

table["every weight at zero"] = right["0"], right["random numbers"]
guessing = jnp.log(10.0)  # the cost of a tenth for each of ten digits
assert jnp.all(weights["0"] == 0) and jnp.all(abs(ended["0"] - guessing) < 0.01)
assert jnp.all(weights["0.1"] == weights["0.1"][..., :1]) and weights["0.1"].max() > 0.2
assert ended["0.1"].min() > 1.5 > 0.3 > ended["random numbers"].max()

# ── A learning rate too high ──────────────────────────────────────────────────────────────────────
# A step too long lands higher on the other side. At 100 the cost rises a hundredfold. At 3 too all units end
# where they are 0 for every image, and their slopes too: guessing is left. At 1 some seeds look fine.
# So look for the rate by factors, over several seeds: here by one more vmap, over rates.

RATES = jnp.array([0.03, 0.3, 1.0, 3.0, 100.0])
network = network_of(10)
params, costs = jax.vmap(lambda rate: learn(network, fnn.softmax_cross_entropy, images, digits, rate))(RATES)
at_work = jax.vmap(lambda own: alive(network, own, images))(params)
print("\nlearning rate            cost in the end, of five seeds                     highest   units at work")
for rate, cost, share in zip(RATES, costs, at_work):
    print(f"  {rate:<22.4g} {row(cost[:, -1])} {cost.max():12.0f} {share.mean():12.0%}")

stuck = jax.tree.map(lambda leaf: leaf[3, 0], params)
slopes = jax.grad(fnn.loss(network, fnn.softmax_cross_entropy))(stuck, images, digits)
low, good, lucky, high, highest = costs
right = jax.vmap(lambda own: accuracies(network, own, images, digits))(params)
table["a learning rate of 3, and of 0.3"] = right[3], right[1]
assert highest.max(-1).min() > 100 * guessing and min(high.min(), highest.min()) > guessing - 0.1
assert jnp.all(at_work[3:] == 0) and jnp.all(slopes[0]["weight"] == 0) and at_work[:2].min() > 0.8
assert lucky[:, -1].min() < 0.2 and good[:, -1].max() < 0.2 and good.max() < low[:, 0].max()

# ── A sigmoid under a squared error ───────────────────────────────────────────────────────────────
# A sigmoid that is sure is flat, also where it is wrong. Its slope is a factor of the squared error's, so the
# surest mistakes teach least. Cross-entropy from logits has no such factor: its slope by a logit is σ(z) − y.
# Here every output begins sure of no, with a bias of −10. (Adam divides slopes by their size, and gets out.)

network = network_of(10, bias_init=constant(-10.0))
yes_or_no = fnn.one_hot(digits, 10)


def squared(logits, targets):
    return fnn.mse(jax.nn.sigmoid(logits), targets)


def slope(cost):
    """The norm of the first gradient, of five seeds."""
    params = jax.vmap(lambda key: fnn.start(network, fnn.adam(), images, key=key).params)(KEYS)
    grads = jax.vmap(lambda own: jax.grad(fnn.loss(network, cost))(own, images, yes_or_no))(params)
    return jnp.sqrt(sum((leaf.reshape(len(KEYS), -1) ** 2).sum(-1) for leaf in jax.tree.leaves(grads)))


print("\nfrom a bias of −10       norm of the first gradient, of five seeds")
norms = {cost.__name__: slope(cost) for cost in (squared, fnn.binary_cross_entropy)}
for name, norm in norms.items():
    print(f"  {name:22} {row(norm, '.0e')}")

stuck, costs = learn(network, squared, images, yes_or_no, rate=1.0)
free, _ = learn(network, fnn.binary_cross_entropy, images, yes_or_no, rate=1.0)
by_adam, _ = learn(network, squared, images, yes_or_no, rate=0.001, rule=fnn.adam)
stuck, free, by_adam = (accuracies(network, own, images, digits) for own in (stuck, free, by_adam))
table["a sigmoid under a squared error"] = stuck, free
assert jnp.isclose(jax.grad(fnn.binary_cross_entropy)(-10.0, 1.0), jax.nn.sigmoid(-10.0) - 1)
assert jnp.all(norms["squared"] * 1000 < norms["binary_cross_entropy"])
assert jnp.all(costs[:, -1] > 0.999 * costs[:, 0]) and by_adam.min() > 0.7

# ── Inputs not scaled ─────────────────────────────────────────────────────────────────────────────
# Thirteen measurements of wines, from tenths to more than a thousand. The largest make the slopes large, the
# first steps overshoot, and no unit is left at work. fnn.standardize gives each column mean 0 and spread 1.

wine, cultivar = (jnp.asarray(array) for array in load_wine(return_X_y=True))
scaled = fnn.standardize(wine)(wine)
network, right = network_of(3), {}
print("\nwines                    cost after the first epoch, of five seeds                    units at work")
for name, x in {"as measured": wine, "standardised": scaled}.items():
    params, costs = learn(network, fnn.softmax_cross_entropy, x, cultivar, epochs=30)
    right[name], at_work = accuracies(network, params, x, cultivar), alive(network, params, x)
    print(f"  {name:22} {row(costs[:, 0], '.2g')} {at_work.mean():25.0%}")
    assert jnp.all(at_work == 0) if name == "as measured" else at_work.min() > 0.8
table["inputs not scaled"] = right["as measured"], right["standardised"]
assert wine.shape[1] == 13 and wine.min() < 0.2 and wine.max() > 1000

# ── All four ──────────────────────────────────────────────────────────────────────────────────────

print(f"\n{'accuracy, lowest to highest of five seeds':42} failing         fixed")
for name, (failing, fixed) in table.items():
    print(f"{name:42} {failing.min():.2f} to {failing.max():.2f} → {fixed.min():.2f} to {fixed.max():.2f}")
    assert failing.max() < 0.5 and fixed.min() > 0.85
