"""One training step as a text: each formula in it is computed again, each number compared with another way."""

import itertools
import math
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import CENTRE, parameters, refused

import fnn
from fnn.inspection.updates import Given, read_link

dense = fnn.dense
NUMBER = r"\d+(?:\.\d+)?(?:e[−+]?\d+)?"
X = np.array([[0.5, -1.3, 0.8], [1.1, 0.4, -0.6], [-0.7, 0.2, 1.9]], np.float32)
Y = np.array([[0.3, -1.2], [0.9, 1.7], [-2.4, 0.6]], np.float32)
YES = np.array([[1.0, 0.0], [0.0, 1.0], [0.25, 1.0]], np.float32)
IDS = np.array([0, 1, 1])
NETWORK = fnn.serial(dense(3), jnp.tanh, dense(2))
PARAMS = parameters(NETWORK, X)


# Formulas as a person computes them -------------------------------------------------------------------


class Root:
    def __pow__(self, x):
        return math.sqrt(x)


PYTHON = {"−": "-", "·": "*", "²": "**2", "³": "**3", "^": "**", "√": "root**"}
NAMES = {"root": Root(), "e": math.e, "log": math.log, "log1p": math.log1p, "max": max, "min": min, "abs": abs,
         "sign": lambda v: math.copysign(1, v) if v else 0.0, "pow": pow, "__builtins__": {}}  # fmt: skip


def number(token):
    return float(token.replace("−", "-"))


def evaluate(formula):
    """The value of a printed formula, and how far the digits that are not printed can move it."""
    tokens = []
    code = re.sub(rf"(?<![a-z]){NUMBER}", lambda m: tokens.append(m[0]) or f"n[{len(tokens) - 1}]", formula)
    bars = itertools.cycle(["abs(", ")"])
    code = "".join(PYTHON.get(sign, sign) for sign in re.sub(r"\|", lambda _: next(bars), code))
    exact = [number(token) for token in tokens]
    value, unsure = eval(code, {**NAMES, "n": exact}), 0.0
    for i, n in enumerate(exact):
        near = [*exact[:i], n * (1 + 5e-6), *exact[i + 1 :]]
        unsure += abs(eval(code, {**NAMES, "n": near}) - value)
    return value, unsure


def follows(line):
    """Whether in `name = formula = value` the formula gives the value."""
    _, *formulas, value = line.split(" = ")
    computed = [evaluate(formula) for formula in formulas if re.search(r"\d", formula)]
    return all(abs(v - number(value)) <= unsure + 6e-6 * abs(number(value)) + 1e-12 for v, unsure in computed)


def value_of(line):
    return number(line.rsplit(" = ", 1)[1])


def close(found, expected):
    np.testing.assert_allclose(found, np.asarray(expected, float), rtol=2e-5, atol=1e-6)


# --- rules: every formula, computed again, is the update

RULES = {
    "gradient_descent": fnn.gradient_descent(0.5),
    "momentum": fnn.momentum(0.3, momentum=0.7),
    "nesterov": fnn.nesterov(0.3, momentum=0.7),
    "adagrad": fnn.adagrad(0.2, eps=0.1, eps_root=0.3, initial=0.1),
    "rmsprop": fnn.rmsprop(0.05, decay=0.8, eps=0.1, eps_root=0.2),
    "adadelta": fnn.adadelta(0.5, decay=0.9, eps=0.1),
    "adam": fnn.adam(0.04, b1=0.8, b2=0.95, eps=0.1, eps_root=0.2),
    "adamw": fnn.adamw(0.04, b1=0.8, b2=0.95, eps=0.1, weight_decay=0.3),
    "adamax": fnn.adamax(0.04, b1=0.8, b2=0.95, eps=0.1),
    "nadam": fnn.nadam(0.04, b1=0.8, b2=0.95, eps=0.1),
    "amsgrad": fnn.amsgrad(0.04, b1=0.8, b2=0.95, eps=0.1),
    "radam": fnn.radam(0.04, b1=0.8, b2=0.9, eps=0.1),
    "lion": fnn.lion(0.04, b1=0.8, b2=0.95, weight_decay=0.3),
    "clip_by_global_norm": fnn.clip_by_global_norm(0.7),
    "weight_decay": fnn.weight_decay(0.3),
}
THETA = {"bias": jnp.array([0.7, -1.9]), "weight": jnp.array([[3.1, -2.3], [0.4, 1.3]])}
GRADS = {"bias": jnp.array([0.3, -0.2]), "weight": jnp.array([[-0.9, 0.6], [0.5, -0.4]])}


