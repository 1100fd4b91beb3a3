"""CTC: its value is the sum over all paths, its slope that of jax.grad, PyTorch's and Optax's."""

import functools
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused
from runs import compilations

import fnn
from fnn.losses.alignment import ctc_slope
from fnn.workflow.rows import check_targets

LABELS = [[1, 2], [2, 2], [1], [], [2, 1, 2]]


def padded(labels, length=4):
    return np.array([[*row, *[-1] * (length - len(row))] for row in labels])


def surprise(z, labels, blank=0):
    """−log of the probability of all paths that spell the labels, each path by itself."""
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(z.shape[-1]), repeat=len(z)):
        spelled = [k for k, _ in itertools.groupby(path) if k != blank]
        total += np.prod(p[np.arange(len(z)), path]) if spelled == list(labels) else 0.0
    return -np.log(total) if total else np.inf


def by_every_path(z, labels, blank=0):
    """The same in JAX, whose derivative knows nothing of ours."""
    paths = np.array(list(itertools.product(range(z.shape[-1]), repeat=len(z))))
    spell = lambda path: [k for k, _ in itertools.groupby(path) if k != blank]
    paths = np.array([path for path in paths.tolist() if spell(path) == list(labels)])
    scores = jax.nn.log_softmax(z)[np.arange(len(z)), paths].sum(-1)
    return -jax.nn.logsumexp(scores)


def logits(frames=5, classes=3, rows=5, seed=0):
    return 2 * np.random.default_rng(seed).normal(size=(rows, frames, classes))


# Values and slopes --------------------------------------------------------------------------------


def test_it_is_the_sum_over_all_paths(x64):
    z, y = logits(), padded(LABELS)
    each = [surprise(rows, labels) for rows, labels in zip(z, LABELS, strict=True)]
    weights = np.array([1.0, 2.0, 0.0, 3.0, 0.5])
    alone_and_together = jax.jit(lambda z: ([fnn.ctc(z[i], y[i]) for i in range(len(y))], fnn.ctc(z, y)))
    with x64():
        alone, together = alone_and_together(z)
        np.testing.assert_allclose(alone, each, rtol=1e-12)
        np.testing.assert_allclose(together, np.mean(each), rtol=1e-12)
        weighted = jax.jit(fnn.ctc)(z, y, weights)
        np.testing.assert_allclose(weighted, np.average(each, weights=weights), rtol=1e-12)


@pytest.mark.parametrize("blank", [0, 1, 2])
def test_any_class_may_be_the_blank(blank, x64):
    z, others = logits(frames=4), [k for k in range(3) if k != blank]
    labels = [[others[0], others[1]], [others[1], others[1]], [others[0]], [], [others[1]]]
    each = [surprise(rows, row, blank) for rows, row in zip(z, labels, strict=True)]
    with x64():
        value = jax.jit(lambda z: fnn.ctc(z, padded(labels), blank=blank))(z)
        np.testing.assert_allclose(value, np.mean(each), rtol=1e-12)


