"""Puts what the run files say into the pages: no figure of theirs is typed by hand."""

from __future__ import annotations

import re
from pathlib import Path

from figures.entries import HOLE, Entry, filled, lines_of, read_registry

VALUE = r"(?:\d+ min \d+ s|[\d.,:e+-]*\d|[a-z])"


def write_figures(root: Path) -> list[str]:
    """Every place where a page's words are an entry's and its figures are others; says what it changed."""
    said = []
    for entry in read_registry(root).of("measured"):
        try:
            path, wanted = root / entry.file, filled(entry, root)
        except ValueError:
            continue  # check() says why
        text = path.read_text()
        for found in list(pattern_of(entry).finditer(text)):
            if (now := re.sub(r"\s+", " ", found[0])) != wanted:
                text = text.replace(found[0], keep_breaks(found[0], wanted))
                said.append(f"{entry.file}: {now} -> {wanted}")
        path.write_text(text)
    return said


def write_tables(root: Path) -> list[str]:
    """Puts each table's rows, as its run file has them, below its head in the page."""
    said = []
    for entry in read_registry(root).of("table"):
        if not (root / entry["run"]).is_file():
            continue
        path, lines = root / entry.file, lines_of(entry, root)
        text = path.read_text()
        if not (found := re.search(rf"^{re.escape(lines[0])}\n(?:\|.*\n)+", text, re.M)):
            continue
        new = text.replace(found[0], "".join(f"{line}\n" for line in lines))
        if new != text:
            path.write_text(new)
            said.append(f"{entry.file}: the table of {entry['run']}")
    return said


def pattern_of(entry: Entry) -> re.Pattern[str]:
    """The entry's words with any value in their holes, and any white space between them."""
    words, pattern, at = entry.says, "", 0
    for hole in HOLE.finditer(words):
        pattern += re.escape(words[at : hole.start()]) + VALUE
        at = hole.end()
    return re.compile((pattern + re.escape(words[at:])).replace(r"\ ", r"\s+"))


def keep_breaks(old: str, new: str) -> str:
    """The new words with the old ones' line breaks, where there are as many of both."""
    gaps, words = re.findall(r"\s+", old), new.split(" ")
    if len(gaps) != len(words) - 1:
        return new
    return "".join(word + gap for word, gap in zip(words, [*gaps, ""], strict=True))
