"""Right submissions, each with a story and a fixture, and the words of mutants; `./lab mutants` tries both."""

from __future__ import annotations

import pytest
from conftest import ROOT
from mutants.entries import find_fixture, list_right

from grader.kit import Kit
from grader.model import Facts

KIT = Kit(ROOT)
RIGHT = [(short, right) for short in KIT.shorts() for right in list_right(KIT, short)]
KEYS = {"id", "from", "story", "edit", "add", "link", "remove", "run", "around"}


def test_there_are_forty_with_names_of_their_own() -> None:
    names = [(short, right["id"]) for short, right in RIGHT]
    assert len(names) == len(set(names)) >= 40
    assert {short for short, _ in names} >= {"sc1", "sc2", "sc3", "sc4", "sc5"}


@pytest.mark.parametrize("short, right", RIGHT, ids=[f"{short}-{r['id']}" for short, r in RIGHT])
def test_it_says_what_it_is(short: str, right: Facts) -> None:
    assert set(right) <= KEYS and right["story"].endswith(".") and "fails" not in right
    assert all(edit["find"] != edit["put"] for edit in right.get("edit", []))
    assert KIT.lab(right["from"]).number == right["from"]
    assert "around" not in right or callable(find_fixture(KIT, short, right["around"]))


@pytest.mark.parametrize("short", KIT.shorts())
def test_a_mutant_of_a_check_that_comes_first_has_words_of_its_message(short: str) -> None:
    """Without them an outage would count as a catch, and `./lab mutants` takes none of it."""
    first = {check.id for check in KIT.criterion(short).checks if not check.after}
    assert [m["id"] for m in KIT.mutants(short) if m["fails"] in first and not m.get("says")] == []
