"""Releases of stand_in.py, one after the other behind a front that shares requests out by weight: the gate decides, the
front switches, the release that is left finishes what is under way and ends. `table()` says what became of each.

    python tests/stand_in_releases.py 40        # 20 good and 20 bad; about 35 s
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grader.world.gate import GO_ON, PROMOTE, Decision, Gate, Rules, Seen, visit
from grader.world.releases import TEXTS

SERVER = Path(__file__).with_name("stand_in.py")
FAULTS = ("crash", "labels", "errors", "slow")
RATE, SHARE = 350.0, 0.5  # requests a second; the share that the new release gets while it is tried
RULES = Rules(seconds=30)
AT_ONCE = 3


@dataclass
class Request:
    port: int = 0
    status: int = 0  # 0: no answer
    ended: float = 0.0


@dataclass
class Front:
    """Passes each connection on to the stable release or, with the probability `share`, to the new one."""

    stable: int
    new: int
    chance: random.Random
    share: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def pick(self) -> int:
        return self.new if self.chance.random() < self.share else self.stable

    def open_to(self, port: int) -> int:
        return sum(r.port == port and not r.ended for r in self.requests[-2000:])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
        one = Request(self.pick())
        self.requests.append(one)
        with contextlib.suppress(OSError, ValueError, IndexError):
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", one.port)
            back_writer.write(head + body)
            answer = await back_reader.read()
            one.status = int(answer.split(b" ", 2)[1])
            writer.write(answer)
            back_writer.close()
        one.ended = time.monotonic()
        writer.close()


async def ask(port: int, text: str) -> None:
    """One caller. What was answered, the front has in its books."""
    body = json.dumps({"texts": [text]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /classify HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await reader.read()
    writer.close()


async def ask_on(port: int, chance: random.Random) -> None:
    """Callers come at random times, whoever still waits, until they are cancelled."""
    texts, asked = list(TEXTS), set[asyncio.Task[None]]()
    at = time.monotonic()
    try:
        while True:
            at += chance.expovariate(RATE)
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            asked.add(task := asyncio.create_task(ask(port, chance.choice(texts))))
            task.add_done_callback(asked.discard)
    finally:
        await asyncio.gather(*asked, return_exceptions=True)


@dataclass(frozen=True)
class Row:
    """What became of one release. `cost`: requests that the tried release failed; `lost`: those lost by the switch."""

    fault: str
    decision: Decision
    requests: int
    cost: int
    lost: int

    @property
    def right(self) -> bool:
        return (self.decision.what == PROMOTE) == (self.fault == "good")


@contextlib.asynccontextmanager
async def server(fault: str, seed: int) -> AsyncIterator[tuple[int, subprocess.Popen[str]]]:
    """The port and the process of a release that listens."""
    command = [sys.executable, "-I", str(SERVER), fault, str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield int(await asyncio.to_thread(process.stdout.readline)), process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


async def release(fault: str, seed: int) -> Row:
    """A stable release serves; the new one, with that fault, is tried, and promoted or rolled back."""
    chance = random.Random(seed)
    async with server("good", seed) as (stable, old), server(fault, seed + 1) as (new, young):
        front = Front(stable, new, chance)
        async with await asyncio.start_server(front.serve, "127.0.0.1", 0, backlog=1000) as listening:
            callers = asyncio.create_task(ask_on(listening.sockets[0].getsockname()[1], chance))
            await asyncio.sleep(0.5)
            front.share = SHARE
            decision = await decide(stable, new)
            switched = time.monotonic()
            left, leaving = (stable, old) if decision.what == PROMOTE else (new, young)
            front.share = 1.0 if decision.what == PROMOTE else 0.0
            while front.open_to(left):
                await asyncio.sleep(0.02)
            leaving.terminate()
            await asyncio.sleep(0.3)
            callers.cancel()
            await asyncio.gather(callers, return_exceptions=True)
    return count(fault, decision, front, switched)


async def decide(stable: int, new: int) -> Decision:
    """In a thread, since the gate's looks wait for their answers."""
    gate = Gate(RULES)
    while True:
        seen: list[Seen] = []
        for is_new, name, port in ((False, "stable", stable), (True, "new", new)):
            seen.append(await asyncio.to_thread(visit, is_new, name, f"http://127.0.0.1:{port}"))
        if (decision := gate.look(seen, time.monotonic())).what != GO_ON:
            return decision
        await asyncio.sleep(0.15)


def count(fault: str, decision: Decision, front: Front, switched: float) -> Row:
    failed = [r for r in front.requests if r.status != 200]
    own = [r for r in failed if r.port == front.new and fault in ("crash", "errors")]
    lost = [r for r in failed if r.ended > switched and r not in own]
    return Row(fault, decision, len(front.requests), len(failed) - len(lost), len(lost))


async def release_all(faults: Sequence[str], seed: int = 1) -> list[Row]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, fault: str) -> Row:
        async with places:
            return await release(fault, seed + 1000 * number)

    return list(await asyncio.gather(*(one(number, fault) for number, fault in enumerate(faults))))


def faults_of(number: int) -> list[str]:
    """Half of them good, the other half bad in turn."""
    return [FAULTS[i // 2 % 4] if i % 2 else "good" for i in range(number)]


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| release | promoted | rolled back | median s | longest s | requests | its own failures | lost by the switch |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for fault in ("good", *FAULTS):
        mine = [r for r in rows if r.fault == fault]
        seconds = sorted(r.decision.seconds for r in mine) or [0.0]
        promoted = sum(r.decision.what == PROMOTE for r in mine)
        sums = [sum(getattr(r, name) for r in mine) for name in ("requests", "cost", "lost")]
        middle = seconds[len(seconds) // 2]
        cells = [fault, promoted, len(mine) - promoted, middle, seconds[-1], *sums]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    began = time.monotonic()
    rows = asyncio.run(release_all(faults_of(int(sys.argv[1])), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
    print(table(rows), f"\n{time.monotonic() - began:.0f} s")
    print(*(f"{r.fault}: {r.decision.told()}" for r in rows if not r.right or r.lost), sep="\n")
