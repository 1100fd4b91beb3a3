"""The state that a run begins from, and what tells one run from another."""

import functools
from collections.abc import Iterable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from fnn.network.parameters import trained
from fnn.network.programs import compile_recent
from fnn.optimizers.wrappers import changing_numbers
from fnn.run.hyperparameters import settings_of
from fnn.workflow.setting import Setting, on_device
from fnn.workflow.state import Batch, State, describe_batch, first_state, with_best

__all__: list[str] = []

Pieces = tuple[dict[str, np.ndarray], ...]
Given = tuple[chex.PRNGKey, Any]  # a key, and parameters or None


def begin(
    setting: Setting, given: Given, state: State | None, metrics: Iterable[str]
) -> tuple[State, Pieces]:
    """The state before the first epoch, and an empty history."""
    if state is None:
        key, params = given  # the key as it is: a copy would hide from JAX that it was used before
        state = _compiled_start(first_batch(setting), jax.device_put(setting.init), key, on_device(params))
    names = setting.costs
    if setting.validation is not None:
        state = with_best(state)
        names += [f"validation_{name}" for name in ("cost", *metrics)]
    names += changing_numbers(state.optimizer)
    return state, ({name: np.zeros(0, jnp.result_type(float)) for name in names},)


def shapes_of_start(setting: Setting, given: Given, state: State | None) -> State:
    """The state that a run begins from, in shapes where it is not made yet."""
    if state is None:
        state = jax.eval_shape(functools.partial(_start, first_batch(setting)), setting.init, *given)
    return state if setting.validation is None else jax.eval_shape(with_best, state)


def first_batch(setting: Setting) -> Batch:
    """What the first batch looks like, and for which network."""
    size = min(jax.tree.leaves(setting.x)[0].shape[0], setting.batch_size)
    return describe_batch(setting.network, setting.x, size)


def _start(batch: Batch, init: Partial, key: chex.PRNGKey, params: Any) -> State:
    return make_strong(first_state(batch, init, key, params))


def lightly() -> dict[str, Any]:
    """Options for what runs once: a start of two layers compiles in half the time, to the same bits.

    Never for a function that a user may trace: jit with compiler options raises under jit, grad and scan.
    """
    emitters = {"xla_cpu_use_fusion_emitters": False} if jax.default_backend() == "cpu" else {}
    return {"xla_backend_optimization_level": 1, **emitters}


_compiled_start = compile_recent(static_argnums=(0,), compiler_options=lightly)(_start)


def make_strong(state: State) -> State:
    """The state as a checkpoint gives it back: JAX arrays, none of a weak type."""

    def as_array(leaf: Any) -> Any:
        is_weak = getattr(leaf, "weak_type", False) or not isinstance(leaf, jax.Array)
        return jnp.asarray(leaf, jnp.result_type(leaf)) if is_weak else leaf

    return jax.tree.map(as_array, state)


def parts_of(setting: Setting, like: State, given: dict[str, Any]) -> dict[str, Any]:
    """What makes the run what it is, by name: a call that differs must not continue it."""
    return {
        "float": str(jnp.result_type(float)),
        "network": setting.network,
        "cost": setting.cost,
        "optimizer": setting.update,
        **_memory(setting.init, like.params),
        "penalty": setting.penalty,
        "batch_size": setting.batch_size,
        **given,
        "x": setting.x,
        "y": setting.y,
        "sample_weight": setting.sample_weight,
        "validation": setting.validation,
    }


def _memory(init: Any, params: Any) -> dict[str, Any]:
    """What a rule keeps before the first step: its numbers by name, then all else by its place."""
    memory = init(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), trained(params)))
    places = ((jax.tree_util.keystr(p), leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(memory))
    others = {f"optimizer{place}": leaf for place, leaf in places if not _is_number(place)}
    return settings_of(memory) | others


def _is_number(place: str) -> bool:
    return "hyperparameters" in place or "schedules" in place
