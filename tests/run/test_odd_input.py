"""What looks odd and must work: each gives the same parameters, bit for bit, as the plain form of it."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import bits

import fnn

key = jax.random.key
rows = np.random.default_rng(0)
X = rows.normal(size=(41, 4)).astype(np.float32)  # batches of 8 leave one row over
Y = np.arange(41) % 3
WHOLE = rows.integers(0, 9, (41, 4))
NETWORK = fnn.serial(fnn.dense(5), jax.nn.relu, fnn.dropout(0.2), fnn.dense(3))
KEYS = "a", "b"


def added(parts, x):
    return parts.a(x["a"]) + parts.b(x["b"])


BRANCHED = fnn.serial(fnn.wire(added, a=fnn.dense(3), b=fnn.dense(3)), jnp.tanh)


def fit(x=X, y=Y, network=NETWORK, rate=0.01, **options):
    options = {"key": key(0), "epochs": 2, "batch_size": 8} | options
    return fnn.fit(network, fnn.softmax_cross_entropy, fnn.adam(rate), x, y, **options)


def pandas():
    return pytest.importorskip("pandas")


def frame(x, index=None, **columns):
    return pandas().DataFrame(x, columns=list("abcd"), index=index).assign(**columns)


def extended():
    """A frame of pandas' own types, Int64, Float32 and boolean, none with a gap."""
    table = frame(WHOLE)
    return table.astype({"a": "Int64", "b": "Float32", "c": "Int8", "d": "int16"}).assign(e=True)


def memory_map(folder):
    np.save(folder / "x.npy", X)
    return np.load(folder / "x.npy", mmap_mode="r")


def read_only():
    x = X.copy()
    x.flags.writeable = False
    return x


def torch_tensor():
    return pytest.importorskip("torch").from_numpy(X.copy())


def branches(convert):
    return {name: convert(X[:, 2 * i : 2 * i + 2]) for i, name in enumerate(KEYS)}


# Each: how the odd form is fitted, and the plain form of it -------------------------------------------

PLAIN = lambda: fit()
WHOLE_PLAIN = lambda: fit(WHOLE.astype(np.float32))
ODD = {
    "float64": (lambda: fit(X.astype(np.float64)), PLAIN),
    "float16": (lambda: fit(X.astype(np.float16)), lambda: fit(jnp.asarray(X, jnp.float16))),
    "big-endian": (lambda: fit(X.astype(">f4"), Y.astype(">i8")), PLAIN),
    "integers": (lambda: fit(WHOLE), WHOLE_PLAIN),
    "bytes as numbers": (lambda: fit(WHOLE.astype(np.uint8)), WHOLE_PLAIN),
    "booleans": (lambda: fit(WHOLE > 4), lambda: fit((WHOLE > 4).astype(np.float32))),
    "a device's arrays": (lambda: fit(jnp.asarray(X), jnp.asarray(Y)), PLAIN),
    "nested lists": (lambda: fit(X.tolist(), Y.tolist()), PLAIN),
    "a list of rows": (lambda: fit(list(X)), PLAIN),
    "a list of JAX arrays": (lambda: fit([jnp.asarray(row) for row in X]), PLAIN),
    "labels in a list": (lambda: fit(y=Y.tolist()), PLAIN),
    "labels of few bits": (lambda: fit(y=Y.astype(np.uint8)), PLAIN),
    "a frame": (lambda: fit(frame(X), pandas().Series(Y)), PLAIN),
    "a frame sorted elsewhere": (lambda: fit(frame(X, index=range(100, 59, -1)), pandas().Series(Y, index=range(41)[::-1])), PLAIN),
    "a frame of integers and floats": (lambda: fit(frame(WHOLE).astype({"a": "float64"})), WHOLE_PLAIN),
    "a frame with booleans": (lambda: fit(frame(WHOLE, d=WHOLE[:, 3] > 4)), lambda: fit(np.c_[WHOLE[:, :3], WHOLE[:, 3] > 4].astype(np.float32))),
    "a frame of pandas' own types": (lambda: fit(extended()), lambda: fit(np.c_[WHOLE, np.ones(41)].astype(np.float32))),
    "labels of pandas' own type": (lambda: fit(y=pandas().Series(Y, dtype="Int64")), PLAIN),
    "a frame with one name twice": (lambda: fit(frame(X).set_axis(["a", "a", "b", "b"], axis=1)), PLAIN),
    "a masked array without masked entries": (lambda: fit(np.ma.masked_array(X, np.zeros((41, 4), bool))), PLAIN),
    "a matrix": (lambda: fit(np.asarray(X).view(np.matrix)), PLAIN),
    "read-only": (lambda: fit(read_only()), PLAIN),
    "non-contiguous": (lambda: fit(np.repeat(X, 2, axis=1)[:, ::2], np.repeat(Y, 2)[::2]), PLAIN),
    "reversed twice": (lambda: fit(X[::-1].copy()[::-1], Y[::-1].copy()[::-1]), PLAIN),
    "Fortran order": (lambda: fit(np.asfortranarray(X)), PLAIN),
    "broadcast": (lambda: fit(np.broadcast_to(X[:1], (41, 4))), lambda: fit(np.repeat(X[:1], 41, axis=0))),
    "a torch tensor": (lambda: fit(torch_tensor()), PLAIN),
    "one row": (lambda: fit(X[:1], Y[:1]), lambda: fit(X[:1], Y[:1], batch_size=1)),
    "a batch larger than the data": (lambda: fit(batch_size=1000), lambda: fit(batch_size=41)),
    "more precise floats": (lambda: fit(X.astype(np.longdouble)), PLAIN),
    "numbers of jax.numpy as options": (lambda: fit(batch_size=jnp.array(8), epochs=jnp.array(2)), PLAIN),
    "NumPy's numbers as options": (lambda: fit(batch_size=np.int64(8), epochs=np.int32(2)), PLAIN),
    "a rate of jax.numpy": (lambda: fit(rate=jnp.asarray(0.01)), PLAIN),
    "a rate of NumPy": (lambda: fit(rate=np.float64(0.01)), PLAIN),
    "an old-style key": (lambda: fit(key=jax.random.PRNGKey(5)), lambda: fit(key=key(5))),
    "weights as a list of integers": (lambda: fit(sample_weight=[1, 2, 0] * 13 + [1, 1]), lambda: fit(sample_weight=np.array([1, 2, 0] * 13 + [1, 1], np.float32))),
    "validation of another form": (lambda: fit(validation=(X[:9].tolist(), Y[:9].tolist())), lambda: fit(validation=(X[:9], Y[:9]))),
    "validation of one row": (lambda: fit(validation=(frame(X).head(1), Y[:1])), lambda: fit(validation=(X[:1], Y[:1]))),
    "a dict of lists": (lambda: fit(branches(np.ndarray.tolist), network=BRANCHED), lambda: fit(branches(np.asarray), network=BRANCHED)),
    "parameters of NumPy": (lambda: fit(params=jax.tree.map(np.asarray, PARAMS)), lambda: fit(params=PARAMS)),
}  # fmt: skip
PARAMS = NETWORK.init(key(7), X)


