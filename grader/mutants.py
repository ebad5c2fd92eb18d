"""Proves the graders: each mutant is a wrong submission, and must fail exactly the check that it names.

    [[mutant]]
    id = "first-label-only";  from = "02";  fails = "one-answer-per-text";  story = "Indexes the batch."
    edit = [{ file = "service/service.py", find = "labels.tolist()", put = "labels.tolist()[:1]" }]

Also add [{file, text}], link [{file, to}], remove [path], run [shell command], around = "fixture" (a context manager in
sc2.py, for live state), recorded = true (judged from evidence kept in the repository; `--live` looks again).
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from unittest import mock

from grader.errors import BadKit, LabError
from grader.grade import gather
from grader.judge import judge_criterion, summarise
from grader.kit import Kit, source_hash
from grader.model import Check, Criterion, CriterionResult, Evidence, Facts, Verdict
from grader.processes import run
from grader.walk import checkpoint
from grader.workspace import Workspace, read_json, write_atomic

RUN_LIMIT = 300
NO_MUTANT = "this check has no mutant, so nothing shows that it can fail"


@dataclass(frozen=True)
class MutantResult:
    """PASS: caught by its check alone. FAIL: not caught, or not so. ERROR: the mutant itself is not usable."""

    criterion: str
    id: str
    fails: str
    verdict: Verdict
    message: str
    seconds: float


def try_mutants(
    kit: Kit, shorts: list[str], say: Callable[[str], None], live: bool = False, record: bool = False, part: str = "1/1"
) -> list[MutantResult]:
    """Every mutant of those criteria, and a FAIL for each check that has none. Stops at nothing. `part` "2/3": looks at
    the world for every third mutant; of the others those that are recorded are judged, and the rest is NOT_RUN."""
    results, (turn, parts) = [], map(int, part.split("/"))
    for c in kit.criteria(shorts):
        mutants = kit.mutants(c.short)
        for number, m in enumerate(mutants):
            if (ours := number % parts == turn - 1) or m.get("recorded"):
                say(f"{c.short} {m['id']}{' (live)' * (live and ours)}")
                results.append(try_mutant(kit, c, m, live and ours, record))
            else:
                results.append(MutantResult(c.short, m["id"], m["fails"], Verdict.NOT_RUN, f"not in part {part}", 0))
        bare = {check.id for check in c.checks} - {m["fails"] for m in mutants}
        results += [MutantResult(c.short, "none", check, Verdict.FAIL, NO_MUTANT, 0) for check in sorted(bare)]
    return results


def try_mutant(kit: Kit, criterion: Criterion, mutant: Facts, live: bool, record: bool) -> MutantResult:
    began = time.monotonic()
    try:
        if mutant.get("recorded") and not live:
            graded = judge_recorded(kit, criterion, mutant["id"])
        else:
            with mutated(kit, criterion, mutant) as ws:
                seen = gather(ws, criterion)
            graded = summarise(criterion, seen.results, 0)
            if mutant.get("recorded") and record:
                save_recorded(kit, criterion, mutant["id"], seen.evidence)
        verdict, message = compare(criterion, mutant["fails"], graded)
    except (LabError, OSError) as unusable:
        verdict, message = Verdict.ERROR, str(unusable)
    seconds = round(time.monotonic() - began, 1)
    return MutantResult(criterion.short, mutant["id"], mutant["fails"], verdict, message, seconds)


def compare(criterion: Criterion, fails: str, graded: CriterionResult) -> tuple[Verdict, str]:
    """That one check `fail`, those that come after it `not_run`, all others `pass`."""
    blocked = after(criterion.checks, fails)
    wanted = {c.id: Verdict.PASS for c in criterion.checks} | dict.fromkeys(blocked, Verdict.NOT_RUN)
    if fails not in wanted:
        return Verdict.ERROR, f"names the check {fails!r}, which does not exist"
    wanted[fails] = Verdict.FAIL
    wrong = [c for c in graded.checks if c.verdict is not wanted[c.id]]
    if not wrong:
        return Verdict.PASS, next(c.message for c in graded.checks if c.id == fails)
    told = "; ".join(f"{c.id} is {c.verdict.value}, not {wanted[c.id].value} ({c.message})" for c in wrong)
    return Verdict.FAIL, told


def after(checks: tuple[Check, ...], first: str) -> set[str]:
    """The ids of all checks that come after `first`, directly or not."""
    found = {first}
    for check in checks:  # a check stands below the ones that it comes after
        if found & set(check.after):
            found.add(check.id)
    return found - {first}


@contextlib.contextmanager
def mutated(kit: Kit, criterion: Criterion, mutant: Facts) -> Iterator[Workspace]:
    """A scratch copy of the checkpoint with the mutant's changes made, and its live state around it."""
    source = checkpoint(kit, mutant["from"])
    if not source.is_dir():
        raise LabError(f"There is no checkpoint after lab {mutant['from']}.", "`./lab walk` makes them all.")
    with Workspace(kit, source).scratch() as ws:
        apply(ws, criterion, mutant)
        around = kit.fixture(criterion.short, mutant["around"])(ws) if "around" in mutant else contextlib.nullcontext()
        with around as extra, mock.patch.dict(os.environ, extra or {}):  # such as the port that a fixture took
            yield ws


def apply(ws: Workspace, criterion: Criterion, mutant: Facts) -> None:
    where = ws.kit.criteria_dir / f"{criterion.short}.mutants.toml"
    for edit in mutant.get("edit", []):
        path = ws.root / edit["file"]
        text = path.read_text()
        if (times := text.count(edit["find"])) != 1:
            raise BadKit(where, f"{mutant['id']} is stale: {edit['find']!r} stands {times} times in {edit['file']}")
        path.write_text(text.replace(edit["find"], edit["put"]))
    for name in mutant.get("remove", []):
        path = ws.root / name
        if not path.exists():
            raise BadKit(where, f"{mutant['id']} is stale: there is no {name} to remove")
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for add in mutant.get("add", []):
        (ws.root / add["file"]).parent.mkdir(parents=True, exist_ok=True)
        (ws.root / add["file"]).write_text(add["text"])
    for link in mutant.get("link", []):
        (ws.root / link["file"]).symlink_to(link["to"])
    for command in mutant.get("run", []):
        done = run(["sh", "-c", command], RUN_LIMIT, cwd=ws.root, env=ws.environ())
        if not done.ok:
            raise BadKit(where, f"{mutant['id']}: {command!r} ended with {done.code}: {done.tail(4)}")


def judge_recorded(kit: Kit, criterion: Criterion, mutant: str) -> CriterionResult:
    """The old evidence, judged by today's checks. Evidence of another probe than today's is stale."""
    kept = read_json(kit.criteria_dir / f"{criterion.short}.recorded.json").get(mutant)
    remedy = f"`./lab mutants {criterion.short} --live --record` looks at the world again."
    if kept is None:
        raise LabError(f"No evidence is recorded for the mutant {mutant}.", remedy)
    evidence = {name: Evidence(**e) for name, e in kept.items()}
    stale = [p.name for p in criterion.probes if p.name not in evidence or evidence[p.name].source != source_hash(p)]
    if stale:
        raise LabError(f"The evidence of {mutant} is stale: the probe {stale[0]} has changed since.", remedy)
    return judge_criterion(criterion, evidence)


def save_recorded(kit: Kit, criterion: Criterion, mutant: str, evidence: dict[str, Evidence]) -> None:
    path = kit.criteria_dir / f"{criterion.short}.recorded.json"
    kept = {**read_json(path), mutant: {name: asdict(e) for name, e in evidence.items()}}
    write_atomic(path, (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())
