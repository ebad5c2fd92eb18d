"""Grades a room's submissions, one after the other: each a folder or an archive, taken in and graded in a sandbox.

    OUT/NAME/  report.json, report.html, evidence.json (judged again without the submission), done.json (written last)
    OUT/class.csv (a row a check), class.html

Whatever one of them does costs that one alone. An interrupted run goes on where it stopped, since what is unchanged is
not graded again.
"""

import csv
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from grader import report
from grader.errors import LabError, WrongCall
from grader.grade import NOT_BUILT, grade_criterion
from grader.intake import ENDINGS, OTHERS, is_archive, taken_in
from grader.judge import broken_off, judge_criterion, not_run
from grader.kit import Kit
from grader.model import Criterion, CriterionResult, Evidence, Facts, Report, Verdict, clean
from grader.sandbox import WANTED, find_way
from grader.workspace import Workspace, locked, read_json, write_atomic

ELSEWHERE = "needs the learner's own machine: `./lab grade --json FILE` makes a report there, not verified here"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Graded:
    """One submission: its name, as far as it can be shown, and its report; `kept`: it had not changed."""

    name: str
    report: Report
    kept: bool = False
    seconds: float = 0.0


def grade_class(
    kit: Kit, folder: Path, out: Path, say: Say, shorts: list[str] | None = None, jobs: int = 1
) -> list[Graded]:
    """Every submission in that folder, in order of their names, `jobs` at a time. Raises LabError before the first,
    never after."""
    if not folder.is_dir():
        raise WrongCall(f"There is no folder {folder}.", "Name the folder that holds the submissions.")
    chosen, way = kit.criteria(shorts or kit.settings.get("class") or None), find_way()
    found = dict(submissions(folder, out))
    if not found:
        raise WrongCall(f"{folder} holds no submission.", f"One is a folder, or an archive ({', '.join(ENDINGS)}).")
    graded: list[Graded] = []
    out.mkdir(parents=True, exist_ok=True)
    with (
        locked(out / ".lock", "the class's folder", say),
        mock.patch.dict(os.environ, {WANTED: way}),
        ThreadPoolExecutor(jobs) as pool,
    ):
        for one in pool.map(lambda item: grade_one(kit, item[1], out / item[0], chosen), found.items()):
            graded.append(one)
            took = "unchanged, not graded again" if one.kept else f"{one.seconds:.0f} s"
            say(f"[{len(graded)} of {len(found)}] {one.name}: {summary(one.report)} ({took})")
            write_tables(out, graded)
    return graded


