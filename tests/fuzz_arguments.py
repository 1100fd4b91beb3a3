"""fit's arguments: whatever they are, they are refused before anything is compiled, or the run they ask for works."""

import contextlib
import functools
import os
import sys
import tempfile
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strange import ANYTHING, DATA, FORMS, arrays, taken_or_refused

import fnn
from fnn.workflow.shapes import abstract

FIT = sys.modules["fnn.run.fit"]
X = np.linspace(-1, 1, 16, dtype=np.float32).reshape(8, 2)
Y = np.arange(8) % 3
NETWORK = fnn.serial(fnn.dense(3))
OTHER = fnn.serial(fnn.flatten(1), fnn.dense(2), jnp.tanh, fnn.dropout(0.5), fnn.dense(1))
PLAIN = fnn.fit(NETWORK, fnn.softmax_cross_entropy, fnn.adam(), X, Y, key=jax.random.key(0), epochs=1)
WATCHED = fnn.fit(
    NETWORK, fnn.softmax_cross_entropy, fnn.adam(), X, Y, key=jax.random.key(0), epochs=1, validation=(X, Y)
)
NAN = jax.tree.map(lambda leaf: leaf * jnp.nan, PLAIN.params)


def of_rows(rows, *own):
    """Arrays of so many rows and these axes of their own."""
    return arrays(shapes=st.just((rows, *own)))


def data(*own):
    """Mostly eight rows, in every form."""
    rows = st.one_of(
        of_rows(8, *own), of_rows(8, *own), of_rows(1, *own), of_rows(8, 3), of_rows(9), of_rows(0, 2)
    )
    return st.one_of(rows, st.tuples(FORMS, rows).map(lambda pair: pair[0](pair[1])), DATA, ANYTHING)


def scalars(*usual):
    return st.one_of(
        st.sampled_from(usual), hnp.arrays(st.sampled_from(["i4", "f4"]), st.just(())), DATA, ANYTHING
    )


class OwnError(Exception):
    """Of a function of the user's: it comes through."""


def raised(*args):
    raise OwnError


def total(predictions, targets):
    return jnp.sum(predictions**2)


COSTS = st.sampled_from(
    [
        *(fnn.mse, fnn.mae, fnn.rmse, fnn.huber, fnn.softmax_cross_entropy, fnn.binary_cross_entropy, total),
        *(
            functools.partial(fnn.huber, delta=2.0),
            functools.partial(fnn.softmax_cross_entropy, label_smoothing=0.1),
        ),
        *(
            raised,
            np.mean,
            lambda p, t: None,
            lambda p, t: 3.0,
            lambda p: p,
            lambda p, t: p,
            "mse",
            fnn.adam(),
        ),
    ]
)
RULES = st.sampled_from(
    [fnn.adam(), fnn.momentum(), fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam()), fnn.adam, "adam"]
)
NETWORKS = st.sampled_from(
    [NETWORK, OTHER, fnn.dense(1), fnn.serial(jnp.tanh), fnn.serial(jnp.sum), fnn.dense, jnp.tanh]
)
ENTRIES = st.one_of(DATA, ANYTHING)


@st.composite
def with_an_entry(draw, tree):
    """The tree with another thing at one of its places."""
    leaves, structure = jax.tree.flatten(tree)
    place = draw(st.integers(0, len(leaves) - 1))
    return jax.tree.unflatten(structure, [*leaves[:place], draw(ENTRIES), *leaves[place + 1 :]])


STATES = st.one_of(
    st.sampled_from([PLAIN.state, PLAIN, PLAIN.params, PLAIN.state._replace(params=NAN)]),
    with_an_entry(WATCHED.state),
    st.builds(
        lambda part, value: WATCHED.state._replace(**{part: value}),
        st.sampled_from(WATCHED.state._fields),
        st.one_of(st.sampled_from([(), ((),), PLAIN.params, -1, 2.5, 3, "3"]), ENTRIES),
    ),
)
PARAMS = st.one_of(
    st.sampled_from([PLAIN.params, PLAIN, NAN, (), ((), ()), ({"weight": np.ones((2, 3))},), OTHER.init]),
    with_an_entry(PLAIN.params),
)
HELD = st.one_of(
    st.tuples(data(2), data()), st.tuples(data(2), data(), data()), st.lists(data(2), max_size=3), ANYTHING
)
KEYS = st.sampled_from(
    [jax.random.key(1), jax.random.PRNGKey(1), jax.random.split(jax.random.key(1)), 0, None]
)
WATCHERS = st.sampled_from([lambda report: None, lambda report: True, lambda: None, print, len, "print"])
FUNCTIONS = st.one_of(COSTS, ANYTHING)
METRICS = st.one_of(
    st.dictionaries(
        st.one_of(st.just("accuracy"), ANYTHING.filter(lambda k: k.__hash__)), FUNCTIONS, max_size=2
    ),
    ANYTHING,
)

