"""The layers one by one: each equals its formula, starts as it says, and refuses what it cannot take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import inputs, key, parameters, quick, refused

import fnn

INITIALIZERS = jax.nn.initializers


def deviation(share, count):
    """How far a share of `count` draws goes from the expected one in 1 of 150,000 runs."""
    return 4.5 * np.sqrt(share * (1 - share) / count)


# --- dense


@pytest.mark.parametrize("leading", [(), (1,), (6,), (2, 3), (2, 0, 3)], ids=str)
def test_dense_is_a_weighted_sum_of_every_input(leading, x64):
    draw = np.random.default_rng(0)
    x, weight, bias = (draw.normal(size=shape) for shape in ((*leading, 4), (4, 3), (3,)))
    with x64():
        y = fnn.dense(3).forward({"weight": jnp.array(weight), "bias": jnp.array(bias)}, jnp.array(x))
        assert y.dtype == jnp.float64
    np.testing.assert_allclose(y, x @ weight + bias, rtol=1e-14, atol=1e-14)


def test_dense_is_one_matrix_product_whatever_the_leading_axes():
    params = parameters(fnn.dense(3), jnp.ones(4))
    steps = jax.make_jaxpr(fnn.dense(3).forward)(params, jnp.ones((2, 5, 6, 4))).eqns
    assert [step.invars[0].aval.shape for step in steps if step.primitive.name == "dot_general"] == [(60, 4)]


def test_dense_weights_start_lecun_normal_cut_at_two_deviations_and_biases_at_zero():
    params = fnn.dense(500).init(key(0), jax.ShapeDtypeStruct((32, 2000), "float32"))
    weight, expected = np.asarray(params["weight"], np.float64), np.sqrt(1 / 2000)
    assert weight.shape == (2000, 500) and abs(weight.std() / expected - 1) < 0.02
    assert abs(weight.mean()) < 4.5 * expected / 1000
    cut = expected / 0.87962566103423978  # the normal that has this deviation once cut at two of its own
    assert 1.99 * cut < abs(weight).max() <= 2 * cut * (1 + 1e-6)
    within_one = 0.68268949 / 0.95449974
    assert abs((abs(weight) < cut).mean() - within_one) < deviation(within_one, weight.size)
    np.testing.assert_array_equal(params["bias"], np.zeros(500))


@pytest.mark.parametrize(
    ("initializer", "holds"),
    {
        INITIALIZERS.zeros: lambda w: not w.any(),
        INITIALIZERS.ones: lambda w: (w == 1).all(),
        INITIALIZERS.constant(0.25): lambda w: (w == 0.25).all(),
        INITIALIZERS.uniform(0.1): lambda w: (w >= 0).all() and 0.08 < w.max() < 0.1,
        INITIALIZERS.normal(2.0): lambda w: 1.5 < w.std() < 2.5,
        INITIALIZERS.glorot_uniform(): lambda w: abs(w).max() <= np.sqrt(6 / 30),
        INITIALIZERS.lecun_normal(): lambda w: 0.15 < w.std() < 0.3,
        INITIALIZERS.orthogonal(): lambda w: np.allclose(w.T @ w, np.eye(10), atol=1e-5),
    }.items(),
    ids=["zeros", "ones", "constant", "uniform", "normal", "glorot_uniform", "lecun_normal", "orthogonal"],
)
def test_dense_weights_start_as_any_initializer_says(initializer, holds):
    params = quick(fnn.dense(10, weight_init=initializer).init)(key(0), jnp.ones((3, 20)))
    assert params["weight"].shape == (20, 10) and holds(np.asarray(params["weight"]))


def test_dense_biases_start_as_their_own_initializer_says_and_are_drawn_apart():
    threes = fnn.dense(4, bias_init=INITIALIZERS.constant(3.0)).init(key(0), jnp.ones(2))["bias"]
    np.testing.assert_array_equal(threes, np.full(4, 3.0))
    normal = INITIALIZERS.normal()
    params = fnn.dense(3, normal, normal).init(key(0), jnp.ones(1))
    assert not np.any(params["weight"][0] == params["bias"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dense_computes_in_the_type_that_it_is_given(dtype):
    x, params = inputs((4,), 5), parameters(fnn.dense(3), jnp.ones(4))
    small_x, small = x.astype(dtype), jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    y = fnn.dense(3).forward(small, small_x)
    assert y.dtype == dtype
    np.testing.assert_allclose(np.asarray(y, np.float32), fnn.dense(3).forward(params, x), atol=0.05)
    assert fnn.dense(3).forward(params, small_x).dtype == jnp.float32  # the wider of the two


# --- flatten


@pytest.mark.parametrize("axes", [1, 2, 3, 4])
def test_flatten_joins_the_last_axes_in_row_order(axes):
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    y = fnn.flatten(axes).forward((), jnp.array(x))
    np.testing.assert_array_equal(y, x.reshape(*x.shape[: 4 - axes], -1))
    assert fnn.flatten(axes).forward((), jnp.ones((0, 3, 4, 5))).size == 0


# --- dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = inputs((200, 100)) + 3
    y, params = fnn.dropout(rate).forward_train((), x, key(1))
    kept = np.asarray(y) != 0
    assert params == () and abs(kept.mean() - (1 - rate)) < deviation(rate, x.size)
    np.testing.assert_allclose(y, np.where(kept, np.asarray(x) / (1 - rate), 0), rtol=1e-6)
    spread = np.sqrt((np.asarray(x) ** 2).mean() * rate / (1 - rate) / x.size)
    assert abs(y.mean() - x.mean()) < 4.5 * spread


def test_dropout_draws_every_unit_of_every_example_apart():
    kept = np.asarray(fnn.dropout(0.5).forward_train((), jnp.ones((400, 300)), key(1))[0] != 0)
    for axis in (0, 1):  # neighbours agree by chance only
        one, other = np.take(kept, range(299), axis), np.take(kept, range(1, 300), axis)
        assert abs((one == other).mean() - 0.5) < deviation(0.5, one.size)


def test_dropout_is_the_identity_once_trained_and_at_rate_zero():
    x = inputs((3,), 4)
    np.testing.assert_array_equal(fnn.dropout(0.9).forward((), x), x)
    np.testing.assert_array_equal(fnn.dropout(0.0).forward_train((), x, key(1))[0], x)
    np.testing.assert_array_equal(fnn.dropout(0).forward_train((), x, key(1))[0], x)


def test_dropout_is_its_key():
    one, again, other = (fnn.dropout(0.5).forward_train((), jnp.ones(100), key(k))[0] for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert 20 < (one != other).sum() < 80


def test_the_gradient_of_dropout_passes_where_a_unit_was_kept():
    def total(x):
        return fnn.dropout(0.2).forward_train((), x, key(1))[0].sum()

    y, slope = jax.value_and_grad(total)(jnp.ones(50))
    assert set(np.unique(slope)) == {0.0, 1.25} and np.isclose(slope.sum(), y)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_dropout_keeps_the_type(dtype):
    assert fnn.dropout(0.5).forward_train((), jnp.ones(4, dtype), key(1))[0].dtype == dtype


# --- what they refuse

DENSE = "dense: features expected a whole number, at least 1"
DROPOUT = ("dropout expected the share of units to drop, 0 ≤ rate < 1", "share dropped, not the share kept")
FLATTEN = "flatten: axes expected a whole number, at least 1"
X = jnp.ones((5, 4))


@pytest.mark.parametrize("features", [0, -1, 2.5, 8.0, True, "8", None], ids=repr)
def test_dense_refuses_what_is_no_number_of_features(features):
    with refused(DENSE, f"got {features!r}"):
        fnn.dense(features)


@pytest.mark.parametrize("rate", [1.0, 1, -0.1, 50, float("nan"), True, "0.5", None], ids=repr)
def test_dropout_refuses_what_is_no_share(rate):
    with refused(*DROPOUT, f"got {rate!r}"):
        fnn.dropout(rate)


@pytest.mark.parametrize("axes", [0, -1, 2.0, True, "2", None], ids=repr)
def test_flatten_refuses_what_is_no_number_of_axes(axes):
    with refused(FLATTEN, f"got {axes!r}", "Give axes=2." if axes == 2.0 else "flatten(2) for images"):
        fnn.flatten(axes)


NUMPY = {
    "features": lambda: fnn.dense(np.int64(8)),
    "rate": lambda: fnn.dropout(np.float32(0.5)),
    "axes": lambda: fnn.flatten(np.int64(2)),
    "times": lambda: fnn.repeat(np.int64(2), fnn.dense(4)),
}


@pytest.mark.parametrize("build", NUMPY.values(), ids=NUMPY)
def test_numbers_of_numpy_are_numbers(build):
    assert build().name in ("dense(8)", "dropout(0.5)", "flatten(2)", "repeat(2)")


WRONG = {  # outside of any network: what is wrong, pieces of the message
    "feature count": (
        lambda: fnn.dense(8).forward({"weight": jnp.ones((3, 8)), "bias": jnp.ones(8)}, X),
        ("dense expected 3 features", "(3, 8)", "got 4 in an input of shape (5, 4)", "initialise it again"),
    ),
    "scalar": (
        lambda: fnn.dense(8).init(key(0), jnp.ones(())),
        ("dense expected features on the last axis", "shape ()", "x[:, None], of shape (n, 1)"),
    ),
    "integers": (
        lambda: fnn.dense(8).forward({"weight": jnp.ones((4, 8)), "bias": jnp.ones(8)}, X.astype(int)),
        ("dense expected floating-point", "int32", "astype('float32')", "one_hot"),
    ),
    "list": (
        lambda: fnn.dense(8).forward({"weight": jnp.ones((4, 8)), "bias": jnp.ones(8)}, [1.0] * 4),
        ("dense expected one array of features", "got a list"),
    ),
    "no trained weights": (lambda: fnn.dense(8).forward((), X), ("dense expected", "weight", "tuple")),
    "too few axes": (
        lambda: fnn.flatten(3).forward((), X),
        ("flatten(3) expected at least 3 axes", "got shape (5, 4)"),
    ),
    "initializer not called": (
        lambda: fnn.dense(8, weight_init=INITIALIZERS.he_normal).init(key(0), X),
        ("dense", "weight_init", "(4, 8)"),
    ),
    "initializer of another shape": (
        lambda: fnn.dense(8, bias_init=lambda key, shape: jnp.ones(3)).init(key(0), X),
        ("dense", "bias_init", "(8,)", "(3,)"),
    ),
    "initializer by name": (
        lambda: fnn.dense(8, weight_init="he_normal").init(key(0), X),
        ("dense", "weight_init", "'he_normal'"),
    ),
}


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
