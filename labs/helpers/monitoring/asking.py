"""Asks the Prometheus that `%%shell --serve watch` keeps, with the queries of deploy/monitoring/queries.toml."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

from grader.errors import LabError
from grader.processes import wait_until
from grader.world.prometheus import BadQuery, Prometheus
from labs.helpers.teaching.serve import find_server

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


def require(name: str) -> float:
    """The same where it must return something; raises LabError, in words, when it does not."""
    found = value(name)
    if found is None:
        problem = f"Your query {name} returns nothing: no series has these names and labels, or none moved."
        raise LabError(
            problem, f"Compare them with the page of part 1, repair {HOME}/queries.toml, run the cell again."
        )
    return found


def letter(found: float | None) -> str:
    """Of question 08d: a zero, b one, c nothing. Raises LabError for a value that an earlier run has left."""
    known = {0.0: "a", 1.0: "b", None: "c"}
    if found not in known:
        problem = f"batch_size says {found:.3g}. That is of the run before: your query looks back too far."
        raise LabError(problem, f"Its mean is over ten seconds, [10s]: repair {HOME}/queries.toml, run the load again.")
    return known[found]


def largest(prometheus: Prometheus, text: str) -> float | None:
    return max((s.value for s in prometheus.ask(text)), default=None)


def tell(text: str) -> str:
    """The answer to a query in a line, or Prometheus's complaint."""
    try:
        found = connect().ask(text)
    except BadQuery as refused:
        return f"refused: {refused.reason}"
    return ", ".join(f"{about(s.labels)}{s.value:.4g}" for s in found) or "nothing: no number, and no error"


def about(labels: dict[str, str]) -> str:
    """The labels' values, which say whose number it is; nothing where the query has summed them away."""
    values = [value for name, value in labels.items() if name != "__name__"]
    return f"{'/'.join(values)} " if values else ""


def lately(text: str, seconds: int = 5) -> str:
    """The same, on average over the last seconds."""
    return tell(f"avg_over_time(({text})[{seconds}s:1s])")


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
