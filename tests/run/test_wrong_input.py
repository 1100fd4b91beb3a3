"""Wrong input: each is refused before anything is compiled; the message says what was expected, what came, where, the fix."""

import argparse
import csv
import datetime
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import refused
from runs import compilations

import fnn

key = jax.random.key
rows = np.random.default_rng(0)
X = rows.normal(size=(40, 4))
Y = np.arange(40) % 3
YES = Y[:, None] > 0
AMOUNT = X[:, :1]
HELD = (X[:9], Y[:9])
LABELS = (X[:, :3] > 0).astype(int)
CROSS, SQUARE, YES_OR_NO, RULE = fnn.softmax_cross_entropy, fnn.mse, fnn.binary_cross_entropy, fnn.adam()
NETWORK = fnn.serial(fnn.dense(8), jax.nn.relu, fnn.dense(3))
LINE = fnn.serial(fnn.dense(1))
WIDER = fnn.serial(fnn.dense(16), jax.nn.relu, fnn.dense(3))
DEEPER = fnn.serial(fnn.dense(8), jax.nn.relu, fnn.dense(3), fnn.dense(3))
KEY, KEYS, OLD_KEYS = key(0), jax.random.split(key(1), 3), jnp.zeros((3, 2), jnp.uint32)
KEYS_40 = jax.random.split(key(2), 40)
PARAMS, WIDE_PARAMS, DEEP_PARAMS = (net.init(jax.random.clone(KEY), X) for net in (NETWORK, WIDER, DEEPER))
SWAPPED = (PARAMS[2], PARAMS[1], PARAMS[0])
NAN_PARAMS = ({**PARAMS[0], "weight": PARAMS[0]["weight"].at[1, 2].set(jnp.nan)}, *PARAMS[1:])
FITTED = fnn.fit(NETWORK, CROSS, RULE, X, Y, key=jax.random.clone(KEY), epochs=1, validation=HELD)
COUNTS_BY_TRUTH = FITTED.state._replace(optimizer=FITTED.state.optimizer._replace(step=jnp.bool_(True)))
OF_OTHERS = FITTED.state._replace(optimizer=RULE.init(WIDE_PARAMS))  # it compiles, here and not in a case
COMPLEX = jnp.asarray(X) * 1j
ONE_HOT, ONE_HOT_4 = np.eye(3)[Y], np.eye(4)[Y]


def fit(network=NETWORK, cost=CROSS, x=X, y=Y, optimizer=RULE, **options):
    return fnn.fit(network, cost, optimizer, x, y, **{"key": KEY, "epochs": 2, **options})


def line(x=X, y=AMOUNT, cost=SQUARE, **options):
    return fit(LINE, cost, x, y, **options)


def put(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def frame(**columns):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"mass": X[:, 0], "wing": X[:, 1], **columns})


def series(values, **options):
    return pytest.importorskip("pandas").Series(values, **options)


def sparse():
    return pytest.importorskip("scipy.sparse").csr_matrix(X)


def masked():
    return np.ma.masked_array(X, np.arange(160).reshape(40, 4) == 30)


def with_params(params):
    return FITTED.state._replace(params=params)


def one_a_row(predictions, targets):
    return (predictions[:, 0] - targets) ** 2


def without_return(predictions, targets):
    jnp.mean((predictions[:, 0] - targets) ** 2)


def in_numpy(predictions, targets):
    return -np.log(predictions[:, 0]).mean()


def constant(predictions, targets):
    return np.float64(3.0)


def whole(predictions, targets):
    return (predictions.argmax(-1) == targets).sum()


def with_if(predictions, targets):
    return predictions.mean() if predictions[0, 0] > 0 else targets.mean()


def of_predictions(predictions):
    return jnp.mean(predictions**2)


def scaled_cost(predictions, targets, by):
    return by * CROSS(predictions, targets)


class OutOfCheeseError(Exception):
    pass


def raises(*anything):
    raise OutOfCheeseError("no cheese left in the shop")


def growing():
    """A layer whose statistics take the shape of each batch."""
    init = lambda key, x: {"statistics": jnp.zeros(())}
    forward = lambda params, x: x
    moved = lambda params, x, key: (x, {"statistics": x.mean(0)})
    return fnn.serial(fnn.layer(init, forward, moved, name="growing"), fnn.dense(3))


def rate_of(step):
    return 0.1 / (1 + step)


# Each: what is done, the error, and what its message says: where, expected, received, fix ---------

