"""A tree as text: its containers, its Python values, and where its arrays stand.

A node of the text is a dict: `kind`, with `parts` (a container), `value` (a Python value) or `dtype`,
`shape` and `entry` (an array or a random key). Read back, value and entry have become `leaf`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data.encoding import Category, Encoder, Number
from fnn.data.labels import Labels
from fnn.data.standardize import Standardizer
from fnn.optimizers.rule import RuleState
from fnn.workflow.state import Best, State

__all__: list[str] = []


Node = dict[str, Any]


DEPTH = 100  # containers in containers: more would exhaust Python's stack when it is read


LENGTH = 4000  # of a path, in characters: each leaf below spells it out


KNOWN = (Best, Category, Encoder, Labels, Number, RuleState, Standardizer, State)  # without `like`


OWN: dict[str, Any] = {f"fnn.{kind.__qualname__}": kind for kind in KNOWN}


STEPS = {"dict": "[{!r}]", "list": "[{}]", "tuple": "[{}]"}  # from a container in; else ".{}"


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
    """What the text says of values or shapes; `seen` collects what it cannot hold, by path."""
    kind, entry, parts = _class_name(type(tree)), entry_kind(tree), _parts(tree, where)
    if kind in VALUES and VALUES[kind][0] is type(tree):
        return {"kind": kind, "value": VALUES[kind][1](tree)}
    seen[where] = tree
    if entry:
        _check_path(where, 0)
        return {"kind": entry, "dtype": _dtype(tree, where), "shape": [*tree.shape], "entry": where}
    if parts is None:
        raise TypeError(
            f"{where} is of type {kind}, which is no data; give arrays, keys, numbers, strings, "
            "None in plain dicts, lists, tuples, NamedTuples; make functions anew where you load."
        )
    _check_path(where, depth)
    inner = {k: to_node(p, path_to(where, kind, k), seen, depth + 1) for k, p in parts.items()}
    return {"kind": kind, "parts": inner}


def entry_kind(leaf: Any) -> str:
    """An "array" or a "key", else nothing: a masked array, a subclass, is more than numbers."""
    if isinstance(leaf, jax.Array | np.generic | jax.ShapeDtypeStruct) or type(leaf) is np.ndarray:
        return "key" if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else "array"
    return ""


def _parts(tree: Any, where: str) -> dict[str, Any] | None:
    """What a container holds, by key, position or field; None for what is no container."""
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
    """As users import it: fnn's own without a module, which may move, and Python's without one."""
    own, full = f"fnn.{kind.__qualname__}", f"{kind.__module__}.{kind.__qualname__}"
    return own if OWN.get(own) is kind else full.removeprefix("builtins.")


def _dtype(leaf: Any, where: str) -> str:
    """The name by which a dtype, or the implementation of a random key, is found again."""
    if entry_kind(leaf) == "key":
        name = jax.random.key_impl(jnp.empty((0,), leaf.dtype))  # `leaf` may be a shape
        if isinstance(name, str):
            return name
    elif leaf.dtype.isbuiltin == 2 or leaf.dtype.kind in "biufc":  # 2: not NumPy's, as bfloat16
        return str(leaf.dtype.name)
    elif leaf.dtype.kind in "SUmM":
        return str(leaf.dtype.newbyteorder("<").str)
    raise TypeError(
        f"{where} has the dtype {leaf.dtype}, which no checkpoint holds; give numbers, bools, "
        "text as np.asarray(values, str), a key of your own kind as jax.random.key_data(key)."
    )


def stored(leaf: Any, where: str) -> np.ndarray:
    """An array as NumPy writes it anywhere: little-endian, in C order, of a dtype of its own."""
    if isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct):
        raise TypeError(f"{where} is a {type(leaf).__name__}, without numbers; save outside jit.")
    array = np.asarray(jax.random.key_data(leaf) if entry_kind(leaf) == "key" else leaf, order="C")
    array = array.view(f"u{array.itemsize}") if array.dtype.isbuiltin == 2 else array
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


# A description → the tree --------------------------------------------------------------------------


def differences(wanted: Node, saved: Node, where: str) -> Iterator[str]:
    """Each place where two descriptions say another thing, from the outermost in."""
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


def filled(node: Node, where: str, arrays: dict[str, np.ndarray], depth: int = 0) -> Node:
    """The node with the values and arrays that it names; it is a stranger's, and each word is doubted."""
    kind = node["kind"]
    if "entry" in node:
        array = arrays.pop(node["entry"])
        leaf = _restored(array, node)
        if [*leaf.shape] != node["shape"] or _dtype(leaf, where) != node["dtype"]:
            claimed = f"{node['dtype']} {node['shape']}"
            raise ValueError(f"{where} is said to be {claimed}, and is {leaf.dtype} {[*leaf.shape]}")
        return {"kind": kind, "dtype": node["dtype"], "shape": node["shape"], "leaf": leaf}
    if "value" in node:
        return {"kind": kind, "leaf": VALUES[kind][2](node["value"])}
    _check_path(where, depth)
    parts = node["parts"]
    if kind in ("list", "tuple") and [*parts] != [*map(str, range(len(parts)))]:
        raise ValueError(f"{where} is a {kind} whose parts are not numbered in order")
    inner = {k: filled(p, path_to(where, kind, k), arrays, depth + 1) for k, p in parts.items()}
    return {"kind": str(kind), "parts": inner}


def _check_path(where: str, depth: int) -> None:
    """Refuse what only an attack, or a mistake, would nest so deep or name so long."""
    if depth == DEPTH:
        raise ValueError(f"{where} stands in more than {DEPTH} containers; save a flatter tree.")
    if len(where) > LENGTH:
        raise ValueError(f"{where[:40]}… is a path of {len(where)} characters; give shorter keys.")


def _restored(array: np.ndarray, node: Node) -> Any:
    if node["kind"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=node["dtype"])
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.name != node["dtype"] and np.dtype(node["dtype"]).isbuiltin == 2:
        array = array.view(node["dtype"])  # bfloat16 and its like were stored as integers
    with contextlib.suppress(TypeError, RuntimeError):  # either way JAX says it has no such dtype
        if jnp.asarray(np.zeros(1, array.dtype)).dtype == array.dtype:
            return jnp.asarray(array)
    return array


def build(node: Node, where: str, seen: dict[str, Any]) -> Any:
    """The tree of a filled node, with the NamedTuples `seen` in `like`."""
    kind = node["kind"]
    if "leaf" in node:
        return node["leaf"]
    parts = {k: build(p, path_to(where, kind, k), seen) for k, p in node["parts"].items()}
    if kind in STEPS:
        return parts if kind == "dict" else {"list": list, "tuple": tuple}[kind](parts.values())
    named: Any = type(seen[where]) if where in seen else OWN.get(kind)
    if named is None or {*named._fields} != {*parts}:
        mend = "give like=, a tree of the same structure with that class in its place."
        raise TypeError(f"{where} was saved as the NamedTuple {kind}({', '.join(parts)}); {mend}")
    return named._make(parts[field] for field in named._fields)
