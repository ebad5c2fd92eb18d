"""Which checks are the learner's own: computed from TODO regions and mutants' edits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, run_lab

from grader import authors
from grader.kit import Kit
from grader.report import count_passes


def test_an_edit_of_a_todo_alone_makes_a_check_yours() -> None:
    regions = {"a.py": ["one = 1\n", "two = 2\n"]}
    inside, outside = {"file": "a.py", "find": "two = 2"}, {"file": "a.py", "find": "three"}
    assert authors.is_own({"edit": [inside]}, regions)
    assert not authors.is_own({"edit": [inside, outside]}, regions)
    assert not authors.is_own({"edit": [inside], "add": [{"file": "b", "text": ""}]}, regions)
    assert not authors.is_own({"remove": ["a.py"]}, regions)
    assert authors.is_own({"add": [{"file": "Dockerfile", "text": ""}], "in_place": {"edit": [inside]}}, regions)


def test_the_report_says_whose_each_check_is(toykit: Path) -> None:
    (toykit / "work" / "service" / "number.txt").write_text("41\n")
    done = run_lab(toykit, "grade", "t1", "--json", "report.json", "--html", "report.html")
    (criterion,) = json.loads((toykit / "report.json").read_text())["criteria"]
    wanted = {"file-is-there": "given", "number-is-right": "yours", "word-is-short": "given"}
    assert {c["id"]: c["author"] for c in criterion["checks"]} == wanted
    assert "2/3, yours 0/1" in done.stdout and "number-is-right (yours)" in done.stdout
    assert '<b class="small">yours</b>' in (toykit / "report.html").read_text()


@pytest.mark.parametrize("criterion", Kit(ROOT).criteria(), ids=lambda c: c.short)
def test_each_lab_has_checks_that_only_the_learners_lines_decide(criterion: object) -> None:
    kit = Kit(ROOT)
    found = kit.criterion(criterion.short)  # type: ignore[attr-defined]
    if not found.checks:
        return
    regions = authors.read_regions(kit)
    own = {m["fails"] for m in kit.mutants(found.short) if authors.is_own(m, regions)}
    assert own and own < {c.id for c in found.checks}
    assert count_passes([]) == ""
