"""Drift, in yardsticks: what takes more of the same run's yardstick than it took in the run before it.

Read from run files with `yardstick` (seconds, one or several) and `measures` ({name: {"seconds": [...]}}): those of
`./lab bench kit`. Machines differ, and a yardstick of the same run is what makes two of them comparable.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

RUNS = "docs/kit/runs/*.json"
AGAIN = "./lab bench kit {}"
WORTH = 0.15  # a sixth: less is what two runs of one state differ by


def read_runs(root: Path) -> list[dict[str, Any]]:
    """The oldest first."""
    return sorted((json.loads(path.read_text()) for path in root.glob(RUNS)), key=lambda run: str(run["made"]))


def yardsticks(run: dict[str, Any], name: str) -> float | None:
    measure = run["measures"].get(name)
    return median(measure["seconds"]) / median(run["yardstick"]) if measure else None


def find_drifts(root: Path) -> list[str]:
    """A line for each measure whose newest run is away from the one before it, with the command that measures again."""
    runs, lines = read_runs(root), []
    for name in dict.fromkeys(name for run in runs for name in run["measures"]):
        found = [value for run in runs if (value := yardsticks(run, name)) is not None]
        if len(found) > 1 and abs(found[-1] / found[-2] - 1) >= WORTH:
            told = f"drift: {name} takes {found[-1]:.2f} yardsticks, {found[-2]:.2f} in the run before"
            lines.append(f"{told}; again: {AGAIN.format(name)}")
    return lines
