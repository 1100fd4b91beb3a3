"""Among other libraries: fnn's rules train in their loops and pass their tests, their rules and schedules train in fit."""

import inspect
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, quick

import fnn

optax = pytest.importorskip("optax", reason="compares with Optax: pip install -e '.[oracle]'")

RATES = {"adadelta": 10.0, "lion": 0.01}  # where 0.02 is no rate for forty steps
RULES = {
    **{name: getattr(fnn, name)(learning_rate=RATES.get(name, 0.02)) for name in oracles.MOMENTS},
    "a rule with a schedule": fnn.adam(fnn.warmup(5, fnn.cosine(0.05, steps=40))),
    "a chain": fnn.chain(fnn.clip_by_global_norm(1.0), fnn.momentum(0.02), fnn.weight_decay(0.01)),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


# The same problem in each library: a curve, a network 3-6-1 from the same weights, forty steps ------

X = np.random.default_rng(0).normal(size=(32, 3))
Y = np.sin(X @ [1.0, -2.0, 0.5])[:, None]
NETWORK = fnn.serial(fnn.dense(6), jnp.tanh, fnn.dense(1))
LOSS = fnn.loss(NETWORK, fnn.mse)
STEPS = 40


def begin():
    draw = np.random.default_rng(1)
    first, last = (jnp.asarray(draw.normal(size=sizes) / np.sqrt(sizes[0])) for sizes in ((3, 6), (6, 1)))
    return ({"weight": first, "bias": jnp.zeros(6)}, (), {"weight": last, "bias": jnp.zeros(1)})


@partial(quick, static_argnames="update")
def scanned(state, params, *, update):
    def turn(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(LOSS)(params, X, Y)
        updates, state = update(grads, state, params)
        return (fnn.apply_updates(params, updates), state), value

    return jax.lax.scan(turn, (params, state), length=STEPS)[1]


def in_fnn(rule):
    """The cost before each step; so of the loops below."""
    return np.array(scanned(rule.init(begin()), begin(), update=rule.update))


def in_optax(rule):
    params = begin()
    state, costs = rule.init(params), []

    @quick
    def step(params, state):
        loss = partial(LOSS, x=X, y=Y)
        value, grads = jax.value_and_grad(loss)(params)
        searches = isinstance(rule, optax.GradientTransformationExtraArgs)
        extra = dict(value=value, grad=grads, value_fn=loss) if searches else {}
        updates, state = rule.update(grads, state, params, **extra)
        return optax.apply_updates(params, updates), state, value

    for _ in range(STEPS):
        params, state, value = step(params, state)
        costs.append(value)
    return np.array(costs)


def in_flax(rule):
    nnx = pytest.importorskip("flax.nnx", reason="trains in Flax: pip install flax")
    rngs, wide = nnx.Rngs(0), jnp.result_type(float)
    layers = [nnx.Linear(*sizes, param_dtype=wide, rngs=rngs) for sizes in ((3, 6), (6, 1))]
    for layer, own in zip(layers, begin()[::2]):
        layer.kernel[...], layer.bias[...] = own["weight"], own["bias"]
    model = nnx.Sequential(layers[0], jnp.tanh, layers[1])
    optimizer = nnx.Optimizer(model, rule, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        value, grads = nnx.value_and_grad(lambda model: jnp.mean((model(X) - Y) ** 2))(model)
        optimizer.update(model, grads)
        return value

    return np.array([step(model, optimizer) for _ in range(STEPS)])


def in_equinox(rule):
    eqx = pytest.importorskip("equinox", reason="trains in Equinox: pip install equinox")
    model = eqx.nn.MLP(3, 1, width_size=6, depth=1, activation=jnp.tanh, key=key(0))
    of_model = lambda model: [array for layer in model.layers for array in (layer.weight, layer.bias)]
    model = eqx.tree_at(of_model, model, [p for own in begin()[::2] for p in (own["weight"].T, own["bias"])])
    arrays = eqx.filter(model, eqx.is_array)
    assert arrays.activation is None  # what is no array is None, for init and update
    state, costs = rule.init(arrays), []

    @eqx.filter_jit
    def step(model, state):
        value, grads = eqx.filter_value_and_grad(lambda model: jnp.mean((jax.vmap(model)(X) - Y) ** 2))(model)
        updates, state = rule.update(grads, state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), state, value

    for _ in range(STEPS):
        model, state, value = step(model, state)
        costs.append(value)
    return np.array(costs)


# --- fnn's rules elsewhere


@every_rule
@pytest.mark.parametrize("loop", [in_optax, in_flax, in_equinox])
def test_a_rule_trains_in_the_loop_of_another_library_as_in_ours(rule, loop, x64):
    with x64():
        ours, theirs = in_fnn(rule), loop(rule)
    assert theirs[-1] < 0.7 * theirs[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-9)


@every_rule
def test_a_rule_is_a_link_of_either_chain_beside_links_of_either_library(rule, x64):
    half = optax.scale(0.5)
    with x64():
        ours = in_fnn(fnn.chain(fnn.clip_by_global_norm(0.1), rule, half))
        for chain, clip in ((fnn.chain, optax.clip_by_global_norm), (optax.chain, fnn.clip_by_global_norm)):
            np.testing.assert_allclose(in_fnn(chain(clip(0.1), rule, half)), ours, rtol=1e-9)
        assert ours[-1] < ours[0]
        assert np.all(ours[1:] != in_fnn(rule)[1:])  # both links do something


# --- their rules and schedules in fit


def in_fit(rule):
    fitted = fnn.fit(NETWORK, fnn.mse, rule, X, Y, key=key(0), epochs=STEPS, batch_size=32, params=begin())
    return fitted.history["cost"]


THEIRS = {
    "adam": lambda: optax.adam(0.02),
    "lbfgs": lambda: optax.lbfgs(),
    "adafactor": lambda: optax.adafactor(0.1),
    "a chain with clip": lambda: optax.chain(optax.clip(0.05), optax.adam(0.02)),
}


@pytest.mark.parametrize("make", THEIRS.values(), ids=THEIRS)
def test_a_rule_of_optax_trains_in_fit_as_in_its_own_loop(make, x64):
    with x64():
        here, there = in_fit(make()), in_optax(make())
    assert here[-1] < 0.7 * here[0]
    np.testing.assert_allclose(here, there, rtol=1e-9)


SCHEDULES = {
    "constant": optax.constant_schedule(0.02),
    "cosine": optax.cosine_decay_schedule(0.05, 30, alpha=0.1),
    "cosine after a warm-up": optax.warmup_cosine_decay_schedule(0.001, 0.05, 10, 30, 0.002),
    "exponential": optax.exponential_decay(0.05, 10, 0.5, transition_begin=5, staircase=True),
    "piecewise": optax.piecewise_constant_schedule(0.05, {10: 0.5, 20: 0.2}),
    "one cycle": optax.cosine_onecycle_schedule(40, 0.05),
    "two joined": optax.join_schedules([lambda t: 0.02, optax.linear_schedule(0.05, 0.0, 20)], [15]),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_schedule_of_optax_trains_our_rule_as_it_trains_theirs(schedule, x64):
    with x64():
        ours, theirs = in_fit(fnn.adam(schedule)), in_optax(optax.adam(schedule))
    assert ours[-1] < 0.7 * ours[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # Optax asks its schedule in float32


# --- Optax's own tests, with our rules in the place of its own

try:
    from optax._src import alias_test as shipped
except ImportError as error:
    shipped, missing = None, f"Optax's tests need what is not here: {error}"

OURS = {name: getattr(fnn, name) for name in oracles.MOMENTS} | {
    "sgd": fnn.momentum,  # the form that the tests ask of it
    "adadelta": partial(fnn.adadelta, decay=0.9),  # Optax's ρ
    "adamw": partial(fnn.adamw, weight_decay=1e-4),  # Optax's λ: a larger one moves the minimum
}


def takes(make, numbers):
    try:
        inspect.signature(make).bind(**numbers)
    except TypeError:
        return False
    return True


def asked():
    """What Optax's tests are run with, where fnn has the rule in this form: its name and numbers."""
    if shipped is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason=missing))]
    table = [(case["opt_name"], case["opt_kwargs"]) for case in shipped._OPTIMIZERS_UNDER_TEST]
    ours = [(name, numbers) for name, numbers in table if name in OURS and takes(OURS[name], numbers)]
    return [pytest.param(case, id=f"{case[0]} {case[1]}") for case in ours if "learning_rate" in case[1]]


every_case = pytest.mark.parametrize("case", asked())


@pytest.fixture
def passes(monkeypatch):
    """Run Optax's test of that name, which is written for any rule, with ours and these arguments."""

    def run(test, case, rules=OURS, **arguments):
        body = getattr(getattr(shipped.AliasTest, f"{test}0", None), "__wrapped__", None)
        if body is None:  # of all rules and arguments it makes tests named test0, test1, …
            pytest.skip(f"this version of Optax writes {test} in another way")
        monkeypatch.setattr(shipped, "alias", types.SimpleNamespace(**rules))  # where it looks for names
        name, numbers = case
        body(shipped.AliasTest(f"{test}0"), opt_name=name, opt_kwargs=numbers, **arguments)

    return run


@every_case
@pytest.mark.parametrize("target", ["_setup_parabola", "_setup_rosenbrock"])
def test_it_finds_the_minima_of_optax(passes, case, target):
    with jax.debug_key_reuse(False):  # it has no keys, and ten thousand calls, each five times as fast so
        passes("test_optimization", case, target=getattr(shipped, target), dtype=jnp.float32)


@every_case
def test_it_is_held_by_what_optax_wraps_around_a_rule(passes, case):
    passes("test_gradient_accumulation", case, dtype="bfloat16")
    passes("test_optimizers_can_be_wrapped_in_inject_hyperparams", case)


@every_case
def test_it_passes_over_arguments_that_are_not_its_own_where_optax_is_told_so(passes, case):
    """A rule of ours takes no others: with_extra_args_support, or a chain, leaves them out for it."""
    make = OURS[case[0]]
    wrapped = {case[0]: lambda **given: optax.with_extra_args_support(make(**given))}
    passes("test_optimizers_accept_extra_args", case, wrapped)


@every_case
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtypes_and_shapes_stay_as_optax_asks(passes, case, dtype):
    """Not in half precision: our updates are float32 there, and rounded once, when they are added."""
    passes("test_state_shape_dtype_shard_stability", case, dtype=getattr(jnp, dtype))
    if dtype == "float32":
        passes("test_preserve_dtype", case, dtype=dtype)
