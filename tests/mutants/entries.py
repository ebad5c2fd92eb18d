"""What the neighbours of a criterion declare for its proof: fixtures, right submissions, and what is typed at a TODO.

    typed = [{ todo = "a TODO's text", put = "what is typed there", before = "what earlier cells left" }]

The cell with that TODO (commands, or Python without magics) is run in the workspace, inside the mutant's fixture;
without `put` it is as the solution has it. Each mutant that is typed is also tried with the solution typed: that has to
pass.
"""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.kit import Kit
from grader.model import Facts
from grader.mutants import RUN_LIMIT
from grader.notebooks import REGION
from grader.processes import run
from grader.workspace import Workspace
from labs.helpers.teaching.serve import BASH


def control_of(kit: Kit, short: str) -> Facts:
    """The live state around a submission that is unchanged: `control = "fixture"` in scN.mutants.toml."""
    name = kit.neighbour(short, "mutants").get("control")
    return {"around": name} if name else {}


def list_right(kit: Kit, short: str) -> list[Facts]:
    """Submissions unlike ours that are right, too: [[right]] of scN.right.toml, in the form of mutants."""
    return list(kit.neighbour(short, "right").get("right", []))


def list_done_right(kit: Kit, short: str) -> list[Facts]:
    """Each mutant that is typed, with the solution typed instead: it has to pass, so the TODO alone decides."""
    kept = ("from", "remove", "run", "around")
    typed = [m for m in kit.mutants(short) if "typed" in m]
    return [
        {"id": f"{m['id']}, done right", **{k: m[k] for k in kept if k in m}, "typed": solved(m["typed"])}
        for m in typed
    ]


def solved(typed: list[Facts]) -> list[Facts]:
    return [{k: v for k, v in one.items() if k != "put"} for one in typed]


def type_cells(ws: Workspace, typed: list[Facts]) -> None:
    """Runs each cell as it is with that typed at its TODO."""
    for one in typed:
        kind, cell = typed_cell(ws.kit, one["todo"], one.get("put"))
        start = BASH if kind == "%%shell" else [sys.executable, "-P", "-c"]
        done = run([*start, f"{one.get('before', '')}\n{cell}"], RUN_LIMIT, ws.root, ws.environ())
        if not done.ok:
            raise LabError(f"what is typed at {one['todo']!r} ended with {done.code}: {done.tail(4)}")


def typed_cell(kit: Kit, todo: str, put: str | None) -> tuple[str, str]:
    """("%%shell" or "", text) of the solutions' cell with that TODO, with `put` in the place of its solution."""
    cells = [cell for lab in kit.labs() for cell in cells_of(lab.source, lab.source.stat().st_mtime_ns)]
    found = [c for c in cells if f"# TODO {todo}\n" in c and not c.startswith("%%work")]
    if len(found) != 1:
        raise LabError(f"{len(found)} cells have the TODO {todo!r}.")
    text = REGION.sub(lambda m: put if put is not None and m["what"].strip() == todo else m["ours"], found[0])
    first, _, rest = text.partition("\n")
    return (first, rest) if first.startswith("%%") else ("", text)


@cache
def cells_of(source: Path, _: int) -> list[str]:
    """The cells of a notebook's source; reading all takes 2 s."""
    import jupytext

    return [cell.source for cell in jupytext.read(source).cells]


def find_fixture(kit: Kit, short: str, name: str) -> Callable[..., Any]:
    """A context manager `fixture(workspace)` of scN.py: the live state that a mutant needs around its grading."""
    return vars(kit.module(short))[name]  # type: ignore[no-any-return]
