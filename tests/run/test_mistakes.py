"""What beginners do in a script, across functions: each mistake is refused at once, and the message helps.

A message says what was expected, what came (its shape, type or value), where, and how to fix it.
"""

import csv
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import refused
from runs import compilations

import fnn

key = jax.random.key
X = np.random.default_rng(0).normal(size=(40, 4))
Y = np.arange(40) % 3
HELD = (X[:9], Y[:9])
IMAGES = np.random.default_rng(1).random((40, 8, 8))
ROWS = [{"mass": str(3 + i % 4), "sex": "fm"[i % 2]} for i in range(40)]
COST, RULE = fnn.softmax_cross_entropy, fnn.adam()


def network(outputs=3):
    """Made anew, with a function of its own: no program of it was compiled before."""

    def relu(x):
        return jax.nn.relu(x)

    return fnn.serial(fnn.dense(8), relu, fnn.dense(outputs))


PARAMS = network().init(key(0), X)
LOGITS = network().forward(PARAMS, X)
GRADS = jax.tree.map(jnp.ones_like, PARAMS)


@functools.cache
def fitted():
    return fnn.fit(network(), COST, RULE, X, Y, key=key(0), epochs=1)


def fit(net=None, cost=COST, optimizer=RULE, x=X, y=Y, **options):
    net = network() if net is None else net
    return fnn.fit(net, cost, optimizer, x, y, **({"key": key(0), "epochs": 2} | options))


def images(axes):
    return fnn.serial(fnn.flatten(axes), fnn.dense(3))


def frame(**columns):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"mass": X[:, 0], "wing": X[:, 1], **columns})


def read_twice():
    reader = csv.DictReader(["mass,sex", "3,f", "4,m"])
    fnn.encode(reader)(reader)


def saved(folder, tree):
    fnn.save(folder / "tree.fnn", tree)
    return folder / "tree.fnn"


def rate_of(step):
    return 0.1 / (1 + step)


def downhill(grads):
    return jax.tree.map(lambda g: -0.1 * g, grads)


def one_a_row(predictions, targets):
    return (predictions[:, 0] - targets) ** 2


def without_return(predictions, targets):
    jnp.mean((predictions[:, 0] - targets) ** 2)


def in_numpy(predictions, targets):
    return -np.log(predictions[:, 0]).mean()


def of_predictions(predictions):
    return jnp.mean(predictions**2)


# Each: what is done, the error, and what its message says: expected, came, where, fix --------------

NETWORK = {
    "layers in a list": (
        lambda: fnn.serial([fnn.dense(8), jax.nn.relu, fnn.dense(3)]),
        TypeError, "functions and layers", "a list", "layers[0]", "one by one",
    ),
    "the share to drop in percent": (
        lambda: fnn.dropout(50),
        ValueError, "0 ≤ rate < 1", "got 50", "dropout", "the share dropped",
    ),
}  # fmt: skip

INIT = {
    "the shape in place of x": (
        lambda: network().init(key(0), (40, 4)),
        TypeError, "init takes arrays", "got (40, 4)", "for x", "jax.ShapeDtypeStruct((32, 64), 'float32')",
    ),
    "a seed for the key": (
        lambda: network().init(0, X),
        TypeError, "init(key, x) expected", "got 0", "for its key", "jax.random.key(seed)",
    ),
    "a file's name in place of x": (
        lambda: network().init(key(0), "digits.csv"),
        TypeError, "init takes arrays", "got 'digits.csv'", "for x", "Pass the inputs",
    ),
    "pixels as whole numbers": (
        lambda: images(2).init(key(0), (255 * IMAGES).astype("uint8")),
        ValueError, "floating-point features", "uint8 of shape (40, 64)", "layer 1, dense(3)", "x.astype('float32')",
    ),
}  # fmt: skip

FORWARD = {
    "parameters of a network with fewer layers": (
        lambda: network().forward(PARAMS[:1], X),
        ValueError, "the parameters of 3 layers", "a tuple of 1", "(dense(8), relu, dense(3))", "the parameters of another network",
    ),
    "other columns than it was initialised for": (
        lambda: network().forward(PARAMS, X[:, :3]),
        ValueError, "expected 4 features", "got 3 in an input of shape (40, 3)", "layer 0, dense(8)", "Give it the columns it was initialised for",
    ),
}  # fmt: skip

