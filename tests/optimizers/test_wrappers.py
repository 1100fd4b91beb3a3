"""What stands beside a rule and around it: averages, accumulation, skipped steps, parts, plateaus."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import key, quick, refused
from oracles import START, says
from runs import HELD, X, Y, bits, network, same_run
from walks import assert_close, flat_of, tree_of, walk, walk_from

import fnn

COST = fnn.softmax_cross_entropy
PARAMS = {"weight": jnp.array([1.0, -2.0]), "body": ({"bias": jnp.array([0.5])}, {"table": jnp.ones((2, 2))})}
ONES = jax.tree.map(jnp.ones_like, PARAMS)


def run(rule, epochs=6, batch_size=8, **options):
    if "state" not in options:
        options["key"] = key(0)
    options.setdefault("validation", HELD)
    return fnn.fit(network(), COST, rule, X, Y, epochs=epochs, batch_size=batch_size, **options)


# --- average


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("decay", [0.9, 0.999, 1.0, 0.0])
def test_an_average_is_the_weighted_mean_of_the_parameters_after_each_step(x64, decay, start):
    with x64():
        rule = fnn.chain(fnn.adam(0.01), fnn.average(decay, start))
        params = tree_of(jnp.array(START))
        (after, state), path = walk_from(rule.init(params), params, update=rule.update, steps=30)
        rows = np.asarray(flat_of(path))[start:]
        weights = np.ones(len(rows)) if decay == 1 else decay ** np.arange(len(rows))[::-1].astype(float)
        expected = (weights[:, None] * rows).sum(0) / weights.sum()
        assert_close(flat_of(state[1].moments["mean"]), expected, 1e-12)
        np.testing.assert_array_equal(flat_of(after), rows[-1])
        assert_close(flat_of(path), np.asarray(walk(fnn.adam(0.01), 30)), 1e-15)  # the run is not changed


def test_it_is_that_of_optax(x64):
    optax = pytest.importorskip("optax")
    with x64():
        params, ema = tree_of(jnp.array(START)), optax.ema(0.9)
        update = quick(ema.update)
        rule = fnn.chain(fnn.adam(0.01), fnn.average(0.9))
        (_, state), path = walk_from(rule.init(params), params, update=rule.update, steps=20)
        theirs, path = ema.init(params), jax.tree.map(np.asarray, path)
        for t in range(20):
            mean, theirs = update(jax.tree.map(lambda leaf, t=t: leaf[t], path), theirs)
        assert_close(flat_of(state[1].moments["mean"]), np.asarray(flat_of(mean)), 1e-12)


def test_before_its_start_an_average_is_the_last_parameters():
    rule = fnn.chain(fnn.gradient_descent(0.1), fnn.average(1.0, start=100))
    (after, state), _ = walk_from(rule.init(PARAMS_FLAT), PARAMS_FLAT, update=rule.update, steps=9)
    np.testing.assert_allclose(flat_of(state[1].moments["mean"]), flat_of(after), rtol=1e-6)


PARAMS_FLAT = tree_of(jnp.array(START, jnp.float32))


def test_fit_validates_and_returns_the_average():
    rule = fnn.chain(fnn.adam(0.05), fnn.average(0.9))
    fitted = run(rule, metrics={"accuracy": fnn.accuracy})
    plain = run(fnn.adam(0.05))
    np.testing.assert_array_equal(fitted.history["cost"], plain.history["cost"])
    assert np.abs(fitted.history["validation_cost"] - plain.history["validation_cost"]).max() > 1e-3
    best = int(np.argmin(fitted.history["validation_cost"])) + 1
    assert best == int(fitted.state.best.epoch)
    measures = fnn.evaluate(network(), fitted.params, *HELD, {"cost": COST})
    np.testing.assert_allclose(measures["cost"], fitted.history["validation_cost"].min(), rtol=1e-5)
    alone = run(rule, validation=None)
    for one, other in zip(jax.tree.leaves(alone.params), jax.tree.leaves(fnn.average_params(alone.state))):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        alone.params[0]["weight"], alone.state.optimizer[1].moments["mean"][0]["weight"]
    )
    assert np.abs(alone.params[0]["weight"] - alone.state.params[0]["weight"]).max() > 1e-4


def test_what_is_not_trained_is_that_of_the_last_step():
    frozen = fnn.serial(fnn.freeze(fnn.dense(4)), fnn.batch_norm(), fnn.dense(3))
    rule = fnn.chain(fnn.adam(0.05), fnn.average())
    fitted = fnn.fit(frozen, COST, rule, X, Y, key=key(0), epochs=2)
    jax.tree.map(np.testing.assert_array_equal, fitted.params[0], fitted.state.params[0])
    statistics = [params[1]["statistics"] for params in (fitted.params, fitted.state.params)]
    jax.tree.map(np.testing.assert_array_equal, *statistics)


def test_a_sweep_returns_averages_too():
    rules = [fnn.chain(fnn.adam(rate), fnn.average(0.9)) for rate in (0.01, 0.05)]
    found = fnn.sweep(network(), COST, rules, X, Y, key=key(0), epochs=3, batch_size=8)
    for rate, fitted in zip((0.01, 0.05), found.runs):
        alone = run(fnn.chain(fnn.adam(rate), fnn.average(0.9)), epochs=3, validation=None)
        for one, other in zip(jax.tree.leaves(fitted.params), jax.tree.leaves(alone.params)):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# --- accumulate


def test_accumulated_batches_are_one_large_batch(x64):
    with x64():
        rows = np.random.default_rng(0).normal(size=(24, 3))
        y = rows @ np.ones((3, 1)) + 0.1
        weight = np.random.default_rng(1).uniform(0.1, 2, 24)
        line, large = fnn.dense(1), fnn.momentum(0.1)
        small = fnn.accumulate(3, large)
        states = {rule: fnn.start(line, rule, rows, key=key(0)) for rule in (large, small)}
        batches = [slice(0, 8), slice(8, 9), slice(9, 24)]  # of different sizes
        for turn in range(3):
            given = dict(sample_weight=weight, key=key(turn))
            states[large], _ = fnn.step(line, fnn.mse, large, states[large], rows, y, **given)
            for batch in batches:
                given = dict(sample_weight=weight[batch], key=key(turn))
                states[small], _ = fnn.step(
                    line, fnn.mse, small, states[small], rows[batch], y[batch], **given
                )
            for one, other in zip(*(jax.tree.leaves(states[rule].params) for rule in (large, small))):
                np.testing.assert_allclose(one, other, rtol=1e-12)
        assert int(states[small].optimizer.rule.step) == 3


def test_between_steps_nothing_moves_and_the_rest_of_an_epoch_goes_on():
    fitted = run(
        fnn.accumulate(4, fnn.adam(fnn.cosine(0.1, steps=8))), epochs=2
    )  # 45 rows: 6 batches an epoch
    own, inner = fitted.state.optimizer
    assert (int(own.step), int(inner.rule.step)) == (0, 3)
    np.testing.assert_allclose(inner.rule.hyperparameters["learning_rate"], fnn.cosine(0.1, 8)(2), rtol=1e-6)
    once = run(fnn.accumulate(7, fnn.adam(0.1)), epochs=1, validation=None)
    begin = fnn.start(network(), fnn.adam(), X, key=key(0)).params
    for one, other in zip(jax.tree.leaves(once.params), jax.tree.leaves(begin)):  # programs of their own
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert int(once.state.optimizer.batches.step) == 6


def test_accumulating_one_batch_is_the_rule():
    np.testing.assert_allclose(walk(fnn.accumulate(1, fnn.adam()), 20), walk(fnn.adam(), 20), rtol=1e-6)


def test_weights_of_zero_leave_a_batch_out():
    rule = fnn.accumulate(2, fnn.gradient_descent(1.0))
    state, update = rule.init(ONES), quick(rule.update)
    _, state = update(jax.tree.map(lambda p: 9 * np.asarray(p), ONES), state, ONES, weight=0.0)
    updates, _ = update(ONES, state, ONES, weight=3.0)
    jax.tree.map(lambda u: np.testing.assert_array_equal(u, -1), updates)
    _, state = update(ONES, rule.init(ONES), ONES, weight=0.0)
    updates, _ = update(ONES, state, ONES, weight=0.0)
    jax.tree.map(lambda u: np.testing.assert_array_equal(u, 0), updates)


# --- skip_not_finite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_changes_nothing_but_the_counts(bad):
    rule = fnn.skip_not_finite(fnn.adam(0.1))
    update = quick(rule.update)
    _, state = update(ONES, rule.init(PARAMS), PARAMS)
    wrong = jax.tree.map(np.array, ONES)
    for g in jax.tree.leaves(wrong):
        g[(0,) * g.ndim] = bad
    for count in (1, 2):
        updates, after = update(wrong, state._replace(skipped=np.int32(count - 1)), PARAMS)
        jax.tree.map(lambda u: np.testing.assert_array_equal(u, 0), updates)
        jax.tree.map(np.testing.assert_array_equal, after.rule, state.rule)
        assert int(after.skipped) == count
    _, after = update(wrong, after, PARAMS)
    assert (int(after.skipped), int(after.in_a_row)) == (3, 2)
    _, after = update(ONES, after, PARAMS)
    assert (int(after.skipped), int(after.in_a_row)) == (3, 0)


def poisoned():
    """The rows with one in which the cost's derivative is NaN, as from a logarithm of 0."""
    return np.vstack([X[:-1], np.full((1, X.shape[1]), 1e30)])


