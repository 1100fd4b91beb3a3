"""predict and evaluate: every row, in bounded memory, by programs compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        fnn.predict(network, ((),), X[:rows], batch_size=32)
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
def test_wrong_data_are_refused_with_the_mend(x, y, error, message):
    with pytest.raises(error, match=f"(?s){message}"):
        fnn.evaluate(NETWORK, PARAMS, x, y, {"accuracy": fnn.accuracy})


def test_metrics_by_list_are_refused():
    with pytest.raises(TypeError, match=r"metrics expected functions by name.*'accuracy': fnn.accuracy"):
        fnn.evaluate(NETWORK, PARAMS, X, Y, fnn.accuracy)
