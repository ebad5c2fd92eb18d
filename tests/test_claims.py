"""The claims ledger: each outcome is what its run file says and what its facts decide; an experiment can say otherwise;
labs cite what they teach."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from click.testing import CliRunner
from conftest import ROOT

from grader.errors import BadKit
from grader.kit import Kit
from labs.helpers.ledger import cli, entries, page, runs
from labs.helpers.ledger.entries import Claim, read_claims, write_result
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment, find

with mock.patch.dict(os.environ):  # these set the notebook's environment when they are imported
    from labs.helpers.kube import visitors
    from labs.helpers.release import places
    from labs.helpers.shapes import split

CLAIMS = read_claims(ROOT)
TRIED = [claim for claim in CLAIMS if claim.experiment]
KEPT = [claim for claim in CLAIMS if claim.evidence]

# What another machine, or another BentoML, might show: changes of the kept facts, and what is decided then.
CONTRARY: dict[str, tuple[dict[str, Any], str]] = {
    "c01": ({"10": {"refused": 0.0}}, "confirmed"),
    "c02": ({"neither": 0}, "confirmed"),
    "c03": ({"fresh_ms": 9900}, "confirmed"),
    "c04": ({"fixed cost, 40 people": 1.0, "no fixed cost, 40 people": 1.0, "fixed cost, 1 person": 1.0}, "refuted"),
    "c05": ({"60000": {"p95_ms": 900.0}}, "confirmed"),
    "c06": (
        {ms: {"mean_batch": 3.0, "refused": 0.0} for ms in ("1", "5", "20")},
        "confirmed",
    ),
    "c07": ({"2": 99.0}, "refuted"),
    "c08": ({"p50_ms": 42.0}, "confirmed"),
    "c09": (
        {
            "names": [
                "bentoml_request_duration_seconds_bucket",
                "bentoml_request_total",
                "bentoml_runner_batch_size_sum",
            ],
            "endpoints": ["classify"],
        },
        "confirmed",
    ),
    "c10": ({"names": ["bentoml_runner_queue_length"]}, "confirmed"),
    "c11": ({"ten": True, "later": 2}, "confirmed"),
    "c12": ({"ready": 503}, "confirmed"),
    "c13": ({"ready": 200}, "refuted"),
    "c14": ({"beside": 7.0}, "confirmed"),
    "c15": ({"batches": 12.0}, "refuted"),
    "c16": ({"ready": True, "status": 200}, "confirmed"),
    "c17": ({"16": 4}, "confirmed"),
    "c18": ({"roles": {"api": 1}}, "refuted"),
    "c19": ({"kept": 1}, "refuted"),
    "c20": ({"answer": "second", "kept": 0}, "confirmed"),
    "c21": ({"ends": {"200": 40}}, "confirmed"),
    "c22": ({"loaded_late": "second"}, "refuted"),
    "c23": ({"served": "thing:a", "recorded": "thing:a"}, "confirmed"),
    "c24": ({"own": 1}, "confirmed"),
    "c25": ({"resources": ["nvidia.com/gpu", "cpu"]}, "confirmed"),
    "c26": ({"got_in": []}, "confirmed"),
    "c27": ({"files": []}, "confirmed"),
    "c28": ({"given": "str"}, "confirmed"),
    "c29": ({"parts": ["COPY src ./src", "COPY models ./models"], "whole": []}, "confirmed"),
    "c30": ({"said": "taken"}, "confirmed"),
    "c31": ({"said": "taken"}, "confirmed"),
    "c32": ({"complaints": ["nothing: it fits"]}, "confirmed"),
    "c33": ({"targets": ["http://10.0.0.1:3000"]}, "confirmed"),
    "c34": ({"labels_differ": 1}, "refuted"),
    "c35": ({"flipped": 0}, "refuted"),
    "c36": ({"measured": 99.0}, "confirmed"),
    "c37": ({"measured": 1.0}, "confirmed"),
    "c38": ({"measured": 0.1}, "confirmed"),
    "c39": ({"measured": "a"}, "confirmed"),
    "c40": ({"measured": "b"}, "confirmed"),
    "c41": ({"measured": 21.0}, "confirmed"),
    "c42": ({"measured": "a"}, "confirmed"),
    "c43": ({"measured": "a"}, "confirmed"),
    "c44": ({"measured": 9.0}, "confirmed"),
    "c45": ({"measured": 50.0}, "confirmed"),
    "c46": ({"measured": "a"}, "confirmed"),
    "c47": ({"measured": "a"}, "confirmed"),
    "c48": ({"measured": 0.0}, "confirmed"),
    "c49": ({"measured": "b"}, "confirmed"),
    "c51": ({"alone": {"gpu": {"1": [900.0]}}}, "depends"),
}


def merged(facts: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The facts with these changed, in their depth."""
    made = copy.deepcopy(facts)
    for key, value in changes.items():
        made[key] = merged(made[key], value) if isinstance(value, dict) and "ends" != key != "roles" else value
    return made


