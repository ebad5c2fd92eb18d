"""What the labs need of a machine: needs.toml names each need, how to look for it, and the one command that adds it.

LAB_WITHOUT=docker,gpu takes needs away, for tests.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.errors import BadKit
from grader.kit import Kit


@dataclass(frozen=True)
class Need:
    """`found` says what was seen, `add` is the one command (or sentence) that adds it."""

    name: str
    there: bool
    found: str
    add: str

    def __str__(self) -> str:
        return self.found if self.there else f"{self.found}: {self.add}"


def look_for(kit: Kit, name: str) -> Need:
    """Runs the need's command. Absent, failing or slow: the need is not there."""
    if name not in kit.needs:
        raise BadKit(kit.root / "grader" / "needs.toml", f"does not name the need {name!r}")
    entry = kit.needs[name]
    there, found = _look(entry)
    if name in os.environ.get("LAB_WITHOUT", "").split(","):
        there, found = False, f"no {entry['title']} (taken away by LAB_WITHOUT)"
    return Need(name, there, found, entry["add"])


def _look(entry: dict[str, Any]) -> tuple[bool, str]:
    command, title = entry["command"], entry["title"]
    program = next((p for p in command[0].split("|") if shutil.which(p) or Path(p).is_file()), None)
    if program is None:
        return False, f"no {title}"
    try:
        done = subprocess.run([program, *command[1:]], capture_output=True, text=True, timeout=entry.get("limit", 10))
    except (OSError, subprocess.TimeoutExpired) as wrong:
        return False, f"no {title} ({type(wrong).__name__} from {program})"
    said = (done.stdout.strip() or done.stderr.strip() or "it said nothing").splitlines()[0]
    if done.returncode != 0 or not re.search(entry.get("expect", ""), done.stdout):
        return False, f"no {title} ({Path(program).name}: {said[:120]})"
    return True, said[:120]


def missing(kit: Kit, needs: Sequence[Any]) -> Need | None:
    """The first need that is not met: a name, or {any_of = [names]}, which one of them meets."""
    for need in needs:
        names = [need] if isinstance(need, str) else need["any_of"]
        seen = [look_for(kit, n) for n in names]
        if not any(s.there for s in seen):
            return seen[0]
    return None
