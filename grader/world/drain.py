"""Roll-outs and drained nodes under load: does anybody who asks lose a request?

A copy of the Deployment that runs elsewhere, two replicas in a namespace of its own, is disturbed while callers in a
pod beside it ask its Service. In odd runs each pod is replaced (`kubectl rollout restart`); in even runs one's node is
drained (`kubectl drain`, of this copy's pods alone) and uncordoned again. The order in which a pod has to end is the
manifest's: it leaves the Service, finishes what is under way (preStop), and only then API server and runners stop.
"""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cluster.names import IMAGE, read_names, state
from grader.errors import LabError
from grader.model import Facts
from grader.processes import wait_until
from grader.workspace import locked, write_atomic
from grader.world import canary, pace
from grader.world.callers import ASK, ASK_KEPT, asking, lateness
from grader.world.objects import get, kubectl

# The Kubernetes label of these pods, by which `kubectl drain` picks them; the annotation of a node that a run closed.
KEY = "serving-lab/drained"
COLUMNS = ("run", "what", "connections", "requests", "lost", "how", "longest_s", "late_s", "seconds")
STALLED = 2.0  # seconds by which a request may leave late; a sender stopped for longer sends all of them at once
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One run. `connections`: "new", one a request, or "kept"; `late_s`: by how much a request left after its time, at
    most; `lost`: each (second of the run, status or error)."""

    run: int
    what: str
    connections: str
    requests: int
    longest_s: float
    seconds: float
    lost: Sequence[tuple[float, str]] = field(default_factory=tuple)
    late_s: float = 0.0

    @property
    def counts(self) -> bool:
        """Whether it says something of the service: the machine stopped the sender for no longer than that."""
        return self.late_s <= STALLED

    def cells(self) -> Facts:
        how = Counter(said for _, said in self.lost)
        told = ", ".join(f"{count} x {said}" for said, count in how.items())
        made = {
            "lost": len(self.lost),
            "how": told or "-",
            "longest_s": f"{self.longest_s:.1f}",
            "late_s": f"{self.late_s:.1f}",
            "seconds": round(self.seconds),
        }
        return {c: made.get(c, getattr(self, c, "")) for c in COLUMNS}


def objects(source: str, namespace: str, deployment: Facts) -> list[Facts]:
    """As canary.py lays out, with one Deployment of two replicas that the Service leads to, and a budget."""
    copy = canary.copy_of(deployment, namespace, canary.STABLE)
    copy["spec"]["replicas"] = 2
    copy["spec"]["strategy"] = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    template = copy["spec"]["template"]
    template["metadata"]["labels"][KEY] = namespace
    template["spec"]["affinity"] = {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [apart(namespace)]}
    }
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": IMAGE, "namespace": namespace},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {KEY: namespace}}},
    }  # fmt: skip
    return [*canary.alone(source, namespace, deployment, copy), budget]


def apart(namespace: str) -> Facts:
    """One replica a node, where that is possible."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {KEY: namespace}}}
    return {"weight": 100, "podAffinityTerm": term}


def take_away(namespace: str) -> None:
    kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def run(namespace: str, number: int, requests: int = 500, rate: float = 10, kept: bool = False) -> Row:
    """Disturbs the copy once while at least that many requests are sent, and until the last old pod is gone."""
    began = time.monotonic()
    code = ASK_KEPT if kept else ASK
    with asking(namespace, canary.CLIENT, f"http://{IMAGE}/classify", rate, code=code) as answers:
        time.sleep(2)
        what = restart(namespace) if number % 2 else drain(namespace)
        if not wait_until(lambda: settled(namespace), pace.patience(120), pause=1.0):
            raise LabError(f"{namespace} did not become whole again.", f"kubectl -n {namespace} get pods,events")
        wait_until(lambda: len(answers) >= requests, requests / rate + 30, pause=0.5)
    first = min((a.at for a in answers), default=0.0)
    lost = [(round(a.at - first, 1), a.said) for a in answers if a.said != "200"]
    longest = max((a.waited for a in answers), default=0.0)
    late = 0.0 if kept else lateness(answers, rate)
    return Row(number, what, "kept" if kept else "new", len(answers), longest, time.monotonic() - began, lost, late)