def exploding():
    return fnn.serial(lambda x: jnp.where(x > 1e20, jnp.log(x - x), x), network())


def test_in_fit_a_bad_batch_is_left_out():
    rule = fnn.skip_not_finite(fnn.adam(0.01))
    options = {"epochs": 3, "batch_size": 8}
    fitted = fnn.fit(exploding(), COST, rule, poisoned(), Y, key=key(0), validation=HELD, **options)
    assert fitted.stopped == "epochs" and int(fitted.state.optimizer.skipped) == 3
    assert np.isfinite(fitted.history["cost"]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(fitted.params))
    with pytest.warns(RuntimeWarning, match="epoch 1 was not finished"):
        plain = fnn.fit(exploding(), COST, fnn.adam(0.01), poisoned(), Y, key=key(0), **options)
    assert plain.stopped == "not_finite"
    with pytest.warns(RuntimeWarning, match="not finite"):
        whole = fnn.fit(exploding(), COST, rule, poisoned(), Y, key=key(0), epochs=3, batch_size=100)
    assert whole.stopped == "not_finite" and len(whole.history["cost"]) == 0


def test_around_accumulate_one_batch_is_left_out_and_inside_it_the_whole_sum():
    around = fnn.skip_not_finite(fnn.accumulate(2, fnn.gradient_descent(1.0)))
    inside = fnn.accumulate(2, fnn.skip_not_finite(fnn.gradient_descent(1.0)))
    for rule, expected in ((around, [0, 0, -3, 0]), (inside, [0, 0, 0, -6])):
        state, found, move = rule.init(jnp.zeros(1)), [], quick(rule.update)
        for g in (1.0, np.nan, 5.0, 7.0):
            update, state = move(np.float32([g]), state, np.zeros(1, np.float32))
            found.append(float(np.asarray(update)[0]))
        assert found == expected
    options = {"key": key(0), "epochs": 2, "batch_size": 8}
    rule = fnn.skip_not_finite(fnn.accumulate(2, fnn.adam(0.01)))
    fitted = fnn.fit(exploding(), COST, rule, poisoned(), Y, **options)
    assert fitted.stopped == "epochs" and int(fitted.state.optimizer.skipped) == 2


