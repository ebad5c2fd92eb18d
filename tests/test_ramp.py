"""What lab 06 says of a ramp: how its kept run is read, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from grader.world.callers import Answer
from labs.helpers.kube import ramp
from labs.helpers.kube.ramp import Point


def row(at: float, asked: float, p95: float, good: float = -1, wanted: int = 1, ready: int = 1) -> Point:
    return Point(at, asked, asked if good < 0 else good, p95, 50, wanted, ready)


CALM, LATE = row(5, 4, 0.1), row(10, 40, 6.0, good=20)


@pytest.mark.parametrize(
    ("then", "seconds", "letter"),
    [
        ([row(15, 40, 0.2, wanted=2, ready=2)], 5.0, "a"),
        ([row(15 + 5 * i, 40, 6.0) for i in range(8)] + [row(60, 40, 0.2)], 45.0, "b"),
        ([row(15 + 5 * i, 40, 0.2, good=30) for i in range(8)] + [row(60, 40, 0.2)], 45.0, "b"),  # answers are lost
        ([row(15 + 5 * i, 40, 6.0) for i in range(8)], -1.0, "c"),
    ],
)
def test_when_people_had_their_answers_in_time_again(then: list[Point], seconds: float, letter: str) -> None:
    rows = [CALM, LATE, *then, row(90, 4, 9.0)]  # what is late after the fall is no longer of the rise
    assert (ramp.recovered(rows), ramp.letter(rows)) == (seconds, letter)


def test_nobody_waited() -> None:
    assert ramp.recovered([CALM, row(10, 40, 0.1), row(15, 40, 0.1)]) == 0.0


def test_answers_become_points_of_five_seconds() -> None:
    answers = [Answer(100 + i / 2, "200" if i % 4 else "503", 0.1 * i) for i in range(20)]
    seen = [(float(at), {"cpu": 70, "wanted": 2, "ready": 1}) for at in (5, 10)]
    first, second = ramp.points(seen, answers, began=100.0)
    assert (first.asked, first.good, first.p95) == (2.0, 1.4, 0.9)
    assert (second.at, second.asked, second.wanted, second.ready) == (10.0, 2.0, 2, 1)


def test_a_run_is_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ramp.csv"
    ramp.write([CALM, LATE], "made on a machine", path)
    monkeypatch.setattr(ramp, "KEPT", path)
    assert ramp.run() == [CALM, LATE]


def test_the_kept_run_says_what_lab_06_says_of_it() -> None:
    rows = ramp.run()
    assert ramp.letter(rows) == "b"
    assert max(r.ready for r in rows) == max(r.wanted for r in rows) > 1
    picture = ramp.draw(rows)
    assert "more replicas were wanted" in picture.finding
