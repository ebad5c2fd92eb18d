"""sc10's checks on the kept evidence with one thing put wrong, and how a modern service's processes are told apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from facts import put
from fuzzing import KEPT, read_evidence

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.world import connections
from grader.world.asker import service_of
from grader.world.servers import role_of

KIT = Kit(ROOT)
SC10 = KIT.criterion("sc10")
MODULE = vars(KIT.module("sc10"))
SEEN: Facts = read_evidence(KEPT / "sc10.json")["answers"].facts or {}
PARTS = [name for name in SEEN["parts"] if name != "api"]


def judged(seen: Facts) -> dict[str, str]:
    """The checks that neither pass nor come after another's fail."""
    results = judge_criterion(SC10, {"answers": Evidence("answers", seen)}).checks
    return {r.id: r.verdict.value for r in results if r.verdict.value not in ("pass", "not_run")}


def message(seen: Facts, check: str) -> str:
    results = judge_criterion(SC10, {"answers": Evidence("answers", seen)}).checks
    return next(r.message for r in results if r.id == check)


LOST = {"ends": {"200": 300, "500": 30}, "first": "", "wrong": 0, "log": "ServerDisconnectedError"}
WRONG = [
    ("two-labels-two-scores", put("problem", to="the server exited with code 1 after 2 s")),
    ("two-labels-two-scores", put("two", "body", "labels", to=["billing"])),
    ("parts-of-their-own", put("parts", to={"api": 1, PARTS[0]: 1})),
    ("one-answer-per-text", put("sizes", 2, "body", "scores", to=[0.7])),
    ("one-answer-per-text", put("sizes", 0, "status", to=None)),
    ("loads-once", put("closed", "status", to=500)),
    ("loads-once", put("first", "status", to=500)),
    ("parts-do-the-work", put("two", "calls", PARTS[0], to=0)),
    ("parts-do-the-work", put("frozen", PARTS[1], "status", to=200)),
    ("parts-do-the-work", put("frozen", PARTS[0], "answers", 1, "status", to=None)),
    ("answers-right", put("sizes", 1, "body", "scores", to=[0.01])),
    ("answers-right", put("closed", "body", "labels", to=["other", "other"])),
    ("answers-right", put("saved", "problem", to="ImportError: no module preprocess")),
    ("other-texts-right", put("others", "with accents", "body", "scores", to=[0.01])),
    ("other-texts-right", put("others", "with accents", "status", to=500)),
    ("other-texts-right", put("others", to={})),
    ("makes-batches", put("frozen", PARTS[0], "batches", to=8)),
    ("makes-batches", put("frozen", PARTS[1], "calls", to=0)),
    ("no-answer-lost", put("crowd", to=LOST)),
    ("no-answer-lost", put("crowd", "ends", to={"200": 3})),
    ("no-answer-lost", put("crowd", "wrong", to=1)),
    ("no-answer-lost", put("frozen", PARTS[0], "answers", 0, "body", "labels", to=[])),
    ("no-answer-lost", put("kept", to={"problem": "ImportError: no module parts", "parts": {}})),
    ("no-answer-lost", put("kept", "parts", PARTS[0], "max_age", to=300.0)),
    ("no-answer-lost", put("kept", "parts", PARTS[1], "max_requests", to=10_000)),
    ("bad-input-refused", put("bad", "no JSON", "status", to=200)),
    ("bad-input-refused", put("bad", "65 texts", "body", to="a bare string")),
    ("bad-input-refused", put("bad", "an array", "type", to="text/html")),
    ("contract-told", put("promised", to={"takes": {"texts": "list of string"}, "gives": {}})),
    ("contract-told", put("promised", "gives", "scores", to="list of anything")),
    ("contract-told", put("promised", "takes", "texts", to="string")),
    ("contract-told", put("promised", to={"takes": {}, "gives": {}, "problem": "KeyError: '/classify'"})),
]


@pytest.mark.parametrize(("check", "change"), WRONG, ids=[f"{i}-{c}" for i, (c, _) in enumerate(WRONG)])
def test_each_wrong_fact_fails_its_check_alone(check: str, change: Callable[[Any], None]) -> None:
    seen = copy.deepcopy(SEEN)
    assert judged(seen) == {}
    change(seen)
    assert judged(seen) == {check: "fail"}


def test_each_check_has_its_fault() -> None:
    assert {check for check, _ in WRONG} == {c.id for c in SC10.checks}


