"""Functions are structure, numbers are leaves: what jit compares, and what it traces."""

import functools
import inspect
import operator
import reprlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

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
                f"or an array, got {said(leaf)}: what is no number belongs in a function of its own."
            )
    return Partial(function.func, *function.args, **function.keywords)


def described(tree: Any) -> tuple[Any, tuple[tuple[tuple[int, ...], Any], ...]]:
    """What jit compares of a tree: its structure, and each leaf's shape and type; it can be hashed.

    >>> described([1.5, np.zeros(3, np.int8)])[1]
    (((), dtype('float32')), ((3,), dtype('int8')))
    """
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(
        (leaf.shape, leaf.dtype)
        if hasattr(leaf, "dtype")
        else ((), jax.dtypes.canonicalize_dtype(type(leaf)))  # a number of Python
        for leaf in leaves
    )


def accepted(function: Callable[..., Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Of the extra arguments, those that the function takes."""
    takes = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in takes.values()):
        return extra
    return {name: value for name, value in extra.items() if name in takes}


def name_of(function: Any) -> str:
    """What a function is called in a message, with the options bound to it."""
    if isinstance(function, functools.partial):
        if not (function.args or function.keywords):
            return name_of(function.func)
        options = [
            *(_said(a) for a in function.args),
            *(f"{k}={_said(v)}" for k, v in function.keywords.items()),
        ]
        return f"{name_of(function.func)}({', '.join(options)})"
    return str(getattr(function, "__name__", type(function).__name__))


def _said(option: Any) -> str:
    if type(option) is tuple:
        return f"({', '.join(map(_said, option))})"
    return name_of(option) if callable(option) else repr(option)


def said(value: Any) -> str:
    """What came, in a few words, for a message: no long list, no address in memory."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bytes | int | float | complex | None) or hasattr(value, "forward_train"):
        return reprlib.repr(value)
    if callable(value):
        return f"the function {name_of(value)}"
    kind = "array" if isinstance(value, jax.Array) else type(value).__name__
    kind = f"{'an' if kind[0] in 'AEIOUaeiou' or kind == 'ndarray' else 'a'} {kind}"
    if not hasattr(value, "__array__"):
        return kind
    holds_objects = getattr(getattr(value, "dtype", None), "hasobject", False)  # their words have addresses
    return f"{kind} of shape {tuple(value.shape)}" if np.ndim(value) or holds_objects else repr(value)


def is_array(value: Any) -> bool:
    """Whether this is JAX's or NumPy's array: tables have a dtype too, and so has the type np.float32."""
    return isinstance(value, jax.Array | np.ndarray | np.generic)


def is_key(value: Any) -> bool:
    """Whether this is a random key: of jax.random.key, or the two numbers of jax.random.PRNGKey."""
    if not is_array(value):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return bool(value.shape == ())
    return bool(value.dtype == np.uint32 and value.shape == (2,))


def whole_number(value: Any, least: int) -> int | None:
    """The value as a whole number; None where it is none, is a truth value, or is below `least`."""
    try:
        whole = operator.index(value)
    except TypeError:
        return None
    return None if isinstance(value, bool | np.bool_) or whole < least else whole


def check_key(where: str, key: Any, mend: str = "") -> None:
    """Refuse what is no random key: a seed, None, a row of keys."""
    if not is_key(key):
        raise TypeError(f"{where}: key expected jax.random.key(seed), got {said(key)}. {mend}".rstrip())


def as_array(values: Any, where: str) -> Any:
    """The values as one array, JAX's as it is; refuses a ragged list."""
    try:
        return values if isinstance(values, jax.Array) else np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{where} expected rows of equal length, got {said(values)}: {error}.") from None


def real_numbers(values: Any) -> np.ndarray:
    """The values in float64; refuses what NumPy makes floats of in silence: texts, dates, complex, masks."""
    array = np.asarray(values)
    if np.ma.is_masked(values):
        raise ValueError(
            f"row {np.argwhere(np.ma.getmaskarray(values))[0][0]} is masked: .filled(value) fills it"
        )
    texts = array.flat if array.dtype.kind in "USO" else ()
    for text in texts:
        if isinstance(text, str | bytes):
            raise ValueError(f"could not convert the text {said(text)}, float(…) does")
    if array.dtype.kind in "cmM":
        mend = "give .real and .imag as columns" if array.dtype.kind == "c" else "count days from one of them"
        raise ValueError(f"got {array.dtype}: {mend}")
    return np.asarray(array, np.float64)


def check_same(name: str, expected: Any, given: Any, mend: str) -> None:
    """Refuse a tree with other places or shapes, naming the first that differ."""
    there, here = places(expected), places(given)
    differing = [
        f"{name}{place} expected {there.get(place, 'nothing')}, got {here.get(place, 'nothing')}"
        for place in there | here
        if there.get(place) != here.get(place)
    ]
    if differing:
        more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise ValueError(f"{'; '.join(differing[:3])}{more}. {mend}")


def places(tree: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each leaf, by its place in the tree."""
    return {jax.tree_util.keystr(p): jnp.shape(v) for p, v in jax.tree_util.tree_leaves_with_path(tree)}


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
        raise TypeError(f"{expected}, got {said(metric)}{signature}: {error}.") from None
    if weighted and not takes_weight:
        raise TypeError(
            f"{expected} that takes sample_weight, for weights are given, got {said(metric)}{signature}: let "
            "it be metric(predictions, targets, sample_weight=None)."
        )
