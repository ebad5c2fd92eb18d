"""Asks the Prometheus that `%%shell --serve watch` keeps, with the queries of deploy/monitoring/queries.toml."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

from grader.processes import wait_until
from grader.shell import find_server
from grader.world.prometheus import BadQuery, Prometheus

HOME = Path("deploy/monitoring")


def connect(name: str = "watch") -> Prometheus:
    """The one of that name; raises Refused when no cell keeps it."""
    server = find_server(name)
    return Prometheus(server.url, Path(server.home), server.mark, server.process)


def query(name: str) -> str:
    """The learner's query of that name."""
    return str(tomllib.loads((HOME / "queries.toml").read_text())[name])


def value(name: str) -> float | None:
    """What that query says now: its largest value, or None when it returns nothing."""
    return largest(connect(), query(name))


def largest(prometheus: Prometheus, text: str) -> float | None:
    return max((s.value for s in prometheus.ask(text)), default=None)


def tell(text: str) -> str:
    """The answer to a query in a line, or Prometheus's complaint."""
    try:
        found = connect().ask(text)
    except BadQuery as refused:
        return f"refused: {refused.reason}"
    return ", ".join(f"{s.value:.4g}" for s in found) or "nothing: an empty answer, and no error"


def point_at(port: int) -> None:
    """Writes that port of this machine into targets.json, as the only one."""
    (HOME / "targets.json").write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"]}]))


def wait_for_target(port: int, limit: float = 15.0) -> str:
    """Waits until the target on that port has been scraped twice, and says what Prometheus thinks of it."""
    prometheus, began = connect(), time.monotonic()
    asked = f'count_over_time(up{{instance="127.0.0.1:{port}"}}[1m]) >= 2'
    wait_until(lambda: bool(prometheus.ask(asked)), limit, pause=0.3)
    states = [t for t in prometheus.targets() if t["labels"]["instance"] == f"127.0.0.1:{port}"]
    said = f"{states[0]['scrapeUrl']} is {states[0]['health']} {states[0]['lastError']}" if states else "no such target"
    return f"{said} (after {time.monotonic() - began:.0f} s)"
