"""Every layer and every combinator, alone and nested, each with the axes that it acts on."""

import contextlib
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import says

import fnn

key = jax.random.key
quick = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiles in half


def inputs(shape, *leading, seed=0):
    """Normal float32 numbers of leading and own axes; a dict of shapes gives a dict of them."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(
        lambda own: jnp.asarray(draw.normal(size=(*leading, *own)), jnp.float32),
        shape,
        is_leaf=lambda own: isinstance(own, tuple),
    )


def described(x):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), x)


def parameters(network, x, seed=0):
    """A tree as init gives it for inputs like x, of normal numbers: no bias is zero; no variance is negative."""
    shapes, draw = jax.eval_shape(network.init, key(0), x), np.random.default_rng(seed)

    def numbers(path, leaf):
        value = draw.normal(size=leaf.shape)
        return jnp.asarray(abs(value) if getattr(path[-1], "key", "") == "variance" else value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(numbers, shapes)


def weighed(y):
    """One number that every number of y moves."""
    return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(y))


def output_and_slopes(forward, params, x, delta):
    """y, and the derivatives of Σ δ · y with respect to parameters and input, in one program."""

    @quick
    def run(params, x, delta):
        y, pull = jax.vjp(forward, params, x)
        return y, *pull(delta)

    return run(params, x, delta)


def sizes(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@contextlib.contextmanager
def refused(*pieces, path=None, kind=(TypeError, ValueError)):
    """An error that teaches: all pieces stand in it, the layer's path in front, no memory address."""
    before = "" if path is None else re.escape(path + ": ")
    with pytest.raises(kind, match="(?s)^" + before + says(*pieces).removeprefix("(?s)")) as caught:
        yield
    assert " at 0x" not in str(caught.value)
    if path is not None:
        assert isinstance(caught.value, fnn.LayerError) and " › ".join(caught.value.path) == path


def each_is_refused(table):
    """The test that every mistake of a table, (what is done, the error, pieces of its message), is told so."""

    @pytest.mark.parametrize("wrong", table)
    def test(wrong):
        do, error, *pieces = table[wrong]
        with refused(*pieces, kind=error):
            do()

    return test


# A layer with statistics, as a user writes one ----------------------------------------------------


def centre_init(key, x):
    return {"offset": jnp.zeros(x.shape[-1]), "statistics": {"mean": jnp.zeros(x.shape[-1])}}


def centre_forward(params, x):
    return x - jax.lax.stop_gradient(params["statistics"]["mean"]) + params["offset"]


def centre_forward_train(params, x, key):
    mean = x.reshape(-1, x.shape[-1]).mean(0)
    moved = 0.5 * params["statistics"]["mean"] + 0.5 * mean
    return x - mean + params["offset"], {**params, "statistics": {"mean": moved}}


CENTRE = fnn.layer(centre_init, centre_forward, centre_forward_train, name="centre")


# Every layer --------------------------------------------------------------------------------------


def tied(net, x):
    return net.body(net.body(net.embed(x))) @ net.embed.params["weight"].T


def crossed(net, x):
    return net.left(x["a"]) * net.right(x["b"]) + net.left(x["b"])


def twice(net, x):
    return net.inner(net.inner(x))


def joined(pair):
    return jnp.concatenate(pair, axis=-1)


def as_ids(x):
    return (jnp.abs(7 * x) % 5).astype(jnp.int32)


def block():
    return fnn.serial(fnn.dense(4), jnp.tanh, fnn.dropout(0.5), CENTRE)


def nested():
    deep = fnn.residual(fnn.repeat(2, fnn.wire(twice, inner=block())))
    sides = fnn.parallel(fnn.freeze(fnn.dense(2)), fnn.precision(fnn.dense(2), jnp.bfloat16))
    return fnn.serial(fnn.dense(4), deep, sides, joined, fnn.dense(1))


def with_mask(x):
    """The numbers of "mask" as booleans, and the first step always seen."""
    return {**x, "mask": (x["mask"] > 0).at[..., 0].set(True)}


def steps_of(given):
    return given["x"]


def attend(**options):
    return lambda: fnn.serial(with_mask, fnn.attention(6, heads=2, **options))


