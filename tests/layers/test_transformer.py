"""Places of steps, and the transformer block: their formulas, PyTorch's layer, masks and depth."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import key, output_and_slopes, parameters, quick, refused

import fnn

close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# --- places


@pytest.mark.parametrize("features", [1, 6, 7])
def test_waves_are_sines_and_cosines_in_turns(x64, features):
    with x64():
        y = np.asarray(quick(fnn.positional_encoding().forward)((), jnp.zeros((2, 50, features))))
    for t in (0, 1, 49):
        for i in range(features):
            wave = (np.sin, np.cos)[i % 2]
            close(y[1, t, i], wave(t / 10_000 ** ((i - i % 2) / features)))


def test_waves_are_exact_at_late_places():
    y = fnn.positional_encoding().forward((), jnp.zeros((100_000, 2)))
    np.testing.assert_allclose(y[-1], [np.sin(99_999.0), np.cos(99_999.0)], atol=1e-6)
    assert fnn.positional_encoding().forward((), jnp.zeros((3, 2), jnp.bfloat16)).dtype == jnp.bfloat16


def test_a_learned_place_is_its_row_and_starts_small():
    layer = fnn.positional_embedding(500)
    params = layer.init(key(0), jnp.ones((2, 300, 40)))
    table = np.asarray(params["table"])
    assert table.shape == (500, 40) and abs(table.std() / 0.02 - 1) < 0.03
    x = jnp.asarray(normal(2, 300, 40), jnp.float32)
    np.testing.assert_array_equal(layer.forward(params, x), x + table[:300])
    grads, _ = layer.backward(params, x, None, jnp.ones_like(x))
    np.testing.assert_array_equal(grads["table"][:, 0], np.where(np.arange(500) < 300, 2.0, 0.0))


# --- the block


def by_hand(params, x, activation=jax.nn.gelu, heads=2, causal=False):
    """The block written out, by the public layers."""
    norm, (attend, _), (norm_2, first, _, last, _) = (
        params[n] for n in ("norm", "attention", "feed_forward")
    )
    h = x + fnn.attention(4, heads, causal).forward(attend, fnn.layer_norm().forward(norm, x))
    hidden = activation(fnn.layer_norm().forward(norm_2, h) @ first["weight"] + first["bias"])
    return h + hidden @ last["weight"] + last["bias"]


def test_it_is_attention_and_two_dense_layers_each_after_a_norm(x64):
    with x64():
        x = jnp.asarray(normal(2, 5, 4))
        for options in ({}, {"causal": True}, {"activation": jnp.tanh}):
            block = fnn.transformer_block(4, heads=2, **options)
            params = parameters(block, x)
            assert params["feed_forward"][1]["weight"].shape == (4, 16)

            @quick
            def run(params, x, key):
                trained, _ = block.forward_train(params, x, key)
                return block.forward(params, x), trained, by_hand(params, x, **options)

            y, trained, expected = run(params, x, key(0))
            close(y, expected)
            close(trained, expected)
        assert fnn.transformer_block(4, 2, hidden=3).init(key(0), x)["feed_forward"][1]["weight"].shape == (
            4,
            3,
        )


def test_a_dict_goes_on_with_its_mask_and_backwards_too(x64):
    block = fnn.transformer_block(4, heads=2)
    mask = jnp.asarray([[1, 1, 0, 1, 0], [1, 1, 1, 1, 1]], bool)
    with x64():
        x = jnp.asarray(normal(2, 5, 4))
        deep = fnn.repeat(2, block)
        params = parameters(deep, {"x": x, "mask": mask})
        forward = quick(deep.forward)
        y = forward(params, {"x": x, "mask": mask})
        assert set(y) == {"x", "mask"} and y["mask"] is not None
        np.testing.assert_array_equal(y["mask"], mask)
        other = forward(params, {"x": x.at[0, 2].set(7.0), "mask": mask})
        close(np.asarray(other["x"])[np.asarray(mask)], np.asarray(y["x"])[np.asarray(mask)])
        assert abs(np.asarray(forward(params, x))[0, 0] - np.asarray(y["x"])[0, 0]).max() > 1e-3
        network = fnn.serial(deep, lambda given: given["x"], fnn.dense(1))
        params = parameters(network, {"x": x, "mask": mask})
        found = fnn.backprop(network, fnn.mse, params, {"x": x, "mask": mask}, jnp.zeros((2, 5, 1)), mask)
        expected = quick(jax.grad(fnn.loss(network, fnn.mse)))(
            params, {"x": x, "mask": mask}, jnp.zeros((2, 5, 1)), mask
        )
        chex.assert_trees_all_close(found.grads, expected, rtol=1e-10, atol=1e-12)
        assert found.automatic == ("layer 1, <lambda>",)


def test_dropout_falls_on_weights_and_on_both_branches():
    x = jnp.asarray(normal(3, 5, 8), jnp.float32)
    block = fnn.transformer_block(8, heads=2, dropout=0.5)
    params = parameters(block, x)
    plain = fnn.transformer_block(8, heads=2)
    chex.assert_trees_all_equal(quick(block.forward)(params, x), quick(plain.forward)(params, x))
    train = quick(block.forward_train)
    one, again, other = (np.asarray(train(params, x, key(k))[0]) for k in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    silent = jax.tree.map(jnp.zeros_like, params)
    silent["attention"][0]["output"]["bias"] = jnp.ones(8)  # attention's branch gives 1 everywhere
    drawn = np.asarray(train(silent, 0 * x, key(1))[0])
    assert set(np.unique(drawn)) == {0.0, 2.0}


@pytest.mark.parametrize("mask", [False, True])
def test_outputs_and_gradients_are_those_of_pytorch(x64, mask):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, dim_feedforward=12, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    x, weights = normal(2, 5, 8), normal(2, 5, 8, seed=1)
    hidden = np.tri(5, dtype=bool)
    given = torch.tensor(x, requires_grad=True)
    y = theirs(given, src_mask=torch.tensor(~hidden) if mask else None)
    (y * torch.tensor(weights)).sum().backward()

    def ours(get):
        number = lambda tensor: get(tensor).detach().numpy()
        affine = lambda part: {"weight": number(part.weight).T, "bias": number(part.bias)}
        scale = lambda part: {"scale": number(part.weight), "offset": number(part.bias)}
        w, b = number(theirs.self_attn.in_proj_weight), number(theirs.self_attn.in_proj_bias)
        attend = {
            name: {"weight": w[i * 8 : i * 8 + 8].T, "bias": b[i * 8 : i * 8 + 8]}
            for i, name in enumerate(("query", "key", "value"))
        }
        attend["output"] = affine(theirs.self_attn.out_proj)
        feed = (scale(theirs.norm2), affine(theirs.linear1), (), affine(theirs.linear2), ())
        return {"norm": scale(theirs.norm1), "attention": (attend, ()), "feed_forward": feed}

    with x64():
        exact = functools.partial(jax.nn.gelu, approximate=False)
        block = fnn.transformer_block(8, heads=2, hidden=12, causal=mask, activation=exact)
        params = jax.tree.map(jnp.asarray, ours(lambda tensor: tensor))
        own, grads, slope = output_and_slopes(block.forward, params, x, weights)
        close(own, y.detach().numpy())
        np.testing.assert_allclose(slope, given.grad.numpy(), rtol=1e-9, atol=1e-11)
        chex.assert_trees_all_close(grads, ours(lambda tensor: tensor.grad), rtol=1e-9, atol=1e-11)


def test_a_deep_stack_is_one_block_compiled_once():
    x = jnp.ones((2, 5, 4))

    def steps(times):
        network = fnn.repeat(times, fnn.transformer_block(4, heads=2, causal=True))
        params = jax.eval_shape(network.init, key(0), x)
        slope = jax.make_jaxpr(jax.grad(lambda p: network.forward(p, x).sum()))(params)
        return str(slope).count(" = ")

    assert steps(24) == steps(2)


def test_it_learns_to_repeat_what_came_three_steps_before():
    draw = np.random.default_rng(0)
    ids = draw.integers(0, 6, (256, 12))
    network = fnn.serial(
        fnn.embedding(6, 16),
        fnn.positional_embedding(12),
        fnn.transformer_block(16, 2, causal=True),
        fnn.dense(6),
    )
    late = np.tile(np.arange(12) >= 3, (256, 1)).astype(np.float32)
    rule = fnn.adam(0.01)
    y = np.roll(ids, 3, 1)
    fitted = fnn.fit(
        network, fnn.softmax_cross_entropy, rule, ids[:192], y[:192],
        key=key(0), epochs=40, sample_weight=late[:192],
    )  # fmt: skip
    found = fnn.evaluate(
        network, fitted.params, ids[192:], y[192:], {"a": fnn.accuracy}, sample_weight=late[192:]
    )
    assert found["a"] > 0.95


# --- what they refuse

X = jnp.ones((2, 5, 4))
WRONG = {
    "places of a dict": (
        lambda: fnn.positional_encoding().forward((), {"x": X}), ("positions expected an array of steps", "fnn.parallel(x=…")),
    "places of ids": (
        lambda: fnn.positional_encoding().init(key(0), X) or fnn.positional_encoding().forward((), X.astype(int)),
        ("positional_encoding expected floating-point features", "int32")),
    "places of a row": (
        lambda: fnn.positional_embedding(3).init(key(0), jnp.ones(4)), ("positional_embedding expected an axis of steps",)),
    "no places": (lambda: fnn.positional_embedding(0), ("positional_embedding: length expected a whole number",)),
    "longer than the table": (
        lambda: fnn.positional_embedding(3).init(key(0), X), ("positional_embedding expected at most 3 steps, got 5",)),
    "heads that do not fit": (lambda: fnn.transformer_block(6, heads=4), ("attention: features expected a multiple of 4 heads",)),
    "another width": (
        lambda: fnn.transformer_block(8, heads=2).init(key(0), X), ("residual adds its input back", "(2, 5, 4)", "(2, 5, 8)")),
    "no norm": (lambda: fnn.transformer_block(4, 2, norm="layer"), ("a layer or a function", "'layer'")),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
