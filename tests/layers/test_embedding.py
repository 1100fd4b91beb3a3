"""The embedding: rows of a table, no id taken for another, and none without a row trained on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from networks import key, quick, refused

import fnn

TABLE = np.arange(15.0).reshape(5, 3)
PARAMS = {"table": jnp.asarray(TABLE)}
IDS = np.array([[4, 0], [2, 2], [1, 4]])
LAYER = fnn.embedding(5, 3)


@pytest.mark.parametrize("leading", [(), (3,), (2, 4), (0, 2)], ids=str)
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32"])
def test_each_id_becomes_its_row(leading, dtype):
    ids = np.random.default_rng(0).integers(0, 5, leading)
    found = quick(LAYER.forward)(PARAMS, np.asarray(ids, dtype))
    np.testing.assert_array_equal(found, TABLE[ids])


def test_it_is_the_product_with_one_hot_rows():
    one_hot = np.eye(5)[IDS]
    np.testing.assert_array_equal(quick(LAYER.forward)(PARAMS, IDS), one_hot @ TABLE)


def test_ids_of_few_bits_reach_the_end_of_a_long_table():
    table = jnp.arange(600.0)[:, None]
    ids = jnp.array([0, 255], jnp.uint8)
    forward = quick(fnn.embedding(600, 1).forward)
    for given in (ids, ids - 256):
        np.testing.assert_array_equal(np.asarray(forward({"table": table}, given))[:, 0], [0, 255])


@pytest.mark.parametrize("wrong", [5, -1, -5, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("how", [lambda f: f, jax.jit, jax.vmap])
def test_an_id_without_a_row_is_nan_and_no_other_row(wrong, how):
    ids = jnp.array([[1, wrong], [0, 2]])
    y = np.asarray(how(lambda ids: LAYER.forward(PARAMS, ids))(ids))
    np.testing.assert_array_equal(np.isnan(y), [[[False] * 3, [True] * 3], [[False] * 3] * 2])
    np.testing.assert_array_equal(y[0, 0], TABLE[1])


def test_a_table_of_one_row_has_one_id():
    y = quick(fnn.embedding(1, 2).forward)({"table": jnp.ones((1, 2))}, jnp.array([0, 1, 7]))
    np.testing.assert_array_equal(np.isnan(y)[:, 0], [False, True, True])


def test_the_gradient_adds_up_over_the_places_of_an_id_and_leaves_other_rows():
    grads = quick(jax.grad(lambda params: LAYER.forward(params, IDS).sum()))(PARAMS)["table"]
    np.testing.assert_array_equal(grads, np.bincount(IDS.ravel(), minlength=5)[:, None] * np.ones(3))
    by_hand, delta_x = quick(LAYER.backward)(PARAMS, jnp.asarray(IDS), None, jnp.ones((3, 2, 3)))
    np.testing.assert_array_equal(by_hand["table"], grads)
    assert delta_x.shape == IDS.shape and not np.any(delta_x)


def test_rows_start_as_long_as_one():
    table = np.asarray(fnn.embedding(2000, 50).init(key(0), jnp.zeros((3,), int))["table"], np.float64)
    assert (
        table.shape == (2000, 50) and abs((table**2).sum(-1).mean() - 1) < 0.01 and abs(table.mean()) < 0.003
    )


def test_weight_decay_spares_the_table():
    rule = fnn.weight_decay(0.1)
    updates, _ = rule.update({"table": jnp.zeros((5, 3))}, rule.init(PARAMS), PARAMS)
    assert not np.any(updates["table"])


def test_it_is_that_of_pytorch_with_its_gradient():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")
    theirs = torch.nn.Embedding(5, 3)
    theirs.weight.data = torch.tensor(TABLE, dtype=torch.float32)
    y = theirs(torch.tensor(IDS))
    (y**2).sum().backward()

    def loss(params):
        y = LAYER.forward(params, IDS)
        return (y**2).sum(), y

    grads, own = quick(jax.grad(loss, has_aux=True))(PARAMS)
    np.testing.assert_array_equal(own, y.detach().numpy())
    np.testing.assert_allclose(grads["table"], theirs.weight.grad.numpy(), rtol=1e-6)


# --- wherever it stands, ids are looked at before anything is trained


def second(x):
    return x["ids"][..., 1]


def looked_up(net, x):
    return net.table(x["ids"]).sum(-2) @ jnp.ones((3, 2))


NETWORKS = {
    "first": (fnn.serial(LAYER, fnn.flatten(2), fnn.dense(2)), lambda ids: ids, "in row 1, column 0"),
    "behind a function": (fnn.serial(second, LAYER, fnn.dense(2)), lambda ids: {"ids": ids[:, ::-1]}, "in row 1, column 1"),
    "in a wire": (fnn.wire(looked_up, table=LAYER), lambda ids: {"ids": ids}, "in row 1, column 0"),
    "repeated": (
        fnn.serial(LAYER, fnn.repeat(2, fnn.dense(3)), fnn.flatten(2), fnn.dense(2)), lambda ids: ids, "in row 1, column 0"),
    "in a branch": (
        fnn.serial(fnn.parallel(LAYER, LAYER), lambda pair: pair[0] * pair[1], fnn.flatten(2), fnn.dense(2)),
        lambda ids: ids, "in row 1, column 0"),
    "of floats": (
        fnn.serial(lambda x: x.astype(int), LAYER, fnn.flatten(2), fnn.dense(2)), lambda ids: ids * 1.0, ""),
}  # fmt: skip
Y = np.array([0, 1, 0])


@pytest.mark.parametrize(("network", "as_input", "place"), NETWORKS.values(), ids=NETWORKS)
def test_fit_predict_and_evaluate_refuse_an_id_without_a_row(network, as_input, place):
    right, wrong = as_input(IDS), IDS.copy()
    wrong[1, 0] = 9
    wrong = as_input(wrong)
    words = "embedding(5, 3) expected ids from 0 to 4 (5 in all), got 9" + (f" {place}" if place else "")
    options = {"key": key(0), "epochs": 1}
    parts = network, fnn.softmax_cross_entropy, fnn.adam()
    with refused("x: " + words, kind=ValueError):
        fnn.fit(*parts, wrong, Y, **options)
    with refused("validation[0]: " + words, kind=ValueError):
        fnn.fit(*parts, right, Y, validation=(wrong, Y), **options)
    with refused("x: " + words, kind=ValueError):
        fnn.sweep(*parts, wrong, Y, **options)
    params = fnn.fit(*parts, right, Y, **options).params
    with refused("x: " + words, kind=ValueError):
        fnn.predict(network, params, wrong)
    with refused("x: " + words, kind=ValueError):
        fnn.evaluate(network, params, wrong, Y, {"accuracy": fnn.accuracy})
    assert fnn.predict(network, params, right).shape == (3, 2)


def test_the_row_is_that_of_all_rows_not_of_a_block():
    network, ids = fnn.serial(LAYER), np.zeros(5000, int)
    ids[4321] = -3
    with refused("got -3 in row 4321"):
        fnn.predict(network, (PARAMS,), ids)


def test_networks_without_ids_are_not_run_for_their_checks():
    from fnn.workflow.shapes import has_checks

    x = np.ones((3, 4), np.float32)
    assert not has_checks(fnn.serial(fnn.dense(4), jnp.tanh), x)
    assert has_checks(fnn.serial(LAYER), IDS)


def test_ten_thousand_categories_are_learned_without_one_hot_rows():
    draw = np.random.default_rng(0)
    values, ids = draw.normal(size=10_000), draw.permutation(np.arange(40_000) % 10_000)
    network = fnn.serial(fnn.embedding(10_000, 1), lambda y: y)
    y = values[ids][:, None]
    fitted = fnn.fit(network, fnn.mse, fnn.adam(0.05), ids, y, key=key(0), epochs=30, batch_size=500)
    assert abs(np.asarray(fitted.params[0]["table"])[:, 0] - values).mean() < 0.05


WRONG = {
    "count": (lambda: fnn.embedding(0, 3), ("embedding: count expected a whole number, at least 1", "got 0")),
    "features": (lambda: fnn.embedding(5, 2.5), ("embedding: features expected a whole number", "got 2.5")),
    "an initializer of another shape": (
        lambda: fnn.embedding(5, 3, lambda key, shape: jnp.ones(3)).init(key(0), IDS),
        ("embedding: table_init expected an initializer", "(5, 3)", "(3,)")),
    "floats": (
        lambda: LAYER.forward(PARAMS, jnp.ones(3)),
        ("embedding expected an array of whole numbers, ids", "float32 of shape (3,)", "astype('int32')")),
    "truth values": (lambda: LAYER.forward(PARAMS, jnp.ones(3, bool)), ("embedding expected an array of whole numbers", "bool")),
    "a dict": (lambda: LAYER.forward(PARAMS, {"ids": IDS}), ("embedding expected an array of whole numbers", "dict")),
    "parameters of another": (
        lambda: LAYER.forward({"weight": TABLE}, IDS), ("embedding expected parameters named ['table']",)),
}  # fmt: skip


@pytest.mark.parametrize(("run", "pieces"), WRONG.values(), ids=WRONG)
def test_a_wrong_use_is_refused_with_the_fix(run, pieces):
    with refused(*pieces):
        run()
