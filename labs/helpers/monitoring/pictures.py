"""Two pictures of lab 08: a query over time, and two windows of one ratio against their threshold."""

from __future__ import annotations

import time
from collections.abc import Mapping

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
