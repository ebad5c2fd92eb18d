"""The open loop: requests leave at random times that were set beforehand, whoever still waits. Locust has none.

A request's wait counts from the time at which it should have been sent. A sender that counts from the time at which it
did send forgives a stalled server all that was held up meanwhile (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grader.world.load.log import Log, Request
from grader.world.load.sender import PATH, PATIENCE, Meter, send
from grader.world.load.sequential import Goal, judge
from grader.world.load.texts import pick


def run(
    url: str, rate: float, seconds: float = 15, first: int = 0, repeat: int = 0, seed: int = 0, connections: int = 0
) -> Log:
    """Sends `rate` requests a second on average for `seconds`, at times that `seed` decides. `connections` limits how
    many may be open (0: no limit), as a naive sender's do. Raises LabError for an address that is no place to
    measure."""
    options = {"url": url, "rate": rate, "seconds": seconds, "first": first, "repeat": repeat, "seed": seed}
    return send("poisson", {**options, "connections": connections})


def try_rate(url: str, rate: float, seconds: float, first: int, goal: Goal) -> Log:
    """Sends at that rate until it is clear whether the goal holds, for at most `seconds`; the log's sender says `holds`
    (or None when nothing could be judged), `late` and `errors`."""
    options = {"url": url, "rate": rate, "seconds": seconds, "first": first, "repeat": 0, "seed": first}
    return send("poisson", {**options, "connections": 0, "goal": asdict(goal)})


def schedule(rate: float, seconds: float, seed: int) -> Iterator[float]:
    """The times of a Poisson process: the pauses between them are exponential."""
    chance, at = random.Random(seed), 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        yield at


async def send_all(options: dict[str, Any]) -> Log:
    import aiohttp

    requests, dues, said = list[Request](), list[float](), 0.0
    goal = Goal(**options["goal"]) if options.get("goal") else None
    gate = asyncio.Semaphore(options["connections"] or 1_000_000)

    async def ask(number: int, due: float) -> None:
        async with gate:
            sent = time.monotonic() - meter.began
            text = pick(number, options["first"], options["repeat"])
            end = await post(client, options["url"] + PATH, text)
            requests.append(Request(number, due, sent, time.monotonic() - meter.began, end))

    limits = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limits) as client:
        meter, tasks = Meter(), []
        for number, due in enumerate(schedule(options["rate"], options["seconds"], options["seed"])):
            await asyncio.sleep(max(0, due - (time.monotonic() - meter.began)))
            tasks.append(asyncio.create_task(ask(number, due)))
            dues.append(due)
            if goal and due > said + 0.5:  # twice a second
                said = due
                if judge(goal, dues, requests, time.monotonic() - meter.began, last=False).holds is not None:
                    break
        sent = time.monotonic() - meter.began
        facts = {
            "loop": "open",
            "rate": options["rate"],
            "seconds": sent if goal else options["seconds"],
            **meter.read(),
        }
        if goal:
            await asyncio.sleep(goal.seconds)
            verdict = judge(goal, dues, requests, sent + goal.seconds, last=True)
            facts |= {"holds": verdict.holds, "late": verdict.late, "errors": verdict.errors}
        await asyncio.gather(*tasks)
    return Log(sorted(requests, key=lambda r: r.ended), facts)


async def post(client: Any, url: str, text: str) -> str:
    """The status of the answer, or in one word why there is none."""
    import aiohttp

    try:
        async with client.post(url, json={"texts": [text]}) as answer:
            await answer.read()
            return str(answer.status)
    except TimeoutError:
        return "timeout"
    except aiohttp.ClientConnectorError:
        return "refused"
    except aiohttp.ClientError as broken:
        return type(broken).__name__


if __name__ == "__main__":
    asyncio.run(send_all(json.loads(sys.argv[1]))).save(Path(sys.argv[2]))
