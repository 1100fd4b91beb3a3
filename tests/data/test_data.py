"""split, standardize, one_hot, labels."""

import decimal
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data.encoding import encode
from fnn.data.labels import Labels, labels, one_hot
from fnn.data.split import split
from fnn.data.standardize import Standardizer, standardize


def key(seed=0):
    return jax.random.key(seed)


def table(rows=50, columns=3, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(5.0, 1.0, (rows, columns)) * [1.0, 40.0, 1e-3][:columns]


def counted(values):
    return {value: list(values).count(value) for value in sorted(set(values))}


# split -------------------------------------------------------------------------------------------


def test_every_row_is_in_exactly_one_part():
    (train,), (test,) = split(key(), np.arange(11), fraction=0.3)
    assert len(train) == 8 and len(test) == 3
    assert sorted([*train, *test]) == list(range(11))


def test_parts_follow_the_permutation_of_the_key():
    order = np.asarray(jax.random.permutation(key(7), 10)).tolist()
    (train,), (test,) = split(key(7), list(range(10)), fraction=0.3)
    assert test + train == order


def test_rows_of_all_arrays_stay_together():
    x = table(20)
    (x_train, y_train), (x_test, y_test) = split(key(), x, x.sum(1))
    np.testing.assert_array_equal(x_train.sum(1), y_train)
    np.testing.assert_array_equal(x_test.sum(1), y_test)


def test_another_key_is_another_split():
    (one,), _ = split(key(0), np.arange(50))
    (two,), _ = split(key(1), np.arange(50))
    (again,), _ = split(key(0), np.arange(50))
    assert one.tolist() == again.tolist() != two.tolist()


@pytest.mark.parametrize(
    "rows, fraction, size",
    [(10, 0.2, 2), (10, 0.24, 2), (10, 0.26, 3), (2, 0.5, 1), (3, 0.2, 1), (1000, 0.001, 1)],
)
def test_the_fraction_is_rounded_to_the_nearest_row(rows, fraction, size):
    (train,), (test,) = split(key(), list(range(rows)), fraction=fraction)
    assert (len(train), len(test)) == (rows - size, size)


def test_arrays_stay_what_they_are():
    rows = [{"a": i} for i in range(4)]
    tree = {"x": jnp.arange(4.0), "more": (np.array(["p", "q", "r", "s"]), [0, 1, 2, 3])}
    (rows_train, tree_train), (rows_test, tree_test) = split(key(), rows, tree, fraction=0.5)
    assert isinstance(tree_train["x"], jax.Array)
    assert isinstance(tree_test["more"][0], np.ndarray)
    assert [row["a"] for row in rows_train] == tree_train["more"][1] == tree_train["x"].tolist()
    assert [row["a"] for row in rows_test] == tree_test["more"][1] == tree_test["x"].tolist()
    assert tree_test["more"][0].tolist() == ["pqrs"[i] for i in tree_test["more"][1]]


def test_pandas_stays_pandas_and_is_taken_by_position():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(6), "b": list("uvwxyz")}, index=[9, 9, 8, 7, 6, 5])
    (train, train_a), (test, test_a) = split(key(), frame, frame["a"], fraction=0.5)
    assert isinstance(train, pandas.DataFrame) and isinstance(test_a, pandas.Series)
    assert sorted([*train["b"], *test["b"]]) == list("uvwxyz")
    assert train["a"].tolist() == train_a.tolist() and test["a"].tolist() == test_a.tolist()


def test_split_is_the_same_under_jit():
    x, y = jnp.arange(9.0), {"y": jnp.arange(18).reshape(9, 2)}
    names = np.arange(9)  # closed over, so a NumPy array under a traced permutation
    plain = split(key(3), x, y, names, fraction=0.25)
    traced = jax.jit(lambda key: split(key, x, y, names, fraction=0.25))(key(3))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), plain, traced))