def read_run(claim: Claim) -> dict[str, Any]:
    return dict(json.loads((ROOT / claim.evidence).read_text()))


def test_the_ledger_is_what_its_run_files_say() -> None:
    assert cli.find_all_problems(CLAIMS, ROOT) == []


def test_there_are_enough_claims_and_most_were_tried() -> None:
    assert len(CLAIMS) >= 25 and len(KEPT) >= 25
    assert all(claim.lacks for claim in CLAIMS if claim.outcome is Outcome.NOT_RUN and not claim.experiment)


@pytest.mark.parametrize("claim", TRIED, ids=lambda claim: claim.id)
def test_the_experiment_can_say_otherwise(claim: Claim) -> None:
    """Other facts, another outcome: an experiment that cannot refute is none."""
    if not claim.evidence:
        pytest.fail(f"`./lab claims --keep {claim.id}` has not been run")
    changes, outcome = CONTRARY[claim.id]
    said = find(claim.experiment).decide(merged(read_run(claim)["facts"], changes))
    assert said.outcome == outcome != claim.outcome


# What a cell reads off its run is the letter of the option that came true: each that a decision knows must be possible.
GOOD, LATE, BUSY = (0.1, "200", 0.1), (0.3, "200", 4.0), (0.4, "503", 0.1)
REFUSED = (0.2, "ConnectionRefusedError", 0.0)


@pytest.mark.parametrize(
    ("answers", "letter"),
    [
        ([GOOD] * 90 + [REFUSED] * 20 + [LATE] * 30, "a"),
        ([GOOD] * 90 + [REFUSED] * 3 + [LATE] * 30, "a"),
        ([GOOD] * 90 + [REFUSED] * 20, "a"),
        ([GOOD] * 90 + [REFUSED] * 3, "b"),
        ([GOOD] * 90, "b"),
        ([GOOD] * 90 + [REFUSED] * 3 + [BUSY] * 20, "c"),
    ],
)
def test_lab_05_can_see_a_service_that_waits_for_the_models(answers: list[Any], letter: str) -> None:
    assert visitors.without_probes(visitors.Run(answers)) == letter


@pytest.mark.parametrize(("best", "letter"), [("API server x 2", "a"), ("classifier x 2", "b"), ("embedder x 2", "c")])
def test_lab_06_compares_second_replicas_alone(best: str, letter: str) -> None:
    names = ("one of each", "embedder, one core", "API server x 2", "classifier x 2", "embedder x 2")
    given = {"one of each": 90.0, "embedder, one core": 80.0, best: 50.0}
    rows = [split.Row(name, given.get(name, 20.0), 0.1, 0, {}) for name in names]
    assert split.helps(rows) == letter and split.rates(rows)["one of each"] == 90.0


@pytest.mark.parametrize(
    ("differ", "letter"),
    [
        (["sha256 of the file", '"I was charged..."'], "c"),
        (["sha256 of the file"], "c"),
        (["sha256 of the file", "the image's digest"], "a"),
        (["sha256 of the file", "the answer's header"], "b"),
        (["sha256 of the file", "the image's digest", "bento.yaml"], "b"),
    ],
)
def test_lab_12_can_see_a_name_that_tells(differ: list[str], letter: str) -> None:
    assert places.tells(differ) == letter


def test_lab_12_reads_nothing_off_a_file_that_did_not_change() -> None:
    with pytest.raises(RuntimeError, match="once more"):
        places.tells(["the answer's header"])


