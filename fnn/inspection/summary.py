"""Looking at a network: its layers, what comes out of each, and how much each has to learn."""

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import chex
import jax

from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.network.walk import parts_inside
from fnn.workflow.arguments import check_network

__all__ = ["summary"]


class Row(NamedTuple):
    """One line of the table."""

    layer: str
    output: str
    parameters: str
    trained: str


def summary(network: Layer, x: chex.ArrayTree) -> str:
    """A table of the layers: output shape, number of parameters, and whether they are trained.

    Of `x`, a batch of inputs or a tree of jax.ShapeDtypeStruct, only shapes and types are used, and
    nothing is computed.

    >>> import fnn
    >>> network = fnn.serial(fnn.dense(64), jax.nn.relu, fnn.dense(10))
    >>> print(fnn.summary(network, jax.ShapeDtypeStruct((32, 64), "float32")))
    layer          output    parameters  trained
    serial         (32, 10)       4,810  yes
      0 dense(64)  (32, 64)       4,160  yes
      1 relu       (32, 64)           0
      2 dense(10)  (32, 10)         650  yes
    4,810 parameters, 4,810 of them trained
    """
    check_network("summary", network)
    params = jax.eval_shape(lambda key: network.init(key, x), jax.random.key(0))
    rows = [Row("layer", "output", "parameters", "trained"), *_rows("", network, params, x)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = [_aligned(row, widths) for row in rows]
    total, learns = _size(params), _size(trained(params))
    return "\n".join([*lines, f"{total:,} parameters, {learns:,} of them trained"])


def _aligned(row: Row, widths: list[int]) -> str:
    layer, output, parameters, _ = widths
    cells = (f"{row.layer:{layer}}", f"{row.output:{output}}", f"{row.parameters:>{parameters}}")
    return "  ".join([*cells, row.trained]).rstrip()


def _rows(
    place: str, layer: Layer, params: Any, x: Any, depth: int = 0, frozen: bool = False
) -> Iterator[Row]:
    size, learns = _size(params), 0 if frozen else _size(trained(params))
    is_trained = "" if size == 0 else "yes" if learns == size else "partly" if learns else "no"
    output = jax.tree.map(lambda leaf: tuple(leaf.shape), jax.eval_shape(layer.forward, params, x))
    number = re.sub(r"^(layer|branch|frozen|inner)\b|layer$", "", place).strip()
    number = number.removeprefix("part ").strip("'") if number.startswith("part ") else number
    yield Row("  " * depth + f"{number} {layer.name}".lstrip(), str(output), f"{size:,}", is_trained)
    for part in parts_inside(layer, params, x):
        yield from _rows(part.place, part.layer, part.params, part.x, depth + 1, frozen or part.is_frozen)


def _size(params: chex.ArrayTree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
