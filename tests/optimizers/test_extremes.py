"""Every rule at its extremes: gradients of any size, every number mapped and differentiated, any nesting."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, quick
from oracles import START
from walks import flat_of, tree_of, walk_from

import fnn

clip, decay, chain = fnn.clip_by_global_norm, fnn.weight_decay, fnn.chain


def a_chain(learning_rate=0.01, momentum=0.9, rate=0.003, max_norm=5.0):
    return chain(clip(max_norm), fnn.momentum(learning_rate, momentum), decay(rate))


RULES = {name: getattr(fnn, name) for name in oracles.MOMENTS}
RULES["rmsprop with all"] = functools.partial(fnn.rmsprop, momentum=0.5, centered=True)
every_rule = pytest.mark.parametrize("make", RULES.values(), ids=RULES)
every_optimizer = pytest.mark.parametrize("make", [*RULES.values(), a_chain], ids=[*RULES, "a chain"])


# --- gradients of any size

SIZES = [0.0, 1e-30, 1e-19, 1e-4, 1.0, 1e18, 1e30]  # squares that vanish, are all but lost, overflow
SIGNS = np.array([1, -1, 1, 1, -1, -1, 1])
GRADIENTS = np.float32(
    [*(size * SIGNS for size in SIZES), SIZES * SIGNS]
)  # alike, and all sizes in one array


@every_rule
def test_updates_and_their_derivatives_are_finite_at_gradients_of_any_size(make):
    rule, params, ones = make(), np.linspace(-1, 1, 7, dtype=np.float32), np.ones(7, np.float32)

    def one(g, state):
        """The update, its derivatives forward and backward, and the state after it."""
        move = lambda g: rule.update(g, state, params)
        update, forward, after = jax.jvp(move, (g,), (ones,), has_aux=True)
        (backward,) = jax.vjp(move, g, has_aux=True)[1](ones)
        return jnp.stack([update, forward, backward]), after

    def three(g, state):
        """At g, at g once more, and at an ordinary gradient after it."""
        first, state = one(g, state)
        again, state = one(g, state)
        return {"first": first, "again": again, "afterwards": one(ones, state)[0]}

    begin = after = rule.init(params)
    update = quick(rule.update)
    for g in (np.float32(0.1) * params, np.float32(0.2) - params):
        _, after = update(g, after, params)
    three = quick(jax.vmap(three, in_axes=(0, None)))
    for step, state in ((1, begin), (10**6, after._replace(step=np.int32(10**6 - 1)))):
        for when, found in three(GRADIENTS, state).items():
            wrong = np.argwhere(~np.isfinite(found))
            what = {("update", "forward", "backward")[j] + f" at {GRADIENTS[i, k]:.0e}" for i, j, k in wrong}
            assert not what, f"step {step}, {when}: {sorted(what)}"


@pytest.mark.parametrize("size", [1e-30, 1e-19, 1.0, 1e19, 1e30])
def test_clipping_keeps_the_direction_of_a_gradient_of_any_size(size):
    grads = {"a": np.float32([3.0 * size, 0.0]), "b": np.float32([[-4.0 * size]])}
    update = quick(clip(1.0).update)
    for limit in (1e-25, 0.5, 1e30):
        updates, _ = update(grads, clip(limit).init(grads))
        length = min(5 * size, limit)
        np.testing.assert_allclose(updates["a"], [0.6 * length, 0.0], rtol=1e-6)
        np.testing.assert_allclose(updates["b"], [[-0.8 * length]], rtol=1e-6)


# --- every number

AT = {"b2": 0.95, "eps": 0.01, "eps_root": 0.001, "initial": 0.1, "weight_decay": 0.3}  # where they count


def numbers_of(make):
    """The defaults, without what is no number, and others where those of the defaults hardly count."""
    takes = {name: AT.get(name, taken.default) for name, taken in inspect.signature(make).parameters.items()}
    numbers = {name: number for name, number in takes.items() if type(number) is float}
    return numbers | ({"learning_rate": 0.05} if make is fnn.lion else {})  # on the way signs turn


def end_of(make, steps, numbers):
    """The parameters after so many steps."""
    params, rule = tree_of(jnp.array(START)), make(**numbers)
    if make is fnn.muon:
        rule = fnn.Optimizer(
            lambda params: make(**numbers).init(reshape(params, 2, 3)), of_a_matrix(rule.update)
        )
    (params, _), _ = walk_from(rule.init(params), params, update=rule.update, steps=steps)
    return flat_of(params)


def reshape(tree, *shape):
    return {**tree, "weight": tree["weight"].reshape(shape)}


@functools.cache
def of_a_matrix(update):
    """The update of a rule for which the six weights are a matrix."""

    def moved(grads, state, params):
        updates, state = update(reshape(grads, 2, 3), state, reshape(params, 2, 3))
        return reshape(updates, 6), state

    return moved


def varied(make, change):
    """All numbers of a rule, and then one after the other `change` times itself: an array for each name."""
    numbers = numbers_of(make)
    rows = [numbers] + [{**numbers, name: change * number} for name, number in numbers.items()]
    return {name: np.array([row[name] for row in rows]) for name in numbers}


@every_optimizer
def test_every_number_can_be_mapped_over(make, x64):
    with x64():
        numbers = varied(make, 0.6)
        end = functools.partial(end_of, make, 20)
        together, alone = np.asarray(quick(jax.vmap(end))(numbers)), quick(end)
        for i in range(len(together)):
            own = {name: float(each[i]) for name, each in numbers.items()}
            np.testing.assert_allclose(together[i], alone(own), rtol=1e-12, atol=1e-14)
        for name, other in zip(numbers, together[1:], strict=True):
            assert np.abs(other - together[0]).max() > 1e-9, f"{name} changes nothing"


def slopes_of(make):
    """∂/∂number of one number that all parameters move, after ten steps: by grad, by central differences."""
    weights, h = jnp.arange(1.0, 9.0), 1e-5

    def height(numbers):
        return end_of(make, 10, numbers) @ weights

    numbers = numbers_of(make)
    slopes, heights = quick(jax.grad(height))(numbers), quick(jax.vmap(height))
    up, down = (np.array(heights(varied(make, change)))[1:] for change in (1 + h, 1 - h))
    differences = (up - down) / (2 * h * np.array(list(numbers.values())))
    return {name: float(slopes[name]) for name in numbers}, dict(zip(numbers, differences))


@every_optimizer
def test_the_derivative_of_ten_steps_with_respect_to_every_number_equals_its_difference(make, x64):
    with x64():
        slopes, differences = slopes_of(make)
    for name, slope in slopes.items():
        if not (make is fnn.lion and name in ("b1", "b2")):  # below
            assert slope != 0
            np.testing.assert_allclose(slope, differences[name], rtol=5e-6, err_msg=name)


def test_the_sign_that_lion_steps_by_has_no_slope_in_b1_and_b2(x64):
    """A small change of β turns no sign: the derivative is 0, and so is every small enough difference."""
    with x64():
        slopes, differences = slopes_of(fnn.lion)
        far = varied(fnn.lion, 0.6)
        ends = np.asarray(quick(jax.vmap(functools.partial(end_of, fnn.lion, 20)))(far))
    for name in ("b1", "b2"):
        assert slopes[name] == differences[name] == 0
        assert np.abs(ends[1 + list(far).index(name)] - ends[0]).max() > 1e-5  # a large one does


NESTINGS = {
    "to the right": lambda rule, n, r: chain(clip(n), chain(rule, chain(decay(r)))),
    "to the left": lambda rule, n, r: chain(chain(chain(clip(n)), rule), decay(r)),
    "around": lambda rule, n, r: chain(chain(chain(clip(n), rule, decay(r)))),
}


def scheduled(learning_rate=0.01, steps=20.0):
    return fnn.adam(fnn.warmup(3, fnn.cosine(learning_rate, steps)))


@pytest.mark.parametrize("nest", NESTINGS.values(), ids=NESTINGS)
@pytest.mark.parametrize("make", [*RULES.values(), scheduled], ids=[*RULES, "a schedule"])
def test_any_numbers_in_any_nesting_are_one_trace(make, nest):
    traces = []

    @quick
    def begin(init, params):
        traces.append("init")
        return init(params)

    @quick
    def step(grads, state, params):
        traces.append("update")
        return nest(make(), 1.0, 0.1).update(grads, state, params)

    numbers, params, moves = varied(make, 0.6), tree_of(jnp.array(START)), []
    for i in range(len(numbers["learning_rate"])):
        own = {name: float(each[i]) for name, each in numbers.items()}
        state = begin(nest(make(**own), 2.0 + i, 0.2 + i / 10).init, params)
        updates, _ = step(params, state, params)
        moves.append(float(flat_of(updates).sum()))
    assert traces == ["init", "update"]
    assert len(set(moves)) > 1


# --- bare defaults on real data


@pytest.mark.slow
@every_rule
def test_it_learns_digits_with_bare_defaults(make):
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn has the digits")
    pixels, y = datasets.load_digits(return_X_y=True)
    x, rule = np.float32(pixels / 16), make()
    network = fnn.serial(fnn.dense(32), jax.nn.relu, fnn.dense(10))
    loss = fnn.loss(network, fnn.softmax_cross_entropy)

    @quick
    def train(params, x, y, batches):
        def turn(carry, rows):
            params, state = carry
            updates, state = rule.update(jax.grad(loss)(params, x[rows], y[rows]), state, params)
            return (fnn.apply_updates(params, updates), state), None

        return jax.lax.scan(turn, (params, rule.init(params)), batches)[0][0]

    batches = np.random.default_rng(0).integers(500, size=(900, 16))
    params = train(network.init(key(0), x), x[:500], y[:500], batches)
    assert loss(params, x[1400:], y[1400:]) < 0.7 * np.log(10)  # the cost of guessing
