"""Functions are structure, numbers are leaves: what jit compares, and what it traces."""

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
                f"or an array, got {describe(leaf)}: what is no number belongs in a function of its own."
            )
    return Partial(function.func, *function.args, **function.keywords)


def abstract(tree: Any) -> tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]:
    """What jit compares of a tree: its structure, and each leaf's shape and type; it can be hashed.

    >>> abstract([1.5, jax.numpy.zeros(3, "int8")])[1]
    (((), dtype('float32')), ((3,), dtype('int8')))
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(
        (leaf.shape, leaf.dtype)
        if hasattr(leaf, "dtype")
        else ((), jax.dtypes.canonicalize_dtype(type(leaf)))  # a number of Python
        for leaf in leaves
    )


def shaped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a static argument and trees, called with their shapes and remembered by them.

    Where the static argument cannot be hashed nothing is remembered, nor is an error.

    >>> size = shaped(lambda name, x: f"{name} {x.shape}")
    >>> size("x", jax.numpy.zeros((2, 3)))
    'x (2, 3)'
    """

    @functools.lru_cache(maxsize=1024)
    def remember(static: Any, structure: Any, leaves: tuple[Any, ...]) -> Any:
        return function(static, *jax.tree.unflatten(structure, [jax.ShapeDtypeStruct(*v) for v in leaves]))

    @functools.wraps(function)
    def call(static: Any, *trees: Any) -> Any:
        structure, leaves = abstract(trees)
        try:
            hash((static, structure))
        except TypeError:
            return remember.__wrapped__(static, structure, leaves)
        return remember(static, structure, leaves)

    return call


def accepted(function: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Of the extra arguments, those that the function takes."""
    takes = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values()):
        return extra
    return {name: value for name, value in extra.items() if name in takes}


def check_takes(where: str, metric: Callable[..., Any], weighted: bool) -> None:
    """Refuse a metric that cannot be called with predictions, targets and, where there are any, weights."""
    try:
        signature, takes_weight = inspect.signature(metric), accepted(metric, {"sample_weight": None})
    except ValueError:
        return  # some functions of C have no signature
    expected = f"{where} expected a function of predictions and targets"
    try:
        signature.bind("predictions", "targets")
    except TypeError as error:
        raise TypeError(f"{expected}, got {describe(metric)}{signature}: {error}.") from None
    if weighted and not takes_weight:
        raise TypeError(
            f"{expected} that takes sample_weight, for weights are given, got {describe(metric)}{signature}: "
            "let it be metric(predictions, targets, sample_weight=None)."
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
