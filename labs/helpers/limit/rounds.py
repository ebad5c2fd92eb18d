"""One round of one contestant: start, check, warm up, measure, end. What is seen is an entry (see __init__.py)."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from grader.errors import LabError
from grader.model import Facts
from grader.processes import started
from grader.world.load import target
from grader.world.load.log import Log
from grader.world.load.summary import Summary, summarise
from labs.helpers.limit import watch
from labs.helpers.limit.asker import PATIENCE, Load
from labs.helpers.limit.contestant import Contestant, Running

SENDER = "sender"
APART = 10_000_000  # texts of two rounds are numbered so far apart that no text is asked twice


class SenderBroke(LabError):
    """The sender ended without a log: `output` is what it printed."""

    def __init__(self, output: str) -> None:
        super().__init__("The load's sender ended without a log.", output[-600:])
        self.output = output


def measure(contestant: Contestant, load: Load, number: int) -> Facts:
    """One entry, from the server's start to its end. `number` numbers the rounds of a run. What goes wrong with the
    contestant is its `problem`; what goes wrong with the kit raises."""
    entry: Facts = {
        "name": contestant.name,
        "at": now(),
        "load": asdict(load),
        "problem": "",
        "facts": contestant.facts,
    }
    try:
        with contestant.start() as running:
            if running.problem:
                return {**entry, "problem": f"{running.problem}\n{running.log()}"}
            told, *_ = [contestant.check(url) for url in getattr(running, "urls", (running.url,))]
            seen = ask(contestant, running, load, first=number * APART)
            if not seen["goodput"]:
                return {**entry, "problem": f"no good answer in {load.seconds:g} s; all ends: {seen['ends']}"}
            return {**entry, **seen, "first_s": running.seconds, "facts": {**contestant.facts, **told}}
    except LabError as trouble:
        return {**entry, "problem": str(trouble)}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def ask(contestant: Contestant, running: Running, load: Load, first: int) -> Facts:
    """Loads a running server, and says what it gave and took in the seconds after the warm-up."""
    urls, marks = getattr(running, "urls", (running.url,)), getattr(running, "marks", (running.mark,))
    for url in urls:
        target.check(url)
    where = {"urls": urls, "path": contestant.path, "template": contestant.template}
    options = json.dumps({**where, "load": asdict(load), "first": first})
    with tempfile.TemporaryDirectory(prefix="asker-") as folder:
        command = [sys.executable, "-P", "-m", "labs.helpers.limit.asker", options, folder]
        with started(command) as (sender, own):
            assert sender.stdout
            line = sender.stdout.readline()
            if not line.startswith("{"):
                raise SenderBroke(line + sender.stdout.read())
            begin = json.loads(line)["begin"] + load.warm
            processes = [process for mark in marks for process in watch.processes_of(mark)]
            roles = watch.roles_of(processes, contestant.role)
            asking = watch.processes_of(own)
            roles |= dict.fromkeys((process.pid for process in asking), SENDER)
            sleep_until(begin)
            before = watch.look([*processes, *asking])
            sleep_until(begin + load.seconds)
            after = watch.look([*processes, *asking])
            memory = watch.memory(processes, roles)
            with contextlib.suppress(subprocess.TimeoutExpired):
                sender.wait(PATIENCE + 10)
            if not (Path(folder) / "sender.json").is_file():  # written last
                raise SenderBroke("" if sender.poll() is None else sender.stdout.read())
        log = Log.load(Path(folder))
    used = watch.cores(before, after, roles)
    return {**told_by(log, load), "cores": used, **watch.machine(before, after, used), **totals(memory)}


def sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))


def told_by(log: Log, load: Load) -> Facts:
    """The log's figures of the seconds that count."""
    stop = load.warm + load.seconds
    seen: Summary = summarise(log, load.warm, stop)
    figures = {
        key: round(getattr(seen, key), 2) for key in ("goodput", "rate", "p50_ms", "p95_ms", "p99_ms", "mean_ms")
    }
    return {**figures, "ends": log.between(load.warm, stop).ends(), "ends_warm": log.between(0, load.warm).ends()}


def totals(memory: list[Facts]) -> Facts:
    sums = {key: round(sum(one[key] for one in memory), 1) for key in ("rss_mb", "pss_mb")}
    return {"processes": memory, **sums}
