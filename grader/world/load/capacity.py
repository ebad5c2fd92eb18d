"""The highest rate of random arrivals at which the service keeps its goal: doubled until it does not, bisected, then
followed on stairs: a step up after each trial that holds, a step down after each that does not.

Near the capacity it is partly chance whether 18 seconds hold the goal. A bisection believes each trial for good, and
ends wherever the first wrong one sends it. Stairs climb back, and their mean is more exact than any one trial (the
up-and-down method, Dixon and Mood 1948).

A trial that failed spoils the next on the same server: the dispatcher goes on waiting for as long as it learnt to in
the overload (lab 07 shows it on a lone request). So the next one and every trial on the stairs get a fresh server.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from grader.errors import LabError
from grader.world.load import poisson
from grader.world.load.measure import Cpu
from grader.world.load.sequential import Goal
from grader.world.load.servers import Measured, serving
from grader.world.load.settings import Setting

FIRST = 40.0  # requests a second
CLOSE = 1.2  # the bisection ends when the two rates are so near
STEP = 1.05
STAIRS = 6  # trials
SECONDS = 18.0  # of one trial, unless it is clear before
LIMIT = 315.0  # seconds; no trial begins later
APART = 1_000_000  # texts of two trials are numbered so far apart

Say = Callable[[str], None]


@dataclass
class Capacity:
    """`holds` and `fails` are the highest rate that held the goal and the lowest that did not, requests a second,
    before the stairs; `stairs` the rates on them, with the one that would come next."""

    goal: Goal
    holds: float = 0.0
    fails: float = math.inf
    seconds: float = 0.0
    trials: list[tuple[float, bool]] = field(default_factory=list)
    stairs: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)  # cores that other programs used, of each trial

    @property
    def bracketed(self) -> bool:
        return self.fails <= CLOSE * self.holds

    @property
    def spoilt(self) -> bool:
        """Whether the next trial needs a fresh server."""
        return not self.trials or not self.trials[-1][1] or bool(self.stairs)

    @property
    def over(self) -> bool:
        return len(self.stairs) > STAIRS

    @property
    def turned(self) -> list[float]:
        """The stairs from their first turn on: what leads there says only where they began."""
        outcomes = [holds for _, holds in self.trials[len(self.trials) - len(self.stairs) + 1 :]]
        turn = next((i for i, holds in enumerate(outcomes) if holds != outcomes[0]), len(outcomes))
        return self.stairs[turn:]

    @property
    def rate(self) -> float:
        """The mean of the stairs; without any, the middle of the two."""
        if self.stairs:
            return math.exp(statistics.fmean(math.log(rate) for rate in self.turned))
        return math.sqrt(self.holds * self.fails) if self.holds and self.fails < math.inf else self.holds

    def told(self) -> str:
        p95, trials = f"p95 <= {1000 * self.goal.seconds:.0f} ms", f"{len(self.trials)} trials, {self.seconds:.0f} s"
        told = f"{self.rate:.0f} requests a second hold {p95} with less than {self.goal.errors:.1%} errors"
        if len(self.stairs) < 2:
            return f"{told}; {self.holds:.0f} held it, {self.fails:.0f} did not ({trials})"
        tried = self.stairs[:-1]
        return f"{told}; the last {len(tried)} trials were at {min(tried):.0f} to {max(tried):.0f} ({trials})"

    def disturbed(self) -> str:
        """How much of the machine was not the service's, in words; empty for under a tenth of a core."""
        cores = statistics.median(self.others) if self.others else 0.0
        return f"Other programs used {cores:.1f} cores meanwhile; without them it is more." if cores >= 0.1 else ""

    def note(self, rate: float, holds: bool) -> None:
        self.trials.append((rate, holds))
        if self.stairs:
            self.stairs.append(rate * STEP if holds else rate / STEP)
        elif holds:
            self.holds = max(self.holds, rate)
        else:
            self.fails = min(self.fails, rate)
        if self.bracketed and not self.stairs:
            self.stairs.append(math.sqrt(self.holds * self.fails))


def find(serve: Callable[[], Measured], goal: Goal, say: Say = lambda _: None, first: int = 0) -> Capacity:
    """Tries rates until the stairs are long enough, for at most some five minutes. `serve()` gives a server that was
    never overloaded. Raises LabError when even a lone request now and then is too slow, which is no question
    of capacity."""
    found, began = Capacity(goal), time.monotonic()
    while not found.over and time.monotonic() - began < LIMIT:
        rate = next_rate(found)
        if rate < 1:
            raise LabError("Not one request a second keeps the goal.", "Choose a larger goal (--goal, milliseconds).")
        if found.spoilt:
            server = serve()
        with Cpu(server) as cpu:
            log = poisson.try_rate(server.url, rate, SECONDS, first + len(found.trials) * APART, goal)
        found.others.append(max(0.0, cpu.facts["others"] - log.sender["cpu"]))
        holds = bool(log.sender["holds"])
        found.note(rate, holds)
        word = "holds" if holds else "does not hold"
        late, errors = log.sender["late"], log.sender["errors"]
        say(f"{rate:.0f} a second {word}: {late:.1%} later than {1000 * goal.seconds:.0f} ms, {errors:.2%} errors")
    found.seconds = round(time.monotonic() - began, 1)
    return found


def next_rate(found: Capacity) -> float:
    if found.stairs:
        return found.stairs[-1]
    if found.fails == math.inf:
        return 2 * found.holds or FIRST
    return math.sqrt(found.holds * found.fails) if found.holds else found.fails / 2


def find_in(service: Path, store: Path, size: int, goal_ms: float, say: Say) -> Capacity:
    """The capacity of a server that batches up to `size` requests and refuses none for being slow."""
    base = yaml.safe_load((service / "bentoml_configuration.yml").read_text())
    setting = Setting(f"{size}-10s", max_batch_size=size)
    with contextlib.ExitStack() as running:

        def serve() -> Measured:
            running.close()
            server = running.enter_context(serving(setting, base, service, store))
            poisson.run(server.url, FIRST, 3, first=2**40)  # the dispatchers learn
            return server

        return find(serve, Goal(goal_ms / 1000), say)
