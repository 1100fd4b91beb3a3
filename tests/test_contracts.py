"""Contracts over everything public: it runs under jit, vmap and grad, and lowers for every platform."""

import chex
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import fnn

X = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), jnp.float32)
Z = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)), jnp.float32)
IDS = jnp.array([0, 1, 2, 0, 1, 2])
BINARY = (Z > 0).astype(jnp.float32)
NETWORK = fnn.serial(fnn.dense(5), jnp.tanh, fnn.dense(3))
PARAMS = NETWORK.init(jax.random.key(0), X)
RULE = fnn.adam()
STATE = fnn.start(NETWORK, RULE, X, key=jax.random.key(1))
COST = fnn.softmax_cross_entropy


def layer(built):
    """A layer's forward as a function of x, with fixed parameters."""
    params = built.init(jax.random.key(2), X)
    return lambda x: built.forward(params, x), X


def piece_by_piece(x):
    """Two pieces through attention, one after the other."""
    network = fnn.attention(4, heads=2, causal=True)
    params = network.init(jax.random.key(2), X)
    begin, step = fnn.stream(network)
    first, state = step(params, begin(params, x[:2], 6), x[:2])
    return jnp.concatenate([first, step(params, state, x[2:])[0]])


def rule(built):
    """A rule's update as a function of the gradient."""
    params = jnp.ones((6, 4))
    state = built.init(params)
    return lambda g: built.update(g, state, params)[0], X


def plain_init(params, **numbers):
    return fnn.RuleState(jnp.int32(0), jax.tree.map(jnp.float32, numbers), {})


def plain_update(grads, state, params=None):
    return jax.tree.map(lambda g: -state.hyperparameters["learning_rate"] * g, grads), state


BOWL = fnn.Objective(lambda p: 2 * p, lambda predictions: jnp.mean((predictions - 1) ** 2))


def searched(rule, x):
    """A step of a rule that looks along the cost."""
    value, grads = jax.value_and_grad(BOWL)(x)
    return rule.update(grads, rule.init(x), x, value=value, value_fn=BOWL)[0]


SUM = fnn.sum_costs({"a": fnn.softmax_cross_entropy, "b": fnn.mse}, {"b": 0.1})
PLATEAU = fnn.reduce_on_plateau()


def averaging(x):
    """A state after one step to x, with an average of the parameters."""
    rule = fnn.chain(fnn.adam(), fnn.average())
    _, memory = rule.update(x, rule.init(x), x)
    return STATE._replace(params=x, optimizer=memory)


def shared(net, x):
    return net.body(net.body(x))