def test_a_skipped_step_moves_no_statistics():
    normed = fnn.serial(fnn.batch_norm(), fnn.dense(3))
    rule = fnn.skip_not_finite(fnn.adam(0.01))
    state = fnn.start(normed, rule, X, key=key(0))
    wrong = np.array(X)
    wrong[0, 0] = np.nan
    after, _ = fnn.step(normed, COST, rule, state, wrong, Y, key(1))
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
    assert int(after.optimizer.skipped) == 1


# --- partition


def test_each_part_is_moved_by_the_first_rule_that_matches():
    rule = fnn.partition(
        {"weight": fnn.gradient_descent(1.0), "body/*/bias": fnn.gradient_descent(2.0), "*": fnn.lion(3.0)}
    )
    updates, state = rule.update(ONES, rule.init(PARAMS), PARAMS)
    np.testing.assert_array_equal(updates["weight"], -1)
    np.testing.assert_array_equal(updates["body"][0]["bias"], -2)
    np.testing.assert_array_equal(updates["body"][1]["table"], -3)
    assert list(state) == ["weight", "body/*/bias", "*"]
    assert jax.tree.leaves(state["weight"].moments) == []
    numbers = fnn.hyperparameters(state)
    assert {float(numbers[f"{part}/learning_rate"]) for part in state} == {1.0, 2.0, 3.0}


@pytest.mark.parametrize("make", [fnn.adam, fnn.lion, fnn.muon, lambda: fnn.adam(fnn.cosine(0.1, 9))])
def test_one_rule_for_all_is_the_rule(make):
    np.testing.assert_array_equal(walk(fnn.partition({"*": make()}), 20), walk(make(), 20))


