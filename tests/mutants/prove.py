"""Proves the graders: each mutant is a wrong submission that must fail exactly the check that it names, and each right
submission (scN.right.toml), however unlike ours, must pass them all.

Beside what grader/mutants.py makes of an entry: typed (mutants/entries.py), around = "fixture" (a context manager in
sc2.py, for live state), recorded = true (judged from evidence kept in the repository; `--live` looks again), and says =
"..." (the message holds it: needed where the check comes after no other, or an outage would count as a catch).
`control = "fixture"` at the top of the file is the live state of an unchanged submission, which has to pass first.
"""

import contextlib
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from grader.errors import LabError
from grader.grade import gather
from grader.judge import summarise
from grader.kit import Kit
from grader.model import Check, Criterion, CriterionResult, Facts, Verdict
from grader.mutants import apply
from grader.report import SIGNS
from grader.walk import checkpoint
from grader.workspace import Workspace, copy_tree
from mutants.entries import control_of, find_fixture, list_done_right, list_right, type_cells
from mutants.recordings import Stale, is_fresh, judge_recorded, save_recorded
from mutants.turns import order, within

NO_MUTANT = "this check has no mutant, so nothing shows that it can fail"
NO_TIME = "no time in this run; it comes in turn"
NOT_WALKED = "lab {lab} was not walked here: ./lab walk --later {lab}"
Say = Callable[[str], None]


@dataclass(frozen=True)
class MutantResult:
    """PASS: caught by its check alone, or, of a right submission (`fails` is ""), passed. FAIL: not caught, or refused.
    ERROR: it is not usable, or the control does not pass. NOT_RUN: no time, its lab not walked, or `stale`."""

    criterion: str
    id: str
    fails: str
    verdict: Verdict
    message: str
    seconds: float
    stale: bool = False


def try_mutants(
    kit: Kit, shorts: list[str], say: Say, live: bool = False, record: bool = False, minutes: float | None = None
) -> list[MutantResult]:
    """Mutants and right submissions of those criteria, and a FAIL for each check without a mutant. Stops at nothing.

    Evidence that is recorded and fresh is judged; with `live` the world is looked at for it, too, stale evidence first.
    With `minutes` what has no turn is NOT_RUN.
    """
    proof = _Proof(kit, say, live, record)
    tries, results = {}, []
    for criterion in kit.criteria(shorts):
        listed = kit.mutants(criterion.short)
        bare = {check.id for check in criterion.checks} - {m["fails"] for m in listed}
        results += [MutantResult(criterion.short, "none", c, Verdict.FAIL, NO_MUTANT, 0) for c in sorted(bare)]
        judged = [m for m in listed if m.get("recorded") and is_fresh(kit, criterion, m)]
        results += [proof.judge(criterion, m) for m in judged] if not live or minutes else []
        todo = listed if live else [m for m in listed if m not in judged]
        todo = sorted(todo, key=lambda m: not m.get("recorded") or m in judged)  # stale evidence first
        right = [*list_right(kit, criterion.short), *list_done_right(kit, criterion.short)]
        tries[criterion.short] = [(criterion, m) for m in [*todo, *right]]
    first, then = order(kit, tries) if minutes else ([], [t for row in tries.values() for t in row])
    looked = [proof.look(*t) for t in within((minutes or 1e9) * 60, first, then)]
    seen = {(r.criterion, r.id) for r in looked}
    results = [r for r in results if (r.criterion, r.id) not in seen] + looked
    known = {(r.criterion, r.id) for r in results}
    left = [t for t in [*first, *then] if (t[0].short, t[1]["id"]) not in known]
    return results + [proof.leave(*t) for t in left]