NUMBERS = {
    "nan in x": (lambda: fit(x=put(X, (7, 2), np.nan)), ValueError, "x expected finite", "got nan in row 7, column 2", "fnn.encode"),
    "infinity in x": (lambda: fit(x=put(X, (0, 3), -np.inf)), ValueError, "x expected finite", "got -inf in row 0, column 3", "Leave the row out"),
    "nan in an image": (lambda: fit(x=put(np.ones((40, 4, 4)), (3, 1, 2), np.nan)), ValueError, "x expected finite", "row 3, column 1, 2", "Leave the row out"),
    "nan in a branch of x": (lambda: fit(x={"a": X, "b": put(X, (7, 2), np.nan)}), ValueError, "x['b'] expected finite", "row 7, column 2", "Leave the row out"),
    "nan in y": (lambda: line(y=put(AMOUNT, (5, 0), np.nan)), ValueError, "y expected finite", "got nan in row 5, column 0", "Leave the row out"),
    "infinity in y": (lambda: line(y=put(AMOUNT, (39, 0), np.inf)), ValueError, "y expected finite", "got inf in row 39, column 0", "Leave the row out"),
    "nan in weights": (lambda: fit(sample_weight=put(np.ones(40), 4, np.nan)), ValueError, "sample_weight expected finite", "nan in row 4", "Leave the row out"),
    "nan in validation x": (lambda: fit(validation=(put(HELD[0], (2, 1), np.nan), HELD[1])), ValueError, "validation[0] expected finite", "nan in row 2, column 1", "Leave the row out"),
    "infinity in validation y": (lambda: line(validation=(X, put(AMOUNT, (2, 0), np.inf))), ValueError, "validation[1] expected finite", "inf in row 2, column 0", "Leave the row out"),
    "complex x": (lambda: fit(x=X * 1j), TypeError, "x expected numbers", "row 0, column 0 (complex128 of shape (40, 4))", ".real"),
    "complex x of jax": (lambda: fit(x=COMPLEX), TypeError, "x expected numbers", "complex64 of shape (40, 4)", ".real"),
    "complex targets": (lambda: line(y=AMOUNT * 1j), TypeError, "y expected numbers", "complex128 of shape (40, 1)", ".real"),
    "text x": (lambda: fit(x=X.astype(str)), TypeError, "x expected numbers", "in row 0, column 0 (<U32 of shape (40, 4))", "fnn.encode"),
    "bytes x": (lambda: fit(x=X.astype("S8")), TypeError, "x expected numbers", "|S8 of shape (40, 4)", "fnn.encode"),
    "dates": (lambda: fit(x=np.arange(40).astype("M8[D]")[:, None]), TypeError, "x expected numbers", "datetime64[D] of shape (40, 1)", "dates=['when']"),
    "dates of Python": (lambda: fit(x=[[datetime.date(2020, 1, 1)]] * 40), TypeError, "x expected numbers", "a date in row 0, column 0", "dates=['when']"),
    "objects": (lambda: fit(x=put(X.astype(object), (6, 1), "?")), TypeError, "x expected numbers", "got '?' in row 6, column 1 (object", "fnn.encode"),
    "an object array of numbers": (lambda: fit(x=X.astype(object)), TypeError, "x expected numbers", "got object (object of shape (40, 4))", ".astype(float)"),
    "none among numbers": (lambda: fit(x=[[1.0, None]] * 40), TypeError, "x expected numbers", "got None in row 0, column 1", "fnn.encode"),
    "a structured array": (lambda: fit(x=np.zeros(40, [("mass", float), ("wing", float)])), TypeError, "x expected numbers", "of shape (40,)", "fnn.encode"),
    "rows as dicts": (lambda: fit(x=[{"mass": 3.0}] * 40), TypeError, "x expected numbers", "got a dict in row 0 (object", "fnn.encode"),
    "masked entries": (lambda: fit(x=masked()), ValueError, "x expected no masked entry", "in row 7, column 2", ".filled("),
    "a sparse matrix": (lambda: fit(x=sparse()), TypeError, "x expected numbers", "got a csr_matrix", "call .toarray()"),
    "beyond float32": (lambda: fit(x=put(X, (1, 2), 1e300)), ValueError, "x expected numbers that float32 can hold", "got 1e+300 in row 1, column 2", "fnn.standardize"),
    "random keys": (lambda: fit(x=KEYS_40), TypeError, "x expected numbers", "got random keys of shape (40,)", "numbers"),
    "bytes of no meaning": (lambda: fit(x=X.astype("V8")), TypeError, "x expected numbers", "(|V8 of shape (40, 4))", "fnn.encode"),
    "a text among numbers": (lambda: fit(x=[[1.0, 2.0], [1.0, "a"]] * 20), TypeError, "x expected numbers", "got 'a' in row 1, column 1", "fnn.encode"),
    "no columns": (lambda: fit(x=X[:, :0]), ValueError, "layer 0, dense(8)", "features on the last axis", "got shape (32, 0)"),
    "whole numbers beyond int32": (lambda: fit(x=np.arange(160).reshape(40, 4) + 2**40), ValueError, "x expected numbers that int32 can hold", "got 1099511627776 in row 0, column 0", "fnn.standardize"),
    "ids beyond int32": (lambda: fit(y=Y + 2**40), ValueError, "y expected numbers that int32 can hold", "got 1099511627776 in row 0", "jax_enable_x64"),
}  # fmt: skip

TABLES = {
    "a column of text": (lambda: fit(x=frame(island=["Biscoe", "Dream"] * 20)), TypeError, "x, column 'island', expected numbers", "got 'Biscoe' in row 0", "fnn.encode"),
    "a column of categories": (lambda: fit(x=frame(island=series([1, 2] * 20, dtype="category"))), TypeError, "x, column 'island', expected numbers", "got category", "fnn.encode"),
    "a column of dates": (lambda: fit(x=frame(day=np.arange(40).astype("M8[s]"))), TypeError, "x, column 'day', expected numbers", "datetime64[s]", "dates=['when']"),
    "a column with one text": (lambda: fit(x=frame(wing=[*range(39), "?"])), TypeError, "x, column 'wing', expected numbers", "got '?' in row 39", "fnn.encode"),
    "a gap in whole numbers": (lambda: fit(x=frame(wing=series([1, None] * 20, dtype="Int64"))), ValueError, "x expected finite", "got nan in row 1, column 1", "fnn.encode"),
    "a column too large": (lambda: fit(x=frame(wing=np.full(40, 1e300))), ValueError, "x expected numbers that float32 can hold", "got 1e+300 in row 0, column 1", "fnn.standardize"),
    "names in a series": (lambda: fit(y=series(["cat"] * 40)), TypeError, "y expected numbers", "got 'cat' in row 0", "fnn.labels"),
    "categories in a series": (lambda: fit(y=series(["cat"] * 40, dtype="category")), TypeError, "y expected numbers", "'cat' in row 0 (category", "fnn.labels"),
}  # fmt: skip

