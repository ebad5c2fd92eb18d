"""Each incident both ways, in a copy of the walk's workspace: sound, broken, two wrong repairs, the right one.

`--incidents all` proves every one; `--incidents N` (CI: 2) that many, another pair each day, and says which; 0, the
default, none. Names may stand in the place of a number: `--incidents selector,weights-missing`.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from mutants.prove import scratch

from cluster.names import prepare, read_names
from grader.grade import grade_criterion
from grader.judge import judge_check
from grader.kit import Kit
from grader.look import look
from grader.model import CheckResult, Criterion, Facts, Verdict
from grader.mutants import apply
from grader.needs import missing
from grader.processes import run
from grader.walk import checkpoint
from grader.workspace import Workspace
from labs.helpers.teaching import incidents

KIT = Kit(ROOT)
KNOWN = {name: found for lab in KIT.labs() for name, found in incidents.known_incidents(KIT, lab.number).items()}


def was_walked(name: str) -> bool:
    """Incidents of a lab that the walk leaves out come where that lab was walked."""
    lab = KIT.lab(KNOWN[name][0].lab)
    return not lab.aside or checkpoint(KIT, lab.number).is_dir()


def added(edit: Facts) -> list[str]:
    """The lines that an edit adds."""
    return [line.strip() for line in edit["put"].splitlines() if line not in edit["find"].splitlines()]


@pytest.mark.parametrize("name", KNOWN)
def test_an_incident_has_all_that_it_needs(name: str) -> None:
    criterion, mutant = KNOWN[name]
    assert mutant["fails"] in {c.id for c in criterion.checks}
    assert mutant["cause"] in mutant["causes"] and len(mutant["causes"]) >= 3
    assert len(mutant["wrong"]) == 2 and mutant["right"]
    assert mutant.get("shows") or mutant.get("shows_run")


@pytest.mark.parametrize("name", KNOWN)
def test_the_third_hint_carries_the_repair(name: str) -> None:
    """Each line that the right repair adds, and each command of it, word for word."""
    criterion, mutant = KNOWN[name]
    hint = criterion.hints[mutant["fails"]][2]
    for text in [t for edit in mutant["right"].get("edit", []) for t in added(edit)] + mutant["right"].get("run", []):
        core = re.sub(r"^(- )?name: http.*|return ", "", text)
        assert core in hint or "".join(core.split()) in "".join(hint.split()), f"{core!r} is not in {hint!r}"


@pytest.mark.parametrize("name", KNOWN)
def test_the_edits_fit_the_solutions_files(name: str) -> None:
    """The fault fits the solution, and each repair what it leaves. (Files of deploy/ are laid out by the lab.)"""
    criterion, mutant = KNOWN[name]
    for repair in [mutant["right"], *mutant["wrong"]]:
        texts: dict[str, str] = {}
        for edit in [*mutant.get("edit", []), *repair.get("edit", [])]:
            if not edit["file"].startswith("deploy/"):
                text = texts.get(edit["file"]) or incidents.solution_file(KIT, criterion.lab, edit["file"])
                assert text.count(edit["find"]) == 1, edit
                texts[edit["file"]] = text.replace(edit["find"], edit["put"])


def test_at_least_two_a_lab() -> None:
    labs = [criterion.lab for criterion, _ in KNOWN.values()]
    assert not [lab for lab in ("02", "03", "04", "05", "06", "07") if labs.count(lab) < 2]


# ---------------------------------------------------------------- in the world


@contextlib.contextmanager
def workspace(criterion: Criterion, name: str) -> Iterator[Workspace]:
    """A copy of the walk's after the criterion's lab, live where it has to be, and nothing left of it."""
    source = checkpoint(KIT, criterion.lab)
    if not source.is_dir():
        pytest.skip(f"no checkpoint after lab {criterion.lab}: ./lab walk")
    with scratch(Workspace(KIT, source)) as copy:
        # a name that a person would give: a scratch copy's own has random letters, which sc5 takes for a secret
        ws = Workspace(KIT, copy.root, f"incident-{name}")
        prepare(ws.name)
        names, namespace = read_names(), read_names().namespace(ws.name)
        try:
            if criterion.lab == "05":
                rename(ws.root / "deploy", namespace)
                command("kubectl apply -k deploy && kubectl rollout status deployment --timeout=240s", ws)
            if criterion.lab == "06":
                rename(ws.root / "split", names.split(ws.name))
            if criterion.lab == "12":
                for space in (names.staging(ws.name), names.production(ws.name)):
                    command(f"python release/promote.py release/record.json {space}", ws)
            yield ws
        finally:
            if criterion.lab == "05":
                # to the end: the next incident's pods need the room on both nodes
                command(f"kubectl delete namespace {namespace} --ignore-not-found --timeout=150s", ws)
            if criterion.lab == "06":
                command(f"kubectl delete namespace {names.split(ws.name)} --ignore-not-found --timeout=150s", ws)
            if criterion.lab == "12":
                spaces = f"{names.staging(ws.name)} {names.production(ws.name)}"
                command(f"kubectl delete namespace {spaces} --ignore-not-found --timeout=150s", ws)
            if criterion.lab == "04":
                images = run(["docker", "images", "-q", names.repository(ws.name)], 30).output.split()
                run(["docker", "rmi", "--force", *images], 60)


def rename(folder: Path, namespace: str) -> None:
    path = folder / "kustomization.yaml"
    path.write_text(re.sub(r"^namespace: .*$", f"namespace: {namespace}", path.read_text(), flags=re.M))


def command(line: str, ws: Workspace) -> None:
    done = run(["bash", "-c", line], 300, cwd=ws.root, env=ws.environ())
    assert done.ok, done.tail(5)


def verdict_of(ws: Workspace, criterion: Criterion, check_id: str) -> tuple[Verdict, str, float]:
    """Of that check alone and those that it comes after: the first that does not pass, and how long it took."""
    began, seen = time.monotonic(), {}
    results: dict[str, CheckResult] = {}
    for check in criterion.checks:
        if check.probe not in seen and needed(criterion, check_id, check.id):
            seen[check.probe] = look(ws, criterion, next(p for p in criterion.probes if p.name == check.probe))
        if needed(criterion, check_id, check.id):
            results[check.id] = judge_check(check, seen[check.probe], results)
    first = next((r for r in results.values() if r.verdict is not Verdict.PASS), results[check_id])
    return first.verdict, f"{first.id}: {first.message}", time.monotonic() - began


def needed(criterion: Criterion, wanted: str, check_id: str) -> bool:
    check = next(c for c in criterion.checks if c.id == wanted)
    return wanted == check_id or any(needed(criterion, earlier, check_id) for earlier in check.after)


def test_each_incident_both_ways(incident_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`incident_name` comes from --incidents (conftest.py)."""
    criterion, mutant = KNOWN[incident_name]
    if lacking := missing(KIT, criterion.needs):
        pytest.skip(f"not run: {lacking}")
    lines: list[str] = []

    def tell(text: str) -> None:
        lines.append(text)
        with capsys.disabled():
            print(f"  {incident_name}: {text}", flush=True)

    with workspace(criterion, incident_name) as ws:
        if criterion.lab == "04":
            incidents.go_live(ws, mutant, lambda _: None)  # the scratch workspace's own image
        sound = grade_criterion(ws, criterion)
        assert sound.verdict is Verdict.PASS, f"sound: {sound.first_problem()}"
        tell(f"sound: pass, {sound.seconds:.0f} s")

        def change(what: Facts) -> None:
            apply(ws, criterion, {"id": incident_name, **what})
            incidents.go_live(ws, mutant, lambda _: None)

        change({k: v for k, v in mutant.items() if k in ("edit", "add", "remove", "link")})
        verdict, message, seconds = verdict_of(ws, criterion, mutant["fails"])
        assert message.startswith(f"{mutant['fails']}: "), message
        assert verdict is Verdict.FAIL and seconds < 60, f"broken: {verdict} {message} {seconds:.0f} s"
        tell(f"broken: fails after {seconds:.0f} s: {message}; a caller sees: "
             f"{' / '.join(incidents.what_shows(ws, mutant))}")  # fmt: skip
        broken = incidents.back_up(ws)
        for wrong in mutant["wrong"]:
            change({k: v for k, v in wrong.items() if k != "story"})
            verdict, message, seconds = verdict_of(ws, criterion, mutant["fails"])
            if verdict is Verdict.PASS:  # then it is another check that does not pass
                graded = grade_criterion(ws, criterion)
                seen = graded.first_problem()
                verdict, message = graded.verdict, f"{seen.id}: {seen.message}" if seen else ""
            assert verdict is Verdict.FAIL, f"{wrong['story']} ends it: {verdict} {message}"
            tell(f"wrong ({wrong['story']}): {verdict.value}: {message}")
            names = [p.relative_to(broken).as_posix() for p in Path(broken).rglob("*") if p.is_file()]
            incidents.bring_back(ws, {"backup": broken}, names)
        change(mutant["right"])
        graded = grade_criterion(ws, criterion)
        assert graded.verdict is Verdict.PASS, f"right: {graded.first_problem()}"
        verdict, message, _ = verdict_of(ws, criterion, mutant["fails"])
        assert verdict is Verdict.PASS, f"and it stays: {message}"
        tell(f"right, and it stays: pass, {graded.seconds:.0f} s")
