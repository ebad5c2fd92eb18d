"""Two releases of the service side by side in a namespace of their own: `stable` and `new`, copies of the Deployment
that runs elsewhere, each behind a Service; a third Service that leads to one of them (blue/green); a route with weights
at the gateway (canary); and a pod `client`, which asks, and looks at the pods' pages.

lay_out("ml-serving-walk", "ml-serving-walk-release"); plant(namespace, "errors"); weigh(namespace, 50, 50)
decide(namespace)       # the gate's decision, from what the pods count themselves
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.names import IMAGE
from grader.errors import LabError
from grader.model import Facts
from grader.world import pace
from grader.world.callers import Answer, running
from grader.world.gate import ENDPOINT, GO_ON, PROMOTE, Decision, Gate, Rules, Seen, read_counts, read_labels
from grader.world.load.copies import config_map, make_optional
from grader.world.objects import get, kubectl, labels_of, server_of
from grader.world.releases import TEXTS
from grader.world.visitors import LABEL, Visitor, as_list, pod_of

KEY = "serving-lab/release"  # the Kubernetes label that tells the two apart
STABLE, NEW, CLIENT = "stable", "new", "client"
FOLDER = "/etc/planted"  # of planted.py, in the pods of `new`
PLANTED = Path(__file__).with_name("planted.py")
GATEWAY, SPACE = "http://traefik.gateway", "gateway"
SETTLES = 2.0  # seconds within which the gateway has taken new weights
# Runs in the client's pod: every pod's page and labels, a JSON line a look. Arguments: {pod: address}, texts, pause.
LOOK = """
import json, sys, threading, urllib.error, urllib.request
pods, texts, pause, path = json.loads(sys.argv[1]), sys.argv[2].encode(), float(sys.argv[3]), sys.argv[4]
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

def get(url, body=None):
    try:
        asked = urllib.request.Request(url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=3) as got:
            return got.status, got.read().decode(errors="replace")
    except urllib.error.HTTPError as refused:
        return refused.code, ""
    except Exception:
        return 0, ""

while True: # a look, then the pause: who wants one look asks for a long one
    pages = {pod: get(f"http://{at}:3000/metrics")[1] for pod, at in pods.items()}
    labels = {pod: get(f"http://{at}:3000{path}", texts) for pod, at in pods.items()}
    print(json.dumps({pod: [pages[pod], *labels[pod]] for pod in pods}), flush=True)
    if over.wait(pause):
        break
"""


# ---------------------------------------------------------------- what is laid out


def lay_out(source: str, namespace: str) -> None:
    """Both releases, their Services and the client, applied and ready. Raises LabError when they do not get so."""
    bring_up(source, namespace, objects, (STABLE, NEW))


def bring_up(source: str, namespace: str, make: Callable[[str, str, Facts], list[Facts]], names: Sequence[str]) -> None:
    """What `make` makes of the source's Deployment, applied; the Deployments `names` and the client are ready then."""
    deployment = get(source, "deployment", IMAGE)
    if not deployment:
        raise LabError(f"No Deployment {IMAGE} runs in {source}.", "Lab 05 makes it.")
    done = kubectl("apply", "-f", "-", given=as_list(make(source, namespace, deployment)), limit=60)
    if not done.ok:
        raise LabError(f"The copies in {namespace} were refused: {done.tail(4)}")
    for name in names:
        wait_for(namespace, name)
    kubectl("-n", namespace, "wait", "--for=condition=Ready", f"pod/{CLIENT}", "--timeout=60s", limit=70)


def wait_for(namespace: str, name: str) -> None:
    limit = pace.patience(150)
    words = ["rollout", "status", f"deployment/{name}", f"--timeout={limit:.0f}s"]
    done = kubectl("-n", namespace, *words, limit=limit + 10)
    if not done.ok:
        raise LabError(f"The release {name} in {namespace} is not ready: {done.tail(2)}")


