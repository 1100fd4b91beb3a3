"""A second program: it loads the file that `your_data.py` saved and names the species of a new penguin.

The program describes the network again, with the same layers. Everything learned comes from the file:
the encoder, the names of the species and the parameters. Run it where `penguins.fnn` was saved.
"""

import jax

import fnn

saved = fnn.load("penguins.fnn")
encoder, species, params = saved["encoder"], saved["species"], saved["params"]
network = fnn.serial(fnn.dense(16), jax.nn.relu, fnn.dense(len(species.classes)))

penguin = {
    "island": "Biscoe",
    "bill_length_mm": "47.2",
    "bill_depth_mm": "14.1",
    "flipper_length_mm": "217",
    "body_mass_g": "",  # missing: the encoder puts in the mean
    "sex": "female",
}
probabilities = jax.nn.softmax(fnn.predict(network, params, encoder(penguin)))[0]
(name,) = species.inverse([int(probabilities.argmax())])
print(f"{name}, with probability {probabilities.max():.3f}")

assert name == "Gentoo" and probabilities.max() > 0.9
