"""sweep: each of its runs is that of fit, whatever is swept, and however it ends."""

import concurrent.futures
import functools
import importlib
import os
import subprocess
import sys
import threading

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import HELD, X, Y, bits, compilations, network

import fnn

CE = fnn.softmax_cross_entropy


def keys(count=3):
    """Keys that were not used yet: jax_debug_key_reuse is on."""
    return jax.random.split(jax.random.key(5), count)


def rule(rate, most=1.0):
    return fnn.chain(fnn.clip_by_global_norm(most), fnn.adam(rate), fnn.weight_decay(1e-3))


def options(**changed):
    return {"epochs": 4, "batch_size": 8, "validation": HELD, "metrics": {"accuracy": fnn.accuracy}} | changed


def equal(run, solo, tolerance=1e-10):
    assert run.stopped == solo.stopped
    assert run.history.keys() == solo.history.keys()
    close = functools.partial(chex.assert_trees_all_close, rtol=tolerance, atol=tolerance)
    close(run.history, solo.history)
    close(run.params, solo.params)
    close(bits(run.state), bits(solo.state))


# Each run is that of fit ------------------------------------------------------------------------


def test_each_run_of_a_grid_is_that_of_fit(x64):
    rates = (0.01, 0.1)
    with x64():  # in float32 they differ by rounding; and workers must compute as the caller's switches say
        found = fnn.sweep(network(), CE, [rule(rate) for rate in rates], X, Y, key=keys(2), **options())
        assert found.settings == tuple(
            {"learning_rate": rate, "seed": seed} for rate in rates for seed in range(2)
        )
        for names, run in zip(found.settings, found.runs, strict=True):
            given = {"key": keys(2)[names["seed"]], **options()}
            equal(run, fnn.fit(network(), CE, rule(names["learning_rate"]), X, Y, **given))


def test_in_float32_a_run_is_that_of_fit_to_a_millionth():
    found = fnn.sweep(network(), CE, [rule(0.01), rule(0.1)], X, Y, key=jax.random.key(5), **options())
    solo = fnn.fit(network(), CE, rule(0.1), X, Y, key=jax.random.key(5), **options())
    chex.assert_trees_all_close(found.runs[1].history, solo.history, rtol=1e-6, atol=1e-6)


def test_costs_penalties_networks_and_batch_sizes_can_be_swept(x64):
    def shrink(params, strength):
        return strength * jnp.sum(params[0]["weight"] ** 2)

    nets = {"narrow": fnn.dense(1), "deep": fnn.serial(fnn.dense(3), jnp.tanh, fnn.dense(1))}
    costs = [functools.partial(fnn.huber, delta=delta) for delta in (0.5, 2.0)]
    penalties = [functools.partial(shrink, strength=s) for s in (0.0, 0.1)]
    y = X @ np.ones((4, 1))
    with x64():
        rest = {"epochs": 2, "validation": (X[:9], y[:9])}
        found = fnn.sweep(
            {"narrow": fnn.serial(fnn.dense(1)), "deep": nets["deep"]}, costs, fnn.adam(0.1), X, y,
            key=jax.random.key(5), batch_size=[9, 45], penalty=penalties, **rest,
        )  # fmt: skip
        assert len(found.runs) == 16
        assert found.settings[5] == {"network": "narrow", "delta": 2.0, "strength": 0.0, "batch_size": 45}
        for i in (5, 10):
            names = found.settings[i]
            net = {"narrow": fnn.serial(fnn.dense(1)), "deep": nets["deep"]}[names["network"]]
            cost = functools.partial(fnn.huber, delta=names["delta"])
            penalty = functools.partial(shrink, strength=names["strength"])
            given = {"key": jax.random.key(5), "penalty": penalty, "batch_size": names["batch_size"]}
            equal(found.runs[i], fnn.fit(net, cost, fnn.adam(0.1), X, y, **given, **rest))


