"""The optimizers: grads, state, params → updates, state; each rule mends a fault of the one before."""

from fnn.optimizers.adaptive import adadelta, adagrad, adam, rmsprop
from fnn.optimizers.gradient_descent import gradient_descent, momentum, nesterov
from fnn.optimizers.rule import Optimizer, RuleState, apply_updates
from fnn.optimizers.transformations import chain, clip_by_global_norm, weight_decay

__all__ = [
    "Optimizer",
    "RuleState",
    "adadelta",
    "adagrad",
    "adam",
    "apply_updates",
    "chain",
    "clip_by_global_norm",
    "gradient_descent",
    "momentum",
    "nesterov",
    "rmsprop",
    "weight_decay",
]
