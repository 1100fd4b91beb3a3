"""Training as a fold: a step is the formula, an epoch its scan, and every split of a run the whole."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import quick, refused

import fnn

NETWORK = fnn.serial(fnn.dense(6), jnp.tanh, fnn.dropout(0.25), fnn.dense(3))
PLAIN = fnn.serial(fnn.dense(6), jnp.tanh, fnn.dense(3))
X = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 23)


def begin(network=NETWORK, optimizer=None, seed=0):
    return fnn.start(network, optimizer or fnn.adam(), X, key=jax.random.key(seed))


def bits(tree):
    """Every leaf as NumPy, keys as their numbers."""
    is_key = lambda v: jnp.issubdtype(v.dtype, jax.dtypes.prng_key)
    return jax.tree.map(lambda v: np.asarray(jax.random.key_data(v) if is_key(v) else v), tree)


# The quantity that is lowered ------------------------------------------------------------------


def test_loss_is_the_cost_of_the_forward_pass_plus_the_penalty():
    params = begin().params
    penalty = lambda params: 0.1 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))
    plain = fnn.softmax_cross_entropy(NETWORK.forward(params, X), Y)
    value = fnn.loss(NETWORK, fnn.softmax_cross_entropy, penalty)(params, X, Y)
    np.testing.assert_allclose(value, plain + penalty(params), rtol=1e-6)


def test_gradients_of_loss_are_those_derived_by_hand(x64):
    with x64():
        x = X.astype(np.float64)
        params = fnn.start(PLAIN, fnn.adam(), x, key=jax.random.key(0)).params
        cost, grads = quick(jax.value_and_grad(fnn.loss(PLAIN, fnn.softmax_cross_entropy)))(params, x, Y)
        pairs = lambda tree: [(np.asarray(d["weight"]), np.asarray(d["bias"])) for d in (tree[0], tree[2])]
        expected, by_hand, *_ = oracles.mlp(pairs(params), x, Y)
        np.testing.assert_allclose(cost, expected, rtol=1e-12)
        chex.assert_trees_all_close(pairs(grads), by_hand, rtol=1e-11, atol=1e-15)


def test_the_gradients_have_the_tree_of_the_trained_part():
    network = fnn.serial(fnn.freeze(fnn.dense(5)), jnp.tanh, fnn.dense(3))
    params = network.init(jax.random.key(0), X)
    loss = fnn.loss(network, fnn.softmax_cross_entropy)
    grads = jax.eval_shape(
        jax.grad(lambda learns: loss(fnn.merge(learns, params), X, Y)), fnn.trained(params)
    )
    chex.assert_trees_all_equal_shapes_and_dtypes(grads, fnn.trained(params))
    assert grads[0]["frozen"] == {"bias": None, "weight": None}


def test_an_objective_can_be_taken_apart():
    def update(grads, state, params, value, grad, value_fn):
        apart = value_fn.cost(value_fn.predict(params))
        seen = {"value": value, "at": value_fn(params), "apart": apart, "grads": grads, "grad": grad}
        return jax.tree.map(jnp.zeros_like, grads), seen

    state = begin()._replace(optimizer=())
    rule = fnn.Optimizer(lambda params: (), update)
    after, value = fnn.step(NETWORK, fnn.softmax_cross_entropy, rule, state, X, Y, jax.random.key(3))
    seen = after.optimizer
    assert value == seen["value"]
    chex.assert_trees_all_equal(seen["grads"], seen["grad"])
    np.testing.assert_allclose([seen["at"], seen["apart"]], value, rtol=1e-6)  # dropout drawn the same


# One step ---------------------------------------------------------------------------------------


def test_a_step_of_gradient_descent_is_the_formula():
    state = begin(PLAIN, fnn.gradient_descent(0.5))
    grads = jax.grad(fnn.loss(PLAIN, fnn.softmax_cross_entropy))(state.params, X, Y)
    moved, _ = fnn.step(
        PLAIN, fnn.softmax_cross_entropy, fnn.gradient_descent(0.5), state, X, Y, jax.random.key(1)
    )
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, state.params, grads)
    chex.assert_trees_all_close(moved.params, expected, rtol=1e-5, atol=1e-7)


def counter_init(key, x):
    return {"scale": jnp.ones(x.shape[-1]), "statistics": {"calls": jnp.zeros(())}}


def counter_forward(params, x):
    return params["scale"] * x


def counter_forward_train(params, x, key):
    moved = {"calls": params["statistics"]["calls"] + 1}
    return params["scale"] * x, {"scale": jnp.full_like(params["scale"], 99.0), "statistics": moved}


COUNTER = fnn.layer(counter_init, counter_forward, counter_forward_train, name="counter")
RULES = [  # without memory, with it, with decay, with two kinds of parts, with links
    fnn.gradient_descent(),
    fnn.adam(),
    fnn.adamw(),
    fnn.muon(),
    fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(), fnn.weight_decay(0.1), fnn.average()),
]


def test_what_is_not_trained_stands_still_under_every_kind_of_rule():
    network = fnn.serial(COUNTER, fnn.freeze(fnn.dense(5)), jnp.tanh, fnn.dense(3))
    states = [fnn.start(network, rule, X, key=jax.random.key(0)) for rule in RULES]

    @quick
    def epochs(states):
        turn = functools.partial(fnn.epoch, network, fnn.softmax_cross_entropy, x=X[:21], y=Y[:21])
        return [turn(rule, state=state, batch_size=7)[0] for rule, state in zip(RULES, states)]

    for state, after in zip(states, epochs(states)):
        chex.assert_trees_all_equal(after.params[1], state.params[1])
        assert after.params[0]["statistics"]["calls"] == 3  # moved by the layer, not by the rule
        assert np.all(after.params[0]["scale"] < 2)  # of what moved, the trained part is not kept
        assert not np.array_equal(after.params[3]["weight"], state.params[3]["weight"])


def test_optax_trains_in_step_and_gets_the_arguments_it_takes():
    optax = pytest.importorskip("optax", reason="optax is the oracle")
    for rule in (optax.adam(1e-3), optax.lbfgs(), fnn.chain(optax.clip(0.1), fnn.adam())):
        state = begin(PLAIN, rule)
        turn = quick(functools.partial(fnn.step, PLAIN, fnn.softmax_cross_entropy, rule))
        costs = []
        for i in range(10):
            state, value = turn(state, X, Y, jax.random.key(i))
            costs.append(float(value))
        assert costs[-1] < costs[0]


def test_a_step_explains_predictions_that_are_not_one_a_row():
    network = fnn.serial(fnn.dense(3))
    state = fnn.start(network, fnn.adam(), X[:, 0], key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"one prediction for each row of x.*shape \(3,\).*x\[:, None\]"):
        fnn.step(network, fnn.mse, fnn.adam(), state, X[:, 0], X[:, 0], jax.random.key(1))


def test_a_cost_that_is_no_real_number_is_refused():
    state = begin(PLAIN)
    for cost, got in [
        (lambda p, y: (p - 1.0) ** 2, r"\(23, 3\)"),
        (lambda p, y: jnp.int32(1), "int32"),
    ]:
        with pytest.raises(ValueError, match=rf"cost expected one real number, got .*{got}.*mean"):
            fnn.step(PLAIN, cost, fnn.adam(), state, X, Y, jax.random.key(1))
    with pytest.raises(ValueError, match="penalty expected one real number"):
        fnn.loss(PLAIN, fnn.softmax_cross_entropy, lambda params: jnp.ones(2))(state.params, X, Y)


# An epoch ---------------------------------------------------------------------------------------


def seen_rows(seed, batch_size, n=23):
    """Which rows each step of an epoch was given: the cost reports them."""
    x = np.arange(n, dtype=np.float32)[:, None]
    batches = []

    def cost(predictions, targets):
        jax.debug.callback(lambda t: batches.append(t.ravel().tolist()), targets, ordered=True)
        return jnp.mean(predictions - targets)

    network = fnn.serial(jnp.sin)
    state = fnn.start(network, fnn.adam(), x, key=jax.random.key(seed))
    fnn.epoch(network, cost, fnn.adam(), state, x, x, batch_size=batch_size)
    jax.effects_barrier()
    return batches


def test_an_epoch_sees_every_row_once_in_a_random_order_with_a_ragged_end():
    batches = seen_rows(0, 5)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    assert sorted(sum(batches, [])) == list(range(23)) != sum(batches, [])
    assert sum(seen_rows(1, 5), []) != sum(batches, [])


def test_a_batch_larger_than_the_data_is_the_data():
    assert seen_rows(0, 100) == [list(range(23))] == seen_rows(0, 23)


def test_an_epoch_is_its_steps_one_by_one():
    rule, state = fnn.adam(), begin()
    scanned, mean = quick(
        lambda state: fnn.epoch(NETWORK, fnn.softmax_cross_entropy, rule, state, X, Y, batch_size=5)
    )(state)
    step = quick(functools.partial(fnn.step, NETWORK, fnn.softmax_cross_entropy, rule))
    epoch_key, costs = jax.random.fold_in(jax.random.clone(state.key), 0), []
    order = np.concatenate(seen_rows(0, 5)).astype(int)
    for i, rows in enumerate(np.split(order, [5, 10, 15, 20])):
        key = jax.random.fold_in(epoch_key, i)
        state, cost = step(state, X[rows], Y[rows], key)
        costs.append(float(cost))
    chex.assert_trees_all_close(scanned.params, state.params, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(mean, np.average(costs, weights=[5, 5, 5, 5, 3]), rtol=1e-6)


def test_the_mean_cost_counts_rows_by_their_weights():
    weights = np.array([1.0] * 20 + [0.0] * 3, np.float32)
    still, network = fnn.gradient_descent(0.0), PLAIN
    state = begin(network, still)

    @quick
    def turn(weights):
        cost = fnn.softmax_cross_entropy
        return fnn.epoch(network, cost, still, state, X, Y, batch_size=5, sample_weight=weights)

    _, weighted = turn(weights)
    whole = fnn.loss(network, fnn.softmax_cross_entropy)(state.params, X[:20], Y[:20])
    np.testing.assert_allclose(weighted, whole, rtol=1e-6)
    assert turn(np.zeros(23, np.float32))[1] == 0


# Many epochs ------------------------------------------------------------------------------------

VALIDATION = (X[:7], Y[:7])


@functools.partial(jax.jit, static_argnames=("capacity", "watched"))
def run(state, epochs, patience=None, capacity=16, watched=True):
    return fnn.train(
        NETWORK, fnn.softmax_cross_entropy, fnn.adam(), state, X, Y,
        epochs=epochs, batch_size=5, capacity=capacity, patience=patience,
        validation=VALIDATION if watched else None, metrics={"accuracy": fnn.accuracy} if watched else None,
    )  # fmt: skip


@pytest.mark.parametrize("first", [1, 3, 9])
def test_any_split_of_a_run_is_the_whole_bit_for_bit(first):
    whole, history = run(begin(), 10)
    half, one = run(begin(), first)
    both, two = run(half, 10 - first)
    chex.assert_trees_all_equal(bits(both), bits(whole))
    for name, rows in history.items():
        np.testing.assert_array_equal(rows[:10], np.r_[one[name][:first], two[name][: 10 - first]])


def test_train_is_epoch_after_epoch():
    state, _ = run(begin(), 3, watched=False)
    by_hand = begin()
    turn = quick(functools.partial(fnn.epoch, NETWORK, fnn.softmax_cross_entropy, fnn.adam(), batch_size=5))
    for _ in range(3):
        by_hand, _ = turn(state=by_hand, x=X, y=Y)
    chex.assert_trees_all_close(state.params, by_hand.params, rtol=1e-5, atol=1e-7)


def test_history_has_a_row_an_epoch_and_repeats_the_last():
    _, history = run(begin(), 3)
    assert set(history) == {"cost", "validation_cost", "validation_accuracy"}
    for rows in history.values():
        assert rows.shape == (16,) and np.isfinite(rows).all() and (rows[3:] == rows[2]).all()
        assert len({*map(float, history["cost"][:3])}) == 3


def test_the_validation_measures_are_those_of_the_parameters_after_the_epoch():
    state, history = run(begin(), 2)
    logits = NETWORK.forward(state.params, VALIDATION[0])
    expected = fnn.softmax_cross_entropy(logits, VALIDATION[1])
    np.testing.assert_allclose(history["validation_cost"][1], expected, rtol=1e-5)
    assert history["validation_accuracy"][1] == fnn.accuracy(logits, VALIDATION[1])


def test_the_best_parameters_are_those_of_the_lowest_validation_cost():
    state, history = run(begin(), 16)
    lowest = int(np.argmin(history["validation_cost"]))
    assert state.best.epoch == lowest + 1
    assert state.best.cost == history["validation_cost"][lowest]
    then, _ = run(begin(), lowest + 1)
    chex.assert_trees_all_equal(state.best.params, then.params)


@quick
def climb(state, patience):
    climbing = (X[:7], (Y[:7] + 1) % 3)  # what is learned makes these worse
    return fnn.train(
        NETWORK, fnn.softmax_cross_entropy, fnn.adam(0.05), state, X, Y,
        epochs=16, batch_size=5, validation=climbing, patience=patience,
    )  # fmt: skip


def watched(state):
    """With a place for the best parameters, which `climb` adds: so that each state has one structure."""
    return state._replace(best=fnn.Best(state.params, jnp.array(jnp.inf), state.epoch))


def test_patience_ends_a_run_that_many_epochs_after_its_best():
    for patience in (1, 3):
        state, history = climb(watched(begin()), patience)
        made = len(np.unique(history["cost"]))
        assert made == int(state.epoch) == int(state.best.epoch) + patience < 16


def test_a_run_without_patience_left_stays_where_it_is():
    state, _ = climb(watched(begin()), 2)
    again, _ = climb(state, 2)
    chex.assert_trees_all_equal(bits(again), bits(state))


def test_training_vmaps_over_learning_rates_and_each_is_its_solo_run():
    params = begin(PLAIN).params

    def solo(rate):
        rule = fnn.adam(rate)
        state = fnn.start(PLAIN, rule, X, key=jax.random.key(0), params=params)
        state, history = fnn.train(
            PLAIN, fnn.softmax_cross_entropy, rule, state, X[:16], Y[:16], epochs=3, batch_size=8
        )
        return state.params, history["cost"]

    rates = jnp.array([1e-3, 1e-2, 1e-1])
    together, alone = quick(jax.vmap(solo))(rates), quick(solo)
    for i, rate in enumerate(rates):
        own = alone(rate)
        chex.assert_trees_all_close(jax.tree.map(lambda v, i=i: v[i], together), own, rtol=1e-4, atol=1e-6)


def test_the_slope_of_training_is_that_of_central_differences(x64):
    with x64():
        x, y = X[:16].astype(np.float64), Y[:16]
        network = fnn.serial(fnn.dense(3), jnp.tanh, fnn.dense(3))
        params = network.init(jax.random.key(1), x)

        def after(rate):
            rule = fnn.adam(rate)
            state = fnn.start(network, rule, x, key=jax.random.key(0), params=params)
            turn = lambda state, _: fnn.epoch(
                network, fnn.softmax_cross_entropy, rule, state, x, y, batch_size=8
            )
            state, _ = jax.lax.scan(turn, state, length=4)
            return fnn.loss(network, fnn.softmax_cross_entropy)(state.params, x, y)

        both = quick(jax.value_and_grad(after))  # one program, at three rates
        (low, _), (_, slope), (high, _) = (both(0.01 + h) for h in (-1e-6, 0, 1e-6))
        np.testing.assert_allclose(slope, (high - low) / 2e-6, rtol=1e-6)


def test_a_penalty_is_part_of_what_is_lowered_and_sees_the_trained_part():
    network = fnn.serial(fnn.freeze(fnn.dense(5)), fnn.dense(3))
    seen = []

    def penalty(params):
        seen.append(len(jax.tree.leaves(params)))
        return 10.0 * sum(jnp.sum(p**2) for p in jax.tree.leaves(params))

    rule = fnn.gradient_descent(0.01)
    state = fnn.start(network, rule, X, key=jax.random.key(0))
    after, history = fnn.train(
        network, fnn.softmax_cross_entropy, rule, state, X, Y, epochs=20, penalty=penalty
    )
    assert set(seen) == {2}  # the weight and bias of the last layer
    assert jnp.linalg.norm(after.params[1]["weight"]) < 0.1 * jnp.linalg.norm(state.params[1]["weight"])
    assert history["cost"][0] > fnn.loss(network, fnn.softmax_cross_entropy)(state.params, X, Y)


# What is refused --------------------------------------------------------------------------------

COST, RULE = fnn.softmax_cross_entropy, fnn.adam()
STATE = begin(PLAIN)
VALUES = {"network": PLAIN, "cost": COST, "optimizer": RULE, "state": STATE, "x": X, "y": Y}
ALL = ("step", "epoch", "train")


@functools.cache
def plain_fitted():
    return fnn.fit(PLAIN, COST, RULE, X, Y, key=jax.random.key(0), epochs=1)


def trained_with(caller, **changed):
    """What a caller returns for what is right but for the changed."""
    own = {"step": {"key": jax.random.key(1)}, "epoch": {}, "train": {"epochs": 2}}[caller]
    given = VALUES | own | changed
    given |= {name: make() for name, make in given.items() if make is plain_fitted}
    return getattr(fnn, caller)(**given)


WRONG = {  # which functions, what is changed, pieces of the message
    "fewer targets than rows": (ALL, {"y": Y[:9]}, ("the same number of rows everywhere", "x has 23, y has 9")),
    "fewer rows than targets": (ALL, {"x": X[:9]}, ("the same number of rows everywhere", "x has 9, y has 23")),
    "fewer weights": (ALL, {"sample_weight": np.ones(5)}, ("the same number of rows", "sample_weight has 5")),
    "no rows": (ALL, {"x": X[:0], "y": Y[:0]}, ("at least one row", "got none in x, y")),
    "rows of text": (ALL, {"x": [["a"] * 4] * 23}, ("x expected numbers", "'a' in row 0", "fnn.encode")),
    "parameters for the state": (ALL, {"state": ({},)}, ("state expected an fnn.State", "a tuple", "fnn.start(")),
    "a run for the state": (ALL, {"state": plain_fitted}, ("state expected an fnn.State", "a Fitted", "field .state")),
    "network and cost swapped": (ALL, {"network": COST, "cost": PLAIN}, ("network expected a layer", "swapped?")),
    "cost and optimizer swapped": (ALL, {"cost": RULE, "optimizer": COST}, ("cost expected a function", "swapped?")),
    "a factory not called": (ALL, {"network": fnn.dense}, ("network expected a layer", "Call it: fnn.dense(…)")),
    "a plain function": (ALL, {"network": jnp.sin}, ("network expected a layer", "fnn.serial(function)")),
    "a cost by name": (ALL, {"cost": "mse"}, ("cost expected a function", "got 'mse'", "itself: fnn.mse")),
    "another cost by name": (ALL, {"cost": "huber"}, ("cost expected a function", "got 'huber'", "itself: fnn.huber")),
    "a cost of elsewhere by name": (ALL, {"cost": "l2"}, ("cost expected a function", "got 'l2'", "fnn.mse")),
    "a rule not called": (ALL, {"optimizer": fnn.adam}, ("optimizer expected", "the function adam", "Call it: fnn.adam(…)")),
    "a factor for the penalty": (ALL, {"penalty": 0.1}, ("penalty expected a function", "got 0.1", "lambda params")),
    "a seed for the key": (["step"], {"key": 0}, ("step: key expected jax.random.key(seed)", "got 0")),
    "no key": (["step"], {"key": None}, ("step: key expected jax.random.key(seed)", "got None")),
    **{f"batches of {size!r}": (ALL[1:], {"batch_size": size}, ("at least 1", f"got {size!r}", "such as 32"))
       for size in (0, -1, 2.5, "8", None, True)},
    **{f"{epochs!r} epochs": (["train"], {"epochs": epochs}, ("train: epochs", "at least 0", f"got {epochs!r}"))
       for epochs in (-1, 2.5, "3", None)},
    "endless epochs": (["train"], {"epochs": 10**12}, ("epochs", "at most 2147483647", "got 1000000000000")),
    **{f"a history of {rows!r}": (["train"], {"capacity": rows}, ("capacity", "at least 1", f"got {rows!r}"))
       for rows in (0, -1, 2.5)},
    "a history too short": (["train"], {"epochs": 9, "capacity": 3}, ("room for 9 epochs", "got capacity=3", "be lost")),
    "patience without rows": (["train"], {"patience": 2}, ("patience needs rows", "give validation=(x, y)")),
    "metrics without rows": (["train"], {"metrics": {"a": fnn.accuracy}}, ("metrics needs rows", "validation=(x, y)")),
    **{f"patience of {n!r}": (["train"], {"validation": (X, Y), "patience": n}, ("at least 1", f"got {n!r}"))
       for n in (0, -1, 2.5, "2")},
    "a metric in the cost's place": (
        ["train"], {"validation": (X, Y), "metrics": {"cost": fnn.accuracy}}, ("metrics['cost']", "another name")),
    "metrics in a list": (["train"], {"validation": (X, Y), "metrics": [fnn.accuracy]}, ("functions by name", "a list")),
    "validation rows alone": (["train"], {"validation": X}, ("validation expected (x, y)", "an ndarray", "fnn.split")),
    "a tuple of one": (["train"], {"validation": (X,)}, ("validation expected (x, y)", "a tuple of 1")),
    "a share": (["train"], {"validation": 0.2}, ("validation expected (x, y)", "got 0.2", "fnn.split")),
    "fewer validation targets": (["train"], {"validation": (X, Y[:3])}, ("validation[0] has 23, validation[1] has 3",)),
}  # fmt: skip


@pytest.mark.parametrize(("callers", "changed", "pieces"), WRONG.values(), ids=WRONG)
def test_what_is_not_what_its_name_says_is_refused(callers, changed, pieces):
    for caller in callers:
        with refused(*pieces):
            trained_with(caller, **changed)
        with refused(*pieces):
            jax.jit(
                lambda weight, caller=caller: trained_with(caller, **({"sample_weight": weight} | changed))
            )(np.ones(len(changed.get("x", X)), np.float32))


def test_a_traced_number_of_epochs_needs_a_capacity_and_is_whole():
    with refused("epochs is traced", "give capacity="):
        jax.jit(lambda epochs: trained_with("train", epochs=epochs))(3)
    with refused("epochs expected one whole number", "float32 of shape ()"):
        jax.jit(lambda epochs: trained_with("train", epochs=epochs, capacity=4))(2.5)


def test_no_epochs_leave_the_state_and_an_empty_history():
    state, history = trained_with("train", epochs=0)
    chex.assert_trees_all_equal(bits(state), bits(STATE))
    assert jax.tree.map(jnp.shape, history) == {"cost": (0,)}
    assert jax.tree.map(jnp.shape, trained_with("train", epochs=0, validation=(X, Y))[1])[
        "validation_cost"
    ] == (0,)


@pytest.mark.parametrize("caller", ALL)
def test_lists_train_as_arrays_do(caller):
    of_lists = trained_with(caller, x=X.tolist(), y=Y.tolist())
    chex.assert_trees_all_equal(bits(of_lists), bits(trained_with(caller)))


NO_LOSS = {  # the arguments of loss, pieces of the message
    "swapped": ((fnn.mse, PLAIN), ("loss: network expected a layer", "Are network and cost swapped?")),
    "a cost by name": ((PLAIN, "mse"), ("loss: cost expected a function", "got 'mse'", "fnn.mse")),
    "parameters for a cost": ((PLAIN, ({},)), ("loss: cost expected a function", "got a tuple")),
}


@pytest.mark.parametrize(("arguments", "pieces"), NO_LOSS.values(), ids=NO_LOSS)
def test_loss_refuses_what_is_no_network_and_no_cost(arguments, pieces):
    with refused(*pieces):
        fnn.loss(*arguments)


NO_START = {  # what is changed, pieces of the message
    "a cost for the network": (
        {"network": COST},
        ("start: network expected a layer", "softmax_cross_entropy"),
    ),
    "a seed for the key": ({"key": 0}, ("start: key expected jax.random.key(seed)", "got 0")),
    "rows for the key": (
        {"key": X},
        ("start: key expected jax.random.key(seed)", "an ndarray of shape (23, 4)"),
    ),
    "a run for parameters": (
        {"params": plain_fitted},
        ("start: params expected", "a Fitted", "field .params"),
    ),
    "a number for parameters": ({"params": 5}, ("start: params expected a tree of arrays", "got 5")),
    "decay alone": (
        {"optimizer": fnn.weight_decay(0.1)},
        ("a rule with a learning rate", "uphill", "fnn.chain("),
    ),
    "links alone": (
        {"optimizer": fnn.chain(fnn.clip_by_global_norm(1.0), fnn.chain(fnn.weight_decay(0.1)))},
        ("a rule with a learning rate", "Put a rule between"),
    ),
}


@pytest.mark.parametrize(("changed", "pieces"), NO_START.values(), ids=NO_START)
def test_a_start_from_what_is_not_what_its_name_says_is_refused(changed, pieces):
    given = {"network": PLAIN, "optimizer": RULE, "x": X, "key": jax.random.key(0)} | changed
    given |= {name: make() for name, make in given.items() if make is plain_fitted}
    with refused(*pieces):
        fnn.start(**given)


def test_a_run_without_a_rule_is_refused():
    for rule in (fnn.clip_by_global_norm(1.0), fnn.chain(fnn.weight_decay(0.1))):
        with refused("a rule with a learning rate", "uphill"):
            fnn.fit(PLAIN, COST, rule, X, Y, key=jax.random.key(0), epochs=1)


def test_a_run_starts_from_lists_and_tables_as_from_arrays():
    pandas = pytest.importorskip("pandas")
    start = lambda x: fnn.start(NETWORK, fnn.adam(), x, key=jax.random.key(0))
    expected = start(jnp.asarray(X)).params
    for x in (X.tolist(), pandas.DataFrame(X), jax.ShapeDtypeStruct(X.shape, "float32")):
        chex.assert_trees_all_equal(start(x).params, expected)
