"""What this machine has and lacks, and the one command that adds what is missing."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict

import psutil

from grader.kit import Kit
from grader.model import Facts
from grader.needs import Need, look_for

WANTED_MEMORY = 4  # GiB; two copies of torch and the embedder while a service runs
WANTED_DISK = 6  # GiB; the environment and two model stores


def examine(kit: Kit) -> list[Need]:
    """The machine itself, then every need of needs.toml."""
    memory = psutil.virtual_memory().total / 2**30
    disk = shutil.disk_usage(kit.root).free / 2**30
    version = ".".join(map(str, sys.version_info[:3]))
    return [
        Need("python", "Python", sys.version_info >= (3, 11), f"Python {version}", "install Python 3.11 or newer"),
        Need(
            "memory",
            "memory",
            memory >= WANTED_MEMORY,
            f"{memory:.1f} GiB of memory",
            f"{WANTED_MEMORY} GiB are wanted",
        ),
        Need("disk", "disk", disk >= WANTED_DISK, f"{disk:.0f} GiB free", f"free {WANTED_DISK} GiB in {kit.root}"),
        *(look_for(kit, name) for name in kit.needs),
    ]


def to_json(needs: list[Need]) -> Facts:
    return {"needs": [asdict(n) for n in needs]}


def to_lines(needs: list[Need]) -> list[str]:
    return [f"{'found  ' if n.there else 'missing'}  {n.found}" + ("" if n.there else f": {n.add}") for n in needs]
