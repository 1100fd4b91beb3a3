"""The checkpoint reader: whatever a file holds, `load` gives a tree or a clear refusal, and does nothing else.

A saved file is taken apart, spoilt at one of its levels (the text of its structure, the header of an array,
the entries of the archive, its bytes), and sealed again with the checksum that a stranger can compute too.
"""

import copy
import hashlib
import io
import json
import pathlib
import sys
import tempfile
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strange import NUMBERS, TEXTS, taken_or_refused

import fnn
from fnn.saving.archive import SEAL

TREES = [
    {"w": jnp.ones((2, 3)), "n": 7, "t": ("text", None, 0.5, [True, 1j])},
    jnp.arange(3, dtype=jnp.bfloat16),
    {"key": jax.random.key(3), "keys": jax.random.split(jax.random.key(1), 2), "wide": np.arange(2.0)},
    fnn.start(fnn.dense(2), fnn.adam(), jnp.ones((1, 2)), key=jax.random.key(0)),
    {"encoder": fnn.encode({"a": [1, 2, None], "b": ["x", "y", "x"]}), "names": fnn.labels(["a", "b"])},
    np.array(["2026-11-25", "2024-02-29"], "datetime64[D]"),
]


def parts_of(tree):
    """The entries of the file that a tree is saved to, by name, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        fnn.save(folder + "/tree", tree)
        with zipfile.ZipFile(folder + "/tree") as archive:
            return {name: archive.read(name) for name in archive.namelist()}


SAVED = [parts_of(tree) for tree in TREES]
TEXT = "structure.npy"

# The text of the structure -------------------------------------------------------------------------

WORDS = st.sampled_from(
    [
        *(
            "kind",
            "parts",
            "value",
            "dtype",
            "shape",
            "entry",
            "leaf",
            "version",
            "tree",
            "0",
            "1",
            "tree['w']",
        ),
        *("dict", "list", "tuple", "array", "key", "NoneType", "bool", "int", "float", "complex", "str"),
        *("float32", "bfloat16", "<f4", "<U2", "V4", "O", "threefry2x32", "rbg"),
        *("fnn.State", "fnn.Best", "fnn.RuleState", "fnn.Encoder", "fnn.Number", "fnn.Labels", "os.system"),
        *("0x7", "-0x1", "True", "nan", "1e999", "(1+2j)", "9" * 5000),
    ]
)
LEAVES = st.one_of(WORDS, st.none(), st.booleans(), NUMBERS, TEXTS)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, TEXTS), inner, max_size=4)),
    max_leaves=8,
)  # fmt: skip


def places(node):
    """Every dict or list in a JSON tree, with each key into it."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, part in pairs for found in [(node, key), *places(part)]]


@st.composite
def structures(draw, text):
    """The text with some of its words replaced, removed or added."""
    tree = json.loads(text[text.index(b"{", 64) :])
    for _ in range(draw(st.integers(1, 3))):
        found = places(tree)
        if not found:
            break
        copies = [copy.deepcopy(node[key]) for node, key in found]
        node, key = draw(st.sampled_from(found))
        if isinstance(node, dict) and draw(st.booleans()):
            del node[key]
            key = draw(WORDS)
        node[key] = draw(st.one_of(JSON, st.sampled_from(copies)))
    content = np.frombuffer(json.dumps(tree).encode(), np.uint8)
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


# The header of an array ----------------------------------------------------------------------------

DTYPES = [
    "<f4",
    ">f4",
    "<f8",
    "|u1",
    "|b1",
    "<U1",
    "|S0",
    "|V2",
    "|O",
    "<M8[D]",
    "<M8[3D]",
    [("a", "<f4")],
    "x",
    3,
]


