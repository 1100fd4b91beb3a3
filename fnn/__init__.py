"""The neural-network workflow as pure JAX functions.

    raw columns ─ split · standardize · encode · labels · one_hot ─→ x, y
    key, x ─ network.init ─→ params          params, x ─ network.forward ─→ predictions
    predictions, y ─ cost ─→ one real number
    jax.grad(loss) ─→ grads                  loss = cost ∘ forward (+ penalty)
    grads, state, params ─ optimizer.update ─→ updates          params + updates ─→ params
    step = one turn of the wheel    epoch = scan(step)    train = epochs, compiled    fit = train, watched
    sweep = many of fit, side by side
    params ─→ predict · ensemble · evaluate · generate · save · load
    predictions of rows never trained on ─→ a threshold, a temperature, intervals that keep their promise

Parameters are trees of arrays, networks and optimizers pairs of pure functions, random keys explicit.
"""

from fnn.data.encoding import Encoder, encode
from fnn.data.labels import Labels, labels, one_hot
from fnn.data.split import split
from fnn.data.standardize import Standardizer, standardize
from fnn.inspection.explain import explain
from fnn.inspection.summary import summary
from fnn.layers.attention import attention
from fnn.layers.batch_norm import batch_norm
from fnn.layers.convolution import conv, conv_transpose
from fnn.layers.learned_activation import mixture, prelu, swish
from fnn.layers.linear import dense, embedding
from fnn.layers.normalization import group_norm, layer_norm, rms_norm
from fnn.layers.places import avg_pool, flatten, global_avg_pool, max_pool
from fnn.layers.recurrent import gru, lstm, rnn
from fnn.layers.transformer import positional_embedding, positional_encoding, transformer_block
from fnn.layers.units import dropout
from fnn.losses.alignment import ctc
from fnn.losses.classification import binary_cross_entropy, softmax_cross_entropy
from fnn.losses.distribution import gaussian_nll, log_cosh, poisson, quantile
from fnn.losses.margin import cosine_distance, focal, hinge, kl_divergence
from fnn.losses.penalty import elastic, l1, l2
from fnn.losses.regression import huber, mae, mse, rmse
from fnn.losses.several import sum_costs
from fnn.metrics.averages import macro_average, micro_average, weighted_average
from fnn.metrics.classification import accuracy, confusion_matrix
from fnn.metrics.conformal import conformal_interval, conformal_quantile, conformal_set
from fnn.metrics.curves import calibration_curve, precision_recall_curve, residuals, roc_curve
from fnn.metrics.multilabel import binary_accuracy, exact_match
from fnn.metrics.probability import brier_score, calibration_error, perplexity
from fnn.metrics.ranking import average_precision, roc_auc
from fnn.metrics.rates import (
    balanced_accuracy,
    f1_score,
    precision_score,
    recall_score,
    top_k_accuracy,
)
from fnn.metrics.regression import explained_variance, median_absolute_error, r2_score
from fnn.metrics.temperature import fit_temperature
from fnn.metrics.threshold import cost_threshold, f1_threshold, precision_threshold, recall_threshold
from fnn.network.compose import repeat, serial
from fnn.network.layer import Layer, LayerError, layer
from fnn.network.modify import freeze, precision
from fnn.network.parallel import parallel, residual
from fnn.network.parameters import merge, trained
from fnn.network.stream import Stream, generate, stream
from fnn.network.wire import wire
from fnn.optimizers.adam_variants import adamax, amsgrad, nadam, radam
from fnn.optimizers.adaptive import adadelta, adagrad, adam, rmsprop
from fnn.optimizers.combine import chain, partition
from fnn.optimizers.decoupled import adamw, lion, muon
from fnn.optimizers.gradient_descent import gradient_descent, momentum, nesterov
from fnn.optimizers.lbfgs import lbfgs
from fnn.optimizers.levenberg_marquardt import levenberg_marquardt
from fnn.optimizers.phases import (
    cosine_restarts,
    join,
    one_cycle,
    piecewise,
    warmup,
    warmup_stable_decay,
)
from fnn.optimizers.rule import Optimizer, RuleState, apply_updates
from fnn.optimizers.schedules import (
    ScheduledState,
    cosine,
    exponential_decay,
    inverse_square_root,
    make_rule,
    polynomial_decay,
    step_decay,
)
from fnn.optimizers.transformations import average, clip, clip_by_global_norm, weight_decay
from fnn.optimizers.wrappers import accumulate, reduce_on_plateau, skip_not_finite
from fnn.run.fit import fit
from fnn.run.hyperparameters import hyperparameters, set_hyperparameters
from fnn.run.loop import Report
from fnn.run.sweep import Sweep, sweep
from fnn.saving.checkpoint import load, save
from fnn.workflow.backprop import Backprop, backprop
from fnn.workflow.epochs import train
from fnn.workflow.evaluation import ensemble, evaluate, predict
from fnn.workflow.gradient_check import GradientCheck, check_gradients
from fnn.workflow.objective import Objective, loss
from fnn.workflow.state import Best, Fitted, NotFinite, State, average_params, start
from fnn.workflow.training import epoch, step

