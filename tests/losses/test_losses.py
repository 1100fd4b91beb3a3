"""Costs: each equals its formula, in value and gradient, and refuses what would broadcast."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import each_is_refused
from oracles import says

import fnn
from fnn.workflow.rows import check_targets

CLASS_WEIGHT = (0.5, 2.0, 1.25)
FORMS = [  # cost, what its targets are, options
    ("mse", "real", {}),
    ("rmse", "real", {}),
    ("mae", "real", {}),
    ("huber", "real", {}),
    ("huber", "real", {"delta": 0.3}),
    ("binary_cross_entropy", "binary", {}),
    ("binary_cross_entropy", "probability", {"label_smoothing": 0.1}),
    ("binary_cross_entropy", "binary", {"positive_weight": 3.0}),
    ("binary_cross_entropy", "binary", {"label_smoothing": 0.2, "positive_weight": 0.5}),
    ("softmax_cross_entropy", "ids", {}),
    ("softmax_cross_entropy", "probabilities", {}),
    ("softmax_cross_entropy", "ids", {"label_smoothing": 0.1}),
    ("softmax_cross_entropy", "ids", {"class_weight": CLASS_WEIGHT}),
    ("softmax_cross_entropy", "probabilities", {"class_weight": CLASS_WEIGHT}),
    ("softmax_cross_entropy", "ids", {"label_smoothing": 0.2, "class_weight": CLASS_WEIGHT}),
]
every_form = pytest.mark.parametrize(("name", "kind", "options"), FORMS)
PLAIN = [(name, kind) for name, kind, options in FORMS if not options]
every_cost = pytest.mark.parametrize(("name", "kind"), PLAIN)
ELEMENTWISE = ["mse", "rmse", "mae", "huber", "binary_cross_entropy"]
COSTS = [*ELEMENTWISE, "softmax_cross_entropy"]


def example(kind, shape, seed=0):
    """Predictions of a shape, targets of a kind, one weight for each entry of what is compared."""
    draw = np.random.default_rng(seed)
    predictions = draw.normal(size=shape) * 2
    rows = draw.uniform(0.1, 1.0, size=shape)
    targets = {
        "real": draw.normal(size=shape),
        "binary": draw.integers(0, 2, size=shape).astype(float),
        "probability": draw.uniform(size=shape),
        "ids": draw.integers(0, shape[-1], size=shape[:-1], dtype=np.int32),
        "probabilities": rows / rows.sum(-1, keepdims=True),
    }[kind]
    compared = shape[:-1] if kind in ("ids", "probabilities") else shape
    return predictions, targets, draw.uniform(0.2, 2.0, size=compared)


def prefixes(weights):
    """None, (n,), (n, t), …: a weight for every number of leading axes."""
    leading = range(1, weights.ndim + 1)
    return [None, *(weights[(slice(None),) * k + (0,) * (weights.ndim - k)] for k in leading)]


def numbers_of(options):
    return {name: jnp.asarray(number) for name, number in options.items()}


# --- oracles


@every_form
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 4, 3)], ids=str)
def test_value_and_gradient_equal_the_formula(name, kind, options, shape, x64):
    cost, oracle = getattr(fnn, name), getattr(oracles, name)
    predictions, targets, weights = example(kind, shape)

    @jax.jit
    def values_and_gradients(predictions, targets, weights):
        one = jax.value_and_grad(lambda p, w: cost(p, targets, w, **numbers_of(options)))
        return [one(predictions, w) for w in weights]

    with x64():
        results = values_and_gradients(jnp.array(predictions), targets, prefixes(weights))
    for (value, slopes), w in zip(results, prefixes(weights), strict=True):
        assert value.shape == () and value.dtype == np.float64
        np.testing.assert_allclose(value, oracle(predictions, targets, w, **options), rtol=1e-12)
        differences = oracles.central_differences(
            lambda p, w=w: oracle(p, targets, w, **options), predictions
        )
        np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"class_weight": CLASS_WEIGHT}])
def test_ids_are_one_hot_rows(options):
    logits, ids, weights = example("ids", (2, 4, 3))
    rows = np.eye(3)[ids]
    cost = functools.partial(fnn.softmax_cross_entropy, sample_weight=weights, **numbers_of(options))
    one, *others = jax.jit(lambda z: [cost(z, y) for y in (ids, rows, rows.astype(np.int32))])(logits)
    for other in others:
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_agrees_with_optax_where_the_form_is_the_same(x64):
    optax = pytest.importorskip("optax")
    logits, real, _ = example("real", (5, 3))
    binary, ids, rows = (example(k, (5, 3))[1] for k in ("binary", "ids", "probabilities"))

    @jax.jit
    def pairs(logits):
        smooth = optax.smooth_labels(jnp.array(rows), 0.1)
        return [
            (fnn.mse(logits, real), optax.squared_error(logits, real).mean()),
            (fnn.huber(logits, real, delta=0.3), optax.huber_loss(logits, real, delta=0.3).mean()),
            (
                fnn.binary_cross_entropy(logits, binary),
                optax.sigmoid_binary_cross_entropy(logits, jnp.array(binary)).mean(),
            ),
            (
                fnn.softmax_cross_entropy(logits, ids),
                optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array(ids)).mean(),
            ),
            (
                fnn.softmax_cross_entropy(logits, rows, label_smoothing=0.1),
                optax.softmax_cross_entropy(logits, smooth).mean(),
            ),
        ]

    with x64():
        for ours, theirs in pairs(logits):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


# --- weights


@every_form
def test_no_weight_at_all_costs_0_and_teaches_nothing(name, kind, options):
    predictions, targets, weights = example(kind, (4, 3))
    one = jax.value_and_grad(lambda p: getattr(fnn, name)(p, targets, 0 * weights, **numbers_of(options)))
    value, slopes = jax.jit(one)(predictions)
    assert value == 0
    np.testing.assert_array_equal(slopes, 0)


@every_form
def test_a_row_of_weight_0_counts_as_left_out_and_one_of_weight_3_as_three(name, kind, options):
    predictions, targets, _ = example(kind, (4, 3))
    counts = np.array([1, 0, 3, 2])
    mask, rows = counts > 0, np.repeat(np.arange(4), counts)

    def cost(predictions, targets, weights=None):
        return getattr(fnn, name)(predictions, targets, weights, **numbers_of(options))

    @jax.jit
    def results(z):
        counted = cost(z, targets, counts), cost(z[rows], targets[rows])
        masked = cost(z, targets, mask), cost(z[mask], targets[mask])
        return counted, masked, jax.grad(cost)(z, targets, mask)

    *pairs, slopes = jax.tree.map(np.asarray, results(predictions))
    for weighted, left_out_or_repeated in pairs:
        np.testing.assert_allclose(weighted, left_out_or_repeated, rtol=1e-6)
    np.testing.assert_array_equal(slopes[1], 0)
    assert np.abs(slopes[0]).max() > 0


# --- edges


@pytest.mark.parametrize(("name", "kind", "options"), [form for form in FORMS if form[1] != "real"])
def test_value_and_gradient_are_finite_at_huge_logits(name, kind, options):
    _, targets, _ = example(kind, (6, 3))
    signs = np.array([[1, -1, 0], [-1, 1, 1], [-1, -1, -1]] * 2, np.float32)
    one = jax.value_and_grad(lambda z: getattr(fnn, name)(z, targets, **numbers_of(options)))
    value, slopes = jax.jit(one)(1e4 * signs)
    expected = getattr(oracles, name)(1e4 * signs, targets, **options)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(slopes).all() and np.abs(slopes).max() > 0


def test_a_perfect_prediction_costs_0_and_teaches_nothing():
    real = np.float32([[1.0, -2.0], [0.0, 3e4]])
    binary, ids = np.float32([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 0])
    perfect = dict.fromkeys(("mse", "rmse", "mae", "huber"), (real, real))
    perfect["binary_cross_entropy"] = (2e4 * binary - 1e4, binary)
    perfect["softmax_cross_entropy"] = (2e4 * np.eye(2, dtype=np.float32)[ids] - 1e4, ids)
    weights = None, np.array([1.0, 2.0]), np.array([0.0, 1.0])
    for name, (predictions, targets) in perfect.items():
        one = jax.value_and_grad(getattr(fnn, name))
        results = jax.jit(lambda p, one=one, targets=targets: [one(p, targets, w) for w in weights])
        for value, slopes in results(predictions):
            assert value == 0, name
            np.testing.assert_array_equal(slopes, 0, err_msg=name)


@every_cost
def test_half_precision_predictions_give_a_float32_cost(name, kind):
    predictions, targets, weights = example(kind, (5, 3))
    rounded = predictions.astype(jnp.bfloat16)
    value, slopes = jax.jit(lambda p: jax.value_and_grad(getattr(fnn, name))(p, targets, weights))(rounded)
    assert (value.dtype, slopes.dtype) == (jnp.float32, jnp.bfloat16)
    expected = getattr(oracles, name)(rounded, targets, weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_real_targets_may_be_integers():
    targets = np.array([1, 0]), np.float32([1.0, 0.0])
    values = jax.jit(lambda p: [[getattr(fnn, name)(p, y) for y in targets] for name in ELEMENTWISE])
    for whole, real in values(np.float32([0.5, 2.0])):
        assert whole == real
        assert whole.dtype == np.float32


# --- transformations


@every_form
def test_a_map_over_problems_is_a_loop_of_gradients(name, kind, options):
    @jax.jit
    def slopes(predictions, targets, weights):
        cost = getattr(fnn, name)
        return jax.grad(lambda p: cost(p, targets, weights, **numbers_of(options)))(predictions)

    problems = example(kind, (3, 4, 2, 3))
    together = jax.vmap(slopes)(*problems)
    alone = [slopes(*(part[k] for part in problems)) for k in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "option", "values"),
    [
        ("huber", "delta", (0.3, 2.0)),
        ("binary_cross_entropy", "label_smoothing", (0.0, 0.2)),
        ("binary_cross_entropy", "positive_weight", (0.5, 2.0)),
        ("softmax_cross_entropy", "label_smoothing", (0.0, 0.2)),
    ],
)
def test_options_are_numbers_that_may_be_traced(name, option, values):
    kind = "real" if name == "huber" else "binary" if name.startswith("binary") else "ids"
    predictions, targets, _ = example(kind, (5, 3))
    one = jax.jit(lambda number: getattr(fnn, name)(predictions, targets, **{option: number}))
    together = jax.vmap(one)(jnp.array(values))
    alone = [getattr(oracles, name)(predictions, targets, **{option: v}) for v in values]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


# --- errors

COLUMN, ROW = jnp.zeros((4, 1)), jnp.zeros(4)
FIX = r"(?s)(?=.*\(4, 1\))(?=.*\(4,\)).*\[(:|\.\.\.), (None|0)\]"


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_refuses_a_column_against_a_row_and_says_the_fix(name):
    for predictions, targets in ((COLUMN, ROW), (ROW, COLUMN)):
        with pytest.raises(ValueError, match=FIX):
            getattr(fnn, name)(predictions, targets)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("shape", [(3,), (1, 3), (), (4, 1), (3, 4), (2, 4, 3)], ids=str)
def test_refuses_every_other_broadcast(name, shape):
    for ours, theirs in (((4, 3), shape), (shape, (4, 3))):
        with pytest.raises(ValueError, match=says(str(shape), "(4, 3)")):
            getattr(fnn, name)(jnp.zeros(ours), jnp.zeros(theirs))


def test_softmax_refuses_one_logit_and_points_to_the_binary_cost():
    for targets in (jnp.zeros(4, int), jnp.zeros((4, 1), int), jnp.zeros((4, 1))):
        with pytest.raises(ValueError, match=says("(4, 1)", "binary_cross_entropy")):
            fnn.softmax_cross_entropy(COLUMN, targets)


def test_softmax_refuses_labels_that_are_a_column_and_says_the_fix():
    fix = r"(?s)(?=.*\(4, 1\))(?=.*\(4, 3\)).*\[(:|\.\.\.), 0\]"
    with pytest.raises(ValueError, match=fix):
        fnn.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros((4, 1), int))


def test_softmax_refuses_class_ids_that_are_not_integers():
    with pytest.raises((ValueError, TypeError), match="(?s)(?=.*float32).*int"):
        fnn.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros(4))


@pytest.mark.parametrize("shape", [(3,), (5,), (), (1, 3), (4, 2), (4, 3, 1)], ids=str)
def test_softmax_refuses_targets_of_any_other_shape(shape):
    with pytest.raises(ValueError, match=says("(4, 3)", str(shape))):
        fnn.softmax_cross_entropy(jnp.zeros((4, 3)), jnp.zeros(shape, int))


@pytest.mark.parametrize("shape", [(2,), (1,), (4,), (4, 3), (1, 3)], ids=str)
def test_softmax_refuses_class_weights_that_are_not_one_a_class(shape):
    with pytest.raises(ValueError, match=says("class_weight", str(shape), "(3,)")):
        logits, ids = jnp.zeros((4, 3)), jnp.zeros(4, int)
        fnn.softmax_cross_entropy(logits, ids, class_weight=jnp.ones(shape))


@pytest.mark.parametrize("name", COSTS)
@pytest.mark.parametrize("shape", [(3,), (1,), (5,), (4, 1), (1, 4), (4, 2, 1)], ids=str)
def test_refuses_weights_that_are_no_prefix(name, shape):
    targets = jnp.zeros((4, 2), int) if name.startswith("softmax") else jnp.zeros((4, 2, 3))
    with pytest.raises(ValueError, match=says("sample_weight", str(shape), "(4, 2")):
        getattr(fnn, name)(jnp.zeros((4, 2, 3)), targets, jnp.ones(shape))


WITHOUT = {
    "mse": (np.float32([[1.0], [np.nan]]), np.float32([[0.0], [np.nan]])),
    "rmse": (np.float32([[1.0], [2.0]]), np.float32([[0.0], [np.nan]])),
    "mae": (np.float32([[1.0], [np.inf]]), np.float32([[0.0], [1.0]])),
    "huber": (np.float32([[1.0], [2.0]]), np.float32([[0.0], [np.inf]])),
    "binary_cross_entropy": (np.float32([[1.0], [np.nan]]), np.float32([[0.0], [np.nan]])),
    "softmax_cross_entropy": (np.float32([[1.0, 0.0], [np.nan, 0.0]]), np.array([0, -100])),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_a_row_without_weight_may_hold_anything_and_has_no_slope(name):
    cost, (predictions, targets) = getattr(fnn, name), WITHOUT[name]
    one, weights = jax.value_and_grad(cost), np.array([1.0, 0.0])
    both = jax.jit(lambda p: (one(p, targets, weights), one(p[:1], targets[:1])))
    (value, slope), (alone, its_slope) = jax.tree.map(np.asarray, both(predictions))
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    np.testing.assert_allclose(slope, np.r_[its_slope, np.zeros_like(its_slope)], rtol=1e-6)


def test_a_class_weight_of_an_id_without_weight_counts_nothing():
    ids, weights, of_classes = np.array([0, 5]), np.array([1.0, 0.0]), np.array([1.0, 3.0])
    weighted = jax.jit(lambda z: fnn.softmax_cross_entropy(z, ids, weights, class_weight=of_classes))
    np.testing.assert_allclose(weighted(np.zeros((2, 2))), np.log(2), rtol=1e-6)


# --- mistakes

Z, IDS, LINE = jnp.zeros((4, 3)), np.array([0, 1, 2, 1]), np.zeros(4)
YES = np.array([0.0, 1.0, 1.0, 0.0])
softmax = functools.partial(fnn.softmax_cross_entropy, Z, IDS)
binary = functools.partial(fnn.binary_cross_entropy, LINE, YES)
huber = functools.partial(fnn.huber, LINE, YES)
OUTSIDE = (-0.1, 1.5, float("nan"))
WRONG = {
    "a lost axis of classes": (lambda: fnn.softmax_cross_entropy(Z[:, 0], IDS), ValueError, "expected logits (rows, classes)", "(4,)", "binary_cross_entropy"),
    "a lost axis of classes under jit": (lambda: jax.jit(fnn.softmax_cross_entropy)(Z[:, 0], IDS), ValueError, "expected logits (rows, classes)", "(4,)", "axis of classes"),
    **{f"softmax smoothing {a}": (lambda a=a: softmax(label_smoothing=a), ValueError, "softmax_cross_entropy: label_smoothing", "0 ≤ label_smoothing ≤ 1", f"got {a}") for a in OUTSIDE},
    **{f"binary smoothing {a}": (lambda a=a: binary(label_smoothing=a), ValueError, "binary_cross_entropy: label_smoothing", "0 ≤ label_smoothing ≤ 1", f"got {a}") for a in OUTSIDE},
    **{f"smoothing {a!r}": (lambda a=a: softmax(label_smoothing=a), TypeError, "label_smoothing expected numbers", f"got {a!r}") for a in ("0.1", None, True)},
    **{f"delta {d}": (lambda d=d: huber(delta=d), ValueError, "huber: delta expected numbers, 0 < delta < ∞", f"got {d}") for d in (0, -1.0, float("nan"), float("inf"))},
    **{f"delta {d!r}": (lambda d=d: huber(delta=d), TypeError, "huber: delta expected", f"got {d!r}") for d in ("1", None)},
    "a positive weight below 0": (lambda: binary(positive_weight=-2), ValueError, "positive_weight expected numbers, 0 ≤ positive_weight < ∞", "got -2"),
    "a class weight below 0": (lambda: softmax(class_weight=np.array([1.0, -1.0, 1.0])), ValueError, "class_weight expected numbers, 0 ≤ class_weight < ∞", "got -1.0 in row 1"),
    "a class weight of nan": (lambda: softmax(class_weight=[1.0, np.nan, 1.0]), ValueError, "class_weight expected", "nan"),
    "class weights by id": (lambda: softmax(class_weight={0: 1.0, 1: 2.0}), TypeError, "class_weight expected", "got a dict", "in the order of the ids"),
    "class weights by id under jit": (lambda: jax.jit(lambda w: softmax(class_weight=w))({0: 1.0, 1: 2.0}), TypeError, "class_weight expected", "in the order of the ids"),
    "balanced class weights": (lambda: softmax(class_weight="balanced"), TypeError, "class_weight expected", "got 'balanced'", "numpy.bincount"),
    "ragged class weights": (lambda: softmax(class_weight=[[1.0], [1.0, 2.0]]), TypeError, "class_weight expected", "got a list"),
    **{
        f"{name} of {what}": (lambda name=name, value=value: getattr(fnn, name)(Z, value), error, f"{name}: targets expected", got)
        for name in COSTS
        for what, value, got, error in (
            ("None", None, "got None", TypeError),
            ("ragged lists", [[1.0], [1.0, 2.0]], "rows of equal length", ValueError),
            ("a dict", {"y": LINE}, "one by one", TypeError),
            ("text", ["a", "b", "c", "a"], "fnn.labels", TypeError),
            ("complex numbers", np.zeros((4, 3), complex), ".real", TypeError),
            ("masked numbers", np.ma.masked_array(np.zeros((4, 3)), np.eye(4)[:, :3]), ".filled", ValueError),
        )
    },
    "complex predictions": (lambda: fnn.mse(Z * 1j, Z), TypeError, "mse: predictions expected numbers", "complex64", ".real"),
    "complex logits": (lambda: fnn.softmax_cross_entropy(Z * 1j, IDS), TypeError, "softmax_cross_entropy: predictions expected numbers", ".real"),
    "text weights": (lambda: softmax(sample_weight=["a"] * 4), TypeError, "sample_weight expected numbers", "got 'a' in row 0"),
    "ids for a yes or no": (lambda: fnn.binary_cross_entropy(LINE, IDS), ValueError, "binary_cross_entropy: targets expected 0 or 1", "got 2 in row 2", "fnn.softmax_cross_entropy"),
    "-1 and 1 for a yes or no": (lambda: fnn.binary_cross_entropy(LINE[:, None], 2 * YES[:, None] - 1), ValueError, "got -1.0 in row 0, column 0", "(y + 1) / 2"),
    "a negative probability": (lambda: fnn.softmax_cross_entropy(Z, np.eye(4)[:, :3] - 0.1), ValueError, "softmax_cross_entropy: targets expected a probability", "got -0.1 in row 0, column 1"),
    "an option bound to a cost": (lambda: check_targets(functools.partial(fnn.huber, delta=-1.0), Z, Z), ValueError, "huber: delta expected", "got -1.0"),
}  # fmt: skip


test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)


def test_a_sparse_matrix_is_refused():
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=says("mse: targets expected numbers", "csr_matrix", ".toarray()")):
        fnn.mse(Z, scipy.csr_matrix(np.eye(4)[:, :3]))


def test_what_is_right_is_taken():
    assert fnn.softmax_cross_entropy(Z[0], 1) == fnn.softmax_cross_entropy(Z[0], jnp.eye(3)[1])
    assert softmax(class_weight=[1, 1, 1]) == softmax(label_smoothing=0) == softmax(label_smoothing=1)
    assert np.isfinite(binary(positive_weight=np.arange(4), label_smoothing=jnp.float32(0.5)))
    assert np.isfinite(huber(delta=jnp.full(4, 2.0, jnp.bfloat16)))
    assert fnn.binary_cross_entropy(LINE, [0, 1, 5, -3], [1, 1, 0, 0]) == fnn.binary_cross_entropy(
        LINE[:2], YES[:2]
    )
    check_targets(
        functools.partial(fnn.softmax_cross_entropy, class_weight=None, label_smoothing=0.1), Z, IDS
    )
