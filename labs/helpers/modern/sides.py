"""The classic and the modern form of one service under the same load, in turn, with every lost answer counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from grader.progress import Progress
from grader.world.asker import Parts, Runners, Services
from grader.world.load import closed
from grader.world.load.log import Log
from grader.world.load.summary import corrected, percentiles
from grader.world.servers import Served
from labs.helpers.charts.canvas import BLUE, ORANGE, Picture, canvas

_texts = count(100_000_000, 1_000_000)  # where a load's texts begin: no text is sent twice


@dataclass(frozen=True)
class Side:
    """What one form gave. Rates a second, waits in milliseconds; `lost` is a share of all its requests, from 0 to 1."""

    name: str
    good: float
    lost: float
    requests: int
    p50: float
    p95: float
    batch: float  # requests that the embedder computed together, on average
    ends: Mapping[str, int]


def parts_of(server: Served) -> Parts:
    """How that server's parts are found and what they count."""
    services = Services()
    services.find(server)
    return services if services.names else Runners()


def measure(servers: Mapping[str, Served], people: int = 30, seconds: float = 4.0, rounds: int = 2) -> list[Side]:
    """Lets `people` ask each server in turn, `rounds` times. What they ask before that, for two seconds, is not
    counted: a dispatcher learns from its first batches."""
    logs: dict[str, list[Log]] = {name: [] for name in servers}
    with Progress("asking both in turn"):
        for server in servers.values():
            closed.run(server.url, users=people, seconds=2, first=next(_texts))
        before = {name: batches(server) for name, server in servers.items()}
        for _ in range(rounds):
            for name, server in servers.items():
                logs[name].append(closed.run(server.url, users=people, seconds=seconds, first=next(_texts)))
    return [summed(name, logs[name], mean_batch(before[name], batches(servers[name]))) for name in servers]


def batches(server: Served) -> np.ndarray:
    """[batches, requests in them] of the part that embeds, since the server's start."""
    found = parts_of(server).batches(server)
    return np.array(next((found[name] for name in found if "embed" in name.lower()), [0, 0]))


def mean_batch(before: np.ndarray, after: np.ndarray) -> float:
    made, requests = after - before
    return float(requests / made) if made else 0.0


def summed(name: str, logs: list[Log], batch: float) -> Side:
    """All rounds as one."""
    log = Log([request for part in logs for request in part.requests])
    good = Log([request for request in log.requests if request.end == "200"])
    seconds = sum(float(part.sender["seconds"]) for part in logs)
    p50, p95 = percentiles(corrected(good), 50, 95)
    lost = 1 - len(good) / max(len(log), 1)
    return Side(name, len(good) / seconds, lost, len(log), p50, p95, batch, log.ends())


def draw(sides: list[Side], title: str = "Which form gives more good answers?") -> Picture:
    """Two bars a form: what was answered with 200, and, hatched, what ended otherwise."""
    figure, axes = canvas(title, 8.5, 1.2 + 0.7 * len(sides))
    for row, side in enumerate(sides):
        bad = side.good * side.lost / max(1 - side.lost, 1e-9)
        axes.barh(row, side.good, height=0.5, color=BLUE, edgecolor=BLUE)
        axes.barh(row, bad, left=side.good, height=0.5, color="white", edgecolor=ORANGE, hatch="////")
        axes.text(side.good + bad, row, f"  {side.good:.0f} good, {side.lost:.1%} lost", va="center", fontsize=9)
    axes.set_yticks(range(len(sides)), [side.name for side in sides])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.45 * max(side.good / max(1 - side.lost, 1e-9) for side in sides))
    axes.set_xlabel("answers a second (hatched: ended with another status than 200)")
    return Picture(figure, finding(sides))


def finding(sides: list[Side]) -> str:
    return " ".join(line(side) for side in sides)


def line(side: Side) -> str:
    ends = ", ".join(f"{number} x {end}" for end, number in side.ends.items())
    return (
        f"{side.name}: {side.good:.0f} good answers a second, half of them within {side.p50:.0f} ms, 95% within "
        f"{side.p95:.0f} ms, {side.batch:.1f} requests a batch; {ends}."
    )
