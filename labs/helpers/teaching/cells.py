"""Reads a learner's notebook, whatever an editor made of it, and finds in it each cell of the kit's."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from grader.errors import LabError
from labs.helpers.teaching.stubs import TODO, Stub, Stubs, find_keys, find_todos, written

ALIKE = 0.6  # of their lines two cells share, in order, to be one cell that was edited


@dataclass(frozen=True)
class Cell:
    """A code cell; `at` is its place among all cells of the notebook, from 1."""

    id: str
    source: str
    at: int

    @property
    def todos(self) -> list[str]:
        """The keys of its TODOs."""
        return [key for _, key in find_keys(self.source)]

    @property
    def is_todo_alone(self) -> bool:
        """A TODO with its stub and nothing else, of which an edited cell need not keep a line."""
        return bool(self.todos) and len(written(self.source.splitlines())) <= 3


class UnreadableNotebook(LabError):
    """A notebook file that holds no notebook: `path`, and `why` as the end of a sentence."""

    def __init__(self, path: Path, why: str, remedy: str = "") -> None:
        remedy = remedy or f"Fix it, or `./lab reset {path.name[:2]}`, which keeps it in backups/."
        super().__init__(f"{path.name} {why}.", remedy)
        self.path, self.why = path, why


def read_cells(path: Path) -> list[Cell]:
    """The code cells of a notebook (nbformat 4). Raises UnreadableNotebook."""
    if not path.exists():
        raise UnreadableNotebook(path, f"is not in {path.parent}", "`./lab start` brings it.")
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as wrong:
        raise UnreadableNotebook(path, f"cannot be read: {wrong}") from wrong
    if re.search(r"^(<{7} |>{7} )", text, re.M):
        raise UnreadableNotebook(path, "has the marks of a git merge in it (<<<<<<<), so it is no notebook any more")
    if not text.strip():
        raise UnreadableNotebook(path, "is empty")
    try:
        book = json.loads(text)
        if isinstance(book, dict) and "worksheets" in book:
            remedy = "Open it in JupyterLab and save it, which writes today's format."
            raise UnreadableNotebook(path, "is in a format of before 2015 (nbformat 3)", remedy)
        cells = enumerate(book["cells"], 1)
        return [Cell(str(c.get("id", "")), "".join(c["source"]), i) for i, c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise UnreadableNotebook(path, "is no notebook") from wrong


def pair_cells(mine: Sequence[Cell], given: Sequence[Cell]) -> dict[str, list[Cell]]:
    """The learner's cells that each of the kit's became, by the kit's id: those with one of its TODOs, else the one
    with its id (unless that is doubled) or its text, else the most alike. Empty where that cannot be told."""
    found = {cell.id: [c for c in mine if set(c.todos) & set(cell.todos)] for cell in given}
    free = [c for c in mine if not set(c.todos) & {todo for cell in given for todo in cell.todos}]
    ids = Counter(c.id for c in mine)
    ways: tuple[Callable[[Cell, Cell], bool], ...] = (
        lambda c, g: c.id == g.id and ids[c.id] == 1 and (g.is_todo_alone or similarity(c.source, g.source) > 0),
        lambda c, g: c.source.strip() == g.source.strip(),
        lambda c, g: similarity(c.source, g.source) >= ALIKE,
    )
    for alike in ways:
        for cell in [g for g in given if not found[g.id]]:
            if fits := [c for c in free if alike(c, cell)]:
                best = max(fits, key=lambda c: similarity(c.source, cell.source))
                found[cell.id] = [best]
                free.remove(best)
    return found


def similarity(one: str, other: str) -> float:
    """The share of their lines that two cells have in common, in order."""
    return difflib.SequenceMatcher(None, written(one.splitlines()), written(other.splitlines())).ratio()


@dataclass(frozen=True)
class State:
    """Where a learner stands with one TODO: open, done, or lost (it cannot be told); `cell` names the place."""

    what: str
    state: str
    cell: Cell | None


def todo_states(mine: Sequence[Cell], given: Sequence[Cell], stubs: Stubs) -> list[State]:
    """Each TODO of the kit's notebook, in order, as the learner's has it."""
    pairs = pair_cells(mine, given)
    states = []
    for cell in given:
        for what in cell.todos:
            states.append(_find_state(what, cell, pairs[cell.id], stubs))
    return states


def _find_state(what: str, given: Cell, partners: Sequence[Cell], stubs: Stubs) -> State:
    holders = [c for c in partners if what in c.todos]
    for cell in holders:
        if any(t.is_open for t in find_todos(cell.source, stubs) if t.what == what):
            return State(what, "open", cell)
    if holders:
        return State(what, "done", holders[0])
    if not partners:
        return State(what, "lost", None)
    # its line is gone, the cell is there: open if nothing else was changed, or the stub's dots are still in it
    there, stub = written(partners[0].source.splitlines()), stubs.get(what, Stub()).lines
    as_given = written(line for line in given.source.splitlines() if not TODO.match(line))
    dots = any("..." in line and line in there for line in stub)
    return State(what, "open" if dots or there == as_given else "done", partners[0])
