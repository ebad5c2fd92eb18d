"""sc8's checks on facts, and what its probe reads of words and objects; the cluster is asked by its mutants."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT

from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.processes import Completed
from grader.world import callers, listeners, split
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
    "over": [], "programs": [],
    "replicas": {"demo": 1, "e": 2, "c": 1}, "late": [], "behind": dict(PODS), "pods": dict(PODS),
    "reached": {"embeddingrunner": "200", "classifierrunner": "200"},
    "labels": TEXTS, "lost": [], "asked": 100, "inside": {"demo-1": 0},
    "before": {"embeddingrunner": {"e-1": {"encode": 7}, "e-2": {}}, "classifierrunner": {"c-1": {}}},
    "counted": {"embeddingrunner": {"e-1": {"encode": 67}, "e-2": {"encode": 40}},
                "classifierrunner": {"c-1": {"predict_proba": 100}}},
    "replaced": {"late": [], "asked": 300, "lost": []},
    "door": {name: dict.fromkeys([*MODULE["KNOCKING"], "sibling"], "TimeoutError") for name in PODS}, "invited": [],
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


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("runner-ports-closed", {"invited": ['runners: {"matchLabels": {}}']}),
        ("services-find-runners", {"late": ["e"], "events": ["e-3: no node has room"]}),
    ],
)
def test_a_fault_that_no_pod_shows_fails_its_check(check: str, fault: Facts) -> None:
    """Nobody knocks from a namespace that is not there yet, and of two pods one is found and the other has no place."""
    assert judged({**copy.deepcopy(SEEN), **fault}) == {check: "fail"}


def test_what_stands_beside_the_parts_may_be_of_another_image() -> None:
    seen = copy.deepcopy(SEEN)
    seen["images"]["e/watcher"] = "another"
    seen["images"]["c/runner"] = RELEASE.replace("@", ":v7@")  # the digest counts
    assert judged(seen) == {}


@pytest.mark.parametrize("fact", ["over", "programs"])
def test_what_runs_is_what_is_in_the_image(fact: str) -> None:
    assert judged({**copy.deepcopy(SEEN), fact: ["e/runner: /home/bentoml/bento/src"]}) == {"released-image": "fail"}


@pytest.mark.parametrize(("ready", "found"), [(["demo-1"], None), ([], [])])
def test_a_server_that_ends_is_not_looked_into(
    ready: list[str], found: list[str] | None, broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([["demo-1"], ready])
    monkeypatch.setattr(split, "pods_of", lambda *_: next(looks))
    with pytest.raises(LabError) if found is None else contextlib.nullcontext():
        assert MODULE["look_inside"]("mine", [API]) == found


def listens(env: str, cwd: str, *words: str) -> Facts:
    """What LOOK says of a process with those words and variables, if it listens on a port."""
    look: dict[str, Any] = {}
    exec(listeners.LOOK, look)
    look |= {"sockets": lambda _: {"socket:[1]": "00000000"}, "holds": lambda pid, _: pid == "9"}
    look["words"] = lambda _, what: (env if what == "environ" else "\0".join(words)).split("\0")
    told = {"listdir": lambda _: ["9", "self"], "readlink": lambda _: cwd}
    with pytest.MonkeyPatch.context() as patch:
        for name, does in told.items():
            patch.setattr(os, name, does)
        patch.setattr(os.path, "isdir", lambda path: path.startswith(listeners.BENTO))
        patch.setattr(os.path, "ismount", lambda path: path in ("/", "/etc/serving-lab"))
        return dict(look["look"](3000, listeners.RUNNER))


WORKER = ("python", "-m", listeners.RUNNER, listeners.BENTO, "--runner-name", "x")
STARTER = ("python", "-m", listeners.START, "start-runner-server", listeners.BENTO)


@pytest.mark.parametrize(
    ("env", "cwd", "words", "says"),
    [
        ("HOME=/tmp", listeners.BENTO, WORKER, ""),
        ("PYTHONPATH=/etc/serving-lab", listeners.BENTO, WORKER, "PYTHONPATH=/etc/serving-lab"),
        ("LD_PRELOAD=/tmp/x.so", listeners.BENTO, WORKER, "LD_PRELOAD"),
        ("HOME=/tmp", listeners.BENTO, ("python", "/etc/serving-lab/runner.py"), "python runner.py"),
        ("HOME=/tmp", listeners.BENTO, ("python", "/etc/serving-lab/runner.py", *WORKER[1:]), "python runner.py"),
        ("HOME=/tmp", listeners.BENTO, ("python", "-", *WORKER[1:]), "python -"),
        ("HOME=/tmp", listeners.BENTO, ("python", "-u", *WORKER[1:]), ""),
        ("HOME=/tmp", listeners.BENTO, ("nginx: worker process",), "nginx: worker process"),
        ("HOME=/tmp", listeners.BENTO, ("python", "-m", listeners.RUNNER, "/tmp/other"), "no folder, not the Bento"),
    ],
)
def test_who_listens_as_a_runner(env: str, cwd: str, words: tuple[str, ...], says: str) -> None:
    told = listeners.strange(listens(env, cwd, *words))
    assert says in told if says else told == ""


@pytest.mark.parametrize(
    ("cwd", "steered"), [("/etc/serving-lab/x", ["its folder /etc/serving-lab/x"]), (listeners.BENTO, []), ("/app", [])]
)
def test_where_a_server_is_started_modules_are_found_first(cwd: str, steered: list[str]) -> None:
    """A folder of the image's is no other code; a volume's is."""
    told = listens("HOME=/tmp", cwd, *STARTER)
    assert (told["others"], told["steered"]) == ([], steered)


@pytest.mark.parametrize(
    ("said", "lasted", "late", "found"),
    [
        ([(i / 20, "200") for i in range(600)], 30, [], {"late": [], "asked": 600, "lost": []}),
        ([(i / 20, "200") for i in range(90)], 4.5, [], None),
        ([(i / 20, "200") for i in range(300)], 30, [], None),
        ([], 30, [], None),
        ([(0.0, "200")], 300, ["api"], {"late": ["api"], "asked": 1, "lost": []}),
        ([(i / 20, "200") for i in range(4800)], 900, [], {"late": [], "asked": 4800, "lost": []}),
    ],
)
def test_a_sender_that_is_cut_off_is_the_graders_trouble(
    said: list[tuple[float, str]], lasted: float, late: list[str], found: Facts | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [callers.Answer(at, word, 0.1) for at, word in said]
    monkeypatch.setattr(callers, "asking", lambda *_, **__: contextlib.nullcontext(answers))
    monkeypatch.setattr(split, "wait_until_out", lambda *_: late)
    clock = iter([0.0, lasted])
    monkeypatch.setitem(MODULE, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=lambda _: None))
    for name in ("kubectl", "wait_until", "refuse_trouble"):
        monkeypatch.setitem(MODULE, name, lambda *_, **__: True)
    with pytest.raises(LabError) if found is None else contextlib.nullcontext():
        assert MODULE["replace_once"]("mine", "client", "host", API) == found


HERE = {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"args": ["a", "--port=$(PORT)"], "env": [{"name": "PORT", "value": "3001"}]}, "a --port=3001"),
        ({"command": ["sh", "-c", 'exec a \\\n  --x "b.$NS.svc"'], "env": [HERE]}, "sh -c exec a --x b.mine.svc"),
        ({"args": ["a"], "env": [{"name": "BENTOML_SERVE_RUNNER_NAME", "value": "x"}]}, "a --runner-name=x"),
        ({"args": ["a", "--port=1"], "env": [{"name": "BENTOML_PORT", "value": "2"}]}, "a --port=1"),
        ({"args": "a text", "env": [{"value": "no name"}]}, ""),
    ],
)  # fmt: skip
def test_variables_of_a_container_are_filled_in(container: Facts, words: str) -> None:
    assert split.words_of(container, "mine") == words


@pytest.mark.parametrize(("words", "port"), [("a", 3000), ("a --port 81", 81), ("a --bind=tcp://0.0.0.0:82", 82)])
def test_a_part_listens_where_its_words_say(words: str, port: int) -> None:
    assert split.Part("d", "api", "c", words).port == port


def test_runners_are_asked_where_the_older_forms_say_too() -> None:
    wanted = {"a": "a:3000", "b": "b:80"}
    assert split.depends_of("x --depends=a=tcp://a:3000 b=tcp://b:80 --port=1") == wanted
    assert split.depends_of("x --runner-map {a: tcp://a:3000, b: tcp://b:80}") == wanted


@pytest.mark.parametrize("spec", [None, {}, {"template": None}, {"template": {"spec": {"containers": {"name": "x"}}}}])
def test_a_deployment_whose_template_is_misplaced_runs_nothing(spec: Any) -> None:
    assert split.parts_of([{"metadata": {"name": "d"}, "spec": spec}]) == []


def deployment(name: str, **spec: Any) -> Facts:
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(("replicas", "found"), [({}, 2), ({"replicas": 3}, 3), ({"replicas": 9}, 4)])
def test_an_autoscaler_has_the_last_word_on_replicas(replicas: Facts, found: int) -> None:
    target = {"scaleTargetRef": {"kind": "Deployment", "name": "e"}, "minReplicas": 2, "maxReplicas": 4}
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "any"}, "spec": target}
    one, other, _ = MODULE["autoscaled"]([deployment("e", x=1, **replicas), deployment("c"), scaler])
    assert (one["spec"]["replicas"], other["spec"]) == (found, {})


def test_what_belongs_together_is_in_one_namespace() -> None:
    def thing(kind: str, namespace: str) -> Facts:
        return {"kind": kind, "metadata": {"name": "x", "namespace": namespace}}

    together = [thing("Service", "a"), thing("Deployment", "a"), thing("PodMonitor", "b"), deployment("no word of it")]
    assert MODULE["scattered"](together) == ""
    assert "a, b" in MODULE["scattered"]([*together, thing("NetworkPolicy", "b")])


@pytest.mark.parametrize(("runner", "who"), [(runner, who) for runner in PODS for who in ("peer", "sibling")])
def test_runners_and_their_own_pods_are_shut_out_too(runner: str, who: str) -> None:
    """The classifier has one pod, and no sibling to ask about."""
    for said in ("ran", "500"):
        seen = copy.deepcopy(SEEN)
        seen["door"][runner][who] = said
        lone = (runner, who, said) == ("classifierrunner", "sibling", "500")
        assert judged(seen) == ({} if lone else {"runner-ports-closed": "fail"})


@pytest.mark.parametrize("culprit", ["", "client", "peer", "sibling"])
def test_each_runner_is_sent_a_pickle_from_each_place(culprit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a runner by its own container; what ran is told by the folder, whatever the sender was answered."""
    ran: set[str] = set()
    told: list[tuple[str, str, str, str]] = []

    def fire(home: str, pod: str, address: str, method: str, token: str, container: str) -> str:
        told.append((home, pod, address, container))
        role = {"": pod, "runner": "sibling" if pod == "e-2" else "peer"}[container]
        ran.update({token} if role == culprit else set())
        return "TimeoutError"

    monkeypatch.setattr(split, "fire", fire)
    monkeypatch.setattr(split, "landed", lambda *_: ran)
    monkeypatch.setitem(MODULE, "get", lambda _, __, name: {"status": {"podIP": f"ip-{name}"}})
    parts = {name: split.Part(name, name, "runner", "") for name in PODS}
    who = [MODULE["Visitor"](role, "mine", role, {}) for role in ("client", "neighbour")]
    door = MODULE["knock_once"]("mine", who, parts, PODS, {name: {} for name in PODS})
    assert door["classifierrunner"].keys() | {"sibling"} == door["embeddingrunner"].keys() == {
        "client", "neighbour", "peer", "sibling"}  # fmt: skip
    assert {role for said in door.values() for role, one in said.items() if one == "ran"} == {culprit} - {""}
    inner = {spot[1:3] for spot in told if spot[3]}
    assert inner == {("c-1", "ip-e-1:3000"), ("e-1", "ip-c-1:3000"), ("e-2", "ip-e-1:3000")}


