"""sc9's checks on facts, the stated conditions, and runs that are read again; MLServer is asked by its mutants."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from facts import put

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.world import layers, mlserver

KIT = Kit(ROOT)
SC9 = KIT.criterion("sc9")
STATED = layers.stated()
MODULE = vars(KIT.module("sc9"))
SIZES: tuple[int, ...] = MODULE["SIZES"]


def card(name: str) -> Facts:
    out = next(layer for layer in STATED["layers"] if layers.broken(name, layer))
    return {"layer": layers.right_layers(name)[0], "because": [STATED["cards"][name]["asks"][0]], "words": 9,
            "copied": "", "rejected": out, "breaks": next(iter(layers.broken(name, out)))}  # fmt: skip


def answer(texts: list[str]) -> Facts:
    def tensor(kind: str, data: list[Any]) -> Facts:
        return {"datatype": kind, "shape": [len(texts), 1], "data": data}

    outputs = {"labels": tensor("BYTES", ["billing"] * len(texts)), "scores": tensor("FP64", [0.8] * len(texts))}
    return {"texts": texts, "status": 200, "problem": "", "outputs": outputs}


def good() -> dict[str, Facts]:
    texts = [[f"text {size} {i}" for i in range(size)] for size in SIZES]
    row = dict.fromkeys(layers.COLUMNS, "1")
    runs: dict[str, Facts] = {
        n: {"problem": "", "row": {**row, "layer": n}, "texts": ["a"], "labels": ["b"]} for n in layers.MEASURED
    }
    return {
        "choices": {
            "cards": {name: card(name) for name in STATED["cards"]}, "card_problem": "", "bill_problem": "",
            "bill": {name: {"needs": part["needs"], "lab": part["lab"]} for name, part in STATED["bill"].items()},
            "questions": {name: {"decides": part["decides"]} for name, part in STATED["questions"].items()},
            "sources": {n: {"url": "https://a.org/b", "as_of": "2026-11", "odd": ""} for n in ("yatai", "bentocloud")},
            "kserve": {"problem": "", "kind": "serving.kserve.io/v1beta1 InferenceService", "mode": "Standard",
                       "name": "triage", "image": "demo-text-intelligence", "ports": [3000], "ready": "/readyz",
                       "ready_at": 3000},
        },
        "v2": {
            "problem": "", "log": "", "models": [{"name": "triage", "state": "READY"}],
            "told": {"inputs": {"texts": "BYTES"}, "outputs": {"labels": "BYTES", "scores": "FP64"},
                     "shapes": {"inputs": {"texts": [-1]}, "outputs": {"labels": [-1, 1], "scores": [-1]}}},
            "unstored": 200,
            "wanted": {text: {"label": "billing", "score": 0.8} for some in texts for text in some},
            "answers": [answer(some) for some in texts],
        },
        "table": {"problem": "", "rows": [dict(run["row"]) for run in runs.values()], "runs": runs},
    }  # fmt: skip


def judged(seen: dict[str, Facts], **lacking: str) -> dict[str, str]:
    """The checks that neither pass nor come after another's fail."""
    found = {name: Evidence(name, json.loads(json.dumps(facts))) for name, facts in seen.items()}
    found |= {name: Evidence(name, lacking=why) for name, why in lacking.items()}
    return {r.id: r.message for r in judge_criterion(SC9, found).checks if r.verdict.value == "fail"}


def test_good_facts_pass() -> None:
    assert judged(good()) == {}


