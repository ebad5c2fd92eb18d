"""docs/claims.md: the ledger and its run files as one page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from grader.kit import Kit
from labs.helpers.ledger.entries import Claim, read_claims
from labs.helpers.ledger.experiment import Outcome

FILE = "docs/claims.md"
HEAD = """# Claims

What is said about serving with BentoML, by the course module, by documentation and by users, and what came out when it
was tried. Made by `./lab claims --keep` from `docs/claims.toml` and the run files in `docs/runs/claims/`; not edited by
hand. `./lab claims c01` tries one on your machine, `./lab claims --quick` those that take seconds.

"""


def made(runs: Sequence[Path]) -> str:
    """The page of this kit's ledger; its run files are those that the ledger names."""
    root = Kit().root
    return to_page(read_claims(root), root)


def to_page(claims: list[Claim], root: Path) -> str:
    counts = Counter(claim.outcome for claim in claims)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    rows = ["| | claim | who says so | outcome | what was seen | date | lab |", "|---|---|---|---|---|---|---|"]
    return HEAD + f"{len(claims)} claims: {told}.\n\n" + "\n".join([*rows, *(to_row(c, root) for c in claims)]) + "\n"


def to_row(claim: Claim, root: Path) -> str:
    seen = why_of(claim, root).replace("|", "\\|")
    shown = f"[{claim.id}]({claim.evidence.removeprefix('docs/')})" if claim.evidence else claim.id
    cells = [shown, claim.statement, claim.source, claim.outcome.value, seen, claim.date, ", ".join(claim.taught)]
    return f"| {' | '.join(cells)} |"


def why_of(claim: Claim, root: Path) -> str:
    """What its run file says; else why there is none."""
    if claim.evidence:
        return str(json.loads((root / claim.evidence).read_text())["why"])
    return claim.lacks or f"`./lab claims --keep {claim.id}` has not been run"
