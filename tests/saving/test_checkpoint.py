import contextlib
import copy
import hashlib
import io
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import threading
import tracemalloc
import zipfile
from collections import OrderedDict, namedtuple
from typing import NamedTuple

import jax
import jax.extend.random
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data.encoding import encode
from fnn.data.labels import Labels
from fnn.data.standardize import Standardizer
from fnn.saving import checkpoint
from fnn.saving.checkpoint import load, save

HELD = ["bool", "int8", "int16", "int32", "uint8", "uint16", "uint32", "float16", "float32"]
HELD += ["complex64", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "int4", "uint4"]
WIDE = ["int64", "uint64", "float64", "complex128"]
SHAPES = [(), (0,), (3, 0, 2), (5,), (2, 3)]


class Point(NamedTuple):
    x: object
    y: object


def some_bits(dtype, shape, seed=0):
    """An array of random bits, NaNs of every payload among them."""
    dtype = np.dtype(dtype)
    raw = np.random.default_rng(seed).integers(0, 256, (*shape, dtype.itemsize), np.uint8)
    if dtype.kind == "b":
        raw %= 2
    if dtype.name.endswith("int4"):
        return (raw[..., 0] % 8).astype(dtype)
    return raw.view(dtype).reshape(shape)


def is_key(leaf):
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def bits(leaf):
    if is_key(leaf):
        return str(jax.random.key_impl(leaf)), bits(jax.random.key_data(leaf))
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        array = np.asarray(leaf)
        return array.dtype, array.shape, array.tobytes()
    if isinstance(leaf, float | complex):
        return type(leaf), np.array(leaf).tobytes()
    return type(leaf), leaf


def assert_same(ours, theirs):
    """The same containers, in the same order, with the same bits."""
    if isinstance(ours, dict | list | tuple):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        if isinstance(ours, dict):
            assert list(ours) == list(theirs)
            ours, theirs = ours.values(), theirs.values()
        for one, other in zip(ours, theirs):
            assert_same(one, other)
    else:
        assert bits(ours) == bits(theirs)


def round_trip(folder, tree, like=None):
    save(folder / "tree", tree)
    return load(folder / "tree", like)


