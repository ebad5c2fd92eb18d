"""The service on the cluster, for notebooks: its files, its pods as the cluster knows them, and a client beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from cluster.names import IMAGE, KIT, read_names, variables
from cluster.tools import path_with_tools
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

NAMES = read_names()
NAMESPACE = NAMES.namespace(os.environ.get("LAB_WORKSPACE", ""))
os.environ["KUBECONFIG"] = variables(os.environ.get("LAB_WORKSPACE", ""))["KUBECONFIG"]
os.environ["PATH"] = path_with_tools()  # `!kubectl` in a cell finds the kit's own one, too
GIVEN = {
    "namespace.yaml": "namespace/namespace.yaml",
    "deployment.yaml": "start/deployment.yaml",
    "service.yaml": "base/service.yaml",
    "poddisruptionbudget.yaml": "base/poddisruptionbudget.yaml",
    "networkpolicy.yaml": "base/networkpolicy.yaml",
    "bentoml_configuration.yml": "base/bentoml_configuration.yml",
}
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [namespace.yaml, deployment.yaml, service.yaml, poddisruptionbudget.yaml, networkpolicy.yaml]
patches: [{patches}]
configMapGenerator: # its name gets a hash of the content: another content is another name, so it rolls out
  - name: bentoml-configuration
    files: [bentoml_configuration.yml]
labels:
  - includeTemplates: true
    pairs: {{app.kubernetes.io/part-of: serving-lab, app.kubernetes.io/component: inference}}
images:
  - name: demo-text-intelligence
    newName: {repository}
    digest: {digest}
"""


def released() -> str:
    """The image of the release (lab 04), by its digest."""
    return str(json.loads(Path("deploy/release.json").read_text())["image"])


def lay_out() -> list[str]:
    """Puts the kit's files into deploy/, where none of that name lies yet. Returns what is there."""
    Path("deploy").mkdir(exist_ok=True)
    for name, source in GIVEN.items():
        if not Path("deploy", name).exists():
            shutil.copy(KIT / "manifests" / source, Path("deploy", name))
    return sorted(p.name for p in Path("deploy").iterdir())


def begin_anew() -> str:
    """Takes away what an earlier run of the notebook has in the cluster, so that this one sees what it describes. The
    files in deploy/ stay."""
    there = kubectl("get", "deployment", IMAGE, "--ignore-not-found", "-o", "name")
    mine = (f"deployment/{IMAGE}", f"secret/{IMAGE}", "pod/client")
    kubectl("delete", *mine, "--ignore-not-found", "--wait=true", "--timeout=60s")
    return "an earlier run's Deployment was removed" if there else "nothing of an earlier run is there"


def kustomize(*patches: str) -> None:
    """Writes deploy/kustomization.yaml: the released image by its digest, this workspace's namespace, your patches."""
    repository, digest = released().split("@")
    listed = ", ".join(f"{{path: {patch}}}" for patch in patches)
    text = KUSTOMIZATION.format(namespace=NAMESPACE, repository=repository, digest=digest, patches=listed)
    Path("deploy/kustomization.yaml").write_text(text)


def kubectl(*words: str, limit: float = 240, given: str | None = None, namespace: str = NAMESPACE) -> str:
    """What kubectl prints, in this workspace's namespace; its complaint as an error."""
    command = ["kubectl", "-n", namespace, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, input=given)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)[:90]}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def read(*words: str) -> dict[str, Any]:
    return dict(json.loads(kubectl("get", *words, "-o", "json")))


def pods() -> list[dict[str, Any]]:
    """The service's pods that are not on their way out, oldest first."""
    found = read("pods", "-l", f"app.kubernetes.io/name={IMAGE}")["items"]
    alive = [p for p in found if "deletionTimestamp" not in p["metadata"]]
    return sorted(alive, key=lambda p: str(p["metadata"]["creationTimestamp"]))


def warnings(kind: str = "", most: int = 3) -> str:
    """The last warnings of the namespace, newest first, each once."""
    events = sorted(read("events")["items"], key=lambda e: str(e.get("lastTimestamp") or ""), reverse=True)
    told = [f"{e['involvedObject']['kind']}: {e['message']}" for e in events if e["type"] == "Warning"]
    return "\n".join(list(dict.fromkeys(t for t in told if t.startswith(kind)))[:most]) or "none"


def wait_for(deployment: str = IMAGE, limit: int = 240) -> str:
    """Waits for the rollout; the error has the pods' warnings with it."""
    began = time.monotonic()
    try:
        kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={limit}s", limit=limit + 10)
    except RuntimeError as late:
        raise RuntimeError(f"{late}\n{warnings()}") from late
    return f"rolled out after {time.monotonic() - began:.0f} s"


# ---------------------------------------------------------------- what a pod did and has


def moments(pod: dict[str, Any]) -> dict[str, float]:
    """Seconds from a pod's creation to each step of its way: scheduled, running, ready."""
    began = stamp(pod["metadata"]["creationTimestamp"])
    reached = {c["type"]: stamp(c["lastTransitionTime"]) for c in pod["status"]["conditions"] if c["status"] == "True"}
    running = pod["status"]["containerStatuses"][0]["state"].get("running", {}).get("startedAt")
    steps = {"scheduled": reached.get("PodScheduled"), "pulled and started": stamp(running) if running else None,
             "ready": reached.get("Ready")}  # fmt: skip
    return {name: at - began for name, at in steps.items() if at is not None}


def stamp(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def draw_starts() -> Picture:
    """One bar a pod: the time until it was scheduled, had its image and ran, and was ready."""
    found = [(p, moments(p)) for p in pods()]
    figure, axes = canvas("Where does the time go between `apply` and an answer?", 9, 1.2 + 0.7 * len(found))
    hatches = {"scheduled": "", "pulled and started": "//", "ready": ".."}
    for i, (_, steps) in enumerate(found):
        before = 0.0
        for (name, at), colour in zip(steps.items(), (GREY, ORANGE, BLUE), strict=False):
            axes.barh(i, at - before, left=before, color=colour, hatch=hatches[name], edgecolor="white", height=0.5)
            label = f"{name} at {at:.0f} s" if at - before > 2 else ""
            box = {"facecolor": "white", "edgecolor": "none", "pad": 2} if label else None
            axes.text((at + before) / 2, i, label, ha="center", va="center", fontsize=8, bbox=box)
            before = at
    axes.set_yticks(
        range(len(found)), [f"{p['metadata']['name'][-5:]} on {p['spec']['nodeName'][-7:]}" for p, _ in found]
    )
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the pod was made (the API server's clock has whole seconds)", color=GREY)
    told = [f"{p['metadata']['name'][-5:]}: {', '.join(f'{n} at {at:.0f} s' for n, at in s.items())}" for p, s in found]
    return Picture(figure, "; ".join(told))
