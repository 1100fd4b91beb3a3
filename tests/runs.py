"""Runs that are hard to repeat, their bits, and what is compiled while they run: for many tests."""

import contextlib
import logging
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np

import fnn

X = np.random.default_rng(0).normal(size=(45, 4))
Y = (X @ [1.0, -2.0, 0.5, 0.0] > 0).astype(int) + (X[:, 3] > 1)
HELD = (X[:9], Y[:9])


def network():
    return fnn.serial(fnn.dense(8), jax.nn.relu, fnn.dropout(0.2), fnn.dense(3))


def as_sequence(x):
    return (jnp.abs(3 * x) % 5).astype(int)


def listening():
    """Ids, attention, states along the sequence and statistics: (45, 4) rows as sequences of four steps."""
    return fnn.serial(
        as_sequence, fnn.embedding(5, 4), fnn.transformer_block(4, heads=2, causal=True, dropout=0.1),
        fnn.gru(4), fnn.batch_norm(0.9), fnn.dropout(0.2), fnn.lstm(4, last=True), fnn.dense(3),
    )  # fmt: skip


def searching():
    """The network of `network`, for a rule that searches along the cost of all rows."""
    return network()


def all_at_once():
    """Every schedule, wrapper and link that keeps something from step to step."""
    rate = fnn.warmup(5, fnn.cosine(0.02, steps=900, end=0.001))
    rule = fnn.accumulate(
        2, fnn.skip_not_finite(fnn.partition({"*/bias": fnn.adam(rate), "*": fnn.adamw(rate)}))
    )
    return fnn.chain(
        fnn.clip_by_global_norm(1.0), rule, fnn.reduce_on_plateau(0.5, patience=9, steps=6), fnn.average(0.9)
    )


RULES = {listening: all_at_once, searching: fnn.lbfgs}


def fit(epochs=6, rule=None, seed=0, validation=HELD, build=network, **options):
    """A run with everything on that makes it hard to repeat: dropout, shuffling, clipping, a ragged end."""
    if rule is None:
        rule = RULES.get(
            build, lambda: fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.01), fnn.weight_decay(1e-3))
        )()
    options.setdefault("metrics", {"accuracy": fnn.accuracy})
    if "state" not in options:
        options["key"] = jax.random.key(seed)
    return fnn.fit(
        build(), fnn.softmax_cross_entropy, rule, X, Y,
        epochs=epochs, batch_size=len(X) if build is searching else 8, validation=validation, **options,
    )  # fmt: skip


def bits(tree):
    is_key = lambda v: jnp.issubdtype(v.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda v: np.asarray(jax.random.key_data(v) if is_key(v) else v), tree)


def same_run(one, other):
    chex.assert_trees_all_equal(bits(one.params), bits(other.params))
    chex.assert_trees_all_equal(bits(one.state), bits(other.state))
    chex.assert_trees_all_equal(one.history, other.history)


@contextlib.contextmanager
def compilations():
    """The names of the programs that are compiled inside."""
    names = []

    class Listener(logging.Handler):
        def emit(self, record):
            found = re.match(r"Finished XLA compilation of (\S+)", record.getMessage())
            names.extend(found.groups() if found else [])

    logger, listener = logging.getLogger("jax._src.dispatch"), Listener()
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        yield names
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]
