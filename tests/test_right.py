"""Right submissions: enough of them, each with a story and a fixture that exists. `./lab mutants` tries them."""

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
