"""How fast this machine is now, and whether what does not answer is at work: a slow machine is no wrong work.

limit = patience(60)          # longer where an import takes longer than where the 60 s were chosen
...
if is_at_work(cpu_of(mark)):  # it lives and computes: the machine's trouble
    raise too_slow("the server", limit)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import cache

import psutil

from grader.errors import LabError
from grader.processes import carriers, run

USUAL = 0.3  # seconds that `import numpy` takes in a new process where the limits were chosen
MOST = 8.0
SHARE = 0.2  # of one core: what waits for ever uses next to nothing
CROWD = 4.0  # processes that want the same core: with more, an idle server's own checks would look like work


@cache
def slowness() -> float:
    """How many times slower than usual, from 1 to MOST: the better of two imports, since the first may read a disk."""
    took = min(run([sys.executable, "-I", "-c", "import numpy"], 60).seconds for _ in range(2))
    return min(max(took / USUAL, 1.0), MOST)


def patience(seconds: float) -> float:
    return round(seconds * slowness(), 1)


def cpu_of(mark: str) -> Callable[[], float]:
    """Seconds of CPU that whatever carries the mark has used so far."""

    def seconds() -> float:
        used = 0.0
        for process in carriers(mark):
            try:
                used += sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        return used

    return seconds


def has_lived(mark: str, seconds: float) -> bool:
    """Whether all that carries the mark is that old: what dies and is started again computes, too."""
    now, found = time.time(), carriers(mark)
    return bool(found) and all(now - process.create_time() > seconds for process in found)


CPU = "cat /proc/[0-9]*/stat 2>/dev/null"  # for a shell in a container


def cpu_told(stat: str) -> float:
    """The same, from what CPU printed; a name may hold spaces and brackets, so fields count from the last one."""
    rows = [line.rpartition(")")[2].split() for line in stat.splitlines() if ")" in line]
    return sum(int(row[11]) + int(row[12]) for row in rows if len(row) > 12) / 100


def is_at_work(seconds: Callable[[], float], watch: float = 2.0) -> bool:
    """Whether it goes on using a processor, or what it gets of one where many want one."""
    before, began = seconds(), time.monotonic()
    time.sleep(watch)
    crowd = min(max(psutil.getloadavg()[0] / (psutil.cpu_count() or 1), 1.0), CROWD)
    return seconds() - before > SHARE / crowd * (time.monotonic() - began)


def too_slow(what: str, limit: float) -> LabError:
    return LabError(
        f"This machine is too slow at the moment: after {limit:g} s {what} was still at work.",
        "End what else is running here, then grade again.",
    )