def test_each_run_ends_by_its_own_patience(x64):
    rates = (0.001, 0.3, 1.0)
    with x64():
        given = options(epochs=30, patience=3)
        found = fnn.sweep(network(), CE, [rule(rate) for rate in rates], X, Y, key=jax.random.key(5), **given)
        assert {run.stopped for run in found.runs} == {"epochs", "patience"}
        for rate, run in zip(rates, found.runs, strict=True):
            equal(run, fnn.fit(network(), CE, rule(rate), X, Y, key=jax.random.key(5), **given))


def test_a_run_that_goes_bad_is_named_and_the_others_go_on(x64):
    y = X @ np.ones((4, 1))
    with x64():
        given = {"key": jax.random.key(5), "epochs": 60, "batch_size": 45}
        rules = [fnn.gradient_descent(rate) for rate in (0.01, 1e9, 0.1)]
        with pytest.warns(RuntimeWarning, match=r"1 of 3 runs met.*\{'learning_rate': 1000000000.0\}"):
            found = fnn.sweep(fnn.dense(1), fnn.mse, rules, X, y, **given)
        with pytest.warns(RuntimeWarning, match="epoch .* was not finished"):
            solo = fnn.fit(fnn.dense(1), fnn.mse, rules[1], X, y, **given | {"key": jax.random.key(5)})
        equal(found.runs[1], solo)
        assert found.order == [2, 0, 1]
        equal(
            found.runs[2],
            fnn.fit(fnn.dense(1), fnn.mse, rules[2], X, y, **given | {"key": jax.random.key(5)}),
        )


def test_a_state_that_goes_bad_unseen_by_the_cost_is_found_in_its_epoch():
    """A rule with a memory that overflows after some epochs, while the cost stays finite."""

    def init(params, rate):
        return {"rate": jnp.asarray(rate), "sum": jnp.ones(())}

    def update(grads, state, params):
        return jax.tree.map(lambda g: -0.01 * g, grads), state | {"sum": state["sum"] * state["rate"]}

    def grows(rate):
        return fnn.Optimizer(jax.tree_util.Partial(init, rate=rate), update)

    y = X @ np.ones((4, 1))
    given = {"epochs": 40, "batch_size": 45}
    with pytest.warns(RuntimeWarning, match=r"1 of 2 runs met.*\{'rate': 100.0\}"):
        found = fnn.sweep(
            fnn.dense(1), fnn.mse, [grows(1.0), grows(100.0)], X, y, key=jax.random.key(5), **given
        )
    assert [int(run.state.epoch) for run in found.runs] == [40, 19]  # 100¹⁹ = 1e38, and 100²⁰ overflows
    assert [len(run.history["cost"]) for run in found.runs] == [40, 19]
    assert np.isfinite(found.runs[1].state.optimizer["sum"])


# What is compiled, and what is computed at once ----------------------------------------------------


def test_other_numbers_compile_nothing():
    def run(rates, epochs):
        return fnn.sweep(
            network(), CE, [rule(rate) for rate in rates], X, Y, key=keys(), **options(epochs=epochs)
        )

    run((0.1, 0.01), 2)
    with compilations() as names:
        run((0.3, 0.02), 3)
    assert names == []


def test_members_at_once_are_bounded_by_memory_and_shared_by_all_workers():
    from fnn.run.sweep import _members_at_once
    from fnn.workflow.setting import Setting

    def at_once(count, workers, numbers):
        like = fnn.State(jax.ShapeDtypeStruct((numbers,), "float32"), (), None, None)
        return _members_at_once(count, workers, Setting(network(), CE, None, x=X, y=Y), like)

    assert at_once(100, 2, 10) == 10  # 16 at most; each worker has five jobs, and none waits for the other
    assert at_once(32, 2, 10) == 16
    assert at_once(32, 2, 10**4) == 8  # 13 at most
    assert at_once(8, 2, 10) == 4
    assert at_once(3, 2, 10) == 2
    assert at_once(1, 2, 10) == 1
    assert at_once(100, 2, 10**6) == 1


