"""What a trained network predicts, and how well: predict, ensemble, evaluate."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.arrays import as_arrays, as_exact, as_rows, is_coarse, row_count
from fnn.guard.functions import call_in_order
from fnn.guard.numbers import check_finite, check_whole
from fnn.guard.trees import check_params
from fnn.guard.words import Words, describe, name_of, shapes, unexpected
from fnn.network.layer import Layer
from fnn.network.programs import compile_recent
from fnn.workflow.arguments import check_metrics, check_network, check_takes_weight
from fnn.workflow.rows import check_shapes, check_targets, check_weights, refuse_ids
from fnn.workflow.setting import on_device
from fnn.workflow.shapes import check_one_a_row, rows_for

__all__ = ["ensemble", "evaluate", "predict"]


BLOCK = 1024  # rows that pass through the network at once
SMALL = 64  # programs kept of what only predicts or measures: they are small, and an evaluation may have many


def predict(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree, *, batch_size: int = BLOCK) -> Any:
    """The predictions of the trained network for every row: ŷ = forward(params, x).

        x: (n, …)   ŷ: (n, …)      n ≥ 1, `batch_size` rows in memory at once

    Compiled once for any number of rows from `batch_size` up, and once for each power of two below. The
    last block is filled up with copies of its last row, so a row's prediction must not depend on others.

    >>> import fnn
    >>> fnn.predict(fnn.serial(jnp.square), ((),), jnp.array([[1.0], [3.0]]))
    Array([[1.],
           [9.]], dtype=float32)

    Raises ValueError for no rows, leaves of x with different numbers of them, numbers that are not finite,
    parameters of another network, and a network that does not give one prediction a row.
    """
    _check_call("predict", network, params, batch_size)
    x = rows_for(network, as_rows(x, "x"))
    n = row_count(x=x)
    check_finite("x", x)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, x))):
        check_shapes(network, params, x)
        return forward_in_blocks(network, params, x, batch_size)
    size = min(batch_size, 1 << (n - 1).bit_length())
    blocks = []
    for first in range(0, n, size):
        block = jax.tree.map(lambda a, first=first: _pad(a[first : first + size], size), x)
        error, y = _forward(network, *on_device((params, block)))
        refuse_ids(error, x, "x")
        blocks.append(y)
    if len(blocks) == 1 and n == size:
        return blocks[0]
    return jax.device_put(jax.tree.map(lambda *ys: np.concatenate(ys)[:n], *blocks))


@compile_recent(static_argnums=(0,), kept=SMALL)
def _forward(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree) -> Any:
    check_shapes(network, params, x)  # while it is traced: once for each shape, and never in a call after
    return checkify.checkify(functools.partial(_row_by_row, network), checkify.user_checks)(params, x)


def _row_by_row(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree) -> Any:
    """forward(params, x), refused where it does not give one prediction a row."""
    y = network.forward(params, x)
    check_one_a_row(y, x)
    return y


def _pad(rows: ArrayLike, size: int) -> np.ndarray:
    """The rows, and copies of the last one up to `size`: rows do not see one another."""
    rows = np.asarray(rows)
    missing = size - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def forward_in_blocks(network: Layer, params: chex.ArrayTree, x: chex.ArrayTree, block: int = BLOCK) -> Any:
    """forward(params, x), pure, with no more than `block` rows in memory at once."""
    n = jax.tree.leaves(x)[0].shape[0]
    if n <= block:
        return _row_by_row(network, params, x)
    whole = n // block
    stacked = jax.tree.map(lambda a: a[: whole * block].reshape(whole, block, *a.shape[1:]), x)
    y = jax.lax.map(lambda rows: _row_by_row(network, params, rows), stacked)
    y = jax.tree.map(lambda a: a.reshape(whole * block, *a.shape[2:]), y)
    if n % block == 0:
        return y
    rest = _row_by_row(network, params, jax.tree.map(lambda a: a[whole * block :], x))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), y, rest)


def ensemble(
    network: Layer, members: Sequence[Any], x: chex.ArrayTree, *, batch_size: int = BLOCK
) -> tuple[Any, Any]:
    """What several trained networks predict on the mean, and how far they are apart, for every row of x.

        ȳ = Σᵢ ŷᵢ / m      s = √(Σᵢ (ŷᵢ − ȳ)² / (m − 1))      each (n, …), m ≥ 2 members

    `members` are runs, such as `sweep.runs` of several seeds, or their parameters. The mean of classifiers is
    that of their probabilities: `ensemble(serial(network, jax.nn.softmax), …)` with parameters (params, ()).
    Where members disagree, rows are unlike those trained on. Lakshminarayanan et al. 2017, deep ensembles.

    >>> import fnn
    >>> times = fnn.layer(lambda key, x: jnp.ones(()), lambda scale, x: scale * x, name="times")
    >>> mean, spread = ensemble(times, [jnp.array(1.0), jnp.array(3.0)], jnp.array([[2.0]]))
    >>> print(mean, spread)                                             # of 2 and 6: √((2² + 2²) / 1)
    [[4.]] [[2.828427]]

    Raises ValueError for fewer than two members, and what `predict` raises.
    """
    if not isinstance(members, Sequence) or isinstance(members, Layer) or len(members) < 2:
        fix = "Such as sweep.runs, or [run.params for run in runs]."
        raise ValueError(unexpected("ensemble: members", "two runs or parameters, or more", members, fix))
    params = [getattr(member, "params", member) for member in members]
    each = [predict(network, own, x, batch_size=batch_size) for own in params]
    mean = jax.tree.map(lambda *ys: jnp.stack(ys).mean(0), *each)
    return mean, jax.tree.map(lambda *ys: jnp.stack(ys).std(0, ddof=1), *each)


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

    A metric is `metric(predictions, targets)`, with `sample_weight=` where weights are given: the costs and
    metrics of fnn, or any function. One whose parameters are named so, as scikit-learn's are, is called as
    `metric(y_true, y_pred)`.

    >>> import fnn
    >>> network, x = fnn.serial(jnp.square), jnp.array([1.0, 3.0])
    >>> fnn.evaluate(network, ((),), x, jnp.array([1.0, 8.0]), {"error": fnn.mae})
    {'error': 0.5}

    Raises ValueError where x and y differ in their number of rows, for numbers that are not finite, ids
    that are no class, and negative weights.
    """
    _check_call("evaluate", network, params, batch_size)
    check_metrics("evaluate", metrics)
    for name, metric in metrics.items() if sample_weight is not None else ():
        check_takes_weight(f"evaluate: metrics[{name!r}], {name_of(metric)},", metric)
    x, exact, y = as_rows(x, "x"), as_exact(y, "y"), as_arrays(y, "y")
    sample_weight = as_arrays(sample_weight, "sample_weight")
    row_count(x=x, y=y, sample_weight=sample_weight)
    check_finite("y", y, sample_weight=sample_weight)
    check_weights("sample_weight", sample_weight)
    predictions = predict(network, params, x, batch_size=batch_size)
    for metric in metrics.values():
        check_targets(metric, predictions, y, sample_weight, "y")
    options = {} if sample_weight is None else {"sample_weight": sample_weight}
    loses = any(is_coarse(leaf).any() for leaf in jax.tree.leaves(exact))  # digits that a comparison needs
    value = functools.partial(on_host, y=exact) if loses else functools.partial(_value, y=y)
    return {
        name: value(f"evaluate: metrics[{name!r}]", metric, predictions, options=options)
        for name, metric in metrics.items()
    }


