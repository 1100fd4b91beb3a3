"""The neural-network workflow as pure JAX functions.

    raw columns ─ split · standardize · encode · labels · one_hot ─→ x, y
    key, x ─ network.init ─→ params          params, x ─ network.forward ─→ predictions
    predictions, y ─ cost ─→ one real number
    jax.grad(loss) ─→ grads                  loss = cost ∘ forward (+ penalty)
    grads, state, params ─ optimizer.update ─→ updates          params + updates ─→ params
    step = one turn of the wheel    epoch = scan(step)    train = epochs, compiled    fit = train, watched
    params ─→ predict · evaluate · save · load

Parameters are trees of arrays, networks and optimizers pairs of pure functions, random keys explicit.
"""

from fnn.backprop import Backprop, backprop
from fnn.checkpoint import load, save
from fnn.data import Labels, Standardizer, labels, one_hot, split, standardize
from fnn.encoding import Encoder, encode
from fnn.evaluation import evaluate, predict
from fnn.explain import explain
from fnn.fit import fit
from fnn.gradient_check import GradientCheck, check_gradients
from fnn.layer import Layer, LayerError, layer
from fnn.layers import dense, dropout, flatten
from fnn.loop import Fitted, Report
from fnn.losses import binary_cross_entropy, huber, mae, mse, rmse, softmax_cross_entropy
from fnn.metrics import accuracy, confusion_matrix, r2_score
from fnn.modify import freeze, precision, repeat
from fnn.network import parallel, residual, serial
from fnn.objective import Objective, loss
from fnn.optimizers import (
    Optimizer,
    RuleState,
    adadelta,
    adagrad,
    adam,
    apply_updates,
    chain,
    clip_by_global_norm,
    gradient_descent,
    momentum,
    nesterov,
    rmsprop,
    weight_decay,
)
from fnn.parameters import merge, trained
from fnn.replay import NotFinite
from fnn.state import Best, State, start
from fnn.summary import summary
from fnn.training import epoch, step, train
from fnn.wire import wire

__version__ = "0.1.0"

__all__ = [
    "Backprop",
    "Best",
    "Encoder",
    "Fitted",
    "GradientCheck",
    "Labels",
    "Layer",
    "LayerError",
    "NotFinite",
    "Objective",
    "Optimizer",
    "Report",
    "RuleState",
    "Standardizer",
    "State",
    "accuracy",
    "adadelta",
    "adagrad",
    "adam",
    "apply_updates",
    "backprop",
    "binary_cross_entropy",
    "chain",
    "check_gradients",
    "clip_by_global_norm",
    "confusion_matrix",
    "dense",
    "dropout",
    "encode",
    "epoch",
    "evaluate",
    "explain",
    "fit",
    "flatten",
    "freeze",
    "gradient_descent",
    "huber",
    "labels",
    "layer",
    "load",
    "loss",
    "mae",
    "merge",
    "momentum",
    "mse",
    "nesterov",
    "one_hot",
    "parallel",
    "precision",
    "predict",
    "r2_score",
    "repeat",
    "residual",
    "rmse",
    "rmsprop",
    "save",
    "serial",
    "softmax_cross_entropy",
    "split",
    "standardize",
    "start",
    "step",
    "summary",
    "train",
    "trained",
    "weight_decay",
    "wire",
]
