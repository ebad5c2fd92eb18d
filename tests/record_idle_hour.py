"""Records an idle hour of a served service, and writes it as input of promtool's unit tests.

    python tests/record_idle_hour.py record WORKSPACE RAW   # an hour; 1% of a core
    python tests/record_idle_hour.py write RAW grader/world/idle_hour.yml

Nobody uses the service in that hour but programs: something like the kubelet asks /readyz and /livez, Prometheus reads
/metrics, and a report asks for long texts each four minutes. Twice a short request comes with it and the runner does
not move for a while: one ends with 503, one may end with 504, which BentoML counts nowhere. (Twice: the first 503
begins a series at 1, and `rate` sees no growth in that.) No alert should fire over this.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import httpx
import yaml

from grader.world.servers import Served, frozen, served

HOUR, SCRAPE, READY, LIVE, REPORT = 3600.0, 15.0, 5.0, 10.0, 240.0  # seconds
STUCK, FOR = (9, 11), 11.0  # reports that meet a frozen runner; for more seconds than max_latency_ms allows
TEXTS = ["My parcel has not come, and I was charged twice for it. " * 15] * 32
KEPT = ("bentoml_api_server_request_total", "bentoml_api_server_request_duration_seconds_bucket",
        "bentoml_api_server_request_in_progress", "bentoml_runner_adaptive_batch_size_sum",
        "bentoml_runner_adaptive_batch_size_count", "bentoml_runner_request_in_progress")  # fmt: skip
DROPPED = ("service_version", "worker_index", "pid")


def record(workspace: Path, raw: Path) -> None:
    config = yaml.safe_load((workspace / "service" / "bentoml_configuration.yml").read_text())
    with served(workspace / "service", workspace / "store", config=config, limit=120) as server:
        if server.problem:
            sys.exit(f"{server.problem}\n{server.log()}")
        end = time.monotonic() + HOUR
        asking = [
            threading.Thread(target=every, args=(READY, end, lambda _: get(server, "/readyz"))),
            threading.Thread(target=every, args=(LIVE, end, lambda _: get(server, "/livez"))),
            threading.Thread(target=every, args=(REPORT, end, lambda number: report(server, number))),
        ]
        with raw.open("w") as file:
            for one in asking:
                one.start()
            every(SCRAPE, end, lambda number: scrape(server, file, number))
        for one in asking:
            one.join()


def every(seconds: float, end: float, call: Callable[[int], object]) -> None:
    began, number = time.monotonic(), 0
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            call(number)
        number += 1
        time.sleep(max(0.0, began + number * seconds - time.monotonic()))


def get(server: Served, path: str) -> None:
    httpx.get(server.url + path, timeout=5)


def report(server: Served, number: int) -> None:
    if number not in STUCK:
        ask(server, TEXTS)
        return
    both = [threading.Thread(target=ask, args=(server, texts)) for texts in (TEXTS, TEXTS[:1])]
    for one in both:
        one.start()
        time.sleep(0.5)
    with frozen(server.workers().get("embeddingrunner", [])):
        time.sleep(FOR)
    for one in both:
        one.join()


def ask(server: Served, texts: list[str]) -> None:
    httpx.post(f"{server.url}/classify", json={"texts": texts}, timeout=60)


def scrape(server: Served, file: object, number: int) -> None:
    samples = [s for s in server.metrics() if s.name in KEPT]
    file.write(json.dumps([number, samples]) + "\n")  # type: ignore[attr-defined]
    file.flush()  # type: ignore[attr-defined]


def write(raw: Path, target: Path) -> None:
    """One line a series: its values every 15 seconds, equal steps together, `_` where it was not there."""
    scrapes = dict(json.loads(line) for line in raw.read_text().splitlines())
    length = max(scrapes) + 1
    table: dict[str, list[float | None]] = {}
    for number, samples in scrapes.items():
        for name, labels, value in samples:
            table.setdefault(series(name, labels), [None] * length)[number] = value
    up: list[float | None] = [1.0 if scrapes.get(number) else 0.0 for number in range(length)]
    table['up{job="triage",instance="recorded"}'] = up
    said = [f"# Recorded by tests/record_idle_hour.py: {length} scrapes, {SCRAPE:g} s apart, of a service at rest."]
    said += [f"- {json.dumps({'series': name, 'values': told(values)})}" for name, values in sorted(table.items())]
    target.write_text("\n".join(said) + "\n")
    print(f"{len(table)} series, {length} scrapes, {target.stat().st_size:,} bytes")


def series(name: str, labels: dict[str, str]) -> str:
    kept = {"job": "triage", "instance": "recorded", **{k: v for k, v in labels.items() if k not in DROPPED}}
    return f"{name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in kept.items())}}}"


def told(values: list[float | None]) -> str:
    """promtool's notation: `_x3` three scrapes without a sample, `5x2` the value 5 and twice more."""
    parts = []
    for value, run in groupby(values):
        count = len(list(run))
        parts.append(f"_x{count}" if value is None else f"{value:g}+0x{count - 1}")
    return " ".join(parts)


if __name__ == "__main__":
    {"record": record, "write": write}[sys.argv[1]](*map(Path, sys.argv[2:4]))
