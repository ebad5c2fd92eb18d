"""The promotion gate: what its pages count, how often its tests err, and 40 releases of a stand-in."""

from __future__ import annotations

import asyncio
import math
import os
import random
from pathlib import Path

import pytest
from stand_in_releases import FAULTS, faults_of, release_all, table

from grader.errors import LabError
from grader.world.gate import (
    GO_ON,
    PROMOTE,
    ROLL_BACK,
    Counts,
    Gate,
    Race,
    Rules,
    Seen,
    choose_edge,
    nearest,
    read_counts,
    read_labels,
    read_rules,
    read_waits,
    won,
)
from grader.world.releases import TEXTS

EDGES = (0.1, 0.25, 0.5)


def page(good: int, failed: int = 0, late: int = 0) -> str:
    """As BentoML writes it: `late` of the good ones took longer than 0.25 s."""
    lines = []
    for code, count in (("200", good), ("500", failed)):
        named = f'endpoint="/classify",http_response_code="{code}",service_name="x",service_version="not available"'
        lines.append(f"bentoml_api_server_request_total{{{named}}} {count}.0")
        for edge, value in zip((*EDGES, "+Inf"), (0, count - late * (code == "200"), count, count), strict=True):
            lines.append(f'bentoml_api_server_request_duration_seconds_bucket{{{named},le="{edge}"}} {value}.0')
    lines.append('bentoml_api_server_request_total{endpoint="/readyz",http_response_code="503"} 99.0')
    return "\n".join(lines) + "\n"


def test_a_page_counts_answers_failures_and_late_ones() -> None:
    assert read_counts(page(100, failed=5, late=7), 0.25) == Counts(105, 5, 7)
    assert read_waits(page(100, late=7)) == {0.1: 0, 0.25: 93, 0.5: 100, math.inf: 100}


def test_the_edge_is_one_that_a_release_300_ms_slower_breaks() -> None:
    busy = {0.05: 4, 0.1: 70, 0.25: 85, 0.5: 100, math.inf: 100}
    assert choose_edge(busy) == 0.25, "within 0.5 s are those too that take 0.05 + 0.3"
    slow = {0.25: 4, 0.5: 40, 0.75: 95, 1.0: 100, math.inf: 100}
    assert choose_edge(slow) == 0.5
    quick = {0.005: 40, 0.025: 97, 0.1: 100, 0.25: 100, 0.5: 100, math.inf: 100}
    assert choose_edge(quick) == 0.25, "not 0.025: a busy machine delays one of ten for longer"
    assert choose_edge({0.25: 40, math.inf: 40}) == math.inf, "too few to know"


def test_an_edge_is_chosen_by_what_is_answered_now() -> None:
    gate = Gate()
    for now, (good, late) in enumerate(((400, 200), (430, 200), (470, 201))):
        gate.look([Seen(False, "a", page(good, late=late))], float(now))
    assert gate.edge == 0.25, "an hour ago every other answer took longer"


def test_what_was_late_before_there_was_an_edge_is_not_counted() -> None:
    gate = Gate()
    for now, good in enumerate((100, 160, 220)):
        gate.look([Seen(False, "a", page(good, late=50)), new_pod(page(good, late=50))], float(now))
    assert gate.new == gate.stable == Counts(60)


def test_labels_are_those_of_the_texts() -> None:
    assert read_labels(200, '{"labels": ["billing", "shipping", "account"]}') == TEXTS
    for status, body in ((500, "{}"), (200, "[]"), (200, "no"), (200, '{"labels": 3}'), (200, "{}")):
        assert read_labels(status, body) == {}


def looks(gate: Gate, news: list[Seen], stable: list[str]) -> list[str]:
    seen = zip(news, stable, strict=True)
    return [gate.look([Seen(False, "a", text), new], float(i)).what for i, (new, text) in enumerate(seen)]


def new_pod(text: str, answers: bool = True) -> Seen:
    return Seen(True, "b", text, TEXTS if text and answers else {})


def test_what_needs_no_test_rolls_back() -> None:
    quiet = [page(100)] * 6
    silent = [new_pod(text) for text in (page(30), "", "", page(30), "", "")]
    assert looks(Gate(), silent, quiet) == [GO_ON] * 6, "two silent looks are not yet a crash"
    crashed = [new_pod(text) for text in (page(30), page(31), page(31), "", "", "")]
    assert looks(Gate(), crashed, quiet) == [GO_ON] * 5 + [ROLL_BACK]
    hangs = [new_pod(page(30), answers) for answers in (True, True, True, False, False, False)]
    assert looks(Gate(), hangs, quiet) == [GO_ON] * 5 + [ROLL_BACK], "its page is there, and no answer"
    again = [new_pod(text) for text in (page(30), page(31), page(2))]
    assert looks(Gate(), again, quiet[:3])[2] == ROLL_BACK
    wrong = Seen(True, "b", page(0), {**TEXTS, "My parcel has not arrived yet": "billing"})
    assert looks(Gate(), [wrong], quiet[:1]) == [ROLL_BACK]
    waits = [new_pod("")] * 6
    assert looks(Gate(), waits, quiet) == [GO_ON] * 6, "one that was never there has not crashed: the clock decides"


