"""Grades criteria: papermill runs a generated notebook with one cell a probe and one a check.

The record is a file of JSON lines, one a finished check; the executed notebook is its readable copy. A kernel that dies
loses the check it was in and nothing else: the rest runs in a new one. Neither papermill nor the kernel nor a probe
runs code of the submission: they have a folder, a kernelspec and start-up files of their own.
"""

import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grader.errors import LabError, NotebookFailed
from grader.judge import broken_off, judge_check, not_run, summarise
from grader.kit import Kit
from grader.look import RECORD, look, look_beside, opened, wait_for
from grader.model import CheckResult, Criterion, CriterionResult, Evidence, Facts, Probe, Verdict
from grader.needs import missing
from grader.notebooks import execute
from grader.progress import Progress
from grader.workspace import Workspace, write_atomic

CHECK_LIMIT = 30  # seconds; a check is pure and takes milliseconds
NOT_BUILT = "not built yet"

Say = Callable[[str], None]


class Record:
    """The JSON lines of one grading: read again after a kernel's death, appended to as checks end."""

    def __init__(self, path: Path) -> None:
        self.path, self.beside = path, path.with_name("beside")  # evidence of probes that look at the same time
        lines = read_lines(path)
        kinds = {kind: [value for k, value in lines if k == kind] for kind in ("begun", "evidence", "result")}
        self.begun = set(kinds["begun"])
        self.problem = ""  # why a grading process ended before its time
        self.evidence = {e["probe"]: Evidence(**e) for e in kinds["evidence"]}
        self.results = {r["id"]: CheckResult(**{**r, "verdict": Verdict(r["verdict"])}) for r in kinds["result"]}

    def facts(self) -> Facts:
        """The evidence, by probe, as JSON has it."""
        return {name: asdict(evidence) for name, evidence in self.evidence.items()}

    def write(self, kind: str, value: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps([kind, value]) + "\n")


def read_lines(path: Path) -> list[tuple[str, Any]]:
    """Every whole line; a kernel that was killed while it wrote leaves half of one."""
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(ValueError):
            found.append(json.loads(line))
    return [(kind, value) for kind, value in found]


class Session:
    """What the cells of a grader notebook call: `s.look("models")`, then `s.check("models-listed")`. Probes that look
    ahead have begun already, and their cells wait for them; each of the others has the machine alone."""

    def __init__(self, short: str) -> None:
        kit = Kit()
        self.criterion = kit.criterion(short)
        self.ws = Workspace(kit, Path(os.environ["LAB_WORK"]), os.environ["LAB_WORKSPACE"])
        self.record = Record(Path(os.environ[RECORD]))

    def look(self, name: str) -> Facts:
        probe = next(p for p in self.criterion.probes if p.name == name)
        self.record.write("begun", name)
        evidence = self.find(probe)
        self.record.write("evidence", asdict(evidence))
        self.record.evidence[name] = evidence
        return {"problem": evidence.problem} if evidence.problem else evidence.facts

    def find(self, probe: Probe) -> Evidence:
        """Waits for it, or until nothing looks beside it any more."""
        with opened(self.record.beside) as (folder,):
            if probe.ahead:
                return wait_for(folder, probe)
            for other in self.criterion.probes:
                if other.ahead:
                    wait_for(folder, other)
        return look(self.ws, self.criterion, probe, self.record.beside)

    def check(self, name: str) -> str:
        check = next(c for c in self.criterion.checks if c.id == name)
        self.record.write("begun", name)
        result = judge_check(check, self.record.evidence.get(check.probe), self.record.results)
        self.record.write("result", asdict(result))
        self.record.results[name] = result
        return f"{result.verdict.value}: {result.message}"


@contextmanager
def looking_ahead(ws: Workspace, criterion: Criterion, folder: Path) -> Iterator[None]:
    """Begins the probes that may look beside others, in the time that papermill and the kernel take to start. Their
    evidence does not hang on the kernel's life."""
    folder.mkdir()
    probes = [probe for probe in criterion.probes if probe.ahead]
    threads = [threading.Thread(target=look_beside, args=[ws, criterion, p, folder], daemon=True) for p in probes]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:  # where the kernel did not wait for it: nothing of this criterion runs beside the next
        thread.join()


def grade_criterion(ws: Workspace, criterion: Criterion, kept: Facts | None = None) -> CriterionResult:
    """Whatever happens costs this criterion alone: an error, with its reason. `kept` is given what was seen."""
    try:
        return grade_whole(ws, criterion, {} if kept is None else kept)
    except Exception as broken:
        said = str(broken) if isinstance(broken, LabError) else f"{type(broken).__name__}: {broken}"
        return broken_off(criterion, f"grading broke off: {said}")


def grade_whole(ws: Workspace, criterion: Criterion, kept: Facts) -> CriterionResult:
    if not criterion.checks:
        return not_run(criterion, NOT_BUILT)
    if lacking := missing(ws.kit, criterion.needs):
        return not_run(criterion, str(lacking), asdict(lacking))
    with Progress(f"grading {criterion.short}") as progress:
        record = gather(ws, criterion, progress.note)
    kept[criterion.short] = record.facts()
    return summarise(criterion, record.results, progress.seconds, record.problem)


def gather(ws: Workspace, criterion: Criterion, say: Say = lambda _: None) -> Record:
    """Runs all probes and checks, in as many kernels as it takes, and returns what they left."""
    ws.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, problem, begun = Path(folder) / "record.jsonl", "", -1
        with looking_ahead(ws, criterion, Record(path).beside):
            while cells := remaining_cells(criterion, record := Record(path)):
                if len(record.begun) == begun:
                    break  # nothing was begun: another try would end like this one
                begun = len(record.begun)
                problem = run_cells(ws, criterion, cells, path, say) or problem
        record.problem = problem
        seen = json.dumps(record.facts(), indent=1) + "\n"
        write_atomic(ws.results / f"{criterion.short}.evidence.json", seen.encode())
        return record


def remaining_cells(criterion: Criterion, record: Record) -> list[str]:
    """The calls still to make. What was begun is not begun again: it killed the kernel, or it is done."""
    probes = [f's.look("{p.name}")' for p in criterion.probes if p.name not in record.begun]
    return probes + [f's.check("{c.id}")' for c in criterion.checks if c.id not in record.begun]


def run_cells(ws: Workspace, criterion: Criterion, cells: list[str], record: Path, say: Say) -> str:
    """Returns why it ended before its time, or nothing. What has no line in the record becomes an error, by name."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    first = f'from grader.grade import Session\ns = Session("{criterion.short}")'
    sources = [new_markdown_cell(f"# {criterion.id}: {criterion.title}\n\n{criterion.outcome}", id="title")]
    sources += [new_code_cell(text, id=f"c-{i}") for i, text in enumerate([first, *cells])]
    notebook, out = record.with_name("grader.ipynb"), record.with_name("graded.ipynb")
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    notebook.write_text(nbformat.writes(new_notebook(cells=sources, metadata=metadata)))
    ahead = max((p.limit for p in criterion.probes if p.ahead), default=0)
    patience, problem = CHECK_LIMIT + int(ahead + max(p.limit for p in criterion.probes)), ""
    try:
        execute(notebook, out, ws, say, cell_limit=patience, apart=record.parent, extra={RECORD: str(record)})
    except NotebookFailed as failed:
        problem = failed.reason
    if out.exists():
        write_atomic(ws.results / f"{criterion.short}.ipynb", out.read_bytes())
    return problem
