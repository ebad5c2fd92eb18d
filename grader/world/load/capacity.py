"""The highest rate of random arrivals at which the service keeps its goal: doubled until it does not, then bisected."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from grader.errors import LabError
from grader.world.load import poisson
from grader.world.load.sequential import Goal
from grader.world.load.servers import serving
from grader.world.load.settings import Setting

FIRST = 40.0  # requests a second
CLOSE = 1.05  # the bisection ends when the two rates are so near
SECONDS = 18.0  # of one trial, unless it is clear before
LIMIT = 300.0  # seconds for all of them
APART = 1_000_000  # texts of two trials are numbered so far apart

Say = Callable[[str], None]


@dataclass
class Capacity:
    """`holds` and `fails` are the highest rate that held the goal and the lowest that did not, requests a second."""

    goal: Goal
    holds: float = 0.0
    fails: float = math.inf
    seconds: float = 0.0
    trials: list[tuple[float, bool]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """In the middle of the two."""
        return math.sqrt(self.holds * self.fails) if self.holds and self.fails < math.inf else self.holds

    def told(self) -> str:
        p95, trials = f"p95 <= {1000 * self.goal.seconds:.0f} ms", f"{len(self.trials)} trials, {self.seconds:.0f} s"
        held = f"{self.holds:.0f} held {p95} with less than {self.goal.errors:.1%} errors, {self.fails:.0f} did not"
        return f"{self.rate:.0f} requests a second: {held} ({trials})"

    def note(self, rate: float, holds: bool) -> None:
        self.trials.append((rate, holds))
        if holds:
            self.holds = max(self.holds, rate)
        else:
            self.fails = min(self.fails, rate)


def find(url: str, goal: Goal, say: Say = lambda _: None, first: int = 0) -> Capacity:
    """Tries rates until the two are close, for at most five minutes. Raises LabError when even a lone request now and
    then is too slow, which is no question of capacity."""
    found, began = Capacity(goal), time.monotonic()
    while found.fails > CLOSE * found.holds and time.monotonic() - began < LIMIT:
        rate = next_rate(found)
        if rate < 1:
            raise LabError("Not one request a second keeps the goal.", "Choose a larger goal (--goal, milliseconds).")
        log = poisson.try_rate(url, rate, SECONDS, first + len(found.trials) * APART, goal)
        holds = bool(log.sender["holds"])
        found.note(rate, holds)
        word = "holds" if holds else "does not hold"
        late, errors = log.sender["late"], log.sender["errors"]
        say(f"{rate:.0f} a second {word}: {late:.1%} later than {1000 * goal.seconds:.0f} ms, {errors:.2%} errors")
    found.seconds = round(time.monotonic() - began, 1)
    return found


def next_rate(found: Capacity) -> float:
    if found.fails == math.inf:
        return 2 * found.holds or FIRST
    return math.sqrt(found.holds * found.fails) if found.holds else found.fails / 2


def find_in(service: Path, store: Path, size: int, goal_ms: float, say: Say) -> Capacity:
    """The capacity of a server that batches up to `size` requests and refuses none for being slow."""
    base = yaml.safe_load((service / "bentoml_configuration.yml").read_text())
    setting = Setting(f"{size}-10s", max_batch_size=size)
    with serving(setting, base, service, store) as server:
        poisson.run(server.url, FIRST, 5, first=2**40)  # the dispatchers learn
        return find(server.url, Goal(goal_ms / 1000), say)
