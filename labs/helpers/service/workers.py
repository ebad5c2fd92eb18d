"""The processes behind one `bentoml serve`: which there are, what each is for, and what it holds in memory."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil

from grader.processes import carriers
from grader.world.servers import Served, role_of
from labs.helpers.charts.canvas import BLUE, GREY, Picture, canvas


@dataclass(frozen=True)
class Worker:
    """A process: its id and its parent's, what it does, and its own memory in MB (shared pages left out)."""

    pid: int
    parent: int
    role: str
    memory: float


TASKS = {
    "parent": "starts the others and holds the port's socket",
    "reloader": "watches the files; starts all again on a change",
    "api": "speaks HTTP, runs your function",
    "embeddingrunner": "holds MiniLM, runs encode",
    "classifierrunner": "holds the classifier, runs predict_proba",
}


def workers(server: Served) -> list[Worker]:
    """The parent first, then its children in the order of TASKS."""
    found = []
    for process in carriers(server.mark):
        with contextlib.suppress(psutil.Error):
            role = _role(process, server)
            found.append(Worker(process.pid, process.ppid(), role, _memory(process)))
    return sorted((w for w in found if w.role in TASKS), key=lambda w: list(TASKS).index(w.role))


def _role(process: psutil.Process, server: Served) -> str:
    command = process.cmdline()
    if "serve" in command:
        return "parent"
    return role_of(command) or ("reloader" if "circus import plugins" in " ".join(command) else "other")


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / 1e6
    except (psutil.AccessDenied, AttributeError):
        return float(process.memory_info().rss) / 1e6


def draw_processes(server: Served) -> Picture:
    """One bar a process, its memory across; the children are set in below their parent."""
    found = workers(server)
    figure, axes = canvas("Who is at work behind one `bentoml serve`?", 9, 0.9 + 0.62 * len(found))
    for row, worker in enumerate(found):
        runner = worker.role.endswith("runner")
        axes.barh(
            row, worker.memory, height=0.56, color=BLUE if runner else "white", edgecolor=BLUE if runner else GREY
        )
        axes.text(worker.memory, row, f"  {worker.memory:.0f} MB", va="center", fontsize=9)
    names = [f"{'' if w.role == 'parent' else '└ '}{w.role}, process {w.pid}\n{TASKS[w.role]}" for w in found]
    axes.set_yticks(range(len(found)), names, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.18 * max(w.memory for w in found))
    axes.set_xlabel("memory of its own, in MB (filled: holds a model)")
    return Picture(figure, processes_finding(found))


def processes_finding(found: list[Worker]) -> str:
    total = sum(w.memory for w in found)
    largest = max(found, key=lambda w: w.memory)
    who = ", ".join(w.role for w in found)
    told = f"{len(found)} processes ({who}) hold {total:.0f} MB of their own"
    return f"{told}; {largest.role} alone {largest.memory:.0f} MB, {largest.memory / total:.0%} of it."