def restart(namespace: str) -> str:
    kubectl("-n", namespace, "rollout", "restart", f"deployment/{canary.STABLE}")
    canary.wait_for(namespace, canary.STABLE)
    return "rolling update"


def drain(namespace: str) -> str:
    """Drains the node of this copy's first pod; whatever happens, the node takes pods again afterwards."""
    names = read_names()
    with locked(state() / f"{names.cluster}-drain.lock", "the drained node", lambda _: None):
        open_left()
        node = next(p["spec"]["nodeName"] for p in pods(namespace))
        kubectl("annotate", "node", node, f"{KEY}={namespace}", "--overwrite")
        words = ["--ignore-daemonsets", "--delete-emptydir-data", f"--pod-selector={KEY}={namespace}"]
        try:
            done = kubectl("drain", node, *words, "--timeout=120s", limit=130)
        finally:
            open_left()
    if not done.ok:
        raise LabError(f"{node} was not drained: {done.tail(2)}")
    return f"drain of {node.removeprefix(names.cluster + '-')}"


def open_left() -> None:
    """Opens the nodes that a run closed, this one or one that was killed; only who holds the lock may do so."""
    for node in get("default", "nodes").get("items", []):
        if KEY in (node["metadata"].get("annotations") or {}):
            name = node["metadata"]["name"]
            if kubectl("uncordon", name).ok:
                kubectl("annotate", "node", name, f"{KEY}-")


def pods(namespace: str) -> list[Facts]:
    return list(get(namespace, "pods", "-l", f"{KEY}={namespace}").get("items", []))


def settled(namespace: str) -> bool:
    """Two pods, both ready, and none on its way out."""
    ready = [any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions") or [])
             and "deletionTimestamp" not in p["metadata"] for p in pods(namespace)]  # fmt: skip
    return ready == [True, True]


def table(rows: Sequence[Row]) -> str:
    """Markdown, with a last line that sums up."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(str(row.cells()[c]) for c in COLUMNS)} |" for row in rows]
    return "\n".join([*lines, told(rows)])


def told(rows: Sequence[Row]) -> str:
    counted = [r for r in rows if r.counts]
    lost, requests = sum(len(r.lost) for r in counted), sum(r.requests for r in counted)
    text = f"{lost} of {requests} requests were lost in {len(counted)} run{'s' if len(counted) != 1 else ''}."
    stalled = [str(r.run) for r in rows if not r.counts]
    if stalled:
        text += f" Run {', '.join(stalled)} is not counted: the machine stopped the sender for more than {STALLED:g} s."
    return text


def write(rows: Sequence[Row], path: Path) -> None:
    out = io.StringIO()
    file = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    file.writeheader()
    file.writerows(row.cells() for row in rows)
    write_atomic(path, out.getvalue().encode())


def measure(source: str, namespace: str, runs: int, requests: int, kept: bool, say: Say) -> list[Row]:
    """That many runs on a copy that is made for them, and gone afterwards; says each row as it is known."""
    rows: list[Row] = []
    try:
        say(f"two replicas in {namespace} ...")
        canary.bring_up(source, namespace, objects, [canary.STABLE])
        for number in range(1, runs + 1):
            row = run(namespace, number, requests, kept=kept)
            if not row.counts:  # once more
                say(f"run {number}: the machine stopped the sender for {row.late_s:.0f} s; it is run again")
                row = run(namespace, number, requests, kept=kept)
            rows.append(row)
            say("  ".join(f"{c} {rows[-1].cells()[c]}" for c in COLUMNS))
        return rows
    finally:
        take_away(namespace)
