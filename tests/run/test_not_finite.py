"""A run that goes bad: it stops at once, keeps what was good, and says what went bad first, and where.

Each case lets one quantity go bad at a step that it counts itself, so the epoch and the step are known.
"""

import functools
import re
import warnings
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import bits

import fnn
from fnn.run import not_finite
from fnn.workflow.setting import make_setting

X = np.random.default_rng(0).normal(size=(22, 3)).astype("f4")
Y = X.sum(1, keepdims=True)
STEPS = 3  # batches of 8, 8 and 6 rows
BAD = 7  # the eighth step: the second of the third epoch
FULL = jnp.float32(3.4e38)


def fit(network, cost=fnn.mse, rule=None, epochs=6, **options):
    rule = fnn.gradient_descent(0.01) if rule is None else rule
    options = {"x": X, "y": Y, "key": jax.random.key(0), "batch_size": 8} | options
    return fnn.fit(network, cost, rule, epochs=epochs, **options)


# A layer that counts its steps, and lets something go bad at one of them ---------------------------


def no_count(key, x):
    return {"statistics": {"count": jnp.zeros(())}}


def as_it_is(params, x):
    return x


def after(params):
    return {"statistics": {"count": params["statistics"]["count"] + 1}}


def bad_output(step, value, params, x, key):
    return jnp.where(params["statistics"]["count"] == step, value, x), after(params)


@jax.custom_vjp
def bad_behind(x, is_bad):
    return x


bad_behind.defvjp(
    lambda x, is_bad: (x, is_bad),
    lambda is_bad, delta: (jnp.where(is_bad, jnp.inf, delta), jnp.zeros(())),
)


def bad_gradient(step, params, x, key):
    is_bad = (params["statistics"]["count"] == step).astype(x.dtype)
    return bad_behind(x, is_bad), after(params)


def counted(step, params, x, key):
    """One output more: whether it is the bad step."""
    is_bad = params["statistics"]["count"] == step
    return jnp.append(x, jnp.full((len(x), 1), is_bad, x.dtype), 1), after(params)


def one_more(params, x):
    return jnp.append(x, jnp.zeros((len(x), 1), x.dtype), 1)


@functools.cache
def burns(step=BAD, value=jnp.nan):
    return fnn.layer(no_count, as_it_is, functools.partial(bad_output, step, value), name="burns")


@functools.cache
def bends(step=BAD):
    return fnn.layer(no_count, as_it_is, functools.partial(bad_gradient, step), name="bends")


@functools.cache
def tells(step=BAD):
    return fnn.layer(no_count, one_more, functools.partial(counted, step), name="tells")


def cost_of_flagged(predictions, targets):
    flags = predictions[:, -1:]
    return fnn.mse(predictions[:, :1], targets) + jnp.where(flags[0, 0] == 1, jnp.inf, 0)


# A rule that counts its steps ----------------------------------------------------------------------


class Counted(NamedTuple):
    step: jax.Array
    memory: dict


def bad_rule(make):
    """Plain descent, whose update and memory at the bad step are what `make` makes of them."""

    def init(params):
        return Counted(jnp.zeros((), int), {"mean": jax.tree.map(jnp.zeros_like, params)})

    def update(grads, state, params=None):
        descent = jax.tree.map(lambda g: -0.01 * g, grads)
        bad_updates, bad_memory = make(descent, state.memory)
        choose = lambda bad, good: jax.tree.map(lambda b, g: jnp.where(state.step == BAD, b, g), bad, good)
        return choose(bad_updates, descent), Counted(state.step + 1, choose(bad_memory, state.memory))

    return fnn.Optimizer(init, update)


def in_layer_2(tree, value):
    return (*tree[:2], jax.tree.map(lambda leaf: jnp.full_like(leaf, value), tree[2]), *tree[3:])


def plain():
    return fnn.serial(fnn.dense(4), jnp.tanh, fnn.dense(1))


def full(key, shape, dtype=jnp.float32):
    return jnp.full(shape, FULL, dtype)


def big(key, shape, dtype=jnp.float32):
    return jnp.full(shape, 2e6, dtype)