SHAPES = ("v2", "told", "shapes")
OUT = ("v2", "answers", 1, "outputs")
WRONG = [
    ("cards-answered", put("choices", "cards", "tiny", "layer", to="kubeflow")),
    ("cards-answered", put("choices", "cards", "tiny", "because", to=[])),
    ("cards-answered", put("choices", "cards", "tiny", "words", to=2)),
    ("cards-answered", put("choices", "cards", "tiny", "breaks", to="")),
    ("cards-answered", put("choices", "cards", "tiny", "copied", to="the card graphs")),
    ("cards-answered", put("choices", "card_problem", to="there is no choice/cards.toml")),
    ("layers-fit", put("choices", "cards", "air-gap", "layer", to="yatai")),
    ("layers-fit", put("choices", "cards", "graphs", "layer", to="mlserver")),
    ("reasons-hold", put("choices", "cards", "graphs", "because", to=["v2"])),
    ("rejections-hold", put("choices", "cards", "graphs", "rejected", to="kserve")),
    ("bill-filled", put("choices", "bill", "registry", "lab", to=False)),
    ("bill-filled", put("choices", "bill", "database", "needs", to=None)),
    ("bill-filled", put("choices", "questions", "price", "decides", to="v2")),
    ("bill-filled", put("choices", "sources", "yatai", "as_of", to="2026")),
    ("bill-filled", put("choices", "sources", "yatai", "url", to="the docs")),
    ("bill-filled", put("choices", "sources", "yatai", "odd", to="that month has not come yet")),
    ("kserve-object", put("choices", "kserve", to={"problem": "there is no choice/kserve.yaml"})),
    ("kserve-object", put("choices", "kserve", "mode", to="Serverless")),
    ("kserve-object", put("choices", "kserve", "image", to="demo-text-intelligence:latest")),
    ("kserve-object", put("choices", "kserve", "name", to="My_Model")),
    ("kserve-object", put("choices", "kserve", "ready_at", to=8080)),
    ("v2-ready", put("v2", "problem", to="the server ended")),
    ("v2-ready", put("v2", "unstored", to=500)),
    ("v2-ready", put("v2", "models", to=[])),
    ("v2-as-told", put("v2", "told", "inputs", to={})),
    ("v2-as-told", put("v2", "told", "outputs", "scores", to="FP32")),
    ("v2-as-told", put(*SHAPES, "inputs", "texts", to=[1])),
    ("v2-as-told", put(*SHAPES, "inputs", "texts", to=[-1, 7])),
    ("v2-as-told", put(*SHAPES, "outputs", "scores", to=[-1, 7])),
    ("v2-as-told", put(*SHAPES, "outputs", "labels", to=[-1, 2])),
    ("v2-as-told", put(*OUT, "labels", "data", to=["billing"])),
    ("v2-as-told", put(*OUT, "scores", "shape", to=[1, 3])),
    ("v2-as-told", put("v2", "answers", 0, "status", to=500)),
    ("v2-labels-right", put(*OUT, "labels", "data", to=["billing", "billing", "account"])),
    ("v2-labels-right", put(*OUT, "scores", "data", to=[0.8, 0.8, 0.1])),
    ("table-from-runs", put("table", "rows", 0, "memory_mb", to="2")),
    ("table-from-runs", put("table", "runs", "mlserver", "problem", to="its seal does not fit")),
    ("table-from-runs", put("table", "runs", "mlserver", "labels", to=["c"])),
    ("table-from-runs", put("table", "rows", to=[])),
]


