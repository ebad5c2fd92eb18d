"""sc6 on simulated benches: what is right passes, each wrong one fails its own check, and no load is sent for that."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import bench_runs
import pytest
from mutants.entries import find_fixture, type_cells

from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts, Verdict
from grader.mutants import apply
from grader.workspace import Workspace
from grader.world.load import table
from grader.world.load.metrics import RUNNERS
from grader.world.load.settings import Setting
from labs.helpers.teaching import incidents

KIT = Kit()
SC6 = KIT.criterion("sc6")
HANDED = {
    "skipped": "", "problem": "", "chosen": "32-10s", "least_good": 0.9, "least_batch": 4.75,
    "share_503": 0.0, "share_504": 0.0, "share_other": 0.0, "mean_batch": 28.0,
    "wanted": {"enabled": True}, "batching": {runner: {"enabled": True} for runner in RUNNERS},
}  # fmt: skip
MUTANTS = tomllib.loads((KIT.criteria_dir / "sc6.mutants.toml").read_text())["mutant"]
MEASURED = ("repeats-like-yours", "choice-handed-over")  # what only a served one can show
LIKE = {"skipped": "", "where": "local", "setting": "32-10s", "told": 4.0, "found": 3.9, "allowed": 0.1}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("right")
    bench_runs.make_bench(folder / "bench")
    return folder


def look(root: Path) -> Facts:
    return next(p for p in SC6.probes if p.name == "bench").look(SimpleNamespace(root=root))


def verdicts(root: Path, repeat: Facts, handed: Facts | None = None) -> dict[str, str]:
    seen = {"bench": look(root), "repeat": repeat, "handed": handed or HANDED}
    evidence = {name: Evidence(name, facts) for name, facts in seen.items()}
    return {c.id: f"{c.verdict.value}: {c.message}" for c in judge_criterion(SC6, evidence).checks}


def failed(found: dict[str, str]) -> list[str]:
    return [name for name, text in found.items() if text.startswith(Verdict.FAIL)]


def test_a_right_bench_passes(right: Path) -> None:
    found = verdicts(right, LIKE)
    assert all(text.startswith("pass") for text in found.values()), found


@pytest.mark.parametrize("ways", ["own_ways", "spreadsheet"])
def test_what_is_right_and_unlike_ours_passes(right: Path, tmp_path: Path, ways: str) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    with find_fixture(KIT, "sc6", ways)(SimpleNamespace(root=root)):
        assert failed(verdicts(root, LIKE)) == []


def judge_mutant(sound: Path, tmp_path: Path, mutant: Facts) -> dict[str, str]:
    """The verdicts on a copy of that workspace with the mutant's mistake in it."""
    root = Path(shutil.copytree(sound, tmp_path / "work"))
    ws = Workspace(KIT, root)
    apply(ws, SC6, mutant)
    with find_fixture(KIT, "sc6", mutant["around"])(ws) if "around" in mutant else nullcontext():
        type_cells(ws, mutant.get("typed", []))
        return verdicts(root, LIKE)


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m["fails"] not in MEASURED], ids=lambda m: m["id"])
def test_each_wrong_bench_fails_its_own_check(right: Path, tmp_path: Path, mutant: Facts) -> None:
    found = judge_mutant(right, tmp_path, mutant)
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


def test_a_setting_that_refuses_most_people_is_not_chosen_for_its_p95(right: Path) -> None:
    seen = look(right)
    judge = next(c.judge for c in SC6.checks if c.id == "note-agrees")
    chosen = seen["note"]["chosen"]
    row = next(row for row in seen["rows"] if row["setting"] == chosen["setting"])
    low = {"goodput": 1.0, "p95_ms": 5.0, "share_503": 0.9}
    row.update(low)
    chosen.update(low)
    assert "refuses 90% of the people less" in judge(seen).message


