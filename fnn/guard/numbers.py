"""What a number must be: whole, finite, real, in its range; and what a random key is."""

import contextlib
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.words import describe, is_array, place_of, unexpected

__all__: list[str] = []


def is_key(value: Any) -> bool:
    """Whether this is a random key: of jax.random.key, or the two numbers of jax.random.PRNGKey."""
    if not is_array(value):
        return False
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return bool(value.shape == ())
    return bool(value.dtype == np.uint32 and value.shape == (2,))


def check_key(where: str, key: Any, fix: str = "") -> None:
    """Refuse what is no random key: a seed, None, a row of keys."""
    if not is_key(key):
        raise TypeError(f"{where}: key expected jax.random.key(seed), got {describe(key)}. {fix}".rstrip())


MOST = 2**31 - 1  # epochs are counted in int32


def check_whole(caller: str, name: str, value: Any, least: int = 1, fix: str = "") -> int:
    """The value as a whole number from `least` up; a traced one is refused too, for it decides shapes."""
    whole = least - 1
    with contextlib.suppress(TypeError):
        whole = whole if isinstance(value, bool | np.bool_) else operator.index(value)
    if least <= whole <= MOST:
        return whole
    if isinstance(value, jax.core.Tracer):
        fix = "It decides shapes: under jit it is a static argument."
    elif isinstance(value, float) and value.is_integer() and value >= least:
        fix = f"Give {name}={value:.0f}."
    bounds = f"at most {MOST}" if whole > MOST else f"at least {least}"
    raise ValueError(unexpected(f"{caller}: {name}", f"a whole number, {bounds}", value, fix))


# The first wrong number of an array ---------------------------------------------------------------


def refuse(
    name: str,
    values: Any,
    wrong: Callable[[np.ndarray], Any],
    expected: str,
    fix: str,
    sample_weight: Any = None,
) -> None:
    """Raise ValueError for the first entry that is `wrong`, with its row and column.

    What has weight 0 is exempt; traced numbers have no values yet, and pass.
    """
    if is_traced((values, sample_weight)):
        return
    array = np.asarray(values)
    found = np.asarray(wrong(array))
    if not found.any():
        return
    weight = np.asarray(1 if sample_weight is None else sample_weight)
    if weight.shape == array.shape[: weight.ndim]:
        found = found & (weight.reshape(weight.shape + (1,) * (array.ndim - weight.ndim)) != 0)
    for index in np.argwhere(found)[:1].tolist():
        entry = array[tuple(index)]
        got = f"{entry}" if isinstance(entry, np.number) else describe(entry)
        raise ValueError(f"{name} expected {expected}, got {got}{place_of(index)}. {fix}".rstrip())


def is_traced(tree: Any) -> bool:
    """Whether numbers in it have no values yet."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))


GAPS = "Leave the row out, or let fnn.encode fill what is missing."


def check_finite(name: str, tree: Any, fix: str = GAPS, sample_weight: Any = None) -> None:
    """Refuse NaN and infinity: one of them would make every weight NaN."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not jnp.issubdtype(getattr(leaf, "dtype", float), jnp.floating):  # a random key has none
            continue
        if isinstance(leaf, jax.core.Tracer) or not np.isfinite(leaf).all():
            where = name + jax.tree_util.keystr(path)
            refuse(where, leaf, lambda a: ~np.isfinite(a), "finite numbers", fix, sample_weight)


# Numbers that have a range ------------------------------------------------------------------------


class Span(NamedTuple):
    """The numbers that an option may have: as words around its name, and as a test; how to give them."""

    words: str
    holds: Callable[[Any], Any]
    fix: str = ""


FROM_0 = Span("0 ≤ {} < ∞", lambda n: (n >= 0) & (n < math.inf))
ABOVE_0 = Span("0 < {} < ∞", lambda n: (n > 0) & (n < math.inf))
FROM_1 = Span("1 ≤ {} < ∞", lambda n: (n >= 1) & (n < math.inf))
BELOW_1 = Span("0 ≤ {} < 1", lambda n: (n >= 0) & (n < 1))
TO_1 = Span("0 ≤ {} ≤ 1", lambda n: (n >= 0) & (n <= 1))


def check_number(where: str, name: str, value: Any, span: Span = FROM_0, several: bool = False) -> None:
    """Refuse what is no number, or an array of them where `several` may come, in JAX's float and the span."""
    if not isinstance(value, dict) and is_traced(value):
        return  # its value is known when the program runs
    if type(value) in (float, int) and abs(value) < 1e38 and span.holds(np.float32(value)):
        return  # what almost every call brings
    expected = f"{'numbers' if several else 'a number'}, {span.words.format(name)}"
    array = _plain_numbers(value)
    if array is None or (array.ndim and not several):
        error = TypeError if array is None else ValueError
        raise error(f"{where}: {name} expected {expected}, got {describe(value)}. {span.fix}".rstrip())
    dtype = jnp.result_type(float)
    with np.errstate(over="ignore"):
        right = span.holds(array.astype(dtype))
    if np.all(span.holds(array)):
        expected += f" in {dtype}"  # it was right before the type was narrowed
    refuse(f"{where}: {name}", array, lambda _: ~right, expected, "")


def _plain_numbers(value: Any) -> np.ndarray | None:
    """The value as an array of real numbers; None for anything else, a truth value too."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):  # random keys, a ragged list
        return None
    real = array.dtype.kind in "iuf" or jnp.issubdtype(array.dtype, jnp.floating)
    return array if real else None


def check_numbers(where: str, numbers: dict[str, Any], **spans: Span) -> None:
    """Refuse numbers of an update rule: each is one, in its span, which is 0 ≤ … < ∞ unless it is named."""
    for name, value in numbers.items():
        fix = f"Such as {name}=0.01; for several use jax.vmap, for another later fit(params=fitted.params)."
        check_number(where, name, value, spans.get(name, FROM_0)._replace(fix=fix))
