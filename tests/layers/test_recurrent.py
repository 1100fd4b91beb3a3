"""Recurrent layers: each is its loop in NumPy and its layer in PyTorch, and padding changes nothing."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, output_and_slopes, parameters, quick, refused

import fnn

CELLS = {"rnn": fnn.rnn, "gru": fnn.gru, "lstm": fnn.lstm}
every_cell = pytest.mark.parametrize("cell", CELLS)
close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def host(tree):
    return jax.tree.map(np.asarray, tree)


@every_cell
@pytest.mark.parametrize("leading", [(), (3,), (2, 2), (0,)], ids=str)
def test_it_is_a_loop_over_its_steps(x64, cell, leading):
    oracle = getattr(oracles, cell)
    with x64():
        x = normal(*leading, 6, 4)
        layers = [
            CELLS[cell](3, **ways, **ends)
            for ways in ({}, {"reverse": True})
            for ends in ({}, {"last": True})
        ]
        params = parameters(layers[0], jnp.asarray(x))
        rows = x.reshape(-1, 6, 4)
        forwards = quick(lambda params, x: [layer.forward(params, x) for layer in layers])(params, x)
        expected = np.array([oracle(host(params), row) for row in rows]).reshape(*leading, 6, 3)
        close(forwards[0], expected)
        close(forwards[1], expected[..., -1, :])
        backwards = np.array([oracle(host(params), row[::-1])[::-1] for row in rows]).reshape(expected.shape)
        close(forwards[2], backwards)
        close(forwards[3], backwards[..., 0, :])


@every_cell
def test_both_ways_is_one_way_beside_the_other(x64, cell):
    with x64():
        x = jnp.asarray(normal(2, 5, 4))
        both = CELLS[cell](3, bidirectional=True)
        params = parameters(both, x)

        @quick
        def run(params, x):
            there = CELLS[cell](3).forward(params["forward"], x)
            back = CELLS[cell](3, reverse=True).forward(params["backward"], x)
            ends = CELLS[cell](3, bidirectional=True, last=True).forward(params, x)
            return there, back, both.forward(params, x), ends

        there, back, together, ends = host(run(params, x))
        close(together, np.concatenate([there, back], -1))
        close(ends, np.concatenate([there[:, -1], back[:, 0]], -1))
        assert np.any(params["forward"]["input"]["weight"] != params["backward"]["input"]["weight"])


# --- masks

FORMS = {
    "all": {},
    "last": {"last": True},
    "reverse": {"reverse": True},
    "reverse, last": {"reverse": True, "last": True},
    "both": {"bidirectional": True},
    "both, last": {"bidirectional": True, "last": True},
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@every_cell
@every_form
def test_padding_changes_nothing_bit_for_bit(cell, form):
    layer = CELLS[cell](3, **form)
    lengths = [6, 2, 4, 1]
    x = np.asarray(normal(4, 6, 4), np.float32)
    mask = np.arange(6) < np.array(lengths)[:, None]
    params = parameters(layer, jnp.asarray(x))
    run = jax.jit(layer.forward)
    for filling in (0, 1e30, np.nan):
        padded = np.where(mask[..., None], x, filling).astype(np.float32)
        y = run(params, {"x": padded, "mask": mask})
        if filling == 0:
            first = y
        np.testing.assert_array_equal(y, first)

    @quick
    def without_mask(params, x):
        return [
            layer.forward(params, x[i : i + 1, :length])[0] for i, length in enumerate(lengths)
        ], layer.forward(params, x)

    each, unmasked = without_mask(params, x)
    for mine, alone, length in zip(np.asarray(first), each, lengths, strict=True):
        mine = mine if form.get("last") else mine[:length]
        np.testing.assert_allclose(mine, alone, rtol=1e-5, atol=1e-6)
    whole = run(params, {"x": x, "mask": np.ones((4, 6), bool)})
    np.testing.assert_allclose(whole, unmasked, rtol=1e-5, atol=1e-6)


@every_cell
def test_a_hole_in_the_mask_is_as_if_the_step_were_not_there(x64, cell):
    layer = CELLS[cell](3)
    with x64():
        x = jnp.asarray(normal(1, 6, 4))
        params = parameters(layer, x)
        kept = np.array([0, 2, 3, 5])
        mask = np.isin(np.arange(6), kept)[None]

        @quick
        def run(params, x):
            return layer.forward(params, {"x": x, "mask": mask}), layer.forward(params, x[:, kept])

        y, without = host(run(params, x))
        close(y[:, kept], without)
        close(y[:, 1], y[:, 0])  # the output repeats the last one


@every_cell
@every_form
def test_neither_nan_nor_length_zero_reaches_a_gradient(cell, form):
    layer = CELLS[cell](3, **form)
    x = np.full((2, 4, 4), np.nan, np.float32)
    x[0, :2] = normal(2, 4)
    given = {"x": jnp.asarray(x), "mask": jnp.asarray([[1, 1, 0, 0], [0, 0, 0, 0]])}
    params = parameters(layer, given)

    @jax.jit
    def run(params, given):
        total = lambda params, x: (layer.forward(params, given | {"x": x}) ** 2).sum()
        y, grads = jax.value_and_grad(total, (0, 1))(params, given["x"])
        outputs = layer.forward(params, given)
        return y, grads, outputs, layer.backward(params, given, None, 2 * outputs)

    y, grads, outputs, (by_hand, delta_x) = run(params, given)
    assert np.isfinite(y)
    chex.assert_tree_all_finite(grads)
    chex.assert_trees_all_close((by_hand, delta_x["x"]), grads, rtol=1e-4, atol=1e-5)
    assert not np.any(np.asarray(outputs)[1])  # a sequence without steps has the initial state


@every_cell
@every_form
def test_the_derivative_by_hand_is_that_of_jax_under_masks_with_holes(x64, cell, form):
    layer = CELLS[cell](3, **form)
    with x64():
        x = jnp.asarray(normal(3, 5, 4))
        mask = normal(3, 5, seed=1) > -0.5
        given = {"x": x, "mask": jnp.asarray(mask)}
        params = parameters(layer, given)

        def by_hand_and_by_jax(params, given, delta):
            y, pull = jax.vjp(lambda params, x: layer.forward(params, given | {"x": x}), params, given["x"])
            return layer.backward(params, given, y, delta), pull(delta)

        delta = jnp.asarray(normal(*jax.eval_shape(layer.forward, params, given).shape, seed=2))
        (grads, delta_x), expected = jax.jit(by_hand_and_by_jax)(params, given, delta)
        chex.assert_trees_all_close((grads, delta_x["x"]), expected, rtol=1e-10, atol=1e-10)
        assert not np.any(np.asarray(delta_x["x"])[~mask])


def test_no_steps_are_the_initial_state():
    for make in CELLS.values():
        layer = make(3, last=True)
        params = parameters(layer, jnp.ones((2, 5, 4)))
        last, each = quick(lambda *given: (layer.forward(*given), make(3).forward(*given)))(
            params, jnp.ones((2, 0, 4))
        )
        np.testing.assert_array_equal(last, np.zeros((2, 3)))
        assert each.shape == (2, 0, 3)


def test_a_dict_need_not_have_a_mask():
    layer, x = fnn.gru(3), jnp.asarray(normal(2, 5, 4), jnp.float32)
    params = parameters(layer, x)
    forward, backward = quick(layer.forward), quick(layer.backward)
    np.testing.assert_array_equal(forward(params, {"x": x}), forward(params, x))
    _, delta_x = backward(params, {"x": x}, None, jnp.ones((2, 5, 3)))
    assert list(delta_x) == ["x"] and delta_x["x"].shape == x.shape


# --- how they start


@every_cell
def test_each_block_of_the_recurrent_weights_starts_orthogonal(cell):
    params = CELLS[cell](8).init(key(0), jnp.ones((2, 5, 100)))
    blocks = np.split(
        np.asarray(params["recurrent"]["weight"]), params["recurrent"]["weight"].shape[1] // 8, 1
    )
    assert len(blocks) == {"rnn": 1, "gru": 3, "lstm": 4}[cell]
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(8), atol=1e-5)
    assert not any(np.array_equal(blocks[0], other) for other in blocks[1:])
    assert abs(np.asarray(params["input"]["weight"]).std() - 0.1) < 0.01
    bias = np.zeros(8 * len(blocks))
    bias[8:16] += cell == "lstm"
    np.testing.assert_array_equal(params["input"]["bias"], bias)


# --- PyTorch


@every_cell
@pytest.mark.parametrize("both", [False, True])
def test_outputs_and_gradients_are_those_of_pytorch(x64, cell, both):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    theirs = getattr(torch.nn, cell.upper())(4, 3, batch_first=True, bidirectional=both).double()
    x, weights = normal(2, 5, 4), normal(2, 5, 6 if both else 3, seed=1)

    def own(end):
        w, u, b, d = (
            getattr(theirs, f"{name}_l0{end}").detach().numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        held = d.copy()
        if cell == "gru":
            held[6:] = 0  # d stands beside the others
        recurrent = {"weight": u.T} | ({"bias": d[6:]} if cell == "gru" else {})
        return jax.tree.map(jnp.asarray, {"input": {"weight": w.T, "bias": b + held}, "recurrent": recurrent})

    given = torch.tensor(x, requires_grad=True)
    y, _ = theirs(given)
    (y * torch.tensor(weights)).sum().backward()
    with x64():
        layer = CELLS[cell](3, bidirectional=both)
        params = {"forward": own(""), "backward": own("_reverse")} if both else own("")
        ours, grads, slope = output_and_slopes(layer.forward, params, x, weights)
        close(ours, y.detach().numpy())
        close(slope, given.grad.numpy())
        first = grads["forward"] if both else grads
        close(first["input"]["weight"], theirs.weight_ih_l0.grad.numpy().T)
        close(first["recurrent"]["weight"], theirs.weight_hh_l0.grad.numpy().T)
        close(first["input"]["bias"], theirs.bias_ih_l0.grad.numpy())


# --- learning


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_it_remembers_what_came_first(cell):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(256, 12, 2)).astype(np.float32)
    lengths = draw.integers(3, 13, 256)
    mask = np.arange(12) < lengths[:, None]
    y = (x[:, 0, 0] > 0).astype(np.float32)[:, None]
    network = fnn.serial(CELLS[cell](8, last=True), fnn.dense(1))
    given = {"x": x, "mask": mask}
    fitted = fnn.fit(network, fnn.binary_cross_entropy, fnn.adam(0.02), given, y, key=key(0), epochs=60)
    assert fnn.evaluate(network, fitted.params, given, y, {"a": fnn.accuracy})["a"] > 0.95


# --- what they refuse

X = jnp.ones((2, 5, 4))
WRONG = {
    "features": (lambda: fnn.gru(0), ("gru: features expected a whole number, at least 1",)),
    "two ways and reverse": (
        lambda: fnn.lstm(3, reverse=True, bidirectional=True), ("lstm expected reverse or bidirectional",)),
    "no axis of steps": (
        lambda: fnn.rnn(3).init(key(0), jnp.ones(4)), ("rnn expected an axis of steps", "shape (4,)", "(steps, features)")),
    "another width": (
        lambda: fnn.gru(3).forward(parameters(fnn.gru(3), X), X[..., :2]), ("gru expected 4 features", "got 2")),
    "a mask of another shape": (
        lambda: fnn.lstm(3).init(key(0), {"x": X, "mask": jnp.ones((2, 4))}),
        ("lstm: mask expected one truth value a step, (2, 5)", "shape (2, 4)")),
    "whole numbers": (lambda: fnn.rnn(3).init(key(0), X.astype(int)), ("rnn expected floating-point features", "int32")),
    "a dict without x": (
        lambda: fnn.rnn(3).init(key(0), {"mask": jnp.ones((2, 5))}), ("rnn expected an array, or a dict of x and mask", "['mask']")),
    "a mask of another name": (
        lambda: fnn.gru(3).init(key(0), {"x": X, "masks": jnp.ones((2, 5))}), ("dict of x and mask", "['masks', 'x']")),
    "parameters of one way": (
        lambda: fnn.gru(3, bidirectional=True).forward(parameters(fnn.gru(3), X), X),
        ("gru expected parameters named ['backward', 'forward']",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
