"""Helps a learner along: where am I, a hint, what the solution does differently, start over."""

import difflib
import json

from grader.errors import LabError, UnknownName
from grader.incidents import open_check
from grader.model import CheckResult, Report, Verdict
from grader.notebooks import make_notebook
from grader.workspace import Workspace, digest, read_json, write_atomic


def last_report(ws: Workspace) -> Report | None:
    path = ws.results / "report.json"
    return Report.from_json(read_json(path)) if path.exists() else None


def first_failure(ws: Workspace) -> CheckResult | None:
    report = last_report(ws)
    checks = [check for result in (report.criteria if report else ()) for check in result.checks]
    return next((c for c in checks if c.verdict in (Verdict.FAIL, Verdict.ERROR)), None)


def next_cell(ws: Workspace) -> str:
    """The first cell, in the order of the labs, that still holds the kit's stub."""
    for lab in ws.kit.labs():
        path = ws.root / lab.notebook
        if not path.exists():
            return f"{lab.name}: not begun; `./lab start` brings it"
        sources = {c.get("id"): "".join(c["source"]) for c in read_json(path)["cells"]}
        for cell in json.loads(make_notebook(lab, solved=False))["cells"]:
            text = "".join(cell["source"])
            if "# TODO " in text and sources.get(cell["id"], "").strip() == text.strip():
                todo = text.split("# TODO ", 1)[1].splitlines()[0]
                return f"{lab.notebook}, cell {cell['id']}: {todo}"
    return "every TODO is done"


def status(ws: Workspace) -> list[str]:
    failed, report = first_failure(ws), last_report(ws)
    last = f"{failed.verdict.value} {failed.id}: {failed.message}" if failed else "nothing failed"
    graded = f"{last} ({report.made})" if report else "none yet: ./lab grade"
    return [f"workspace     {ws.root}", f"next cell     {next_cell(ws)}", f"last report   {graded}"]


def hint(ws: Workspace, name: str = "") -> list[str]:
    """The next of three hints for a check (by default the last one that failed): nudge, pointer, worked step."""
    failed, name = first_failure(ws), name or open_check(ws)
    if not name and not failed:
        return ["No check has failed, so there is nothing to hint at. `./lab grade sc1` asks for a verdict."]
    name = name or (failed.id if failed else "")
    criterion = next((c for c in ws.kit.criteria() if name in c.hints), None)
    if criterion is None:
        raise UnknownName("check with hints", name, [h for c in ws.kit.criteria() for h in c.hints])
    path = ws.root / ".hints.json"
    given = read_json(path)
    steps = criterion.hints[name]
    step = min(given.get(name, 0), len(steps) - 1)
    write_atomic(path, json.dumps({**given, name: step + 1}).encode())
    lines = [f"{name}, hint {step + 1} of {len(steps)}: {steps[step]}"]
    if step + 1 == len(steps):
        lines.append(f"That was the last one. `./lab diff {criterion.lab}` shows your notebook beside the solution.")
    return lines


def diff(ws: Workspace, number: str, anyway: bool = False) -> list[str]:
    """The learner's code against the solution's, cell by cell, as a unified diff."""
    lab = ws.kit.lab(number)
    given = read_json(ws.root / ".hints.json")
    hinted = [given.get(check, 0) for c in ws.kit.criteria() if c.lab == lab.number for check in c.hints]
    if not anyway and max(hinted, default=0) < 3:
        remedy = f"`./lab hint` gives one; `./lab diff {number} --anyway` shows it now."
        raise LabError("The solution is offered after the third hint.", remedy)
    path = ws.root / lab.notebook
    if not path.exists():
        raise LabError(f"There is no {lab.notebook} in {ws.root}.", "`./lab start` brings it.")
    mine = _code(path.read_text())
    ours = _code(make_notebook(lab, solved=True))
    lines: list[str] = []
    for cell, text in ours.items():
        yours = mine.get(cell, "").splitlines()
        lines += difflib.unified_diff(yours, text.splitlines(), f"yours/{cell}", f"solution/{cell}", lineterm="")
    return lines or ["no difference"]


def _code(notebook: str) -> dict[str, str]:
    cells = json.loads(notebook)["cells"]
    return {c.get("id", str(i)): "".join(c["source"]) for i, c in enumerate(cells) if c["cell_type"] == "code"}


def reset(ws: Workspace, number: str) -> list[str]:
    """The learner's notebook of that lab as the kit has it; the old one goes to backups/."""
    lab = ws.kit.lab(number)
    kept = ws.back_up(lab.notebook)
    source = (ws.kit.root / "labs" / lab.notebook).read_bytes()
    write_atomic(ws.root / lab.notebook, source)
    ws.remember(lab.notebook, digest(source))
    return [f"{lab.notebook} is as the kit has it" + (f"; yours is in {kept}" if kept else "")]
