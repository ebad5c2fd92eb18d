"""Joins what several callers ask at about the same time into one call. The whole of adaptive batching that a team needs
who has one model, one process and no deadline: while a call computes, the next one's items gather."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Batcher:
    """`compute` gets a list of items and gives one result each, in order; one call at a time, in its own thread."""

    def __init__(self, compute: Callable[[list[Any]], Sequence[Any]], largest: int) -> None:
        self.compute, self.largest = compute, largest
        self.waiting: asyncio.Queue[tuple[Any, asyncio.Future[Any]]] = asyncio.Queue()
        self.thread = ThreadPoolExecutor(1)

    async def ask(self, item: Any) -> Any:
        """That item's result. Raises what `compute` raised for the call that it was in."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.put_nowait((item, answer))
        return await answer

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < self.largest and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            await self.answer(batch)

    async def answer(self, batch: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self.thread, self.compute, [item for item, _ in batch])
            pairs = list(zip(batch, results, strict=True))
        except Exception as broken:
            for _, answer in batch:
                if not answer.done():  # done: its caller went away
                    answer.set_exception(broken)
            return
        for (_, answer), result in pairs:
            if not answer.done():
                answer.set_result(result)
