"""Small experiments of lab 07 on a server that `%%shell --serve NAME` keeps: a lone asker, a frozen runner, a burst."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import psutil

from grader.processes import carriers
from grader.world.load import metrics, texts
from grader.world.load.log import Log
from grader.world.metrics import fetch
from grader.world.servers import role_of
from labs.helpers.teaching.serve import find_server

EMBEDDER = "embeddingrunner"


def told(name: str, log: Log, edges: str = "") -> str:
    """A load in a line: answers a second by how they ended, the median wait of those with 200, the largest batches."""
    seconds = log.sender["seconds"]
    within = log.between(0, seconds)
    ends = ", ".join(f"{count / seconds:.0f} x {end}" for end, count in within.ends().items())
    line = f"{name:<16}{ends} a second, half of the 200s within {1000 * median_wait(within):.0f} ms"
    return f"{line}; {edges}" if edges else line


def median_wait(log: Log) -> float:
    """Seconds; of the answers with 200."""
    waits = [r.ended - r.scheduled for r in log.requests if r.end == "200"]
    return statistics.median(waits) if waits else float("nan")


def share(log: Log, end: str) -> float:
    """The share of requests that ended so, 0 to 1."""
    return log.ends().get(end, 0) / max(1, len(log))


def largest_batches(url: str) -> str:
    """The last edge of each runner's histogram of batch sizes: the max_batch_size that its process has."""
    found = metrics.largest_edges(fetch(url))
    return "largest batch: " + (", ".join(f"{edge:.0f}" for _, edge in sorted(found.items())) or "no batches")


def mean_batches(url: str) -> str:
    """Requests a batch since the server's start, for each runner."""
    found = metrics.batches(fetch(url))
    told = {name: f"{found[name][1] / found[name][0]:.1f}" if name in found else "none" for name in metrics.RUNNERS}
    return ", ".join(f"{name} {mean}" for name, mean in told.items())


def lone(url: str, times: int = 12, first: int = 0) -> list[float]:
    """Somebody asks, waits, pauses and asks again, with nobody else there: seconds of each wait."""
    waits = []
    with httpx.Client(base_url=url, timeout=20) as client:
        for number in range(first, first + times):
            began = time.perf_counter()
            client.post("/classify", json={"texts": [texts.text(number)]}).raise_for_status()
            waits.append(time.perf_counter() - began)
            time.sleep(0.05)
    return waits


@dataclass
class Stall:
    """`began`: time.monotonic() when the process was stopped; 0 before."""

    seconds: float
    began: float = 0.0


@contextlib.contextmanager
def frozen(name: str, after: float, seconds: float, runner: str = EMBEDDER) -> Iterator[Stall]:
    """Stops the runner's process (SIGSTOP) so many seconds from now, for so long, while the block goes on."""
    stall = Stall(seconds)

    def freeze() -> None:
        time.sleep(after)
        stall.began = time.monotonic()
        for process in found:
            process.suspend()
        time.sleep(seconds)
        for process in found:
            process.resume()

    found = [process for process in carriers(find_server(name).mark) if _role(process) == runner]
    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield stall
    finally:
        thread.join()


def _role(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return role_of(process.cmdline())
    return ""


def burst(url: str, bodies: Sequence[str]) -> list[float]:
    """All of these texts at the same moment, each in a request of its own: seconds of each wait, in order."""

    def ask(text: str) -> float:
        ready.wait()
        began = time.perf_counter()
        client.post("/classify", json={"texts": [text]}).raise_for_status()
        return time.perf_counter() - began

    ready = threading.Barrier(len(bodies))
    limits = httpx.Limits(max_connections=len(bodies))
    with httpx.Client(base_url=url, timeout=20, limits=limits) as client, ThreadPoolExecutor(len(bodies)) as crowd:
        return list(crowd.map(ask, bodies))
