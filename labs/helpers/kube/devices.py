"""What a GPU in a manifest means to the scheduler, on a node that only says that it has one."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from cluster.devices import fake_devices
from cluster.names import KIT
from labs.helpers.kube.objects import NAMES, NAMESPACE, kubectl, released

# Under the kit's own folder, since kustomize takes a base only by a path, and no further away than that.
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [{overlay}]
images: [{{name: "127.0.0.1:5001/demo-text-intelligence", newName: {repository}, digest: {digest}}}]
patches: # nobody is served, so no pod needs time for its end
{patch}  - target: {{kind: Deployment}}
    patch: |
      - {{op: remove, path: /spec/template/spec/containers/0/lifecycle}}
      - {{op: replace, path: /spec/template/spec/terminationGracePeriodSeconds, value: 1}}
"""


def schedule(patch: str) -> list[dict[str, Any]]:
    """Applies the plain overlay with that patch of yours to a namespace of its own while a fake device is there. Gives
    the two pods, scheduled or refused; namespace and device are gone afterwards."""
    with fake_devices(NAMES) as node:
        try:
            apply("plain", Path(patch).read_text())
            print(f"{patch}: one fake device, on {node}")
            pods = settle()
            print(*(told(p) for p in pods), sep="\n")
            return pods
        finally:
            kubectl("delete", "namespace", namespace(), "--ignore-not-found", "--wait=true", "--timeout=90s")


def namespace() -> str:
    return f"{NAMESPACE}-gpu"


def apply(overlay: str, patch: str = "") -> None:
    repository, digest = released().split("@")
    with tempfile.TemporaryDirectory(dir=KIT / ".lab") as folder:
        base = f"../../manifests/overlays/{overlay}"
        listed = "  - path: patch.yaml\n" if patch else ""
        Path(folder, "patch.yaml").write_text(patch)
        facts = {"namespace": namespace(), "overlay": base, "repository": repository, "digest": digest, "patch": listed}
        text = KUSTOMIZATION.format(**facts)
        Path(folder, "kustomization.yaml").write_text(text)
        kubectl("apply", "-k", folder, namespace=namespace())


def settle(limit: float = 40) -> list[dict[str, Any]]:
    """The pods, as soon as each has a node or was refused one."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        pods = json.loads(kubectl("get", "pods", "-o", "json", namespace=namespace()))["items"]
        if len(pods) == 2 and all(p["spec"].get("nodeName") or refusal(p) for p in pods):
            return sorted(pods, key=lambda p: not p["spec"].get("nodeName"))
        time.sleep(1)
    raise RuntimeError(f"the pods were not scheduled within {limit:.0f} s; `kubectl -n {namespace()} get events`")


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
    return f"  {name}  {pod['status']['phase']}: {refusal(pod)[:180]}"
