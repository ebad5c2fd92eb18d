"""The README's table of what a fresh clone takes, with empty caches: `.venv/bin/python tests/measure.py`.

Two minutes on two cores; run nothing beside it. What grading and a walk take: `./lab bench kit`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from count_lines import ROOT

REPEATS = 5


def seconds(command: list[str], cwd: Path, **env: str) -> float:
    began = time.monotonic()
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}  # as ./lab does
    done = subprocess.run(command, cwd=cwd, env={**inherited, **env}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command} ended with {done.returncode}: {done.stderr[-800:]}{done.stdout[-800:]}")
    return time.monotonic() - began


def spread(command: list[str], cwd: Path, **env: str) -> str:
    """Median and range of some runs; one more before them warms the caches and is not counted."""
    times = [seconds(command, cwd, **env) for _ in range(REPEATS + 1)][1:]
    return f"{statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f}, {REPEATS} runs)"


def size_of_clone(clone: Path) -> str:
    return f"{sum(p.stat().st_size for p in clone.rglob('*') if p.is_file()) / 1e6:.1f} MB"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone, caches = Path(folder) / "clone", Path(folder) / "caches"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        say("what", "wanted", "a fresh clone takes")
        say("---", "---", "---")
        say("clone, with its history", "<= 20 MB", size_of_clone(clone))
        env = {"PIP_CACHE_DIR": str(caches / "pip"), "UV_CACHE_DIR": str(caches / "uv")}
        helped = ["./lab", "--help"]
        say("environment from nothing, empty caches", "<= 240 s", f"{seconds(helped, clone, **env):.0f} s")
        shutil.rmtree(clone / ".venv")
        say("environment, warm cache", "<= 40 s", f"{seconds(helped, clone, **env):.0f} s")
        say("`./lab --help`", "<= 0.5 s", spread(helped, clone))
        toys = [".venv/bin/python", "-m", "pytest", "-q", "tests/test_toykit.py"]
        say("the toy kit's tests", "<= 20 s", f"{seconds(toys, clone):.0f} s")


def say(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