# A function of one array of floats, that array, and whether it has a slope.
ARRAYS = {
    "dense": (*layer(fnn.dense(3)), True),
    "dropout": (*layer(fnn.dropout(0.5)), True),
    "batch_norm": (*layer(fnn.batch_norm()), True),
    "layer_norm": (*layer(fnn.layer_norm()), True),
    "rms_norm": (*layer(fnn.rms_norm()), True),
    "group_norm": (*layer(fnn.group_norm(2, axes=1)), True),
    "embedding": (lambda table: fnn.embedding(6, 4).forward({"table": table}, IDS), X, True),
    "conv": (*layer(fnn.conv(3, (3,))), True),
    "conv_transpose": (*layer(fnn.conv_transpose(3, (3,))), True),
    "max_pool": (*layer(fnn.max_pool((2,))), True),
    "avg_pool": (*layer(fnn.avg_pool((2,))), True),
    "global_avg_pool": (*layer(fnn.global_avg_pool(1)), True),
    "rnn": (*layer(fnn.rnn(3)), True),
    "gru": (*layer(fnn.gru(3)), True),
    "lstm": (*layer(fnn.lstm(3)), True),
    "attention": (*layer(fnn.attention(4, heads=2, causal=True)), True),
    "positional_encoding": (*layer(fnn.positional_encoding()), True),
    "positional_embedding": (*layer(fnn.positional_embedding(6)), True),
    "transformer_block": (*layer(fnn.transformer_block(4, heads=2)), True),
    "stream": (piece_by_piece, X, True),
    "generate": (lambda x: fnn.generate(fnn.embedding(6, 6), {"table": x @ x.T}, IDS, 3), X, False),
    "prelu": (*layer(fnn.prelu()), True),
    "swish": (*layer(fnn.swish()), True),
    "mixture": (*layer(fnn.mixture(jnp.tanh, jax.nn.relu)), True),
    "flatten": (*layer(fnn.flatten(1)), True),
    "serial": (*layer(NETWORK), True),
    "residual": (*layer(fnn.residual(fnn.dense(4))), True),
    "parallel": (*layer(fnn.parallel(fnn.dense(2), jnp.sin)), True),
    "repeat": (*layer(fnn.repeat(2, fnn.dense(4))), True),
    "freeze": (*layer(fnn.freeze(fnn.dense(3))), True),
    "precision": (*layer(fnn.precision(fnn.dense(3), jnp.bfloat16)), True),
    "wire": (*layer(fnn.wire(shared, body=fnn.dense(4))), True),
    "layer": (*layer(fnn.layer(lambda key, x: (), lambda params, x: 2 * x, name="twice")), True),
    "mse": (lambda z: fnn.mse(z, BINARY), Z, True),
    "rmse": (lambda z: fnn.rmse(z, BINARY), Z, True),
    "mae": (lambda z: fnn.mae(z, BINARY), Z, True),
    "huber": (lambda z: fnn.huber(z, BINARY), Z, True),
    "binary_cross_entropy": (lambda z: fnn.binary_cross_entropy(z, BINARY), Z, True),
    "softmax_cross_entropy": (lambda z: COST(z, IDS), Z, True),
    "log_cosh": (lambda z: fnn.log_cosh(z, BINARY), Z, True),
    "quantile": (lambda z: fnn.quantile(z, BINARY, q=jnp.array([0.1, 0.5, 0.9])), Z, True),
    "poisson": (lambda z: fnn.poisson(z, BINARY), Z, True),
    "gaussian_nll": (lambda x: fnn.gaussian_nll(x, BINARY[:, :2]), X, True),
    "hinge": (lambda z: fnn.hinge(z, IDS) + fnn.hinge(z, BINARY), Z, True),
    "focal": (lambda z: fnn.focal(z, IDS) + fnn.focal(z, BINARY), Z, True),
    "kl_divergence": (lambda z: fnn.kl_divergence(z, jnp.full((6, 3), 1 / 3)), Z, True),
    "cosine_distance": (lambda z: fnn.cosine_distance(z, BINARY), Z, True),
    "l1": (lambda x: fnn.l1(0.1)({"weight": x, "bias": x}), X, True),
    "l2": (lambda x: fnn.l2(0.1)({"weight": x, "bias": x}), X, True),
    "elastic": (lambda x: fnn.elastic(0.1)({"weight": x, "bias": x}), X, True),
    "accuracy": (lambda z: fnn.accuracy(z, IDS), Z, False),
    "confusion_matrix": (lambda z: fnn.confusion_matrix(z, IDS), Z, False),
    "binary_accuracy": (lambda z: fnn.binary_accuracy(z, BINARY), Z, False),
    "exact_match": (lambda z: fnn.exact_match(z, BINARY), Z, False),
    "r2_score": (lambda z: fnn.r2_score(z, BINARY), Z, True),
    "explained_variance": (lambda z: fnn.explained_variance(z, BINARY), Z, True),
    "median_absolute_error": (lambda z: fnn.median_absolute_error(z, BINARY), Z, True),
    "precision_score": (lambda z: fnn.precision_score(z, IDS), Z, False),
    "recall_score": (lambda z: fnn.recall_score(z, IDS), Z, False),
    "f1_score": (lambda z: fnn.f1_score(z, IDS), Z, False),
    "macro_average": (lambda z: fnn.macro_average(fnn.f1_score)(z, IDS), Z, False),
    "micro_average": (lambda z: fnn.micro_average(fnn.f1_score)(z, IDS), Z, False),
    "weighted_average": (lambda z: fnn.weighted_average(fnn.f1_score)(z, IDS), Z, False),
    "ctc": (lambda z: fnn.ctc(z[None], jnp.array([[1, 2, 1, -1]])), Z, True),
    "sum_costs": (lambda z: SUM({"a": z, "b": z}, {"a": IDS, "b": BINARY}), Z, True),
    "conformal_quantile": (lambda x: fnn.conformal_quantile(x, 0.8), X, True),
    "conformal_interval": (lambda x: fnn.conformal_interval(x, X, x, 0.8), 2 * X, True),
    "conformal_set": (lambda z: fnn.conformal_set(z, IDS, z, 0.8), Z, False),
    "balanced_accuracy": (lambda z: fnn.balanced_accuracy(z, IDS), Z, False),
    "top_k_accuracy": (lambda z: fnn.top_k_accuracy(z, IDS, k=2), Z, False),
    "roc_auc": (lambda z: fnn.roc_auc(z[:, 0], BINARY[:, 1]), Z, False),
    "average_precision": (lambda z: fnn.average_precision(z[:, 0], BINARY[:, 1]), Z, False),
    "brier_score": (lambda z: fnn.brier_score(z, IDS), Z, True),
    "calibration_error": (lambda z: fnn.calibration_error(z, IDS), Z, False),
    "perplexity": (lambda z: fnn.perplexity(z, IDS), Z, True),
    "gradient_descent": (*rule(fnn.gradient_descent()), True),
    "momentum": (*rule(fnn.momentum()), True),
    "nesterov": (*rule(fnn.nesterov()), True),
    "adagrad": (*rule(fnn.adagrad()), True),
    "rmsprop": (*rule(fnn.rmsprop()), True),
    "adadelta": (*rule(fnn.adadelta()), True),
    "adam": (*rule(fnn.adam()), True),
    "adamw": (*rule(fnn.adamw()), True),
    "adamax": (*rule(fnn.adamax()), True),
    "nadam": (*rule(fnn.nadam()), True),
    "amsgrad": (*rule(fnn.amsgrad()), True),
    "radam": (*rule(fnn.radam()), True),
    "lion": (*rule(fnn.lion()), True),
    "make_rule": (*rule(fnn.make_rule(plain_init, plain_update, {"learning_rate": 0.1})), True),
    "lbfgs": (lambda x: searched(fnn.lbfgs(), x), X, False),
    "levenberg_marquardt": (lambda x: searched(fnn.levenberg_marquardt(), x), X, False),
    "muon": (*rule(fnn.muon()), True),
    "chain": (*rule(fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam())), True),
    "cosine": (lambda x: x * fnn.cosine(0.1, 9)(jnp.abs(x)), X, True),
    "cosine_restarts": (lambda x: x * fnn.cosine_restarts(0.1, 2, stretch=1.5)(jnp.abs(x)), X, True),
    "exponential_decay": (lambda x: x * fnn.exponential_decay(0.1, 9, 0.5)(x), X, True),
    "inverse_square_root": (lambda x: x * fnn.inverse_square_root(0.1, 9)(jnp.abs(x)), X, True),
    "join": (lambda x: x * fnn.join(0.1, {1: fnn.cosine(0.2, 2)})(jnp.abs(x)), X, True),
    "one_cycle": (lambda x: x * fnn.one_cycle(0.1, 3)(jnp.abs(x)), X, True),
    "piecewise": (lambda x: x * fnn.piecewise(0.1, {1: 0.2})(x), X, True),
    "polynomial_decay": (lambda x: x * fnn.polynomial_decay(0.1, 9)(jnp.abs(x)), X, True),
    "step_decay": (lambda x: x * fnn.step_decay(0.1, 2, 0.5)(jnp.abs(x)), X, True),
    "warmup": (lambda x: x * fnn.warmup(2, 0.1)(jnp.abs(x)), X, True),
    "warmup_stable_decay": (lambda x: x * fnn.warmup_stable_decay(0.1, 3, 1, 1)(jnp.abs(x)), X, True),
    "clip_by_global_norm": (*rule(fnn.clip_by_global_norm(1.0)), True),
    "clip": (*rule(fnn.clip(1.0)), True),
    "average": (*rule(fnn.average()), True),
    "average_params": (lambda x: fnn.average_params(averaging(x)), X, True),
    "accumulate": (*rule(fnn.accumulate(1, fnn.adam())), True),
    "skip_not_finite": (*rule(fnn.skip_not_finite(fnn.adam())), True),
    "partition": (*rule(fnn.partition({"*": fnn.adam()})), True),
    "reduce_on_plateau": (lambda x: PLATEAU.update(x, PLATEAU.init(x), x, value=jnp.sum(x))[0], X, True),
    "hyperparameters": (
        lambda x: fnn.hyperparameters(fnn.adam(x[0, 0]).init(x))["learning_rate"],
        jnp.abs(X),
        True,
    ),
    "set_hyperparameters": (
        lambda x: fnn.set_hyperparameters(RULE.init(X), learning_rate=x[0, 0]),
        jnp.abs(X),
        True,
    ),
    "weight_decay": (*rule(fnn.weight_decay(0.1)), True),
    "apply_updates": (lambda x: fnn.apply_updates({"a": x}, {"a": X}), X, True),
    "trained": (lambda x: fnn.trained({"weight": x, "frozen": x}), X, True),
    "merge": (lambda x: fnn.merge({"a": x, "b": None}, {"a": X, "b": 2 * x}), X, True),
    "loss": (lambda x: fnn.loss(NETWORK, COST)(PARAMS, x, IDS), X, True),
    "Objective": (lambda x: fnn.Objective(jnp.sin, jnp.mean, lambda p: jnp.sum(p**2))(x), X, True),
    "start": (lambda x: fnn.start(NETWORK, RULE, x, key=jax.random.key(0)).params, X, True),
    "backprop": (lambda x: fnn.backprop(NETWORK, COST, PARAMS, x, IDS), X, True),
    "step": (lambda x: fnn.step(NETWORK, COST, RULE, STATE, x, IDS, jax.random.key(3))[1], X, True),
    "epoch": (lambda x: fnn.epoch(NETWORK, COST, RULE, STATE, x, IDS, batch_size=4)[1], X, True),
    "train": (lambda x: fnn.train(NETWORK, COST, RULE, STATE, x, IDS, epochs=2)[1]["cost"], X, False),
    "predict": (lambda x: fnn.predict(NETWORK, PARAMS, x), X, True),
    "ensemble": (lambda x: fnn.ensemble(NETWORK, [PARAMS, jax.tree.map(jnp.ones_like, PARAMS)], x), X, True),
    "one_hot": (lambda x: x @ jnp.ones((4, 3)) * fnn.one_hot(IDS, 3), X, True),
    "split": (lambda x: fnn.split(jax.random.key(0), x), X, True),
    "standardize": (lambda x: fnn.standardize(x)(x), X, True),
    "Standardizer": (fnn.standardize(np.asarray(X)).inverse, X, True),
}
# What lives on the host (text, files, loops that watch), and what is a value or an error.
HOST = {
    "calibration_curve",
    "cost_threshold",
    "f1_threshold",
    "fit_temperature",
    "precision_recall_curve",
    "precision_threshold",
    "recall_threshold",
    "residuals",
    "roc_curve",
    "check_gradients",
    "encode",
    "explain",
    "labels",
    "evaluate",
    "fit",
    "save",
    "load",
    "summary",
    "sweep",
}
VALUES = {
    "Backprop",
    "GradientCheck",
    "Best",
    "Encoder",
    "Fitted",
    "Labels",
    "Layer",
    "LayerError",
    "NotFinite",
    "Optimizer",
    "Report",
    "RuleState",
    "ScheduledState",
    "State",
    "Stream",
    "Sweep",
}


