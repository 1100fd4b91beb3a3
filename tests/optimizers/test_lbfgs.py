"""L-BFGS: its direction, its line search, its minima and its refusals, beside the book, SciPy and Optax."""

import contextlib
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import key, quick, refused
from runs import X, Y, bits

import fnn
from fnn.optimizers.lbfgs import lbfgs, lbfgs_update

RULE = lbfgs()


def step(cost, params, state, *data):
    """One step of a loop as a user writes it: the new parameters and state."""
    value, grads = jax.value_and_grad(cost)(params, *data)
    updates, state = lbfgs_update(grads, state, params, value=value, value_fn=lambda p: cost(p, *data))
    return fnn.apply_updates(params, updates), state


once = quick(step, static_argnums=0)


def turns(state, params, *data, cost, steps):
    """Of each step the cost, gradient and parameters before it, and the state after it."""

    def turn(carry, _):
        params, state = carry
        before = (*jax.value_and_grad(cost)(params, *data), params)
        params, state = step(cost, params, state, *data)
        return (params, state), (*before, state)

    return jax.lax.scan(turn, (params, state), length=steps)[1]


walk = quick(turns, static_argnames=("cost", "steps"))


def minimise(cost, start, *data, steps=80, **numbers):
    path = walk(lbfgs(**numbers).init(start), start, *data, cost=cost, steps=steps)
    return jax.tree.map(np.asarray, path)


# --- costs


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def quadratic(x, matrix, tilt):
    return x @ matrix @ x / 2 - tilt @ x


def logistic(w, x, y):
    return jnp.mean(jnp.logaddexp(0, -y * (x @ w))) + 0.01 * w @ w


def sharp(x):
    return jax.scipy.special.logsumexp(jnp.outer(jnp.arange(-2.0, 3.0), x)) + 0.05 * jnp.sum((x - 1) ** 2)


def fenced(x):
    """NaN where x ≤ 0; the minimum, 0.01, lies close to there."""
    return jnp.sum(x - 0.01 * jnp.log(x))


def layers(params, x, y):
    return jnp.mean((jnp.tanh(x @ params["weight"] + params["bias"]) @ params["out"] - y) ** 2)


def slide(x):
    return -jnp.sum(x)


DRAW = np.random.default_rng(0)


def curved(size, condition):
    axes = np.linalg.qr(DRAW.normal(size=(size, size)))[0]
    return (axes * np.geomspace(1, condition, size)) @ axes.T


ROWS = DRAW.normal(size=(60, 5))
SIGNS = np.sign(ROWS @ np.arange(5) + DRAW.normal(size=60))
WEIGHTS = {"weight": DRAW.normal(size=(5, 4)), "bias": DRAW.normal(size=4), "out": DRAW.normal(size=4)}
COSTS = {  # cost, start, data
    "rosenbrock": (rosenbrock, np.array([-1.2, 1.0])),
    "rosenbrock of 6": (rosenbrock, DRAW.normal(size=6)),
    "quadratic": (quadratic, np.zeros(8), curved(8, 1e3), DRAW.normal(size=8)),
    "steep quadratic": (quadratic, np.ones(4), 1e5 * curved(4, 10), np.zeros(4)),
    "shallow quadratic": (quadratic, np.ones(4), 1e-3 * curved(4, 10), np.zeros(4)),
    "logistic": (logistic, np.zeros(5), ROWS, SIGNS),
    "sharp": (sharp, 3 * DRAW.normal(size=4)),
    "fenced": (fenced, np.array([3.0, 0.5])),
    "network": (layers, WEIGHTS, ROWS, SIGNS),
}
every_cost = pytest.mark.parametrize("name", COSTS)
convex = pytest.mark.parametrize("name", ["quadratic", "shallow quadratic", "logistic", "sharp"])


def arrays(name):
    cost, *rest = COSTS[name]
    return cost, *jax.tree.map(jnp.asarray, rest)


def flat(tree):
    """A tree of stacked arrays as one row a step."""
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(tree)], axis=1)


# --- the line search


