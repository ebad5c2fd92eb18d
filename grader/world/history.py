"""110 minutes of a triage service that never ran, as Prometheus would hold them: known answers for any query.

    0-20 disabled   batching off: no batch-size series at all
    20-50 small     at most 4 requests a batch
    50-80 large     at most 32 requests a batch, and slower answers
    80-110 again    as small: a query that looks back to the start still shows the large ones

The kubelet asks for /readyz far more often than anybody asks /classify, and is answered in a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

STEP = 5  # seconds between two samples
EDGES = ("0.005", "0.025", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "+Inf")
SIZES = ("1.0", "2.0", "4.0", "8.0", "16.0", "32.0", "+Inf")
CODES = {"200": 0.9, "503": 0.1}  # of /classify; both wait alike
RUNNERS = {"embeddingrunner": "encode", "classifierrunner": "predict_proba"}


@dataclass(frozen=True)
class Phase:
    """`rate`: answers a second; `waits` and `sizes`: shares in each bucket; gauges: requests inside each."""

    name: str
    minutes: int
    rate: float
    waits: dict[str, float]
    inside: dict[str, float]
    batches: dict[str, float] = field(default_factory=dict)  # batches a second, by the upper edge of their size
    mean: float = 0.0


SMALL = Phase(  # 10 of 100 answers take long, so that a mean, a median and a p95 lie far apart, and p99 as well
    "small", 30, 20, {"0.1": 0.9, "0.25": 0.1}, {"api": 15, "embeddingrunner": 9, "classifierrunner": 1},
    {"2.0": 2, "4.0": 4}, 3.0,
)  # fmt: skip
PHASES = (
    Phase("disabled", 20, 10, {"0.025": 0.5, "0.1": 0.5}, {"api": 3, "embeddingrunner": 1, "classifierrunner": 1}),
    SMALL,
    Phase("large", 30, 60, {"0.5": 0.9, "2.5": 0.1}, {"api": 40, "embeddingrunner": 24, "classifierrunner": 4},
          {"16.0": 1, "32.0": 2.5}, 18.0),
    replace(SMALL, name="again"),
)  # fmt: skip
P95 = {"small": 0.175, "large": 1.75, "again": 0.175}  # by Prometheus's own rule, linear inside a bucket
QUEUED = {"small": 5.0, "large": 12.0, "again": 5.0}
BATCH = {"small": 3.0, "large": 18.0, "again": 3.0}  # the mean
LIMIT = {"small": 4, "large": 32, "again": 4}


def ends(begin: float) -> dict[str, float]:
    """A moment shortly before the end of each phase."""
    found, at = {}, begin
    for phase in PHASES:
        at += phase.minutes * 60
        found[phase.name] = at - 60
    return found


def text(begin: int, job: str) -> str:
    """The samples as OpenMetrics text, from `begin` (seconds, Unix time) on, under that job's name."""
    table = Table({"job": job, "instance": "127.0.0.1:3000"})
    at = begin
    for phase in PHASES:
        for _ in range(phase.minutes * 60 // STEP):
            step(table, phase)
            table.sample(at)
            at += STEP
    return table.text()


@dataclass
class Table:
    """Series by name and labels, their value now, and all samples so far."""

    shared: dict[str, str]
    now: dict[tuple[str, str], float] = field(default_factory=dict)
    kept: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, name: str, value: float, **labels: str) -> None:
        key = self.key(name, labels)
        self.now[key] = self.now.get(key, 0.0) + value

    def put(self, name: str, value: float, **labels: str) -> None:
        self.now[self.key(name, labels)] = value

    def key(self, name: str, labels: dict[str, str]) -> tuple[str, str]:
        return name, ",".join(f'{k}="{v}"' for k, v in {**self.shared, **labels}.items())

    def sample(self, at: int) -> None:
        for key, value in self.now.items():
            self.kept.setdefault(key, []).append(f"{key[0]}{{{key[1]}}} {value:g} {at}")

    def text(self) -> str:
        return "\n".join([*self.lines(), "# EOF"]) + "\n"

    def lines(self) -> Iterator[str]:
        for (name, _), samples in sorted(self.kept.items()):
            yield f"# TYPE {name} unknown"
            yield from samples


