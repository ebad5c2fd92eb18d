"""What the labs need of a machine: needs.toml names each need, how to look for it, and the one command that adds it.

LAB_WITHOUT=docker,gpu takes needs away, for tests.
"""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.environ import listed
from grader.errors import BadKit
from grader.kit import Kit
from grader.processes import run

LIMIT = 14  # seconds for a need whose entry names none; all are asked at once, on any machine


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
    found, _, remedy = found.partition("\nremedy: ")  # what our own commands add fits better than the usual
    return Need(name, there, found, remedy or entry["add"])


def _look(entry: dict[str, Any]) -> tuple[bool, str]:
    command, title = entry["command"], entry["title"]
    names = [sys.executable] if command[0] == "python" else command[0].split("|")
    program = next((name for name in names if shutil.which(name)), None)
    if program is None:
        return False, f"no {title}"
    limit = entry.get("limit", LIMIT)
    try:
        done = run([program, *command[1:]], limit, env=listed(os.environ))  # which also ends what a hung tool started
    except OSError as wrong:
        return False, f"no {title} ({type(wrong).__name__} from {program})"
    if done.code is None:
        return False, f"no {title} ({Path(program).name} did not answer within {limit} s)"
    first, *more = (done.stdout.strip() or done.output.strip() or "it said nothing").splitlines()
    if done.ok and re.search(entry.get("expect", ""), done.output):
        return True, first[:160]
    if program == sys.executable:  # cluster/machine.py speaks in whole sentences
        return False, "\n".join([first[:160], *(line for line in more[:1] if line.startswith("remedy: "))])
    return False, f"no {title} ({Path(program).name}: {first[:160]})"


def missing(kit: Kit, needs: Sequence[Any]) -> Need | None:
    """The first need that is not met: a name, or {any_of = [names]}, which one of them meets."""
    for need in needs:
        names = [need] if isinstance(need, str) else need["any_of"]
        seen = [look_for(kit, n) for n in names]
        if not any(s.there for s in seen):
            return seen[0]
    return None