@pytest.mark.parametrize(
    "counts, fraction, expected",
    [
        ([50, 30, 20], 0.1, [5, 3, 2]),
        ([3, 3, 4], 0.5, [2, 1, 2]),  # 1.5, 1.5, 2: one remainder of two equal ones
        ([16, 14, 10], 0.2, [3, 3, 2]),  # 3.2, 2.8, 2
        ([97, 3], 0.1, [9, 1]),  # 9.7, 0.3: the rare class still has a row in the second part
        ([98, 2], 0.9, [89, 1]),  # 88.2, 1.8: and in the first
        ([2, 2, 2, 2, 2], 0.2, [1, 1, 0, 0, 0]),  # no room for all five
    ],
)
def test_stratified_parts_hold_the_largest_remainder_shares(counts, fraction, expected):
    names = np.repeat(np.arange(len(counts)), counts)
    (train,), (test,) = split(key(), names, fraction=fraction, stratify=names)
    assert np.bincount(test, minlength=len(counts)).tolist() == expected
    assert len(train) + len(test) == len(names)


@pytest.mark.parametrize("kind", ["list", "array", "jax", "series", "floats", "bools"])
def test_stratify_reads_any_column_of_classes(kind):
    ids = np.arange(40) % 4 // 3  # three of class 0 to one of class 1
    make = {
        "list": lambda: ["no" if i == 0 else "yes" for i in ids],
        "array": lambda: ids,
        "jax": lambda: jnp.asarray(ids),
        "series": lambda: pytest.importorskip("pandas").Series(ids, index=ids),
        "floats": lambda: ids.astype(float),
        "bools": lambda: ids == 1,
    }
    (_, train), (_, test) = split(key(), np.arange(40), ids, stratify=make[kind]())
    assert counted(train) == {0: 24, 1: 8} and counted(test) == {0: 6, 1: 2}


def test_stratified_rows_are_shuffled():
    ids = np.repeat([0, 1], 50)
    (train, rows), _ = split(key(), ids, np.arange(100), stratify=ids)
    assert train.tolist() != sorted(train)
    assert rows[train == 0].tolist() != sorted(rows[train == 0])


