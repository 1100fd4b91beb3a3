"""Muon on matrices: its formula, its singular values, and which arrays it takes for matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from networks import key, quick

import fnn
from fnn.optimizers.decoupled import orthogonal_factor

SHAPES = {"wide": (3, 5), "tall": (6, 2), "square": (4, 4), "bias": (5,)}
draw = np.random.default_rng(0)
PARAMS = {name: draw.normal(size=shape) for name, shape in SHAPES.items()}
GRADS = [{name: draw.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(12)]


def path(rule, params, grads):
    def turn(carry, g):
        params, state = carry
        updates, state = rule.update(g, state, params)
        params = fnn.apply_updates(params, updates)
        return (params, state), params

    stacked = jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves)), *grads)
    params = jax.tree.map(jnp.asarray, params)
    moved = jax.jit(lambda params: jax.lax.scan(turn, (params, rule.init(params)), stacked)[1])(params)
    return jax.tree.map(np.asarray, moved)


@pytest.mark.parametrize("numbers", [{}, {"learning_rate": 0.02, "momentum": 0.8, "weight_decay": 0.0}])
@pytest.mark.parametrize("rms", [0.2, 0.5, None])
def test_matrices_move_as_the_formula_says_and_the_rest_as_adamw(x64, numbers, rms):
    given = {"learning_rate": 0.001, "momentum": 0.95, "weight_decay": 0.1} | numbers
    with x64():
        found = path(fnn.muon(**numbers, consistent_rms=rms), PARAMS, GRADS)
        rest = {"learning_rate": given["learning_rate"], "weight_decay": given["weight_decay"]}
        others = path(fnn.adamw(**rest), PARAMS, GRADS)
        np.testing.assert_array_equal(found["bias"], others["bias"])
    for name, (rows, columns) in list(SHAPES.items())[:3]:
        scale = max(1, columns / rows) ** 0.5 if rms is None else rms * max(rows, columns) ** 0.5
        theta, m = PARAMS[name], np.zeros((rows, columns))
        for t, grads in enumerate(GRADS):
            theta, m = oracles.muon_of_a_matrix(grads[name], theta, m, scale=scale, **given)
            np.testing.assert_allclose(found[name][t], theta, rtol=1e-6)  # ‖n‖ + 1e-7, for a zero matrix


def test_singular_values_come_near_one_and_vectors_stay(x64):
    with x64():
        matrices = [draw.normal(size=shape) for shape in ((8, 8), (3, 20), (40, 7), (2, 5, 6))]
        factors = quick(lambda matrices: [orthogonal_factor(n) for n in matrices])(matrices)
        for n, o in zip(matrices, map(np.asarray, factors)):
            u, values, vt = np.linalg.svd(n, full_matrices=False)
            inside = np.swapaxes(u, -1, -2) @ o @ np.swapaxes(vt, -1, -2)
            off = inside - inside * np.eye(inside.shape[-1])
            assert np.abs(off).max() < 1e-10
            large = (values / np.linalg.norm(n, axis=(-2, -1))[..., None]) > 0.02
            found = np.diagonal(inside, axis1=-2, axis2=-1)[large]
            assert (found > 0.6).all() and (found < 1.3).all()


@quick
def factors_and_slopes(*matrices):
    """The factor of each, and the derivative at the last."""
    slopes = jax.grad(lambda n: orthogonal_factor(n).sum())(matrices[-1])
    return *map(orthogonal_factor, matrices), slopes


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_the_size_of_a_gradient_does_not_matter(size):
    n = np.float32(PARAMS["wide"])
    sized, plain, zero, slopes = factors_and_slopes(np.float32(size) * n, n, 0 * n)
    np.testing.assert_allclose(sized, plain, atol=2e-5)
    np.testing.assert_array_equal(zero, 0)
    assert np.isfinite(slopes).all()


def test_it_is_that_of_pytorch_up_to_its_bfloat16():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    for adjust, rms in (("match_rms_adamw", 0.2), ("original", None)):
        matrices = {name: p for name, p in PARAMS.items() if p.ndim == 2}
        theirs = {name: torch.nn.Parameter(torch.tensor(p.T)) for name, p in matrices.items()}
        rule = torch.optim.Muon(theirs.values(), lr=0.01, weight_decay=0.1, adjust_lr_fn=adjust)
        for grads in GRADS:
            for name, p in theirs.items():
                p.grad = torch.tensor(grads[name].T)
            rule.step()
        found = path(fnn.muon(0.01, consistent_rms=rms), PARAMS, GRADS)
        for name, p in theirs.items():
            np.testing.assert_allclose(found[name][-1], p.detach().numpy().T, atol=4e-3)
            assert np.abs(found[name][-1] - PARAMS[name]).max() > 0.03


def test_the_orthogonal_factor_is_that_of_optax():
    muon = pytest.importorskip("optax.contrib._muon", reason="Optax is not installed: pip install optax")
    coefficients = np.float32([3.4445, -4.775, 2.0315])

    @quick
    def both(n):
        theirs = muon.orthogonalize_via_newton_schulz(n, coefficients, 5, "frobenius", 1e-7)
        return orthogonal_factor(n), theirs

    for name in ("wide", "tall", "square"):
        ours, theirs = both(np.float32(PARAMS[name]))
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


def moved_by_adam(rule, params):
    """Which arrays have a mean of squares."""
    v = rule.init(params).moments["v"]
    places = jax.tree_util.tree_leaves_with_path(v)
    return {jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in places}


def test_matrices_are_what_has_two_axes_and_no_name_that_says_otherwise():
    network = fnn.serial(fnn.embedding(5, 4), fnn.gru(4), fnn.repeat(2, fnn.dense(4)), fnn.conv(3, (2,)))
    params = fnn.trained(quick(network.init)(key(0), np.zeros((2, 3), np.int32)))
    adam = moved_by_adam(fnn.muon(), params)
    assert "0/table" in adam and "2/bias" in adam and "3/bias" in adam  # (2, 4): biases of a repeated layer
    assert not {"2/weight", "3/weight"} & adam
    chosen = moved_by_adam(fnn.muon(matrices=("2/weight", "*/table")), params)
    assert "3/weight" in chosen and not {"2/weight", "0/table"} & chosen


def test_other_numbers_and_equal_patterns_are_the_same_program():
    one, other = (fnn.muon(rate, matrices=("*/weight",)) for rate in (0.1, 0.2))
    assert one.update is other.update
    assert jax.tree.structure(one.init) == jax.tree.structure(other.init)