def try_only(kit: Kit, shorts: list[str], say: Say, ids: Sequence[str], record: bool = False) -> list[MutantResult]:
    """The submissions with those ids alone, looked at live in that order, each told as it ends. Raises LabError when
    there is no such id."""
    known: dict[str, list[tuple[Criterion, Facts]]] = {}
    for criterion in kit.criteria(shorts):
        right = [*list_right(kit, criterion.short), *list_done_right(kit, criterion.short)]
        for entry in [*kit.mutants(criterion.short), *right]:
            known.setdefault(entry["id"], []).append((criterion, entry))
    if unknown := [one for one in ids if one not in known]:
        raise LabError(f"Nothing is called {', '.join(unknown)}.", f"There are {', '.join(sorted(known))}.")
    proof, results = _Proof(kit, say, live=True, record=record), list[MutantResult]()
    for criterion, entry in [one for name in ids for one in known[name]]:
        results.append(proof.look(criterion, entry))
        say(to_lines(results[-1:])[0])
    return results


class _Proof:
    """Tries one submission after the other; a criterion's control is looked at before its first."""

    def __init__(self, kit: Kit, say: Say, live: bool, record: bool) -> None:
        self.kit, self.say, self.live, self.record = kit, say, live, record
        self.controls: dict[str, str] = {}

    def judge(self, criterion: Criterion, mutant: Facts) -> MutantResult:
        return try_mutant(self.kit, criterion, mutant, live=False, record=False)

    def look(self, criterion: Criterion, mutant: Facts) -> MutantResult:
        short, fails = criterion.short, mutant.get("fails", "")
        if mutant.get("recorded") and not self.live:
            return self.leave(criterion, mutant)
        if (lab := self.kit.lab(mutant["from"])).aside and not checkpoint(self.kit, lab.number).is_dir():
            return MutantResult(short, mutant["id"], fails, Verdict.NOT_RUN, NOT_WALKED.format(lab=lab.number), 0)
        if short not in self.controls:
            self.say(f"{short} control: unchanged")
            self.controls[short] = check_control(self.kit, criterion)
        if problem := self.controls[short]:
            return MutantResult(short, mutant["id"], fails, Verdict.ERROR, f"the control does not pass: {problem}", 0)
        self.say(f"{short} {mutant['id']}{' (live)' if mutant.get('recorded') else ''}")
        return try_mutant(self.kit, criterion, mutant, self.live, self.record)

    def leave(self, criterion: Criterion, mutant: Facts) -> MutantResult:
        stale = bool(mutant.get("recorded")) and not is_fresh(self.kit, criterion, mutant)
        why = "its evidence is stale; `--live` looks again" if stale else NO_TIME
        return MutantResult(criterion.short, mutant["id"], mutant.get("fails", ""), Verdict.NOT_RUN, why, 0, stale)


def check_control(kit: Kit, criterion: Criterion) -> str:
    """Why an unchanged submission does not pass, or nothing: without that nothing that fails was caught."""
    control = {"id": "control", "from": criterion.lab, **control_of(kit, criterion.short)}
    result = try_mutant(kit, criterion, control, live=True, record=False)
    return "" if result.verdict is Verdict.PASS else result.message


def try_mutant(kit: Kit, criterion: Criterion, mutant: Facts, live: bool, record: bool) -> MutantResult:
    """One mutant, or right submission (it names no check). Stale evidence that is not to be made again is NOT_RUN."""
    began, stale = time.monotonic(), False
    try:
        if mutant.get("recorded") and not live:
            graded = judge_recorded(kit, criterion, mutant)
        else:
            with mutated(kit, criterion, mutant) as ws:
                seen = gather(ws, criterion)
            graded = summarise(criterion, seen.results, 0)
            if mutant.get("recorded") and record:
                save_recorded(kit, criterion, mutant, seen.evidence)
        verdict, message = compare(criterion, mutant, graded)
    except Stale as old:
        verdict, message, stale = Verdict.NOT_RUN, str(old), True
    except (LabError, OSError) as unusable:
        verdict, message = Verdict.ERROR, str(unusable)
    seconds = round(time.monotonic() - began, 1)
    return MutantResult(criterion.short, mutant["id"], mutant.get("fails", ""), verdict, message, seconds, stale)


