"""Levenberg–Marquardt: each step is a damped least-squares solution, and no step goes uphill."""

import importlib
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from networks import quick
from oracles import says

import fnn
from fnn.optimizers.levenberg_marquardt import gauss_newton_matrix, levenberg_marquardt

DRAW = np.random.default_rng(0)
X, Y = DRAW.normal(size=(12, 2)), DRAW.normal(size=(12, 2))
WEIGHTS = np.array([0.0, 1, 2, 3, 4, 5, 0.5, 0.25, 1, 1, 7, 2])
NETWORK = fnn.serial(fnn.dense(3), jnp.tanh, fnn.dense(2))
DECAY = 0.1
SIZE = 2 * 3 + 3 + 3 * 2 + 2


def parameters(seed=0, dtype=np.float64):
    draw = np.random.default_rng(seed)
    first = {"bias": draw.normal(size=3), "weight": draw.normal(size=(2, 3))}
    params = (first, (), {"bias": draw.normal(size=2), "weight": draw.normal(size=(3, 2))})
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)


def half_squares(params):
    return DECAY / 2 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def objective_of(cost=fnn.mse, y=Y, weights=None, penalty=None, network=NETWORK, x=X):
    options = {} if weights is None else {"sample_weight": weights}
    return fnn.Objective(
        lambda params: network.forward(params, jnp.asarray(x, jax.tree.leaves(params)[0].dtype)),
        lambda predictions: cost(predictions, y, **options),
        penalty,
    )


def update_of(rule, objective, params, state=None):
    value, grads = jax.value_and_grad(objective)(params)
    state = rule.init(params) if state is None else state
    return rule.update(grads, state, params, value=value, value_fn=objective)


def first_update(rule, objective, params):
    """That of update_of at the first step, in one program."""
    return quick(partial(update_of, rule, objective))(params)


def flat_of(tree, *leading):
    """All numbers of a tree in a row, after the leading axes."""
    return np.concatenate([np.reshape(leaf, (*leading, -1)) for leaf in jax.tree.leaves(tree)], axis=-1)


