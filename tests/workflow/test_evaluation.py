"""predict and evaluate: every row, in bounded memory, by programs compiled once."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import each_is_refused

import fnn

NETWORK = fnn.serial(fnn.dense(5), jnp.tanh, fnn.dropout(0.5), fnn.dense(3))
X = np.random.default_rng(0).normal(size=(70, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 70)
PARAMS = NETWORK.init(jax.random.key(0), X)


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 9, 16, 33, 70])
def test_predictions_are_the_forward_pass_for_any_number_of_rows(rows):
    expected = NETWORK.forward(PARAMS, X[:rows])
    for batch_size in (8, 1024):
        y = fnn.predict(NETWORK, PARAMS, X[:rows], batch_size=batch_size)
        assert y.shape == (rows, 3)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_no_more_rows_than_the_batch_size_are_in_the_network_at_once():
    seen = []

    def spy(x):
        seen.append(x.shape[0])
        return x

    network = fnn.serial(spy)
    fnn.predict(network, ((),), X, batch_size=16)
    jax.jit(lambda x: fnn.predict(network, ((),), x, batch_size=16))(X)
    assert max(seen) == 16


def test_numbers_of_rows_share_their_programs():
    traces = []

    def spy(x):
        traces.append(x.shape[0])
        return x

    network = fnn.serial(spy)
    for rows in range(1, 71):
        fnn.predict(network, ((),), X[:rows, :3], batch_size=32)
    assert sorted(traces) == [1, 2, 4, 8, 16, 32]


def test_predict_works_under_jit_vmap_and_grad():
    expected = NETWORK.forward(PARAMS, X)
    predict = lambda x: fnn.predict(NETWORK, PARAMS, x, batch_size=32)
    np.testing.assert_allclose(jax.jit(predict)(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(predict)(X[:, None])[:, 0], expected, rtol=1e-5, atol=1e-6)
    slopes = jax.grad(lambda x: predict(x).sum())(jnp.asarray(X))
    np.testing.assert_allclose(
        slopes, jax.grad(lambda x: NETWORK.forward(PARAMS, x).sum())(X), rtol=1e-5, atol=1e-6
    )


def test_predictions_may_be_a_tree():
    network = fnn.parallel(fnn.dense(2), fnn.dense(1))
    params = network.init(jax.random.key(0), X)
    two, one = fnn.predict(network, params, X[:5])
    assert two.shape == (5, 2) and one.shape == (5, 1)


def test_metrics_see_all_rows_at_once():
    network, params = fnn.serial(jnp.sin), ((),)
    measures = fnn.evaluate(
        network, params, X, np.cos(X), {"rmse": fnn.rmse, "r2": fnn.r2_score}, batch_size=16
    )
    error = np.sin(X.astype(float)) - np.cos(X.astype(float))
    np.testing.assert_allclose(measures["rmse"], np.sqrt(np.mean(error**2)), rtol=1e-6)
    parts = [np.sqrt(np.mean(part**2)) for part in np.array_split(error, 5)]
    assert not np.isclose(measures["rmse"], np.mean(parts), rtol=1e-5)  # a mean of means is another number


def test_measures_are_floats_and_arrays():
    measures = fnn.evaluate(NETWORK, PARAMS, X, Y, {"accuracy": fnn.accuracy, "table": fnn.confusion_matrix})
    assert type(measures["accuracy"]) is float
    assert type(measures["table"]) is np.ndarray and measures["table"].sum() == 70
    assert np.trace(measures["table"]) / 70 == pytest.approx(measures["accuracy"])


def test_any_function_measures_scikit_learns_too():
    metrics = pytest.importorskip("sklearn.metrics")

    def balanced(logits, targets, sample_weight=None):
        return metrics.balanced_accuracy_score(targets, np.argmax(logits, -1), sample_weight=sample_weight)

    value = fnn.evaluate(NETWORK, PARAMS, X, Y, {"balanced": balanced})["balanced"]
    assert value == pytest.approx(metrics.balanced_accuracy_score(Y, NETWORK.forward(PARAMS, X).argmax(-1)))


def test_functions_of_scikit_learn_are_called_in_their_order():
    metrics = pytest.importorskip("sklearn.metrics")
    network, x, y = fnn.serial(lambda x: x), np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [6.0]])
    measures = {"r2": metrics.r2_score, "pinball": functools.partial(metrics.mean_pinball_loss, alpha=0.9)}
    found = fnn.evaluate(network, ((),), x, y, measures)
    assert found == pytest.approx({"r2": 1 - 9 / 14, "pinball": 0.9 * 3 / 3})


def test_large_targets_are_compared_before_they_are_narrowed():
    same, x = fnn.serial(lambda x: x), np.full((3, 1), 1.7e9)
    late = x + np.array([[50.0], [20.0], [50.0]])
    metrics = {"rmse": fnn.rmse, "mae": fnn.mae, "longest": lambda y_pred, y_true: abs(y_pred - y_true).max()}
    measures = fnn.evaluate(same, ((),), x, late, metrics)
    assert measures == pytest.approx({"rmse": 1800**0.5, "mae": 40.0, "longest": 50.0}, rel=1e-6)
    with pytest.raises(
        ValueError, match=r"x, column 0, expected numbers that float32 tells apart, got 1700000020\.0"
    ):
        fnn.predict(same, ((),), late)


def over(y_true, y_pred):
    """Only what is predicted too high costs anything."""
    return jnp.maximum(y_pred - y_true, 0).mean()


def over_as_pair(predictions, targets):
    return over(targets, predictions)


def test_a_cost_is_called_in_the_order_of_its_names_wherever_it_is_taken():
    network, key = fnn.serial(fnn.dense(1)), jax.random.key(0)
    x, y = X[:16, :1], X[:16, 1:2]
    params = network.init(key, x)
    one, other = (fnn.loss(network, cost)(params, x, y) for cost in (over, over_as_pair))
    assert one == other == over_as_pair(network.forward(params, x), y)
    one, other = (fnn.backprop(network, cost, params, x, y) for cost in (over, over_as_pair))
    chex.assert_trees_all_equal((one.cost, one.grads), (other.cost, other.grads))
    runs = [
        fnn.fit(network, cost, fnn.adam(), x, y, params=params, key=jax.random.clone(key), epochs=2,
                validation=(x, y), metrics={"over": cost})
        for cost in (over, over_as_pair)
    ]  # fmt: skip
    chex.assert_trees_all_equal(*(run.params for run in runs))
    chex.assert_trees_all_equal(*(run.history for run in runs))
    texts = [fnn.explain(network, cost, fnn.adam(), params, x, y) for cost in (over, over_as_pair)]
    assert texts[0] == texts[1].replace("over_as_pair", "over")


def test_weights_count_in_the_measures():
    weights = np.r_[np.ones(30), np.zeros(40)]
    weighted = fnn.evaluate(NETWORK, PARAMS, X, Y, {"accuracy": fnn.accuracy}, sample_weight=weights)
    assert weighted == pytest.approx(
        fnn.evaluate(NETWORK, PARAMS, X[:30], Y[:30], {"accuracy": fnn.accuracy})
    )


def test_whole_numbers_lists_and_frames_are_predicted_too():
    network = fnn.dense(2)
    params = network.init(jax.random.key(0), X[:, :2])
    floats = fnn.predict(network, params, np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_array_equal(fnn.predict(network, params, [[1, 2], [3, 4]]), floats)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(
        fnn.predict(network, params, pandas.DataFrame({"a": [1, 3], "b": [2, 4]})), floats
    )


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X[:0], Y[:0], ValueError, "at least one row"),
        (X, Y[:3], ValueError, "x has 70, y has 3"),
        (X[:, :3], Y, ValueError, r"layer 0, dense\(5\).*expected 4 features.*got 3"),
        (np.float32(1.0), Y, ValueError, "rows on its first axis, got a single number"),
        (np.array([["a"]]), Y[:1], TypeError, "x expected numbers.*fnn.encode"),
    ],
)
def test_wrong_data_are_refused_with_the_fix(x, y, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        fnn.evaluate(NETWORK, PARAMS, x, y, {"accuracy": fnn.accuracy})


def test_metrics_by_list_are_refused():
    with pytest.raises(TypeError, match=r"metrics expected functions by name.*'accuracy': fnn.accuracy"):
        fnn.evaluate(NETWORK, PARAMS, X, Y, fnn.accuracy)


def never(p, t):
    return None


WIDE = fnn.serial(fnn.dense(7), jnp.tanh, fnn.dropout(0.5), fnn.dense(3)).init(jax.random.key(0), X)
SUM, HALVES = fnn.serial(lambda z: z.sum(0)), fnn.serial(lambda z: z[: len(z) // 2])
IMAGES = np.ones((6, 2, 4), np.float32)


def put(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def without(params, layer, name):
    return tuple({**p, name: None} if i == layer else p for i, p in enumerate(params))


def predict(network=NETWORK, params=PARAMS, x=X, **options):
    return lambda: fnn.predict(network, params, x, **options)


def evaluate(metric=fnn.accuracy, network=NETWORK, x=X, y=Y, weight=None, **options):
    return lambda: fnn.evaluate(network, options.get("params", PARAMS), x, y, {"it": metric}, weight)


WRONG = {
    **{
        f"the network is {name}": (predict(network), TypeError, "predict: network expected a layer", got)
        for name, network, got in (
            ("None", None, "got None"),
            ("text", "net", "got 'net'"),
            ("not called", fnn.dense, "Call it"),
            ("a list", [fnn.dense(3)], "got a list"),
            ("its forward", NETWORK.forward, "got the function"),
        )
    },
    "network and params swapped": (predict(PARAMS, NETWORK), TypeError, "predict: network expected a layer", "got a tuple"),
    "a network by text to evaluate": (evaluate(network="net"), TypeError, "evaluate: network expected a layer", "got 'net'"),
    "params of another width": (predict(params=WIDE), ValueError, "params[0]['weight'] expected (4, 5), got (4, 7)", "another network"),
    "params of another width, traced": (lambda: jax.jit(predict(params=WIDE, x=jnp.asarray(X)))(), ValueError, "params[0]['weight'] expected (4, 5)", "got (4, 7)"),
    "x of other columns for one layer": (predict(fnn.dense(2), fnn.dense(2).init(jax.random.key(0), X), X[:, :3]), ValueError, "params['weight'] expected (3, 2), got (4, 2)", "expected 4 features", "got 3 in an input of shape (128, 3)"),
    "no params": (predict(params=None), TypeError, "predict: params expected a tree of arrays", "got None"),
    "a gap in params": (predict(params=without(PARAMS, 0, "bias")), ValueError, "params[0]['bias'] expected (5,), got nothing"),
    "text in params": (predict(fnn.dense(1), {"weight": np.array([["a"]]), "bias": np.zeros(1)}, X[:, :1]), TypeError, "params['weight'] expected numbers", "got 'a' in row 0", "network.init(key, x)"),
    "whole numbers of Python in params": (predict(fnn.dense(1), {"weight": 1, "bias": 0}, X[:, :1]), TypeError, "params['bias'] expected an array of numbers", "got 0", "network.init"),
    "shapes for params": (predict(params=jax.eval_shape(lambda: PARAMS)), TypeError, "params[0]['bias'] expected an array of numbers", "ShapeDtypeStruct"),
    **{
        f"batch size {size!r}": (predict(batch_size=size), ValueError, "predict: batch_size expected a whole number", f"{size!r}")
        for size in (0, -1, 2.5, "8", None, True)
    },
    "a sum over rows": (predict(SUM, ((),), X), ValueError, "expected one prediction for each", "keep the leading axis"),
    "a sum over as many rows as columns": (predict(SUM, ((),), X[:4]), ValueError, "expected one prediction for each row", "keep the leading axis"),
    "half of the rows of images": (predict(HALVES, ((),), IMAGES), ValueError, "expected one prediction for each row of x", "(4, 2, 4)"),
    "half of the rows, traced": (lambda: jax.jit(predict(HALVES, ((),), jnp.asarray(IMAGES)))(), ValueError, "expected one prediction for each", "keep the leading axis"),
    "nan in x": (evaluate(x=put(X, (2, 1), np.nan)), ValueError, "x expected finite numbers", "got nan in row 2, column 1"),
    "an infinite y": (evaluate(fnn.mse, y=put(np.zeros((70, 3)), (5, 2), np.inf)), ValueError, "y expected finite numbers", "got inf in row 5, column 2"),
    "nan in the weights": (evaluate(weight=put(np.ones(70), 3, np.nan)), ValueError, "sample_weight expected finite numbers", "got nan in row 3"),
    "a negative weight": (evaluate(weight=put(np.ones(70), 3, -1)), ValueError, "sample_weight expected weights of at least 0", "got -1.0 in row 3"),
    **{
        f"an id that is no class for {metric.__name__}": (evaluate(metric, y=put(Y, 4, 3)), ValueError, f"{metric.__name__}: y expected class ids from 0 to 2", "got 3 in row 4")
        for metric in (fnn.accuracy, fnn.confusion_matrix, fnn.softmax_cross_entropy)
    },
    "ids for a yes or no": (evaluate(fnn.binary_cross_entropy, y=put(np.zeros((70, 3)), (4, 1), 2)), ValueError, "y expected 0 or 1", "got 2.0 in row 4, column 1"),
    "a smoothing beyond 1": (evaluate(jax.tree_util.Partial(fnn.softmax_cross_entropy, label_smoothing=2.0)), ValueError, "0 ≤ label_smoothing ≤ 1", "got 2.0"),
    "no metric": (evaluate(None), TypeError, "evaluate: metrics['it'] expected a function", "got None"),
    "a metric by name": (evaluate("accuracy"), TypeError, "evaluate: metrics['it'] expected a function", "got 'accuracy'"),
    "a metric that returns nothing": (evaluate(never), TypeError, "metrics['it'] expected a function that returns a number", "got None"),
    "a metric that returns text": (evaluate(lambda p, t: "good"), TypeError, "metrics['it'] expected a function that returns a number", "got 'good'"),
    "a metric that formats": (evaluate(lambda p, t: f"{float(p.mean()):.2f}"), TypeError, "metrics['it'] expected a function that returns a number", "Does it return"),
    "a metric of predictions": (evaluate(lambda p: p.mean()), TypeError, "metrics['it'] expected a function of predictions and targets", "(p)"),
    "a metric without weights": (evaluate(lambda p, t: p.mean(), weight=np.ones(70)), TypeError, "metrics['it'], <lambda>, takes no sample_weight", "sample_weight=None"),
}  # fmt: skip


test_a_mistake_is_refused_and_its_message_teaches = each_is_refused(WRONG)


def test_what_is_right_is_taken():
    shown = put(Y, slice(0, 3), -100)
    weights = put(np.ones(70), slice(0, 3), 0)
    measured = fnn.evaluate(NETWORK, PARAMS, X, shown, {"accuracy": fnn.accuracy}, weights)
    without = fnn.evaluate(NETWORK, PARAMS, X[3:], Y[3:], {"accuracy": fnn.accuracy})
    assert measured == pytest.approx(without, rel=3e-7)  # float32 rounds two sums of 67 shares
    masked = fnn.evaluate(NETWORK, PARAMS, X, Y, {"first": lambda p, t: (p[t == 0] > 0).mean()})
    assert 0 <= masked["first"] <= 1
    whole = jax.tree.map(lambda a: a.astype(int), PARAMS)
    assert fnn.predict(NETWORK, whole, X, batch_size=np.int64(8)).shape == (70, 3)
