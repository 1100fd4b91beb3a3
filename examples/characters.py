"""What comes next? A small transformer reads the help pages of Python, one character after the other.

    python examples/characters.py

The text comes with Python. The network is the decoder of Vaswani et al. (2017), with norms first and rotary
positions (Su et al. 2021). How well it foresees the text is told in bits per character (Shannon 1951,
"Prediction and entropy of printed English"). The learning curve, and what one head looks at, go to
`characters.png`.
"""

import operator
import re
from pydoc_data.topics import topics

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt

import fnn

# ── The text ──────────────────────────────────────────────────────────────────────────────────────
# Help pages repeat each other's paragraphs. Each is kept once: otherwise the end of the text would hold much
# that was learned by heart. The last tenth is held out, and decides nothing.

paragraphs = "\n\n".join(topics[name] for name in sorted(topics)).split("\n\n")
text = "\n\n".join(dict.fromkeys(paragraphs))[:250_000]
characters, ids = np.unique(list(text), return_inverse=True)
ids, count, cut = ids.astype(np.int32), len(characters), len(text) * 9 // 10
print(f"{len(text):,} characters, {count} different ones; the last {len(text) - cut:,} are held out\n")

# The targets of a window are its characters, moved by one: each place asks for the next. Windows to learn
# from overlap by half, so that what comes first in one has something before it in another.

LENGTH = 256


def windows(ids, length, stride):
    each = np.lib.stride_tricks.sliding_window_view(ids, length + 1)[::stride]
    return each[:, :-1], each[:, 1:]


x, y = windows(ids[:cut], LENGTH, LENGTH // 2)
x_held, y_held = windows(ids[cut:], LENGTH, LENGTH)

# ── A floor: one character back ───────────────────────────────────────────────────────────────────
# A bigram model knows how often each character follows each, with one added to every count: what was never
# seen is not impossible. As logits by id it is an embedding, measured and sampled as any other network.


def bits(network, params):
    metrics = {"cost": fnn.softmax_cross_entropy}  # in natural logarithms
    return fnn.evaluate(network, params, x_held, y_held, metrics, batch_size=64)["cost"] / np.log(2)


pairs = np.ones((count, count), np.float32)
np.add.at(pairs, (ids[: cut - 1], ids[1:cut]), 1)
table, bigram = fnn.embedding(count, count), {"table": np.log(pairs)}
floor = bits(table, bigram)

# ── The network ───────────────────────────────────────────────────────────────────────────────────
# Causal attention sees what came before and nothing later, so a window of 256 asks 256 questions at once.
# Width and rate are first guesses; text and epochs are what a minute on two cores allows.

HEADS, BLOCKS, EPOCHS = 4, 2, 4
block = fnn.transformer_block(64, HEADS, causal=True, rotary=10_000)
network = fnn.serial(fnn.embedding(count, 64), fnn.repeat(BLOCKS, block), fnn.layer_norm(), fnn.dense(count))
print(fnn.summary(network, x[:8]))
key, drawn_key = jax.random.split(jax.random.key(0))
rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.003))
fitted = fnn.fit(
    network, fnn.softmax_cross_entropy, rule, x, y, key=key, epochs=EPOCHS, batch_size=8, progress=True
)
reached = bits(network, fitted.params)
print(f"\nheld-out bits per character   all characters alike       {np.log2(count):.2f}")
print(f"{'':30s}by the last one: bigram    {floor:.2f}")
print(f"{'':30s}by all before: transformer {reached:.2f}")
assert reached < floor - 0.7

# ── More to go by, and too much ───────────────────────────────────────────────────────────────────
# The first characters of a window have little before them, and cost more bits. Beyond the length of the
# windows the network meets distances that it has never seen, and fails: longer texts want longer windows.

longer, following = windows(ids[cut:], 2 * LENGTH, LENGTH)
shares = jax.nn.log_softmax(fnn.predict(network, fitted.params, longer, batch_size=64))
by_place = -np.take_along_axis(np.asarray(shares), following[..., None], -1)[..., 0].mean(0) / np.log(2)
early, late, beyond = by_place[:8].mean(), by_place[128:LENGTH].mean(), by_place[-128:].mean()
print(f"\nplaces 1 to 8: {early:.2f} bits, 129 to 256: {late:.2f}, 385 to 512: {beyond:.2f}")
assert late < early - 0.3 and late < beyond - 0.3

