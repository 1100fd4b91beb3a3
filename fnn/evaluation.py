"""What a trained network says, and how well: predict, evaluate."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.arguments import check_metrics, check_params
from fnn.arrays import as_arrays, row_count, suited
from fnn.layer import Layer

__all__ = ["evaluate", "predict"]

BLOCK = 1024  # rows that pass through the network at once


def predict(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree, *, batch_size: int = BLOCK) -> Any:
    """What the trained network says about every row: ŷ = forward(params, x).

        x: (n, …)   ŷ: (n, …)      n ≥ 1, `batch_size` rows in memory at once

    Compiled once for all numbers of rows from `batch_size` up, and once for each power of two below.

    >>> import fnn
    >>> fnn.predict(fnn.serial(jnp.square), ((),), jnp.array([[1.0], [3.0]]))
    Array([[1.],
           [9.]], dtype=float32)

    Raises ValueError for no rows, or leaves of x with different numbers of them.
    """
    check_params("predict", params)
    x = suited(network, as_arrays(x, "x"))
    n = row_count(x=x)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x))):
        return forward_in_blocks(network, params, x, batch_size)
    size = min(batch_size, 1 << (n - 1).bit_length())
    blocks = []
    for first in range(0, n, size):
        block = jax.tree.map(lambda a, first=first: _padded(a[first : first + size], size), x)
        blocks.append(_forward(network, params, block))
    if len(blocks) == 1 and n == size:
        return blocks[0]
    return jax.tree.map(lambda *ys: jnp.asarray(np.concatenate(ys)[:n]), *blocks)


@functools.partial(jax.jit, static_argnums=0)
def _forward(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree) -> Any:
    return network.forward(params, x)


def _padded(rows: ArrayLike, size: int) -> np.ndarray:
    """The rows, and copies of the last one up to `size`: rows do not see one another."""
    rows = np.asarray(rows)
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def forward_in_blocks(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree, block: int = BLOCK) -> Any:
    """forward(params, x), pure, with no more than `block` rows in memory at once."""
    n = jax.tree.leaves(x)[0].shape[0]
    if n <= block:
        return network.forward(params, x)
    whole = n // block
    stacked = jax.tree.map(lambda a: a[: whole * block].reshape(whole, block, *a.shape[1:]), x)
    y = jax.lax.map(lambda rows: network.forward(params, rows), stacked)
    y = jax.tree.map(lambda a: a.reshape(whole * block, *a.shape[2:]), y)
    if n % block == 0:
        return y
    rest = network.forward(params, jax.tree.map(lambda a: a[whole * block :], x))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), y, rest)


def evaluate(
    network: Layer,
    params: chex.ArrayTree,
    x: chex.ArrayTree,
    y: chex.ArrayTree,
    metrics: Mapping[str, Callable[..., Any]],
    sample_weight: ArrayLike | None = None,
    *,
    batch_size: int = BLOCK,
) -> dict[str, Any]:
    """Each metric of the predictions for all rows at once, a float (or a NumPy array) by name.

    A metric is `metric(predictions, targets)`, with `sample_weight=` where weights are given: the
    costs and metrics of fnn, or any function, of scikit-learn too.

    >>> import fnn
    >>> network, x = fnn.serial(jnp.square), jnp.array([1.0, 3.0])
    >>> fnn.evaluate(network, ((),), x, jnp.array([1.0, 8.0]), {"error": fnn.mae})
    {'error': 0.5}

    Raises ValueError where x and y differ in their number of rows.
    """
    check_metrics("evaluate", metrics)
    x, y, sample_weight = (
        as_arrays(x, "x"),
        as_arrays(y, "y"),
        as_arrays(sample_weight, "sample_weight"),
    )
    row_count(x=x, y=y, sample_weight=sample_weight)
    predictions = predict(network, params, x, batch_size=batch_size)
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    return {name: _number(_value(metric, predictions, y, options)) for name, metric in metrics.items()}


def _value(metric: Callable[..., Any], predictions: Any, y: Any, options: dict[str, Any]) -> Any:
    try:
        return _measure(Partial(metric), predictions, y, options)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return metric(*jax.tree.map(np.asarray, (predictions, y)), **options)  # no JAX function


@jax.jit
def _measure(metric: Partial, predictions: Any, y: Any, options: dict[str, Any]) -> Any:
    return metric(predictions, y, **options)


def _number(value: Any) -> Any:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)
