"""KServe's controller (0.16.0, Standard mode) in the cluster, and lab 04's image behind it, beside a plain Deployment.

`run()` tells the runs that are kept (cluster.json says of when and where); `run(live=True)` makes them with your
choice/kserve.yaml, in a namespace of its own, in some three minutes. The controller's certificate is made here, since
there is no cert-manager; left out are the parts for language models and model caches, and the proxy before its metrics.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from cluster.forward import forward
from cluster.material import find_manifest, load_images
from cluster.names import IMAGE
from grader.errors import LabError
from grader.model import Facts
from grader.processes import run as run_command
from grader.world import layers
from grader.world.load import machine
from grader.world.objects import get, kubectl
from labs.helpers.kube.objects import NAMES, NAMESPACE, released

KEPT = Path(__file__).with_name("cluster.json")
SPACE = f"{NAMESPACE}-choice"
HOME = "kserve"
HOST = "kserve-webhook-server-service.kserve.svc"
OBJECT = Path("choice/kserve.yaml")
TEXTS = ("I was charged twice", "Where is my parcel?", "I cannot log in")
LEFT_OUT = ("Certificate", "Issuer", "LLMInferenceServiceConfig")
KINDS = "deployments,services,configmaps,secrets,serviceaccounts,horizontalpodautoscalers,poddisruptionbudgets"
KINDS += ",networkpolicies,ingresses,roles,rolebindings"
STANDING = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}  # every namespace has them


def run(live: bool = False) -> list[Facts]:
    """The kept runs, or two that are made now. Raises LabError where the cluster cannot make them."""
    if not live:
        return list(json.loads(KEPT.read_text()))
    if not get("default", "nodes"):
        raise LabError("not run: there is no cluster.", "`./lab cluster up`, then labs 04 and 05.")
    bring()
    try:
        return [measure("deployment", plain_objects()), measure("kserve", [kserve_object()])]
    finally:
        kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=false")
        take_away()


# ---------------------------------------------------------------- the controller


def bring() -> float:
    """The controller, ready; returns the seconds that it took."""
    began = time.monotonic()
    load_images("10")
    things = platform()
    first = [t for t in things if t["kind"] in ("Namespace", "CustomResourceDefinition")]
    for some in (first, [certificate(), *(t for t in things if t not in first)]):
        apply(some)
    done = kubectl("-n", HOME, "rollout", "status", "deployment/kserve-controller-manager", "--timeout=180s", limit=190)
    if not done.ok:
        raise LabError(f"KServe's controller is not ready: {done.tail(2)}", "kubectl -n kserve get events")
    return time.monotonic() - began


def take_away() -> None:
    """The controller and its webhooks, which would refuse pods without it; the definitions of kinds stay."""
    hooks = [t for t in platform() if t["kind"].endswith("WebhookConfiguration")]
    kubectl("delete", "--ignore-not-found", "-f", "-", given=as_list(hooks), limit=60)
    kubectl("delete", "namespace", HOME, "--ignore-not-found", "--wait=false", limit=60)


def platform() -> list[Facts]:
    """What of the manifest is applied here."""
    whole = [part for part in yaml.safe_load_all(find_manifest("kserve", print).read_text()) if part]
    kept = [thing for thing in whole if thing["kind"] not in LEFT_OUT and not is_aside(thing["metadata"]["name"])]
    for thing in kept:
        fit(thing)
    return kept


def fit(thing: Facts) -> None:
    """What this cluster lacks is replaced: cert-manager's certificate, the metrics' proxy, Knative and an ingress."""
    for hook in thing.get("webhooks") or []:
        hook["clientConfig"]["caBundle"] = base64.b64encode(make_certificate()[0]).decode()
    if thing["kind"] == "Deployment":
        pod = thing["spec"]["template"]["spec"]
        pod["containers"] = [c for c in pod["containers"] if c["name"] == "manager"]
        pod["containers"][0]["imagePullPolicy"] = "IfNotPresent"
    if thing["metadata"]["name"] == "inferenceservice-config":
        ingress = {**json.loads(thing["data"]["ingress"]), "disableIngressCreation": True}
        thing["data"] |= {"deploy": json.dumps({"defaultDeploymentMode": "Standard"}), "ingress": json.dumps(ingress)}


def is_aside(name: str) -> bool:
    return name.startswith("llm") or "localmodel" in name


_made: list[tuple[bytes, bytes]] = []


def make_certificate() -> tuple[bytes, bytes]:
    """(certificate, key) for the webhooks; one a process. cert-manager would do this."""
    if not _made:
        with tempfile.TemporaryDirectory() as folder:
            words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={HOST}"]
            words += ["-addext", f"subjectAltName=DNS:{HOST}", "-keyout", f"{folder}/key", "-out", f"{folder}/crt"]
            if not (done := run_command(words, 60)).ok:
                raise LabError(f"No certificate could be made: {done.tail(1)}", "It takes openssl 1.1.1 or newer.")
            _made.append((Path(folder, "crt").read_bytes(), Path(folder, "key").read_bytes()))
    return _made[0]


def certificate() -> Facts:
    crt, key = (base64.b64encode(part).decode() for part in make_certificate())
    meta = {"name": "kserve-webhook-server-cert", "namespace": HOME}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls",
            "data": {"tls.crt": crt, "tls.key": key}}  # fmt: skip


def apply(things: list[Facts]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(as_list(things))
        file.flush()
        done = kubectl("apply", "--server-side", "--force-conflicts", "-f", file.name, limit=120)
    if not done.ok:
        raise LabError(f"The cluster refuses it: {done.tail(3)}", "`./lab cluster status` says how the cluster is.")


def as_list(things: list[Facts]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": things})


# ---------------------------------------------------------------- what is compared


def kserve_object() -> Facts:
    """Your choice/kserve.yaml, with the released image."""
    thing: Facts = yaml.safe_load(OBJECT.read_text())
    for container in thing["spec"]["predictor"]["containers"]:
        container["image"] = released()
    return thing


def plain_objects() -> list[Facts]:
    """Lab 05's folder deploy/, with one replica."""
    things = [t for t in yaml.safe_load_all(kubectl("kustomize", "deploy").stdout) if t and t["kind"] != "Namespace"]
    for thing in things:
        if thing["kind"] == "Deployment":
            thing["spec"]["replicas"] = 1
    return things