# ── It writes ─────────────────────────────────────────────────────────────────────────────────────
# Each character is drawn, and becomes the next input. The keys and values of those before are kept, so that
# a step costs one step. Prompt and text together are one window long.

PROMPT = "A function "
known = set(text[:cut].split())


def write(network, params):
    """One of eight texts, and which share of all their words stands in the text to learn from."""
    prompts = np.tile(np.searchsorted(characters, list(PROMPT)), (8, 1))
    steps, own_key = LENGTH - len(PROMPT), jax.random.clone(drawn_key)
    drawn = fnn.generate(network, params, prompts, steps, key=own_key, temperature=0.8)
    texts = ["".join(each) for each in characters[np.asarray(drawn)]]
    words = [word for each in texts for word in each.split()[:-1]]  # the last may be cut off
    return PROMPT + texts[0], np.mean([word in known for word in words])


(by_bigram, few), (written, many) = write(table, bigram), write(network, fitted.params)
print(f"\nthe bigram model, {few:.0%} of its words are known:\n\n{by_bigram}")
print(f"\nthe transformer, {many:.0%}:\n\n{written}")
assert many > few + 0.2

# ── What a head looks at ──────────────────────────────────────────────────────────────────────────
# P = softmax(QKᵀ/√d) of each head by hand, for a line of the held-out text. Rotary positions take the halves
# of the d columns for real and imaginary parts. Each place turns them by its own angles, and QKᵀ, the real
# part of q · k̄, then depends on how far two places are apart, and not on where they stand.

line = re.search(r"[A-Z][a-z]+ [a-z ,]{30}", text[cut:]).group()
places, d = np.arange(len(line)), 64 // HEADS
turns = np.exp(1j * np.outer(places, 10_000.0 ** (-np.arange(d // 2) / (d // 2))))


def turned(params, rows):
    """Rows (T, 64) by dense(64), in heads of complex numbers that are turned: (heads, T, d/2)."""
    halves = np.asarray(fnn.dense(64).forward(params, rows)).reshape(len(line), HEADS, 2, d // 2)
    return np.moveaxis(halves[:, :, 0] + 1j * halves[:, :, 1], 1, 0) * turns


h, heads = fitted.params[0]["table"][np.searchsorted(characters, list(line))], []
for i in range(BLOCKS):
    own = jax.tree.map(operator.itemgetter(i), fitted.params[1])  # the blocks' parameters are one stack
    normed, attention = fnn.layer_norm().forward(own["norm"], h), own["attention"][0]
    q, k = turned(attention["query"], normed), turned(attention["key"], normed)
    scores = (q @ k.conj().swapaxes(1, 2)).real / np.sqrt(d)
    heads += list(np.asarray(jax.nn.softmax(scores, where=np.tri(len(line), dtype=bool))))
    h = block.forward(own, h)

# Nobody told the network of words. One head has found them: from a letter it looks at the blank before its
# word, more than distance explains. The first word has no blank, so letters count from the second word on.

is_blank = np.array(list(line)) == " "
blank = np.maximum.accumulate(np.where(is_blank, places, 0))
letters = np.flatnonzero(~is_blank & (blank > 0))
on_blank = [each[letters, blank[letters]].mean() for each in heads]
best = int(np.argmax(on_blank))
as_far = np.mean([np.diagonal(heads[best], -far).mean() for far in letters - blank[letters]])
title = f"head {best % HEADS + 1} of block {best // HEADS + 1}"
print(f"\n{title}: {on_blank[best]:.0%} on the blank before the word, {as_far:.0%} as far back from anywhere")
assert on_blank[best] > 1.5 * as_far

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5.2))
left.plot(range(1, EPOCHS + 1), fitted.history["cost"] / np.log(2), marker="o", label="training batches")
left.axhline(floor, color="C7", linestyle="--", label="held out: bigram")
left.axhline(reached, color="C1", label="held out: transformer")
left.set(xlabel="epoch", xticks=range(1, EPOCHS + 1), ylabel="bits per character", title="learning curve")
left.legend()
right.imshow(heads[best], cmap="Blues", vmin=0, vmax=1)
right.set_xticks(places, line.replace(" ", "·"), family="monospace")
right.set_yticks(places, line.replace(" ", "·"), family="monospace")
right.tick_params(length=0)
right.set(xlabel="looks at (· is a blank)", ylabel="from", title=title)
figure.tight_layout()
figure.savefig("characters.png", dpi=110)
