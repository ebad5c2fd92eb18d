"""Layers, conditions, team cards and a control plane's bill, as layers.toml states them; and runs of layers, measured.

A run (choice/runs/LAYER.json) is what a layer did on this machine: when it first answered, what it used, what it said.
Its seal is a hash over all of it, and anyone can compute its row of the table from it again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import tomllib
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from grader.model import Facts

STATED = Path(__file__).with_name("layers.toml")
RUNS, TABLE = Path("choice/runs"), Path("choice/layers.csv")
MEASURED = ("bentoml", "mlserver")  # what runs on any machine, as processes
# What the team writes for each, in its workspace. Preprocessing is the same file for both.
OWN = {
    "bentoml": ("service/service.py", "service/runnable.py", "service/bentofile.yaml"),
    "mlserver": ("choice/mlserver/*.py", "choice/mlserver/*.json"),
}
COLUMNS = ("layer", "files", "lines", "processes", "memory_mb", "first_s", "ms", "run")


@cache
def stated() -> Facts:
    """layers.toml: layers, conditions, cards, things, bill, questions."""
    return tomllib.loads(STATED.read_text())


def broken(card: str, layer: str) -> dict[str, str]:
    """The conditions of that card which the layer does not meet, and why."""
    asked = stated()["cards"][card]["asks"]
    why = {name: stated()["conditions"][name].get("breaks", {}).get(layer, "") for name in asked}
    return {name: text for name, text in why.items() if text}


def right_layers(card: str) -> list[str]:
    return [layer for layer in stated()["layers"] if not broken(card, layer)]


# ---------------------------------------------------------------- runs


def seal(run: Facts) -> str:
    kept = {key: value for key, value in run.items() if key != "seal"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def own_files(root: Path, layer: str) -> dict[str, int]:
    """Lines of code (neither blank nor comment) of each file that the team writes for that layer."""
    paths = sorted(path for form in OWN[layer] for path in root.glob(form))
    return {path.relative_to(root).as_posix(): count_lines(path.read_text(errors="replace")) for path in paths}


def count_lines(text: str) -> int:
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


def row(run: Facts) -> dict[str, str]:
    """What the table says of a run. Raises where the run is not of its form."""
    samples = [(int(s["processes"]), float(s["mb"])) for s in run["samples"]]
    waits = [float(a["ms"]) for a in run["answers"]]
    told: dict[str, Any] = {
        "layer": run["layer"],
        "files": len(run["files"]),
        "lines": sum(map(int, run["files"].values())),
        "processes": max(n for n, _ in samples),
        "memory_mb": round(max(mb for _, mb in samples)),
        "first_s": round(float(run["first_s"]), 1),
        "ms": round(median(waits), 1),
        "run": run["seal"],
    }
    return {name: str(told[name]) for name in COLUMNS}


def read_run(root: Path, layer: str) -> Facts:
    """The kept run of that layer. Raises OSError, ValueError."""
    run = json.loads((root / RUNS / f"{layer}.json").read_text())
    if not isinstance(run, dict):
        raise ValueError("it is no run")
    return run


def write_run(root: Path, run: Facts) -> None:
    path = root / RUNS / f"{run['layer']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**run, "seal": seal(run)}, indent=1) + "\n")


def read_table(root: Path) -> list[dict[str, str]]:
    """Raises OSError, csv.Error."""
    return list(csv.DictReader((root / TABLE).read_text().splitlines()))


def write_table(root: Path, rows: list[dict[str, str]]) -> None:
    lines = [",".join(COLUMNS), *(",".join(r[name] for name in COLUMNS) for r in rows)]
    (root / TABLE).write_text("\n".join(lines) + "\n")
