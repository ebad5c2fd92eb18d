"""Makes verdicts, and nothing else makes them. Pure: evidence in, results out, so it can be run on old evidence."""

import json
from collections.abc import Mapping

from grader.model import Check, CheckResult, Criterion, CriterionResult, Evidence, Facts, Finding, Verdict, clean, worst

MOST = 8_000  # characters of a message, or of what was found: what a submission printed has no end of its own


def judge_check(check: Check, evidence: Evidence | None, earlier: Mapping[str, CheckResult]) -> CheckResult:
    """One check against its probe's evidence. `earlier` holds the results so far, by check id."""
    blocker = next((c for c in check.after if c not in earlier or earlier[c].verdict is not Verdict.PASS), None)
    if blocker:
        return CheckResult(check.id, Verdict.NOT_RUN, f"comes after {blocker}, which did not pass")
    if evidence is None:
        return CheckResult(check.id, Verdict.ERROR, f"the probe {check.probe} left no evidence")
    if evidence.lacking:
        return CheckResult(check.id, Verdict.NOT_RUN, clean(evidence.lacking)[:MOST])
    seen = {"probe": evidence.probe, "at": evidence.at, "seconds": evidence.seconds}
    if evidence.problem:
        return CheckResult(
            check.id, Verdict.ERROR, clean(f"the probe {evidence.probe} {evidence.problem}")[:MOST], seen
        )
    try:
        finding = check.judge(evidence.facts)
        if not isinstance(finding, Finding):
            raise TypeError(f"returned {type(finding).__name__}, not a Finding")
    except Exception as broken:
        message = clean(f"the check itself broke: {type(broken).__name__}: {broken}")[:MOST]
        return CheckResult(check.id, Verdict.ERROR, message, seen)
    verdict, compared = Verdict.PASS if finding.ok is True else Verdict.FAIL, [finding.found, finding.wanted]
    found, wanted = (
        part if len(json.dumps(part)) < MOST else f"{json.dumps(part)[:MOST]}..." for part in clean(compared)
    )
    return CheckResult(check.id, verdict, clean(finding.message)[:MOST], {**seen, "found": found, "wanted": wanted})


def judge_criterion(criterion: Criterion, evidence: Mapping[str, Evidence]) -> CriterionResult:
    """All checks, in their order, against recorded evidence."""
    results: dict[str, CheckResult] = {}
    for check in criterion.checks:
        results[check.id] = judge_check(check, evidence.get(check.probe), results)
    seconds = sum(e.seconds for e in evidence.values())
    return summarise(criterion, results, seconds)


def summarise(
    criterion: Criterion, results: Mapping[str, CheckResult], seconds: float, problem: str = ""
) -> CriterionResult:
    """A check without a result was lost with its process, and `problem` says how that ended: an error, by name."""
    lost = "left no result: the grading process died or ran past its limit before this check ended"
    lost += clean(f" ({problem})")[:MOST] if problem else ""
    checks = tuple(results.get(c.id) or CheckResult(c.id, Verdict.ERROR, lost) for c in criterion.checks)
    return CriterionResult(criterion.id, criterion.title, worst(c.verdict for c in checks), round(seconds, 1), checks)


def broken_off(criterion: Criterion, why: str) -> CriterionResult:
    """Each check with the one reason why there is no result."""
    checks = tuple(CheckResult(c.id, Verdict.ERROR, clean(why)[:MOST]) for c in criterion.checks)
    return CriterionResult(criterion.id, criterion.title, Verdict.ERROR, 0.0, checks)


def not_run(criterion: Criterion, why: str, evidence: Facts | None = None) -> CriterionResult:
    """The whole criterion, and each of its checks, with the one reason."""
    checks = tuple(CheckResult(c.id, Verdict.NOT_RUN, why, evidence or {}) for c in criterion.checks)
    return CriterionResult(criterion.id, criterion.title, Verdict.NOT_RUN, 0.0, checks, why)
