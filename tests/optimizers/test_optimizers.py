"""Optimizers: each equals its formula, obeys its laws, and keeps the contract of all."""

import inspect
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import quick
from oracles import START, says
from walks import assert_close, flat_of, gradient, tree_of, walk, walk_from

import fnn

clip, decay, chain = fnn.clip_by_global_norm, fnn.weight_decay, fnn.chain


def decayed(learning_rate=0.01):
    return chain(clip(5.0), fnn.momentum(learning_rate), decay(0.01 * learning_rate))


RULES = {name: getattr(fnn, name) for name in oracles.MOMENTS}
ALL = {**RULES, "chain": decayed}
every_optimizer = pytest.mark.parametrize("make", ALL.values(), ids=ALL)

FORMS = [  # every rule with bare defaults, then with every number another
    *((name, {}) for name in RULES),
    ("gradient_descent", {"learning_rate": 0.02}),
    ("momentum", {"learning_rate": 0.003, "momentum": 0.7}),
    ("nesterov", {"learning_rate": 0.003, "momentum": 0.7}),
    ("adagrad", {"learning_rate": 0.1, "eps": 1e-3, "eps_root": 1e-2, "initial": 0.1}),
    ("rmsprop", {"learning_rate": 0.01, "decay": 0.8, "eps": 0.1, "eps_root": 0.5}),
    ("rmsprop", {"learning_rate": 0.003, "eps": 0.1, "momentum": 0.7}),
    ("rmsprop", {"learning_rate": 0.003, "decay": 0.8, "eps": 0.1, "momentum": 0.7, "centered": True}),
    ("rmsprop", {"learning_rate": 0.01, "decay": 0.8, "eps": 0.0, "eps_root": 0.1, "centered": True}),
    ("adadelta", {"learning_rate": 0.2, "decay": 0.9, "eps": 1e-5}),
    ("adam", {"learning_rate": 0.02, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "eps_root": 1e-3}),
    (
        "adamw",
        {"learning_rate": 0.02, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "eps_root": 1e-3, "weight_decay": 0.3},
    ),
    ("adamax", {"learning_rate": 0.005, "b1": 0.8, "b2": 0.95, "eps": 1e-2}),
    ("nadam", {"learning_rate": 0.005, "b1": 0.8, "b2": 0.95, "eps": 1e-2}),
    ("amsgrad", {"learning_rate": 0.02, "b1": 0.8, "b2": 0.95, "eps": 1e-2}),
    ("radam", {"learning_rate": 0.005, "b1": 0.8, "b2": 0.95, "eps": 1e-2}),
    ("lion", {"learning_rate": 0.002, "b1": 0.8, "b2": 0.95, "weight_decay": 0.3}),
]
every_form = pytest.mark.parametrize(("name", "numbers"), FORMS)


# --- oracles


@every_form
def test_one_step_from_each_of_200_states_equals_the_formula(name, numbers, x64):
    rule = getattr(oracles, name)
    grads, path, memory = oracles.walk(rule, name, numbers, 200)
    each = [{key: value[t] for key, value in memory.items()} for t in range(200)]
    moves = [rule(grads[t], 0 * START, each[t], t + 1, **numbers)[0] for t in range(200)]
    defaults = {k: v.default for k, v in inspect.signature(rule).parameters.items()} | numbers
    if "weight_decay" in defaults:  # moves from 0 have none
        shrink = defaults["learning_rate"] * defaults["weight_decay"] * oracles.DECAYED
        moves = [move - shrink * path[t] for t, move in enumerate(moves)]
    with x64():
        optimizer = RULES[name](**numbers)
        before = {key: tree_of(value[:-1]) for key, value in memory.items()}
        state = optimizer.init(tree_of(jnp.array(START)))
        state = state._replace(step=np.arange(200, dtype=np.int32), moments=before)
        axes = state._replace(step=0, hyperparameters=None, moments=0)
        update = jax.vmap(optimizer.update, in_axes=(0, axes, 0), out_axes=(0, axes))

        @jax.jit
        def moved(grads, state, params):
            updates, after = update(grads, state, params)
            means = {key: flat_of(value) for key, value in after.moments.items()}
            return flat_of(updates), flat_of(fnn.apply_updates(params, updates)), after.step, means

        updates, params, step, after = moved(tree_of(grads), state, tree_of(path[:-1]))
        assert_close(updates, np.stack(moves), 1e-12)
        assert_close(params, path[1:], 1e-12)
        np.testing.assert_array_equal(step, np.arange(1, 201))
        assert after.keys() == memory.keys()
        for key, value in memory.items():
            assert_close(after[key], value[1:], 1e-12)


