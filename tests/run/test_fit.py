"""fit: the same bits whatever the calls, nothing compiled twice, and arguments that are understood."""

import functools
import importlib
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import HELD, X, Y, bits, compilations, fit, listening, network, same_run

import fnn

loop_module = importlib.import_module("fnn.run.loop")


def rule(rate):
    """The rule of runs.fit with another rate: its programs are compiled once for all tests here."""
    return fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(rate), fnn.weight_decay(1e-3))


# The same bits ----------------------------------------------------------------------------------


def test_it_learns():
    fitted = fit(60)
    assert fitted.history["cost"][-1] < 0.5 * fitted.history["cost"][0]
    assert fitted.history["validation_accuracy"].max() > 0.7


def test_a_run_continued_is_the_whole_bit_for_bit_whatever_the_calls():
    whole = fit(7)
    for first in (1, 4):
        begun = fit(first)
        rest = fit(7 - first, state=begun.state)
        chex.assert_trees_all_equal(bits(rest.state), bits(whole.state))
        chex.assert_trees_all_equal(bits(rest.params), bits(whole.params))
        for name, rows in whole.history.items():
            np.testing.assert_array_equal(rows, np.r_[begun.history[name], rest.history[name]])


def test_watching_a_run_changes_no_bit():
    reports = []
    same_run(fit(5, on_epoch=reports.append), fit(5))
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5]
    assert {report.epochs for report in reports} == {5}


def test_the_length_of_the_calls_changes_no_bit(monkeypatch):
    whole = fit(9)
    monkeypatch.setattr(loop_module, "next_size", lambda size, seconds: 4)
    same_run(fit(9), whole)