def test_the_parts_of_a_run_may_be_resumed(tmp_path):
    rule = fnn.partition(
        {"*/bias": fnn.adam(fnn.cosine(0.1, 30)), "*": fnn.chain(fnn.momentum(0.05), fnn.weight_decay(1e-3))}
    )
    whole = run(rule)
    rest = run(rule, epochs=4, state=run(rule, epochs=2).state)
    jax.tree.map(np.testing.assert_array_equal, bits(rest.state), bits(whole.state))
    run(rule, epochs=3, checkpoint=tmp_path / "run")
    same_run(run(rule, checkpoint=tmp_path / "run"), whole)


def test_frozen_arrays_belong_to_no_part():
    frozen = fnn.serial(fnn.freeze(fnn.dense(4)), fnn.dense(3))
    rule = fnn.partition({"1/*": fnn.adam(0.1)})
    fitted = fnn.fit(frozen, COST, rule, X, Y, key=key(0), epochs=2)
    assert fitted.history["cost"][1] < fitted.history["cost"][0]


def test_arrays_without_a_rule_and_patterns_without_an_array_are_refused():
    with refused("partition expected a pattern for body/0/bias", "got weight", "'*' as the last pattern"):
        fnn.partition({"weight": fnn.adam()}).init(PARAMS)
    with refused("an array whose path matches '*/wieght'", "got body/0/bias, body/1/table, weight"):
        fnn.partition({"*/wieght": fnn.adam(), "*": fnn.adam()}).init(PARAMS)
    with refused("partition: update", "the states of '*'", "got a tuple"):
        fnn.partition({"*": fnn.adam()}).update(ONES, (), PARAMS)


# --- what decay spares


def test_patterns_spare_from_decay_instead_of_names():
    rule = fnn.weight_decay(0.5, spare=("weight", "*/0/*"))
    updates, _ = rule.update(jax.tree.map(jnp.zeros_like, PARAMS), rule.init(PARAMS), PARAMS)
    assert not np.any(updates["weight"]) and not np.any(updates["body"][0]["bias"])
    np.testing.assert_array_equal(updates["body"][1]["table"], -0.5)
    everything = fnn.weight_decay(0.5, spare=())
    updates, _ = everything.update(jax.tree.map(jnp.zeros_like, PARAMS), everything.init(PARAMS), PARAMS)
    jax.tree.map(lambda u, p: np.testing.assert_array_equal(u, -0.5 * p), updates, PARAMS)
    assert rule.update is fnn.weight_decay(0.1, spare=["weight", "*/0/*"]).update
    fitted = run(fnn.chain(fnn.adam(0.1), fnn.weight_decay(0.01, spare=("2/*",))), epochs=2)
    assert fitted.history["cost"][1] < fitted.history["cost"][0]


@pytest.mark.parametrize("patterns", ["*/weight", 3, (1,)])
def test_what_is_no_pattern_is_refused(patterns):
    for make, name in ((lambda: fnn.weight_decay(0.1, spare=patterns), "weight_decay: spare"),
                       (lambda: fnn.muon(matrices=patterns), "muon: matrices")):  # fmt: skip
        with refused(name, "patterns of paths, such as ('*/bias',)", repr(patterns) if patterns == 3 else ""):
            make()


# --- reduce_on_plateau


def scales(rule, values):
    state, found, update = rule.init(ONES), [], quick(rule.update)
    for value in values:
        updates, state = update(ONES, state, ONES, value=np.float32(value))
        assert {float(np.ravel(leaf)[0]) for leaf in jax.tree.leaves(updates)} == {float(state.scale)}
        found.append(float(state.scale))
    return found


def test_steps_get_smaller_at_the_stale_value_that_patience_waits_for():
    assert scales(fnn.reduce_on_plateau(0.5, patience=2), [1, 0.9, 0.9, 0.9, 0.9, 0.9]) == [
        1,
        1,
        1,
        0.5,
        0.5,
        0.25,
    ]
    falling = 0.9 ** np.arange(6)
    assert scales(fnn.reduce_on_plateau(0.5, patience=1), falling) == [1] * 6
    assert scales(fnn.reduce_on_plateau(0.5, patience=1, rtol=0.2), falling) == [
        1,
        0.5,
        0.25,
        0.25,
        0.125,
        0.0625,
    ]
    assert scales(fnn.reduce_on_plateau(0.5, patience=1), [-1, -2, -2, -3]) == [1, 1, 0.5, 0.5]
    assert scales(fnn.reduce_on_plateau(0.5, patience=1), [1, np.nan, 0.5]) == [1, 0.5, 0.5]


