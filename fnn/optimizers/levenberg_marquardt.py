"""Least squares: the cost as a parabola in the parameters, and a step that is damped until the cost falls.

    levenberg_marquardt   fixes: a slope says nothing of how far to go, nor how two parameters act together

θ parameters, P of them; ŷ predictions, c cost, g gradient, μ damping, Δ step.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve
from jax.tree_util import Partial
from jax.typing import ArrayLike

from fnn.guard.numbers import ABOVE_0, Span, check_numbers, check_whole
from fnn.guard.words import Words, shapes, unexpected
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

__all__ = ["levenberg_marquardt"]


NAME = "levenberg_marquardt"
TRIES = 10  # in one update; the next goes on from the damping that they reached
LARGEST_DAMPING = 1e10  # its step is lost in rounding: what does not fall now never will
LARGEST_MATRIX = 1  # GiB: G, the damped G and its factor are then 3, as much as a laptop spares
LARGEST_JACOBIAN = 2**24  # numbers, 64 MiB in float32: beyond it, its products are faster than J itself
SHRINKS = Span("0 < {} ≤ 1", lambda n: (n > 0) & (n <= 1))
GROWS = Span("1 < {} < ∞", lambda n: (n > 1) & (n < math.inf))


# The rule ----------------------------------------------------------------------------------------


def levenberg_marquardt(
    damping: ArrayLike = 1e-3, decrease: ArrayLike = 0.1, increase: ArrayLike = 10.0, chunk: int = 32
) -> Optimizer:
    """The lowest point of a parabola, damped until the cost falls: θ ← θ + Δ, (G + μ·s·I) Δ = −g,

        G = JᵀHJ + ∂²penalty/∂θ²      J = ∂ŷ/∂θ,  H = ∂²c/∂ŷ²,  s = tr G / P
        c(θ + Δ) < c(θ):              the step is taken, μ ← μ · decrease
        else:                         μ ← μ · increase, and again, in the same update

    G is the curvature of the cost without that of the network, so a convex cost gives no negative one. Small
    μ: the whole way to the lowest point, one step for a linear network and `mse`. Large μ: a short step
    against the gradient. The unit s, the mean eigenvalue of G, frees μ of the scale of the cost.
    After ten tries without a fall θ stays, and the next update begins with the larger μ. So the cost of a
    batch never rises, and Δ is never NaN.

    For networks of some hundred parameters, few outputs, and all rows as one batch: fit(…,
    batch_size=len(x)). An update costs P passes forward, P² products for each prediction, and P³/3 a try.
    It holds three matrices P × P, the activations of `chunk` passes at a time, and J (predictions × P) while
    that has less than 2²⁴ numbers. Of a larger one it holds `chunk` columns at a time.

    Levenberg 1944; Marquardt 1963; for networks, Hagan & Menhaj 1994, §III, which is H = 2I/n, the cost
    `mse`; G for other costs, Schraudolph 2002.

    >>> from fnn import Objective, mse
    >>> x, y, w = jnp.array([1.0, 2.0]), jnp.array([2.0, 4.0]), jnp.array(0.0)
    >>> line = Objective(lambda w: w * x, lambda predictions: mse(predictions, y))
    >>> rule = levenberg_marquardt(damping=1.0)
    >>> rule.update(jax.grad(line)(w), rule.init(w), w, value=line(w), value_fn=line)[0]    # 10 / (5 + 1 · 5)
    Array(1., dtype=float32)

    Raises ValueError for a damping that is not above 0, a decrease outside (0, 1], an increase not above 1,
    a chunk below 1, and where G would take more than 1 GiB, 16384 parameters in float32; TypeError where
    `update` is given a value_fn that is no fnn.Objective.
    """
    numbers = {"damping": damping, "decrease": decrease, "increase": increase}
    check_numbers(NAME, numbers, damping=ABOVE_0, decrease=SHRINKS, increase=GROWS)
    return Optimizer(Partial(_init, **numbers), _in_chunks(check_whole(NAME, "chunk", chunk)))


def _init(params: chex.ArrayTree, **numbers: ArrayLike) -> RuleState:
    state = init_state(params, numbers)
    return state._replace(moments={"damping": jnp.asarray(numbers["damping"], _flat(params)[0].dtype)})


@functools.cache  # on the chunk alone: rules that differ in their numbers are the same program
def _in_chunks(chunk: int) -> Callable[..., Any]:
    return functools.partial(levenberg_marquardt_update, chunk=chunk)


def levenberg_marquardt_update(
    grads: Any,
    state: RuleState,
    params: Any = None,
    *,
    value: Any,
    value_fn: Any,
    grad: Any = None,
    full_batch: bool = True,
    chunk: int = 32,
) -> tuple[Any, RuleState]:
    """(G + μ·s·I) Δ = −g, with the first μ of μ, 10μ, 100μ, … by which the cost falls."""
    _check_given(grads, state, params, value_fn)
    check_full_batch(NAME, full_batch)
    check_untouched(NAME, grads, grad)
    if not jax.tree.leaves(grads):  # nothing is trained
        return grads, state._replace(step=state.step + 1)
    g, unravel = _flat(grads)

    def moved(step: jax.Array) -> Any:
        return apply_updates(params, unravel(step))

    matrix = gauss_newton_matrix(value_fn, moved, jnp.zeros_like(g), chunk).astype(g.dtype)
    mean_curvature = jnp.trace(matrix) / max(g.size, 1)
    unit = jnp.where(mean_curvature > 0, mean_curvature, 1)  # no curvature, as under `mae`: Δ = −g/μ

    def solve(damping: jax.Array) -> jax.Array:
        return -cho_solve(cho_factor(matrix + damping * unit * jnp.eye(g.size, dtype=g.dtype)), g)

    def falls(step: jax.Array) -> jax.Array:
        return jnp.isfinite(step).all() & (value_fn(moved(step)) < value)

    numbers = {name: number.astype(g.dtype) for name, number in state.hyperparameters.items()}
    found = damp_until_it_falls(solve, falls, Trial(state.moments["damping"], jnp.zeros_like(g)), numbers)
    return unravel(found.step), state._replace(step=state.step + 1, moments={"damping": found.damping})


# The parabola ------------------------------------------------------------------------------------


def gauss_newton_matrix(objective: Any, moved: Callable[..., Any], zero: jax.Array, chunk: int) -> jax.Array:
    """G = JᵀHJ + ∂²penalty/∂θ² of the objective at moved(0), `chunk` of its rows at a time."""

    def predict(step: jax.Array) -> Any:
        predictions = objective.predict(moved(step))
        _check_real(predictions)
        return _wide(predictions)

    _check_size(zero)
    predictions, push = jax.linearize(predict, zero)  # v → Jv
    flat, unravel = ravel_pytree(predictions)
    _, curve = jax.linearize(jax.grad(lambda flat: objective.cost(unravel(flat))), flat)  # u → Hu

    def on_rows(function: Callable[..., Any], rows: jax.Array) -> jax.Array:
        return jax.lax.map(function, rows, batch_size=chunk)

    identity = jnp.eye(zero.size, dtype=zero.dtype)
    if flat.size * zero.size > LARGEST_JACOBIAN:
        _, pull = jax.vjp(predict, zero)  # u → Jᵀu
        matrix = on_rows(lambda v: pull(unravel(curve(ravel_pytree(push(v))[0])))[0], identity)
    else:
        slopes = on_rows(lambda v: ravel_pytree(push(v))[0], identity)  # Jᵀ: row p is ∂ŷ/∂θₚ
        matrix = on_rows(lambda row: jnp.dot(slopes, curve(row), precision="highest"), slopes)
    if getattr(objective, "penalty", None) is None:
        return matrix
    _, curve_penalty = jax.linearize(jax.grad(lambda step: objective.penalty(moved(step))), zero)
    return matrix + on_rows(curve_penalty, identity)


def _wide(tree: Any) -> Any:
    """The tree in at least float32."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32)), tree)


