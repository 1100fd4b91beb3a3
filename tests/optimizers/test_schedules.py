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


def wave(t, length):
    """From 1 to 0 along half a wave."""
    return (1 + np.cos(np.pi * line(t, length))) / 2


def periods(steps, stretch, times=T):
    """Of each step, how long ago its period began, and how long the period is: walked from one to the next."""
    begin, length, found = 0, steps, []
    for t in times:
        if t + 0.5 >= begin + length:
            begin, length = begin + length, length * stretch
        found.append((t - begin, length))
    return np.array(found).T


FORMULAS = {
    "piecewise": (fnn.piecewise(0.5, {3: 0.2, 20: 0.7}), np.select([T < 3, T < 20], [0.5, 0.2], 0.7)),
    "exponential_decay": (fnn.exponential_decay(0.3, 7, 0.5), 0.3 * 0.5 ** (T / 7)),
    "polynomial_decay": (fnn.polynomial_decay(0.3, 40), 0.3 * (1 - line(T, 40))),
    "polynomial_decay of a power": (
        fnn.polynomial_decay(0.3, 40, end=0.1, power=2.5), 0.1 + 0.2 * (1 - line(T, 40)) ** 2.5),
    "polynomial_decay of a root": (
        fnn.polynomial_decay(0.3, 40, end=0.1, power=0.5), 0.1 + 0.2 * np.sqrt(1 - line(T, 40))),
    "polynomial_decay that rises": (fnn.polynomial_decay(0.1, 40, end=0.3), 0.1 + 0.2 * line(T, 40)),
    "cosine": (fnn.cosine(0.3, 40), 0.15 * (1 + np.cos(np.pi * line(T, 40)))),
    "cosine to an end": (fnn.cosine(0.3, 40, end=0.1), 0.1 + 0.1 * (1 + np.cos(np.pi * line(T, 40)))),
    "inverse_square_root": (
        fnn.inverse_square_root(0.3, 16), 0.3 * np.minimum((T + 1) / 16, np.sqrt(16 / (T + 1)))),
    "warmup to a number": (fnn.warmup(9, 0.3), 0.3 * np.minimum((T + 1) / 10, 1)),
    "warmup to a schedule": (
        fnn.warmup(10, fnn.cosine(0.3, 40)),
        np.where(T < 10, 0.3 * (T + 1) / 11, 0.15 * (1 + np.cos(np.pi * line(T - 10, 40))))),
    "step_decay": (fnn.step_decay(0.3, 7, 0.5), 0.3 * 0.5 ** (T // 7)),
    "join": (
        fnn.join(fnn.cosine(0.3, 9, 0.1), {5: 0.2, 12: fnn.polynomial_decay(0.4, 20)}),
        np.select([T < 5, T < 12], [0.1 + 0.2 * wave(T, 9), 0.2], 0.4 * (1 - line(T - 12, 20)))),
    "join at the second step": (fnn.join(0.3, {1: fnn.cosine(0.2, 4)}), np.where(T < 1, 0.3, 0.2 * wave(T - 1, 4))),
    "join of what would grow beyond all floats": (
        fnn.join(fnn.exponential_decay(1e-20, 1, 1e7), {4: fnn.exponential_decay(1e-16, 1, 1e7), 7: 0.1}),
        np.select([T < 4, T < 7], [10.0 ** (7 * T.clip(0, 4) - 20), 10.0 ** (7 * (T.clip(4, 7) - 4) - 16)], 0.1)),
    "join of joined": (
        fnn.join(0.3, {4: fnn.join(0.2, {3: fnn.cosine(0.4, 10)})}),
        np.select([T < 4, T < 7], [0.3, 0.2], 0.4 * wave(T - 7, 10))),
    "warmup_stable_decay": (
        fnn.warmup_stable_decay(0.3, 50, warmup=9, decay=20, end=0.1),
        np.select([T < 9, T < 30], [0.3 * (T + 1) / 10, 0.3], 0.3 - 0.2 * line(T - 30, 20))),
    "warmup_stable_decay, never constant": (
        fnn.warmup_stable_decay(0.3, 50, warmup=10, decay=40), 0.3 * np.where(T < 10, (T + 1) / 11, 1 - line(T - 10, 40))),
    "warmup_stable_decay without warm-up": (
        fnn.warmup_stable_decay(0.3, 50, warmup=0, decay=5), 0.3 * (1 - line(T - 45, 5))),
    "warmup_stable_decay without decay": (
        fnn.warmup_stable_decay(0.3, 50, warmup=4, decay=0), np.where(T < 50, 0.3 * np.minimum((T + 1) / 5, 1), 0)),
    "warmup_stable_decay of neither": (fnn.warmup_stable_decay(0.3, 1, 0, 0, end=0.1), np.where(T < 1, 0.3, 0.1)),
    "one_cycle": (
        fnn.one_cycle(0.3, 40), np.where(T < 12, 0.3 - 0.288 * wave(T, 12), 0.3 * wave(T - 12, 28))),
    "one_cycle of momentum": (
        fnn.one_cycle(0.8, 40, rise=0.5, start_factor=1.125, end=0.95),
        np.where(T < 20, 0.8 + 0.1 * wave(T, 20), 0.95 - 0.15 * wave(T - 20, 20))),
    "cosine_restarts": (fnn.cosine_restarts(0.3, 7), 0.3 * wave(T % 7, 7)),
    "cosine_restarts, longer and longer": (
        fnn.cosine_restarts(0.3, 3, end=0.1, stretch=2), 0.1 + 0.2 * wave(*periods(3, 2))),
    "cosine_restarts between steps": (fnn.cosine_restarts(0.3, 6, stretch=1.45), 0.3 * wave(*periods(6, 1.45))),
    "cosine_restarts at every step": (fnn.cosine_restarts(0.3, 1, 0.1), 0.3 + 0 * T),
}  # fmt: skip
every_schedule = pytest.mark.parametrize(("schedule", "expected"), FORMULAS.values(), ids=FORMULAS)


@every_schedule
def test_it_is_its_formula_at_every_step(x64, schedule, expected):
    with x64():
        found, first = quick(lambda t: (jax.vmap(schedule)(t), schedule(0)))(T)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(first, expected[0], rtol=1e-12)
    single = quick(jax.vmap(schedule))(jnp.asarray(T))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-7)


OPTAX = {
    "exponential_decay": (fnn.exponential_decay(0.3, 7, 0.5), lambda o: o.exponential_decay(0.3, 7, 0.5)),
    "polynomial_decay": (fnn.polynomial_decay(0.3, 40, 0.1, 2.0), lambda o: o.polynomial_schedule(0.3, 0.1, 2, 40)),
    "cosine": (fnn.cosine(0.3, 40, 0.03), lambda o: o.cosine_decay_schedule(0.3, 40, alpha=0.1)),
    "piecewise": (
        fnn.piecewise(0.5, {3: 0.1, 20: 0.01}), lambda o: o.piecewise_constant_schedule(0.5, {3: 0.2, 20: 0.1})),
    "step_decay": (fnn.step_decay(0.3, 7, 0.5), lambda o: o.exponential_decay(0.3, 7, 0.5, staircase=True)),
    "join": (
        fnn.join(0.2, {5: fnn.cosine(0.3, 40)}),
        lambda o: o.join_schedules([o.constant_schedule(0.2), o.cosine_decay_schedule(0.3, 40)], [5])),
    "one_cycle": (
        fnn.one_cycle(0.3, 40, end=0.3 * 4e-6), lambda o: o.cosine_onecycle_schedule(40, 0.3)),
    "one_cycle with an early peak": (
        fnn.one_cycle(0.3, 40, rise=0.1, start_factor=0.5, end=0.015),
        lambda o: o.cosine_onecycle_schedule(40, 0.3, pct_start=0.1, div_factor=2, final_div_factor=10)),
    "cosine_restarts": (
        fnn.cosine_restarts(0.3, 5, 0.03, stretch=2),
        lambda o: o.sgdr_schedule([
            {"init_value": 0.3, "peak_value": 0.3, "end_value": 0.03, "warmup_steps": 0, "decay_steps": 5 * 2**i}
            for i in range(4)])),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), OPTAX.values(), ids=OPTAX)
