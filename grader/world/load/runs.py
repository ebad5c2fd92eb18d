"""One run: a folder with all that was seen, and what its figures are worth.

Everything here is computed from the folder's files, by whoever reads it: the learner's table and the grader alike.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from grader.model import Facts
from grader.world.load import metrics, warmup
from grader.world.load.log import Log, Numbers, read_requests
from grader.world.load.metrics import RUNNERS
from grader.world.load.settings import Setting
from grader.world.load.summary import Summary, summarise

LARGEST = 8 << 20  # bytes of any file but the requests'
LITTLE = 0.05  # by how much the two sides of Little's law may differ
RISE = 0.10  # by how much concurrency may rise or fall
ASIDE = 0.01  # of the answers may be others' than the log's: somebody tried the address in the meantime
STEADIES = 8.0  # seconds of load that are enough on a machine without other work
STALL = 0.05  # of the answers may be refused since the machine stood still for once
WAITS = 4.0  # after one another that a load has to be long enough for: after the first two they are steady
CACHED = 0.90  # the same texts again take at least this share of the time
GOAL_MS = 500.0  # the latency goal that a sender's lateness is compared with


class Problem(NamedTuple):
    """Why a run's figures may not be used. `kind`: "machine" (measure again), "setting" (never applied), "place"
    (measured elsewhere than it says), "figures"."""

    kind: str
    text: str


@dataclass(frozen=True)
class Run:
    folder: Path
    facts: Facts  # run.json
    log: Log
    inside: dict[str, Numbers]  # inflight.csv, by column
    before: str
    after: str
    configuration: str

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def setting(self) -> Setting:
        return Setting(**self.facts["setting"])

    @property
    def load(self) -> Facts:
        return dict(self.facts["load"])

    @cached_property
    def begin(self) -> float | None:
        """Seconds that are left out as warm-up; None when the load never was steady."""
        return warmup.end(self.log, float(self.facts["trained"] or 0.0))

    @cached_property
    def summary(self) -> Summary:
        """Of the steady part; of the last 40% when there was none."""
        stop = float(self.log.sender["seconds"])
        return summarise(self.log, warmup.LATEST * stop if self.begin is None else self.begin)

    @cached_property
    def steady_inside(self) -> dict[str, Numbers]:
        """inflight.csv of the steady part."""
        at = self.inside["at"]
        part = (at >= (self.begin or 0.0)) & (at < float(self.log.sender["seconds"]))
        return {name: values[part] for name, values in self.inside.items()}

    @property
    def in_flight(self) -> float:
        """Requests inside the API server, by its own count."""
        values = self.steady_inside["api"]
        return float(values.mean()) if len(values) else math.nan

    @property
    def by_clock(self) -> float:
        """The same by the seconds that it says requests spent in it; not-a-number where it does not say."""
        at, spent = self.steady_inside["at"], self.steady_inside["spent"]
        return float((spent[-1] - spent[0]) / (at[-1] - at[0])) if len(at) > 1 and spent[-1] > spent[0] else math.nan

    @property
    def in_front(self) -> float:
        """At most so many requests have come that a busy API server has not begun to read, or has just answered: rate x
        the time by which a look at /livez takes longer than the quickest look."""
        took = self.steady_inside["took"]
        return self.summary.rate * float(took.mean() - took.min()) if len(took) else math.nan

    @property
    def little(self) -> float:
        """By which share the requests under way, by the client's times, are fewer than the server counts, or more than
        it counts and has in front; 0 between the two."""
        seen, least, most = self.summary.in_flight, self.in_flight, self.in_flight + self.in_front
        if not least > 0 or math.isnan(most):
            return math.nan
        return seen / least - 1 if seen < least else max(0.0, seen / most - 1)

    @property
    def chance(self) -> float:
        """By which share the server's own count may be off, since it was looked at ten times a second: three standard
        errors. Next to nothing where everybody waits; much where few come, at times of their own."""
        parts = [part.mean() for part in np.array_split(self.steady_inside["api"], 10) if len(part)]
        if len(parts) < 10 or not self.in_flight > 0:
            return 0.0
        return 3 * float(np.std(parts, ddof=1)) / math.sqrt(10) / self.in_flight

    @property
    def in_runner_ms(self) -> float:
        """How long a request is inside the embedding runner, by Little's law there. That is what a budget counts: it
        knows nothing of those whom the API server holds back, for want of a connection."""
        values, rate = self.steady_inside[RUNNERS[0]], self.summary.rate
        return 1000 * float(values.mean()) / rate if len(values) and rate else math.nan

    @property
    def mean_batch(self) -> float | None:
        return metrics.mean_batch(self.before, self.after)

    def problems(self) -> list[Problem]:
        return [*setting_problems(self), *figure_problems(self), *machine_problems(self)]


def read(folder: Path) -> Run:
    """The run in that folder. Raises ValueError or OSError for one that is incomplete or damaged."""
    facts = json.loads(text(folder / "run.json"))
    log = Log(read_requests(folder / "requests.csv"), facts["sender"])
    before, after = text(folder / "before.prom"), text(folder / "after.prom")
    run = Run(folder, facts, log, read_inside(folder), before, after, text(folder / "configuration.yml"))
    if not (run.setting.name and run.load and log.requests):
        raise ValueError(f"{folder.name} is empty")
    return run


def read_all(bench: Path) -> list[Run]:
    """Every complete run of bench/runs, in the order in which they were made; a name with a dot before it is not."""
    folders = sorted(p.parent for p in (bench / "runs").glob("[!.]*/run.json"))
    return sorted((read(folder) for folder in folders), key=lambda run: int(run.facts["order"]))


def text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path.name} has more than {LARGEST >> 20} MiB")
    return path.read_text()


def read_inside(folder: Path) -> dict[str, Numbers]:
    rows = list(csv.DictReader(text(folder / "inflight.csv").splitlines()))
    names = ("at", "took", "api", *RUNNERS, "spent")  # older folders have no `spent`
    return {name: np.array([float(row.get(name) or "nan") for row in rows]) for name in names}


def setting_problems(run: Run) -> Iterator[Problem]:
    """Three witnesses: the file, the process, and how the server behaved."""
    for found in (file_problem(run), process_problem(run), behaviour_problem(run)):
        if found:
            yield Problem("setting", found)
    if found := place_problem(run):
        yield Problem("place", found)


def file_problem(run: Run) -> str:
    """The file that each runner's process was given is the one that lies in the folder."""
    wanted = hashlib.sha256(run.configuration.encode()).hexdigest()
    given = {w["role"]: w["sha256"] for w in run.facts["witnesses"]}
    missing = [name for name in RUNNERS if given.get(name) != wanted]
    return f"the process of {missing[0]} did not get this configuration.yml" if missing else ""


