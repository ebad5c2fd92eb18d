"""Helps a learner along: where am I, a hint, what the solution does differently, start over."""

import difflib
import json
import re
import textwrap
import tomllib
from collections.abc import Sequence

from grader.errors import LabError, UnknownName
from grader.kit import Kit, Lab
from grader.model import CheckResult, Verdict
from grader.notebooks import make_notebook
from grader.report import read_last
from grader.workspace import Workspace, digest, read_json, write_atomic
from labs.helpers.teaching.cells import Cell, State, pair_cells, read_cells, todo_states
from labs.helpers.teaching.incidents import open_check
from labs.helpers.teaching.stubs import Stub, source_stubs


def failures(ws: Workspace) -> list[CheckResult]:
    """The checks of the last report that failed, or could not be made."""
    report = read_last(ws)
    checks = [check for result in (report.criteria if report else ()) for check in result.checks]
    return [c for c in checks if c.verdict in (Verdict.FAIL, Verdict.ERROR)]


def first_failure(ws: Workspace) -> CheckResult | None:
    return next(iter(failures(ws)), None)


def given_cells(ws: Workspace, lab: Lab) -> list[Cell]:
    return read_cells(ws.kit.root / "labs" / lab.notebook)


def lab_states(ws: Workspace, lab: Lab) -> list[State]:
    """Each TODO of that lab as it is in the learner's notebook."""
    return todo_states(read_cells(ws.root / lab.notebook), given_cells(ws, lab), source_stubs(lab.source))


def next_cell(ws: Workspace) -> list[str]:
    """The first TODO, in the order of the labs, that is open; then those that cannot be found."""
    lost: list[str] = []
    first, labs = begun_labs(ws)
    for lab in labs:
        if not (ws.root / lab.notebook).exists():
            return [f"{lab.name}: not begun; `./lab start` brings it", *lost]
        states = lab_states(ws, lab)
        lost += [f"cannot tell   {lab.notebook} has no TODO {s.what!r} any more" for s in states if s.state == "lost"]
        if found := next((s for s in states if s.state == "open"), None):
            assert found.cell
            return [f"{lab.notebook}, {place(found.cell, lab)}: {found.what}", *lost]
    done = "every TODO that was found is done" if lost else "every TODO is done"
    return [f"{done}, from lab {first} on" if first else done, *lost]


def begun_labs(ws: Workspace) -> tuple[str, list[Lab]]:
    """The number that `./lab start-at` was given last, if it was, and the labs from there on."""
    first = str(read_json(ws.root / ".lab.json").get("start-at", ""))
    return first, [lab for lab in ws.kit.labs() if lab.number >= first]


def place(cell: Cell, lab: Lab) -> str:
    """By the kit's id, which the editor shows, where it is still there."""
    return f"cell {cell.id}" if cell.id.startswith(f"{lab.number}-") else f"cell {cell.at} from the top"


def status(ws: Workspace) -> list[str]:
    failed, report = first_failure(ws), read_last(ws)
    last = f"{failed.verdict.value} {failed.id}: {failed.message}" if failed else "nothing failed"
    graded = f"{last} ({report.made})" if report else "none yet: ./lab grade"
    first, *lost = next_cell(ws)
    older = [f"older         {notice(lab)}" for lab in ws.kit.labs() if is_older(ws, lab)]
    return [f"workspace     {ws.root}", f"next cell     {first}", *lost, *older, f"last report   {graded}"]


def is_older(ws: Workspace, lab: Lab) -> bool:
    """Whether the learner's notebook is of a kit whose notebook was another one."""
    given = read_json(ws.root / ".lab.json").get(lab.notebook)
    return given is not None and given != digest((ws.kit.root / "labs" / lab.notebook).read_bytes())


def notice(lab: Lab) -> str:
    return (
        f"{lab.notebook} was made by an older version of the kit. `./lab update {lab.number}` brings the new one, with "
        f"what you wrote at its TODOs, and keeps yours in backups/."
    )


def hint(ws: Workspace, name: str = "", refused: str = "") -> list[str]:
    """The next of three hints (nudge, pointer, worked step) for a check or, by a part of its text, a TODO. Without a
    name: the incident's check, the TODO over which a cell has `refused`, the last check that failed, the next TODO."""
    failed = [check.id for check in failures(ws)]
    if name in ws.kit.shorts():
        name = failed_check(ws.kit, name, failed)
    ladders = {h: (steps, c.lab) for c in ws.kit.criteria() for h, steps in c.hints.items()}
    todos = todo_ladders(ws.kit)
    if not name:
        candidates = [open_check(ws), refused, failed[0] if failed else "", *open_todos(ws)]
        name = next((c for c in candidates if c in todos or c in ladders), "")
    if not name:
        return ["No check has failed and no TODO is open, so there is no hint. `./lab grade` asks for a verdict."]
    found = [n for n in (*ladders, *todos) if n == name] or [t for t in todos if name.lower() in t.lower()]
    if len(found) != 1:
        raise UnknownName("check or TODO with hints", name, found or [*ladders, "or words of a TODO"])
    steps, lab = {**todos, **ladders}[found[0]]
    return next_step(ws, found[0], steps, lab)


