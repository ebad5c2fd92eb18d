"""Every link in what people read leads to a file that is there, a heading that exists, or a well-formed address."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import jupytext
import pytest
from conftest import ROOT
from markdown_it import MarkdownIt
from markdown_it.token import Token

from grader.kit import Kit

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "service/README.md")]
SOURCES = sorted(ROOT.glob("solutions/[0-9]*.py"))


def find_links(text: str) -> list[str]:
    """Where its links and pictures lead. Code is not looked at: Markdown's own parser knows what is code."""

    def walk(tokens: list[Token]) -> Iterator[str]:
        for token in tokens:
            yield from (str(token.attrs[name]) for name in ("href", "src") if name in token.attrs)
            yield from walk(token.children or [])

    return list(walk(MarkdownIt("commonmark").enable("table").parse(text)))


def find_anchors(text: str) -> set[str]:
    """The names that GitHub gives to headings: small letters, hyphens for blanks, a number behind a repeated one."""
    tokens = MarkdownIt("commonmark").parse(text)
    names: list[str] = []
    for opening, inside in itertools.pairwise(tokens):
        if opening.type == "heading_open":
            said = "".join(t.content for t in inside.children or [] if t.type in ("text", "code_inline"))
            name = re.sub(r"[^\w\- ]", "", said.lower()).replace(" ", "-")
            names.append(f"{name}-{names.count(name)}" if name in names else name)
    return set(names)


def find_problem(link: str, page: Path, text: str, root: Path = ROOT) -> str:
    """Why a link on that page leads nowhere, or nothing. No network: an address outside is judged by its form."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        good = parts.scheme in ("http", "https") and re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.hostname or "")
        return "" if good and not re.search(r"\s|%20", link) else f"{link}: not an address"
    there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not there.is_relative_to(root) or not there.exists():
        return f"{link}: no such file"
    if parts.fragment and there != page and there.suffix != ".md":
        return f"{link}: {there.name} has no headings that a link can name"
    if parts.fragment and parts.fragment not in find_anchors(text if there == page else there.read_text()):
        return f"{link}: no such heading"
    return ""


def find_problems(page: Path, text: str, root: Path = ROOT) -> list[str]:
    return [problem for link in find_links(text) if (problem := find_problem(link, page, text, root))]


def read_words(source: Path) -> str:
    """The markdown cells of a notebook's source, as one page."""
    cells = jupytext.read(source).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert not find_problems(page, page.read_text())


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_links_of_a_notebook_lead_somewhere(source: Path) -> None:
    text = read_words(source)
    assert text.startswith("# ")
    assert not find_problems(source, text)


def test_the_table_of_labs_tells_the_minutes_that_the_labs_tell() -> None:
    told = re.findall(r"^\| \[(\d\d) .*?\| (\d+) \|", (ROOT / "README.md").read_text(), re.M)
    assert told == [(lab.number, str(lab.front["minutes"])) for lab in Kit(ROOT).labs()]


def test_the_drawing_has_words_and_loads_nothing() -> None:
    drawing = ElementTree.parse(ROOT / "docs/how-it-is-built.svg").getroot()
    words = {part.tag.rpartition("}")[2]: part.text or "" for part in drawing}
    assert words["title"] and len(words["desc"].split()) > 50
    assert not [part for part in drawing.iter() if any("href" in name for name in part.attrib)]


def test_the_readme_is_read_at_all() -> None:
    assert len(find_links((ROOT / "README.md").read_text())) > 10


BROKEN = [
    ("[a](gone.md)", "no such file"),
    ("![a picture](docs/gone.png)", "no such file"),
    ("| a | [b](gone.md) |\n|---|---|\n", "no such file"),
    ("[a](../outside.md)", "no such file"),
    ("[a](#gone)", "no such heading"),
    ("[a](there.md#gone)", "no such heading"),
    ("[a](there.py#part)", "has no headings"),
    ("[a](htp://example.org)", "not an address"),
    ("[a](https://example)", "not an address"),
    ("[a](<https://example.org/a b>)", "not an address"),
    ("[a][b]\n\n[b]: gone.md", "no such file"),
]
GOOD = [
    "# The *first* `part`, of two\n[a](#the-first-part-of-two)",
    "# Twice\n# Twice\n[a](#twice-1)",
    "[a](there.md)",
    "[a](there.md#a-part)",
    "[a](folder/)",
    "[a](https://example.org/a?b=c#d)",
    "`[a](gone.md)`",
    "    [a](gone.md)",
    "```\n[a](gone.md)\n```",
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page in a small repository, with neighbours."""
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "there.md").write_text("# A part\n")
    (root / "there.py").write_text("part = 1\n")
    (tmp_path / "outside.md").write_text("# Not ours\n")
    return root / "page.md"


@pytest.mark.parametrize(("text", "told"), BROKEN)
def test_a_broken_link_is_found(page: Path, text: str, told: str) -> None:
    page.write_text(text)
    (problem,) = find_problems(page, text, page.parent)
    assert told in problem


@pytest.mark.parametrize("text", GOOD)
def test_a_good_link_is_no_problem(page: Path, text: str) -> None:
    page.write_text(text)
    assert not find_problems(page, text, page.parent)
