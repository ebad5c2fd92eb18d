"""What a load's sender itself uses: each asks a toy server that answers after 20 ms and computes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from grader.model import Facts
from grader.processes import free_port, listener, run, started, wait_until
from grader.world.load import closed
from labs.helpers.limit import rounds
from labs.helpers.limit.asker import Load
from labs.helpers.limit.contestant import Contestant

PAUSE = 0.02  # seconds until the toy answers
BODY = b'{"labels":["billing"],"scores":[0.71]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
WRK = 'wrk.method="POST" wrk.body=\'{"texts": ["My parcel to Lorabeti has not moved at the depot for days."]}\' '
WRK += 'wrk.headers["Content-Type"]="application/json"'


@dataclass(frozen=True)
class Toy:
    url: str
    mark: str
    problem: str = ""
    seconds: float = 0.0

    def log(self) -> str:
        return ""


@contextlib.contextmanager
def toy() -> Iterator[Toy]:
    port = free_port()
    with started([sys.executable, "-P", "-m", "labs.helpers.limit.senders", str(port)]) as (_, mark):
        ready = wait_until(lambda: listener(port) is not None, 20)
        yield Toy(f"http://127.0.0.1:{port}", mark, "" if ready else "the toy server did not start")


def measure(clients: int = 80, seconds: float = 4.0) -> dict[str, Facts]:
    """Sender -> requests a second, and milliseconds of a core for each request."""
    with toy() as server:
        load = Load(clients, seconds, 1.0)
        found = {"asker (ours)": of_asker(server, load), "Locust": of_locust(server, clients, seconds)}
        if shutil.which("wrk"):
            found["wrk"] = of_wrk(server, clients, seconds)
    return found


def told(rate: float, cores: float) -> Facts:
    return {"rate": round(rate, 1), "ms_a_request": round(1000 * cores / rate, 4)}


def of_asker(server: Toy, load: Load) -> Facts:
    seen = rounds.ask(Contestant("toy", "", toy), server, load, 1)
    return told(seen["rate"], seen["cores"][rounds.SENDER])


def of_locust(server: Toy, clients: int, seconds: float) -> Facts:
    log = closed.run(server.url, clients, seconds)
    return told(len(log) / seconds, log.sender["cpu"])


def of_wrk(server: Toy, clients: int, seconds: float) -> Facts:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "ask.lua"
        script.write_text(WRK)
        used = children_cpu()
        done = run(["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "-s", str(script), f"{server.url}/classify"], 60)
        used = children_cpu() - used
    rate = next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("Requests/sec"))
    return told(rate, used / seconds)


def children_cpu() -> float:
    """Of all children of ours that have ended."""
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


class Answering(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, _: bytes) -> None:
        asyncio.get_running_loop().call_later(PAUSE, self.transport.write, ANSWER)


async def answer(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(answer(int(sys.argv[1])))