def _flat(tree: Any) -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """All arrays of the tree in one, of the widest of their types, and the way back."""
    return ravel_pytree(_wide(tree))


# The damping -------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """The damping to try next, and the step found, 0 before there is one."""

    damping: jax.Array
    step: jax.Array
    fell: Any = False
    tries: Any = 0


def damp_until_it_falls(
    solve: Callable[..., Any], falls: Callable[..., Any], first: Trial, numbers: dict[str, jax.Array]
) -> Trial:
    """Damp more until the cost falls, and then less: by what is above the rounding of G, and moves θ."""
    smallest = jnp.finfo(first.step.dtype).eps

    def attempt(before: Trial) -> Trial:
        step = solve(before.damping)
        fell = falls(step)
        factor = jnp.where(fell, numbers["decrease"], numbers["increase"])
        damping = jnp.clip(before.damping * factor, smallest, LARGEST_DAMPING)
        return Trial(damping, jnp.where(fell, step, 0), fell, before.tries + 1)

    return jax.lax.while_loop(lambda now: ~now.fell & (now.tries < TRIES), attempt, first)


# What is refused ---------------------------------------------------------------------------------


def _check_given(grads: Any, state: RuleState, params: Any, value_fn: Any) -> None:
    """Refuse another rule's state, missing or other parameters, and a cost that cannot be opened."""
    check_rule_state(NAME, state, {"damping", "decrease", "increase"}, moments=1)
    if params is None:
        raise ValueError(
            f"{NAME} needs the parameters: optimizer.update(grads, state, params, value=…, value_fn=…)."
        )
    check_like("gradients", params, grads)
    if not (hasattr(value_fn, "predict") and hasattr(value_fn, "cost")):
        expected = "an fnn.Objective(predict, cost), whose predictions lie between parameters and cost"
        fix = "fnn.fit and fnn.step give one; in a loop of your own, make one of the two functions."
        raise TypeError(unexpected(f"{NAME}: value_fn", expected, value_fn, fix))


def _check_size(zero: jax.Array) -> None:
    """Refuse more parameters than there is room for."""
    gib = zero.size**2 * zero.dtype.itemsize / 2**30
    if gib > LARGEST_MATRIX:
        got = Words(f"{zero.size} parameters, so one of {gib:.1f} GiB")
        fix = "Freeze layers with fnn.freeze, or take a rule that keeps no matrix, such as fnn.adam()."
        expected = f"a matrix of parameters × parameters of at most {LARGEST_MATRIX} GiB"
        raise ValueError(unexpected(NAME, expected, got, fix))


def _check_real(predictions: Any) -> None:
    """Refuse predictions without a derivative: ids, counts, complex numbers."""
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(predictions)):
        fix = "Leave ids and counts out of what the network returns."
        raise TypeError(unexpected(f"{NAME}: predictions", "real numbers", Words(shapes(predictions)), fix))
