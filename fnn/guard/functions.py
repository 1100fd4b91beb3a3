"""Functions are structure, numbers are leaves: what `jit` compares, and what it traces."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import Partial

from fnn.guard.words import describe

__all__: list[str] = []


def as_partial(function: Callable[..., Any]) -> Partial:
    """The function with its numbers as leaves, so that another number compiles nothing.

    >>> jax.tree.leaves(as_partial(functools.partial(round, ndigits=2)))
    [2]
    """
    if not isinstance(function, functools.partial):
        return Partial(function)
    for path, leaf in jax.tree_util.tree_leaves_with_path((function.args, function.keywords)):
        if isinstance(leaf, str) or callable(leaf):
            raise TypeError(
                f"the option {jax.tree_util.keystr(path[1:])} of {function.func.__name__} expected a number "
                f"or an array, got {describe(leaf)}. Write a function of your own for anything else."
            )
    return Partial(function.func, *function.args, **function.keywords)


def takes(function: Any, *arguments: str, named: tuple[str, ...] = ()) -> bool:
    """Whether it can be called with this many arguments, and these by name; a signature is read once."""
    try:
        hash(function)
    except TypeError:
        return _takes.__wrapped__(function, arguments, named)
    return _takes(function, arguments, named)


@functools.lru_cache(maxsize=256)
def _takes(function: Any, arguments: tuple[str, ...], named: tuple[str, ...]) -> bool:
    try:
        inspect.signature(function).bind(*arguments, **dict.fromkeys(named))
    except TypeError:
        return False
    except ValueError:  # some functions of C have no signature
        return callable(function)
    return True


def call_in_order(function: Callable[..., Any], predictions: Any, targets: Any, **options: Any) -> Any:
    """A cost or metric of predictions and targets, in the order that the names of its parameters say.

    scikit-learn and Keras write (y_true, y_pred). Names that say nothing are (predictions, targets).

    >>> call_in_order(lambda y_true, y_pred: y_pred - y_true, 5, 3), call_in_order(lambda a, b: a - b, 5, 3)
    (2, 2)
    """
    try:
        first, second = [name.lower() for name in inspect.signature(function).parameters][:2]
    except (TypeError, ValueError):  # some functions of C have no signature, and f(*pair) has one name
        return function(predictions, targets, **options)
    is_target_first = first in TARGET_NAMES and second not in TARGET_NAMES
    if is_target_first or (second in PREDICTION_NAMES and first not in PREDICTION_NAMES):
        return function(targets, predictions, **options)
    return function(predictions, targets, **options)


TARGET_NAMES = {
    *("y", "t", "y_true", "target", "targets", "label", "labels", "truth", "actual", "expected", "observed"),
}
PREDICTION_NAMES = {
    *("y_pred", "y_hat", "yhat", "y_score", "y_prob", "y_proba", "pred", "preds", "predicted", "prediction"),
    *("predictions", "logit", "logits", "input", "inputs", "output", "outputs", "probabilities", "scores"),
}
