"""Code blocks of a Markdown page, run in order; what they print is compared with the page."""

import ast
import contextlib
import io
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?")


def imports(page):
    """The modules that the page's python blocks import."""
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf8"))
    nodes = [node for kind, code in blocks if kind == "python" for node in ast.walk(ast.parse(code))]
    names = [name.name for node in nodes if isinstance(node, ast.Import) for name in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def outputs(page):
    """Run the page's python blocks in one namespace: (code, what the page shows or None, what it printed)."""
    names, results = {"__name__": "page"}, []
    blocks = BLOCK.findall((ROOT / page).read_text(encoding="utf8"))
    for (kind, code), following in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"{page}: {code.splitlines()[0]}", "exec"), names)
        shown = following[1] if following[0] == "text" else None
        results.append((code, shown, printed.getvalue()))
    return results


def agree(shown, printed):
    """The same words, and numbers equal to one in the last printed digit, or to 2 %."""
    if NUMBER.sub("#", shown).split() != NUMBER.sub("#", printed).split():
        return False
    return all(map(_close, NUMBER.findall(shown), NUMBER.findall(printed)))


def _close(shown, printed):
    digits = shown.partition("e")[0].partition(".")[2]
    last = 10.0 ** -len(digits) if "e" not in shown else 0
    a, b = (float(text.replace(",", "")) for text in (shown, printed))
    return abs(a - b) <= max(1.001 * last, 0.02 * abs(a))