MASK = np.arange(5) < np.array([[5], [4], [2], [3], [0]])
WEIGHTS = {
    "none": None,
    "of sequences": np.array([1.0, 0.5, 2.0, 0.0, 1.5]),
    "of frames": MASK * 1.0,
    "of both": MASK * np.array([[1.0], [0.5], [2.0], [0.0], [1.5]]),
    "nothing": np.zeros(5),
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_the_slope_is_that_of_the_sum_over_all_paths(kind, x64):
    z, y, weights = logits(), padded(LABELS), WEIGHTS[kind]
    frames = np.ones((5, 5)) if weights is None else np.broadcast_to(np.atleast_2d(weights.T).T, (5, 5))
    counted = [
        i for i, labels in enumerate(LABELS) if frames[i].any() and fits(labels, (frames[i] > 0).sum())
    ]

    def every_path(z):
        each = [frames[i].max() * by_every_path(z[i][frames[i] > 0], LABELS[i]) for i in counted]
        return sum(each) / max(sum(frames[i].max() for i in counted), 1e-9)

    @jax.jit
    def value_and_slopes(z):
        value = functools.partial(fnn.ctc, targets=y, sample_weight=weights)
        return value(z), jax.grad(value)(z), ctc_slope(z, y, weights)

    with x64():
        value, by_jax, by_hand = map(np.asarray, value_and_slopes(z))
        total, expected = jax.jit(jax.value_and_grad(every_path))(z) if counted else (0, 0 * z)
        np.testing.assert_allclose(value, total, rtol=1e-12)
    np.testing.assert_allclose(by_hand, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(by_jax, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(by_hand.sum(-1), 0, atol=1e-14)
    assert np.any(by_hand) == (kind != "nothing")
    if weights is not None and weights.ndim == 2:
        assert not np.any(by_hand[weights == 0])


@pytest.mark.parametrize("labels", LABELS, ids=str)
def test_its_first_and_second_derivative_are_those_of_the_sum_over_all_paths(labels, x64):
    z, y = logits(rows=1)[0], padded([labels])[0]
    both = (lambda z: fnn.ctc(z, y)), functools.partial(by_every_path, labels=labels)
    derivatives = jax.grad, jax.jacfwd, jax.hessian
    with x64():
        pairs = jax.jit(lambda z: [[derivative(f)(z) for f in both] for derivative in derivatives])(z)
    for ours, expected in pairs:
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 7])
def test_backward_propagation_begins_with_the_slope_by_hand(classes):
    x, y = np.float32(logits()), padded([[1], [1, 1], [], [classes - 1], [1]])
    network = fnn.serial(fnn.dense(classes))
    params, weights = network.init(jax.random.key(0), x), MASK * 1.0
    found = fnn.backprop(network, fnn.ctc, params, x, y, weights)
    grads = jax.jit(jax.grad(lambda params: fnn.loss(network, fnn.ctc)(params, x, y, weights)))(params)
    assert found.automatic == ()
    np.testing.assert_allclose(found.grads[0]["weight"], grads[0]["weight"], rtol=1e-4, atol=1e-5)


def test_frames_of_weight_0_are_not_there_wherever_they_stand(x64):
    z, y = logits(), padded(LABELS)
    holes = np.array([[1, 0, 1, 1, 1], [1, 1, 1, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1], [1, 1, 1, 1, 1]])
    broken = np.where(holes[..., None] == 1, z, np.nan)
    each = [surprise(rows[keep == 1], labels) for rows, keep, labels in zip(z, holes, LABELS, strict=True)]
    moved = np.array([[-1, 1, -1, 2], [-1, -1, 2, 2], [-1, 1, -1, -1], [-1] * 4, [2, 1, -1, 2]])
    with x64():
        values = jax.jit(lambda z: [fnn.ctc(z, labels, holes) for labels in (y, moved)])(broken)
        np.testing.assert_allclose(values, [np.mean(each)] * 2, rtol=1e-12)
        slope = jax.jit(ctc_slope)
        np.testing.assert_array_equal(slope(z, moved, holes), slope(z, y, holes))
        assert np.isfinite(jax.jit(jax.grad(lambda z: fnn.ctc(z, y, holes)))(broken)).all()


# Peers --------------------------------------------------------------------------------------------


def test_its_values_and_slopes_are_those_of_pytorch(x64):
    torch = pytest.importorskip("torch")
    z, y = logits(frames=12, classes=6, rows=4), np.array([[1, 2, 3], [4, 4, 1], [5, 1, -1], [2, -1, -1]])
    frames, counts = np.array([12, 9, 7, 3]), (y >= 0).sum(-1)
    mask = np.arange(12) < frames[:, None]
    theirs = torch.tensor(z, requires_grad=True)
    each = torch.nn.functional.ctc_loss(
        theirs.log_softmax(-1).transpose(0, 1), torch.tensor(np.maximum(y, 0)), torch.tensor(frames),
        torch.tensor(counts), reduction="none",
    )  # fmt: skip
    each.mean().backward()
    with x64():
        value, slopes = jax.jit(jax.value_and_grad(lambda z: fnn.ctc(z, y, mask)))(z)
    np.testing.assert_allclose(value, each.mean().item(), rtol=1e-10)
    np.testing.assert_allclose(slopes, theirs.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_long_sequences_agree_with_optax(x64):
    optax = pytest.importorskip("optax")
    draw = np.random.default_rng(0)
    z, y = draw.normal(size=(3, 200, 20)), draw.integers(1, 20, size=(3, 40))
    with x64():
        none = np.zeros(z.shape[:2]), np.zeros(y.shape)
        loss = lambda z: optax.ctc_loss(z, none[0], jnp.array(y), none[1], log_epsilon=-1e30).mean()
        theirs, exact = jax.jit(jax.value_and_grad(loss))(z)
        ours, slopes = jax.jit(lambda z: (fnn.ctc(z, y), ctc_slope(z, y)))(z)
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        np.testing.assert_allclose(slopes, exact, rtol=1e-8, atol=1e-12)
    narrow_and_slopes = jax.jit(lambda z: (jax.value_and_grad(fnn.ctc)(z, y), ctc_slope(z, y)))
    (narrow, slopes), by_hand = narrow_and_slopes(np.float32(z))
    np.testing.assert_allclose(narrow, theirs, rtol=1e-5)
    for rounded in (slopes, by_hand):  # of a likelihood of e⁻⁶⁰⁰, known to 1e-4
        np.testing.assert_allclose(rounded, exact, atol=1e-4)


# Laws and edges -----------------------------------------------------------------------------------


@jax.jit
def both(z, labels):
    return fnn.ctc(z, labels), fnn.softmax_cross_entropy(z, labels)


@hypothesis.given(st.lists(st.integers(1, 3), min_size=6, max_size=6), st.integers(0, 99))
@hypothesis.settings(deadline=None, max_examples=25)
def test_with_as_many_frames_as_labels_it_is_cross_entropy(steps, seed):
    labels = np.cumsum(steps) % 4 + 1  # no two neighbours alike: they would need a blank between them
    z = np.random.default_rng(seed).normal(size=(1, len(labels), 5))
    check_targets(fnn.ctc, z, labels[None])
    alignment, each = both(z, labels[None])
    np.testing.assert_allclose(alignment, len(labels) * each, rtol=1e-5)


def test_the_probabilities_of_all_label_sequences_sum_to_1():
    z = logits(frames=3, rows=1)
    every = [labels for size in range(4) for labels in itertools.product((1, 2), repeat=size)]
    targets = [np.array([labels], int).reshape(1, -1) for labels in every if fits(labels, 3)]
    costs = jax.jit(lambda z: [fnn.ctc(z, labels) for labels in targets])(z)
    np.testing.assert_allclose(np.exp(-np.array(costs)).sum(), 1, rtol=1e-5)


def fits(labels, frames):
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels)) <= frames