def failed_check(kit: Kit, short: str, failed: Sequence[str]) -> str:
    """The first of those that is that criterion's. Raises UnknownName with its checks where none is."""
    own = list(kit.criterion(short).hints)
    if name := next((one for one in failed if one in own), ""):
        return name
    raise UnknownName("failed check in", short, own)


def next_step(ws: Workspace, name: str, steps: Sequence[str], lab: str) -> list[str]:
    path = ws.root / ".hints.json"
    given = read_json(path)
    step = min(given.get(name, 0), len(steps) - 1)
    write_atomic(path, json.dumps({**given, name: step + 1}).encode())
    lines = [f"{name}, hint {step + 1} of {len(steps)}: {steps[step]}"]
    if step + 1 == len(steps):
        lines.append(f"That was the last one. `./lab diff {lab}` shows your notebook beside the solution.")
    return lines


def todo_ladders(kit: Kit) -> dict[str, tuple[Sequence[str], str]]:
    """The three steps of each TODO: those of solutions/NN_name.hints.toml (`"the TODO's text" = [...]`), else steps
    made of the solution. A prediction has none."""
    found: dict[str, tuple[Sequence[str], str]] = {}
    for lab in kit.labs():
        file = lab.source.with_suffix(".hints.toml")
        made = {what: make_ladder(stub) for what, stub in source_stubs(lab.source).items() if stub.ours}
        written = tomllib.loads(file.read_text()) if file.exists() else {}
        found |= {what: (steps, lab.number) for what, steps in {**made, **written}.items()}
    return found


def make_ladder(stub: Stub) -> list[str]:
    """Nudge, pointer and worked step of a solution: the words that its stub has not, its beginning, all of it."""
    code = [line.strip() for line in stub.ours if line.strip() and not line.lstrip().startswith("#")]
    there, words = (re.findall(r"[A-Za-z_][\w-]{3,}", " ".join(lines)) for lines in (stub.lines, code))
    words = [word for word in dict.fromkeys(words) if word not in there]
    begins = code[0] if len(code) > 1 else code[0][: len(code[0]) // 2].rstrip()
    dedented = textwrap.dedent("\n".join(stub.ours)).splitlines()
    count = f"{len(code)} lines" if len(code) > 1 else "one line"
    return [
        f"The solution is {count}{', with ' if words else ''}{', '.join(f'`{word}`' for word in words[:5])}.",
        f"It begins with `{begins}`.",
        "\n".join(["What the text around the cell explains, as code:", *(f"    {line}" for line in dedented)]),
    ]


def open_todos(ws: Workspace) -> list[str]:
    """The TODOs that are open, in the order of the labs that have been begun."""
    labs = [lab for lab in begun_labs(ws)[1] if (ws.root / lab.notebook).exists()]
    return [s.what for lab in labs for s in lab_states(ws, lab) if s.state == "open"]


def diff(ws: Workspace, number: str, anyway: bool = False) -> list[str]:
    """The learner's code against the solution's, cell by cell, as a unified diff."""
    lab = ws.kit.lab(number)
    given = read_json(ws.root / ".hints.json")
    checks = [check for c in ws.kit.criteria() if c.lab == lab.number for check in c.hints]
    hinted = [given.get(name, 0) for name in (*checks, *source_stubs(lab.source))]
    if not anyway and max(hinted, default=0) < 3:
        remedy = f"`./lab hint` gives one; `./lab diff {number} --anyway` shows it now."
        raise LabError("The solution is offered after the third hint.", remedy)
    mine, ours = read_cells(ws.root / lab.notebook), given_cells(ws, lab)
    solved = {c["id"]: "".join(c["source"]) for c in json.loads(make_notebook(lab, solved=True))["cells"]}
    lines: list[str] = []
    for cell_id, yours in pair_cells(mine, ours).items():
        text = solved[cell_id].splitlines()
        if not yours:
            lines += [f"?? no cell of yours was found for solution/{cell_id}", *(f"+{line}" for line in text)]
        for cell in yours:
            name = f"yours/{cell.id or cell.at}"
            lines += difflib.unified_diff(cell.source.splitlines(), text, name, f"solution/{cell_id}", lineterm="")
    return lines or ["no difference"]


def reset(ws: Workspace, number: str) -> list[str]:
    """The learner's notebook of that lab as the kit has it; the old one goes to backups/."""
    lab = ws.kit.lab(number)
    kept = ws.back_up(lab.notebook)
    source = (ws.kit.root / "labs" / lab.notebook).read_bytes()
    write_atomic(ws.root / lab.notebook, source)
    ws.remember(lab.notebook, digest(source))
    return [f"{lab.notebook} is as the kit has it" + (f"; yours is in {kept}" if kept else "")]
