"""BentoML's dispatcher alone, in this process, before a stand-in for a model, and people who ask. Times in seconds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from labs.helpers.load import twin

REFUSED = 0.02  # seconds until a refused person asks again: what the way of a request and its 503 takes at the least
TRAINING = 12  # the dispatcher looks at 11 calls before it decides by what it has learnt


@dataclass
class StandIn:
    """A model that computes n requests in `fixed + each * n` seconds, one batch at a time. `sizes`: its batches."""

    fixed: float
    each: float
    sizes: list[int] = field(default_factory=list)

    def seconds(self, n: int) -> float:
        return self.fixed + self.each * n

    async def compute(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        self.sizes.append(len(batch))
        await asyncio.sleep(self.seconds(len(batch)))
        return batch


@dataclass(frozen=True)
class Answer:
    """`at` since the load began; `wait` until it came; `good` unless it was a 503."""

    at: float
    wait: float
    good: bool


Ask = Callable[[], Awaitable[bool]]


def behind_dispatcher(model: StandIn, budget_ms: int, size: int) -> Ask:
    """Asks through BentoML's own dispatcher, with that max_latency_ms and max_batch_size; False is a 503."""
    dispatcher = import_module("bentoml._internal.marshal.dispatcher").CorkDispatcher
    made = dispatcher(budget_ms, size, fallback=lambda: None, get_batch_size=lambda _: 1)
    send = made(model.compute)

    async def ask() -> bool:
        return (await send(1)) is not None

    return ask


def without_batching(model: StandIn) -> Ask:
    """Asks one after the other, as a runner does whose batching is off."""
    lock = asyncio.Lock()

    async def ask() -> bool:
        async with lock:
            await model.compute((1,))
        return True

    return ask


async def train(ask: Ask) -> None:
    for _ in range(TRAINING):
        await ask()


async def timed(ask: Ask, began: float) -> Answer:
    sent = time.perf_counter()
    good = await ask()
    now = time.perf_counter()
    return Answer(now - began, now - sent, good)


async def closed_loop(ask: Ask, people: int, seconds: float) -> list[Answer]:
    """Each person asks, waits for the answer, and asks again."""
    began, answers = time.perf_counter(), list[Answer]()

    async def person() -> None:
        while time.perf_counter() - began < seconds:
            answers.append(await timed(ask, began))
            await asyncio.sleep(0 if answers[-1].good else REFUSED)

    await asyncio.gather(*[person() for _ in range(people)])
    return answers


async def strangers(ask: Ask, rate: float, seconds: float) -> list[Answer]:
    """People who know nothing of each other, `rate` a second on average."""
    began = time.perf_counter()

    async def person(due: float) -> Answer:
        await asyncio.sleep(due - (time.perf_counter() - began))
        return await timed(ask, began)

    return list(await asyncio.gather(*[person(due) for due in twin.strangers(rate, seconds)]))


async def lone(ask: Ask, times: int) -> float:
    """The median wait of someone who asks alone, some time after the last answer."""
    waits = []
    for _ in range(times):
        await asyncio.sleep(0.05)
        waits.append((await timed(ask, 0.0)).wait)
    return statistics.median(waits)


def share_refused(answers: list[Answer]) -> float:
    return sum(not a.good for a in answers) / len(answers)


def p95_ms(answers: list[Answer]) -> float:
    """Of the good ones."""
    waits = sorted(a.wait for a in answers if a.good)
    return 1000 * waits[int(0.95 * len(waits))] if waits else float("nan")


def mean(sizes: list[int]) -> float:
    return statistics.mean(sizes) if sizes else 0.0
