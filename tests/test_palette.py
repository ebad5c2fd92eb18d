"""Colours that everyone can tell apart and read, verdicts that need no colour, headings in order.

Contrast is WCAG's ratio. Colour vision is simulated with the matrices of Machado, Oliveira and Fernandes (2009) at full
severity; distance is Lab's Euclidean one (CIE76), where about 2 is the least that an eye sees side by side.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.colors import to_hex
from matplotlib.text import Text
from numpy.typing import NDArray

from grader import report
from grader.kit import Kit
from grader.model import CheckResult, CriterionResult, Facts, Report, Verdict
from labs.helpers.charts import canvas, route

Colour = NDArray[np.float64]  # red, green, blue of linear light, 0 to 1

KIT = Kit(ROOT)
READABLE = 4.5  # WCAG AA for text of usual size
VISIBLE = 3.0  # WCAG AA for what is not text
APART = 20  # ten times what an eye sees side by side: marks in a figure lie far from each other
TEMPLATE = (ROOT / "grader" / "report.html").read_text()
FIGURES = {"blue": canvas.BLUE, "orange": canvas.ORANGE, "grey": canvas.GREY}
VERDICTS = dict(re.findall(r"\.lab \.v\.(\w+) \{ color: (#\w+) \}", TEMPLATE))

VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> Colour:
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    part = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str = "#ffffff") -> float:
    light = sorted(float(TO_XYZ[1] @ linear(c)) for c in (one, other))
    return (light[1] + 0.05) / (light[0] + 0.05)


def lab(colour: Colour) -> Colour:
    scaled = TO_XYZ @ colour / (TO_XYZ @ np.ones(3))
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one: str, other: str, vision: str) -> float:
    seen = [lab(np.clip(VISION[vision] @ linear(c), 0, 1)) for c in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def test_the_yardsticks() -> None:
    assert contrast("#000") == pytest.approx(21) and contrast("#767676") == pytest.approx(4.54, abs=0.01)
    assert distance("#000000", "#ffffff", "usual") == pytest.approx(100, abs=0.1)
    assert distance("#ff0000", "#00ff00", "usual") > 150
    assert distance("#a06000", "#608000", "deuteranopia") < APART < distance("#a06000", "#608000", "usual")


def test_figures_are_readable_on_white() -> None:
    assert contrast(canvas.BLUE) >= READABLE and contrast(canvas.GREY) >= READABLE
    assert contrast(canvas.ORANGE) >= VISIBLE


def test_orange_is_for_marks_and_never_for_text() -> None:
    for path in sorted((ROOT / "labs" / "helpers").glob("*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                words = {n.id for k in call.keywords for n in ast.walk(k.value) if isinstance(n, ast.Name)}
                assert call.func.attr != "text" or "ORANGE" not in words, f"{path.name}:{call.lineno}"
    for text in route.draw().figure.findobj(Text):
        assert contrast(to_hex(text.get_color())) >= READABLE, text.get_text()


def test_text_in_the_report_is_readable() -> None:
    colours = set(re.findall(r"[^-]color: (#\w+)", TEMPLATE))
    assert set(VERDICTS.values()) < colours
    for colour, background in itertools.product(colours, ("#fff", "#f4f4f4")):
        assert contrast(colour, background) >= READABLE, f"{colour} on {background}"


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", [FIGURES, VERDICTS], ids=["figures", "verdicts"])
def test_colours_stay_apart(palette: dict[str, str], vision: str) -> None:
    for one, other in itertools.combinations(palette, 2):
        apart = distance(palette[one], palette[other], vision)
        assert apart >= APART, f"{one} and {other} are {apart:.0f} apart"


def test_helpers_take_every_colour_from_the_palette() -> None:
    """A colour of one's own would escape the tests above."""
    for path in sorted((ROOT / "labs" / "helpers").glob("*.py")):
        if path.name != "paint.py":
            assert not re.findall(r"""["'](?:#[0-9A-Fa-f]{6}|C\d|red|green|blue|orange)["']""", path.read_text()), path


def made_report() -> Report:
    """One criterion of each verdict, under the ids of the kit's own criteria."""
    criteria = []
    for verdict, known in zip(Verdict, KIT.criteria(), strict=False):
        seen = {"found": "one thing", "wanted": "another"}
        criteria.append(
            CriterionResult(known.id, known.title, verdict, 1.0, (CheckResult("a-check", verdict, "why", seen),))
        )
    machine: Facts = {"system": "x", "python": "3", "cpus": 1, "memory_gib": 1, "packages": {}}
    return Report("now", machine, ({"id": "P1", "text": "an answer", "at": ""},), tuple(criteria))


class Page(HTMLParser):
    """The page's headings as levels, and the text inside each element that carries a verdict's class."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.said: list[tuple[str, str]] = []
        self._within: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        classes = (dict(attrs).get("class") or "").split()
        self._within = next((c for c in classes if c in VERDICTS), None) if "v" in classes else None

    def handle_data(self, data: str) -> None:
        if self._within:
            self.said.append((self._within, data))
            self._within = None


def test_each_verdict_stands_in_words_beside_its_colour() -> None:
    page = Page(report.to_html(made_report(), KIT))
    assert {verdict for verdict, _ in page.said} == {v.value for v in Verdict} == set(VERDICTS)
    for verdict, words in page.said:
        assert verdict.replace("_", " ") in words
    assert len({report.SIGNS[v][0] for v in Verdict}) == len(Verdict), "the signs differ in shape, too"


def jumps(levels: list[int]) -> list[str]:
    """Where a heading lies more than one level below the one before it."""
    return [f"h{a} then h{b}" for a, b in itertools.pairwise(levels) if b > a + 1]


def test_headings_of_the_report_are_in_order() -> None:
    levels = Page(report.to_html(made_report(), KIT)).headings
    assert levels[0] == 1 and levels.count(1) == 1 and not jumps(levels)


@pytest.mark.parametrize("folder", ["labs", "solutions"])
def test_headings_of_each_notebook_are_in_order(folder: str) -> None:
    books = sorted((ROOT / folder).glob("[0-9][0-9]_*.ipynb"))
    assert books
    for path in books:
        cells = json.loads(path.read_text())["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        levels = [
            len(marks) for marks in re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
        ]
        assert levels[0] == 1 and levels.count(1) == 1 and not jumps(levels), f"{path.name}: {levels}"