def users_init(params):
    return {"slow": jax.tree.map(jnp.zeros_like, params), "count": jnp.zeros((), int)}


def users_update(grads, state, params):
    """s ← ½s + g², Δ = …."""
    slow = jax.tree.map(lambda s, g: 0.5 * s + g**2, state["slow"], grads)
    step = lambda g, s, p: jnp.where(s > 0.3, -0.1 * jnp.sign(g), -0.2 * g / jnp.exp(s) - 0.1 * p)
    return jax.tree.map(step, grads, slow, params), {"slow": slow, "count": state["count"] + 1}


def optaxes():
    optax = pytest.importorskip("optax", reason="compares with Optax: pip install -e '.[oracle]'")
    return {
        "adam": optax.adam(0.1, eps=0.1),
        "sgd": optax.sgd(0.1, momentum=0.9, nesterov=True),
        "chain": optax.chain(optax.clip_by_global_norm(0.5), optax.adamw(0.1, eps=0.1, weight_decay=0.1)),
    }


def read(rule, place, index, steps=1):
    """The lines for one parameter in the last of these steps, and what the rule itself computes there."""
    state = rule.init(THETA)
    for _ in range(steps - 1):
        _, state = jax.jit(rule.update)(GRADS, state, THETA)
    updates, after = rule.update(GRADS, state, THETA)
    given = Given(GRADS, state, THETA, {"grad": GRADS})
    lines = [*read_link(rule.update, given, (jax.tree_util.DictKey(place),), index, "Δ")]
    flat = jax.tree_util.tree_leaves_with_path(after)
    moments = [leaf[index] for path, leaf in flat if jax.tree_util.keystr(path).endswith(f"['{place}']")]
    return lines, float(updates[place][index]), [float(moment) for moment in moments]


@pytest.mark.parametrize("where", [("weight", (0, 1)), ("bias", (1,))], ids=["weight", "bias"])
@pytest.mark.parametrize("name", [*RULES, "user", "optax"])
def test_every_formula_of_a_rule_computed_again_is_its_update(name, where):
    rules = (
        optaxes() if name == "optax" else {name: RULES.get(name) or fnn.Optimizer(users_init, users_update)}
    )
    for rule, steps in itertools.product(rules.values(), (1, 3)):
        lines, update, moments = read(rule, *where, steps)
        assert [line for line in lines if not follows(line)] == []
        found = {line.split(" = ")[0]: value_of(line) for line in lines}
        close(found.pop("Δ"), update)
        for moment in moments:
            assert min(abs(value - moment) for value in found.values()) <= 6e-6 * abs(moment) + 1e-9


def test_a_wrong_number_in_a_formula_is_noticed():
    lines, *_ = read(RULES["adam"], "weight", (0, 1), 3)
    for line in lines:
        numbers = [m for m in re.finditer(NUMBER, line) if m.start() > line.index(" = ")]
        for m in numbers:
            assert not follows(f"{line[: m.start()]}{1.03 * number(m[0]):.6g}{line[m.end() :]}"), line


@pytest.mark.parametrize("name", [*RULES][:7])
def test_the_numbers_of_a_rule_are_those_of_its_oracle(name):
    rule = RULES[name]
    numbers = {k: float(v) for k, v in rule.init.keywords.items()}
    theta, g = np.array([float(THETA["weight"][1, 0])]), np.array([0.5])
    memory = oracles.start(name, theta, **numbers)
    for t in (1, 2, 3):
        new, memory = getattr(oracles, name)(g, theta, memory, t, **numbers)
        lines, *_ = read(rule, "weight", (1, 0), t)
        found = {line.split(" = ")[0]: value_of(line) for line in lines}
        close(found["Δ"], (new - theta)[0])
        for moment, value in memory.items():
            close(found[moment], value[0])