@pytest.fixture(scope="module")
def with_copies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bench whose rows were measured in two places."""
    folder = tmp_path_factory.mktemp("copies")
    bench_runs.make_bench(folder / "bench", (*bench_runs.SETTINGS, *bench_runs.IN_CLUSTER))
    return folder


def test_rows_of_the_cluster_pass_beside_those_of_this_machine(with_copies: Path) -> None:
    assert failed(verdicts(with_copies, LIKE)) == []
    seen = look(with_copies)
    assert {row["setting"]: row["where"] for row in seen["rows"]}["cluster-32"] == "cluster"


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m["fails"] not in MEASURED], ids=lambda m: m["id"])
def test_each_wrong_bench_fails_beside_rows_of_the_cluster(with_copies: Path, tmp_path: Path, mutant: Facts) -> None:
    assert failed(judge_mutant(with_copies, tmp_path, mutant)) == [mutant["fails"]]


def test_rows_of_the_cluster_need_batching_off_there(with_copies: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(with_copies, tmp_path / "work"))
    for folder in (root / "bench" / "runs").glob("cluster-disabled-*"):
        shutil.rmtree(folder)
    table.write(root / "bench")
    found = verdicts(root, LIKE)
    assert failed(found) == ["settings-compared"] and "where = cluster" in found["settings-compared"]


def test_requests_that_came_to_another_pod_are_noticed(with_copies: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(with_copies, tmp_path / "work"))
    path = root / "bench" / "runs" / "cluster-32-2" / "run.json"
    facts = json.loads(path.read_text())
    for witness in facts["witnesses"]:
        witness["place"]["answered"] -= 5
    path.write_text(json.dumps(facts))
    table.write(root / "bench")
    found = verdicts(root, LIKE)
    assert failed(found) == ["measured-here"] and "p-1 counted" in found["measured-here"]


@pytest.mark.parametrize(
    "seen, word",
    [
        ({"problem": "FileNotFoundError: bench/chosen.yml"}, "FileNotFoundError"),
        ({"batching": {"embeddingrunner": {"enabled": False}}}, "embeddingrunner"),
        ({"share_503": 0.9}, "10% of the answers are 200 (90% 503"),
        ({"share_504": 0.2}, "20% 504"),
        ({"share_other": 0.2}, "20% others"),
        ({"mean_batch": 1.0}, "counts 1.0 requests a batch"),
    ],
)
def test_what_is_handed_over_has_to_be_what_was_chosen(right: Path, seen: Facts, word: str) -> None:
    found = verdicts(right, LIKE, {**HANDED, **seen})
    assert failed(found) == ["choice-handed-over"] and word in found["choice-handed-over"]


ROW = {
    "batching": True, "max_batch_size": 32, "max_latency_ms": 10000, "users": 80, "rate": None, "p99_ms": 800.0,
    "share_503": 0.0, "share_504": 0.0, "share_other": 0.0, "mean_batch": 29.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "row, good, batch",
    [
        ({}, 0.9, 4.75),
        ({"mean_batch": 4.0}, 0.9, 1.75),
        ({"mean_batch": 12.0, "users": 20}, 0.9, 3.75),
        ({"mean_batch": 12.0, "users": None, "rate": 90}, 0.9, 0.0),  # how many come together hangs on the minute
        ({"batching": False, "max_latency_ms": None, "mean_batch": None}, 0.9, 0.0),
        ({"max_latency_ms": 1000}, 0.333, 0.0),  # in a slower minute this budget refuses some
        ({"share_503": 0.7, "max_latency_ms": 300}, 0.1, 0.0),
        ({"share_503": 1.0, "p99_ms": None}, 0.0, 0.0),
    ],
)
def test_what_is_handed_over_gives_what_its_row_says_also_in_a_slower_minute(
    row: Facts, good: float, batch: float
) -> None:
    least_of = SC6.probes[0].look.__globals__["least_of"]
    assert least_of({**ROW, **row}) == {"least_good": good, "least_batch": batch}


@pytest.mark.parametrize("users", [20, 40, 120])
def test_another_number_of_people_passes(tmp_path: Path, users: int) -> None:
    short = Setting("32-300ms", max_latency_ms=300)  # counted inside a runner, which holds fewer than ask
    bench_runs.make_bench(tmp_path / "bench", (*bench_runs.SETTINGS, short), users=users)
    assert failed(verdicts(tmp_path, LIKE)) == []
    assert {row["verdict"] for row in look(tmp_path)["rows"]} == {"ok"}, look(tmp_path)["rows"]


def test_names_of_figures_pass(tmp_path: Path) -> None:
    settings = (bench_runs.SETTINGS[0], *(Setting(str(n), max_batch_size=n) for n in (4, 16, 32)))
    bench_runs.make_bench(tmp_path / "bench", settings)
    note = tmp_path / "bench" / "note.toml"
    note.write_text(note.read_text().replace('"32"', "32"))
    assert failed(verdicts(tmp_path, LIKE)) == []


def test_a_row_that_ends_early_is_a_finding(right: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    path = root / "bench" / "table.csv"
    path.write_text(path.read_text() + "32-10s,local\n")
    assert failed(verdicts(root, LIKE)) == ["rows-from-runs"]


def test_an_old_repeat_of_an_edited_experiment_is_named(right: Path, tmp_path: Path) -> None:
    """Five repeats of size 16 once, three of size 32 now, under one name; then a load of its own."""
    root = Path(shutil.copytree(right, tmp_path / "work"))
    folder = root / "bench" / "runs" / "32-10s-4"
    bench_runs.make_run(folder, Setting("32-10s", max_batch_size=16, max_latency_ms=9000), 4, 20)
    table.write(root / "bench")
    found = verdicts(root, LIKE)
    assert failed(found) == ["settings-differ"] and "The runs of 32-10s are of 2 settings" in found["settings-differ"]
    shutil.rmtree(folder)
    bench_runs.make_run(folder, bench_runs.SETTINGS[3], 4, 20, users=40)
    table.write(root / "bench")
    found = verdicts(root, LIKE)
    assert failed(found) == ["same-load"] and "(32-10s-4)" in found["same-load"]


def measured(name: str, goodput: float, hour: int) -> SimpleNamespace:
    facts = {"began": f"2026-01-01T{hour:02}:00:00+00:00", "cpu": {"others": 0.1}}
    return SimpleNamespace(setting=Setting(name), summary=SimpleNamespace(goodput=goodput), facts=facts)


def test_one_setting_measured_again_hours_later_is_no_finding() -> None:
    """The ratio of two runs of different hours has the machine's own change in it."""
    compare = SC6.probes[0].look.__globals__["compare"]

    def theirs(hour: int) -> list[SimpleNamespace]:
        return [measured(*one) for n in (-1, 0, 1) for one in (("on", 150 + n, hour), ("off", 50 + n / 3, 8))]

    now = [measured(*one) for n in (-1, 0, 1) for one in (("on", 90 + n, 15), ("off", 50 + n / 3, 15))]
    assert compare("on", "off", theirs(8), now)["found"] == pytest.approx(1.8)
    with pytest.raises(LabError, match="are 6 hours apart"):
        compare("on", "off", theirs(14), now)
    assert compare("on", "off", theirs(14), theirs(14))["found"] == pytest.approx(3.0)


