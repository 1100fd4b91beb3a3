"""A network as a plain function of its named parts: shared weights, several inputs, skips."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CENTRE, crossed, inputs, key, parameters, quick, refused, tied, twice, weighed

import fnn

X = inputs((4,), 5)


def affine(params, x):
    return x @ params["weight"] + params["bias"]


def test_the_function_says_what_is_computed_and_a_part_called_twice_is_the_same_weights_twice():
    network = fnn.wire(tied, embed=fnn.dense(3), body=fnn.dense(3))
    params = parameters(network, X)
    assert jax.tree.map(jnp.shape, params) == {
        "embed": {"weight": (4, 3), "bias": (3,)},
        "body": {"weight": (3, 3), "bias": (3,)},
    }

    def by_hand(params, x):
        embedded = affine(params["embed"], x)
        return affine(params["body"], affine(params["body"], embedded)) @ params["embed"]["weight"].T

    chex.assert_trees_all_close(network.forward(params, X), by_hand(params, X), rtol=1e-6)
    chex.assert_trees_all_close(network.forward_train(params, X, key(1))[0], by_hand(params, X), rtol=1e-6)
    slopes = [jax.grad(lambda p, f=f: weighed(f(p, X)))(params) for f in (network.forward, by_hand)]
    chex.assert_trees_all_close(*slopes, rtol=1e-5, atol=1e-6)


def test_several_inputs_come_in_a_dict_and_a_part_takes_its_shape_from_its_first_call():
    network = fnn.wire(crossed, left=fnn.dense(3), right=fnn.dense(3))
    x = inputs({"a": (4,), "b": (4,)}, 5)
    params = parameters(network, x)
    left, right = (lambda v, p=p: affine(p, v) for p in (params["left"], params["right"]))
    expected = left(x["a"]) * right(x["b"]) + left(x["b"])
    np.testing.assert_allclose(network.forward(params, x), expected, rtol=1e-5, atol=1e-6)


def test_wire_stands_inside_repeat_inside_serial():
    part = fnn.wire(lambda net, x: x + net.inner(net.inner(x)), inner=fnn.serial(fnn.dense(4), jnp.tanh))
    network = fnn.serial(fnn.dense(4), fnn.repeat(3, part))
    first, stack = params = parameters(network, X)
    y = affine(first, X)
    for i in range(3):
        inner = jax.tree.map(lambda leaf: leaf[i], stack["inner"][0])
        y = y + jnp.tanh(affine(inner, jnp.tanh(affine(inner, y))))
    np.testing.assert_allclose(network.forward(params, X), y, rtol=1e-5, atol=1e-6)


def test_every_call_draws_its_own_random_numbers():
    half = fnn.dropout(0.5)
    network = fnn.wire(lambda net, x: (net.drop(x), net.drop(x), net.other(x)), drop=half, other=half)
    (one, two, three), _ = network.forward_train({"drop": (), "other": ()}, jnp.ones(100), key(1))
    for y, z in ((one, two), (one, three), (two, three)):
        assert 20 < (y != z).sum() < 80


def test_statistics_move_at_every_call():
    network = fnn.wire(twice, inner=CENTRE)
    params = parameters(network, X)
    _, moved = network.forward_train(params, X, key(1))
    before, offset = params["inner"]["statistics"]["mean"], params["inner"]["offset"]
    after_one = (before + X.mean(0)) / 2
    after_two = (after_one + offset) / 2  # the first call centres at the offset
    np.testing.assert_allclose(moved["inner"]["statistics"]["mean"], after_two, atol=1e-6)
    np.testing.assert_array_equal(moved["inner"]["offset"], offset)


def test_the_parameters_of_a_part_are_read_after_its_call_in_both_modes():
    def read(net, x):
        y = net.inner(x)
        return y, net.inner.params["statistics"]["mean"]

    network = fnn.wire(read, inner=CENTRE)
    params = parameters(network, X)
    before = params["inner"]["statistics"]["mean"]
    np.testing.assert_array_equal(network.forward(params, X)[1], before)
    (_, after), _ = network.forward_train(params, X, key(1))
    np.testing.assert_allclose(after, (before + X.mean(0)) / 2, rtol=1e-5)


def test_a_part_may_be_mapped_over_an_axis():
    network = fnn.wire(lambda net, x: jax.vmap(net.row)(x) @ net.row.params["weight"].T, row=fnn.dense(3))
    params = parameters(network, X)
    expected = affine(params["row"], X) @ params["row"]["weight"].T
    np.testing.assert_allclose(network.forward(params, X), expected, rtol=1e-5, atol=1e-6)


# --- hard cases


def translated(net, given):
    """An encoder read by a decoder: two inputs, a mask of each, cross-attention, and the table tied to the output."""
    source, target = given["source"], given["target"]
    context = net.encoder({"x": net.embed(source), "mask": source > 0})["x"]
    own = net.decoder({"x": net.embed(target), "mask": target > 0})["x"]
    read = net.cross({"x": own, "context": context, "mask": source > 0})
    return {"next": (own + read) @ net.embed.params["table"].T, "length": net.count(context).mean(-2)}


def translator():
    return fnn.wire(
        translated,
        embed=fnn.embedding(7, 8), encoder=fnn.transformer_block(8, heads=2, dropout=0.1),
        decoder=fnn.repeat(2, fnn.transformer_block(8, heads=2, causal=True)),
        cross=fnn.attention(8, heads=2), count=fnn.dense(1),
    )  # fmt: skip


SENTENCES = {
    "source": jnp.array([[3, 1, 4, 0, 0], [2, 6, 5, 3, 1]]),
    "target": jnp.array([[1, 5, 0, 0], [6, 2, 4, 3]]),
}


def test_an_encoder_and_a_decoder_are_what_their_parts_are():
    network = translator()
    params = parameters(network, SENTENCES)
    y = quick(network.forward)(params, SENTENCES)

    @quick
    def by_parts(params):
        table, mask = params["embed"]["table"], SENTENCES["source"] > 0
        block = fnn.transformer_block(8, heads=2)
        context = block.forward(params["encoder"], {"x": table[SENTENCES["source"]], "mask": mask})["x"]
        own = {"x": table[SENTENCES["target"]], "mask": SENTENCES["target"] > 0}
        for i in range(2):
            each = jax.tree.map(lambda leaf, i=i: leaf[i], params["decoder"])
            own = fnn.transformer_block(8, heads=2, causal=True).forward(each, own)
        given = {"x": own["x"], "context": context, "mask": mask}
        return (own["x"] + fnn.attention(8, heads=2).forward(params["cross"], given)) @ table.T

    np.testing.assert_allclose(y["next"], by_parts(params), rtol=1e-4, atol=1e-4)
    assert y["next"].shape == (2, 4, 7) and y["length"].shape == (2, 1)


def test_neither_padding_nor_what_follows_changes_a_word():
    network, real = translator(), np.asarray(SENTENCES["target"] > 0)
    params = parameters(network, SENTENCES)
    run = jax.jit(lambda given: network.forward(params, given)["next"])
    y = run(SENTENCES)
    longer = {"source": SENTENCES["source"], "target": SENTENCES["target"].at[1, 3].set(1)}
    np.testing.assert_array_equal(run(longer)[:, :3][real[:, :3]], y[:, :3][real[:, :3]])
    wider = {**SENTENCES, "source": jnp.pad(SENTENCES["source"], ((0, 0), (0, 3)))}
    np.testing.assert_allclose(run(wider)[real], y[real], rtol=1e-4, atol=1e-5)


def two_costs(y_pred, y_true, sample_weight=None):
    words = fnn.softmax_cross_entropy(y_pred["next"], y_true["next"], (y_true["next"] > 0).astype(float))
    return words + 0.1 * fnn.mse(y_pred["length"], y_true["length"])


def test_two_inputs_and_two_outputs_train_with_two_costs():
    draw = np.random.default_rng(0)
    source = np.where(np.arange(5) < draw.integers(2, 6, (128, 1)), draw.integers(2, 7, (128, 5)), 0)
    said = np.where(source > 0, 8 - source, 0)  # each word by another
    target = np.concatenate([np.ones((128, 1), int), said[:, :-1]], 1)  # what was said before
    x = {"source": source, "target": target}
    y = {"next": said, "length": (source > 0).sum(1, keepdims=True).astype(np.float32)}
    network = translator()
    fitted = fnn.fit(network, two_costs, fnn.adam(0.01), x, y, key=key(0), epochs=40)
    predicted = fnn.predict(network, fitted.params, x)
    weight = (said > 0).astype(np.float32)
    assert fnn.accuracy(predicted["next"], said, weight) > 0.6  # by chance 0.2
    assert fnn.r2_score(predicted["length"], y["length"]) > 0.5


def test_a_plain_function_may_be_a_part():
    network = fnn.wire(lambda net, x: net.f(net.f(x)), f=lambda x: 2 * x)
    assert network.forward({"f": ()}, jnp.array(3.0)) == 12.0


WRONG = {  # function, parts, layer's path, pieces of the message
    "never called": (
        lambda net, x: net.a(x),
        {"a": fnn.dense(8), "b": fnn.dense(3)},
        "",
        ("part 'b', dense(3), is never called", "shape (5, 4) float32", "leave it out"),
    ),
    "read before its call": (
        lambda net, x: net.a(x) @ net.b.params["weight"],
        {"a": fnn.dense(8), "b": fnn.dense(3)},
        "",
        ("part 'b' were read before its first call", "call it first"),
    ),
    "second call of another width": (
        twice,
        {"inner": fnn.dense(8)},
        " › part 'inner', dense(8)",
        ("expected 4 features", "got 8 in an input of shape (5, 8)"),
    ),
    "other shapes in the function": (
        lambda net, x: net.a(x) @ jnp.ones((7, 2)),
        {"a": fnn.dense(3)},
        "",
        ("(3,) and (7,)",),
    ),
    "unknown part": (
        lambda net, x: net.body(x),
        {"a": fnn.dense(8), "b": fnn.dense(3)},
        "",
        ("'body'", "a, b"),
    ),
}


@pytest.mark.parametrize(("function", "parts", "path", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_function_is_refused_when_the_network_starts(function, parts, path, pieces):
    with refused(*pieces, path=f"layer 1, wire({', '.join(parts)}){path}"):
        fnn.serial(jnp.sin, fnn.wire(function, **parts)).init(key(0), X)


def test_wire_refuses_a_function_without_parts():
    with refused("wire expected named parts", "wire(function, body=fnn.dense(8))", "got none"):
        fnn.wire(lambda net, x: x)


@pytest.mark.parametrize("part", ["relu", fnn.dense, 3], ids=["text", "factory", "number"])
def test_wire_refuses_a_part_that_is_no_layer(part):
    with refused("dense makes a layer" if part is fnn.dense else "a layer or a function x → y"):
        fnn.wire(twice, inner=part)