def submissions(folder: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """(a folder's name for its report, the submission); no two share one, whatever they are called."""
    taken: set[str] = set()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.absolute() == out.absolute():
            continue
        if not (path.is_dir() or is_archive(path, OTHERS)):
            continue
        plain = re.sub(r"[^\w.-]", "_", path.name.split(".")[0] or "_")[:60]
        name = plain if plain not in taken else f"{plain}-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:6]}"
        taken.add(name)
        yield name, path


def grade_one(kit: Kit, source: Path, out: Path, criteria: list[Criterion]) -> Graded:
    """Never raises for what a submission is or does: then each check is an error, with the reason."""
    name = clean(os.fsencode(source.name).decode(errors="replace"))
    key = ""
    with suppress(OSError, RecursionError):  # what cannot be looked through is taken in, or refused, below
        key = key_of(kit, source, criteria)
    if key and read_done(out) == key:
        return Graded(name, judged_again(kit, out, read_report(out)), kept=True)
    (out / "done.json").unlink(missing_ok=True)
    evidence: Facts = {}
    began = time.monotonic()
    ws = Workspace(kit, source, out=out)
    try:
        with taken_in(source) as taken:
            ws = Workspace(kit, taken.root, out=out)
            results = [grade_criterion(ws, c, evidence) for c in criteria]
            made = report.make_report(ws, [*results, *elsewhere(kit, criteria)])
    except Exception as refused:
        why = refused.problem if isinstance(refused, LabError) else f"{type(refused).__name__}: {refused}"
        results = [broken_off(c, f"not graded: {why}") for c in criteria]
        made = report.make_report(Workspace(kit, out / "nothing"), [*results, *elsewhere(kit, criteria)])
    report.save(made, ws, {})
    write_atomic(out / "evidence.json", json.dumps(evidence).encode())
    told = {"key": "" if troubled(made) else key, "name": name}  # this machine's trouble may be gone the next time
    write_atomic(out / "done.json", json.dumps(told).encode())
    return Graded(name, made, seconds=time.monotonic() - began)


def elsewhere(kit: Kit, criteria: Iterable[Criterion]) -> list[CriterionResult]:
    here = {c.short for c in criteria}
    return [not_run(c, ELSEWHERE if c.checks else NOT_BUILT) for c in kit.criteria() if c.short not in here]


def key_of(kit: Kit, source: Path, criteria: list[Criterion]) -> str:
    """Changes with any file's name, size or time of change in the submission, and with the graders."""
    parts = [c.short for c in criteria]
    graders = sorted((kit.root / "grader").rglob("*.py")) + sorted(kit.criteria_dir.glob("*.toml"))
    parts += [hashlib.sha256(p.read_bytes()).hexdigest() for p in graders]
    for place, folders, names in os.walk(source) if source.is_dir() else [(str(source.parent), [], [source.name])]:
        folders.sort()
        for name in sorted(names):
            about = os.lstat(f"{place}/{name}")
            parts.append(f"{os.fsencode(place)!r} {os.fsencode(name)!r} {about.st_size} {about.st_mtime_ns}")
            if len(parts) > 100_000:
                return ""  # never the same: it will be refused each time
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_done(out: Path) -> str:
    with suppress(LabError):
        return str(read_json(out / "done.json").get("key", ""))
    return ""


def read_report(out: Path) -> Report:
    return Report.from_json(read_json(out / "report.json"))


def summary(made: Report) -> str:
    parts = []
    for result in made.criteria:
        if result.verdict is not Verdict.NOT_RUN:
            first = result.first_problem()
            parts.append(f"{result.id.split('-')[0]} {result.verdict.value}{f' ({first.id})' if first else ''}")
    return ", ".join(parts) or "nothing graded"


# ---------------------------------------------------------------- kept evidence, judged again


def judge_class(kit: Kit, out: Path, say: Say) -> list[str]:
    """Judges all that was kept by the checks as they are now, without the submissions. Returns whose verdict changed,
    with the reason; reports and tables then say the new ones."""
    graded, changes = [], []
    for place in sorted(p.parent for p in out.glob("*/done.json")):
        name, before = read_json(place / "done.json")["name"], read_report(place)
        after = judged_again(kit, place, before)
        changes += [f"{name}: {line}" for line in differences(before, after)]
        graded.append(Graded(name, after, kept=True))
        say(f"{name}: {summary(after)}")
    write_tables(out, graded)
    return changes


def judged_again(kit: Kit, place: Path, before: Report) -> Report:
    """What was kept there, judged by the checks as they are now; the report says so."""
    kept = read_json(place / "evidence.json")
    results = tuple(judge_again(kit, result, kept) for result in before.criteria)
    after = Report(before.made, before.machine, before.answers, results)
    report.save(after, Workspace(kit, place, out=place), {})
    return after


def troubled(made: Report) -> bool:
    return any(result.verdict is Verdict.ERROR for result in made.criteria)


def judge_again(kit: Kit, result: CriterionResult, kept: Facts) -> CriterionResult:
    short = result.id.split("-")[0]
    if short not in kept:
        return result
    return judge_criterion(kit.criterion(short), {name: Evidence(**e) for name, e in kept[short].items()})


def differences(before: Report, after: Report) -> Iterator[str]:
    for old, new in zip(before.criteria, after.criteria, strict=True):
        then = {c.id: c.verdict for c in old.checks}
        for check in new.checks:
            if then.get(check.id) is not check.verdict:
                was = then[check.id].value if check.id in then else "not there"
                yield f"{new.id} {check.id}: {was} -> {check.verdict.value}: {check.message}"


# ---------------------------------------------------------------- tables


def write_tables(out: Path, graded: list[Graded]) -> None:
    write_atomic(out / "class.csv", to_csv(graded).encode())
    write_atomic(out / "class.html", to_page(out, graded).encode())


def to_csv(graded: list[Graded]) -> str:
    """A row a check. What could be a formula to a spreadsheet begins with an apostrophe."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["submission", "criterion", "check", "verdict", "message", "seconds", "made"])
    for one in graded:
        for result in one.report.criteria:
            for check in result.checks:
                row: list[Any] = [one.name, result.id, check.id, check.verdict.value, check.message, result.seconds]
                rows.writerow([harmless(str(part)) for part in [*row, one.report.made]])
    return text.getvalue()


def harmless(cell: str) -> str:
    """No formula to a spreadsheet, nor to one that divides rows at semicolons."""
    cell = re.sub(r"([;\t]\s*)(?=[=+@-])", r"\1'", cell)
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def to_page(out: Path, graded: list[Graded]) -> str:
    """One table: a row a submission, which leads to its report; each verdict in words."""
    places = {read_json(p).get("name"): p.parent.name for p in out.glob("*/done.json")}
    return report.render("class.html", graded=graded, places=places, cell=cell)


def cell(result: CriterionResult) -> str:
    passed, first = sum(c.verdict is Verdict.PASS for c in result.checks), result.first_problem()
    count = f" {passed}/{len(result.checks)}" if result.checks else ""
    where = f": {first.id}" if first and result.verdict is not Verdict.NOT_RUN else ""
    return f"{report.SIGNS[result.verdict]}{count}{where}"
