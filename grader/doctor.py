"""What this machine has and lacks, and the one command that adds what is missing."""

import json
import shutil
import sys
from dataclasses import asdict

import psutil

from grader.kit import Kit
from grader.needs import Need, look_for

MEMORY = 4  # GiB; two copies of torch and the embedder while a service runs
DISK = 6  # GiB; the environment and two model stores


def examine(kit: Kit) -> list[Need]:
    """The machine itself, then every need of needs.toml."""
    memory = psutil.virtual_memory().total / 2**30
    disk = shutil.disk_usage(kit.root).free / 2**30
    version = ".".join(map(str, sys.version_info[:3]))
    return [
        Need("python", sys.version_info >= (3, 11), f"Python {version}", "install Python 3.11 or newer"),
        Need("memory", memory >= MEMORY, f"{memory:.1f} GiB of memory", f"{MEMORY} GiB are wanted"),
        Need("disk", disk >= DISK, f"{disk:.0f} GiB of disk free", f"free {DISK} GiB for {kit.root}"),
        *(look_for(kit, name) for name in kit.needs),
    ]


def to_json(needs: list[Need]) -> str:
    """For a class: one object, so that an instructor can gather many."""
    return json.dumps({"needs": [asdict(n) for n in needs]}, indent=1) + "\n"
