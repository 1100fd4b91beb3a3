"""a pytree ↔ a file: `save` keeps every bit of the arrays, `load` gives them back.

A checkpoint is a zip of .npy files, as `np.savez` writes; `np.load` opens it without pickle. Arrays
stand under their paths ("tree['layers'][0]['weight']"), bfloat16 and its like as integers of the
same bits, random keys as their numbers; beside them "structure", a JSON text as uint8: the format's
version, the tree's containers and Python values, and each array's dtype and shape.
"""

import contextlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data import Labels, Standardizer
from fnn.encoding import Category, Encoder, Number

__all__ = ["load", "save"]

Node = dict[str, Any]  # kind, with: parts; or value; or dtype, shape and entry
VERSION = 1
PREPARATION = (Category, Encoder, Labels, Number, Standardizer)  # what load knows without `like`
OWN: dict[str, Any] = {f"fnn.{kind.__qualname__}": kind for kind in PREPARATION}
STEPS = {"dict": "[{!r}]", "list": "[{}]", "tuple": "[{}]"}  # from a container in; else ".{}"
VALUES: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "NoneType": (type(None), repr, lambda text: None),
    "bool": (bool, repr, lambda text: text == "True"),
    "int": (int, hex, lambda text: int(text, 16)),  # Python limits the length of decimals
    "float": (float, repr, float),
    "complex": (complex, repr, complex),
    "str": (str, str, str),
}


def save(path: str | os.PathLike[str], tree: object) -> None:
    """Write a tree to the file `path`, used as given, whole or not at all.

    A tree is dicts with str keys, lists, tuples and NamedTuples of JAX and NumPy arrays, random
    keys, bool, int, float, complex, str and None; anything else is a TypeError. The new file takes
    the old one's place in one step: a reader meets the one or the other, and a failed save leaves
    the old one as it was. Equal trees give equal files.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     sorted(np.load(folder + "/network.fnn", allow_pickle=False))
    ['structure', "tree['weight']"]
    """
    name, seen = os.fsdecode(path), dict[str, Any]()
    text = json.dumps({"version": VERSION, "tree": _describe(tree, "tree", seen)})
    entries = {"structure": np.frombuffer(text.encode(), np.uint8)}
    entries |= {where: leaf for where, leaf in seen.items() if _entry_kind(leaf)}
    with _whole_file(name) as file, zipfile.ZipFile(file, "w") as archive:
        for where, leaf in entries.items():
            member = zipfile.ZipInfo(where + ".npy")  # dated 1980, always
            with archive.open(member, "w", force_zip64=True) as entry:  # may pass 2 GiB
                np.lib.format.write_array(entry, _stored(leaf, where), allow_pickle=False)


def load(path: str | os.PathLike[str], like: object = None) -> Any:
    """The tree that `save` wrote to the file `path`.

    With `like`, a tree of arrays, keys, `jax.ShapeDtypeStruct`s and Python values (each for any of
    its type) such as `jax.eval_shape(network.init, key, x)`, it has that structure, shapes, dtypes.
    Without, the only NamedTuples known are those of prepared data (Labels, Standardizer, Encoder).
    Arrays come as JAX arrays of the saved dtype, or as NumPy arrays where JAX has no such dtype
    (float64 and int64 while x64 is off, text), so that no bit is lost. A damaged or foreign file,
    and one unlike `like`, is a ValueError; a NamedTuple that needs `like` a TypeError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(folder + "/network.fnn", {"weight": jnp.ones(2), "epoch": 7})
    ...     load(folder + "/network.fnn", like={"weight": jnp.zeros(2), "epoch": 0})
    {'weight': Array([1., 1.], dtype=float32), 'epoch': 7}
    """
    name, seen = os.fsdecode(path), dict[str, Any]()
    tree, arrays = _read(name)
    found = [] if like is None else [*_differences(_describe(like, "tree", seen), tree, "tree")]
    if found:
        rest = [f"and {len(found) - 5} more"] if len(found) > 5 else []
        lines = [f"{name!r} does not fit `like`:", *found[:5], *rest]
        raise ValueError("\n  ".join(lines) + "\nMake `like` with the same network and optimizer.")
    return _build(tree, "tree", arrays, seen)


def _describe(tree: Any, where: str, seen: dict[str, Any]) -> Node:
    """What the JSON text says of values or shapes; `seen` collects what it cannot hold, by path."""
    kind, entry, parts = _class_name(type(tree)), _entry_kind(tree), _parts(tree, where)
    if kind in VALUES and VALUES[kind][0] is type(tree):
        return {"kind": kind, "value": VALUES[kind][1](tree)}
    seen[where] = tree
    if entry:
        return {"kind": entry, "dtype": _dtype(tree, where), "shape": [*tree.shape], "entry": where}
    if parts is None:
        raise TypeError(
            f"{where} is of type {kind}, which is no data; give arrays, keys, numbers, strings, "
            "None in plain dicts, lists, tuples, NamedTuples; make functions anew where you load."
        )
    inner = {k: _describe(p, _step(where, kind, k), seen) for k, p in parts.items()}
    return {"kind": kind, "parts": inner}