def plain_files() -> list[Path]:
    """kustomization.yaml, and the files that it names."""
    top = yaml.safe_load(Path("deploy/kustomization.yaml").read_text())
    names = [*top["resources"], *(patch["path"] for patch in top.get("patches", []) if "path" in patch)]
    names += [name for maker in top.get("configMapGenerator", []) for name in maker["files"]]
    return [Path("deploy", name) for name in ("kustomization.yaml", *names)]


def measure(layer: str, things: list[Facts]) -> Facts:
    """Those objects in an empty namespace, from `kubectl apply` to the first answer, and what is there then."""
    kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=true", "--timeout=90s", limit=100)
    apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}])
    mine = [{**t, "metadata": {**t["metadata"], "namespace": SPACE}} for t in things]
    began = time.monotonic()
    apply(mine)
    name = IMAGE if layer == "deployment" else f"{things[0]['metadata']['name']}-predictor"
    answers = first_answers(name)
    first = time.monotonic() - began
    time.sleep(12)  # the kubelet looks at its pods' memory every ten seconds
    written = {f"{t['kind']}/{t['metadata']['name']}" for t in things}
    made = sorted(there() - written - STANDING)
    files = [OBJECT] if layer == "kserve" else plain_files()
    return {
        "layer": layer, "at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine.facts(),
        "written": sorted(written), "lines": sum(layers.count_lines(p.read_text()) for p in files), "made": made,
        "pods": len(memory(SPACE)), "memory_mb": round(sum(memory(SPACE).values())), "first_s": round(first, 1),
        "beside": beside() if layer == "kserve" else {"objects": 0, "pods": 0, "memory_mb": 0}, "answers": answers,
    }  # fmt: skip


def first_answers(name: str) -> dict[str, str]:
    """Waits for the Deployment of that name and asks its Service."""
    for _ in range(30):  # the controller may not have made it yet
        if get(SPACE, "deployment", name):
            break
        time.sleep(1)
    done = kubectl("-n", SPACE, "rollout", "status", f"deployment/{name}", "--timeout=180s", limit=190)
    if not done.ok:
        raise LabError(f"{name} is not ready: {done.tail(2)}", f"kubectl -n {SPACE} get events")
    port = get(SPACE, "service", name)["spec"]["ports"][0]["port"]
    with forward(NAMES, SPACE, f"service/{name}", port) as way:
        if way.problem:
            raise LabError(f"{name} cannot be asked: {way.problem}")
        labels = httpx.post(f"{way.url}/classify", json={"texts": list(TEXTS)}, timeout=60).json()["labels"]
    return dict(zip(TEXTS, labels, strict=True))


def there() -> set[str]:
    found = get(SPACE, KINDS).get("items", []) + get(SPACE, "inferenceservices").get("items", [])
    return {f"{t['kind']}/{t['metadata']['name']}" for t in found}


def memory(namespace: str) -> dict[str, float]:
    """MB that each pod of a namespace holds, as the kubelets say."""
    found = {}
    for node in get("default", "nodes").get("items", []):
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        told: dict[str, Any] = json.loads(kubectl("get", "--raw", path, limit=60).stdout)
        for pod in told["pods"]:
            if pod["podRef"]["namespace"] == namespace and "memory" in pod:
                found[pod["podRef"]["name"]] = pod["memory"]["workingSetBytes"] / 1e6
    return found


def beside() -> Facts:
    """What the layer itself runs and keeps in the cluster."""
    pods = memory(HOME)
    return {"objects": len(platform()) + 1, "pods": len(pods), "memory_mb": round(sum(pods.values()))}


def keep(runs: list[Facts]) -> None:
    KEPT.write_text(json.dumps(runs, indent=1) + "\n")


def tell(runs: list[Facts]) -> None:
    """Both, side by side, and when and where they were made."""
    rows = {
        "objects that you write": [len(r["written"]) for r in runs],
        "lines in them": [r["lines"] for r in runs],
        "objects made of them": [len(r["made"]) for r in runs],
        "pods; MB in them": [f"{r['pods']}; {r['memory_mb']}" for r in runs],
        "first answer, s after apply": [r["first_s"] for r in runs],
        "beside them, once a cluster: objects": [r["beside"]["objects"] for r in runs],
        "beside them: pods; MB": [f"{r['beside']['pods']}; {r['beside']['memory_mb']}" for r in runs],
    }
    print(f"{'':<38}" + "".join(f"{r['layer']:>14}" for r in runs))
    for words, values in rows.items():
        print(f"{words:<38}" + "".join(f"{value!s:>14}" for value in values))
    about = runs[0]["machine"]
    print(f"Measured {runs[0]['at'][:10]} on {about['system']}, {about['cpus']} cores, {about['memory_gib']} GiB.")
    print("KServe made:", ", ".join(runs[1]["made"]))
