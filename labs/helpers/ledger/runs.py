"""Run files: what an experiment measured, where and when. A claim's outcome is worth what its run file is."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from grader.model import Facts
from grader.world.load import machine
from labs.helpers.ledger.entries import Claim
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, find

KEPT = "docs/runs/claims"


def measure(claim: Claim, kit: Path, works: tuple[Path, ...]) -> Facts:
    """Makes one run. Raises NotRun, with the reason, where it cannot be made here."""
    if claim.lacks:
        raise NotRun(claim.lacks)
    tried = find(claim.experiment)
    with tempfile.TemporaryDirectory(prefix="claim-", ignore_cleanup_errors=True) as scratch:
        began = time.monotonic()
        seen = tried.measure(Place(kit, Path(scratch), works))
        seconds = round(time.monotonic() - began, 1)
    said = tried.decide(seen)
    return {
        "claim": claim.id,
        "experiment": claim.experiment,
        "digest": tried.digest(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
        "machine": machine.facts(),
        "facts": seen,
        "outcome": said.outcome.value,
        "why": said.why,
    }


def date_of(run: Facts) -> str:
    """The day on which its facts were measured: an experiment that reads a walk tells when the walk measured them."""
    return str(run["facts"].get("measured_at") or run["made"])[:10]


def to_bytes(run: Facts) -> bytes:
    return (json.dumps(run, indent=1, ensure_ascii=False) + "\n").encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_problems(claim: Claim, root: Path) -> list[str]:
    """Why the ledger's word on that claim may not be believed, each as a sentence; nothing where it may."""
    if claim.lacks or not claim.evidence:
        wrong = claim.outcome is not Outcome.NOT_RUN or claim.evidence
        return [f"{claim.id} says {claim.outcome}, and has no run file"] if wrong else []
    path = root / claim.evidence
    if not path.is_file():
        return [f"{claim.id}: its run file {claim.evidence} is not there"]
    if digest(path.read_bytes()) != claim.sha256:
        return [f"{claim.id}: {claim.evidence} is not the file that was kept: its sha256 differs"]
    return [problem for look in LOOKS if (problem := look(claim, json.loads(path.read_text())))]


def differs(claim: Claim, run: Facts) -> str:
    told = (claim.id, claim.outcome.value, claim.date)
    found = (run["claim"], run["outcome"], date_of(run))
    return f"{claim.id}: the ledger says {told[1:]}, its run file {found}" if told != found else ""


def misjudged(claim: Claim, run: Facts) -> str:
    said = find(claim.experiment).decide(run["facts"])
    if (said.outcome.value, said.why) == (run["outcome"], run["why"]):
        return ""
    return f"{claim.id}: its run file says {run['outcome']}, and its facts say {said.outcome}: {said.why}"


def stale(claim: Claim, run: Facts) -> str:
    same = (run["experiment"], run["digest"]) == (claim.experiment, find(claim.experiment).digest())
    return (
        "" if same else f"{claim.id}: the experiment has changed since: `./lab claims --keep {claim.id}` measures again"
    )


LOOKS: tuple[Callable[[Claim, Facts], str], ...] = (differs, misjudged, stale)
