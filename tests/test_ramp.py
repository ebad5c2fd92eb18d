"""What lab 06 says of a ramp: how its kept run is read, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from grader.world.callers import Answer
from labs.helpers.kube import ramp
from labs.helpers.kube.ramp import Point

ROWS = [
    Point(5, 4, 4, 0.1, 1, 20, 1, 1), Point(10, 40, 40, 2.5, 12, 100, 1, 1), Point(15, 40, 38, 0.9, 12, 100, 2, 1),
    Point(20, 40, 40, 0.3, 6, 100, 2, 2), Point(25, 40, 40, 0.3, 4, 91, 2, 2), Point(30, 4, 4, 0.1, 1, 50, 2, 2),
]  # fmt: skip


def test_a_ramp_is_told_in_words() -> None:
    told = ramp.finding(ROWS)
    assert "The rise came at second 10; more replicas were wanted 5 s later, and 2 were ready 10 s after it." in told
    assert "percentile was 2.5 s. Requests a batch: 12 with one pod, 4 with 2." in told


def test_what_pods_used_is_read_while_the_many_ask_and_at_the_end() -> None:
    assert (ramp.used(ROWS, 1), ramp.used(ROWS, 2)) == (100, 91)


def test_answers_become_points_of_five_seconds() -> None:
    answers = [Answer(100 + i / 2, "200" if i % 4 else "503", 0.1 * i) for i in range(20)]
    seen = [(float(at), {"batch": 2.0, "cpu": 70, "wanted": 2, "ready": 1}) for at in (0, 5, 10)]
    first, second = ramp.points(seen, answers, began=100.0)
    assert (first.asked, first.good, first.p95) == (2.0, 1.4, 0.9)
    assert (second.at, second.asked, second.wanted, second.ready) == (10.0, 2.0, 2, 1)


def test_batches_are_counted_over_all_pods_that_are_there() -> None:
    before = {"old": (100.0, 10.0), "gone": (50.0, 5.0)}
    assert ramp.mean_batch(before, {"old": (120.0, 12.0), "new": (8.0, 2.0)}) == 7.0
    assert ramp.mean_batch(before, before) == 0.0


def test_a_run_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ramp.csv"
    ramp.write(ROWS, "made on a machine", path)
    monkeypatch.setattr(ramp, "KEPT", path)
    assert ramp.run() == ROWS


def test_a_kept_run_has_its_own_day_and_a_new_one_has_todays() -> None:
    assert ramp.day_of(ramp.run()) == "2026-11-26"
    assert ramp.day_of(ROWS)[:10] == datetime.now(UTC).date().isoformat()


def test_the_kept_run_says_what_lab_06_says_of_it() -> None:
    rows = ramp.run()
    most = max(row.ready for row in rows)
    assert most >= 2 and ramp.used(rows, 2) > 80
    assert max(row.p95 for row in rows) < 2
    assert ramp.settled(rows, most).batch < ramp.settled(rows, 1).batch / 2
    assert "more replicas were wanted" in ramp.draw(rows).finding
