"""The encoder: whatever a table holds, `encode` learns it or refuses it, and what it learned holds for its own table."""

import tempfile

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strange import ANYTHING, DATA, NUMBERS, SCALARS, TEXTS, frame, taken_or_refused

import fnn

FOLDER = tempfile.TemporaryDirectory()
PATH = FOLDER.name + "/encoder"
NAMES = st.one_of(
    st.sampled_from(["a", "b", "a missing", "a=x", "", " ", "a "]),
    st.text(max_size=3),
    st.none(),
    st.integers(0, 2),
)
CELLS = st.sampled_from(  # a column's cells are mostly of one make
    [
        st.floats(-9, 9), st.floats(), st.integers(), NUMBERS, st.booleans(), TEXTS, SCALARS, ANYTHING,
        st.sampled_from(["x", "y", None]), st.sampled_from([1, 2.0, "2", " 2 ", None]), st.just(float("nan")),
        st.integers(-9, 9).map(str), st.one_of(st.floats(-9, 9), st.none(), st.sampled_from(["NA", "x"])),
    ]
)  # fmt: skip


@st.composite
def columns(draw):
    """A dict of lists, mostly of one length."""
    length = draw(st.integers(0, 6))
    lengths = st.one_of(st.just(length), st.just(length), st.integers(0, 6))
    found = {}
    for name in draw(st.lists(NAMES, max_size=3, unique_by=repr)):
        rows = draw(lengths)
        found[name] = draw(st.lists(draw(CELLS), min_size=rows, max_size=rows))
    return found


def as_rows(table):
    return [dict(zip(table, cells)) for cells in zip(*table.values())]


def as_arrays(table):
    return {name: np.array([*cells, None], object)[:-1] for name, cells in table.items()}


def as_frame(table):
    import pandas

    same = len({len(cells) for cells in table.values()}) < 2
    return pandas.DataFrame(table) if same else table


def as_series(table):
    return {
        name: frame(np.array([*cells, None], object)[:-1]).infer_objects() for name, cells in table.items()
    }


def one_row(table):
    return {name: cells[0] for name, cells in table.items() if cells}


MAKES = st.sampled_from(
    [dict, as_rows, as_arrays, as_frame, as_series, one_row, lambda table: iter(as_rows(table))]
)
MADE = st.tuples(MAKES, columns()).map(lambda pair: pair[0](pair[1]))
TABLES = st.one_of(MADE, MADE, MADE, st.dictionaries(NAMES, DATA, max_size=2), DATA, ANYTHING)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "columns": st.one_of(st.lists(NAMES, max_size=3), ANYTHING),
        "categories": st.one_of(st.lists(NAMES, max_size=2), ANYTHING),
        "allow_missing": st.booleans(),
        "allow_unseen": st.booleans(),
    },
)


def again(table):
    """The same table: a generator gives its rows once."""
    return list(table) if hasattr(table, "__next__") else table


@given(TABLES, TABLES, st.one_of(st.just({}), OPTIONS))
def encoder(table, other, options):
    """What is learned makes finite features of its own table, row by row the same, and is saved whole."""
    table, learned = again(table), []
    with taken_or_refused(ValueError, TypeError, saying=("encode",)):
        learned.append(fnn.encode(table, **options))
    for encoder in learned:
        x = encoder(table)
        assert x.dtype == np.float32 and x.shape[1:] == (len(encoder.names),) and len(x)
        assert np.isfinite(x).all() and len(set(encoder.names)) == len(encoder.names)
        back = encoder.inverse(x)
        assert {len(cells) for cells in back.values()} == {len(x)}
        fnn.save(PATH, encoder)
        loaded = fnn.load(PATH)
        assert loaded == encoder
        np.testing.assert_array_equal(loaded(table), x)
        if isinstance(table, list):
            np.testing.assert_array_equal(np.concatenate([encoder([row]) for row in table]), x)
        with taken_or_refused(ValueError, TypeError, saying=("encode",)):
            assert np.isfinite(encoder(again(other))).all()