def test_the_table_has_everything_public():
    assert set(ARRAYS) | HOST | VALUES == set(fnn.__all__)
    assert not set(ARRAYS) & (HOST | VALUES)


@pytest.mark.parametrize("name", ARRAYS)
def test_it_gives_the_same_under_jit(name):
    function, x, _ = ARRAYS[name]
    with jax.checking_leaks():
        compiled = jax.jit(function)(x)
    coarse = 1e-2 if name == "precision" else 1e-6  # bfloat16 rounds at other places when fused
    chex.assert_trees_all_close(compiled, function(x), rtol=10 * coarse, atol=coarse)


@pytest.mark.parametrize("name", ARRAYS)
def test_it_gives_the_same_under_vmap(name):
    function, x, _ = ARRAYS[name]
    together, single = jax.jit(jax.vmap(function))(jnp.stack([x, 2 * x])), jax.jit(function)
    alone = jax.tree.map(lambda *y: jnp.stack(y), single(x), single(2 * x))
    coarse = 1e-2 if name == "precision" else 1e-5  # bfloat16 rounds at other places when fused
    chex.assert_trees_all_close(together, alone, rtol=coarse, atol=coarse)


@pytest.mark.parametrize("name", [name for name, (*_, slope) in ARRAYS.items() if slope])
def test_its_slope_is_finite(name):
    function, x, _ = ARRAYS[name]
    total = lambda x: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(function(x)))
    assert jnp.isfinite(jax.jit(jax.grad(total))(x)).all()


