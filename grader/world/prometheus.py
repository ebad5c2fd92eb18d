"""A Prometheus of our own: scrapes given targets into a scratch folder, or holds given history, and answers queries.

    with scraping([{"job_name": "x", "static_configs": [{"targets": ["127.0.0.1:3000"]}]}]) as prometheus:
        prometheus.wait_for_scrapes(3)
        prometheus.ask('up{job="x"}')  # [Sample(labels, value)]

It listens on 127.0.0.1 alone, and nothing of it is left. promtool reads rules and runs their unit tests.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from cluster.tools import find
from grader.errors import LabError
from grader.model import Facts
from grader.processes import Completed, free_port, is_ours, listener, run, started, wait_until
from grader.world import web
from grader.world.metrics import Sample

READY, PATIENCE = 20.0, 10.0  # seconds until it answers; for one answer


@dataclass(frozen=True)
class Prometheus:
    """One that runs. `mark` is what its process carries; one in a cluster has an address alone."""

    url: str
    folder: Path = Path()
    mark: str = ""
    process: subprocess.Popen[str] | None = None

    def ask(self, query: str, at: float | None = None) -> list[Sample]:
        """The samples of an instant query; NaN is left out, since it says that there is nothing to say. Raises
        BadQuery for what is no PromQL, or gives no vector."""
        answer = self.get("query", query=query, **({} if at is None else {"time": at}))
        kind, result = answer["resultType"], answer["result"]
        if kind == "scalar":
            return _finite([Sample("", {}, float(result[1]))])
        if kind != "vector":
            raise BadQuery(query, f"it gives a {kind}, not a value for each series")
        return _finite([Sample(r["metric"].get("__name__", ""), r["metric"], float(r["value"][1])) for r in result])

    def range(
        self, query: str, begin: float, end: float, step: float
    ) -> list[tuple[dict[str, str], list[list[float]]]]:
        """Each series' labels and its [time, value] pairs, without NaN."""
        answer = self.get("query_range", query=query, start=begin, end=end, step=step)
        points = [(r["metric"], [[float(t), float(v)] for t, v in r["values"]]) for r in answer["result"]]
        return [(labels, [p for p in part if math.isfinite(p[1])]) for labels, part in points]

    def names(self) -> list[str]:
        return list(self.get("label/__name__/values"))

    def targets(self) -> list[Facts]:
        return list(self.get("targets")["activeTargets"])

    def alerts(self) -> list[Facts]:
        """Pending and firing ones: {labels, state, activeAt, value}."""
        return list(self.get("alerts")["alerts"])

    def wait_for_scrapes(self, least: int, limit: float = 20.0, job: str = ".+") -> bool:
        """Whether every target has been scraped that often, up or not."""
        query = f'min(count_over_time(up{{job=~"{job}"}}[10m]))'
        return wait_until(lambda: any(s.value >= least for s in self.ask(query)), limit, pause=0.2)

    def get(self, path: str, **words: str | float) -> Facts:
        answer = web.get(f"{self.url}/api/v1/{path}", params=words, timeout=PATIENCE)
        body = answer.json()
        if body.get("status") != "success":
            raise BadQuery(str(words.get("query", path)), str(body.get("error", answer.status_code)))
        return body["data"]  # type: ignore[no-any-return]


class BadQuery(LabError):
    """`query` was refused: `reason` is Prometheus's own sentence."""

    def __init__(self, query: str, reason: str) -> None:
        super().__init__(f"Prometheus refuses {query!r}: {reason}")
        self.query, self.reason = query, reason


def _finite(samples: list[Sample]) -> list[Sample]:
    return [s for s in samples if not math.isnan(s.value)]


@contextlib.contextmanager
def scraping(
    jobs: Sequence[Facts], rules: str = "", interval: str = "1s", folder: Path | None = None, port: int | None = None
) -> Iterator[Prometheus]:
    """One that scrapes those jobs, in Prometheus's own terms, every `interval`; `rules` is the text of a rules file."""
    with _home(folder) as home:
        config: Facts = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "scrape_configs": list(jobs),
        }
        if rules:
            (home / "rules.yml").write_text(rules)
            config["rule_files"] = ["rules.yml"]
        (home / "prometheus.yml").write_text(yaml.safe_dump(config))
        with serving(home, port) as prometheus:
            yield prometheus


@contextlib.contextmanager
def remembering(openmetrics: str) -> Iterator[Prometheus]:
    """One that scrapes nothing and holds the samples of that text (OpenMetrics, with times, ended by # EOF)."""
    with _home(None) as home:
        (home / "history.txt").write_text(openmetrics)
        made = promtool("tsdb", "create-blocks-from", "openmetrics", "history.txt", "data", cwd=home)
        if not made.ok:
            raise LabError(f"promtool made no blocks: {made.tail(3)}")
        (home / "prometheus.yml").write_text("scrape_configs: []\n")
        with serving(home) as prometheus:
            yield prometheus


@contextlib.contextmanager
def serving(home: Path, port: int | None = None) -> Iterator[Prometheus]:
    """The binary, run on home/prometheus.yml and home/data. Raises LabError with the end of its log otherwise."""
    port = port or free_port()
    command = [
        str(find("prometheus", install=False)), "--config.file=prometheus.yml", "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}", "--query.max-samples=5000000",
        "--query.timeout=10s", "--log.level=warn",
    ]  # fmt: skip
    with started(command, home, os.environ, home / "log") as (process, mark):
        prometheus = Prometheus(f"http://127.0.0.1:{port}", home, mark, process)
        wait_until(lambda: process.poll() is not None or _answers(prometheus, port), READY)
        if process.poll() is not None or not _answers(prometheus, port):
            raise LabError(f"Prometheus did not start: {_tail(home / 'log')}")
        yield prometheus


def _answers(prometheus: Prometheus, port: int) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return is_ours(listener(port), prometheus.mark) and web.get(f"{prometheus.url}/-/ready", timeout=2).is_success
    return False


def _tail(log: Path, most: int = 400) -> str:
    return log.read_text(errors="replace").strip()[-most:]


@contextlib.contextmanager
def _home(folder: Path | None) -> Iterator[Path]:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="prometheus-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)


def promtool(*words: str, cwd: Path, limit: float = 30.0) -> Completed:
    """Runs promtool (check rules FILE, test rules FILE, ...), which ends with 0, or with 1 where it finds a fault.
    Anything else is no answer (killed, past the limit, broken down over a full disk): raises LabError."""
    done = run([str(find("promtool", install=False)), *words], limit, cwd=cwd)
    if done.code not in (0, 1):
        ended = f"ended with {done.code}" if done.code is not None else f"gave no answer within {limit:.0f} s"
        raise LabError(f"promtool {' '.join(words[:2])} {ended}: {done.tail(4)}")
    return done
