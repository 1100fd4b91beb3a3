"""L-BFGS: the curvature of the last steps turns and scales the gradient; a line search says how far to go.

    s = θ′ − θ,   y = g′ − g         a step, and how the gradient changed by it
    d = −H·g                         H ≈ (∇²f)⁻¹ from the last pairs (s, y); it is never written out
    φ(α) = f(θ + αd)                 the cost along d, its slope φ′(α) = ∇f(θ + αd)ᵀd

    φ(α) ≤ φ(0) + c₁αφ′(0)           the strong Wolfe conditions: low enough,
    |φ′(α)| ≤ −c₂φ′(0)               and flat enough, which makes sᵀy > 0, and with it H positive definite

f cost, θ parameters, g its gradient; all parameters are one vector. Nocedal & Wright 2006, chapters 3 and 7.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import Span, check_number, check_whole, is_traced
from fnn.optimizers.rule import (
    Optimizer,
    RuleState,
    apply_updates,
    check_full_batch,
    check_like,
    check_rule_state,
    check_untouched,
    init_state,
)

__all__ = ["lbfgs"]


def lbfgs(
    memory: int = 10, c1: ArrayLike = 1e-4, c2: ArrayLike = 0.9, evaluations: ArrayLike = 20
) -> Optimizer:
    """Newton's direction from the last gradients, as far as strong Wolfe holds: θ ← θ + αd, d = −H·g.

    There is no learning rate, and the cost never rises. H is made of the last `memory` pairs (s, y). A step
    tries α = 1 first, and `evaluations` lengths at most. If none is low and flat enough, it takes the lowest;
    if none is low enough, it stands still and forgets its pairs. The moments of its state show `step_length`,
    the α of the last step, and its `evaluations`.

    It searches along f, so it needs all rows in every step, `fit(…, batch_size=len(x))`, and no link before
    it in a chain. No derivative goes through its update. Nocedal & Wright 2006, Algorithms 7.4, 3.5 and 3.6.

    >>> def cost(w):
    ...     return w**2 / 2
    >>> rule, w = lbfgs(), jnp.float32(3)
    >>> state = rule.init(w)
    >>> for _ in range(2):                                       # −g/|g|; then H = s/y = 1, so d = −g
    ...     value, g = jax.value_and_grad(cost)(w)
    ...     updates, state = rule.update(g, state, w, value=value, value_fn=cost)
    ...     print(w := apply_updates(w, updates))
    2.0
    0.0

    Raises ValueError for a memory below 1, for numbers that are not 0 < c₁ < c₂ < 1 and evaluations ≥ 1, and
    where `update` is given less than it needs, or a part of the rows.
    """
    check_whole("lbfgs", "memory", memory, fix="It is the number of pairs that are kept, such as 10.")
    least = 0 if is_traced(c1) else c1
    check_number("lbfgs", "c1", c1, Span("0 < {} < 1", lambda n: (n > 0) & (n < 1), "Such as c1=0.0001."))
    check_number("lbfgs", "c2", c2, Span("c1 < {} < 1", lambda n: (n > least) & (n < 1), "Such as c2=0.9."))
    some = Span("1 ≤ {} < ∞", lambda n: (n >= 1) & (n < jnp.inf), "Such as evaluations=20.")
    check_number("lbfgs", "evaluations", evaluations, some)
    return Optimizer(Partial(_init_of(int(memory)), c1=c1, c2=c2, evaluations=evaluations), lbfgs_update)


@functools.cache  # so that the same memory is the same program
def _init_of(memory: int) -> Callable[..., RuleState]:
    return functools.partial(_lbfgs_init, memory)


def _lbfgs_init(memory: int, params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    """No pairs yet: rows of zeros. What the last search did stands beside them."""
    state = init_state(params, numbers)
    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(params))
    none = jnp.zeros((memory, _as_vector(params, dtype)[0].size), dtype)
    count, length = jnp.zeros((), jnp.int32), jnp.zeros((), dtype)
    return state._replace(moments={"evaluations": count, "s": none, "step_length": length, "y": none})


def lbfgs_update(
    grads: Any,
    state: RuleState,
    params: Any = None,
    *,
    value: Any = None,
    grad: Any = None,
    value_fn: Any = None,
    full_batch: bool = True,
) -> tuple[Any, RuleState]:
    """Δ = αd, and the pair (s, y) of this step: its last gradient is that at θ + Δ."""
    check_rule_state("lbfgs", state, {"c1", "c2", "evaluations"}, moments=4)
    _check_call(params, value, value_fn)
    check_full_batch("lbfgs", full_batch)
    check_untouched("lbfgs", grads, grad)
    check_like("gradients", params, grads)
    pairs = state.moments["s"], state.moments["y"]
    dtype = pairs[0].dtype
    g, as_tree = _as_vector(grads, dtype)
    check_like("gradients", pairs[0][-1], g)
    d = _direction(g, *pairs)

    def along(length: jax.Array) -> Point:
        moved = apply_updates(params, as_tree(length * d))  # the very parameters that the step would leave
        value, slopes = jax.value_and_grad(value_fn)(moved)
        gradient = _as_vector(slopes, dtype)[0]
        return Point(length, value.astype(dtype), _dot(gradient, d), gradient)

    start = Point(jnp.zeros((), dtype), jnp.asarray(value, dtype), _dot(g, d), g)
    numbers = {name: number.astype(dtype) for name, number in state.hyperparameters.items()}
    end, evaluations = _search(along, start, **numbers)
    updates = as_tree(jnp.where(end.length > 0, end.length * d, 0))  # d may hold NaN
    step = _as_vector(apply_updates(params, updates), dtype)[0] - _as_vector(params, dtype)[0]
    length = jnp.where(jnp.any(step != 0), end.length, 0)  # one lost in rounding leaves all where it was
    s, y = _remember(*pairs, step, end.gradient - g, forget=length == 0)
    moments = {"evaluations": evaluations, "s": s, "step_length": length, "y": y}
    return updates, state._replace(step=state.step + 1, moments=moments)


def _check_call(params: Any, value: Any, value_fn: Any) -> None:
    """Refuse to search without a cost."""
    given = {"params": params, "value": value, "value_fn": value_fn}
    missing = ", ".join(name for name, argument in given.items() if argument is None)
    if missing:
        raise ValueError(
            f"lbfgs searches along the cost and was given no {missing}. Call optimizer.update(grads, state, "
            "params, value=value, value_fn=cost), with value, grads = jax.value_and_grad(cost)(params)."
        )


# Vectors -----------------------------------------------------------------------------------------


_dot = functools.partial(jnp.dot, precision="highest")  # accelerators would round the factors


def _as_vector(tree: Any, dtype: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """All numbers of a tree as one vector, and the way back, which keeps the vector's dtype."""
    vector, as_tree = ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(dtype), tree))
    return vector.astype(dtype), as_tree


