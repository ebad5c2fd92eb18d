"""Stand-in until tools-7 is merged."""

from collections.abc import Callable
from pathlib import Path
from shutil import which


def find(name: str, install: bool = True, say: Callable[[str], None] = print) -> Path:
    return Path(which(name) or name)