SHAPES = {
    "a ragged list": (lambda: fit(x=[[1.0], [1.0, 2.0]] * 20), ValueError, "x expected rows of equal length", "a ragged list", "inhomogeneous"),
    "nothing": (lambda: fit(x=None), TypeError, "x expected an array of rows", "got None", "a tree of such arrays"),
    "an empty tree": (lambda: fit(x={}), TypeError, "x expected an array of rows", "got a dict", "a tree of such arrays"),
    "nothing in validation": (lambda: fit(validation=(None, Y)), TypeError, "validation[0] expected an array of rows", "got None", "a tree of such arrays"),
    "a reader of a CSV file": (lambda: fit(x=csv.DictReader(["mass", "3"])), TypeError, "x expected numbers", "got a DictReader", "fnn.encode"),
    "a negative weight": (lambda: fit(sample_weight=put(np.ones(40), 4, -1)), ValueError, "sample_weight expected weights of at least 0", "got -1.0 in row 4", "class_weight"),
    "weights of nothing": (lambda: fit(sample_weight=np.zeros(40)), ValueError, "sample_weight expected a weight above 0 in some row", "only zeros", "class_weight"),
    "a negative weight in validation": (lambda: fit(validation=(*HELD, -np.ones(9))), ValueError, "validation[2] expected weights of at least 0", "got -1.0 in row 0", "class_weight"),
    "a generator": (lambda: fit(x=(row for row in X)), TypeError, "x expected numbers", "got a generator", "numpy.asarray(list(…))"),
    "a zip of rows": (lambda: fit(x=zip(X, Y)), TypeError, "x expected numbers", "got a zip", "numpy.asarray(list(…))"),
    "a file's name": (lambda: fit(x="penguins.csv"), TypeError, "x expected numbers", "got 'penguins.csv'", "fnn.encode"),
    "a tuple of rows": (lambda: fit(x=tuple(map(tuple, X.tolist()))), ValueError, "x[0][0] expected rows", "got a single number", "numpy.asarray(x)"),
    "a single number": (lambda: fit(x=np.float32(3.0)), ValueError, "x expected rows on its first axis", "got a single number, 3.0", "numpy.asarray(x)"),
    "weights of classes as weights of rows": (lambda: fit(sample_weight={0: 1.0, 1: 5.0}), ValueError, "sample_weight[0] expected rows", "a single number, 1.0", "numpy.asarray(sample_weight)"),
    "y shorter than x": (lambda: fit(y=Y[:39]), ValueError, "the same number of rows everywhere", "x has 40, y has 39", "y has 39"),
    "weights shorter than x": (lambda: fit(sample_weight=np.ones(3)), ValueError, "the same number of rows", "sample_weight has 3", "x has 40"),
    "branches of other lengths": (lambda: fit(x={"a": X, "b": X[:7]}), ValueError, "the same number of rows", "x['b'] has 7", "x['a'] has 40"),
    "x transposed": (lambda: fit(x=X.T), ValueError, "the same number of rows", "x of shape (4, 40) looks transposed", "rows go on the first axis, x.T"),
    "y transposed": (lambda: line(y=AMOUNT.T), ValueError, "the same number of rows", "y of shape (1, 40) looks transposed", "y.T"),
    "validation transposed": (lambda: fit(validation=(HELD[0].T, HELD[1])), ValueError, "the same number of rows", "validation[0] of shape (4, 9) looks transposed", "validation[0].T"),
    "no rows": (lambda: fit(x=X[:0], y=Y[:0]), ValueError, "at least one row", "got none in x", "x, y"),
    "no validation rows": (lambda: fit(validation=(X[:0], Y[:0])), ValueError, "at least one row", "got none in validation[0]", "validation[1]"),
    "one column without its axis": (lambda: fit(x=X[:, 0]), ValueError, "one prediction for each row of x", "predictions of shape (3,)", "x[:, None]"),
    "x and y swapped": (lambda: fit(x=Y, y=X), ValueError, "one prediction for each row of x", "predictions of shape (3,)", "x[:, None]"),
    "images into dense": (lambda: fit(x=np.ones((40, 8, 8))), ValueError, "softmax_cross_entropy expected class ids of shape (40, 8)", "y of shape (40,)", "fnn.flatten"),
    "flatten of more axes than there are": (lambda: fit(fnn.serial(fnn.flatten(3), fnn.dense(3))), ValueError, "layer 0, flatten(3)", "at least 3 axes", "got shape (32, 4)"),
    "one row without its axis in predict": (lambda: fnn.predict(NETWORK, PARAMS, X[0]), ValueError, "one prediction for each row of x", "an input of shape (4,)", "x[None]"),
    "one row without its axis in evaluate": (lambda: fnn.evaluate(NETWORK, PARAMS, X[0], Y[:4], {"accuracy": fnn.accuracy}), ValueError, "one prediction for each row of x", "shape (4,)", "x[None]"),
    "weights of outputs for rows": (lambda: fit(sample_weight=np.ones((40, 3))), ValueError, "sample_weight expected one weight a row", "of shape (32,)", "got shape (32, 3)"),
}  # fmt: skip