LAYERS = {  # how it is built, the axes of one example
    "plain function": (lambda: fnn.serial(jnp.tanh), (4,)),
    "dense": (lambda: fnn.dense(3), (4,)),
    "flatten": (lambda: fnn.flatten(2), (2, 3)),
    "dropout": (lambda: fnn.dropout(0.5), (4,)),
    "batch_norm": (fnn.batch_norm, (4,)),
    "batch_norm of images": (fnn.batch_norm, (2, 3, 4)),
    "layer_norm": (fnn.layer_norm, (4,)),
    "rms_norm": (fnn.rms_norm, (4,)),
    "group_norm": (lambda: fnn.group_norm(2, axes=3), (2, 3, 4)),
    "embedding": (lambda: fnn.serial(as_ids, fnn.embedding(5, 3)), (4,)),
    "prelu": (fnn.prelu, (4,)),
    "prelu per unit": (lambda: fnn.prelu(per_unit=True), (2, 4)),
    "swish": (fnn.swish, (4,)),
    "swish per unit": (lambda: fnn.swish(per_unit=True), (2, 4)),
    "mixture": (lambda: fnn.mixture(jnp.tanh, jax.nn.relu), (4,)),
    "mixture per unit": (lambda: fnn.mixture(jnp.tanh, jnp.sin, per_unit=True), (2, 4)),
    "conv": (lambda: fnn.conv(3, (3, 3), stride=2), (4, 5, 2)),
    "conv of sequences": (lambda: fnn.conv(4, (3,), dilation=2, groups=2), (6, 2)),
    "conv_transpose": (lambda: fnn.conv_transpose(3, (3, 2), stride=2), (2, 3, 2)),
    "max_pool": (lambda: fnn.max_pool((2, 2)), (4, 5, 2)),
    "avg_pool": (lambda: fnn.avg_pool((2, 2), 1, "SAME"), (4, 5, 2)),
    "global_avg_pool": (lambda: fnn.global_avg_pool(2), (4, 5, 2)),
    "rnn": (lambda: fnn.rnn(3), (5, 4)),
    "gru": (lambda: fnn.gru(3), (5, 4)),
    "lstm": (lambda: fnn.lstm(3), (5, 4)),
    "gru, last": (lambda: fnn.gru(3, last=True), (5, 4)),
    "lstm, both ways": (lambda: fnn.lstm(3, bidirectional=True), (5, 4)),
    "rnn of masked steps": (lambda: fnn.rnn(3, reverse=True), {"x": (5, 4), "mask": (5,)}),
    "attention to steps before": (lambda: fnn.attention(8, heads=2, causal=True, rotary=10_000.0), (5, 4)),
    "attention to a context": (attend(), {"x": (5, 4), "context": (3, 2), "mask": (3,)}),
    "attention by pairs": (attend(dropout=0.5), {"x": (5, 4), "mask": (5, 5)}),
    "places": (lambda: fnn.serial(fnn.positional_encoding(), fnn.positional_embedding(7)), (5, 3)),
    "transformer_block of masked steps": (
        lambda: fnn.serial(with_mask, fnn.transformer_block(4, 2, dropout=0.2), steps_of),
        {"x": (5, 4), "mask": (5,)},
    ),
    "statistics": (lambda: CENTRE, (4,)),
    "serial": (lambda: fnn.serial(fnn.flatten(2), fnn.dense(5), jnp.tanh, fnn.dropout(0.5)), (2, 3)),
    "residual": (lambda: fnn.residual(fnn.dense(4), jnp.tanh), (4,)),
    "parallel": (lambda: fnn.parallel(fnn.dense(2), block(), jnp.tanh), (4,)),
    "parallel by key": (lambda: fnn.parallel(a=fnn.dense(2), b=fnn.flatten(2)), {"a": (4,), "b": (2, 3)}),
    "repeat": (lambda: fnn.repeat(3, block()), (4,)),
    "freeze": (lambda: fnn.freeze(block()), (4,)),
    "precision": (lambda: fnn.precision(block(), jnp.bfloat16), (4,)),
    "wire": (lambda: fnn.wire(tied, embed=fnn.dense(3), body=fnn.dense(3)), (4,)),
    "wire by key": (lambda: fnn.wire(crossed, left=fnn.dense(3), right=fnn.dense(3)), {"a": (4,), "b": (4,)}),
    "nested": (nested, (4,)),
}
every_layer = pytest.mark.parametrize(("build", "shape"), LAYERS.values(), ids=LAYERS)
