"""Keeps what a walk saw as tests/evidence/scN.json, for test_evidence.py: `.venv/bin/python tests/keep_evidence.py`.

Takes .lab/walk/results (or a folder given as the only word), whose criteria have to pass. Paths of this machine are
taken out. Needed whenever a probe gathers other facts than before.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from fuzzing import KEPT, read_evidence

from grader.judge import judge_criterion
from grader.kit import ROOT, Kit
from grader.model import Verdict

PRIVATE = {re.escape(str(ROOT)): "/kit", re.escape(str(Path.home())) + "(?=/)": "/home/somebody"}


def keep(results: Path) -> None:
    kit = Kit()
    for short in kit.shorts():
        source = results / f"{short}.evidence.json"
        if not source.is_file():
            print(f"{short}: no evidence in {results}")
            continue
        graded = judge_criterion(kit.criterion(short), read_evidence(source))
        if graded.verdict is not Verdict.PASS:
            print(f"{short}: left as it is, since it does not pass: {graded.first_problem()}")
            continue
        text = thin(source.read_text())
        for private, public in PRIVATE.items():
            text = re.sub(private, public, text)
        (KEPT / f"{short}.json").write_text(text)
        print(f"{short}: kept, {len(text) / 1000:.0f} kB")


def thin(text: str) -> str:
    """Of sc2's requests at once, four: one of each size is as good as thirty-two, and a second quicker to fuzz. Of its
    unusual texts two, and of the callers who met two."""
    kept = json.loads(text)
    for facts in (evidence["facts"] for evidence in kept.values()):
        facts |= {name: facts[name][:4] for name in ("burst", "together") if name in facts}
        facts |= {"others": dict(list(facts["others"].items())[:2])} if "others" in facts else {}
        for still in facts.get("frozen", {}).values():
            still["answers"] = still["answers"][:2]
        if "answers" in facts.get("saved", {}):  # of texts that are still asked
            asked = json.dumps({name: part for name, part in facts.items() if name != "saved"})
            told = facts["saved"]["answers"]
            facts["saved"]["answers"] = {
                tag: {text: row for text, row in rows.items() if json.dumps(text) in asked}
                for tag, rows in told.items()
            }
    return json.dumps(kept, indent=1) + "\n"


if __name__ == "__main__":
    keep(Path(sys.argv[1]) if len(sys.argv) > 1 else Kit().state / "walk" / "results")
