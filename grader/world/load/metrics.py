"""What a server says of itself at /metrics: counts before and after a load, and its gauges while the load runs."""

from __future__ import annotations

import contextlib
import csv
import http.client
import re
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

RUNNERS = ("embeddingrunner", "classifierrunner")
HEALTH = ("/readyz", "/livez", "/healthz", "/metrics")
BATCH = "bentoml_runner_adaptive_batch_size"
EVERY = 0.1  # seconds between two looks; one costs the API server 6 ms
GAUGE = re.compile(r"^bentoml_(?:api_server|runner)_request_in_progress\{(.*)\} (\S+)$", re.M)

Sample = tuple[str, dict[str, str], float]


def read(url: str, patience: float = 15.0) -> str:
    """The text of /metrics; raises OSError or http.client.HTTPException when none comes."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=patience)
    with contextlib.closing(connection):
        return get(connection)


def get(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def samples(text: str) -> list[Sample]:
    """(name, labels, value) of each sample. Raises ValueError when the text is no metrics."""
    from prometheus_client.parser import text_string_to_metric_families as families

    return [(s.name, s.labels, s.value) for family in families(text) for s in family.samples]


def largest_edges(text: str) -> dict[str, float]:
    """The largest finite bucket of each runner's batch sizes: that is its max_batch_size. Empty without batching."""
    edges: dict[str, float] = {}
    for name, labels, _ in samples(text):
        if name == f"{BATCH}_bucket" and labels["le"] != "+Inf":
            edges[labels["runner_name"]] = max(edges.get(labels["runner_name"], 0), float(labels["le"]))
    return edges


def batches(text: str) -> dict[str, tuple[float, float]]:
    """For each runner the batches so far and the requests in them."""
    found: dict[str, list[float]] = {}
    for name, labels, value in samples(text):
        if name in (f"{BATCH}_count", f"{BATCH}_sum"):
            found.setdefault(labels["runner_name"], [0.0, 0.0])[name.endswith("_sum")] += value
    return {runner: (count, requests) for runner, (count, requests) in found.items()}


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


class InFlight:
    """Reads the gauges every 100 ms in a thread, while the block runs: `seen` is [(time.monotonic(), seconds it took,
    {who: count})]. A look waits for the API server as every request does, before anybody counts it."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=15)
        self.seen: list[tuple[float, float, dict[str, float]]] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> InFlight:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        self.connection.close()

    def watch(self) -> None:
        while not self.over.wait(EVERY):
            with contextlib.suppress(OSError, http.client.HTTPException):
                began = time.monotonic()
                text = get(self.connection)
                ended = time.monotonic()
                self.seen.append((ended, ended - began, in_progress(text)))

    def save(self, path: Path, began: float) -> None:
        """One line a look; times count from `began`."""
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["at", "took", "api", *RUNNERS])
            for at, took, inside in self.seen:
                rows.writerow([f"{at - began:.3f}", f"{took:.4f}", *(f"{inside[w]:g}" for w in ("api", *RUNNERS))])
