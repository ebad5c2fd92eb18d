"""Run files: docs/limit/runs/KIND.json, dated and sealed. Pages and pictures are made of them, never typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from statistics import median

from grader.errors import LabError
from grader.kit import Kit
from grader.model import Facts
from grader.processes import run as run_command
from grader.workspace import write_atomic
from grader.world.load import machine
from labs.helpers.limit.interleave import entries, refused

PACKAGES = (
    "bentoml",
    "torch",
    "sentence-transformers",
    "transformers",
    "tokenizers",
    "uvicorn",
    "starlette",
    "aiohttp",
)


class BrokenSeal(LabError):
    """The run file `path` is not as it was written."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was changed after it was measured.", "Take it back from git, or measure again.")
        self.path = path


def folder() -> Path:
    return Kit().root / "docs" / "limit" / "runs"


def keep(run: Path, into: Path | None = None, versions: Facts | None = None) -> Path:
    """Writes the run folder as one file, KIND.json, in place of the run before it, which git has; returns it."""
    plan, seen = json.loads((run / "plan.json").read_text()), entries(run)
    times = sorted(entry["at"] for entry in seen)
    facts = {"made": times[0], "ended": times[-1], "plan": plan, "entries": seen, "refused": refused(run)}
    return write(plan["kind"], facts, into, versions)


def write(kind: str, facts: Facts, into: Path | None = None, versions: Facts | None = None) -> Path:
    """A run file of these facts, `made` among them, with the machine, the packages and the commit."""
    about = {"machine": machine.facts(), "versions": {**packages(PACKAGES), **(versions or {})}, "commit": commit()}
    whole = {"schema": 1, "kind": kind, **about, **facts}
    path = (into or folder()) / f"{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, (json.dumps({**whole, "seal": seal(whole)}, indent=1) + "\n").encode())
    return path


def read(path: Path) -> Facts:
    """Raises BrokenSeal when a figure was changed by hand."""
    found: Facts = json.loads(path.read_text())
    if found.pop("seal") != seal(found):
        raise BrokenSeal(path)
    return found


def path_of(kind: str) -> Path:
    return folder() / f"{kind}.json"


def seal(whole: Facts) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def packages(names: Sequence[str]) -> Facts:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Of the kit, with a plus where files differ from it; empty without git."""
    root = Kit().root
    head = run_command(["git", "rev-parse", "--short=12", "HEAD"], 20, root)
    dirty = run_command(["git", "status", "--porcelain", "--untracked-files=no"], 20, root)
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.ok else ""


def by_name(seen: Sequence[Facts]) -> dict[str, list[Facts]]:
    """The entries that have figures, by who was measured, in the order of their first round's names."""
    found: dict[str, list[Facts]] = {}
    for entry in seen:
        if not entry["problem"]:
            found.setdefault(entry["name"], []).append(entry)
    return found


def middle(group: Sequence[Facts], key: str) -> float:
    return float(median(entry[key] for entry in group))


def span(group: Sequence[Facts], key: str) -> tuple[float, float]:
    values = [float(entry[key]) for entry in group]
    return min(values), max(values)


def errors(group: Sequence[Facts]) -> int:
    """Requests that ended otherwise than with 200, the warm-up's included."""
    ends = [entry[part] for entry in group for part in ("ends", "ends_warm")]
    return sum(number for one in ends for end, number in one.items() if end != "200")