def step(table: Table, phase: Phase) -> None:
    """What STEP seconds of that phase add."""
    service = {"service_name": "demo_text_intelligence", "service_version": "not available"}
    api = "bentoml_api_server_request"
    answered = {**service, "http_response_code": "200"}
    for code, share in CODES.items():
        of = {**service, "http_response_code": code, "endpoint": "/classify"}
        observe(table, f"{api}_duration_seconds", EDGES, phase.waits, share * phase.rate, mean=None, **of)
        table.add(f"{api}_total", share * phase.rate * STEP, **of)
    observe(table, f"{api}_duration_seconds", EDGES, {"0.005": 1.0}, 200, endpoint="/readyz", mean=None, **answered)
    table.add(f"{api}_total", 200 * STEP, endpoint="/readyz", **answered)
    table.put(f"{api}_in_progress", phase.inside["api"], endpoint="/classify", **service)
    for path in ("/readyz", "/livez"):  # answered at once; /metrics is what BentoML does not count
        table.put(f"{api}_in_progress", 0, endpoint=path, **service)
    for runner, method in RUNNERS.items():
        named = {**service, "runner_name": runner, "endpoint": f"/{method}"}
        family = "bentoml_runner_request"
        observe(table, f"{family}_duration_seconds", EDGES, {"0.025": 1.0}, phase.rate,
                http_response_code="200", mean=None, **named)  # fmt: skip
        table.add(f"{family}_total", phase.rate * STEP, http_response_code="200", **named)
        table.put(f"{family}_in_progress", phase.inside[runner], **named)
        table.put(f"{family}_in_progress", 0, **{**named, "endpoint": "/readyz"})
        if phase.batches:
            batch(table, phase, runner, method, service)
    table.put("up", 1)
    table.add("demo_texts_total", phase.rate * STEP, label="billing")
    pod = {"namespace": "ml-serving", "pod": "demo-text-intelligence-1", "container": "service"}
    table.put("container_memory_working_set_bytes", 1.2e9, **pod)
    table.add("container_cpu_usage_seconds_total", 0.9 * STEP, **pod)
    table.add("container_cpu_cfs_throttled_periods_total", 1, **pod)
    table.add("container_cpu_cfs_periods_total", 10, **pod)
    table.put("kube_pod_container_status_restarts_total", 0, **pod)
    table.add("process_cpu_seconds_total", 0.5 * STEP)
    table.put("process_resident_memory_bytes", 4e8)


def batch(table: Table, phase: Phase, runner: str, method: str, service: dict[str, str]) -> None:
    """Batches of the embedding runner, which has two workers, have the phase's mean; the classifier's stay at one
    request."""
    wide = runner == "embeddingrunner"
    family = "bentoml_runner_adaptive_batch_size"
    labels = {**service, "runner_name": runner, "method_name": method}
    batches = sum(phase.batches.values()) if wide else phase.rate
    shares = {edge: n / batches for edge, n in phase.batches.items()} if wide else {"1.0": 1.0}
    workers = ("1", "2") if wide else ("1",)
    for worker in workers:
        observe(table, family, SIZES, shares, batches / len(workers), mean=phase.mean if wide else 1.0,
                worker_index=worker, **labels)  # fmt: skip


def observe(
    table: Table, family: str, edges: tuple[str, ...], shares: dict[str, float], rate: float, mean: float | None = None,
    **labels: str,
) -> None:  # fmt: skip
    """STEP seconds of a histogram: `shares` of `rate` observations a second below each edge."""
    below = 0.0
    for edge in edges:
        below += shares.get(edge, 0.0)
        table.add(f"{family}_bucket", rate * STEP * below, le=edge, **labels)
    table.add(f"{family}_count", rate * STEP, **labels)
    middle = mean if mean is not None else sum(0.7 * float(e) * s for e, s in shares.items())
    table.add(f"{family}_sum", rate * STEP * middle, **labels)