# The direction -----------------------------------------------------------------------------------


def _direction(g: jax.Array, s: jax.Array, y: jax.Array) -> jax.Array:
    """d = −H·g by the two-loop recursion, Algorithm 7.4, from H₀ = γI, γ = sᵀy / yᵀy of the newest pair.

    Without pairs, or where that is not downhill, d = −g·min(1, 1/‖g‖). A row of zeros is no pair: its ρ is 0.
    """
    curvature = jnp.sum(s * y, axis=1)
    rho = jnp.where(curvature > 0, 1 / curvature, 0)

    def newest_first(q: jax.Array, pair: Any) -> tuple[jax.Array, jax.Array]:
        s, y, rho = pair
        alpha = rho * _dot(s, q)
        return q - alpha * y, alpha

    def oldest_first(r: jax.Array, pair: Any) -> tuple[jax.Array, None]:
        s, y, rho, alpha = pair
        return r + (alpha - rho * _dot(y, r)) * s, None

    q, alphas = jax.lax.scan(newest_first, g, (s, y, rho), reverse=True)
    gamma = curvature[-1] / jnp.maximum(_dot(y[-1], y[-1]), jnp.finfo(g.dtype).tiny)
    r, _ = jax.lax.scan(oldest_first, gamma * q, (s, y, rho, alphas))
    return jnp.where(_dot(g, r) > 0, -r, -g / jnp.maximum(1, jnp.linalg.norm(g)))