def test_stratified_shares_are_those_of_scikit_learn_to_one_row():
    selection = pytest.importorskip("sklearn.model_selection")
    ids = np.random.default_rng(0).choice(5, 211, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    (_, ours), (_, ours_test) = split(key(), ids, ids, fraction=0.25, stratify=ids)
    _, theirs = selection.train_test_split(ids, test_size=0.25, stratify=ids, random_state=0)
    assert len(ours) + len(ours_test) == 211
    assert np.abs(np.bincount(ours_test) - np.bincount(theirs)).max() <= 1


def test_stratified_sizes_hold_for_any_counts():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies

    @hypothesis.settings(derandomize=True, deadline=None, max_examples=20, database=None)
    @hypothesis.given(st.lists(st.integers(2, 12), min_size=1, max_size=6), st.floats(0.1, 0.9))
    def check(counts, fraction):
        total, rows = round(fraction * sum(counts)), sum(counts)
        hypothesis.assume(0 < total < rows)
        names = np.repeat(np.arange(len(counts)), counts)
        (train,), (test,) = split(key(), names, fraction=fraction, stratify=names)
        shares = np.bincount(test, minlength=len(counts))
        assert shares.sum() == total and len(train) == rows - total
        if len(counts) <= total <= rows - len(counts):
            assert all(0 < share < count for share, count in zip(shares, counts))
        free = all(1 <= total * count // rows < count - 1 for count in counts)
        if free:  # no bound is near, so every share is its quota, rounded up or down
            assert all(abs(s - Fraction(total * c, rows)) < 1 for s, c in zip(shares, counts))

    check()


@pytest.mark.parametrize(
    "arrays, options, message",
    [
        (([1, 2], [1, 2, 3]), {}, r"arrays\[0\] has 2, arrays\[1\] has 3"),
        (({"x": np.ones(2)}, [1]), {}, r"arrays\[0\]\['x'\] has 2, arrays\[1\] has 1"),
        ((), {}, "arrays expected an array of rows"),
        (([1, 2], 3.0), {}, r"arrays\[1\] expected rows on its first axis, got a single number, 3.0"),
        ((range(4),), {}, r"arrays\[0\] expected rows on its first axis, got a range"),
        (
            ([1, 2], np.array(3.0)),
            {},
            r"arrays\[1\] expected rows on its first axis, got a single number, 3.0",
        ),
        (([1] * 10,), {"fraction": 0.01}, "fraction=0.01 of 10 rows makes 0 test rows"),
        (([1] * 10,), {"fraction": 1.0}, "fraction=1.0 of 10 rows makes 10 test rows"),
        (([1] * 10,), {"fraction": 20}, "20 of 10 rows makes 200 .* both parts need one"),
        (([1],), {}, "fraction=0.2 of 1 rows makes 0 test rows"),
        (([1] * 10,), {"fraction": "0.2"}, "fraction='0.2' of 10 rows makes 0 test rows"),
        (([1] * 10,), {"fraction": None}, "fraction=None of 10 rows .* between 0 and 1"),
        (([1] * 10,), {"fraction": float("nan")}, "fraction=nan of 10 rows .* between 0 and 1"),
        (([1] * 4,), {"stratify": ["a", "b", "b", "b"]}, "'a' has a single row, row 0"),
        (([1] * 4,), {"stratify": [0, 0, 1, 1, 1]}, "stratify has 5 rows, the arrays have 4"),
        (
            ([1] * 4,),
            {"stratify": [1.0, 0.5, 1.0, 0.5]},
            "split: stratify expected classes, got 0.5 in row 1",
        ),
        (
            ([1] * 4,),
            {"stratify": ["a", "", "a", "a"]},
            "stratify expected a class in every row, got '' in row 1",
        ),
        (([1] * 4,), {"stratify": np.eye(4)}, r"stratify: expected one flat .* got \(4, 4\)"),
    ],
)
def test_split_refuses(arrays, options, message):
    with pytest.raises(ValueError if arrays else TypeError, match=message):
        split(key(), *arrays, **options)


@pytest.mark.parametrize(
    "wrong, got",
    [
        (np.ones((3, 2)), r"an ndarray of shape \(3, 2\)"),
        (0, "0"),
        (None, "None"),
        ([1, 2, 3], "a list"),
        (jax.random.split(jax.random.key(0), 3), r"an array of shape \(3,\)"),
    ],
)
def test_split_refuses_what_is_no_key(wrong, got):
    message = rf"split\(key, …\): key expected jax.random.key\(seed\), got {got}"
    with pytest.raises(TypeError, match=message):
        split(wrong, [1, 2, 3])


def test_split_takes_the_older_kind_of_key():
    (train,), (test,) = split(jax.random.PRNGKey(0), np.arange(10))
    assert sorted([*train, *test]) == list(range(10))


def test_split_refuses_a_sparse_matrix():
    scipy = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"split: arrays expected rows, got a sparse matrix: .*toarray"):
        split(key(), scipy.csr_matrix(np.eye(4)), [1] * 4)


# standardize -------------------------------------------------------------------------------------


def test_a_text_with_spaces_around_it_is_the_same_class_as_encode_has_it():
    names = ["a", "a ", " b"]
    assert labels(names).classes == ("a", "b") and labels(names)([" a", "b"]).tolist() == [0, 1]
    assert encode({"name": names}).names == ("name=a", "name=b")


def test_decimals_are_numbers():
    prices = [decimal.Decimal("1.5"), decimal.Decimal("2.5")]
    assert standardize(prices).mean == 2 and encode({"price": prices}).names == ("price",)
    assert fnn.mse(prices, [1.5, 0.5]) == 2 and labels(prices).classes == (1.5, 2.5)


def test_standardize_agrees_with_scikit_learn(x64):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    x, other = table(), table(seed=1)
    theirs = preprocessing.StandardScaler().fit(x)
    scale = standardize(x)
    np.testing.assert_allclose(scale.mean, theirs.mean_, rtol=1e-12)
    np.testing.assert_allclose(scale.scale, theirs.scale_, rtol=1e-12)
    assert scale(other).dtype == np.float32
    np.testing.assert_allclose(scale(other), theirs.transform(other), atol=1e-6)
    with x64():
        assert scale(other).dtype == np.float64
        np.testing.assert_allclose(scale(other), theirs.transform(other), atol=1e-12)


@pytest.mark.parametrize("make", [np.asarray, np.float32, jnp.asarray, np.ndarray.tolist])
def test_standardized_rows_have_mean_0_and_deviation_1(make):
    x = make(table())
    z = np.asarray(standardize(x)(x), np.float64)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-6)


def test_standardizing_twice_changes_nothing():
    x = table()
    z = standardize(x)(x)
    np.testing.assert_allclose(standardize(z)(z), z, atol=1e-6)


def test_inverse_gives_the_numbers_back():
    x = table()
    scale = standardize(x)
    np.testing.assert_allclose(scale.inverse(scale(x)), x, rtol=1e-6)
    np.testing.assert_allclose(scale(scale.inverse(scale(x))), scale(x), atol=1e-6)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (4, 5, 3), (2, 3, 4, 2)])
