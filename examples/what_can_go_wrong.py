"""What can go wrong: four reasons why a network does not learn, each shown, measured and fixed.

Run it with `python examples/what_can_go_wrong.py`. A single run can mislead, so each experiment runs with
five seeds at once: training is a pure function of its random key, and `vmap` maps it over five keys.
"""

import functools

import jax
import jax.numpy as jnp
from jax.nn.initializers import constant, lecun_normal, zeros
from sklearn.datasets import load_digits, load_wine

import fnn

# In float32, rounding tells units that started equal apart on some processors.
jax.config.update("jax_enable_x64", True)

KEYS = jax.random.split(jax.random.key(0), 5)
images, digits = (jnp.asarray(array) for array in load_digits(return_X_y=True))
images = images / 16
RANDOM = lecun_normal()  # the default of fnn.dense


def network_of(classes, weight_init=RANDOM, bias_init=zeros):
    last = fnn.dense(classes, weight_init=weight_init, bias_init=bias_init)
    return fnn.serial(fnn.dense(32, weight_init=weight_init), jax.nn.relu, last)


@functools.partial(jax.jit, static_argnames=("network", "cost", "rule", "epochs"))
def train(network, cost, x, y, rate=0.3, rule=fnn.gradient_descent, epochs=10):
    """Parameters and costs per epoch of five runs, each with its own seed."""

    def run(key):
        state = fnn.start(network, rule(rate), x, key=key)
        state, history = fnn.train(network, cost, rule(rate), state, x, y, epochs=epochs, batch_size=64)
        return state.params, history["cost"]

    return jax.vmap(run)(KEYS)


def accuracies(network, params, x, y):
    return jax.vmap(lambda p: fnn.accuracy(network.forward(p, x), y))(params)


def active_share(network, params, x):
    """The share of hidden units that are above 0 for at least one row of x."""
    return jax.vmap(lambda p: (network.parts[0].forward(p[0], x).max(0) > 0).mean())(params)


def row(numbers, form=".2f"):
    return "".join(f"{number:10{form}}" for number in numbers)


table = {}

# ── All weights start at zero ─────────────────────────────────────────────────────────────────────
# Hidden units that start equal get equal gradients and stay equal, so a whole layer does the work of one
# unit. From zero, the weights do not even move: the gradient of each layer contains the other layer's zeros
# as a factor. Random initial weights make the units differ.

print("all weights start at     final cost, five seeds")
final, weights, right = {}, {}, {}
for name, weight_init in {"0": zeros, "0.1": constant(0.1), "random numbers": RANDOM}.items():
    network = network_of(10, weight_init)
    params, costs = train(network, fnn.softmax_cross_entropy, images, digits)
    final[name], weights[name] = costs[:, -1], params[0]["weight"]
    right[name] = accuracies(network, params, images, digits)
    print(f"  {name:22} {row(final[name])}")

table["all weights start at zero"] = right["0"], right["random numbers"]
guessing = jnp.log(10.0)  # the cost of giving each of the ten digits a probability of 1/10
assert jnp.all(weights["0"] == 0) and jnp.all(abs(final["0"] - guessing) < 0.01)
assert jnp.all(weights["0.1"] == weights["0.1"][..., :1]) and weights["0.1"].max() > 0.2
assert final["0.1"].min() > 1.5 > 0.3 > final["random numbers"].max()

# ── The learning rate is too high ─────────────────────────────────────────────────────────────────
# A step that is too long passes the minimum and ends at a higher cost. At a rate of 300 the cost rises more
# than a hundredfold. At 10 and at 300 all hidden units "die": ReLU returns 0 for every image, so their
# gradient is 0 too, and the network can only guess. At 1 some seeds still look fine. So compare rates that
# differ by factors, with several seeds: here a second vmap runs over the rates.

RATES = jnp.array([0.03, 0.3, 1.0, 10.0, 300.0])
network = network_of(10)
params, costs = jax.vmap(lambda rate: train(network, fnn.softmax_cross_entropy, images, digits, rate))(RATES)
active = jax.vmap(lambda p: active_share(network, p, images))(params)
print("\nlearning rate            final cost, five seeds                             highest    active units")
for rate, cost, share in zip(RATES, costs, active):
    print(f"  {rate:<22.4g} {row(cost[:, -1])} {cost.max():12.0f} {share.mean():12.0%}")

