"""The layers: what the parts of a network compute."""

from fnn.layers.dense import dense
from fnn.layers.dropout import dropout
from fnn.layers.flatten import flatten

__all__ = ["dense", "dropout", "flatten"]
