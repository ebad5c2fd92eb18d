"""One connection to a worker of a runner, in the runner's own protocol. For classic services on BentoML 1.4.39.

Which worker accepted it, its answers say: the second `Server` header is BentoML-Runner/NAME/METHOD/WORKER.

What it costs: these lines depend on private modules (bentoml._internal.runner.container, remote_runner_mapping) and on
that header, so each new version of BentoML needs tests/test_limit_live.py to pass. Workers of several pods behind one
address have equal names: there `Lanes` keeps one lane for each name, and no more.
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
from lanes import LaneLost, Lanes

PATIENCE = 10.0  # seconds for one call; the API server itself answers 504 after 15
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


def lanes_of(runner: Any, method: str, finish: Callable[[Any], Awaitable[Any]], **options: Any) -> Lanes:
    """The lanes of a runner of this service, by BentoML's own map of runners to addresses."""
    return Lanes(
        lambda: Wire(BentoMLContainer.remote_runner_mapping.get()[runner.name], method),
        runner.scheduled_worker_count,
        finish,
        **options,
    )