def test_metrics_of_scikit_learn_are_measured_after_each_epoch_and_change_no_bit(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    score = functools.partial(metrics.f1_score, average="macro")

    def f1(y_true, y_pred):
        return score(y_true, y_pred.argmax(-1))

    expected, both = [], {"accuracy": fnn.accuracy, "f1": f1}
    for epochs in range(1, 5):
        params = fit(epochs).state.params
        expected.append(score(HELD[1], fnn.predict(network(), params, HELD[0]).argmax(-1)))
    fitted, alone = fit(4, metrics=both), fit(4)
    np.testing.assert_array_equal(fitted.history.pop("validation_f1"), expected)
    same_run(fitted, alone)

    fit(2, metrics=both, checkpoint=tmp_path)
    resumed = fit(4, metrics=both, checkpoint=tmp_path)
    np.testing.assert_array_equal(resumed.history["validation_f1"], expected)


def test_weights_reach_a_metric_of_scikit_learn_and_its_error_says_what_it_was_called_with():
    metrics = pytest.importorskip("sklearn.metrics")
    line, weight = fnn.serial(fnn.dense(1)), np.arange(len(X))
    run = functools.partial(fnn.fit, line, fnn.mse, rule(0.01), X, X[:, :1], key=jax.random.key(0), epochs=1)
    fitted = run(validation=(X, X[:, :1], weight), metrics={"r2": metrics.r2_score})
    predictions = fnn.predict(line, fitted.state.params, X)
    expected = metrics.r2_score(X[:, :1], predictions, sample_weight=weight)
    np.testing.assert_allclose(fitted.history["validation_r2"], [expected], rtol=1e-6)
    with pytest.raises(ValueError, match="mix of") as caught:
        fit(1, metrics={"f1": metrics.f1_score})
    assert "fit: metrics['f1'], f1_score, called with outputs of shape (" in caught.value.__notes__[0]
    assert "y_pred.argmax(-1)" in caught.value.__notes__[0]


def test_another_key_is_another_run():
    assert not np.array_equal(fit(1).history["cost"], fit(1, seed=1).history["cost"])


def test_a_report_has_what_the_history_has():
    reports = []
    fitted = fit(3, on_epoch=reports.append)
    for name, rows in fitted.history.items():
        assert [report.measures[name] for report in reports] == rows.tolist()
    chex.assert_trees_all_equal(bits(reports[-1].state), bits(fitted.state))


# Nothing compiled twice -------------------------------------------------------------------------


def test_another_rate_key_number_of_epochs_patience_or_callback_compiles_nothing():
    rates = lambda rate: fnn.chain(fnn.clip_by_global_norm(rate), fnn.adam(rate), fnn.weight_decay(rate))
    fit(3, rates(0.1))
    with compilations() as compiled:
        fit(2, rates(0.01), seed=1)
        fit(5, rates(0.01), patience=2)
        fit(1, rates(0.3), on_epoch=lambda report: None)
        begun = fit(2, rates(0.1))
        fit(4, rates(0.1), state=begun.state)
    assert compiled == []


def test_another_number_in_a_cost_a_penalty_or_a_metric_compiles_nothing():
    def pull(params, rate):
        return rate * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    def run(number):
        return fnn.fit(
            network(), functools.partial(fnn.softmax_cross_entropy, label_smoothing=number), fnn.adam(),
            X, Y, key=jax.random.key(0), epochs=2, penalty=functools.partial(pull, rate=number),
            validation=HELD, metrics={"smooth": functools.partial(fnn.softmax_cross_entropy, label_smoothing=number)},
        )  # fmt: skip

    one = run(0.1)
    with compilations() as compiled:
        other = run(0.2)
    assert compiled == []
    assert one.history["cost"][0] != other.history["cost"][0]
    assert one.history["validation_smooth"][0] != other.history["validation_smooth"][0]


def test_the_listener_hears_a_compilation():
    with compilations() as compiled:
        jax.block_until_ready(jax.jit(lambda x: x * 3 + 1)(jnp.ones(5)))
    assert compiled


# How a run ends ---------------------------------------------------------------------------------


def test_what_is_fitted_is_the_best_by_validation_and_the_last_is_in_the_state():
    fitted = fit(12, rule(0.1))
    best = int(np.argmin(fitted.history["validation_cost"]))
    assert fitted.stopped == "epochs"
    chex.assert_trees_all_equal(bits(fitted.params), bits(fit(best + 1, rule(0.1)).state.params))
    chex.assert_trees_all_equal(bits(fitted.state.params), bits(fit(12, rule(0.1)).state.params))


def test_without_validation_the_last_parameters_are_fitted():
    fitted = fnn.fit(network(), fnn.softmax_cross_entropy, fnn.adam(), X, Y, key=jax.random.key(0), epochs=2)
    chex.assert_trees_all_equal(fitted.params, fitted.state.params)
    assert set(fitted.history) == {"cost"}


def test_patience_ends_the_run():
    worse = (X[:9], (Y[:9] + 1) % 3)
    fitted = fit(50, rule(0.05), validation=worse, patience=3)
    assert fitted.stopped == "patience"
    assert len(fitted.history["cost"]) == int(fitted.state.best.epoch) + 3 < 50
    again = fit(50, rule(0.05), validation=worse, patience=3, state=fitted.state)
    assert len(again.history) == 0 or len(again.history["cost"]) == 0
    chex.assert_trees_all_equal(bits(again.params), bits(fitted.params))


def test_a_callback_ends_the_run_by_returning_true():
    fitted = fit(50, on_epoch=lambda report: report.epoch == 4)
    assert fitted.stopped == "on_epoch" and len(fitted.history["cost"]) == 4
    assert len(fit(3, on_epoch=lambda report: None).history["cost"]) == 3


def test_no_epochs_give_the_parameters_that_were_begun_with():
    params = network().init(jax.random.key(5), X)
    fitted = fnn.fit(
        network(), fnn.softmax_cross_entropy, fnn.adam(), X, Y,
        key=jax.random.key(0), epochs=0, params=params,
    )  # fmt: skip
    chex.assert_trees_all_equal(fitted.params, params)


def test_params_are_begun_from_and_left_as_they_are():
    params = network().init(jax.random.key(5), X)
    before = jax.tree.map(np.array, params)
    fitted = fit(3, params=params)
    assert not np.array_equal(fitted.state.params[0]["weight"], before[0]["weight"])
    chex.assert_trees_all_equal(jax.tree.map(np.array, params), before)


# What goes in -----------------------------------------------------------------------------------


def test_weights_leave_rows_out_and_count_others_twice():
    still = functools.partial(
        fnn.fit, fnn.dense(3), fnn.softmax_cross_entropy, fnn.gradient_descent(0.1), epochs=5, batch_size=1000
    )
    double = np.r_[np.zeros(5), np.full(10, 2.0), np.ones(30)]
    weighted = still(X, Y, sample_weight=double, key=jax.random.key(0))
    rows = np.r_[5:15, 5:45]
    repeated = still(X[rows], Y[rows], key=jax.random.key(0))
    chex.assert_trees_all_close(weighted.params, repeated.params, rtol=1e-5, atol=1e-6)


def test_odd_looking_inputs_work_and_give_the_same_run():
    pandas = pytest.importorskip("pandas", reason="frames and series are of pandas")
    x, y = X.astype(np.float32), Y
    columns = [f"c{i}" for i in range(4)]
    forms = {
        "float64": (X, Y),
        "jax": (jnp.asarray(x), jnp.asarray(y)),
        "lists": (x.tolist(), y.tolist()),
        "pandas": (pandas.DataFrame(x, columns=columns), pandas.Series(y)),
        "strided": (np.asfortranarray(x), np.repeat(y, 2)[::2]),
        "read-only": (np.broadcast_to(x, x.shape), y.astype(np.uint8)),
    }
    runs = {
        name: fnn.fit(
            fnn.dense(3), fnn.softmax_cross_entropy, fnn.adam(), *data, key=jax.random.key(0), epochs=2
        )
        for name, data in forms.items()
    }
    for fitted in runs.values():
        chex.assert_trees_all_equal(fitted.params, runs["float64"].params)


def test_whole_numbers_become_floats_where_the_network_takes_no_ids():
    counts = np.arange(12).reshape(6, 2)
    fit_to = functools.partial(
        fnn.fit, fnn.serial(fnn.dense(1)), fnn.mse, fnn.adam(), y=np.ones((6, 1)), epochs=1
    )
    chex.assert_trees_all_equal(
        fit_to(x=counts, key=jax.random.key(0)).params,
        fit_to(x=counts.astype(float), key=jax.random.key(0)).params,
    )
    seen = []
    ids = fnn.serial(lambda x: seen.append(x.dtype) or x.astype(float), fnn.dense(1))
    fnn.fit(ids, fnn.mse, fnn.adam(), counts, np.ones((6, 1)), key=jax.random.key(0), epochs=1)
    assert set(seen) == {jnp.dtype("int32")}


def test_trees_of_inputs_and_targets_share_their_rows():
    wide = fnn.serial(fnn.parallel(a=fnn.dense(2), b=fnn.dense(2)), lambda y: y["a"] + y["b"], fnn.dense(3))
    x = {"a": X[:, :2], "b": X[:, 2:]}
    fitted = fnn.fit(wide, fnn.softmax_cross_entropy, fnn.adam(), x, Y, key=jax.random.key(0), epochs=2)
    assert fnn.predict(wide, fitted.params, x).shape == (45, 3)


def test_a_users_cost_needs_no_weights_unless_they_are_used():
    absolute = lambda predictions, targets: jnp.abs(predictions - targets).mean()
    run = functools.partial(fnn.fit, fnn.dense(1), absolute, fnn.adam(), X, X[:, :1], epochs=1)
    assert run(key=jax.random.key(0)).history["cost"].shape == (1,)
    with pytest.raises(TypeError, match=r"cost .*takes no sample_weight.*sample_weight=None"):
        run(key=jax.random.key(0), sample_weight=np.ones(45))


def test_an_old_style_key_works():
    old, new = (fit(1, key=key) for key in (jax.random.PRNGKey(0), jax.random.key(0)))
    chex.assert_trees_all_equal(bits(old.params), bits(new.params))


WRONG = {
    "network a function": (dict(network=jnp.tanh), TypeError, r"network expected a layer.*fnn.serial\(function\)"),
    "cost by name": (dict(cost="mse"), TypeError, r"cost expected a function.*fnn.mse.*'mse'"),
    "optimizer not called": (dict(optimizer=fnn.adam), TypeError, r"optimizer expected.*Call it: fnn.adam\("),
    "optimizer a rate": (dict(optimizer=0.1), TypeError, r"optimizer expected an optimizer such as fnn.adam\(\), got 0.1"),
    "no key": (dict(key=None), ValueError, r"expected a key.*jax.random.key\(0\)"),
    "a seed for a key": (dict(key=7), TypeError, r"key expected jax.random.key\(seed\), got 7"),
    "epochs negative": (dict(epochs=-1), ValueError, r"epochs expected a whole number, at least 0, got -1"),
    "epochs a fraction": (dict(epochs=2.5), ValueError, r"epochs expected a whole number.*got 2.5"),
    "batch size 0": (dict(batch_size=0), ValueError, r"batch_size expected a whole number, at least 1, got 0"),
    "batch size true": (dict(batch_size=True), ValueError, r"batch_size expected .*got True"),
    "patience alone": (dict(patience=3), ValueError, r"patience needs rows.*validation=\(x, y\)"),
    "metrics alone": (dict(metrics={"a": fnn.accuracy}), ValueError, r"metrics needs rows.*fnn.evaluate"),
    "validation x alone": (dict(validation=X), TypeError, r"validation expected \(x, y\).*ndarray"),
    "metrics a function": (dict(validation=HELD, metrics=fnn.accuracy), TypeError, r"fit: metrics expected functions"),
    "lengths differ": (dict(y=Y[:40]), ValueError, r"same number of rows.*x has 45, y has 40"),
    "validation lengths": (dict(validation=(X[:3], Y[:4])), ValueError, r"validation\[0\] has 3, validation\[1\] has 4"),
    "no rows": (dict(x=X[:0], y=Y[:0]), ValueError, r"at least one row"),
    "one column of x": (dict(x=X[:, 0]), ValueError, r"one prediction for each row of x.*x\[:, None\]"),
    "text in x": (dict(x=np.array([["a"]] * 45)), TypeError, r"x expected numbers.*fnn.encode"),
    "names in y": (dict(y=["cat"] * 45), TypeError, r"y expected numbers.*fnn.labels"),
    "ragged x": (dict(x=[[1.0], [1.0, 2.0]] + [[1.0]] * 43), ValueError, r"x expected rows of equal length"),
    "x beyond float32": (dict(x=X * 1e300), ValueError, r"x expected numbers that float32 can hold.*fnn.standardize"),
    "nan in x": (dict(x=np.where(X[7, 2] == X, np.nan, X)), ValueError, r"x expected finite.*got nan in row 7, column 2"),
    "infinite target": (dict(y=np.r_[Y[:-1], np.inf]), ValueError, r"y expected finite numbers, got inf in row 44"),
    "ids from 1": (dict(y=Y + 1), ValueError, r"ids from 0 to 2 for 3 outputs, got 3 in row \d+.*fnn.labels"),
    "id below 0": (dict(y=Y - 1), ValueError, r"got -1 in row"),
    "ids of validation": (dict(validation=(X[:9], Y[:9] + 7)), ValueError, r"validation\[1\] expected class ids from 0"),
    "y beyond int32": (dict(y=Y + 2**40), ValueError, r"y expected numbers that int32 can hold"),
    "labels as a column": (dict(y=Y[:, None]), ValueError, r"class ids of shape \(45,\).*targets\[..., 0\]"),
    "validation of another width": (
        dict(validation=(X[:9, :3], Y[:9])), ValueError, r"layer 0, dense\(8\).*expected 4 features.*got 3",
    ),
    "weights of another length": (dict(sample_weight=np.ones(3)), ValueError, r"sample_weight has 3"),
    "option of a cost as text": (
        dict(cost=functools.partial(fnn.mse, sample_weight="mean")), TypeError, r"expected a number or an array, got 'mean'",
    ),
    "params of another network": (dict(params=()), ValueError, r"expected the parameters of 4 layers"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_refused_with_the_fix_before_anything_is_compiled(wrong):
    changed, error, message = WRONG[wrong]
    right = dict(
        network=network(), cost=fnn.softmax_cross_entropy, optimizer=fnn.adam(), x=X, y=Y,
        key=jax.random.key(0), epochs=2,
    )  # fmt: skip
    with compilations() as compiled, pytest.raises(error, match=f"(?s){message}"):
        fnn.fit(**(right | changed))
    assert not [name for name in compiled if "train" in name]


def test_a_state_of_another_optimizer_or_with_a_key_is_refused():
    begun = fit(0, fnn.adam(0.01))
    with pytest.raises(
        ValueError, match=r"learning_rate is 0.01 in the state, 0.5 in the optimizer.*params="
    ):
        fit(1, fnn.adam(0.5), state=begun.state)
    with pytest.raises(ValueError, match=r"momentum is absent in the state, 0.9"):
        fit(1, fnn.momentum(0.01), state=begun.state)
    with pytest.raises(ValueError, match=r"own key and parameters"):
        fit(1, fnn.adam(0.01), state=begun.state, key=jax.random.key(0))


# Progress ---------------------------------------------------------------------------------------


def test_progress_shows_epochs_and_measures(capsys):
    pytest.importorskip("tqdm", reason="the progress bar is of tqdm")
    fit(3, progress=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "validation_accuracy=" in shown


def test_without_tqdm_progress_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match="pip install tqdm"):
        fit(3, progress=True)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad], ids=lambda t: t.__name__)
def test_inside_a_transformation_it_says_what_to_use_there(transform):
    def run(scales):
        x = scales * X if transform is not jax.vmap else X + scales
        return fnn.fit(
            network(), fnn.softmax_cross_entropy, fnn.adam(), x, Y, key=jax.random.key(0), epochs=1
        ).params

    with pytest.raises(TypeError, match=r"fit runs on the host.*fnn\.train"):
        transform(run)(jnp.ones(3) if transform is jax.vmap else 1.0)


# Layers with statistics, and with a state along the sequence ----------------------------------------


@pytest.mark.slow
def test_a_run_with_statistics_attention_and_recurrent_layers_goes_on_with_the_same_bits():
    given = {"batch_size": 8, "validation": HELD}
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.01), fnn.weight_decay(1e-3))
    parts = listening(), fnn.softmax_cross_entropy, rule, X, Y
    whole = fnn.fit(*parts, key=jax.random.key(0), epochs=5, **given)
    first = fnn.fit(*parts, key=jax.random.key(0), epochs=2, **given)
    rest = fnn.fit(*parts, state=first.state, epochs=3, **given)
    chex.assert_trees_all_equal(bits(rest.state), bits(whole.state))
    moved = whole.state.params[4]["statistics"]
    assert np.any(moved["mean"]) and np.all(moved["variance"] != 1)
    one_by_one = fnn.fit(*parts, key=jax.random.key(0), epochs=5, on_epoch=lambda report: None, **given)
    same_run(one_by_one, whole)


@pytest.mark.slow
def test_where_a_recurrent_run_goes_bad_is_named():
    parts = listening(), fnn.softmax_cross_entropy, fnn.gradient_descent(1e38), X, Y
    with pytest.warns(RuntimeWarning, match=r"in its step \d+ the .* was the first that is not finite"):
        fitted = fnn.fit(*parts, key=jax.random.key(0), epochs=3, batch_size=8)
    assert fitted.stopped == "not_finite"
    chex.assert_tree_all_finite(fitted.params)
