"""Lab 00's tiny criterion: the probe that asks practice/triage.py, one check, and the verdicts as lines of text.

The graders of the other labs work in the same way, with the same functions: see grader/criteria/sc1.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from grader.judge import judge_criterion
from grader.kit import check, probe
from grader.model import Check, Criterion, Evidence, Facts, Finding
from grader.processes import run
from grader.report import SIGNS

FILE = Path("practice/triage.py")
LIMIT = 20.0  # seconds
ASK = """
import json, runpy, sys
sort = runpy.run_path(sys.argv[1])["sort"]
print(json.dumps([sort(text) for text in json.loads(sys.argv[2])]))
"""


@probe(limit=LIMIT)
def asked(tickets: Sequence[tuple[str, str]], limit: float = LIMIT) -> Facts:
    """What the file answers to these texts, in a process that knows nothing of this kernel."""
    texts = [text for text, _ in tickets]
    done = run([sys.executable, "-c", ASK, str(FILE), json.dumps(texts)], limit)
    # On a busy machine it may have ended before anybody could look whether its time is over.
    if done.code is None or done.seconds > limit:
        raise TimeoutError(f"ran past its limit of {limit:g} s and was ended")
    labels = json.loads(done.tail(1)) if done.ok else []
    return {"labels": labels, "wanted": [label for _, label in tickets], "said": "" if done.ok else done.tail(1)}


@check(asked)
def every_ticket_gets_a_label(seen: Facts) -> Finding:
    count, wanted = sum(isinstance(label, str) for label in seen["labels"]), len(seen["wanted"])
    return Finding(count == wanted, seen["said"] or f"{count} of {wanted} tickets got a label", count, wanted)


@check(asked, after=every_ticket_gets_a_label)
def three_kinds(seen: Facts) -> Finding:
    kinds, wanted = sorted(set(seen["labels"])), sorted(set(seen["wanted"]))
    return Finding(kinds == wanted, f"the labels given were: {', '.join(kinds)}", kinds, wanted)


@check(asked, after=three_kinds)
def better_than_all_billing(seen: Facts) -> Finding:
    right, lazy = right_of(seen), seen["wanted"].count("billing")
    said = f"{right} of {len(seen['wanted'])} right; calling all of them billing gives {lazy}"
    return Finding(right > lazy, said, right, lazy + 1)


CHECKS = (every_ticket_gets_a_label, three_kinds, better_than_all_billing)


def right_of(seen: Facts) -> int:
    return sum(a == b for a, b in zip(seen["labels"], seen["wanted"], strict=False))


def look(tickets: Sequence[tuple[str, str]], limit: float = LIMIT) -> Evidence:
    """The probe's evidence; what goes wrong with the probe itself is its `problem`, never the file's fault."""
    try:
        return Evidence(asked.name, asked.look(tickets, limit))
    except TimeoutError as late:
        return Evidence(asked.name, problem=str(late))


def judge(checks: Sequence[Check], evidence: Evidence) -> str:
    """One line a check, as `./lab grade` writes them: the verdict's word, the check, and why."""
    name = "practice"
    criterion = Criterion(name, name, "", "", "00", probes=(asked,), checks=tuple(checks))
    result = judge_criterion(criterion, {evidence.probe: evidence})
    lines = [f"{SIGNS[c.verdict]:<11}{c.id:<28}{c.message}" for c in result.checks]
    return "\n".join([*lines, f"\nThe criterion: {SIGNS[result.verdict]} (the worst of the lines above)"])


def count_right(evidence: Evidence) -> int:
    """How many tickets the file sorted as a person did."""
    return right_of(evidence.facts or {"labels": [], "wanted": []})


def three_wrong(tickets: Sequence[tuple[str, str]], evidence: Evidence) -> str:
    """Three tickets that the file sorted otherwise than a person did, with both labels."""
    labels = (evidence.facts or {}).get("labels", [])
    pairs = zip(tickets, labels, strict=False)
    wrong = [f"  {got} instead of {label}: {text[:70]}" for (text, label), got in pairs if got != label]
    return "\n".join(["three that went wrong:", *wrong[:3]]) if wrong else "none went wrong"