def objects(source: str, namespace: str, deployment: Facts) -> list[Facts]:
    given = labels_of(get("default", "namespace", source))
    strict = {k: v for k, v in given.items() if k.startswith("pod-security")}
    image = server_of(deployment["spec"]["template"]["spec"])["image"]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": strict}},
        config_map(namespace, "planted", {"sitecustomize.py": PLANTED.read_text()}),
        *configurations(source, namespace, deployment),
        *(copy_of(deployment, namespace, name) for name in (STABLE, NEW)),
        *(service(namespace, name, name) for name in (STABLE, NEW)),
        service(namespace, IMAGE, STABLE),
        policy(namespace),
        client(namespace, image),
    ]


def alone(source: str, namespace: str, deployment: Facts, one: Facts) -> list[Facts]:
    """The same around one copy, and the Service that leads to it."""
    shared = [t for t in objects(source, namespace, deployment) if t["kind"] not in ("Deployment", "Service")]
    return [*shared, one, service(namespace, IMAGE, STABLE)]


def configurations(source: str, namespace: str, deployment: Facts) -> list[Facts]:
    """The ConfigMaps that the Deployment's pods mount."""
    volumes = deployment["spec"]["template"]["spec"].get("volumes") or []
    names = [v["configMap"]["name"] for v in volumes if "configMap" in v]
    found = [get(source, "configmap", name) for name in names]
    return [config_map(namespace, f["metadata"]["name"], f.get("data") or {}) for f in found if f]


def copy_of(deployment: Facts, namespace: str, name: str) -> Facts:
    """The Deployment with one replica, under that name; the new one can have a fault planted."""
    template = copy.deepcopy(deployment["spec"]["template"])
    template["metadata"] = {"labels": {KEY: name, "app.kubernetes.io/name": IMAGE}}
    pod = template["spec"]
    for word in ("topologySpreadConstraints", "affinity", "serviceAccountName", "serviceAccount"):
        pod.pop(word, None)
    make_optional(pod)
    server = server_of(pod)
    server.setdefault("resources", {}).setdefault("requests", {})["cpu"] = "100m"  # it runs while others rest
    if name == NEW:
        kept = [e for e in server.get("env") or [] if e["name"] not in ("PYTHONPATH", "LAB_FAULT")]
        server["env"] = [*kept, {"name": "PYTHONPATH", "value": FOLDER}, {"name": "LAB_FAULT", "value": ""}]
        pod.setdefault("volumes", []).append({"name": "planted", "configMap": {"name": "planted"}})
        mount = {"name": "planted", "mountPath": FOLDER, "readOnly": True}
        server.setdefault("volumeMounts", []).append(mount)
    spec = {"replicas": 1, "selector": {"matchLabels": {KEY: name}}, "template": template}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
        "metadata": {"name": name, "namespace": namespace, "labels": {KEY: name}},
    }  # fmt: skip


def service(namespace: str, name: str, release: str) -> Facts:
    port = {"name": "http", "port": 80, "targetPort": 3000}
    return {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {KEY: release}, "ports": [port]},
    }  # fmt: skip


def policy(namespace: str) -> Facts:
    """Lets in this namespace's clients, and the gateway."""
    gateway = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": SPACE}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "traefik"}},
    }
    door = {"from": [{"podSelector": {"matchLabels": LABEL}}, gateway], "ports": [{"protocol": "TCP", "port": 3000}]}
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": IMAGE}},
        "policyTypes": ["Ingress"],
        "ingress": [door],
    }
    about = {"name": "releases", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": about, "spec": spec}


def client(namespace: str, image: str) -> Facts:
    """A pod that stays until the namespace goes."""
    pod: dict[str, Any] = pod_of(Visitor("client", namespace, CLIENT, LABEL), image, "", ["sleep", "infinity"])
    for word in ("activeDeadlineSeconds", "nodeName"):
        pod["spec"].pop(word)
    pod["spec"]["terminationGracePeriodSeconds"] = 1
    return pod


def plant(namespace: str, fault: str) -> None:
    """Releases `new` again with that fault (planted.py), or with none: ""; returns when it is ready."""
    done = kubectl("-n", namespace, "set", "env", f"deployment/{NEW}", f"LAB_FAULT={fault}")
    if not done.ok:
        raise LabError(f"The release cannot be made: {done.tail(2)}")
    wait_for(namespace, NEW)


def turn(namespace: str, release: str) -> None:
    """Blue/green: the Service of the service's name leads to that release from now on."""
    patch = json.dumps({"spec": {"selector": {KEY: release}}})
    done = kubectl("-n", namespace, "patch", "service", IMAGE, "-p", patch)
    if not done.ok:
        raise LabError(f"The Service cannot be turned: {done.tail(2)}")


def weigh(namespace: str, stable: int, new: int, host: str = "") -> None:
    """Canary: the route with these weights, taken by the gateway when this returns."""
    done = kubectl("apply", "-f", "-", given=json.dumps(route(namespace, stable, new, host or host_of(namespace))))
    if not done.ok:
        raise LabError(f"The route was refused: {done.tail(3)}")
    time.sleep(SETTLES)


def host_of(namespace: str) -> str:
    """The name by which the gateway tells this namespace's requests from others'."""
    return f"{namespace}.example"


def route(namespace: str, stable: int, new: int, host: str) -> Facts:
    ends = [{"name": name, "port": 80, "weight": weight} for name, weight in ((STABLE, stable), (NEW, new))]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": IMAGE, "namespace": namespace},
        "spec": {"parentRefs": [{"name": "lab", "namespace": SPACE}], "hostnames": [host],
                 "rules": [{"backendRefs": ends}]},
    }  # fmt: skip


