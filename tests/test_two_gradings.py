"""Two gradings of one workspace: the second says who is at it, waits, and then gives the same verdict."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from conftest import run_lab

from grader.processes import wait_until
from grader.workspace import digest, locked


def test_the_second_one_waits_and_says_for_whom(toykit: Path) -> None:
    (toykit / "work" / "service" / "number.txt").write_text("42")
    lock = toykit / ".lab" / f"grading-{digest(str(toykit / 'work' / 'results').encode())}.lock"
    told = []
    with locked(lock, "", print):
        second = threading.Thread(target=lambda: told.append(run_lab(toykit, "grade", "t1")))
        second.start()
        assert not wait_until(lambda: bool(told), 3)
    second.join(60)
    assert "waiting: the folder of reports" in told[0].stderr and "is in use by process" in told[0].stderr
    assert told[0].returncode == 0, told[0].stdout


def test_two_at_once_leave_one_whole_report(toykit: Path) -> None:
    (toykit / "work" / "service" / "number.txt").write_text("42")
    told = []
    both = [threading.Thread(target=lambda: told.append(run_lab(toykit, "grade", "t1").returncode)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(120)
    assert told == [0, 0]
    report = json.loads((toykit / "work" / "results" / "report.json").read_text())
    assert [c["verdict"] for c in report["criteria"]] == ["pass"]
