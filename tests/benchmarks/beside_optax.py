"""Each rule's step beside the same of Optax: a million parameters in ten arrays, the parameters moved too.

    python -m tests.benchmarks rules

Each run is 20 calls of a compiled update followed by the addition, one after the other.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fnn

SHAPES = [(400, 500), (500,), (500, 600), (600,), (600, 500), (500,), (500, 390), (390,), (390, 10), (10,)]
STEPS = 20


def pairs():
    """Of each rule fnn's, and Optax's in the same form."""
    import optax
    from optax import contrib

    return {
        "gradient_descent": (fnn.gradient_descent(0.01), optax.sgd(0.01)),
        "momentum": (fnn.momentum(0.01), optax.sgd(0.01, 0.9)),
        "nesterov": (fnn.nesterov(0.01), optax.sgd(0.01, 0.9, nesterov=True)),
        "adagrad": (fnn.adagrad(0.01, eps=0.0, eps_root=1e-7, initial=0.1), optax.adagrad(0.01)),
        "rmsprop": (fnn.rmsprop(0.001), optax.rmsprop(0.001, eps_in_sqrt=False)),
        "rmsprop, momentum, centered": (
            fnn.rmsprop(0.001, momentum=0.9, centered=True),
            optax.rmsprop(0.001, eps_in_sqrt=False, momentum=0.9, centered=True),
        ),
        "adadelta": (fnn.adadelta(), optax.adadelta(1.0, rho=0.95)),
        "adam": (fnn.adam(), optax.adam(0.001)),
        "adamw": (fnn.adamw(), optax.adamw(0.001, weight_decay=0.01, mask=lambda tree: [p.ndim > 1 for p in tree])),
        "adamax": (fnn.adamax(), optax.adamax(0.002)),
        "nadam": (fnn.nadam(), optax.nadam(0.002)),
        "amsgrad": (fnn.amsgrad(), optax.amsgrad(0.001)),
        "radam": (fnn.radam(), optax.radam(0.001)),
        "lion": (fnn.lion(), optax.lion(1e-4, weight_decay=0.0)),
        "muon": (fnn.muon(), contrib.muon(0.001, weight_decay=0.1, consistent_rms=0.2)),
        "clip_by_global_norm, adam": (
            fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam()),
            optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.001)),
        ),
    }  # fmt: skip


def steps(rule, params, grads):
    """Some steps, one after the other."""

    @jax.jit
    def step(params, state):
        updates, state = rule.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    def run():
        carry = params, rule.init(params)
        for _ in range(STEPS):
            carry = step(*carry)
        jax.block_until_ready(carry)

    return run


def runs(name):
    """The steps of both."""
    draw = np.random.default_rng(0)
    params, grads = ([jnp.asarray(draw.normal(size=s), jnp.float32) for s in SHAPES] for _ in range(2))
    ours, theirs = pairs()[name]
    return {"fnn": steps(ours, params, grads), "Optax": steps(theirs, params, grads)}
