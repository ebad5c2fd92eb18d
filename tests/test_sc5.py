"""sc5's checks on facts made by hand: right deployments that are unlike ours pass, wrong ones fail at their check."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fake_tools import FakeTools, tools

from cluster.forward import Forward
from cluster.names import IMAGE
from grader.criteria import sc5
from grader.errors import LabError
from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Evidence, Facts
from grader.workspace import Workspace
from grader.world import listeners, objects, pace, room, visitors
from grader.world.secrets import secret_values

__all__ = ["tools"]  # a fixture
SC5 = Kit().criterion("sc5")
MODULE = SC5.probes[0].look.__globals__  # a criterion is no module that one imports
RELEASE = f"127.0.0.1:5001/walk/{IMAGE}@sha256:{'a' * 64}"
HASH = "b" * 64
SERVER: Facts = {
    "name": "server",
    "image": RELEASE,
    "ports": [{"name": "http", "containerPort": 3000}],
    "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1536Mi"}},
    "startupProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 3, "timeoutSeconds": 5,
                     "failureThreshold": 60},
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 5, "timeoutSeconds": 5,
                       "failureThreshold": 3},
    "livenessProbe": {"httpGet": {"path": "/livez", "port": 3000}, "periodSeconds": 10, "timeoutSeconds": 5,
                      "failureThreshold": 3},
    "volumeMounts": [{"name": "configuration", "mountPath": "/etc/serving-lab"}],
}  # fmt: skip
LABELS = {"app.kubernetes.io/name": IMAGE}
SELECTOR = {"matchLabels": LABELS}
SPREAD = {"topologyKey": "kubernetes.io/hostname", "labelSelector": SELECTOR, "maxSkew": 1}
WARNING = "Warning: v1 ComponentStatus is deprecated"


def pod(number: int, **spec: Any) -> Facts:
    states = [{"name": "server", "imageID": RELEASE}]
    status = {"phase": "Running", "containerStatuses": states}
    spec = {"nodeName": f"worker{number}", "containers": [SERVER], **spec}
    return {"metadata": {"name": f"{IMAGE}-{number}", "labels": LABELS}, "status": status, "spec": spec}


class Cluster:
    """What kubectl gives, by kind; a test changes it before `facts`."""

    def __init__(self, tools: FakeTools, folder: Path) -> None:
        self.tools, self.root = tools, folder
        (folder / "deploy").mkdir()
        (folder / "deploy" / "release.json").write_text(json.dumps({"image": RELEASE}))
        self.pods = [pod(1), pod(2)]
        self.template: Facts = {"metadata": {"labels": LABELS}, "spec": {
            "containers": [SERVER], "topologySpreadConstraints": [SPREAD],
            "volumes": [{"name": "configuration", "configMap": {"name": "bentoml"}}]}}  # fmt: skip
        self.deployment: Facts = {
            "metadata": {"generation": 3},
            "spec": {"replicas": 2, "selector": SELECTOR, "template": self.template},
            "status": {"updatedReplicas": 2, "observedGeneration": 3},
        }
        self.service: Facts = {"selector": LABELS, "ports": [{"port": 80, "targetPort": "http"}]}
        self.scalers: list[Facts] = []
        self.more_budgets: list[Facts] = []
        self.others: list[Facts] = []
        self.ends: list[Facts] = []
        self.profile = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.budget: Facts = {"selector": SELECTOR, "minAvailable": 1}
        self.events: list[Facts] = []
        self.maps: dict[str, dict[str, str]] = {"bentoml": {"bentoml_configuration.yml": "runners: {}"}}

    def facts(self, by_kubectl: bool = False) -> Facts:
        """What the probe sees; through a kubectl that warns, or straight, which is ten times quicker."""
        ends = [{"conditions": {"ready": True}, "targetRef": {"name": p["metadata"]["name"]}} for p in self.pods]
        nodes = [{"spec": {}, "status": {"allocatable": {"memory": "24Gi"}}}] * 2
        enforce = {"metadata": {"labels": self.profile}}
        maps = [{"metadata": {"name": n}, **packed_or_not(d)} for n, d in self.maps.items()]
        budgets = [{"spec": b} for b in (self.budget, *self.more_budgets)]
        given = {
            "deployment": self.deployment,
            "service": {"spec": self.service},
            "services,": {"items": self.others},
            "horizontalpodautoscalers": {"items": [{"spec": s} for s in self.scalers]},
            "pods": {"items": self.pods},
            "endpointslices": {"items": [{"endpoints": [*ends, *self.ends]}]},
            "poddisruptionbudgets": {"items": budgets},
            "nodes": {"items": nodes},
            "namespace": enforce,
            "configmaps": {"items": maps},
            "events": {"items": self.events},
        }
        for kind, answer in given.items() if by_kubectl else ():
            self.tools.answer(f"kubectl --context * -n * get {kind}*", json.dumps(answer), warning=WARNING)
        straight = (
            {}
            if by_kubectl
            else {"get": lambda _, kind, *rest: json.loads(json.dumps(given[re.sub(",.*", ",", kind)]))}
        )
        with mock.patch.dict(MODULE, straight):
            return dict(next(p for p in SC5.probes if p.name == "objects").look(Workspace(Kit(), self.root, "walk")))


@pytest.fixture
def cluster(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("LAB_REGISTRY_PORT", "5999")  # where nothing answers
    monkeypatch.setattr(room, "need_room", lambda _: None)
    return Cluster(tools, tmp_path / "work")


def packed_or_not(data: Any) -> Facts:
    """A ConfigMap's data; what is no dictionary is a file of bytes."""
    if isinstance(data, dict):
        return {"data": data}
    return {"binaryData": {"x": base64.b64encode(str(data).encode()).decode()}}