def test_a_walk_of_lab_06_may_keep_its_rows(tmp_path: Path) -> None:
    entry = {"measured": "c", "measured_at": "2026-11-26T10:01:15+00:00"}
    tried, why = find("walked.scale_first"), "a second embedder gives the most answers a second"
    for more, told in (({}, why), ({"rates": {"embedder x 2": 31.4}}, f"{why} (embedder x 2 31)")):
        (tmp_path / "answers.json").write_text(json.dumps({"06c": {**entry, **more}}))
        assert tried.decide(tried.measure(Place(tmp_path, tmp_path, (tmp_path,)))).why.endswith(told)


def cited() -> dict[str, set[str]]:
    """The claims that each lab's words name."""
    found: dict[str, set[str]] = {}
    for lab in Kit(ROOT).labs():
        cells = re.split(r"^# %%", lab.source.read_text(), flags=re.M)
        words = "".join(cell for cell in cells if cell.startswith(" [markdown]"))
        found[lab.number] = set(re.findall(r"\bc\d\d\b", words))
    return found


def test_each_lab_cites_what_it_teaches_and_nothing_unknown() -> None:
    known, found = {claim.id for claim in CLAIMS}, cited()
    assert {name for names in found.values() for name in names} <= known
    missing = [(claim.id, lab) for claim in CLAIMS for lab in claim.taught if claim.id not in found[lab]]
    assert missing == []


# -- the ledger's own rules, on a small ledger


TOML = """# A comment stays.
[c01]
statement = "It rains"
source = "someone"
taught = []
experiment = "forms.tracing"

[c02]
statement = "It snows"
source = "someone"
taught = ["07"]
lacks = "no winter"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A kit with a ledger of two claims, the first one kept."""
    (tmp_path / "docs").mkdir()
    (tmp_path / entries.FILE).write_text(TOML)
    seen = {"line": "", "said": "TypeError: no"}
    tried = find("forms.tracing")
    run: dict[str, Any] = {
        "claim": "c01", "experiment": "forms.tracing", "digest": tried.digest(), "made": "2026-11-26T10:00:00+00:00",
        "facts": seen, "outcome": "refuted", "why": tried.decide(seen).why,
    }  # fmt: skip
    cli.keep_runs([cli.Tried(read_claims(tmp_path)[0], run, run["why"])], tmp_path)
    return tmp_path


def problems(root: Path) -> list[str]:
    return cli.find_all_problems(read_claims(root), root)


def edit(path: Path, find: str, put: str) -> None:
    assert find in path.read_text()
    path.write_text(path.read_text().replace(find, put))


def test_what_is_kept_is_written_by_the_command_and_believed(root: Path) -> None:
    first, second = read_claims(root)
    assert (first.outcome, first.date, first.evidence) == ("refuted", "2026-11-26", "docs/runs/claims/c01.json")
    assert second.outcome is Outcome.NOT_RUN and "# A comment stays." in (root / entries.FILE).read_text()
    assert problems(root) == []
    assert "| refuted | TypeError: no | 2026-11-26 |" in (root / page.FILE).read_text()


@pytest.mark.parametrize(
    ("file", "find", "put", "said"),
    [
        (entries.FILE, 'outcome = "refuted"', 'outcome = "confirmed"', "the ledger says"),
        (entries.FILE, 'date = "2026-11-26"', 'date = "2026-11-27"', "the ledger says"),
        (f"{runs.KEPT}/c01.json", '"refuted"', '"confirmed"', "sha256 differs"),
        (page.FILE, "It rains", "It pours", "is not what the ledger says"),
        (entries.FILE, 'experiment = "forms.tracing"', 'experiment = "forms.service_class"', "has changed since"),
    ],
)
def test_an_edit_by_hand_is_found(root: Path, file: str, find: str, put: str, said: str) -> None:
    edit(root / file, find, put)
    assert any(said in problem for problem in problems(root)), problems(root)


def test_a_verdict_that_its_facts_do_not_bear_is_found_whatever_its_hash(root: Path) -> None:
    kept = root / runs.KEPT / "c01.json"
    old = runs.digest(kept.read_bytes())
    edit(kept, '"said": "TypeError: no"', '"said": "taken"')
    edit(root / entries.FILE, old, runs.digest(kept.read_bytes()))
    assert any("its facts say confirmed" in problem for problem in problems(root))


def test_a_run_file_that_is_gone_is_found(root: Path) -> None:
    shutil.rmtree(root / runs.KEPT)
    assert problems(root) == ["c01: its run file docs/runs/claims/c01.json is not there"]