THREE_DEVICES = """
import importlib, jax, numpy as np, fnn
module, used = importlib.import_module("fnn.run.sweep"), []

def watched(job, *rest):
    result = run_job(job, *rest)
    used.extend(result.states.epoch.devices())
    return result

run_job, module.run_job = module.run_job, watched
x = np.linspace(-1, 1, 32, dtype="float32")[:, None]
rules = [fnn.adam(rate) for rate in np.geomspace(0.01, 1.0, 7)]
found = fnn.sweep(fnn.dense(1), fnn.mse, rules, x, 3 * x, key=jax.random.key(0), epochs=20)
for rule, run in zip(rules, found.runs, strict=True):
    solo = fnn.fit(fnn.dense(1), fnn.mse, rule, x, 3 * x, key=jax.random.key(0), epochs=20)
    np.testing.assert_allclose(run.history["cost"], solo.history["cost"], rtol=1e-5, atol=1e-6)
assert set(used) == set(jax.local_devices()) and len(used) == 3, used
"""


@pytest.mark.slow
def test_every_device_works():
    given = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=3"}
    command = [sys.executable, "-c", THREE_DEVICES]
    done = subprocess.run(command, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_returns_the_runs_begun(monkeypatch):
    group, called = importlib.import_module("fnn.run.group"), threading.Event()

    def interrupted(working, return_when):
        assert called.wait(120)
        raise KeyboardInterrupt

    monkeypatch.setattr(group, "next_size", lambda size, seconds: called.set() or 1)
    monkeypatch.setattr(concurrent.futures, "wait", interrupted)
    rules = [fnn.adam(rate) for rate in np.geomspace(1e-4, 1e-1, 100)]
    found = fnn.sweep(fnn.dense(3), CE, rules, X, Y, key=jax.random.key(5), epochs=10**6, batch_size=8)
    assert 0 < len(found.runs) == len(found.settings) < 100
    assert {run.stopped for run in found.runs} == {"interrupted"}
    assert all(len(run.history["cost"]) == int(run.state.epoch) > 0 for run in found.runs)


# Choices, and the table ----------------------------------------------------------------------------


def names_of(**given):
    from fnn.run.choices import members_of

    one = {"network": fnn.dense(1), "cost": fnn.mse, "optimizer": fnn.adam(), "penalty": None}
    grid = given.pop("grid", True)
    return [
        member.names
        for member in members_of({**one, "batch_size": 32, "key": jax.random.key(5), **given}, grid)
    ]


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, [{}]),
        ({"key": keys()}, [{"seed": 0}, {"seed": 1}, {"seed": 2}]),
        ({"batch_size": [8, 16]}, [{"batch_size": 8}, {"batch_size": 16}]),
        ({"optimizer": {"slow": fnn.adam(1e-4)}}, [{"optimizer": "slow"}]),
        (
            {"optimizer": [fnn.adam(0.1), fnn.momentum(0.1)]},
            [
                {"optimizer": "adam", "b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0},
                {"optimizer": "momentum", "momentum": 0.9},
            ],
        ),
        ({"optimizer": [rule(0.1, 1.0), rule(0.1, 2.0)]}, [{"max_norm": 1.0}, {"max_norm": 2.0}]),
        ({"network": [fnn.dense(1), fnn.dense(2)]}, [{"network": "dense(1)"}, {"network": "dense(2)"}]),
        ({"cost": [fnn.mse, fnn.mae]}, [{"cost": "mse"}, {"cost": "mae"}]),
        ({"cost": [lambda z, y: 0, lambda z, y: 1]}, [{"cost": 0}, {"cost": 1}]),
        (
            {"network": [fnn.serial(jnp.tanh, fnn.dense(2)), fnn.dense(2)], "batch_size": [1, 2], "grid": False},
            [{"network": "serial(tanh, dense(2))", "batch_size": 1}, {"network": "dense(2)", "batch_size": 2}],
        ),
    ],
)  # fmt: skip
def test_members_are_named_by_what_differs(given, names):
    assert names_of(**given) == names


