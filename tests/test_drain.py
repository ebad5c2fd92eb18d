"""Roll-outs under load: the rows and the table, without a cluster (tests/test_release_live.py makes such runs)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from grader.processes import Completed
from grader.world import drain
from grader.world.callers import Answer, lateness
from grader.world.canary import SETTLES, lost_by_switch
from grader.world.drain import Row, table, write
from grader.world.load import cli
from labs.helpers.kube.release import wilson

ROWS = [
    Row(1, "rolling update", "new", 503, 0.61, 51.2),
    Row(2, "drain of worker2", "new", 504, 10.0, 52.0, [(7.1, "503"), (7.2, "503"), (9.0, "RemoteDisconnected")]),
]


def test_the_table_says_what_was_lost_in_which_run(tmp_path: Path) -> None:
    text = table(ROWS)
    assert "| 1 | rolling update | new | 503 | 0 | - | 0.6 | 0.0 | 51 |" in text
    assert "| 2 | drain of worker2 | new | 504 | 3 | 2 x 503, 1 x RemoteDisconnected | 10.0 | 0.0 | 52 |" in text
    assert text.endswith("3 of 1007 requests were lost in 2 runs.")
    stalled = Row(3, "rolling update", "new", 900, 12.0, 99.0, [(52.0, "TimeoutError")] * 200, late_s=20.0)
    assert table([ROWS[0], stalled]).endswith(
        "0 of 503 requests were lost in 1 run. Run 3 is not counted: the machine stopped the sender for more than 2 s."
    )
    write(ROWS, tmp_path / "drain.csv")
    rows = list(csv.DictReader((tmp_path / "drain.csv").open()))
    assert [row["lost"] for row in rows] == ["0", "3"]


def test_lost_by_the_switch_is_what_is_under_way_then_or_comes_later() -> None:
    before, under_way = Answer(10.0, "500", 0.1), Answer(19.9, "500", 0.5)
    later, good = Answer(20.0 + SETTLES + 1, "503", 0.1), Answer(21.0, "200", 0.1)
    answers = [before, under_way, later, good]
    assert lost_by_switch(answers, 20.0, good=True) == [under_way, later]
    assert lost_by_switch(answers, 20.0, good=False) == [later], (
        "until the weights are taken a bad one fails for itself"
    )


def test_wilsons_interval_is_that_of_the_book() -> None:
    low, high = wilson(20, 200)  # Newcombe 1998: 0.0657 to 0.1494
    assert (round(low, 3), round(high, 3)) == (0.066, 0.149)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 50)[0] < 1e-9 < wilson(0, 50)[1] < 0.08


def test_how_late_the_sender_was_is_its_worst_request() -> None:
    assert lateness(
        [Answer(10.0, "200", 0.1), Answer(10.1, "200", 0.1), Answer(12.7, "200", 0.1)], 10
    ) == pytest.approx(2.5)
    assert lateness([], 10) == 0.0


def test_the_command_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measure(*given: Any) -> list[Row]:
        asked.append(given)
        return ROWS

    monkeypatch.setattr(drain, "measure", measure)
    done = CliRunner().invoke(cli.main, ["--work", str(tmp_path), "drain", "--runs", "2"])
    assert done.exit_code == 0, done.output
    assert "3 of 1007 requests were lost in 2 runs." in done.output
    assert (tmp_path / "bench" / "drain.csv").read_text().startswith("run,what,connections")
    assert asked[0][1] == f"{asked[0][0]}-drain" and asked[0][2:5] == (2, 500, False)


def test_nodes_that_a_killed_run_closed_are_opened_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [{"metadata": {"name": "a", "annotations": {drain.KEY: "x"}}}, {"metadata": {"name": "b"}}]
    said: list[tuple[str, ...]] = []

    def kubectl(*words: str) -> Completed:
        said.append(words)
        return Completed(0, "", 0.0)

    monkeypatch.setattr(drain, "get", lambda *_: {"items": nodes})
    monkeypatch.setattr(drain, "kubectl", kubectl)
    drain.open_left()
    assert said == [("uncordon", "a"), ("annotate", "node", "a", f"{drain.KEY}-")]
