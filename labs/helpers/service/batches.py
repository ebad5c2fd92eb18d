"""What a model's call costs by how many texts it carries: every run is kept, so that a picture can show the spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

Runs = dict[int, list[float]]  # texts in a call -> milliseconds of each call


def time_calls(
    encode: Callable[[list[str]], object], texts: Sequence[str], sizes: Sequence[int], budget: float
) -> Runs:
    """Calls with each number of texts in turn, for `budget` seconds in all; the first round is left out."""
    runs: Runs = {size: [] for size in sizes}
    end, warm = time.perf_counter() + budget, False
    while time.perf_counter() < end or not all(runs.values()):
        for size in sizes:
            began = time.perf_counter()
            encode(list(texts[:size]))
            if warm:
                runs[size].append(1000 * (time.perf_counter() - began))
        warm = True
    return runs


def median_ms(act: Callable[[], object], times: int) -> float:
    return 1000 * statistics.median(_seconds(act) for _ in range(times))


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def draw_cost(runs: Runs) -> Picture:
    """One dot a call, its milliseconds divided by its texts; the bar is the median."""
    figure, axes = canvas("What does one text cost, alone and with others in its call?", 8, 4.2)
    for place, (size, calls) in enumerate(runs.items()):
        each = [ms / size for ms in calls]
        shift = [place + 0.16 * ((i % 7) / 3 - 1) for i in range(len(each))]
        axes.scatter(shift, each, s=20, facecolors="none", edgecolors=GREY)
        middle = statistics.median(each)
        axes.hlines(middle, place - 0.3, place + 0.3, color=BLUE, linewidth=3)
        axes.text(place + 0.33, middle, f"{middle:.1f} ms", va="center", fontsize=10, color=BLUE)
    axes.set_xticks(range(len(runs)), [f"{size} in a call\n({len(calls)} calls)" for size, calls in runs.items()])
    axes.set_xlim(-0.6, len(runs) - 0.2)
    axes.set_ylim(0, 1.1 * max(sorted(ms / s for ms in calls)[int(0.95 * len(calls))] for s, calls in runs.items()))
    axes.set_ylabel("milliseconds a text")
    return Picture(figure, cost_finding(runs))


def cost_finding(runs: Runs) -> str:
    medians = {size: statistics.median(calls) for size, calls in runs.items()}
    first, last = min(medians), max(medians)
    told = "; ".join(
        f"{size} in a call: {ms / size:.1f} ms a text ({spread(runs[size], size)})" for size, ms in medians.items()
    )
    gain = medians[first] / first / (medians[last] / last)
    told += f". A text among {last} costs {gain:.1f} times less than alone"
    return f"{told}, and the call that it is in lasts {medians[last]:.0f} ms."


def share_of_alone(runs: Runs) -> float:
    """What a text costs in the largest call, in percent of what it costs alone."""
    each = {size: statistics.median(calls) / size for size, calls in runs.items()}
    return 100 * each[max(each)] / each[min(each)]


def spread(calls: Sequence[float], size: int) -> str:
    """The middle half of the runs, a text."""
    ordered = sorted(ms / size for ms in calls)
    return f"half of the calls from {ordered[len(ordered) // 4]:.1f} to {ordered[3 * len(ordered) // 4]:.1f}"


def draw_long(alone: float, among: float, long: float) -> Picture:
    """Milliseconds of three calls: eight short texts; seven short ones and a long one; the long one alone."""
    figure, axes = canvas("What does one long text do to its neighbours?", 8, 2.6)
    rows = {"8 short texts": alone, "7 short, 1 long": among, "the long one alone": long}
    for row, (_, ms) in enumerate(rows.items()):
        axes.barh(row, ms, height=0.6, color="white" if row != 1 else ORANGE, edgecolor=ORANGE if row == 1 else GREY)
        axes.text(ms, row, f"  {ms:.0f} ms", va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(rows.values()))
    axes.set_xlabel("milliseconds of one call (median)")
    return Picture(figure, long_finding(alone, among, long))


def long_finding(alone: float, among: float, long: float) -> str:
    told = f"Seven short texts and a long one take {among:.0f} ms, where eight short ones take {alone:.0f}. "
    told += f"The long one alone takes {long:.0f} ms, and 8 x {long:.0f} = {8 * long:.0f}: "
    if among > 0.6 * 8 * long:
        return told + "each short text was padded to the long one's length, and computed as if it were long."
    return told + "so the short ones cost less than if each were as long."
