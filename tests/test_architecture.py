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

# From the ground up: a file imports only from floors below its own.
FLOORS = [
    ["functions", "parameters", "losses.mean", "archive"],
    ["layer", "columns", "losses.regression", "losses.classification", "optimizers.rule", "progress"],
    ["network", "modify", "wire", "layers.dense", "layers.dropout", "layers.flatten", "losses", "data",
     "arrays", "metrics.regression", "metrics.classification", "optimizers.gradient_descent",
     "optimizers.adaptive", "optimizers.transformations"],
    ["walk", "taps", "checks", "layers", "encoding", "metrics", "optimizers", "derivatives", "rows"],
    ["given", "objective"],
    ["evaluation", "summary", "state", "backprop", "words", "fingerprint", "gradient_check"],
    ["structure", "batches", "arguments", "explain"],
    ["training", "checkpoint", "setting"],
    ["rehearsal", "replay", "folder"],
    ["loop"],
    ["fit"],
    [""],
]  # fmt: skip
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


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


def test_every_file_has_its_floor_and_imports_only_from_below():
    assert {module_name(path) for path in FILES} == set(FLOOR)
    for path in FILES:
        name = module_name(path)
        for other in imports(path):
            assert FLOOR[other] < FLOOR[name], f"fnn/{name} imports fnn/{other}, which is no floor below"


def test_a_network_a_cost_and_an_optimizer_do_not_know_one_another():
    groups = {"layers": "layer network modify wire layers", "losses": "losses", "optimizers": "optimizers"}
    group = {name: g for g, names in groups.items() for name in names.split()}
    for path in FILES:
        here = group.get(module_name(path).split(".")[0])
        for other in imports(path):
            there = group.get(other.split(".")[0])
            assert None in (here, there) or here == there, f"{path.name} ({here}) imports {other}"


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
SOURCED = ["optimizers.gradient_descent", "optimizers.adaptive", "optimizers.transformations", "losses.regression",
           "losses.classification", "metrics.regression", "metrics.classification", "layers.dense", "layers.dropout"]  # fmt: skip


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
