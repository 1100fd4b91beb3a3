"""What every door asks of its arguments; each refusal names the door."""

import contextlib
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.functions import is_array, name_of, said, whole_number
from fnn.layer import Layer
from fnn.losses import __all__ as names_of_costs

__all__: list[str] = []

MOST = 2**31 - 1  # epochs are counted in int32


def check_network(caller: str, network: Any, cost: Any = None) -> None:
    """Refuse what is no layer: a factory that was not called, a function, what was swapped."""
    if isinstance(network, Layer):
        return
    if isinstance(cost, Layer):
        mend = "Are network and cost swapped?"
    elif getattr(network, "makes_a_layer", False):
        mend = f"Call it: fnn.{name_of(network)}(…)."
    else:
        mend = "fnn.serial(function) makes one." if callable(network) else "Does the network come first?"
    raise TypeError(f"{caller}: network expected a layer, such as fnn.serial(…), got {said(network)}. {mend}")


def check_optimizer(caller: str, optimizer: Any) -> None:
    """Refuse what has no init and update: a rule that was not called, a number, a plain function."""
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        mend = f" Call it: {name_of(optimizer)}(…)." if callable(optimizer) else ""
        if "predictions" in signature(optimizer):
            mend = " Are cost and optimizer swapped?"
        raise TypeError(f"{caller}: optimizer expected one such as fnn.adam(), got {said(optimizer)}.{mend}")


def check_params(caller: str, params: Any, also: tuple[type, ...] = ()) -> None:
    """Refuse what is no tree of parameters: a whole result, None, a network; leaves may be of `also` too."""
    whole = hasattr(params, "params")
    mend = "Its parameters are in its field .params." if whole else "network.init(key, x) makes them."
    if whole or params is None or isinstance(params, Layer):
        expected = "params expected a tree of arrays, such as fitted.params"
        raise TypeError(f"{caller}: {expected}, got {said(params)}. {mend}")
    check_leaves(caller, "params", params, mend, also)


def check_leaves(caller: str, name: str, tree: Any, mend: str, also: tuple[type, ...] = ()) -> None:
    """Refuse a tree of other things than arrays of numbers and random keys, naming the first's place."""
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array):  # random keys among them
            continue
        if not (_is_numbers(leaf) or isinstance(leaf, also)):
            kind = f", {leaf.dtype}" if is_array(leaf) else ""
            place = _place(tree, leaf)
            expected = "an array of numbers" if place else "a tree of arrays"
            raise TypeError(f"{caller}: {name}{place} expected {expected}, got {said(leaf)}{kind}. {mend}")
        if not _is_held(leaf):
            expected = f"numbers that {jnp.result_type(leaf)} can hold"
            raise ValueError(
                f"{caller}: {name}{_place(tree, leaf)} expected {expected}, got {said(leaf)}. {mend}"
            )


def _place(tree: Any, leaf: Any) -> str:
    found = jax.tree_util.tree_leaves_with_path(tree)
    return next(jax.tree_util.keystr(path) for path, other in found if other is leaf)


def _is_numbers(leaf: Any) -> bool:
    """Whether JAX takes it: no texts, no durations, no bytes in another machine's order."""
    try:
        return is_array(leaf) and jnp.result_type(leaf) is not None
    except TypeError:
        return False


def _is_held(leaf: Any) -> bool:
    """Whether JAX's type for these numbers holds them, near enough."""
    given, dtype = np.asarray(leaf), jnp.result_type(leaf)
    if given.dtype == dtype:
        return True
    try:
        with np.errstate(over="ignore"):
            return np.allclose(given.astype(dtype), given, rtol=0.1, equal_nan=True)
    except OverflowError:  # of an integer of Python
        return False


def check_validation(caller: str, validation: Any, metrics: Any, patience: Any) -> None:
    """Refuse what is no (x, y) or (x, y, sample_weight), and what needs one where there is none."""
    if validation is None:
        needy = "patience" if patience is not None else "metrics" if metrics else None
        if needy:
            raise ValueError(
                f"{caller}: {needy} needs rows that are not trained on: give validation=(x, y). "
                "fnn.split sets some aside; fnn.evaluate measures after training."
            )
        return
    if not isinstance(validation, tuple) or len(validation) not in (2, 3):
        got = f"a tuple of {len(validation)}" if isinstance(validation, tuple) else said(validation)
        raise TypeError(
            f"{caller}: validation expected (x, y) or (x, y, sample_weight), got {got}. Give a tuple of rows "
            "that are not trained on; fnn.split sets some aside."
        )
    check_metrics(caller, {} if metrics is None else metrics)
    if "cost" in (metrics or {}):
        raise ValueError(
            f"{caller}: metrics['cost'] would stand in the place of the validation cost, which decides what "
            "is best. Choose another name."
        )


def check_metrics(caller: str, metrics: Any) -> None:
    """Refuse metrics that are no functions by name."""
    if not isinstance(metrics, Mapping):
        raise TypeError(
            f"{caller}: metrics expected functions by name, such as {{'accuracy': fnn.accuracy}}, "
            f"got {said(metrics)}."
        )
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise TypeError(f"{caller}: metrics expected texts as names, got {said(name)}.")
        check_compares(caller, f"metrics[{name!r}]", metric, "fnn.accuracy")


def check_compares(caller: str, name: str, function: Any, example: str) -> None:
    """Refuse what cannot be called with predictions and targets: a name, a rule, a function of others."""
    if not takes(function, "predictions", "targets"):
        mend = " Are cost and optimizer swapped?" if hasattr(function, "update") else ""
        if isinstance(function, str):
            itself = f"fnn.{function}" if function in names_of_costs else example
            mend = f" Give the function itself: {itself}."
        raise TypeError(
            f"{caller}: {name} expected a function of predictions and targets, such as {example}, "
            f"got {said(function)}{signature(function)}.{mend}"
        )


def takes(function: Any, *arguments: str) -> bool:
    """Whether it can be called with so many arguments; the same function is asked once."""
    try:
        return _takes(function, arguments)
    except TypeError:  # it cannot be compared with others
        return _takes.__wrapped__(function, arguments)


@functools.lru_cache(maxsize=256)
def _takes(function: Any, arguments: tuple[str, ...]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some functions of C have no signature
        return callable(function)
    return True


def signature(function: Any) -> str:
    """What a function takes, for a message; nothing where it does not say."""
    with contextlib.suppress(TypeError, ValueError):
        return str(inspect.signature(function)) if callable(function) else ""
    return ""


def check_whole(caller: str, name: str, value: Any, least: int = 1, mend: str = "") -> None:
    """Refuse what is no whole number from `least` up; a traced one too, for it decides shapes."""
    whole = whole_number(value, least)
    if whole is not None and whole <= MOST:
        return
    if isinstance(value, jax.core.Tracer):
        mend = "It decides shapes: under jit it is a static argument."
    elif isinstance(value, float) and value.is_integer() and value >= least:
        mend = f"Give {name}={value:.0f}."
    bounds = f"at least {least}" if whole is None else f"at most {MOST}"
    message = f"{caller}: {name} expected a whole number, {bounds}, got {said(value)}. {mend}"
    raise ValueError(message.rstrip())