def _entry_kind(leaf: Any) -> str:
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


def _step(where: str, kind: str, name: str) -> str:
    return where + STEPS.get(kind, ".{}").format(name)


def _class_name(kind: type) -> str:
    """As users import it: fnn's own without a module, which may move, and Python's without one."""
    own, full = f"fnn.{kind.__qualname__}", f"{kind.__module__}.{kind.__qualname__}"
    return own if OWN.get(own) is kind else full.removeprefix("builtins.")


def _dtype(leaf: Any, where: str) -> str:
    """The name by which a dtype, or the implementation of a random key, is found again."""
    if _entry_kind(leaf) == "key":
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


def _differences(wanted: Node, saved: Node, where: str) -> Iterator[str]:
    if _label(wanted) != _label(saved):
        yield f"{where}: expected {_label(wanted)}, got {_label(saved)}"
        return
    ours, theirs = wanted.get("parts", {}), saved.get("parts", {})
    for k in ours | theirs:
        yield from _differences(ours.get(k, {}), theirs.get(k, {}), _step(where, saved["kind"], k))


def _label(node: Node) -> str:
    if "entry" in node:
        return f"{node['kind']} {node['dtype']} {tuple(node['shape'])}"
    return str(node.get("kind", "nothing")).rpartition(".")[2]  # a script's module may be __main__


def _build(node: Node, where: str, arrays: dict[str, Any], seen: dict[str, Any]) -> Any:
    """The tree that the JSON text describes, with the NamedTuples `seen` in `like`."""
    kind = node["kind"]
    if "entry" in node:
        return _restored(arrays[node["entry"]], node)
    if "value" in node:
        return VALUES[kind][2](node["value"])
    parts = {k: _build(p, _step(where, kind, k), arrays, seen) for k, p in node["parts"].items()}
    if kind in STEPS:
        return parts if kind == "dict" else {"list": list, "tuple": tuple}[kind](parts.values())
    named: Any = type(seen[where]) if where in seen else OWN.get(kind)
    if named is None or {*named._fields} != {*parts}:
        mend = "give like=, a tree of the same structure with that class in its place."
        raise TypeError(f"{where} was saved as the NamedTuple {kind}({', '.join(parts)}); {mend}")
    return named._make(parts[field] for field in named._fields)


def _stored(leaf: Any, where: str) -> np.ndarray:
    """An array as NumPy writes it anywhere: little-endian, in C order, of a dtype of its own."""
    if isinstance(leaf, jax.core.Tracer | jax.ShapeDtypeStruct):
        raise TypeError(f"{where} is a {type(leaf).__name__}, without numbers; save outside jit.")
    array = np.asarray(jax.random.key_data(leaf) if _entry_kind(leaf) == "key" else leaf, order="C")
    array = array.view(f"u{array.itemsize}") if array.dtype.isbuiltin == 2 else array
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _restored(array: np.ndarray, node: Node) -> Any:
    if node["kind"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=node["dtype"])
    array = array.astype(array.dtype.newbyteorder("="), copy=False).view(node["dtype"])
    with contextlib.suppress(TypeError, RuntimeError):  # either way JAX says it has no such dtype
        if jnp.asarray(np.zeros(1, array.dtype)).dtype == array.dtype:
            return jnp.asarray(array)
    return array


@contextlib.contextmanager
def _whole_file(name: str) -> Iterator[IO[bytes]]:
    """A file that takes its name only when all of it is on the disk."""
    target = os.path.realpath(name)  # a link stays a link
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"no folder {folder!r} for {name!r}; make it with os.makedirs.")
    if not os.path.basename(name) or (os.path.exists(target) and not os.path.isfile(target)):
        raise ValueError(f"{name!r} does not name a file; end the path with a file's name.")
    temporary = os.path.join(folder, f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # it is gone if all went well
            os.unlink(temporary)
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:  # where folders open
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        os.fsync(descriptor)


def _read(name: str) -> tuple[Node, dict[str, np.ndarray]]:
    """The tree of the JSON text, and every entry as it is stored."""
    try:
        with zipfile.ZipFile(name) as archive:
            text = json.loads(_entry(archive, "structure.npy").tobytes())
            if text["version"] != VERSION:
                raise ValueError(f"its format is {text['version']}, not {VERSION}; update fnn")
            return text["tree"], {n[: -len(".npy")]: _entry(archive, n) for n in archive.namelist()}
    except OSError:
        raise  # it names the file
    except Exception as error:
        raise ValueError(f"{name!r} cannot be read as a checkpoint: {error}") from error


def _entry(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    with archive.open(member) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # reading on to the end also checks the CRC
            raise ValueError(f"{member} is longer than its header says")
    return array
