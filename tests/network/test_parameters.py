"""Which parameters are trained: their place in the tree decides."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import every_layer, inputs, parameters, sizes

import fnn
from fnn.network.parameters import untrained

TREE = {
    "weight": 1.0,
    "statistics": {"mean": 2.0, "scale": {"weight": 3.0}},
    "layers": ({"frozen": ({"weight": 4.0}, ())}, (), {"bias": 5.0, "frozen_once": 6.0, "Statistics": 7.0}),
}
LEARNS = {
    "weight": 1.0,
    "statistics": {"mean": None, "scale": {"weight": None}},
    "layers": ({"frozen": ({"weight": None}, ())}, (), {"bias": 5.0, "frozen_once": 6.0, "Statistics": 7.0}),
}


def test_what_stands_under_statistics_or_frozen_is_not_trained():
    assert fnn.trained(TREE) == LEARNS
    assert fnn.trained(LEARNS) == LEARNS
    assert jax.tree.leaves(untrained(TREE)) == [4.0, 2.0, 3.0]
    assert fnn.trained(()) == () and fnn.trained({"frozen": ()}) == {"frozen": ()}


def test_merge_takes_the_trained_part_where_there_is_one():
    doubled = jax.tree.map(lambda leaf: 2 * leaf, fnn.trained(TREE))  # None is no leaf: it stays
    merged = fnn.merge(doubled, TREE)
    assert merged == {
        "weight": 2.0,
        "statistics": TREE["statistics"],
        "layers": (TREE["layers"][0], (), {"bias": 10.0, "frozen_once": 12.0, "Statistics": 14.0}),
    }
    assert fnn.merge({"frozen": None, "bias": 3.0}, {"frozen": {"weight": 1.0}, "bias": 2.0}) == {
        "frozen": {"weight": 1.0},
        "bias": 3.0,
    }


@every_layer
def test_trained_and_the_rest_are_the_whole(build, shape):
    params = parameters(build(), inputs(shape, 3))
    learns, rest = fnn.trained(params), untrained(params)
    assert sizes(learns) + sizes(rest) == sizes(params)
    for merged in (fnn.merge(learns, params), fnn.merge(rest, learns), jax.jit(fnn.merge)(learns, params)):
        chex.assert_trees_all_equal(merged, params)
    zeros = jax.tree.map(np.zeros_like, params)
    chex.assert_trees_all_equal(fnn.merge(learns, zeros), fnn.merge(untrained(zeros), learns))


@pytest.mark.parametrize("name", ["frozen", "statistics"])
@pytest.mark.parametrize(
    "combine", [fnn.parallel, partial(fnn.wire, lambda net, x: x)], ids=["parallel", "wire"]
)
def test_a_part_cannot_take_a_name_that_would_keep_it_from_learning(combine, name):
    with pytest.raises(ValueError, match=f"'{name}'.*not trained"):
        combine(**{name: fnn.dense(2)})


def test_parameters_are_the_trained_ones_of_an_ordinary_network():
    params = parameters(fnn.serial(fnn.dense(2), jnp.tanh), jnp.ones(3))
    chex.assert_trees_all_equal(fnn.trained(params), params)
