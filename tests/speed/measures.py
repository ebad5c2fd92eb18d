"""What is measured: commands as a person types them, from beginning to end, and each must have gone well."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from grader.errors import LabError
from grader.kit import Kit
from grader.workspace import WALK

# As a person's shell: nothing of the kit's is set in it.
KITS = ("LAB_KIT", "LAB_WORK", "LAB_WORKSPACE", "LAB_RECORD", "SERVING_LAB_MARK", "PYTHONDONTWRITEBYTECODE")
ALONE = {"LAB_SLOT": "9", "LAB_WITHOUT": "docker,kind,kubectl,cluster"}  # as .ci/run does; no slot 9 is up
WALK_TO_SC1 = "from grader.kit import Kit; from grader.walk import walk; walk(Kit(), print, '.lab/first', ['sc1'])"
YARDSTICK = """
from tickets import held_out
from weights import load_encoder
encoder = load_encoder()
assert encoder.encode([text for text, _ in held_out(1000)]).shape == (1000, 384)
"""
AGAIN = """
import os, subprocess, sys, time
from grader.kit import Kit
from grader.warm import keep_warm
environ = {**os.environ, **keep_warm(Kit().settings["warm"])}
for _ in range(2):
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "grader.cli", *sys.argv[1:]]
    subprocess.run(command, env=environ, capture_output=True, check=True)
    took = time.monotonic() - began
print(took)
"""
LONGEST = 3 * 3600


class NotMeasured(LabError):
    """It did not go well, so its seconds would say nothing."""


@dataclass(frozen=True)
class Place:
    """A checkout, a walked workspace to be graded by it, and a folder for what the measures make."""

    root: Path
    work: Path
    scratch: Path

    @property
    def clone(self) -> Path:
        """Made by `first`; the walks after it are its own."""
        return self.scratch / "clone"


@dataclass(frozen=True)
class Measure:
    """`act(place)` takes so long. `once`: a matter of minutes, for one round alone, in this order."""

    name: str
    what: str
    act: Callable[[Place], float]
    once: bool = False


def run(command: list[str], cwd: Path, **more: str) -> float:
    """Its seconds. Raises NotMeasured for a bad end."""
    return hear(command, cwd, **more)[0]


def hear(command: list[str], cwd: Path, **more: str) -> tuple[float, str]:
    """Its seconds, and what it printed."""
    environ = {name: value for name, value in os.environ.items() if name not in KITS}
    began = time.monotonic()
    done = subprocess.run(command, cwd=cwd, env={**environ, **more}, capture_output=True, text=True, timeout=LONGEST)
    took = time.monotonic() - began
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines()[-3:]
        raise NotMeasured(f"{' '.join(command)[:80]} ended with {done.returncode}: {' '.join(said)[-300:]}")
    return took, done.stdout


def measure_yardstick(place: Place) -> float:
    return run([str(place.root / ".venv/bin/python"), "-c", YARDSTICK], place.root / "service")


def ask_help(place: Place) -> float:
    return run([str(place.root / "lab"), "--help"], place.root)


def grade(short: str, place: Place) -> float:
    return grade_by([str(place.root / "lab")], short, place)[0]


def grade_again(short: str, place: Place) -> float:
    """As the second `%grade` of a notebook, whose kernel keeps a warm process."""
    return float(grade_by([str(place.root / ".venv/bin/python"), "-P", "-c", AGAIN], short, place)[1])


def grade_by(command: list[str], short: str, place: Place) -> tuple[float, str]:
    """Raises NotMeasured unless it passes: what is not run takes no time."""
    told = place.scratch / f"{short}.json"
    words = ["grade", short, "--json", str(told), "--out", str(place.scratch / "results")]
    heard = hear([*command, *words], place.root, LAB_WORK=str(place.work), LAB_WORKSPACE=WALK)
    (result,) = json.loads(told.read_text())["criteria"]
    if result["verdict"] != "pass":
        raise NotMeasured(f"{short} is {result['verdict']}: {result['note'] or 'see its checks'}"[:300])
    return heard


def begin(place: Place) -> float:
    """A clone, its environment (packages come from where this machine's caches and mirrors have them), the notebooks
    up to the first graded one, its grade."""
    took = run(["git", "clone", "-q", str(place.root), str(place.clone)], place.scratch)
    took += run([str(place.clone / "lab"), "--help"], place.clone)
    return took + run([str(place.clone / ".venv/bin/python"), "-P", "-c", WALK_TO_SC1], place.clone)


def walk(place: Place, environ: Mapping[str, str], folder: str) -> float:
    if not place.clone.is_dir():
        raise NotMeasured("there is no clone to walk in: measure `first`, too")
    return run([str(place.clone / "lab"), "walk", "--work", str(place.clone / folder)], place.clone, **environ)


def all_measures(kit: Kit) -> dict[str, Measure]:
    """By name: those of a moment first, then those of many minutes, each of which needs the one before it."""
    found = [Measure("help", "`./lab --help`", ask_help)]
    found += [Measure(c.short, f"`./lab grade {c.short}`", partial(grade, c.short)) for c in kit.criteria() if c.checks]
    for short in kit.settings.get("warm", {}).get("criteria", []):
        what = f"`%grade {short}`, a second time in the same notebook"
        found.append(Measure(f"{short}-again", what, partial(grade_again, short)))
    found += [
        Measure("first", "from the clone to the first graded notebook", begin, once=True),
        Measure("alone", "the walk without a cluster", partial(walk, environ=ALONE, folder=".lab/alone"), once=True),
        Measure("walk", "the walk with the cluster", partial(walk, environ={}, folder=".lab/walk"), once=True),
        Measure("unchanged", "the walk again, unchanged", partial(walk, environ={}, folder=".lab/walk"), once=True),
    ]
    return {one.name: one for one in found}


def light(kit: Kit) -> list[str]:
    """A matter of minutes: `--help`, and the grades that need nothing but this environment and no load."""
    graded = [c.short for c in kit.criteria(kit.settings.get("class") or None) if c.checks]
    return ["help", *graded, *(name for name in all_measures(kit) if name.endswith("-again"))]
