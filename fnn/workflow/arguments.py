"""What every door asks of its arguments; each message begins with the door's name."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fnn.guard.functions import takes
from fnn.guard.numbers import check_whole
from fnn.guard.trees import check_params
from fnn.guard.words import Words, describe, name_of, signature, unexpected
from fnn.losses.costs import TARGETS
from fnn.network.layer import Layer
from fnn.network.parameters import trained
from fnn.optimizers.combine import check_has_rule
from fnn.optimizers.rule import accepted, check_rule

__all__: list[str] = []


# Functions ----------------------------------------------------------------------------------------


def check_network(caller: str, network: Any, cost: Any = None) -> None:
    """Refuse what is not a layer: a factory that was not called, a function, swapped arguments."""
    if isinstance(network, Layer):
        return
    fix = "fnn.serial(function) makes one." if callable(network) else "Does the network come first?"
    if getattr(network, "makes_a_layer", False):
        fix = f"Call it: fnn.{name_of(network)}(…)."
    if isinstance(cost, Layer):
        fix = "Are network and cost swapped?"
    raise TypeError(unexpected(f"{caller}: network", "a layer, such as fnn.serial(…)", network, fix))


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update, or where they take something else."""
    where = f"{caller}: optimizer"
    check_rule(where, optimizer, "Are cost and optimizer swapped?" * ("predictions" in signature(optimizer)))
    if not (takes(optimizer.init, "params") and _is_update(optimizer.update)):
        expected = "init(params) → state and update(grads, state, params) → updates, state"
        got = f"{describe(optimizer.init)} and {describe(optimizer.update)}{signature(optimizer.update)}"
        raise TypeError(unexpected(where, expected, Words(got)))
    check_has_rule(optimizer.init)


def _is_update(update: Any) -> bool:
    """Whether it takes grads, state and params; of the extra arguments it may ask for any."""
    if takes(update, "grads", "state", "params"):
        return True
    asked = accepted(update, {"value": None, "grad": None, "value_fn": None}) if callable(update) else {}
    return bool(asked) and takes(functools.partial(update, **asked), "grads", "state", "params")


def check_compares(caller: str, name: str, function: Any, example: str) -> None:
    """Refuse what cannot be called with predictions and targets: a name, a rule, another function."""
    if takes(function, "predictions", "targets"):
        return
    fix = "Are cost and optimizer swapped?" if hasattr(function, "update") else ""
    if isinstance(function, str):
        known = {cost.__name__ for cost in TARGETS}
        fix = f"Give the function itself: {f'fnn.{function}' if function in known else example}."
    got = Words(describe(function) + signature(function))
    expected = f"a function of predictions and targets, such as {example}"
    raise TypeError(unexpected(f"{caller}: {name}", expected, got, fix))


def check_of_one(where: str, function: Any, argument: str, fix: str = "") -> None:
    """Refuse what cannot be called with one argument; None is no function at all."""
    if function is not None and not takes(function, "argument"):
        got = Words(describe(function) + signature(function))
        raise TypeError(unexpected(where, f"a function of one argument, {argument}", got, fix))


def check_functions(caller: str, network: Any, cost: Any, optimizer: Any, penalty: Any) -> None:
    """Refuse what a step cannot be made of."""
    check_network(caller, network, cost)
    check_compares(caller, "cost", cost, "fnn.mse")
    check_optimizer(caller, optimizer)
    factor = "A number is a factor in it: lambda params: 0.01 * jnp.sum(params[0]['weight'] ** 2)."
    check_of_one(f"{caller}: penalty", penalty, "the trained parameters", factor)


