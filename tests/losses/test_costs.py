"""The costs of distributions and margins: each equals its formula and its peers, its slope is that of jax.grad."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from jax.tree_util import Partial
from networks import each_is_refused, parameters

import fnn
from fnn.losses.costs import SLOPES, TARGETS

partial = functools.partial


# Every formula once more, in NumPy, an array of what is averaged -----------------------------------


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


def log_cosh(p, y):
    return np.log(np.cosh(p - y))


def quantile(p, y, q=0.5):
    return np.maximum(np.asarray(q) * (y - p), (np.asarray(q) - 1) * (y - p))


def poisson(z, y):
    return np.exp(z) - y * z


def gaussian_nll(p, y, variance_floor=1e-6):
    mean, variance = p[..., : y.shape[-1]], np.maximum(np.exp(p[..., y.shape[-1] :]), variance_floor)
    return (np.log(variance) + (y - mean) ** 2 / variance) / 2


def hinge(z, y):
    if z.shape == y.shape:
        return np.maximum(0, 1 - (2 * y - 1) * z)
    others = np.arange(z.shape[-1]) != y[..., None]
    return (z + others).max(-1) - np.take_along_axis(z, y[..., None], -1)[..., 0]


def focal(z, y, gamma=2.0):
    if z.shape == y.shape:
        p = np.where(y == 1, sigmoid(z), sigmoid(-z))
    else:
        p = np.take_along_axis(softmax(z), y[..., None], -1)[..., 0]
    return -((1 - p) ** gamma) * np.log(p)


def kl_divergence(z, p):
    return (p * (np.log(p) - np.log(softmax(z)))).sum(-1)


def cosine_distance(a, b):
    return 1 - (a * b).sum(-1) / np.sqrt((a**2).sum(-1) * (b**2).sum(-1))


FORMS = {  # cost, what it compares, options
    "log_cosh": (log_cosh, "real", {}),
    "quantile": (quantile, "real", {}),
    "quantile 0.9": (quantile, "real", {"q": 0.9}),
    "poisson": (poisson, "counts", {}),
    "gaussian_nll": (gaussian_nll, "two", {}),
    "gaussian_nll of another floor": (gaussian_nll, "two", {"variance_floor": 1.5}),
    "hinge": (hinge, "answers", {}),
    "hinge of classes": (hinge, "ids", {}),
    "focal": (focal, "answers", {}),
    "focal 0.5": (focal, "answers", {"gamma": 0.5}),
    "focal of classes": (focal, "ids", {}),
    "focal 0.5 of classes": (focal, "ids", {"gamma": 0.5}),
    "kl_divergence": (kl_divergence, "rows", {}),
    "cosine_distance": (cosine_distance, "vectors", {}),
}
every_form = pytest.mark.parametrize("form", FORMS)


def example(kind, shape, seed=0):
    """Predictions, targets (…, outputs) of a kind, one weight for each number that is averaged."""
    draw = np.random.default_rng(seed)
    predictions = 2 * draw.normal(size=shape)
    if kind == "two":
        predictions = np.concatenate([predictions, draw.normal(size=shape)], -1)
    targets = {
        "real": draw.normal(size=shape),
        "two": draw.normal(size=shape),
        "vectors": draw.normal(size=shape),
        "counts": draw.poisson(2.0, size=shape).astype(float),
        "answers": draw.integers(0, 2, size=shape),
        "ids": draw.integers(0, shape[-1], size=shape[:-1]),
        "rows": draw.dirichlet(np.ones(shape[-1]), size=shape[:-1]),
    }[kind]
    averaged = shape[:-1] if kind in ("ids", "rows", "vectors") else shape
    return predictions, targets, draw.uniform(0.2, 2.0, size=averaged)


def cost_of(form):
    oracle, _, options = FORMS[form]
    return partial(getattr(fnn, oracle.__name__), **options)


def expected(form, predictions, targets, weights=None):
    oracle, _, options = FORMS[form]
    return oracles.weighted_mean(oracle(predictions, targets, **options), weights)


def prefixes(weights):
    leading = range(1, weights.ndim + 1)
    return [None, *(weights[(slice(None),) * k + (0,) * (weights.ndim - k)] for k in leading)]


# Values and slopes --------------------------------------------------------------------------------


@every_form
def test_value_and_gradient_equal_the_formula(form, x64):
    predictions, targets, weights = example(FORMS[form][1], (2, 4, 3))

    @jax.jit
    def values_and_gradients(predictions):
        one = jax.value_and_grad(lambda p, w: cost_of(form)(p, targets, w))
        return [one(predictions, w) for w in prefixes(weights)]

    with x64():
        results = values_and_gradients(jnp.array(predictions))
    for (value, slopes), w in zip(results, prefixes(weights), strict=True):
        assert value.shape == () and value.dtype == np.float64
        np.testing.assert_allclose(value, expected(form, predictions, targets, w), rtol=1e-10)
        differences = oracles.central_differences(lambda p, w=w: expected(form, p, targets, w), predictions)
        np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("form", "outputs"),
    [(f, n) for f in FORMS for n in (1, 2, 7) if n > 1 or FORMS[f][1] not in ("ids", "rows", "vectors")],
)
def test_the_slope_by_hand_is_that_of_jax_grad(form, outputs, x64):
    predictions, targets, weights = example(FORMS[form][1], (4, outputs))
    cost, none = cost_of(form), weights * (np.arange(4) > 0).reshape((4,) + (1,) * (weights.ndim - 1))
    with x64():
        slopes = jax.jit(
            lambda p: [
                (SLOPES[cost.func](p, targets, w, **cost.keywords), jax.grad(cost)(p, targets, w))
                for w in (*prefixes(weights), none, 0 * weights)
            ]
        )(jnp.array(predictions))
    slopes = jax.tree.map(np.asarray, slopes)
    for by_hand, by_jax in slopes:
        np.testing.assert_allclose(by_hand, by_jax, rtol=1e-11, atol=1e-14)
    assert np.any(slopes[0][0]) and not np.any(slopes[-1][0])


@every_form
def test_backward_propagation_begins_with_the_slope_by_hand(form):
    cost, (predictions, targets, weights) = cost_of(form), example(FORMS[form][1], (4, 3))
    network = fnn.serial(fnn.dense(predictions.shape[-1]))
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    params = parameters(network, x)
    found = fnn.backprop(network, cost, params, x, targets, weights)
    grads = jax.jit(jax.grad(lambda params: fnn.loss(network, cost)(params, x, targets, weights)))(params)
    assert found.automatic == ()
    np.testing.assert_allclose(found.grads[0]["weight"], grads[0]["weight"], rtol=1e-5, atol=1e-6)


def test_every_cost_has_a_slope_and_says_what_it_takes():
    costs = {getattr(fnn, oracle.__name__) for oracle, *_ in FORMS.values()}
    assert set(SLOPES) == set(TARGETS) == costs | {
        fnn.mse, fnn.rmse, fnn.mae, fnn.huber, fnn.binary_cross_entropy, fnn.softmax_cross_entropy, fnn.ctc,
    }  # fmt: skip
    assert all(takes.name == cost.__name__ for cost, takes in TARGETS.items())


# Peers --------------------------------------------------------------------------------------------


def test_it_agrees_with_scipy_and_mpmath(x64):
    scipy, mpmath = pytest.importorskip("scipy"), pytest.importorskip("mpmath")
    from scipy import stats

    z, counts, _ = example("counts", (5, 3))
    two, y, _ = example("two", (5, 3))
    logits, rows, _ = example("rows", (5, 3))
    e = np.array([0.0, 1e-9, -1e-4, 0.1, 0.99, 1.0, -3.0, 40.0, 1e5])
    log_likelihood = stats.poisson.logpmf(counts, np.exp(z)) + scipy.special.gammaln(counts + 1)
    normal = stats.norm.logpdf(y, two[:, :3], np.exp(two[:, 3:] / 2)) + np.log(2 * np.pi) / 2
    with x64(), mpmath.workdps(50):
        logs = [float(mpmath.log(mpmath.cosh(mpmath.mpf(float(number))))) for number in e]
        ours = jax.jit(jax.vmap(fnn.log_cosh))(e, np.zeros(9))
        np.testing.assert_allclose(ours, logs, rtol=1e-14)
        divergence = scipy.special.rel_entr(rows, softmax(logits)).sum(-1).mean()
        costs = jax.jit(
            lambda z, two, logits: (
                fnn.poisson(z, counts), fnn.gaussian_nll(two, y), fnn.kl_divergence(logits, rows)
            )
        )(z, two, logits)  # fmt: skip
        np.testing.assert_allclose(costs, [-log_likelihood.mean(), -normal.mean(), divergence], rtol=1e-10)


def test_it_agrees_with_scikit_learn(x64):
    metrics = pytest.importorskip("sklearn.metrics")
    p, y, _ = example("real", (6, 3))
    z, ids, weights = example("ids", (6, 3))
    answers = example("answers", (6, 3))[1][:, 0]
    a, b, _ = example("vectors", (6, 3))
    pinball = partial(metrics.mean_pinball_loss, multioutput="raw_values")
    counts = np.exp(y)
    costs = jax.jit(
        lambda p, z, a: (
            fnn.quantile(p, y, q=np.array([0.1, 0.5, 0.9])),
            fnn.hinge(z, ids, weights),
            fnn.hinge(z[:, 0], answers),
            fnn.cosine_distance(a, b),
            2 * (fnn.poisson(p, counts) - fnn.poisson(np.log(counts), counts)),
        )
    )
    each = [float(pinball(y, p, alpha=q)[k]) for k, q in enumerate((0.1, 0.5, 0.9))]
    theirs = (
        np.mean(each),
        metrics.hinge_loss(ids, z, labels=range(3), sample_weight=weights),
        metrics.hinge_loss(answers, z[:, 0], labels=[0, 1]),
        np.diag(metrics.pairwise.cosine_distances(a, b)).mean(),
        metrics.mean_poisson_deviance(counts.ravel(), np.exp(p).ravel()),
    )
    with x64():
        np.testing.assert_allclose(costs(p, z, a), theirs, rtol=1e-10)


def test_it_agrees_with_optax(x64):
    optax = pytest.importorskip("optax")
    z, answers, _ = example("answers", (6, 3))
    p, y, _ = example("real", (6, 3))
    logits, rows, _ = example("rows", (6, 3))
    ids = example("ids", (6, 3))[1]

    @jax.jit
    def pairs(z, p, logits):
        return [
            (fnn.focal(z, answers), optax.sigmoid_focal_loss(z, jnp.array(answers)).mean()),
            (fnn.log_cosh(p, y), optax.log_cosh(p, y).mean()),
            (fnn.hinge(z, answers), optax.hinge_loss(z, 2 * answers - 1).mean()),
            (fnn.hinge(z, ids), optax.losses.multiclass_hinge_loss(z, jnp.array(ids)).mean()),
            (fnn.kl_divergence(logits, rows), optax.kl_divergence(jax.nn.log_softmax(logits), rows).mean()),
            (fnn.cosine_distance(p, y), optax.cosine_distance(p, y).mean()),
        ]

    with x64():
        for ours, theirs in pairs(z, p, logits):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_it_agrees_with_torch(x64):
    torch = pytest.importorskip("torch")
    tensor, f = torch.tensor, torch.nn.functional
    two, y, _ = example("two", (6, 3))
    z, counts, _ = example("counts", (6, 3))
    logits, rows, _ = example("rows", (6, 3))
    variance = np.exp(two[:, 3:])
    theirs = (
        f.gaussian_nll_loss(tensor(two[:, :3]), tensor(y), tensor(variance)),
        f.poisson_nll_loss(tensor(z), tensor(counts)),
        f.kl_div(tensor(logits).log_softmax(-1), tensor(rows), reduction="batchmean"),
    )
    costs = jax.jit(
        lambda two, z, logits: (
            fnn.gaussian_nll(two, y),
            fnn.poisson(z, counts),
            fnn.kl_divergence(logits, rows),
        )
    )
    with x64():
        np.testing.assert_allclose(costs(two, z, logits), theirs, rtol=1e-10)


# Weights ------------------------------------------------------------------------------------------


@every_form
def test_weights_count_rows_and_0_leaves_out_whatever_the_row_holds(form):
    cost, (predictions, targets, _) = cost_of(form), example(FORMS[form][1], (4, 3))
    predictions, counts = np.float32(predictions), np.array([1, 0, 3, 2])
    rows, slope = np.repeat(np.arange(4), counts), partial(SLOPES[cost.func], **cost.keywords)
    broken, unknown = predictions.copy(), targets.copy()
    broken[1], unknown[1] = np.nan, -100 if targets.dtype.kind == "i" else np.nan

    @jax.jit
    def results(predictions, broken, traced):
        pairs = [  # with values to check, and without
            (jax.value_and_grad(cost)(broken, y, counts), slope(broken, y, counts)) for y in (unknown, traced)
        ]
        return cost(predictions[rows], targets[rows]), pairs, cost(predictions, targets, np.zeros(4))

    repeated, pairs, nothing = results(predictions, broken, unknown)
    for (value, slopes), by_hand in jax.tree.map(np.asarray, pairs):
        np.testing.assert_allclose(value, repeated, rtol=1e-5)
        np.testing.assert_allclose(slopes, by_hand, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(slopes[1], 0)
        assert np.isfinite(slopes).all() and np.abs(slopes).max() > 0
    assert nothing == 0


@pytest.mark.parametrize("form", [form for form in FORMS if FORMS[form][1] not in ("ids", "rows")])
def test_nan_in_a_row_that_counts_is_never_hidden(form):
    cost, (predictions, targets, _) = cost_of(form), example(FORMS[form][1], (4, 3))
    for column in range(predictions.shape[-1]):
        predictions[2, column], before = np.nan, predictions[2, column]
        assert np.isnan(cost(predictions, targets)), column
        predictions[2, column] = before


# Laws and edges -----------------------------------------------------------------------------------


def test_half_of_the_absolute_error_is_the_cost_of_the_median():
    p, y, weights = example("real", (6, 3))
    median, mean = jax.jit(lambda p: (fnn.quantile(p, y, weights), fnn.mae(p, y, weights)))(p)
    np.testing.assert_allclose(median, mean / 2, rtol=1e-6)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_the_quantile_is_the_best_constant(q):
    y = np.random.default_rng(0).normal(size=101)
    constants = np.linspace(-2, 2, 401, dtype=np.float32)
    costs = jax.jit(jax.vmap(lambda c: fnn.quantile(jnp.full(101, c), y, q=q)))(constants)
    best = constants[np.argmin(costs)]
    assert abs(best - np.quantile(y, q)) < 0.02


def test_log_cosh_stands_between_its_parabola_and_its_lines():
    cost = jax.jit(fnn.log_cosh)
    e = np.float32(np.r_[np.linspace(-6, 6, 61), np.logspace(-6, 6, 25)])
    value = np.asarray(jax.vmap(cost)(e, np.zeros_like(e)))
    above = np.minimum(e**2 / 2, abs(e))
    assert np.all(value <= above * np.float32(1 + 1e-6))
    assert np.all(value >= abs(e) - np.log(np.float32(2)) - np.float32(1e-6))
    tiny = np.float32(1e-4)  # logaddexp gives 0 there
    np.testing.assert_allclose(cost(tiny, np.float32(0)), 5e-9, rtol=1e-6)


def test_focal_without_focus_is_cross_entropy():
    z, answers, weights = example("answers", (5, 3))
    pair = lambda z: (
        fnn.focal(z, answers, weights, gamma=0.0),
        fnn.binary_cross_entropy(z, answers, weights),
    )
    one, other = jax.jit(pair)(z)
    assert one == other
    z, ids, weights = example("ids", (5, 3))
    pair = lambda z: (fnn.focal(z, ids, weights, gamma=0.0), fnn.softmax_cross_entropy(z, ids, weights))
    one, other = jax.jit(pair)(z)
    np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("cost", [fnn.hinge, fnn.focal], ids=["hinge", "focal"])
def test_answers_of_minus_1_and_1_are_those_of_0_and_1(cost):
    z, answers, _ = example("answers", (5, 3))
    every = answers, 2 * answers - 1, answers == 1, answers * 1.0
    values = jax.jit(lambda z: [cost(z, y) for y in every])(z)
    assert values[0] == values[1] == values[2] == values[3]


def test_focal_of_two_classes_is_that_of_their_difference():
    z, ids, _ = example("ids", (5, 2))
    both, difference = jax.jit(lambda z, d: (fnn.focal(z, ids), fnn.focal(d, ids)))(z, z[:, 1] - z[:, 0])
    np.testing.assert_allclose(both, difference, rtol=1e-5)


def test_divergence_is_cross_entropy_less_the_entropy_and_has_its_slope():
    z, rows, weights = example("rows", (5, 3))
    rows = np.float32(rows)
    entropy = -oracles.weighted_mean((rows * np.log(rows)).sum(-1), weights)
    costs = fnn.kl_divergence, fnn.softmax_cross_entropy
    values_and_slopes = jax.jit(lambda z: [(c(z, rows, weights), jax.grad(c)(z, rows)) for c in costs])
    (divergence, one), (cross_entropy, other) = values_and_slopes(z)
    np.testing.assert_allclose(divergence, cross_entropy - entropy, rtol=1e-5)
    np.testing.assert_allclose(one, other, atol=1e-7)


def test_the_slope_of_a_divergence_keeps_the_sum_of_rounded_probabilities():
    z, rows = np.float32([[3.0, 0.0, -1.0]]), np.full((1, 3), np.float32(0.33))
    slopes = SLOPES[fnn.kl_divergence], jax.grad(fnn.kl_divergence)
    by_hand, by_jax = jax.jit(lambda z: [slope(z, rows) for slope in slopes])(z)
    np.testing.assert_allclose(by_hand, by_jax, atol=1e-6)


def test_divergence_of_a_class_that_is_ruled_out():
    p = np.float32([[0.5, 0.5, 0.0]])
    value = jax.jit(lambda z: fnn.kl_divergence(z, p[0]))(np.float32([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(value, 1.214459, rtol=1e-6)
    value_and_slopes = jax.jit(lambda z: jax.value_and_grad(fnn.kl_divergence)(z, p))
    value, slopes = value_and_slopes(np.float32([[0.0, 0.0, -np.inf]]))
    assert value == 0 and not np.any(slopes)


def test_lengths_do_not_count_in_a_cosine_not_even_extreme_ones():
    a, b = np.float32([[1.0, 2.0, -1.0]]), np.float32([[0.5, -1.0, 3.0]])
    cost, slope = jax.jit(fnn.cosine_distance), jax.jit(jax.grad(fnn.cosine_distance))
    for scale in np.float32([1e-30, 1e-10, 1e10, 1e30]):
        np.testing.assert_allclose(cost(scale * a, b / scale), cost(a, b), rtol=1e-6)
        np.testing.assert_allclose(slope(scale * a, b) * scale, slope(a, b), rtol=1e-5)


def test_a_vector_of_zeros_has_distance_1_and_no_slope():
    a, b = np.float32([[0.0, 0.0], [1.0, 0.0]]), np.float32([[1.0, 2.0], [0.0, 0.0]])
    by_hand = SLOPES[fnn.cosine_distance]
    both = jax.jit(lambda a: (jax.value_and_grad(fnn.cosine_distance)(a, b), by_hand(a, b)))
    (value, slopes), rule = jax.tree.map(np.asarray, both(a))
    assert value == 1 and not slopes.any()
    assert not rule.any()


PERFECT = {
    "log_cosh": (fnn.log_cosh, jnp.array([1.0, -3e4]), jnp.array([1.0, -3e4])),
    "quantile": (fnn.quantile, jnp.array([1.0, -3e4]), jnp.array([1.0, -3e4])),
    "hinge": (fnn.hinge, jnp.array([1.0, -1.0, 1e4]), jnp.array([1, 0, 1])),
    "hinge of classes": (fnn.hinge, jnp.array([[2.0, 1.0, 1.0], [0.0, 1e4, -1e4]]), jnp.array([0, 1])),
    "focal": (fnn.focal, jnp.array([1e4, -1e4]), jnp.array([1, 0])),
    "focal 0.5 of classes": (partial(fnn.focal, gamma=0.5), 2e4 * jnp.eye(3) - 1e4, jnp.arange(3)),
    "kl_divergence": (fnn.kl_divergence, 2e4 * jnp.eye(3) - 1e4, jnp.eye(3)),
    "cosine_distance": (fnn.cosine_distance, jnp.array([[0.0, 1e4]]), jnp.array([[0.0, 2.0]])),
}  # fmt: skip


@pytest.mark.parametrize("case", PERFECT)
def test_a_perfect_prediction_costs_0_and_teaches_nothing(case):
    cost, predictions, targets = PERFECT[case]
    slope = partial(SLOPES[getattr(cost, "func", cost)], **getattr(cost, "keywords", {}))
    both = jax.jit(lambda p: (jax.value_and_grad(cost)(p, targets), slope(p, targets)))
    (value, slopes), by_hand = both(predictions)
    assert value == 0
    np.testing.assert_array_equal(slopes, 0)
    np.testing.assert_array_equal(by_hand, 0)


def test_a_perfect_rate_and_a_perfect_mean_teach_nothing_more():
    counts = np.float32([1.0, 4.0])
    slopes = jax.jit(lambda z: jax.grad(fnn.poisson)(z, counts))(np.log(counts))
    np.testing.assert_allclose(slopes, 0, atol=1e-6)
    slopes = jax.jit(lambda p: jax.grad(fnn.gaussian_nll)(p, np.float32([[2.0]])))(np.float32([[2.0, 0.5]]))
    np.testing.assert_allclose(slopes, [[0.0, 0.5]])  # the variance is lowered on


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("poisson")])
def test_value_and_slope_are_finite_at_huge_predictions(form):
    cost, (predictions, targets, _) = cost_of(form), example(FORMS[form][1], (27, 3))
    sizes = np.stack(np.meshgrid(*[[-1e4, 1.0, 1e4]] * 3), -1).reshape(27, 3)
    huge = np.float32(np.concatenate([sizes, sizes[::-1]], -1)[:, : predictions.shape[-1]])
    (value, slopes), by_hand = jax.jit(
        lambda p: (jax.value_and_grad(cost)(p, targets), SLOPES[cost.func](p, targets, **cost.keywords))
    )(huge)
    assert np.isfinite(value) and np.isfinite(slopes).all() and np.any(slopes)
    np.testing.assert_allclose(by_hand, slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_at_huge_logits_is_the_error_itself_or_nothing(gamma):
    z, answers = np.float32([1e4, 1e4, -1e4, -1e4]), np.array([1, 0, 0, 1])
    one = jax.jit(lambda z: jax.value_and_grad(partial(fnn.focal, gamma=gamma))(z, answers))
    value, slopes = one(z)
    assert value == 5e3
    np.testing.assert_allclose(slopes, [0, 0.25, 0, -0.25])


def test_poisson_is_finite_up_to_where_it_says():
    counts = np.float32([3.0, 0.0])
    value, slope = jax.jit(lambda z: jax.value_and_grad(fnn.poisson)(z, counts))(np.float32([-1e4, 88.72]))
    assert np.isfinite(value) and np.isfinite(slope).all()
    assert jax.jit(lambda z: fnn.poisson(z, counts[1:]))(np.float32([88.73])) == np.inf


def test_a_variance_counts_as_the_floor_below_it_and_its_slope_is_0():
    y, e = np.zeros((1, 2), np.float32), np.float32([[0.1, 0.0]])
    low = np.concatenate([e, np.float32([[-100.0, -20.0]])], 1)
    floor = np.float32([0.25, 4.0])
    on_it = np.concatenate([e, np.log(floor)[None]], 1)
    value_and_slopes = jax.jit(lambda p: jax.value_and_grad(fnn.gaussian_nll)(p, y, variance_floor=floor))
    value, slopes = value_and_slopes(low)
    np.testing.assert_allclose(value, value_and_slopes(on_it)[0], rtol=1e-6)
    np.testing.assert_allclose(slopes, [[0.2, 0.0, 0.0, 0.0]], rtol=1e-5)
    at_it = jax.jit(lambda p: jax.grad(fnn.gaussian_nll)(p, y[:, :1], variance_floor=1.0))(e)
    np.testing.assert_allclose(at_it, [[0.1, 0.0]], rtol=1e-6)


def test_kinks_have_the_slope_0():
    slopes = lambda p, z, ties: (
        jax.grad(fnn.quantile)(p, np.float32(2.0), q=0.9),
        jax.grad(fnn.hinge)(z, np.int32(1)),
        jax.grad(fnn.hinge)(ties, np.int32(0)),
    )
    quantile, hinge, ties = jax.jit(slopes)(np.float32(2.0), np.float32(1.0), np.zeros(3, np.float32))
    assert quantile == 0
    assert hinge == 0
    np.testing.assert_allclose(ties, [-1.0, 0.5, 0.5])


@pytest.mark.parametrize("form", ["hinge", "focal"])
def test_a_traced_target_that_is_no_answer_costs_nan(form):
    cost = jax.jit(cost_of(form))
    assert np.isnan(cost(np.zeros((2, 3)), np.array([0, 3])))
    assert np.isnan(cost(np.zeros((2, 3)), np.array([0, -1])))
    assert np.isnan(cost(np.zeros(2), np.array([0, 2])))
    assert np.isnan(jax.jit(fnn.kl_divergence)(np.zeros((1, 3)), np.ones((1, 3))))


@every_form
def test_half_precision_predictions_give_a_float32_cost_and_one_example_goes_in(form):
    cost, (predictions, targets, _) = cost_of(form), example(FORMS[form][1], (5, 3))
    rounded, predictions = predictions.astype(jnp.bfloat16), np.float32(predictions)

    @jax.jit
    def results(rounded, predictions):
        together = cost(predictions, targets)
        return jax.value_and_grad(cost)(rounded, targets), jax.vmap(cost)(predictions, targets), together

    (value, slopes), alone, together = results(rounded, predictions)
    assert (value.dtype, slopes.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_allclose(value, expected(form, np.float64(rounded), targets), rtol=1e-4)
    np.testing.assert_allclose(np.mean(alone), together, rtol=1e-5)


# Transformations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "option", "numbers"),
    [
        ("quantile", "real", "q", (0.2, 0.9)),
        ("gaussian_nll", "two", "variance_floor", (0.1, 2.0)),
        ("focal", "answers", "gamma", (0.5, 3.0)),
        ("focal", "ids", "gamma", (0.5, 3.0)),
    ],
)
def test_another_number_compiles_nothing_and_may_be_mapped_over(name, kind, option, numbers):
    predictions, targets, _ = example(kind, (5, 3))
    run = jax.jit(lambda cost: cost(predictions, targets))
    costs = [Partial(getattr(fnn, name), **{option: number}) for number in numbers]
    alone = [np.asarray(run(cost)) for cost in costs]
    assert run._cache_size() == 1 and alone[0] != alone[1]
    one = lambda number: getattr(fnn, name)(predictions, targets, **{option: number})
    together = jax.jit(jax.vmap(one))(np.array(numbers))
    np.testing.assert_allclose(together, alone, rtol=1e-5)


@every_form
def test_a_map_over_problems_is_a_loop_of_gradients(form):
    problems = example(FORMS[form][1], (3, 4, 2, 3))
    slopes = jax.jit(lambda p, t, w: jax.grad(cost_of(form))(p, t, w))
    together = jax.vmap(slopes)(*problems)
    alone = [slopes(*(part[k] for part in problems)) for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-7)


def test_a_network_learns_the_noise_beside_the_mean():
    draw = np.random.default_rng(0)
    x = draw.uniform(-1, 1, size=(256, 1)).astype(np.float32)
    y = 2 * x + 0.3 * draw.normal(size=x.shape).astype(np.float32)
    fitted = fnn.fit(
        fnn.dense(2),
        fnn.gaussian_nll,
        fnn.adam(0.05),
        x,
        y,
        key=jax.random.key(0),
        epochs=300,
        batch_size=256,
    )
    mean, log_variance = np.split(fnn.predict(fnn.dense(2), fitted.params, x), 2, -1)
    residuals = y - 2 * x
    assert abs(np.exp(log_variance / 2) - residuals.std()).max() < 0.05
    assert abs(mean - 2 * x).max() < 0.1


# Mistakes -----------------------------------------------------------------------------------------

Z, LINE, IDS = jnp.zeros((4, 3)), np.zeros(4), np.array([0, 1, 2, 1])
COLUMN = LINE[:, None]
ALIKE = ("log_cosh", "quantile", "poisson", "hinge", "focal", "kl_divergence", "cosine_distance")
WRONG = {
    **{f"a column beside a row, {name}": (lambda name=name: getattr(fnn, name)(COLUMN, LINE), ValueError, f"{name} compares like with like", "(4, 1)", "(4,)", "[..., None]") for name in ALIKE},
    **{f"a row beside a column, {name}": (lambda name=name: getattr(fnn, name)(LINE, COLUMN), ValueError, f"{name} compares like with like", "(4, 1)", "(4,)", "[..., 0]") for name in ALIKE},
    **{f"other outputs, {name}": (lambda name=name: getattr(fnn, name)(Z, Z[:, :2]), ValueError, name, "(4, 3)", "(4, 2)") for name in ALIKE},
    **{f"weights that are no prefix, {name}": (lambda name=name: getattr(fnn, name)(Z, np.full((4, 3), 1 / 3 if name[0] == "k" else 1.0), np.ones(3)), ValueError, "sample_weight expected one weight a row", "(3,)") for name in ALIKE},
    **{f"q {q}": (lambda q=q: fnn.quantile(Z, Z, q=q), ValueError, "quantile: q expected numbers, 0 < q < 1", f"got {q}") for q in (0, 1, -0.1, float("nan"))},
    "q of text": (lambda: fnn.quantile(Z, Z, q="median"), TypeError, "quantile: q expected numbers, 0 < q < 1", "got 'median'"),
    "q of another length": (lambda: fnn.quantile(Z, Z, q=jnp.array([0.1, 0.9])), ValueError, "quantile: q expected a number, or one an output, of shape (3,)", "(2,)"),
    "counts below 0": (lambda: fnn.poisson(Z, put(Z, (1, 2), -1.0)), ValueError, "poisson: targets expected counts, at least 0", "got -1.0 in row 1, column 2", "fnn.mse"),
    "one prediction for each target": (lambda: fnn.gaussian_nll(Z, Z), ValueError, "gaussian_nll expected two predictions for each target", "(4, 3)", "fnn.dense(6)", "variances"),
    "targets without outputs": (lambda: fnn.gaussian_nll(Z[:, :2], LINE), ValueError, "(4, 2)", "(4,)", "targets[..., None]"),
    "one number without outputs": (lambda: fnn.gaussian_nll(Z[0, :2], np.float32(1)), ValueError, "(2,)", "targets[..., None]"),
    "a floor of 0": (lambda: fnn.gaussian_nll(Z[:, :2], COLUMN, variance_floor=0.0), ValueError, "gaussian_nll: variance_floor expected numbers, 0 < variance_floor < ∞", "got 0.0"),
    "a floor of another length": (lambda: fnn.gaussian_nll(Z[:, :2], COLUMN, variance_floor=jnp.ones(2)), ValueError, "variance_floor expected a number, or one an output, of shape (1,)", "(2,)"),
    "a focus below 0": (lambda: fnn.focal(LINE, LINE, gamma=-1), ValueError, "focal: gamma expected numbers, 0 ≤ gamma < ∞", "got -1"),
    **{
        f"{what}, {cost.__name__}": (lambda cost=cost, z=z, y=y: cost(z, y), ValueError, f"{cost.__name__}", *pieces)
        for cost in (fnn.hinge, fnn.focal)
        for what, z, y, *pieces in (
            ("a probability", LINE, LINE + 0.5, "targets expected 0 or 1, or -1 or 1", "got 0.5 in row 0"),
            ("an id beside one logit", LINE, IDS, "targets expected 0 or 1", "got 2 in row 2", "(rows, classes)"),
            ("an id that is no class", Z, IDS + 1, "class ids from 0 to 2", "got 3 in row 2"),
            ("ids as floats", Z, LINE, "whole-number class ids", "y.astype(int)"),
            ("ids in a column", Z, IDS[:, None], "targets[..., 0]"),
        )
    },
    "a row that is no distribution": (lambda: fnn.kl_divergence(Z, np.ones((4, 3))), ValueError, "kl_divergence: targets expected probabilities that sum to 1", "row 0"),
    "ids for a divergence": (lambda: fnn.kl_divergence(Z, IDS), ValueError, "kl_divergence compares like with like", "fnn.one_hot(targets, 3)"),
    "a direction of one number": (lambda: fnn.cosine_distance(COLUMN, COLUMN), ValueError, "cosine_distance expected vectors of at least 2 numbers", "(4, 1)", "fnn.mse"),
    "a direction of no axis": (lambda: fnn.cosine_distance(1.0, 1.0), ValueError, "cosine_distance expected vectors of at least 2 numbers", "()"),
    "a name for a cost": (lambda: fnn.fit(fnn.dense(1), "quantile", fnn.adam(), COLUMN, COLUMN, key=jax.random.key(0), epochs=1), TypeError, "Give the function itself: fnn.quantile"),
    "counts below 0 in fit": (lambda: fnn.fit(fnn.dense(1), fnn.poisson, fnn.adam(), COLUMN, COLUMN - 1, key=jax.random.key(0), epochs=1), ValueError, "poisson: y expected counts", "got -1.0 in row 0"),
    "too few outputs in fit": (lambda: fnn.fit(fnn.dense(1), fnn.gaussian_nll, fnn.adam(), COLUMN, COLUMN, key=jax.random.key(0), epochs=1), ValueError, "(4, 1)", "fnn.dense(2)"),
}  # fmt: skip


def put(array, place, value):
    return array.at[place].set(value)


test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)