def test_the_table_shows_the_best_first():
    def run(cost, stopped="epochs"):
        state = fnn.State((), (), None, np.int32(2))
        return fnn.Fitted((), {"cost": np.array([1.0, cost])}, state, stopped)

    found = fnn.Sweep(
        ({"rate": 0.1}, {"rate": 0.25}, {"rate": 10.0}), (run(0.5), run(0.125), run(0.0625, "not_finite"))
    )
    assert str(found) == (
        "rate  epoch  cost    stopped\n0.25  2      0.125\n0.1   2      0.5\n10    2      0.0625  not_finite"
    )
    assert found.best is found.runs[1]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "sweep: epochs expected a whole number, at least 1, got 0"),
        ({"patience": 2}, ValueError, "sweep: patience needs rows that are not trained on"),
        ({"key": None}, TypeError, r"sweep: key expected jax.random.key\(seed\), got None. A list of them"),
        ({"optimizer": []}, ValueError, "sweep: optimizer expected at least one in the list"),
        ({"optimizer": [fnn.adam(), fnn.adam]}, TypeError, r"sweep: optimizer expected an optimizer.*Call it: fnn.adam"),
        ({"network": [fnn.dense(1), jnp.tanh]}, TypeError, "sweep: network expected a layer"),
        ({"key": [1, 2]}, TypeError, r"key expected jax.random.key\(seed\), got 1"),
        ({"batch_size": [8, 0]}, ValueError, r"batch_size expected a whole number, at least 1, got 0"),
        ({"grid": False, "key": keys(), "batch_size": [8, 9]}, ValueError, "lists of one length, got 2 of batch_size, 3 of key"),
        ({"cost": [fnn.mse, fnn.accuracy]}, ValueError, "got the metric accuracy"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused(given, error, message):
    one = {
        "network": fnn.dense(1),
        "cost": fnn.mse,
        "optimizer": fnn.adam(),
        "key": jax.random.key(5),
        "epochs": 1,
    }
    asked = {**one, **given}
    functions = [asked.pop(name) for name in ("network", "cost", "optimizer")]
    with pytest.raises(error, match=message):
        fnn.sweep(*functions, X, X[:, :1], **asked)


def test_inside_jit_it_says_what_to_use():
    def inside(rate):
        return fnn.sweep(
            fnn.dense(1), fnn.mse, [fnn.adam(rate)], X, X[:, :1], key=jax.random.key(5), epochs=1
        )

    with pytest.raises(TypeError, match=r"sweep runs on the host.*fnn.start and fnn.train"):
        jax.jit(inside)(0.1)


def test_an_error_says_in_which_run():
    with pytest.raises(ValueError, match="shape") as caught:
        fnn.sweep(
            [fnn.dense(1), fnn.dense(2)], fnn.mse, fnn.adam(), X, X[:, :1], key=jax.random.key(5), epochs=1
        )
    assert "This came up in the run of the sweep with {'network': 'dense(2)'}." in caught.value.__notes__


def test_a_metric_outside_jax_is_refused():
    metrics = pytest.importorskip("sklearn.metrics")
    with pytest.raises(TypeError, match=r"metrics\['r2'\], r2_score, computes outside JAX.*fnn.evaluate"):
        fnn.sweep(
            fnn.dense(1), fnn.mse, fnn.adam(), X, X[:, :1], key=jax.random.key(5), epochs=1,
            validation=(X, X[:, :1]), metrics={"r2": metrics.r2_score},
        )  # fmt: skip


# Ensembles -----------------------------------------------------------------------------------------


def test_an_ensemble_is_the_mean_and_the_deviation_of_its_members():
    found = fnn.sweep(network(), CE, rule(0.1), X, Y, key=keys(), epochs=2)
    mean, spread = fnn.ensemble(network(), found.runs, X)
    each = np.stack([np.asarray(fnn.predict(network(), run.params, X)) for run in found.runs])
    np.testing.assert_allclose(mean, each.mean(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(spread, each.std(0, ddof=1), rtol=1e-5, atol=1e-6)
    again = fnn.ensemble(network(), [run.params for run in found.runs], X, batch_size=7)
    chex.assert_trees_all_close(again, (mean, spread), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("members", [[], [()], fnn.dense(2), {"weight": 1, "bias": 2}])
def test_one_member_is_no_ensemble(members):
    with pytest.raises(ValueError, match="ensemble: members expected two runs or parameters, or more"):
        fnn.ensemble(fnn.dense(2), members, X)