TARGETS = {
    "classes from 1": (lambda: fit(y=Y + 1), ValueError, "y expected class ids from 0 to 2 for 3 outputs", "got 3 in row 2", "fnn.labels"),
    "a negative class": (lambda: fit(y=Y - 1), ValueError, "y expected class ids from 0 to 2", "got -1 in row 0", "fnn.labels"),
    "classes from 1 in validation": (lambda: fit(validation=(X, Y + 1)), ValueError, "validation[1] expected class ids from 0 to 2", "got 3 in row 2", "fnn.labels"),
    "classes from 1 with an option": (lambda: fit(cost=functools.partial(CROSS, label_smoothing=0.1), y=Y + 1), ValueError, "y expected class ids", "got 3 in row 2", "fnn.labels"),
    "classes as floats": (lambda: fit(y=Y.astype(float)), ValueError, "softmax_cross_entropy expected whole-number class ids", "y of shape (40,) float32", "y.astype(int)"),
    "classes as text": (lambda: fit(y=["cat", "dog"] * 20), TypeError, "y expected numbers", "got 'cat' in row 0", "fnn.labels"),
    "classes as bytes": (lambda: fit(y=np.array([b"a", b"b"] * 20)), TypeError, "y expected numbers", "got b'a' in row 0", "fnn.labels"),
    "classes as a column": (lambda: fit(y=Y[:, None]), ValueError, "softmax_cross_entropy expected class ids of shape (40,)", "y of shape (40, 1)", "y[:, 0]"),
    "rows of several classes": (lambda: fit(y=np.minimum(ONE_HOT + ONE_HOT[:, ::-1], 1)), ValueError, "y expected probabilities that sum to 1 in each row", "got 2.0 in row 0", "fnn.binary_cross_entropy"),
    "one-hot of another width": (lambda: fit(y=ONE_HOT_4), ValueError, "one-hot rows of the logits' shape (40, 3)", "y of shape (40, 4)", "have 4 outputs"),
    "one-hot of -1 and 1": (lambda: fit(y=2 * ONE_HOT - 1), ValueError, "y expected a probability for each class, at least 0", "got -1.0 in row 0, column 1", "(y + 1) / 2"),
    "one-hot for a yes or no": (lambda: fit(LINE, YES_OR_NO, y=ONE_HOT[:, :2]), ValueError, "binary_cross_entropy compares like with like", "predictions have shape (40, 1), y (40, 2)", "as many outputs as there are targets"),
    "one-hot for one quantity": (lambda: line(y=ONE_HOT), ValueError, "mse compares like with like", "predictions have shape (40, 1), y (40, 3)", "as many outputs"),
    "ids for a squared error": (lambda: fit(cost=SQUARE), ValueError, "mse compares like with like", "predictions have shape (40, 3), y (40,)", "fnn.softmax_cross_entropy"),
    "ids for a yes or no on each output": (lambda: fit(cost=YES_OR_NO), ValueError, "binary_cross_entropy compares", "y (40,)", "fnn.one_hot(targets, 3)"),
    "-1 and 1 for a yes or no": (lambda: fit(LINE, YES_OR_NO, y=2 * YES - 1), ValueError, "y expected 0 or 1", "got -1 in row 0, column 0", "(y + 1) / 2"),
    "ids as a column for a yes or no": (lambda: fit(LINE, YES_OR_NO, y=Y[:, None]), ValueError, "y expected 0 or 1", "got 2 in row 2, column 0", "fnn.softmax_cross_entropy"),
    "flat targets for one output": (lambda: line(y=AMOUNT[:, 0]), ValueError, "mse compares like with like", "predictions have shape (40, 1), y (40,)", "targets[..., None]"),
    "one output for classes": (lambda: fit(LINE, y=Y), ValueError, "softmax_cross_entropy expected logits with an axis of at least 2 classes", "logits of shape (40, 1)", "binary_cross_entropy"),
}  # fmt: skip

OPTIONS = {
    **{
        f"batch size {size!r}": (lambda size=size: fit(batch_size=size), ValueError, "fit: batch_size", "at least 1", f"got {size!r}")
        for size in (0, -1, 2.5, True, "32", None)
    },
    **{
        f"epochs {epochs!r}": (lambda epochs=epochs: fit(epochs=epochs), ValueError, "fit: epochs", "at least 0", f"got {epochs!r}")
        for epochs in (-1, 2.5, True, "10", float("nan"))
    },
    "more epochs than can be counted": (lambda: fit(epochs=2**31), ValueError, "fit: epochs", "at most 2147483647", "got 2147483648"),
    "patience without end": (lambda: fit(validation=HELD, patience=2**40), ValueError, "fit: patience", "at most 2147483647", "got 1099511627776"),
    "a folder that no system knows": (lambda: fit(checkpoint="a\0b"), NotADirectoryError, "fit: checkpoint expected a folder", "got 'a\\x00b'", "which is none"),
    "a thousand epochs as a float": (lambda: fit(epochs=1e3), ValueError, "fit: epochs", "got 1000.0", "epochs=1000"),
    "patience 0": (lambda: fit(validation=HELD, patience=0), ValueError, "fit: patience", "at least 1", "got 0"),
    "validation as a share": (lambda: fit(validation=0.2), TypeError, "fit: validation expected (x, y)", "got 0.2", "fnn.split"),
    "validation without targets": (lambda: fit(validation=(X,)), TypeError, "fit: validation expected (x, y)", "a tuple of 1", "fnn.split"),
    "validation as a list": (lambda: fit(validation=[X, Y]), TypeError, "fit: validation expected (x, y)", "got a list", "Give a tuple"),
    "validation of other lengths": (lambda: fit(validation=(X[:9], Y[:8])), ValueError, "the same number of rows", "validation[0] has 9", "validation[1] has 8"),
    "validation of another width": (lambda: fit(validation=(X[:, :3], Y)), ValueError, "layer 0, dense(8)", "expected 4 features", "got 3", "the rows of validation="),
    "validation one-hot of another width": (lambda: fit(validation=(X, ONE_HOT_4)), ValueError, "logits' shape (40, 3)", "validation[1] of shape (40, 4)", "have 4 outputs"),
    "no key": (lambda: fit(key=None), ValueError, "fit expected a key", "the root of its random numbers", "key=jax.random.key(0)"),
    "a seed for a key": (lambda: fit(key=7), TypeError, "fit: key expected jax.random.key(seed)", "got 7", "A run has one key"),
    "a type for a key": (lambda: fit(key=np.float32), TypeError, "fit: key expected jax.random.key(seed)", "got the function float32", "A run has one key"),
    "several keys": (lambda: fit(key=KEYS), TypeError, "fit: key expected jax.random.key(seed)", "an array of shape (3,)", "A run has one key"),
    "several old-style keys": (lambda: fit(key=OLD_KEYS), TypeError, "fit: key expected", "an array of shape (3, 2)", "A run has one key"),
    "a callback that takes nothing": (lambda: fit(on_epoch=lambda: None), TypeError, "fit: on_epoch expected a function of one argument", "<lambda>()", "the report"),
    "a callback that is a number": (lambda: fit(on_epoch=10), TypeError, "fit: on_epoch expected a function", "got 10", "such as print"),
    "a penalty that is a rate": (lambda: fit(penalty=0.01), TypeError, "fit: penalty expected a function", "got 0.01", "the trained parameters"),
}  # fmt: skip