def test_it_is_that_of_optax(ours, theirs):
    optax = pytest.importorskip("optax")
    found, expected = quick(lambda t: (jax.vmap(ours)(t), jax.vmap(theirs(optax))(t)))(T)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-8)


TORCH = {  # PyTorch's cycle is over at its last step; here that is the step before the end
    "step_decay": (fnn.step_decay(0.3, 7, 0.5), lambda s, rule: s.StepLR(rule, 7, 0.5)),
    "cosine_restarts": (
        fnn.cosine_restarts(0.3, 7, 0.03), lambda s, rule: s.CosineAnnealingWarmRestarts(rule, 7, eta_min=0.03)),
    "cosine_restarts, longer and longer": (
        fnn.cosine_restarts(0.3, 3, stretch=3), lambda s, rule: s.CosineAnnealingWarmRestarts(rule, 3, T_mult=3)),
    "one_cycle": (
        fnn.one_cycle(0.3, 59, rise=17 / 59, end=0.3 * 4e-6), lambda s, rule: s.OneCycleLR(rule, 0.3, 60, pct_start=0.3)),
    "join": (
        fnn.join(0.3, {5: fnn.step_decay(0.3, 7, 0.5)}),
        lambda s, rule: s.SequentialLR(rule, [s.ConstantLR(rule, 1.0), s.StepLR(rule, 7, 0.5)], [5])),
}  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), TORCH.values(), ids=TORCH)
def test_it_is_that_of_pytorch(ours, theirs):
    torch = pytest.importorskip("torch")
    rule, values = torch.optim.SGD([torch.zeros(1)], lr=0.3), []
    schedule = theirs(torch.optim.lr_scheduler, rule)
    for _ in T:
        values.append(rule.param_groups[0]["lr"])
        rule.step()
        if len(values) < len(T):
            schedule.step()
    np.testing.assert_allclose(quick(jax.vmap(ours))(T), values, rtol=2e-6, atol=1e-8)