COSTS = {
    "a column of predictions, flat targets": (
        lambda: fnn.mse(LOGITS[:, :1], X[:, 0]),
        ValueError, "compares like with like", "predictions have shape (40, 1), targets (40,)", "mse", "targets[..., None]",
    ),
    "flat predictions, a column of targets": (
        lambda: fnn.binary_cross_entropy(LOGITS[:, 0], Y[:, None]),
        ValueError, "compares like with like", "predictions have shape (40,), targets (40, 1)", "binary_cross_entropy", "targets[..., 0]",
    ),
    "fractions as class ids": (
        lambda: COST(LOGITS, Y / 2),
        ValueError, "whole-number class ids", "targets of shape (40,) float64", "softmax_cross_entropy", "y.astype(int)",
    ),
    "the value of a cost in place of the cost": (
        lambda: fit(cost=fnn.mse(LOGITS, LOGITS)),
        TypeError, "a function of predictions and targets", "Array(0., dtype=float32)", "fit: cost", "such as fnn.mse",
    ),
}  # fmt: skip

OPTIMIZERS = {
    "an optimizer not called in start": (
        lambda: fnn.start(network(), fnn.adam, X, key=key(0)),
        TypeError, "optimizer expected an optimizer such as fnn.adam()", "the function adam", "start: optimizer", "Call it: fnn.adam(…)",
    ),
    "an optimizer by name": (
        lambda: fit(optimizer="adam"),
        TypeError, "optimizer expected", "got 'adam'", "fit: optimizer", "fnn.adam()",
    ),
    "a negative learning rate": (
        lambda: fnn.adam(-0.01),
        ValueError, "learning_rate expected", "got -0.01", "adam: learning_rate", "0 ≤ learning_rate < ∞",
    ),
    "a learning rate of nan": (
        lambda: fnn.momentum(float("nan")),
        ValueError, "learning_rate expected", "got nan", "momentum: learning_rate", "0 ≤ learning_rate < ∞",
    ),
    "a seed for the key in start": (
        lambda: fnn.start(network(), RULE, X, key=0),
        TypeError, "key expected jax.random.key(seed)", "got 0", "start: key", "jax.random.key(",
    ),
}  # fmt: skip

FIT_DATA = {
    "classes counted from 1": (
        lambda: fit(cost=functools.partial(COST, label_smoothing=0.1), y=Y + 1),
        ValueError, "class ids from 0 to 2 for 3 outputs", "got 3 in row 2", "y expected", "fnn.labels",
    ),
    "rows of text from a csv.reader": (
        lambda: fit(x=X.astype(str)),
        TypeError, "x expected numbers", "of shape (40, 4)", "x", "fnn.encode",
    ),
    "rows as dicts, not encoded": (
        lambda: fit(x=ROWS),
        TypeError, "x expected numbers", "of shape (40,)", "x", "fnn.encode",
    ),
    "names of classes, not numbered": (
        lambda: fit(y=["cat", "dog"] * 20),
        TypeError, "y expected numbers", "of shape (40,)", "y", "fnn.labels",
    ),
}  # fmt: skip

FIT_OPTIONS = {
    "epochs as text": (
        lambda: fit(epochs="10"),
        ValueError, "a whole number", "got '10'", "fit: epochs", "at least 0",
    ),
    "validation as a dict": (
        lambda: fit(validation={"x": X[:9], "y": Y[:9]}),
        TypeError, "validation expected", "got a dict", "fit: validation", "(x, y)",
    ),
    "validation as a list": (
        lambda: fit(validation=[X[:9], Y[:9]]),
        TypeError, "validation expected", "got a list", "fit: validation", "(x, y)",
    ),
    "the fitted object as the state": (
        lambda: fit(state=fitted(), key=None),
        TypeError, "state expected", "got a Fitted", "fit: state", ".state",
    ),
}  # fmt: skip

