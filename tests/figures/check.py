"""Holds pages, registry and run files to each other. Each problem is a sentence that says what to do."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

from figures.entries import FILE, Entry, Registry, date_of, files_of, filled, lines_of, read_registry, read_run, runs_of
from figures.places import Block, Page, read_pages
from figures.scan import Figure, find_figures

ADVICE = (
    f"A figure in no run file: measure it and register it in {FILE} ([[measured]]), say what else it is ([[setting]], "
    "[[quoted]]), or write the sentence without it."
)


@dataclass
class Checked:
    """`counts`: figures by the kind of their entry; `lost`: those without a run file, by entry."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    lost: list[tuple[Entry, list[Figure]]] = field(default_factory=list)


def check(root: Path) -> Checked:
    registry, pages = read_registry(root), read_pages(root)
    done = Checked(problems=[*run_problems(registry, root), *page_problems(registry, root)])
    made = {entry.file for entry in registry.of("page")}
    covers = list(read_covers(registry, root, done.problems))
    used = Counter[int]()
    lost: dict[int, list[Figure]] = {}
    for page in pages:
        if page.name in made:
            continue
        for figure, index in matched(page, covers, used):
            if index is None:
                done.problems.append(f"{figure.page}: {figure.text!r} is in no run file: ...{figure.around}...")
                continue
            kind = covers[index][0].kind
            done.counts[kind] += 1
            if kind == "lost":
                lost.setdefault(index, []).append(figure)
    done.lost = [(covers[index][0], found) for index, found in lost.items()]
    done.problems += [unused(entry, text) for index, (entry, text) in enumerate(covers) if not used[index]]
    return too_many_lost(done, registry)


def read_covers(registry: Registry, root: Path, problems: list[str]) -> Iterator[tuple[Entry, str]]:
    """Each entry with the words that it covers; a table's rows are words each."""
    for entry in registry.of("measured", "table", "lost", "quoted", "setting"):
        try:
            if entry.kind == "table":
                yield from [(entry, line) for line in lines_of(entry, root)[2:]]
            else:
                yield entry, filled(entry, root) if entry.kind == "measured" else entry.says
        except ValueError as wrong:
            problems.append(f"{entry.file}: {entry.told()!r}: {wrong}")


def matched(page: Page, covers: list[tuple[Entry, str]], used: Counter[int]) -> Iterator[tuple[Figure, int | None]]:
    """Each figure of the page with the number of the entry that covers it; `used` counts where entries' words are."""
    spans: dict[int, list[tuple[int, int, int]]] = {}
    for index, (entry, text) in enumerate(covers):
        if fnmatch(page.name, entry.file):
            for number, block in enumerate(page.blocks):
                for begin, end in found_in(block, entry, text):
                    used[index] += 1
                    spans.setdefault(number, []).append((begin, end, index))
    for figure in find_figures(page):
        around = [index for begin, end, index in spans.get(figure.block, []) if begin <= figure.begin < end]
        yield figure, around[0] if around else None


def found_in(block: Block, entry: Entry, text: str) -> Iterator[tuple[int, int]]:
    """Where in the block the entry's words are."""
    if entry["table"]:
        if block.table.startswith(entry["table"]):
            yield from cells(block.text, entry["columns"])
        return
    pattern = entry["like"] or re.escape(text)
    for found in re.finditer(pattern, block.text):
        yield found.span()


def cells(row: str, columns: list[int]) -> Iterator[tuple[int, int]]:
    """The places of these cells, counted from 1; without a choice, the whole row's."""
    bars = [found.start() for found in re.finditer(r"\|", row)]
    for column in columns or [0]:
        yield (bars[column - 1], bars[column]) if column else (0, len(row))


def unused(entry: Entry, text: str) -> str:
    if entry.kind in ("measured", "table"):
        return f"{entry.file} does not say {text!r}, which is what {entry['run']} says: write that, or measure again"
    return f"{FILE}: no page has {entry.told()!r} ({entry.file}): take the entry out, or write what the page says"


def run_problems(registry: Registry, root: Path) -> Iterator[str]:
    for name in runs_of(registry, root):
        try:
            read_run(root / name)
        except ValueError as wrong:
            yield f"{FILE}: {wrong}"


def page_problems(registry: Registry, root: Path) -> Iterator[str]:
    """A page that is made as a whole is what its run files make. (Pictures of the same function are not compared.) One
    that is not there, nor any of its run files, is not made yet."""
    for entry in registry.of("page"):
        paths = [root / run for run in files_of(entry, root)]
        if entry["runs"] and not any(path.exists() for path in [*paths, root / entry.file]):
            continue
        module, _, function = entry["by"].partition(":")
        try:
            made = getattr(import_module(module), function)(given_to(entry, paths))
        except Exception as broken:
            yield f"{entry.file}: {entry['by']} cannot make it: {type(broken).__name__}: {broken}"
            continue
        text = made.get(entry.file, "") if isinstance(made, dict) else made
        if not (root / entry.file).is_file() or (root / entry.file).read_text() != text:
            yield f"{entry.file} is not what {entry['by']} makes of its run files: `{entry['again']}` writes it"


def given_to(entry: Entry, paths: list[Path]) -> Any:
    if entry["given"] == "path":
        (only,) = paths
        return only
    if entry["given"] == "runs":
        return sorted(map(read_run, paths), key=lambda run: str(run["made"]))
    return paths


def too_many_lost(done: Checked, registry: Registry) -> Checked:
    if (count := done.counts["lost"]) > registry.lost_at_most:
        told = f"{count} figures have lost their run file, {registry.lost_at_most} may"
        done.problems.append(f"{FILE}: {told}: measure the new ones, or take them out")
    return done


def dates(root: Path) -> list[tuple[str, str]]:
    """(day, run file), the oldest first; those that cannot be read are among the problems."""
    found = []
    for name in runs_of(read_registry(root), root):
        with contextlib.suppress(ValueError):
            found.append((date_of(read_run(root / name)), name))
    return sorted(found)
