"""The dispatcher's twin: BentoML's batching played in this kernel. Change a number, predict, play, then measure.

    play(Service(a=0.002, b=0.013, visit=0.0013), Setting(size=32, budget=10.0, connections=64)).goodput

A person asks, waits and asks again. The API process handles one thing at a time; at most `connections` of its requests
are at the runner. There the dispatcher (`turn`, after bentoml/_internal/marshal/dispatcher.py of 1.4.39) refuses what
it expects to be late, and starts one batch at a time. All share the machine's cores, so a batch is held up while the
API process works. Left out: the classifier's own batches, lost connections, other programs.
All times are in seconds.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

TICK = 0.0011  # the dispatcher sleeps 1 ms between two looks at its queue, and wakes a little late
LEARNS_EACH = 5.0  # seconds; from its last 50 batches
STEADY = 12  # how much alike are the times of two batches of one size: they differ by 1 / sqrt(12)
TRAINING = 8  # batches; it learns from each, and refuses nobody who may still be in time

Request = tuple[float, bool]  # asked when; whether that person asks again
Queued = tuple[float, Request]  # came to the runner when


@dataclass(frozen=True)
class Service:
    """One model on one machine: a batch of n alone takes a * n + b; a piece of work takes the API process a `visit`, on
    average. The fit finds these three. The others were measured on two cores: what sharing a machine costs."""

    a: float
    b: float
    visit: float
    steal: float = 0.71  # of the time that the API process works while a batch is computed, the batch loses so much
    sends: float = 0.95  # visits for each answer that the runner sends, 503s too, before it begins the next batch
    onward: float = 1.1  # visits for what follows a 200: the classifier's call and the caller's answer
    evenness: float = 0.2  # of the API process's work: 1 is a queue's usual chance; less is bursts and longer pauses


@dataclass(frozen=True)
class Setting:
    size: int = 100  # max_batch_size
    budget: float = 60.0  # max_latency_ms / 1000
    connections: int = 16  # api_server.max_runner_connections
    enabled: bool = True


@dataclass
class Dispatcher:
    """`a`, `b` and `wait` are what it believes; it learns them from the batches that it saw."""

    setting: Setting
    a: float
    b: float
    wait: float = 0.0
    queue: deque[Queued] = field(default_factory=deque)
    seen: deque[tuple[int, float, float]] = field(default_factory=lambda: deque(maxlen=50))
    busy: bool = False
    next_lesson: float = LEARNS_EACH

    def turn(self, now: float) -> tuple[list[Request], list[Queued]]:
        """One turn of its loop: whom it refuses, and the batch that it starts; both may be empty."""
        refused: list[Request] = []
        left = max(0, TRAINING - len(self.seen))
        while self.queue and self.setting.enabled:
            n, first, last = len(self.queue), now - self.queue[0][0], now - self.queue[-1][0]
            late = n > max(1, left) and first + (0 if left else self.a * n + self.b) >= self.setting.budget
            if late or (self.busy and n == 1 and first >= self.setting.budget):
                refused.append(self.queue.popleft()[1])  # 503
            elif self.busy or (n < self.setting.size and n * (last + 0.001 + self.a) <= 0.95 * self.wait):
                return (
                    refused,
                    [],
                )  # it computes, or waits for company: for as long as it has learnt, whatever the budget
            else:
                break
        most = 0 if self.busy else self.setting.size if self.setting.enabled else 1
        return refused, [self.queue.popleft() for _ in range(min(most, len(self.queue)))]

    def learn(self, now: float, n: int, took: float, waited: float) -> None:
        self.seen.append((n, took, waited if len(self.seen) >= TRAINING else 0.0))
        due = now >= self.next_lesson
        if due:
            self.next_lesson = now + LEARNS_EACH
        if due or len(self.seen) <= TRAINING:
            sizes, times, waits = zip(*self.seen, strict=True)
            line = np.linalg.lstsq(np.array([sizes, np.ones(len(sizes))]).T, np.array(times), rcond=None)[0]
            self.a, self.b, self.wait = max(1e-6, float(line[0])), max(0.0, float(line[1])), float(np.mean(waits))


@dataclass(frozen=True)
class Played:
    """Answers as (moment, seconds waited, status), batches as (moment, size); the figures leave the warm-up out."""

    seconds: float
    warm_up: float
    answers: list[tuple[float, float, int]] = field(default_factory=list)
    batches: list[tuple[float, int]] = field(default_factory=list)

    def statuses(self) -> list[int]:
        return [status for moment, _, status in self.answers if moment >= self.warm_up]

    def waits(self) -> list[float]:
        """Of those who were answered with 200, after the warm-up."""
        return [wait for moment, wait, status in self.answers if moment >= self.warm_up and status == 200]

    @property
    def goodput(self) -> float:
        """Answers with 200 a second."""
        return len(self.waits()) / self.seconds

    @property
    def refused(self) -> float:
        """The share of 503s, 0 to 1."""
        statuses = self.statuses()
        return statuses.count(503) / len(statuses) if statuses else 0.0

    @property
    def mean_batch(self) -> float:
        sizes = [size for began, size in self.batches if began >= self.warm_up]
        return float(np.mean(sizes)) if sizes else 0.0

    def percentile(self, share: float) -> float:
        return float(np.quantile(self.waits(), share)) if self.waits() else float("nan")

    def __str__(self) -> str:
        told = f"mean batch {self.mean_batch:.1f}, {self.goodput:.0f} good answers a second"
        return f"{told}, p95 {1000 * self.percentile(0.95):.0f} ms, {self.refused:.0%} refused"


class Twin:
    """The people, the API process, the connections, the dispatcher and the runner, event after event."""

    def __init__(self, service: Service, setting: Setting, played: Played, until: float, seed: int) -> None:
        self.service, self.setting, self.played, self.until = service, setting, played, until
        self.dispatcher = Dispatcher(setting, service.a, service.b)
        self.chance, self.order, self.now = np.random.default_rng(seed), count(), 0.0
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.waiting: deque[Request] = deque()  # for one of the connections
        self.open = self.refused = 0
        self.api_free = self.began = self.ready = 0.0
        self.ticks = False

    def at(self, when: float, act: Callable[..., None], *given: Any) -> None:
        heapq.heappush(self.events, (when, next(self.order), act, given))

    def through_api(self, visits: float, act: Callable[..., None], *given: Any) -> None:
        """Acts when the API process has done this work too. None takes the same time twice: much is done in a burst."""
        even = self.service.evenness
        took = self.service.visit * self.chance.gamma(visits * even) / even
        self.api_free = max(self.now, self.api_free) + took
        self.at(self.api_free, self.visited, took, act, *given)

    def visited(self, took: float, act: Callable[..., None], *given: Any) -> None:
        """The two processes share the cores: a batch that is computed meanwhile gets ready later."""
        self.ready += self.service.steal * min(took, self.now - self.began)
        act(*given)

    def ask(self, again: bool) -> None:
        self.through_api(1, self.wait_for_connection, (self.now, again))

    def wait_for_connection(self, request: Request) -> None:
        self.waiting.append(request)
        self.look()

    def look(self) -> None:
        while self.waiting and self.open < self.setting.connections:
            self.open += 1
            self.dispatcher.queue.append((self.now, self.waiting.popleft()))
        refused, batch = self.dispatcher.turn(self.now)
        self.refused += len(refused)
        for request in refused:
            self.through_api(1, self.let_go, request, 503)
        if batch:
            self.start(batch)
        if self.dispatcher.queue and not self.ticks:
            self.ticks = True
            self.at(self.now + TICK, self.tick)

    def tick(self) -> None:
        self.ticks = False
        self.look()

    def start(self, batch: list[Queued]) -> None:
        self.dispatcher.busy, self.began = True, self.now
        alone = self.service.a * len(batch) + self.service.b
        self.ready = self.now + alone * self.chance.gamma(STEADY, 1 / STEADY)
        self.at(self.ready, self.end, batch)

    def end(self, batch: list[Queued]) -> None:
        if self.now < self.ready:  # it was held up meanwhile
            return self.at(self.ready, self.end, batch)
        self.dispatcher.learn(self.now, len(batch), self.now - self.began, self.began - batch[0][0])
        self.played.batches.append((self.began, len(batch)))
        for _, request in batch:
            self.through_api(1, self.let_go, request, 200)
        sending = self.service.sends * self.service.visit * (len(batch) + self.refused) * self.setting.enabled
        self.at(self.now + sending * self.chance.exponential(), self.rest)

    def rest(self) -> None:
        """The runner's one loop has sent all answers and looks at its queue again."""
        self.refused = 0
        self.dispatcher.busy = False
        self.look()

    def let_go(self, request: Request, status: int) -> None:
        """The API process has read the runner's answer, so its connection is free; a 200 goes on to the classifier."""
        self.open -= 1
        if status == 200:
            self.through_api(self.service.onward, self.answer, request, status)
        else:
            self.answer(request, status)
        self.look()

    def answer(self, request: Request, status: int) -> None:
        asked, again = request
        self.played.answers.append((self.now, self.now - asked, status))
        if again and self.now < self.until:
            self.ask(again)


def play(
    service: Service, setting: Setting, people: int = 80, arrivals: Sequence[float] = (), seconds: float = 20.0,
    warm_up: float = 10.0, until: float = 1e9, seed: int = 7,
) -> Played:  # fmt: skip
    """What `people` see who ask again and again until that moment; at each of `arrivals` one more asks once."""
    twin = Twin(service, setting, Played(seconds, warm_up), until, seed)
    for person in range(people):
        twin.at(0.0001 * person, twin.ask, True)
    for moment in arrivals:
        twin.at(moment, twin.ask, False)
    while twin.events and twin.events[0][0] < warm_up + seconds:
        twin.now, _, act, given = heapq.heappop(twin.events)
        act(*given)
    return twin.played


def strangers(rate: float, seconds: float = 15.0, seed: int = 7) -> list[float]:
    """Moments at which people ask who know nothing of each other: `rate` a second on average."""
    pauses = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
    return [float(moment) for moment in np.cumsum(pauses)]
