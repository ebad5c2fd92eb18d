"""`./lab test`: first that planted failures are caught, then everything else. Stops at the first stage that fails."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from grader.processes import run

LIMIT = 3600


def run_tests(root: Path, options: list[str]) -> int:
    """The exit code of the first stage that fails, or 0."""
    python = [sys.executable, "-m"]
    stages = [
        ("planted failures are caught", [*python, "pytest", "-q", "-x", "tests/test_planted.py"]),
        ("notebooks are up to date", [*python, "grader.cli", "build", "--check"]),
        ("ruff", [*python, "ruff", "check", "."]),
        ("ruff format", [*python, "ruff", "format", "--check", "."]),
        ("mypy", [*python, "mypy"]),
        ("tests", [*python, "pytest", "-v", "--durations=10", *options]),
    ]
    if options:  # somebody looks at one thing
        stages = stages[-1:]
    began = time.monotonic()
    for name, command in stages:
        print(f"[{time.monotonic() - began:4.0f}s] {name}", flush=True)
        done = run(
            command, LIMIT, cwd=root, env={k: v for k, v in os.environ.items() if k != "LAB_KIT"},
            on_line=lambda line: print(f"[{time.monotonic() - began:4.0f}s]   {line}", flush=True),
        )  # fmt: skip
        if not done.ok:
            print(f"[{time.monotonic() - began:4.0f}s] stopped: {name} did not pass", flush=True)
            return done.code if done.code else 1
    print(f"[{time.monotonic() - began:4.0f}s] all passed", flush=True)
    return 0