@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
def test_the_compiled_training_lowers_for_every_platform(platform):
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam())
    network = fnn.serial(fnn.dense(5), jax.nn.relu, fnn.dropout(0.5), fnn.dense(3))
    state = fnn.start(network, rule, X, key=jax.random.key(1))

    def run(state, x, y, epochs):
        return fnn.train(network, COST, rule, state, x, y, epochs=epochs, batch_size=4, capacity=8)

    exported = jax.export.export(jax.jit(run), platforms=[platform])(state, X, IDS, jnp.int32(3))
    assert exported.platforms == (platform,) and len(exported.mlir_module_serialized) > 0


def test_rank_promotion_is_never_needed():
    rule = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(), fnn.weight_decay(0.1))
    targets, weights = jnp.array([[1, 2]]), jnp.ones(6)
    calls = [
        lambda: fnn.confusion_matrix(Z, IDS, weights),
        lambda: fnn.macro_average(fnn.f1_score)(Z, IDS, weights),
        lambda: jax.grad(fnn.ctc)(Z[None], targets, jnp.ones((1, 6))),
        lambda: fnn.conformal_interval(X, 2 * X, X, 0.8),
        lambda: fnn.conformal_set(Z, IDS, Z, 0.8),
        lambda: fnn.r2_score(Z, BINARY, weights),
        lambda: fnn.median_absolute_error(Z, BINARY, weights),
        lambda: fnn.top_k_accuracy(Z, IDS, weights, k=2),
        lambda: fnn.calibration_error(Z, IDS, weights),
        lambda: fnn.roc_auc(Z[:, :1], BINARY[:, 1:2], weights),
    ]
    with jax.numpy_rank_promotion("raise"):
        state = fnn.start(NETWORK, rule, X, key=jax.random.key(1))
        for cost, y in ((COST, IDS), (fnn.mse, Z), (fnn.binary_cross_entropy, BINARY)):
            fnn.epoch(NETWORK, cost, rule, state, X, y, batch_size=4, sample_weight=weights)
        for call in calls:
            jax.eval_shape(call)  # it is raised while a function is traced
