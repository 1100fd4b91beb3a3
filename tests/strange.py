"""What anybody may hand over by mistake or on purpose, and what an answer to it must be."""

import contextlib
import datetime
import decimal
import fractions
import functools
import os
import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fnn

HOUSE = os.path.dirname(fnn.__file__) + os.sep
REHEARSAL = sys.modules["fnn.run.rehearsal"].__file__


@contextlib.contextmanager
def taken_or_refused(*kinds, saying=("",)):
    """What is inside works, or raises one of these errors, from a line of fnn's own, in words."""
    try:
        yield
    except kinds as error:
        frames = traceback.extract_tb(error.__traceback__)
        if ("call", REHEARSAL) in [(frame.name, frame.filename) for frame in frames]:
            return  # a function of the user's raised it: it comes through
        last = frames[-1]
        assert last.filename.startswith(HOUSE), f"raised in {last.filename}:{last.lineno}, not by fnn"
        message = str(error)
        assert any(words in message for words in saying) and len(message) > 20 and " at 0x" not in message, (
            message
        )


# Numbers and texts ----------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(["", " ", "NA", "nan", "inf", "-0", "1e999", "1_0", "٣", "3.5", " 2 ", "True", "a", "Ω", "\0", "🦆"]),
    st.text(max_size=4),
)  # fmt: skip
NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 7, 2**31, 2**63, 2**64, -(10**400), 1e-320, 1e39, 1e308]),
    st.integers(-9, 9),
    st.floats(),
)
SCALARS = st.one_of(
    st.sampled_from([np.float32("nan"), np.float64(2.5), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)]),
    st.sampled_from([np.str_("a"), np.bytes_(b"a"), np.datetime64("2026-01-01"), np.timedelta64(3, "s")]),
)
OTHERS = st.sampled_from(
    [
        *(None, True, False, 1j, b"bytes", Ellipsis, NotImplemented, slice(3), object, object(), print, len),
        *(decimal.Decimal("1.5"), fractions.Fraction(1, 3), datetime.date(2026, 1, 1), datetime.timedelta(3)),
        *(range(3), bytearray(3), memoryview(b"abc"), frozenset({1}), {"a": 1}, {1: 2}, {"x": [1.0, 2.0]}),
        *([], (), {}, set(), [[]], [None], [1, [2]], [[1, 2], [3]], [[1], ["a"]], (1, 2), ["a", "b"], [{}]),
        *(np.float32, np.dtype("float32"), float, int, type, fnn, jnp.tanh, lambda: None, lambda *a: a),
        *(ValueError("an error"), ValueError, functools.partial(max, 3), staticmethod, property()),
    ]
)
ANYTHING = st.one_of(NUMBERS, TEXTS, SCALARS, OTHERS)

# Arrays ---------------------------------------------------------------------------------------------

KINDS = ["?", "i1", "i4", "i8", "u1", "u8", "f2", "f4", "f8", ">f4", "c8", "U2", "S2", "O", "M8[D]", "m8[s]"]
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8)
LIMITS = [np.nan, np.inf, -np.inf, 1e39, -1, 2**40]


@st.composite
def arrays(draw, kinds=KINDS, shapes=SHAPES):
    """An array of any kind and few rows, sometimes with one number that stands out."""
    kind, shape = np.dtype(draw(st.sampled_from(kinds))), draw(shapes)
    base = (np.arange(np.prod(shape, dtype=int)) % 3).reshape(shape)
    array = base.astype(kind) if kind.kind != "O" else base.astype(object)
    if array.size and draw(st.booleans()):
        odd = draw(
            st.sampled_from(LIMITS) if kind.kind in "fc" else ANYTHING if kind.kind == "O" else st.just(1)
        )
        place = draw(st.integers(0, array.size - 1))
        with np.errstate(over="ignore"):
            array.flat[place : place + 1] = (
                np.array([odd], object).astype(kind) if kind.kind != "O" else [odd]
            )
    return draw(
        st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[::-1] if a.ndim else a, np.asfortranarray])
    )(array)


def of_jax(array):
    return jnp.asarray(array) if array.dtype.kind in "?biufc" and array.dtype.isnative else array


def masked(array):
    return np.ma.masked_array(array, np.zeros(array.shape, bool))


def frame(array):
    import pandas

    return pandas.DataFrame(array) if array.ndim == 2 else pandas.Series(array) if array.ndim == 1 else array


def sparse(array):
    import scipy.sparse

    return (
        scipy.sparse.csr_matrix(array)
        if array.ndim == 2 and array.dtype.isnative and array.dtype.char in "?bilfd"
        else array
    )


def generator(array):
    return (row for row in array) if array.ndim else array


def shape_only(array):
    return jax.ShapeDtypeStruct(array.shape, array.dtype) if array.dtype.kind in "biuf" else array


FORMS = st.sampled_from(
    [of_jax, np.ndarray.tolist, frame, sparse, masked, generator, shape_only, lambda a: {"x": a}]
)
DATA = st.one_of(arrays(), st.tuples(FORMS, arrays()).map(lambda pair: pair[0](pair[1])))
