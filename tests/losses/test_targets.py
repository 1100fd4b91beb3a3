"""One truth about targets: cost, `fit`, `evaluate` and metrics take and refuse the same."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

RULE = fnn.gradient_descent()
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
CLASSES, ONE = fnn.serial(fnn.dense(3)), fnn.serial(fnn.dense(1))
PARAMS = {network: network.init(jax.random.key(0), X) for network in (CLASSES, ONE)}
PREDICTIONS = {network: network.forward(params, X) for network, params in PARAMS.items()}
IDS, ROWS = np.array([0, 2, 1, 2]), np.eye(3, dtype=np.float32)[[0, 2, 1, 2]]
YES, LAST = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32), np.array([1.0, 1.0, 1.0, 0.0])


def put(array, row, value):
    array = array.copy()
    array[row] = value
    return array


OF_CLASSES = {  # targets, weights, whether they are taken
    "ids": (IDS, None, True),
    "ids of few bits": (IDS.astype(np.uint8), None, True),
    "truth values": (IDS > 1, None, True),
    "an id of -1": (put(IDS, 3, -1), None, False),
    "an id of -1 without weight": (put(IDS, 3, -1), LAST, True),
    "an id of -1 elsewhere": (put(IDS, 2, -1), LAST, False),
    "an id beyond the classes": (put(IDS, 3, 3), None, False),
    "an id beyond the classes without weight": (put(IDS, 3, 3), LAST, True),
    "ids as floats": (IDS.astype(np.float32), None, False),
    "ids in a column": (IDS[:, None], None, False),
    "one-hot rows": (ROWS, None, True),
    "whole one-hot rows": (ROWS.astype(int), None, True),
    "probabilities": (np.full((4, 3), 1 / 3), None, True),
    "probabilities of two digits": (np.full((4, 3), 0.33), None, True),
    "probabilities of few bits": (jnp.full((4, 3), 1 / 3, jnp.bfloat16), None, True),
    "a row of two classes": (put(ROWS, 3, [1, 0, 1]), None, False),
    "a row of two classes without weight": (put(ROWS, 3, [1, 0, 1]), LAST, True),
    "a row of no class": (put(ROWS, 3, 0), None, False),
    "-1 and 1": (2 * ROWS - 1, None, False),
    "a negative probability": (put(ROWS, 3, [1.5, -0.5, 0]), None, False),
    "nan without weight": (put(ROWS, 3, np.nan), LAST, True),
    "rows of two": (ROWS[:, :2], None, False),
}  # fmt: skip
ANSWERS = {
    "a yes or no": (YES, None, True),
    "a probability": (0.3 * YES, None, True),
    "truth values": (YES > 0, None, True),
    "flat": (YES[:, 0], None, False),
    "a class id": (put(YES, 3, 2), None, False),
    "a class id without weight": (put(YES, 3, 2), LAST, True),
    "-1 and 1": (2 * YES - 1, None, False),
    "-1 without weight": (put(YES, 3, -1), LAST, True),
    "nan without weight": (put(YES, 3, np.nan), LAST, True),
}
DECISIONS = {**ANSWERS, "-1 and 1": (2 * YES - 1, None, True)}  # what is not above 1/2 is a no
QUANTITIES = {
    "a column": (YES, None, True),
    "any number": (7 * YES - 9, None, True),
    "flat": (YES[:, 0], None, False),
    "two columns": (np.hstack([YES, YES]), None, False),
    "nan without weight": (put(YES, 3, np.nan), LAST, True),
}
LABELS = {
    "several labels": (put(ROWS, 3, [1, 0, 1]).astype(int), None, True),
    "no label": (0 * ROWS, None, True),
    "ids": (IDS, None, False),
    "a label that is 2": (put(ROWS, 3, 2), None, False),
    "a label that is 2 without weight": (put(ROWS, 3, 2), LAST, True),
}
METRICS = fnn.accuracy, fnn.confusion_matrix, fnn.binary_accuracy, fnn.exact_match, fnn.r2_score
SMOOTH = functools.partial(fnn.softmax_cross_entropy, label_smoothing=0.1)
TABLE = [
    *((CLASSES, f, OF_CLASSES) for f in (fnn.softmax_cross_entropy, SMOOTH, fnn.accuracy, fnn.confusion_matrix)),
    (ONE, fnn.binary_cross_entropy, ANSWERS),
    *((ONE, f, DECISIONS) for f in (fnn.accuracy, fnn.confusion_matrix)),
    *((ONE, f, ANSWERS) for f in METRICS[2:4]),
    *((CLASSES, f, LABELS) for f in (fnn.binary_cross_entropy, *METRICS[2:4])),
    *((ONE, f, QUANTITIES) for f in (fnn.mse, fnn.mae, fnn.rmse, fnn.huber, fnn.r2_score)),
]  # fmt: skip
CASES = {
    f"{getattr(f, 'func', f).__name__}{'' if f is not SMOOTH else ' smoothed'}, {len(part)}: {what}": (
        network,
        f,
        *case,
    )
    for network, f, part in TABLE
    for what, case in part.items()
}


def takes_all(predictions, targets, sample_weight=None):
    return jnp.mean(predictions)


def taken(do):
    with contextlib.suppress(ValueError):
        do()
        return True
    return False


@pytest.mark.parametrize("case", CASES)
def test_a_function_fit_and_evaluate_have_one_verdict(case):
    network, function, targets, weights, right = CASES[case]
    params = PARAMS[network]
    predictions = PREDICTIONS[network]
    assert taken(lambda: function(predictions, targets, sample_weight=weights)) == right
    assert taken(lambda: fnn.evaluate(network, params, X, targets, {"it": function}, weights)) == right
    run = functools.partial(fnn.fit, network, epochs=1, key=jax.random.key(0))
    if function not in METRICS:
        assert taken(lambda: run(function, RULE, X, targets, sample_weight=weights)) == right
        return
    given = () if weights is None else (weights,)
    held = {"validation": (X, targets, *given), "metrics": {"it": function}}
    assert taken(lambda: run(takes_all, RULE, X, targets, sample_weight=weights, **held)) == right


def test_traced_targets_have_no_values_and_an_unknown_id_costs_nan():
    cost = jax.jit(fnn.softmax_cross_entropy)
    z = np.zeros((4, 3), np.float32)
    assert np.isnan(cost(z, np.array([0, 2, 1, -1])))
    assert np.isfinite(cost(z, np.array([0, 2, 1, -1]), LAST))
    assert jax.jit(fnn.accuracy)(z, np.array([0, 0, 0, -1])) == 0.75
    several = np.array([[1, 0, 1], [1, 0, 0]])
    assert np.isnan(cost(z[:2], several)) and np.isnan(jax.jit(fnn.accuracy)(z[:2], several))
    assert np.asarray(jax.jit(fnn.confusion_matrix)(z[:2], several)).sum() == 1


def test_known_targets_are_looked_at_inside_jit_too():
    cost = jax.jit(lambda predictions: fnn.softmax_cross_entropy(predictions, put(IDS, 3, -1)))
    with pytest.raises(
        ValueError, match="targets expected class ids from 0 to 2 for 3 outputs, got -1 in row 3"
    ):
        cost(jnp.zeros((4, 3)))
