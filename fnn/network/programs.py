"""Compiled programs, as many as were used last: each new network would keep its own for ever."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax

__all__: list[str] = []

Function = TypeVar("Function", bound=Callable[..., Any])


def compile_recent(
    static_argnums: tuple[int, ...] = (),
    kept: int = 16,
    compiler_options: Callable[[], dict[str, Any]] | None = None,
) -> Callable[[Function], Function]:
    """`jax.jit(function, …)` that keeps the programs of the `kept` networks, rules and costs used last.

    `jax.jit` keeps thousands, each with the functions it was compiled for. A lambda in a cell of a notebook,
    or a search over architectures, makes new ones again and again. A program of a small `fit` takes 10 MB.
    `.lower` is that of `jax.jit`.

    >>> add = compile_recent()(lambda a, b: a + b)
    >>> add(1, 2)
    Array(3, dtype=int32, weak_type=True)
    """

    def decorate(function: Function) -> Function:
        @functools.lru_cache(maxsize=kept)
        def program(key: Hashable) -> Callable[..., Any]:
            own = functools.wraps(function)(lambda *args: function(*args))  # jit shares what has one function
            options = compiler_options and compiler_options()  # now: an import must not start a device
            return jax.jit(own, static_argnums=static_argnums, compiler_options=options)

        def find(*args: Any) -> Any:
            parts = (arg if i in static_argnums else jax.tree.structure(arg) for i, arg in enumerate(args))
            return program(tuple(parts))

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            return find(*args)(*args)

        call.lower = lambda *args: find(*args).lower(*args)  # type: ignore[attr-defined]
        return call  # type: ignore[return-value]

    return decorate
