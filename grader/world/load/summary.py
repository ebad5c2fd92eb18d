"""What a load's log says, in figures. Statuses are never mixed: an answer that refuses is no work done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grader.world.load.log import Log, Numbers


@dataclass(frozen=True)
class Summary:
    """Of the requests that ended within `seconds`. Waits in milliseconds, shares from 0 to 1, rates a second."""

    seconds: float
    requests: int
    rate: float  # all ends
    goodput: float  # those with 200
    share_503: float
    share_504: float
    share_other: float
    mean_ms: float  # of all ends: what Little's law needs
    in_flight: float  # under way by this log, on average: rate x mean wait without what the window's ends cut
    p50_ms: float  # of those with 200, from the scheduled time
    p95_ms: float
    p99_ms: float
    naive_p99_ms: float  # the same from the time of sending
    late_p50_ms: float  # by how much requests left after their time
    late_p99_ms: float


def summarise(log: Log, begin: float = 0.0, end: float = 0.0) -> Summary:
    """The figures of [begin, end); `end` is the time at which the sender stopped unless it is given."""
    end = end or float(log.sender["seconds"])
    part = log.between(begin, end)
    good = Log([r for r in part.requests if r.end == "200"], log.sender)
    count, seconds = max(len(part), 1), max(end - begin, 1e-9)
    ends, late = part.ends(), percentiles(lateness(part), 50, 99)
    other = len(part) - sum(ends.get(known, 0) for known in ("200", "503", "504"))
    waits = corrected(part)
    mean = float(waits.mean()) if len(waits) else float("nan")
    p50, p95, p99 = percentiles(corrected(good), 50, 95, 99)
    return Summary(
        seconds=seconds, requests=len(part), rate=len(part) / seconds, goodput=len(good) / seconds,
        share_503=ends.get("503", 0) / count, share_504=ends.get("504", 0) / count, share_other=other / count,
        mean_ms=1000 * mean, in_flight=under_way(log, begin, end), p50_ms=p50, p95_ms=p95, p99_ms=p99,
        naive_p99_ms=percentiles(naive(good), 99)[0], late_p50_ms=late[0], late_p99_ms=late[1],
    )  # fmt: skip


def under_way(log: Log, begin: float, end: float) -> float:
    """How many requests were waiting, on average over [begin, end), by the log alone. In the long run that is rate x
    mean wait (Little's law); over seconds the product is off by what the two ends cut, a batch or two."""
    waited = np.minimum(log.column("ended"), end) - np.maximum(log.column("scheduled"), begin)
    return float(np.clip(waited, 0, None).sum()) / max(end - begin, 1e-9)


def corrected(log: Log) -> Numbers:
    """Seconds that each request waited, from the time at which it should have been sent."""
    return log.column("ended") - log.column("scheduled")


def naive(log: Log) -> Numbers:
    """Seconds from the time at which it was sent: what most tools report."""
    return log.column("ended") - log.column("sent")


def lateness(log: Log) -> Numbers:
    return log.column("sent") - log.column("scheduled")


def percentiles(seconds: Numbers, *shares: float) -> list[float]:
    """In milliseconds; not-a-number where there is nothing."""
    return [float(p) for p in 1000 * np.percentile(seconds, shares)] if len(seconds) else [float("nan")] * len(shares)