def _value(
    where: str, metric: Callable[..., Any], predictions: Any, y: Any, options: dict[str, Any]
) -> float | np.ndarray:
    try:
        return _as_number(where, _measure(*on_device((Partial(metric), predictions, y, options))))
    except (TypeError, IndexError):  # not a function of JAX: it computes with NumPy, or returns no numbers
        return on_host(where, metric, predictions, y, options)


def on_host(
    where: str, metric: Callable[..., Any], predictions: Any, y: Any, options: dict[str, Any]
) -> float | np.ndarray:
    """What a metric that is no function of JAX, such as scikit-learn's, makes of NumPy arrays."""
    z, y, options = jax.tree.map(np.asarray, (predictions, y, options))
    try:
        return _as_number(where, call_in_order(metric, z, y, **options))
    except Exception as error:
        error.add_note(
            f"This came up in {where}, {name_of(metric)}, called with outputs of {shapes(z)} and "
            f"targets of {shapes(y)}. If it wants classes or probabilities, make them of the logits: "
            "lambda y_true, y_pred: metric(y_true, y_pred.argmax(-1)), or jax.nn.softmax(y_pred); of one "
            "output, y_pred > 0, or jax.nn.sigmoid(y_pred)."
        )
        raise


@compile_recent(kept=SMALL)
def _measure(metric: Partial, predictions: Any, y: Any, options: dict[str, Any]) -> Any:
    return call_in_order(metric, predictions, y, **options)


def _is_numbers(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    kinds = [
        getattr(leaf, "dtype", np.asarray(0 if hasattr(leaf, "dtype") else leaf).dtype).kind
        for leaf in leaves
    ]
    return bool(leaves) and not isinstance(value, Mapping) and not set(kinds) - set("biufcV")


def _as_number(where: str, value: Any) -> float | np.ndarray:
    """What a metric returned, as a float or an array."""
    if not _is_numbers(value) or (np.ndim(value) == 0 and np.iscomplexobj(value)):
        fix = "Does it return what it computes?"
        got = Words(f"{describe(value)} from it")
        raise TypeError(unexpected(where, "a function that returns a number or an array", got, fix))
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


# What is refused ----------------------------------------------------------------------------------


def _check_call(caller: str, network: Any, params: Any, batch_size: Any) -> None:
    """Refuse what is no network, no parameters and no number of rows."""
    check_network(caller, network)
    check_params(caller, params)
    check_whole(caller, "batch_size", batch_size, fix="It is the number of rows in memory at once.")
