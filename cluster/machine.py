"""What the machine itself offers the labs: `python -m cluster.machine memory`. Prints one sentence; exit code 1: too little."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

MEMORY = 4  # GiB; two copies of torch and the embedder while a service runs
DISK = 6  # GiB; the environment and two model stores
Finding = tuple[bool, str]


def python() -> Finding:
    return sys.version_info >= (3, 11), f"Python {'.'.join(map(str, sys.version_info[:3]))}"


def memory() -> Finding:
    found = psutil.virtual_memory().total / 2**30
    return found >= MEMORY, f"{found:.1f} GiB of memory"


def disk() -> Finding:
    found = shutil.disk_usage(Path(__file__)).free / 2**30
    return found >= DISK, f"{found:.0f} GiB of disk free"


QUESTIONS: dict[str, Callable[[], Finding]] = {q.__name__: q for q in (python, memory, disk)}


def main(question: str) -> None:
    good, said = QUESTIONS[question]()
    print(said)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
