"""Who is speaking? Recurrent networks on sequences of different lengths.

    pip install --no-deps aeon
    python examples/sequences.py

Nine men say the Japanese vowels /ae/: 270 recordings to learn from and 370 to be recognised, 7 to 29 frames
of 12 numbers each (Kudo, Toyama & Shimbo 1999). Learning curves, and what a GRU believes while it listens, go
to `sequences.png`.
"""

import importlib.util
import pathlib

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.linear_model import LogisticRegression

import fnn

found = importlib.util.find_spec("aeon")  # found, not imported: only its files are wanted
if found is None:
    raise SystemExit("The recordings are in a package of their own: pip install --no-deps aeon")
FOLDER = pathlib.Path(found.submodule_search_locations[0]) / "datasets" / "data" / "JapaneseVowels"


def read(name):
    """Recordings, each (frames, 12), and who speaks. A line has 12 series and a class, between colons."""
    recordings, speakers = [], []
    for line in (FOLDER / name).read_text().splitlines():
        if line.strip() and line.strip()[0] not in "#@":
            *series, speaker = line.strip().split(":")
            recordings.append(np.array([each.split(",") for each in series], np.float32).T)
            speakers.append(int(speaker) - 1)
    return recordings, np.array(speakers)


(learn, y), (held, y_held) = read("JapaneseVowels_TRAIN.ts"), read("JapaneseVowels_TEST.ts")
lengths = [len(each) for each in learn + held]
print(f"{len(learn)} + {len(held)} recordings of {min(lengths)} to {max(lengths)} frames, {y.max() + 1} men")

# ── One array, and a mask ─────────────────────────────────────────────────────────────────────────
# An array has one length. Shorter recordings are filled up with zeros, and the mask says which frames are
# real. Padding changes nothing: not the output, and not the gradient.

scale = fnn.standardize(np.concatenate(learn))


def padded(recordings):
    x = np.zeros((len(recordings), max(lengths), 12), np.float32)
    mask = np.zeros(x.shape[:2], bool)
    for i, each in enumerate(recordings):
        x[i, : len(each)], mask[i, : len(each)] = scale(each), True
    return {"x": x, "mask": mask}


x, x_held = padded(learn), padded(held)

# ── A floor: no order at all ──────────────────────────────────────────────────────────────────────
# The mean and deviation of each channel forget the order of the frames, and recognise most men already.


def summary(recordings):
    return np.array([np.concatenate([each.mean(0), each.std(0)]) for each in recordings])


rest = fnn.standardize(summary(learn))
linear = LogisticRegression(max_iter=1000).fit(rest(summary(learn)), y)
floor = linear.score(rest(summary(held)), y_held)
print(f"\nheld-out accuracy   logistic regression on means and deviations {floor:.3f}")

# ── Recurrent networks ────────────────────────────────────────────────────────────────────────────
# Two networks that read a recording both ways and decide by their last states. Dropout, as there are few
# recordings. Rate, width and number of epochs are first guesses: the held-out recordings decide nothing.

EPOCHS, SEEDS = 60, 3
both_ways = {"last": True, "bidirectional": True}
LAYERS = {"GRU": fnn.gru(32, **both_ways), "LSTM": fnn.lstm(32, **both_ways)}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
for name, layer in LAYERS.items():
    network = fnn.serial(layer, fnn.dropout(0.5), fnn.dense(9))
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.005))
    swept = fnn.sweep(
        network,
        fnn.softmax_cross_entropy,
        rule,
        x,
        y,
        key=jax.random.split(jax.random.key(0), SEEDS),
        epochs=EPOCHS,
    )
    right_share = [
        fnn.evaluate(network, run.params, x_held, y_held, {"accuracy": fnn.accuracy})["accuracy"]
        for run in swept.runs
    ]
    print(f"{'':20s}{name:42s} {np.mean(right_share):.3f}  (seeds: {np.round(right_share, 3)})")
    assert np.mean(right_share) > floor
    left.semilogy(np.arange(1, EPOCHS + 1), swept.runs[0].history["cost"], label=name)

# ── What it believes while it listens ─────────────────────────────────────────────────────────────
# A GRU that reads one way gives a state after each frame. Trained with the speaker as the target of every
# real frame, it says after each how sure it is. The mask is the weight of the frames.

listener = fnn.serial(fnn.gru(32), fnn.dropout(0.5), fnn.dense(9))
frames = np.repeat(y[:, None], max(lengths), axis=1)
fitted = fnn.fit(
    listener,
    fnn.softmax_cross_entropy,
    fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.005)),
    x,
    frames,
    key=jax.random.key(1),
    epochs=EPOCHS,
    sample_weight=x["mask"].astype(np.float32),
)
believed = jax.nn.softmax(fnn.predict(listener, fitted.params, x_held))
right_one = np.take_along_axis(np.asarray(believed), y_held[:, None, None], -1)[..., 0]
counts = x_held["mask"].sum(0)
mean = (right_one * x_held["mask"]).sum(0) / np.maximum(counts, 1)
heard = np.flatnonzero(counts >= 30)  # few recordings are longer
doubtful = np.flatnonzero(right_one[np.arange(len(held)), x_held["mask"].sum(1) - 1] > 0.9)
for i in doubtful[np.argsort(right_one[doubtful, 0])][:4]:
    right.plot(np.arange(1, len(held[i]) + 1), right_one[i, : len(held[i])], "C7", linewidth=1)
right.plot(heard + 1, mean[heard], "C0", linewidth=2, label="mean of all recordings")
right.plot([], "C7", linewidth=1, label="right in the end, and least so at first")
right.set(xlabel="frames heard", ylabel="probability of the man who speaks", ylim=(0, 1.02))
right.legend(loc="lower right")
first, fifth, twelfth = mean[[0, 4, 11]]
print(
    f"\nprobability of the right man after 1 frame {first:.2f}, 5 frames {fifth:.2f}, 12 frames {twelfth:.2f}"
)
assert first < fifth < twelfth
left.set(xlabel="epoch", ylabel="cost of the training batches", title="learning curves")
left.legend()
figure.tight_layout()
figure.savefig("sequences.png", dpi=110)
