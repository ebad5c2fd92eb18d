"""A runner's batches, one by one: when each left, why, and what the budget cancelled (grader/world/load/xray.py)."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grader.world.load as load_package
from grader.model import Facts
from grader.processes import wait_until
from grader.workspace import copy_tree
from grader.world.load import closed, experiment, metrics
from grader.world.load.settings import Setting
from grader.world.load.summary import Summary, summarise
from grader.world.metrics import fetch
from grader.world.servers import Served, served
from labs.helpers.charts.canvas import BLUE, GREY, ORANGE, Picture, canvas
from labs.helpers.load import twin
from labs.helpers.load.bench import FILE

SOURCE = Path(load_package.__file__).with_name("xray.py")
WHYS = {"trained": (GREY, ""), "alone": (BLUE, ".."), "waited": (BLUE, ""), "full": (ORANGE, "//")}


@dataclass(frozen=True)
class Xray:
    """`events` of all runners in their order; `counted`: for each runner the batches and requests by which its own
    /metrics grew meanwhile; `summary`: what the people got."""

    events: list[Facts] = field(default_factory=list)
    counted: dict[str, tuple[float, float]] = field(default_factory=dict)
    summary: Summary | None = None

    def batches(self, runner: str) -> list[Facts]:
        return [e for e in self.events if e["runner"] == runner and e["why"] != "cancelled"]

    def sums(self, runner: str) -> tuple[int, int]:
        """Batches and requests in them, as they were seen leaving."""
        return len(self.batches(runner)), sum(e["size"] for e in self.batches(runner))

    def agrees(self) -> bool:
        return all(self.sums(runner) == counted for runner, counted in self.counted.items())

    def told(self, runner: str) -> str:
        whys = Counter(e["why"] for e in self.events if e["runner"] == runner)
        parts = ", ".join(f"{whys[why]} {why}" for why in (*WHYS, "cancelled") if whys[why])
        count, requests = self.sums(runner)
        counted = self.counted.get(runner, (0.0, 0.0))
        page = f"/metrics counted {counted[0]:.0f} and {counted[1]:.0f}"
        return f"{runner}: {count} batches with {requests} requests ({parts}); {page}"


def measure(played: twin.Setting, seconds: float = 6, users: int = 80) -> Xray:
    """Your service with the twin's setting under the load of the experiment, looked into; the training load, which
    comes before it, is left out."""
    asked = experiment.read(FILE)
    setting = Setting("yours", played.enabled, played.size, round(1000 * played.budget))
    with looked_into(setting.configuration(asked.base), asked.service, asked.store) as server:
        closed.run(server.url, users=40, seconds=3, first=800_000_000)
        settle(server.url)
        return load(server, users, seconds + 2, begin=2)


def load(server: Served, users: int, seconds: float, begin: float = 0) -> Xray:
    """`summary` counts from second `begin` on; events and /metrics, which have to agree, over all of the load."""
    before, began = metrics.batches(fetch(server.url)), time.monotonic()
    log = closed.run(server.url, users, seconds, first=900_000_000)
    settle(server.url)
    after = metrics.batches(fetch(server.url))
    old = {runner: before.get(runner, (0.0, 0.0)) for runner in after}
    counted = {r: (count - old[r][0], size - old[r][1]) for r, (count, size) in after.items()}
    events = [e for e in read(server.home / "xray") if e["at"] >= began]
    return Xray(events, counted, summarise(log, begin=begin))


def settle(url: str) -> None:
    """Until nothing is under way any more: what people no longer wait for is computed all the same."""
    wait_until(lambda: sum(metrics.in_progress(fetch(url)).values()) == 0, 15, pause=0.2)


@contextlib.contextmanager
def looked_into(config: Facts, service: Path, store: Path, name: str = "labxray") -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="xray-", ignore_cleanup_errors=True) as folder:
        project = Path(folder) / "project"
        copy_tree(service, project)
        (project / "labxray.py").write_bytes(SOURCE.read_bytes())
        with served(project, store, f"{name}:svc", config=config, in_place=True) as server:
            if server.problem:
                raise RuntimeError(f"{server.problem}\n{server.log()}")
            yield server


def read(folder: Path) -> list[Facts]:
    """The events of every runner's process, by time; a half-written last line is left out."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted((json.loads(line) for line in lines if line.endswith("}")), key=lambda e: float(e["at"]))


def draw(events: Sequence[Facts], runner: str, seconds: float = 3.0) -> Picture:
    """The first seconds: a bar a batch, as long as it was computed and as high as it was large."""
    mine = [e for e in events if e["runner"] == runner]
    began = mine[0]["at"] if mine else 0.0
    figure, axes = canvas("When did each batch leave, and why?", 9, 3.6)
    for why, (colour, hatch) in WHYS.items():
        chosen = [e for e in mine if e["why"] == why and e["at"] - began < seconds]
        if not chosen:
            continue  # an empty bar has no colour in the legend
        at, took, size = ([e[key] for e in chosen] for key in ("at", "took", "size"))
        left = [a - began for a in at]
        axes.bar(left, size, took, align="edge", color=colour, hatch=hatch, edgecolor="white", label=why)
    gone = [e["at"] - began for e in mine if e["why"] == "cancelled" and e["at"] - began < seconds]
    axes.scatter(gone, [0.5] * len(gone), marker="x", color="black", s=18, label="cancelled")
    axes.set_xlabel("seconds since the first batch (a bar is as long as its batch was computed)")
    axes.set_ylabel("requests in the batch")
    axes.set_ylim(0, 1.25 * max((e.get("size", 1) for e in mine), default=1))  # room for the legend
    axes.legend(ncol=5, fontsize=8, loc="upper left")
    whys = Counter(e["why"] for e in mine)
    return Picture(figure, f"{runner}: " + ", ".join(f"{count} {why}" for why, count in whys.most_common()))
