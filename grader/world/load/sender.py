"""Runs a sender in a process of its own, so it is no part of what is measured, and reads the log that it leaves."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from grader.errors import LabError
from grader.processes import run
from grader.world.load import target
from grader.world.load.log import Log

PATIENCE = 20.0  # seconds that a request waits for its answer; BentoML itself gives up earlier
PATH = "/classify"


class SenderFailed(LabError):
    """The sender ended without a log: `output` is what it printed."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(f"The sender {name} left no log.", f"The end of what it printed:\n{output}")
        self.output = output


def send(name: str, options: dict[str, Any]) -> Log:
    """Runs `python -m grader.world.load.NAME OPTIONS FOLDER` and returns its log."""
    target.check(options["url"])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-m", f"grader.world.load.{name}", json.dumps(options), folder]
        done = run(command, options["seconds"] + PATIENCE + 30)
        if not done.ok or not (Path(folder) / "requests.csv").is_file():
            raise SenderFailed(name, done.tail())
        return Log.load(Path(folder))


class Meter:
    """What the sender uses of its core, and what nobody uses of the machine, from now on."""

    def __init__(self) -> None:
        self.began, self.cpu = time.monotonic(), time.process_time()
        psutil.cpu_percent()

    def read(self) -> dict[str, float]:
        seconds = time.monotonic() - self.began
        cpu = (time.process_time() - self.cpu) / seconds
        return {"began": self.began, "cpu": round(cpu, 3), "idle": round(1 - psutil.cpu_percent() / 100, 3)}
