"""What .ci/run and `./lab bench drain` printed, as run files: a log is evidence, too, if it is kept as facts."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.world.load import machine

STAGE = re.compile(r"^\[ *(\d+)s\] == (.+)$", re.M)  # of .ci/run; pytest's lines have more signs of equality
TESTS = re.compile(r"= (?:(\d+) failed, )?(\d+) passed(?:, (\d+) skipped)?.* in ([\d.]+)s")
LAB = re.compile(r"^ *\[ *(\d+)s\] (\d\d)_\w+: done$", re.M)
# what a stage is called in the run file, by how its line begins; the first that fits
NAMES = {
    "./lab walk again": "again",
    "./lab walk": "walk",
    "./lab test": "tests",
    "in turn: mutants": "mutants",
    "mutants": "mutants",
    "in turn: two incidents": "incidents",
    "incidents": "incidents",
    "in turn": "turn",
    "turn": "turn",
    "Prometheus": "install",
}
DRAINED = re.compile(r"run (\d+)  what (.+?)  connections new  requests (\d+)  lost (\d+)  how .*?  longest_s ([\d.]+)")


def keep_ci(logs: Sequence[Path]) -> dict[str, Any]:
    """Seconds of each stage of one CI run, whose output is in these files, in their order."""
    texts = [log.read_text(errors="replace") for log in logs]
    stages: dict[str, int] = {}
    for text in texts:
        stages |= stages_of(text)
    if "walk" not in stages:
        raise LabError(f"{logs[0]} is no output of .ci/run.", "Keep it: .ci/run 2>&1 | tee FILE")
    first = texts[0].partition("again: what has not changed")[0]
    labs = {number: int(seconds) for seconds, number in LAB.findall(first)}
    failed, passed, skipped, _ = max(TESTS.findall("".join(texts)), key=lambda found: int(found[1]))
    counts = {"tests": sum(int(n or 0) for n in (failed, passed, skipped)), "skipped": int(skipped or 0)}
    return {"made": day_of(logs[0]), "machine": machine.facts(), "stages": stages, "total": sum(stages.values()),
            "labs": labs, "walk_without_06": stages["walk"] - labs.get("06", 0), **counts}  # fmt: skip


def keep_table(file: Path, command: str) -> dict[str, Any]:
    """The first table of Markdown in what that command printed."""
    lines = file.read_text().splitlines()
    first = next((at for at, line in enumerate(lines) if line.startswith("|")), len(lines))
    last = next((at for at in range(first, len(lines)) if not lines[at].startswith("|")), len(lines))
    if last - first < 3:
        raise LabError(f"{file} has no table.", "Keep what the command printed: COMMAND | tee FILE")
    return {"made": day_of(file), "machine": machine.facts(), "command": command, "table": lines[first:last]}


def stages_of(text: str) -> dict[str, int]:
    """The last stage ends where its own line of tests says, or with the line `== done`."""
    found = [(int(at), name) for at, name in STAGE.findall(text) if not name.startswith("=")]
    ends = [at for at, _ in found[1:]]
    if found and found[-1][1] != "done" and (tests := TESTS.findall(text)):
        ends.append(found[-1][0] + round(float(tests[-1][3])))
    named = [(named_as(name), end - at) for (at, name), end in zip(found, ends, strict=False)]
    return {name: seconds for name, seconds in named if name}


def named_as(stage: str) -> str:
    return next((name for begins, name in NAMES.items() if stage.startswith(begins)), "")


def day_of(log: Path) -> str:
    """When the log was last written: the run's end."""
    return datetime.fromtimestamp(log.stat().st_mtime, UTC).isoformat(timespec="seconds")


def keep_drains(files: Sequence[Path]) -> dict[str, Any]:
    """Runs of `./lab bench drain`: tables (drain.csv) or what it printed; each kind's sums, and all."""
    rows = [row for file in files for row in drains_of(file)]
    kinds: dict[str, list[dict[str, Any]]] = {"rolling update": [], "drain": []}
    for row in rows:
        kinds["drain" if row["what"].startswith("drain") else "rolling update"].append(row)
    made = max(day_of(file) for file in files)
    return {"made": made, "machine": machine.facts(), "rows": rows, "all": summed(rows),
            **{kind: summed(some) for kind, some in kinds.items()}}  # fmt: skip


def drains_of(file: Path) -> list[dict[str, Any]]:
    text = file.read_text()
    if text.startswith("run,"):
        found = [(r["what"], r["requests"], r["lost"], r["longest_s"]) for r in csv.DictReader(text.splitlines())]
    else:
        found = [row[1:] for row in DRAINED.findall(text)]
    return [
        {"what": what, "requests": int(requests), "lost": int(lost), "longest_s": float(longest)}
        for what, requests, lost, longest in found
    ]


def summed(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    longest = [row["longest_s"] for row in rows]
    sums = {key: sum(row[key] for row in rows) for key in ("requests", "lost")}
    return {"runs": len(rows), **sums, "least_s": min(longest, default=0.0), "most_s": max(longest, default=0.0)}