def answered() -> Facts:
    """What two good pods tell."""
    sizes = {"embeddingrunner": 32, "classifierrunner": 32}
    process = {"server": True, "others": [], "loopback": False, "folders": [listeners.BENTO], "steered": []}
    inside = {"file": "/x", "hash": HASH, "effective": sizes, "root_file_system": "OSError 30", "token": False,
              "mounted": True, **process}  # fmt: skip
    told = {"problem": "", "status": 200, "body": {"labels": ["a"], "scores": [0.5]}, "inside": inside,
            "version": "v", "edges": {n: float(s) for n, s in sizes.items()}, "tokens": [], "writable": []}  # fmt: skip
    file = {"map": "m", "file": "f", "hash": HASH, "sizes": sizes, "strangers": []}
    pods = {f"{IMAGE}-1": copy.deepcopy(told), f"{IMAGE}-2": copy.deepcopy(told)}
    return {"bento": "v", "wanted": ["a"], "service": told, "files": [file], "pods": pods}


KNOCKED = {"found": {"client": "200", **dict.fromkeys(visitors.STRANGERS, "TimeoutError")}}


def verdicts(objects: Facts, answers: Facts | None = None, policy: Facts = KNOCKED) -> dict[str, str]:
    """The checks that do not pass, with their verdicts; those that come after another's fail left out."""
    kept = {"objects": objects, "answers": answers or answered(), "policy": policy}
    evidence = {name: Evidence(name, json.loads(json.dumps(facts)), "", 0.0) for name, facts in kept.items()}
    results = judge_criterion(SC5, evidence).checks
    return {r.id: r.verdict.value for r in results if r.verdict.value not in ("pass", "not_run")}


def test_a_good_deployment_passes_though_kubectl_warns(cluster: Cluster) -> None:
    assert verdicts(cluster.facts(by_kubectl=True)) == {}


