"""sc8's checks on facts, and what its probe reads of words and objects; the cluster is asked by its mutants."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import ROOT

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.world import split
from grader.world.releases import TEXTS

KIT = Kit(ROOT)
SC8 = KIT.criterion("sc8")
MODULE = vars(KIT.module("sc8"))
RELEASE = "127.0.0.1:5001/demo-text-intelligence@sha256:1"
PODS = {"embeddingrunner": ["e-1", "e-2"], "classifierrunner": ["c-1"]}
SEEN: Facts = {
    "problem": "", "strangers": [], "release": RELEASE,
    "parts": {"demo/server": "api", "e/runner": "embeddingrunner", "c/runner": "classifierrunner"},
    "images": {"demo/server": RELEASE, "e/runner": RELEASE, "c/runner": RELEASE},
    "replicas": {"demo": 1, "e": 2, "c": 1}, "late": [], "behind": dict(PODS), "pods": dict(PODS),
    "reached": {"embeddingrunner": "200", "classifierrunner": "200"},
    "labels": TEXTS, "lost": [], "asked": 100, "inside": {"demo-1": 0},
    "before": {"embeddingrunner": {"e-1": {"encode": 7}, "e-2": {}}, "classifierrunner": {"c-1": {}}},
    "counted": {"embeddingrunner": {"e-1": {"encode": 67}, "e-2": {"encode": 40}},
                "classifierrunner": {"c-1": {"predict_proba": 100}}},
    "replaced": {"late": [], "asked": 300, "lost": []},
    "door": {name: dict.fromkeys(("client", "stranger", "neighbour"), "TimeoutError") for name in PODS},
}  # fmt: skip


def judged(seen: Facts) -> dict[str, str]:
    """The checks that neither pass nor come after another's fail."""
    results = judge_criterion(SC8, {"shape": Evidence("shape", json.loads(json.dumps(seen)), "", 0.0)}).checks
    return {r.id: r.verdict.value for r in results if r.verdict.value not in ("pass", "not_run")}


def test_a_good_split_passes() -> None:
    assert judged(SEEN) == {}


WRONG: dict[str, Callable[[Any], Any]] = {
    "parts-are-apart": lambda s: s["parts"].update({"demo/runner": s["parts"].pop("c/runner")}),
    "released-image": lambda s: s["images"].update({"e/runner": "127.0.0.1:5001/demo-text-intelligence:bento-v1"}),
    "services-find-runners": lambda s: s["behind"].update(embeddingrunner=["c-1"]),
    "api-gets-in": lambda s: s["reached"].update(classifierrunner="TimeoutError"),
    "answers-right": lambda s: s["labels"].update(dict.fromkeys(TEXTS, "billing")),
    "runners-do-the-work": lambda s: s["counted"]["classifierrunner"]["c-1"].update(predict_proba=50),
    "embedder-scaled-alone": lambda s: s["counted"]["embeddingrunner"].update({"e-1": {"encode": 147}, "e-2": {}}),
    "replaced-without-loss": lambda s: s["replaced"].update(lost=["RemoteDisconnected"]),
    "runner-ports-closed": lambda s: s["door"]["classifierrunner"].update(neighbour="ran"),
}


@pytest.mark.parametrize("check", WRONG)
def test_each_fault_fails_its_check_alone(check: str) -> None:
    seen = copy.deepcopy(SEEN)
    WRONG[check](seen)
    assert judged(seen) == {check: "fail"}


def test_each_check_has_its_fault() -> None:
    assert set(WRONG) == {c.id for c in SC8.checks}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("start-http-server --host=0.0.0.0", "api"),
        ("start-runner-server --runner-name=embeddingrunner --port=3000", "embeddingrunner"),
        ("start-runner-server --host 0.0.0.0 --runner-name embeddingrunner", "embeddingrunner"),
        ("python -m bentoml_cli._internal.start start-runner-server --runner-name x", "x"),
        ("serve --host 0.0.0.0", "all"),
        ("bentoml serve", "all"),
        ("sleep infinity", ""),
        ("python /observe.py", ""),
    ],
)
def test_what_a_container_runs_is_read_from_its_words(words: str, part: str) -> None:
    assert split.part_of(words) == part


def test_where_runners_are_asked_is_read_in_both_forms() -> None:
    words = "start-http-server --depends=a=tcp://a:3000 --depends b=tcp://b.x.svc:3000 --depends=c=http://c:3000"
    assert split.depends_of(words) == {"a": "a:3000", "b": "b.x.svc:3000", "c": "http://c:3000"}


def test_all_is_moved_and_the_old_namespace_is_nowhere() -> None:
    things = [
        {"kind": "Namespace", "metadata": {"name": "mine"}},
        {
            "kind": "Service",
            "metadata": {"name": "mine-s", "namespace": "mine"},
            "spec": {"to": "tcp://e.mine.svc:3000"},
        },
    ]
    home, service = MODULE["moved"](things, "theirs")["items"]
    assert home["metadata"]["name"] == service["metadata"]["namespace"] == "theirs"
    assert (service["metadata"]["name"], service["spec"]["to"]) == ("mine-s", "tcp://e.theirs.svc:3000")
