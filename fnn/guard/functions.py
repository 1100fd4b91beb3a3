"""Functions are structure, numbers are leaves: what `jit` compares, and what it traces."""

import functools
import inspect
from typing import Any

__all__: list[str] = []


def takes(function: Any, *arguments: str) -> bool:
    """Whether it can be called with this many arguments; a signature is read once."""
    try:
        hash(function)
    except TypeError:
        return _takes.__wrapped__(function, arguments)
    return _takes(function, arguments)


@functools.lru_cache(maxsize=256)
def _takes(function: Any, arguments: tuple[str, ...]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:  # some functions of C have no signature
        return callable(function)
    return True