URLOPEN = "import urllib.request as u; u.urlopen('http://127.0.0.1:3000"
LETTERS = "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQ"
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{LETTERS}\n-----END CERTIFICATE-----\n"
RIGHT: dict[str, Callable[[Any], Any]] = {
    "limits alone": lambda c: c.pods[0]["spec"].update(
        containers=[SERVER | {"resources": {"limits": {"cpu": 1, "memory": "6Gi"}}}]
    ),
    "bytes as 1e9": lambda c: c.pods[0]["spec"].update(
        containers=[SERVER | {"resources": {"requests": {"cpu": "1", "memory": "1e9"}, "limits": {"memory": "1500M"}}}]
    ),
    "anti-affinity": lambda c: (
        c.template["spec"].pop("topologySpreadConstraints"),
        c.template["spec"].update(affinity={"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 9, "podAffinityTerm": SPREAD}]}}),
    ),
    "a budget by expressions": lambda c: c.budget.update(
        selector={"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": [IMAGE]}]}
    ),
    "a budget in percent": lambda c: (c.budget.pop("minAvailable"), c.budget.update(maxUnavailable="50%")),
    "three replicas": lambda c: (
        c.deployment["spec"].update(replicas=3),
        c.deployment["status"].update(updatedReplicas=3),
        c.pods.append(pod(3)),
    ),
    "an autoscaler": lambda c: c.scalers.append({"scaleTargetRef": {"name": IMAGE}, "minReplicas": 2}),
    "a name with tag and digest": lambda c: c.template["spec"].update(
        containers=[SERVER | {"image": RELEASE.replace("@", ":bento-v1@")}]
    ),
    "probes by a command": lambda c: c.template["spec"].update(
        containers=[SERVER | {"readinessProbe": {"exec": {"command": ["python", "-c", f"{URLOPEN}/readyz')"]},
                                                 "timeoutSeconds": 5}}]
    ),
    "liveness waits in place of a startup probe": lambda c: c.template["spec"].update(
        containers=[{k: v for k, v in SERVER.items() if k != "startupProbe"}
                    | {"livenessProbe": SERVER["livenessProbe"] | {"initialDelaySeconds": 120}}]
    ),
    "bentoml by its path": lambda c: c.template["spec"].update(
        containers=[SERVER | {"command": ["/app/.venv/bin/bentoml"], "args": ["serve"]}]
    ),
    "a shell that becomes it": lambda c: c.template["spec"].update(
        containers=[SERVER | {"command": ["sh", "-c"], "args": ["exec bentoml serve --port $(PORT)"]}]
    ),
    "a pod that a node evicted": lambda c: c.pods.append(pod(9) | {"status": {"phase": "Failed"}}),
    "checksums and labels as Helm has them": lambda c: (
        c.template["metadata"].update(annotations={"checksum/config": "6ad00ecf36ee3fb18b3a4a8c4b2b5a4b" * 2}),
        c.deployment["metadata"].update(labels={"app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "triage-1.2"}),
    ),
    "a certificate in a ConfigMap": lambda c: c.maps.update(ca={"ca.crt": CERTIFICATE}),
    "a later version of the profile": lambda c: c.profile.update(
        {"pod-security.kubernetes.io/enforce-version": "v1.31"}
    ),
    "metrics first": lambda c: c.service.update(
        ports=[{"name": "metrics", "port": 9090, "targetPort": 3000}, {"name": "http", "port": 80, "targetPort": 3000}]
    ),
    "a sidecar before it": lambda c: [
        p["spec"].update(containers=[{"name": "log", "image": RELEASE}, SERVER]) for p in c.pods
    ],
    "a pod without labels": lambda c: c.pods.append(
        {"metadata": {"name": "mine"}, "status": {"phase": "Running"}, "spec": {"containers": [{"name": "x"}]}}
    ),
    "two ConfigMaps": lambda c: c.maps.update(words={"stopwords.txt": "the\nof\npassword\n"}),
    "a name for a token's file": lambda c: c.template["spec"].update(
        containers=[SERVER | {"env": [{"name": "HF_TOKEN_PATH", "value": "/run/secrets/hf_token"}]}]
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", RIGHT)
def test_right_deployments_that_are_unlike_ours(cluster: Cluster, change: str) -> None:
    RIGHT[change](cluster)
    facts = cluster.facts()
    facts["endpoints"] = [e for e in facts["endpoints"] if e not in ("mine", f"{IMAGE}-9")]
    assert verdicts(facts) == {}


TOKEN = "ghp_" + "0123456789abcdef" * 2 + "0123"


def serve_with(changes: Facts) -> Callable[[Any], Any]:
    """The template's server container, changed so."""
    return lambda c: c.template["spec"].update(containers=[SERVER | changes])


def run_with(changes: Facts) -> Callable[[Any], Any]:
    """The first pod's, changed so."""
    return lambda c: c.pods[0]["spec"].update(containers=[SERVER | changes])


WRONG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "a secret in an init container": (
        "no-secret-in-manifests",
        lambda c: c.template["spec"].update(initContainers=[{"name": "i", "env": [{"name": "A", "value": TOKEN}]}]),
    ),
    "a weak password in an environment": (
        "no-secret-in-manifests",
        serve_with({"env": [{"name": "DB_PASSWORD", "value": "summer24"}]}),
    ),
    "a secret in an annotation": (
        "no-secret-in-manifests",
        lambda c: c.deployment["metadata"].update(annotations={"note": f"token {TOKEN}"}),
    ),
    "a secret in a ConfigMap": ("no-secret-in-manifests", lambda c: c.maps.update(more={"x.env": f"HUB={TOKEN}"})),
    "a volume over the Bento": (
        "released-image",
        serve_with({"volumeMounts": [{"name": "s", "mountPath": "/home/bentoml/bento/src"}]}),
    ),
    "a volume over the Bento, by another path": (
        "released-image",
        serve_with({"volumeMounts": [{"name": "s", "mountPath": "/etc/../home/bentoml/bento/src/"}]}),
    ),
    "a volume over what loads programs": (
        "released-image",
        serve_with({"volumeMounts": [{"name": "s", "mountPath": "/lib64"}]}),
    ),
    "a secret in a Service's annotation": (
        "no-secret-in-manifests",
        lambda c: c.others.append(
            {"kind": "Service", "metadata": {"name": "s", "annotations": {"note": f"token {TOKEN}"}}}
        ),
    ),
    "a secret in a Deployment's label": (
        "no-secret-in-manifests",
        lambda c: c.deployment["metadata"].update(labels={"note": TOKEN}),
    ),
    "a secret in packed data": (
        "no-secret-in-manifests",
        lambda c: c.maps.update(packed=f"HUB={TOKEN}"),
    ),
    "a Secret's value in a file": (
        "no-secret-in-manifests",
        lambda c: (c.root / "deploy" / "secret.yaml").write_text("kind: Secret\nstringData: {HUB: opens-a-lot}\n"),
    ),
    "a secretGenerator's literal": (
        "no-secret-in-manifests",
        lambda c: (c.root / "deploy" / "kustomization.yaml").write_text(
            "secretGenerator: [{name: hub, literals: [HUB_TOKEN=opens-a-lot]}]\n"
        ),
    ),
    "a volume over the packages": (
        "released-image",
        serve_with({"volumeMounts": [
            {"name": "s", "mountPath": "/opt/venv/lib/python3.11/site-packages/sitecustomize.py"}]}),
    ),
    "pods that are not ready are asked, too": (
        "selector-finds-pods",
        lambda c: c.service.update(publishNotReadyAddresses=True),
    ),
    "a Service without a selector": ("selector-finds-pods", lambda c: c.service.update(selector=None)),
    "an address of somebody else's": (
        "selector-finds-pods",
        lambda c: c.ends.append({"conditions": {"ready": True}, "addresses": ["10.1.2.3"]}),
    ),
    "a Service past the server": (
        "starts-bentoml",
        lambda c: c.service.update(ports=[{"name": "http", "port": 80, "targetPort": 8080}]),
    ),
    "pods of an older template": ("two-ready", lambda c: c.deployment["status"].update(updatedReplicas=1)),
    "a change that nobody has seen": ("two-ready", lambda c: c.deployment["metadata"].update(generation=4)),
    "an autoscaler that goes down to one": (
        "two-ready",
        lambda c: c.scalers.append({"scaleTargetRef": {"name": IMAGE}}),
    ),
    "a probe that asks another host": (
        "probes-can-fail",
        serve_with({"readinessProbe": {"timeoutSeconds": 5, "httpGet": {
            "path": "/readyz", "port": "http", "host": "10.0.0.1"}}}),
    ),
    "a readiness that comes an hour late": (
        "probes-can-fail",
        serve_with({"readinessProbe": SERVER["readinessProbe"] | {"successThreshold": 100}}),
    ),
    "a server for its writers": (
        "starts-bentoml",
        serve_with({"args": ["serve", "--reload"]}),
    ),
    "a command that cannot fail": (
        "probes-can-fail",
        serve_with({"readinessProbe": {"timeoutSeconds": 5, "exec": {
            "command": ["sh", "-c", "curl -f http://127.0.0.1:3000/readyz || true"]}}}),
    ),
    "a thousandth of a core": (
        "room-is-bounded",
        run_with({"resources": {"limits": {"cpu": "1m", "memory": "2Gi"}}}),
    ),
    "a skew of all": (
        "spread-and-budget",
        lambda c: c.template["spec"].update(topologySpreadConstraints=[SPREAD | {"maxSkew": 2}]),
    ),
    "two budgets": ("spread-and-budget", lambda c: c.more_budgets.append(c.budget)),
    "a budget that counts others": (
        "spread-and-budget",
        lambda c: (
            c.budget.update(selector={}),
            c.pods.append({"metadata": {"name": "mine"}, "status": {}, "spec": {"containers": [{"name": "x"}]}}),
            c.ends.clear(),
        ),
    ),
    "an older profile": (
        "profile-enforced",
        lambda c: c.profile.update({"pod-security.kubernetes.io/enforce-version": "v1.20"}),
    ),
    "a budget that lets nobody go": ("spread-and-budget", lambda c: c.budget.update(minAvailable=2)),
    "a budget that keeps nobody": (
        "spread-and-budget",
        lambda c: (c.budget.pop("minAvailable"), c.budget.update(maxUnavailable="100%")),
    ),
    "a spread of others": (
        "spread-and-budget",
        lambda c: c.template["spec"].update(
            topologySpreadConstraints=[SPREAD | {"labelSelector": {"matchLabels": {"app": "other"}}}]
        ),
    ),
    "one late answer restarts it": (
        "probes-can-fail",
        serve_with({"livenessProbe": SERVER["livenessProbe"] | {"failureThreshold": 1}}),
    ),
    "a limit beyond any node": (
        "room-is-bounded",
        run_with({"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"memory": "64Gi"}}}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", WRONG)
def test_wrong_deployments(cluster: Cluster, change: str) -> None:
    fails, act = WRONG[change]
    act(cluster)
    facts = cluster.facts()
    facts["endpoints"] = [e for e in facts["endpoints"] if e != "mine"]
    assert verdicts(facts) == {fails: "fail"}


INSIDE: dict[str, tuple[str, Callable[[Facts], Any]]] = {
    "another program listens": ("same-bento", lambda t: t["inside"].update(server=False, others=["python decoy.py"])),
    "nobody can be seen to listen": ("same-bento", lambda t: t["inside"].pop("server")),
    "sources of a volume": ("same-bento", lambda t: t["inside"].update(folders=["/srv/mine"])),
    "other code comes first": ("same-bento", lambda t: t["inside"].update(steered=["PYTHONPATH=/srv/mine"])),
    "a token under another path": ("no-token", lambda t: t.update(tokens=["mine"])),
    "a sidecar that can write": ("root-is-read-only", lambda t: t.update(writable=["log"])),
    "the image's copy of the file": ("configuration-reaches-process", lambda t: t["inside"].update(mounted=False)),
}


@pytest.mark.parametrize("change", INSIDE)
def test_wrong_things_inside_of_one_pod(cluster: Cluster, change: str) -> None:
    fails, act = INSIDE[change]
    answers = answered()
    act(answers["pods"][f"{IMAGE}-2"])
    assert verdicts(cluster.facts(), answers) == {fails: "fail"}


def test_what_a_pod_mounts_and_who_may_write() -> None:
    sources = {"c": {"configMap": {"name": "m"}}, "t": {"serviceAccountToken": {"path": "t"}}}
    one = pod(1, volumes=[{"name": name, "projected": {"sources": [source]}} for name, source in sources.items()])
    server = SERVER | {"volumeMounts": [{"name": "c", "mountPath": "/etc/c"}, {"name": "t", "mountPath": "/t"}]}
    assert MODULE["is_mounted"]("/etc/c/x.yml", one, server) and not MODULE["is_mounted"]("/etc/x.yml", one, server)
    assert MODULE["tokens_of"](one) == ["t"] and MODULE["tokens_of"](pod(1)) == []
    closed = {"name": "a", "securityContext": {"readOnlyRootFilesystem": True}}
    lasting = [{"name": "b", "restartPolicy": "Always"}, {"name": "ends"}]
    assert MODULE["writable"](pod(1, containers=[SERVER, closed], initContainers=lasting), SERVER) == ["b"]


@pytest.mark.parametrize("role", visitors.STRANGERS)
def test_whoever_else_gets_in(cluster: Cluster, role: str) -> None:
    found = {**KNOCKED["found"], role: "404"}
    assert verdicts(cluster.facts(), policy={"found": found}) == {"door-is-closed": "fail"}


BATCHING = {
    "runners: {embeddingrunner: {batching: {max_batch_size: 8}}, classifierrunner: {batching: {enabled: false}}}": (
        8,
        "off",
    ),
    "runners: {batching: {max_batch_size: 16}}": (16, 16),
    "runners: {batching: {max_batch_size: 16}, classifierrunner: {batching: {max_batch_size: 4}}}": (16, 4),
    "runners: {embeddingrunner: {batching: {enabled: true}}}": (100, None),
    "a text": (None, None),
    "- a\n- list": (None, None),
    "a: : b": (None, None),
}


@pytest.mark.parametrize("text", BATCHING)
def test_what_a_configuration_says_of_batching(text: str) -> None:
    read = MODULE["read_batching"](text)
    assert tuple(read["sizes"].values()) == BATCHING[text] and read["strangers"] == []


def test_batching_off_in_one_runner_passes(cluster: Cluster) -> None:
    answers = answered()
    sizes = {"embeddingrunner": 8, "classifierrunner": "off"}
    answers["files"][0]["sizes"] = sizes
    for told in answers["pods"].values():
        told["inside"]["effective"], told["edges"] = sizes, {"embeddingrunner": 8.0}
    assert verdicts(cluster.facts(), answers) == {}


def test_quantities() -> None:
    assert [objects.quantity(q) for q in ("1e9", "1.5Gi", "500m", "1G", 2)] == [1e9, 1.5 * 2**30, 0.5, 1e9, 2]
    assert objects.quantity("much") != objects.quantity("much")  # not a number


# The machine's trouble


@pytest.mark.parametrize("said", ["Unable to connect to the server: EOF", "error: net/http: TLS handshake timeout"])
def test_a_silent_api_server_is_an_error(cluster: Cluster, said: str) -> None:
    cluster.tools.answer("kubectl --context *", "", 1, warning=said)
    with pytest.raises(LabError, match="does not answer"):
        objects.get("x", "pods")


def test_what_is_not_there_is_nothing_whichever_way_kubectl_says_so(cluster: Cluster) -> None:
    cluster.tools.answer("kubectl --context *", "", 0)
    assert objects.get("x", "deployment", "y", "--ignore-not-found") == {}
    cluster.tools.answer("kubectl --context *", "", 1, warning='Error from server (NotFound): namespaces "x" not found')
    assert objects.get("x", "deployment", "y") == {}


def test_pods_that_cannot_pull_from_a_registry_that_is_stopped_are_an_error(cluster: Cluster) -> None:
    event = {"type": "Warning", "involvedObject": {"kind": "Pod", "name": f"{IMAGE}-1"}}
    cluster.pods, cluster.events = [], [event | {"message": "Failed to pull image: connection refused"}]
    with pytest.raises(LabError, match="cannot pull"):
        cluster.facts()


FORWARDS = {  # what is said of a forward, and whether it is the machine's trouble: with a free port, with a given one
    "Unable to connect to the server: dial tcp 127.0.0.1:6443: i/o timeout": ("cluster does not answer",) * 2,
    "error upgrading connection: error dialing backend: dial tcp 172.18.0.3:10250": ("cluster does not answer",) * 2,
    "port 4000 is held by python (process 7), not by this forward": ("took the port", ""),
    "Unable to listen on port 4000: bind: address already in use": ("took the port", ""),
    "no forward after 15 s: ": ("too slow", "too slow"),
    "Error from server (NotFound): services not found": ("", ""),
    "error: unable to forward port because pod is not running. Current status=Pending": ("", ""),
}


def forwards(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    way = contextlib.nullcontext(Forward("http://127.0.0.1:1", said))
    monkeypatch.setitem(MODULE, "forward", lambda *_: way)
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)


@pytest.mark.parametrize("said", FORWARDS)
@pytest.mark.parametrize("given", [False, True])
def test_a_forward_that_fails(monkeypatch: pytest.MonkeyPatch, tools: FakeTools, said: str, given: bool) -> None:
    forwards(monkeypatch, said)
    local, wrong = 4000 if given else None, FORWARDS[said][given]
    with pytest.raises(LabError, match=wrong) if wrong else contextlib.nullcontext():
        with MODULE["reached"]("mine", "service/x", 80, local) as way:
            assert way.problem == said
        assert not wrong


def test_no_forward_to_a_service_without_pods_is_a_finding(monkeypatch: pytest.MonkeyPatch, tools: FakeTools) -> None:
    forwards(monkeypatch, "no forward after 15 s: ")
    with MODULE["reached"]("mine", "service/x", 80, leads=False) as way:
        assert way.problem


LATE = {"problem": "ReadTimeout", "late": True}


@pytest.mark.parametrize(
    ("answers", "at_work", "found"),
    [
        ([{"problem": ""}], [], {"problem": ""}),
        ([LATE], [False, True], None),
        ([LATE, {"problem": ""}], [False, False], {"problem": ""}),
        ([LATE, LATE], [False, False, False, True], None),
        ([LATE, LATE], [False] * 4, LATE),
    ],
)
def test_a_late_answer_is_asked_for_once_more_where_no_pod_is_at_work(
    answers: list[Facts], at_work: list[bool], found: Facts | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, works = iter(answers), iter(at_work)
    monkeypatch.setitem(MODULE, "ask", lambda _: next(told))
    monkeypatch.setattr(pace, "is_at_work", lambda _: next(works))
    with pytest.raises(LabError, match="too slow") if found is None else contextlib.nullcontext():
        assert MODULE["ask_again"]("mine", "url", [pod(1), pod(2)], RELEASE) == found
    assert [*told, *works] == []


@pytest.mark.parametrize("answer", [{"problem": ""}, {"problem": "ConnectError"}])
def test_a_pod_that_answers_and_whose_metrics_do_not_come(
    answer: Facts, monkeypatch: pytest.MonkeyPatch, tools: FakeTools
) -> None:
    forwards(monkeypatch, "")
    monkeypatch.setitem(MODULE, "ask", lambda _: answer)
    with pytest.raises(LabError, match="its /metrics") if not answer["problem"] else contextlib.nullcontext():
        assert MODULE["look_at"]("mine", pod(1), RELEASE)["edges"] == {}


def test_room_is_asked_for_wherever_pods_are_late(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a third replica, and for the pod that is to replace one; not where all are there."""
    asked: list[str] = []
    monkeypatch.setitem(MODULE, "refuse_trouble", lambda namespace, _: asked.append(namespace))
    cluster.facts()
    assert asked == []
    cluster.deployment["status"].update(updatedReplicas=1)
    cluster.facts()
    cluster.deployment["status"].update(updatedReplicas=3)
    cluster.deployment["spec"].update(replicas=3)
    cluster.facts()
    assert len(asked) == 2


def test_a_cluster_that_enforces_no_policy_is_an_error(monkeypatch: pytest.MonkeyPatch, tools: FakeTools) -> None:
    """The stranger gets in, and so does whoever knocks at a door that a policy of ours shuts."""
    monkeypatch.setattr(visitors, "PATIENCE", 0.1)
    tools.answer("kubectl --context * get pod control-*", '{"status": {"podIP": "10.0.0.1"}}')
    tools.answer("kubectl --context * exec *", "200")
    with pytest.raises(LabError, match="enforces no network policies"):
        visitors.visit("n", "image", "node", "http://s/livez", ["http://10.0.0.2:3000/livez"])
    tools.answer("kubectl --context * exec neighbour-* http://10.0.0.1:3000/", "TimeoutError")
    found = visitors.visit("n", "image", "node", "http://s/livez", ["http://10.0.0.2:3000/livez"])
    assert found == {"client": "200", **dict.fromkeys(visitors.STRANGERS, "200")}


def test_a_policy_that_comes_late_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, tools: FakeTools) -> None:
    tools.answer("kubectl --context * exec client-*", "200")
    answers = iter(["200", "TimeoutError"])
    real = visitors.knock

    def late(visitor: visitors.Visitor, urls: list[str]) -> str:
        if visitor.role == "client":
            return real(visitor, urls)
        return next(answers) if visitor.role == "stranger" else "TimeoutError"

    monkeypatch.setattr(visitors, "knock", late)
    assert visitors.visit("n", "image", "node", "u", []) == KNOCKED["found"]


def test_a_secret_s_value_is_found_wherever_the_manifests_have_it(tmp_path: Path) -> None:
    files = {
        "deploy/deeper/hub.yaml": "kind: Secret\nstringData: {TOKEN: opens, EMPTY: '', LATER: '$TOKEN'}\n",
        "deploy/hub.env": "# of the hub\nHUB_TOKEN=opens\n",
        "deploy/hub.txt": "opens\n",
        "deploy/kustomization.yaml": """
resources: [../base, deeper/hub.yaml, 'https://example.org/x']
secretGenerator:
  - {name: a, envs: [hub.env], files: [hub.txt, KEY=hub.txt, GONE=../outside.txt]}
  - {name: b, literals: [PASSWORD=change-me]}
""",
        "outside.txt": "opens",
        "base/kustomization.yaml": """components: [../more, ../deploy, ..]
secretGenerator: [{name: c, envs: [c.env]}]
""",
        "base/c.env": "C=opens\n",
        "more/secret.json": '{"kind": "Secret", "data": {"D": "b3BlbnM="}}',
        "elsewhere/secret.yaml": "kind: Secret\nstringData: {E: opens}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = [line.removesuffix(", in a file") for line in sc5.secrets_written(tmp_path)]
    assert found == [
        "deploy/deeper/hub.yaml: the value of TOKEN",
        *(f"deploy/kustomization.yaml: the value of {name}" for name in ("HUB_TOKEN", "hub.txt", "KEY")),
        "base/kustomization.yaml: the value of C",
    ]
    (tmp_path / "deploy/deeper/hub.yaml").unlink()
    assert "more/secret.json: the value of D, in a file" in sc5.secrets_written(tmp_path)


def test_a_placeholder_is_no_secret_s_value() -> None:
    assert secret_values({"kind": "Secret", "data": {"A": "Y2hhbmdlLW1l"}, "stringData": {"B": "your-token"}}) == []
    assert secret_values({"kind": "Secret", "data": {"A": "b3BlbnM=", "B": "not packed", "C": None}}) == ["A", "B"]
    assert secret_values({"kind": "Secret", "data": {"A": "changeme", "B": "xxxxxxxx"}}) == []  # not packed
    strong = {"A": "Change2024!", "B": "true-north-42", "C": "fillmore", "D": "xxx-yes"}
    assert secret_values({"kind": "Secret", "stringData": strong}) == list("ABCD")
    assert secret_values({"kind": "Secret", "stringData": {"A": "ENC[AES256_GCM,data:x]"}, "sops": {}}) == []


@pytest.mark.parametrize(
    "text",
    ["kind: Secret\ndata: [x]", "secretGenerator: [{envs: [1], files: [2]}]", "resources: {a: 1}", "a: : b", "[]"],
)
def test_manifests_that_no_cluster_takes_hold_no_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "kustomization.yaml").write_text(text)
    assert sc5.secrets_written(tmp_path) == []


def test_a_startup_probe_may_ask_by_either_path_and_a_readiness_probe_not() -> None:
    by_livez = {"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 3, "timeoutSeconds": 5}
    assert not sc5.probe_defect("startupProbe", by_livez | {"failureThreshold": 60}, [])
    assert sc5.probe_defect("readinessProbe", by_livez, []) == "readinessProbe asks /livez"


@pytest.mark.parametrize("label", ["app.kubernetes.io/version", "example.org/commit", "run_id"])
def test_a_commit_in_a_label_is_no_secret_nor_in_what_kubectl_notes_of_it(label: str) -> None:
    labels = json.dumps({"labels": {label: "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"}})
    assert sc5.searched({"as it is": labels, "noted": json.dumps({"applied": labels})}) == []
    told = json.dumps({"labels": {"team": "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"}})
    assert sc5.searched({"x": told})
