"""Every notebook source keeps the rules of the house: one role a cell, short cells, a sentence before and after."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest
from conftest import ROOT

from grader.kit import Kit, Lab
from grader.notebooks import REGION, make_notebook, solve
from labs.helpers.teaching.answers import questions

KIT = Kit(ROOT)
LABS = KIT.labs()
ROLES = ("why", "predict", "do", "see", "explain", "check")
MOST_LINES, MOST_IN_A_FILE = 12, 45
MOST_WIDE = 88  # what JupyterLab shows beside its list of files, without scrolling


def cells(lab: Lab, solved: bool = True) -> list[dict[str, Any]]:
    book = json.loads(make_notebook(lab, solved))
    return [{**c, "source": "".join(c["source"])} for c in book["cells"]]


def code_lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_each_cell_has_one_role(lab: Lab) -> None:
    for cell in cells(lab):
        roles = [t for t in cell["metadata"].get("tags", []) if t in ROLES]
        assert len(roles) == 1, f"{cell['id']}: {roles}"
        assert (cell["cell_type"] == "markdown") == (roles[0] in ("why", "explain")) or roles[0] == "predict"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_code_cells_are_short(lab: Lab) -> None:
    for solved in (True, False):
        for cell in cells(lab, solved):
            if cell["cell_type"] == "code":
                most = MOST_IN_A_FILE if cell["source"].startswith("%%work") else MOST_LINES
                assert len(code_lines(cell["source"])) <= most, cell["id"]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_no_line_of_code_is_cut(lab: Lab) -> None:
    for solved in (True, False):
        for cell in cells(lab, solved):
            if cell["cell_type"] == "code":
                assert not [line for line in cell["source"].splitlines() if len(line) > MOST_WIDE], cell["id"]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_words_come_before_the_first_code_and_after_what_is_seen(lab: Lab) -> None:
    found = cells(lab)
    assert found[0]["cell_type"] == "markdown" and found[-1]["cell_type"] == "markdown", "it opens and ends in words"
    for cell, following in itertools.pairwise(found):
        if "see" in cell["metadata"]["tags"]:
            tags = following["metadata"]["tags"]
            assert following["cell_type"] == "markdown" or "see" in tags or "predict" in tags, cell["id"]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_front_matter_and_its_files(lab: Lab) -> None:
    assert lab.front["id"] == lab.number and lab.front["minutes"] > 0
    assert set(lab.front["grades"]) <= set(KIT.shorts())
    assert all(need in KIT.needs for need in lab.front["needs"])
    for name in [*lab.front.get("inputs", []), *lab.front.get("gives", [])]:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_the_learners_version_holds_no_solution(lab: Lab) -> None:
    for cell in cells(lab, solved=False):
        assert not re.search(r"^ *# (solution|end)$", cell["source"], re.M), cell["id"]
    for cell in cells(lab, solved=True):
        assert "# TODO" not in cell["source"] or cell["cell_type"] == "markdown", cell["id"]


def test_no_filler() -> None:
    words = re.compile(r"\b(simply|let's|in this section we will|easy|obviously)\b", re.I)
    for lab in LABS:
        for cell in cells(lab):
            if cell["cell_type"] == "markdown":
                assert not words.search(cell["source"]), f"{cell['id']}: {words.search(cell['source'])}"


@pytest.mark.parametrize("criterion", KIT.criteria(), ids=lambda c: c.short)
def test_each_check_has_three_hints_and_each_built_criterion_an_explanation(criterion: Any) -> None:
    for check in criterion.checks:
        assert len(criterion.hints.get(check.id, [])) == 3, check.id
    assert not set(criterion.hints) - {c.id for c in criterion.checks}, "hints for checks that do not exist"
    assert bool(criterion.explanation) == bool(criterion.checks)


def typed_share(lab: Lab) -> tuple[int, int]:
    """(lines that the learner types, lines of code in all) of a lab: predictions, blank lines and comments left out."""
    import jupytext

    mine = every = 0
    for cell in jupytext.read(lab.source).cells:
        if cell.cell_type != "code" or cell.source.startswith("%%answer"):
            continue
        mine += sum(len(written(block["ours"])) for block in REGION.finditer(cell.source))
        every += len(written(solve(cell.source)))
    return mine, every


def written(text: str) -> list[str]:
    return [line for line in code_lines(text) if not line.lstrip().startswith(("#", "%%"))]


TYPED = [lab for lab in LABS if lab.number <= "05"]  # taught again; see typed_share


@pytest.mark.parametrize("lab", TYPED, ids=lambda lab: lab.name)
def test_a_quarter_of_the_lines_is_typed_by_the_learner(lab: Lab) -> None:
    mine, every = typed_share(lab)
    assert mine >= 0.25 * every, f"{mine} of {every}"


def test_the_commands_of_the_trade_are_typed() -> None:
    """In labs 01 to 05, inside the learner's own lines."""
    import jupytext

    typed = ""
    for lab in TYPED[1:]:
        for cell in jupytext.read(lab.source).cells:
            if cell.source.startswith("%%shell"):
                typed += "".join(block["ours"] for block in REGION.finditer(cell.source))
    commands = re.findall(r"\b(bentoml (?:models )?[a-z]+|docker [a-z]+|kubectl [a-z-]+|curl|\./lab [a-z]+)\b", typed)
    wanted = """bentoml serve, curl, bentoml build, bentoml get, bentoml containerize, docker push, kubectl apply,
    kubectl get, kubectl describe, kubectl logs, kubectl rollout, kubectl port-forward"""
    assert not {part.strip() for part in wanted.split(",")} - set(commands)
    assert len(commands) >= 25


