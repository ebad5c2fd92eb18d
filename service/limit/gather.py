"""Gathers the texts of many requests into few calls. It knows nothing of BentoML: any object with `call` is a lane.

A request's text waits only while every lane is busy; then it goes with the others that wait. No timer, no window: a
lone caller never waits for company, and a crowd finds its batch size by itself.

A call takes at most one share of the texts that are inside: with n lanes, 1/(n+1). While n calls are computed, the last
share waits, so a lane that ends has its next call ready. Calls larger than that leave nobody to wait, and lanes idle.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol


class LaneLost(Exception):
    """The way to a worker broke: what was called is called again, once, on another lane."""


class Lane(Protocol):
    """Where one call at a time can go. `call` raises LaneLost when nothing can go there any more."""

    async def call(self, texts: list[str]) -> Any: ...


class Text:
    """One text that somebody waits for."""

    __slots__ = ("answer", "text", "tries")

    def __init__(self, text: str, answer: "asyncio.Future[Any]") -> None:
        self.text, self.answer, self.tries = text, answer, 0


class Gather:
    """`finish(rows)` makes the answers of a call's result, one a text; by then its lane is free for the next call.

    `lost(lane)` is told of a lane that broke, `seen(count)` of each call's texts.
    """

    def __init__(
        self,
        finish: Callable[[Any], Awaitable[Sequence[Any]]],
        most: int = 32,
        lost: Callable[[Any], None] = lambda _: None,
        seen: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.finish, self.most, self.lost, self.seen = finish, most, lost, seen
        self.lanes: set[Lane] = set()
        self.free: deque[Lane] = deque()
        self.waiting: deque[Text] = deque()
        self.inside = 0  # texts that were asked for and are not answered
        self.running: set[asyncio.Task[None]] = set()  # a task that nobody holds may be collected
        self.woken = False

    async def ask(self, texts: Sequence[str]) -> list[Any]:
        """One answer for each text, in order. Raises what the call raised."""
        loop = asyncio.get_running_loop()
        mine = [Text(text, loop.create_future()) for text in texts]
        self.waiting.extend(mine)
        self.inside += len(mine)
        self.wake()
        try:
            if len(mine) == 1:  # what most ask; asyncio.gather would take longer than all the rest here
                return [await mine[0].answer]
            return await asyncio.gather(*(one.answer for one in mine))
        finally:
            self.inside -= len(mine)
            for one in mine:  # of a request that was given up
                one.answer.cancel()

    def add(self, lane: Lane) -> None:
        self.lanes.add(lane)
        self.free.append(lane)
        self.wake()

    def wake(self) -> None:
        # At the end of this turn of the loop, when all requests that it has read are here.
        if not self.woken:
            self.woken = True
            asyncio.get_running_loop().call_soon(self.send)

    def send(self) -> None:
        self.woken = False
        while self.waiting and self.free:
            if batch := self.take():
                task = asyncio.get_running_loop().create_task(self.run(self.free.popleft(), batch))
                self.running.add(task)
                task.add_done_callback(self.running.discard)

    def take(self) -> list[Text]:
        """The texts of the next call, those first that wait longest."""
        share = -(-self.inside // (len(self.lanes) + 1))
        size, batch = min(self.most, max(1, share)), []
        while self.waiting and len(batch) < size:
            one = self.waiting.popleft()
            if not one.answer.done():
                batch.append(one)
        return batch

    async def run(self, lane: Lane, batch: list[Text]) -> None:
        self.seen(len(batch))
        try:
            rows = await lane.call([one.text for one in batch])
        except LaneLost as broken:
            self.lanes.discard(lane)
            self.lost(lane)
            return self.again(batch, broken)
        except Exception as wrong:
            self.release(lane)
            return fail(batch, wrong)
        self.release(lane)
        try:
            for one, answer in zip(batch, await self.finish(rows), strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)
        except Exception as wrong:
            fail(batch, wrong)

    def release(self, lane: Lane) -> None:
        self.free.append(lane)
        self.send()

    def again(self, batch: list[Text], broken: LaneLost) -> None:
        """Embedding twice harms nothing, so a text whose lane broke goes once more, before all others."""
        fail([one for one in batch if one.tries], broken)
        for one in reversed([one for one in batch if not one.tries]):
            one.tries = 1
            self.waiting.appendleft(one)
        self.wake()


def fail(batch: list[Text], wrong: Exception) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(wrong)
