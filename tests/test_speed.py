"""`./lab bench kit` on measures that take no time: rounds, an earlier checkout, what does not go well, the page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from figures.drift import yardsticks
from speed import measures, page, rounds
from speed.measures import Measure, NotMeasured, Place

from grader.kit import Kit

KIT = Kit()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(rounds, "measure_yardstick", lambda place: 10.0)
    return Place(KIT.root, tmp_path / "work", tmp_path)


def refuse(place: Place) -> float:
    raise NotMeasured("sc2 is fail")


def make_run(place: Place, made: str = "2026-11-26T10:00:00+00:00", sc1: float = 7.0) -> page.Run:
    some = [
        Measure("help", "", lambda p: 0.3),
        Measure("sc1", "", lambda p: sc1 if p.root == KIT.root else 14.0),
        Measure("sc2", "", refuse),
        Measure("sc1-again", "", lambda p: 4.0 if p.root == KIT.root else refuse(p)),
        Measure("walk", "", lambda p: 1500.0, once=True),
    ]
    older = Place(place.scratch, place.work, place.scratch)
    return {**rounds.measure_all(some, [place, older], 3, lambda line: None), "made": made}


def test_each_is_measured_in_each_round_in_both_places_and_what_takes_minutes_once(place: Place) -> None:
    run = make_run(place)
    assert run["yardstick"] == [10.0] * 5
    assert run["measures"] == {
        "help": {"seconds": [0.3] * 3},
        "sc1": {"seconds": [7.0] * 3},
        "sc1-again": {"seconds": [4.0] * 3},
        "walk": {"seconds": [1500.0]},
    }
    assert run["of"]["measures"] == {"help": {"seconds": [0.3] * 3}, "sc1": {"seconds": [14.0] * 3}}
    assert run["not_measured"] == {"sc2": "sc2 is fail"}
    assert yardsticks(run, "sc1") == pytest.approx(0.7)


def test_the_page_has_the_newest_figure_of_each_and_is_made_of_the_runs_alone(place: Place) -> None:
    old, new = make_run(place, sc1=9.0), make_run(place, "2026-11-27T10:00:00+00:00")
    text = page.to_page([old, {**new, "measures": {"sc1": new["measures"]["sc1"]}}])
    assert "| `./lab grade sc1` | 7.0, 7.0 to 7.0 | 0.70 | 8 | 2026-11-27 |" in text
    assert "| `./lab --help` | 0.30, 0.30 to 0.30 | 0.03 |  | 2026-11-26 |" in text
    assert "| `./lab grade sc1` | 14.0, 14.0 to 14.0 | 7.0, 7.0 to 7.0 | 50% |" in text
    assert "| 2026-11-26 10:00 | 0.03 | 0.90 | 0.40 | 150.00 |" in text
    assert "| 2026-11-27 10:00 |  | 0.70 |  |  |" in text
    assert "not measured: `sc2`: sc2 is fail" in text


def test_a_command_that_ends_badly_has_no_figure(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="ended with 3"):
        measures.run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path)
    code = "import os; raise SystemExit(any(name.startswith(('LAB_W', 'SERVING_LAB')) for name in os.environ))"
    assert measures.run([sys.executable, "-c", code], tmp_path) > 0


def test_a_grade_that_does_not_pass_has_no_figure(tmp_path: Path, toykit: Path) -> None:
    (toykit / "lab").write_text(f'#!/bin/sh\nLAB_KIT={toykit} exec {sys.executable} -P -m grader.cli "$@"\n')
    (toykit / "lab").chmod(0o755)
    place = Place(toykit, toykit / "work", tmp_path)
    (place.work / "service" / "number.txt").write_text("42")
    assert measures.grade("t1", place) > 0
    with pytest.raises(NotMeasured, match="ended with 1"):
        measures.grade("t2", place)
    with pytest.raises(NotMeasured, match="t5 is not_run"):
        measures.grade("t5", place)


def test_the_names_are_those_of_the_kit() -> None:
    known = measures.all_measures(KIT)
    assert set(measures.light(KIT)) <= set(known) and set(page.GOALS) <= set(known)
    assert [name for name, one in known.items() if one.once] == ["first", "alone", "walk", "unchanged"]


def test_the_command(tmp_path: Path) -> None:
    def bench(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "grader.cli", "bench", "kit", *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
        return f"{done.returncode} {done.stdout}{done.stderr}"

    assert "--light" in bench("--help") and bench("--help").startswith("0")
    assert bench("sc99").startswith("64") and "Known: help, sc1" in bench("sc99")
    assert "was not walked" in bench("help", "--work", str(tmp_path))


@pytest.mark.parametrize("path", sorted((KIT.root / page.RUNS).glob("*.json")), ids=lambda path: path.stem)
def test_a_run_that_is_kept_was_made_by_a_commit(path: Path) -> None:
    run = json.loads(path.read_text())
    assert run["commit"] and not run["commit"].endswith("+")
    assert len(run["yardstick"]) > 1 and run["measures"]