def test_ids_of_few_bits_and_a_blank_that_is_a_float_are_the_same():
    z, y = logits(rows=3), np.array([[1, 2], [2, 2], [1, 1]])
    few, many = y.astype(np.uint8), y.astype(np.int64)
    costs = jax.jit(lambda z: (fnn.ctc(z, few), fnn.ctc(z, many, blank=0.0), fnn.ctc(z, y)))(z)
    assert costs[0] == costs[1] == costs[2]
    none = np.zeros((3, 0, 3))
    assert jax.jit(lambda z: fnn.ctc(z, np.full((3, 2), -1), np.ones((3, 0))))(none) == 0


def test_shifts_of_a_frame_change_nothing():
    z, y = logits(), padded(LABELS)
    shift = np.random.default_rng(1).normal(size=(len(z), 5, 1))
    cost = jax.jit(lambda z: fnn.ctc(z, y))
    np.testing.assert_allclose(cost(z + shift), cost(z), rtol=1e-5)


@pytest.mark.parametrize("labels", [[1, 2, 1, 2, 1, 2], [1, 1, 1, 1], [2, 1, 1, 2, 2]])
def test_labels_that_cannot_fit_are_left_out(labels):
    z, y = np.float32(logits(rows=2)), padded([labels, [1, 2]], 6)
    alone = lambda z: (fnn.ctc(z[:1], y[:1]), fnn.ctc(z[1:], y[1:]))
    (value, slopes), by_hand = jax.jit(lambda z: (jax.value_and_grad(fnn.ctc)(z, y), ctc_slope(z, y)))(z)
    left_out, counted = jax.jit(alone)(z)
    np.testing.assert_allclose(value, counted, rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(slopes)[0], 0)
    np.testing.assert_allclose(by_hand, slopes, atol=1e-6)
    assert left_out == 0


@jax.jit
def value_and_slopes(z):
    return jax.value_and_grad(fnn.ctc)(z, padded(LABELS)), ctc_slope(z, padded(LABELS))


@pytest.mark.parametrize("size", [1e4, 1e-4, 0.0])
def test_large_logits_have_finite_costs_and_slopes(size):
    (value, slopes), by_hand = value_and_slopes(np.float32(size * logits()))
    assert np.isfinite(value) and np.isfinite(slopes).all()
    np.testing.assert_allclose(by_hand, slopes, atol=1e-5)


def test_a_sure_and_right_prediction_costs_nothing():
    path = np.array([[0, 1, 1, 0, 2]])
    z = np.float32(1e4) * np.eye(3, dtype=np.float32)[path]
    right = jax.jit(lambda z: fnn.ctc(z, np.array([[1, 2]])))
    assert right(z) == 0
    np.testing.assert_array_equal(jax.jit(jax.grad(right))(z), 0)
    ruled_out = np.where(z == 0, -np.inf, z)
    assert right(ruled_out) == 0
    impossible = jax.jit(lambda z: fnn.ctc(z, np.array([[2, 1]])))
    assert impossible(ruled_out) == np.inf  # not finite: the logits say it cannot be


