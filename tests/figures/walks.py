"""A walk, or one lab of it, as a run file: times of labs and gradings, and what each prediction measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grader.errors import LabError
from grader.world.load import machine


def keep_walk(work: Path, name: str = "docs/runs/walk.json") -> dict[str, Any]:
    """The run of the walk in that workspace. Raises LabError unless it has a report."""
    report = work / "results" / "report.json"
    if not report.is_file():
        raise LabError(f"{work} has no report of a walk.", "`./lab walk` makes one.")
    kept = json.loads(report.read_text())
    return {
        "made": kept["made"],
        "machine": {**machine.facts(), **kept["machine"]},
        "labs": {path.name[:2]: seconds_of(path) for path in sorted((work / "results").glob("[0-9][0-9]_*.ipynb"))},
        "criteria": {
            one["id"].split("-")[0]: {
                "seconds": one["seconds"],
                "verdict": one["verdict"],
                "checks": len(one["checks"]),
            }
            for one in kept["criteria"]
        },
        "image": image_of(work.parent / "layers"),
        "answers": answers_of(work),
    }


def keep_lab(work: Path, number: str) -> dict[str, Any]:
    """The run of one lab, as of those that the walk leaves out. Raises LabError unless it was walked to its end."""
    found = next((work / "results").glob(f"{number}_*.ipynb"), None)
    seconds = seconds_of(found) if found else 0.0
    if not found or not seconds:
        raise LabError(f"{work} has no lab {number} that ran to its end.", f"`./lab walk --later {number}` runs it.")
    answers = {key: value for key, value in answers_of(work).items() if key.startswith(number)}
    about = json.loads(found.read_text())["metadata"]["papermill"]
    return {"made": about["end_time"], "machine": machine.facts(), "labs": {number: seconds}, "answers": answers}


def answers_of(work: Path) -> dict[str, Any]:
    answers = json.loads((work / "answers.json").read_text())
    return {key: entry["measured"] for key, entry in sorted(answers.items()) if "measured" in entry}


def seconds_of(notebook: Path) -> float:
    """That papermill took for it."""
    about = json.loads(notebook.read_text())["metadata"].get("papermill", {})
    return round(float(about.get("duration") or 0.0), 1)


def image_of(folder: Path) -> dict[str, float]:
    """MB of the image that sc4 took apart, unpacked and to pull, and of its parts; nothing where there was none."""
    layers = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    sizes = {"unpacked": sum(one["unpacked"] for one in layers), "packed": sum(one["packed"] for one in layers)}
    for one in layers:
        for part, size in one["groups"].items():
            sizes[part] = sizes.get(part, 0) + size
    return {part: size / 1e6 for part, size in sizes.items() if size}
