"""Programs of functions that are gone are freed; those used last are kept. Loops keep little."""

import functools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.network.programs import compile_recent, scan

KEPT = 3


def counted():
    """A compiled function of a static number and an array, and how often it was traced."""
    traces = []

    def times(factor, x):
        traces.append(factor)
        return factor * x

    return compile_recent(static_argnums=(0,), kept=KEPT)(times), traces


def test_the_programs_used_last_are_kept_and_the_oldest_is_compiled_again():
    times, traces = counted()
    for factor in [*range(KEPT), 0, KEPT]:  # 0 is used again, so 1 is the oldest when one more comes
        assert times(factor, jnp.float32(2)) == 2 * factor
    assert traces == [*range(KEPT + 1)]
    assert [times(factor, jnp.float32(3)) for factor in (0, 2)] == [0, 6] and len(traces) == KEPT + 1
    assert times(1, jnp.float32(3)) == 3
    assert traces[-1] == 1 and len(traces) == KEPT + 2


def test_it_is_what_jit_makes_of_the_function():
    times, traces = counted()
    assert jax.vmap(lambda x: times(3, x))(jnp.arange(3.0)).tolist() == [0, 3, 6]
    assert jax.grad(lambda x: times(3, x))(1.0) == 3
    assert jax.jit(lambda x: times(3, x))(jnp.ones(2)).tolist() == [3, 3]
    assert times.__name__ == "times"
    before = len(traces)
    assert [times(3, x).sum() for x in (jnp.ones(5), 2 * jnp.ones(5))] == [15, 30]
    assert len(traces) == before + 1


def test_twenty_metrics_are_compiled_once_however_often_they_are_measured():
    x, y, traces = np.ones((4, 2), np.float32), np.zeros(4, int), []

    def metric(number):
        def share(predictions, targets):
            traces.append(number)
            return (predictions.argmax(-1) == targets).mean() + number

        return share

    metrics = {str(number): metric(number) for number in range(20)}
    network = fnn.serial(jnp.sin)
    first, before = fnn.evaluate(network, ((),), x, y, metrics), len(traces)
    assert fnn.evaluate(network, ((),), x, y, metrics) == first and len(traces) == before


FITS = """
import ctypes, gc, jax, jax.numpy as jnp, fnn

trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda padding: 0)  # give back what is free

def memory():
    gc.collect()
    trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6  # MB

x, found = jnp.ones((64, 4)), {}
for number in range(1, 49):
    network = fnn.serial(fnn.dense(8), lambda z: jnp.tanh(z), fnn.dense(1))  # new each time
    fnn.fit(network, fnn.mse, fnn.adam(), x, x[:, :1], key=jax.random.key(0), epochs=2)
    found[number] = memory()
print(found[48] - found[28])  # the 16 programs that are kept are long there
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_twenty_fits_of_new_networks_take_less_than_a_megabyte_each():
    done = subprocess.run([sys.executable, "-c", FITS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 20  # 11 MB each where every program is kept


# --- what a loop keeps for its derivative


def turn(x, weight):
    """A product, and a polynomial and an exp of it."""
    y = x @ weight
    y = (y * y + 1) * (y - 3) * jnp.exp(y)
    return x + y, y.sum()


def loss(loop, x, weights):
    """A number that depends on all that a loop returns."""
    x, sums = loop(turn, x, weights)
    return (x**2).sum() + (sums**3).sum()


def kept(loop, x, weights):
    """How many arrays the derivative needs of each turn, beside the weights."""
    pull = jax.eval_shape(lambda *args: jax.vjp(functools.partial(loss, loop), *args)[1], x, weights)
    return [leaf.shape for leaf in jax.tree.leaves(pull)].count((7, 3, 4))


def test_a_loop_computes_cheap_numbers_again_instead_of_keeping_them():
    x, weights = jnp.ones((3, 4)), jnp.ones((7, 4, 4))
    assert kept(scan, x, weights) == 3  # x, its product with the weights, and the exp of that
    assert kept(jax.lax.scan, x, weights) > 4


def test_the_derivative_of_a_loop_is_that_of_the_plain_one(x64):
    with x64():
        draw = np.random.default_rng(0)
        x, weights = draw.normal(size=(3, 4)), draw.normal(size=(7, 4, 4)) / 9
        slopes = jax.jit(jax.value_and_grad(loss, (1, 2)), static_argnums=0)
        chex.assert_trees_all_close(
            slopes(scan, x, weights), slopes(jax.lax.scan, x, weights), rtol=1e-12, atol=1e-12
        )
