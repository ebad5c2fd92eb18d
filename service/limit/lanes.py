"""A lane for each worker of a runner: one kept connection, one call at a time. For classic services on BentoML 1.4.39.

BentoML's own client keeps up to 800 connections, and each stays with the worker that accepted it. With few calls in
flight one worker then has two of them and another none, and a core idles (upstream: issue 5426, uneven distribution
across workers). There is no setting for it, so this module speaks the runner's protocol itself.

Which worker accepted a connection, its answers say: the second `Server` header is BentoML-Runner/NAME/METHOD/WORKER. A
connection that reaches a worker which has a lane already is closed and another is tried.

What it costs: 100 lines that depend on private modules (bentoml._internal.runner.container, remote_runner_mapping)
and on that header, so each new version of BentoML needs tests/test_limit_live.py to pass. Workers of several pods
behind one address have equal names: there it keeps one lane for each name, and no more.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlparse

from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.runner.container import AutoContainer, Payload
from bentoml._internal.utils.uri import uri_to_path
from bentoml.exceptions import RemoteException, ServiceUnavailable
from gather import Gather, LaneLost

PATIENCE = 10.0  # seconds for one call; the API server itself answers 504 after 15
SOON, LATER, AGAIN = 0.02, 0.5, 10.0  # seconds until the next look for workers: at first, at most, when all are found
MIME = "application/vnd.bentoml."


class Wire:
    """One HTTP/1.1 connection to a runner, opened at the first call and never a second time."""

    def __init__(self, uri: str, method: str) -> None:
        self.uri, self.method = uri, method
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, argument: Any) -> tuple[str, Any]:
        """The worker's name and the method's result. Raises LaneLost, or what the runner answered."""
        try:
            async with asyncio.timeout(PATIENCE):
                return self.read(*await self.send(AutoContainer.to_payload(argument, batch_dim=0)))
        except (OSError, EOFError, TimeoutError, ValueError) as broken:
            self.close()
            raise LaneLost(f"{type(broken).__name__}: {broken}") from broken

    async def send(self, payload: Payload) -> tuple[int, dict[str, str], bytes]:
        reader, writer = self.streams = self.streams or await connect(self.uri)
        head = {
            "Host": "runner",
            "Args-Number": "1",
            "Payload-Container": payload.container,
            "Payload-Meta": json.dumps(payload.meta),
            "Batch-Size": str(payload.batch_size),
            "Content-Length": str(len(payload.data)),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"POST /{self.method} HTTP/1.1\r\n{lines}\r\n".encode() + payload.data)
        status, headers = parse_head(await reader.readuntil(b"\r\n\r\n"))
        return status, headers, await reader.readexactly(int(headers["content-length"]))

    def read(self, status: int, headers: dict[str, str], body: bytes) -> tuple[str, Any]:
        if status == 503:
            raise ServiceUnavailable(body.decode())
        kind = headers.get("content-type", "")
        if status != 200 or not kind.startswith(MIME):
            raise RemoteException(f"the runner answered {status}: {body[:200].decode(errors='replace')}")
        meta = json.loads(headers["bento-payload-meta"])
        result = AutoContainer.from_payload(Payload(body, meta, kind.removeprefix(MIME)))
        return headers["server"].rpartition("/")[2], result

    def close(self) -> None:
        if self.streams:
            self.streams[1].close()


async def connect(uri: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    place = urlparse(uri)
    if place.scheme == "tcp":
        return await asyncio.open_connection(place.hostname, place.port)
    return await asyncio.open_unix_connection(uri_to_path(uri))


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers; of a header that comes twice, the last one."""
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


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


def lanes_of(runner: Any, method: str, finish: Callable[[Any], Awaitable[Any]], **options: Any) -> Lanes:
    """The lanes of a runner of this service, by BentoML's own map of runners to addresses."""
    return Lanes(
        lambda: Wire(BentoMLContainer.remote_runner_mapping.get()[runner.name], method),
        runner.scheduled_worker_count,
        finish,
        **options,
    )
