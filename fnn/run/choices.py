"""The members of a sweep: every combination of what is given as a list, named by what differs."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn.guard.functions import as_partial
from fnn.guard.numbers import is_key
from fnn.guard.words import Words, describe, is_array, name_of, unexpected
from fnn.network.layer import Layer
from fnn.optimizers.rule import Optimizer
from fnn.optimizers.schedules import rule_name

__all__: list[str] = []

Names = dict[str, Any]  # what a member was given, by name: {"learning_rate": 0.01, "seed": 3}


class Member(NamedTuple):
    """What one run of a sweep is given, and the names of what the others are given differently."""

    names: Names
    network: Layer
    cost: Any
    optimizer: Optimizer
    penalty: Any
    batch_size: Any
    key: Any


def members_of(arguments: dict[str, Any], grid: bool) -> list[Member]:
    """A member for each combination of choices, as nested loops make them; without `grid`, as zip does."""
    choices = {name: _choices(name, value) for name, value in arguments.items()}
    combine = itertools.product if grid else _side_by_side(choices)
    members = []
    for combination in combine(*choices.values()):
        names: Names = {}
        for own, _ in combination:
            names |= own
        members.append(Member(names, *(value for _, value in combination)))
    return members


def _side_by_side(choices: dict[str, list[Any]]) -> Any:
    """`zip`, in which what is given once is given to each."""
    counts = {name: len(each) for name, each in choices.items() if len(each) > 1}
    if len(set(counts.values())) > 1:
        got = Words(", ".join(f"{count} of {name}" for name, count in counts.items()))
        fix = "With grid=True every combination is run."
        raise ValueError(unexpected("sweep: grid=False", "lists of one length", got, fix))
    most = max([1, *counts.values()])
    return lambda *lists: zip(*(each * (most if len(each) == 1 else 1) for each in lists), strict=True)


def _choices(argument: str, value: Any) -> list[tuple[Names, Any]]:
    """The values that an argument takes, each with its names; a single one, without a name, if no list."""
    if argument == "key" and is_key_row(value):
        value = list(value)
    if not isinstance(value, list | Mapping):
        return [({}, value)]
    if not value:
        raise ValueError(unexpected(f"sweep: {argument}", "at least one in the list", value))
    if isinstance(value, Mapping):
        return [({argument: name}, each) for name, each in value.items()]
    if argument == "key":
        return [({"seed": i}, each) for i, each in enumerate(value)]
    return list(zip(_names(argument, value), value))


def is_key_row(value: Any) -> bool:
    """Whether this is an array of keys, such as jax.random.split gives."""
    if not is_array(value) or is_key(value):
        return False
    is_new = bool(jnp.issubdtype(value.dtype, jax.dtypes.prng_key))
    return value.ndim == 1 if is_new else bool(value.dtype == np.uint32 and value.shape[1:] == (2,))


def _names(argument: str, values: list[Any]) -> list[Names]:
    """What tells the values of a list apart: the numbers bound to them, and what they are called."""
    described = [{argument: _title(each), **_numbers(each)} for each in values]
    every = {name: None for names in described for name in names}  # in order
    differing = [name for name in every if len({repr(names.get(name, "")) for names in described}) > 1]
    found = [{name: names[name] for name in differing if name in names} for names in described]
    alike = len({repr(names) for names in found}) < len(found)
    return [{argument: i, **names} for i, names in enumerate(found)] if alike else found


def _title(value: Any) -> Any:
    """A value in a word: a network by its layers, a rule or a cost by its name."""
    if isinstance(value, Layer):
        inside = ", ".join(_title(part) for part in value.parts)
        return f"{value.name}({inside})" if inside else value.name
    if hasattr(value, "update"):
        return rule_name(value.update)
    if callable(value):
        return name_of(getattr(value, "func", value))
    return value if isinstance(value, int | float | str | None) else describe(value)


def _numbers(value: Any) -> Names:
    """The numbers bound to a rule, a cost or a penalty, by name."""
    function = getattr(value, "init", value) if not isinstance(value, Layer) else None
    if not callable(function):
        return {}
    leaves = jax.tree_util.tree_leaves_with_path(as_partial(function))
    places = [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]
    short = ["/".join(part for part in place.split("/") if not part.isdigit()) for place in places]
    names = [one if short.count(one) == 1 and one else place for one, place in zip(short, places)]
    values = (leaf if np.ndim(leaf) else np.asarray(leaf).item() for _, leaf in leaves)
    return dict(zip(names, values))