# ---------------------------------------------------------------- looking, deciding, counting


def pods_of(namespace: str, release: str) -> dict[str, str]:
    """The address of each pod that is not on its way out."""
    found = get(namespace, "pods", "-l", f"{KEY}={release}").get("items", [])
    alive = [p for p in found if "deletionTimestamp" not in p["metadata"] and p["status"].get("podIP")]
    return {p["metadata"]["name"]: p["status"]["podIP"] for p in alive}


def decide(namespace: str, rules: Rules | None = None, say: Callable[[Decision], None] = lambda _: None) -> Decision:
    """Looks at every pod of both releases once a second, until the gate has decided."""
    pods = {name: pods_of(namespace, name) for name in (STABLE, NEW)}
    addresses = {**pods[STABLE], **pods[NEW]}
    gate = Gate(rules or Rules())
    texts = json.dumps({"texts": list(TEXTS)})
    with running(namespace, CLIENT, LOOK, json.dumps(addresses), texts, "1", ENDPOINT) as process:
        for line in process.stdout or ():
            decision = gate.look(read_look(json.loads(line), pods[NEW]), time.monotonic())
            say(decision)
            if decision.what != GO_ON:
                return decision
    raise LabError("The client's pod says nothing of the releases any more.", "Does it run? Then try again.")


def counted(namespace: str) -> dict[str, int]:
    """How many requests to ENDPOINT the pods of each release have answered since their start."""
    pods = {name: pods_of(namespace, name) for name in (STABLE, NEW)}
    addresses = {**pods[STABLE], **pods[NEW]}
    counts = {pod: read_counts(page, math.inf).answered for pod, page in pages(namespace, addresses).items()}
    return {name: sum(counts.get(pod, 0) for pod in pods[name]) for name in (STABLE, NEW)}


def pages(namespace: str, addresses: Mapping[str, str]) -> dict[str, str]:
    """Each pod's page of metrics now, "" where it gives none; asked from the client's pod."""
    with running(namespace, CLIENT, LOOK, json.dumps(addresses), "", "3600", "/livez") as process:
        told = json.loads((process.stdout.readline() if process.stdout else "") or "{}")
    return {pod: page for pod, (page, _, _) in told.items()}


def read_look(told: Mapping[str, Sequence[Any]], new: Mapping[str, str]) -> list[Seen]:
    return [Seen(pod in new, pod, page, read_labels(status, body)) for pod, (page, status, body) in told.items()]


def follow(namespace: str, decision: Decision) -> float:
    """All requests to the release that stays; the time of day at which the gateway was told."""
    told = time.time()
    weigh(namespace, *((0, 100) if decision.what == PROMOTE else (100, 0)))
    return told


def lost_by_switch(answers: Sequence[Answer], switched: float, good: bool) -> list[Answer]:
    """Requests that were under way at the switch or came after it, and failed. What a bad release fails before the
    gateway has taken the weights is that release's own."""
    failed = [a for a in answers if a.said != "200" and a.at + a.waited > switched]
    return [a for a in failed if good or a.at > switched + SETTLES]