def sealed(path):
    """The archive with the checksum that its bytes ask for, as a stranger could write it."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = bytes(71)
    content = path.read_bytes()[:-71]
    path.write_bytes(content + b"sha256 " + hashlib.sha256(content).hexdigest().encode())


def forge(path, structure, **entries):
    text = np.frombuffer(json.dumps(structure).encode(), np.uint8)
    with open(path, "wb") as file:
        np.savez(file, structure=text, **entries)
    sealed(path)


def text(message):
    return re.escape(message)


# What comes back


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", HELD)
def test_every_dtype_of_jax_comes_back_bit_for_bit(tmp_path, dtype, shape):
    array = some_bits(dtype, shape)
    for saved in (jnp.asarray(array), array):
        loaded = round_trip(tmp_path, saved)
        assert isinstance(loaded, jax.Array) and not loaded.committed and not loaded.weak_type
        assert bits(loaded) == bits(array)
        assert bits(round_trip(tmp_path, saved, like=jnp.zeros(shape, dtype))) == bits(array)


@pytest.mark.parametrize("dtype", WIDE)
def test_what_jax_cannot_hold_while_x64_is_off_comes_back_as_numpy(tmp_path, dtype):
    array = some_bits(dtype, (2, 3))
    loaded = round_trip(tmp_path, array)
    assert type(loaded) is np.ndarray and bits(loaded) == bits(array)
    assert bits(round_trip(tmp_path, array, like=array)) == bits(array)


@pytest.mark.parametrize("dtype", WIDE)
def test_with_x64_wide_numbers_come_back_as_jax_arrays(tmp_path, x64, dtype):
    array = some_bits(dtype, (2, 3))
    with x64():
        save(tmp_path / "wide", jnp.asarray(array))
        loaded = load(tmp_path / "wide")
        assert isinstance(loaded, jax.Array) and bits(loaded) == bits(array)
    assert type(load(tmp_path / "wide")) is np.ndarray
    with pytest.raises(
        ValueError, match=rf"tree: expected array (int|uint|float|complex)\d+ .*, got array {dtype} "
    ):
        load(tmp_path / "wide", like=jnp.asarray(np.zeros((2, 3), dtype)))


@pytest.mark.parametrize(
    "array",
    [
        np.array(["sea", "Ωmega", ""]),
        np.array([b"ab", b"\x00c"]),
        np.array("2024-02-29", "datetime64[D]"),
        np.array([3, -1], "timedelta64[s]"),
        np.arange(3, dtype=np.longdouble) / 3,
        np.zeros((2, 0), "U"),
    ],
    ids=lambda array: array.dtype.str,
)
def test_text_dates_and_long_doubles_come_back_as_numpy(tmp_path, array):
    loaded = round_trip(tmp_path, [array])[0]
    assert type(loaded) is np.ndarray and bits(loaded) == bits(array)


def test_the_layout_in_memory_is_not_kept_only_the_numbers(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for other in (np.asfortranarray(array), array.astype(">f4"), np.repeat(array, 2, 1)[:, ::2]):
        assert bits(round_trip(tmp_path, other)) == bits(array)


def test_a_numpy_scalar_comes_back_as_an_array_of_no_axes(tmp_path):
    loaded = round_trip(tmp_path, [np.float32(1.5), np.float64(0.1), np.bool_(True)])
    assert [bits(x) for x in loaded] == [bits(x) for x in (np.float32(1.5), np.float64(0.1), np.True_)]
    assert [isinstance(x, jax.Array) for x in loaded] == [True, False, True]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 2**64, -(10**5000), 0.1, -0.0, 5e-324, 1.7976931348623157e308),
        *(math.nan, math.inf, -math.inf, 1 / 3, complex(-0.0, 0.1), complex(0.0, -0.0)),
        *(complex(-0.0, -0.0), complex(math.nan, -math.inf), complex(math.inf, math.nan)),
        *("", "text", "'\"\\\n\0", "Ω🦆", "\udc80", "None", "True", "1"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) else hex(value)[:12],
)
def test_python_values_come_back_exactly(tmp_path, value):
    assert_same(round_trip(tmp_path, value), value)
    assert_same(round_trip(tmp_path, [value], like=[value]), [value])


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2), (0,)])
def test_random_keys_come_back_as_keys_of_their_kind(tmp_path, implementation, shape):
    key = jax.random.key(7, impl=implementation)
    keys = key if shape == () else jax.random.split(key, shape)
    loaded = round_trip(tmp_path, {"key": keys})["key"]
    assert loaded.dtype == keys.dtype and loaded.shape == shape
    np.testing.assert_array_equal(jax.random.key_data(loaded), jax.random.key_data(keys))
    assert jax.random.key_impl(loaded) == jax.random.key_impl(keys)
    assert_same(round_trip(tmp_path, keys, like=jax.eval_shape(lambda: keys)), keys)


def test_saving_a_key_does_not_use_it(tmp_path):
    key = jax.random.key(3)
    loaded = round_trip(tmp_path, key)
    assert jax.random.uniform(loaded) == jax.random.uniform(key)


def test_an_old_key_is_an_array(tmp_path):
    key = jax.random.PRNGKey(5)
    assert_same(round_trip(tmp_path, key), key)


def test_containers_and_the_order_of_their_keys_come_back(tmp_path):
    tree = {
        "z": [jnp.ones(2), (), [], {}, (1, (2.5, None))],
        "a": {"structure": jnp.zeros(1), "tree": "text", "": jnp.ones(())},
        "m": (jnp.zeros((0, 2)),),
    }
    assert_same(round_trip(tmp_path, tree), tree)
    assert_same(round_trip(tmp_path, tree, like=jax.tree.map(lambda leaf: leaf, tree)), tree)


@pytest.mark.parametrize(
    "name", ["a/b", "../up", "a'b", 'a"b', "\0", "x.npy", "Ω", "\udc80", "[0]", "\n", "a.b"]
)
def test_any_text_can_be_a_key_of_a_dict(tmp_path, name):
    tree = {name: jnp.arange(2.0), name + "'": jnp.arange(3), "other": {name: jnp.ones(1)}}
    assert_same(round_trip(tmp_path, tree), tree)
    assert os.listdir(tmp_path) == ["tree"]


def test_what_data_preparation_learned_comes_back_without_like(tmp_path):
    table = {"mass": [3.1, None, 4.2], "sex": ["f", "m", "f"]}
    scale = Standardizer(np.array([1 / 3, 2e5]), np.array([0.1, 7.0]))
    tree = {"scale": scale, "names": Labels(("adelie", "gentoo")), "encoder": encode(table)}
    loaded = round_trip(tmp_path, tree)
    assert_same(loaded, tree)
    assert loaded["names"].inverse([1, 0]) == ["gentoo", "adelie"]
    np.testing.assert_array_equal(loaded["encoder"](table), tree["encoder"](table))
    assert_same(round_trip(tmp_path, tree, like=tree), tree)


def test_standardized_numbers_are_the_same_after_loading(tmp_path):
    x = np.random.default_rng(0).normal(1e6, 1, (20, 3))
    scale = fnn.standardize(x)
    assert_same(round_trip(tmp_path, scale)(x), scale(x))


def test_a_finished_run_comes_back_as_one_and_goes_on(tmp_path):
    network, x = fnn.dense(1), np.ones((8, 2), np.float32)
    held = {"validation": (x, x[:, :1])}
    fitted = fnn.fit(network, fnn.mse, fnn.adam(), x, x[:, :1], key=jax.random.key(0), epochs=2, **held)
    again = round_trip(tmp_path, fitted)
    assert type(again) is fnn.Fitted and again.stopped == "epochs"
    assert_same(again.params, fitted.params)
    runs = (
        fnn.fit(network, fnn.mse, fnn.adam(), x, x[:, :1], state=f.state, epochs=1, **held)
        for f in (fitted, again)
    )
    assert_same(*(run.params for run in runs))


def test_a_named_tuple_of_another_class_needs_like(tmp_path):
    tree = {"at": Point(jnp.ones(2), [Point(1, "a")])}
    assert_same(round_trip(tmp_path, tree, like={"at": Point(jnp.zeros(2), [Point(0, "")])}), tree)
    message = r"tree\['at'\]\.y\[0\] was saved as the NamedTuple \S*test_checkpoint\.Point\(x, y\); "
    message += "give like=, a tree of the same structure that has the class there.$"
    with pytest.raises(TypeError, match=message):
        load(tmp_path / "tree")


def test_a_class_of_the_same_name_is_not_taken_for_fnns_own(tmp_path):
    structure = {"kind": "fnn.Labels", "parts": {"names": {"kind": "str", "value": "a"}}}
    forge(tmp_path / "tree", {"version": 2, "tree": structure})
    with pytest.raises(
        TypeError, match=text("tree was saved as the NamedTuple fnn.Labels(names); give like=")
    ):
        load(tmp_path / "tree")

    save(tmp_path / "tree", namedtuple("Labels", ["classes"])(("a",)))
    with pytest.raises(TypeError, match=r"NamedTuple \S*test_checkpoint\.Labels\(classes\); give like="):
        load(tmp_path / "tree")


def test_loading_imports_nothing_that_a_file_names(tmp_path):
    forge(tmp_path / "tree", {"version": 2, "tree": {"kind": "this.Zen", "parts": {}}})
    with pytest.raises(TypeError, match=text("tree was saved as the NamedTuple this.Zen(); give like=")):
        load(tmp_path / "tree")
    assert "this" not in sys.modules


def test_the_state_of_an_optimizer_comes_back_with_like(tmp_path):
    params = ({"weight": jnp.ones((2, 3)), "bias": jnp.zeros(3)}, None, ())
    optimizer = fnn.chain(fnn.clip_by_global_norm(1.0), fnn.adam(0.01))
    state = optimizer.update(params, optimizer.init(params), params)[1]
    assert_same(round_trip(tmp_path, state, like=jax.eval_shape(optimizer.init, params)), state)


def test_a_tree_of_parameters_comes_back_by_the_shapes_of_its_network(tmp_path):
    network = fnn.serial(fnn.dense(3), jax.nn.relu, fnn.freeze(fnn.dense(2)))
    x = jax.ShapeDtypeStruct((1, 4), jnp.float32)
    params = network.init(jax.random.key(0), x)
    shapes = jax.eval_shape(network.init, jax.random.key(1), x)
    assert_same(round_trip(tmp_path, params, like=shapes), params)


def test_random_trees_come_back(tmp_path):
    hypothesis = pytest.importorskip("hypothesis", reason="hypothesis draws the trees")
    st = hypothesis.strategies
    dtypes, shapes = st.sampled_from(HELD + WIDE), st.sampled_from(SHAPES)
    leaves = [st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.just(math.nan)]
    leaves += [st.complex_numbers(allow_nan=False), st.text(max_size=4)]
    leaves += [
        st.builds(some_bits, dtypes, shapes, st.integers(0, 99)),
        st.builds(jax.random.key, st.integers(0, 9)),
    ]

    def containers(inner):
        lists = st.lists(inner, max_size=3)
        dicts = st.dictionaries(st.text(max_size=3), inner, max_size=3)
        return st.one_of(lists, st.builds(tuple, lists), dicts, st.builds(Point, inner, inner))

    @hypothesis.settings(max_examples=60, derandomize=True, deadline=None, database=None)
    @hypothesis.given(st.recursive(st.one_of(leaves), containers, max_leaves=8))
    def comes_back(tree):
        assert_same(round_trip(tmp_path, [tree], like=[tree])[0], tree)

    comes_back()


# What the file is


def test_the_file_is_an_archive_of_named_arrays_without_pickle(tmp_path):
    half = jnp.array([1.0, -2.0], jnp.bfloat16)
    save(
        tmp_path / "tree", {"layers": [{"weight": jnp.ones((2, 3))}], "half": half, "key": jax.random.key(5)}
    )
    with np.load(tmp_path / "tree", allow_pickle=False) as entries:
        names = ["structure", "tree['layers'][0]['weight']", "tree['half']", "tree['key']"]
        assert list(entries) == names
        np.testing.assert_array_equal(entries[names[1]], np.ones((2, 3), np.float32))
        np.testing.assert_array_equal(entries[names[2]].view(jnp.bfloat16), np.asarray(half))
        np.testing.assert_array_equal(entries[names[3]], np.array([0, 5], np.uint32))
        structure = json.loads(bytes(entries["structure"]))
    assert structure["version"] == 2
    assert structure["tree"]["parts"]["half"] == {
        "kind": "array", "dtype": "bfloat16", "shape": [2], "entry": "tree['half']",
    }  # fmt: skip


def test_a_single_array_is_named_tree(tmp_path):
    save(tmp_path / "one", jnp.arange(3))
    with np.load(tmp_path / "one", allow_pickle=False) as entries:
        assert entries["tree"].tolist() == [0, 1, 2]


def test_equal_trees_give_equal_files(tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name, other in enumerate((array, jnp.asarray(array), np.asfortranarray(array), array.astype(">f4"))):
        save(tmp_path / str(name), {"weight": other, "text": "a"})
    assert len({file.read_bytes() for file in tmp_path.iterdir()}) == 1
    with zipfile.ZipFile(tmp_path / "0") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_path_is_used_as_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("plain", "with.dots.npz", pathlib.Path("~"), b"bytes"):
        save(path, 1)
        assert load(path) == 1
    assert sorted(os.listdir()) == ["bytes", "plain", "with.dots.npz", "~"]


def test_a_new_file_has_the_permissions_of_any_new_file(tmp_path):
    save(tmp_path / "ours", 1)
    (tmp_path / "theirs").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_file_keeps_its_permissions(tmp_path):
    save(tmp_path / "tree", 1)
    (tmp_path / "tree").chmod(0o600)
    save(tmp_path / "tree", 2)
    assert (tmp_path / "tree").stat().st_mode & 0o777 == 0o600 and load(tmp_path / "tree") == 2


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "folder" / "one")
    save(tmp_path / "latest", 1)
    assert (tmp_path / "latest").is_symlink() and load(tmp_path / "folder" / "one") == 1


def test_another_process_reads_the_same_bits(tmp_path):
    tree = {"weight": some_bits("float32", (2, 3)), "half": some_bits("bfloat16", (2,)), "rate": 0.1}
    save(tmp_path / "tree", tree)
    program = (
        "import sys, numpy as np; from fnn.saving.checkpoint import load, save; tree = load(sys.argv[1]);"
        "print(np.asarray(tree['weight']).tobytes().hex(), tree['half'].dtype, tree['rate'].hex());"
        "save(sys.argv[2], tree)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "tree"), str(tmp_path / "copy")]
    root = pathlib.Path(fnn.__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.split() == [tree["weight"].tobytes().hex(), "bfloat16", (0.1).hex()]
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "tree").read_bytes()


# What is refused


class Thing:
    pass


@pytest.mark.parametrize(
    "value, kind",
    [
        (math.sqrt, r"builtin_function_or_method"),
        (lambda x: x, r"function"),
        ({1, 2}, r"set"),
        (b"bytes", r"bytes"),
        (range(3), r"range"),
        (Thing(), r"\S*test_checkpoint\.Thing"),
        (Thing, r"type"),
        (jax.tree_util.Partial(math.sqrt), r"\S*Partial"),
        (OrderedDict(a=1), r"collections\.OrderedDict"),
        (np.ma.masked_array([1.0], [True]), r"numpy\.ma\S*\.MaskedArray"),
        (np.dtype("float32"), r"numpy\S*Float32DType"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_what_is_not_data_is_refused(tmp_path, value, kind):
    message = rf"^tree\['params'\]\[1\] is of type {kind}, which is not data. Save arrays, keys, numbers, "
    message += "strings and None in plain dicts, lists, tuples and NamedTuples. "
    message += "Create functions again where you load.$"
    with pytest.raises(TypeError, match=message):
        save(tmp_path / "tree", {"params": [1, value]})
    with pytest.raises(TypeError, match=message):
        round_trip(tmp_path, 1, like={"params": [1, value]})
    assert os.listdir(tmp_path) == ["tree"]


def test_a_network_is_refused_at_its_first_function(tmp_path):
    with pytest.raises(TypeError, match=r"^tree\.init is of type \S+, which is not data"):
        save(tmp_path / "network", fnn.dense(3))


@pytest.mark.parametrize(
    "key, kind", [(0, "int"), (None, "NoneType"), ((1,), "tuple"), (np.str_("a"), r"numpy\.str_")]
)
def test_keys_that_are_not_text_are_refused(tmp_path, key, kind):
    message = rf"^tree\[0\] has the key .* of type {kind}; give str keys, or a list.$"
    with pytest.raises(TypeError, match=message):
        save(tmp_path / "tree", [{key: 1}])


@pytest.mark.parametrize(
    "array",
    [
        np.array([None]),
        np.zeros(2, "f4,i4"),
        np.zeros(2, "V3"),
        np.zeros((), jax.dtypes.float0),
        np.array(["a"], np.dtypes.StringDType()),
    ],
    ids=lambda array: str(array.dtype),
)
def test_arrays_of_objects_records_and_long_texts_are_refused(tmp_path, array):
    message = "which cannot be saved. Give numbers or bools; text as np.asarray(values, str); a key"
    with pytest.raises(TypeError, match=text("tree['a'] has the dtype ") + ".*" + text(message)):
        save(tmp_path / "tree", {"a": array})


def test_a_key_of_an_implementation_without_a_name_is_refused(tmp_path):
    implementation = jax.extend.random.define_prng_impl(
        key_shape=(1,),
        seed=lambda seed: jnp.zeros(1, jnp.uint32),
        split=lambda key, shape: jnp.zeros((*shape, 1), jnp.uint32),
        random_bits=lambda key, width, shape: jnp.zeros(shape, jnp.uint32),
        fold_in=lambda key, data: key,
        name="mine",
        tag="mine",
    )
    key = jax.random.wrap_key_data(jnp.zeros(1, jnp.uint32), impl=implementation)
    with pytest.raises(TypeError, match=text("tree[0] has the dtype key<mine>") + ".*jax.random.key_data"):
        save(tmp_path / "tree", [key])


def test_a_shape_and_a_traced_array_have_no_numbers_to_save(tmp_path):
    with pytest.raises(
        TypeError, match=text("tree[1] is a ShapeDtypeStruct, which has no numbers; save outside jit.")
    ):
        save(tmp_path / "tree", [jnp.ones(1), jax.ShapeDtypeStruct((2,), jnp.float32)])
    with pytest.raises(
        TypeError, match=r"^tree\['x'\] is a \w*Tracer, which has no numbers; save outside jit\."
    ):
        jax.jit(lambda x: save(tmp_path / "tree", {"x": x}))(1.0)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "no" / "tree"
    message = f"no folder {str(tmp_path / 'no')!r} for {str(path)!r}; make it with os.makedirs."
    with pytest.raises(FileNotFoundError, match=text(message)):
        save(path, 1)


@pytest.mark.parametrize("path", ["folder", "folder/", "new/", "pipe", ""])
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    os.mkfifo("pipe")
    with pytest.raises(
        ValueError, match=text(f"{path!r} does not name a file; end the path with a file's name.")
    ):
        save(path, 1)
    assert sorted(os.listdir()) == ["folder", "pipe"]


def test_the_path_comes_first(tmp_path):
    for wrong, got in ((lambda: save({"a": 1}, tmp_path / "tree"), "a dict"), (lambda: load(3), "a int")):
        with pytest.raises(TypeError, match=rf"expected the file's path first, such as .*, got {got}\.$"):
            wrong()


# like


SAVED = {
    "w": jnp.ones((2, 3)),
    "b": [jnp.zeros(2), 1],
    "s": "text",
    "k": jax.random.key(0),
    "p": Point(1.5, None),
}


@pytest.mark.parametrize(
    "change, line",
    [
        ({"w": jnp.ones((3, 2))}, "tree['w']: expected array float32 (3, 2), got array float32 (2, 3)"),
        ({"w": jnp.ones((2, 3), int)}, "tree['w']: expected array int32 (2, 3), got array float32 (2, 3)"),
        ({"w": "text"}, "tree['w']: expected str, got array float32 (2, 3)"),
        ({"w": 1.0}, "tree['w']: expected float, got array float32 (2, 3)"),
        ({"w": None}, "tree['w']: expected NoneType, got array float32 (2, 3)"),
        ({"w": {"a": jnp.ones(1)}}, "tree['w']: expected dict, got array float32 (2, 3)"),
        ({"b": (jnp.zeros(2), 1)}, "tree['b']: expected tuple, got list"),
        ({"b": [jnp.zeros(2)]}, "tree['b'][1]: expected nothing, got int"),
        ({"b": [jnp.zeros(2), 1, []]}, "tree['b'][2]: expected list, got nothing"),
        ({"b": [jnp.zeros(2), True]}, "tree['b'][1]: expected bool, got int"),
        ({"b": [jnp.zeros(2), jnp.int32(1)]}, "tree['b'][1]: expected array int32 (), got int"),
        ({"s": jnp.ones(1)}, "tree['s']: expected array float32 (1,), got str"),
        ({"new": jnp.ones(1)}, "tree['new']: expected array float32 (1,), got nothing"),
        ({"k": jax.random.key(0, impl="rbg")}, "tree['k']: expected key rbg (), got key threefry2x32 ()"),
        (
            {"k": jax.random.split(jax.random.key(0))},
            "tree['k']: expected key threefry2x32 (2,), got key threefry2x32 ()",
        ),
        ({"k": jax.random.PRNGKey(0)}, "tree['k']: expected array uint32 (2,), got key threefry2x32 ()"),
        ({"p": (1.5, None)}, "tree['p']: expected tuple, got Point"),
        ({"p": Labels(("a",))}, "tree['p']: expected Labels, got Point"),
        ({"p": Point(1.5, 2)}, "tree['p'].y: expected int, got NoneType"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_difference_from_like_is_told_with_its_place(tmp_path, change, line):
    save(tmp_path / "tree", SAVED)
    start = f"{str(tmp_path / 'tree')!r} does not match `like`:\n  "
    message = f"^{text(start + line)}\n{text('Make `like` with the network and optimizer that were saved.')}$"
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "tree", like=SAVED | change)


def test_an_entry_that_like_lacks_is_told(tmp_path):
    with pytest.raises(ValueError, match=text("`like`:\n  tree['s']: expected nothing, got str\nMake")):
        round_trip(tmp_path, SAVED, like={name: SAVED[name] for name in "kbwp"})


def test_fields_are_compared_by_name(tmp_path):
    class Point(NamedTuple):
        y: object
        x: object

    loaded = round_trip(tmp_path, SAVED["p"], like=Point(x=0.5, y=None))
    assert type(loaded) is Point and loaded == Point(x=1.5, y=None)

    other = namedtuple("Point", ["x", "z"])
    with pytest.raises(
        ValueError, match=text("tree.z: expected int, got nothing\n  tree.y: expected nothing")
    ):
        load(tmp_path / "tree", like=other(0.5, 1))


def test_five_differences_are_told_and_the_others_counted(tmp_path):
    tree = {f"w{i}": jnp.ones(1) for i in range(8)}
    for count in (5, 6, 8):
        like = {name: jnp.ones(2) if place < count else jnp.ones(1) for place, name in enumerate(tree)}
        with pytest.raises(ValueError, match="does not match") as caught:
            round_trip(tmp_path, tree, like=like)
        lines = str(caught.value).splitlines()
        assert [line.split(":")[0] for line in lines[1:6]] == [f"  tree['w{i}']" for i in range(5)]
        assert lines[6:-1] == ([f"  and {count - 5} more"] if count > 5 else [])


def test_python_values_in_like_stand_for_any_of_their_type(tmp_path):
    tree = {"epoch": 7, "rate": 0.5, "name": "run", "on": False, "z": 1j}
    assert_same(
        round_trip(tmp_path, tree, like={"epoch": 0, "rate": 1.0, "name": "", "on": True, "z": 0j}), tree
    )


# What else may go wrong


@contextlib.contextmanager
def old_file_kept(folder):
    """Whatever fails inside, the old file is as it was, alone in its folder."""
    save(folder / "tree", {"old": jnp.ones(3)})
    before = (folder / "tree").read_bytes()
    yield
    assert os.listdir(folder) == ["tree"] and (folder / "tree").read_bytes() == before
    assert_same(load(folder / "tree"), {"old": jnp.ones(3)})


@pytest.mark.parametrize("function", ["replace", "fsync"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt("stop")], ids=repr)
def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, function, error):
    def fails(*args):
        raise error

    with old_file_kept(tmp_path), monkeypatch.context() as patch:
        patch.setattr(os, function, fails)
        with pytest.raises(type(error), match=r"disk full|stop"):
            save(tmp_path / "tree", {"new": jnp.zeros(3)})


def test_a_save_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    written = []

    def fails_at_the_third(*args, **kwargs):
        written.append(args)
        if len(written) == 3:
            raise OSError("disk full")
        return write(*args, **kwargs)

    write = np.lib.format.write_array
    with old_file_kept(tmp_path), monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", fails_at_the_third)
        with pytest.raises(OSError, match="disk full"):
            save(tmp_path / "tree", [jnp.zeros(3), jnp.zeros(4)])
    assert len(written) == 3


def test_everything_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append("fsync"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("replace"), replace(*paths)))
    save(tmp_path / "tree", 1)
    assert calls == ["fsync", "replace", "fsync"]


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    def fails(*args):
        raise PermissionError("no folders here")

    monkeypatch.setattr(os, "open", fails)
    save(tmp_path / "tree", 1)
    assert load(tmp_path / "tree") == 1


def test_a_reader_never_meets_half_a_file(tmp_path):
    path, done, met = tmp_path / "tree", threading.Event(), []
    trees = [{"w": jnp.full(40_000, float(n)), "n": n} for n in range(2)]
    save(path, trees[0])

    def read():
        while not done.is_set() or len(met) < 2:
            tree = load(path)
            met.append(bool((np.asarray(tree["w"]) == tree["n"]).all()))

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(30):
        save(path, trees[turn % 2])
    done.set()
    reader.join()
    assert all(met) and len(met) > 1


def refused(path, reason):
    return pytest.raises(ValueError, match=text(f"{str(path)!r} cannot be read as a checkpoint: ") + reason)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(repr(str(tmp_path / "no")))):
        load(tmp_path / "no")


@pytest.mark.parametrize("content", [b"", b"some text\n", b"PK\x03\x04 but no more"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "tree").write_bytes(content)
    with refused(tmp_path / "tree", "it does not end with a SHA-256: it is no checkpoint, or its end"):
        load(tmp_path / "tree")


def test_another_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("notes.txt", "text", zipfile.ZIP_DEFLATED)
    np.savez(tmp_path / "b.npz", weight=np.ones(2))
    for name, reason in {
        "a.zip": "notes.txt is compressed",
        "b.npz": "it has no entry named 'structure'",
    }.items():
        with refused(tmp_path / name, "it does not end with a SHA-256"):
            load(tmp_path / name)
        sealed(tmp_path / name)
        with refused(tmp_path / name, reason):
            load(tmp_path / name)


def test_pickled_objects_are_refused_wherever_they_stand(tmp_path):
    objects = np.array([print, None])
    np.savez(tmp_path / "a.npz", structure=objects)
    sealed(tmp_path / "a.npz")
    array = {"kind": "array", "dtype": "float32", "shape": [2], "entry": "tree"}
    forge(tmp_path / "b.npz", {"version": 2, "tree": array}, tree=objects)
    for name in ("a.npz", "b.npz"):
        with refused(
            tmp_path / name, r"(structure|tree)\.npy contains pickled objects, which could run code"
        ):
            load(tmp_path / name)


def test_a_newer_format_is_refused(tmp_path):
    for version, fix in {3: "update fnn", 1: "save it again"}.items():
        forge(tmp_path / "tree", {"version": version, "tree": []})
        with refused(tmp_path / "tree", f"its format is {version}, not 2; {fix}"):
            load(tmp_path / "tree")


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path):
    save(tmp_path / "tree", {"w": some_bits("float32", (3,)), "n": 7})
    content = (tmp_path / "tree").read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (tmp_path / "tree").write_bytes(damaged)
        with refused(
            tmp_path / "tree", "it (is damaged: its bytes have the sha256 .*saved with|does not end)"
        ):
            load(tmp_path / "tree")


def test_a_file_cut_short_or_too_long_is_noticed_wherever_it_ends(tmp_path):
    save(tmp_path / "tree", {"w": some_bits("float32", (3,))})
    content = (tmp_path / "tree").read_bytes()
    for end in range(len(content)):
        (tmp_path / "tree").write_bytes(content[:end])
        with refused(tmp_path / "tree", "it does not end with a SHA-256: it is no checkpoint, or its end"):
            load(tmp_path / "tree")
    (tmp_path / "tree").write_bytes(content + b"0")
    with refused(tmp_path / "tree", ""):
        load(tmp_path / "tree")


# A stranger's file, whose checksum is right


ARRAY = {"kind": "array", "dtype": "float32", "shape": [2], "entry": "w"}


@pytest.mark.parametrize(
    "node, reason",
    [
        (ARRAY | {"shape": [3]}, r"tree should be float32 \[3\], but is float32 \[2\]"),
        (
            ARRAY | {"shape": [10**15]},
            r"tree should be float32 \[1000000000000000\], but is float32 \[2\]",
        ),
        (ARRAY | {"dtype": "int32"}, r"tree should be int32 \[2\], but is float32 \[2\]"),
        (ARRAY | {"dtype": "O"}, "tree should be O"),
        (ARRAY | {"dtype": "bfloat16"}, ""),
        (ARRAY | {"dtype": "float32, float32"}, ""),
        (ARRAY | {"dtype": "9" * 5000}, "malformed, SyntaxError"),  # found by fuzzing
        (ARRAY | {"kind": "key", "dtype": "threefry2x32"}, ""),
        (ARRAY | {"kind": "key", "dtype": "os.system"}, ""),
        (ARRAY | {"entry": "other"}, "malformed, KeyError: 'other'"),
        ({"kind": "list", "parts": {"0": ARRAY, "1": ARRAY}}, "malformed, KeyError: 'w'"),
        ({"kind": "int", "value": "7"}, "it has the entry w, which its structure does not name"),
        ({"kind": "int", "value": "seven"}, "invalid literal for int"),
        ({"kind": "int", "value": 7}, "malformed, TypeError"),
        ({"kind": "os.system", "value": "true"}, "malformed, KeyError: 'os.system'"),
        ({"kind": "list", "parts": [1, 2]}, "tree is a list whose items are not numbered in order"),
        (
            {"kind": "tuple", "parts": {"1": ARRAY, "0": ARRAY}},
            "tree is a tuple whose items are not numbered",
        ),
        ({"kind": "dict", "parts": [1, 2]}, "malformed, AttributeError"),
        ({"kind": "list"}, "malformed, KeyError: 'parts'"),
        ([], "malformed, TypeError"),
        (None, "malformed, TypeError"),
    ],
    ids=lambda value: str(value)[:90],
)
def test_a_structure_that_lies_is_refused(tmp_path, node, reason):
    forge(tmp_path / "tree", {"version": 2, "tree": node}, w=np.ones(2, np.float32))
    with refused(tmp_path / "tree", reason):
        load(tmp_path / "tree")


def test_containers_without_end_are_refused_by_save_and_by_load(tmp_path):
    tree, node = 1, {"kind": "int", "value": "0x1"}
    for _ in range(100):
        tree, node = [tree], {"kind": "list", "parts": {"0": node}}
    assert round_trip(tmp_path, tree) == tree
    with pytest.raises(ValueError, match=r"is nested in more than 100 containers; save a flatter tree\.$"):
        save(tmp_path / "tree", [tree])
    for deep in (101, 5000):
        text = '{"kind": "list", "parts": {"0": ' * deep + '{"kind": "int", "value": "1"}' + "}}" * deep
        content = np.frombuffer(f'{{"version": 2, "tree": {text}}}'.encode(), np.uint8)
        np.savez(tmp_path / "deep.npz", structure=content)
        sealed(tmp_path / "deep.npz")
        with refused(tmp_path / "deep.npz", "(tree.* is nested in more than 100|malformed, RecursionError)"):
            load(tmp_path / "deep.npz")


def test_paths_without_end_are_refused_by_save_and_by_load(tmp_path):
    name = "k" * 5000
    for tree in ({name: [1]}, {name: jnp.ones(1)}):
        with pytest.raises(
            ValueError, match=r"tree\['k+… is a path of 500\d characters; use shorter keys\.$"
        ):
            save(tmp_path / "tree", tree)
    assert round_trip(tmp_path, {name: 1}) == {name: 1}
    node = {"kind": "list", "parts": {"0": {"kind": "NoneType", "value": ""}}}
    forge(tmp_path / "tree", {"version": 2, "tree": {"kind": "dict", "parts": {name: node}}})
    with refused(tmp_path / "tree", r"tree\['k+… is a path of 500\d characters"):
        load(tmp_path / "tree")


def test_an_entry_that_begins_before_the_file_is_refused(tmp_path):
    """Found by fuzzing: the archive then seeks to a place that is none, an OSError without a file's name."""
    save(tmp_path / "tree", {"w": jnp.ones(2)})
    content = bytearray((tmp_path / "tree").read_bytes()[:-71])
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = (int.from_bytes(content[end + 16 : end + 20], "little") + 256).to_bytes(
        4, "little"
    )
    content = bytes(content)
    (tmp_path / "tree").write_bytes(content + b"sha256 " + hashlib.sha256(content).hexdigest().encode())
    with refused(tmp_path / "tree", r"malformed, OSError: \[Errno 22\] Invalid argument$"):
        load(tmp_path / "tree")


