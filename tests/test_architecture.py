"""How the house is built: floors, sizes, names, docstrings, and what an import may cost."""

import ast
import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import fnn

ROOT = pathlib.Path(fnn.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# From the ground up: a wing imports from lower floors, and from itself.
FLOORS = [
    ["guard"],
    ["data", "network", "losses", "optimizers"],
    ["layers", "metrics"],
    ["workflow"],
    ["inspection", "saving"],
    ["run"],
]
FLOOR = {wing: floor for floor, wings in enumerate(FLOORS) for wing in wings}
# What a wing may know beside itself, where the floors alone would allow more.
KNOWS = {
    "data": {"guard"},
    "network": {"guard"},
    "losses": {"guard"},
    "optimizers": {"guard"},
    "layers": {"guard", "network"},
    "metrics": {"guard", "losses"},
    "run": set(FLOOR) - {"inspection"},  # looking never changes running
}
WORLD = {"run", "saving", "data.stream"}  # only they touch disk, clock, screen or lock


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix("__init__").removesuffix(".")


def imports(path):
    """The modules of fnn that a file imports, as names under fnn."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "fnn":
            yield node.module.removeprefix("fnn").removeprefix(".")


def public(path):
    """The public functions and classes that a file defines."""
    tree = ast.parse(path.read_text())
    kinds = ast.FunctionDef | ast.ClassDef
    return [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]


def wing_of(name):
    return name.split(".")[0]


def test_the_wings_are_those_of_the_design_and_small():
    entries = {path.name for path in ROOT.iterdir()} - {"__pycache__", "py.typed", "__init__.py"}
    assert entries == set(FLOOR)
    for wing in FLOOR:
        files = [path for path in (ROOT / wing).iterdir() if path.suffix == ".py" and path.stem != "__init__"]
        assert 1 <= len(files) <= 12, f"fnn/{wing} has {len(files)} files"
        assert not [path for path in (ROOT / wing).iterdir() if path.is_dir() and path.name != "__pycache__"]


def test_a_wing_imports_from_lower_floors_only():
    for path in FILES:
        wing = wing_of(module_name(path))
        for other in map(wing_of, imports(path)):
            if wing in ("", other):
                continue
            assert FLOOR[other] < FLOOR[wing], f"{path} imports fnn/{other}, which is no floor below"
            assert other in KNOWS.get(wing, FLOOR), (
                f"{path} imports fnn/{other}, which fnn/{wing} need not know"
            )


def test_no_wing_imports_in_a_circle():
    graph = {module_name(path): set(imports(path)) for path in FILES if path.stem != "__init__"}
    while leaves := {name for name, others in graph.items() if not others & set(graph)}:
        graph = {name: others for name, others in graph.items() if name not in leaves}
    assert not graph, f"these import one another: {sorted(graph)}"


def test_no_public_name_is_defined_twice_and_no_submodule_is_hidden_by_a_function():
    where = {}
    for path in FILES:
        for node in public(path):
            assert node.name not in where, f"{node.name} stands in {where[node.name]} and in {path}"
            where[node.name] = path
        if path.stem != "__init__":
            assert inspect.ismodule(getattr(sys.modules[f"fnn.{path.parent.name}"], path.stem)), path


def test_only_a_run_and_saving_touch_disk_clock_and_screen():
    outside = {"os", "time", "pathlib", "shutil", "tempfile", "io", "threading", "fcntl", "socket", "tqdm"}
    for path in FILES:
        name = module_name(path)
        if name in WORLD or wing_of(name) in WORLD:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not outside & {module.split(".")[0] for module in modules}, f"{path} imports {modules}"
            called = getattr(node, "func", None)
            assert getattr(called, "id", "") not in ("open", "print", "input"), f"{path} calls {called.id}"


def test_files_are_rooms():
    for path in FILES:
        lines = path.read_text().count("\n")
        assert lines <= 275, f"{path.name} has {lines} lines: does it hold two ideas?"


def test_functions_are_short_and_shallow():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            doc = ast.get_docstring(node, clean=False) or ""
            body = node.end_lineno - node.body[0].lineno - doc.count("\n")
            assert body <= 45, f"{path.name}: {node.name} has {body} lines of body"


def test_what_is_public_is_what_is_imported_into_the_package():
    offered = set()
    for path in FILES:
        name = module_name(path)
        module = sys.modules[f"fnn.{name}" if name else "fnn"]
        assert isinstance(module.__all__, list) and module.__all__ == sorted(module.__all__), path.name
        offered |= set(module.__all__) if name else set()
    assert offered == set(fnn.__all__)
    assert all(hasattr(fnn, name) for name in fnn.__all__)


def test_every_public_name_has_a_docstring_and_says_it_in_a_sentence():
    for path in FILES:
        assert ast.get_docstring(ast.parse(path.read_text())), path.name
        for node in public(path):
            doc = ast.get_docstring(node)
            assert doc, f"{path.name}: {node.name}"
            assert len(doc.splitlines()) <= 40, f"{path.name}: {node.name} is padded"


FORMULA = re.compile(r"[=←→·Σ√∂≤×↦]|\(n|\(…")
SOURCED = ["optimizers.gradient_descent", "optimizers.adaptive", "optimizers.adam_variants", "optimizers.decoupled", "losses.distribution", "losses.margin", "losses.penalty", "losses.alignment", "losses.several", "metrics.averages", "metrics.curves", "metrics.conformal", "metrics.temperature", "metrics.threshold", "metrics.ranking", "metrics.rates", "metrics.probability", "optimizers.lbfgs", "optimizers.levenberg_marquardt", "optimizers.transformations", "losses.regression",
           "losses.classification", "metrics.regression", "metrics.classification", "layers.linear", "layers.units",
           "layers.batch_norm", "layers.normalization", "layers.learned_activation",
           "layers.recurrent", "layers.attention", "layers.transformer", "layers.convolution"]  # fmt: skip


@pytest.mark.parametrize("name", fnn.__all__)
def test_every_public_docstring_has_a_formula_or_shapes_and_functions_a_doctest(name):
    thing = getattr(fnn, name)
    doc = inspect.getdoc(thing)
    if inspect.isclass(thing):
        return  # a value: its fields are its documentation
    assert FORMULA.search(doc), f"{name}: neither formula nor shapes"
    assert ">>>" in doc, f"{name}: no example"


@pytest.mark.parametrize("module", SOURCED)
def test_rules_costs_metrics_and_layers_name_their_source(module):
    for name in sys.modules[f"fnn.{module}"].__all__:
        doc = inspect.getdoc(getattr(fnn, name))
        assert name == "chain" or re.search(r"\b(1[89]|20)\d\d\b", doc), f"{name} names no source"


def test_every_public_function_is_in_the_readme():
    readme = (ROOT.parent / "README.md").read_text()
    functions = [name for name in fnn.__all__ if not inspect.isclass(getattr(fnn, name))]
    missing = [name for name in functions if not re.search(rf"`(fnn\.)?{name}\b", readme)]
    assert missing == []


PROBE = """
import jax, chex, time
names = lambda: dict(jax.config.values)
before, clock = names(), time.perf_counter()
import fnn
seconds = time.perf_counter() - clock
from jax._src import xla_bridge
assert names() == before, "the import changed JAX's configuration"
assert not xla_bridge._backends, "the import touched a device"
assert not {"optax", "sklearn", "matplotlib", "pandas", "tqdm"} & set(__import__("sys").modules)
print(seconds)
"""


def test_an_import_changes_no_configuration_and_touches_no_device():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
