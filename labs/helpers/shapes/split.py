"""API server and runners apart, in a namespace beside lab 05's: files, pods, a load, and a pickle to a port."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.devices import fake_devices
from cluster.names import IMAGE, KIT
from grader.world import split
from grader.world.visitors import ELSEWHERE, LABEL, Visitor, prepare_elsewhere, sent
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.kube.objects import NAMES, kubectl, released
from labs.helpers.kube.visitors import CLIENT

SPLIT = NAMES.split(os.environ.get("LAB_WORKSPACE", ""))
PARTS = {"API server": IMAGE, "classifier": "classifierrunner", "embedder": "embeddingrunner"}
GIVEN = ("classifier.yaml", "runner.yaml")
KUSTOMIZATION = """apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {namespace}
resources: [../deploy, {resources}]
patches:
  - path: api.yaml
  - path: runner.yaml # what both runners have in common
    target: {{kind: Deployment, labelSelector: serving-lab/part=runner}}
  - target: {{kind: PodDisruptionBudget, name: demo-text-intelligence}} # one replica, which a drain may take
    patch: |
      - {{op: remove, path: /spec/minAvailable}}
      - {{op: add, path: /spec/maxUnavailable, value: 1}}
images:
  - name: demo-text-intelligence
    newName: {repository}
    digest: {digest}
"""
# A ticket as long as people write them: the embedder works longer on it than the API server.
TICKETS = [
    "Last week I ordered two pairs of shoes and a jacket, and the mail that I got said that the parcel would be with "
    f"me on Friday. It is {day} now, the tracking page has not changed for days, and the courier does not know "
    "the number. I have called twice and was told to wait. Could you please find out where my parcel is, and tell me "
    "whether I will get it before the weekend, since the jacket is a birthday present for my brother?"
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday")
]  # fmt: skip
# In a runner's pod: how many connections are established at its port.
OPEN = """
from pathlib import Path
rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
print(sum(row[1].endswith(":0BB8") and row[3] == "01" for row in rows))
"""
HEALTH = """
import time, urllib.error, urllib.request
for path in ("/readyz", "/livez"):
    began = time.time()
    try:
        said = urllib.request.urlopen("http://127.0.0.1:3000" + path, timeout=90).status
    except urllib.error.HTTPError as refused:
        said = refused.code
    print(path, said, f"after {time.time() - began:.1f} s")
"""


def lay_out() -> str:
    """Copies the given files into split/ and removes what an earlier run of the notebook has in the cluster."""
    Path("split").mkdir(exist_ok=True)
    for name in GIVEN:
        if not Path("split", name).exists():
            shutil.copy(KIT / "manifests/overlays/split" / name, Path("split", name))
    kubectl("delete", "namespace", SPLIT, "--ignore-not-found", "--wait=true", "--timeout=120s")
    return f"{', '.join(GIVEN)} in split/; namespace {SPLIT}"


def kustomize(*resources: str) -> None:
    """Writes split/kustomization.yaml: lab 05's deploy/, these files of yours, the released image by its digest."""
    repository, digest = released().split("@")
    facts = {"namespace": SPLIT, "resources": ", ".join(resources), "repository": repository, "digest": digest}
    Path("split/kustomization.yaml").write_text(KUSTOMIZATION.format(**facts))


def start_client() -> None:
    """A pod that may ask the API server, as in lab 05."""
    kubectl("apply", "-f", "-", given=CLIENT.replace("IMAGE", released()), namespace=SPLIT)
    kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s", namespace=SPLIT)


def running(part: str) -> str:
    """The newest running pod of that part, ready or not."""
    words = ["get", "pods", "-l", f"app.kubernetes.io/name={PARTS[part]}", "--field-selector=status.phase=Running"]
    found = json.loads(kubectl(*words, "-o", "json", namespace=SPLIT))["items"]
    alive = [p for p in found if "deletionTimestamp" not in p["metadata"]]
    return str(max(alive, key=lambda p: str(p["metadata"]["creationTimestamp"]))["metadata"]["name"])