@pytest.mark.parametrize(("c1", "c2"), [(1e-4, 0.9), (1e-3, 0.1), (0.2, 0.3)])
@every_cost
def test_every_step_is_low_and_flat_enough(name, c1, c2, x64):
    with x64():
        value, grads, params, state = minimise(*arrays(name), c1=c1, c2=c2, evaluations=40)
    g, moved = flat(grads), np.diff(flat(params), axis=0)
    before, after = (g[:-1] * moved).sum(1), (g[1:] * moved).sum(1)  # αφ′(0), αφ′(α)
    far = np.abs(before) > 1e-11 * (1 + np.abs(value[:-1]))  # nearer, the fall is lost in the cost's digits
    assert far.sum() >= 4 and (before[far] < 0).all()
    assert (np.diff(value) <= c1 * before + 1e-15 * np.abs(value[:-1]))[far].all()
    assert (np.abs(after) <= -c2 * before * (1 + 1e-9))[far].all()
    assert (state.moments["step_length"][:-1][far] > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_cost
def test_the_cost_never_rises_and_nothing_becomes_nan(name, dtype, x64):
    with x64() if dtype == "float64" else contextlib.nullcontext():
        value, *rest = minimise(*arrays(name))
    assert value.dtype == dtype and rest[-1].moments["s"].dtype == dtype
    same = 4 * np.finfo(dtype).eps * np.abs(value[:-1])  # outside the search the cost is another program
    assert (np.diff(value) <= same).all()
    assert value[-1] < value[0]
    chex.assert_tree_all_finite(rest)


def test_rosenbrock_takes_as_many_evaluations_as_in_scipy(x64):
    with x64():
        _, grads, _, state = minimise(*arrays("rosenbrock"))
    steps = int(np.argmax(np.linalg.norm(grads, axis=1) < 1e-8))
    evaluations = 1 + state.moments["evaluations"][:steps].sum()
    assert 0 < steps <= 40 and evaluations <= 50, (steps, evaluations)  # SciPy 38 and 46, Optax 37 and 47


def test_the_state_counts_the_evaluations():
    calls = []

    def counted(x):
        jax.debug.callback(calls.append, x[0])
        return rosenbrock(x)

    state = minimise(counted, jnp.array([-1.2, 1.0]), steps=12)[-1]
    jax.effects_barrier()
    assert (
        len(calls) == 2 * 12 + state.moments["evaluations"].sum()
    )  # `turns` and `step` ask once a step, too
    np.testing.assert_array_equal(state.step, np.arange(1, 13))


NOT_FINITE = {
    "NaN": lambda x: jnp.where(x < 0.1, jnp.nan, (x - 0.2) ** 2),
    "infinite": lambda x: jnp.where(x < 0.1, jnp.inf, (x - 0.2) ** 2),
    "infinitely low": lambda x: jnp.where(x < 0.1, -jnp.inf, (x - 0.2) ** 2),
    "without a slope": lambda x: (x - 0.2) ** 2 + 0.0 * jnp.sqrt(jnp.maximum(x - 0.1, 0)),
    "just behind the minimum": lambda x: jnp.where(x < 0.2 - 1e-9, jnp.nan, (x - 0.2) ** 2),
}


@pytest.mark.parametrize("cost", NOT_FINITE.values(), ids=NOT_FINITE)
def test_a_place_where_the_cost_is_not_finite_is_backed_away_from(cost, x64):
    with x64():
        value, _, params, state = minimise(cost, jnp.array(1.0), steps=30)
    assert state.moments["evaluations"][0] > 1  # its first length, 1, leads to 0
    chex.assert_tree_all_finite((value, params, state))
    np.testing.assert_allclose(params[-1], 0.2, atol=1e-7)


def test_what_is_flat_and_hardly_lower_is_not_taken_and_a_parabola_is_solved_at_once(x64):
    with x64():
        x, state = jnp.array(0.525), lbfgs(c1=0.2, c2=0.95).init(jnp.array(0.0))
        x, state = once(lambda x: 10 * x**2 / 2, x, state)  # the length 1 leads to -0.475
        np.testing.assert_allclose([x, state.moments["step_length"]], [0, 0.525], atol=1e-14)
        assert int(state.moments["evaluations"]) == 2


def test_of_the_lengths_low_enough_it_takes_the_lowest():
    stairs = lambda x: -x + 0.5 * (x > 0.9) + 1.2 * (x > 1.9)  # -0.5 at 1, -0.3 at 2, never flat
    x, state = once(stairs, jnp.array(0.0), lbfgs(evaluations=2).init(jnp.array(0.0)))
    assert (float(x), int(state.moments["evaluations"])) == (1, 2)


def test_down_an_endless_slope_the_lengths_double_until_no_evaluation_is_left():
    x, state = step(slide, jnp.zeros(1), lbfgs(evaluations=5).init(jnp.zeros(1)))
    assert (float(x[0]), int(state.moments["evaluations"])) == (16, 5)
    assert not np.any(state.moments["y"])  # without curvature there is no pair


def test_at_the_minimum_it_stands_still():
    ones = jnp.ones(2)
    update = quick(functools.partial(lbfgs_update, value=0.0, value_fn=rosenbrock))
    updates, state = update(jnp.zeros(2), RULE.init(ones), ones)
    np.testing.assert_array_equal(updates, 0)
    assert int(state.moments["evaluations"]) == 0
    chex.assert_tree_all_finite(state)


def uphill(x):
    """A cost with the slope of its negative."""
    return 2 * jax.lax.stop_gradient(x @ x) - x @ x


PAIRS = {name: np.eye(10, 2, dtype=np.float32) for name in ("s", "y")}
LOST = {
    "a wrong gradient": (uphill, 1.0, 20),
    "a gradient of NaN": (lambda x: x @ x * jnp.nan, 1.0, 0),
    "too few evaluations": (lambda x: 1e6 * x @ x, 1.0, 2),
}


@pytest.mark.parametrize(("cost", "at", "evaluations"), LOST.values(), ids=LOST)
def test_where_nothing_is_lower_it_stands_still_and_forgets(cost, at, evaluations):
    x = np.full(2, at, np.float32)
    state = lbfgs(evaluations=max(evaluations, 1)).init(x)
    state = state._replace(moments=state.moments | PAIRS)
    moved, state = once(cost, x, state)
    np.testing.assert_array_equal(moved, x)
    assert int(state.moments["evaluations"]) == evaluations
    assert not any(np.any(state.moments[name]) for name in ("s", "y", "step_length"))


# --- the direction


def inverse_hessian(s, y):
    """BFGS, eq. 6.17, over all pairs from γI, eq. 6.20, as a full matrix; Nocedal & Wright 2006."""
    one = np.eye(s.shape[1])
    inverse = one * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for a, b in zip(s, y):
        left = one - np.outer(a, b) / (a @ b)
        inverse = left @ inverse @ left.T + np.outer(a, a) / (a @ b)
    return inverse


@pytest.mark.parametrize("memory", [20, 3, 1])
@pytest.mark.parametrize("name", ["rosenbrock of 6", "logistic", "network"])
def test_it_goes_along_minus_h_times_g_of_dense_bfgs(name, memory, x64):
    with x64():
        _, grads, params, state = minimise(*arrays(name), steps=12, memory=memory)
    g, theta = flat(grads), flat(params)
    s, y = np.diff(theta, axis=0), np.diff(g, axis=0)
    d = s / np.asarray(state.moments["step_length"])[:-1, None]
    np.testing.assert_allclose(d[0], -g[0] * min(1, 1 / np.linalg.norm(g[0])), rtol=1e-12)
    for k in range(1, len(d)):
        last = slice(max(0, k - memory), k)
        expected = -inverse_hessian(s[last], y[last]) @ g[k]
        np.testing.assert_allclose(d[k], expected, rtol=1e-6, atol=1e-7 * np.abs(expected).max())
    kept = min(memory, 11)
    for pairs, all_of_them in (("s", s), ("y", y)):  # the newest last; the last step's is not in the path
        found = state.moments[pairs][-2][-kept:]
        np.testing.assert_allclose(found, all_of_them[-kept:], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("right", [0, 1])
def test_pairs_of_negative_curvature_are_passed_over(right):
    """Without a right one, too, which is the newest: then its way is steepest descent."""
    x, newest = np.float32([3.0, -1.0]), right * np.eye(10, 2, -9, dtype=np.float32)
    state = RULE.init(x)
    state = state._replace(moments=state.moments | {"s": newest, "y": newest})
    bent = {"s": newest.copy(), "y": newest.copy()}
    bent["s"][9 - right], bent["y"][9 - right] = 1.0, -1.0
    wrong = state._replace(moments=state.moments | bent)
    np.testing.assert_array_equal(once(rosenbrock, x, wrong)[0], once(rosenbrock, x, state)[0])


def twisted(x):
    """From 0 to (1, 0) the slope changes by (1e-6, 1000): a curvature that is less than rounding."""
    return -x[0] + 1e-6 * x[0] ** 2 / 2 + 1000 * x[0] * x[1]


@pytest.mark.parametrize("cost", [slide, twisted])
def test_a_step_without_curvature_keeps_the_pairs(cost):
    x = jnp.zeros(2)
    state = lbfgs(evaluations=1).init(x)
    moved, after = once(cost, x, state._replace(moments=state.moments | PAIRS))
    assert np.asarray(moved)[0] == 1
    chex.assert_trees_all_equal({name: after.moments[name] for name in PAIRS}, PAIRS)


# --- minima


@convex
def test_it_ends_where_scipy_does(name, x64):
    optimize = pytest.importorskip("scipy.optimize")
    with x64():
        cost, start, *data = arrays(name)
        value, _, params, _ = minimise(cost, start, *data)
        both = quick(jax.value_and_grad(cost))
        found = optimize.minimize(
            lambda x: [*map(np.asarray, both(jnp.asarray(x), *data))], start, jac=True, method="L-BFGS-B",
            options={"ftol": 0, "gtol": 1e-10, "maxiter": 1000},
        )  # fmt: skip
    assert value[-1] <= found.fun + 1e-14 * max(1, abs(found.fun))
    np.testing.assert_allclose(params[-1], found.x, rtol=1e-6, atol=1e-6)


def test_it_walks_as_optax_where_both_take_the_whole_step(x64):
    optax = pytest.importorskip("optax")
    with x64():
        cost, x, *data = arrays("logistic")
        _, _, ours, state = minimise(cost, x, *data)
        rule, f = optax.lbfgs(), lambda w: cost(w, *data)

        def turn(carry, _):
            x, memory = carry
            value, grads = jax.value_and_grad(f)(x)
            updates, memory = rule.update(grads, memory, x, value=value, grad=grads, value_fn=f)
            return (optax.apply_updates(x, updates), memory), x

        theirs = quick(lambda carry: jax.lax.scan(turn, carry, length=12)[1])((x, rule.init(x)))
    shorter = int(np.argmax(state.moments["step_length"] != 1))
    assert shorter >= 5
    np.testing.assert_allclose(ours[: shorter + 1], theirs[: shorter + 1], rtol=1e-7, atol=1e-9)


def fit(epochs, rule=RULE, **options):
    network = fnn.serial(fnn.dense(6), jnp.tanh, fnn.dense(3))
    return fnn.fit(
        network, fnn.softmax_cross_entropy, rule, X, Y, epochs=epochs, batch_size=len(X), **options
    )


def test_fit_trains_and_a_resumed_run_has_the_bits_of_the_whole(tmp_path):
    whole = fit(40, key=key(0))
    assert whole.history["cost"][-1] < 0.01 * whole.history["cost"][0]
    assert (np.diff(whole.history["cost"]) <= 1e-6 * whole.history["cost"][:-1]).all()
    rest = fit(28, state=fit(12, key=key(0)).state)
    chex.assert_trees_all_equal(bits(rest.state), bits(whole.state))
    fit(12, key=key(0), checkpoint=tmp_path / "run")
    chex.assert_trees_all_equal(
        bits(fit(40, key=key(0), checkpoint=tmp_path / "run").state), bits(whole.state)
    )


def test_fit_searches_along_the_cost_with_its_penalty():
    squares = lambda params: 0.05 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    fitted = fit(60, key=key(0), penalty=squares)
    network = fnn.serial(fnn.dense(6), jnp.tanh, fnn.dense(3))
    whole = fnn.loss(network, fnn.softmax_cross_entropy, squares)
    slopes = quick(jax.grad(whole))(fitted.params, X.astype(np.float32), Y)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(slopes)) < 1e-3


# --- contracts


def test_starts_and_numbers_can_be_mapped_over(x64):
    def end(start, c2):
        return turns(lbfgs(c2=c2).init(start), start, cost=rosenbrock, steps=15)[2][-1]

    with x64():
        starts, numbers = DRAW.normal(size=(4, 2)), np.array([0.9, 0.5, 0.2, 0.9])
        alone = [quick(end)(start, c2) for start, c2 in zip(starts, numbers)]
        np.testing.assert_allclose(quick(jax.vmap(end))(starts, numbers), alone, rtol=1e-7)


def test_traces_once_for_all_numbers_and_once_more_for_another_memory():
    traces = []

    @jax.jit
    def begin(init, x):
        traces.append("init")
        return init(x)

    @jax.jit
    def move(x, state):
        traces.append("update")
        return step(rosenbrock, x, state)

    for numbers in ({}, {"c1": 0.01}, {"c2": 0.5, "evaluations": 7}, {"memory": 3}):
        x = jnp.array([-1.2, 1.0])
        state = begin(lbfgs(**numbers).init, x)
        for _ in range(2):
            x, state = move(x, state)
    assert traces == ["init", "update", "init", "update"]
    assert lbfgs().update is lbfgs(memory=3, c2=0.5).update


def test_none_stands_for_untrained_leaves_and_the_order_of_leaves_does_not_matter():
    tree = {"a": jnp.array([-1.2]), "frozen": None, "deep": ({"b": None, "c": jnp.array([[1.0]])}, ())}
    cost = lambda t: rosenbrock(jnp.concatenate([t["a"], t["deep"][0]["c"][0]]))
    params, state, x, plain = tree, RULE.init(tree), jnp.array([-1.2, 1.0]), RULE.init(jnp.zeros(2))
    for _ in range(3):
        (params, state), (x, plain) = once(cost, params, state), once(rosenbrock, x, plain)
    assert params["frozen"] is None and params["deep"][0]["b"] is None
    a, c = np.asarray(params["a"]), np.asarray(params["deep"][0]["c"])
    np.testing.assert_allclose([a[0], c[0, 0]], x, rtol=1e-5)


def test_bfloat16_beside_float32_is_remembered_in_float32(x64):
    def check():
        params = {"half": jnp.array([2.0, -3.0], jnp.bfloat16), "whole": jnp.array([1.5], jnp.float32)}
        cost = lambda p: jnp.sum(p["half"].astype(jnp.float32) ** 2) + jnp.sum((p["whole"] - 1) ** 2)
        value, _, path, state = minimise(cost, params, steps=8)
        assert path["half"].dtype == jnp.bfloat16 and path["whole"].dtype == jnp.float32
        assert {state.moments[name].dtype for name in ("s", "y", "step_length")} == {jnp.dtype("float32")}
        assert (np.diff(value) <= 0).all() and value[-1] < 1e-4
        moved = np.diff(path["half"].astype(np.float32), axis=0)[-1]  # s is the step as rounding left it
        np.testing.assert_array_equal(state.moments["s"][-2, -1, :2], moved)

    check()
    with x64():
        check()


# --- errors

W = jnp.ones(3)
GIVEN = {"value": 1.0, "value_fn": slide}
CALL = "value=value, value_fn=cost"
MISTAKES = {  # what is done, pieces of the message
    "no memory": (lambda: lbfgs(memory=0), ("lbfgs: memory expected a whole number, at least 1", "got 0")),
    "half a pair": (lambda: lbfgs(memory=2.5), ("lbfgs: memory", "got 2.5", "number of pairs")),
    "c1 of 0": (lambda: lbfgs(c1=0.0), ("lbfgs: c1 expected a number, 0 < c1 < 1", "got 0")),
    "c1 of text": (lambda: lbfgs(c1="small"), ("lbfgs: c1 expected a number", "'small'", "c1=0.0001")),
    "c1 of NaN": (lambda: lbfgs(c1=np.nan), ("lbfgs: c1 expected a number, 0 < c1 < 1", "got nan")),
    "c2 below c1": (lambda: lbfgs(c1=0.5, c2=0.1), ("lbfgs: c2 expected a number, c1 < c2 < 1", "got 0.1")),
    "c2 of 1": (lambda: lbfgs(c2=1.0), ("lbfgs: c2 expected a number, c1 < c2 < 1", "got 1")),
    "no evaluations": (lambda: lbfgs(evaluations=0), ("lbfgs: evaluations expected a number, 1 ≤", "got 0")),
    "a schedule": (lambda: lbfgs(c2=fnn.cosine(0.9, 5)), ("lbfgs: c2 expected a number", "the function")),
    "gradients alone": (
        lambda: lbfgs_update(W, RULE.init(W)), ("lbfgs", "no params, value, value_fn", CALL, "value_and_grad")),
    "no cost": (lambda: lbfgs_update(W, RULE.init(W), W, value=1.0), ("given no value_fn.", CALL)),
    "a part of the rows": (
        lambda: lbfgs_update(W, RULE.init(W), W, **GIVEN, full_batch=False),
        ("lbfgs expected all rows in every step", "Give batch_size=len(x)", "fnn.adam()")),
    "another state": (
        lambda: lbfgs_update(W, fnn.adam().init(W), W, **GIVEN), ("lbfgs: update expected a state with the numbers c1, c2",)),
    "gradients of another shape": (
        lambda: lbfgs_update(jnp.ones(2), RULE.init(W), W, **GIVEN), ("gradients expected (3,), got (2,)",)),
    "the state of other parameters": (
        lambda: lbfgs_update(W, RULE.init(jnp.ones(4)), W, **GIVEN), ("expected (4,), got (3,)", "the same tree")),
    "a layer to learn": (lambda: RULE.init(fnn.dense(2)), ("a tree of arrays", "got dense(2)", "network.init(")),
}  # fmt: skip


@pytest.mark.parametrize(("mistake", "pieces"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_refused_with_its_remedy(mistake, pieces):
    with refused(*pieces):
        mistake()


def test_fit_hands_it_all_rows_or_is_refused():
    given = {"key": key(0), "epochs": 1}
    for rule in (fnn.lbfgs(), fnn.levenberg_marquardt(), fnn.chain(fnn.lbfgs(), fnn.average())):
        with refused("expected all rows in every step", "batch_size=len(x)", "fnn.adam()"):
            fnn.fit(fnn.dense(3), fnn.softmax_cross_entropy, rule, X, Y, batch_size=8, **given)
    with refused("lbfgs looks along the cost", "a link before it has changed the gradient"):
        rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.lbfgs())
        fnn.fit(fnn.dense(3), fnn.softmax_cross_entropy, rule, X, Y, batch_size=len(X), **given)


def test_what_stands_after_it_and_around_it_does_not_disturb_it():
    rule = fnn.skip_not_finite(fnn.chain(fnn.lbfgs(), fnn.average(0.9)))
    given = {"epochs": 10, "batch_size": len(X)}
    plain = fnn.fit(fnn.dense(3), fnn.softmax_cross_entropy, fnn.lbfgs(), X, Y, key=key(0), **given)
    around = fnn.fit(fnn.dense(3), fnn.softmax_cross_entropy, rule, X, Y, key=key(0), **given)
    np.testing.assert_allclose(around.history["cost"], plain.history["cost"], rtol=1e-5)
