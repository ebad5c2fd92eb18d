"""Keeps a lane for each worker of a runner: one kept connection, one call at a time. It knows nothing of BentoML.

BentoML's own client keeps up to 800 connections, and each stays with the worker that accepted it. With few calls in
flight one worker then has two of them and another none, and a core idles (upstream: issue 5426, uneven distribution
across workers). A connection that reaches a worker which has a lane already is closed, and another is tried.

With several API processes each has lanes of its own, so a worker then has as many calls as there are API processes.

Workers that die are left, those that start again or are added are found: a look every 10 s when all are there, 50 a
second at first when one is missed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gather import Gather, LaneLost

SOON, LATER, AGAIN = 0.02, 0.5, 10.0  # seconds until the next look for workers: at first, at most, when all are found

__all__ = ["LaneLost", "Lanes", "WorkerLane"]


class WorkerLane:
    def __init__(self, wire: Any, worker: str) -> None:
        self.wire, self.worker = wire, worker

    async def call(self, texts: list[str]) -> Any:
        """The rows of these texts, which are one item for the runner (see runnable.py)."""
        _, (rows,) = await self.wire.ask([texts])
        return rows


class Lanes:
    """Keeps a lane for each worker in `gather`: those that die are left, new ones are found, whenever they come.

    `open_wire()` gives a connection that was not used yet; `expected`: how many workers there should be.
    """

    def __init__(
        self,
        open_wire: Callable[[], Any],
        expected: int,
        finish: Callable[[Any], Awaitable[Any]],
        seen: Callable[[int], None] = lambda _: None,
        again: float = AGAIN,
    ) -> None:
        self.open_wire, self.expected, self.again = open_wire, expected, again
        self.gather = Gather(finish, lost=self.leave, seen=seen)
        self.known: dict[str, WorkerLane] = {}
        self.missed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to look for workers, in the loop that runs now."""
        self.task = asyncio.get_running_loop().create_task(self.look_on())

    async def look_on(self) -> None:
        pause = SOON
        while True:
            found = await self.look()
            complete = len(self.known) >= self.expected
            pause = self.again if complete else SOON if found else min(2 * pause, LATER)
            self.missed.clear()
            try:
                await asyncio.wait_for(self.missed.wait(), pause)
                pause = SOON
            except TimeoutError:
                continue

    async def look(self) -> bool:
        """Tries one new connection: whether it led to a worker that had no lane. One short text is what it costs."""
        wire = self.open_wire()
        try:
            worker, _ = await wire.ask([["hello"]])
        except Exception:  # not up yet, or on its way out: the next look will tell
            wire.close()
            return False
        if worker in self.known:
            wire.close()
            return False
        self.known[worker] = WorkerLane(wire, worker)
        self.gather.add(self.known[worker])
        return True

    def leave(self, lane: WorkerLane) -> None:
        lane.wire.close()
        if self.known.get(lane.worker) is lane:
            del self.known[lane.worker]
        self.missed.set()
