"""What a GPU in a manifest means to the scheduler, on a node that only says that it has one."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from cluster.devices import RESOURCE, fake_devices
from cluster.names import KIT
from grader.errors import Refused
from labs.helpers.kube.objects import NAMES, NAMESPACE, kubectl, released

# Under the kit's own folder, since kustomize takes a base only by a path, and no further away than that.
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [{overlay}]
images: [{{name: "127.0.0.1:5001/demo-text-intelligence", newName: {repository}, digest: {digest}}}]
patches: # nobody is served: no pod needs room beside those that serve, nor time for its end
{patch}  - target: {{kind: Deployment}}
    patch: |
      - {{op: replace, path: /spec/template/spec/containers/0/resources/requests, value: {{cpu: 10m, memory: 16Mi}}}}
      - {{op: remove, path: /spec/template/spec/containers/0/lifecycle}}
      - {{op: replace, path: /spec/template/spec/terminationGracePeriodSeconds, value: 1}}
"""


def schedule(patch: str, sharing: str = "") -> list[dict[str, Any]]:
    """Applies the plain overlay with that patch of yours to a namespace of its own while a fake device is there, or the
    turns on it that a device plugin would make of `sharing`. Gives the two pods, scheduled or refused; the device
    is gone afterwards, and the namespace a moment later."""
    place = namespace(Path(patch).stem)
    kubectl("delete", "namespace", place, "--ignore-not-found", "--wait=true", "--timeout=90s")  # an earlier run's
    counts = turns(Path(sharing).read_text()) if sharing else {RESOURCE: 1}
    with fake_devices(NAMES, counts=counts) as node:
        try:
            apply("plain", place, Path(patch).read_text())
            print(f"{patch}: {node} has", *(f"{count} {name} (fake)" for name, count in counts.items()))
            pods = settle(place)
            print(*(told(p) for p in pods), sep="\n")
            return pods
        finally:
            kubectl("delete", "namespace", place, "--ignore-not-found", "--wait=false")


def turns(config: str) -> dict[str, int]:
    """What NVIDIA's device plugin advertises for one GPU if it is given this configuration: how many of which name. It
    needs a GPU to run, so this part of it is played."""
    try:
        slicing = yaml.safe_load(config)["sharing"]["timeSlicing"]
        (shared,) = [r for r in slicing["resources"] if r["name"] == RESOURCE]
        usual = f"{RESOURCE}.shared" if slicing.get("renameByDefault") else RESOURCE
        return {shared.get("rename") or usual: int(shared["replicas"])}
    except (yaml.YAMLError, TypeError, KeyError, ValueError, AttributeError) as wrong:
        problem = f"The configuration shares no {RESOURCE}."
        raise Refused(problem, "Under timeSlicing it needs resources: a list with a name and replicas.") from wrong


def namespace(device: str) -> str:
    """Each device's own, so that nobody waits for the end of another one's pods."""
    return f"{NAMESPACE}-{device}"


def apply(overlay: str, place: str, patch: str = "") -> None:
    repository, digest = released().split("@")
    with tempfile.TemporaryDirectory(dir=KIT / ".lab") as folder:
        base = f"../../manifests/overlays/{overlay}"
        listed = "  - path: patch.yaml\n" if patch else ""
        Path(folder, "patch.yaml").write_text(patch)
        facts = {"namespace": place, "overlay": base, "repository": repository, "digest": digest, "patch": listed}
        text = KUSTOMIZATION.format(**facts)
        Path(folder, "kustomization.yaml").write_text(text)
        kubectl("apply", "-k", folder, namespace=place)


def settle(place: str, limit: float = 40) -> list[dict[str, Any]]:
    """The pods, as soon as each has a node or was refused one."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        pods = json.loads(kubectl("get", "pods", "-o", "json", namespace=place))["items"]
        if len(pods) == 2 and all(p["spec"].get("nodeName") or refusal(p) for p in pods):
            return sorted(pods, key=lambda p: not p["spec"].get("nodeName"))
        time.sleep(1)
    raise RuntimeError(f"the pods were not scheduled within {limit:.0f} s; `kubectl -n {place} get events`")


def refusal(pod: dict[str, Any]) -> str:
    """Why the scheduler has no node for it; empty while it has not tried, or when it has one."""
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", ""))
    return ""


def told(pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"][-5:]
    if node := pod["spec"].get("nodeName"):
        return f"  {name}  scheduled on {node}"
    why = refusal(pod).partition(" no new claims")[0].partition(" preemption:")[0]  # what follows is the next attempt
    return f"  {name}  {pod['status']['phase']}: {why}"
