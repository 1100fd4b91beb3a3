"""Attention: its loop over queries in NumPy, PyTorch's and Flax's layer, and what masks and padding do."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, output_and_slopes, parameters, quick, refused

import fnn

close = functools.partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-12)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def host(tree):
    return jax.tree.map(np.asarray, tree)


STEPS = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 0]], bool)  # of two sequences, the second with a hole
PAIRS = normal(2, 6, 6, seed=5) > 0
PAIRS[1, 2] = False  # one query sees nothing
CASES = {  # options, context, mask
    "to itself": ({}, None, None),
    "one head": ({"heads": 1}, None, None),
    "to steps before": ({"causal": True}, None, None),
    "rotated": ({"rotary": 100.0}, None, None),
    "rotated, to steps before": ({"rotary": 10_000.0, "causal": True}, None, None),
    "padded": ({}, None, STEPS),
    "padded, to steps before": ({"causal": True, "rotary": 10.0}, None, STEPS),
    "by pairs": ({}, None, PAIRS),
    "to a context": ({}, (2, 4, 3), None),
    "to a padded context": ({"heads": 4}, (2, 4, 3), np.array([[1, 1, 1, 0], [0, 1, 0, 0]], bool)),
    "to a context by pairs": ({}, (2, 4, 3), PAIRS[:, :, 1:5]),
    "to a context, rotated, the first steps": ({"rotary": 10.0, "causal": True}, (2, 4, 3), None),
}
every_case = pytest.mark.parametrize(("options", "context", "mask"), CASES.values(), ids=CASES)


def prepared(options, context, mask):
    """The layer, its parameters and input, in float64, and which pairs are allowed."""
    layer = fnn.attention(8, **{"heads": 2, **options})
    x = jnp.asarray(normal(2, 6, 5))
    z = x if context is None else jnp.asarray(normal(*context, seed=1))
    given = {"x": x} | ({} if context is None else {"context": z}) | ({} if mask is None else {"mask": mask})
    given = x if list(given) == ["x"] else jax.tree.map(jnp.asarray, given)
    allowed = np.ones((2, 6, z.shape[1]), bool)
    if mask is not None:
        allowed &= mask if mask.ndim == 3 else mask[:, None]
    if options.get("causal"):
        allowed &= np.arange(z.shape[1]) <= np.arange(6)[:, None]
    return layer, parameters(layer, given), given, x, z, allowed


@every_case
def test_it_is_a_loop_over_queries_with_its_derivative(x64, options, context, mask):
    with x64():
        layer, params, given, x, z, allowed = prepared(options, context, mask)
        heads, rotary = options.get("heads", 2), options.get("rotary")
        read = x if context is not None or mask is not STEPS else x * mask[..., None]  # padding asks as zeros
        expected = [
            oracles.attention(host(params), *map(np.asarray, (read[i], z[i])), allowed[i], heads, rotary)
            for i in range(2)
        ]
        floats = {"x": x} | ({"context": z} if context is not None else {})

        @quick
        def run(params, floats, delta):
            given_as = lambda floats: {**given, **floats} if isinstance(given, dict) else floats["x"]
            y = layer.forward(params, given_as(floats))
            _, pull = jax.vjp(lambda params, floats: layer.forward(params, given_as(floats)), params, floats)
            return y, pull(delta), layer.backward(params, given_as(floats), y, delta)

        y, (grads, slopes), (by_hand, delta_x) = run(params, floats, normal(2, 6, 8, seed=2))
        close(y, expected)
        delta_x = {name: delta_x[name] for name in floats} if isinstance(given, dict) else {"x": delta_x}
        chex.assert_trees_all_close((by_hand, delta_x), (grads, slopes), rtol=1e-10, atol=1e-11)


@every_case
def test_a_query_that_sees_no_key_takes_nothing(x64, options, context, mask):
    with x64():
        layer, params, given, _, z, _ = prepared(options, context, mask)
        nothing = jnp.zeros(z.shape[:-1], bool)
        given = given if isinstance(given, dict) else {"x": given}

        def run(params):
            y, pull = jax.vjp(lambda params: layer.forward(params, {**given, "mask": nothing}), params)
            return y, pull(jnp.ones_like(y))

        y, slopes = quick(run)(params)
        close(y, jnp.broadcast_to(params["output"]["bias"], y.shape))
        chex.assert_tree_all_finite(slopes)


@pytest.mark.parametrize("options", [{}, {"causal": True, "rotary": 10.0}], ids=str)
def test_padding_changes_nothing_bit_for_bit(options):
    layer = fnn.attention(8, heads=2, **options)
    x, mask = np.asarray(normal(2, 6, 5), np.float32), STEPS
    params = parameters(layer, jnp.asarray(x))

    def total(params, x):
        y = layer.forward(params, {"x": x, "mask": jnp.asarray(mask)})
        return (jnp.where(mask[..., None], y, 0) ** 2).sum(), y

    run = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
    found = []
    for filling in (0, 1e30, np.nan):
        (cost, y), grads = run(params, jnp.asarray(np.where(mask[..., None], x, filling), jnp.float32))
        found.append((cost, np.where(mask[..., None], y, 0), grads))
    chex.assert_trees_all_equal(*found)
    whole = quick(layer.forward)(params, x[:1])  # the first sequence has no padding
    np.testing.assert_allclose(found[0][1][:1], whole, rtol=1e-5, atol=1e-5)


def test_a_padded_context_changes_nothing_either():
    layer = fnn.attention(8, heads=2)
    x, z = jnp.asarray(normal(2, 3, 5), jnp.float32), np.asarray(normal(2, 6, 4, seed=1), np.float32)
    params = parameters(layer, {"x": x, "context": jnp.asarray(z)})
    run = jax.jit(lambda z: layer.forward(params, {"x": x, "context": z, "mask": jnp.asarray(STEPS)}))
    filled = [run(jnp.asarray(np.where(STEPS[..., None], z, f), jnp.float32)) for f in (0, np.nan)]
    np.testing.assert_array_equal(*filled)


def test_what_is_rotated_sees_distances_not_places(x64):
    with x64():
        layer = fnn.attention(8, heads=2, rotary=100.0)
        x = normal(4, 5)
        params = parameters(layer, jnp.asarray(x))
        params["key"]["bias"] = params["query"]["bias"] = jnp.zeros(8)
        shifted = np.concatenate([np.zeros((3, 5)), x])  # the same steps, three later
        forward, mask = quick(layer.forward), np.arange(7) >= 3
        close(np.asarray(forward(params, {"x": shifted, "mask": mask}))[3:], forward(params, x))


def test_angles_are_exact_at_late_places():
    from fnn.layers.attention import Form, rotate, rotation

    table = rotation(Form(64, 1, False, 10_000.0), 100_001)[:, -1:]
    exact = np.arange(100_001)[-1] * 10_000.0 ** (-np.arange(0, 64, 2, dtype=np.float64) / 64)
    ones = jnp.concatenate([jnp.ones((1, 32)), jnp.zeros((1, 32))], -1)
    expected = np.concatenate([np.cos(exact), np.sin(exact)])
    np.testing.assert_allclose(rotate(ones, table)[0], expected, atol=1e-6)


def test_dropped_weights_keep_the_mean():
    layer = fnn.attention(4, heads=1, dropout=0.5)
    x = jnp.ones((1, 50, 4))
    params = parameters(layer, x)
    y, same = quick(layer.forward_train)(params, np.ones((400, 50, 4), np.float32), key(1))
    chex.assert_trees_all_equal(same, params)
    whole = quick(layer.forward)(params, x)
    y, expected = np.asarray(y, np.float64).reshape(-1, 4), np.asarray(whole)[0, 0]
    assert (y.std(0) > 0.05).any()
    assert (abs(y.mean(0) - expected) < 5 * y.std(0) / np.sqrt(len(y)) + 1e-5).all()
    undropped, _ = quick(fnn.attention(4, heads=1).forward_train)(params, x, key(1))
    np.testing.assert_array_equal(whole, undropped)


def test_half_precision_adds_up_in_single():
    layer = fnn.attention(8, heads=2)
    x = jnp.asarray(normal(2, 200, 8), jnp.float32)
    params = parameters(layer, x)
    small = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, x))
    y = layer.forward(*small)
    assert y.dtype == jnp.bfloat16
    exact = layer.forward(*jax.tree.map(lambda leaf: leaf.astype(jnp.float32), small))
    assert abs(y.astype(jnp.float32) - exact).max() < 0.05 * abs(exact).max()


# --- PyTorch and Flax


def from_stacked(weight, bias, width):
    """Query, key and value out of PyTorch's stacked matrix."""
    return {
        name: {"weight": weight[i * width : (i + 1) * width].T, "bias": bias[i * width : (i + 1) * width]}
        for i, name in enumerate(("query", "key", "value"))
    }


