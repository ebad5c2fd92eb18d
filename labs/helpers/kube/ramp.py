"""Replicas by CPU: callers become more and fewer again, and what a HorizontalPodAutoscaler made of it.

`run()` tells the run that is kept (ramp.csv; its first line says of when and where); `run(live=True)` makes one with
your release/hpa.yaml, in a namespace of its own, in five minutes.
"""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.material import load_images
from cluster.names import IMAGE, KIT
from grader.model import Facts
from grader.processes import wait_until
from grader.world import canary
from grader.world.callers import Answer, asking
from grader.world.load import metrics
from grader.world.objects import server_of
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture
from labs.helpers.kube.objects import NAMESPACE, kubectl

SPACE = f"{NAMESPACE}-ramp"
KEPT = Path(__file__).with_name("ramp.csv")
CPU = "400m"  # of each pod, asked for and at most: four of them are what two cores give
PHASES = ((40.0, 4.0), (150.0, 44.0), (100.0, 4.0))  # seconds, requests a second
STEP = 5.0  # seconds a point
Say = Callable[[str], None]


@dataclass(frozen=True)
class Point:
    """The five seconds before `at`: requests `asked` and answered well (`good`) a second, their 95th percentile in
    seconds, and how many of them made a `batch` on average; at its end the pods' `cpu` in percent of what they ask for
    (-1: not known yet), replicas `wanted`, `ready`."""

    at: float
    asked: float
    good: float
    p95: float
    batch: float
    cpu: float
    wanted: int
    ready: int


def run(live: bool = False, hpa: str = "release/hpa.yaml", say: Say = print) -> list[Point]:
    """The kept run, or one that is made now."""
    if live:
        return make(hpa, say)
    rows = csv.DictReader(line for line in KEPT.read_text().splitlines() if not line.startswith("#"))
    return [read(row) for row in rows]


def day_of(rows: Sequence[Point]) -> str:
    """When these were measured: the kept run says it in its first line."""
    first = KEPT.read_text().partition(",")[0].removeprefix("# ")
    return first if list(rows) == run() else datetime.now(UTC).isoformat(timespec="seconds")


def read(row: dict[str, str]) -> Point:
    given: dict[str, Any] = {f.name: (int if f.type == "int" else float)(row[f.name]) for f in fields(Point)}
    return Point(**given)


def make(hpa: str, say: Say) -> list[Point]:
    """The namespace is gone afterwards; metrics-server stays."""
    say("the kubelets' figures, and one pod ...")
    bring_figures()
    try:
        canary.bring_up(NAMESPACE, SPACE, objects, [canary.STABLE])
        kubectl("apply", "-f", hpa, namespace=SPACE)
        wait_until(lambda: look()["cpu"] >= 0, 90, pause=2.0)
        return watch(say)
    finally:
        kubectl("delete", "namespace", SPACE, "--ignore-not-found", "--wait=false")


def bring_figures() -> None:
    load_images("06")
    kubectl("apply", "-k", str(KIT / "manifests/metrics-server"), namespace="kube-system")
    kubectl("rollout", "status", "deployment/metrics-server", "--timeout=120s", namespace="kube-system")


def objects(source: str, namespace: str, deployment: Facts) -> list[Facts]:
    """As canary.py lays out, with one small Deployment alone."""
    copy = canary.copy_of(deployment, namespace, canary.STABLE)
    resources = server_of(copy["spec"]["template"]["spec"])["resources"]
    for word in ("requests", "limits"):
        resources.setdefault(word, {})["cpu"] = CPU
    return canary.alone(source, namespace, deployment, copy)


def watch(say: Say) -> list[Point]:
    """Callers by PHASES, and a point every STEP seconds."""
    least, whole = min(rate for _, rate in PHASES), sum(seconds for seconds, _ in PHASES)
    seen: list[tuple[float, Facts]] = []
    counted = batches()
    crowds: list[list[Answer]] = []
    over = threading.Event()

    def crowd(seconds: float, rate: float) -> None:
        with asking(SPACE, canary.CLIENT, f"http://{IMAGE}/classify", rate, most=seconds) as answers:
            crowds.append(answers)
            over.wait(seconds)

    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(crowd, whole, least)]
        began, due = time.time(), 0.0
        for seconds, rate in PHASES:
            if rate > least:
                waiting.append(pool.submit(crowd, seconds, rate - least))
            due += seconds
            while time.time() < began + due:
                before, counted = counted, batches()
                seen.append((time.time() - began, {"batch": mean_batch(before, counted), **look()}))
                say("  ".join(f"{k} {v}" for k, v in {"s": f"{seen[-1][0]:4.0f}", **seen[-1][1]}.items()))
                time.sleep(max(0.0, began + len(seen) * STEP - time.time()))
        over.set()
        for one in waiting:
            one.result()
    return points(seen, [a for answers in crowds for a in answers], began)


