"""Packages that a step adds, in folders of their own: .lab/limit/NAME, on PYTHONPATH of that step's server alone.

The kit's own environment stays as the lock file says, so the steps without them run as a learner's service does. Each
NAME.txt here has the pins with hashes, and in its first lines the command that made it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from grader.environ import child_environ
from grader.processes import run
from grader.workspace import locked, write_atomic
from labs.helpers.limit.store import CannotPrepare, state

LIMIT = 300.0  # seconds for one installation


def pins(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.txt")


def folder(name: str) -> Path:
    return state() / name


def digest(name: str) -> str:
    return hashlib.sha256(pins(name).read_bytes() + sys.version.encode()).hexdigest()[:16]


def bring(name: str) -> Path:
    """The folder with those packages, installed unless it is there. Raises CannotPrepare."""
    made = folder(name) / ".made"
    with locked(state().parent / "limit.lock", f"the packages {name}", print):
        if not (made.is_file() and made.read_text() == digest(name)):
            uv, target = Path(sys.executable).with_name("uv"), ["--target", str(folder(name))]
            words = ["pip", "install", "--python", sys.executable, "--no-deps", "--require-hashes", *target]
            environ = {**child_environ(), "UV_NO_CONFIG": "1"}
            done = run([str(uv), "--quiet", *words, "-r", str(pins(name))], LIMIT, env=environ)
            if not done.ok:
                raise CannotPrepare(f"The packages of {name}", done.tail(3))
            write_atomic(made, digest(name).encode())
    return folder(name)


def versions(*names: str) -> dict[str, str]:
    """Package -> version of those pins."""
    lines = [line for name in names for line in pins(name).read_text().splitlines() if "==" in line and line[0] != "#"]
    return dict(line.split()[0].split("==") for line in lines)