def test_repeats_that_differ_too_much_are_said_to_be_whose_they_are() -> None:
    compare = SC6.probes[0].look.__globals__["compare"]
    steady = [measured(*one) for n in (-1, 0, 1) for one in (("on", 150 + n, 8), ("off", 50 + n / 3, 8))]
    wild = [measured(*one) for n in (-50, 0, 70) for one in (("on", 150 + n, 8), ("off", 50 + n / 3, 8))]
    with pytest.raises(LabError, match="in bench/runs differ") as yours:
        compare("on", "off", wild, steady)
    assert "move bench/runs away" in yours.value.remedy
    with pytest.raises(LabError, match=r"The grader's repeats .* this machine cannot tell"):
        compare("on", "off", steady, wild)


@pytest.mark.parametrize(("spread", "yours", "count"), [(1, 1, 6), (40, 1, 12), (40, 60, 6)])
def test_repeats_that_differ_are_made_once_more_where_that_helps(
    monkeypatch: pytest.MonkeyPatch, spread: float, yours: float, count: int
) -> None:
    look = SC6.probes[0].look.__globals__
    theirs = [measured(*one) for n in (-1, 0, 1) for one in (("on", 150 + n * yours, 8), ("off", 50 + n / 3, 8))]
    goodput = {"on": itertools.cycle([150 - spread, 150, 150 + spread]), "off": itertools.cycle([50, 50.3])}
    fake = SimpleNamespace(
        measure=lambda server, *_: measured(server.setting.name, next(goodput[server.setting.name]), 9)
    )
    monkeypatch.setitem(look, "measure", fake)
    servers = [SimpleNamespace(setting=Setting(name)) for name in ("off", "on")]
    assert len(look["measure_in_turn"](servers, {}, theirs)) == count