BEGINNINGS = {
    "params of a wider network": (lambda: fit(params=WIDE_PARAMS), ValueError, "params[0]['weight'] expected (4, 8), got (4, 16)", "params[2]['weight'] expected (8, 3), got (16, 3)", "the parameters of another network"),
    "params of a deeper network": (lambda: fit(params=DEEP_PARAMS), ValueError, "expected the parameters of 3 layers", "got a tuple of 4", "the parameters of another network"),
    "params in another order": (lambda: fit(params=SWAPPED), ValueError, "params[0]['weight'] expected (4, 8)", "got (8, 3)", "the parameters of another network"),
    "params with nan": (lambda: fit(params=NAN_PARAMS), ValueError, "fit: params[0]['weight'] expected finite", "got nan in row 1, column 2", "network.init(key, x)"),
    "the fitted object as params": (lambda: fit(params=FITTED), TypeError, "fit: params expected a tree of arrays", "got a Fitted", ".params"),
    "params as the state": (lambda: fit(state=PARAMS, key=None), TypeError, "fit: state expected fitted.state", "got a tuple", "params="),
    "a state with nan": (lambda: fit(state=with_params(NAN_PARAMS), key=None), ValueError, "fit: state.params[0]['weight'] expected finite numbers", "got nan in row 1, column 2", "network.init(key, x)"),
    "a state of no key": (lambda: fit(state=FITTED.state._replace(key=None), key=None), TypeError, "fit: state: key expected jax.random.key(seed)", "got None", "key"),
    "a state of no epoch": (lambda: fit(state=FITTED.state._replace(epoch="5"), key=None), ValueError, "fit: state.epoch expected a whole number", "got '5'", "at least 0"),
    "a state before the first epoch": (lambda: fit(state=FITTED.state._replace(epoch=-1), key=None), ValueError, "fit: state.epoch expected a whole number", "got -1", "at least 0"),
    "a state whose best is no best": (lambda: fit(state=FITTED.state._replace(best=PARAMS), key=None), TypeError, "fit: state.best expected fnn.Best(params, cost, epoch) or None", "got a tuple", "None"),
    "a state whose best is another network's": (lambda: fit(state=FITTED.state._replace(best=FITTED.state.best._replace(params=WIDE_PARAMS)), key=None), ValueError, "state.best.params[0]['weight'] expected (4, 8)", "got (4, 16)", "parameters of the same network"),
    "params of one object": (lambda: fit(params=np.array(object())), TypeError, "fit: params expected numbers", "got an object", "network.init(key, x)"),
    "durations, none of them": (lambda: fit(x=np.zeros((0, 4), "m8[s]")), TypeError, "x expected numbers", "(timedelta64[s] of shape (0, 4))", "dates=['when']"),
    "params of durations": (lambda: fit(params=[np.timedelta64(3, "s")]), TypeError, "fit: params[0] expected numbers", "got timedelta64[s]", "network.init(key, x)"),
    "params beyond float32": (lambda: fit(params=jax.tree.map(lambda p: np.full(p.shape, 1e300), PARAMS)), ValueError, "fit: params[0]['bias'] expected numbers that float32 can hold", "got 1e+300 in row 0", "network.init(key, x)"),
    "a number beyond int32 in a state": (lambda: fit(state=with_params([2**31]), key=None), ValueError, "fit: state.params[0] expected numbers that int32 can hold", "got 2147483648", "._replace changes a number in it"),
    "a state that remembers a text": (lambda: fit(state=FITTED.state._replace(optimizer=FITTED.state.optimizer._replace(step="5")), key=None), TypeError, "fit: state.optimizer.step expected an array of numbers", "got '5'", "._replace changes a number in it"),
    "a state that counts its steps by a truth value": (lambda: fit(state=COUNTS_BY_TRUTH, key=None), ValueError, "after a step, state.optimizer.step expected shape () bool", "got shape () int32", "keeps its shape and type"),
    "a state whose best holds a table": (lambda: fit(state=FITTED.state._replace(best=FITTED.state.best._replace(params=[series(["a"])])), key=None), TypeError, "fit: state.best.params[0] expected an array of numbers", "got a Series of shape (1,)", "._replace changes a number in it"),
    "a state of another library": (lambda: fit(state=argparse.Namespace(optimizer=(), epoch=0), key=None), TypeError, "fit: state expected fitted.state", "got a Namespace", "params="),
    "params of a type": (lambda: fit(params=[np.float32]), TypeError, "fit: params[0] expected an array of numbers", "got the function float32", "network.init(key, x)"),
    "params of texts": (lambda: fit(params=jax.tree.map(lambda p: np.asarray(p, "<U9"), PARAMS)), TypeError, "fit: params[0]['bias'] expected numbers", "got '0.0' in row 0 (<U9 of shape (8,))", "network.init(key, x)"),
    "params of a table": (lambda: fit(params=series(["a"])), TypeError, "fit: params expected a tree of arrays", "got a Series of shape (1,)", "network.init(key, x)"),
    "a column of texts for a key": (lambda: fit(key=series(["a", "b"])), TypeError, "fit: key expected jax.random.key(seed)", "got a Series of shape (2,)", "A run has one key"),
    "params of objects": (lambda: fit(params=jax.tree.map(lambda p: np.asarray(p, object), PARAMS)), TypeError, "fit: params[0]['bias'] expected numbers", "object of shape (8,)", "network.init(key, x)"),
    "a state of another network": (lambda: fit(state=with_params(WIDE_PARAMS), key=None), ValueError, "params[0]['weight'] expected (4, 8)", "got (4, 16)", "another network"),
    "what the optimizer keeps of others": (lambda: fit(state=OF_OTHERS, key=None), ValueError, "state.optimizer.moments['m'][0]['weight'] expected (4, 8)", "got (4, 16)", "the state of another optimizer or network"),
    "a state of other columns": (lambda: fit(x=X[:, :3], state=FITTED.state, key=None), ValueError, "params[0]['weight'] expected (3, 8)", "got (4, 8)", "another network"),
    "a state of another rule": (lambda: fit(optimizer=fnn.momentum(), state=FITTED.state, key=None), ValueError, "the state belongs to another optimizer", "momentum is absent in the state", "params=fitted.params"),
}  # fmt: skip