def health() -> str:
    """What the API server's pod says of itself, and how long it takes for that."""
    return split.run_in(SPLIT, running("API server"), HEALTH, limit=200)


def settle(seconds: float = 120) -> None:
    """Waits until all parts are rolled out."""
    if late := split.wait_until_out(SPLIT, list(PARTS.values()), seconds):
        raise RuntimeError(f"not ready: {', '.join(late)}; `kubectl -n {SPLIT} get pods`")


def worked(parts: tuple[str, ...] = ("embedder", "classifier")) -> dict[str, dict[str, int]]:
    """Requests that each runner's pods have counted, by the end of their names."""
    found = {}
    for part in parts:
        pods = split.pods_of(SPLIT, PARTS[part])
        found[part] = {pod[-5:]: sum(split.counted(SPLIT, pod).values()) for pod in pods}
    return found


def connections() -> dict[str, int]:
    """Connections that are open to each of the embedder's pods, by the end of their names."""
    return {pod[-5:]: int(split.run_in(SPLIT, pod, OPEN)) for pod in split.pods_of(SPLIT, PARTS["embedder"])}


# ---------------------------------------------------------------- a pickle


def send_pickle(part: str = "embedder") -> dict[str, str]:
    """Sends a harmless pickle to a runner's port, from a pod that may ask the API server and from another namespace:
    "it ran", or what the sender got. It makes an empty folder in the runner's /tmp, which is removed."""
    pod = split.pods_of(SPLIT, PARTS[part])[0]
    about = json.loads(kubectl("get", "pod", pod, "-o", "json", namespace=SPLIT))
    address, method = f"{about['status']['podIP']}:{split.PORT}", split.METHODS[PARTS[part]]
    prepare_elsewhere()
    far = Visitor("neighbour", ELSEWHERE, f"neighbour-{secrets.token_hex(3)}", LABEL)
    tokens = {"a client in the same namespace": "same", "a pod in another namespace": "other"}
    with sent([far], released(), about["spec"]["nodeName"]):
        time.sleep(3)  # a policy can reach a new pod some seconds late
        with ThreadPoolExecutor() as pool:  # at once: each may wait for an answer that never comes
            spots = ((SPLIT, "client", "same"), (ELSEWHERE, far.pod, "other"))
            said = list(pool.map(lambda spot: split.fire(spot[0], spot[1], address, method, spot[2]), spots))
    ran = split.landed(SPLIT, [pod])
    told = {who: "it ran" if t in ran else s for (who, t), s in zip(tokens.items(), said, strict=True)}
    print(*(f"{who:<32}{what}" for who, what in told.items()), sep="\n")
    return told


# ---------------------------------------------------------------- a load


@dataclass(frozen=True)
class Row:
    """What people got with these replicas: answers a second, the 95th percentile in seconds, what was lost; and how
    many requests each pod of the embedder did meanwhile."""

    name: str
    goodput: float
    p95: float
    lost: int
    shares: dict[str, int]


def measure(name: str, people: int = 20, seconds: float = 5) -> Row:
    """Waits until the parts are rolled out, then lets so many people ask, each with a connection kept open."""
    settle()
    time.sleep(2)  # until every node knows
    before = worked(("embedder",))["embedder"]
    got = split.ask(SPLIT, "client", IMAGE, people, seconds, TICKETS)
    shares = {pod: count - before.get(pod, 0) for pod, count in worked(("embedder",))["embedder"].items()}
    waits: list[float] = got["waits"]
    p95 = waits[int(len(waits) * 0.95)] if waits else 0.0
    row = Row(name, len(waits) / seconds, p95, len(got["lost"]), shares)
    print(f"{name:<28}{row.goodput:5.0f} answers/s   p95 {p95 * 1000:5.0f} ms   lost {row.lost}   embedder {shares}")
    return row


def helps(rows: list[Row]) -> str:
    """The letter of the part whose second replica gave the most answers a second: of the rows with two, alone."""
    second = max((row for row in rows if " x 2" in row.name), key=lambda row: row.goodput)
    return next(letter for part, letter in zip(PARTS, "abc", strict=True) if second.name.startswith(part))