def _remember(
    s: jax.Array, y: jax.Array, step: jax.Array, change: jax.Array, forget: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The pairs, and the new one last if sᵀy > ε‖s‖‖y‖: with less, H would not be positive definite."""
    rounding = jnp.finfo(s.dtype).eps * jnp.linalg.norm(step) * jnp.linalg.norm(change)
    curved = _dot(step, change) > rounding

    def push(rows: jax.Array, row: jax.Array) -> jax.Array:
        return jnp.where(curved, jnp.concatenate([rows[1:], row[None]]), jnp.where(forget, 0, rows))

    return push(s, step), push(y, change)


# The line search ---------------------------------------------------------------------------------


class Point(NamedTuple):
    """A place on the line: α, φ(α), φ′(α), ∇f(θ + αd)."""

    length: jax.Array
    value: jax.Array
    slope: jax.Array
    gradient: jax.Array


class Search(NamedTuple):
    """Strong Wolfe holds somewhere between `low`, the lowest that is low enough, and `high`."""

    low: Point
    high: Point
    trial: jax.Array
    evaluations: jax.Array
    found: jax.Array


def _search(
    along: Callable[[jax.Array], Point], start: Point, c1: jax.Array, c2: jax.Array, evaluations: jax.Array
) -> tuple[Point, jax.Array]:
    """Algorithms 3.5 and 3.6 in one: as long as nothing is too high, `high` lies at α = ∞.

    φ′(low) points towards high. Returns the last `low`: there strong Wolfe holds, if that was found. If
    nothing was low enough, it is the start.
    """

    def turn(search: Search) -> Search:
        low, high, at = search.low, search.high, along(search.trial)
        low_enough = (at.value <= start.value + c1 * at.length * start.slope) & (at.value <= low.value)
        too_high = ~(low_enough & jnp.isfinite(at.value) & jnp.isfinite(at.slope))
        passed = at.slope * (high.length - low.length) >= 0  # the minimum lies behind it, towards low
        high = _choose(too_high, at, _choose(passed, low, high))
        low = _choose(too_high, low, at)
        found = ~too_high & (jnp.abs(at.slope) <= -c2 * start.slope)
        trial = jnp.where(jnp.isinf(high.length), 2 * low.length, _between(low, high))
        return Search(low, high, trial, search.evaluations + 1, found)

    def goes_on(search: Search) -> jax.Array:
        return ~search.found & (search.evaluations < evaluations) & (start.slope < 0)

    infinitely_far = start._replace(length=jnp.full_like(start.length, jnp.inf))
    one, none, no = jnp.ones_like(start.length), jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    search = jax.lax.while_loop(goes_on, turn, Search(start, infinitely_far, one, none, no))
    return search.low, search.evaluations


def _choose(condition: jax.Array, one: Point, other: Point) -> Point:
    return jax.tree.map(functools.partial(jnp.where, condition), one, other)


def _between(low: Point, high: Point) -> jax.Array:
    """The minimum of the cubic through both values and slopes, eq. 3.59, but not too close to either end.

    Where `high` is not finite there is no cubic, and the bracket is halved.
    """
    width = high.length - low.length
    a, b = low.slope * width, high.slope * width  # slopes of the bracket mapped to [0, 1]
    d1 = a + b - 3 * (high.value - low.value)
    d2 = jnp.sqrt(d1**2 - a * b)
    share = 1 - (b + d2 - d1) / (b - a + 2 * d2)
    return low.length + width * jnp.clip(jnp.where(jnp.isnan(share), 0.5, share), 0.1, 0.9)