FUNCTIONS = {
    "a cost by name": (lambda: fit(cost="mse"), TypeError, "fit: cost expected a function of predictions and targets", "got 'mse'", "such as fnn.mse"),
    "a longer cost by name": (lambda: fit(cost="softmax_cross_entropy"), TypeError, "fit: cost expected a function of predictions and targets", "got 'softmax_cross_entropy'", "itself: fnn.softmax_cross_entropy"),
    "cost and optimizer swapped": (lambda: fit(cost=RULE, optimizer=CROSS), TypeError, "fit: cost expected a function", "got an Optimizer", "Are cost and optimizer swapped?"),
    "a cost that takes no mean": (lambda: fit(cost=one_a_row), ValueError, "the cost expected one real number", "float32 of shape (32,)", "Take the mean"),
    "a cost without return": (lambda: fit(cost=without_return), TypeError, "cost expected numbers", "got None from without_return", "does it return"),
    "a cost in NumPy": (lambda: fit(cost=in_numpy), TypeError, "cost expected a function of jax.numpy", "in_numpy takes its numbers out of JAX", "jnp.log for np.log"),
    "a cost with if": (lambda: fit(cost=with_if), TypeError, "cost expected a function of jax.numpy", "with_if takes its numbers out of JAX", "jnp.where for if"),
    "a cost that is a NumPy number": (lambda: fit(cost=constant), TypeError, "cost expected numbers computed from its arguments", "got 3.0 from constant", "with jax.numpy"),
    "a cost of whole numbers": (lambda: fit(cost=whole), ValueError, "the cost expected one real number", "int32 of shape ()", "Take the mean"),
    "a cost without targets": (lambda: fit(cost=of_predictions), TypeError, "fit: cost expected a function of predictions and targets", "got the function of_predictions(predictions)", "fnn.mse"),
    "a cost of three": (lambda: fit(cost=lambda p, t, w: 0.0), TypeError, "fit: cost expected a function of predictions and targets", "got the function <lambda>(p, t, w)", "fnn.mse"),
    "an activation for a cost": (lambda: fit(cost=jax.nn.relu), TypeError, "fit: cost expected a function of predictions and targets", "got the function relu(x", "fnn.mse"),
    "a loss for a cost": (lambda: fit(cost=fnn.loss(NETWORK, CROSS)), TypeError, "fit: cost expected a function of predictions and targets", "got the function _loss", "fnn.mse"),
    "a metric for a cost": (lambda: fit(cost=fnn.accuracy), ValueError, "fit: cost expected a function to be lowered", "got the metric accuracy", "metrics={'accuracy': fnn.accuracy}"),
    "another metric for a cost": (lambda: line(cost=fnn.r2_score), ValueError, "fit: cost expected a function to be lowered", "got the metric r2_score", "metrics={'r2_score': fnn.r2_score}"),
    "an option of a cost that is nan": (lambda: line(cost=functools.partial(fnn.huber, delta=np.nan)), ValueError, "huber", "delta", "got nan"),
    "an option of a cost out of range": (lambda: fit(cost=functools.partial(CROSS, label_smoothing=2.0)), ValueError, "softmax_cross_entropy", "label_smoothing", "got 2.0"),
    "an option of one's own cost that is nan": (lambda: fit(cost=functools.partial(scaled_cost, by=np.nan)), ValueError, "fit: the option ['by'] of scaled_cost", "expected finite", "by"),
    "a cost of a tree": (lambda: fit(cost=lambda p, t: (p.mean(), 0.0)), TypeError, "cost expected numbers computed from its arguments", "got a tuple", "does it return"),
    "a penalty of a tree": (lambda: fit(penalty=lambda params: params), TypeError, "penalty expected numbers", "got a tuple", "does it return"),
    "a metric of text": (lambda: fit(validation=HELD, metrics={"good": lambda p, t: "good"}), TypeError, "metrics['good'] expected numbers", "got 'good'", "does it return"),
    "a metric of one argument": (lambda: fit(validation=HELD, metrics={"mean": of_predictions}), TypeError, "fit: metrics['mean'] expected a function of predictions and targets", "of_predictions(predictions)", "fnn.accuracy"),
    "a metric named cost": (lambda: fit(validation=HELD, metrics={"cost": fnn.accuracy}), ValueError, "fit: metrics['cost'] would replace", "the validation cost", "Choose another"),
    "a metric by number": (lambda: fit(validation=HELD, metrics={1: fnn.accuracy}), TypeError, "fit: metrics expected texts as names", "got 1", "names"),
    "a cost that raises": (lambda: fit(cost=raises), OutOfCheeseError, "no cheese left in the shop", "no cheese", "shop"),
    "a cost without weights": (lambda: fit(cost=lambda p, t: p.mean(), sample_weight=np.ones(40)), TypeError, "the cost or metric <lambda>", "takes no sample_weight", "sample_weight=None"),
    "an option of a cost as text": (lambda: fit(cost=functools.partial(SQUARE, sample_weight="mean")), TypeError, "the option ['sample_weight'] of mse", "got 'mean'", "a number or an array"),
    "class weights of another length": (lambda: fit(cost=functools.partial(CROSS, class_weight=np.ones(2))), ValueError, "class_weight expected one weight a class", "of shape (3,)", "got (2,)"),
    "a penalty that raises": (lambda: fit(penalty=raises), OutOfCheeseError, "no cheese left in the shop", "no cheese", "shop"),
    "a penalty of arrays": (lambda: fit(penalty=lambda params: params[0]["bias"]), ValueError, "the penalty expected one real number", "of shape (8,)", "Take the mean"),
    "a metric that raises": (lambda: fit(validation=HELD, metrics={"cheese": raises}), OutOfCheeseError, "no cheese left in the shop", "metrics['cheese']", "the rows of validation="),
    "a network that does not fit, with metrics": (lambda: fit(network=fnn.serial(fnn.flatten(3)), validation=HELD, metrics={"a": fnn.accuracy}), fnn.LayerError, "flatten"),
    "times that float32 does not tell apart": (lambda: fit(x=np.c_[X, 1.7e9 + 10.0 * np.arange(40)]), ValueError, "x, column 4, expected numbers that float32 tells apart", "1700000000.0 and 1700000010.0", "fnn.standardize"),
    "nothing but infinity": (lambda: fit(x=np.full((40, 4), np.inf)), ValueError, "x expected finite numbers, got inf in row 0, column 0", "Leave the row out", "fnn.encode"),
    "whole times": (lambda: line(y=1_700_000_000 + 10 * np.arange(40)[:, None]), ValueError, "y, column 0, expected numbers that float32 tells apart", "1700000000 and 1700000010", "fnn.standardize"),
    "a metric for one label, of several": (lambda: fit(cost=fnn.binary_cross_entropy, y=LABELS, validation=(X, LABELS), metrics={"a": fnn.accuracy}), ValueError, "accuracy: validation[1] expected probabilities that sum to 1", "row 0", "fnn.binary_accuracy"),
    "a metric without return": (lambda: fit(validation=HELD, metrics={"none": without_return}), TypeError, "metrics['none'] expected numbers", "got None", "does it return"),
    "a metric by name": (lambda: fit(validation=HELD, metrics={"accuracy": "accuracy"}), TypeError, "fit: metrics['accuracy'] expected a function", "got 'accuracy'", "fnn.accuracy"),
    "metrics in a list": (lambda: fit(validation=HELD, metrics=[fnn.accuracy]), TypeError, "fit: metrics expected functions by name", "got a list", "{'accuracy': fnn.accuracy}"),
    "metrics without validation": (lambda: fit(metrics={"accuracy": fnn.accuracy}), ValueError, "fit: metrics needs rows that are not trained on", "validation=(x, y)", "fnn.evaluate"),
    "a layer that raises": (lambda: fit(fnn.serial(fnn.dense(3), raises)), OutOfCheeseError, "no cheese left in the shop", "no cheese", "shop"),
    "a layer that loses the rows": (lambda: fit(fnn.serial(fnn.dense(3), jnp.sum)), ValueError, "one prediction for each row of x", "predictions of shape ()", "layers keep the leading axis"),
    "a layer that changes its statistics' shape": (lambda: fit(growing()), ValueError, "after a step, state.params[0]['statistics'] expected shape () float32", "got shape (4,) float32", "keeps its shape and type"),
}  # fmt: skip