@pytest.mark.parametrize("form", ["all", "causal", "padded"])
def test_outputs_and_gradients_are_those_of_pytorch(x64, form):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_bias.copy_(torch.tensor(normal(24)))
    x, weights = normal(2, 6, 8), normal(2, 6, 8, seed=1)
    masks = {}  # theirs are true where a key is not seen
    if form == "causal":
        masks["attn_mask"] = torch.tensor(~np.tri(6, dtype=bool))
    if form == "padded":
        masks["key_padding_mask"] = torch.tensor(~STEPS)
    given = torch.tensor(x, requires_grad=True)
    y, _ = theirs(given, given, given, need_weights=False, **masks)
    (y * torch.tensor(weights)).sum().backward()
    numbers = lambda tensor: tensor.detach().numpy()

    def ours(get):
        stacked = from_stacked(numbers(get(theirs.in_proj_weight)), numbers(get(theirs.in_proj_bias)), 8)
        out = {"weight": numbers(get(theirs.out_proj.weight)).T, "bias": numbers(get(theirs.out_proj.bias))}
        return {**stacked, "output": out}

    with x64():
        layer = fnn.attention(8, heads=2, causal=form == "causal")
        params = jax.tree.map(jnp.asarray, ours(lambda tensor: tensor))
        wrap = lambda x: {"x": x, "mask": jnp.asarray(STEPS)} if form == "padded" else x
        forward = lambda params, x: layer.forward(params, wrap(x))
        own, grads, slope = output_and_slopes(forward, params, x, weights)
        real = (
            STEPS if form == "padded" else np.ones_like(STEPS)
        )  # theirs computes with what is in the padding
        close(np.asarray(own)[real], numbers(y)[real])
        if form != "padded":
            close(slope, given.grad.numpy())
            chex.assert_trees_all_close(grads, ours(lambda tensor: tensor.grad), rtol=1e-10, atol=1e-11)


