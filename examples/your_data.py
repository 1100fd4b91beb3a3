"""Your own table: from a CSV with numbers, categories and missing values to a trained network in a file.

Run it with `python examples/your_data.py`. Then run `python examples/use_it.py`, a second program that
loads the file. The table is the Palmer penguins (CC0, see examples/data/README.md); put yours in its place.
"""

import csv
import pathlib

import jax

import fnn

HERE = pathlib.Path(__file__).parent

# ── Data ──────────────────────────────────────────────────────────────────────────────────────────
# DictReader reads every cell as text. Missing values are written NA in this file.

with open(HERE / "data" / "penguins.csv", newline="") as file:
    rows = list(csv.DictReader(file))
print(rows[3], "\n")

# The test rows are held out first, so that they can show how well the network does on penguins it has
# never seen. The encoder learns its means and categories from the training rows only.

test_key, fit_key = jax.random.split(jax.random.key(0))
names = [row["species"] for row in rows]
(rows, names), (test_rows, test_names) = fnn.split(test_key, rows, names, stratify=names)

columns = ["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]
encoder = fnn.encode(rows, columns=columns)
species = fnn.labels(names)
x, y = encoder(rows), species(names)
print(f"{x.shape[0]} rows of {x.shape[1]} features: {', '.join(encoder.names)}\n")

# ── Network and training ──────────────────────────────────────────────────────────────────────────
# One output per species. The outputs are logits, unnormalised log-probabilities. An epoch is one pass
# over the training rows.

network = fnn.serial(fnn.dense(16), jax.nn.relu, fnn.dense(len(species.classes)))
fitted = fnn.fit(network, fnn.softmax_cross_entropy, fnn.adam(0.01), x, y, key=fit_key, epochs=60)
print(f"cost {fitted.history['cost'][0]:.3f} → {fitted.history['cost'][-1]:.3f}")

# ── Evaluation ────────────────────────────────────────────────────────────────────────────────────

x_test, y_test = encoder(test_rows), species(test_names)
measures = fnn.evaluate(network, fitted.params, x_test, y_test, {"accuracy": fnn.accuracy})
print(f"held-out accuracy {measures['accuracy']:.3f} on {len(x_test)} penguins")

# ── One file with everything a second program needs ───────────────────────────────────────────────

fnn.save("penguins.fnn", {"encoder": encoder, "species": species, "params": fitted.params})
print("saved to penguins.fnn")

assert measures["accuracy"] >= 0.95
