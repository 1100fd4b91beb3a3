"""The same training, as each library's own documentation writes it: a function of a task that trains once more.

Each `name(task)` builds what it needs and returns `run()`, which trains the task's network for `task.epochs` epochs of
shuffled batches with Adam, and waits until it is done. fnn, the scans and scikit-learn begin with new weights in each
run; the others, which call a step from Python, go on with theirs and so are spared that.
"""

import functools
import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from fnn.data.shuffle import shuffle


class Task(NamedTuple):
    """What is trained: layers of these sizes with ReLU between, on rows x, y, where ids are classes."""

    name: str
    sizes: tuple[int, ...]
    x: np.ndarray
    y: np.ndarray
    batch: int
    epochs: int

    @property
    def steps(self):
        """Of one run; the last batch of an epoch may be smaller."""
        return self.epochs * -(-len(self.x) // self.batch)

    @property
    def classifies(self):
        """Whether y are ids of classes."""
        return self.y.dtype.kind == "i"


RATE = 0.001


# fnn, and its floor --------------------------------------------------------------------------------


def network(task):
    """The task's network in fnn."""
    hidden = [layer for size in task.sizes[1:-1] for layer in (fnn.dense(size), jax.nn.relu)]
    return fnn.serial(*hidden, fnn.dense(task.sizes[-1]))


def fnn_fit(task):
    """fit, as the README writes it."""
    cost = fnn.softmax_cross_entropy if task.classifies else fnn.mse

    def run():
        options = {"key": jax.random.key(0), "epochs": task.epochs, "batch_size": task.batch}
        fitted = fnn.fit(network(task), cost, fnn.adam(RATE), task.x, task.y, **options)
        jax.block_until_ready(fitted.state)

    return run


def scan_by_hand(task):
    """The floor: the whole run as one scan of plain JAX, Adam written out, rows in fnn's random order."""
    x, y = jnp.asarray(task.x), jnp.asarray(task.y)
    n, b = len(x), min(task.batch, len(x))

    def cost(params, x, y):
        for weight, bias in params[:-1]:
            x = jax.nn.relu(x @ weight + bias)
        z = x @ params[-1][0] + params[-1][1]
        if task.classifies:
            return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()
        return jnp.mean((z - y) ** 2)

    def step(carry, rows, x, y):
        params, m, v, t = carry
        g = jax.grad(cost)(params, x if n == b else x[rows], y if n == b else y[rows])
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, g)
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        params = jax.tree.map(lambda p, m, v: p - RATE * (m / c1) / (jnp.sqrt(v / c2) + 1e-8), params, m, v)
        return params, m, v, t

    @jax.jit
    def train(key, x, y):
        keys = jax.random.split(key, len(task.sizes))
        params = [
            (jax.random.normal(k, (a, c)) / np.sqrt(a), jnp.zeros(c))
            for k, a, c in zip(keys, task.sizes[:-1], task.sizes[1:], strict=False)
        ]
        zeros = jax.tree.map(jnp.zeros_like, params)

        def epoch(carry, i):
            order = shuffle(jax.random.fold_in(keys[-1], i), n)
            turn = lambda c, first: (step(c, order(first + jnp.arange(b)), x, y), None)
            carry, _ = jax.lax.scan(turn, carry, jnp.arange(0, n - b + 1, b))
            left = n % b
            return (step(carry, order(n - left + jnp.arange(left)), x, y) if left else carry), None

        begin = (params, zeros, zeros, jnp.float32(0))
        return jax.lax.scan(epoch, begin, jnp.arange(task.epochs))[0]

    return lambda: jax.block_until_ready(train(jax.random.key(0), x, y))


# Peers ---------------------------------------------------------------------------------------------


def scikit_learn(task):
    """MLPClassifier or MLPRegressor, without a penalty and without early stopping."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    model = MLPClassifier if task.classifies else MLPRegressor
    options = {"alpha": 0, "batch_size": min(task.batch, len(task.x)), "max_iter": task.epochs}
    y = task.y if task.classifies else task.y.ravel()

    def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model(hidden_layer_sizes=task.sizes[1:-1], **options, tol=0, n_iter_no_change=10**9).fit(
                task.x, y
            )

    return run


def pytorch(task):
    """nn.Sequential and optim.Adam, eager; rows are taken by a random permutation, faster than a DataLoader."""
    import torch
    from torch import nn

    x, y = torch.tensor(task.x), torch.tensor(task.y.astype("int64") if task.classifies else task.y)
    cost = nn.CrossEntropyLoss() if task.classifies else nn.MSELoss()

    pairs = zip(task.sizes[:-1], task.sizes[1:], strict=True)
    model = nn.Sequential(*[layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())][:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)

    def run():
        for _ in range(task.epochs):
            for rows in torch.randperm(len(x)).split(task.batch):
                optimizer.zero_grad()
                cost(model(x[rows]), y[rows]).backward()
                optimizer.step()

    return run


def batches(task, rng):
    """Rows of each batch of each epoch, as a loop over NumPy arrays takes them."""
    for _ in range(task.epochs):
        order = rng.permutation(len(task.x))
        yield from (order[i : i + task.batch] for i in range(0, len(order), task.batch))


def optax_cost(task):
    """The cost of Optax that fits the task's targets."""
    import optax

    return optax.softmax_cross_entropy_with_integer_labels if task.classifies else optax.l2_loss