def test_no_decision_in_time_rolls_back() -> None:
    gate = Gate(Rules(seconds=10))
    assert gate.look([Seen(False, "a", page(100))], 5.0).what == GO_ON
    assert "nothing is promoted on trust" in (late := gate.look([Seen(False, "a", page(100))], 16.0)).why
    assert late.what == ROLL_BACK


def test_answers_of_a_cold_pod_are_not_judged() -> None:
    gate = Gate(edge=0.25)
    for i, good in enumerate((0, 10, 25, 45)):
        gate.look([Seen(False, "a", page(100 + good)), new_pod(page(good))], float(i))
    assert gate.new == Counts(20), "from the first look on that saw 20 answers"


def test_rules_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text("errors = [0.01, 0.05]\nseconds = 60\n")
    assert read_rules(file) == Rules(errors=(0.01, 0.05), seconds=60)
    for wrong in ("errors = [0.05, 0.01]", "errors = 3", "alpha = 0", "other = 1", "errors = ["):
        file.write_text(wrong)
        with pytest.raises(LabError, match="toml"):
            read_rules(file)
    with pytest.raises(LabError, match="There is no"):
        read_rules(tmp_path / "none.toml")


def race(stable: float, new: float, chance: random.Random, drift: float = 0.0, most: int = 200) -> str:
    """One race of the rules' late answers, 20 answers a look on each side; the common share may drift."""
    rules, one = Rules(), Race(*Rules().late, hits=2, trials=40)
    for i in range(most):
        more = drift * (1 + math.sin(i / 5))
        hits = [sum(chance.random() < share + more for _ in range(20)) for share in (stable, new)]
        one.add((hits[0], 20), (hits[1], 20))
        if one.against_fair > math.log(1 / rules.alpha):
            return ROLL_BACK
        if one.against_bad > math.log(1 / rules.beta):
            return PROMOTE
    return GO_ON


@pytest.mark.parametrize("drift", [0.0, 0.2])
def test_errors_of_both_kinds_are_as_rare_as_the_rules_say(drift: float) -> None:
    """At the very edge of fair and of bad, and while the common share swings between its own and 40 points more."""
    chance, number = random.Random(4), 150
    fair = [race(0.03, 0.05, chance, drift, 60) for _ in range(number)]
    bad = [race(0.03, 0.11, chance, drift, 60) for _ in range(number)]
    assert fair.count(ROLL_BACK) <= 5, "at most 1 in 100 (5 of 150 or more: once in 50 runs)"
    assert bad.count(PROMOTE) <= 2
    assert bad.count(ROLL_BACK) > (50 if drift else 90), "and it does decide"


def test_a_bet_is_fair_wherever_the_common_share_lies() -> None:
    """The expectation of what a bet wins, computed exactly, at the edge of its hypothesis and beyond."""
    n = 12
    for p, apart, q in ((0.05, 0.02, 0.13), (0.05, 0.08, 0.05), (0.4, 0.02, 0.5), (0.001, 0.04, 0.001)):
        side = 1 if q - p > apart else -1
        for share in (0.001, 0.05, 0.3, 0.8):
            for beyond in (0.0, 0.02):
                other = share + apart - side * beyond
                if 0 <= other <= 1:
                    assert expectation(n, p, q, apart, share, other) <= 1 + 1e-9
    assert 0.05 < nearest(0.05, 0.13, 0.02, 20, 20) < 0.11
    assert won((0, 0), (3, 10), 0.1, 0.2, 0.02) == 0.0


def expectation(n: int, p: float, q: float, apart: float, share: float, other: float) -> float:
    def chance(k: int, one: float) -> float:
        return math.comb(n, k) * one**k * (1 - one) ** (n - k)

    pairs = ((i, k) for i in range(n + 1) for k in range(n + 1))
    return sum(chance(i, share) * chance(k, other) * math.exp(won((i, n), (k, n), p, q, apart)) for i, k in pairs)


@pytest.mark.slow
def test_forty_releases() -> None:
    """20 good and 20 bad ones, five of each kind; LAB_RELEASES=400 tries more."""
    rows = asyncio.run(release_all(faults_of(int(os.environ.get("LAB_RELEASES", "40")))))
    print(f"\n{table(rows)}")
    wrong = [f"{r.fault}: {r.decision.told()}" for r in rows if not r.right]
    assert not [w for w in wrong if not w.startswith("good")], "a bad one was promoted"
    assert len(wrong) <= 1, wrong
    assert sum(r.lost for r in rows) == 0, "requests lost by the switch"
    whys = {fault: " ".join(r.decision.why for r in rows if r.fault == fault) for fault in FAULTS}
    assert "crashed" in whys["crash"] and "calls" in whys["labels"]
    assert "failed" in whys["errors"] and "took longer" in whys["slow"]
