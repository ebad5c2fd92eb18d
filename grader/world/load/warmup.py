"""When a load became steady: found in its log, since every server and every machine takes its own time."""

from __future__ import annotations

import math

import numpy as np

from grader.world.load.log import Log, Numbers
from grader.world.load.summary import corrected

BIN = 0.5  # seconds
LATEST = 0.6  # of the load; what is steady only after that was not measured long enough


def end(log: Log, trained: float = 0.0) -> float | None:
    """Seconds from which on the waits are steady, not before `trained` (when the dispatchers had learnt); None when too
    little of the load is left."""
    stop = float(log.sender["seconds"])
    first = math.ceil(max(trained, 0.0) / BIN)
    waits = mean_waits(log, stop)[first:]
    last = int(stop * LATEST / BIN) - first
    if len(waits) < 8 or last < 1:
        return None
    return (first + cut(waits, last)) * BIN


def cut(series: Numbers, last: int) -> int:
    """MSER (White 1997): leave out as many as make the rest's standard error smallest, at most `last`; not more for a
    gain of a fifth, which chance gives."""
    errors = np.array([series[d:].var() / (len(series) - d) for d in range(last + 1)])
    return int(np.argmax(errors <= 1.2 * errors.min()))


def mean_waits(log: Log, stop: float) -> Numbers:
    """The mean wait of what ended in each bin; a bin in which nothing ended takes the one before."""
    ended, waits = log.column("ended"), corrected(log)
    means: list[float] = []
    for number in range(int(stop / BIN)):
        inside = waits[(ended >= number * BIN) & (ended < (number + 1) * BIN)]
        means.append(float(inside.mean()) if len(inside) else (means[-1] if means else 0.0))
    return np.array(means)


def rise(at: Numbers, values: Numbers) -> float:
    """By which share of its mean a series rises from its begin to its end, 0 when that may be chance (|t| < 4 for the
    slope over ten means)."""
    if len(values) < 20 or values.mean() == 0:
        return 0.0
    x = np.array([part.mean() for part in np.array_split(at, 10)])
    y = np.array([part.mean() for part in np.array_split(values, 10)])
    slope, level = np.polyfit(x, y, 1)
    left = y - (slope * x + level)
    error = math.sqrt(float((left**2).sum()) / 8 / float(((x - x.mean()) ** 2).sum()))
    if error > 0 and abs(slope) / error < 4:
        return 0.0
    return float(slope * (at[-1] - at[0]) / values.mean())