def minutes_of_its_parts(lab: Lab) -> tuple[int, list[int], list[int]]:
    """The lab's minutes, those that its first cell lists, those in the headings of its parts; as its text has them."""
    words = [c["source"] for c in cells(lab) if c["cell_type"] == "markdown"]
    first = " ".join(words[0].split())
    found = re.search(r"\*\*Your time\*\* \(an estimate\): (\d+) minutes\. ([^.;]*)", first)
    assert found, "its first cell says how long it takes, part by part"
    headings = re.findall(r"^## .*\((\d+) minutes?\b", "\n".join(words), re.M)
    return int(found[1]), [int(n) for n in re.findall(r"\b\d+\b", found[2])], [int(n) for n in headings]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_its_minutes_are_the_sum_of_its_parts(lab: Lab) -> None:
    whole, listed, headings = minutes_of_its_parts(lab)
    assert whole == lab.front["minutes"] == sum(listed)
    same = [a == b for a, b in zip(listed, headings, strict=False)]
    assert all(same[:-1]) and listed[len(headings) - 1] >= headings[-1], f"{listed} and {headings}"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_it_takes_25_to_40_minutes(lab: Lab) -> None:
    least = 10 if lab.number == "00" else 25  # 00 is how to begin
    assert least <= lab.front["minutes"] <= 40


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.name)
def test_it_ends_with_three_take_aways_and_three_questions(lab: Lab) -> None:
    """Each question is a choice, and each wrong choice is explained: it names the misunderstanding."""
    found = cells(lab)
    (at,) = [i for i, c in enumerate(found) if re.search(r"^## (To keep|What you take along)$", c["source"], re.M)]
    keep = re.split(r"^## (?:To keep|What you take along)$", found[at]["source"], flags=re.M)[1]
    assert len(re.findall(r"^(?:- |\d\. )", keep, re.M)) == 3
    asked = [m[1] for c in found[at:] if (m := re.match(r"%%answer (\w+)\n", c["source"]))]
    known = questions(KIT)
    assert len(asked) == 3 and all(known[name].kind == "choice" for name in asked)
    for option in [o for name in asked for o in (known[name].option or {}).values()]:
        assert set(option) == {"is"} or len(option["shows"].split()) > 3, option