@partial(jax.jit, static_argnames=("rule_update", "objective", "steps"))
def walk_from(state, params, *, rule_update, objective, steps):
    """The end, and parameters, costs and dampings before each step."""

    def turn(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(objective)(params)
        updates, after = rule_update(grads, state, params, value=value, value_fn=objective)
        seen = params, value, state.moments["damping"]
        return (fnn.apply_updates(params, updates), after), seen

    return jax.lax.scan(turn, (params, state), length=steps)


def walk(rule, objective, params, steps):
    """The last parameters, and the costs and dampings before each step."""
    state = rule.init(params)
    (params, _), (_, costs, dampings) = walk_from(
        state, params, rule_update=rule.update, objective=objective, steps=steps
    )
    return params, np.asarray(costs), np.asarray(dampings)


# --- oracles: NumPy float64


def squares_of(theta, weights, decay):
    """Residuals r and their derivatives by hand, with cost = Σr²/2: rows of data, then of the decay."""
    b1, w1, b2, w2 = np.split(theta, np.cumsum([3, 6, 2]))
    w1, w2 = w1.reshape(2, 3), w2.reshape(3, 2)
    shares = weights / weights.sum() / 2  # of two outputs a row
    residuals, slopes = [], []
    for x, y, share in zip(X, Y, shares, strict=True):
        a = np.tanh(x @ w1 + b1)
        for k, chosen in enumerate(np.eye(2)):
            delta = w2[:, k] * (1 - a**2)
            by_parameter = delta, np.outer(x, delta).ravel(), chosen, np.outer(a, chosen).ravel()
            slopes.append(np.sqrt(2 * share) * np.concatenate(by_parameter))
            residuals.append(np.sqrt(2 * share) * (a @ w2[:, k] + b2[k] - y[k]))
    residuals = np.concatenate([residuals, np.sqrt(decay) * theta])
    return residuals, np.vstack([slopes, np.sqrt(decay) * np.eye(SIZE)])


def damped_step(theta, damping, weights, decay):
    """Levenberg (1944): the least-squares solution of [J; √(μs) I] Δ = [−r; 0], s the mean eigenvalue of JᵀJ."""
    r, j = squares_of(theta, weights, decay)
    unit = np.linalg.eigvalsh(j.T @ j).mean()
    rows = np.vstack([j, np.sqrt(damping * unit) * np.eye(SIZE)])
    return np.linalg.lstsq(rows, np.concatenate([-r, np.zeros(SIZE)]))[0]


def numpy_walk(theta, damping, steps, weights, decay):
    """Hagan and Menhaj (1994), section III: parameters and dampings before each step, and the tries of each."""

    def cost(theta):
        return (squares_of(theta, weights, decay)[0] ** 2).sum() / 2

    path, dampings, tries = [theta], [damping], [0]
    while len(path) <= steps:
        moved = theta + damped_step(theta, damping, weights, decay)
        fell = cost(moved) < cost(theta)
        damping, tries[-1] = damping * (0.1 if fell else 10), tries[-1] + 1
        if fell:
            theta = moved
            path, dampings, tries = [*path, theta], [*dampings, damping], [*tries, 0]
    return np.array(path), np.array(dampings), tries


SQUARES = {
    "plain": (np.ones(12), 0.0),
    "weighted": (WEIGHTS, 0.0),
    "penalised": (np.ones(12), DECAY),
    "both": (WEIGHTS, DECAY),
}


def objective_like(weights, decay):
    given = None if (weights == 1).all() else weights
    return objective_of(weights=given, penalty=half_squares if decay else None)


@pytest.mark.parametrize(("weights", "decay"), SQUARES.values(), ids=SQUARES)
def test_a_step_is_the_damped_least_squares_solution(weights, decay, x64):
    with x64():
        params = parameters()
        theta, objective = flat_of(params), objective_like(weights, decay)
        value = quick(lambda params: objective(params))(params)
        np.testing.assert_allclose(value, (squares_of(theta, weights, decay)[0] ** 2).sum() / 2, rtol=1e-12)
        step = jax.jit(lambda state: update_of(levenberg_marquardt(), objective, params, state))
        for damping in (0.1, 1.0, 30.0):
            updates, state = step(levenberg_marquardt(damping).init(params))
            expected = damped_step(theta, damping, weights, decay)
            np.testing.assert_allclose(flat_of(updates), expected, rtol=1e-9)
            np.testing.assert_allclose(state.moments["damping"], damping / 10, rtol=1e-12)  # at the first try
            assert int(state.step) == 1


def test_a_path_with_refused_tries_equals_the_formula(x64):
    weights, decay = SQUARES["both"]
    with x64():
        params = parameters(3)
        expected, dampings, tries = numpy_walk(flat_of(params), 1e-6, 12, weights, decay)
        assert 2 < max(tries) <= 10  # some were refused
        rule, objective = levenberg_marquardt(1e-6), objective_like(weights, decay)
        _, (path, _, seen) = walk_from(
            rule.init(params), params, rule_update=rule.update, objective=objective, steps=12
        )
        np.testing.assert_allclose(seen, dampings[:-1], rtol=1e-9)
        np.testing.assert_allclose(flat_of(path, 12), expected[:-1], rtol=1e-7)


def test_a_linear_network_is_solved_in_one_step(x64):
    with x64():
        line = fnn.dense(2)
        params = {"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)}
        objective = objective_of(network=line)
        updates, _ = first_update(levenberg_marquardt(1e-12), objective, params)
        found = quick(fnn.apply_updates)(params, updates)
        solution = np.linalg.lstsq(np.column_stack([X, np.ones(12)]), Y)[0]
        np.testing.assert_allclose(found["weight"], solution[:2], rtol=1e-9)
        np.testing.assert_allclose(found["bias"], solution[2], rtol=1e-9)


TIMES = np.linspace(0, 4, 30)
CURVE = 2.5 * np.exp(-1.3 * TIMES) + 0.5 + 0.05 * np.random.default_rng(1).normal(size=30)
RESIDUALS = {  # of three parameters, for NumPy and JAX alike, and their start
    "rosenbrock": (lambda w, np: np.stack([10 * (w[1] - w[0] ** 2), 1 - w[0], w[2]]), [-1.2, 1.0, 1.0]),
    "curve": (lambda w, np: w[0] * np.exp(-w[1] * TIMES) + w[2] - CURVE, [1.0, 1.0, 0.0]),
}


@pytest.mark.parametrize(("residuals", "start"), RESIDUALS.values(), ids=RESIDUALS)
def test_the_end_is_that_of_scipy(residuals, start, x64):
    optimize = pytest.importorskip("scipy.optimize")
    found = optimize.least_squares(lambda w: residuals(w, np), start, method="lm", xtol=1e-14, ftol=1e-14)
    with x64():
        objective = fnn.Objective(lambda w: residuals(w, jnp), lambda r: jnp.mean(r**2))
        end, costs, _ = walk(levenberg_marquardt(), objective, jnp.array(start), 60)
        np.testing.assert_allclose(end, found.x, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(costs[-1], 2 * found.cost / len(residuals(found.x, np)), atol=1e-14)


# --- the matrix


def coupled(params):
    """What each row predicts depends on all rows."""
    y = NETWORK.forward(params, jnp.asarray(X))
    return y - y.mean(0)


def several(params):
    y = NETWORK.forward(params, jnp.asarray(X))
    return {"mean": y[:, 0], "both": jnp.sin(y)}


def of_both(predictions):
    return fnn.mse(predictions["both"], Y) + jnp.mean(
        jnp.cosh(predictions["mean"] * predictions["both"][:, 1])
    )


CLASSES = partial(fnn.softmax_cross_entropy, targets=np.arange(12) % 2, label_smoothing=0.1)
OBJECTIVES = {
    "classes": fnn.Objective(objective_of().predict, CLASSES, half_squares),
    "penalty not diagonal": fnn.Objective(
        objective_of().predict, CLASSES, lambda p: jnp.sum(p[0]["weight"] @ p[2]["weight"]) ** 2
    ),
    "rows coupled": fnn.Objective(coupled, lambda p: fnn.rmse(p, Y)),
    "several outputs": fnn.Objective(several, of_both),
}


@partial(jax.jit, static_argnums=0)
def explicit_matrix(objective, params):
    theta, unravel = ravel_pytree(params)
    predictions, back = ravel_pytree(objective.predict(params))
    j = jax.jacrev(lambda t: ravel_pytree(objective.predict(unravel(t)))[0])(theta)
    matrix = j.T @ jax.hessian(lambda p: objective.cost(back(p)))(predictions) @ j
    if objective.penalty is None:
        return matrix
    return matrix + jax.hessian(lambda t: objective.penalty(unravel(t)))(theta)


@pytest.mark.parametrize(
    ("objective", "chunk"), [*zip(OBJECTIVES.values(), (1, 7, SIZE, 100))], ids=OBJECTIVES
)
@pytest.mark.parametrize("largest", [2**24, 0], ids=["J stored", "its products only"])
def test_the_matrix_is_the_explicit_one_whatever_the_chunk(objective, chunk, largest, x64, monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("fnn.optimizers.levenberg_marquardt"), "LARGEST_JACOBIAN", largest
    )
    with x64():
        params = parameters()
        theta, unravel = ravel_pytree(params)

        @jax.jit
        def matrix_at(theta):
            return gauss_newton_matrix(objective, lambda d: unravel(theta + d), 0 * theta, chunk)

        expected = np.asarray(explicit_matrix(objective, params))
        assert abs(expected).max() > 0.01
        np.testing.assert_allclose(matrix_at(theta), expected, rtol=1e-10, atol=1e-12)


def test_another_chunk_takes_the_same_step_in_less_memory(x64):
    with x64():
        params, x = parameters(), np.random.default_rng(2).normal(size=(500, 2))
        objective = objective_of(x=x, y=np.sin(x))

        def compiled(chunk):
            rule = levenberg_marquardt(chunk=chunk)
            return jax.jit(lambda p: update_of(rule, objective, p)[0]).lower(params).compile()

        one, all_at_once = compiled(1), compiled(SIZE)
        chex.assert_trees_all_close(one(params), all_at_once(params), rtol=1e-9)
        memory = [program.memory_analysis().temp_size_in_bytes for program in (one, all_at_once)]
        assert memory[0] < memory[1] / 2, memory


# --- laws

COSTS = {
    "mse": objective_of(),
    "mae": objective_of(fnn.mae),  # H = 0: a search along the gradient
    "huber": objective_of(partial(fnn.huber, delta=0.1), penalty=half_squares),
    "classes": objective_of(fnn.softmax_cross_entropy, np.arange(12) % 2, WEIGHTS),
}


@pytest.mark.parametrize("objective", COSTS.values(), ids=COSTS)
def test_the_cost_falls_and_never_rises(objective):
    rule = levenberg_marquardt()
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(parameters(s, np.float32) for s in range(6)))
    each = jax.vmap(partial(walk_from.__wrapped__, rule_update=rule.update, objective=objective, steps=40))
    (_, state), (_, costs, dampings) = jax.jit(lambda p: each(jax.vmap(rule.init)(p), p))(params)
    costs, dampings = np.asarray(costs), np.asarray(dampings)
    assert np.isfinite(costs).all() and np.isfinite(state.moments["damping"]).all()
    assert (costs[:, 1:] <= costs[:, :-1] * (1 + 1e-6)).all()  # two programs round in two ways
    assert (costs[:, -1] < 0.8 * costs[:, 0]).all(), costs[:, [0, -1]]
    assert (dampings >= np.finfo(np.float32).eps).all() and (dampings <= 1e10).all()


def test_the_unit_of_the_cost_does_not_matter(x64):
    with x64():
        params, rule = parameters(), levenberg_marquardt(0.1)
        updates = [
            first_update(rule, objective_of(lambda p, y, c=c: c * fnn.mse(p, y)), params)[0]
            for c in (1e-6, 1.0, 1e6)
        ]
        chex.assert_trees_all_close(*updates, rtol=1e-9)


def test_tries_outside_the_domain_are_refused(x64):
    with x64():
        objective = fnn.Objective(jnp.log, lambda z: (z + 5.0) ** 2)  # undamped, the first step ends at −63
        w, _, dampings = walk(levenberg_marquardt(), objective, jnp.array(10.0), 30)
        assert dampings[1] > 1e-3
        np.testing.assert_allclose(w, np.exp(-5), rtol=1e-9)


def test_where_nothing_falls_it_stands_still_with_a_bounded_damping():
    objective = fnn.Objective(lambda w: 3 * w, lambda p: jnp.mean((p - 6) ** 2))
    rule, least = levenberg_marquardt(), jnp.full(2, 2.0)
    w, _, dampings = walk(rule, objective, least, 4)
    np.testing.assert_array_equal(w, least)
    np.testing.assert_allclose(dampings, [1e-3, 1e7, 1e10, 1e10], rtol=1e-5)
    update = quick(partial(rule.update, value=1.0, value_fn=objective))
    updates, _ = update(np.full(2, np.nan, np.float32), rule.init(least), least)
    np.testing.assert_array_equal(updates, 0)


def test_the_damping_does_not_fall_below_the_rounding():
    objective = fnn.Objective(lambda w: 3 * w, lambda p: jnp.mean((p - 6) ** 2))
    _, state = update_of(levenberg_marquardt(2e-7), objective, jnp.zeros(2))
    assert float(state.moments["damping"]) == np.finfo(np.float32).eps


def test_a_step_that_is_no_number_is_refused_where_the_cost_does_not_show_it():
    w = jnp.array(0.5)  # cos is bent downward here, so G = −cos ½ has no factor before μ = 1
    objective = fnn.Objective(lambda w: jnp.nan_to_num(w, nan=3.0), jnp.cos)
    updates, state = first_update(levenberg_marquardt(), objective, w)
    np.testing.assert_allclose(updates, np.sin(0.5) / (1 - np.cos(0.5)), rtol=1e-5)
    np.testing.assert_allclose(state.moments["damping"], 0.1, rtol=1e-5)


# --- contracts


def test_none_stands_for_untrained_leaves(x64):
    with x64():
        rule, weight, x = levenberg_marquardt(), jnp.array([1.0, -2.0]), jnp.asarray(X)
        alone = fnn.Objective(lambda p: jnp.tanh(x @ p["weight"]), lambda p: fnn.mse(p, Y[:, 0]))
        expected, _ = first_update(rule, alone, {"weight": weight})
        holey = {"weight": weight, "frozen": None, "deep": ({"weight": None}, ())}
        updates, _ = first_update(rule, alone, holey)
        chex.assert_trees_all_equal(updates, {**holey, "weight": expected["weight"]})


def test_a_network_of_which_nothing_is_trained_stays():
    objective = fnn.Objective(lambda params: jnp.ones(3), lambda p: jnp.mean(p**2))
    rule, params = levenberg_marquardt(), {"weight": None}
    updates, state = rule.update(params, rule.init(params), params, value=1.0, value_fn=objective)
    assert updates == params and jnp.isfinite(state.moments["damping"])


TYPES = [  # of the first layer, the last, and the data
    ("bfloat16", "bfloat16", "bfloat16"),
    ("float32", "bfloat16", "float32"),
    ("float32", "float64", "float32"),
    ("float32", "float32", "float64"),
]


@pytest.mark.parametrize("types", TYPES)
def test_types_stay_and_low_ones_learn_too(types, x64):
    with x64():
        first, _, last = parameters()
        cast = [
            jax.tree.map(lambda p: np.asarray(p).astype(jnp.dtype(d)), own)
            for d, own in zip(types, (first, last))
        ]
        params, rule, x = (cast[0], (), cast[1]), levenberg_marquardt(), X.astype(types[2])
        objective = fnn.Objective(lambda p: NETWORK.forward(p, x), lambda p: fnn.mse(p, Y))
        state = rule.init(params)
        turn = partial(walk_from, rule_update=rule.update, objective=objective, steps=20)
        (end, after), (_, costs, _) = turn(state, params)
        chex.assert_trees_all_equal_shapes_and_dtypes((end, after), (params, state))
        assert state.moments["damping"].dtype == jnp.promote_types(jnp.result_type(*types[:2]), jnp.float32)
        assert state.hyperparameters["damping"].dtype == jnp.float64
        costs = np.asarray(costs)
        assert costs[-1] < 0.5 * costs[0]


def test_numbers_are_leaves_and_another_compiles_nothing():
    traces, params, objective = [], parameters(0, np.float32), objective_of()

    @jax.jit
    def first_step(init):
        traces.append("step")
        rule = fnn.Optimizer(init, levenberg_marquardt().update)
        return update_of(rule, objective, params)

    rules = [levenberg_marquardt(0.1), levenberg_marquardt(1.0, 0.5, 2.0), levenberg_marquardt(1e-3)]
    alone = [first_step(rule.init) for rule in rules]
    assert traces == ["step"]
    assert {rule.update for rule in rules} == {levenberg_marquardt(chunk=32).update}
    assert levenberg_marquardt(chunk=8).update is not rules[0].update
    np.testing.assert_allclose(alone[1][1].moments["damping"], 0.5)

    states = jax.tree.map(lambda *leaves: np.stack(leaves), *(rule.init(params) for rule in rules))
    together = jax.jit(jax.vmap(lambda state: update_of(rules[0], objective, params, state)))(states)
    each = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    chex.assert_trees_all_close(together, each, rtol=1e-3)


SINE = np.linspace(-3, 3, 40)[:, None]
CURVED = fnn.serial(fnn.dense(8), jnp.tanh, fnn.dense(1))


def fit_sine(**options):
    rule, rows = levenberg_marquardt(), len(SINE)
    return fnn.fit(CURVED, fnn.mse, rule, SINE, np.sin(SINE), batch_size=rows, **options)


def test_fit_trains_in_few_steps_and_a_resumed_run_has_the_same_bits():
    whole = fit_sine(epochs=30, key=jax.random.key(0))
    assert whole.history["cost"][-1] < 0.05 * whole.history["cost"][0]
    half = fit_sine(epochs=12, key=jax.random.key(0))
    rest = fit_sine(epochs=18, state=half.state)
    chex.assert_trees_all_equal(rest.state.optimizer, whole.state.optimizer)
    chex.assert_trees_all_equal(rest.params, whole.params)


def test_behind_a_clip_the_step_is_shortened(x64):
    with x64():
        params, objective = parameters(), objective_of()
        norm = float(np.linalg.norm(flat_of(quick(jax.grad(objective))(params))))
        clipped = fnn.chain(fnn.clip_by_global_norm(norm / 4), levenberg_marquardt(1.0))
        expected, _ = first_update(levenberg_marquardt(1.0), objective, params)
        updates, _ = first_update(clipped, objective, params)
        chex.assert_trees_all_close(updates, jax.tree.map(lambda u: np.asarray(u) / 4, expected), rtol=1e-9)


# --- messages

WRONG = {
    "damping 0": (dict(damping=0.0), ValueError, ("levenberg_marquardt: damping", "0 < damping")),
    "damping NaN": (dict(damping=np.nan), ValueError, ("damping", "nan")),
    "a schedule": (dict(damping=fnn.cosine(0.1, steps=5)), TypeError, ("damping expected a number",)),
    "decrease above 1": (dict(decrease=1.5), ValueError, ("0 < decrease ≤ 1", "1.5")),
    "increase 1": (dict(increase=1.0), ValueError, ("1 < increase", "1.0")),
    "chunk 0": (dict(chunk=0), ValueError, ("levenberg_marquardt: chunk", "at least 1")),
}


@pytest.mark.parametrize(("numbers", "error", "words"), WRONG.values(), ids=WRONG)
def test_numbers_that_make_no_rule_are_refused(numbers, error, words):
    with pytest.raises(error, match=says(*words)):
        levenberg_marquardt(**numbers)


def test_what_update_cannot_use_is_refused():
    params, objective, rule = parameters(0, np.float32), objective_of(), levenberg_marquardt()
    given = {
        "grads": params,
        "state": rule.init(params),
        "params": params,
        "value": 1.0,
        "value_fn": objective,
    }
    bare = lambda params: objective(params)
    ids = objective._replace(predict=lambda params: jnp.arange(3))
    for wrong, error, words in (
        ({"value_fn": bare}, TypeError, ("value_fn", "fnn.Objective(predict, cost)", "fnn.fit", "lambda")),
        ({"value_fn": None}, TypeError, ("value_fn", "got None")),
        ({"value_fn": ids}, TypeError, ("predictions expected real numbers", "int32", "ids")),
        ({"params": None}, ValueError, ("needs the parameters", "value_fn=")),
        ({"state": fnn.adam().init(params)}, ValueError, ("state", "another rule")),
        ({"grads": params[:2]}, ValueError, ("gradients",)),
    ):
        with pytest.raises(error, match=says("levenberg_marquardt" * (wrong.keys() != {"grads"}), *words)):
            rule.update(**{**given, **wrong})


@pytest.mark.parametrize(("dtype", "most"), [("float32", 16384), ("float64", 11585)])
def test_matrices_that_no_laptop_holds_are_refused_before_they_are_made(dtype, most, x64):
    def step(parameters, predictions):
        objective = fnn.Objective(lambda w: jnp.full(predictions, w.sum()), lambda p: jnp.mean(p**2))
        shape = jax.ShapeDtypeStruct((parameters,), dtype)
        return jax.eval_shape(partial(update_of, levenberg_marquardt(), objective), shape)

    with x64():
        step(most, 1)
        step(100, 10**9)  # of a large Jacobian, only some columns are there at a time
        with pytest.raises(ValueError, match=says("levenberg_marquardt", "at most 1 GiB", "fnn.freeze")):
            step(most + 1, 1)
        with pytest.raises(
            ValueError, match=says("30000 parameters", "3.4" if dtype == "float32" else "6.7")
        ):
            step(30000, 1)