def rates(rows: list[Row]) -> dict[str, float]:
    """Answers a second of each row."""
    return {row.name: round(row.goodput, 1) for row in rows}


def draw(rows: list[Row]) -> Picture:
    """Answers a second for each choice."""
    figure, axes = canvas("What helps?", 8, 1.2 + 0.5 * len(rows))
    first, best = rows[0], max(rows, key=lambda r: r.goodput)
    for i, row in enumerate(rows):
        colour, hatch = (BLUE, "//") if row is best else (GREY, "") if row is first else (ORANGE, "..")
        axes.barh(i, row.goodput, color=colour, hatch=hatch, edgecolor="white", height=0.6)
        axes.text(row.goodput, i, f" {row.goodput:.0f}", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("answers a second, the same people each time", color=GREY)
    told = ", ".join(f"{row.name} {row.goodput:.0f}/s" for row in rows)
    return Picture(figure, f"{best.name} gives most: {best.goodput / first.goodput:.1f} times the first row. {told}.")


# ---------------------------------------------------------------- a larger pod


def resize(cpu: str) -> str:
    """The embedder's pod gets that limit while it runs."""
    pod = running("embedder")
    limit = {"spec": {"containers": [{"name": "runner", "resources": {"limits": {"cpu": cpu}}}]}}
    kubectl("patch", "pod", pod, "--subresource", "resize", "-p", json.dumps(limit), namespace=SPLIT)
    return resized()


def resized(seconds: float = 30) -> str:
    """The embedder's pod: what its container may use as the kubelet says, and its restarts."""
    pod, deadline = running("embedder"), time.monotonic() + seconds
    while True:
        about = json.loads(kubectl("get", "pod", pod, "-o", "json", namespace=SPLIT))
        (status,) = about["status"]["containerStatuses"]
        asked = about["spec"]["containers"][0]["resources"]["limits"]["cpu"]
        given = status.get("resources", {}).get("limits", {}).get("cpu")
        if asked == given or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    return f"{pod}: may use {given} cpu, asked for {asked}; restarts: {status['restartCount']}"


# ---------------------------------------------------------------- a device, and the end


def place(patch: str) -> dict[str, list[str]]:
    """The embedder with that patch while a node says that it has one GPU: the newest pod of each part, its node and
    what it asks for. The embedder is as before afterwards."""
    found: dict[str, list[str]] = {}
    with fake_devices(NAMES) as node:
        kubectl("patch", "deployment/embeddingrunner", "--patch-file", patch, namespace=SPLIT)
        try:
            found = until_placed()
        finally:
            kubectl("rollout", "undo", "deployment/embeddingrunner", namespace=SPLIT)
    print(f"{node} has 1 nvidia.com/gpu (fake)", *(f"{part:<12}{a:<26}{b}" for part, (a, b) in found.items()), sep="\n")
    return found


def until_placed(limit: float = 30) -> dict[str, list[str]]:
    deadline = time.monotonic() + limit
    while True:
        found = {part: where(name) for part, name in PARTS.items()}
        if (found["embedder"][0] and "nvidia" in found["embedder"][1]) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def where(name: str) -> list[str]:
    """Of the newest pod of a part: its node, and the devices that it asks for."""
    words = ["get", "pods", "-l", f"app.kubernetes.io/name={name}", "-o", "json"]
    items: list[Any] = json.loads(kubectl(*words, namespace=SPLIT))["items"]
    spec = max(items, key=lambda p: str(p["metadata"]["creationTimestamp"]))["spec"]
    asked = [r for c in spec["containers"] for r in c["resources"].get("limits", {}) if "/" in r]
    return [spec.get("nodeName", ""), ", ".join(asked) or "asks for no device"]


def rest() -> str:
    """Takes all pods away, so that the cores are free for the next lab; the objects stay."""
    kubectl("scale", "deployment", "--all", "--replicas=0", namespace=SPLIT)
    kubectl("delete", "pod/client", "--ignore-not-found", "--wait=false", namespace=SPLIT)
    return f"no pods in {SPLIT}; `kubectl apply -k split` brings them back"