# --- at the edges

EDGES = {  # the first value, and that at the end and ever after
    "piecewise": (fnn.piecewise(0.3, {9: 0.1}), 0.3, {9: 0.1}),
    "polynomial_decay": (fnn.polynomial_decay(0.3, 9, end=0.1), 0.3, {9: 0.1}),
    "cosine": (fnn.cosine(0.3, 9, end=0.1), 0.3, {9: 0.1}),
    "step_decay": (fnn.step_decay(0.3, 9, 0.5), 0.3, {9: 0.15, 18: 0.075, 90_000: 0}),
    "inverse_square_root": (fnn.inverse_square_root(0.3, 3), 0.1, {2: 0.3, 11: 0.15, 29_999: 0.003}),
    "exponential_decay": (fnn.exponential_decay(0.3, 9, 0.5), 0.3, {9: 0.15, 90_000: 0}),
    "warmup": (fnn.warmup(9, 0.3), 0.03, {9: 0.3}),
    "join": (fnn.join(0.3, {9: fnn.cosine(0.2, 5, end=0.1)}), 0.3, {9: 0.2, 14: 0.1}),
    "warmup_stable_decay": (fnn.warmup_stable_decay(0.3, 90, 9, 50, end=0.1), 0.03, {9: 0.3, 40: 0.3, 90: 0.1}),
    "one_cycle": (fnn.one_cycle(0.3, 90, end=0.1), 0.012, {27: 0.3, 90: 0.1}),
    "cosine_restarts": (fnn.cosine_restarts(0.3, 9, end=0.1, stretch=2), 0.3, {9: 0.3, 27: 0.3, 9 * 1023: 0.3}),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "first", "later"), EDGES.values(), ids=EDGES)
def test_its_first_value_is_not_lost_and_its_last_one_stays(schedule, first, later):
    assert first > 0
    expected = {0: first, **later}
    if max(later) < 1000:
        expected |= {max(later) + n: later[max(later)] for n in (1, 10, 10**6)}
    found = quick(jax.vmap(schedule))(jnp.array(list(expected)))
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5, atol=1e-7)


LENGTHS = [
    (1, 1),
    (7, 1),
    (97, 1),
    (1, 2),
    (10, 2),
    (7, 3),
    (3, 10),
    (10, 1.1),
    (64, 1.01),
    (10, 1.001),
    (5000, 1.2),
]
values_at = quick(lambda schedule, t: jax.vmap(schedule)(t))


@pytest.mark.parametrize(("steps", "stretch"), LENGTHS)
def test_no_restart_of_a_hundred_thousand_steps_is_one_step_off(steps, stretch):
    ago, length = periods(steps, float(np.float32(stretch)), range(100_001))
    halfway = (
        np.minimum(abs(ago + 0.5), abs(ago + 0.5 - length)) < 0.05
    )  # there either step is the nearer one
    assert not halfway.any() if isinstance(stretch, int) else halfway.sum() < 0.2 * (ago < 0.5).sum()
    schedule, t = fnn.cosine_restarts(1.0, steps, stretch=stretch), jnp.arange(100_001)
    for found in (values_at(jax.tree.map(float, schedule), t), quick(jax.vmap(schedule))(t)):
        np.testing.assert_allclose(np.asarray(found)[~halfway], wave(ago, length)[~halfway], atol=0.01)