def equinox(task):
    """eqx.nn.MLP with Optax: filter_jit of a step, called in a Python loop, as Equinox documents it."""
    import equinox as eqx
    import optax

    cost, optimizer = optax_cost(task), optax.adam(RATE)

    @eqx.filter_jit
    def step(model, state, x, y):
        grads = eqx.filter_grad(lambda model: cost(jax.vmap(model)(x), y).mean())(model)
        updates, state = optimizer.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state

    depth, key = len(task.sizes) - 2, jax.random.key(0)
    model = eqx.nn.MLP(task.sizes[0], task.sizes[-1], task.sizes[1], depth, key=key)
    state = optimizer.init(eqx.filter(model, eqx.is_array))

    def run():
        nonlocal model, state
        for rows in batches(task, np.random.default_rng(0)):
            model, state = step(model, state, task.x[rows], task.y[rows])
        jax.block_until_ready(jax.tree.leaves(eqx.filter(model, eqx.is_array)))

    return run


def equinox_scanned(task):
    """The same model and step, put into one scan of all epochs by hand, with jax.random.permutation."""
    import equinox as eqx
    import optax

    cost, optimizer, n = optax_cost(task), optax.adam(RATE), len(task.x)
    x, y = jnp.asarray(task.x), jnp.asarray(task.y)
    b = min(task.batch, n)

    def make(key):
        return eqx.nn.MLP(task.sizes[0], task.sizes[-1], task.sizes[1], len(task.sizes) - 2, key=key)

    static = eqx.partition(make(jax.random.key(0)), eqx.is_array)[1]

    def step(carry, rows, x, y):
        arrays, state = carry
        loss = lambda arrays: cost(jax.vmap(eqx.combine(arrays, static))(x[rows]), y[rows]).mean()
        updates, state = optimizer.update(jax.grad(loss)(arrays), state, arrays)
        return eqx.apply_updates(arrays, updates), state

    @jax.jit
    def train(key, x, y):
        arrays = eqx.filter(make(key), eqx.is_array)

        def epoch(carry, key):
            order = jax.random.permutation(key, n)
            whole = order[: n // b * b].reshape(-1, b)
            carry, _ = jax.lax.scan(lambda c, rows: (step(c, rows, x, y), None), carry, whole)
            return (step(carry, order[n // b * b :], x, y) if n % b else carry), None

        return jax.lax.scan(epoch, (arrays, optimizer.init(arrays)), jax.random.split(key, task.epochs))[0]

    return lambda: jax.block_until_ready(train(jax.random.key(0), x, y))


def flax_nnx(task):
    """An nnx.Module and nnx.Optimizer: nnx.jit of a step, called in a Python loop, as Flax documents it."""
    import optax
    from flax import nnx

    cost = optax_cost(task)

    class Network(nnx.Module):
        def __init__(self, rngs):
            pairs = zip(task.sizes[:-1], task.sizes[1:], strict=True)
            self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])

        def __call__(self, x):
            for layer in self.layers[:-1]:
                x = nnx.relu(layer(x))
            return self.layers[-1](x)

    @nnx.jit
    def step(model, optimizer, x, y):
        grads = nnx.grad(lambda model: cost(model(x), y).mean())(model)
        optimizer.update(model, grads)

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    def run():
        for rows in batches(task, np.random.default_rng(0)):
            step(model, optimizer, task.x[rows], task.y[rows])
        jax.block_until_ready(jax.tree.leaves(nnx.state(model)))

    return run


def keras(task):
    """keras.Sequential, compile and fit, on the JAX backend."""
    import keras

    hidden = [keras.layers.Dense(size, "relu") for size in task.sizes[1:-1]]
    model = keras.Sequential([keras.Input((task.sizes[0],)), *hidden, keras.layers.Dense(task.sizes[-1])])
    cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if task.classifies else "mse"
    model.compile(optimizer=keras.optimizers.Adam(RATE), loss=cost)
    return functools.partial(model.fit, task.x, task.y, batch_size=task.batch, epochs=task.epochs, verbose=0)


PEERS = {
    "fnn": fnn_fit,
    "scan by hand": scan_by_hand,
    "scikit-learn": scikit_learn,
    "PyTorch": pytorch,
    "Equinox + Optax": equinox,
    "the same, scanned": equinox_scanned,
    "Flax NNX + Optax": flax_nnx,
    "Keras on JAX": keras,
}