def test_a_likeness_has_what_parts_share_and_is_none_of_them() -> None:
    runner = {"name": "e", "part": "runner", "of": "lab"}
    parts = [{"name": "demo", "of": "lab"}, runner, runner | {"name": "c"}]
    assert MODULE["shared"](parts) == {"name": "other", "part": "runner", "of": "lab"}


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        (None, []),
        ({"matchLabels": {"kubernetes.io/metadata.name": "mine"}}, []),
        ({"matchLabels": {"team": "ml"}}, []),
        ({}, ["runners: {}"]),
        ({"matchLabels": {"kubernetes.io/metadata.name": "theirs"}}, "theirs"),
        ({"matchLabels": {"kubernetes.io/metadata.name": "not there yet"}}, "not there yet"),
    ],
)
def test_who_is_invited_from_elsewhere(selector: Facts | None, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def namespace(name: str, **labels: str) -> Facts:
        return {"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}}

    def policy(name: str, about: Facts, peer: Facts) -> Facts:
        spec = {"podSelector": {"matchLabels": about}, "policyTypes": ["Ingress"], "ingress": [{"from": [peer]}]}
        return {"metadata": {"name": name}, "spec": spec}

    peer: Facts = {"podSelector": {}} | ({} if selector is None else {"namespaceSelector": selector})
    there = {
        "namespaces": [namespace("mine", team="ml"), namespace("theirs")],
        "networkpolicies": [policy("runners", {"part": "runner"}, peer),
                            policy("api", {"part": "api"}, {"namespaceSelector": {}})],
    }  # fmt: skip
    monkeypatch.setitem(MODULE, "get", lambda _, kind: {"items": there[kind]})
    told = MODULE["invited"]("mine", [{"part": "runner"}])
    assert told == found if isinstance(found, list) else len(told) == 1 and found in told[0]


API = split.Part("api", "api", "server", "")
ENDED: Facts = {"terminated": {"exitCode": 2, "reason": "Error", "finishedAt": "1"}}
WAITS: Facts = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED}
ANEW: Facts = {"state": {"running": {}}, "lastState": ENDED}
RUNS: Facts = {"state": {"running": {}}, "lastState": {}}
HOW = "the server of api-1 ended with code 2 (Error): No such option: --hosts"


def api_pod(**state: Any) -> Facts:
    """As Kubernetes has it: Running, though its server waits to be started again; another container runs beside it."""
    beside = {"name": "watcher", "state": {"running": {}}}
    return {"metadata": {"name": "api-1"}, "status": {"phase": "Running", "containerStatuses": [
        *([{"name": "server", **state}] if state else []), beside]}}  # fmt: skip


@pytest.fixture
def pods(monkeypatch: pytest.MonkeyPatch) -> list[list[Facts]]:
    """What the cluster says of the API server's pods, look by look; the last one stays. Nobody waits."""
    looks: list[list[Facts]] = []
    monkeypatch.setattr(split, "alive", lambda *_: looks.pop(0) if len(looks) > 1 else looks[0])
    monkeypatch.setattr(split, "get", lambda *_: {"items": []})
    said = "No such\noption: --hosts"
    monkeypatch.setattr(split, "kubectl", lambda *words, **_: Completed(0, said, 0.1, said))
    monkeypatch.setattr(split, "run_in", lambda *_, **__: "200\n200")
    monkeypatch.setitem(MODULE, "refuse_trouble", lambda _: None)
    monkeypatch.setitem(MODULE, "wait_until", lambda holds, *_, **__: any(holds() for _ in range(3)))
    return looks


def reached() -> dict[str, str]:
    return dict(MODULE["reach"]("mine", API, dict.fromkeys(PODS, "a:3000")))


@pytest.mark.parametrize("then", [RUNS, ANEW])
def test_a_server_that_waits_for_the_runners_is_waited_for(pods: list[list[Facts]], then: Facts) -> None:
    """In its pod or by ending until they are there."""
    pods += [[], [api_pod()], [api_pod(**then)]]
    assert reached() == dict.fromkeys(PODS, "200")


def test_a_server_that_ends_as_it_starts_is_a_fact(pods: list[list[Facts]]) -> None:
    pods.append([api_pod(**WAITS)])
    assert reached() == dict.fromkeys(PODS, HOW)
    pods[:] = [[api_pod(state={"waiting": {"reason": "CreateContainerConfigError"}})]]
    assert set(reached().values()) == {"no pod of the API server runs"}


@pytest.mark.parametrize(("before", "after"), [(RUNS, WAITS), (RUNS, ANEW), (ANEW, {"state": ENDED})])
def test_a_server_that_ends_while_it_is_asked(
    pods: list[list[Facts]], before: Facts, after: Facts, broken: None
) -> None:
    """Its end is new; and one that is known is no reason why nothing can be run there."""
    again = json.loads(json.dumps(after).replace('"finishedAt": "1"', '"finishedAt": "2"'))
    pods += [[api_pod(**before)], [api_pod(**again)]]
    assert reached() == dict.fromkeys(PODS, HOW)
    pods[:] = [[api_pod(**ANEW)]]
    with pytest.raises(LabError):
        reached()


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch, pods: list[list[Facts]]) -> None:
    """Nothing can be run in a pod."""

    def run_in(*_: Any, **__: Any) -> str:
        raise LabError("Nothing can be run in the pod.")

    monkeypatch.setattr(split, "run_in", run_in)