@every_form
def test_a_path_of_300_steps_equals_the_formula(name, numbers, x64):
    _, path, _ = oracles.walk(getattr(oracles, name), name, numbers, 300)
    with x64():
        assert_close(walk(RULES[name](**numbers), 300), path[1:], 1e-12)
    single = walk(RULES[name](**numbers), 300, START.astype(np.float32))
    assert single.dtype == jnp.float32
    # Where lion's mean is almost 0 its sign is decided by rounding, and a step goes the other way.
    assert_close(single, path[1:], 5e-6 if name != "lion" else 20 * numbers.get("learning_rate", 1e-4))


def test_clipping_decay_and_a_rule_in_a_chain_equal_their_formulas(x64):
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 0])  # and not the bias

    def rule(g, theta, memory, t):
        after, memory = oracles.momentum(oracles.clip_by_global_norm(g, 5.0), theta, memory, t)
        return after - 1e-2 * theta * weights, memory

    _, path, _ = oracles.walk(rule, "momentum", {}, 100)
    with x64():
        optimizer = chain(clip(5.0), fnn.momentum(), decay(1e-2))
        assert_close(walk(optimizer, 100), path[1:], 1e-12)


def test_adam_without_momentum_is_bias_corrected_rmsprop(x64):
    numbers = {"learning_rate": 0.02, "decay": 0.99}
    _, path, _ = oracles.walk(oracles.corrected_rmsprop, "rmsprop", numbers, 100)
    with x64():
        assert_close(walk(fnn.adam(0.02, b1=0.0, b2=0.99), 100), path[1:], 1e-12)


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.99, 0.9999), (0.5, 0.9)])
def test_bias_corrections_are_exact_in_float32_at_any_step(b1, b2):
    steps = np.unique(np.logspace(0, 6, 200).astype(np.int32))
    optimizer, one = fnn.adam(2.0**-10, b1=b1, b2=b2, eps=0.0), jnp.ones(())

    def update(step):  # m = v = g = 1 stay what they are, and only the corrections are left
        state = optimizer.init(one)._replace(step=step, moments={"m": one, "v": one})
        return optimizer.update(one, state, one)[0]

    c1, c2 = (-np.expm1(steps * np.log(np.float64(np.float32(b)))) for b in (b1, b2))
    expected = -(2.0**-10) / c1 * np.sqrt(c2)
    np.testing.assert_allclose(jax.jit(jax.vmap(update))(jnp.array(steps - 1)), expected, rtol=5e-7)


def test_the_first_step_of_adam_is_the_learning_rate():
    params = jnp.zeros(4)
    grads = np.float32([1.0, -3.0, 1e3, -7e5])
    for learning_rate in (1e-3, 0.1):
        optimizer = fnn.adam(learning_rate)
        updates, _ = quick(optimizer.update)(grads, optimizer.init(params), params)
        np.testing.assert_allclose(updates, -learning_rate * np.sign(grads), rtol=3e-7)


# --- laws