stuck = jax.tree.map(lambda leaf: leaf[3, 0], params)  # rate 10, first seed
grads = jax.grad(fnn.loss(network, fnn.softmax_cross_entropy))(stuck, images, digits)
low, good, lucky, high, highest = costs
right = jax.vmap(lambda p: accuracies(network, p, images, digits))(params)
table["learning rate 10, fixed: 0.3"] = right[3], right[1]
assert highest.max(-1).min() > 100 * guessing and min(high.min(), highest.min()) > guessing - 0.1
assert jnp.all(active[3:] == 0) and jnp.all(grads[0]["weight"] == 0) and active[:2].min() > 0.8
assert lucky[:, -1].min() < 0.2 and good[:, -1].max() < 0.2 and good.max() < low[:, 0].max()

# ── A sigmoid output with a squared error ─────────────────────────────────────────────────────────
# The sigmoid saturates: near 0 and 1 its derivative σ′(z) is almost 0, also where the prediction is wrong.
# The gradient of the squared error contains σ′(z) as a factor, so the most confident mistakes change the
# weights least. The cross-entropy from logits has no such factor: its derivative with respect to a logit z
# is σ(z) − y. Here a bias of −10 makes every output start with a confident no. (Adam divides each gradient
# by its own size, and escapes.)

network = network_of(10, bias_init=constant(-10.0))
yes_or_no = fnn.one_hot(digits, 10)


def squared(logits, targets):
    return fnn.mse(jax.nn.sigmoid(logits), targets)


def gradient_norm(cost):
    """The norm of the first gradient, for five seeds."""
    params = jax.vmap(lambda key: fnn.start(network, fnn.adam(), images, key=key).params)(KEYS)
    grads = jax.vmap(lambda p: jax.grad(fnn.loss(network, cost))(p, images, yes_or_no))(params)
    return jnp.sqrt(sum((leaf.reshape(len(KEYS), -1) ** 2).sum(-1) for leaf in jax.tree.leaves(grads)))


print("\nbias starts at −10       norm of the first gradient, five seeds")
norms = {cost.__name__: gradient_norm(cost) for cost in (squared, fnn.binary_cross_entropy)}
for name, norm in norms.items():
    print(f"  {name:22} {row(norm, '.0e')}")

stuck, costs = train(network, squared, images, yes_or_no, rate=1.0)
free, _ = train(network, fnn.binary_cross_entropy, images, yes_or_no, rate=1.0)
by_adam, _ = train(network, squared, images, yes_or_no, rate=0.001, rule=fnn.adam)
stuck, free, by_adam = (accuracies(network, p, images, digits) for p in (stuck, free, by_adam))
table["sigmoid output with a squared error"] = stuck, free
assert jnp.isclose(jax.grad(fnn.binary_cross_entropy)(-10.0, 1.0), jax.nn.sigmoid(-10.0) - 1)
assert jnp.all(norms["squared"] * 1000 < norms["binary_cross_entropy"])
assert jnp.all(costs[:, -1] > 0.999 * costs[:, 0]) and by_adam.min() > 0.7

# ── The inputs are not scaled ─────────────────────────────────────────────────────────────────────
# The data are thirteen measurements of wines, from tenths to more than a thousand. Large inputs give large
# gradients, the first steps overshoot, and all hidden units die. fnn.standardize gives each column mean 0 and
# standard deviation 1.

wine, cultivar = (jnp.asarray(array) for array in load_wine(return_X_y=True))
scaled = fnn.standardize(wine)(wine)
network, right = network_of(3), {}
print("\nwines                    cost after the first epoch, five seeds                        active units")
for name, x in {"as measured": wine, "standardised": scaled}.items():
    params, costs = train(network, fnn.softmax_cross_entropy, x, cultivar, epochs=30)
    right[name], active = accuracies(network, params, x, cultivar), active_share(network, params, x)
    print(f"  {name:22} {row(costs[:, 0], '.2g')} {active.mean():25.0%}")
    assert jnp.all(active == 0) if name == "as measured" else active.min() > 0.8
table["inputs not scaled"] = right["as measured"], right["standardised"]
assert wine.shape[1] == 13 and wine.min() < 0.2 and wine.max() > 1000

# ── All four, before and after ────────────────────────────────────────────────────────────────────

print(f"\n{'accuracy, lowest to highest of five seeds':42} failing         fixed")
for name, (failing, fixed) in table.items():
    print(f"{name:42} {failing.min():.2f} to {failing.max():.2f} → {fixed.min():.2f} to {fixed.max():.2f}")
    assert failing.max() < 0.5 and fixed.min() > 0.85