__version__ = "0.1.0"

__all__ = [
    "Backprop", "Best", "Encoder", "Fitted", "GradientCheck", "Labels", "Layer", "LayerError", "NotFinite",
    "Objective", "Optimizer", "Report", "RuleState", "ScheduledState", "Standardizer", "State", "Stream",
    "Sweep", "accumulate", "accuracy", "adadelta", "adagrad", "adam", "adamax", "adamw", "amsgrad",
    "apply_updates", "attention", "average", "average_params", "average_precision", "avg_pool", "backprop",
    "balanced_accuracy", "batch_norm", "binary_accuracy", "binary_cross_entropy", "brier_score",
    "calibration_curve", "calibration_error", "chain", "check_gradients", "clip", "clip_by_global_norm",
    "conformal_interval", "conformal_quantile", "conformal_set", "confusion_matrix", "conv", "conv_transpose",
    "cosine", "cosine_distance", "cosine_restarts", "cost_threshold", "ctc", "dense", "dropout", "elastic",
    "embedding", "encode", "ensemble", "epoch", "evaluate", "exact_match", "explain", "explained_variance",
    "exponential_decay", "f1_score", "f1_threshold", "fit", "fit_temperature", "flatten", "focal", "freeze",
    "gaussian_nll", "generate", "global_avg_pool", "gradient_descent", "group_norm", "gru", "hinge", "huber",
    "hyperparameters", "inverse_square_root", "join", "kl_divergence", "l1", "l2", "labels", "layer",
    "layer_norm", "lbfgs", "levenberg_marquardt", "lion", "load", "log_cosh", "loss", "lstm", "macro_average",
    "mae", "make_rule", "max_pool", "median_absolute_error", "merge", "micro_average", "mixture", "momentum",
    "mse", "muon", "nadam", "nesterov", "one_cycle", "one_hot", "parallel", "partition", "perplexity",
    "piecewise", "poisson", "polynomial_decay", "positional_embedding", "positional_encoding", "precision",
    "precision_recall_curve", "precision_score", "precision_threshold", "predict", "prelu", "quantile",
    "r2_score", "radam", "recall_score", "recall_threshold", "reduce_on_plateau", "repeat", "residual",
    "residuals", "rms_norm", "rmse", "rmsprop", "rnn", "roc_auc", "roc_curve", "save", "serial",
    "set_hyperparameters", "skip_not_finite", "softmax_cross_entropy", "split", "standardize", "start",
    "step", "step_decay", "stream", "sum_costs", "summary", "sweep", "swish", "top_k_accuracy", "train",
    "trained", "transformer_block", "warmup", "warmup_stable_decay", "weight_decay", "weighted_average",
    "wire",
]  # fmt: skip