SITES = {  # what is fitted, then the quantity, where it is, and what is found
    "an activation": (
        dict(network=fnn.serial(fnn.dense(4), burns(), fnn.dense(1))),
        "activation", "layer 1, burns", r"nan at \(0, 0\), (32|24) of (32|24) numbers",
    ),
    "an activation that is infinite": (
        dict(network=fnn.serial(fnn.dense(4), burns(value=-jnp.inf), fnn.dense(1))),
        "activation", "layer 1, burns", r"-inf at \(0, 0\)",
    ),
    "the cost": (
        dict(network=fnn.serial(fnn.dense(1), tells()), cost=cost_of_flagged),
        "cost", "cost_of_flagged", "inf",
    ),
    "the gradient": (
        dict(network=fnn.serial(fnn.dense(4), bends(), fnn.dense(1))),
        "gradient", "layer 0, dense(4), weight", r"(inf|nan) at \(0, 0\), 12 of 12 numbers",
    ),
    "the update": (
        dict(network=plain(), rule=bad_rule(lambda u, m: (in_layer_2(u, jnp.nan), m))),
        "update", "layer 2, dense(1), bias", r"nan at \(0,\), 1 of 1 numbers",
    ),
    "the rule's memory": (
        dict(network=plain(), rule=bad_rule(lambda u, m: (u, {"mean": in_layer_2(m["mean"], jnp.inf)}))),
        "moment", ".memory['mean'][2]['bias']", r"inf at \(0,\)",
    ),
    "a parameter that overflows": (
        dict(
            network=fnn.serial(fnn.dense(4, bias_init=full), jnp.tanh, fnn.dense(1)),
            rule=bad_rule(lambda u, m: (jax.tree.map(lambda leaf: jnp.full_like(leaf, FULL), u), m)),
        ),
        "parameter", "layer 0, dense(4), bias", r"inf at \(0,\), 4 of 4 numbers",
    ),
}  # fmt: skip


def stopped(**options):
    with pytest.warns(RuntimeWarning, match=r"^fit: epoch \d+ was not finished") as caught:
        fitted = fit(**options)
    assert [warning.filename for warning in caught] == [__file__]
    assert str(fitted.not_finite) in str(caught[0].message)
    assert fitted.stopped == "not_finite"
    return fitted