RULES = {
    "a negative rate": (lambda: fnn.adam(-0.01), ValueError, "adam: learning_rate", "0 ≤ learning_rate < ∞", "got -0.01"),
    "a rate of nan": (lambda: fnn.gradient_descent(np.nan), ValueError, "gradient_descent: learning_rate", "0 ≤ learning_rate < ∞", "got nan"),
    "an infinite rate": (lambda: fnn.adam(float("inf")), ValueError, "adam: learning_rate", "0 ≤ learning_rate < ∞", "got inf"),
    "a rate as text": (lambda: fnn.adam("0.01"), TypeError, "adam: learning_rate expected a number", "got '0.01'", "Such as learning_rate=0.01"),
    "a schedule of two numbers in a link": (lambda: fnn.clip(lambda t: jnp.ones(2)), ValueError, "clip: limit expected a number, or a schedule", "shape (2,)"),
    "a penalty not called": (lambda: fit(penalty=fnn.l2), TypeError, "penalty expected numbers computed from its arguments, got a function from l2", "fnn.l2(0.001) makes a penalty"),
    "patterns in a list": (lambda: fnn.partition([fnn.adam()]), TypeError, "partition: rules expected {pattern: optimizer, …}", "got a list", "'*/bias'"),
    "a rule of a part not called": (lambda: fnn.partition({"*": fnn.adam}), TypeError, "partition: the rule of '*' expected an optimizer", "Call it: fnn.adam(…)"),
    "steps of 0": (lambda: fnn.accumulate(0, fnn.adam()), ValueError, "accumulate: steps", "1 ≤ steps < ∞", "got 0"),
    "accumulate swapped": (lambda: fnn.accumulate(fnn.adam(), 4), TypeError, "accumulate: steps expected a number", "got an Optimizer"),
    "a rule to skip not called": (lambda: fnn.skip_not_finite(fnn.adam), TypeError, "skip_not_finite: rule expected an optimizer", "Call it: fnn.adam(…)"),
    "a schedule of two numbers": (lambda: fnn.adam(lambda t: jnp.ones(2)), ValueError, "adam: learning_rate expected a number, or a schedule", "shape (2,)"),
    "parameters in place of a rate": (lambda: fnn.adam(PARAMS), TypeError, "adam: learning_rate expected a number", "got a tuple", "Such as learning_rate=0.01"),
    "no rate": (lambda: fnn.adam(None), TypeError, "adam: learning_rate expected a number", "got None", "Such as learning_rate=0.01"),
    "a complex rate": (lambda: fnn.adam(0.1j), TypeError, "adam: learning_rate expected a number", "got 0.1j", "Such as learning_rate=0.01"),
    "links in a list": (lambda: fnn.chain([fnn.weight_decay(0.1), fnn.adam()]), TypeError, "chain: link 0 expected an optimizer such as fnn.adam()", "got a list", "one by one"),
    "a link not called": (lambda: fnn.chain(fnn.weight_decay(0.1), fnn.adam), TypeError, "chain: link 1 expected an optimizer", "got the function adam", "Call it: fnn.adam(…)"),
    "no links": (fnn.chain, ValueError, "chain() holds no links", "at least one", "chain(fnn.adam())"),
    "an optimizer not called": (lambda: fit(optimizer=fnn.adam), TypeError, "fit: optimizer expected an optimizer such as fnn.adam()", "got the function adam", "Call it: fnn.adam(…)"),
    "a cost for an optimizer": (lambda: fit(optimizer=fnn.mse), TypeError, "fit: optimizer expected an optimizer such as fnn.adam()", "got the function mse", "Are cost and optimizer swapped?"),
    "an optimizer of nothing": (lambda: fit(optimizer=fnn.Optimizer(None, None)), TypeError, "fit: optimizer expected init(params) → state", "got None and None", "updates, state"),
    "an update of one argument": (lambda: fit(optimizer=fnn.Optimizer(RULE.init, lambda grads: grads)), TypeError, "fit: optimizer expected init(params) → state", "<lambda>(grads)", "update(grads, state, params)"),
    "an optimizer as a rate": (lambda: fit(optimizer=0.1), TypeError, "fit: optimizer expected an optimizer such as", "got 0.1", "fnn.adam()"),
}  # fmt: skip