def handed_of(root: Path, chosen: str) -> Facts:
    (root / "bench" / "chosen.yml").write_text(chosen)
    ws = SimpleNamespace(root=root, service=root / "service", store=root / "store")
    return next(p for p in SC6.probes if p.name == "handed").look(ws)


@pytest.mark.parametrize(
    "chosen, says", [("- 1", "no configuration"), ("a: [", "ParserError"), ("", "no configuration")]
)
def test_a_damaged_configuration_is_a_finding(right: Path, tmp_path: Path, chosen: str, says: str) -> None:
    root = Path(shutil.copytree(right, tmp_path / "work"))
    found = verdicts(root, LIKE, handed_of(root, chosen))
    assert failed(found) == ["choice-handed-over"] and says in found["choice-handed-over"]


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), LabError("no sender"), ValueError("half")])
def test_trouble_of_this_machine_is_no_finding(
    right: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def configured(*_: object) -> None:
        raise trouble

    monkeypatch.setitem(SC6.probes[0].look.__globals__, "configured", configured)
    root = Path(shutil.copytree(right, tmp_path / "work"))
    with pytest.raises(type(trouble), match=str(trouble)[-8:]):
        handed_of(root, "version: 1")


def test_rows_of_a_cluster_that_is_gone_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    sc6 = sys.modules[SC6.probes[0].look.__module__]
    monkeypatch.setattr(sc6, "kubeconfig", lambda: Path("/nowhere"))
    rows = [{"batching": True, "where": where} for where in ("local", "cluster")]
    assert sc6.places(rows) == ["local"]
    with pytest.raises(LabError, match="none that answers"):
        sc6.places(rows[1:])


READ = """
import json, sys
from bentoml._internal.configuration.containers import BentoMLConfiguration
for path in sys.argv[1:]:
    found = BentoMLConfiguration(override_config_file=path).to_dict()["runners"]
    print(json.dumps({name: dict(found.get(name, found)["batching"]) for name in %s}))
"""


def test_incidents_both_ways_as_bentoml_reads_the_file(right: Path, tmp_path: Path) -> None:
    """Sound, broken, two wrong repairs and the right one. The server itself: tests/test_incidents_live.py."""
    sound = incidents.solution_file(KIT, "07", "bench/chosen.yml")
    texts: dict[str, tuple[str, bool]] = {"sound": (sound, True)}
    for mutant in [m for m in MUTANTS if m.get("incident")]:
        broken = edited(sound, mutant)
        texts[mutant["id"]] = (broken, False)
        for number, wrong in enumerate(mutant["wrong"]):
            texts[f"{mutant['id']}, wrong {number}"] = (edited(broken, wrong), False)
        texts[f"{mutant['id']}, right"] = (edited(broken, mutant["right"]), True)
    paths = [tmp_path / f"{number}.yml" for number in range(len(texts))]
    for path, (text, _) in zip(paths, texts.values(), strict=True):
        path.write_text(text)
    command = [sys.executable, "-W", "ignore", "-c", READ % repr(RUNNERS), *map(str, paths)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = Setting("32-10s").block()
    for (name, (_, passes)), line in zip(texts.items(), lines, strict=True):
        batching = {role: {key: block[key] for key in wanted} for role, block in json.loads(line).items()}
        found = verdicts(right, LIKE, {**HANDED, "wanted": wanted, "batching": batching})
        assert failed(found) == ([] if passes else ["choice-handed-over"]), (name, found["choice-handed-over"])
        says = next((m["says"] for m in MUTANTS if m["id"] == name), "")
        assert says in found["choice-handed-over"]


def edited(text: str, change: Facts) -> str:
    for edit in change["edit"]:
        assert text.count(edit["find"]) == 1, edit
        text = text.replace(edit["find"], edit["put"])
    return text