def test_means_run_over_all_axes_but_the_last(shape):
    x = np.random.default_rng(0).normal(3, 2, shape)
    scale, axes = standardize(x), tuple(range(max(len(shape) - 1, 1)))
    assert np.shape(scale.mean) == np.shape(scale.scale) == shape[1:][-1:]
    np.testing.assert_allclose(scale.mean, x.mean(axes), rtol=1e-12)
    np.testing.assert_allclose(scale.scale, x.std(axes), rtol=1e-12)
    assert scale(x).shape == shape


def test_a_flat_target_scales_predictions_of_any_shape():
    scale = standardize(np.array([1.0, 3.0]))
    assert scale.inverse(np.array([[-1.0], [1.0]])).tolist() == [[1.0], [3.0]]
    assert scale.inverse(jnp.float32(1.0)).item() == 3.0


def test_one_row_is_standardized_by_the_training_rows():
    scale = standardize(np.array([[0.0, 10.0], [4.0, 30.0]]))
    assert scale(np.array([[6.0, 20.0]])).tolist() == [[2.0, 0.0]]
    assert scale([6.0, 20.0]).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("offset", [1e8, -1e9])
def test_a_large_offset_costs_no_digits(offset):
    small = np.round(table(columns=2) * 1024) / 1024  # exact beside the offset
    scale = standardize(small + offset)
    np.testing.assert_allclose(scale(small + offset), standardize(small)(small), atol=1e-6)
    found = scale.inverse(scale(small + offset))
    np.testing.assert_allclose(found - offset, small, atol=1e-3)


@pytest.mark.parametrize("size", [1e-250, 1e-30, 1e30, 1e250])
def test_the_size_of_the_numbers_does_not_matter(size):
    x = np.array([0.0, 2.0]) * size
    assert standardize(x)(x).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_nor_does_it_in_float32_under_jit(size):
    z = jax.jit(lambda x: standardize(x)(x))(jnp.array([0.0, 2.0]) * size)
    np.testing.assert_allclose(z, [-1.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 0.0, 1e8 + 0.25, -7.0])
@pytest.mark.parametrize("rows", [1, 10, 1000])
def test_a_constant_column_becomes_0_and_comes_back(value, rows):
    x = np.full((rows, 1), value)
    scale = standardize(x)
    assert scale.scale.tolist() == [1.0] and not scale(x).any()
    assert scale.inverse(scale(x)).tolist() == x.tolist()


def test_the_least_numbers_that_there_are_stay_finite_and_come_back():
    x = np.array([0.0, 5e-324])  # their standard deviation is no number of float64
    scale = standardize(x)
    assert np.isfinite(scale(x)).all() and scale.inverse(x).tolist() == x.tolist()
    x = jnp.array([0.0, jnp.finfo(jnp.float32).tiny])  # nor is this one of float32 on a CPU
    assert jnp.isfinite(jax.jit(lambda x: standardize(x)(x))(x)).all()


def test_standardizing_works_under_jit_vmap_and_grad():
    x = jnp.asarray(table(), jnp.float32)
    scale = standardize(x)
    np.testing.assert_allclose(jax.jit(standardize)(x).scale, scale.scale, rtol=1e-5)
    traced = jax.jit(lambda scale, x: scale(x))(scale, x)
    assert isinstance(traced, jax.Array) and traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, scale(x), atol=1e-5)
    np.testing.assert_allclose(jax.vmap(scale)(x), scale(x), atol=1e-5)
    stacked = jax.vmap(standardize)(jnp.stack([x, 2 * x]))
    np.testing.assert_allclose(stacked.scale[1], 2 * scale.scale, rtol=1e-5)
    slope = jax.grad(lambda x: scale(x).sum())(x)
    np.testing.assert_allclose(slope[0], 1 / scale.scale, rtol=1e-5)


def test_its_derivative_is_finite_even_at_a_constant_column():
    x = jnp.array([[1.0, 2.0], [1.0, 5.0]])
    slope = jax.grad(lambda x: (standardize(x)(x) ** 3).sum())(x)
    assert jnp.isfinite(slope).all()


