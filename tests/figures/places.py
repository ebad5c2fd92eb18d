"""The pages that are looked at, as text in which every sentence is on one line. A page's blocks are paragraphs, rows of
tables, and comments of code; what is code is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGES = ("README.md", "CONTRIBUTING.md", "service/README.md", "manifests/**/*.md", "docs/*.md")
NOTEBOOKS, MANIFESTS = "solutions/[0-9]*.py", "manifests/**/*.yaml"
CODE = re.compile(r"`[^`]*`|\]\([^)]*\)")  # and where a link leads


@dataclass(frozen=True)
class Block:
    """A paragraph or a row of a table on one line; `table` is the head of the table that a row is in."""

    text: str
    table: str = ""

    def is_code(self, at: int) -> bool:
        return any(found.start() <= at < found.end() for found in CODE.finditer(self.text))


@dataclass(frozen=True)
class Page:
    """`name` is the path from the kit's root."""

    name: str
    blocks: list[Block] = field(default_factory=list)


def read_pages(root: Path) -> list[Page]:
    found = [Page(relative(root, p), list(read_markdown(p.read_text()))) for p in glob(root, *PAGES)]
    found += [Page(relative(root, p), list(read_notebook(p.read_text()))) for p in glob(root, NOTEBOOKS)]
    return found + [Page(relative(root, p), list(read_comments(p.read_text()))) for p in glob(root, MANIFESTS)]


def glob(root: Path, *patterns: str) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def read_markdown(text: str) -> Iterator[Block]:
    """Paragraphs (a list's points are paragraphs), rows, and the comments of its code."""
    lines, table, fenced = list[str](), "", False
    for line in [*text.splitlines(), ""]:
        fence, row = line.startswith("```"), line.startswith("|")
        code = fenced or fence or (line.startswith("    ") and not lines)
        begins = re.match(r"\s*([-*>]|#+|\d+\.) ", line) or (lines and lines[0].startswith("#"))
        ends = code or row or not line.strip() or begins
        if ends and lines:
            yield Block(joined(lines))
            lines = []
        fenced ^= fence
        table = (table or line) if row else ""
        if row:
            yield from [] if set(line) <= set("|-: ") else [Block(line.strip(), table)]
        elif code:
            yield from [Block(comment) for comment in comments_of(line)]
        elif line.strip():
            lines.append(line)


def read_notebook(source: str) -> Iterator[Block]:
    """The markdown cells of a source in jupytext's percent format."""
    for cell in re.split(r"^# %%", source, flags=re.M)[1:]:
        head, _, body = cell.partition("\n")
        if "[markdown]" in head:
            yield from read_markdown(re.sub(r"^# ?", "", body, flags=re.M))


def read_comments(source: str) -> Iterator[Block]:
    """Comments; those of lines that follow each other are one paragraph."""
    lines = list[str]()
    for line in [*source.splitlines(), ""]:
        alone = re.match(r"\s*#", line)
        if not alone and lines:
            yield Block(joined(lines))
            lines = []
        if alone:
            lines.append(re.sub(r"^\s*#+ ?", "", line))
        else:
            yield from [Block(comment) for comment in comments_of(line)]


def comments_of(line: str) -> list[str]:
    _, mark, said = line.partition(" # ")
    return [joined([said])] if mark else []


def joined(lines: list[str]) -> str:
    return re.sub(r"\s+", " ", " ".join(lines)).strip()