@pytest.mark.parametrize(("check", "change"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_each_wrong_fact_fails_its_check_alone(check: str, change: Callable[[Any], None]) -> None:
    seen = copy.deepcopy(good())
    change(seen)
    assert list(judged(seen)) == [check]


def test_each_check_has_a_wrong_fact() -> None:
    assert {check for check, _ in WRONG} == {c.id for c in SC9.checks}


def test_a_wrong_layer_is_told_which_condition_it_breaks() -> None:
    seen = good()
    seen["choices"]["cards"]["tiny"]["layer"] = "seldon"
    found = {name: Evidence(name, facts) for name, facts in seen.items()}
    (wrong,) = [r for r in judge_criterion(SC9, found).checks if r.verdict.value == "fail"]
    assert "tiny: seldon breaks nothing-beside, since an operator" in wrong.evidence["found"]
    assert "tiny: seldon breaks no-contract" in wrong.evidence["found"]


def test_without_mlserver_its_checks_alone_are_not_run() -> None:
    seen = good()
    found = {"choices": Evidence("choices", seen["choices"])}
    found |= {name: Evidence(name, lacking="no MLServer: install it") for name in ("v2", "table")}
    told = {r.id: r.verdict.value for r in judge_criterion(SC9, found).checks}
    assert [name for name, verdict in told.items() if verdict == "not_run"] == [
        "v2-ready", "v2-as-told", "v2-labels-right", "table-from-runs",
    ]  # fmt: skip
    assert set(told.values()) == {"pass", "not_run"}


def test_a_model_that_never_answers_is_not_said_to_be_opened_later() -> None:
    seen = good()
    seen["v2"]["unstored"] = seen["v2"]["answers"][0]["status"] = 500
    assert list(judged(seen)) == ["v2-as-told"]


# ---------------------------------------------------------------- what is read of files


def test_words_are_ones_own() -> None:
    card_facts, words_of = MODULE["card_facts"], MODULE["words_of"]
    cards = {name: {"words": f"For {name} I would pay what it costs a year"} for name in STATED["cards"]}
    cards["graphs"] = {"words": " FOR tiny, I would pay what it costs, a year!"}
    cards["residency"] = {"words": STATED["conditions"]["no-contract"]["breaks"]["seldon"]}
    cards["air-gap"] = {"words": "easy easy easy easy easy easy", "because": "maintained"}
    cards["v2-for-all"] = {}
    said = {name: words_of(card) for name, card in cards.items()}
    told = {name: card_facts(name, card, said) for name, card in cards.items()}
    assert {name: facts["copied"] for name, facts in told.items() if facts["copied"]} == {
        "tiny": "the card graphs", "graphs": "the card tiny", "residency": "the condition no-contract about seldon",
    }  # fmt: skip
    assert (told["air-gap"]["words"], told["air-gap"]["because"], told["v2-for-all"]["words"]) == (1, ["maintained"], 0)


@pytest.mark.parametrize(
    ("as_of", "odd"),
    [("2026-11", ""), ("2026-11-26", ""), ("2023-05", "before this lab"), ("2062-11", "has not come"),
     ("2026", "no year"), (None, "no year"), ("2026-13", "no year")],
)  # fmt: skip
def test_a_look_has_a_month_that_can_be(as_of: str | None, odd: str) -> None:
    told = MODULE["odd_date"](as_of)
    assert odd in told and bool(odd) == bool(told)


def test_dates_of_toml_are_read_as_words(tmp_path: Path) -> None:
    path = tmp_path / "bill.toml"
    path.write_text('[sources]\nyatai = { url = "https://a.org", as_of = 2026-11-26 }\n')
    bill, _ = MODULE["read_toml"](path)
    assert MODULE["source_facts"](bill, "yatai") == {"url": "https://a.org", "as_of": "2026-11-26", "odd": ""}
    assert MODULE["source_facts"](bill, "bentocloud")["odd"]


SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: triage}
spec:
  predictor:
    containers:
      - ports: [{name: http1, containerPort: 3000}]
        readinessProbe: {httpGet: {path: /readyz, port: PORT}}
"""


@pytest.mark.parametrize(("port", "number"), [("3000", 3000), ("http1", 3000), ("http2", None), ("8080", 8080)])
def test_a_probes_port_may_be_named(tmp_path: Path, port: str, number: int | None) -> None:
    path = tmp_path / "kserve.yaml"
    path.write_text(SERVICE.replace("PORT", port))
    told = MODULE["kserve_facts"](path)
    assert (told["problem"], told["name"], told["ready"], told["ready_at"]) == ("", "triage", "/readyz", number)


@pytest.mark.parametrize(("shape", "fixed"), [([1], True), ([-1], False), ([-1, 1], False), ([], False), (None, False)])
def test_a_shape_holds_any_number_of_texts_or_one(shape: list[int] | None, fixed: bool) -> None:
    assert mlserver.is_fixed(shape) is fixed


@pytest.mark.parametrize(
    ("shape", "sent", "held"),
    [([-1], [3], True), ([-1, 1], [3], True), ([-1], [3, 1], True), ([-1, -1], [3, 7], True), ([-1, 3], [2, 3], True),
     ([-1, 3], [2, 1], False), ([-1, 1], [2, 3], False), ([-1], [2, 3], False), (None, [2], True), ([], [2], True)],
)  # fmt: skip
def test_a_shape_holds_what_is_sent_of_each_text(shape: list[int] | None, sent: list[int], held: bool) -> None:
    assert mlserver.holds(shape, sent) is held


# ---------------------------------------------------------------- what is stated


@pytest.mark.parametrize("name", STATED["cards"])
def test_each_card_has_more_than_one_right_layer_and_some_wrong_ones(name: str) -> None:
    right = layers.right_layers(name)
    assert 2 <= len(right) < len(STATED["layers"]) and set(STATED["cards"][name]["asks"]) <= set(STATED["conditions"])


def test_conditions_name_known_layers_and_are_dated() -> None:
    for name, condition in STATED["conditions"].items():
        assert set(condition["breaks"]) <= set(STATED["layers"]) and condition["breaks"], name
        assert condition["as_of"] >= "2026-11" and condition["source"].startswith("https://")
    asked = {c for one in STATED["cards"].values() for c in one["asks"]}
    assert asked == set(STATED["conditions"]), "a condition that no card asks for"
    assert {part["needs"] for part in STATED["bill"].values()} < set(STATED["things"])
    assert {part["decides"] for part in STATED["questions"].values()} < set(STATED["conditions"])


RUN: Facts = {
    "layer": "mlserver", "at": "2026-11-26T09:00:00+00:00", "machine": {}, "files": {"a.py": 20, "b.json": 5},
    "first_s": 8.04, "samples": [{"processes": 2, "mb": 800.2}, {"processes": 3, "mb": 780.0}],
    "answers": [{"text": "a", "label": "billing", "ms": 12.0}, {"text": "b", "label": "account", "ms": 14.0}],
}  # fmt: skip


def test_a_run_is_written_sealed_and_read_again(tmp_path: Path) -> None:
    layers.write_run(tmp_path, RUN)
    run = layers.read_run(tmp_path, "mlserver")
    assert run["seal"] == layers.seal(run)
    row = layers.row(run)
    assert row == {"layer": "mlserver", "files": "2", "lines": "25", "processes": "3", "memory_mb": "800",
                   "first_s": "8.0", "ms": "13.0", "run": run["seal"]}  # fmt: skip
    layers.write_table(tmp_path, [row])
    assert layers.read_table(tmp_path) == [row]
    assert layers.seal({**run, "first_s": 1.0}) != run["seal"]


def test_lines_of_code_are_counted_without_comments_and_blanks() -> None:
    assert layers.count_lines("# a\n\nx = 1\n  # b\ny = 2\n") == 2


def test_settings_get_the_graders_ports_and_keep_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    assert mlserver.write_settings(path, (4321, 4322, 4323)) == ""
    path.write_text(json.dumps({"host": "0.0.0.0", "http_port": 1, "parallel_workers": 2}))
    assert mlserver.write_settings(path, (4321, 4322, 4323)) == ""
    told = json.loads(path.read_text())
    assert (told["host"], told["http_port"], told["metrics_port"], told["parallel_workers"]) == (
        "127.0.0.1",
        4321,
        4323,
        2,
    )
    path.write_text("[")
    assert mlserver.write_settings(path, (4321, 4322, 4323)).startswith("settings.json: JSONDecodeError")


def test_mlserver_is_not_run_on_a_python_that_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlserver, "NEWEST", (3, 10))
    assert mlserver.bring().startswith("not run: MLServer 1.7 runs on Python 3.11 and 3.12")
    assert mlserver.look()[0] is False


def test_its_pins_have_hashes_and_leave_numpy_to_the_kit() -> None:
    pins = [line for line in mlserver.PINS.read_text().splitlines() if "==" in line and not line.startswith("#")]
    assert len(pins) > 50 and not [pin for pin in pins if pin.startswith(("numpy", "torch"))]
    assert mlserver.PINS.read_text().count("--hash=sha256:") > len(pins)
