"""What a run is made of, in words: by them one call is told from another."""

import contextlib
import functools
import hashlib
import re
import types
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.functions import name_of
from fnn.layer import Layer

__all__: list[str] = []

SHOWN = 12  # hexadecimal digits of a digest: 48 bits


def fingerprint(**parts: Any) -> dict[str, str]:
    """Each part in words, by its name: numbers as they are, the rest with a digest.

    Arrays are told apart by their bytes, functions by their code, their options and what they close
    over; not by what else they call.

    >>> fingerprint(batch_size=32, y=np.zeros(3, np.int32))
    {'batch_size': '32', 'y': 'int32 (3,) #f4136a792b6e'}
    """
    return {
        name + jax.tree_util.keystr(path): _words(leaf)
        for name, part in parts.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(part, is_leaf=_is_whole)
    }


def unlike(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """In which parts two fingerprints differ, in words."""
    differing = [
        f"{name} is {there.get(name, 'absent')} there, {here.get(name, 'absent')} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    return differing if len(differing) <= 5 else [*differing[:5], f"and {len(differing) - 5} more"]


def _is_whole(value: Any) -> bool:
    return isinstance(value, Layer) or callable(value)


def _is_array(value: Any) -> bool:
    """A type of numbers, such as np.float32, has these names too."""
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, type)


def _words(leaf: Any) -> str:
    if isinstance(leaf, bool | int | float | str):
        return repr(leaf)
    if _is_array(leaf) and leaf.shape == () and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(np.asarray(leaf)[()])
    name = f"{leaf.dtype} {leaf.shape}" if _is_array(leaf) else _called(leaf)
    name = re.sub(r" at 0x[0-9a-f]+", "", name)  # another process has other addresses
    return f"{name} #{_digest(leaf, {}).hex()[:SHOWN]}"


def _called(function: Any) -> str:
    if isinstance(function, Layer) and function.parts:
        return f"{function.name}({', '.join(_called(part) for part in function.parts)})"
    return function.name if isinstance(function, Layer) else name_of(function)


def _digest(value: Any, known: dict[int, tuple[Any, bytes]]) -> bytes:
    """What a value is made of, in 32 bytes; `known` are those met before, so that no circle is endless."""
    if id(value) in known:
        return known[id(value)][1]
    known[id(value)] = value, b""  # the value too: while it lives, its id is its own
    digest = hashlib.sha256(f"{type(value).__qualname__} ".encode())
    if _is_array(value):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(_bytes(value))
    elif isinstance(value, bool | int | float | complex | str | bytes | None):
        digest.update(repr(value).encode())
    else:
        for part in _parts(value):
            digest.update(_digest(part, known))
    known[id(value)] = value, digest.digest()
    return digest.digest()


def _bytes(array: Any) -> memoryview:
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    numbers = np.ascontiguousarray(jax.random.key_data(array) if is_key else array)
    return numbers.reshape(-1).view(np.uint8).data


def _parts(value: Any) -> Iterable[Any]:
    """Of containers what they hold, of functions their code and what they bind, of the rest a name."""
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda item: repr(item[0]))
    if isinstance(value, frozenset | set):
        return sorted(value, key=repr)
    if isinstance(value, tuple | list):
        return value
    if hasattr(value, "__wrapped__"):  # jit, custom_jvp and decorators
        return (value.__wrapped__,)
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, types.FunctionType):
        return value.__code__, value.__defaults__, value.__kwdefaults__, value.__closure__
    if isinstance(value, types.CellType):
        with contextlib.suppress(ValueError):  # it may be empty still
            return (value.cell_contents,)
    if isinstance(value, types.CodeType):
        return value.co_code, value.co_names, value.co_consts
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__, kind.__qualname__, getattr(value, "__name__", "")