SAME = {
    "a chain of one is its rule": (chain(fnn.adam()), fnn.adam()),
    "adamw with no rate stands still": (fnn.adamw(0.0, weight_decay=0.5), fnn.adam(0.0)),
    "a wide clip does nothing": (chain(clip(1e3), fnn.adam()), fnn.adam()),
    "adamw is adam and decay after it": (
        fnn.adamw(0.01, weight_decay=0.5),
        chain(fnn.adam(0.01), decay(0.005)),
    ),
    "lion is lion and decay after it": (
        fnn.lion(0.01, weight_decay=0.5),
        chain(fnn.lion(0.01), decay(0.005)),
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_two_ways_of_saying_the_same_walk_the_same_path(one, other):
    np.testing.assert_allclose(walk(one, 30), walk(other, 30), rtol=2e-6)


def test_clipping_scales_all_leaves_together_to_the_norm():
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    clipped = links_update(clip(1.0), grads)
    chex.assert_trees_all_close(clipped, {"a": jnp.array([0.6, 0.0]), "b": jnp.array([[0.8]])})
    chex.assert_trees_all_close(links_update(clip(1.0), clipped), clipped, rtol=2e-7)
    small = jax.tree.map(lambda g: g / 8, grads)
    chex.assert_trees_all_equal(links_update(clip(1.0), small), small)


def links_update(link, grads, params=None):
    params = grads if params is None else params
    return link.update(grads, link.init(params), params)[0]


def test_clipping_at_zero_keeps_zero_and_its_derivative():
    update = quick(partial(jax.jvp, partial(links_update, clip(1.0))))
    value, slopes = update((np.zeros(3, np.float32),), (np.arange(3, dtype=np.float32),))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(slopes, [0.0, 1.0, 2.0])


def test_decay_spares_bias_scale_offset_and_table_anywhere_in_the_path():
    spared = {"bias": 1.0, "scale": (2.0,), "offset": {"value": 3.0}, "table": 4.0}
    params = jax.tree.map(jnp.float32, {"weight": 5.0, "rescale": 6.0, "norm": [spared]})
    updates = links_update(decay(0.5), jax.tree.map(jnp.zeros_like, params), params)
    assert (float(updates["weight"]), float(updates["rescale"])) == (-2.5, -3.0)
    assert not any(jax.tree.leaves(updates["norm"]))


@every_optimizer
def test_a_loop_walks_as_the_scan(make, x64):
    with x64():
        optimizer, params = make(), tree_of(jnp.array(START))
        state = optimizer.init(params)
        scanned, _ = walk_from(state, params, update=optimizer.update, steps=30)

        @jax.jit
        def step(params, state, t):
            updates, state = optimizer.update(gradient(params, t), state, params)
            return fnn.apply_updates(params, updates), state

        for t in range(1, 31):
            params, state = step(params, state, t)
        chex.assert_trees_all_close((params, state), scanned, rtol=1e-12, atol=1e-15)


# --- contracts


@every_optimizer
def test_with_bare_defaults_every_coordinate_comes_closer(make):
    scale, centre = jnp.array([0.5, 5.0, 20.0]), jnp.array([1.0, -2.0, 3.0])

    def turn(carry, _):
        x, state = carry
        grads = jax.grad(lambda x: jnp.sum(scale * (x - centre) ** 2))(x)
        updates, state = optimizer.update(grads, state, x)
        return (fnn.apply_updates(x, updates), state), None

    optimizer, x = make(), jnp.zeros(3)
    (x, _), _ = jax.lax.scan(turn, (x, optimizer.init(x)), length=1000)
    assert jnp.all(jnp.abs(x - centre) < 0.98 * jnp.abs(centre)), x


@every_optimizer
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_dtypes_and_structure_stay(make, dtype, x64):
    def check(widest):
        params = tree_of(START.astype(jnp.dtype(dtype)))
        state = make().init(params)
        for path, leaf in jax.tree.leaves_with_path(state):
            if ".hyperparameters" in jax.tree_util.keystr(path):
                assert leaf.dtype == widest and not leaf.weak_type
            elif ".moments" in jax.tree_util.keystr(path):
                assert leaf.dtype == jnp.promote_types(dtype, jnp.float32)
        turn = partial(walk_from.__wrapped__, update=make().update, steps=3)
        after = jax.eval_shape(turn, state, params)[0]  # as the carry of a scan, too
        chex.assert_trees_all_equal_shapes_and_dtypes(after, (params, state))

    if dtype != "float64":
        check(jnp.float32)
    with x64():
        check(jnp.float64)


def test_the_state_of_a_rule_shows_its_step_and_numbers():
    state = fnn.adam(0.02, b1=0.5).init({"weight": jnp.ones((2, 3))})
    assert (state.step.dtype, int(state.step)) == (jnp.int32, 0)
    numbers = {"learning_rate": 0.02, "b1": 0.5, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}
    assert state.hyperparameters.keys() == numbers.keys()
    chex.assert_trees_all_close(state.hyperparameters, numbers)
    total = fnn.adagrad(initial=0.25).init(jnp.ones(2)).moments["total"]
    np.testing.assert_array_equal(total, 0.25)


@every_optimizer
def test_derivatives_through_three_updates_equal_differences(make, x64):
    def end(learning_rate, shift):
        params = tree_of(jnp.array(START) + shift)
        state = make(learning_rate).init(params)
        for t in range(1, 4):
            updates, state = make().update(gradient(params, t), state, params)
            params = fnn.apply_updates(params, updates)
        return flat_of(params) @ jnp.arange(1.0, 9.0)

    with x64():
        both = jax.jit(jax.value_and_grad(end, argnums=(0, 1)))
        by_rate = (both(0.01 + 1e-7, 0.0)[0] - both(0.01 - 1e-7, 0.0)[0]) / 2e-7
        by_shift = (both(0.01, 1e-7)[0] - both(0.01, -1e-7)[0]) / 2e-7
        np.testing.assert_allclose(both(0.01, 0.0)[1], (by_rate, by_shift), rtol=1e-5)


@every_optimizer
def test_none_stands_for_untrained_leaves(make):
    def three_steps(params):
        optimizer = make()
        state = optimizer.init(params)
        for _ in range(3):
            grads = jax.tree.map(lambda p: p - 3.0, params)
            updates, state = optimizer.update(grads, state, params)
            params = fnn.apply_updates(params, updates)
        return params

    weight = jnp.array([1.0, -2.0])
    after = three_steps({"weight": weight, "frozen": None, "deep": ({"weight": None}, ())})
    assert after["frozen"] is None and after["deep"] == ({"weight": None}, ())
    chex.assert_trees_all_close(after["weight"], three_steps({"weight": weight})["weight"])


def test_the_update_of_equal_descriptions_is_one_function():
    one, other = chain(clip(1.0), fnn.adam()), chain(clip(2.0), fnn.adam(0.1))
    assert one.update is other.update
    assert one.update is not chain(fnn.adam(), clip(1.0)).update
    for rule in RULES.values():
        assert rule().update is rule(0.5).update


# --- among other libraries

FORMS_OF_OPTAX = {
    "gradient_descent": (fnn.gradient_descent(0.02), lambda o: o.sgd(0.02)),
    "momentum": (fnn.momentum(), lambda o: o.sgd(0.01, 0.9)),
    "nesterov": (fnn.nesterov(), lambda o: o.sgd(0.01, 0.9, nesterov=True)),
    "adagrad": (
        fnn.adagrad(0.1, eps=0.0, eps_root=1e-7, initial=0.1),
        lambda o: o.adagrad(0.1, initial_accumulator_value=0.1, eps=1e-7),
    ),
    "rmsprop outside": (fnn.rmsprop(), lambda o: o.rmsprop(0.001, eps_in_sqrt=False)),
    "rmsprop inside": (fnn.rmsprop(eps=0.0, eps_root=1e-8), lambda o: o.rmsprop(0.001)),
    "rmsprop with momentum": (
        fnn.rmsprop(momentum=0.9),
        lambda o: o.rmsprop(0.001, eps_in_sqrt=False, momentum=0.9),
    ),
    "rmsprop with all": (
        fnn.rmsprop(eps=0.0, eps_root=1e-4, momentum=0.9, centered=True),
        lambda o: o.rmsprop(0.001, eps=1e-4, momentum=0.9, centered=True),
    ),
    "adadelta": (fnn.adadelta(), lambda o: o.adadelta(1.0, rho=0.95)),
    "adam": (fnn.adam(eps_root=1e-6), lambda o: o.adam(0.001, eps_root=1e-6)),
    "adamw": (
        fnn.adamw(weight_decay=0.1),
        lambda o: o.adamw(0.001, weight_decay=0.1, mask={"weight": True, "deep": ({"bias": False}, ())}),
    ),
    "adamax": (fnn.adamax(), lambda o: o.adamax(0.002)),
    "nadam": (fnn.nadam(), lambda o: o.nadam(0.002)),
    "lion": (
        fnn.lion(weight_decay=0.1),
        lambda o: o.lion(1e-4, weight_decay=0.1, mask={"weight": True, "deep": ({"bias": False}, ())}),
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), FORMS_OF_OPTAX.values(), ids=FORMS_OF_OPTAX)
def test_walks_as_optax_where_the_form_is_the_same(ours, theirs, x64):
    optax = pytest.importorskip("optax")
    with x64():
        assert_close(walk(ours, 50), np.asarray(walk(theirs(optax), 50)), 1e-11)


FORMS_OF_TORCH = {  # fnn's rule, PyTorch's, its numbers
    "gradient_descent": (fnn.gradient_descent(0.02), "SGD", {"lr": 0.02}),
    "momentum": (fnn.momentum(), "SGD", {"lr": 0.01, "momentum": 0.9}),
    "nesterov": (fnn.nesterov(), "SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True}),
    "adagrad": (fnn.adagrad(), "Adagrad", {}),
    "rmsprop": (fnn.rmsprop(0.01, decay=0.99), "RMSprop", {}),
    "rmsprop with all": (
        fnn.rmsprop(0.001, decay=0.99, eps=0.01, momentum=0.5, centered=True),
        "RMSprop",
        {"lr": 0.001, "eps": 0.01, "momentum": 0.5, "centered": True},
    ),
    "adadelta": (fnn.adadelta(decay=0.9), "Adadelta", {}),
    "adam": (fnn.adam(), "Adam", {}),
    "amsgrad": (fnn.amsgrad(), "Adam", {"amsgrad": True}),
    "adamw": (fnn.adamw(weight_decay=0.3), "AdamW", {"weight_decay": 0.3}),
    "adamax": (fnn.adamax(), "Adamax", {}),
}


@pytest.mark.parametrize(("ours", "name", "numbers"), FORMS_OF_TORCH.values(), ids=FORMS_OF_TORCH)
def test_walks_as_pytorch_where_the_form_is_the_same(ours, name, numbers, x64):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    parts = [torch.nn.Parameter(torch.tensor(part)) for part in (START[:6], START[6:])]  # weights, biases
    groups = [{"params": [parts[0]]}, {"params": [parts[1]], "weight_decay": 0.0}]
    rule, path = getattr(torch.optim, name)(groups, **numbers), []
    for t in range(1, 51):
        slopes = oracles.slope(np.concatenate([part.detach().numpy() for part in parts]), t)
        for part, own in zip(parts, (slopes[:6], slopes[6:])):
            part.grad = torch.tensor(own)
        rule.step()
        path.append(np.concatenate([part.detach().numpy() for part in parts]))
    with x64():
        assert_close(walk(ours, 50), np.stack(path), 1e-11)


# --- errors

WEIGHTS = {"weight": jnp.ones((2, 2))}
REFUSED = [
    *((make, "learning_rate", value) for make in RULES.values() for value in (-0.1, np.nan, "fast")),
    *((make, "momentum", value) for make in (fnn.momentum, fnn.nesterov) for value in (-0.1, 1.0)),
    *((make, "decay", value) for make in (fnn.rmsprop, fnn.adadelta) for value in (-0.1, 1.0)),
    *((fnn.adam, beta, value) for beta in ("b1", "b2") for value in (-0.1, 1.0, 1.5, np.nan)),
    *(
        (make, "b2", value)
        for make in (fnn.adamw, fnn.adamax, fnn.nadam, fnn.amsgrad, fnn.radam, fnn.lion)
        for value in (-0.1, 1.0)
    ),
    *((make, "weight_decay", -0.1) for make in (fnn.adamw, fnn.lion)),
    *((clip, "max_norm", value) for value in (0.0, -1.0, np.nan, "tight")),
    *((decay, "rate", value) for value in (-0.1, 1.1, np.nan, "slow")),
    *((fnn.clip, "limit", value) for value in (0.0, -1.0, np.nan)),
    *((fnn.average, "decay", value) for value in (-0.1, 1.1)),
    *((fnn.reduce_on_plateau, "factor", value) for value in (-0.1, 1.1)),
    *((fnn.reduce_on_plateau, number, 0) for number in ("patience", "steps")),
    (fnn.rmsprop, "momentum", 1.0),
    *((fnn.muon, number, 1.0) for number in ("momentum", "b1", "b2")),
]


@pytest.mark.parametrize(("make", "number", "wrong"), REFUSED)
def test_refuses_a_wrong_number_by_its_name_and_value(make, number, wrong):
    with pytest.raises((ValueError, TypeError), match=says(make.__name__, number, str(wrong))):
        make(**{number: wrong})


def test_refuses_to_decay_without_parameters():
    with pytest.raises((ValueError, TypeError), match=r"update\(grads, state, params\)"):
        decay(0.1).update(WEIGHTS, decay(0.1).init(WEIGHTS))


@every_optimizer
def test_refuses_gradients_of_another_shape_or_structure(make):
    one, row = jnp.ones((2, 2)), jnp.ones(2)
    wrong = [({"weight": row}, ("weight", "(2, 2)", "(2,)"))]
    wrong += [(tree, ("tree", "bias")) for tree in ({"bias": one}, {"weight": one, "bias": row})]
    wrong += [(one, ("tree",))]
    for grads, parts in wrong:
        with pytest.raises(ValueError, match=says(*parts)):
            fnn.apply_updates(WEIGHTS, grads)
        with pytest.raises(ValueError, match=says(*parts)):
            fnn.apply_updates(WEIGHTS, links_update(make(), grads, WEIGHTS))


def test_refuses_a_chain_of_nothing_and_of_what_is_no_optimizer():
    with pytest.raises((ValueError, TypeError), match="chain"):
        chain()
    for links in ((fnn.adam,), (clip(1.0), fnn.adam)):
        with pytest.raises((ValueError, TypeError), match=r"fnn\.adam\(…?\)"):
            chain(*links)
    with pytest.raises((ValueError, TypeError), match="0.1"):
        chain(fnn.adam(), 0.1)


GD, ADAM, PARAMS = fnn.gradient_descent(), fnn.adam(), {"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)}
STATE = fnn.start(fnn.dense(2), ADAM, jnp.ones((3, 2)), key=jax.random.key(0))
MISTAKES = {  # what is done, pieces of the message
    "two rules": (lambda: chain(GD, GD), ("link 1", "expected one rule", "gradient_descent", "link 0", "uphill")),
    "two rules and a link": (lambda: chain(clip(1.0), ADAM, fnn.momentum()), ("link 2", "momentum", "link 1, adam")),
    "a rule after a chain": (lambda: chain(chain(clip(1.0), ADAM), GD), ("link 1", "expected one rule", "link 0, chain")),
    "decay before the rule": (lambda: chain(decay(0.1), ADAM), (
        "link 0, weight_decay, comes before the rule, link 1, adam", "chain(adam(…), weight_decay(…))", "penalty")),
    "decay in a chain before": (lambda: chain(chain(decay(0.1)), ADAM), ("link 0, chain, comes before the rule",)),
    "scheduled decay before": (lambda: chain(decay(fnn.cosine(0.1, 9)), fnn.adam(fnn.cosine(0.1, 9))), (
        "link 0, weight_decay, comes before the rule, link 1, adam",)),
    "an average that is not last": (lambda: chain(ADAM, fnn.average(), decay(0.1)), (
        "link 1, average, comes before link 2", "Put it last")),
    "an average before the rule": (lambda: chain(fnn.average(), ADAM), ("link 0, average", "before the rule")),
    "a plateau before the rule": (lambda: chain(fnn.reduce_on_plateau(), ADAM), ("link 0, reduce_on_plateau", "before")),
    "decay before a search": (lambda: chain(decay(0.1), fnn.lbfgs()), ("link 0, weight_decay", "link 1, lbfgs")),
    "two rules, one without a rate": (lambda: chain(ADAM, fnn.levenberg_marquardt()), ("link 1, levenberg_marquardt", "expected one rule")),
    "two rules in a wrapper": (lambda: chain(fnn.accumulate(2, ADAM), GD), ("link 1", "expected one rule")),
    "rates in an array": (lambda: fnn.adam(np.array([0.1, 0.2])), ("adam: learning_rate", "a number", "(2,)", "vmap")),
    "a rate beyond float32": (lambda: fnn.adam(1e39), ("adam: learning_rate", "< ∞ in float32", "got 1e+39")),
    "a network to learn": (lambda: ADAM.init(fnn.dense(2)), ("a tree of arrays", "got dense(2)", "network.init(")),
    "a number to learn": (lambda: GD.init(5), ("a tree of arrays", "got 5", "network.init(key, x)")),
    "a word to learn": (lambda: clip(1.0).init("p"), ("a tree of arrays", "got 'p'")),
    "a whole state to learn": (lambda: ADAM.init(STATE), ("a tree of arrays", "a State", "field .params")),
    "gradients and state swapped": (
        lambda: ADAM.update(ADAM.init(PARAMS), PARAMS), ("adam: update expected the state", "a dict", "(grads, state")),
    "swapped in a link": (
        lambda: clip(1.0).update(clip(1.0).init(PARAMS), PARAMS), ("clip_by_global_norm: update expected the state",)),
    "swapped in a chain": (
        lambda: chain(ADAM).update(chain(ADAM).init(PARAMS), PARAMS), ("states of its 1 links", "a dict", "(grads, state")),
    "a whole state in update": (lambda: GD.update(PARAMS, STATE), ("gradient_descent: update expected", "a State")),
    "the state of another rule": (
        lambda: ADAM.update(PARAMS, fnn.momentum().init(PARAMS)),
        ("adam", "b1, b2, eps, eps_root, learning_rate", "got one with learning_rate, momentum", "another rule")),
    "the state of a rule in a link": (
        lambda: decay(0.1).update(PARAMS, ADAM.init(PARAMS), PARAMS), ("weight_decay", "numbers rate", "another rule")),
    "fewer states than links": (
        lambda: chain(clip(1.0), ADAM).update(PARAMS, chain(ADAM).init(PARAMS)), ("its 2 links", "a tuple of 1")),
}  # fmt: skip


@pytest.mark.parametrize(("mistake", "pieces"), MISTAKES.values(), ids=MISTAKES)
def test_what_would_go_uphill_or_cannot_be_learned_is_refused(mistake, pieces):
    with pytest.raises((ValueError, TypeError), match=says(*pieces)):
        mistake()


def test_numbers_side_by_side_come_from_vmap_and_large_ones_from_64_bits(x64):
    rates = jnp.array([0.1, 0.2])
    states = jax.vmap(lambda rate: fnn.adam(rate).init(PARAMS))(rates)
    np.testing.assert_array_equal(states.hyperparameters["learning_rate"], rates)
    with x64():
        assert fnn.adam(1e39).init(PARAMS).hyperparameters["learning_rate"] == 1e39