@st.composite
def headers(draw, content):
    """An array whose header says something else; its numbers stay."""
    sizes = st.one_of(st.integers(-1, 9), st.sampled_from([2**31, 2**62, 10**30, True, 2.0, "3", None]))
    said = {
        "descr": draw(st.sampled_from(DTYPES)),
        "fortran_order": draw(st.sampled_from([False, True, 0, None])),
        "shape": tuple(draw(st.lists(sizes, max_size=3))),
    }
    text = draw(
        st.sampled_from([repr(said), str(said)[:-2], "(" * 900, "{" * 3000, "__import__('os')", "9" * 4400])
    )
    header = text.encode("latin1", "replace").ljust(117) + b"\n"
    length = draw(st.one_of(st.just(len(header)), st.integers(0, 65535)))
    version = draw(st.sampled_from([b"\1\0", b"\1\0", b"\2\0", b"\3\0", b"\x09\0"]))
    return b"\x93NUMPY" + version + length.to_bytes(2, "little") + header + content[128:]


# The file ------------------------------------------------------------------------------------------


def zipped(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content, method in entries:
            archive.writestr(zipfile.ZipInfo(name), content, method)
        archive.comment = bytes(SEAL)
    return file.getvalue()[:-SEAL]


def sealed(content):
    return content + b"sha256 " + hashlib.sha256(content).hexdigest().encode()


@st.composite
def files(draw):
    """The bytes of a file that was saved and spoilt at one of its levels."""
    parts = dict(draw(st.sampled_from(SAVED)))
    level = draw(st.sampled_from(["structure", "structure", "structure", "header", "entries", "bytes"]))
    name = draw(st.sampled_from(sorted(parts)))
    if level == "structure":
        parts[TEXT] = draw(structures(parts[TEXT]))
    if level == "header":
        parts[name] = draw(headers(parts[name]))
    stored, deflated, bzip = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2
    entries = [(name, content, stored) for name, content in parts.items()]
    if level == "entries":
        place = draw(st.integers(0, len(entries) - 1))
        strange = st.sampled_from(["../up.npy", "/tmp/x.npy", "", ".npy", "a" * 300, name, TEXT, "w\0.npy"])
        entries[place] = (
            draw(strange),
            draw(st.binary(max_size=64)),
            draw(st.sampled_from([stored, deflated, bzip])),
        )
        entries += entries[: draw(st.integers(0, 2))] if len({e[0] for e in entries}) == len(entries) else []
    content = bytearray(zipped(dict.fromkeys(entries)))
    if level == "bytes":
        for _ in range(draw(st.integers(1, 8))):
            end = draw(st.booleans())  # the archive's own table is at its end
            place = draw(st.integers(0, min(len(content) - 1, 200)))
            content[-1 - place if end else place] = draw(st.integers(0, 255))
        content = content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))]
    return sealed(bytes(content)) if draw(st.integers(0, 15)) else bytes(content)


# What reading may do -------------------------------------------------------------------------------

HARMLESS = (
    "compile",
    "object.__getattr__",
    "sys._getframe",
    "code.__new__",
    "builtins.id",
)  # a literal is compiled
done = []
watching = False


def watch(event, arguments):
    """Whatever Python itself is asked to do while a file is read."""
    if not watching:
        return
    reads = event == "open" and arguments[1] in ("rb", "r", None) and "w" not in str(arguments[1])
    if not reads and event not in HARMLESS:
        done.append((event, arguments[:1]))


sys.addaudithook(watch)
FOLDER = tempfile.TemporaryDirectory()
PATH = pathlib.Path(FOLDER.name) / "tree"


@given(files())
def reader(content):
    """A tree, which can be saved again and is then the same, or a refusal that names the file."""
    global watching
    PATH.write_bytes(content)
    loaded = []
    done.clear()
    tracemalloc.start()
    try:
        with taken_or_refused(
            ValueError, TypeError, saying=("cannot be read as a checkpoint: ", "give like=")
        ):
            watching = True
            loaded.append(fnn.load(PATH))
    finally:
        watching = False
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert not done, done
    assert peak < 2**23 + 100 * len(content), f"{peak} bytes for a file of {len(content)}"
    assert [path.name for path in PATH.parent.iterdir()] == ["tree"]
    for tree in loaded:
        fnn.save(PATH, tree)
        first = PATH.read_bytes()
        fnn.save(PATH, fnn.load(PATH))
        assert PATH.read_bytes() == first
