"""The cost of a sequence of labels that nobody aligned with the frames: speech, handwriting, signals.

A path gives each frame a class or the blank; it spells the labels that are left once repeated classes are one
and blanks are gone: − a a − b and a − b b b spell "ab". Two labels that are the same need a blank between
them. All paths of a label sequence run through the states

    blank y₁ blank y₂ … y_L blank        from left to right, one frame each

staying, going to the next, or leaving out a blank between labels that differ.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fnn.guard.numbers import Span, check_number, refuse
from fnn.losses.mean import mean_slope, read_pair, spread, weighted_mean, without_weightless
from fnn.losses.targets import Pair, Takes

__all__ = ["ctc"]


def check_labels(pair: Pair) -> None:
    """Refuse targets that are not the label ids of sequences of logits, and labels that are the blank."""
    z, y = pair.predictions.shape, pair.targets.shape
    if len(z) < 2 or len(y) != len(z) - 1 or y[:-1] != z[:-2]:
        raise ValueError(
            f"{pair.cost} expected logits (…, frames, classes) and label ids (…, labels), got {z} and "
            f"{pair.called} of shape {y}. Pad shorter label sequences with -1."
        )
    if not jnp.issubdtype(pair.targets.dtype, jnp.integer):
        raise ValueError(
            f"{pair.cost} expected whole-number label ids, got {pair.called} of {pair.targets.dtype}. "
            "Give y.astype(int)."
        )
    blank, classes, weight = pair.options.get("blank", 0), z[-1], pair.sample_weight
    check_number(pair.cost, "blank", blank, Span(f"0 ≤ {{}} < {classes}", lambda n: (n >= 0) & (n < classes)))
    if weight is not None and jnp.ndim(weight) == len(z) - 1:
        weight = jnp.max(jnp.asarray(weight), -1, initial=0)
    fix = f"Number the {classes - 1} labels around the blank, blank={blank}; -1 is no label."
    refuse(
        f"{pair.cost}: {pair.called}", pair.targets, lambda ids: (ids >= classes) | (ids == blank),
        f"label ids below {classes}, for {classes} outputs, that are not the blank", fix, weight,
    )  # fmt: skip


CTC = Takes("ctc", check_labels, {"blank": Span("{} = 0, 1, 2, …", lambda n: (n >= 0) & (n % 1 == 0))})


def ctc(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None = None,
    blank: ArrayLike = 0,
) -> jax.Array:
    """Connectionist temporal classification: the mean over sequences of −log Σ p(path).

        p(path) = Πₜ softmax(zₜ)[pathₜ]     over all paths that spell y     z: (…, T, K)   y: ids (…, L)

    An id below 0 is no label, so shorter sequences are padded with −1. `sample_weight` (…) weighs sequences;
    one of each frame, (…, T), is a mask too: a frame of weight 0 is not there, and a sequence counts as its
    heaviest frame (an epoch's cost then weighs batches by their frames). Labels that need more frames than
    there are, T < L + #{yᵢ = yᵢ₊₁}, have no path: such a sequence is left out, as with weight 0. `blank` is a
    class of its own, never a label. Raises ValueError for shapes that do not fit, ids that are not whole
    numbers, or are K or more, and the blank as a label; under `jit`, where ids have no values yet, such a
    sequence costs NaN. Graves et al. 2006, §4.1.

    >>> ctc(jnp.zeros((1, 2, 2)), jnp.array([[1]])).round(4)      # paths 1 1, − 1, 1 −: −log 3/4
    Array(0.2877, dtype=float32)
    """
    sequences = _read(logits, targets, sample_weight, blank)
    cost = -_log_likelihood(sequences)
    return weighted_mean(jnp.where(sequences.weight == 0, 0, cost), sequences.weight)


def ctc_slope(logits: Any, targets: Any, sample_weight: Any = None, blank: Any = 0) -> jax.Array:
    """∂c/∂zₜ = (softmax(zₜ) − γₜ)/n, with γₜ(k) the probability that a path spelling y is at class k.

        γₜ(k) = Σ_{states s of class k} αₜ(s) βₜ(s) / Σ p(path)

    α sums over the beginnings of the paths up to frame t, β over their ends after it. Graves et al. 2006,
    eq. 16.
    """
    sequences = _read(logits, targets, sample_weight, blank)
    slope = -_likelihood_and_slope(sequences)[1]
    share = jnp.broadcast_to(mean_slope(sequences.weight, sequences.weight), sequences.weight.shape)
    counts = (share != 0)[..., None, None]
    return jnp.where(counts, slope, 0) * share[..., None, None]


NONE = -1e30  # the logarithm of no probability: with −∞ the slope of a sum of two of them is NaN


class Sequences(NamedTuple):
    """Sequences as paths through S = 2L + 1 states, time first where a scan goes along it."""

    logits: jax.Array  # (…, T, K)
    classes: jax.Array  # (…, S): the class of each state
    present: jax.Array  # (T, …, 1): whether there is such a frame
    may_skip: jax.Array  # (…, S): whether a path may come from two states before
    is_end: jax.Array  # (…, S)
    weight: jax.Array  # (…): 0 for a sequence without any path


def _read(logits: Any, targets: Any, sample_weight: Any, blank: Any) -> Sequences:
    z, y = read_pair(CTC, logits, targets, sample_weight, blank=blank)
    z, blank = without_weightless(z, sample_weight), jnp.asarray(blank).astype(jnp.int32)
    present, weight = _frames_and_weight(z, sample_weight)
    y = jnp.where((weight == 0)[..., None], -1, y.astype(jnp.int32))
    is_label = jnp.take_along_axis(y >= 0, order := jnp.argsort(y < 0, -1), -1)  # labels first, in order
    y = jnp.where(is_label, jnp.take_along_axis(y, order, -1), blank)
    count = is_label.sum(-1, keepdims=True)
    classes = jnp.full((*y.shape[:-1], 2 * y.shape[-1] + 1), blank, y.dtype).at[..., 1::2].set(y)
    states = jax.lax.broadcasted_iota(y.dtype, classes.shape, classes.ndim - 1)
    may_skip = (states % 2 == 1) & (classes != _shift(classes, 2, -1))
    repeats = (is_label[..., 1:] & (y[..., 1:] == y[..., :-1])).sum(-1)
    has_path = present.sum(-1) >= count[..., 0] + repeats
    is_known = (
        ~(is_label & ((y == blank) | (y >= z.shape[-1]))).any(-1) & (blank >= 0) & (blank < z.shape[-1])
    )
    return Sequences(
        z * jnp.where(is_known, 1, jnp.nan)[..., None, None],  # a product: so that the slope is NaN, too
        classes,
        present=jnp.moveaxis(present[..., None], -2, 0),
        may_skip=may_skip,
        is_end=(states == 2 * count) | (states == 2 * count - 1),
        weight=jnp.where(has_path | ~is_known, weight, 0),
    )


def _frames_and_weight(z: jax.Array, sample_weight: Any) -> tuple[jax.Array, jax.Array]:
    """Which frames there are, (…, T), and the weight of each sequence."""
    rows = jnp.ones(z.shape[:-2], z.dtype)
    if sample_weight is None:
        return jnp.ones(z.shape[:-1], bool), rows
    if jnp.ndim(sample_weight) < z.ndim - 1:
        return jnp.ones(z.shape[:-1], bool), spread(sample_weight, rows)
    frames = spread(sample_weight, z[..., 0])
    return frames != 0, frames.max(-1, initial=0)


@jax.custom_jvp
def _log_likelihood(sequences: Sequences) -> jax.Array:
    """log Σ p(path) of each sequence; −∞ where its logits rule all paths out."""
    return _at_the_ends(sequences, _alphas(sequences, _emitted(sequences))[-1])


@_log_likelihood.defjvp
def _log_likelihood_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """The derivative by hand, for jax.grad too: through the scan it would take several times as long."""
    total, slope = _likelihood_and_slope(primals[0])
    return total, (slope * tangents[0].logits).sum((-2, -1))


def _likelihood_and_slope(sequences: Sequences) -> tuple[jax.Array, jax.Array]:
    """log Σ p(path), and its derivative with respect to the logits: γₜ − softmax(zₜ)."""
    emitted = _emitted(sequences)
    alphas = _alphas(sequences, emitted)
    total = _at_the_ends(sequences, alphas[-1])
    of_states = jnp.exp(alphas[1:] + _betas(sequences, emitted) - jnp.expand_dims(total, (0, -1)))
    classes = jax.nn.one_hot(sequences.classes, sequences.logits.shape[-1], dtype=of_states.dtype)
    gamma = jnp.einsum("t...s,...sk->...tk", of_states, classes, precision="highest")
    there = jnp.moveaxis(sequences.present, 0, -2) & (total != -jnp.inf)[..., None, None]
    return total, jnp.where(there, gamma - jax.nn.softmax(sequences.logits), 0)


def _emitted(sequences: Sequences) -> jax.Array:
    """The log-probability of each state's class at each frame: (T, …, S)."""
    z, classes = sequences.logits, sequences.classes
    ids = jnp.broadcast_to(classes[..., None, :], (*z.shape[:-1], classes.shape[-1])).clip(0, z.shape[-1] - 1)
    log_p = jnp.maximum(jax.nn.log_softmax(z), NONE)
    return jnp.moveaxis(jnp.take_along_axis(log_p, ids, -1), -2, 0)


def _at_the_ends(sequences: Sequences, alpha: jax.Array) -> jax.Array:
    total = jax.nn.logsumexp(jnp.where(sequences.is_end, alpha, NONE), -1)
    return jnp.where(total < NONE / 2, -jnp.inf, total)


def _alphas(sequences: Sequences, emitted: jax.Array) -> jax.Array:
    """log α before the first frame, where a path is at the first blank, and after each: (T + 1, …, S)."""
    may_skip = sequences.may_skip

    def forward(alpha: jax.Array, frame: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        emitted, present = frame
        before = jnp.pad(alpha, [(0, 0)] * (alpha.ndim - 1) + [(2, 0)], constant_values=NONE)
        skipped = jnp.where(may_skip, before[..., :-2], NONE)
        alpha = jnp.where(present, _log_sum(alpha, before[..., 1:-1], skipped) + emitted, alpha)
        return alpha, alpha

    start = jnp.full(sequences.classes.shape, NONE, emitted.dtype).at[..., 0].set(0)
    _, alphas = jax.lax.scan(forward, start, (emitted, sequences.present))
    return jnp.concatenate([start[None], alphas])


def _betas(sequences: Sequences, emitted: jax.Array) -> jax.Array:
    """log β after each frame: (T, …, S)."""
    may_skip = _shift(sequences.may_skip, -2, False)

    def backward(beta: jax.Array, frame: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        emitted, present = frame
        ahead = beta + emitted
        after = jnp.pad(ahead, [(0, 0)] * (ahead.ndim - 1) + [(0, 2)], constant_values=NONE)
        skipped = jnp.where(may_skip, after[..., 2:], NONE)
        return jnp.where(present, _log_sum(ahead, after[..., 1:-1], skipped), beta), beta

    end = jnp.where(sequences.is_end, 0, NONE).astype(emitted.dtype)
    return jax.lax.scan(backward, end, (emitted, sequences.present), reverse=True)[1]


def _log_sum(*terms: jax.Array) -> jax.Array:
    """log Σ eᵗ of three terms: one pass, where two logaddexp are two."""
    largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, terms))
    return largest + jnp.log(sum(jnp.exp(term - largest) for term in terms))


def _shift(states: jax.Array, by: int, fill: Any) -> jax.Array:
    """Each state's value moved `by` states to the right, or to the left."""
    size, none = states.shape[-1], [(0, 0)] * (states.ndim - 1)
    padded = jnp.pad(states, [*none, (max(by, 0), max(-by, 0))], constant_values=fill)
    return padded[..., :size] if by > 0 else padded[..., -size:]


SLOPES: dict[Any, Callable[..., jax.Array]] = {ctc: ctc_slope}

TARGETS: dict[Any, Takes] = {ctc: CTC}
