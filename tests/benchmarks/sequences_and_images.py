"""Convolutions, a GRU and a transformer: fnn.fit beside loops of PyTorch and Flax NNX on the same rows.

    python -m tests.benchmarks layers

PyTorch computes in a process of its own: beside JAX in one process, their threads fight for the cores.
"""

import subprocess
import sys
import time

import jax
import numpy as np

import fnn

BATCH, STEPS, RATE = 64, 20, 1e-3
FEW, WIDTH, TOKENS, KINDS = 16, 128, 128, 64  # rows, features and steps of the transformer, and different ids


def images():
    """Rows of 28 × 28 pixels, and their classes."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(BATCH * STEPS, 28, 28, 1)).astype("float32")
    return rows, draw.integers(0, 10, len(rows)).astype("int32")


def sequences():
    """Rows of 64 steps with 64 numbers, and their classes."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(BATCH * STEPS, 64, 64)).astype("float32")
    return rows, draw.integers(0, 10, len(rows)).astype("int32")


def tokens():
    """Rows of 128 ids, and the ids that follow them."""
    ids = np.random.default_rng(0).integers(0, KINDS, (FEW * STEPS, TOKENS + 1)).astype("int32")
    return ids[:, :-1], ids[:, 1:]


DATA = {
    "two 3×3 convs and pools, 28×28": images,
    "GRU of 64 units, 64 steps": sequences,
    "transformer of 4 blocks, width 128, 128 tokens": tokens,
}


def batch_of(name):
    """Rows in a batch."""
    return FEW if DATA[name] is tokens else BATCH


def networks():
    """The networks, by the names of their data."""
    convolutions = fnn.serial(
        *(fnn.conv(16, (3, 3)), jax.nn.relu, fnn.max_pool((2, 2))),
        *(fnn.conv(32, (3, 3)), jax.nn.relu, fnn.max_pool((2, 2))),
        *(fnn.flatten(3), fnn.dense(10)),
    )
    transformer = fnn.serial(
        *(fnn.embedding(KINDS, WIDTH), fnn.positional_embedding(TOKENS)),
        *(
            fnn.repeat(4, fnn.transformer_block(WIDTH, heads=4, causal=True)),
            fnn.layer_norm(),
            fnn.dense(KINDS),
        ),
    )
    reader = fnn.serial(fnn.gru(64, last=True), fnn.dense(10))
    return dict(zip(DATA, [convolutions, reader, transformer], strict=True))


def fnn_fit(name):
    """fnn.fit, with its shuffling."""
    (x, y), network = DATA[name](), networks()[name]
    rule, given = fnn.adam(RATE), {"epochs": 1, "batch_size": batch_of(name)}
    cost = fnn.softmax_cross_entropy
    return lambda: fnn.fit(network, cost, rule, x, y, key=jax.random.key(0), **given)