def test_a_target_as_large_as_a_time_comes_back_to_the_second():
    times = 1.7e9 + 3600 * np.arange(1000.0)
    unit = standardize(times)
    predicted = jnp.asarray(unit(times))  # as predict gives them, in float32
    assert abs(unit.inverse(predicted) - times).max() < 0.2  # float32's own spacing there is 128 s
    np.testing.assert_array_equal(jax.jit(unit.inverse)(predicted).dtype, np.float32)


def test_a_column_that_is_constant_but_for_rounding_becomes_0():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    for constant in ([0.3, 0.1 + 0.2, 0.3], np.float32([0.3, np.nextafter(np.float32(0.3), 1), 0.3])):
        scale = standardize(constant)
        assert scale.scale == 1 and abs(scale(0.31) - 0.01) < 1e-6
    for column in ([1e-12, 2e-12, 3e-12], [10**9, 10**9 + 1], 1.7e9 + np.arange(3.0)):
        theirs = preprocessing.StandardScaler().fit(np.c_[column])
        np.testing.assert_allclose(standardize(column).scale, theirs.scale_[0], rtol=1e-9)


def test_jax_arrays_stay_jax_and_others_become_numpy():
    scale = standardize(table())
    assert isinstance(scale(jnp.ones(3)), jax.Array)
    assert scale.inverse(jnp.ones(3)).dtype == np.float64
    assert scale(jnp.ones(3, int)).dtype == scale(np.ones(3, int)).dtype == np.float32
    assert isinstance(scale([1, 2, 3]), np.ndarray)
    assert scale.inverse([1, 2, 3]).dtype == np.float64


def test_a_standardizer_is_a_pytree():
    scale = standardize(table())
    leaves, structure = jax.tree.flatten(scale)
    assert isinstance(jax.tree.unflatten(structure, leaves), Standardizer) and len(leaves) == 2


def test_standardize_reads_pandas():
    pandas = pytest.importorskip("pandas")
    x = table()
    frame = pandas.DataFrame(x, columns=["a", "b", "c"])
    np.testing.assert_array_equal(standardize(frame)(frame), standardize(x)(x))


def with_one(value, place, shape=(5, 3)):
    x = np.zeros(shape)
    x[place] = value
    return x


@pytest.mark.parametrize(
    "x, message",
    [
        (with_one(np.nan, (3, 1)), "got nan in row 3, column 1. Leave .* fnn.encode"),
        (with_one(-np.inf, (0, 2)), "got -inf in row 0, column 2"),
        (with_one(np.nan, 4, (5,)), "got nan in row 4"),
        (with_one(np.nan, (1, 4, 0), (2, 5, 3)), "got nan in row 1, column 4, 0"),
        (jnp.array([1.0, jnp.inf]), "got inf in row 1"),
        (np.zeros((0, 3)), r"x of shape \(0, 3\) has no rows"),
        (3.0, r"x of shape \(\) has no rows"),
        (
            np.ma.masked_array([[1.0], [2.0]], [[False], [True]]),
            "no masked entry, got 2.0 in row 1, column 0.*filled",
        ),
        ([[1.0], [2.0, 3.0]], "standardize: x expected rows of equal length"),
    ],
)
def test_standardize_refuses(x, message):
    with pytest.raises(ValueError, match=message):
        standardize(x)


@pytest.mark.parametrize(
    "x, message",
    [
        ([["a", "b"]], "standardize: x expected numbers, got 'a' in row 0, column 0 .*fnn.encode"),
        ([["1", "2"]], "expected numbers, got '1' in row 0, column 0"),
        (np.array([[1.0, "2"]], object), "expected numbers, got '2' in row 0, column 1"),
        (np.array([1j, 2.0]), r"got 1j in row 0 \(complex128 .*\.real and \.imag"),
        (jnp.array([1j, 2.0]), r"complex64 of shape \(2,\).*\.real and \.imag"),
        (
            np.array(["2020-01-01"], "M8[D]"),
            r"got a date in row 0 \(datetime64\[D\].* fnn.encode.*dates=.* makes days",
        ),
    ],
)
def test_standardize_refuses_what_is_no_number(x, message):
    with pytest.raises(TypeError, match=message):
        standardize(x)
    with pytest.raises(TypeError, match="Standardizer: x expected numbers"):
        Standardizer(np.zeros(()), np.ones(()))(x)