@pytest.mark.parametrize("steps", [1, 7, 49, 97, 1000])
def test_no_decay_of_a_hundred_thousand_steps_is_one_step_off(steps):
    schedule, t = fnn.step_decay(1.0, steps, np.float32(0.9999)), jnp.arange(100_001)
    expected = float(np.float32(0.9999)) ** (np.arange(100_001) // steps)
    for found in (values_at(jax.tree.map(float, schedule), t), quick(jax.vmap(schedule))(t)):
        np.testing.assert_allclose(found, expected, rtol=2e-5)


# --- compositions


def test_join_of_numbers_is_piecewise_and_phases_are_joined_schedules():
    wave_up, wave_down = fnn.cosine(0.012, 12, end=0.3), fnn.cosine(0.3, 28, end=0.001)
    same = [
        (fnn.join(0.3, {4: 0.2, 9: 0.5}), fnn.piecewise(0.3, {4: 0.2, 9: 0.5})),
        (fnn.one_cycle(0.3, 40, end=0.001), fnn.join(wave_up, {12: wave_down})),
        (
            fnn.warmup_stable_decay(0.3, 50, warmup=9, decay=20, end=0.1),
            fnn.warmup(9, fnn.join(0.3, {21: fnn.polynomial_decay(0.3, 20, end=0.1)})),
        ),
        (
            fnn.join(fnn.cosine(0.3, 7), {7: fnn.cosine(0.3, 14), 21: fnn.cosine(0.3, 28)}),
            fnn.cosine_restarts(0.3, 7, stretch=2),
        ),
    ]
    values = quick(lambda t: [(jax.vmap(one)(t), jax.vmap(other)(t)) for one, other in same])
    for one, other in values(T[:49]):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


# --- as functions of their numbers


@every_schedule
def test_its_numbers_are_leaves_that_can_be_mapped_over_and_differentiated(x64, schedule, expected):
    """Between the steps, where nothing jumps; finite at every step, where the slope may."""
    with x64():
        numbers, structure = jax.tree.flatten(jax.tree.map(float, schedule))
        numbers, times = np.array(numbers), np.concatenate([T + 0.37, T, [10**5]])
        nudges = 1e-6 * np.where(numbers == 0, 1, numbers)

        def values(numbers):
            return jax.vmap(jax.tree.unflatten(structure, list(numbers)))(times)

        @quick
        def slopes(numbers):
            above, below = (jax.vmap(values)(numbers + sign * jnp.diag(nudges)) for sign in (1, -1))
            return jax.jacrev(values)(numbers), (above - below).T / (2 * nudges)

        found, differences = map(np.asarray, slopes(numbers))
        assert np.isfinite(found).all() and found.any()
        np.testing.assert_allclose(found[: len(T)], differences[: len(T)], rtol=1e-5, atol=1e-8)


# --- as the number of a rule

RATE = fnn.warmup(5, fnn.cosine(0.05, steps=20, end=0.001))


@pytest.mark.parametrize("name", ["gradient_descent", "momentum", "adam", "adamw", "lion"])
def test_a_rule_sees_the_value_of_its_step(x64, name):
    make = getattr(fnn, name)
    with x64():
        rule, params = make(RATE), tree_of(jnp.array(START))
        state, path = make(1.0).init(params), []

        @quick
        def step(params, state, t):
            updates, state = make(1.0).update(gradient(params, t), state, params)
            return fnn.apply_updates(params, updates), state

        for t, value in enumerate(np.asarray(quick(jax.vmap(RATE))(np.arange(30)))):
            numbers = {**state.hyperparameters, "learning_rate": value}
            params, state = step(params, state._replace(hyperparameters=numbers), t + 1)
            path.append(np.concatenate([params["weight"], params["deep"][0]["bias"]]))
        assert_close(walk(rule, 30), np.array(path), 1e-12)


def test_the_state_shows_the_number_of_the_last_step_and_those_of_the_schedule():
    rule, params = fnn.adam(RATE, b1=fnn.polynomial_decay(0.9, 10, 0.5)), {"weight": jnp.ones(3)}
    state, update, rates = rule.init(params), quick(rule.update), quick(jax.vmap(RATE))(np.arange(8))
    assert state.schedules.keys() == {"learning_rate", "b1"}
    assert {name: float(n) for name, n in state.schedules["b1"].items()} == pytest.approx(
        {"end": 0.5, "power": 1.0, "steps": 10.0, "value": 0.9}
    )
    assert set(state.schedules["learning_rate"]) == {"after/end", "after/steps", "after/value", "steps"}
    for t, rate in enumerate(np.asarray(rates)):
        _, state = update(params, state, params)
        np.testing.assert_allclose(state.rule.hyperparameters["learning_rate"], rate, rtol=1e-6)
        np.testing.assert_allclose(state.rule.hyperparameters["b1"], 0.9 - 0.04 * t, rtol=1e-6)
    assert state.rule.step == 8


NAMES = {
    "step_decay": (fnn.step_decay(0.1, 9, 0.5), {"factor", "steps", "value"}),
    "join": (fnn.join(0.1, {9: 0.2}), {"first/value", "steps", "then/value"}),
    "join of three": (
        fnn.join(fnn.cosine(0.1, 5), {9: 0.2, 12: 0.1}),
        {"first/end", "first/steps", "first/value", "steps 0", "steps 1", "then/value 0", "then/value 1"}),
    "warmup_stable_decay": (
        fnn.warmup_stable_decay(0.1, 9, 2, 3), {"decay", "end", "steps", "value", "warmup"}),
    "one_cycle": (fnn.one_cycle(0.1, 9), {"end", "peak", "rise", "start_factor", "steps"}),
    "cosine_restarts": (fnn.cosine_restarts(0.1, 9), {"end", "steps", "stretch", "value"}),
}  # fmt: skip


@pytest.mark.parametrize(("schedule", "names"), NAMES.values(), ids=NAMES)
def test_the_state_names_the_numbers_of_a_schedule_as_its_arguments(schedule, names):
    state = fnn.adam(schedule).init({"weight": jnp.ones(3)})
    assert set(state.schedules["learning_rate"]) == names


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
        lengths, alone = np.array([12.0, 15.0, 40.0]), quick(end)
        mapped, slope = quick(lambda lengths: (jax.vmap(end)(lengths), jax.grad(end)(lengths[1])))(lengths)
        np.testing.assert_allclose(mapped, [alone(length) for length in lengths], rtol=1e-12)
        difference = (float(alone(15.0 + 1e-5)) - float(alone(15.0 - 1e-5))) / 2e-5
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


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
    params = quick(net.init)(key(0), X[:4])
    x, y = np.float32(X[:4]), np.ones((4, 1), np.float32)
    words = str(fnn.explain(net, fnn.mse, rule, params, x, y))
    assert "4. Optimisation: momentum" in words and "momentum:  v ← μv + g, Δ = −αv" in words
    assert "learning_rate = 0.1,  momentum = 0.9" in words
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
    "a join of nothing": (lambda: fnn.join(0.1, {}), ("join: changes expected {step: schedule or number, …}",)),
    "a join at the first step": (lambda: fnn.join(0.1, {0: 0.2}), ("join: changes expected", "at rising whole steps")),
    "a join with text": (lambda: fnn.join(0.1, {5: "cosine"}), ("join: changes[5] expected a number", "'cosine'")),
    "a join of a negative number": (lambda: fnn.join(-0.1, {5: 0.1}), ("join: first expected", "got -0.1")),
    "a decay of no steps": (lambda: fnn.step_decay(0.1, 0, 0.5), ("step_decay: steps expected", "got 0")),
    "periods that shrink": (
        lambda: fnn.cosine_restarts(0.1, 5, stretch=0.9), ("cosine_restarts: stretch expected a number, 1 ≤ stretch < ∞", "got 0.9")),
    "periods of no step": (lambda: fnn.cosine_restarts(0.1, 0), ("cosine_restarts: steps expected", "got 0")),
    "a cycle that only rises": (
        lambda: fnn.one_cycle(0.1, 50, rise=1), ("one_cycle: rise expected a number, 0 < rise < 1", "got 1")),
    "a run shorter than its phases": (
        lambda: fnn.warmup_stable_decay(0.1, 50, warmup=20, decay=31),
        ("warmup_stable_decay: warmup + decay expected at most 50, the steps, got 51", "the whole run")),
    "a negative warm-up": (
        lambda: fnn.warmup_stable_decay(0.1, 50, warmup=-1, decay=0), ("warmup_stable_decay: warmup expected", "got -1")),
    "warm-up to text": (lambda: fnn.warmup(5, "cosine"), ("warmup: after expected a number", "'cosine'")),
    "the state of the rule alone": (
        lambda: fnn.adam(RATE).update({"w": jnp.ones(2)}, fnn.adam().init({"w": jnp.ones(2)})),
        ("update: state expected the state of a rule with schedules",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_schedule_is_refused(run, pieces):
    with refused(*pieces):
        run()