def test_a_formula_is_written_as_on_paper():
    lines = lambda rule, *where: read(rule, *where)[0]
    assert lines(fnn.nesterov(0.5, momentum=0.25), "weight", (1, 0)) == [
        "velocity = 0.25 · 0 + 0.5 = 0.5", "Δ = (−0.5) · (0.5 + 0.25 · 0.5) = −0.3125"]  # fmt: skip
    assert lines(fnn.adam(0.5, b1=0.5, b2=0.75, eps=0.0), "weight", (1, 1)) == [
        "m = 0.5 · 0 + 0.5 · (−0.4) = −0.2",
        "v = 0.75 · 0 + 0.25 · (−0.4)² = 0.04",
        "Δ = (−0.5) · (−0.2) / 0.5 / √(0.04 / 0.25) = 0.5",
    ]
    assert lines(fnn.adadelta(), "weight", (1, 0))[1].startswith("Δ = ")  # its square comes after it
    assert lines(fnn.clip_by_global_norm(3.0), "bias", (1,)) == ["Δ = −0.2"]  # short enough as it is
    assert lines(fnn.weight_decay(0.5), "weight", (0, 0)) == ["Δ = (−0.9) − 0.5 · 3.1 = −2.45"]
    assert lines(fnn.weight_decay(0.5), "bias", (0,)) == ["Δ = 0.3"]  # spared


# --- costs: every row, computed again

SOFTMAX = fnn.softmax_cross_entropy
COSTS = {
    "mse": (fnn.mse, Y),
    "rmse": (fnn.rmse, Y),
    "mae": (fnn.mae, Y),
    "huber": (partial(fnn.huber, delta=0.4), Y),
    "binary": (partial(fnn.binary_cross_entropy, label_smoothing=0.2, positive_weight=3.0), YES),
    "softmax": (SOFTMAX, IDS),
    "softmax of probabilities": (SOFTMAX, np.array([[0.7, 0.3], [0.0, 1.0], [0.5, 0.5]], np.float32)),
    "softmax with options": (partial(SOFTMAX, label_smoothing=0.1, class_weight=np.array([1.0, 3.0])), IDS),
    "a user's": (lambda predictions, targets: ((predictions - targets) ** 4).mean(), Y),
}


@pytest.mark.parametrize("name", COSTS)
def test_every_row_of_a_cost_computed_again_is_its_cost(name):
    cost, y = COSTS[name]
    lines = stages(fnn.explain(NETWORK, cost, fnn.adam(), PARAMS, X, y))[1].splitlines()
    formulas = [line.strip() for line in lines if line.strip() and " = " in line]
    rows = [line for line in formulas if line.startswith("row ")]
    assert len(rows) == 3 and [line for line in formulas[:-1] if not follows(line)] == []
    p = NETWORK.forward(PARAMS, X)
    for i, row in enumerate(rows):
        close(value_of(row), cost(p[i : i + 1], jnp.asarray(y[i : i + 1])))
    close(value_of(formulas[-1]), cost(p, jnp.asarray(y)))
    is_mean = name not in ("rmse", "softmax with options")
    assert ("the mean over rows" in formulas[-1]) == is_mean


# --- networks: every array, by another way


def stages(text):
    return re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:]


def arrays(stage):
    """The arrays of a stage: (name, numbers) in the order of the text."""
    lines, found = stage.splitlines(), []
    for i, line in enumerate(lines):
        header = re.fullmatch(r" *(.+?)  \(([\d, ]*)\)", line)
        if header:
            shape = tuple(int(n) for n in header[2].split(",") if n.strip())
            rows = [lines[i + 1 + j].split() for j in range(math.prod(shape[:-1]))]
            numbers = np.vectorize(number, otypes=[float])(np.array(rows, object))
            found.append((header[1], numbers.reshape(shape)))
    return found


def total(pair):
    return pair[0] + pair[1]