PREDICT = {
    "columns encoded anew for the test rows": (
        lambda: fnn.predict(network(), PARAMS, X[:, :3]),
        ValueError, "expected 4 features", "got 3", "layer 0, dense(8)", "Give it the columns it was initialised for",
    ),
    "rows as dicts, not encoded, in predict": (
        lambda: fnn.predict(network(), PARAMS, ROWS),
        TypeError, "x expected numbers", "of shape (40,)", "x", "fnn.encode",
    ),
    "a metric by name in evaluate": (
        lambda: fnn.evaluate(network(), PARAMS, X, Y, {"accuracy": "accuracy"}),
        TypeError, "a function of predictions and targets", "got 'accuracy'", "evaluate: metrics['accuracy']", "fnn.accuracy",
    ),
    "the value of a metric in evaluate": (
        lambda: fnn.evaluate(network(), PARAMS, X, Y, {"accuracy": fnn.accuracy(LOGITS, Y)}),
        TypeError, "a function of predictions and targets", "dtype=float32", "evaluate: metrics['accuracy']", "fnn.accuracy",
    ),
    "one test label too few": (
        lambda: fnn.evaluate(network(), PARAMS, X, Y[:39], {"accuracy": fnn.accuracy}),
        ValueError, "the same number of rows", "y has 39", "x has 40", "the same number of rows everywhere",
    ),
}  # fmt: skip

DATA = {
    "a fraction in percent": (
        lambda: fnn.split(key(0), X, Y, fraction=20),
        ValueError, "both parts need one", "fraction=20 of 40 rows makes 800 test rows", "split", "0.2 is a fifth",
    ),
    "split rows and other labels": (
        lambda: fnn.split(key(0), X, Y[:39]),
        ValueError, "the same number of rows", "arrays[1] has 39", "arrays[0]", "the same number of rows everywhere",
    ),
    "stratify by a quantity": (
        lambda: fnn.split(key(0), X, stratify=X[:, 0]),
        ValueError, "stratify expected classes", "0.1257302210933933", "row 0", "numpy.digitize(y, edges)",
    ),
    "standardize a gap": (
        lambda: fnn.standardize([[1.0, 2.0], [3.0, float("nan")]]),
        ValueError, "standardize: x expected finite numbers", "got nan", "row 1, column 1", "fnn.encode",
    ),
    "standardize text": (
        lambda: fnn.standardize(frame(island=["Biscoe", "Dream"] * 20)),
        TypeError, "expected numbers", "'Biscoe'", "standardize", "fnn.encode",
    ),
    "standardize other columns": (
        lambda: fnn.standardize(X)(X[:, :3]),
        ValueError, "made from 4 columns", "x of shape (40, 3) has 3", "Standardizer", "Give the same columns in the same order",
    ),
    "encode nothing": (
        lambda: fnn.encode([]),
        ValueError, "at least one row and one column", "the table is empty", "encode", "needs at least one row",
    ),
    "encode a column that is not there": (
        lambda: fnn.encode(ROWS, columns=["mass", "weight"]),
        ValueError, "no column", "'weight'", "row 0", "only 'mass', 'sex'",
    ),
    "encode a file's name": (
        lambda: fnn.encode("penguins.csv"),
        TypeError, "expected rows as dicts", "got 'penguins.csv'", "encode: table", "csv.DictReader(file)",
    ),
    "encode an array": (
        lambda: fnn.encode(X),
        ValueError, "expected rows as dicts", "got an ndarray", "row 0", "a dict of columns",
    ),
    "encode rows that lack a column": (
        lambda: fnn.encode(ROWS)([{"mass": "3"}]),
        ValueError, "no column", "only 'mass'", "row 0", "'sex'",
    ),
    "a category never seen": (
        lambda: fnn.encode(ROWS)([{"mass": "3", "sex": "unknown"}]),
        ValueError, "known categories 'f', 'm'", "got 'unknown' in row 0", "column 'sex'", "allow_unseen=True",
    ),
    "a label never seen": (
        lambda: fnn.labels(["Adelie", "Gentoo"])(["Adelie", "Emperor"]),
        ValueError, "known classes 'Adelie', 'Gentoo'", "got 'Emperor'", "row 1", "make labels of all the classes",
    ),
    "logits back to names": (
        lambda: fnn.labels(["a", "b", "c"]).inverse(LOGITS),
        ValueError, "ids expected whole numbers", "got float32", "labels.inverse", "logits.argmax(-1)",
    ),
    "one-hot of floats": (
        lambda: fnn.one_hot([0.0, 1.0], 3),
        ValueError, "ids expected whole numbers", "got float64", "one_hot", "ids.astype(int)",
    ),
    "one-hot of an id out of range": (
        lambda: fnn.one_hot([0, 3], 3),
        ValueError, "class ids from 0 to 2", "got 3", "row 1", "for 3 classes",
    ),
    "one-hot of names": (
        lambda: fnn.one_hot(["a", "b"], 2),
        TypeError, "ids expected numbers", "got 'a' in row 0", "one_hot", "fnn.labels",
    ),
}  # fmt: skip

