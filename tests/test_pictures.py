"""The pictures in docs/images/ show what the examples draw today.

    python tests/test_pictures.py            draws them again

Each PNG carries the data that it shows. The tests draw the pictures anew, in memory, and compare the data.
Sections of an example that its picture does not need are left out: they take most of its time, and
tests/test_pages.py runs the whole example.
"""

import contextlib
import io
import json
import os
import re
import tempfile
import zlib

import markdown
import numpy as np
import pytest

IMAGES = markdown.ROOT / "docs" / "images"
LEFT_OUT = {  # of each picture's example
    "costs": ["The best constant"],
    "digits": ["Forward propagation and cost, before training"],
    "optimizer_race": ["A straight slope", "Digits"],
    "schedules": [],
    "small_and_exact": [
        *("Two problems", "Runs", "How many steps for the same cost", "A picture", "What holds"),
    ],
    "uncertainty": [],
}
SLOW = {"schedules", "uncertainty"}  # whose runs take long


def draw(example):
    """The figure that an example draws. Its file goes to a temporary folder."""
    path = markdown.ROOT / "examples" / f"{example}.py"
    sections = re.split(r"^# ── (?=.* ──)", path.read_text(encoding="utf8"), flags=re.M)
    titles = {section.partition(" ──")[0] for section in sections[1:]}
    assert titles.issuperset(LEFT_OUT[example]), f"{example}.py has the sections {titles}"
    names, here = {"__name__": "example", "__file__": str(path)}, os.getcwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            for section in sections:
                if section.partition(" ──")[0] not in LEFT_OUT[example]:
                    code = section if section is sections[0] else f"# {section}"
                    exec(compile(code, str(path), "exec"), names)
        finally:
            os.chdir(here)
    return names["figure"]


def shown(figure):
    """What a figure shows: its words, the points 0, 1, 2, 4, 8, … of each line, a checksum of each image."""
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    lines, images = [], []
    for axes in figure.findobj(Axes):
        for line in axes.get_lines():
            points = line.get_xydata()
            few = points[[0, *(2**n for n in range(20) if 2**n < len(points))]]
            lines.append([[float(f"{number:.5g}") for number in point] for point in few])
        images += [zlib.crc32(np.asarray(image.get_array(), np.float32)) for image in axes.get_images()]
    words = {markdown.NUMBER.sub("#", text.get_text()) for text in figure.findobj(Text)}
    return {"words": sorted(words), "lines": lines, "images": images}


def differences(kept, new):
    """Numbers may differ by 5 %, as they do between machines, and a sixth of the images may be others."""
    found = [f"only one has the words {word!r}" for word in set(kept["words"]) ^ set(new["words"])]
    if len(kept["lines"]) != len(new["lines"]):
        found.append(f"{len(kept['lines'])} lines, now {len(new['lines'])}")
    for number, (a, b) in enumerate(zip(kept["lines"], new["lines"], strict=False)):
        common = min(len(a), len(b))
        if not np.allclose(a[:common], b[:common], rtol=0.05, atol=0.005):
            found.append(f"line {number} was {a}, now {b}")
    others = len(set(kept["images"]) ^ set(new["images"])) // 2
    if len(kept["images"]) != len(new["images"]) or others > len(kept["images"]) / 6:
        found.append(f"{others} of {len(kept['images'])} images, now {len(new['images'])}, are others")
    return found


def redraw(example):
    """Write docs/images/<example>.png in 256 colours, with its data as compressed text."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    figure, file, info = draw(example), io.BytesIO(), PngInfo()
    figure.savefig(file, dpi=110)
    info.add_text("data", json.dumps(shown(figure)), zip=True)
    IMAGES.mkdir(exist_ok=True)
    picture = Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(IMAGES / f"{example}.png", pnginfo=info, optimize=True)


@pytest.mark.parametrize(
    "example", [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in LEFT_OUT]
)
def test_a_picture_shows_what_its_example_draws(example):
    pytest.importorskip("sklearn")
    matplotlib, image = pytest.importorskip("matplotlib"), pytest.importorskip("PIL.Image")
    with image.open(IMAGES / f"{example}.png") as picture:
        kept = json.loads(picture.text["data"])
    with matplotlib.rc_context():
        found = differences(kept, shown(draw(example)))
    assert not found, "\n".join([*found, "python tests/test_pictures.py draws the pictures again"])


def test_every_picture_is_drawn_by_an_example():
    assert {path.name for path in IMAGES.iterdir()} == {f"{example}.png" for example in LEFT_OUT}


def test_the_comparison_of_pictures_can_fail():
    kept = {"words": ["cost", "epoch #"], "lines": [[[0.0, 1.0], [1.0, 0.5]]], "images": [1, 2, 3, 4, 5, 6]}
    assert not differences(kept, kept)
    assert not differences(kept, kept | {"lines": [[[0.0, 1.02], [1.0, 0.49]]], "images": [6, 1, 2, 3, 4, 7]})
    for other in (
        {"words": ["cost", "step #"]},
        {"lines": [[[0.0, 1.0], [1.0, 0.6]]]},
        {"lines": 2 * kept["lines"]},
        {"images": [1, 2, 3, 4, 7, 8]},
        {"images": [1, 2, 3, 4, 5]},
    ):
        assert differences(kept, kept | other)


if __name__ == "__main__":
    for example in LEFT_OUT:
        redraw(example)
        print(f"drawn: docs/images/{example}.png")