ARGUMENTS = {  # what may stand in each one's place
    "network": st.one_of(NETWORKS, ANYTHING),
    "cost": FUNCTIONS,
    "optimizer": st.one_of(RULES, ANYTHING),
    "x": data(2),
    "y": data(),
    "key": st.one_of(KEYS, ANYTHING),
    "epochs": scalars(0, 1, 2, -1, np.int64(2), 2.0, "2"),
    "batch_size": scalars(1, 3, 8, 100, 0, np.int32(4), 2.5, 2**40),
    "sample_weight": st.one_of(data(), of_rows(8)),
    "penalty": st.one_of(st.sampled_from([lambda p: 0.0, lambda p: p, lambda: 0.0, raised]), ANYTHING),
    "validation": HELD,
    "metrics": METRICS,
    "patience": scalars(1, 2, 0, 2.5),
    "on_epoch": st.one_of(WATCHERS, ANYTHING),
    "progress": ANYTHING,
    "params": st.one_of(PARAMS, DATA, ANYTHING),
    "state": st.one_of(STATES, ANYTHING),
    "checkpoint": ANYTHING.filter(lambda value: not isinstance(value, str | bytes | os.PathLike)),
    "every": scalars(1, 2, 0),
}
USUAL = dict(
    network=NETWORK, cost=fnn.softmax_cross_entropy, optimizer=fnn.adam(), x=X, y=Y, epochs=1, batch_size=4
)
ODD = st.lists(st.sampled_from(sorted(ARGUMENTS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: ARGUMENTS[name] for name in names})
)


class Taken(BaseException):
    """The checks are passed: what follows would compile."""


def take(*args, **options):
    raise Taken


@contextlib.contextmanager
def without_compiling():
    """fit goes as far as its checks go."""
    begin, loop = FIT.begin, FIT.loop
    FIT.begin = FIT.loop = take
    try:
        yield
    finally:
        FIT.begin, FIT.loop = begin, loop


def fit(arguments):
    with contextlib.ExitStack() as stack:
        nothing = stack.enter_context(open(os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(nothing))
        stack.enter_context(contextlib.redirect_stderr(nothing))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        return fnn.fit(**arguments)


SEEN = set()  # what was trained once, in shapes: again it would only cost time


@given(ODD, st.booleans())
def arguments(odd, kept):
    """They are refused in fnn's own words; and what is taken trains, and was not changed."""
    given = USUAL | ({} if "state" in odd else {"key": jax.random.key(0)}) | odd
    with tempfile.TemporaryDirectory() as folder:
        if (kept or "every" in odd) and "checkpoint" not in odd:
            given |= {"checkpoint": os.path.join(folder, "run")}
        with contextlib.suppress(OwnError):
            try:
                with without_compiling(), taken_or_refused(ValueError, TypeError):
                    fit(given)
            except Taken:
                trained(given)


def trained(given):
    """A run that the checks let pass: it ends, with a history of as many epochs as it made."""
    words = str(jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), given))
    if words in SEEN or int(given["epochs"]) > 100:
        return
    SEEN.add(words)
    if isinstance(given.get("key"), jax.Array):
        given = given | {"key": jax.random.clone(given["key"])}  # one key serves many examples
    try:
        fitted = fit(given)
    except Exception as error:
        if "on_epoch" not in given or not hasattr(error, "fitted"):
            raise
        return  # a callback's own error, which carries the run
    before = 0 if "state" not in given else int(given["state"].epoch)
    assert len(fitted.history["cost"]) == int(fitted.state.epoch) - before
    assert fitted.stopped in ("epochs", "patience", "on_epoch", "not_finite")
    assert abstract(fitted.params)