def compare(criterion: Criterion, mutant: Facts, graded: CriterionResult) -> tuple[Verdict, str]:
    """That one check `fail`, those that come after it `not_run`, all others `pass`."""
    fails = mutant.get("fails", "")
    blocked = after(criterion.checks, fails)
    wanted = {c.id: Verdict.PASS for c in criterion.checks} | dict.fromkeys(blocked, Verdict.NOT_RUN)
    if fails and fails not in wanted:
        return Verdict.ERROR, f"names the check {fails!r}, which does not exist"
    wanted |= {fails: Verdict.FAIL} if fails else {}
    wrong = [c for c in graded.checks if c.verdict is not wanted[c.id]]
    if wrong:
        told = "; ".join(f"{c.id} is {c.verdict.value}, not {wanted[c.id].value} ({c.message})" for c in wrong)
        return Verdict.FAIL, told
    if not fails:
        return Verdict.PASS, "all checks pass"
    caught = next(c for c in graded.checks if c.id == fails)
    return compare_words(criterion, mutant, f"{caught.message} {caught.evidence.get('found')}")


def compare_words(criterion: Criterion, mutant: Facts, message: str) -> tuple[Verdict, str]:
    """A check that comes after no other fails in any outage, so its mutants say what its message has to hold."""
    first = not next(c for c in criterion.checks if c.id == mutant["fails"]).after
    if first and not mutant.get("says"):
        return Verdict.ERROR, f"needs `says`, since nothing comes before {mutant['fails']}; it said: {message}"
    if (says := mutant.get("says", "")) not in message:
        return Verdict.FAIL, f"the message should hold {says!r}: {message}"
    return Verdict.PASS, message


def to_lines(results: list[MutantResult]) -> list[str]:
    """One line a submission that was looked at or judged, then the count of all, and which evidence is stale."""
    lines = []
    for r in [r for r in results if r.verdict is not Verdict.NOT_RUN]:
        word = ("caught" if r.fails else "passed") if r.verdict is Verdict.PASS else SIGNS[r.verdict]
        lines.append(f"{word:9} {r.criterion} {r.id:32} {r.fails or 'right work':32} {r.seconds:5.1f} s  {r.message}")
    for what, mine in (("mutants caught by their own check", True), ("right submissions passed", False)):
        tried = [r for r in results if bool(r.fails) is mine]
        ran = [r.verdict for r in tried if r.verdict is not Verdict.NOT_RUN]
        lines.append(f"{ran.count(Verdict.PASS)} of {len(ran)} {what}; not run this time: {len(tried) - len(ran)}")
    stale = [f"{r.criterion} {r.id}" for r in results if r.stale]
    return [*lines, f"evidence that is stale and was not looked at again: {len(stale)} {', '.join(stale)}".strip()]


def after(checks: tuple[Check, ...], first: str) -> set[str]:
    """The ids of all checks that come after `first`, directly or not."""
    found = {first}
    for check in checks:  # a check stands below the ones that it comes after
        if found & set(check.after):
            found.add(check.id)
    return found - {first}


@contextlib.contextmanager
def scratch(ws: Workspace) -> Iterator[Workspace]:
    """A throwaway copy, with names of its own in the registry and the cluster."""
    base = ws.kit.state / "scratch"
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, ignore_cleanup_errors=True) as folder:
        # a number, since it becomes a namespace: random letters look like a secret to whoever searches for one
        copy = Workspace(ws.kit, Path(folder) / "work", f"scratch-{zlib.crc32(folder.encode()) % 1_000_000:06}")
        copy_tree(ws.root, copy.root, skip={"results"})
        yield copy


@contextlib.contextmanager
def mutated(kit: Kit, criterion: Criterion, mutant: Facts) -> Iterator[Workspace]:
    """A scratch copy of the checkpoint with the mutant's changes made, and its live state around it."""
    source = checkpoint(kit, mutant["from"])
    if not source.is_dir():
        raise LabError(f"There is no checkpoint after lab {mutant['from']}.", "`./lab walk` makes them all.")
    with scratch(Workspace(kit, source)) as ws:
        apply(ws, criterion, mutant)
        around = (
            find_fixture(kit, criterion.short, mutant["around"])(ws) if "around" in mutant else contextlib.nullcontext()
        )
        with around as extra, mock.patch.dict(os.environ, extra or {}):  # such as the port that a fixture took
            type_cells(ws, mutant.get("typed", []))
            yield ws
