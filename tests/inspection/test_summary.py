"""Looking at a network: the table of its layers, and the walk that finds them."""

import chex
import jax
import jax.numpy as jnp
import pytest
from networks import (
    CENTRE,
    LAYERS,
    crossed,
    described,
    every_layer,
    inputs,
    joined,
    key,
    nested,
    parameters,
    refused,
    sizes,
)

import fnn
from fnn.network.walk import parts_inside

X = jax.ShapeDtypeStruct((32, 4), "float32")
TABLES = {
    "one layer": (
        fnn.dense(64),
        """
        layer      output    parameters  trained
        dense(64)  (32, 64)         320  yes
        320 parameters, 320 of them trained
        """,
    ),
    "nothing to learn": (
        fnn.serial(jnp.tanh, fnn.dropout(0.5)),
        """
        layer             output   parameters  trained
        serial            (32, 4)           0
          0 tanh          (32, 4)           0
          1 dropout(0.5)  (32, 4)           0
        0 parameters, 0 of them trained
        """,
    ),
    "statistics": (
        fnn.serial(fnn.dense(8), CENTRE, fnn.freeze(CENTRE)),
        """
        layer         output   parameters  trained
        serial        (32, 8)          72  partly
          0 dense(8)  (32, 8)          40  yes
          1 centre    (32, 8)          16  partly
          2 freeze    (32, 8)          16  no
            centre    (32, 8)          16  no
        72 parameters, 48 of them trained
        """,
    ),
    "nested": (
        nested(),
        """
        layer                      output              parameters  trained
        serial                     (32, 1)                    101  partly
          0 dense(4)               (32, 4)                     20  yes
          1 residual               (32, 4)                     56  partly
            0 repeat(2)            (32, 4)                     56  partly
              each wire(inner)     (32, 4)                     28  partly
                inner serial       (32, 4)                     28  partly
                  0 dense(4)       (32, 4)                     20  yes
                  1 tanh           (32, 4)                      0
                  2 dropout(0.5)   (32, 4)                      0
                  3 centre         (32, 4)                      8  partly
          2 parallel               ((32, 2), (32, 2))          20  partly
            0 freeze               (32, 2)                     10  no
              dense(2)             (32, 2)                     10  no
            1 precision(bfloat16)  (32, 2)                     10  yes
              dense(2)             (32, 2)                     10  yes
          3 joined                 (32, 4)                      0
          4 dense(1)               (32, 1)                      5  yes
        101 parameters, 83 of them trained
        """,
    ),
}


@pytest.mark.parametrize(("network", "table"), TABLES.values(), ids=TABLES)
def test_a_summary_is_a_table_of_every_layer(network, table):
    lines = [line[8:] for line in table.strip("\n").splitlines()[:-1]]
    assert fnn.summary(network, X).splitlines() == lines


def test_a_summary_of_branches_by_key_and_of_wired_parts_names_them():
    pair = fnn.wire(crossed, left=fnn.dense(3), right=fnn.dense(3))
    network = fnn.parallel(image=fnn.flatten(2), pair=pair)
    x = {"image": jax.ShapeDtypeStruct((32, 2, 3), "float32"), "pair": {"a": X, "b": X}}
    rows = [line.split("  (")[0].split("  {")[0] for line in fnn.summary(network, x).splitlines()[1:-1]]
    assert [row.rstrip() for row in rows] == [
        "parallel(image, pair)",
        "  'image' flatten(2)",
        "  'pair' wire(left, right)",
        "    left dense(3)",
        "    right dense(3)",
    ]


@every_layer
def test_a_summary_counts_every_parameter_and_only_looks_at_shapes(build, shape):
    network, x = build(), inputs(shape, 3)
    params = parameters(network, x)
    table = fnn.summary(network, x)
    assert table == fnn.summary(network, described(x)) == fnn.summary(network, inputs(shape, 3, seed=1))
    total, learns = sizes(params), sizes(fnn.trained(params))
    assert table.splitlines()[-1] == f"{total:,} parameters, {learns:,} of them trained"


def test_large_numbers_of_parameters_are_read_in_groups_of_three():
    table = fnn.summary(fnn.dense(1000), jax.ShapeDtypeStruct((1, 2000), "float32"))
    assert "2,001,000  yes" in table and table.endswith("2,001,000 parameters, 2,001,000 of them trained")


# --- the walk


@every_layer
def test_the_children_of_a_layer_hold_its_parameters_and_take_their_inputs(build, shape):
    network, x = build(), inputs(shape, 3)
    params = jax.eval_shape(network.init, key(0), x)

    def look(layer, params, x):
        found = parts_inside(layer, params, x)
        assert tuple(child.layer for child in found) == layer.parts
        times = 1
        if layer.name.startswith("repeat("):
            times = int(layer.name.removeprefix("repeat(").removesuffix(")"))
        own = params["scale"].size if layer.name == "mixture" else 0
        if found:
            assert own + times * sum(sizes(child.params) for child in found) == sizes(params)
        for child in found:
            own = jax.eval_shape(child.layer.init, key(0), child.x)
            chex.assert_trees_all_equal_shapes(own, child.params)  # precision hands on a narrower type
            jax.eval_shape(child.layer.forward, child.params, child.x)
            look(child.layer, child.params, child.x)

    look(network, params, x)


def test_the_walk_goes_in_the_order_of_the_data():
    network = LAYERS["nested"][0]()
    params = jax.eval_shape(network.init, key(0), X)
    found = parts_inside(network, params, X)
    assert [child.place for child in found] == [f"layer {i}" for i in range(5)]
    shapes = [jax.tree.map(jnp.shape, child.x) for child in found]
    assert shapes == [(32, 4), (32, 4), (32, 4), ((32, 2), (32, 2)), (32, 4)]
    assert found[3].layer.name == joined.__name__ and parts_inside(found[0].layer, found[0].params, X) == []


def test_a_summary_of_a_wrong_input_names_the_layer():
    with refused("expected features on the last axis", "x[:, None]", path="layer 0, dense(8)"):
        fnn.summary(fnn.serial(fnn.dense(8)), jax.ShapeDtypeStruct((), "float32"))


def test_a_summary_refuses_a_tuple_of_numbers_for_a_shape():
    with refused("arrays, or jax.ShapeDtypeStruct", "got (32, 64)"):
        fnn.summary(fnn.serial(fnn.dense(8)), (32, 64))


def test_a_summary_of_what_is_no_network_says_which_argument_is_one():
    with refused("summary: network expected a layer", "got an array", "Does the network come first?"):
        fnn.summary(jnp.zeros((4, 2)), fnn.serial(fnn.dense(8)))