def test_a_plateau_is_seen_in_the_mean_of_some_steps():
    noisy = [2, 0, 0, 2, 1, 1, 0, 0]  # means of two: 1, 1, 1, 0
    assert scales(fnn.reduce_on_plateau(0.5, patience=2, steps=2), noisy) == [1, 1, 1, 1, 1, 0.5, 0.5, 0.5]


def test_the_history_of_a_run_shows_the_scale():
    rule = fnn.chain(fnn.adam(0.5), fnn.reduce_on_plateau(0.1, patience=1, steps=6))
    fitted = run(rule, epochs=8)
    assert fitted.history["scale"].shape == (8,) and fitted.history["scale"][0] == 1
    np.testing.assert_allclose(fitted.history["scale"][-1], fitted.state.optimizer[1].scale)
    assert fitted.history["scale"][-1] < 1
    rest = run(rule, epochs=6, state=run(rule, epochs=2).state)
    np.testing.assert_array_equal(rest.history["scale"], fitted.history["scale"][2:])


def test_a_plateau_needs_the_cost():
    rule = fnn.reduce_on_plateau()
    with refused("reduce_on_plateau expected the cost", "value=cost", "got None"):
        rule.update(ONES, rule.init(ONES), ONES)


# --- schedules of links, history, numbers by name


def test_numbers_of_links_follow_schedules(x64):
    with x64():
        line = fnn.polynomial_decay(0.5, 10)
        clip = fnn.clip(line)
        turn = lambda s, _: clip.update(jnp.ones(1), s)[::-1]
        _, clipped = quick(lambda begin: jax.lax.scan(turn, begin, length=12))(clip.init(jnp.ones(1)))
        np.testing.assert_allclose(
            np.asarray(clipped)[:, 0], 0.5 * np.clip(1 - np.arange(12) / 10, 0, 1), rtol=1e-12
        )
        decay = fnn.weight_decay(line)
        state, params = decay.init({"weight": jnp.ones(1)}), {"weight": jnp.ones(1)}
        update = quick(decay.update)
        updates, state = update({"weight": np.zeros(1)}, state, params)
        updates, state = update({"weight": np.zeros(1)}, state, params)
        np.testing.assert_allclose(updates["weight"], -0.45, rtol=1e-12)


def test_the_history_records_what_follows_a_schedule():
    rate, b1 = fnn.cosine(0.1, steps=30), fnn.polynomial_decay(0.9, 30, 0.5)
    fitted = run(fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(rate, b1=b1)), epochs=5)  # 6 steps an epoch
    last = 6 * np.arange(1, 6) - 1
    rates, b1s = quick(lambda t: (jax.vmap(rate)(t), jax.vmap(b1)(t)))(last)
    np.testing.assert_allclose(fitted.history["learning_rate"], rates, rtol=1e-5)
    np.testing.assert_allclose(fitted.history["b1"], b1s, rtol=1e-5)
    assert set(fitted.history) == {"cost", "validation_cost", "learning_rate", "b1"}
    assert set(run(fnn.adam(), epochs=0).history) == {"cost", "validation_cost"}
    assert set(run(fnn.adam(rate), epochs=0).history) == {"cost", "validation_cost", "learning_rate"}


def test_numbers_are_read_and_changed_by_name():
    rule = fnn.chain(fnn.clip(1.0), fnn.adam(0.1), fnn.weight_decay(0.01))
    state = fnn.start(network(), rule, X, key=key(0))
    found = fnn.hyperparameters(state)
    assert {name: round(float(number), 6) for name, number in found.items()} == {
        "limit": 1.0, "b1": 0.9, "b2": 0.999, "eps": 0.0, "eps_root": 0.0, "learning_rate": 0.1, "rate": 0.01,
    }  # fmt: skip
    changed = fnn.set_hyperparameters(state, learning_rate=0.5, limit=2.0)
    assert float(changed.optimizer[1].hyperparameters["learning_rate"]) == 0.5
    assert float(fnn.hyperparameters(changed)["limit"]) == 2.0
    assert fnn.hyperparameters(changed)["learning_rate"].dtype == found["learning_rate"].dtype
    assert float(fnn.hyperparameters(state)["learning_rate"]) == pytest.approx(0.1)  # as it was
    fitted = run(rule, epochs=1)
    slower = fnn.chain(fnn.clip(1.0), fnn.adam(0.02), fnn.weight_decay(0.01))
    with refused("learning_rate is 0.1 in the state, 0.02 in the optimizer"):
        run(slower, state=fitted.state)
    run(slower, epochs=1, state=fnn.set_hyperparameters(fitted.state, learning_rate=0.02))


