"""Incidents: made from a pass, over when the criterion passes again, put back whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import run_lab

from grader.kit import Kit

MUTANTS = "grader/criteria/t1.mutants.toml"


@pytest.fixture
def kit(toykit: Path) -> Path:
    """A toy kit whose learner has passed t1."""
    (toykit / "work" / "service" / "number.txt").write_text("42\n")
    return toykit


def only(kit: Path, mutant: str) -> None:
    """Leaves that one incident."""
    path = kit / MUTANTS
    head, *parts = path.read_text().split("[[mutant]]")
    path.write_text(
        head + "".join(f"[[mutant]]{p if mutant in p else p.replace('incident = true', '')}" for p in parts)
    )


def number(kit: Path) -> str:
    return (kit / "work" / "service" / "number.txt").read_text()


def test_an_incident_from_start_to_end(kit: Path) -> None:
    only(kit, "wrong-number")
    begun = run_lab(kit, "incident", "01")
    assert begun.returncode == 0, begun.stderr
    assert "A caller says: the answer is wrong.\nit says 41\n" in begun.stdout and "number-is-right" not in begun.stdout
    assert number(kit) == "41\n" and (kit / "work" / "live.txt").read_text() == "41\n"
    (kit / "work" / "service" / "number.txt").write_text("43\n")
    assert "Not over yet" in run_lab(kit, "incident", "01").stdout
    hints = [run_lab(kit, "hint").stdout for _ in range(3)]
    assert "number-is-right, hint 1 of 3" in hints[0] and "hint 3 of 3: echo 42" in hints[2]
    (kit / "work" / "service" / "number.txt").write_text("42\n")
    over = run_lab(kit, "incident", "01").stdout
    assert over.startswith("Over after 0 minutes: t1 passes again.") and "  b  another number\n" in over
    assert "What was it?" in run_lab(kit, "incident", "01").stdout
    named = run_lab(kit, "incident", "01", "a").stdout
    assert named.startswith("You said a (no number); it was b: another number.\nRead another book.\n")


def test_a_second_call_gives_the_other_one(kit: Path) -> None:
    seen = []
    for _ in range(3):
        run_lab(kit, "incident", "01")
        seen.append(json.loads((kit / "work" / ".incident.json").read_text())["mutant"])
        told = run_lab(kit, "incident", "01", "--give-up")
        assert "Everything is as before." in told.stdout and number(kit) == "42\n", told.stderr
    assert seen[0] == seen[2] != seen[1]


def test_it_begins_from_a_pass_alone(kit: Path) -> None:
    (kit / "work" / "service" / "number.txt").write_text("7\n")
    done = run_lab(kit, "incident", "01")
    assert done.returncode == 2 and "t1 does not pass: number-is-right." in done.stderr and number(kit) == "7\n"
    assert not (kit / "work" / ".incident.json").exists()
    assert run_lab(kit, "incident", "02").returncode == 64, "that lab has none"
    assert "nothing to put back" in run_lab(kit, "incident", "01", "--give-up").stdout


def test_where_the_edit_does_not_fit_the_solutions_file_stands_in_and_yours_comes_back(kit: Path) -> None:
    only(kit, "wrong-number")
    path = kit / MUTANTS
    more = '{ file = "service/given.txt", find = "given", put = "taken" }, { file = "service/number.txt",'
    path.write_text(path.read_text().replace('{ file = "service/number.txt",', more, 1))
    mine = kit / "work" / "service" / "given.txt"
    mine.write_text("mine, written otherwise\n")
    begun = run_lab(kit, "incident", "01")
    assert "your service/given.txt is unlike the solution's" in begun.stderr and "taken" in mine.read_text()
    (kit / "work" / "service" / "number.txt").write_text("42\n")
    assert "Over after" in run_lab(kit, "incident", "01").stdout
    assert mine.read_text() == "mine, written otherwise\n" and number(kit) == "42\n"


def test_one_that_needs_the_learners_own_text_is_not_made_where_it_does_not_fit(kit: Path) -> None:
    path = kit / MUTANTS
    stranger = 'own = true\nedit = [{ file = "service/given.txt", find = "unheard-of", put = "taken" }, '
    head, _, rest = path.read_text().partition('id = "wrong-number"')
    path.write_text(f'{head}id = "wrong-number"{rest.replace("edit = [", stranger, 1)}')
    for _ in range(2):
        run_lab(kit, "incident", "01")
        assert json.loads((kit / "work" / ".incident.json").read_text())["mutant"] != "wrong-number"
        run_lab(kit, "incident", "01", "--give-up")


@pytest.mark.parametrize("moment", ["breaking", "restoring"])
def test_killed_in_the_middle_nothing_is_lost(kit: Path, moment: str) -> None:
    """SIGKILL while a command makes the change live; the learner's own file beside it is of a form of its own."""
    only(kit, "wrong-number")
    mine = kit / "work" / "service" / "mine.txt"
    mine.write_text("mine")
    slow = 'live = ["touch begun; sleep 60"]'
    path, quick = kit / MUTANTS, (kit / MUTANTS).read_text()
    if moment == "restoring":
        run_lab(kit, "incident", "01")
    path.write_text(quick.replace('live = ["cp service/number.txt live.txt"]', slow))
    words = ["incident", "01", *(["--give-up"] if moment == "restoring" else [])]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "SERVING_LAB_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "grader.cli", *words], env={**clean, "LAB_KIT": str(kit)}, cwd=kit,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (kit / "work" / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert json.loads((kit / "work" / ".incident.json").read_text())["stage"] == moment
    process.send_signal(signal.SIGKILL)
    process.wait()
    path.write_text(quick)
    told = run_lab(kit, "incident", "01")
    assert "was cut short while files were changed; everything is as before" in told.stdout, told.stderr
    assert number(kit) == "42\n" and mine.read_text() == "mine"
    assert "Something is broken now." in run_lab(kit, "incident", "01").stdout


def test_what_the_mutants_leave_or_take_away_is_put_back_too(kit: Path) -> None:
    only(kit, "no-file")
    path = kit / MUTANTS
    path.write_text(path.read_text().replace("remove = [", 'add = [{ file = "stray.txt", text = "x" }]\nremove = ['))
    run_lab(kit, "incident", "01")
    assert not (kit / "work" / "service" / "number.txt").exists() and (kit / "work" / "stray.txt").exists()
    run_lab(kit, "incident", "01", "--give-up")
    assert number(kit) == "42\n" and not (kit / "work" / "stray.txt").exists()
    assert Kit(kit).mutants("t1"), "the kit's own files are untouched"
