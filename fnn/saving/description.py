"""A tree as text: its containers, its Python values, and the names of its arrays.

A node of the text is a dict: `kind`, with `parts` (a container), `value` (a Python value) or `dtype`,
`shape` and `entry` (an array or a random key). When it is read, `fill` replaces value and entry by `leaf`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data.cells import Reading
from fnn.data.encoding import Encoder
from fnn.data.features import Category, Cycle, Embedded, Number
from fnn.data.labels import Labels
from fnn.data.standardize import Standardizer
from fnn.optimizers.rule import RuleState
from fnn.optimizers.schedules import ScheduledState
from fnn.optimizers.transformations import AverageState
from fnn.optimizers.wrappers import AccumulateState, PlateauState, SkipState
from fnn.workflow.state import Best, Fitted, NotFinite, State

__all__: list[str] = []


Node = dict[str, Any]


DEPTH = 100  # of nested containers: deeper ones would exhaust Python's stack


LENGTH = 4000  # of a path, in characters: every leaf repeats the path of its containers


CLASSES = (
    *(Best, Category, Cycle, Embedded, Encoder, Fitted, Labels),
    *(NotFinite, Number, Reading, RuleState, ScheduledState, Standardizer, State),
    *(AccumulateState, AverageState, PlateauState, SkipState),
)


OWN: dict[str, Any] = {f"fnn.{kind.__qualname__}": kind for kind in CLASSES}


STEPS = {"dict": "[{!r}]", "list": "[{}]", "tuple": "[{}]"}  # how a path goes on inside; else ".{}"


VALUES: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "NoneType": (type(None), repr, lambda text: None),
    "bool": (bool, repr, lambda text: text == "True"),
    "int": (int, hex, lambda text: int(text, 16)),  # Python limits the length of decimals
    "float": (float, repr, float),
    "complex": (complex, repr, complex),
    "str": (str, str, str),
}


# A tree → its description --------------------------------------------------------------------------


def to_node(tree: Any, where: str, seen: dict[str, Any], depth: int = 0) -> Node:
    """The node of a tree of values or shapes; `seen` collects its arrays and containers by path."""
    kind, entry, parts = _class_name(type(tree)), entry_kind(tree), _parts(tree, where)
    if kind in VALUES and VALUES[kind][0] is type(tree):
        return {"kind": kind, "value": VALUES[kind][1](tree)}
    seen[where] = tree
    if entry:
        _check_path(where, 0)
        return {"kind": entry, "dtype": _dtype(tree, where), "shape": [*tree.shape], "entry": where}
    if parts is None:
        raise TypeError(
            f"{where} is of type {kind}, which is not data. Save arrays, keys, numbers, strings and None in "
            "plain dicts, lists, tuples and NamedTuples. Create functions again where you load."
        )
    _check_path(where, depth)
    inner = {k: to_node(p, path_to(where, kind, k), seen, depth + 1) for k, p in parts.items()}
    return {"kind": kind, "parts": inner}


def entry_kind(leaf: Any) -> str:
    """ "array" or "key", or "" for anything else (a masked array, too: its mask would be lost)."""
    if isinstance(leaf, jax.Array | np.generic | jax.ShapeDtypeStruct) or type(leaf) is np.ndarray:
        return "key" if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else "array"
    return ""


def _parts(tree: Any, where: str) -> dict[str, Any] | None:
    """The items of a container by key, position or field; None for anything else."""
    if type(tree) is dict:
        wrong = [f"{k!r} of type {_class_name(type(k))}" for k in tree if type(k) is not str]
        if wrong:
            raise TypeError(f"{where} has the key {wrong[0]}; give str keys, or a list.")
        return tree
    if type(tree) in (list, tuple):
        return {str(place): part for place, part in enumerate(tree)}
    named = isinstance(tree, tuple) and hasattr(tree, "_fields")
    return dict(zip(tree._fields, tree)) if named else None


def path_to(where: str, kind: str, name: str) -> str:
    """The path of a part of the container at `where`."""
    return where + STEPS.get(kind, ".{}").format(name)


def _class_name(kind: type) -> str:
    """The name in the file. fnn's classes are named without their module, which may change."""
    own, full = f"fnn.{kind.__qualname__}", f"{kind.__module__}.{kind.__qualname__}"
    return own if OWN.get(own) is kind else full.removeprefix("builtins.")