LAYERS = {
    **{
        f"dense({features!r})": (lambda features=features: fnn.dense(features), ValueError, "dense: features expected a whole number", f"got {features!r}", "fnn.dense(64)")
        for features in (0, -3, "8", 2.5, True, None)
    },
    **{
        f"dropout({rate!r})": (lambda rate=rate: fnn.dropout(rate), ValueError, "dropout expected the share of units to drop", f"got {rate!r}", "0 ≤ rate < 1")
        for rate in (1.0, -0.1, 50, "0.5", True, float("nan"))
    },
    "a network of no layers": (fnn.serial, ValueError, "serial() holds no layers", "at least one", "serial(fnn.dense(10))"),
    "layers in a list": (lambda: fnn.serial([fnn.dense(8)]), TypeError, "serial: layers[0] is a list", "functions and layers", "one by one"),
    "an activation by name": (lambda: fnn.serial(fnn.dense(8), "relu"), TypeError, "serial expected a layer or a function", "got 'relu'", "such as jax.nn.relu"),
    "an activation by keyword": (lambda: fnn.dense(8, activation="relu"), TypeError, "dense takes (features, weight_init, bias_init)", "'activation'", "fnn.serial(fnn.dense(8), jax.nn.relu)"),
    "a number for a layer": (lambda: fnn.serial(fnn.dense(8), 3), TypeError, "serial expected a layer or a function", "got 3", "one by one"),
    "a layer not called": (lambda: fnn.serial(fnn.dense), TypeError, "serial: dense makes a layer", "call it", "dense(…)"),
    "a function for a network": (lambda: fit(jnp.tanh), TypeError, "fit: network expected a layer", "got the function tanh", "fnn.serial(function)"),
    "a list for a network": (lambda: fit([fnn.dense(3)]), TypeError, "fit: network expected a layer", "got a list", "fnn.serial(…)"),
    "a layer not called for a network": (lambda: fit(fnn.dense), TypeError, "fit: network expected a layer", "got the function dense", "Call it: fnn.dense(…)"),
}  # fmt: skip

PARTS = NUMBERS, TABLES, SHAPES, TARGETS, OPTIONS, BEGINNINGS, FUNCTIONS, RULES, LAYERS
WRONG = functools.reduce(dict.__or__, PARTS)


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_input_is_refused_before_anything_is_compiled_and_its_message_teaches(wrong):
    do, error, *pieces = WRONG[wrong]
    with compilations() as compiled, refused(*pieces, kind=error):
        do()
    assert compiled == []


def test_the_table_is_long_and_names_nothing_twice():
    assert len(WRONG) == sum(map(len, PARTS)) >= 75


def test_a_right_run_of_a_new_network_compiles_and_so_does_not_slip_through_unheard():
    with compilations() as compiled:
        fit(fnn.serial(fnn.dense(5), jnp.tanh, fnn.dense(3)), key=key(3))
    assert any("train" in name for name in compiled)