def test_numbers_of_the_same_name_are_told_apart_by_their_place():
    rule = fnn.partition({"weight": fnn.adam(0.1), "*": fnn.adam(fnn.cosine(0.2, 9))})
    state = rule.init(PARAMS)
    changed = fnn.set_hyperparameters(state, **{"weight/learning_rate": 0.3, "learning_rate/steps": 50})
    numbers = fnn.hyperparameters(changed)
    assert float(numbers["weight/learning_rate"]) == pytest.approx(0.3)
    assert float(numbers["learning_rate/steps"]) == 50


def test_unknown_names_and_numbers_that_a_schedule_decides_are_refused():
    state = fnn.adam(fnn.cosine(0.1, 9)).init(PARAMS)
    with refused("set_hyperparameters expected one of", "b1", "got 'rate'"):
        fnn.set_hyperparameters(state, rate=0.1)
    with refused("learning_rate/steps", "got learning_rate, which follows a schedule"):
        fnn.set_hyperparameters(state, learning_rate=0.1)
    plain = fnn.adam(lambda t: 0.1 / (t + 1)).init(PARAMS)
    with refused("a number that stays", "got learning_rate, which follows a schedule"):
        fnn.set_hyperparameters(plain, learning_rate=0.1)
    with refused("set_hyperparameters: b1", "0 ≤ b1 < ∞", "got -1"):
        fnn.set_hyperparameters(state, b1=-1.0)


# --- all of them

AROUND = {
    "clip": fnn.chain(fnn.clip(0.5), fnn.adam()),
    "average": fnn.chain(fnn.adam(), fnn.average(0.9)),
    "plateau": fnn.chain(fnn.adam(), fnn.reduce_on_plateau(0.5, patience=1)),
    "accumulate": fnn.accumulate(3, fnn.adam()),
    "skip": fnn.skip_not_finite(fnn.chain(fnn.adam(), fnn.average())),
    "partition": fnn.partition({"*/bias": fnn.adam(), "*": fnn.momentum(0.1)}),
    "all": fnn.chain(
        fnn.clip_by_global_norm(1.0),
        fnn.accumulate(2, fnn.skip_not_finite(fnn.partition({"*/bias": fnn.adam(), "*": fnn.muon(fnn.cosine(0.1, 50))}))),
        fnn.weight_decay(1e-4),
        fnn.reduce_on_plateau(0.5, patience=2, steps=3),
        fnn.average(),
    ),
}  # fmt: skip
around = pytest.mark.parametrize("rule", AROUND.values(), ids=AROUND)


@around
def test_it_lowers_the_cost_and_is_resumed_with_the_same_bits(rule, tmp_path):
    whole = run(rule, epochs=8)
    assert whole.history["cost"][-1] < whole.history["cost"][0]
    rest = run(rule, epochs=5, state=run(rule, epochs=3).state)
    jax.tree.map(np.testing.assert_array_equal, bits(rest.state), bits(whole.state))
    run(rule, epochs=3, checkpoint=tmp_path / "run")
    same_run(run(rule, epochs=8, checkpoint=tmp_path / "run"), whole)


@around
def test_it_is_explained(rule):
    params = quick(fnn.dense(2).init)(key(0), X)
    text = fnn.explain(fnn.dense(2), fnn.mse, rule, params, X[:3], np.ones((3, 2), np.float32))
    assert "4. Optimisation" in text and "its state after" in text


def test_the_state_of_another_wrapper_is_refused():
    with pytest.raises(TypeError, match=says("skip_not_finite: update: state", "inside skip_not_finite")):
        fnn.skip_not_finite(fnn.adam()).update(ONES, fnn.adam().init(ONES), ONES)


@around
def test_its_state_is_loaded_again_without_a_tree_like_it(rule, tmp_path):
    state = rule.init(PARAMS)
    fnn.save(tmp_path / "state", state)
    found = fnn.load(tmp_path / "state")
    assert jax.tree.structure(found) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, found, state)
