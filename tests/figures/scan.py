"""What a figure is: a quantity that someone measured, or could have. Names, versions, ports and settings without a unit
are none; what looks like one and is a setting is said to be one in docs/numbers.toml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from figures.places import Block, Page

NUMBER = r"(?:\d(?:[\d,]*\d)?(?:\.\d+)?|\.\d+)"
UNIT = (
    r"(?:ms|milliseconds?|microseconds?|seconds?|s|minutes?|min|hours?|MB|MiB|GB|GiB|kB|KB|%|percent|points|times"
    r"|(?:texts|requests|answers)(?:/s| a second)|/s|a second|of a core|cores?|characters|tests|lines of code)"
)
RANGE = rf"{NUMBER}(?:\s?(?:to|and|-|–|/)\s?{NUMBER})?"  # noqa: RUF001
STATUSES = r"(?![1-5]\d\ds(?!\w))"  # "503s" are answers
FORMS = (
    rf"{RANGE}\s?{UNIT}(?!\w)",
    rf"{NUMBER} (?:of|of the|instead of) {NUMBER}(?![\w.-]*\w)",
    r"\d+:\d\d(?!\w)",  # minutes and seconds
    r"\d+(?:\.\d+)?e-?\d+",
    rf"{NUMBER}(?:, {NUMBER}){{2,}}(?![\w.-]\w)",  # a row of a table in words
)
PROSE = re.compile(rf"(?<![\w./:#-]){STATUSES}(?:{'|'.join(FORMS)})")
CELL = re.compile(rf"(?<![\w/:#-]){NUMBER}(?:-{NUMBER})?(?:[a-zA-Z%]+\b)?")


class Figure(NamedTuple):
    """A figure's text and where it is: the block's number in its page, and the place in the block."""

    page: str
    block: int
    begin: int
    end: int
    text: str
    around: str


def find_figures(page: Page) -> Iterator[Figure]:
    for number, block in enumerate(page.blocks):
        for begin, end in spans(block):
            around = block.text[max(0, begin - 50) : end + 30]
            yield Figure(page.name, number, begin, end, block.text[begin:end], around)


def spans(block: Block) -> Iterator[tuple[int, int]]:
    """Of the figures in it. A table's first column names things, so it is read as prose; its head is not read."""
    first = block.text.find("|", 1) if block.table else len(block.text)
    if block.table and block.table == block.text:
        return
    found = [one.span() for one in PROSE.finditer(block.text) if one.start() < first]
    found += [one.span() for one in CELL.finditer(block.text) if one.start() >= first]
    yield from [(begin, end) for begin, end in found if not block.is_code(begin)]