@pytest.mark.parametrize("x", [np.zeros((2, 4)), jnp.zeros(4), [0.0] * 4])
def test_a_standardizer_refuses_other_columns(x):
    scale = standardize(table())
    for use in (scale, scale.inverse):
        with pytest.raises(ValueError, match=r"made from 3 columns, but x of shape .*4.* has 4"):
            use(x)
    with pytest.raises(ValueError, match=r"x of shape \(\) has none"):
        scale(1.0)


# one_hot -----------------------------------------------------------------------------------------


def test_one_hot_puts_a_single_one_in_each_row():
    ids = np.array([[2, 0], [1, 1]])
    np.testing.assert_array_equal(one_hot(ids, 3), np.eye(3)[ids])
    np.testing.assert_array_equal(one_hot(jnp.asarray(ids), 3), np.eye(3)[ids])
    assert one_hot(1, 3).tolist() == [0.0, 1.0, 0.0]
    assert one_hot([True, False], 2).tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_small_integers_count_many_classes():
    assert one_hot(np.array([0, 127], np.int8), 300).sum(1).tolist() == [1.0, 1.0]


def test_one_hot_is_in_the_float_of_jax(x64):
    assert one_hot([0], 2).dtype == jnp.float32
    with x64():
        assert one_hot([0], 2).dtype == jnp.float64


def test_under_jit_an_id_outside_the_classes_is_a_row_of_zeros():
    rows = jax.jit(lambda ids: one_hot(ids, 3))(jnp.array([-1, 2, 3]))
    assert rows.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "ids, message",
    [
        ([0, 3], "one_hot: ids expected class ids from 0 to 2 for 3 classes, got 3 in row 1"),
        (jnp.array([0, 0, -1]), "got -1 in row 2"),
        ([[0, 1], [5, 7]], "got 5 in row 1, column 0"),
        ([0.0, 1.0], r"ids expected whole numbers, got float64 of shape \(2,\). Give ids.astype\(int\)"),
    ],
)
def test_one_hot_refuses(ids, message):
    with pytest.raises(ValueError, match=message):
        one_hot(ids, 3)


@pytest.mark.parametrize("classes", ["3", 3.0, None, 0, -1, True, [0, 1]])
def test_one_hot_refuses_what_is_no_count(classes):
    with pytest.raises(ValueError, match=r"one_hot: classes expected a whole number, at least 1, got"):
        one_hot([0, 1], classes)


def test_one_hot_refuses_ragged_ids():
    with pytest.raises(ValueError, match="one_hot: ids expected rows of equal length, got a ragged list"):
        one_hot([[0], [1, 2]], 3)


def test_one_hot_and_inverse_refuse_names():
    message = "ids expected numbers, got 'a' in row 0 .*names of classes through fnn.labels"
    with pytest.raises(TypeError, match=f"one_hot: {message}"):
        one_hot(["a", "b"], 3)
    with pytest.raises(TypeError, match=f"labels.inverse: {message}"):
        labels(["a", "b"]).inverse(["a"])


def test_one_hot_refuses_float_ids_under_jit_too():
    with pytest.raises(ValueError, match="got float32"):
        jax.jit(lambda ids: one_hot(ids, 3))(jnp.ones(2))


# labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, classes",
    [
        (["b", "a", "b"], ("a", "b")),
        (("10", "9", "b"), ("10", "9", "b")),
        ([10, 9, 10, -1], (-1, 9, 10)),
        (np.array([2.5, 1.0]), (1.0, 2.5)),
        (np.array(["b", "a"]), ("a", "b")),
        (np.array([3, 1], np.uint8), (1, 3)),
        (jnp.array([2, 1]), (1, 2)),
        ([True, False, True], (False, True)),
        (np.array([True]), (True,)),
        ([np.int64(4), 4], (4,)),
        (list(np.array(["z"])), ("z",)),
    ],
)
def test_classes_are_sorted_python_values(values, classes):
    found = labels(values).classes
    assert found == classes
    assert [type(name) for name in found] == [type(name) for name in classes]


def test_labels_go_there_and_back():
    values = ["gentoo", "adelie", "gentoo", "chinstrap"]
    species = labels(values)
    ids = species(values)
    assert ids.dtype == np.int32 and ids.tolist() == [2, 0, 2, 1]
    assert species.inverse(ids) == species.inverse(jnp.asarray(ids)) == values
    assert species(species.inverse([1, 0])).tolist() == [1, 0]
    assert labels(species.classes) == species == Labels(("adelie", "chinstrap", "gentoo"))