def test_outputs_and_gradients_are_those_of_flax(x64):
    nn = pytest.importorskip("flax.linen", reason="Flax is not installed: pip install flax")
    with x64():
        theirs = nn.MultiHeadAttention(
            num_heads=2, qkv_features=8, out_features=8, dtype=float, param_dtype=float
        )
        x, z = jnp.asarray(normal(2, 6, 5)), jnp.asarray(normal(2, 4, 3, seed=1))
        mask = jnp.asarray(PAIRS[:, :, 1:5] | (np.arange(4) == 0))
        variables = host(quick(theirs.init)(key(0), x, z))
        layer = fnn.attention(8, heads=2)

        def ours(tree):
            flat = {n: {"weight": tree[n]["kernel"].reshape(-1, 8), "bias": tree[n]["bias"].reshape(8)}
                    for n in ("query", "key", "value")}  # fmt: skip
            return {
                **flat,
                "output": {"weight": tree["out"]["kernel"].reshape(8, 8), "bias": tree["out"]["bias"]},
            }

        run = lambda variables: (theirs.apply(variables, x, z, mask=mask[:, None]) ** 2).sum()
        mine = lambda params: (layer.forward(params, {"x": x, "context": z, "mask": mask}) ** 2).sum()
        value, grads = quick(jax.value_and_grad(run))(variables)
        own, own_grads = quick(jax.value_and_grad(mine))(ours(variables["params"]))
        close(own, value)
        chex.assert_trees_all_close(own_grads, ours(host(grads)["params"]), rtol=1e-10, atol=1e-11)


# --- learning


def test_it_finds_what_a_step_points_to():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(512, 8, 2)).astype(np.float32)
    places = draw.integers(0, 8, 512)
    x[..., 1] = 0
    x[np.arange(512), places, 1] = 1  # one step is marked, and its number is asked for
    y = x[np.arange(512), places, :1]
    network = fnn.serial(fnn.attention(8, heads=2), lambda h: h[..., 0, :], fnn.dense(1))
    fitted = fnn.fit(network, fnn.mse, fnn.adam(0.01), x[:384], y[:384], key=key(0), epochs=60)
    assert fnn.evaluate(network, fitted.params, x[384:], y[384:], {"r2": fnn.r2_score})["r2"] > 0.9


# --- what they refuse

X = jnp.ones((2, 5, 4))
LAYER = fnn.attention(4, heads=2)
WRONG = {
    "heads that do not fit": (lambda: fnn.attention(6, heads=4), ("attention: features expected a multiple of 4 heads", "got 6")),
    "halves that do not fit": (
        lambda: fnn.attention(6, heads=2, rotary=10.0), ("a multiple of 2 heads of two halves", "got 6")),
    "a base of zero": (lambda: fnn.attention(8, heads=2, rotary=0), ("attention: rotary", "got 0")),
    "all dropped": (lambda: fnn.attention(8, heads=2, dropout=1.0), ("attention: dropout", "got 1.0")),
    "no axis of steps": (lambda: LAYER.init(key(0), jnp.ones(4)), ("attention expected an axis of steps", "shape (4,)")),
    "another width": (
        lambda: LAYER.forward(parameters(LAYER, X), X[..., :2]), ("dense expected 4 features", "got 2")),
    "a mask of numbers": (
        lambda: LAYER.init(key(0), {"x": X, "mask": jnp.ones((2, 5))}),
        ("attention: mask expected booleans of (2, 5) or (2, 5, 5)", "float32 of shape (2, 5)", "mask > 0", "mask == 0")),
    "a mask of another shape": (
        lambda: LAYER.init(key(0), {"x": X, "mask": jnp.ones((2, 4), bool)}), ("mask expected booleans of (2, 5)", "bool of shape (2, 4)")),
    "a context of other sequences": (
        lambda: LAYER.init(key(0), {"x": X, "context": jnp.ones((3, 5, 4))}),
        ("attention: context expected as many sequences as x, (2,)", "shape (3, 5, 4)")),
    "ids": (lambda: LAYER.init(key(0), X.astype(int)), ("attention expected floating-point features", "int32")),
    "another name": (
        lambda: LAYER.init(key(0), {"x": X, "keys": X}), ("attention expected an array, or a dict of x and context and mask", "['keys', 'x']")),
    "parameters of another layer": (
        lambda: LAYER.forward({"weight": X}, X), ("attention expected parameters named ['key', 'output', 'query', 'value']",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