def test_an_outcome_without_a_run_file_is_found(root: Path) -> None:
    edit(root / entries.FILE, 'lacks = "no winter"', 'lacks = "no winter"\noutcome = "confirmed"')
    assert problems(root)[0] == "c02 says confirmed, and has no run file"


@pytest.mark.parametrize(
    "entry",
    [
        'statement = "a"\nsource = "b"\ntaught = []',
        'statement = "a"\nsource = "b"\ntaught = []\nexperiment = "x.y"\nlacks = "c"',
        'statement = "a"\nsource = "b"\ntaught = []\nlacks = "c"\nverdict = "d"',
        'statement = "a"\nsource = "b"\ntaught = []\nlacks = "c"\noutcome = "perhaps"',
        'statement = "a"\ntaught = []\nlacks = "c"',
    ],
)
def test_a_malformed_entry_is_refused(tmp_path: Path, entry: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / entries.FILE).write_text(f"[c01]\n{entry}\n")
    with pytest.raises(BadKit):
        read_claims(tmp_path)


def test_results_are_written_between_the_others() -> None:
    values = dict.fromkeys(entries.MACHINE, "x")
    once = write_result(TOML, "c01", values)
    assert once.count("[c0") == 2 and once.index('outcome = "x"') < once.index("[c02]")
    assert write_result(once, "c01", values) == once
    assert write_result(TOML, "c02", values).endswith('date = "x"\n')


def test_what_cannot_be_tried_says_why(tmp_path: Path) -> None:
    claim = Claim("c09", "a", "b", (), experiment="walked.forward")
    with pytest.raises(NotRun, match=r"No workspace has measured 05c") as refused:
        runs.measure(claim, tmp_path, ())
    assert "./lab walk" in refused.value.remedy
    with pytest.raises(NotRun, match="no winter"):
        runs.measure(Claim("c02", "a", "b", (), lacks="no winter"), tmp_path, ())


def test_the_models_are_looked_for_in_each_workspace(tmp_path: Path) -> None:
    with pytest.raises(NotRun):
        Place(tmp_path, tmp_path, (tmp_path / "walk",)).store()
    for name in ("demo_embedder", "demo_classifier"):
        path = tmp_path / "work/store/models" / name / "latest"
        path.parent.mkdir(parents=True)
        path.write_text("abc")
    assert Place(tmp_path, tmp_path, (tmp_path / "walk", tmp_path / "work")).store() == tmp_path / "work/store"


def test_an_experiment_that_breaks_ends_no_other(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    def measure(claim: Claim, *_: Any) -> dict[str, Any]:
        if claim.id == "c01":
            raise RuntimeError("the machine is on fire")
        raise NotRun("no winter")

    monkeypatch.setattr(runs, "measure", measure)
    first, second = cli.try_claims(read_claims(root), root)
    assert first.broke and "on fire" in first.told() and "c01  error" in first.told()
    assert not second.broke and second.told().startswith("c02  not run")


def test_another_outcome_than_the_kept_one_is_told(root: Path) -> None:
    claim = read_claims(root)[0]
    tried = cli.Tried(claim, {"outcome": "confirmed"}, "it does")
    assert tried.differs and "confirmed (kept: refuted, 2026-11-26)" in tried.told()
    assert not cli.Tried(claim, {"outcome": "refuted"}, "").differs


BUDGET = 10


def say_yes(seen: Any) -> Said:
    return Said(Outcome.CONFIRMED, "")


def say_no(seen: Any) -> Said:
    return Said(Outcome.REFUTED, "")


def double() -> int:
    return 2 * BUDGET


def look(place: Place) -> Any:
    return [double() for _ in range(2)]


def test_the_digest_is_of_both_functions_and_of_what_they_use(monkeypatch: pytest.MonkeyPatch) -> None:
    first = experiment(say_yes)(look).digest()
    assert first == experiment(say_yes)(look).digest() != experiment(say_no)(look).digest()
    monkeypatch.setitem(globals(), "BUDGET", 20)  # of a function that the experiment calls in a comprehension
    assert experiment(say_yes)(look).digest() != first


def test_the_command_shows_the_ledger() -> None:
    done = CliRunner().invoke(cli.main, [])
    assert done.exit_code == 0 and len(done.output.splitlines()) == len(CLAIMS)
    assert CliRunner().invoke(cli.main, ["c99"]).exception is not None
