"""Executes the solution notebooks in order, in a workspace of its own, and grades every criterion.

A notebook whose key has not changed is skipped, but always graded; what is skipped and does not pass is executed once.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from grader.errors import LabError, NotebookFailed, WrongCall
from grader.grade import grade_criterion
from grader.kit import Kit, Lab
from grader.model import CriterionResult, NotebookRun, Report, Verdict
from grader.needs import missing
from grader.notebooks import execute, make_notebook
from grader.processes import run
from grader.progress import Progress
from grader.report import make_report
from grader.workspace import WALK, Workspace, copy_tree, locked, read_json, write_atomic

Say = Callable[[str], None]
KEYS = ".keys.json"  # in the walk's workspace, so that a removed workspace is not taken for a done one


def walk(kit: Kit, say: Say, folder: str = "", shorts: list[str] | None = None, later: Sequence[str] = ()) -> Report:
    """Every lab and criterion, or those criteria and the labs up to theirs. Labs with `walk: false` are for who names
    them: `later` has their numbers. The report tells the state of the world, not of the cache."""
    aside = {lab.number for lab in kit.labs() if lab.aside} - set(later)
    wanted = [c for c in kit.criteria(shorts) if shorts or c.lab not in aside]
    own = {c.lab for c in wanted}
    last = max(own, default="") if shorts else "99"
    labs = [lab for lab in kit.labs() if lab.number <= last and (lab.number in own or lab.number not in aside)]
    ws = walk_workspace(kit, folder)
    ws.root.mkdir(parents=True, exist_ok=True)
    with locked(kit.state / "walk.lock", "the walk's workspace", say):
        return _Walk(kit, ws, say).run(labs, [c.short for c in wanted])


def walk_workspace(kit: Kit, folder: str = "") -> Workspace:
    ws = Workspace(kit, Path(folder).absolute() if folder else kit.state / "walk", WALK)
    if ws.root.exists() and not ws.root.is_dir():
        raise WrongCall(f"{ws.root} is a file, not a folder.", "Name a folder: --work DIR.")
    return ws


class _Walk:
    def __init__(self, kit: Kit, ws: Workspace, say: Say) -> None:
        self.kit, self.ws, self.say, self.key = kit, ws, say, ""
        self.runs: list[NotebookRun] = []
        self.graded: dict[str, CriterionResult] = {}

    def run(self, labs: Sequence[Lab], shorts: Sequence[str]) -> Report:
        for lab in labs:
            before = self.key
            self.runs.append(self.take(lab))
            self.key = before if lab.aside else self.key
        return make_report(self.ws, [self.grade(short) for short in shorts], self.runs)

    def take(self, lab: Lab) -> NotebookRun:
        """Skips or executes one lab; what is skipped is graded, and executed after all if it does not pass."""
        before, self.key = self.key, make_key(self.kit, lab, self.key)
        if lacking := missing(self.kit, lab.front.get("needs", [])):
            self.say(f"{lab.name}: not run: {lacking}")
            return NotebookRun(lab.name, Verdict.NOT_RUN, 0.0, str(lacking))
        if read_json(self.ws.root / KEYS).get(lab.number) != self.key:
            return self.execute(lab, before)  # graded at the end, with all that later notebooks did to the world
        self.say(f"{lab.name}: unchanged, skipped")
        results = [self.grade(short) for short in lab.front.get("grades", [])]
        if any(r.verdict in (Verdict.FAIL, Verdict.ERROR) for r in results):
            self.say(f"{lab.name}: its criterion does not pass any more, so it is executed again")
            return self.execute(lab, before)
        return NotebookRun(lab.name, Verdict.PASS, 0.0, "unchanged since it ran")

    def execute(self, lab: Lab, before: str) -> NotebookRun:
        self.graded.clear()  # a notebook may change the world, so all is graded once more at the end
        keys = {k: v for k, v in read_json(self.ws.root / KEYS).items() if k < lab.number}
        write_atomic(self.ws.root / KEYS, json.dumps(keys).encode())
        began = time.monotonic()
        out = self.ws.results / lab.notebook
        try:
            with Progress(lab.name) as progress:
                for given in lab.front.get("gives", []):
                    write_atomic(self.ws.root / given, (self.kit.root / given).read_bytes())
                source = self.kit.state / "solutions" / lab.notebook
                write_atomic(source, make_notebook(lab, True, commit_of(self.kit)).encode())
                execute(source, out, self.ws, progress.note)
                save_checkpoint(self.ws, lab.number)
        except NotebookFailed as failed:
            self.say(f"{lab.name}: {failed}")
            return NotebookRun(lab.name, Verdict.ERROR, round(time.monotonic() - began, 1), str(failed))
        self.key = make_key(self.kit, lab, before)  # once more: the notebook may have made what is live, a cluster
        write_atomic(self.ws.root / KEYS, json.dumps({**keys, lab.number: self.key}).encode())
        return NotebookRun(lab.name, Verdict.PASS, round(time.monotonic() - began, 1), "ran to its end")

    def grade(self, short: str) -> CriterionResult:
        if short not in self.graded:
            self.graded[short] = grade_criterion(self.ws, self.kit.criterion(short))
        return self.graded[short]


def make_key(kit: Kit, lab: Lab, before: str) -> str:
    """Changes with code cells, declared inputs, the lock file, the live state and the labs before; not with prose."""
    book = json.loads(make_notebook(lab, solved=True))
    parts = [before, *("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code")]
    for name in [*lab.front.get("inputs", []), *lab.front.get("gives", []), "requirements.lock"]:
        path = kit.root / name
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        parts += [f.read_bytes().hex() if f.exists() else "absent" for f in files if "__pycache__" not in f.parts]
    parts += [live_state(kit, name) for name in lab.front.get("live", [])]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def commit_of(kit: Kit) -> str:
    """The commit of the kit, with "-dirty" behind it where files have changed since; nothing where git cannot tell."""
    done = run(["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=10"], 20, kit.root)
    return done.output.strip() if done.ok else ""


def live_state(kit: Kit, name: str) -> str:
    """What tells one state of a live thing from the next (a cluster's UID): the output of its command in kit.toml."""
    done = run(["sh", "-c", kit.settings["live"][name]], 30, cwd=kit.root)
    return done.output.strip() if done.ok else "absent"


def checkpoint(kit: Kit, number: str) -> Path:
    return kit.state / "checkpoints" / number


def save_checkpoint(ws: Workspace, number: str) -> None:
    """A copy of the workspace as it is after that lab; mutants and `start-at` begin from it."""
    target = checkpoint(ws.kit, number)
    part = target.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    copy_tree(ws.root, part, skip={"results", KEYS})
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)


def start_at(ws: Workspace, number: str) -> list[str]:
    """Puts the files of the lab before `number` into the workspace; what was there goes to backups/."""
    before = [lab for lab in ws.kit.labs() if lab.number < ws.kit.lab(number).number and not lab.aside]
    if not before:
        raise WrongCall(f"Nothing comes before lab {number}.", "`./lab start` is all that it needs.")
    source = checkpoint(ws.kit, before[-1].number)
    if not source.is_dir():
        raise LabError(f"There is no checkpoint after lab {before[-1].number}.", "`./lab walk` makes them all.")
    said = []
    for path in sorted(source.iterdir()):
        if path.name.startswith(".") or path.suffix == ".ipynb" or path.name == "answers.json":
            continue
        kept = ws.back_up(path.name)
        said.append(f"{path.name} as lab {before[-1].number} leaves it" + (f"; yours is in {kept}" if kept else ""))
        (copy_tree if path.is_dir() else shutil.copy2)(path, ws.root / path.name)
    for name, what in read_json(source / ".lab.json").items():  # or `%%work` would take these files for changed by hand
        if (ws.root / name).is_file() and not name.endswith(".ipynb"):
            ws.remember(name, what)
    ws.remember("start-at", ws.kit.lab(number).number)
    return said
