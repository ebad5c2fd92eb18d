"""The whole engine on toy criteria: one passes, one fails, one hangs; one is not built, one needs what nobody has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest
from mutants.prove import MutantResult, scratch, to_lines, try_mutant, try_mutants, try_only
from mutants.recordings import tie
from mutants.turns import STRIDE, rotate, within

from grader.errors import LabError
from grader.kit import Kit
from grader.model import CriterionResult, Report, Verdict
from grader.processes import wait_until
from grader.walk import checkpoint, make_key, start_at, walk
from grader.workspace import Workspace, read_json

Walked = tuple[Path, subprocess.CompletedProcess[str]]


SLEEP = """from pathlib import Path
import subprocess
subprocess.Popen(['sleep', '600.25'], start_new_session=True).wait()
"""


FIXTURE = """
import contextlib

@contextlib.contextmanager
def long_word(ws):
    (ws.service / "word.txt").write_text("verbosity")
    yield
"""


def sleepers(number: str = "600.25") -> list[int]:
    """Processes that t3's probe, or an interrupted notebook, leaves behind when nobody reaps them."""
    return [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", number]]


def test_a_walk_tells_each_verdict_for_what_it_is(walked: Walked) -> None:
    kit, done = walked
    report = json.loads((kit / "report.json").read_text())
    assert {c["id"]: c["verdict"] for c in report["criteria"]} == {
        "t1-number-written": "pass",
        "t2-never-true": "fail",
        "t3-hangs": "error",
        "t4-not-built": "not_run",
        "t5-needs-a-unicorn": "not_run",
    }
    notes = {c["id"]: c["note"] for c in report["criteria"]}
    assert notes["t4-not-built"] == "not built yet"
    assert notes["t5-needs-a-unicorn"] == "no unicorn: adopt a unicorn"
    assert [n["verdict"] for n in report["notebooks"]] == ["pass", "not_run"]
    assert report["answers"][0]["says"] == "You said 4; it is 4 apples. That is right."
    assert done.returncode == 2
    assert "[" in done.stderr and "s] grading t3" in done.stderr, "long work shows its elapsed time"


def test_the_hung_probe_was_ended_with_all_its_children(walked: Walked) -> None:
    report = json.loads((walked[0] / "report.json").read_text())
    hung = next(c for c in report["criteria"] if c["id"] == "t3-hangs")["checks"]
    assert [c["verdict"] for c in hung] == ["error", "pass"]
    assert "ran past its limit of 0.7 s" in hung[0]["message"]
    assert sleepers() == []


def test_a_walk_writes_all_its_forms(walked: Walked) -> None:
    kit, done = walked
    assert "Forty-two it is." in (kit / "report.html").read_text(), "a pass is explained"
    suites = {s.get("name"): s for s in ElementTree.parse(kit / "report.xml").getroot()}
    assert suites["t2-never-true"].get("failures") == "1"
    assert suites["t5-needs-a-unicorn"].get("skipped") == "2"
    assert "is-true" in done.stdout and "1 pass, 2 not run, 1 fail, 1 error" in done.stdout


def walk_again(kit: Kit) -> tuple[list[str], Report]:
    """A second walk, after somebody broke the first one's result behind our back."""
    said: list[str] = []
    (kit.state / "walk" / "service" / "number.txt").write_text("41\n")
    return said, walk(kit, said.append, shorts=["t1"])


def try_chosen_mutant(kit: Kit, chosen: str) -> MutantResult:
    mutant = next(m for m in kit.mutants("t1") if m["id"] == chosen)
    return try_mutant(kit, kit.criterion("t1"), mutant, live=False, record=False)


def try_harmless_mutant(kit: Kit) -> list[MutantResult]:
    mutant = (
        '[[mutant]]\nid = "harmless"\nfrom = "01"\nfails = "word-is-short"\nadd = [{file = "service/x", text = ""}]\n'
    )
    (kit.criteria_dir / "t1.mutants.toml").write_text(mutant)
    return try_mutants(kit, ["t1"], lambda _: None)


def test_a_run_with_little_time_looks_at_what_it_can_and_names_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(Path(__file__).parent / "toykit")
    row = {"from": "01", "fails": "word-is-short"}
    listed = [{"id": name, **row} for name in "abc"] + [{"id": "d", **row, "recorded": True}]
    monkeypatch.setattr(kit, "mutants", lambda _: listed)
    monkeypatch.setattr("mutants.prove.list_right", lambda *_: [{"id": "r", "from": "01"}])
    looked: list[tuple[str, bool]] = []

    def note(_: Kit, c: Any, mutant: Any, live: bool, record: bool) -> MutantResult:
        looked.append((mutant["id"], live))
        return MutantResult(c.short, mutant["id"], mutant.get("fails", ""), Verdict.PASS, "", 0)

    monkeypatch.setattr("mutants.prove.try_mutant", note)
    results = try_mutants(kit, ["t1"], lambda _: None, live=True, minutes=1)
    assert looked[0] == ("control", True) and sorted(looked[1:]) == [(name, True) for name in "abcdr"]
    assert [r.id for r in results if r.verdict is Verdict.NOT_RUN] == []
    looked.clear()
    results = try_mutants(kit, ["t1"], lambda _: None, minutes=1e-9)
    assert looked == []
    assert sorted(r.id for r in results if r.verdict is Verdict.NOT_RUN) == ["a", "b", "c", "d", "r"]
    assert [r.id for r in results if r.stale] == ["d"]
    assert "0 of 1 mutants caught by their own check; not run this time: 4" not in to_lines(results)
    assert to_lines(results)[-1] == "evidence that is stale and was not looked at again: 1 t1 d"


def test_one_submission_alone_is_looked_at_after_the_control(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(Path(__file__).parent / "toykit")
    looked: list[str] = []

    def note(_: Kit, c: Any, mutant: Any, live: bool, record: bool) -> MutantResult:
        looked.append(mutant["id"])
        return MutantResult(c.short, mutant["id"], mutant.get("fails", ""), Verdict.PASS, "", 0)

    monkeypatch.setattr("mutants.prove.try_mutant", note)
    chosen = kit.mutants("t1")[-1]["id"]
    assert [r.id for r in try_only(kit, ["t1"], lambda _: None, [chosen])] == [chosen]
    assert looked == ["control", chosen]
    with pytest.raises(LabError, match="Nothing is called nobody"):
        try_only(kit, ["t1"], lambda _: None, ["nobody"])


def test_mutants_do_not_count_where_the_control_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = Kit(Path(__file__).parent / "toykit")
    monkeypatch.setattr("mutants.prove.check_control", lambda *_: "the cluster is down")
    results = try_mutants(kit, ["t1"], lambda _: None, minutes=1)
    assert {r.verdict for r in results if r.id != "none"} == {Verdict.ERROR}
    assert all("the cluster is down" in r.message for r in results if r.id != "none")


def test_a_scratch_copy_is_thrown_away(toykit: Path) -> None:
    ws = Workspace(Kit(toykit), toykit / "work")
    with scratch(ws) as copy:
        (copy.root / "service" / "new").write_text("x")
        assert copy.name != ws.name
    assert not copy.root.exists() and not (ws.root / "service" / "new").exists()


def test_time_goes_first_to_what_changed_then_to_the_others() -> None:
    now = [0.0]
    given = []
    for item in within(100, list("ab"), list("vwxyz"), lambda: now[0]):
        given.append(item)
        now[0] += 30
    assert given == ["a", "b", "v"], "b begins at 30 s, before half of the time; after v a fourth would not end in time"


def test_every_try_has_its_turn_within_days() -> None:
    seen = {item for day in range(12) for item in rotate(list(range(40)), day)[:STRIDE]}
    assert seen == set(range(40))


@pytest.fixture(scope="module")
def jobs(walked: Walked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Any]]]:
    """What takes seconds, side by side, each in a copy of the walked kit of its own."""

    def copy(name: str) -> Kit:
        return Kit(shutil.copytree(walked[0], tmp_path_factory.mktemp(name) / "toykit"))

    with ThreadPoolExecutor(3) as pool:
        yield {
            "again": pool.submit(walk_again, copy("again")),
            "SIGINT": pool.submit(interrupted_walk, copy("int").root, signal.SIGINT, "600.5"),
            "SIGKILL": pool.submit(interrupted_walk, copy("kill").root, signal.SIGKILL, "600.75"),
            "wrong-number": pool.submit(try_chosen_mutant, copy("number"), "wrong-number"),
            "long-word-by-link": pool.submit(try_chosen_mutant, copy("link"), "long-word-by-link"),
            "harmless": pool.submit(try_harmless_mutant, copy("harmless")),
        }


