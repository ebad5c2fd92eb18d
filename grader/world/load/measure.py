"""Makes one run: loads a server that runs with one setting, and keeps all that was seen in a folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Protocol

import httpx
import psutil

from grader.model import Facts
from grader.workspace import write_atomic
from grader.world.load import closed, machine, poisson, runs
from grader.world.load.log import Log, write_requests
from grader.world.load.metrics import InFlight
from grader.world.load.settings import Setting
from grader.world.load.texts import text
from grader.world.metrics import fetch

APART = 10_000_000  # texts of two loads are numbered so far apart that none is asked twice


class Server(Protocol):
    """What is measured: a server of this machine (servers.py), or a pod (copies.py)."""

    @property
    def setting(self) -> Setting: ...
    @property
    def url(self) -> str: ...
    @property
    def configuration(self) -> str: ...
    def cpu_seconds(self) -> float: ...
    def witnesses(self) -> list[Facts]: ...


def measure(server: Server, load: Facts, repeat: int, order: int, folder: Path) -> runs.Run:
    """One run, from /metrics before it to the run folder. `order` numbers the runs of an experiment."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    for left in folder.parent.glob(f".{folder.name}.*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    part.mkdir(parents=True)
    began, first = datetime.now(UTC), (order + 1) * APART
    (part / "before.prom").write_text(fetch(server.url))
    with InFlight(server.url) as inside, Cpu(server) as cpu:
        log = send(server.url, load, first)
    cpu.facts["others"] = max(0.0, round(cpu.facts["others"] - log.sender["cpu"], 2))
    (part / "after.prom").write_text(fetch(server.url))
    (part / "configuration.yml").write_text(server.configuration)
    write_requests(part / "requests.csv", log.requests)
    inside.save(part / "inflight.csv", log.sender["began"])
    witnesses = server.witnesses()
    few = 8 if server.setting.where == "cluster" else 16  # a pod has one core
    cache = ask_twice(server.url, first + APART // 2, at_once=few) if repeat == 1 else None
    write_dispatchers(part / "dispatchers.csv", witnesses, log)
    facts = {
        "schema": 1, "setting": server.setting.facts(), "load": load, "repeat": repeat, "order": order,
        "began": began.isoformat(timespec="seconds"), "machine": machine.facts(), "sender": log.sender,
        "cpu": cpu.facts, "cache": cache, "trained": trained(witnesses, log), "witnesses": [last(w) for w in witnesses],
    }  # fmt: skip
    write_atomic(part / "run.json", (json.dumps(facts, indent=1) + "\n").encode())
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)
    return runs.read(folder)


def send(url: str, load: Facts, first: int) -> Log:
    if "users" in load:
        return closed.run(url, load["users"], load["seconds"], first)
    return poisson.run(url, load["rate"], load["seconds"], first, seed=first)


class Cpu:
    """Cores that the server used while the block ran, and that others did: `facts`."""

    def __init__(self, server: Server) -> None:
        self.server, self.facts = server, dict[str, float]()

    def __enter__(self) -> Cpu:
        self.began, self.own = time.monotonic(), time.process_time()
        self.used, self.machine = self.server.cpu_seconds(), busy()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self.began
        server = self.server.cpu_seconds() - self.used
        others = busy() - self.machine - server - (time.process_time() - self.own)
        self.facts = {"server": round(server / seconds, 2), "others": round(others / seconds, 2)}


def busy() -> float:
    """Seconds that all cores of the machine have worked so far."""
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "steal", 0.0))


def ask_twice(url: str, first: int, at_once: int = 16, rounds: int = 6) -> Facts:
    """The median wait (ms) for texts that are new, and for the same right after, which a cache would answer: of all
    rounds, and of each."""
    asked: list[list[float]] = []
    with httpx.Client(base_url=url, timeout=20) as client, ThreadPoolExecutor(at_once) as pool:

        def ask(number: int) -> float:
            began = time.monotonic()
            with contextlib.suppress(httpx.HTTPError):
                client.post("/classify", json={"texts": [text(number)]})
            return time.monotonic() - began

        list(pool.map(ask, range(first, first + at_once)))  # opens the connections
        for number in range(1, rounds + 1):
            texts = range(first + number * at_once, first + (number + 1) * at_once)
            asked.append([1000 * median(pool.map(ask, texts)) for _ in ("fresh", "again")])
    fresh, again = (median(column) for column in zip(*asked, strict=True))
    return {"fresh_ms": round(fresh, 2), "again_ms": round(again, 2), "rounds": asked}


def trained(witnesses: list[Facts], log: Log) -> float:
    """Seconds of the load until every dispatcher had learnt its first line; 0 where that was before, or none is."""
    moments = []
    for witness in witnesses:
        for method in {s["method"] for s in witness["states"]}:
            since = [s["at"] for s in witness["states"] if s["method"] == method and s["trained"]]
            moments.append(since[0] - log.sender["began"] if since else float(log.sender["seconds"]))
    return round(max([0.0, *moments]), 2)


def last(witness: Facts) -> Facts:
    """The witness with the last state of each of its dispatchers."""
    states = {state["method"]: state for state in witness["states"]}
    return {**{key: value for key, value in witness.items() if key != "states"}, "dispatchers": states}


def write_dispatchers(path: Path, witnesses: list[Facts], log: Log) -> None:
    lines = ["at,runner,method,trained,a,b,wait,queued"]
    for witness, state in states_of(witnesses, log):
        figures = ",".join(f"{state[key]:.6f}" for key in ("a", "b", "wait"))
        at = state["at"] - log.sender["began"]
        lines.append(
            f"{at:.3f},{witness['role']},{state['method']},{int(state['trained'])},{figures},{state['queued']}"
        )
    path.write_text("\n".join(lines) + "\n")


def states_of(witnesses: list[Facts], log: Log) -> Iterator[tuple[Facts, Facts]]:
    """What dispatchers had learnt during the load, from a second before it on."""
    for witness in witnesses:
        for state in witness["states"]:
            if -1 <= state["at"] - log.sender["began"] <= log.sender["seconds"]:
                yield witness, state
