"""Every cost, with its slope and what it takes for targets: a new file of costs is entered here."""

from collections import ChainMap
from collections.abc import Callable
from typing import Any

import jax

from fnn.losses import alignment, classification, distribution, margin, regression
from fnn.losses.targets import Takes

__all__: list[str] = []


SLOPES: ChainMap[Any, Callable[..., jax.Array]] = ChainMap(
    regression.SLOPES, distribution.SLOPES, classification.SLOPES, margin.SLOPES, alignment.SLOPES
)
TARGETS: ChainMap[Any, Takes] = ChainMap(
    regression.TARGETS, distribution.TARGETS, classification.TARGETS, margin.TARGETS, alignment.TARGETS
)
