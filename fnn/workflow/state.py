"""What a run carries from step to step, saves and resumes; and what it ends as."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.arrays import as_arrays, shape_struct
from fnn.guard.numbers import check_key
from fnn.guard.trees import check_params
from fnn.network.layer import Layer
from fnn.network.parameters import merge, trained
from fnn.network.programs import compile_recent
from fnn.optimizers.rule import Optimizer
from fnn.optimizers.transformations import find_average
from fnn.workflow.arguments import check_network, check_optimizer

__all__ = ["Best", "Fitted", "NotFinite", "State", "average_params", "start"]


class Best(NamedTuple):
    """The parameters with the lowest validation cost so far, and after how many epochs."""

    params: chex.ArrayTree
    cost: jax.Array
    epoch: jax.Array


class State(NamedTuple):
    """All there is to carry, save and resume: a run continued from it gives the same bits.

    `key` is the root of all random numbers and never changes; `epoch` counts the finished epochs;
    `best` is None until a run is validated.
    """

    params: chex.ArrayTree
    optimizer: chex.ArrayTree
    key: chex.PRNGKey
    epoch: jax.Array
    best: Best | None = None


class NotFinite(NamedTuple):
    """Where a run first met NaN or infinity: what of which layer, in which step of which epoch.

    `quantity` is "input", "parameter", "activation", "cost", "penalty", "gradient", "update", "moment"
    or "validation cost"; `where` the layer or the array; `found` the numbers. Epochs and steps count
    from 1.
    """

    epoch: int
    step: int
    quantity: str
    where: str
    found: str

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch} was not finished: in its step {self.step} the {self.quantity} of "
            f"{self.where} was the first that is not finite, {self.found}. The run is returned as it was "
            f"after epoch {self.epoch - 1}. What often helps: a smaller learning rate, "
            "fnn.clip_by_global_norm before the rule, inputs and targets scaled by fnn.standardize."
        )


class Fitted(NamedTuple):
    """A finished run.

    `params` are those with the lowest validation cost, or the last without validation; with `fnn.average` in
    the optimizer the averaged ones. `history` has a NumPy array for each measure, one entry an epoch, and for
    each number of the rule that changes with the steps. fit(…, state=fitted.state) continues the run.
    `stopped` says why it ended: "epochs", "patience", "on_epoch", "interrupted" (by Ctrl-C), "error" (in an
    error's `fitted`) or "not_finite". In the last case `not_finite` says where, and all numbers are those of
    the last good epoch.
    """

    params: chex.ArrayTree
    history: dict[str, np.ndarray]
    state: State
    stopped: str
    not_finite: NotFinite | None = None


def start(
    network: Layer,
    optimizer: Optimizer,
    x: chex.ArrayTree,
    *,
    key: chex.PRNGKey,
    params: chex.ArrayTree | None = None,
) -> State:
    """The state before the first step: θ ~ network.init (or the parameters given), the optimizer's zeros.

    Of `x`, a batch (n, …) of inputs, only shapes and types are used.

    >>> from fnn import adam, dense
    >>> start(dense(3), adam(), jnp.ones((8, 2)), key=jax.random.key(0)).params["weight"].shape
    (2, 3)
    """
    check_network("start", network)
    check_optimizer("start", optimizer)
    check_key("start", key)
    if params is not None:
        check_params("start", params)
    if not all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(x)):  # a list, a table
        x = as_arrays(x, "x")
    init, params = jax.device_put((Partial(optimizer.init), params))
    return _start(describe_batch(network, x), init, key, params)


Batch = tuple[Any, ...]  # a network, and what its rows look like: hashable, so that jit compares it


def describe_batch(network: Layer, x: chex.ArrayTree, size: int | None = None) -> Batch:
    """The network, and the structure, shapes and types of x, or of its first `size` rows."""
    leaves, structure = jax.tree.flatten(x)
    shapes = (leaf.shape if size is None else (size, *leaf.shape[1:]) for leaf in leaves)
    return network, structure, *(shape_struct(leaf, *shape) for leaf, shape in zip(leaves, shapes))


def first_state(batch: Batch, init: Callable[..., Any], key: chex.PRNGKey, params: Any) -> State:
    """The state of new parameters, or of those given, and of the rule's `init` for them."""
    network, structure, *leaves = batch
    x = jax.tree.unflatten(structure, leaves)
    init_key, run_key = jax.random.split(key)
    if params is None:
        params = network.init(init_key, x)
    return State(params, init(trained(params)), run_key, jnp.zeros((), jnp.int32))


_start = compile_recent(static_argnums=(0,))(first_state)


def average_params(state: State) -> Any:
    """The averaged parameters, where the optimizer keeps an average; else the last ones.

        θ̄ for what is trained, the last for the rest

    >>> from fnn import adam, average, chain, dense
    >>> state = start(dense(1), chain(adam(), average()), jnp.ones((4, 2)), key=jax.random.key(0))
    >>> average_params(state)["bias"]
    Array([0.], dtype=float32)
    """
    mean = find_average(state.optimizer)
    if mean is None:
        return state.params
    return jax.tree.map(lambda m, p: m.astype(p.dtype), merge(mean, state.params), state.params)


def with_best(state: State) -> State:
    """The state with a place for the best parameters, for a run that is validated."""
    if state.best is not None:
        return state
    dtype = jnp.result_type(float)
    highest = jax.device_put(np.asarray(jnp.finfo(dtype).max, dtype))  # jax_debug_infs would refuse ∞
    return state._replace(best=Best(state.params, highest, state.epoch))


def is_stalled(state: State, patience: ArrayLike | None) -> jax.Array:
    """Whether the validation cost has not fallen for `patience` epochs."""
    if patience is None or state.best is None:
        return jnp.bool_(False)
    return state.epoch - state.best.epoch >= patience


def lower_of(old: Best, new: Best) -> Best:
    """The one with the lower cost; the earlier one where they are equal."""
    lower = new.cost < old.cost
    return jax.tree.map(lambda n, o: jnp.where(lower, n, o).astype(o.dtype), new, old)


def stays_finite(before: State, after: State) -> jax.Array:
    """Whether all that was finite before still is: a rule may keep an infinity of its own (a best so far)."""
    return still_finite((before.params, before.optimizer), (after.params, after.optimizer))


def still_finite(before: chex.ArrayTree, after: chex.ArrayTree) -> jax.Array:
    """Whether each number of a tree that was finite before still is."""
    lost = [
        (jnp.isfinite(old) & ~jnp.isfinite(new)).any()
        for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after))
        if jnp.issubdtype(new.dtype, jnp.inexact)
    ]
    return ~functools.reduce(jnp.logical_or, lost, jnp.bool_(False))