def test_a_second_walk_skips_what_has_not_changed_and_grades_what_is_there(jobs: dict[str, Future[Any]]) -> None:
    said, report = jobs["again"].result()
    assert said[0] == "01_write_a_number: unchanged, skipped"
    assert "does not pass any more, so it is executed again" in said[1]
    assert report.exit_code() == 0


def test_a_key_changes_with_code_inputs_and_live_state_but_not_with_prose(toykit: Path) -> None:
    source = toykit / "solutions" / "01_write_a_number.py"
    text = source.read_text()

    def key() -> str:
        kit = Kit(toykit)
        first = make_key(kit, kit.lab("01"), "")
        return make_key(kit, kit.lab("02"), first)

    before = key()
    source.write_text(text.replace("A number has to be written.", "Write one."))
    assert key() == before
    source.write_text(text.replace("\n42\n", "\n43\n"))
    assert key() != before
    source.write_text(text)
    for name, content in (("service/given.txt", "other"), ("requirements.lock", "x==1"), ("live.txt", "a new cluster")):
        (toykit / name).write_text(content)
        assert key() != before, name
        before = key()


def test_a_lab_aside_is_walked_when_it_is_named(toykit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    front = (toykit / "solutions" / "02_do_nothing.py").read_text()
    aside = front.replace('id: "02"', 'id: "03", walk: false').replace("t4, t5", "t9").replace("needs: [unicorn],", "")
    (toykit / "solutions" / "03_aside.py").write_text(aside)
    criterion = (toykit / "grader/criteria/t2.toml").read_text().replace('"01"', '"03"').replace("t2-", "t9-")
    (toykit / "grader/criteria/t9.toml").write_text(criterion)
    taken: list[tuple[str, str]] = []
    monkeypatch.setattr("grader.walk.execute", lambda source, *_: taken.append((source.stem, "executed")))
    monkeypatch.setattr("grader.walk.grade_criterion", lambda _, c: CriterionResult(c.id, c.title, Verdict.PASS, 0))
    kit = Kit(toykit)
    plain, named = walk(kit, print), walk(kit, print, later=["03"])
    assert [run.id for run in plain.notebooks] == ["01_write_a_number", "02_do_nothing"]
    assert [run.id for run in named.notebooks][2:] == ["03_aside"] and len(taken) == 2
    assert {c.id for c in named.criteria} - {c.id for c in plain.criteria} == {"t9-never-true"}
    assert [run.id for run in walk(kit, print, shorts=["t9"]).notebooks][2:] == ["03_aside"]


def test_start_at_brings_what_the_labs_before_leave_and_keeps_what_was_there(walked: Walked, tmp_path: Path) -> None:
    kit = Kit(walked[0])
    ws = Workspace(kit, tmp_path / "work")
    (ws.root / "service").mkdir(parents=True)
    (ws.root / "service" / "number.txt").write_text("mine")
    said = start_at(ws, "02")
    assert (ws.root / "service" / "number.txt").read_text() == "42\n"
    assert [p.read_text() for p in ws.root.glob("backups/*/number.txt")] == ["mine"]
    assert "yours is in" in " ".join(said)
    # what `%%work` wrote in the labs before is not taken for a file that was changed by hand
    wrote = read_json(checkpoint(kit, "01") / ".lab.json")
    assert "service/number.txt" in wrote and read_json(ws.root / ".lab.json").items() >= wrote.items()


@pytest.mark.parametrize("mutant", ["wrong-number", "long-word-by-link"])
def test_a_mutant_is_caught_by_its_check_alone(jobs: dict[str, Future[Any]], mutant: str) -> None:
    result = jobs[mutant].result()
    assert (result.id, result.verdict.value) == (mutant, "pass"), result.message


@pytest.mark.parametrize(
    ("mutant", "verdict", "said"),
    [
        ({"edit": [{"file": "service/number.txt", "find": "7", "put": "8"}]}, "error", "is stale"),
        ({"remove": ["service/absent.txt"]}, "error", "is stale"),
        ({"run": ["false"]}, "error", "ended with 1"),
        ({"from": "09"}, "error", "no checkpoint"),
        ({"recorded": True}, "not_run", "No evidence is recorded"),
    ],
)
def test_a_mutant_that_cannot_be_used_is_an_error(
    walked: Walked, mutant: dict[str, object], verdict: str, said: str
) -> None:
    kit = Kit(walked[0])
    full = {"id": "m", "from": "01", "fails": "number-is-right", **mutant}
    result = try_mutant(kit, kit.criterion("t1"), full, live=False, record=False)
    assert result.verdict.value == verdict and said in result.message


def test_a_mutant_with_live_state_is_recorded_judged_again_and_goes_stale(walked: Walked, tmp_path: Path) -> None:
    kit = Kit(shutil.copytree(walked[0], tmp_path / "toykit"))
    code = kit.criteria_dir / "t1.py"
    code.write_text(code.read_text().replace("\n\n@check(number)", FIXTURE + "\n\n@check(number)", 1))
    mutant = {"id": "live", "from": "01", "fails": "word-is-short", "around": "long_word", "recorded": True}
    mutant["says"] = "verbosity"
    assert try_mutant(kit, kit.criterion("t1"), mutant, live=True, record=True).verdict.value == "pass"
    again = try_mutant(kit, kit.criterion("t1"), mutant, live=False, record=False)
    assert again.verdict.value == "pass" and again.seconds < 1
    before = tie(kit, kit.criterion("t1"), mutant)
    code.write_text(code.read_text().replace("under five letters", "few letters"))
    assert tie(kit, kit.criterion("t1"), mutant) == before, "a check may change: old evidence is judged again"
    assert tie(kit, kit.criterion("t1"), {**mutant, "add": []}) != before, "the mutant's own text"
    alone = {k: v for k, v in mutant.items() if k != "around"}
    assert tie(kit, kit.criterion("t1"), alone) != before, "a mutant of files alone is recorded, too"
    code.write_text(code.read_text().replace('"verbosity"', '"verbosities"'))
    assert tie(kit, kit.criterion("t1"), mutant) != before, "its fixture"
    code.write_text(code.read_text().replace('"verbosities"', '"verbosity"').replace("word.txt", "words.txt"))
    stale = try_mutant(kit, kit.criterion("t1"), mutant, live=False, record=False)
    assert stale.verdict.value == "not_run" and stale.stale and "stale" in stale.message


def test_an_uncaught_mutant_and_a_check_without_one_are_failures(jobs: dict[str, Future[Any]]) -> None:
    said = {r.fails: (r.verdict.value, r.message) for r in jobs["harmless"].result()}
    assert said["word-is-short"][0] == "fail" and "word-is-short is pass, not fail" in said["word-is-short"][1]
    assert said["number-is-right"][0] == "fail" and "this check has no mutant" in said["number-is-right"][1]


def interrupted_walk(kit: Path, sign: signal.Signals, number: str) -> Path:
    """A walk that got the signal while its first notebook ran, with a process outside its session still alive."""
    source = kit / "solutions" / "01_write_a_number.py"
    source.write_text(source.read_text().replace("from pathlib import Path\n", SLEEP.replace("600.25", number)))
    command = [sys.executable, "-m", "grader.cli", "walk"]
    env = {**os.environ, "LAB_KIT": str(kit)}
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert wait_until(lambda: bool(sleepers(number)), 90)
    process.send_signal(sign)
    process.wait(60)
    assert wait_until(lambda: not sleepers(number), 60)
    return kit


@pytest.mark.parametrize("sign", ["SIGINT", "SIGKILL"])
def test_an_interrupted_walk_leaves_no_process_and_no_half_report(
    walked: Walked, jobs: dict[str, Future[Any]], sign: str
) -> None:
    kit = jobs[sign].result()
    results = kit / ".lab" / "walk" / "results"
    assert (results / "report.json").read_text() == (walked[0] / ".lab/walk/results/report.json").read_text()
    assert not list(results.glob(".report*"))
    keys = json.loads((kit / ".lab/walk/.keys.json").read_text())
    assert keys == {}, "what did not end is not skipped: the next run goes on from here"
    assert checkpoint(Kit(kit), "01").is_dir()