def test_the_message_says_how_requests_ended_and_what_the_log_has() -> None:
    told = message(SEEN | {"crowd": LOST}, "no-answer-lost")
    assert "300 x 200, 30 x 500" in told and "ServerDisconnectedError" in told


def test_facts_after_which_nothing_more_was_asked_are_judged() -> None:
    seen = copy.deepcopy(SEEN)
    seen["closed"]["status"] = None
    del seen["frozen"], seen["crowd"], seen["kept"]
    assert judged(seen) == {"loads-once": "fail"}
    assert judged({k: seen[k] for k in ("problem", "log", "two")} | {"problem": "the server exited"}) == {
        "two-labels-two-scores": "fail"
    }


def test_services_are_told_from_command_lines() -> None:
    part = ["python", "-m", "_bentoml_impl.worker.service", "service:Triage", "--service-name", "Embedder", "--fd", "9"]
    assert service_of(part) == "Embedder" and role_of(part) == ""
    assert service_of([*part[:5], "demo_text_modern", "--backlog", "2048"]) == "api"
    assert service_of(["python", "-m", "bentoml", "serve", "service"]) == ""


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ('service: "service:Triage"\n', "service:Triage"),
        ("service: app.main:Tickets\n", "app.main:Tickets"),
        ("include: [a]\n", "service"),
        ("- a list\n", "service"),
        ("service: [1]\n", "service"),
        ("service: --help\n", "service"),
        ("{", "service"),
        (None, "service"),
    ],
)
def test_the_build_file_names_what_is_served(tmp_path: Path, text: str | None, target: str) -> None:
    if text is not None:
        (tmp_path / "bentofile.yaml").write_text(text)
    assert MODULE["target_of"](tmp_path) == target


def test_fields_are_found_in_place_and_by_reference() -> None:
    schema: Facts = {"properties": {"labels": {"type": "array", "items": {"$ref": "#/components/schemas/Label"}},
                                    "scores": {"type": "array"}, "why": {}}}  # fmt: skip
    label = {"enum": ["billing"], "type": "string"}
    document = {"components": {"schemas": {"Answer": schema, "Label": label}}}

    def body(schema: Facts) -> Facts:
        return {"content": {"application/json": {"schema": schema}}}

    for given in (schema, {"$ref": "#/components/schemas/Answer"}):
        assert MODULE["fields"](document, body(given)) == {
            "labels": "list of string", "scores": "list of anything", "why": "anything",
        }  # fmt: skip
    assert MODULE["fields"](document, body({"type": "object"})) == {}


@pytest.mark.parametrize(
    ("most", "age", "calls", "good"),
    [
        (100_000_000, 86400.0, 900, True),
        (1_000_000, 3600.0, 900, True),
        (100_000_000, 300.0, 900, False),  # max_requests alone was raised
        (10_000, 86400.0, 900, False),
        (100, 300.0, 900, True),  # it was closed under the crowd, and nothing was lost
        (100, 300.0, 90, False),
    ],
)
def test_limits_that_no_crowd_reached_are_read(most: int, age: float, calls: int, good: bool) -> None:
    kept = {"problem": "", "parts": {"Embedder": {"max_requests": most, "max_age": age}}}
    told = MODULE["closed_soon"](kept, ["Embedder"], {"Embedder": calls})
    assert (told == "") is good, told
    assert MODULE["closed_soon"](kept, ["Embedder", "Classifier"], {"Embedder": calls, "Classifier": calls})


CHAIN = """
import bentoml

@bentoml.service(runner_connection={"max_requests": 7})
class Last:
    @bentoml.api
    def ask(self, text: str) -> str:
        return text

@bentoml.service
class Middle:
    last = bentoml.depends(Last)

@bentoml.service(name="first")
class First:
    middle = bentoml.depends(Middle)
"""


@pytest.mark.slow  # BentoML is imported: some 3 s
def test_limits_are_read_of_the_classes(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(CHAIN)
    told = connections.look_up(tmp_path, tmp_path / "no store", "service")
    assert told == {
        "problem": "",
        "parts": {"Last": {"max_requests": 7, "max_age": 300.0}, "Middle": {"max_requests": 100, "max_age": 300.0}},
    }
    (tmp_path / "service.py").write_text("import nothing_of_that_name")
    told = connections.look_up(tmp_path, tmp_path / "no store", "service")
    assert told["parts"] == {} and "nothing_of_that_name" in told["problem"]
    assert not (tmp_path / "__pycache__").exists()
