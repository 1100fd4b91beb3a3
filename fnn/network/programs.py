"""Programs: which are kept compiled, and what their loops keep for the derivative."""

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


ARITHMETIC = {"add", "add_any", "sub", "mul", "div", "neg", "max", "min"}
POWERS = {"square", "integer_pow", "sqrt", "rsqrt"}
MOVES = {"reshape", "transpose", "squeeze", "slice", "concatenate", "pad", "broadcast_in_dim"}
CHEAP = ARITHMETIC | POWERS | MOVES | {"select_n", "convert_element_type"}  # primitives of JAX


def scan(turn: Callable[..., Any], start: Any, xs: Any, length: int | None = None) -> Any:
    """`jax.lax.scan`, whose derivative computes again what is cheap instead of keeping it.

    A loop writes what its derivative needs of each turn to memory, and reads it back. That takes longer than
    to add, multiply or move numbers a second time. It keeps what is not in CHEAP: matrix products, sums over
    an axis, functions like exp, and masks. (Chen et al. 2016, section 4.)

    >>> scan(lambda total, x: (total + x, total), jax.numpy.zeros(()), jax.numpy.arange(3.0))
    (Array(3., dtype=float32), Array([0., 0., 1.], dtype=float32))
    """
    again = jax.checkpoint(turn, policy=_is_costly, prevent_cse=False)  # a loop separates the two already
    return jax.lax.scan(again, start, xs, length=length)


def _is_costly(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive.name not in CHEAP
