"""Functions are structure, numbers are leaves: what jit compares, and what it traces."""

import functools
import inspect
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
                f"or an array, got {leaf!r}: what is no number belongs in a function of its own."
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
            *(f"{k}={v!r}" for k, v in function.keywords.items()),
        ]
        return f"{name_of(function.func)}({', '.join(options)})"
    return str(getattr(function, "__name__", type(function).__name__))


def _said(option: Any) -> str:
    if type(option) is tuple:
        return f"({', '.join(map(_said, option))})"
    return name_of(option) if callable(option) else repr(option)


def is_key(value: Any) -> bool:
    """Whether this is a random key: of jax.random.key, or the two numbers of jax.random.PRNGKey."""
    if not hasattr(value, "dtype"):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return bool(value.shape == ())
    return bool(value.dtype == np.uint32 and value.shape == (2,))
