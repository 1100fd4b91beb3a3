"""What a run computes with, and the state that it begins from."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from fnn.guard.functions import abstract, as_partial
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.optimizers.rule import Optimizer
from fnn.run.arguments import hyperparameters
from fnn.workflow.state import State, start, watched

__all__: list[str] = []


class Setting(NamedTuple):
    """What a run computes with, all but its state."""

    network: Layer
    cost: Partial
    optimizer: Optimizer
    penalty: Partial | None
    metrics: dict[str, Partial]
    batch_size: int
    data: tuple[Any, ...]  # x, y, sample_weight, validation


def parts_of(setting: Setting, params: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What makes the run what it is, by name: another call must not go on with it."""
    x, y, sample_weight, validation = setting.data
    return {
        "float": str(jnp.result_type(float)),
        "network": setting.network,
        "cost": setting.cost,
        "optimizer": setting.optimizer.update,
        **_memory(setting.optimizer, params),
        "penalty": setting.penalty,
        "metrics": setting.metrics,
        "batch_size": setting.batch_size,
        **given,
        "x": x,
        "y": y,
        "sample_weight": sample_weight,
        "validation": validation,
    }


def _memory(optimizer: Optimizer, params: Any) -> dict[str, Any]:
    """What a rule keeps before the first step: its numbers by name, then all else by its place."""
    memory = optimizer.init(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), trained(params)))
    places = ((jax.tree_util.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(memory))
    others = {f"optimizer{place}": leaf for place, leaf in places if "hyperparameters" not in place}
    return hyperparameters(memory) | others


def begun(
    setting: Setting, key: chex.PRNGKey, params: Any, state: State | None
) -> tuple[State, tuple[dict[str, np.ndarray], ...]]:
    """The state before the first epoch, and a history of nothing."""
    if state is None:
        state = _compiled_start(
            setting.network, _batch(setting), as_partial(setting.optimizer.init), key, params
        )
    names = ["cost"]
    if setting.data[3] is not None:
        state = watched(state)
        names += [f"validation_{name}" for name in ("cost", *setting.metrics)]
    return state, ({name: np.zeros(0, jnp.result_type(float)) for name in names},)


def described_start(setting: Setting, key: chex.PRNGKey, params: Any, state: State | None) -> State:
    """The state that a run begins from, in shapes where it is not made yet."""
    if state is None:
        state = _cached_shapes(setting, key, params)
    return state if setting.data[3] is None else watched(state)


def _cached_shapes(setting: Setting, key: chex.PRNGKey, params: Any) -> State:
    given = abstract((as_partial(setting.optimizer.init), key, params))
    return _shapes_of_start(setting.network, _batch(setting), *given)


@functools.lru_cache(maxsize=256)
def _shapes_of_start(network: Layer, batch: tuple[Any, ...], structure: Any, leaves: Any) -> State:
    init, key, params = jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*leaf) for leaf in leaves])
    return jax.eval_shape(functools.partial(_started, network, batch), init, key, params)


def _batch(setting: Setting) -> tuple[Any, ...]:
    """The structure of a batch, and the shape and type of each of its arrays; it can be compared."""
    leaves, structure = jax.tree.flatten(setting.data[0])
    size = min(leaves[0].shape[0], setting.batch_size)
    return structure, *(jax.ShapeDtypeStruct((size, *v.shape[1:]), v.dtype) for v in leaves)


def _started(network: Layer, batch: tuple[Any, ...], init: Partial, key: Any, params: Any) -> State:
    structure, *leaves = batch
    x = jax.tree.unflatten(structure, leaves)
    return strong(start(network, Optimizer(init, init), x, key=key, params=params))


def strong(state: State) -> State:
    """The state as a checkpoint gives it back: JAX arrays, of types that are not Python's."""

    def as_array(leaf: Any) -> Any:
        is_weak = getattr(leaf, "weak_type", False) or not isinstance(leaf, jax.Array)
        return jnp.asarray(leaf, jnp.result_type(leaf)) if is_weak else leaf

    return jax.tree.map(as_array, state)


# It runs once: compiled lightly, it is ready in 0.2 s instead of 0.5. (Never so in a function that a
# user may trace: jit with compiler options raises under jit, grad and scan.)
_compiled_start = jax.jit(
    _started, static_argnums=(0, 1), compiler_options={"xla_backend_optimization_level": 1}
)
