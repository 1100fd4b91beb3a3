"""Metrics that JAX cannot compile, scikit-learn's among them: measured on the host, after each epoch."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fnn.guard.arrays import shape_struct
from fnn.guard.functions import as_partial
from fnn.network.layer import Layer
from fnn.network.programs import compile_recent
from fnn.workflow.evaluation import forward_in_blocks, on_host
from fnn.workflow.objective import cost_of
from fnn.workflow.setting import on_device
from fnn.workflow.shapes import ROWS, outputs_for, shaped
from fnn.workflow.state import State, average_params

__all__: list[str] = []

Function = Callable[..., Any]


def split_metrics(
    network: Layer, metrics: Mapping[str, Function], validation: tuple[Any, ...] | None
) -> tuple[dict[str, Function], dict[str, Function]]:
    """The metrics that JAX can compile, and those that take their numbers out of JAX."""
    compiled, hosted = dict(metrics), {}
    if validation is not None:
        predictions = outputs_for(network, validation[0])
        for name, metric in metrics.items():
            if _leaves_jax(metric, predictions, validation[1:]):
                hosted[name] = compiled.pop(name)
    return compiled, hosted


def _leaves_jax(metric: Function, predictions: Any, rest: tuple[Any, ...]) -> bool:
    try:
        return bool(_fails_in_jax(None, as_partial(metric), predictions, rest))
    except TypeError:  # an option that is a text
        return True


@shaped
def _fails_in_jax(_: None, metric: Any, predictions: Any, rest: tuple[Any, ...]) -> bool:
    rest = jax.tree.map(lambda leaf: shape_struct(leaf, ROWS, *leaf.shape[1:]), rest)  # as predictions have
    try:
        jax.eval_shape(lambda metric, z, y, w=None: cost_of(metric, z, y, w), metric, predictions, *rest)
    except jax.errors.JAXTypeError:
        return True
    except Exception:  # the rehearsal says what is wrong
        return False
    return False


def measure_on_host(setting: Any, hosted: Mapping[str, Function], state: State) -> dict[str, np.ndarray]:
    """Each of these metrics over all validation rows, a row of the history by name."""
    x, y, *weight = setting.validation
    predictions = _forward(setting.network, *on_device((average_params(state), x)))
    options = {"sample_weight": weight[0]} if weight else {}
    history = {}
    for name, metric in hosted.items():
        value = on_host(f"fit: metrics[{name!r}]", metric, predictions, y, options)
        history[f"validation_{name}"] = np.asarray(value)[None]
    return history


_forward = compile_recent(static_argnums=(0,))(forward_in_blocks)
