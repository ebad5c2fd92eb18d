"""The engine against itself, first of all: planted failures must be caught and named, or no result means anything."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from conftest import copy_toykit, run_lab
from nbformat.v4 import new_code_cell, new_notebook, new_output

from grader.errors import NotebookFailed
from grader.kit import Kit
from grader.notebooks import execute, find_problem
from grader.workspace import Workspace

# name: the cell, and what the engine must say of it
PLANTED = {
    "failing": ("1 / 0", "ZeroDivisionError"),
    "hung": ("import time; time.sleep(600)", "ran past its time"),
    "swallowed": ("!python -c '1 / 0'", "a swallowed exception: ZeroDivisionError"),
    "kernel_ends_with_0": ("import os\nos._exit(0)", "the kernel died in this cell"),
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What execute() says of each planted notebook: the cell's id, then the message."""
    kit = Kit(copy_toykit(tmp_path_factory.mktemp("planted") / "toykit"))

    def plant(name: str) -> str:
        ws = Workspace(kit, kit.root / name)
        ws.root.mkdir()
        cells = [new_code_cell("x = 1", id="first"), new_code_cell(PLANTED[name][0], id="planted")]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (ws.root / "in.ipynb").write_text(nbformat.writes(new_notebook(cells=cells, metadata=kernel)))
        try:
            execute(ws.root / "in.ipynb", ws.root / "out.ipynb", ws, cell_limit=2)
        except NotebookFailed as failed:
            return f"{failed.cell}|{failed}"
        return ""

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PLANTED, pool.map(plant, PLANTED), strict=True))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_notebook_is_caught_and_its_cell_named(executed: dict[str, str], name: str) -> None:
    assert executed[name].startswith("planted|")
    assert PLANTED[name][1] in executed[name]


def cell_with(*outputs: object, tags: tuple[str, ...] = ()) -> object:
    return new_code_cell("x", outputs=list(outputs), metadata={"tags": list(tags)}, execution_count=1)


def test_an_exception_that_the_run_tolerates_is_still_a_problem() -> None:
    failed = new_output("error", ename="ValueError", evalue="no", traceback=[])
    assert find_problem(cell_with(failed, tags=("raises-exception",))) == "ValueError: no"
    assert find_problem(cell_with(failed, tags=("shows-traceback",))) == ""


def test_a_traceback_of_a_thread_is_a_problem() -> None:
    text = "Exception in thread T:\nTraceback (most recent call last):\n  x\nKeyError: 'a'\n"
    assert (
        find_problem(cell_with(new_output("stream", name="stderr", text=text)))
        == "a swallowed exception: KeyError: 'a'"
    )
    assert find_problem(cell_with(new_output("stream", name="stdout", text="fine"))) == ""


def test_a_cell_that_was_never_run_is_a_problem() -> None:
    assert find_problem(cell_with(), begun=False) == "was never run"


CRASHING = """
import os
from grader.kit import check, probe
from grader.model import Finding

@probe(limit=20)
def exits_with_0(ws):
    os._exit(0)

@probe(limit=20)
def raises(ws):
    raise ValueError("no such thing")

@probe(limit=20)
def works(ws):
    return {}

@check(exits_with_0)
def crashed(seen):
    return Finding(True, "never reached")

@check(raises)
def broke(seen):
    return Finding(True, "never reached")

@check(works)
def kills_the_kernel(seen):
    os._exit(0)

@check(works, after=kills_the_kernel)
def waits_for_the_dead(seen):
    return Finding(True, "never reached")

@check(works)
def raises_itself(seen):
    return seen["absent"]

@check(works)
def says_something_else(seen):
    return True

@check(works)
def survives(seen):
    return Finding(True, "survived")
"""


def test_crashes_of_the_grader_are_errors_by_name_and_the_rest_still_runs(toykit: Path) -> None:
    (toykit / "grader" / "criteria" / "t2.py").write_text(CRASHING)
    done = run_lab(toykit, "grade", "t2", "--json", "report.json")
    assert done.returncode == 2, done.stderr
    checks = {c["id"]: c for c in json.loads((toykit / "report.json").read_text())["criteria"][0]["checks"]}
    said = {k: (c["verdict"], c["message"]) for k, c in checks.items()}
    assert said["crashed"][0] == "error" and "ended without evidence (exit code 0)" in said["crashed"][1]
    assert said["broke"][0] == "error" and "ValueError: no such thing" in said["broke"][1]
    assert said["kills-the-kernel"][0] == "error" and "left no result" in said["kills-the-kernel"][1]
    assert said["waits-for-the-dead"][0] == "not_run"
    assert said["raises-itself"][0] == "error" and "KeyError" in said["raises-itself"][1]
    assert said["says-something-else"][0] == "error" and "not a Finding" in said["says-something-else"][1]
    assert said["survives"][0] == "pass"
