"""Evidence fuzzing: each fact that a probe gathered on the walk, put to wrong values, makes some check fail.

An exception or an error does not count. What may be wrong all the same stands in evidence/spared.toml, with the reason;
what no check reads is there too, or it is not gathered. LAB_EVIDENCE=walk fuzzes the walk's own evidence as well, for
eyes: there two rows may be as good as equal, and one in the place of the other changes nothing.
"""

from __future__ import annotations

import os
import tomllib
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from fuzzing import KEPT, Fuzzed, read_evidence

from grader.judge import judge_criterion
from grader.kit import Kit
from grader.model import Verdict

KIT = Kit()
SHORTS = [c.short for c in KIT.criteria() if c.checks]
SPARED: list[dict[str, Any]] = tomllib.loads((KEPT / "spared.toml").read_text())["spared"]
AGAIN = "`.venv/bin/python tests/keep_evidence.py` keeps the walk's"
PLACES = {"kept": KEPT / "{}.json", "walk": KIT.state / "walk" / "results" / "{}.evidence.json"}
ASKED = [place for place in PLACES if place in ("kept", os.environ.get("LAB_EVIDENCE"))]


def spared(short: str) -> list[str]:
    """Lines of spared.toml: "spot", or "spot: kind, kind"; a `_` in a spot stands for any key."""
    return [line for entry in SPARED if entry["criterion"] == short for line in entry["spots"]]


def spares(line: str, idle: str) -> bool:
    (name, _, kinds), (found, _, kind) = line.partition(": "), idle.partition(": ")
    places = list(zip_longest(name.split("."), found.split(".")))
    return all(a in (b, "_") and b for a, b in places) and (not kinds or kind in kinds.split(", "))


def fuzz(short: str, place: str) -> Fuzzed:
    path = Path(str(PLACES[place]).format(short))
    if place == "walk" and not path.is_file():
        pytest.skip(f"the walk kept no evidence of {short} here; the kept one is tried")
    if place == "walk" and path.stat().st_mtime < (KIT.criteria_dir / f"{short}.py").stat().st_mtime:
        pytest.skip(f"the walk graded {short} before its probes were as they are; the kept one is tried")
    evidence = read_evidence(path)
    graded = judge_criterion(KIT.criterion(short), evidence)
    if place == "walk" and graded.verdict is not Verdict.PASS:
        pytest.skip(f"{short} does not pass in the walk here: {graded.first_problem()}")
    assert graded.verdict is Verdict.PASS, f"{AGAIN}: {graded.first_problem()}"
    return Fuzzed(KIT.criterion(short), evidence)


@pytest.mark.parametrize("place", ASKED)
@pytest.mark.parametrize("short", SHORTS)
def test_each_fact_put_to_wrong_values_fails_a_check(short: str, place: str) -> None:
    fuzzed, known = fuzz(short, place), spared(short)
    unknown = [i for i in sorted(fuzzed.idle()) if not any(spares(line, i) for line in known)]
    assert not unknown, f"of {fuzzed.tried} wrong values these decide nothing: {unknown}"
    needless = [line for line in known if not any(spares(line, i) for i in fuzzed.idle())]
    assert place == "walk" or not needless, f"spared without need: {needless}"


def test_what_is_spared_says_why() -> None:
    assert all(len(entry["why"].split()) > 4 and entry["spots"] for entry in SPARED)


@pytest.mark.parametrize("short", SHORTS)
def test_what_is_kept_tells_nothing_of_a_machine(short: str) -> None:
    text = (KEPT / f"{short}.json").read_text()
    assert str(KIT.root) not in text and "/root/" not in text and "/home/" not in text.replace("/home/bentoml", "")
