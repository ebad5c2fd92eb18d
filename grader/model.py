"""The vocabulary: what was seen (Evidence), what a check says of it (Finding), what that means (Verdict), the Report.

Everything is a frozen dataclass that turns into plain JSON and back, so old evidence can be judged again.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

Facts = dict[str, Any]
SCHEMA = 1


class Verdict(StrEnum):
    """Worst first, which is also the order in which one decides for many."""

    ERROR = "error"  # the grader's or the machine's fault
    FAIL = "fail"  # the submission's fault
    NOT_RUN = "not_run"  # a needed tool is missing, or an earlier check did not pass
    PASS = "pass"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; NOT_RUN for none at all, since nothing was proved."""
    seen = set(verdicts)
    return next((v for v in Verdict if v in seen), Verdict.NOT_RUN)


ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_].*?(?:\x07|\x1b\\)|.)?", re.S)
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def clean(value: Any) -> Any:
    """Fit to be shown and to be written as JSON: no escape sequences, which a terminal would obey, no half characters,
    no NaN. What a submission printed or answered stands in messages and in what was found."""
    if isinstance(value, str):
        return UNSEEN.sub("\ufffd", ESCAPES.sub("", value))
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {str(clean(str(k))): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [clean(v) for v in value]
    return value


@dataclass(frozen=True)
class Finding:
    """All that a check returns: whether it holds, in words, and the two things that were compared."""

    ok: bool
    message: str
    found: Any = None
    wanted: Any = None


@dataclass(frozen=True)
class Evidence:
    """What a probe saw. `problem` is set when the probe itself broke or ran out of time, `lacking` when the machine has
    not what it needs (why, and what adds it); then `facts` is empty."""

    probe: str
    facts: Facts = field(default_factory=dict)
    at: str = ""  # ISO 8601, UTC
    seconds: float = 0.0
    problem: str = ""
    lacking: str = ""


@dataclass(frozen=True)
class Probe:
    """Looks at the world: `look(workspace)` returns facts (plain JSON) within `limit` seconds, or is killed. Where its
    own `needs` are not met, its checks alone are not run. `ahead`: it begins with the grading, beside others
    of its kind: it measures nothing, or waits for them before it does. Each of the others has the machine alone."""

    name: str
    look: Callable[..., Facts]
    limit: float
    needs: tuple[str, ...] = ()
    ahead: bool = False


@dataclass(frozen=True)
class Check:
    """Pure: `judge(facts)` of one probe. It runs only when the checks it comes `after` passed."""

    id: str
    probe: str
    judge: Callable[[Facts], Finding]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Criterion:
    """One success criterion, from NAME.toml (texts) and NAME.py (probes and checks; absent while not built)."""

    short: str  # sc1
    id: str  # sc1-models-saved
    title: str
    outcome: str
    lab: str  # 01
    needs: tuple[Any, ...] = ()
    hints: dict[str, list[str]] = field(default_factory=dict)
    explanation: str = ""
    probes: tuple[Probe, ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class CheckResult:
    id: str
    verdict: Verdict
    message: str
    evidence: Facts = field(default_factory=dict)
    author: str = ""  # of what decides it: yours (a TODO of the learner's) or given (grader/authors.py)


@dataclass(frozen=True)
class CriterionResult:
    id: str
    title: str
    verdict: Verdict
    seconds: float
    checks: tuple[CheckResult, ...] = ()
    note: str = ""  # why nothing was run

    def first_problem(self) -> CheckResult | None:
        """The check to look at first: the first one that has the criterion's own verdict."""
        return next((c for c in self.checks if c.verdict is self.verdict and c.verdict is not Verdict.PASS), None)


@dataclass(frozen=True)
class NotebookRun:
    """What the walk did with a solution notebook: PASS (ran, or unchanged since it did), ERROR or NOT_RUN."""

    id: str
    verdict: Verdict
    seconds: float
    message: str


@dataclass(frozen=True)
class Report:
    made: str
    machine: Facts
    answers: tuple[Facts, ...]
    criteria: tuple[CriterionResult, ...]
    notebooks: tuple[NotebookRun, ...] = ()

    def verdict(self) -> Verdict:
        return worst([*(c.verdict for c in self.criteria), *(n.verdict for n in self.notebooks)])

    def exit_code(self, strict: bool = False) -> int:
        """0 nothing wrong, 1 a fail, 2 an error, 3 with `strict` when something was not run; worst first."""
        codes = {Verdict.ERROR: 2, Verdict.FAIL: 1, Verdict.NOT_RUN: 3 if strict else 0, Verdict.PASS: 0}
        return codes[self.verdict()]

    def to_json(self) -> Facts:
        """The document that report.schema.json describes."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, data: Facts) -> "Report":
        def revive(kind: Any, part: Facts, **more: Any) -> Any:
            return kind(**{**part, "verdict": Verdict(part["verdict"]), **more})

        checks = {c["id"]: tuple(revive(CheckResult, k) for k in c["checks"]) for c in data["criteria"]}
        criteria = tuple(revive(CriterionResult, c, checks=checks[c["id"]]) for c in data["criteria"])
        notebooks = tuple(revive(NotebookRun, n) for n in data.get("notebooks", []))
        return cls(data["made"], data["machine"], tuple(data["answers"]), criteria, notebooks)
