"""Two pictures of lab 08: a query over time, and two windows of one ratio against their threshold."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from grader.model import Facts
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.monitoring.asking import connect


def moved(query: str, runs: Mapping[str, tuple[float, float]]) -> Picture:
    """The query's value over time; `runs`: name -> begin and end of each load (time.time())."""
    began = min(b for b, _ in runs.values()) - 5
    figure, axes = canvas("Does the query move when the setting does?", 9, 3.6)
    found = connect().range(query, began, time.time(), 1)
    for _, points in found:
        axes.plot([t - began for t, _ in points], [v for _, v in points], "o", color=BLUE, markersize=3)
    top = max((v for _, points in found for _, v in points), default=1.0)
    said = []
    for name, (begin, end) in runs.items():
        axes.axvspan(begin - began, end - began, color=GREY, alpha=0.15)
        axes.text((begin + end) / 2 - began, top * 1.12, name, ha="center", fontsize=9)
        inside = [v for _, points in found for t, v in points if begin + 3 <= t <= end + 1]
        said.append(f"{name}: {sum(inside) / len(inside):.1f}" if inside else f"{name}: nothing")
    axes.set_ylim(0, top * 1.3)
    axes.set_xlabel("seconds (grey: under load)")
    axes.set_ylabel("requests a batch")
    return Picture(figure, f"What the query says, on average, while people ask: {'; '.join(said)}.")


def burning(short: str, long: str, threshold: float, began: float, fired: Mapping[str, float]) -> Picture:
    """Both windows' ratios since `began` (time.time()), the threshold, and when each alert first fired."""
    figure, axes = canvas("When do both windows agree that the budget burns?", 9, 3.6)
    shown = {}
    looks = (("short window", short, ORANGE, "x"), ("long window", long, BLUE, "o"))
    for name, query, color, marker in looks:
        points = [p for _, part in connect().range(query, began, time.time(), 1) for p in part]
        axes.plot([t - began for t, _ in points], [v for _, v in points], marker, color=color, markersize=4, label=name)
        over = [t - began for t, v in points if v > threshold]
        shown[name] = f"{name} over {threshold:.1%} from {over[0]:.0f} s" if over else f"{name} never over"
    axes.axhline(threshold, color=GREY, linestyle="--")
    for name, at in fired.items():
        axes.axvline(at, color=GREY)
        axes.text(at, axes.get_ylim()[1], f" {name} fires", va="top", fontsize=9)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the budget of 10 ms went in")
    axes.set_ylabel("share of answers that are 5xx")
    axes.legend(frameon=False, fontsize=9, loc="center right")
    told = "; ".join(f"{name} fires after {at:.0f} s" for name, at in fired.items()) or "no alert fires"
    return Picture(figure, f"{'; '.join(shown.values())}; {told}.")


def scaling(seen: Sequence[Facts], target: float) -> Picture:
    """The metric that an autoscaler sees against its target, and the pods that are ready, over time."""
    figure, axes = canvas("How long after the spike is the second pod there?", 9, 3.6)
    known = [s for s in seen if s["metric"] is not None]
    axes.plot(
        [s["at"] for s in known], [s["metric"] for s in known], "o", color=BLUE, markersize=4, label="requests a pod"
    )
    axes.axhline(target, color=GREY, linestyle="--", label=f"target: {target:g}")
    pods = axes.twinx()
    pods.step([s["at"] for s in seen], [s["ready"] for s in seen], where="post", color=ORANGE, label="pods ready")
    pods.set_ylim(0, 3)
    pods.set_yticks([0, 1, 2])
    loaded = [s["at"] for s in seen if s["load"]]
    axes.axvspan(loaded[0], loaded[-1], color=GREY, alpha=0.12)
    axes.set_xlabel("seconds since the load began (grey: under load)")
    axes.set_ylabel("requests in a pod's embedding runner")
    pods.set_ylabel("pods ready")
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    pods.legend(frameon=False, fontsize=9, loc="upper right")
    return Picture(figure, scaling_finding(seen))


def scaling_finding(seen: Sequence[Facts]) -> str:
    """When the controller wanted two, when two were ready, and when one was enough again."""
    wanted = next((s["at"] for s in seen if s["wanted"] >= 2), None)
    ready = next((s["at"] for s in seen if s["ready"] >= 2), None)
    if wanted is None or ready is None:
        return "The controller never wanted a second pod." if wanted is None else "The second pod was never ready."
    most = max(s["metric"] for s in seen if s["metric"] is not None)
    ended = max(s["at"] for s in seen if s["load"])
    back = next((s["at"] for s in seen if s["at"] > ended and s["wanted"] == 1), None)
    told = f"{back - ended:.0f} s after the load's end one is enough again" if back else "the second one stays"
    return (f"With up to {most:.0f} requests a pod, the controller wants two pods after {wanted:.0f} s; the second is "
            f"ready after {ready:.0f} s; {told}.")  # fmt: skip
