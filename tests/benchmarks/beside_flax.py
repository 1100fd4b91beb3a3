"""Each layer alone, beside the same of Flax linen: forward and derivative with respect to parameters and input.

    python -m tests.benchmarks each

Both are one call of a compiled program, of random numbers of the same shapes; nothing is in a loop.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import fnn

WIDE, STEPS, IMAGES, IDS = (256, 128), (64, 64, 64), (32, 28, 28, 16), (64, 64)
CAUSAL = np.tri(64, dtype=bool)


def pairs():
    """Of each layer fnn's, Flax's as a function of its module, and the shape of the input."""
    from flax import linen as nn

    window = (3, 3)
    return {
        "dense": (fnn.dense(128), nn.Dense(128), WIDE),
        "layer_norm": (fnn.layer_norm(), nn.LayerNorm(epsilon=1e-5), WIDE),
        "rms_norm": (fnn.rms_norm(), nn.RMSNorm(), WIDE),
        "group_norm": (fnn.group_norm(4, axes=3), nn.GroupNorm(4, epsilon=1e-5), IMAGES),
        "batch_norm": (fnn.batch_norm(), nn.BatchNorm(use_running_average=True, epsilon=1e-5), IMAGES),
        "embedding": (fnn.embedding(1000, 64), nn.Embed(1000, 64), IDS),
        "prelu": (fnn.prelu(), nn.PReLU(), WIDE),
        "conv": (fnn.conv(32, window), nn.Conv(32, window), IMAGES),
        "conv_transpose": (
            fnn.conv_transpose(16, window, stride=2),
            nn.ConvTranspose(16, window, strides=(2, 2), transpose_kernel=True),
            IMAGES,
        ),
        "max_pool": (fnn.max_pool((2, 2)), functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2)), IMAGES),
        "avg_pool": (fnn.avg_pool((2, 2)), functools.partial(nn.avg_pool, window_shape=(2, 2), strides=(2, 2)), IMAGES),
        "rnn": (fnn.rnn(64), nn.RNN(nn.SimpleCell(64)), STEPS),
        "gru": (fnn.gru(64), nn.RNN(nn.GRUCell(64)), STEPS),
        "lstm": (fnn.lstm(64), nn.RNN(nn.OptimizedLSTMCell(64)), STEPS),
        "attention": (
            fnn.attention(64, heads=4, causal=True),
            functools.partial(nn.MultiHeadAttention, num_heads=4, qkv_features=64),
            STEPS,
        ),
    }  # fmt: skip


def slopes(forward, params, x):
    """The derivative of Σ y², compiled, and what it is called with."""
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    total = lambda params, x: (forward(params, x) ** 2).sum()
    compiled = jax.jit(jax.value_and_grad(total, (0, 1) if is_float else 0))
    return lambda: jax.block_until_ready(compiled(params, x))


def runs(name):
    """The two programs of a layer."""
    layer, theirs, shape = pairs()[name]
    draw = np.random.default_rng(0)
    x = jnp.asarray(
        draw.integers(0, 1000, shape) if shape is IDS else draw.normal(size=shape),
        jnp.int32 if shape is IDS else jnp.float32,
    )
    own = slopes(layer.forward, layer.init(jax.random.key(0), x), x)
    if name == "attention":
        module = theirs()
        apply = lambda variables, x: module.apply(variables, x, mask=CAUSAL)
        return {"fnn": own, "Flax": slopes(apply, module.init(jax.random.key(0), x), x)}
    if isinstance(theirs, functools.partial):
        return {"fnn": own, "Flax": slopes(lambda params, x: theirs(x), {}, x)}
    return {"fnn": own, "Flax": slopes(theirs.apply, theirs.init(jax.random.key(0), x), x)}
