"""Schedules: each is its formula from the first step to after the end; and rules whose numbers they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import key, quick, refused
from oracles import START
from runs import HELD, X, Y, bits, compilations, network, same_run
from walks import assert_close, gradient, tree_of, walk, walk_from

import fnn

T = np.arange(60)


def line(t, length):
    return np.clip(t / length, 0, 1)


FORMULAS = {
    "piecewise": (fnn.piecewise(0.5, {3: 0.2, 20: 0.7}), np.select([T < 3, T < 20], [0.5, 0.2], 0.7)),
    "exponential_decay": (fnn.exponential_decay(0.3, 7, 0.5), 0.3 * 0.5 ** (T / 7)),
    "polynomial_decay": (fnn.polynomial_decay(0.3, 40), 0.3 * (1 - line(T, 40))),
    "polynomial_decay of a power": (
        fnn.polynomial_decay(0.3, 40, end=0.1, power=2.5), 0.1 + 0.2 * (1 - line(T, 40)) ** 2.5),
    "polynomial_decay that rises": (fnn.polynomial_decay(0.1, 40, end=0.3), 0.1 + 0.2 * line(T, 40)),
    "cosine": (fnn.cosine(0.3, 40), 0.15 * (1 + np.cos(np.pi * line(T, 40)))),
    "cosine to an end": (fnn.cosine(0.3, 40, end=0.1), 0.1 + 0.1 * (1 + np.cos(np.pi * line(T, 40)))),
    "inverse_square_root": (
        fnn.inverse_square_root(0.3, 16), 0.3 * np.minimum((T + 1) / 16, np.sqrt(16 / (T + 1)))),
    "warmup to a number": (fnn.warmup(9, 0.3), 0.3 * np.minimum((T + 1) / 10, 1)),
    "warmup to a schedule": (
        fnn.warmup(10, fnn.cosine(0.3, 40)),
        np.where(T < 10, 0.3 * (T + 1) / 11, 0.15 * (1 + np.cos(np.pi * line(T - 10, 40))))),
}  # fmt: skip
every_schedule = pytest.mark.parametrize(("schedule", "expected"), FORMULAS.values(), ids=FORMULAS)


@every_schedule
def test_it_is_its_formula_at_every_step(x64, schedule, expected):
    with x64():
        found = quick(jax.vmap(schedule))(jnp.asarray(T))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(schedule(0), expected[0], rtol=1e-12)
    single = quick(jax.vmap(schedule))(jnp.asarray(T))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-7)


OPTAX = {
    "exponential_decay": (fnn.exponential_decay(0.3, 7, 0.5), lambda o: o.exponential_decay(0.3, 7, 0.5)),
    "polynomial_decay": (fnn.polynomial_decay(0.3, 40, 0.1, 2.0), lambda o: o.polynomial_schedule(0.3, 0.1, 2, 40)),
    "cosine": (fnn.cosine(0.3, 40, 0.03), lambda o: o.cosine_decay_schedule(0.3, 40, alpha=0.1)),
    "piecewise": (
        fnn.piecewise(0.5, {3: 0.1, 20: 0.01}), lambda o: o.piecewise_constant_schedule(0.5, {3: 0.2, 20: 0.1})),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), OPTAX.values(), ids=OPTAX)
def test_it_is_that_of_optax(ours, theirs):
    optax = pytest.importorskip("optax")
    np.testing.assert_allclose(jax.vmap(ours)(T), jax.vmap(theirs(optax))(T), rtol=2e-6, atol=1e-8)


# --- as the number of a rule

RATE = fnn.warmup(5, fnn.cosine(0.05, steps=20, end=0.001))


@pytest.mark.parametrize("name", ["gradient_descent", "momentum", "adam", "adamw", "lion"])
def test_a_rule_sees_the_value_of_its_step(x64, name):
    make = getattr(fnn, name)
    with x64():
        rule, params = make(RATE), tree_of(jnp.array(START))
        state, path = make(1.0).init(params), []
        values = jax.vmap(RATE)(jnp.arange(30))
        update = quick(make(1.0).update)
        for t in range(30):
            numbers = {**state.hyperparameters, "learning_rate": values[t]}
            updates, state = update(gradient(params, t + 1), state._replace(hyperparameters=numbers), params)
            params = fnn.apply_updates(params, updates)
            path.append(jnp.concatenate([params["weight"], params["deep"][0]["bias"]]))
        assert_close(walk(rule, 30), np.array(path), 1e-12)


def test_the_state_shows_the_number_of_the_last_step_and_those_of_the_schedule():
    rule, params = fnn.adam(RATE, b1=fnn.polynomial_decay(0.9, 10, 0.5)), {"weight": jnp.ones(3)}
    state = rule.init(params)
    assert state.schedules.keys() == {"learning_rate", "b1"}
    assert {name: float(n) for name, n in state.schedules["b1"].items()} == pytest.approx(
        {"end": 0.5, "power": 1.0, "steps": 10.0, "value": 0.9}
    )
    assert set(state.schedules["learning_rate"]) == {"after/end", "after/steps", "after/value", "steps"}
    for t in range(8):
        _, state = rule.update(params, state, params)
        np.testing.assert_allclose(state.rule.hyperparameters["learning_rate"], RATE(t), rtol=1e-6)
        np.testing.assert_allclose(state.rule.hyperparameters["b1"], 0.9 - 0.04 * t, rtol=1e-6)
    assert state.rule.step == 8


def test_other_numbers_of_a_schedule_are_the_same_program():
    one, other = fnn.adam(fnn.cosine(0.1, 50)), fnn.adam(fnn.cosine(0.02, 10, end=0.001), b1=0.8)
    assert one.update is other.update
    params = {"weight": jnp.ones(3)}
    states = [rule.init(params) for rule in (one, other)]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    assert fnn.adam(fnn.warmup(3, 0.1)).update is not one.update


def test_the_numbers_of_schedules_can_be_mapped_over_and_differentiated(x64):
    def end(length):
        rule, params = fnn.momentum(fnn.cosine(0.001, length)), tree_of(jnp.array(START))
        (params, _), _ = walk_from(rule.init(params), params, update=rule.update, steps=10)
        return (params["weight"] ** 2).sum()

    with x64():
        lengths = jnp.array([12.0, 15.0, 40.0])
        mapped = jax.vmap(end)(lengths)
        np.testing.assert_allclose(mapped, [end(length) for length in lengths], rtol=1e-12)
        difference = (end(15.0 + 1e-5) - end(15.0 - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(end)(15.0), difference, rtol=1e-6)


def run(epochs, rule=None, **options):
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adamw(RATE)) if rule is None else rule
    if "state" not in options:
        options["key"] = key(0)
    return fnn.fit(
        network(), fnn.softmax_cross_entropy, rule, X, Y,
        epochs=epochs, batch_size=8, validation=HELD, **options,
    )  # fmt: skip


def test_a_run_with_schedules_is_resumed_with_the_same_bits(tmp_path):
    whole = run(6)
    assert float(whole.state.optimizer[1].rule.hyperparameters["learning_rate"]) == pytest.approx(0.001)
    rest = run(4, state=run(2).state)
    jax.tree.map(np.testing.assert_array_equal, bits(rest.state), bits(whole.state))
    run(3, checkpoint=tmp_path / "run")
    same_run(run(6, checkpoint=tmp_path / "run"), whole)
    fnn.save(tmp_path / "state.fnn", whole.state)
    again = fnn.load(tmp_path / "state.fnn")
    assert isinstance(again.optimizer[1], fnn.ScheduledState)


def test_a_state_of_another_schedule_is_refused_by_the_names_of_its_numbers():
    state = run(1, fnn.adam(fnn.cosine(0.05, 20))).state
    with refused("learning_rate/steps is 20 in the state, 30 in the optimizer"):
        run(1, fnn.adam(fnn.cosine(0.05, 30)), state=state)


def fading(t):
    return 0.05 / (1 + t)


def test_a_run_with_a_function_of_the_step_without_numbers_goes_on_too():
    whole = run(3, fnn.adam(fading))
    rest = run(2, fnn.adam(fading), state=run(1, fnn.adam(fading)).state)
    jax.tree.map(np.testing.assert_array_equal, bits(rest.state), bits(whole.state))


def test_another_schedule_compiles_nothing_in_fit():
    run(1, fnn.adam(fnn.cosine(0.05, 20)))
    with compilations() as names:
        run(1, fnn.adam(fnn.cosine(0.01, 9, end=0.002)))
    assert [name for name in names if "train" in name] == []


def test_the_schedules_of_optax_and_of_a_user_are_schedules():
    optax = pytest.importorskip("optax")
    theirs = run(2, fnn.adam(optax.cosine_decay_schedule(0.05, 20)))
    ours = run(2, fnn.adam(fnn.cosine(0.05, 20)))
    np.testing.assert_allclose(theirs.history["cost"], ours.history["cost"], rtol=1e-4)
    users = run(2, fnn.adam(lambda t: 0.025 * (1 + jnp.cos(jnp.pi * t / 20))))
    np.testing.assert_allclose(users.history["cost"], ours.history["cost"], rtol=1e-4)


def test_explain_and_a_sweep_take_a_rule_with_schedules():
    rule = fnn.momentum(fnn.polynomial_decay(0.1, 10))
    net = fnn.serial(fnn.dense(1))
    params = net.init(key(0), X[:4])
    words = str(fnn.explain(net, fnn.mse, rule, params, jnp.asarray(X[:4], jnp.float32), jnp.ones((4, 1))))
    assert "0.1" in words
    rules = [fnn.adam(fnn.cosine(rate, 30)) for rate in (0.01, 0.05)]
    keys = jax.random.split(key(0), 1)
    swept = fnn.sweep(network(), fnn.softmax_cross_entropy, rules, X, Y, key=keys, epochs=2)
    alone = fnn.fit(network(), fnn.softmax_cross_entropy, rules[1], X, Y, key=keys[0], epochs=2)
    np.testing.assert_allclose(swept.runs[1].history["cost"], alone.history["cost"], rtol=1e-4)


# --- what is refused

WRONG = {
    "a schedule of two numbers": (
        lambda: fnn.adam(lambda t: jnp.ones(2)), ("adam: learning_rate expected a number, or a schedule", "shape (2,) float32")),
    "no steps": (lambda: fnn.cosine(0.1, 0), ("cosine: steps expected", "got 0")),
    "a negative rate": (lambda: fnn.cosine(-0.1, 5), ("cosine: value expected", "got -0.1")),
    "changes out of order": (
        lambda: fnn.piecewise(0.1, {20: 0.1, 10: 0.2}), ("piecewise: changes expected {step: number, …} at rising whole steps",)),
    "no changes": (lambda: fnn.piecewise(0.1, {}), ("piecewise: changes expected",)),
    "a change to a negative number": (lambda: fnn.piecewise(0.1, {5: -1.0}), ("piecewise: changes[5] expected", "got -1.0")),
    "warm-up to text": (lambda: fnn.warmup(5, "cosine"), ("warmup: after expected a number", "'cosine'")),
    "the state of the rule alone": (
        lambda: fnn.adam(RATE).update({"w": jnp.ones(2)}, fnn.adam().init({"w": jnp.ones(2)})),
        ("update: state expected the state of a rule with schedules",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_schedule_is_refused(run, pieces):
    with refused(*pieces):
        run()