def flax_nnx(name):
    """An nnx.Module and nnx.Optimizer: nnx.jit of a step, called in a Python loop, as Flax documents it."""
    import optax
    from flax import nnx

    x, y = DATA[name]()

    class Convolutions(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
            self.second = nnx.Conv(16, 32, (3, 3), rngs=rngs)
            self.last = nnx.Linear(32 * 49, 10, rngs=rngs)

        def __call__(self, x):
            for part in (self.first, self.second):
                x = nnx.max_pool(nnx.relu(part(x)), (2, 2), (2, 2))
            return self.last(x.reshape(len(x), -1))

    class Reader(nnx.Module):
        def __init__(self, rngs):
            self.reader = nnx.RNN(nnx.GRUCell(64, 64, rngs=rngs))
            self.last = nnx.Linear(64, 10, rngs=rngs)

        def __call__(self, x):
            return self.last(self.reader(x)[:, -1])

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.before, self.between = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(4, WIDTH, decode=False, rngs=rngs)
            self.hidden, self.out = (
                nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs),
                nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs),
            )

        def __call__(self, x, mask):
            x = x + self.attention(self.before(x), mask=mask)
            return x + self.out(nnx.gelu(self.hidden(self.between(x))))

    class Transformer(nnx.Module):
        def __init__(self, rngs):
            self.table, self.places = nnx.Embed(KINDS, WIDTH, rngs=rngs), nnx.Embed(TOKENS, WIDTH, rngs=rngs)
            self.blocks = nnx.List([Block(rngs) for _ in range(4)])
            self.norm, self.last = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.Linear(WIDTH, KINDS, rngs=rngs)

        def __call__(self, ids):
            x, mask = self.table(ids) + self.places(np.arange(TOKENS)), nnx.make_causal_mask(ids)
            for block in self.blocks:
                x = block(x, mask)
            return self.last(self.norm(x))

    @nnx.jit
    def step(model, optimizer, x, y):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()

        optimizer.update(model, nnx.grad(loss)(model))

    model = {4: Convolutions, 3: Reader, 2: Transformer}[x.ndim](nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    def run():
        order = np.random.default_rng(0).permutation(len(x)).reshape(STEPS, -1)
        for rows in order:
            step(model, optimizer, x[rows], y[rows])
        jax.block_until_ready(jax.tree.leaves(nnx.state(model)))

    return run


TORCH = """
import sys, time, torch, numpy as np
from torch import nn
name, repeats = sys.argv[1], int(sys.argv[2])
draw = np.random.default_rng(0)
if "GRU" in name:
    x = torch.tensor(draw.normal(size=({rows}, 64, 64)), dtype=torch.float32)
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.reader, self.last = nn.GRU(64, 64, batch_first=True), nn.Linear(64, 10)
        def forward(self, x):
            return self.last(self.reader(x)[0][:, -1])
    model = Reader()
elif "transformer" in name:
    ids = torch.tensor(draw.integers(0, {kinds}, ({few_rows}, {tokens} + 1)))
    x, y = ids[:, :-1], ids[:, 1:]
    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.places = nn.Embedding({kinds}, {width}), nn.Embedding({tokens}, {width})
            self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(
                {width}, 4, 4 * {width}, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
                for _ in range(4))
            self.norm, self.last = nn.LayerNorm({width}), nn.Linear({width}, {kinds})
            self.mask = nn.Transformer.generate_square_subsequent_mask({tokens})
        def forward(self, ids):
            x = self.table(ids) + self.places(torch.arange({tokens}))
            for block in self.blocks:
                x = block(x, src_mask=self.mask, is_causal=True)
            return self.last(self.norm(x)).flatten(0, 1)
    model = Transformer()
else:
    x = torch.tensor(draw.normal(size=({rows}, 1, 28, 28)), dtype=torch.float32)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 49, 10))
if "transformer" not in name:
    y = torch.tensor(draw.integers(0, 10, len(x)))
optimizer = torch.optim.Adam(model.parameters(), lr={rate})
for turn in range(repeats + 1):
    clock = time.perf_counter()
    for rows in torch.randperm(len(x)).reshape({steps}, -1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows].flatten()).backward()
        optimizer.step()
    if turn:
        print(time.perf_counter() - clock)
"""


def pytorch(name, repeats):
    """Seconds of an epoch, `repeats` times, in a process of its own."""
    numbers = {"rows": BATCH * STEPS, "rate": RATE, "steps": STEPS, "few_rows": FEW * STEPS}
    numbers |= {"width": WIDTH, "tokens": TOKENS, "kinds": KINDS}
    program = TORCH.format(**numbers)
    command = [sys.executable, "-c", program, name, str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return list(map(float, done.stdout.split()))


def times(name, repeats):
    """Seconds of an epoch of each library, in turns: fnn and Flax, and PyTorch before and after."""
    runs = {"fnn": fnn_fit(name), "Flax NNX + Optax": flax_nnx(name)}
    for run in runs.values():
        run()
    found = {"PyTorch": pytorch(name, repeats)} | {each: [] for each in runs}
    for _ in range(repeats):
        for each, run in runs.items():
            clock = time.perf_counter()
            run()
            found[each].append(time.perf_counter() - clock)
    found["PyTorch"] = sorted(found["PyTorch"] + pytorch(name, repeats))[
        repeats // 2 : repeats // 2 + repeats
    ]
    return {each: found[each] for each in ("fnn", "PyTorch", "Flax NNX + Optax")}
