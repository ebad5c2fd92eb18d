"""What lab 07 says in words beside its pictures, its rows and its note. The pictures were looked at."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bench_runs
import pytest
import yaml

from cluster.names import NODE_PORTS
from grader.errors import LabError
from grader.world.load.log import Log, Request
from labs.helpers.load import bench, copies, law, pictures, trials


def test_the_law_finds_the_modules_rows_impossible() -> None:
    said = law.finding(law.MODULE, 80)
    assert "in 4 of 5 rows" in said and said.endswith("the others can be true: module: 50 ms, 64.")
    assert law.verdict(law.MODULE[0], 1000 * 80 / 85) == "only if the slowest 5% wait 15 s each"
    assert law.verdict(law.MODULE[-1], 1000 * 80 / 224) == "can be"
    assert "diamond" in law.draw(law.MODULE).figure.axes[0].get_xlabel()


def answered(*ends: tuple[float, str], sent_late: float = 0.0) -> Log:
    """Requests that are due one a second, and wait so long; all of them leave late."""
    requests = [Request(i, i, i + sent_late, i + wait, end) for i, (wait, end) in enumerate(ends)]
    return Log(requests, {"seconds": 10})


def test_refusals_are_no_good_answers() -> None:
    log = answered((0.1, "200"), (0.01, "503"), (0.01, "503"), (0.3, "200"))
    assert pictures.dots_finding(log) == (
        "0 good answers a second, half of them within 200 ms; 50% of all answers are refusals."
    )
    assert trials.told("a", log, "largest batch: 32, 32").endswith(
        "half of the 200s within 200 ms; largest batch: 32, 32"
    )
    assert trials.share(log, "503") == 0.5


def test_the_stall_is_told_as_people_felt_it() -> None:
    waits = [(0.03, "200")] * 9 + [(1.4, "200")]
    assert (
        "Of 10 requests 1 took over 200 ms; the tool saw 0"
        in pictures.stall(answered(*waits, sent_late=1.3), trials.Stall(1.4, 6)).finding
    )


def test_a_lone_request_before_and_after() -> None:
    assert "27 ms on the fresh server and 189 ms after" in pictures.lone([0.027] * 3, [0.189] * 3).finding


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setattr(bench, "BENCH", tmp_path / "bench")
    bench_runs.make_bench(tmp_path / "bench")
    return bench.rows()


def test_the_best_row_and_the_note(rows: list[Any]) -> None:
    best = bench.best(rows)
    assert best["setting"] == "32-10s" and bench.letter(best) == "c"
    assert [bench.letter(row) for row in rows if not row["batching"]] == ["a"]
    assert f"Most good answers: {best['setting']}." in pictures.bend(rows).finding
    note = tomllib.loads(bench.write_note(rows, best["setting"], "16-10s", "Most answers, nobody refused."))
    assert note["chosen"]["goodput"] == best["goodput"] and note["runner_up"]["setting"] == "16-10s"
    with pytest.raises(LabError, match="no setting 'mine'"):
        bench.write_note(rows, "mine", "16-10s", "why")


def test_a_table_without_refusals_cannot_be_fitted_to(rows: list[Any]) -> None:
    with pytest.raises(LabError, match="No row refuses anybody"):
        bench.observed(rows)


def test_waiting_requests_are_counted_in_one_process_each(rows: list[Any]) -> None:
    inside = bench.inside(bench.best(rows))
    assert set(inside) == {"api", "embeddingrunner", "classifierrunner"}
    assert sum(inside.values()) == pytest.approx(80, rel=0.1)


def test_a_frozen_runner_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    process = SimpleNamespace(suspend=lambda: said.append("stop"), resume=lambda: said.append("go"))
    monkeypatch.setattr(trials, "find_server", lambda name: SimpleNamespace(mark="m"))
    monkeypatch.setattr(trials, "carriers", lambda mark: [process])
    monkeypatch.setattr(trials, "_role", lambda process: trials.EMBEDDER)
    with trials.frozen("off", after=0.01, seconds=0.01):
        pass
    assert said == ["stop", "go"]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose bench/cluster.toml asks for two copies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAB_WORKSPACE", "walk")
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "bentoml_configuration.yml").write_text("version: 1\n")
    (tmp_path / "bench" / "cluster" / "copy").mkdir(parents=True)
    blocks = [f'[[setting]]\nname = "cluster-{n}"\nwhere = "cluster"\nmax_batch_size = {n}\n' for n in (4, 32)]
    (tmp_path / "bench" / "cluster.toml").write_text("[load]\nusers = 80\n" + "".join(blocks))
    return tmp_path / "bench" / "cluster"


def test_each_setting_has_a_folder_that_changes_the_deployment_of_lab_05(
    asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "why_not", lambda: "")
    (asked / "cluster-8").mkdir()
    (asked / "cluster-8" / "kustomization.yaml").touch()  # of an experiment before this one
    assert copies.lay_out().endswith("cluster-4, cluster-32")
    assert not (asked / "cluster-8").exists()
    made = yaml.safe_load((asked / "cluster-4" / "kustomization.yaml").read_text())
    assert made["namespace"] == "ml-serving-walk-bench" and made["nameSuffix"] == "-cluster-4"
    (replaced,) = made["configMapGenerator"]
    assert replaced["behavior"] == "replace" and replaced["namespace"] == "ml-serving-walk"
    config = yaml.safe_load((asked / "cluster-4" / "bentoml_configuration.yml").read_text())
    assert config["runners"]["embeddingrunner"]["batching"]["max_batch_size"] == 4
    port = yaml.safe_load((asked / "service.yaml").read_text())["spec"]["ports"][0]["nodePort"]
    assert port == NODE_PORTS["walk-bench"]


def test_without_a_cluster_nothing_is_laid_out(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "why_not", lambda: "there is no cluster (./lab cluster up)")
    (asked / "service.yaml").touch()  # of a time when there was one
    assert copies.lay_out().startswith("not run: there is no cluster")
    assert sorted(path.name for path in asked.iterdir()) == ["copy"]


def test_what_batching_gains_is_told_for_each_place() -> None:
    here = [{"setting": "off", "batching": False, "goodput": 40.0, "share_503": 0.0}]
    here += [{"setting": "on", "batching": True, "goodput": 120.0, "share_503": 0.0}]
    told = bench.compared(here, []).splitlines()
    assert told == [
        "on this machine: off 40, on 120 good answers a second; batching gains 3.0 times",
        "in the cluster: not measured",
    ]
