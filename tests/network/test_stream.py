"""A sequence piece by piece is the sequence as a whole, through every layer that can; and generation by it."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import CENTRE, inputs, key, parameters, quick, refused, twice
from runs import compilations

import fnn

CAUSAL = functools.partial(fnn.attention, causal=True)


def block():
    return fnn.transformer_block(4, heads=2, causal=True, rotary=100.0)


def sandwich(net, x):
    return net.after(jnp.tanh(net.reader(net.before(x)))) + x @ net.before.params["weight"]


NETWORKS = {
    "dense": lambda: fnn.dense(3),
    "rnn": lambda: fnn.rnn(3),
    "gru": lambda: fnn.gru(3),
    "lstm": lambda: fnn.lstm(3),
    "attention": lambda: CAUSAL(6, 2),
    "attention, rotated": lambda: CAUSAL(8, 2, rotary=10.0),
    "positional_encoding": fnn.positional_encoding,
    "positional_embedding": lambda: fnn.positional_embedding(9),
    "transformer_block": block,
    "conv of one place": lambda: fnn.serial(fnn.layer_norm(), fnn.batch_norm(), fnn.prelu(), fnn.flatten(1)),
    "serial": lambda: fnn.serial(fnn.dense(5), fnn.gru(4), jnp.tanh, fnn.dropout(0.5), CAUSAL(4, 1)),
    "residual": lambda: fnn.residual(fnn.lstm(4)),
    "parallel": lambda: fnn.parallel(fnn.gru(3), jnp.tanh, CAUSAL(4, 2)),
    "repeat": lambda: fnn.repeat(3, fnn.serial(block(), fnn.gru(4), CENTRE)),
    "freeze": lambda: fnn.freeze(fnn.serial(fnn.gru(3), CAUSAL(4, 2))),
    "precision": lambda: fnn.precision(fnn.serial(fnn.gru(3), CAUSAL(4, 2)), jnp.float64),
    "wire": lambda: fnn.wire(sandwich, before=fnn.dense(4), reader=fnn.gru(4), after=fnn.dense(4)),
    "nested": lambda: fnn.serial(
        fnn.residual(fnn.repeat(2, block())),
        fnn.wire(twice, inner=fnn.dense(4)),
        fnn.parallel(fnn.freeze(fnn.gru(3)), fnn.residual(CAUSAL(4, 2))),
    ),
}
PIECES = [(1,) * 9, (4, 1, 1, 3)]
ALL_PIECES = [*PIECES, (9,), (2, 0, 7)]  # of the network that has every kind of part


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_pieces_give_what_the_whole_gives(x64, build):
    network, pieces = build(), ALL_PIECES if build is NETWORKS["nested"] else PIECES
    with x64():
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 9, 4)))
        params = parameters(network, x)
        whole = quick(network.forward)(params, x)
        begin, step = fnn.stream(network)
        for sizes in pieces:
            state, found = begin(params, x[:, :1], length=9), []
            for end, size in zip(np.cumsum(sizes), sizes):
                y, state = step(params, state, np.asarray(x)[:, end - size : end])
                found.append(y)
            joined = jax.tree.map(lambda *each: np.concatenate(each, 1), *found)
            chex.assert_trees_all_close(joined, whole, rtol=1e-10, atol=1e-11)


def test_any_axes_may_stand_before_the_steps_and_a_state_can_be_stepped_from_twice():
    network = fnn.serial(CAUSAL(4, 2), fnn.gru(3))
    x = inputs((5, 4), 2, 3)
    params = parameters(network, x)
    begin, step = fnn.stream(network)
    whole = quick(network.forward)(params, x)
    _, state = step(params, begin(params, x, length=5), x[..., :2, :])
    for _ in range(2):
        y, _ = step(params, state, x[..., 2:, :])
        np.testing.assert_allclose(y, whole[..., 2:, :], rtol=1e-4, atol=1e-5)
    one, _ = step(params, begin(params, x[0, 0], length=5), x[0, 0])
    np.testing.assert_allclose(one, whole[0, 0], rtol=1e-4, atol=1e-5)


def test_begin_takes_shapes_and_step_is_a_pure_function_to_scan_map_and_differentiate():
    network = fnn.serial(fnn.gru(3), CAUSAL(4, 2))
    x = inputs((6, 4), 2)
    params = parameters(network, x)
    begin, step = fnn.stream(network)
    state = begin(params, jax.ShapeDtypeStruct((2, 1, 4), np.float64), 6)  # as NumPy's arrays are

    def run(params, x):
        _, y = jax.lax.scan(
            lambda state, one: step(params, state, one)[::-1], state, x.swapaxes(0, 1)[:, :, None]
        )
        return y[:, :, 0].swapaxes(0, 1)

    def total(params, f):
        y = f(params, x)
        return (y**2).sum(), y

    found = [
        quick(jax.grad(functools.partial(total, f=f), has_aux=True))(params) for f in (run, network.forward)
    ]
    chex.assert_trees_all_close(*found, rtol=1e-3, atol=1e-4)


def test_masked_steps_leave_the_state_of_a_recurrent_layer():
    network, x = fnn.lstm(3), inputs((6, 4), 2)
    mask = jnp.asarray([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0]], bool)
    params = parameters(network, x)
    begin, step = fnn.stream(network)
    state, found = begin(params, x[:, :1], 6), []
    for a, b in ((0, 3), (3, 6)):
        y, state = step(params, state, {"x": x[:, a:b], "mask": mask[:, a:b]})
        found.append(y)
    np.testing.assert_allclose(
        jnp.concatenate(found, 1), network.forward(params, {"x": x, "mask": mask}), rtol=1e-5, atol=1e-6
    )


def decoder(net, given):
    own = net.own(given["x"])
    return net.cross({"x": own, "context": given["context"]})


def test_a_decoder_steps_while_its_context_stays():
    network = fnn.wire(decoder, own=block(), cross=fnn.attention(6, heads=2))
    given = inputs({"x": (5, 4), "context": (3, 2)}, 2)
    params = parameters(network, given)
    begin, step = fnn.stream(network)
    state, found = begin(params, given, 5), []
    for t in range(5):
        y, state = step(params, state, {**given, "x": given["x"][:, t : t + 1]})
        found.append(y)
    np.testing.assert_allclose(
        np.concatenate(found, 1), quick(network.forward)(params, given), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("layer", [CAUSAL(4, 2), fnn.positional_encoding()], ids=str)
def test_what_follows_the_last_place_is_nan_and_not_another_place(layer):
    x = inputs((5, 4), 2)
    params = parameters(layer, x)
    begin, step = fnn.stream(layer)
    y, state = step(params, begin(params, x, 5), x)
    assert np.isfinite(y).all()
    assert np.isnan(step(params, state, x[:, :1])[0]).all()


def test_a_user_s_layer_brings_its_own_stream():
    total = fnn.layer(
        lambda key, x: (),
        lambda params, x: jnp.cumsum(x, -2),
        name="running total",
        stream=(
            lambda params, x, length: jnp.zeros_like(x[..., :1, :]),
            lambda params, state, x: (state + jnp.cumsum(x, -2), state + x.sum(-2, keepdims=True)),
        ),
    )
    network, x = fnn.serial(total, fnn.gru(2)), inputs((4, 3))
    params = parameters(network, x)
    begin, step = fnn.stream(network)
    first, state = step(params, begin(params, x, 4), x[:1])
    y = jnp.concatenate([first, step(params, state, x[1:])[0]])
    np.testing.assert_allclose(y, network.forward(params, x), rtol=1e-5, atol=1e-6)


# --- generation

TEXT = jnp.array([[0, 1, 2], [2, 1, 0]])


def language(**options):
    return fnn.serial(
        fnn.embedding(5, 8),
        fnn.positional_encoding(),
        fnn.repeat(2, fnn.transformer_block(8, heads=2, **{"causal": True, **options})),
        fnn.gru(8),
        fnn.dense(5),
    )


def test_generation_is_the_most_probable_id_again_and_again():
    network = language()
    params = parameters(network, TEXT)
    expected = np.asarray(TEXT)
    forward = quick(network.forward)
    for _ in range(6):
        padded = np.concatenate([expected, np.zeros((2, 9 - expected.shape[1]), int)], 1)
        logits = forward(params, jnp.asarray(padded))[:, expected.shape[1] - 1]
        expected = np.concatenate([expected, np.asarray(logits).argmax(-1)[:, None]], 1)
    found = fnn.generate(network, params, TEXT, 6)
    np.testing.assert_array_equal(found, expected[:, 3:])
    assert found.dtype == TEXT.dtype
    np.testing.assert_array_equal(fnn.generate(network, params, TEXT[0], 6), found[0])
    np.testing.assert_array_equal(fnn.generate(network, params, np.asarray(TEXT).tolist(), 6), found)


def test_ids_are_drawn_by_their_probabilities_and_by_the_temperature():
    logits = jnp.log(jnp.array([0.6, 0.3, 0.1]))
    always = lambda ids: jnp.broadcast_to(logits, (*ids.shape, 3))
    for temperature in (1.0, 0.5):
        drawn = fnn.generate(always, (), jnp.zeros((2000, 1), int), 5, key=key(0), temperature=temperature)
        share = np.bincount(np.ravel(drawn), minlength=3) / drawn.size
        np.testing.assert_allclose(share, jax.nn.softmax(logits / temperature), atol=0.02)
        assert 0.05 < (np.asarray(drawn[:, 0] == drawn[:, 1]).mean() - (share**2).sum()) + 0.1 < 0.15
    one, again, other = (fnn.generate(always, (), jnp.zeros((9, 1), int), 9, key=key(k)) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)


def test_an_id_whose_logit_is_minus_infinity_is_never_drawn():
    two = lambda ids: jnp.broadcast_to(jnp.array([0.0, -jnp.inf, 0.0]), (*ids.shape, 3))
    drawn = fnn.generate(two, (), jnp.zeros((200, 1), int), 5, key=key(0))
    assert set(np.unique(drawn)) == {0, 2}


def test_another_temperature_key_or_prompt_compiles_nothing():
    network = fnn.serial(fnn.embedding(5, 8), fnn.gru(5))
    params = parameters(network, TEXT)
    fnn.generate(network, params, TEXT, 4, key=key(0))
    other = TEXT + 1
    with compilations() as names:
        fnn.generate(network, params, other, 4, key=key(1), temperature=0.3)
    assert names == []


# --- what is refused

X = inputs((5, 4), 2)
later = "cannot go through a sequence piece by piece"
WITHOUT = {
    "from the end": (fnn.gru(3, reverse=True), ("gru that reads from the end sees the steps to come", later)),
    "both ways": (fnn.lstm(3, bidirectional=True), ("lstm that reads from the end", later)),
    "attention to all": (fnn.attention(4, heads=2), ("attention without causal=True", later)),
    "a convolution": (fnn.conv(3, (3,)), ("conv sees the steps to come", later)),
    "its transpose": (fnn.conv_transpose(3, (3,)), ("conv_transpose sees", later)),
    "a pool": (fnn.max_pool((2,)), ("max_pool sees", later)),
    "the mean of all": (fnn.global_avg_pool(1), ("global_avg_pool sees", later)),
    "steps as one": (fnn.flatten(2), ("flatten sees", later)),
    "statistics of all": (fnn.group_norm(2, axes=2), ("group_norm sees", later)),
    "fewer places": (
        fnn.positional_embedding(5), ("positional_embedding expected at most 5 steps, got 6",)),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "pieces"), WITHOUT.values(), ids=WITHOUT)
def test_a_layer_that_sees_what_comes_is_refused_before_the_first_step(layer, pieces):
    network = fnn.serial(jnp.tanh, layer)
    params = parameters(network, X)
    with refused(*pieces):
        fnn.stream(network).begin(params, X, length=6)


def test_a_mask_that_comes_with_a_later_piece_is_refused_and_not_passed_over():
    layer = CAUSAL(4, 2)
    params = parameters(layer, X)
    begin, step = fnn.stream(layer)
    state = begin(params, X, 5)
    with refused("attention without causal=True, or with a mask, sees the steps to come"):
        step(params, state, {"x": X, "mask": jnp.zeros((2, 5), bool)})


def test_a_part_with_a_state_is_stepped_once():
    network = fnn.wire(twice, inner=fnn.gru(4))
    params = parameters(network, X)
    begin, step = fnn.stream(network)
    with refused("part 'inner' has a state of the steps before", "called once a step"):
        step(params, begin(params, X, 5), X)


def test_a_combinator_that_says_nothing_is_refused():
    inner = fnn.gru(4)
    halved = fnn.layer(inner.init, lambda p, x: inner.forward(p, x) / 2, name="halved", parts=(inner,))
    with refused("halved does not say how it goes through a sequence", "stream=(begin, step)"):
        fnn.stream(halved).begin(parameters(halved, X), X, 5)


def test_a_length_is_a_whole_number():
    with refused("stream: length expected a whole number, at least 1", "got 0"):
        fnn.stream(fnn.gru(4)).begin(parameters(fnn.gru(4), X), X, 0)


def backwards(ids):
    return jax.nn.one_hot(ids[..., ::-1], 5)


GENERATED = {
    "no ids": (lambda n, p: fnn.generate(n, p, jnp.zeros((2, 0), int), 3), ("generate: prompt expected at least one id", "(2, 0)")),
    "numbers": (lambda n, p: fnn.generate(n, p, jnp.ones((2, 3)), 3), ("generate: prompt expected", "float32 of shape (2, 3)")),
    "text": (lambda n, p: fnn.generate(n, p, "hello", 3), ("generate: prompt expected", "<U5 of shape ()", "Text is ids first")),
    "a whole result": (
        lambda n, p: fnn.generate(n, fnn.start(n, fnn.adam(), TEXT, key=key(0)), TEXT, 3),
        ("generate: params expected a tree of arrays", "in its field .params")),
    "a whole result to stream": (
        lambda n, p: fnn.stream(n).begin(fnn.start(n, fnn.adam(), TEXT, key=key(0)), TEXT, 3),
        ("stream: params expected a tree of arrays", "in its field .params")),
    "no steps": (lambda n, p: fnn.generate(n, p, TEXT, 0), ("generate: steps expected a whole number",)),
    "a seed": (lambda n, p: fnn.generate(n, p, TEXT, 3, key=0), ("generate: key expected jax.random.key(seed)",)),
    "no temperature": (lambda n, p: fnn.generate(n, p, TEXT, 3, key=key(0), temperature=0), ("generate: temperature", "got 0")),
    "one output a sequence": (
        lambda n, p: fnn.generate(lambda ids: jnp.ones((*ids.shape[:-1], 5)), (), TEXT, 3),
        ("generate expected a network with logits for each id, (2, 3) and one more axis", "(2, 5)")),
    "ids without a row": (lambda n, p: fnn.generate(n, p, TEXT + 9, 3), ("generate expected logits that are numbers", "got NaN", "a row in the embedding")),
    "a function of later ids": (
        lambda n, p: fnn.generate(backwards, (), TEXT, 3), ("gives other logits for the whole sequence than step by step", "causal=True")),
    "attention to all": (
        lambda n, p: fnn.generate(language(causal=False), p, TEXT, 3), ("attention without causal=True", later)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), GENERATED.values(), ids=GENERATED)
def test_a_wrong_generation_is_refused_with_the_fix(run, pieces):
    network = language()
    with refused(*pieces):
        run(network, parameters(network, TEXT))
