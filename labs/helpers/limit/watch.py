"""What the processes of a server use: cores between two looks, and memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from grader.model import Facts
from grader.processes import carriers

MIB = 1 << 20


@dataclass(frozen=True)
class Look:
    """At one moment: seconds that each process has used so far, and all cores of the machine."""

    at: float
    used: Mapping[int, float]
    busy: float


def processes_of(mark: str) -> list[psutil.Process]:
    return carriers(mark)


def look(processes: Sequence[psutil.Process]) -> Look:
    used = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            used[process.pid] = sum(process.cpu_times()[:2])
    times = psutil.cpu_times()
    resting = times.idle + getattr(times, "iowait", 0.0)
    return Look(time.monotonic(), used, sum(times[:8]) - resting)


def cores(before: Look, after: Look, roles: Mapping[int, str]) -> dict[str, float]:
    """Cores used between the two, by role."""
    found: dict[str, float] = {}
    for pid in before.used.keys() & after.used.keys():
        role = roles.get(pid, "other")
        found[role] = found.get(role, 0.0) + (after.used[pid] - before.used[pid]) / (after.at - before.at)
    return {role: round(value, 3) for role, value in sorted(found.items())}


def machine(before: Look, after: Look, known: Mapping[str, float]) -> Facts:
    """`busy`: share of the machine that worked; `others`: cores that used whoever is not in `known`."""
    worked = (after.busy - before.busy) / (after.at - before.at)
    share = worked / (psutil.cpu_count() or 1)
    return {"busy": round(share, 3), "others": round(max(0.0, worked - sum(known.values())), 3)}


def roles_of(processes: Sequence[psutil.Process], role: Callable[[Sequence[str]], str]) -> dict[int, str]:
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.Error):
            found[process.pid] = role(process.cmdline())
    return found


def memory(processes: Sequence[psutil.Process], roles: Mapping[int, str]) -> list[Facts]:
    """MiB of each process: RSS, and PSS, which counts what n processes share as 1/n (Linux; elsewhere RSS again)."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            rss = process.memory_info().rss / MIB
            share = shared_out(process.pid)
            pss = rss if share is None else share
            found.append({"role": roles.get(process.pid, "other"), "rss_mb": round(rss, 1), "pss_mb": round(pss, 1)})
    return sorted(found, key=lambda one: (one["role"], -one["rss_mb"]))


def shared_out(pid: int) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return None
