"""sc6 on simulated benches: what is right passes, each wrong one fails its own check, and no load is sent for that."""

from __future__ import annotations

import shutil
import tomllib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import bench_runs
import pytest
from mutants.entries import find_fixture, type_cells

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts, Verdict
from grader.mutants import apply
from grader.workspace import Workspace

KIT = Kit()
SC6 = KIT.criterion("sc6")
MUTANTS = tomllib.loads((KIT.criteria_dir / "sc6.mutants.toml").read_text())["mutant"]
LIKE = {"skipped": "", "setting": "32-10s", "told": 4.0, "found": 3.9, "allowed": 0.1}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("right")
    bench_runs.make_bench(folder / "bench")
    return folder


def look(root: Path) -> Facts:
    return next(p for p in SC6.probes if p.name == "bench").look(SimpleNamespace(root=root))


def verdicts(root: Path, repeat: Facts) -> dict[str, str]:
    evidence = {"bench": Evidence("bench", look(root)), "repeat": Evidence("repeat", repeat)}
    return {c.id: f"{c.verdict.value}: {c.message}" for c in judge_criterion(SC6, evidence).checks}


def failed(found: dict[str, str]) -> list[str]:
    return [name for name, text in found.items() if text.startswith(Verdict.FAIL)]


def test_a_right_bench_passes(right: Path) -> None:
    found = verdicts(right, LIKE)
    assert all(text.startswith("pass") for text in found.values()), found


def test_what_is_right_and_unlike_ours_passes(right: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    with find_fixture(KIT, "sc6", "own_ways")(SimpleNamespace(root=root)):
        assert failed(verdicts(root, LIKE)) == []


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m["fails"] != "repeats-like-yours"], ids=lambda m: m["id"])
def test_each_wrong_bench_fails_its_own_check(right: Path, tmp_path: Path, mutant: Facts) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    ws = Workspace(KIT, root)
    apply(ws, SC6, mutant)
    with find_fixture(KIT, "sc6", mutant["around"])(ws) if "around" in mutant else nullcontext():
        type_cells(ws, mutant.get("typed", []))
        found = verdicts(root, LIKE)
    assert failed(found) == [mutant["fails"]], found
    assert mutant.get("says", "") in found[mutant["fails"]]


def test_no_load_is_sent_when_the_files_show_what_is_wrong(right: Path, tmp_path: Path) -> None:
    repeat = next(p for p in SC6.probes if p.name == "repeat")
    facts = repeat.look(SimpleNamespace(root=tmp_path))
    assert "table.csv" in facts["skipped"]


def test_invented_runs_agree_with_one_another_and_not_with_the_world(right: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    with find_fixture(KIT, "sc6", "invented_runs")(SimpleNamespace(root=root)):
        found = verdicts(root, {**LIKE, "told": 12.0})
    assert failed(found) == ["repeats-like-yours"], found


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"setting": {"name": 7}}', '{"sender": null}', "null"])
def test_a_damaged_run_folder_is_a_finding(right: Path, tmp_path: Path, damage: str) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    (root / "bench" / "runs" / "32-10s-1" / "run.json").write_text(damage)
    assert failed(verdicts(root, LIKE)) == ["rows-from-runs"]


def test_nothing_there_is_a_finding(tmp_path: Path) -> None:
    assert failed(verdicts(tmp_path, LIKE)) == ["settings-compared"]


def test_any_figure_that_is_not_the_computed_one_is_found(right: Path) -> None:
    seen = look(right)
    judge = next(c.judge for c in SC6.checks if c.id == "rows-from-runs")
    assert judge(seen).ok
    for number, row in enumerate(seen["table"]["rows"]):
        for figure in ("goodput", "p50_ms", "p95_ms", "p99_ms", "share_503", "share_504", "mean_ms", "in_flight"):
            for typed in (float(row[figure]) * 1.03 + 0.02, float("nan"), "", "fast"):
                rows = [dict(r) for r in seen["table"]["rows"]]
                rows[number][figure] = typed
                told = judge({**seen, "table": {"problem": "", "rows": rows}})
                assert not told.ok and figure in told.message