NETWORKS = {
    "a layer alone": dense(2),
    "relu": fnn.serial(dense(4), jax.nn.relu, dense(2)),
    "softmax": fnn.serial(dense(3), jax.nn.softmax, dense(2), jax.nn.sigmoid),
    "residual": fnn.serial(dense(3), fnn.residual(dense(3), jnp.tanh), dense(2)),
    "parallel": fnn.serial(fnn.parallel(dense(2), fnn.serial(jnp.tanh, dense(2))), total),
    "flatten and dropout": fnn.serial(fnn.flatten(1), dense(3), fnn.dropout(0.5), dense(2)),
    "freeze": fnn.serial(fnn.freeze(dense(3)), lambda z: z**2, dense(2)),
    "a layer of the user's": fnn.serial(CENTRE, dense(2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_array_is_that_of_the_step_and_of_the_derivatives_by_jax(name):
    network = NETWORKS[name]
    params = parameters(network, X)
    text = fnn.explain(network, fnn.mse, fnn.gradient_descent(0.5), params, X, Y)
    forward, _, backward, _, new = stages(text)
    loss = fnn.loss(network, fnn.mse)
    close(arrays(forward)[0][1], X)
    close(arrays(forward)[-1][1], network.forward(params, X))
    slopes = jax.grad(lambda learns: loss(fnn.merge(learns, params), X, Y))(fnn.trained(params))
    found = [numbers for label, numbers in arrays(backward) if label.startswith("∂c/∂[")]
    expected = sorted(jax.tree.leaves(slopes), key=lambda leaf: (leaf.shape, float(leaf.sum())))
    for one, other in zip(sorted(found, key=lambda leaf: (leaf.shape, leaf.sum())), expected, strict=True):
        close(one, other)
    close(arrays(backward)[-1][1], jax.grad(lambda x: loss(params, x, Y))(jnp.asarray(X)))
    state = fnn.start(network, fnn.gradient_descent(0.5), X, key=jax.random.key(0), params=params)
    after, _ = fnn.step(network, fnn.mse, fnn.gradient_descent(0.5), state, X, Y, jax.random.key(1))
    if name not in (
        "flatten and dropout",
        "a layer of the user's",
    ):  # which do something else while they learn
        for (_, one), other in zip(arrays(new), jax.tree.leaves(fnn.trained(after.params)), strict=True):
            close(one, other)
        assert text.endswith(f"and is now {float(loss(after.params, X, Y)):.6g}")


def test_a_layer_shows_its_own_formula_and_what_has_none_says_so():
    network = fnn.serial(dense(2), lambda z: z**2, fnn.wire(lambda net, x: net.inner(x), inner=dense(2)))
    text = fnn.explain(
        network, fnn.mse, fnn.chain(fnn.adam(), fnn.weight_decay(0.1)), parameters(network, X), X, Y
    )
    assert "layer 0, dense(2):  y = xW + b" in text and "∂c/∂W = xᵀδ, ∂c/∂b = Σᵢ δᵢ, δ ← δWᵀ" in text
    assert "layer 1, <lambda>:  by jax.vjp" in text and "layer 2, wire(inner):  by jax.vjp" in text
    assert "4. Optimisation: adam → weight_decay" in text and "adam:  m ← β₁m + (1 − β₁)g" in text


def test_large_arrays_and_many_rows_are_shown_in_part():
    x = np.ones((12, 100), np.float32)
    text = fnn.explain(dense(1), fnn.mse, fnn.adam(), parameters(dense(1), x), x, x[:, :1])
    assert "1,200 numbers, too many to print: from 1 to 1" in text and "… and 4 more rows" in text


WRONG = {
    "no network": ({"network": 3}, ("explain: network expected a layer", "got 3")),
    "no cost": ({"cost": "mse"}, ("explain: cost expected a function", "Give the function itself: fnn.mse")),
    "no rule": ({"optimizer": fnn.adam}, ("explain: optimizer expected", "Call it: fnn.adam(…)")),
    "whole numbers": (
        {"params": jax.tree.map(lambda p: np.asarray(p, np.int32), PARAMS)}, ("explain: params[", "int32", "no derivative")),
    "other rows": ({"y": Y[:2]}, ("same number of rows", "x has 3", "y has 2")),
    "gaps": ({"x": X * np.nan}, ("x expected finite numbers", "row 0, column 0")),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_it_refuses_what_is_not_what_its_name_says(wrong):
    changed, pieces = WRONG[wrong]
    given = {"network": NETWORK, "cost": fnn.mse, "optimizer": fnn.adam(), "params": PARAMS, "x": X, "y": Y}
    with refused(*pieces):
        fnn.explain(**(given | changed))