def _dtype(leaf: Any, where: str) -> str:
    """The name in the file of a dtype, or of the implementation of a random key."""
    if entry_kind(leaf) == "key":
        name = jax.random.key_impl(jnp.empty((0,), leaf.dtype))  # `leaf` may be a shape
        if isinstance(name, str):
            return name
    elif leaf.dtype.isbuiltin == 2 or leaf.dtype.kind in "biufc":  # 2: an extension type such as bfloat16
        return str(leaf.dtype.name)
    elif leaf.dtype.kind in "SUmM":
        return str(leaf.dtype.newbyteorder("<").str)
    raise TypeError(
        f"{where} has the dtype {leaf.dtype}, which cannot be saved. Give numbers or bools; text as "
        "np.asarray(values, str); a key of your own implementation as jax.random.key_data(key)."
    )


def to_numpy(leaf: Any, where: str) -> np.ndarray:
    """The array in the file: little-endian, in C order, of one of NumPy's own dtypes."""
    if isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct):
        raise TypeError(f"{where} is a {type(leaf).__name__}, which has no numbers; save outside jit.")
    array = np.asarray(jax.random.key_data(leaf) if entry_kind(leaf) == "key" else leaf, order="C")
    array = array.view(f"u{array.itemsize}") if array.dtype.isbuiltin == 2 else array
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


# A description → the tree --------------------------------------------------------------------------


def differences(wanted: Node, saved: Node, where: str) -> Iterator[str]:
    """Each place where two descriptions differ, from the outside in."""
    if _label(wanted) != _label(saved):
        yield f"{where}: expected {_label(wanted)}, got {_label(saved)}"
        return
    ours, theirs = wanted.get("parts", {}), saved.get("parts", {})
    for k in ours | theirs:
        yield from differences(ours.get(k, {}), theirs.get(k, {}), path_to(where, saved["kind"], k))


def _label(node: Node) -> str:
    if "dtype" in node:
        return f"{node['kind']} {node['dtype']} {tuple(node['shape'])}"
    return str(node.get("kind", "nothing")).rpartition(".")[2]  # a script's module may be __main__


def fill(node: Node, where: str, arrays: dict[str, np.ndarray], depth: int = 0) -> Node:
    """The node with the values and arrays that it names. Nothing that it says is trusted."""
    kind = node["kind"]
    if "entry" in node:
        array = arrays.pop(node["entry"])
        leaf = _from_numpy(array, node)
        if [*leaf.shape] != node["shape"] or _dtype(leaf, where) != node["dtype"]:
            expected = f"{node['dtype']} {node['shape']}"
            raise ValueError(f"{where} should be {expected}, but is {leaf.dtype} {[*leaf.shape]}")
        return {"kind": kind, "dtype": node["dtype"], "shape": node["shape"], "leaf": leaf}
    if "value" in node:
        return {"kind": kind, "leaf": VALUES[kind][2](node["value"])}
    _check_path(where, depth)
    parts = node["parts"]
    if kind in ("list", "tuple") and [*parts] != [*map(str, range(len(parts)))]:
        raise ValueError(f"{where} is a {kind} whose items are not numbered in order")
    inner = {k: fill(p, path_to(where, kind, k), arrays, depth + 1) for k, p in parts.items()}
    return {"kind": str(kind), "parts": inner}


def _check_path(where: str, depth: int) -> None:
    """Refuse a tree nested deeper, or a path longer, than any that is no mistake or attack."""
    if depth == DEPTH:
        raise ValueError(f"{where} is nested in more than {DEPTH} containers; save a flatter tree.")
    if len(where) > LENGTH:
        raise ValueError(f"{where[:40]}… is a path of {len(where)} characters; use shorter keys.")


def _from_numpy(array: np.ndarray, node: Node) -> Any:
    if node["kind"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=node["dtype"])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name != node["dtype"] and np.dtype(node["dtype"]).isbuiltin == 2:
        array = array.view(node["dtype"])  # bfloat16 and similar types are saved as integers
    with contextlib.suppress(TypeError, RuntimeError):  # JAX has no such dtype
        if jnp.asarray(np.zeros(1, array.dtype)).dtype == array.dtype:
            return jnp.asarray(array)
    return array


def build(node: Node, where: str, seen: dict[str, Any]) -> Any:
    """The tree of a node after `fill`, with the NamedTuples `seen` in `like`."""
    kind = node["kind"]
    if "leaf" in node:
        return node["leaf"]
    parts = {k: build(p, path_to(where, kind, k), seen) for k, p in node["parts"].items()}
    if kind in STEPS:
        return parts if kind == "dict" else {"list": list, "tuple": tuple}[kind](parts.values())
    named: Any = type(seen[where]) if where in seen else OWN.get(kind)
    lacks = set() if named is None else {*named._fields} - {*parts} - {*named._field_defaults}
    if named is None or lacks or {*parts} - {*named._fields}:  # a field that came later has its default
        fix = "give like=, a tree of the same structure that has the class there."
        raise TypeError(f"{where} was saved as the NamedTuple {kind}({', '.join(parts)}); {fix}")
    return named(**parts)
