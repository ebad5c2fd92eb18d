"""What a server says of itself at /metrics: counts before and after a load, and its gauges while the load runs."""

from __future__ import annotations

import contextlib
import csv
import http.client
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from grader.world.metrics import parse

RUNNERS = ("embeddingrunner", "classifierrunner")
HEALTH = ("/readyz", "/livez", "/healthz", "/metrics")
BATCH = "bentoml_runner_adaptive_batch_size"
EVERY = 0.1  # seconds between two looks; one costs the API server 6 ms
# Read ten times a second beside a load, so not by the parser of whole pages, which takes 10 ms a page (GAUGE: 0.4 ms).
SPENT = re.compile(r"^bentoml_api_server_request_duration_seconds_sum\{(.*)\} (\S+)$", re.M)
GAUGE = re.compile(r"^bentoml_(?:api_server|runner)_request_in_progress\{(.*)\} (\S+)$", re.M)
TOTAL = re.compile(r"^bentoml_api_server_request_total\{(.*)\} (\S+)$", re.M)


def get(connection: http.client.HTTPConnection, path: str = "/metrics") -> str:
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def largest_edges(text: str) -> dict[str, float]:
    """The largest finite bucket of each runner's batch sizes: that is its max_batch_size. Empty without batching."""
    edges: dict[str, float] = {}
    for name, labels, _ in parse(text):
        if name == f"{BATCH}_bucket" and labels["le"] != "+Inf":
            edges[labels["runner_name"]] = max(edges.get(labels["runner_name"], 0), float(labels["le"]))
    return edges


def batches(text: str) -> dict[str, tuple[float, float]]:
    """For each runner the batches so far and the requests in them."""
    found: dict[str, list[float]] = {}
    for name, labels, value in parse(text):
        if name in (f"{BATCH}_count", f"{BATCH}_sum"):
            found.setdefault(labels["runner_name"], [0.0, 0.0])[name.endswith("_sum")] += value
    return {runner: (count, requests) for runner, (count, requests) in found.items()}


def answered(text: str) -> int:
    """Requests to /classify that the API server has answered since its start."""
    return sum(by_status(text).values())


def by_status(text: str) -> Counter[str]:
    """The same by status: {"200": 1603}."""
    found = Counter[str]()
    for labels, value in TOTAL.findall(text):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if named.get("endpoint") == "/classify":
            found[named.get("http_response_code", "")] += int(float(value))
    return found


def mean_batch(before: str, after: str, runner: str = RUNNERS[0]) -> float | None:
    """Requests a batch of that runner between the two; None when it made no batch."""
    old, new = batches(before).get(runner, (0.0, 0.0)), batches(after).get(runner, (0.0, 0.0))
    return (new[1] - old[1]) / (new[0] - old[0]) if new[0] > old[0] else None


def in_progress(text: str) -> dict[str, float]:
    """How many requests are inside "api" and inside each runner; health checks left out."""
    inside = dict.fromkeys(("api", *RUNNERS), 0.0)
    for labels, value in GAUGE.findall(text):
        named = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if named["endpoint"] not in HEALTH:
            who = named.get("runner_name", "api")
            inside[who] = inside.get(who, 0.0) + float(value)
    return inside


def spent(text: str) -> float:
    """Seconds that all requests so far spent inside the API server, by its own clock; health checks left out."""
    found = ((dict(re.findall(r'(\w+)="([^"]*)"', labels)), value) for labels, value in SPENT.findall(text))
    return sum(float(value) for named, value in found if named["endpoint"] not in HEALTH)


class InFlight:
    """Reads the gauges every 100 ms in a thread, while the block runs: `seen` is [(time.monotonic(), seconds that a
    request stands in front, {who: count}, seconds spent inside so far)].

    A request counts only once a busy API process begins with it. How long that takes, another thread learns from
    /livez: the way of a request, and nothing to do at its end. (/metrics would tell too much: BentoML collects it in a
    thread, which waits for its turn with the interpreter.)"""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url)
        self.seen: list[tuple[float, float, dict[str, float], float]] = []
        self.waits: list[float] = []  # at /livez, since the gauges were read
        self.over = threading.Event()
        self.threads = [threading.Thread(target=watch, daemon=True) for watch in (self.watch_gauges, self.watch_front)]

    def __enter__(self) -> InFlight:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def watch_gauges(self) -> None:
        for text, took in self.look("/metrics"):
            waits, self.waits = self.waits or [took], []
            self.seen.append((time.monotonic(), sum(waits) / len(waits), in_progress(text), spent(text)))

    def watch_front(self) -> None:
        for _, took in self.look("/livez"):
            self.waits.append(took)

    def look(self, path: str) -> Iterator[tuple[str, float]]:
        """(what the path answers, after how many seconds), every 100 ms until the block ends."""
        connection = http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=15)
        with contextlib.closing(connection):
            while not self.over.wait(EVERY):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    began = time.monotonic()
                    text = get(connection, path)
                    yield text, time.monotonic() - began

    def save(self, path: Path, began: float) -> None:
        """One line a look; times count from `began`."""
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["at", "took", "api", *RUNNERS, "spent"])
            for at, took, inside, seconds in self.seen:
                rows.writerow(
                    [
                        f"{at - began:.3f}",
                        f"{took:.4f}",
                        *(f"{inside[w]:g}" for w in ("api", *RUNNERS)),
                        f"{seconds:.3f}",
                    ]
                )