def look() -> dict[str, Any]:
    """What the autoscaler says now."""
    made = json.loads(kubectl("get", "hpa", "-o", "json", namespace=SPACE))["items"][0]["status"]
    current = [m.get("resource", {}).get("current", {}) for m in made.get("currentMetrics") or []]
    cpu = next((c["averageUtilization"] for c in current if "averageUtilization" in c), -1)
    deployment = json.loads(kubectl("get", "deployment", canary.STABLE, "-o", "json", namespace=SPACE))
    return {"cpu": cpu, "wanted": made.get("desiredReplicas", 0), "ready": deployment["status"].get("readyReplicas", 0)}


def batches() -> dict[str, tuple[float, float]]:
    """Of each pod, what its embedding runner has counted since its start: requests in batches, and batches."""
    pages = canary.pages(SPACE, canary.pods_of(SPACE, canary.STABLE))
    found = {pod: metrics.batches(page).get("embeddingrunner", (0.0, 0.0)) for pod, page in pages.items()}
    return {pod: (requests, count) for pod, (count, requests) in found.items()}


def mean_batch(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> float:
    """Of what was counted in between, over all pods that are there now."""
    grown = [(s - before.get(pod, (0, 0))[0], c - before.get(pod, (0, 0))[1]) for pod, (s, c) in after.items()]
    count = sum(c for _, c in grown)
    return round(sum(s for s, _ in grown) / count, 1) if count else 0.0


def points(seen: Sequence[tuple[float, Facts]], answers: Sequence[Answer], began: float) -> list[Point]:
    found = []
    for at, facts in [one for one in seen if one[0] >= STEP]:
        mine = [a for a in answers if at - STEP <= a.at - began < at]
        waits = sorted(a.waited for a in mine)
        p95 = waits[int(0.95 * len(waits))] if waits else 0.0
        good = sum(a.said == "200" for a in mine)
        found.append(Point(round(at, 1), len(mine) / STEP, good / STEP, round(p95, 2), **facts))
    return found


def write(rows: Sequence[Point], about: str, path: Path = KEPT) -> None:
    lines = [f"# {about}", ",".join(f.name for f in fields(Point))]
    path.write_text("\n".join([*lines, *(",".join(map(str, astuple(row))) for row in rows), ""]))


def draw(rows: Sequence[Point]) -> Picture:
    """Requests, waits and replicas, one below the other, over the same seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.2), dpi=110, layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    at = [row.at for row in rows]
    panels[0].step(at, [row.asked for row in rows], color=GREY, linestyle="--", label="asked")
    panels[0].step(at, [row.good for row in rows], color=BLUE, label="answered well")
    panels[0].set_ylabel("a second", fontsize=8)
    panels[1].step(at, [row.p95 for row in rows], color=ORANGE, label="95th percentile of the waits")
    panels[1].set_ylabel("s", fontsize=8)
    panels[2].step(at, [row.cpu for row in rows], color=ORANGE, label="CPU of each pod")
    panels[2].set_ylabel("%", fontsize=8)
    panels[3].step(at, [row.wanted for row in rows], color=GREY, linestyle="--", label="replicas wanted")
    panels[3].step(at, [row.ready for row in rows], color=BLUE, label="replicas ready")
    panels[3].step(at, [row.batch for row in rows], color=ORANGE, linestyle=":", label="requests a batch")
    panels[3].set_xlabel("seconds", color=GREY)
    for axes in panels:
        axes.legend(loc="upper right", fontsize=8, frameon=False)
        axes.set_ylim(bottom=0)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_title("Do replicas come when they are needed?", loc="left", fontweight="bold", fontsize=12)
    return Picture(figure, finding(rows))


def finding(rows: Sequence[Point]) -> str:
    """In words: when it was asked for more, when that was there, what people waited, and what batches became."""
    most, start, rise = max(row.ready for row in rows), rows[0].wanted, risen(rows)[0].at
    wanted = next((row.at for row in rows if row.wanted > start), 0.0)
    there = next((row.at for row in rows if row.ready == most), 0.0)
    return (
        f"The rise came at second {rise:.0f}; more replicas were wanted {wanted - rise:.0f} s later, and {most} were "
        f"ready {there - rise:.0f} s after it. The longest 95th percentile was {max(r.p95 for r in rows):.1f} s. "
        f"Requests a batch: {settled(rows, 1).batch:.0f} with one pod, {settled(rows, most).batch:.0f} with {most}."
    )


def risen(rows: Sequence[Point]) -> list[Point]:
    """Those of the many callers."""
    return [row for row in rows if row.asked > max(r.asked for r in rows) / 2]


def settled(rows: Sequence[Point], replicas: int) -> Point:
    """The last point of the many callers with so many replicas: the kubelets' figures are some 15 s old."""
    return [row for row in risen(rows) if row.ready == replicas][-1]


def used(rows: Sequence[Point], replicas: int) -> float:
    """Percent of its CPU that each of so many replicas used while the many asked."""
    return settled(rows, replicas).cpu
