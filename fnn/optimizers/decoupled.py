"""Rules with a decay that their moments do not see: each step takes the share αλ off a weight.

    adamw      fixes: a decay in the gradient is divided by √v̂, so that it hardly depends on its number
    lion       fixes: v costs as much memory as the weights; the sign of a mean needs none
    muon       fixes: a matrix's entries are moved one by one, mostly in a few directions that it shares

θ parameters, g gradient, α learning rate, λ decay; m, v, m̂, v̂ as in `adam`.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import BELOW_1
from fnn.guard.trees import as_patterns, first_of, matches, spared_by_name
from fnn.optimizers.adaptive import adam_update
from fnn.optimizers.rule import (
    Optimizer,
    RuleState,
    check_like,
    check_rule_state,
    for_each_array,
    init_state,
    root,
    zeros,
)
from fnn.optimizers.schedules import check_rule_numbers, make_rule
from fnn.optimizers.transformations import pull_to_zero

__all__ = ["adamw", "lion", "muon"]


# AdamW -------------------------------------------------------------------------------------------


def adamw(
    learning_rate: ArrayLike = 0.001,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    eps_root: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.01,
) -> Optimizer:
    """Adam, and beside it a pull to zero that its moments do not see: Δ = Δ_adam − αλθ.

    Fixes decay before Adam, where λ hardly decides how far a weight is pulled. What is named `bias`, `scale`,
    `offset` or `table` is spared. The rate multiplies the decay, as in PyTorch, Keras and Optax; their λ are
    0.01, 0.004 and 0.0001. Loshchilov & Hutter 2019, Algorithm 2.

    >>> rule, weight = adamw(0.5, weight_decay=0.1), {"weight": jnp.array([4.0])}
    >>> updates, _ = rule.update({"weight": jnp.array([2.0])}, rule.init(weight), weight)
    >>> updates["weight"].round(4)                                           # −0.5 · (1 + 0.1 · 4)
    Array([-0.7], dtype=float32)

    Raises ValueError for a number that is negative or not finite, a β outside [0, 1), or where `update` is
    given no params.
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    numbers["weight_decay"] = weight_decay
    check_rule_numbers("adamw", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m", "v"), adamw_update, numbers)


def adamw_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = Δ_adam − αλθ."""
    return with_decay("adamw", adam_update, grads, state, params)


# Lion --------------------------------------------------------------------------------------------


def lion(
    learning_rate: ArrayLike = 1e-4,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: ArrayLike = 0.0,
) -> Optimizer:
    """Steps of one size, by the sign of a mean: Δ = −α·sign(β₁m + (1 − β₁)g) − αλθ, then m ← β₂m + (1 − β₂)g.

    Fixes Adam's memory, one moment instead of two. Every entry moves by α, so rates are three to ten times
    smaller than Adam's, and λ as much larger. What is named `bias`, `scale`, `offset` or `table` is spared
    from decay. Chen et al. 2023, Program 1.

    >>> rule = lion(0.5)
    >>> rule.update({"bias": jnp.array([2.0, -3.0, 0.0])}, rule.init({"bias": jnp.zeros(3)}),
    ...             {"bias": jnp.zeros(3)})[0]
    {'bias': Array([-0.5,  0.5, -0. ], dtype=float32)}

    Raises ValueError for a number that is negative or not finite, a β outside [0, 1), or where `update` is
    given no params.
    """
    numbers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "weight_decay": weight_decay}
    check_rule_numbers("lion", numbers, b1=BELOW_1, b2=BELOW_1)
    return make_rule(zeros("m"), lion_update, numbers)


def lion_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = −α·sign(β₁m + (1 − β₁)g) − αλθ, m ← β₂m + (1 − β₂)g."""
    return with_decay("lion", sign_update, grads, state, params)


def sign_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """Δ = −α·sign(β₁m + (1 − β₁)g), m ← β₂m + (1 − β₂)g."""

    def formula(
        g: jax.Array, m: jax.Array, *, learning_rate: jax.Array, b1: jax.Array, b2: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        change = -learning_rate * jnp.sign(b1 * m + (1 - b1) * g)
        return change, b2 * m + (1 - b2) * g

    return for_each_array(formula, grads, state)


# Muon --------------------------------------------------------------------------------------------


def muon(
    learning_rate: ArrayLike = 0.001,
    momentum: ArrayLike = 0.95,
    weight_decay: ArrayLike = 0.1,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    consistent_rms: ArrayLike | None = 0.2,
    matrices: tuple[str, ...] | None = None,
) -> Optimizer:
    """Steps along all directions of a matrix alike: Δ = −α·s·O − αλθ, O ≈ UVᵀ of n = UΣVᵀ,

        m ← μm + g      n = g + μm      s = 0.2 · √max(rows, columns)

    for the last two axes of what has two or more and is not named `bias`, `scale`, `offset` or `table`, or
    else of the paths that match the patterns `matrices`, as ("body/*/weight",); the rest by `adamw`. s makes
    steps as large as AdamW's, so that one α and one λ serve both. Liu et al. 2025, eq. 4. (Optax and PyTorch:
    √max(1, columns/rows), Jordan et al. 2024; here with consistent_rms=None.)

    >>> rule, weight = muon(1.0, weight_decay=0.0), {"weight": jnp.zeros((1, 25))}
    >>> updates, _ = rule.update({"weight": jnp.full((1, 25), 7.0)}, rule.init(weight), weight)
    >>> updates["weight"][0, :2].round(2)      # −0.2 · √25 · 0.7 · g/‖g‖: 0.7 is O's rough singular value
    Array([-0.14, -0.14], dtype=float32)

    Raises ValueError for a number that is negative or not finite, μ or a β outside [0, 1), or where `update`
    is given no params; TypeError for matrices that are no patterns.
    """
    numbers = {"learning_rate": learning_rate, "momentum": momentum, "weight_decay": weight_decay}
    numbers |= {"b1": b1, "b2": b2, "eps": eps, "eps_root": 0.0}
    numbers["consistent_rms"] = 0.0 if consistent_rms is None else consistent_rms
    check_rule_numbers("muon", numbers, momentum=BELOW_1, b1=BELOW_1, b2=BELOW_1)
    return make_rule(_muon_init_for(as_patterns("muon: matrices", matrices)), muon_update, numbers)


@functools.cache  # on the patterns, so that other numbers are the same program
def _muon_init_for(matrices: tuple[str, ...] | None) -> Callable[..., RuleState]:
    return functools.partial(muon_init, matrices)


def muon_init(matrices: tuple[str, ...] | None, params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    """m = v = 0, without v for matrices."""

    def of_the_rest(path: Any, v: Any) -> Any:
        if matrices is None:
            is_matrix = v.ndim > 1 and not spared_by_name(path)
        else:
            is_matrix = any(matches(path, pattern) for pattern in matrices)
        return None if is_matrix else v

    state = init_state(params, numbers, m=0.0, v=0.0)
    v = jax.tree_util.tree_map_with_path(of_the_rest, state.moments["v"])
    return state._replace(moments={"m": state.moments["m"], "v": v})


def muon_update(grads: Any, state: RuleState, params: Any = None) -> tuple[Any, RuleState]:
    """m ← μm + g, Δ = −α·s·O(g + μm) − αλθ for matrices, Δ = Δ_adam − αλθ for the rest."""
    return with_decay("muon", _muon_step, grads, state, params)


def _muon_step(grads: Any, state: RuleState) -> tuple[Any, RuleState]:
    numbers, m, v = state.hyperparameters, state.moments["m"], state.moments["v"]
    check_like("gradients", m, grads)

    def part(tree: Any, of_matrices: bool) -> Any:
        def pick(v: Any, leaf: Any) -> Any:
            return leaf if (v is None) == of_matrices else None

        return jax.tree.map(pick, v, tree, is_leaf=lambda leaf: leaf is None)

    def of(names: str, **moments: Any) -> RuleState:
        return RuleState(state.step, {name: numbers[name] for name in names.split()}, moments)

    turned, whole = orthogonal_update(
        part(grads, True), of("learning_rate momentum consistent_rms", m=part(m, True))
    )
    moved, rest = adam_update(
        part(grads, False), of("learning_rate b1 b2 eps eps_root", m=part(m, False), v=v)
    )
    moments = {"m": first_of([whole.moments["m"], rest.moments["m"]]), "v": rest.moments["v"]}
    return first_of([turned, moved]), state._replace(step=rest.step, moments=moments)


def orthogonal_update(grads: Any, state: RuleState) -> tuple[Any, RuleState]:
    """m ← μm + g, Δ = −α·s·O(g + μm)."""

    def formula(
        g: jax.Array,
        m: jax.Array,
        *,
        learning_rate: jax.Array,
        consistent_rms: jax.Array,
        momentum: jax.Array,
    ) -> tuple[jax.Array, jax.Array]:
        rows, columns = g.shape[-2:]
        m = momentum * m + g
        jordan, liu = max(1, columns / rows) ** 0.5, consistent_rms * max(rows, columns) ** 0.5
        scale = jnp.where(consistent_rms == 0, jordan, liu)
        return -learning_rate * scale * orthogonal_factor(g + momentum * m), m

    return for_each_array(formula, grads, state)


def orthogonal_factor(n: jax.Array) -> jax.Array:
    """Roughly UVᵀ of n = UΣVᵀ, by five Newton–Schulz steps that bring every singular value into 0.7 … 1.2:

        X ← aX + (bA + cA²)X     A = XXᵀ     X₀ = n / ‖n‖_F     a, b, c = 3.4445, −4.775, 2.0315

    Jordan et al. 2024.
    """
    is_tall = n.shape[-2] > n.shape[-1]
    x = jnp.swapaxes(n, -1, -2) if is_tall else n
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True))
    x = x / jnp.where(largest == 0, 1, largest)  # so that squares neither overflow nor vanish
    x = x / (root(jnp.sum(x**2, axis=(-2, -1), keepdims=True)) + 1e-7)
    for _ in range(5):
        a = x @ jnp.swapaxes(x, -1, -2)
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return jnp.swapaxes(x, -1, -2) if is_tall else x


# Decay -------------------------------------------------------------------------------------------


def with_decay(
    name: str, update: Callable[..., Any], grads: Any, state: RuleState, params: Any
) -> tuple[Any, RuleState]:
    """Δ − αλθ for what is not spared, Δ of a rule that does not see λ."""
    numbers = state.hyperparameters if hasattr(state, "hyperparameters") else {}
    if "weight_decay" not in numbers:
        check_rule_state(name, state, {"weight_decay", *numbers})
    own = {key: number for key, number in numbers.items() if key != "weight_decay"}
    updates, moved = update(grads, state._replace(hyperparameters=own))
    pulled = pull_to_zero(name, updates, params, numbers["learning_rate"] * numbers["weight_decay"])
    return pulled, moved._replace(hyperparameters=numbers)
