"""Finds the TODOs of a cell that are not done yet, in whatever language the cell is written.

A TODO is open while the kit's own stub is unchanged below it, or while dots stand there for a whole expression. Dots
with a meaning of their own are none: `Callable[..., X]`, `array[..., 0]`, a protocol's empty body, text, comments.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from grader.errors import Refused
from grader.kit import Kit
from grader.notebooks import SOURCE_REGION, bare

ANSWER = re.compile(r"\s*%%answer +(\w+)")
TODO = re.compile(r"^\s*# TODO (?P<what>.*?)\s*$")
# in a file of lines: the dots alone, as an item of a list, as the value of a key
DOTS = re.compile(r"\s*(- )?([\w.\-/\"']+\s*[:=]\s*)?\.\.\.\s*")
MAGIC = re.compile(r"^(\s*)[%!].*")
REQUIRED = ("Field", "Query", "Path", "Body", "Form", "File", "Header", "Cookie")


@dataclass(frozen=True)
class Stub:
    """What the kit gives below a TODO: its lines, and the one that comes after them ("" at the end of a cell), all
    stripped, without blank ones; and the solution's lines (none of a prediction)."""

    lines: tuple[str, ...] = ()
    after: str = ""
    ours: tuple[str, ...] = ()

    def is_unchanged(self, below: tuple[str, ...]) -> bool:
        """Whether the lines below a TODO, down to the next one, are as they were given."""
        if self.lines:
            return below[: len(self.lines)] == self.lines
        return below[:1] == (self.after,) if self.after else not below


Stubs = Mapping[str, Stub]
_refused: list[str] = []


def find_keys(cell: str) -> list[tuple[int, str]]:
    """The line (from 0) and the key of each TODO: its text; that of an `%%answer` has the question's name behind it,
    since the same words ask several times."""
    name = ANSWER.match(cell)
    behind = f" ({name[1]})" if name else ""
    return [(i, m["what"] + behind) for i, line in enumerate(cell.splitlines()) if (m := TODO.match(line))]


@dataclass(frozen=True)
class Todo:
    """A TODO as it stands in a cell: its key, its line there (from 1), the line of its stub where it is open."""

    what: str
    line: int
    stub_line: int = 0

    @property
    def is_open(self) -> bool:
        return self.stub_line > 0

    def remedy(self, lines: list[str]) -> str:
        if self.stub_line == self.line:
            return f"Write yours below line {self.line}"
        return f"Put yours instead of line {self.stub_line}, `{lines[self.stub_line - 1].strip()}`"


def kit_stubs(kit: Kit) -> dict[str, Stub]:
    """What stands below each TODO in the kit's sources, by the TODO's text."""
    return {what: stub for lab in kit.labs() for what, stub in source_stubs(lab.source).items()}


def source_stubs(source: Path) -> dict[str, Stub]:
    return _read_stubs(source, source.stat().st_mtime_ns)


@cache
def _read_stubs(source: Path, _: int) -> dict[str, Stub]:
    found, text = {}, source.read_text()
    for m in SOURCE_REGION.finditer(text):
        after = "".join(written([m["after"]], m["lead"]))
        last = m["after"].startswith("# %%") or TODO.match(after)
        asks = "\n# %%answer " in text[text.rindex("\n# %% ", 0, m.start()) : m.start()]
        ours = () if asks else bare(m["ours"].splitlines(), m["lead"])
        found[m["what"].strip()] = Stub(written(m["stub"].splitlines(), m["lead"]), "" if last else after, ours)
    return found


def written(lines: Iterable[str], lead: str = "") -> tuple[str, ...]:
    """The lines that say something, without indentation; `lead` is how a source comments out another language."""
    return tuple(line.strip() for line in bare(lines, lead) if line.strip())


def find_todos(cell: str, stubs: Stubs) -> list[Todo]:
    """Every TODO of the cell, in order. `stubs` are the kit's, by the TODO's text."""
    lines = cell.splitlines()
    marks = find_keys(cell)
    if not marks:
        return []
    dots = sorted(python_dots(lines, [i for i, _ in marks]) if is_python(lines) else line_dots(lines))
    found = []
    for (at, what), (following, _) in zip(marks, [*marks[1:], (len(lines), "")], strict=True):
        below = range(at + 1, following)
        stub = next((i for i in dots if i in below), None)
        if stub is None and what in stubs and stubs[what].is_unchanged(written(lines[i] for i in below)):
            stub = next((i for i in below if lines[i].strip() and stubs[what].lines), at)
        if stub is None and not is_python(lines) and not any(is_said(line) for line in lines[1:]):
            stub = at  # a command that was deleted with its dots
        found.append(Todo(what, at + 1, 0 if stub is None else stub + 1))
    return found


def is_said(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def is_python(lines: list[str]) -> bool:
    """Whether the cell's text is Python: a cell of code, or `%%work NAME.py`; a magic of IPython's own counts, too."""
    first = next((line for line in lines if line.strip()), "").split()
    if first[:1] == ["%%work"]:
        return first[1:] != [] and first[1].endswith(".py")
    return first[:1] != ["%%shell"] and first[:1] != ["%%answer"]


def line_dots(lines: list[str]) -> set[int]:
    return {i for i, line in enumerate(lines) if DOTS.fullmatch(line)}


def python_dots(lines: list[str], marks: list[int]) -> set[int]:
    """The lines (from 0) on which `...` is a whole expression. Text that is no Python is looked at line by line."""
    try:
        tree = ast.parse("\n".join(MAGIC.sub(r"\1pass", line) for line in lines))
    except (SyntaxError, ValueError):
        return line_dots(lines)
    meant = {id(dots) for node in ast.walk(tree) for part in meaningful(node, marks) for dots in dots_below(part)}
    return {dots.lineno - 1 for dots in dots_below(tree) if id(dots) not in meant}


def dots_below(node: ast.AST) -> list[ast.Constant]:
    return [n for n in ast.walk(node) if isinstance(n, ast.Constant) and n.value is Ellipsis]


def meaningful(node: ast.AST, marks: list[int]) -> list[ast.AST]:
    """The parts of a node in which dots have a meaning of their own: an index, a field that is required (pydantic's
    `Field(...)`), the body of a function or class that is nothing else and holds no TODO."""
    if isinstance(node, ast.Subscript):
        return [node.slice]
    if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in REQUIRED:
        return list(node.args)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        last = node.body[-1]
        own = any(node.lineno <= at < (node.end_lineno or 0) for at in marks)
        documented = [n for n in node.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
        return [] if own or len(documented) < len(node.body) else [last]
    return []


def refuse_undone(lines: list[str]) -> list[str]:
    """An input transformer of IPython's: a cell with an open TODO refuses before it runs, and says which."""
    cell = "".join(lines)
    if "# TODO " in cell and not cell.lstrip().startswith("%%answer"):
        found = [todo for todo in find_todos(cell, kit_stubs(Kit())) if todo.is_open]
        _refused[:] = [todo.what for todo in found[:1]]
        if found:
            first, more = found[0], f" (and {len(found) - 1} more)" if found[1:] else ""
            problem = f"This cell is not done yet: line {first.line} still has a TODO: {first.what}{more}"
            raise Refused(problem, f"{first.remedy(cell.splitlines())}; `%hint` helps.")
    return lines


def last_refusal() -> str:
    """The TODO of the cell that refused last, until one with TODOs runs; "" without one."""
    return _refused[0] if _refused else ""


def forget_refusal() -> None:
    _refused.clear()


refuse_undone.has_side_effects = True  # type: ignore[attr-defined]  # IPython leaves it out where it only looks ahead
