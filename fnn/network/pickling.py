"""Functions by the name under which they are imported, so that a network can be pickled.

Pickle refuses many functions of JAX, such as jax.nn.relu, because each wraps another function of its name.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

__all__: list[str] = []


class Reference(NamedTuple):
    """A function that a module holds under this name."""

    module: str
    name: str


class Bound(NamedTuple):
    """A function with arguments bound to it, as functools.partial does."""

    function: Any
    args: tuple[Any, ...]
    keywords: tuple[tuple[str, Any], ...]


def to_names(value: Any) -> Any:
    """The value with its functions as references; pickle refuses what no module holds."""
    if isinstance(value, functools.partial):
        keywords = tuple((name, to_names(option)) for name, option in sorted(value.keywords.items()))
        return Bound(to_names(value.func), to_names(value.args), keywords)
    if type(value) is tuple:
        return tuple(map(to_names, value))
    found = Reference(getattr(value, "__module__", "") or "", getattr(value, "__qualname__", ""))
    return found if callable(value) and _look_up(found) is value else value


def from_names(value: Any) -> Any:
    """The value with its functions again."""
    if isinstance(value, Bound):
        keywords = {name: from_names(option) for name, option in value.keywords}
        return functools.partial(from_names(value.function), *from_names(value.args), **keywords)
    if type(value) is tuple:
        return tuple(map(from_names, value))
    return _look_up(value) if isinstance(value, Reference) else value


def _look_up(reference: Reference) -> Callable[..., Any] | None:
    try:
        return getattr(importlib.import_module(reference.module), reference.name, None)
    except (ImportError, ValueError):
        return None
