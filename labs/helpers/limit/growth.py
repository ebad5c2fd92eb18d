"""How the service grows: with people, with replicas, with longer texts. Each part is a run of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from grader.errors import LabError
from grader.processes import carriers
from grader.world.servers import Served
from labs.helpers.limit import steps
from labs.helpers.limit.asker import Load
from labs.helpers.limit.contestant import Contestant
from labs.helpers.limit.interleave import Plan
from labs.helpers.limit.store import agreeing

BEST = "nice"  # the ladder's last step that is still torch
CLIENTS = (1, 4, 16, 80, 400)
TOKENS = (8, 32, 128, 256)
REPLICAS = (1, 2, 4)
SHARE = 0.45  # cores of a replica: four of them leave room for the sender on two cores
PERIOD = 100_000  # microseconds


def clients(rounds: int) -> tuple[Plan, list[Contestant]]:
    chosen = steps.contestants(("reference", BEST))
    loads = tuple(Load(clients=count) for count in CLIENTS)
    return Plan("growth-clients", tuple(c.name for c in chosen), rounds, loads=loads), chosen


def tokens(rounds: int) -> tuple[Plan, list[Contestant]]:
    chosen = steps.contestants(("reference", BEST))
    loads = tuple(Load(tokens=count, warm=6.0, seconds=10.0) for count in TOKENS)
    return Plan("growth-tokens", tuple(c.name for c in chosen), rounds, loads=loads), chosen


def replicas(rounds: int) -> tuple[Plan, list[Contestant]]:
    chosen = [replicated(name, count) for name in ("reference", BEST) for count in REPLICAS]
    return Plan("growth-replicas", tuple(c.name for c in chosen), rounds, loads=(Load(warm=8.0),)), chosen


PARTS: dict[str, Callable[[int], tuple[Plan, list[Contestant]]]] = {
    "clients": clients,
    "tokens": tokens,
    "replicas": replicas,
}


@dataclass(frozen=True)
class Replicas:
    """Several servers as one: the clients are spread evenly over `urls`, as a Service spreads new connections."""

    parts: tuple[Served, ...]
    mark: str
    seconds: float

    @property
    def url(self) -> str:
        return self.parts[0].url

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(part.url for part in self.parts)

    @property
    def problem(self) -> str:
        return next((part.problem for part in self.parts if part.problem), "")

    @property
    def marks(self) -> tuple[str, ...]:
        return tuple(part.mark for part in self.parts)

    def log(self) -> str:
        return "\n".join(part.log() for part in self.parts)


def replicated(name: str, count: int) -> Contestant:
    """That step in so many replicas, each with SHARE of a core and one embedding process."""
    one = {"runners": {runner: {"resources": {"cpu": 1}} for runner in ("embeddingrunner", "classifierrunner")}}
    step = replace(steps.KNOWN[name], config=steps.merge(steps.KNOWN[name].config, one))
    facts = {"step": name, "replicas": count, "cores_each": SHARE, "limited_by": group_kind()}
    label = f"{name}-x{count}"
    return Contestant(
        label, f"{count} replicas", lambda: opened(step, count), check=agreeing(label, 0.99, 100), facts=facts
    )


@contextlib.contextmanager
def opened(step: steps.Step, count: int) -> Iterator[Replicas]:
    """Each starts with the whole machine, and is limited once it is ready."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(steps.opened(step)) for _ in range(count)]
        for part in parts:
            stack.enter_context(limited(part.mark))
        yield Replicas(tuple(parts), "", round(time.monotonic() - began, 1))


# ---------------------------------------------------------------- control groups


class CannotLimit(LabError):
    """The cores of a replica cannot be limited here."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"Cores cannot be limited here: {problem}.", "It takes root and a Linux with control groups.")


def group_kind() -> str:
    """How the cores of processes can be limited here; "" where they cannot. Both kinds want root."""
    if Path("/sys/fs/cgroup/cgroup.controllers").is_file():
        return "cgroup v2"
    return "cgroup v1" if Path("/sys/fs/cgroup/cpu").is_dir() else ""


@contextlib.contextmanager
def limited(mark: str, share: float = SHARE) -> Iterator[None]:
    """All processes that carry the mark share so much of a core, as those of a pod with a limit. Raises CannotLimit."""
    group = Path("/sys/fs/cgroup" if group_kind() == "cgroup v2" else "/sys/fs/cgroup/cpu") / f"serving-lab-{mark}"
    try:
        group.mkdir()
        write_quota(group, round(share * PERIOD))
        for process in carriers(mark):
            (group / "cgroup.procs").write_text(str(process.pid))
    except OSError as refused:
        leave(group, mark)
        raise CannotLimit(str(refused)) from refused
    try:
        yield
    finally:
        leave(group, mark)


def write_quota(group: Path, quota: int) -> None:
    if group_kind() == "cgroup v2":
        (group / "cpu.max").write_text(f"{quota} {PERIOD}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))


def leave(group: Path, mark: str) -> None:
    for process in carriers(mark):
        with contextlib.suppress(psutil.Error, OSError):
            (group.parent / "cgroup.procs").write_text(str(process.pid))
    with contextlib.suppress(OSError):
        group.rmdir()
