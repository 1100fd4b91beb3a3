"""What a number must be: whole, finite, real, in its range; and what a random key is."""

import math
import operator
import reprlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fnn.guard.words import describe, is_array, name_of, place_of

__all__: list[str] = []


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
        raise TypeError(f"{where}: key expected jax.random.key(seed), got {describe(key)}. {mend}".rstrip())


# What rows must be --------------------------------------------------------------------------------


def check_finite(**trees: Any) -> None:
    """Refuse NaN and infinity, naming the row and the column: one of them would make every weight NaN."""
    for name, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            index = not_finite(leaf)
            if index is not None:
                raise ValueError(
                    f"{name}{jax.tree_util.keystr(path)} expected finite numbers, got "
                    f"{np.asarray(leaf)[index]} in {place_of(index)}. Leave the row out, or let fnn.encode "
                    "fill what is missing."
                )


def not_finite(leaf: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or infinity, if there is one; random keys have none."""
    if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key):
        return None
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating) or np.isfinite(array).all():
        return None
    return tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])


MOST = 2**31 - 1  # epochs are counted in int32


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
    message = f"{caller}: {name} expected a whole number, {bounds}, got {describe(value)}. {mend}"
    raise ValueError(message.rstrip())


def as_numbers(name: str, argument: str, value: ArrayLike) -> jax.Array:
    """The value as an array of real numbers; refuses None, text, objects, ragged lists, complex numbers."""
    listed: Any = jax.tree.leaves(value) if isinstance(value, list | tuple) else ()
    try:  # JAX would take a text in a list for the name of a type
        array = None if any(isinstance(entry, str) for entry in listed) else jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        array = None
    if array is None or not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        mend = next(mend for fits, mend in MENDS if fits(value))
        raise TypeError(f"{name}{argument} expected numbers, got {_told(value)}. {mend}")
    if jnp.iscomplexobj(array):
        mend = "Give its parts as columns, .real and .imag."
        raise TypeError(f"{name}{argument} expected real numbers, got {_told(value)}. {mend}")
    return array


MENDS: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda value: hasattr(value, "toarray"), "A sparse matrix goes in whole: call .toarray()."),
    (lambda value: isinstance(value, np.ma.MaskedArray), "Fill what is masked: .filled(value)."),
    (lambda value: isinstance(value, dict), "Give its arrays one by one."),
    (
        lambda value: True,
        "Names of classes go through fnn.labels, numbers as text through float(…); rows have one length.",
    ),
)


def _told(value: Any) -> str:
    """The value for a message: short, and without an address in memory."""
    if isinstance(value, str | bytes | int | float | complex | list | tuple | dict | None):
        text = reprlib.repr(value)
        if " at 0x" not in text:
            return text
    shape = getattr(value, "shape", None)
    kind = "array" if isinstance(value, jax.Array) else type(value).__name__
    return f"{kind} of {value.dtype}, shape {shape}" if hasattr(value, "dtype") else kind


# Numbers that have a range ------------------------------------------------------------------------


def refuse_values(
    wrong: Callable[[np.ndarray], Any], value: Any, sample_weight: Any, expected: str, mend: str
) -> None:
    """Refuse numbers that are `wrong` where there is weight, naming the first; traced ones have no values."""
    if is_traced((value, sample_weight)):
        return
    array = np.asarray(value)
    found = np.asarray(wrong(array))
    if not found.any():
        return
    weight = np.asarray(1 if sample_weight is None else sample_weight)
    if weight.shape == array.shape[: weight.ndim]:
        found = found & (weight.reshape(weight.shape + (1,) * (array.ndim - weight.ndim)) != 0)
    for index in np.argwhere(found)[:1].tolist():
        row, *column = index or [0]
        place = f"row {row}" + (f", column {', '.join(map(str, column))}" if column else "")
        raise ValueError(f"{expected}, got {array[tuple(index)]} in {place}. {mend}")


def is_traced(tree: Any) -> bool:
    """Whether numbers in it have no values yet."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


def number(rule: str, name: str, value: Any, below: float = math.inf, above: float | None = None) -> None:
    """Refuse what is no number, or not in [0, below), or not in (above, below)."""
    if isinstance(value, jax.core.Tracer):
        return  # its value is known when the program runs
    numbers = None if isinstance(value, bool | tuple | list | dict) else np.asarray(value)
    if numbers is None or numbers.dtype.kind not in "iufV":  # V: bfloat16
        got = f"the function {name_of(value)}" if callable(value) else reprlib.repr(value)
        raise TypeError(
            f"{rule}: {name} expected a number, such as {rule}({name}=0.01), got {got}. For another one "
            "later, fit again with params=fitted.params."
        )
    if numbers.ndim:
        raise ValueError(
            f"{rule}: {name} expected one number, got {describe(value)}. For several side by side, let "
            f"jax.vmap give them one by one: jax.vmap(lambda {name}: …)({name}s)."
        )
    high_enough = numbers >= 0 if above is None else numbers > above
    if not np.all(high_enough & (numbers < below)):
        low = "0 ≤" if above is None else f"{above:g} <"
        high = f" < {below:g}" if below < math.inf else " < ∞"
        raise ValueError(f"{rule}: {name} expected {low} {name}{high}, got {describe(value)}.")
    with np.errstate(over="ignore"):
        held = numbers.astype(jnp.result_type(float))
    if np.isinf(held) and not np.isinf(numbers):
        raise ValueError(
            f"{rule}: {name} expected a number that {held.dtype} can hold, got {describe(value)}."
        )
