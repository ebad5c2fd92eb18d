"""sc2's checks, judged purely: made-up facts in, findings out. What the probe sees is tried by its mutants."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import ROOT
from facts import put

from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Verdict
from grader.processes import free_port, listener, started, wait_until
from grader.world import asker, servers

KIT = Kit(ROOT)
SC2 = KIT.criterion("sc2")
BAD: dict[str, Any] = SC2.probes[0].look.__globals__["BAD"]
OLD, LATEST = "demo_classifier:old", "demo_classifier:new"
TOLD = {"a": ("billing", 0.8), "b": ("account", 0.6), "c": ("shipping", 0.7)}


def answer(texts: list[str], **other: Any) -> dict[str, Any]:
    body = {"labels": [TOLD[t][0] for t in texts], "scores": [TOLD[t][1] for t in texts]}
    calls = {"embeddingrunner": 1, "classifierrunner": 1}
    kind = "application/json"
    return {"texts": texts, "status": 200, "body": body, "problem": "", "type": kind, "calls": calls, **other}


def refusal(status: int = 422, body: Any = None) -> dict[str, Any]:
    body = {"error": "a", "message": "b"} if body is None else body
    return {"status": status, "body": body, "problem": "", "type": "application/json"}


def met() -> dict[str, Any]:
    return {"status": None, "answers": [answer(["a"]), answer(["b", "c"])], "batches": 1, "calls": 2}


def work(own: float, others: float, again: float) -> dict[str, Any]:
    return {"own": own, "others": others, "again": again}


def good() -> dict[str, Any]:
    told = {t: {"label": label, "score": score, "lead": 0.3} for t, (label, score) in TOLD.items()}
    older = {t: {"label": label, "score": score - 0.1, "lead": 0.2} for t, (label, score) in TOLD.items()}
    names = {"workers": ["api", "classifierrunner", "embeddingrunner"], "service": ["demo_text_intelligence"]}
    return {
        "problem": "", "foreign": "", "seconds": 8.0, "log": "",
        "first": {**answer(["a", "c"]), "log": ""},
        "two": answer(["a", "c"]),
        "stays": {"alive": True, "log": "", **answer(["a"])},
        "names": {**names, "max_batch": {"embeddingrunner": 64.0, "classifierrunner": 64.0}},
        "sizes": [answer([]), answer(["b"]), answer(["c", "a"]), *(answer(["a", "b"] * n) for n in (5, 32))],
        "again": answer(["c", "a"]),
        "work": work(0.5, 0.05, 0.5),
        "spare": 0.2,
        "frozen": {r: met() for r in ("embeddingrunner", "classifierrunner")},
        "others": {"in Japanese": answer(["a"])},
        "killed": {"classifierrunner": refusal(500) | {"texts": ["a", "b"]}, "embeddingrunner": answer(["a", "b"])},
        "bare": [],
        "closed": {**answer(["a", "b"]), "log": ""},
        "bad": {name: refusal() for name in BAD},
        "together": [answer(["a"]), answer(["b", "c"])],
        "burst": [answer(["a"]), answer(["b", "c"])],
        "saved": {"problem": "", "latest": LATEST, "answers": {LATEST: told, OLD: older}},
    }  # fmt: skip


def verdicts(facts: dict[str, Any]) -> dict[str, Verdict]:
    graded = judge_criterion(SC2, {"answers": Evidence("answers", facts)})
    return {c.id: c.verdict for c in graded.checks}


def message(facts: dict[str, Any], check: str) -> str:
    graded = judge_criterion(SC2, {"answers": Evidence("answers", facts)})
    return next(c.message for c in graded.checks if c.id == check)


def test_good_facts_pass() -> None:
    assert set(verdicts(good()).values()) == {Verdict.PASS}


WRONG = [
    ("two-labels-two-scores", put("two", "body", "labels", to=["billing"])),
    ("two-labels-two-scores", put("two", "status", to=201)),
    ("two-labels-two-scores", put("two", "body", to=["billing", "shipping"])),
    ("two-labels-two-scores", put("two", "body", "labels", to=[1, 2])),
    ("two-labels-two-scores", put("two", "body", "scores", to=[0.5, 1.5])),
    ("two-labels-two-scores", put("two", "body", "scores", to=[True, 0.5])),
    ("two-labels-two-scores", put("problem", to="the server exited with code 1 after 2 s")),
    ("stays-up", put("stays", "alive", to=False)),
    ("stays-up", put("stays", "status", to=None)),
    ("two-runners", put("names", "workers", to=["api", "embeddingrunner"])),
    ("two-runners", put("names", "service", to=["triage"])),
    ("configured", put("names", "max_batch", "embeddingrunner", to=100.0)),
    ("one-answer-per-text", put("sizes", 2, "body", "scores", to=[0.7])),
    ("one-answer-per-text", put("sizes", 0, "status", to=None)),
    ("stays-up", put("stays", "status", to=500)),
    ("one-answer-per-text", put("sizes", to=[answer([])])),
    ("loads-once", put("closed", "status", to=404)),
    ("loads-once", put("first", "status", to=500)),
    ("asks-both-runners", put("sizes", 1, "calls", to={})),
    ("labels-right", put("closed", "body", "labels", to=["billing", "billing"])),
    ("labels-right", put("again", "body", "labels", to=["billing", "billing"])),
    ("scores-right", put("two", "body", "scores", to=[0.8, 0.1])),
    ("asks-both-runners", put("two", "calls", "classifierrunner", to=0)),
    ("asks-both-runners", put("sizes", 1, "calls", "embeddingrunner", to=0)),
    ("asks-both-runners", put("frozen", "classifierrunner", "status", to=200)),
    ("asks-both-runners", put("frozen", "embeddingrunner", "answers", 1, "status", to=None)),
    ("asks-both-runners", put("work", to=work(0.02, 0.5, 0.02))),
    ("asks-again", put("work", to=work(0.9, 0.05, 0.01))),
    ("asks-again", put("again", "calls", "embeddingrunner", to=0)),
    ("asks-again", put("again", "status", to=500)),
    ("saved-version", put("saved", "latest", to=OLD)),
    ("saved-version", put("bare", to=["classifierrunner"])),
    ("saved-version", put("saved", "problem", to="ImportError: no module preprocess")),
    ("labels-right", put("sizes", 2, "body", "labels", to=["billing", "shipping"])),
    ("scores-right", put("sizes", 2, "body", "scores", to=[0.8, 0.7])),
    ("own-answers-under-load", put("together", 1, "body", "scores", to=[0.7, 0.6])),
    ("own-answers-under-load", put("together", 0, "status", to=500)),
    ("own-answers-under-load", put("frozen", "classifierrunner", "answers", 1, "body", "scores", to=[0.7, 0.6])),
    ("own-answers-under-load", put("frozen", "embeddingrunner", "answers", 1, "body", "labels", to=["account"])),
    ("other-texts-right", put("others", "in Japanese", "body", "scores", to=[0.7])),
    ("other-texts-right", put("others", "in Japanese", "status", to=422)),
    ("makes-batches", put("frozen", "classifierrunner", "batches", to=8)),
    ("makes-batches", put("frozen", "embeddingrunner", "calls", to=0)),
    ("failure-is-told", put("killed", "embeddingrunner", "body", "scores", to=[0.0, 0.0])),
    ("failure-is-told", put("killed", "classifierrunner", "status", to=200)),
    ("answers-in-json", put("two", "type", to="text/plain; charset=utf-8")),
    ("answers-in-json", put("sizes", 1, "type", to="")),
    ("survives-burst", put("burst", 0, to=answer(["a"], status=None, body=None, problem="no answer in 15 s"))),
    ("survives-burst", put("burst", 0, "body", to={"labels": ["account"], "scores": [0.8]})),
    ("survives-burst", put("burst", 1, "body", to={"labels": ["account"], "scores": [0.6]})),
    ("bad-input-answered", put("bad", to={"no JSON": refusal()})),
    ("bad-input-answered", put("bad", "a number among the texts", to=refusal(500))),
    ("bad-input-answered", put("bad", "a number among the texts", "status", to=None)),
    ("bad-input-refused", put("bad", "a number among the texts", to=refusal(200))),
    ("errors-are-objects", put("bad", "no JSON", to=refusal(400, "no JSON"))),
    ("errors-are-objects", put("bad", "no JSON", "type", to="text/html")),
    ("errors-are-objects", put("bad", "no JSON", to=refusal(400, {"error": "", "message": None}))),
]  # fmt: skip


@pytest.mark.parametrize(("check", "change"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_each_wrong_fact_fails_its_check_alone(check: str, change: Callable[[dict[str, Any]], None]) -> None:
    facts = copy.deepcopy(good())
    change(facts)
    found = verdicts(facts)
    assert found.pop(check) is Verdict.FAIL
    assert Verdict.FAIL not in found.values() and Verdict.ERROR not in found.values()


RIGHT_WORK = {
    "much is done in the API process, too": work(0.5, 0.9, 0.5),
    "texts are prepared there, or made tokens": work(0.3, 0.2, 0.3),
    "a runner on a GPU, which a clock of 10 ms hardly sees": work(0.04, 0.05, 0.0),
}


@pytest.mark.parametrize("spent", RIGHT_WORK.values(), ids=RIGHT_WORK)
def test_who_computes_passes_wherever_else_something_is_done(spent: dict[str, Any]) -> None:
    assert set(verdicts(good() | {"work": spent}).values()) == {Verdict.PASS}


def test_what_a_part_spends_is_told_from_what_all_others_do(monkeypatch: Any) -> None:
    looks = iter([{"": 1.0, "api": 2.0, "embeddingrunner": 9.0}, {"": 1.1, "api": 2.2, "embeddingrunner": 9.5}])
    monkeypatch.setattr(asker, "counted", lambda *_: "an answer")
    server: Any = SimpleNamespace(cpu=lambda: next(looks))
    told = asker.costed(server, ["a"], asker.Runners(), "embeddingrunner")
    assert list(told) == ["an answer", {"own": 0.5, "others": 0.3}]


def test_cpu_is_counted_where_it_was_spent_with_children_that_live_and_that_ended(tmp_path: Any) -> None:
    burn = "import time\nwhile time.process_time() < 0.8: pass\n"  # more than is asked for: psutil's clock has ticks
    ended = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\nimport time\ntime.sleep(60)\n"
    command = [sys.executable, "-c", ended, "bentoml_cli.worker.runner", "--runner-name", "embeddingrunner"]
    with started(command) as (process, mark):
        server = servers.Served("", tmp_path, tmp_path, mark, process)
        assert wait_until(lambda: server.cpu().get("embeddingrunner", 0.0) > 0.5, 20)
        assert server.cpu()[""] < 0.1


def test_a_foreign_server_is_told_from_one_s_own_though_it_answers_well() -> None:
    facts = good() | {"foreign": "python (process 7)", "problem": "port 80 is held by python (process 7)"}
    found = verdicts({k: facts[k] for k in ("problem", "foreign", "seconds", "log", "two")})
    assert (found["two-labels-two-scores"], found["own-server"]) == (Verdict.PASS, Verdict.FAIL)
    assert set(list(found.values())[2:]) == {Verdict.NOT_RUN}


def test_a_hang_leaves_facts_enough_to_judge() -> None:
    facts = good()
    facts["sizes"] = [facts["sizes"][0], answer(["b"], status=None, body=None, problem="no answer in 15 s")]
    for name in ("again", "work", "closed", "bad", "together", "burst", "others", "frozen", "killed"):
        del facts[name]
    assert Verdict.ERROR not in verdicts(facts).values()
    assert "no answer in 15 s" in message(facts, "one-answer-per-text")


def test_messages_name_what_was_found() -> None:
    facts = good()
    facts["sizes"][2]["body"]["labels"] = ["billing", "shipping"]
    assert "'c', got billing" in message(facts, "labels-right")
    facts["saved"]["latest"] = OLD
    assert LATEST in message(facts, "saved-version")


def test_roles_are_read_from_command_lines() -> None:
    runner = ["python", "-m", "bentoml_cli.worker.runner", "service:svc", "--runner-name", "embeddingrunner"]
    assert servers.role_of(runner) == "embeddingrunner"
    assert servers.role_of(["python", "-m", "bentoml_cli.worker.http_api_server", "service:svc"]) == "api"
    assert servers.role_of(["python", "-m", "bentoml", "serve"]) == ""


def test_a_service_that_does_not_start_is_a_fact(tmp_path: Any) -> None:
    (tmp_path / "store" / "models").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "service.py").write_text("import nothing_that_exists\n")
    with servers.served(tmp_path / "project", tmp_path / "store", limit=30) as server:
        assert "exited with code" in server.problem
        assert "nothing_that_exists" in server.log(20)
        assert not server.alive() and server.metrics() == []
    with pytest.raises(httpx.HTTPError):
        httpx.get(server.url, timeout=2)


def test_a_port_that_another_program_took_meanwhile_is_no_fault_of_the_service(tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.delenv(servers.PORT, raising=False)
    port = free_port()
    monkeypatch.setattr(servers, "free_port", lambda: port)
    with subprocess.Popen([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]) as other:
        assert wait_until(lambda: listener(port) is not None, 10)
        with pytest.raises(LabError, match=f"process {other.pid}, took port"), servers.served(None, tmp_path, limit=30):
            pass
        other.kill()


def test_a_file_named_as_one_of_python_s_modules_is_named_where_it_would_harm(tmp_path: Any) -> None:
    for name in ("service.py", "queue.py", "limits.py"):
        (tmp_path / name).touch()
    assert servers.hides(tmp_path) == "queue.py stands before Python's own module queue: give it another name"
    (tmp_path / "queue.py").unlink()
    assert servers.hides(tmp_path) == ""
