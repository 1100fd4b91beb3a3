"""The second program: it reads what `your_data.py` saved, and names one new penguin.

It knows the network's description; everything learned comes from the file.
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
    "body_mass_g": "",  # not weighed
    "sex": "female",
}
probabilities = jax.nn.softmax(fnn.predict(network, params, encoder(penguin)))[0]
(name,) = species.inverse([int(probabilities.argmax())])
print(f"{name}, with probability {probabilities.max():.3f}")

assert name == "Gentoo" and probabilities.max() > 0.9
