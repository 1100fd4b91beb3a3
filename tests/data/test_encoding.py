"""encode: tables of numbers, categories and gaps."""

import csv
import datetime
import decimal
import io
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import says

import fnn
from fnn import labels, split
from fnn.data.cells import MISSING
from fnn.data.encoding import Encoder, encode
from fnn.data.features import Category, Number

PENGUINS = [
    {"island": "Biscoe", "mass": 4000.0, "sex": "male"},
    {"island": "Dream", "mass": 3000.0, "sex": None},
    {"island": "Biscoe", "mass": None, "sex": "female"},
    {"island": "Torgersen", "mass": 3500.0, "sex": "male"},
]
NAMES = (
    *("island=Biscoe", "island=Dream", "island=Torgersen"),
    *("mass", "mass missing"),
    *("sex=female", "sex=male", "sex missing"),
)
SPREAD = math.sqrt((500**2 + 500**2 + 0) / 3)  # of 4000, 3000 and 3500 about their mean
FEATURES = [
    [1, 0, 0, 500 / SPREAD, 0, 0, 1, 0],
    [0, 1, 0, -500 / SPREAD, 0, 0, 0, 1],
    [1, 0, 0, 0, 1, 1, 0, 0],
    [0, 0, 1, 0, 0, 0, 1, 0],
]


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def as_file(rows):
    """The rows as csv.DictReader reads them back: every value a text."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    file.seek(0)
    return csv.DictReader(file)


def test_a_table_worked_out_by_hand():
    encoder = encode(PENGUINS)
    x = encoder(PENGUINS)
    assert encoder.names == NAMES
    assert isinstance(x, np.ndarray) and x.dtype == np.float32
    np.testing.assert_allclose(x, FEATURES, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter(PENGUINS),
        lambda: as_file(PENGUINS),
        lambda: columns_of(PENGUINS),
        lambda: {name: tuple(column) for name, column in columns_of(PENGUINS).items()},
        lambda: columns_of(PENGUINS) | {"mass": np.array([4000, 3000, np.nan, 3500], np.float32)},
        lambda: columns_of(PENGUINS) | {"mass": jnp.array([4000, 3000, np.nan, 3500])},
        lambda: columns_of(PENGUINS) | {"mass": [" 4e3 ", 3000, "NA", np.float32(3500)]},
        lambda: columns_of(PENGUINS) | {"sex": np.array(["male", "", " female", "male "])},
    ],
)
def test_any_form_of_a_table_is_the_same_table(make):
    assert encode(make()) == encode(PENGUINS)
    np.testing.assert_array_equal(encode(PENGUINS)(make()), encode(PENGUINS)(PENGUINS))


def test_a_pandas_table_is_the_same_table():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PENGUINS, index=[7, 7, 1, 0])
    encoder = encode(PENGUINS)
    types = {"island": "category", "mass": "Float64", "sex": "string"}
    for table in (frame, frame.astype(object), frame.astype(types), frame.convert_dtypes()):
        assert encode(table) == encoder
        np.testing.assert_array_equal(encoder(table), encoder(PENGUINS))
    np.testing.assert_array_equal(encoder(frame.iloc[3]), encoder(PENGUINS[3:]))


def test_one_dict_of_values_is_one_row():
    encoder = encode(PENGUINS)
    for place, row in enumerate(PENGUINS):
        np.testing.assert_allclose(encoder(row), FEATURES[place : place + 1], atol=1e-6)
    assert encode({"a": "x", "b": 3}).names == ("a=x", "b")


def test_chosen_columns_come_in_the_order_given():
    encoder = encode(PENGUINS, columns=("sex", "island"))
    assert encoder.names == NAMES[5:] + NAMES[:3]
    np.testing.assert_array_equal(
        encoder([{"sex": "male", "island": "Dream", "year": object()}]), [[0, 1, 0, 0, 1, 0]]
    )


def test_numbers_agree_with_scikit_learn(x64):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    draw = np.random.default_rng(0)
    train, test = draw.normal(9, 3, (40, 3)), draw.normal(9, 3, (10, 3))
    theirs = preprocessing.StandardScaler().fit(train)
    encoder = encode(dict(zip("abc", train.T)))
    np.testing.assert_allclose(encoder(dict(zip("abc", test.T))), theirs.transform(test), atol=1e-6)
    with x64():
        x = encoder(dict(zip("abc", test.T)))
        assert x.dtype == np.float64
        np.testing.assert_allclose(x, theirs.transform(test), atol=1e-12)


def test_categories_agree_with_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    draw = np.random.default_rng(0)
    train, test = draw.choice(["b", "C", "a", "aa"], (40, 2)), [["a", "new"], ["other", "b"]]
    theirs = preprocessing.OneHotEncoder(handle_unknown="ignore").fit(train)
    encoder = encode(dict(zip("pq", train.T)), allow_unseen=True)
    assert encoder.names == tuple(
        f"{name}={value}" for name, found in zip("pq", theirs.categories_) for value in found
    )
    for rows in (train, np.array(test)):
        x = encoder(dict(zip("pq", rows.T)))
        np.testing.assert_array_equal(x, theirs.transform(rows).toarray())


def test_only_the_training_rows_are_measured():
    encoder = encode({"a": [0.0, 4.0], "b": ["x", "y"]})
    assert encoder({"a": [2, 8], "b": ["y", "y"]}).tolist() == [[0, 0, 1], [3, 0, 1]]


def test_a_missing_number_is_the_training_mean():
    encoder = encode({"a": [0.0, 4.0, None]})
    assert encoder({"a": [None, 2]}).tolist() == [[0, 1], [0, 0]]
    without_gaps = encode({"a": [0.0, 4.0]})
    assert without_gaps.names == ("a",)
    assert without_gaps({"a": ["", 4]}).tolist() == [[0], [1]]


def test_a_missing_category_sets_nothing():
    encoder = encode({"a": ["x", "y", ""]})
    assert encoder({"a": ["NA", "y"]}).tolist() == [[0, 0, 1], [0, 1, 0]]
    assert encode({"a": ["x", "y"]})({"a": [None]}).tolist() == [[0, 0]]


def test_a_number_that_overflows_as_a_feature_is_refused():
    """Found by fuzzing: it became infinite."""
    encoder = encode({"a": [0.0, 2.0]})
    message = r"encode: column 'a' expected .* near enough to the mean, 1, for float32, got 1e\+39 in row 1\. Fix it"
    with pytest.raises(ValueError, match=message):
        encoder({"a": [1.0, 1e39]})


@pytest.mark.parametrize("gap", [None, math.nan, np.float32("nan"), "", " ", "NA", "N/A", " nan"])
def test_what_counts_as_missing(gap):
    encoder = encode({"a": [1.0, gap, 3.0], "b": ["x", gap, "y"]})
    assert encoder.names == ("a", "a missing", "b=x", "b=y", "b missing")
    assert encoder({"a": gap, "b": gap}).tolist() == [[0, 1, 0, 0, 1]]


def test_the_gaps_of_pandas_are_missing():
    pandas = pytest.importorskip("pandas")
    for gap in (pandas.NA, pandas.NaT):
        assert encode({"a": [1, 2]})({"a": [gap, 2]}).tolist() == [[0], [1]]


def test_the_word_none_is_a_category():
    assert encode({"basement": ["None", "full"]}).names == ("basement=None", "basement=full")


def test_an_unseen_category_sets_nothing_where_that_is_allowed():
    encoder = encode({"a": ["x", "y"]}, allow_unseen=True)
    assert encoder({"a": ["z", "y"]}).tolist() == [[0, 0], [0, 1]]
    assert encoder.inverse(encoder({"a": ["z", "y"]})) == {"a": [None, "y"]}


def test_a_column_of_the_least_numbers_that_there_are_is_finite():
    encoder = encode({"a": [0.0, 5e-324]})
    assert np.isfinite(encoder({"a": [0.0, 5e-324, 1e-300]})).all()


def test_a_constant_column_is_0_and_comes_back():
    encoder = encode({"a": [0.1, 0.1, 0.1], "b": ["x", "x", "x"]})
    x = encoder({"a": [0.1], "b": ["x"]})
    assert x.tolist() == [[0, 1]]
    assert encoder.inverse(x) == {"a": [0.1], "b": ["x"]}


def test_numbers_can_be_categories():
    table = {"month": [10, 9, 10, 1], "code": ["01", "1", "x", "01"]}
    encoder = encode(table, categories=["month", "code"])
    assert encoder.names == ("month=1", "month=9", "month=10", "code=01", "code=1", "code=x")
    for same in ([9, 10], [9.0, 10.0], ["9", " 10"], np.array([9, 10]), np.array([9.0, 10.0])):
        x = encoder({"month": same, "code": ["1", "x"]})
        assert x.tolist() == [[0, 1, 0, 0, 1, 0], [0, 0, 1, 0, 0, 1]]


def test_truth_values_are_categories():
    encoder = encode({"a": [True, False], "b": np.array([True, False])})
    assert encoder.names == ("a=False", "a=True", "b=False", "b=True")
    assert encoder({"a": "True", "b": np.True_}).tolist() == [[0, 1, 0, 1]]
    mixed = encode({"a": [True, 1, 1.0, "1"]}, categories=["a"])
    assert mixed.names == ("a=1", "a=True")
    assert mixed({"a": [True, 1.0, 1]}).tolist() == [[0, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize(
    "column, numbers",
    [
        ([" 3.5 ", "-1e3", 2, 1.0], True),
        (["1", "2", "a", "b", "c"], False),
        (["1_0", "2_0"], False),  # Python would read 10 and 20
        (["inf", "infinity", "-inf"], False),
        (["1.5", "", None], True),
        ([2**80, 1], True),
    ],
)
def test_a_column_is_of_numbers_if_all_its_values_are(column, numbers):
    (learned,) = encode({"a": column}).columns
    assert isinstance(learned, Number if numbers else Category)


def test_large_offsets_survive():
    seconds = 1.7e9 + np.arange(5) / 8
    x = encode({"time": seconds})({"time": seconds})
    np.testing.assert_allclose(x[:, 0], (np.arange(5) - 2) / math.sqrt(2), atol=1e-6)


def test_inverse_gives_the_columns_back():
    encoder = encode(PENGUINS)
    found = encoder.inverse(jnp.asarray(encoder(PENGUINS)))
    assert found.keys() == PENGUINS[0].keys()
    assert found["island"] == [row["island"] for row in PENGUINS]
    assert found["sex"] == [row["sex"] for row in PENGUINS]
    assert found["mass"] == [pytest.approx(4000), pytest.approx(3000), None, pytest.approx(3500)]
    np.testing.assert_allclose(encoder(found), encoder(PENGUINS), atol=1e-6)
    assert encode(found, columns=["island", "sex"]) == encode(PENGUINS, columns=["island", "sex"])


def test_inverse_of_predictions_takes_the_largest_category():
    encoder = encode({"a": ["x", "y", "z"]})
    assert encoder.inverse([[0.1, 0.6, 0.2], [0.4, 0.3, 0.3]]) == {"a": ["y", None]}


def test_an_encoder_is_a_value():
    encoder = encode(PENGUINS)
    leaves, structure = jax.tree.flatten(encoder)
    assert {type(leaf) for leaf in leaves} == {str, float, bool}
    again = jax.tree.unflatten(structure, leaves)
    assert again == encoder and isinstance(again, Encoder) and hash(again) == hash(encoder)
    assert encode(PENGUINS[:3]) != encoder
    assert encoder.columns[1] == Number("mass", 3500.0, pytest.approx(SPREAD), True)
    assert encoder.columns[2] == Category("sex", ("female", "male"), True, False)


def test_an_encoder_of_saved_leaves_works_as_before():
    leaves, structure = jax.tree.flatten(encode(PENGUINS))
    saved = [leaf if isinstance(leaf, str) else np.asarray(leaf) for leaf in leaves]
    again = jax.tree.unflatten(structure, saved)
    np.testing.assert_array_equal(again(PENGUINS), encode(PENGUINS)(PENGUINS))


def test_any_table_goes_there_and_back():
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    word = st.text("abcxyz", min_size=1, max_size=3)
    number = st.floats(-1e9, 1e9).map(lambda number: round(number, 3))
    cell = {"word": word | st.none(), "number": number | st.none()}
    rows = st.lists(st.fixed_dictionaries(cell), min_size=1, max_size=12)

    @hypothesis.settings(derandomize=True, deadline=None, max_examples=60, database=None)
    @hypothesis.given(rows)
    def check(rows):
        table = columns_of(rows)
        hypothesis.assume(all(any(cell is not None for cell in cells) for cells in table.values()))
        encoder = encode(rows)
        x = encoder(rows)
        found = encoder.inverse(x)
        assert found["word"] == table["word"]
        assert [n is None for n in found["number"]] == [n is None for n in table["number"]]
        numbers = [n for n in table["number"] if n is not None]
        back = [n for n in found["number"] if n is not None]
        np.testing.assert_allclose(back, numbers, atol=1e-6 * (np.ptp(numbers) + 1e-6))
        np.testing.assert_array_equal(encode(as_file(rows))(as_file(rows)), x)

    check()


def test_a_large_table_is_encoded_column_by_column():
    draw, rows = np.random.default_rng(0), 20_000
    table = {"word": draw.choice(["a", "b", "c"], rows), "number": draw.normal(size=rows)}
    x = encode(table)(table)
    assert x.shape == (rows, 4)
    np.testing.assert_array_equal(x[:, 1], table["word"] == "b")
    np.testing.assert_allclose(x[:, 3].std(), 1, atol=1e-5)


@pytest.mark.parametrize(
    "table, options, message",
    [
        ([], {}, "the table is empty"),
        ({}, {}, "the table is empty"),
        ({"a": []}, {}, "equal length, got 'a' has 0"),
        ({"a": [1]}, {"columns": ()}, "equal length, got no columns"),
        ({"a": [1, 2], "b": [1]}, {}, "equal length, got 'a' has 2 and 'b' has 1"),
        ({"a": [1, 2], "b": "x"}, {}, "column 'b': expected one flat list or array .* got str"),
        ({"a": np.ones((2, 3))}, {}, r"column 'a': expected one flat .* got \(2, 3\)"),
        (
            {"a": np.array(["2020-01-01"], "M8[s]")},
            {},
            "column 'a' expected texts or numbers, got a datetime in row 0. Name the column in dates=",
        ),
        (
            {"a": [1, {}]},
            {},
            "column 'a': row 1 expected text, a number, a date, True, False or None, got a dict",
        ),
        (
            [{"a": 1}, {"a": 1j}],
            {},
            r"column 'a': row 1 expected text, a number, a date, True, False or None, got 1j",
        ),
        ([[1, 2]], {}, "row 0 of the table expected rows as dicts, as csv.DictReader.*got a list"),
        ([{"a": 1}, {"b": 1}], {}, "no column 'b' in row 0, only 'a'"),
        ([{"a": 1}, {"b": 1}], {"columns": ["a"]}, "no column 'a' in row 1, only 'b'"),
        ({"a": [1]}, {"columns": ["a", "c"]}, "no column 'c' in the table, only 'a'"),
        ({"a": [1]}, {"columns": ["a", "a"]}, "the column 'a' is there twice"),
        ({"a": [1]}, {"categories": ["b"]}, "categories names 'b', no column of 'a'"),
        ({0: [1]}, {}, r"names of columns expected texts, got 0. Rename it, or list columns=."),
        ({"a": [1, None], "a missing": [1, 2]}, {}, "the feature 'a missing' is there twice"),
        ({"a": [1, 2, "x"]}, {}, "column 'a' expected finite numbers, .*got 'x' in row 2. .* categories="),
        ({"a": [1, "x"]}, {}, "column 'a' expected .* got 'x' in row 1"),
        ({"a": ["1", None, "?", "2"]}, {}, "column 'a' expected .* got '\\?' in row 2"),
        ({"a": [1.0, np.inf]}, {}, "column 'a' expected finite numbers, .*got inf in row 1"),
        ({"a": np.array([np.inf, -np.inf, 1])}, {}, "column 'a' expected .* got inf in row 0"),
        ({"a": [2, -np.inf, None]}, {}, "column 'a' expected .* got -inf in row 1"),
        ({"a": ["1", "NAN"]}, {}, "column 'a' expected finite numbers, .*got 'NAN' in row 1"),
        ({"a": [1, True]}, {}, "column 'a' expected finite numbers, .*got True in row 1"),
        ({"a": [None, " ", math.nan]}, {}, "all of column 'a' is missing; leave it out of columns"),
        ({"a": np.array([np.nan])}, {"categories": ["a"]}, "all of column 'a' is missing"),
        (
            {"a": [1, None]},
            {"allow_missing": False},
            "column 'a' expected no missing value, got None in row 1. Fill it in, drop the row, or",
        ),
    ],
)
def test_encode_refuses(table, options, message):
    with pytest.raises(ValueError, match=message):
        encode(table, **options)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            "table.csv",
            {},
            r"table expected rows as dicts, as csv\.DictReader\(file\) reads them, .*, got 'table\.csv'",
        ),
        (3, {}, r"table expected rows as dicts, .* or a dict of columns, got 3"),
        (np.array(3.0), {}, r"table expected rows as dicts, .*, got array\(3\.\)"),
        (print, {}, r"table expected rows as dicts, .*, got the function print"),
        (
            {"sex": ["f"]},
            {"categories": "sex"},
            r"categories expected a list of names, such as .*, got 'sex'",
        ),
        ({"sex": ["f"]}, {"columns": "sex"}, r"columns expected a list of names, such as .*, got 'sex'"),
        ({"sex": ["f"]}, {"columns": 1}, r"columns expected a list of names, such as .*, got 1"),
    ],
)
def test_what_is_no_table_and_no_list_of_names_is_refused(table, options, message):
    with pytest.raises(TypeError, match=rf"^encode: {message}\.$"):
        encode(table, **options)


@pytest.mark.parametrize("names", [["a", "a"], [["a"]], [np.zeros(2)], [None]])
def test_names_in_columns_and_categories_are_texts_and_there_once(names):
    for argument in ("columns", "categories"):
        with pytest.raises(
            ValueError, match=r"^encode: (names of columns expected texts, got|the column 'a' is there twice)"
        ):
            encode({"a": [1]}, **{argument: names})


@pytest.mark.parametrize(
    "gap", [np.array(np.nan), decimal.Decimal("NaN"), np.datetime64("NaT", "s")], ids=repr
)
def test_a_gap_of_any_make_is_a_missing_value(gap):
    encoder = encode({"a": [1.0, gap, 3.0]})
    np.testing.assert_array_equal(encoder({"a": [2.0, gap]}), [[0, 0], [0, 1]])


def test_encode_refuses_a_row_longer_than_its_header():
    with pytest.raises(ValueError, match=r"texts, got None. .*csv.DictReader puts under None what a row has"):
        encode(csv.DictReader(io.StringIO("a,b\n1,2,3\n")))


def test_encode_refuses_columns_of_one_name():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(ValueError, match="the column 'a' is there twice; rename or drop one"):
        encode(pandas.DataFrame([[1, 2]], columns=["a", "a"]))


@pytest.mark.parametrize(
    "table, message",
    [
        ({"b": ["x"]}, "no column 'a' in the table, only 'b'"),
        ([{"a": 1, "b": "x"}, {"a": 1}], "no column 'b' in row 1, only 'a'"),
        ({"a": [1, "?"], "b": ["x", "y"]}, "column 'a' expected finite numbers, .*got '\\?' in row 1"),
        ({"a": [1, 2], "b": ["x", "z"]}, "column 'b' expected one of the known .* got 'z' in row 1"),
        (
            {"a": 1, "b": "z"},
            "categories 'x', 'y', got .* Fix the value, or encode with allow_unseen=True",
        ),
        ({"a": [1, None], "b": ["x", "x"]}, "column 'a' expected no missing value, got None in row 1"),
        ({"a": [1, 2], "b": ["NA", "x"]}, "column 'b' expected no missing value, got 'NA' in row 0"),
        ([], "the table is empty"),
    ],
)
def test_an_encoder_refuses(table, message):
    encoder = encode({"a": [1, 2], "b": ["x", "y"]}, allow_missing=False)
    with pytest.raises(ValueError, match=message):
        encoder(table)


@pytest.mark.parametrize("shape", [(2, 4), (3,), (1, 2, 3)])
def test_inverse_refuses_another_number_of_features(shape):
    encoder = encode({"a": [1, 2], "b": ["x", "y"]})
    with pytest.raises(ValueError, match=r"Encoder.inverse: expected x \(n, 3\), got \("):
        encoder.inverse(np.zeros(shape))


DISGUISED = {  # a column of texts, and what it is taken for
    "a decimal comma": (
        [f"{i},5" for i in range(200)],
        "looks like numbers in another notation, such as '.*,5'",
    ),
    "thousands": (["1,234.50", "12,000.00", "7,001.25"], "numbers in another notation"),
    "a currency": (["$5.20", "$7.00", "€ 9"], "numbers in another notation"),
    "a percentage": (["5%", "7.5 %", "12%"], "numbers in another notation"),
    "dates": (["2026-01-05", "2026-02-01", None], "looks like dates or times, such as '2026-"),
    "dates of another order": (["31.12.2025", "01.01.2026"], "dates or times"),
    "times": (["2026-01-05 10:30", "2026-01-05T10:31:00Z"], "dates or times"),
    "hours": (["10:30", "7:05"], "dates or times"),
    "ids": ([f"customer-{i}" for i in range(60)], "has 60 different texts in 60 rows"),
}


@pytest.mark.parametrize(("texts", "message"), DISGUISED.values(), ids=DISGUISED)
def test_texts_that_are_hardly_categories_are_refused_unless_they_are_named_as_such(texts, message):
    with pytest.raises(ValueError, match=rf"encode: column 'it' .*{message}.*categories="):
        encode({"it": texts})
    assert len(encode({"it": texts}, categories=["it"]).columns[0].values) == len(set(texts) - {None})


@pytest.mark.parametrize(
    "texts", [["small", "large"], ["2x4", "3x4"], ["10-20", "20-30"], ["a1", "b2"], ["A", "1,5", "B"]]
)
def test_texts_that_may_be_categories_are(texts):
    assert encode({"it": texts}).columns[0].values == tuple(sorted(texts))


# --- how texts are read

NOTATIONS = {  # texts, the options that read them, as the message for them says, and the numbers
    "a decimal comma": (["1,5", "-2,25", "3"], "decimal=','", [1.5, -2.25, 3]),
    "thousands": (["1,234.50", "12,000.00", "7,001.25"], "thousands=','", [1234.5, 12000, 7001.25]),
    "thousands and a decimal comma": (
        ["1.234,50", "12.000,00"],
        "decimal=',', thousands='.'",
        [1234.5, 12000],
    ),
    "thousands apart": (["1 234.5", "12 000.0", "9.5"], "thousands=' '", [1234.5, 12000, 9.5]),
    "a currency": (["$5.20", "$ 7.00", "9 €"], "units=('$', '€')", [5.2, 7, 9]),
    "a percentage": (["5%", "7.5 %", "12%"], "units=('%',)", [5, 7.5, 12]),
    "a unit": (["5 kg", "7.5 kg", "-12 kg"], "units=('kg',)", [5, 7.5, -12]),
}


@pytest.mark.parametrize(("texts", "options", "numbers"), NOTATIONS.values(), ids=NOTATIONS)
def test_numbers_in_another_notation_are_read_as_the_message_says(texts, options, numbers):
    with pytest.raises(ValueError, match=says("'price' looks like numbers in another notation", options)):
        encode({"price": texts})
    encoder = encode({"price": texts}, **eval(f"dict({options})"))
    np.testing.assert_array_equal(encoder({"price": texts}), encode({"price": numbers})({"price": numbers}))
    np.testing.assert_allclose(encoder.inverse(encoder({"price": texts}))["price"], numbers, rtol=1e-4)


def test_what_is_no_number_in_a_notation_is_none():
    with pytest.raises(
        ValueError, match=r"'price' expected finite numbers, as others are, got '3\.5' in row 2"
    ):
        encode({"price": ["1.234", "12.000", "3.5"]}, decimal=",", thousands=".")  # it would be 35
    round_ones = {"price": ["12.000", "1.234", "7,0"]}
    encoder = encode(round_ones, decimal=",", thousands=".")
    np.testing.assert_allclose(encoder.inverse(encoder(round_ones))["price"], [12000, 1234, 7], rtol=1e-4)
    assert encode({"size": ["2,0", "2", "02"]}, decimal=",", categories=["size"]).names == (
        "size=02",
        "size=2",
    )
    with pytest.raises(
        ValueError, match="decimal and thousands expected two different marks, got ',' and ','"
    ):
        encode({"price": ["1,5"]}, decimal=",", thousands=",")


def test_which_texts_mean_missing_can_be_said():
    country = {"country": ["NA", "DE", "", "NA"]}
    assert encode(country).names == ("country=DE", "country missing")
    assert encode(country, missing=[]).names == ("country=DE", "country=NA", "country missing")
    gauge = {"depth": ["3", "?", "?", "?", "5", "?"]}
    with pytest.raises(
        ValueError, match=r"'depth' has numbers, and '\?' in most rows.*missing=.*categories="
    ):
        encode(gauge)
    encoder = encode(gauge, missing=["?"])
    assert encoder(gauge)[:, 1].tolist() == [0, 1, 1, 1, 0, 1]
    assert encoder({"depth": [None, 4]})[:, 0].tolist() == [0, 0]


def test_the_texts_for_missing_are_those_of_pandas():
    parsers = pytest.importorskip("pandas._libs.parsers")
    assert {*MISSING} == {*parsers.STR_NA_VALUES} - {"None"} | {"NaT"}


def test_dates_of_any_make_are_days_since_1970():
    day = datetime.datetime(2024, 3, 31, 18)
    days = (day - datetime.datetime(1970, 1, 1)).total_seconds() / 86400
    zone = datetime.timezone(datetime.timedelta(hours=2))
    same = [day, "2024-03-31 18:00", "2024-03-31T20:00+02:00", day.replace(hour=20, tzinfo=zone)]
    for cell in [*same, np.datetime64(day, "ns")]:
        column = (
            [cell, "2024-01-01", None]
            if not isinstance(cell, np.datetime64)
            else np.array([cell, "2024-01-01", "NaT"], "M8[s]")
        )
        encoder = encode({"sold": column}, dates=["sold"])
        assert encoder.names == ("sold", "sold missing")
        np.testing.assert_allclose(encoder.inverse(encoder({"sold": column}))["sold"][0], days, rtol=1e-6)
        assert encoder.columns[0].mean == (days + 19723) / 2
    assert encode({"t": ["06:00", datetime.time(18)]}, dates=["t"]).columns[0].mean == 0.5
    assert (
        encode({"t": [datetime.timedelta(hours=36), datetime.timedelta()]}, dates=["t"]).columns[0].mean
        == 0.75
    )
    with pytest.raises(ValueError, match="dates or times as ISO 8601 writes them, got '31.3.2024' in row 1"):
        encode({"sold": ["2024-01-01", "31.3.2024"]}, dates=["sold"])
    with pytest.raises(
        ValueError, match="expected texts or numbers, got a date in row 0. Name the column in dates="
    ):
        encode({"sold": [day.date()]})


def test_dates_of_pandas_are_days_too():
    pandas = pytest.importorskip("pandas")
    times = pandas.Series(pandas.date_range("2024-03-01", periods=5, freq="31h", tz="Europe/Berlin"))
    expected = np.array([time.timestamp() for time in times]) / 86400
    for column in (times, times.dt.tz_convert("UTC").dt.tz_localize(None)):
        assert encode({"t": column}, dates=["t"]).columns[0].mean == pytest.approx(expected.mean(), rel=1e-12)
    months = pandas.Series(pandas.period_range("2024-01", periods=3, freq="M"))
    assert encode({"t": months}, dates=["t"]).columns[0].mean == pytest.approx(19723 + (0 + 31 + 60) / 3)


def test_a_cycle_puts_its_end_beside_its_begin():
    hours = {"hour": [0, 6, 23, None]}
    encoder = encode(hours, cyclic={"hour": 24})
    assert encoder.names == ("hour sin 24", "hour cos 24", "hour missing")
    angle = 2 * np.pi * np.array([0, 6, 23]) / 24
    np.testing.assert_allclose(encoder(hours)[:3, :2], np.c_[np.sin(angle), np.cos(angle)], atol=1e-6)
    assert encoder(hours)[3].tolist() == [0, 0, 1]
    back = encoder.inverse(encoder(hours))["hour"]
    np.testing.assert_allclose(back[1:3], [6, 23], rtol=1e-5)
    assert back[3] is None
    sold = {"sold": ["2024-01-01", "2024-01-08", "2024-02-01"]}
    week = encode(sold, cyclic={"sold": (7, 365.2425)})
    assert len(week.names) == 4 and np.allclose(*week(sold)[:2, :2], atol=1e-5)
    assert encode(sold, cyclic={"sold": 7}, dates=["sold"]).names == ("sold sin 7", "sold cos 7", "sold")
    with pytest.raises(ValueError, match="all of column 'hour' is missing"):
        encode({"hour": [None, None]}, cyclic={"hour": 24})
    with pytest.raises(ValueError, match=r"cyclic\['hour'\] expected a number, 0 < .*, got 0"):
        encode(hours, cyclic={"hour": 0})


def test_categories_have_a_limit():
    codes = {"code": [f"c{i % 30}" for i in range(90)]}
    assert len(encode(codes, max_categories=30).names) == 30
    with pytest.raises(ValueError, match="'code' has 30 categories, more than max_categories=29"):
        encode(codes, max_categories=29)


def test_an_encoder_says_what_it_took_each_column_for():
    table = {"mass": [1.0, 3.0, None], "sex": ["f", "m", "f"], "hour": [1, 2, 3]}
    assert str(encode(table, cyclic={"hour": 24})).splitlines() == [
        "mass  number    mean 2, standard deviation 1, with missing values",
        "sex   category  2: 'f', 'm'",
        "hour  cycle     of 24",
    ]


def test_an_encoder_with_options_is_saved_and_loaded(tmp_path):
    table = {"price": ["1,5", "?"], "sold": ["2024-01-01", "2024-01-08"], "hour": [1, 2]}
    encoder = encode(table, decimal=",", missing=["?"], dates=["sold"], cyclic={"hour": 24})
    fnn.save(tmp_path / "encoder", encoder)
    assert fnn.load(tmp_path / "encoder") == encoder


def test_one_cell_is_read_by_one_rule():
    cells = ["2", " 2.0", 2, 2.0, "02"]
    assert encode({"a": cells}, categories=["a"]).names == ("a=02", "a=2")
    assert labels(["2", " 2.0", "02"]).classes == ("02", "2")
    (train, _), (test, _) = split(
        jax.random.key(0), np.arange(4), np.arange(4), fraction=0.5, stratify=["2", "2.0", "b ", "b"]
    )
    assert {*train} & {0, 1} and {*train} & {2, 3} and len(test) == 2


def test_an_encoder_saved_before_there_were_notations_is_loaded(tmp_path, monkeypatch):
    class Earlier(NamedTuple):
        columns: tuple
        allow_missing: bool

    table = {"mass": [1.0, 2.0], "sex": ["f", "m"]}
    encoder = encode(table)
    Earlier.__qualname__ = "Encoder"
    monkeypatch.setitem(fnn.saving.description.OWN, "fnn.Encoder", Earlier)
    fnn.save(tmp_path / "encoder", Earlier(encoder.columns, encoder.allow_missing))
    monkeypatch.setitem(fnn.saving.description.OWN, "fnn.Encoder", Encoder)
    assert fnn.load(tmp_path / "encoder") == encoder


# Columns of ids, for an embedding ------------------------------------------------------------------


def test_an_embedded_column_becomes_ids_beside_the_features():
    encoder = encode(PENGUINS, embed=["island", "sex"])
    x = encoder(PENGUINS)
    assert list(x) == ["features", "island", "sex"] and encoder.names == ("mass", "mass missing")
    assert encoder.counts == {"island": 4, "sex": 3}
    np.testing.assert_allclose(x["features"], np.array(FEATURES)[:, 3:5], atol=1e-6)
    np.testing.assert_array_equal(x["island"], [1, 2, 1, 3])
    np.testing.assert_array_equal(x["sex"], [2, 0, 1, 2])  # female, male; 0 where it is missing
    assert x["sex"].dtype == np.int32
    assert "island  ids       4: 0, missing or unseen, and 'Biscoe', 'Dream', 'Torgersen'" in str(encoder)
    assert encoder.inverse(x) == encode(PENGUINS).inverse(encode(PENGUINS)(PENGUINS))


def test_a_table_may_have_embedded_columns_alone():
    encoder = encode({"shop": ["b", "a", "b"]}, embed=["shop"])
    x = encoder({"shop": ["a", "b"]})
    assert list(x) == ["shop"] and x["shop"].tolist() == [1, 2]
    assert encoder.inverse(x) == {"shop": ["a", "b"]}


def test_what_is_unseen_has_the_id_0_or_is_refused():
    table = {"shop": [7, "8", 7.0], "price": [1.0, 2.0, 3.0]}
    with pytest.raises(
        ValueError, match=says("column 'shop'", "'7', '8'", "got 9 in row 0", "allow_unseen=True")
    ):
        encode(table, embed=["shop"])({"shop": [9], "price": [1.0]})
    encoder = encode(table, embed=["shop"], allow_unseen=True)
    assert encoder({"shop": [9, 8], "price": [1.0, 1.0]})["shop"].tolist() == [0, 2]
    with pytest.raises(ValueError, match=says("column 'shop'", "missing")):
        encode(table, embed=["shop"], allow_missing=False)({"shop": [None], "price": [1.0]})


def test_ten_thousand_categories_train_without_one_hot_features():
    draw = np.random.default_rng(0)
    shops = draw.permutation(np.arange(20_000) % 10_000)
    price = draw.normal(size=20_000)
    table = {"shop": [f"shop {shop}" for shop in shops], "price": price}
    with pytest.raises(ValueError, match=says("10000 categories", "Name it in embed=")):
        encode(table)
    encoder = encode(table, embed=["shop"])
    assert encoder.counts == {"shop": 10_001}
    network = fnn.serial(
        fnn.parallel(features=jax.nn.identity, shop=fnn.embedding(encoder.counts["shop"], 2)),
        lambda parts: jnp.concatenate([parts["features"], parts["shop"]], -1),
        fnn.dense(1),
    )
    y = (draw.normal(size=10_000)[shops] + 0.5 * price)[:, None]
    fitted = fnn.fit(
        network, fnn.mse, fnn.adam(0.02), encoder(table), y, key=jax.random.key(0), epochs=20, batch_size=200
    )
    assert fitted.history["cost"][-1] < 0.05 * y.var()
    assert fnn.predict(network, fitted.params, encoder({"shop": ["shop 3"], "price": [0.1]})).shape == (1, 1)


def test_an_encoder_with_embedded_columns_is_saved_and_loaded(tmp_path):
    encoder = encode(PENGUINS, embed=["island"], allow_unseen=True)
    fnn.save(tmp_path / "encoder", encoder)
    assert fnn.load(tmp_path / "encoder") == encoder


@pytest.mark.parametrize(
    ("options", "pieces"),
    [
        ({"embed": ["beak"]}, ("embed names 'beak'", "'island', 'mass', 'sex'")),
        ({"embed": "island"}, ("embed expected a list of names", "'island'")),
        ({"embed": ["mass"], "cyclic": {"mass": 24}}, ("embed names 'mass', but an id has no distance",)),
    ],
)
def test_a_wrong_choice_of_embedded_columns_is_refused(options, pieces):
    with pytest.raises((TypeError, ValueError), match=says(*pieces)):
        encode(PENGUINS, **options)


def test_a_column_called_features_cannot_be_embedded():
    with pytest.raises(ValueError, match="embed names 'features', but 'features' is the array of the others"):
        encode({"features": ["a", "b"]}, embed=["features"])
