"""Probes that may run beside others do, all others have the machine alone; none is left when the kernel dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
from conftest import run_lab

from grader.processes import wait_until

TEXT = 'id = "{0}-x"\ntitle = "x"\noutcome = "x"\nlab = "01"\nneeds = []\n'
BESIDE = """
import time
from pathlib import Path
from grader.kit import check, probe
from grader.model import Finding
from grader.processes import wait_until

def meet(ws, name, other):
    (ws.root / name).write_text("here")
    met = wait_until((ws.root / other).exists, 15)
    (ws.root / f"{name}-ended").write_text("")
    return {"met": met}

@probe(limit=25, ahead=True)
def first(ws):
    return meet(ws, "first", "second")

@probe(limit=25)
def measures(ws):
    return {"ended": sorted(p.name for p in ws.root.glob("*-ended"))}

@probe(limit=25, ahead=True)
def second(ws):
    return meet(ws, "second", "first")

@check(first)
def first_met(seen):
    return Finding(seen["met"], "met")

@check(second)
def second_met(seen):
    return Finding(seen["met"], "met")

@check(measures)
def in_turn(seen):
    return Finding(seen["ended"] == ["first-ended", "second-ended"], str(seen["ended"]))
"""
DYING = """
import os, subprocess
from grader.kit import check, probe
from grader.model import Finding

@probe(limit={limit}, ahead=True)
def slow(ws):
    with (ws.root / "begun").open("a") as file:
        file.write("x")
    subprocess.Popen(["sleep", "600.75"], start_new_session=True).wait()
    return {{}}

@probe(limit=20)
def kills_the_kernel(ws):
    os.kill(os.getppid(), 9)
    return {{}}

@check(kills_the_kernel)
def is_alone(seen):
    return Finding(True, "alone")

@check(slow)
def is_slow(seen):
    return Finding(True, "slow")
"""


def add(kit: Path, short: str, code: str) -> None:
    for ending, text in (("toml", TEXT.format(short)), ("py", code)):
        (kit / "grader" / "criteria" / f"{short}.{ending}").write_text(text)


def verdicts(kit: Path, short: str) -> dict[str, str]:
    run_lab(kit, "grade", short, "--json", str(kit / "report.json"))
    (told,) = json.loads((kit / "report.json").read_text())["criteria"]
    return {check["id"]: check["verdict"] for check in told["checks"]}


def test_two_look_side_by_side_and_the_third_in_its_turn(toykit: Path) -> None:
    add(toykit, "t8", BESIDE)
    assert set(verdicts(toykit, "t8").values()) == {"pass"}
    kept = json.loads((toykit / "work" / "results" / "t8.evidence.json").read_text())
    assert list(kept) == ["first", "measures", "second"]


def sleepers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "600.75"]]


def test_a_kernel_that_dies_takes_nothing_of_them_with_it(toykit: Path) -> None:
    add(toykit, "t9", DYING.format(limit=2))
    assert verdicts(toykit, "t9") == {"is-alone": "error", "is-slow": "error"}
    report = json.loads((toykit / "report.json").read_text())
    assert "ran past its limit of 2 s" in json.dumps(report)
    assert (toykit / "work" / "begun").read_text() == "x" and sleepers() == []


def test_none_is_left_when_the_grading_is_killed(toykit: Path) -> None:
    add(toykit, "t9", DYING.format(limit=60))
    environ = {**os.environ, "LAB_KIT": str(toykit)}
    command = [sys.executable, "-m", "grader.cli", "grade", "t9"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as grading:
        assert wait_until(lambda: bool(sleepers()), 30)
        grading.kill()
    assert wait_until(lambda: not sleepers(), 20)