@pytest.mark.parametrize("odd", ODD)
def test_what_looks_odd_works_and_gives_the_same_bits(odd):
    strange, plain = ODD[odd]
    one, other = strange(), plain()
    chex.assert_trees_all_equal(bits(one.params), bits(other.params))
    chex.assert_tree_all_finite(one.params)
    chex.assert_trees_all_equal(one.history, other.history)


def test_a_memory_map_works(tmp_path):
    chex.assert_trees_all_equal(fit(memory_map(tmp_path)).params, fit().params)


def test_rows_that_a_function_of_32_bits_closes_over_are_64_bits_wide_elsewhere(x64):
    parts = fnn.serial(fnn.dense(1)), fnn.mse, fnn.adam(0.01)
    plain = np.random.default_rng(1).normal(size=(41, 4))
    closed = plain.copy()
    remembers = jax.jit(lambda: jnp.asarray(closed).sum())
    remembers()

    def numbers(x):
        y, given = x[:, :1].copy(), {"key": key(0), "epochs": 2}
        run, best = fnn.fit(*parts, x, y, **given), fnn.sweep(*parts, x, y, **given).best
        state, _ = fnn.train(*parts, fnn.start(*parts[::2], x, key=key(0)), x, y, epochs=2, batch_size=32)
        measured = fnn.evaluate(parts[0], run.params, x, y, {"mse": fnn.mse})
        return run.params, run.history, best.params, state.params, measured

    with x64():
        chex.assert_trees_all_equal(numbers(closed), numbers(plain))


def test_a_batch_of_one_at_the_ragged_end_is_trained_on():
    assert len(X) % 8 == 1
    whole, shorter = fit(batch_size=8), fit(X[:40], Y[:40], batch_size=8)
    assert int(whole.state.optimizer.step) == int(shorter.state.optimizer.step) + 2


def test_a_penalty_and_a_metric_may_be_constant():
    held = (X[:9], Y[:9])
    one = fit(validation=held, penalty=lambda params: 0.0, metrics={"rows": lambda p, t: t.shape[0]})
    chex.assert_trees_all_equal(one.params, fit(validation=held).params)
    assert one.history["validation_rows"].tolist() == [9, 9]


def test_different_data_gives_different_bits():
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(fit().params, fit(-X).params)


def test_a_random_key_may_stand_among_the_parameters():
    begin = lambda key, x: {"frozen": {"key": key}}
    forward = lambda params, x: x + jax.random.normal(params["frozen"]["key"], x.shape)
    network = fnn.serial(fnn.dense(3), fnn.layer(begin, forward, name="noisy"))
    with jax.debug_key_reuse(False):  # the same noise each time is meant
        params = network.init(key(3), X)
        assert fit(network=network, params=params).stopped == "epochs"
        assert fnn.predict(network, params, X).shape == (41, 3)