def process_problem(run: Run) -> str:
    """BentoML's effective configuration in each runner's process, and its dispatchers, are as the setting says."""
    wanted = run.setting.block()
    for witness in run.facts["witnesses"]:
        if witness["role"] not in RUNNERS:
            continue
        block = witness["batching"].get(witness["role"], {})
        found = {key: block.get(key) for key in wanted}
        if found != wanted:
            return f"in the process of {witness['role']} batching is {found}, not {wanted}"
        limits = [(d["max_batch_size"], d["max_latency_ms"]) for d in witness["dispatchers"].values()]
        if limits != ([(run.setting.max_batch_size, run.setting.max_latency_ms)] if run.setting.batching else []):
            return f"in the process of {witness['role']} the dispatchers' limits are {limits}"
    return ""


def behaviour_problem(run: Run) -> str:
    """Batch sizes for the size, 503s for the budget, and no batch at all where batching is off."""
    edges, setting, seen = metrics.largest_edges(run.after), run.setting, run.summary
    if not setting.batching:
        return f"batching should be off, and /metrics has batches: {edges}" if metrics.batches(run.after) else ""
    if wrong := [name for name in RUNNERS if edges.get(name) != setting.max_batch_size]:
        return f"/metrics shows batches of up to {edges.get(wrong[0], 0):g} in {wrong[0]}, not {setting.max_batch_size}"
    if run.in_runner_ms > setting.max_latency_ms and seen.share_503 < 0.01:
        took = f"the embedding runner had a request for {run.in_runner_ms:.0f} ms on average"
        return f"{took}, and a budget of {setting.max_latency_ms} refused none"
    if seen.share_503 > STALL and seen.p99_ms < setting.max_latency_ms / 2:
        return f"503s, although 99% took under {seen.p99_ms:.0f} ms of the {setting.max_latency_ms} allowed"
    return ""