def test_labels_of_some_rows_serve_others():
    species = labels(["a", "b", "c"])
    assert species(["c"]).tolist() == [2]
    assert species.inverse(np.zeros(0, int)) == []


def test_labels_agree_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    values = np.random.default_rng(0).choice(["x", "Y", "aa", "a b"], 50)
    theirs = preprocessing.LabelEncoder().fit(values)
    ours = labels(values)
    assert ours.classes == tuple(theirs.classes_)
    np.testing.assert_array_equal(ours(values), theirs.transform(values))


def test_labels_read_pandas():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(["b", "a"], index=[5, 5])
    for kind in (str, object, "category"):
        assert labels(column.astype(kind)).classes == ("a", "b")
    assert labels(pandas.Series([2, 1], dtype="Int64")).classes == (1, 2)


def test_any_column_of_one_kind_goes_there_and_back():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    text = st.text(max_size=3).filter(lambda text: text.strip() not in ("", "NA"))
    number = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
    column = st.one_of(st.lists(kind, min_size=1) for kind in (text, number, st.booleans()))

    @hypothesis.settings(derandomize=True, deadline=None, max_examples=60, database=None)
    @hypothesis.given(column)
    def check(values):
        found = labels(values)
        cells = [value.strip() if isinstance(value, str) else value for value in values]
        assert found.inverse(found(values)) == cells
        assert list(found.classes) == sorted(set(cells))

    check()


@pytest.mark.parametrize("missing", [None, float("nan"), "", " ", "NA", "nan", "N/A", "<NA>"])
def test_labels_refuse_a_missing_class(missing):
    with pytest.raises(
        ValueError, match="labels expected a class in every row, got .* in row 1. Drop .* 'unknown'"
    ):
        labels(["a", missing])
    with pytest.raises(ValueError, match="labels expected a class in every row, got .* in row 0"):
        labels(["a"])([missing])


def test_labels_refuse_the_gaps_of_pandas():
    pandas = pytest.importorskip("pandas")
    for gap in (pandas.NA, pandas.NaT):
        with pytest.raises(ValueError, match="labels expected a class in every row, got .* in row 1"):
            labels(["a", gap])
    with pytest.raises(ValueError, match="labels expected a class in every row, got .* in row 1"):
        labels(pandas.Series([1, None], dtype="Int64"))
    with pytest.raises(ValueError, match=r"got \(2, 1\). A table gives its columns one by one"):
        labels(pandas.DataFrame({"y": ["a", "b"]}))


@pytest.mark.parametrize(
    "values, message",
    [
        ([], "expected only texts or only numbers, got no rows"),
        ([1, "a", 2], "got 2 in row 2 and 'a' in row 1"),
        ([[1], [2]], r"labels: expected one flat list or array .* got \(2, 1\)"),
        ([[1], [2, 3]], "labels: row 0 expected text, a number, a date, True, False or None, got a list"),
        ("cat", "got str"),
        ({"a": 1}, "got dict"),
        (np.array(["2020-01-01"], "M8[D]"), r"got a datetime in row 0. Make texts of dates"),
        (np.array(["2020-01-01"], "M8[ns]"), r"got a datetime in row 0. Make texts of dates"),
    ],
)
def test_labels_refuse(values, message):
    with pytest.raises(ValueError, match=message):
        labels(values)


def test_labels_refuse_a_class_they_do_not_know():
    with pytest.raises(ValueError, match="known classes 'a', 'b', 'c', got 'd' in row 1. Fix"):
        labels(["a", "b", "c"])(["a", "d"])
    with pytest.raises(ValueError, match="0, 1, .* 18, 19 and 5 more, got 99 in row 0. Fix"):
        labels(np.arange(25))([99])


@pytest.mark.parametrize(
    "ids, message",
    [
        ([0, 2], "labels.inverse: ids expected class ids from 0 to 1 for 2 classes, got 2 in row 1"),
        ([-1], "got -1 in row 0"),
        ([[0], [1]], r"expected ids \(n,\), got the shape \(2, 1\)"),
        (1, r"expected ids \(n,\), got the shape \(\)"),
        (jnp.ones((2, 2)), r"got float32 of shape \(2, 2\). .* logits.argmax\(-1\)"),
    ],
)
def test_labels_inverse_refuses(ids, message):
    with pytest.raises(ValueError, match=message):
        labels(["a", "b"]).inverse(ids)
