"""The README's table of speed and size: `.venv/bin/python tests/measure.py`, in a fresh clone with empty caches.

Takes about five minutes on two cores; run nothing beside it.
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

from count_lines import ROOT, total

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
        print(f"clone, with its history | <= 5 MB | {size_of_clone(clone)}", flush=True)
        env = {"PIP_CACHE_DIR": str(caches / "pip"), "UV_CACHE_DIR": str(caches / "uv")}
        helped = ["./lab", "--help"]
        print(f"environment from nothing | <= 240 s | {seconds(helped, clone, **env):.0f} s", flush=True)
        shutil.rmtree(clone / ".venv")
        print(f"environment, warm cache | <= 40 s | {seconds(helped, clone, **env):.0f} s", flush=True)
        print(f"`./lab --help` | <= 0.5 s | {spread(helped, clone)}", flush=True)
        print(f"`./lab walk`, first | - | {seconds(['./lab', 'walk'], clone):.0f} s", flush=True)
        grade = ["./lab", "grade", "sc1", "--work", ".lab/walk"]
        print(f"`./lab grade sc1` | <= 12 s | {spread(grade, clone)}", flush=True)
        print(f"`./lab walk`, unchanged | - | {seconds(['./lab', 'walk'], clone):.0f} s", flush=True)
        toys = [".venv/bin/python", "-m", "pytest", "-q", "tests/test_toykit.py"]
        print(f"the toy kit's tests | <= 20 s | {seconds(toys, clone):.0f} s", flush=True)
    print(f"engine | <= 2,600 lines | {total('grader')} lines of code")


if __name__ == "__main__":
    main()
