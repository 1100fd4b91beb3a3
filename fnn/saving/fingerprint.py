"""What a run is made of, in words. Two calls whose words differ are different runs.

Functions are compared by their bytecode, not by their jaxpr (the program that JAX traces). A jaxpr follows
every call, but it depends on the shapes: another width, batch size or number of columns changes the jaxprs
of network, cost and optimizer alike, so a refusal could no longer name the argument that differs. It also
leaves out what a host callback computes.
"""

import functools
import hashlib
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.words import is_array, name_of
from fnn.network.layer import Layer

__all__: list[str] = []


DIGITS = 12  # hexadecimal digits shown of a digest: 48 bits


VALUES = bool | int | float | complex | str | bytes | None


METADATA = {"__wrapped__", "__doc__", "__annotations__", "__module__", "_jit_info"}  # not what is computed


def fingerprint(**parts: Any) -> dict[str, str]:
    """Each part in words, by its name: single numbers as they are, everything else with a digest.

    Arrays are compared by their bytes. Functions are compared by their code, their options, the values
    they close over, and the numbers and functions of their own module that they use. Changes in other
    modules, such as a new version of a library, go unnoticed.

    >>> fingerprint(batch_size=32, y=np.zeros(3, np.int32))
    {'batch_size': '32', 'y': 'int32 (3,) #f4136a792b6e'}
    """
    return {
        name + jax.tree_util.keystr(path): _words(leaf)
        for name, part in parts.items()
        for path, leaf in jax.tree_util.tree_leaves_with_path(part, is_leaf=_is_function)
    }


def compare(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Each part in which two fingerprints differ, in words; after five of them only how many more."""
    differing = [
        f"{name} is {there.get(name, 'absent')} there, {here.get(name, 'absent')} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    return differing if len(differing) <= 5 else [*differing[:5], f"and {len(differing) - 5} more"]


def _is_function(value: Any) -> bool:
    return isinstance(value, Layer) or callable(value)


def _is_key(array: Any) -> bool:
    return bool(jnp.issubdtype(array.dtype, jax.dtypes.prng_key))


def _words(leaf: Any) -> str:
    if isinstance(leaf, VALUES) and not isinstance(leaf, np.generic):
        return repr(leaf)
    if is_array(leaf) and leaf.shape == () and not _is_key(leaf):
        usual = leaf.dtype == jnp.result_type(leaf.item())
        return str(np.asarray(leaf)[()]) + ("" if usual else f" ({leaf.dtype})")
    name = f"{leaf.dtype} {leaf.shape}" if is_array(leaf) else _name(leaf)
    name = re.sub(r" at 0x[0-9a-f]+", "", name)  # another process has other addresses
    return f"{name} #{_digest(leaf, {}).hex()[:DIGITS]}"


def _name(function: Any) -> str:
    if isinstance(function, Layer) and function.parts:
        return f"{function.name}({', '.join(_name(part) for part in function.parts)})"
    return function.name if isinstance(function, Layer) else name_of(function)


# The digest of a value -----------------------------------------------------------------------------


def _digest(value: Any, known: dict[int, tuple[Any, bytes]]) -> bytes:
    """32 bytes that change with the value. `known` has the values met before, so that cycles end."""
    if id(value) in known:
        return known[id(value)][1]
    known[id(value)] = value, b""  # the value too: while it is alive, no other has its id
    digest = hashlib.sha256(f"{type(value).__qualname__} ".encode())
    if is_array(value) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(_bytes(value))
    elif isinstance(value, VALUES):
        digest.update(repr(value).encode())
    elif isinstance(value, Mapping | set | frozenset):
        items = value.items() if isinstance(value, Mapping) else value
        digest.update(b"".join(sorted(_digest(item, known) for item in items)))  # the order does not count
    else:
        for part in _parts(value):
            digest.update(_digest(part, known))
    known[id(value)] = value, digest.digest()
    return digest.digest()


def _bytes(array: Any) -> memoryview:
    numbers = np.ascontiguousarray(jax.random.key_data(array) if _is_key(array) else array)
    return numbers.reshape(-1).view(np.uint8).data


def _parts(value: Any) -> Iterable[Any]:
    """The items of a container, the code and bound values of a function, the state of anything else."""
    if isinstance(value, Layer):
        return value._replace(name="")  # its functions say what it is
    if isinstance(value, tuple | list):
        return value
    if isinstance(value, np.ndarray):
        return value.shape, value.tolist()
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    if isinstance(value, types.FunctionType):
        closed = [cell.cell_contents for cell in value.__closure__ or () if cell != types.CellType()]
        bound = value.__defaults__, value.__kwdefaults__, closed, _attributes(value)
        return value.__code__, *bound, dict(_used_globals(value))
    if isinstance(value, types.CodeType):
        return value.co_code, value.co_names, value.co_consts
    if isinstance(value, type | types.ModuleType):
        return getattr(value, "__module__", ""), getattr(value, "__qualname__", value.__name__)
    return _state(value)


def _used_globals(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """The numbers, texts, arrays and own functions of its module that a function names, at any depth."""
    codes = [function.__code__]
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        for name in code.co_names:
            found = function.__globals__.get(name)
            if isinstance(found, VALUES | tuple) or is_array(found) or _is_neighbour(found, function):
                yield name, found


def _is_neighbour(found: Any, function: types.FunctionType) -> bool:
    """Whether it is a function, compiled or not, that is written in the module of `function`."""
    inner = getattr(found, "__wrapped__", found)
    return isinstance(inner, types.FunctionType) and inner.__module__ == function.__module__


def _attributes(value: Any) -> dict[str, Any]:
    return {name: part for name, part in vars(value).items() if name not in METADATA}


def _state(value: Any) -> Iterable[Any]:
    """What an object of any class would be copied from; its name where it cannot be copied."""
    kind = type(value)
    if hasattr(value, "__wrapped__"):  # jit, custom_vjp, lru_cache
        return kind.__qualname__, value.__wrapped__, _attributes(value)
    state: Any
    try:
        state = [[*part] if isinstance(part, Iterator) else part for part in value.__reduce_ex__(2)]
    except Exception:
        state = _attributes(value) if hasattr(value, "__dict__") else getattr(value, "__name__", "")
    return kind.__module__, kind.__qualname__, state
