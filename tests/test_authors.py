"""Which checks are the learner's own: computed from TODO regions and mutants' edits."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, run_lab
from mutants.entries import list_done_right, typed_cell

from grader import authors
from grader.kit import Kit
from grader.model import Facts
from grader.report import count_passes

REGIONS = authors.Regions({"a.py": ["one = 1\n", "two = 2\n"]}, {"run it"}, {"a.py", "folder/b.py"})
INSIDE = {"file": "a.py", "find": "two = 2"}


@pytest.mark.parametrize(
    ("form", "own"),
    [
        ({"edit": [INSIDE]}, True),
        ({"edit": [INSIDE, {"file": "a.py", "find": "three"}]}, False),
        ({"edit": [INSIDE], "add": [{"file": "b", "text": ""}]}, False),
        ({"edit": [INSIDE], "run": ["make it again"]}, True),
        ({"edit": [INSIDE], "run": ["sed -i s/1/2/ a.py"]}, False),
        ({"edit": [INSIDE], "around": "made_live"}, True),
        ({"edit": [INSIDE], "around": "somebody_else"}, False),
        ({"edit": [INSIDE], "remove": ["store"]}, True),
        ({"edit": [INSIDE], "remove": ["folder"]}, False),
        ({"remove": ["a.py"]}, False),
        ({"remove": ["store"], "typed": [{"todo": "run it", "put": ""}]}, True),
        ({"typed": [{"todo": "a TODO that no cell has", "put": ""}]}, False),
        ({}, False),
    ],
)
def test_what_changes_todos_alone_makes_a_check_yours(form: Facts, own: bool) -> None:
    assert authors.changes_todos(form, REGIONS, ["make it again"], ["made_live"]) is own


TYPED = [(short, m, t) for short in Kit(ROOT).shorts() for m in Kit(ROOT).mutants(short) for t in m.get("typed", [])]


@pytest.mark.parametrize(("short", "mutant", "typed"), TYPED, ids=[m["id"] for _, m, _ in TYPED])
def test_what_is_typed_stands_for_one_todo_and_is_tried_right_too(short: str, mutant: Facts, typed: Facts) -> None:
    """One cell has it, and the solution is tried with all else the same: so the TODO alone makes what is wrong."""
    kit = Kit(ROOT)
    wrong, right = typed_cell(kit, typed["todo"], typed["put"]), typed_cell(kit, typed["todo"], None)
    assert typed["put"] in wrong[1] and wrong != right and wrong[0] == right[0] in ("", "%%shell")
    twin = next(r for r in list_done_right(kit, short) if r["id"] == f"{mutant['id']}, done right")
    same = ("from", "remove", "run", "around")
    assert {k: twin.get(k) for k in same} == {k: mutant.get(k) for k in same} and "fails" not in twin
    assert not {"edit", "add", "link"} & set(mutant), "the TODO alone decides"


def test_the_report_says_whose_each_check_is(toykit: Path) -> None:
    (toykit / "work" / "service" / "number.txt").write_text("41\n")
    done = run_lab(toykit, "grade", "t1", "--json", "report.json", "--html", "report.html")
    (criterion,) = json.loads((toykit / "report.json").read_text())["criteria"]
    wanted = {"file-is-there": "given", "number-is-right": "yours", "word-is-short": "given"}
    assert {c["id"]: c["author"] for c in criterion["checks"]} == wanted
    assert "2/3, yours 0/1" in done.stdout and "number-is-right (yours)" in done.stdout
    assert '<b class="small">yours</b>' in (toykit / "report.html").read_text()


# Half of a criterion's checks are decided by what the learner writes. Not so: sc6, most of which looks at whether the
# evidence is this machine's and untouched; sc5, since one check is there for a stand-in alone.
LEAST = {"sc5": 9, "sc6": 4}


@pytest.mark.parametrize("short", Kit(ROOT).shorts())
def test_half_of_each_criterion_is_decided_by_what_the_learner_writes(short: str) -> None:
    kit = Kit(ROOT)
    checks = {c.id for c in kit.criterion(short).checks}
    own = authors.own_checks(kit, short, regions())
    assert own <= checks and len(own) >= min(LEAST.get(short, len(checks)), len(checks) / 2)
    assert count_passes([]) == ""


@cache
def regions() -> authors.Regions:
    return authors.read_regions(Kit(ROOT))