FILES = {
    "save the network": (
        lambda folder: fnn.save(folder / "tree.fnn", {"network": network(), "params": PARAMS}),
        TypeError, "Save arrays, keys, numbers", "functools.partial", "tree['network'].init", "Create functions again where you load",
    ),
    "load like another network": (
        lambda folder: fnn.load(saved(folder, PARAMS), like=fnn.serial(fnn.dense(16), jnp.tanh, fnn.dense(3)).init(key(0), X)),
        ValueError, "expected array float32 (4, 16)", "got array float32 (4, 8)", "tree[0]['weight']", "Make `like` with the network and optimizer that were saved",
    ),
}  # fmt: skip


def path_of_text(folder):
    (folder / "table.csv").write_text("mass,sex\n3,f\n")
    return folder / "table.csv"


MISTAKES = NETWORK | INIT | FORWARD | COSTS | OPTIMIZERS | FIT_DATA | FIT_OPTIONS | PREDICT | DATA | FILES


@pytest.fixture(autouse=True, scope="module")
def trained_once():
    fitted()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_before_training_and_its_message_teaches(mistake, tmp_path):
    do, error, expected, came, where, fix = MISTAKES[mistake]
    if mistake in FILES:
        do = functools.partial(do, tmp_path)
    with compilations() as compiled, refused(expected, came, where, fix, kind=error):
        do()
    assert not [name for name in compiled if "train" in name or "start" in name]


def test_the_table_is_long_and_names_no_mistake_twice():
    parts = NETWORK, INIT, FORWARD, COSTS, OPTIMIZERS, FIT_DATA, FIT_OPTIONS, PREDICT, DATA, FILES
    assert len(MISTAKES) == sum(map(len, parts)) >= 45


def test_a_right_run_compiles_what_no_mistake_may_compile():
    with compilations() as compiled:
        fit()
    assert any("train" in name for name in compiled) and any("start" in name for name in compiled)


# What Python and JAX say themselves ----------------------------------------------------------------

LEFT_OUT = {
    "a cost called without arguments": (lambda: fit(cost=fnn.mse()), "mse() missing", "'predictions' and 'targets'"),
    "an option that calls the cost": (lambda: fit(cost=fnn.huber(delta=2.0)), "huber() missing", "'predictions' and 'targets'"),
    "forward without parameters": (lambda: network().forward(X), "forward() missing", "'x'"),
    "predict without parameters": (lambda: fnn.predict(network(), X), "predict() missing", "'x'"),
    "an update without state": (lambda: RULE.update(GRADS), "adam_update() missing", "'state'"),
    "start without a key": (lambda: fnn.start(network(), RULE, X), "start() missing", "'key'"),
}  # fmt: skip


@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_python_names_the_argument_that_was_left_out(left_out):
    do, *pieces = LEFT_OUT[left_out]
    with refused(*pieces, kind=TypeError):
        do()


def test_a_key_used_twice_is_refused_where_jax_watches():
    once = key(0)
    network().init(once, X)
    with pytest.raises(jax.errors.KeyReuseError, match="Previously-consumed key"):
        network().init(once, X)
    split_key = key(1)
    fnn.split(split_key, X, Y)
    with compilations() as compiled, pytest.raises(jax.errors.KeyReuseError):
        fit(key=split_key)
    assert not [name for name in compiled if "train" in name]


def test_a_result_of_at_set_that_nobody_keeps_changes_nothing():
    before = jax.tree.map(np.array, PARAMS)
    PARAMS[0]["bias"].at[0].set(100.0)
    jax.tree.map(lambda leaf: leaf.at[...].set(0.0), PARAMS)
    chex.assert_trees_all_equal(PARAMS, before)
    kept = {**PARAMS[0], "bias": PARAMS[0]["bias"].at[0].set(100.0)}
    assert kept["bias"][0] == 100 and PARAMS[0]["bias"][0] == before[0]["bias"][0]