def place_problem(run: Run) -> str:
    """What was measured ran where the setting says. In the cluster that is a pod, and all requests came to that one."""
    pods = {str((w.get("place") or {}).get("pod", "")) for w in run.facts["witnesses"]}
    if run.setting.where == "local":
        return "" if pods == {""} else f"the row says local, and it was measured in the pod {max(pods)}"
    if len(pods) != 1 or "" in pods:
        return "the row says cluster, and its witnesses are processes of no pod"
    counted = {int(w["place"]["answered"]) for w in run.facts["witnesses"]}
    if counted != {metrics.answered(run.after)}:
        return f"the pod {pods.pop()} counted {min(counted)} requests, and {metrics.answered(run.after)} were answered"
    return ""


def figure_problems(run: Run) -> Iterator[Problem]:
    """What makes a run's figures untrue whoever measured them."""
    if run.begin is None and is_short(run):
        yield Problem("figures", "the waits never became steady: load it for longer")
    if not abs(run.little) <= max(LITTLE, run.chance):  # not-a-number too
        counted = f"the server counted {run.in_flight:.1f} requests inside"
        yield Problem("figures", f"Little's law does not hold: {counted}, rate x wait is {run.summary.in_flight:.1f}")
    if abs(moved := warmup.rise(run.steady_inside["at"], run.steady_inside["api"])) > RISE:
        yield Problem("figures", f"concurrency still moved at the end, by {moved:+.0%}")
    if found := count_problem(run):
        yield Problem("figures", found)
    cache = run.facts["cache"]
    if cache and is_cached(cache["rounds"]):
        times = f"{cache['fresh_ms']:.0f} ms for new texts, {cache['again_ms']:.0f} ms for the same again"
        yield Problem("figures", f"{times}: a cache, or a machine that is not steady")


def is_short(run: Run) -> bool:
    """Whether so many people, or so few seconds, leave no time for waits to become steady."""
    return bool(run.load["seconds"] < max(STEADIES, WAITS * run.summary.mean_ms / 1000))


def count_problem(run: Run) -> str:
    """The server counted as many answers of each status as the log has lines. A request that was given up may have been
    answered all the same, and BentoML does not count its own 504s (its time-out cancels what counts)."""
    told, before = metrics.by_status(run.after), metrics.by_status(run.before)
    ends = run.log.ends()
    unknown = sum(count for end, count in ends.items() if not end.isdigit() or end == "504")
    for status in sorted({*told, *ends} - {"504"}):
        counted, logged = told[status] - before[status], ends.get(status, 0)
        spare = max(2.0, ASIDE * len(run.log))
        if status.isdigit() and not -spare <= counted - logged <= spare + unknown:
            return f"requests.csv has {logged} answers with {status}, and /metrics counted {counted}"
    return ""


def is_cached(rounds: list[list[float]]) -> bool:
    """Whether the same texts again are answered in under 90% of the time, and clearly so (three standard errors)."""
    ratios = np.log([again / fresh for fresh, again in rounds])
    error = float(ratios.std(ddof=1)) / math.sqrt(len(ratios))
    return bool(ratios.mean() < math.log(CACHED) and ratios.mean() + 3 * error < 0)


def machine_problems(run: Run) -> Iterator[Problem]:
    """What says that this machine could not measure it now."""
    seen = run.summary
    if run.begin is None and not is_short(run):
        yield Problem("machine", "the waits became steady too late, or never: something else ran")
    late = seen.late_p50_ms > GOAL_MS / 100 or seen.late_p99_ms > GOAL_MS / 10
    # On a machine that the server has filled, lateness is the service's doing, and the waits contain it.
    if late and run.log.sender["idle"] > 0.1:
        yield Problem("machine", f"the sender was late: by {seen.late_p50_ms:.1f} ms, p99 {seen.late_p99_ms:.0f} ms")
    if run.log.sender["cpu"] > 0.9:
        yield Problem("machine", "the sender filled its core, so it was measured, not the service")