def check_metrics(caller: str, metrics: Any) -> None:
    """Refuse metrics that are not functions by name."""
    if not isinstance(metrics, Mapping):
        expected = "functions by name, such as {'accuracy': fnn.accuracy}"
        raise TypeError(unexpected(f"{caller}: metrics", expected, metrics))
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise TypeError(unexpected(f"{caller}: metrics", "texts as names", name))
        check_compares(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


def check_takes_weight(where: str, function: Any) -> None:
    """Refuse a cost or a metric that does not take the weights that are given."""
    if signature(function) and not accepted(function, {"sample_weight": None}):  # some of C have no signature
        fix = f"let it be {name_of(function)}(predictions, targets, sample_weight=None)."
        raise TypeError(f"{where} takes no sample_weight, and weights are given: {fix}")


# Parameters and states ----------------------------------------------------------------------------


def check_slopes(caller: str, params: Any) -> None:
    """Refuse what is not a tree of numbers, and trained integers: they have no derivative."""
    check_params(caller, params, also=(int, float, complex))
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained(params)):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            where = f"{caller}: params{jax.tree_util.keystr(path)}"
            got = Words(f"{jnp.result_type(leaf)} of shape {jnp.shape(leaf)}: integers have no derivative")
            raise TypeError(unexpected(where, "floating-point numbers", got, "Give .astype('float32')."))


def check_state_fields(caller: str, state: Any) -> None:
    """Refuse what has not the fields of a State."""
    if not all(hasattr(state, name) for name in ("params", "optimizer", "key", "epoch")):
        fix = "fnn.start(network, optimizer, x, key=…) makes one."
        fix = "It is in its field .state." if hasattr(state, "state") else fix
        raise TypeError(unexpected(f"{caller}: state", "an fnn.State", state, fix))


# One turn and many --------------------------------------------------------------------------------


def check_turn(
    caller: str, network: Any, cost: Any, optimizer: Any, state: Any, penalty: Any, batch_size: Any = 1
) -> None:
    """Refuse arguments of a step, an epoch or a training that are not what their names say."""
    check_functions(caller, network, cost, optimizer, penalty)
    check_state_fields(caller, state)
    check_whole(caller, "batch_size", batch_size, fix="It is the number of rows of a step, such as 32.")


def check_epochs(epochs: Any, capacity: Any) -> None:
    """Refuse epochs that cannot be counted, and a history that cannot hold them."""
    most = "give the largest number of epochs."
    if capacity is not None:
        check_whole("train", "capacity", capacity, fix="It is the number of rows of the history.")
    if not isinstance(epochs, jax.core.Tracer):
        check_whole("train", "epochs", epochs, 0, "A run is continued by calling train with its state.")
        if capacity is not None and epochs > capacity:
            got = Words(f"capacity={capacity}: the rest would be lost")
            raise ValueError(unexpected("train: capacity", f"room for {epochs} epochs", got, f"Or {most}"))
    elif epochs.shape != () or not jnp.issubdtype(epochs.dtype, jnp.integer):
        got = Words(f"{epochs.dtype} of shape {epochs.shape}")
        raise ValueError(unexpected("train: epochs", "one whole number", got))
    elif capacity is None:
        raise ValueError(
            "train: epochs is traced here, so it cannot decide the history's length: give capacity=, the "
            "largest number of epochs."
        )


def check_validation(caller: str, validation: Any, metrics: Any, patience: Any) -> None:
    """Refuse what is not (x, y) or (x, y, sample_weight), and what needs one where there is none."""
    if patience is not None and not isinstance(patience, jax.core.Tracer):
        check_whole(caller, "patience", patience, fix="Without it training goes on to the last epoch.")
    needy = "patience" if patience is not None else "metrics" if metrics else None
    if validation is None and needy:
        raise ValueError(
            f"{caller}: {needy} needs rows that are not trained on: give validation=(x, y). "
            "fnn.split sets some aside; fnn.evaluate measures after training."
        )
    if validation is None:
        return
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = Words(f"a tuple of {len(validation)}") if isinstance(validation, tuple) else validation
        fix = "Give a tuple of rows that are not trained on; fnn.split sets some aside."
        raise TypeError(unexpected(f"{caller}: validation", "(x, y) or (x, y, sample_weight)", got, fix))
    check_metrics(caller, {} if metrics is None else metrics)
    if "cost" in (metrics or {}):
        raise ValueError(
            f"{caller}: metrics['cost'] would replace the validation cost, which decides what is best. "
            "Choose another name."
        )
