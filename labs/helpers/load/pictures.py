"""Pictures of a load: one question each, which is the title; the finding beside it is written from the data."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from grader.model import Facts
from grader.world.load.log import Log
from grader.world.load.summary import corrected, naive, percentiles
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.load.trials import Stall

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def dots(log: Log, title: str = "What did eighty people get?") -> Picture:
    """One mark an answer: time across, waiting up; 200s as circles, all else as crosses."""
    figure, axes = canvas(title, 9, 3.6)
    for good, marker, color in ((False, "x", ORANGE), (True, "o", BLUE)):
        part = [r for r in log.requests if (r.end == "200") == good]
        name = "200" if good else "503, or no answer"
        x, y = [r.ended for r in part], [1000 * (r.ended - r.scheduled) for r in part]
        label = f"{name} ({len(part)})"
        axes.scatter(x, y, s=12, linewidths=0.8, label=label, alpha=0.7, marker=marker, color=color)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds since the load began")
    axes.set_ylabel("milliseconds waited")
    axes.legend(loc="upper right", frameon=True, fontsize=9)
    return Picture(figure, dots_finding(log))


def dots_finding(log: Log) -> str:
    seconds = log.sender["seconds"]
    part = log.between(0, seconds)
    waits = [1000 * (r.ended - r.scheduled) for r in part.requests if r.end == "200"]
    refused = 1 - len(waits) / max(1, len(part))
    half = f", half of them within {statistics.median(waits):.0f} ms" if waits else ""
    told = f"{refused:.0%} of all answers are refusals" if refused else "none refused"
    return f"{len(waits) / seconds:.0f} good answers a second{half}; {told}."


def lone(before: Sequence[float], after: Sequence[float]) -> Picture:
    """One dot a request: those before the spike as circles, those after it as diamonds."""
    figure, axes = canvas("How long does a lone request wait, before a spike and after it?", 9, 3.0)
    second = len(before) + 2
    for waits, start, marker, color, name in ((before, 0, "o", BLUE, "before"), (after, second, "D", ORANGE, "after")):
        axes.scatter(range(start, start + len(waits)), [1000 * w for w in waits], s=28, marker=marker, color=color)
        axes.text(start, 1000 * max(waits), f" {name}", va="bottom", fontsize=10, color=color)
    axes.axvspan(len(before), len(before) + 1, color=GREY, alpha=0.25)
    axes.text(len(before) + 0.5, 0, "80 people", rotation=90, ha="center", va="bottom", fontsize=9)
    axes.set_ylim(0, 1150 * max([*before, *after]))
    axes.set_xlabel("lone requests, one after another, nobody else there")
    axes.set_ylabel("milliseconds")
    first, last = 1000 * statistics.median(before), 1000 * statistics.median(after)
    told = f"A lone request waits {first:.0f} ms on the fresh server and {last:.0f} ms after the spike"
    return Picture(figure, f"{told}, {last / first:.1f} times as long, with nobody else there either time.")


def stall(log: Log, stopped: Stall) -> Picture:
    """Each request twice, by the time at which it should have been sent: as people waited, and as the tool counts."""
    began = stopped.began - log.sender.get("began", 0.0)
    figure, axes = canvas("What does a stall look like, to people and to the tool?", 9, 3.6)
    axes.axvspan(began, began + stopped.seconds, color=GREY, alpha=0.2)
    due = log.column("scheduled")
    axes.plot(due, 1000 * corrected(log), "o", color=ORANGE, markersize=5, label="since it should have been sent")
    axes.plot(due, 1000 * naive(log), "x", color=BLUE, markersize=4, label="since the tool did send it")
    axes.set_xlabel("the time at which a request should have been sent, in seconds (grey: the runner is stopped)")
    axes.set_ylabel("milliseconds")
    axes.legend(frameon=False, fontsize=9)
    (felt,), (shown,) = percentiles(corrected(log), 99), percentiles(naive(log), 99)
    slow = int(np.sum(corrected(log) > 0.2))
    seen = int(np.sum(naive(log) > 0.2))
    told = (
        f"p99 is {shown:.0f} ms as the tool counts and {felt:.0f} ms as people wait: {felt / shown:.0f} times as much"
    )
    return Picture(figure, f"{told}. Of {len(log)} requests {slow} took over 200 ms; the tool saw {seen}.")


def bend(rows: Sequence[Facts]) -> Picture:
    """A point a setting: p95 across, good answers up. A cross where more than one answer in a hundred is refused."""
    figure, axes = canvas("Which setting gives more answers, and at which wait?", 9, 4.4)
    for row in rows:
        x, y, shed = float(row["p95_ms"]), float(row["goodput"]), float(row["share_503"])
        look = {"marker": "X", "color": ORANGE} if shed > 0.01 else {"marker": "o", "color": BLUE}
        if not row["batching"]:
            look = {"marker": "s", "color": GREY}
        spread = [[y - float(row["goodput_min"])], [float(row["goodput_max"]) - y]]
        axes.errorbar(x, y, yerr=spread, markersize=9, capsize=3, linestyle="", **look)  # type: ignore[arg-type]
        refused = f"\n  {shed:.0%} refused" if shed > 0.01 else ""
        axes.annotate(f"  {row['setting']}{refused}", (x, y), fontsize=9, va="center")
    across = "p95 of those answered, in milliseconds (square: batching off; cross: more than 1% refused)"
    frame(axes, across, "good answers a second")
    return Picture(figure, bend_finding(rows))


def frame(axes: Axes, across: str, up: str) -> None:
    low, high = axes.get_xlim()
    axes.set_xlim(max(0, low), high + 0.25 * (high - low))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(across)
    axes.set_ylabel(up)


def bend_finding(rows: Sequence[Facts]) -> str:
    best = max(rows, key=lambda row: float(row["goodput"]))
    told = [
        f"{row['setting']}: {row['goodput']:.0f} a second, p95 {row['p95_ms']:.0f} ms, {row['share_503']:.0%} refused"
        for row in sorted(rows, key=lambda row: float(row["goodput"]))
    ]
    return f"{'; '.join(told)}. Most good answers: {best['setting']}."


def twins(pairs: Mapping[str, tuple[float, float]]) -> Picture:
    """Good answers a second of each setting, measured and played: two bars a setting."""
    figure, axes = canvas("Does the twin say what the machine does?", 9, 1.3 + 0.6 * len(pairs))
    for at, (measured, played) in enumerate(pairs.values()):
        axes.barh(at - 0.2, measured, height=0.36, color=BLUE)
        axes.barh(at + 0.2, played, height=0.36, facecolor="white", edgecolor=ORANGE, hatch="////")
        axes.text(max(measured, played), at, f"  {measured:.0f} and {played:.0f}", va="center", fontsize=9)
    axes.set_xlim(right=1.18 * max(max(pair) for pair in pairs.values()))
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.invert_yaxis()
    axes.set_xlabel("good answers a second (filled: measured; hatched: played by the twin)")
    off = {name: played / measured - 1 for name, (measured, played) in pairs.items() if measured}
    told = ", ".join(f"{name} {gap:+.0%}" for name, gap in off.items())
    return Picture(figure, f"The twin's good answers against the machine's: {told}.")
