"""The way from a notebook to a cluster, as a picture: which lab makes what, and what is a file and what a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Station:
    """What a lab leaves: `runs` tells a process from files; `x`, `y` is the middle of its box."""

    lab: str
    name: str
    inside: str
    runs: bool
    x: float
    y: float


STATIONS = (
    Station("01", "two models", "demo_embedder\ndemo_classifier", False, 1.0, 2.6),
    Station("02", "the service", "API server, and a\nrunner for each model", True, 4.0, 2.6),
    Station("03", "the Bento", "sources, locked\npackages, model tags", False, 7.0, 2.6),
    Station("04", "the image", "the Bento and all it\nneeds, in a registry", False, 7.0, 0.7),
    Station("05", "the cluster", "pods made from the\nimage answer (kind)", True, 4.0, 0.7),
    Station("07, 08", "metrics", "Prometheus counts\nanswers and batches", True, 1.0, 0.7),
)
ARROWS = ("loaded by", "packed into", "built into", "started in", "read by")
WIDTH, HEIGHT = 2.0, 1.15


def draw() -> Picture:
    figure, axes = canvas("How do two models in a notebook come to answer from a cluster?", 9, 4.6)
    axes.set(xlim=(-0.15, 8.15), ylim=(0.0, 3.35))
    axes.set_axis_off()
    for station in STATIONS:
        _box(axes, station)
    for here, there, verb in zip(STATIONS, STATIONS[1:], ARROWS, strict=False):
        _arrow(axes, here, there, verb)
    return Picture(figure, finding())


def _box(axes: Axes, station: Station) -> None:
    from matplotlib.patches import FancyBboxPatch

    place = (station.x - WIDTH / 2 + 0.1, station.y - HEIGHT / 2 + 0.1)
    shape = "round,pad=0.1,rounding_size=0.28" if station.runs else "square,pad=0.1"
    colour = ORANGE if station.runs else BLUE
    box = FancyBboxPatch(place, WIDTH - 0.2, HEIGHT - 0.2, boxstyle=shape, fill=False, edgecolor=colour, linewidth=2)
    axes.add_patch(box)
    kind = "runs" if station.runs else "files"
    axes.text(station.x, station.y + 0.34, f"{station.lab} · {kind}", ha="center", va="center", fontsize=9, color=GREY)
    axes.text(station.x, station.y + 0.1, station.name, ha="center", va="center", fontsize=11, fontweight="bold")
    axes.text(station.x, station.y - 0.28, station.inside, ha="center", va="center", fontsize=9, color=GREY)


def _arrow(axes: Axes, here: Station, there: Station, verb: str) -> None:
    sideways = here.y == there.y
    step = 1 if there.x > here.x else -1
    start = (here.x + step * WIDTH / 2, here.y) if sideways else (here.x, here.y - HEIGHT / 2)
    end = (there.x - step * WIDTH / 2, there.y) if sideways else (there.x, there.y + HEIGHT / 2)
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": GREY, "linewidth": 1.5})
    middle_x, middle_y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if sideways:
        axes.text(middle_x, middle_y + 0.08, verb, ha="center", va="bottom", fontsize=9, color=GREY)
    else:
        axes.text(middle_x + 0.1, middle_y, verb, ha="left", va="center", fontsize=9, color=GREY)


def finding() -> str:
    files = [f"{s.name} ({s.lab})" for s in STATIONS if not s.runs]
    runs = [f"{s.name} ({s.lab})" for s in STATIONS if s.runs]
    told = f"Each lab begins with what the one before it left. {_listed(files)} are files (square boxes) and stay when "
    return f"{told}everything stops; {_listed(runs)} run (rounded boxes) and are made again from the files."


def _listed(names: list[str]) -> str:
    text = f"{', '.join(names[:-1])} and {names[-1]}"
    return text[0].upper() + text[1:] if text.startswith("two") else text
