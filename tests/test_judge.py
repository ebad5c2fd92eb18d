"""Verdicts are pure functions of evidence: every rule of judge.py, without a process."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from grader.judge import judge_criterion, not_run, summarise
from grader.kit import Kit
from grader.model import (
    Check,
    Criterion,
    CriterionResult,
    Evidence,
    Facts,
    Finding,
    NotebookRun,
    Report,
    Verdict,
    worst,
)
from grader.report import SCHEMA_FILE, to_html, to_junit

TOYKIT = Path(__file__).parent / "toykit"
MACHINE: Facts = {"system": "x", "python": "3", "cpus": 1, "memory_gib": 1.0, "packages": {}}


def criterion(*checks: Check) -> Criterion:
    return Criterion("x", "x-y", "X", "", "01", checks=checks)


def verdicts(result: CriterionResult) -> list[str]:
    return [c.verdict.value for c in result.checks]


def holds(facts: Facts) -> Finding:
    return Finding(facts["n"] == 1, "n is one", facts["n"], 1)


FIRST = Check("first", "p", holds)
SECOND = Check("second", "p", holds, ("first",))
THIRD = Check("third", "p", holds, ("second",))
OTHER = Check("other", "q", holds)


@pytest.mark.parametrize(
    ("verdict", "of"),
    [
        ("error", "pass fail error not_run"),
        ("fail", "pass fail not_run"),
        ("not_run", "pass not_run"),
        ("pass", "pass"),
        ("not_run", ""),
    ],
)
def test_the_worst_verdict_decides(verdict: str, of: str) -> None:
    assert worst(Verdict(v) for v in of.split()) is Verdict(verdict)


def test_a_check_after_one_that_failed_is_not_run() -> None:
    result = judge_criterion(
        criterion(FIRST, SECOND, THIRD, OTHER), {"p": Evidence("p", {"n": 2}), "q": Evidence("q", {"n": 1})}
    )
    assert verdicts(result) == ["fail", "not_run", "not_run", "pass"]
    assert result.verdict is Verdict.FAIL
    assert result.checks[1].message == "comes after first, which did not pass"
    assert result.checks[0].evidence["found"] == 2 and result.checks[0].evidence["wanted"] == 1


def test_a_broken_probe_is_an_error_and_never_a_fail() -> None:
    result = judge_criterion(
        criterion(FIRST, OTHER), {"p": Evidence("p", problem="ran past its limit"), "q": Evidence("q", {"n": 1})}
    )
    assert verdicts(result) == ["error", "pass"]
    assert "ran past its limit" in result.checks[0].message


def test_absent_evidence_and_absent_results_are_errors() -> None:
    assert verdicts(judge_criterion(criterion(FIRST), {})) == ["error"]
    assert verdicts(summarise(criterion(FIRST), {}, 0)) == ["error"]


@pytest.mark.parametrize("truthy", [1, "yes", [0]])
def test_only_true_passes(truthy: object) -> None:
    check = Check("c", "p", lambda _: Finding(truthy, ""))  # type: ignore[arg-type]
    assert verdicts(judge_criterion(criterion(check), {"p": Evidence("p", {})})) == ["fail"]


def report_with(*found: Verdict, notebook: Verdict | None = None) -> Report:
    runs = (NotebookRun("01_x", notebook, 0.0, ""),) if notebook else ()
    return Report("now", MACHINE, (), tuple(CriterionResult("t1-number-written", "T", v, 0.0) for v in found), runs)


@pytest.mark.parametrize(
    ("code", "strict", "found"),
    [
        (0, 0, ["pass"]), (0, 3, ["pass", "not_run"]), (0, 3, ["not_run"]),
        (1, 1, ["not_run", "fail", "pass"]), (2, 2, ["fail", "error"]),
    ],
)  # fmt: skip
def test_exit_codes(code: int, strict: int, found: list[str]) -> None:
    report = report_with(*map(Verdict, found))
    assert (report.exit_code(), report.exit_code(strict=True)) == (code, strict)


def test_a_notebook_that_failed_decides_the_exit_code() -> None:
    assert report_with(Verdict.PASS, notebook=Verdict.ERROR).exit_code() == 2


def nasty_report() -> Report:
    """Strings that break pages and XML when they are not escaped."""
    check = Check("c", "p", lambda _: Finding(False, "<script>1</script> \x00 & é", "\x1b[31m<b>", {"a": [1]}))
    judged = judge_criterion(
        Criterion("t1", "t1-number-written", "T", "", "01", checks=(check,)), {"p": Evidence("p", {})}
    )
    answers = ({"id": "T1", "text": "</pre><script>1</script>", "at": "now"},)
    return Report("now", MACHINE, answers, (judged, not_run(criterion(), "no unicorn")))


def test_the_json_fits_its_schema_and_comes_back_the_same() -> None:
    report = nasty_report()
    data = json.loads(json.dumps(report.to_json()))
    schema = json.loads(SCHEMA_FILE.read_text())
    jsonschema.validate(data, schema)
    assert Report.from_json(data).to_json() == report.to_json()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "criteria": [{**data["criteria"][0], "verdict": "maybe"}]}, schema)


def test_what_programs_printed_is_escaped() -> None:
    kit = Kit(TOYKIT)
    kit.criteria = lambda names=None: []  # type: ignore[method-assign]
    page = to_html(nasty_report(), kit)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert 'skipped="1"' in to_junit(nasty_report())
    assert "\x00" not in to_junit(nasty_report())


def test_a_probe_that_lacks_what_it_needs_makes_its_checks_not_run_and_no_others() -> None:
    lacking = {"p": Evidence("p", lacking="no unicorn: buy one"), "q": Evidence("q", {"n": 1})}
    result = judge_criterion(criterion(FIRST, SECOND, OTHER), lacking)
    assert verdicts(result) == ["not_run", "not_run", "pass"] and result.verdict is Verdict.NOT_RUN
    assert result.checks[0].message == "no unicorn: buy one"