@pytest.mark.parametrize(
    ("state", "event", "found"),
    [
        (ANEW, "", HOW),
        (RUNS, "", "200"),
        (ANEW, "Container server failed startup probe, will be restarted", "200"),
    ],
)
def test_a_server_that_ends_again_and_again_may_run_when_it_is_asked(
    pods: list[list[Facts]], state: Facts, event: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods.append([api_pod(**state)])
    events = [{"reason": "Killing", "involvedObject": {"name": "api-1"}, "message": event}]
    monkeypatch.setattr(split, "get", lambda *_: {"items": events})
    monkeypatch.setattr(split, "wait_until_out", lambda *_: ["api"])
    told = MODULE["get_in"]("mine", {"api": API}, dict.fromkeys(PODS, "a:3000"))
    assert told == {"reached": dict.fromkeys(PODS, found), "late": ["api"]}


def refuse(_: str) -> None:
    raise LabError("The registry is silent, a disk is full, others took the room.")


@pytest.mark.parametrize("look", ["reach", "get_in", "replace_once"])
def test_what_is_late_for_the_machines_sake_is_no_fact(
    pods: list[list[Facts]], look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod of the API server without room, at first or while it is replaced; one that ends itself is a fact."""
    pods.append([api_pod(**({} if look == "reach" else RUNS))])
    monkeypatch.setattr(split, "wait_until_out", lambda *_: ["api"])
    monkeypatch.setattr(callers, "asking", lambda *_, **__: contextlib.nullcontext([]))
    monkeypatch.setitem(MODULE, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None))
    for name in ("kubectl", "leaving"):
        monkeypatch.setitem(MODULE, name, lambda *_: False)
    depends = dict.fromkeys(PODS, "a:3000")
    words = {"reach": (API, depends), "get_in": ({"api": API}, depends), "replace_once": ("client", "host", API)}[look]
    told = MODULE[look]("mine", *words)
    monkeypatch.setitem(MODULE, "refuse_trouble", refuse)
    with pytest.raises(LabError, match="took the room"):
        MODULE[look]("mine", *words)
    if look != "replace_once":
        pods[:] = [[api_pod(**(WAITS if look == "reach" else ANEW))]]
        assert told != MODULE[look]("mine", *words)


@pytest.mark.parametrize(("lost", "state"), [(["RemoteDisconnected"], WAITS), ([], WAITS), (["TimeoutError"], RUNS)])
def test_a_server_that_ends_under_those_who_ask(
    pods: list[list[Facts]], lost: list[str], state: Facts, monkeypatch: pytest.MonkeyPatch, broken: None
) -> None:
    pods.append([api_pod(**state)])
    monkeypatch.setattr(split, "pods_of", lambda *_: ["api-1"])
    monkeypatch.setattr(split, "ask", lambda *_: {"labels": {}, "lost": lost})
    monkeypatch.setattr(split, "counted", lambda *_: {})
    parts = {"api": API} | {name: split.Part(name, name, "runner", "") for name in PODS}
    work = functools.partial(MODULE["work"], "mine", "client", "host", parts, PODS, {"late": []})
    if lost and state is WAITS:
        assert work()["lost"][0] == HOW and work()["lost"][-1] == lost[0]
    else:
        with pytest.raises(LabError):
            work()


def test_a_parts_pods_are_those_that_its_deployment_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' names begin with its own, or they have the same labels."""

    def pod(name: str, maker: str) -> Facts:
        about = {"name": name, "labels": {"part": "api", "pod-template-hash": "5f"}}
        return {"metadata": {**about, "ownerReferences": [{"kind": "ReplicaSet", "name": f"{maker}-5f"}]}}

    lone = {"metadata": {"name": "demo-5f-client", "labels": {"part": "api"}}}
    pods = [pod("demo-embedder-5f-1", "demo-embedder"), pod("demo-5f-1", "demo"), pod("old-5f-1", "old"), lone]
    monkeypatch.setattr(split, "get", lambda *_: {"items": pods})
    assert [p["metadata"]["name"] for p in split.alive("mine", "demo")] == ["demo-5f-1"]


@pytest.mark.parametrize(
    ("services", "host"),
    [
        ({"demo-text-intelligence": ({"a": "typo"}, 80), "other": ({"a": "api"}, 80)}, "demo-text-intelligence"),
        ({"runner": ({"a": "runner"}, 3000), "front": ({"a": "api"}, 8080), "none": ({}, 80)}, "front:8080"),
        ({"runner": ({"a": "runner"}, 3000)}, "demo-text-intelligence"),
    ],
)
def test_people_ask_the_service_of_the_api_server(services: Any, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"metadata": {"name": name}, "spec": {"selector": selector, "ports": [{"port": port}]}}
             for name, (selector, port) in services.items()]  # fmt: skip
    monkeypatch.setitem(MODULE, "get", lambda *_: {"items": items})
    assert MODULE["front"]("mine", {"a": "api", "b": "more"}) == host


def test_all_is_moved_and_the_old_namespace_is_nowhere() -> None:
    named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["mine"]}
    policy = {"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mine"}}},
                       {"namespaceSelector": {"matchExpressions": [named]}}]}  # fmt: skip
    things = [
        {"kind": "Namespace", "metadata": {"name": "mine", "labels": {"team": "ml"}}},
        {"kind": "Service", "metadata": {"name": "mine-s", "namespace": "mine"},
         "spec": {"to": "tcp://e.mine.svc:3000", "clusterIP": "10.0.0.9", "ports": [{"port": 80, "nodePort": 31000}]}},
        {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "mine"}, "spec": policy},
        {"kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "mine"}},
    ]  # fmt: skip
    home, _, service, moved = MODULE["moved"](things, "theirs")["items"]
    assert home["metadata"]["name"] == service["metadata"]["namespace"] == "theirs"
    assert home["metadata"]["labels"]["team"] == "ml"
    assert service["metadata"]["name"] == "mine-s"
    assert service["spec"] == {"to": "tcp://e.theirs.svc:3000", "ports": [{"port": 80}]}
    assert '"mine"' not in json.dumps(moved) and json.dumps(moved["spec"]).count('"theirs"') == 2


def test_a_namespace_called_as_the_service_takes_no_name_from_it() -> None:
    container = {"name": "demo", "image": "host/demo@sha256:1", "args": ["--depends=e=tcp://demo:80", "e.demo.svc"]}
    thing = {
        "kind": "Deployment",
        "metadata": {"name": "demo", "namespace": "demo"},
        "spec": {"containers": [container]},
    }
    moved = MODULE["moved"]([thing], "theirs")["items"][-1]
    assert moved["metadata"] == {"name": "demo", "namespace": "theirs"}
    assert moved["spec"]["containers"] == [{**container, "args": ["--depends=e=tcp://demo:80", "e.theirs.svc"]}]