@pytest.mark.parametrize("header", ["__import__('os')", "(" * 900, "{'descr': 3}", "9" * 4400, ""], ids=len)
def test_a_header_of_no_array_is_refused_in_words(tmp_path, header):
    """Found by fuzzing: what Python's parser says of it holds an address in memory."""
    text = header.encode().ljust(117) + b"\n"
    bomb(tmp_path / "tree", ("structure.npy", b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text))
    with refused(tmp_path / "tree", r"structure\.npy has no valid array header$"):
        load(tmp_path / "tree")


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    def none_left(*args, **options):
        raise MemoryError("no memory left")

    save(tmp_path / "tree", {"w": jnp.ones(2)})
    monkeypatch.setattr(np.lib.format, "read_array", none_left)
    with pytest.raises(MemoryError, match="no memory left"):
        load(tmp_path / "tree")


def npy(shape, dtype="<f4", data=b""):
    """A .npy entry whose header may lie."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def bomb(path, *members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    sealed(path)


HUGE = 10**12
STRUCTURE = json.dumps({"version": 2, "tree": ARRAY | {"shape": [HUGE]}}).encode()
TEXT = ("structure.npy", npy((len(STRUCTURE),), "|u1", STRUCTURE))


def overlapping(path):
    """A thousand names for the same megabyte."""
    bomb(path, ("w.npy", npy((2**18,), data=bytes(2**20))))
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
    with zipfile.ZipFile(path, "a") as archive:
        for i in range(1000):
            twin = copy.copy(member)
            twin.filename = f"w{i}.npy"
            archive.filelist.append(twin)
        archive._didModify = True
    sealed(path)


BOMBS = {
    "a header that claims 4 TB": (
        lambda path: bomb(path, TEXT, ("w.npy", npy((HUGE,)))),
        r"w\.npy has 128 bytes, its header claims 40{2,}\d*",
    ),
    "a header that claims 4 TB of nothing": (
        lambda path: bomb(path, TEXT, ("w.npy", npy((HUGE,), "<U0"))),
        r"w\.npy has 128 bytes, its header claims 128",
    ),
    "64 megabytes of zeros, compressed to 64 kilobytes": (
        lambda path: bomb(path, ("structure.npy", npy((2**26,), "|u1", bytes(2**26))), method=zipfile.ZIP_DEFLATED),
        r"its entries claim 67108992 bytes, and the file has \d{5}$",
    ),
    "a thousand entries that are the same bytes": (overlapping, r"its entries claim \d{10} bytes, and the file has"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), BOMBS.values(), ids=BOMBS)
def test_a_lying_header_gets_no_memory(tmp_path, make, reason):
    make(tmp_path / "bomb")
    tracemalloc.start()
    try:
        with refused(tmp_path / "bomb", reason):
            load(tmp_path / "bomb")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


@pytest.mark.parametrize("name", ["../outside", "/tmp/fnn-outside", "a/../../outside"])
def test_names_of_entries_are_no_paths(tmp_path, name):
    (tmp_path / "inside").mkdir()
    forge(
        tmp_path / "inside" / "tree",
        {"version": 2, "tree": ARRAY | {"entry": name}},
        **{name: np.ones(2, "f4")},
    )
    assert_same(load(tmp_path / "inside" / "tree"), jnp.ones(2))
    assert os.listdir(tmp_path) == ["inside"] and os.listdir(tmp_path / "inside") == ["tree"]


def test_what_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path):
        with refused(name, "it is not a file"):
            load(name)


def test_a_full_disk_is_named(tmp_path):
    program = """
import resource, sys, fnn, numpy as np
fnn.save(sys.argv[1], {"old": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    fnn.save(sys.argv[1], {"new": np.zeros(10_000)})
except OSError as error:
    print(error)
print(fnn.load(sys.argv[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "tree"], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(rf"\[Errno \d+\] File too large: '{tmp_path}/tree'\n\{{'old': 1\}}\n", done.stdout)
    assert os.listdir(tmp_path) == ["tree"]


def test_the_public_names_are_load_and_save():
    assert checkpoint.__all__ == ["load", "save"]
