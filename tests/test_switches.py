"""JAX's debugging switches change no number: whoever looks for a fault of their own finds none of fnn's."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = np.arange(20) % 3
KEYS = [jax.random.key(seed) for seed in range(2)]
COST, RULE = fnn.softmax_cross_entropy, fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam())
SWITCHES = {
    "debug_nans": functools.partial(jax.debug_nans, True),
    "debug_infs": functools.partial(jax.debug_infs, True),
    "disable_jit": jax.disable_jit,
    "debug_key_reuse": functools.partial(jax.debug_key_reuse, True),
    "checking_leaks": jax.checking_leaks,
    # On a GPU fit still reads its epochs.
    "transfer_guard": functools.partial(jax.transfer_guard, "disallow"),
    "rank_promotion": functools.partial(jax.numpy_rank_promotion, "raise"),
    "dtype_promotion": functools.partial(jax.numpy_dtype_promotion, "strict"),
}


def work():
    """A run with all that it may have, and what is done with it."""
    network = fnn.serial(fnn.dense(4), jnp.tanh, fnn.dense(3))
    fitted = fnn.fit(
        network, COST, RULE, X, Y, key=jax.random.clone(KEYS[0]), epochs=2, batch_size=8,
        validation=(X, Y), metrics={"accuracy": fnn.accuracy}, patience=2,
    )  # fmt: skip
    state = fitted.state
    measures = fnn.evaluate(network, fitted.params, X, Y, {"a": fnn.accuracy, "c": fnn.confusion_matrix})
    found = fnn.backprop(network, COST, fitted.params, X, Y)
    stepped, cost = fnn.step(network, COST, RULE, state, X, Y, jax.random.clone(KEYS[1]))
    begun = fnn.start(network, RULE, X, key=jax.random.clone(KEYS[1]))
    whole, mean = fnn.epoch(network, COST, RULE, begun, X, Y, batch_size=8)
    climbing = {"validation": (X, (Y + 1) % 3), "patience": 1}  # it ends before all epochs are made
    after, history = fnn.train(network, COST, RULE, state, X, Y, epochs=9, batch_size=8, **climbing)
    assert fnn.check_gradients(fnn.loss(network, COST), fitted.params, X, Y, entries=2).error < 0.02
    # explain computes operation by operation, and each number of Python in one is a transfer.
    if jax.config.jax_transfer_guard_host_to_device != "disallow":
        assert "∂c" in str(fnn.explain(network, COST, RULE, fitted.params, X, Y))
    return jax.tree.map(
        np.asarray,
        (
            fnn.predict(network, fitted.params, X), fitted.params, fitted.history, measures, found.grads,
            stepped.params, cost, whole.params, mean, after.params, after.best, history,
        ),
    )  # fmt: skip


plain = functools.cache(work)


# These trace or compile all again, for half a minute together; that layers leak nothing is tested with them too.
SLOW = ("checking_leaks", "disable_jit", "debug_infs", "rank_promotion", "dtype_promotion")
marks = dict.fromkeys(SLOW, pytest.mark.slow)


@pytest.mark.parametrize("switch", [pytest.param(name, marks=marks.get(name, ())) for name in SWITCHES])
def test_every_number_is_the_same_under_each_switch(switch):
    expected = plain()
    if switch == "checking_leaks":
        jax.clear_caches()  # it looks while a function is traced
    with SWITCHES[switch]():
        found = work()
    chex.assert_trees_all_close(found, expected, rtol=1e-5, atol=1e-6)