def test_what_is_not_known_is_never_hidden():
    z, y = logits(), padded(LABELS)
    for wrong in (np.full_like(y, 0), np.full_like(y, 3)):
        assert np.isnan(jax.jit(fnn.ctc)(z, wrong))
        assert np.isnan(jax.grad(jax.jit(fnn.ctc))(jnp.array(z), wrong)[0]).any()
    assert np.isnan(jax.jit(fnn.ctc)(z, y, blank=7)) and np.isnan(jax.jit(fnn.ctc)(z, y, blank=-1))
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    z[4] = np.nan
    assert np.isfinite(jax.jit(fnn.ctc)(z, np.where(weights[:, None] == 0, 9, y), weights))
    z[0, 0, 0] = np.nan
    assert np.isnan(fnn.ctc(z, y, weights))


def test_another_blank_or_another_batch_of_labels_compiles_nothing():
    z, y = jnp.array(logits()), jnp.array(padded(LABELS))
    others = jnp.array(padded(LABELS[::-1]))
    cost = jax.jit(lambda cost, z, y: cost(z, y))
    cost(jax.tree_util.Partial(fnn.ctc, blank=0), z, y)
    with compilations() as compiled:
        cost(jax.tree_util.Partial(fnn.ctc, blank=1), z, others)
    assert compiled == []


def test_a_network_learns_to_spell_without_alignment():
    draw = np.random.default_rng(0)
    words = draw.integers(1, 4, size=(64, 3))
    frames = np.repeat(words, 2, axis=1)  # each label shows for two frames, and nothing says where
    x = np.eye(4)[frames].astype(np.float32) + 0.1 * draw.normal(size=(64, 6, 4)).astype(np.float32)
    x[:, 1] = 0  # and a gap between the first two
    network = fnn.serial(fnn.gru(16), fnn.dense(4))
    run = fnn.fit(network, fnn.ctc, fnn.adam(0.02), x, words, key=jax.random.key(0), epochs=60)
    best = np.asarray(fnn.predict(network, run.params, x).argmax(-1))
    spelled = [[k for k, _ in itertools.groupby(row) if k] for row in best.tolist()]
    known = [row for row in words.tolist() if all(a != b for a, b in itertools.pairwise(row))]
    right = [a == b for a, b in zip(spelled, words.tolist(), strict=True) if b in known]
    assert run.history["cost"][-1] < 0.1 * run.history["cost"][0] and np.mean(right) > 0.9


# Errors -------------------------------------------------------------------------------------------

Z, Y = logits(), padded(LABELS)
WRONG = {
    "one label a frame": (
        lambda: fnn.ctc(Z, Y[0]), ValueError,
        "ctc expected logits (…, frames, classes) and label ids (…, labels)", "(5, 5, 3)", "Pad shorter",
    ),
    "one-hot labels": (lambda: fnn.ctc(Z, np.eye(3)[Y]), ValueError, "label ids (…, labels)", "(5, 4, 3)"),
    "floats": (lambda: fnn.ctc(Z, Y * 1.0), ValueError, "whole-number label ids", "float", "y.astype(int)"),
    "the blank as a label": (
        lambda: fnn.ctc(Z, np.where(Y == 1, 0, Y)), ValueError,
        "targets expected label ids below 3", "that are not the blank, got 0 in row 0, column 0", "blank=0",
    ),
    "a label beyond": (lambda: fnn.ctc(Z, Y + 1), ValueError, "got 3 in row 0, column 1"),
    "a blank beyond": (lambda: fnn.ctc(Z, Y, blank=3), ValueError, "blank expected a number, 0 ≤ blank < 3"),
    "a blank of a half": (lambda: fnn.ctc(Z, Y, blank=0.5), ValueError, "blank", "got 0.5"),
    "in fit, before anything is compiled": (
        lambda: fnn.fit(fnn.dense(3), fnn.ctc, fnn.adam(), Z, Y + 1, epochs=1, key=jax.random.key(0)),
        ValueError, "ctc: y expected label ids below 3", "got 3 in row 0, column 1",
    ),
    "another blank in fit": (
        lambda: fnn.fit(
            fnn.dense(3), functools.partial(fnn.ctc, blank=2), fnn.adam(), Z, Y, epochs=1, key=jax.random.key(0)
        ),
        ValueError, "that are not the blank, got 2 in row 0, column 1", "blank=2",
    ),
}  # fmt: skip

test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