@pytest.mark.parametrize(("options", "quantity", "where", "found"), SITES.values(), ids=SITES)
def test_what_goes_bad_first_is_named_and_the_run_is_kept_as_it_was(options, quantity, where, found):
    fitted = stopped(**options)
    site = fitted.not_finite
    assert (site.epoch, site.step) == (BAD // STEPS + 1, BAD % STEPS + 1) == (3, 2)
    assert (site.quantity, site.where) == (quantity, where)
    assert re.match(found, site.found), site.found
    good = fit(**options, epochs=2)
    assert good.stopped == "epochs" and good.not_finite is None
    chex.assert_trees_all_equal(bits(fitted.state), bits(good.state))
    chex.assert_trees_all_equal(fitted.history, good.history)


def test_the_last_smaller_batch_is_looked_at_too():
    site = stopped(network=fnn.serial(fnn.dense(4), burns(step=5), fnn.dense(1))).not_finite
    assert (site.epoch, site.step, site.where) == (2, 3, "layer 1, burns")
    assert site.found.endswith("24 of 24 numbers")  # six rows are left


def test_a_penalty_is_told_from_the_cost():
    network = fnn.serial(lambda x: 1e-9 * x, fnn.dense(1, weight_init=big))
    penalty = lambda params: jnp.where(params[1]["weight"].max() > 1e6, jnp.nan, 0.0)
    site = stopped(network=network, penalty=penalty).not_finite
    assert (site.epoch, site.step, site.quantity, site.where, site.found) == (
        1,
        1,
        "penalty",
        "<lambda>",
        "nan",
    )


def test_validation_that_is_not_finite_stops_the_run_and_keeps_the_best():
    network = fnn.serial(fnn.dense(1), lambda x: x**3)
    held = (np.full((5, 3), 1e20, "f4"), np.zeros((5, 1)))
    fitted = stopped(network=network, validation=held, rule=fnn.gradient_descent(1e-4))
    site = fitted.not_finite
    assert (site.epoch, site.quantity) == (1, "validation cost")
    assert int(fitted.state.epoch) == 0 and {len(rows) for rows in fitted.history.values()} == {0}


def test_nothing_in_the_input_is_looked_for_in_vain():
    network, rule = plain(), fnn.gradient_descent()
    state = fnn.start(network, rule, X, key=jax.random.key(0))
    x = X.copy()
    setting = make_setting(network, fnn.mse, rule, batch_size=32, x=x, y=Y)
    x[13, 2] = np.inf
    site = not_finite.find(setting, state)
    assert site == (1, 1, "input", "x", "inf at (13, 2), 1 of 66 numbers")
    x[13, 2] = 0
    site = not_finite.find(setting, state)
    assert site.found == "though no step made alone shows it: it depends on rounding"
    bad = state._replace(params=jax.tree.map(lambda p: p.at[0].set(jnp.nan), state.params))
    site = not_finite.find(setting, bad)
    assert (site.quantity, site.where) == ("parameter", "layer 0, dense(4), bias")


# Which layer, wherever it stands -------------------------------------------------------------------


def explodes(x):
    return jnp.log(x - x)


def twice(net, x):
    return net.outer(net.inner(x))


def dict_of(x):
    return {"a": x, "b": -x}


def summed(parts):
    return sum(jax.tree.leaves(parts))


PLACES = {
    "residual": (lambda: fnn.serial(fnn.residual(jnp.sin, explodes), fnn.dense(1)), "layer 0, residual › layer 1, explodes"),
    "parallel": (
        lambda: fnn.serial(fnn.parallel(jnp.sin, explodes), summed, fnn.dense(1)),
        "layer 0, parallel › branch 1, explodes",
    ),
    "parallel by key": (
        lambda: fnn.serial(dict_of, fnn.parallel(a=jnp.sin, b=explodes), summed, fnn.dense(1)),
        "layer 1, parallel(a, b) › branch 'b', explodes",
    ),
    "repeat": (
        lambda: fnn.serial(fnn.repeat(2, fnn.serial(fnn.dense(3), explodes)), fnn.dense(1)),
        "layer 0, repeat(2) › each layer, serial › layer 1, explodes",
    ),
    "freeze": (
        lambda: fnn.serial(fnn.freeze(fnn.serial(fnn.dense(3), explodes)), fnn.dense(1)),
        "layer 0, freeze › frozen, serial › layer 1, explodes",
    ),
    "precision": (
        lambda: fnn.serial(fnn.precision(fnn.serial(fnn.dense(3), explodes), jnp.bfloat16), fnn.dense(1)),
        "layer 0, precision(bfloat16) › inner, serial › layer 1, explodes",
    ),
    "wire": (
        lambda: fnn.serial(fnn.wire(twice, inner=fnn.dense(3), outer=fnn.serial(jnp.sin, explodes)), fnn.dense(1)),
        "layer 0, wire(inner, outer) › part 'outer', serial › layer 1, explodes",
    ),
    "a single layer": (lambda: fnn.layer(lambda key, x: (), lambda params, x: explodes(x), name="own"), "own"),
}  # fmt: skip


def found_at_once(network, y=Y):
    """What goes bad in the first step."""
    rule = fnn.gradient_descent()
    state = fnn.start(network, rule, X, key=jax.random.key(0))
    return not_finite.find(make_setting(network, fnn.mse, rule, batch_size=8, x=X, y=y), state)


@pytest.mark.parametrize(("build", "path"), PLACES.values(), ids=PLACES)
def test_the_innermost_layer_is_named_by_its_path(build, path):
    site = found_at_once(build(), np.zeros_like(X) if path == "own" else Y)
    assert (site.epoch, site.step, site.quantity) == (1, 1, "activation")
    assert site.where == path, site.where
    assert site.found.startswith("-inf at")


def only_compiled(x):
    """A function that cannot be gone through with numbers."""
    if not isinstance(x, jax.core.Tracer):
        raise TypeError("needs jit")
    return x


def test_where_layers_cannot_be_gone_through_the_first_other_quantity_is_named():
    network = fnn.serial(fnn.dense(4), only_compiled, burns(), fnn.dense(1))
    site = stopped(network=network).not_finite
    assert (site.epoch, site.step, site.quantity, site.where, site.found) == (3, 2, "cost", "mse", "nan")


def masked(x):
    return jnp.where(x > 0, x, -jnp.inf)


def masks(key, x):
    return {"frozen": {"mask": jnp.array([0.0, -jnp.inf, 0.0, -jnp.inf])}}


def add_mask(params, x):
    return x + params["frozen"]["mask"]


def soft(x):
    return jax.nn.softmax(jnp.append(x, jnp.zeros((len(x), 1)), 1))


ADDS_MASK = fnn.layer(masks, add_mask, name="add_mask")
BEHIND_MASKS = {  # what goes bad, and what is to be named
    "nan": (lambda: burns(0), "activation", "layer 3, burns"),
    "a gradient": (lambda: bends(0), "gradient", "layer 0, dense(4), weight"),
    "-inf": (lambda: burns(0, -jnp.inf), "activation", "layer 3, burns"),
}


@pytest.mark.parametrize("place", [masked, ADDS_MASK], ids=["plain", "frozen"])
@pytest.mark.parametrize(("build", "quantity", "where"), BEHIND_MASKS.values(), ids=BEHIND_MASKS)
def test_infinities_of_a_mask_are_not_blamed_for_what_goes_bad_elsewhere(place, build, quantity, where):
    site = found_at_once(fnn.serial(fnn.dense(4), place, soft, build(), fnn.dense(1)))
    assert (site.epoch, site.step, site.quantity, site.where) == (1, 1, quantity, where)


def test_a_cost_that_cannot_be_looked_into_is_said_so_and_the_run_is_returned():
    def compiled_only(predictions, targets):
        value = fnn.mse(predictions, targets)
        if not isinstance(value, jax.core.Tracer):
            raise RuntimeError("needs jit")
        return value

    site = stopped(network=fnn.serial(fnn.dense(4), burns(), fnn.dense(1)), cost=compiled_only).not_finite
    assert (site.epoch, site.step, site.quantity) == (3, 2, "cost")
    assert site.found == "and could not be looked into: RuntimeError: needs jit"


def test_the_layer_where_validation_goes_bad_is_named():
    network = fnn.serial(fnn.dense(4), lambda x: jnp.where(jnp.abs(x) > 1e9, jnp.nan, x), fnn.dense(1))
    held = (np.full((5, 3), 1e20, "f4"), np.zeros((5, 1)))
    site = stopped(network=network, validation=held).not_finite
    assert (site.epoch, site.quantity, site.where) == (1, "validation cost", "layer 1, <lambda>")


@pytest.mark.parametrize("where", ["not finite", "checkpoint"])
def test_with_warnings_as_errors_the_run_is_in_the_error(where, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    network = fnn.serial(fnn.dense(4), burns(), fnn.dense(1)) if where == "not finite" else plain()
    spoil = lambda report: (
        report.epoch == 1 and where == "checkpoint" and monkeypatch.setattr("os.fsync", full)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((RuntimeWarning, UserWarning)) as caught:
            fit(
                network,
                checkpoint=tmp_path,
                every=2,
                epochs=3,
                on_epoch=lambda report: spoil(report) and False,
            )
    assert int(caught.value.fitted.state.epoch) == 2


# What does not go bad is left alone ----------------------------------------------------------------


def test_an_infinity_that_a_rule_keeps_is_its_own():
    def init(params):
        return {"best": jnp.inf, "rate": jnp.full((), 0.01)}

    def update(grads, state, params=None):
        return jax.tree.map(lambda g: -state["rate"] * g, grads), state

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit(plain(), rule=fnn.Optimizer(init, update)).stopped == "epochs"


def test_costs_whose_sum_would_overflow_are_finite():
    huge = lambda predictions, targets: 2e38 + 0 * fnn.mse(predictions, targets)
    fitted = fit(plain(), cost=huge, validation=(X, Y))
    assert fitted.stopped == "epochs"
    np.testing.assert_allclose(fitted.history["cost"], 2e38, rtol=1e-6)


def heals(params, x, key):
    """A statistic that is infinite after the sixth step only."""
    count = params["statistics"]["count"] + 1
    return x, {"statistics": {"count": count, "odd": jnp.where(count == 6, jnp.inf, 0.0)}}


def test_a_statistic_that_is_infinite_after_one_epoch_ends_the_run_however_the_calls_fall():
    begin = lambda key, x: {"statistics": {"count": jnp.zeros(()), "odd": jnp.zeros(())}}
    network = fnn.serial(fnn.layer(begin, as_it_is, heals, name="heals"), fnn.dense(1))
    for options in ({}, {"on_epoch": lambda report: None}, {}):  # compiling, watched, and in one call
        fitted = stopped(network=network, **options)
        assert int(fitted.state.epoch) == 1 and fitted.not_finite.where == "layer 0, heals, odd"
    state = fnn.start(network, fnn.adam(), X, key=jax.random.key(0))
    state, _ = fnn.train(network, fnn.mse, fnn.adam(), state, X, Y, epochs=6, batch_size=8)
    assert int(state.epoch) == 2


def test_watched_epoch_by_epoch_it_stops_at_the_same_place():
    network, reports = fnn.serial(fnn.dense(4), burns(), fnn.dense(1)), []
    alone, watched = stopped(network=network), stopped(network=network, on_epoch=reports.append)
    assert alone.not_finite == watched.not_finite
    chex.assert_trees_all_equal(bits(alone.state), bits(watched.state))
    assert [report.epoch for report in reports] == [1, 2]


def test_train_ends_after_an_epoch_whose_cost_is_not_finite():
    network, rule = fnn.serial(fnn.dense(4), burns(), fnn.dense(1)), fnn.gradient_descent()
    state = fnn.start(network, rule, X, key=jax.random.key(0))
    state, history = fnn.train(network, fnn.mse, rule, state, X, Y, epochs=9, batch_size=8)
    assert int(state.epoch) == 3
    np.testing.assert_array_equal(np.isfinite(history["cost"]), [True, True] + 7 * [False])
