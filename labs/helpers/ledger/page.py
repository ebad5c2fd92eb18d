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

What the course module and documentation say about serving with BentoML, or users may expect, and what came out when it
was tried. Made by `./lab claims --keep` from `docs/claims.toml` and the run files in `docs/runs/claims/`; not edited by
hand. `./lab claims c01` tries one on your machine, `./lab claims --quick` those that take seconds.

The *course module* is the text that the kit grew out of. It is no part of the kit, so its statements are in our words.
The list holds what looked doubtful, so its counts say nothing of the module as a whole; where the module *warns* of a
mistake, refuted means that the module is right. *Depends* means true under conditions that the figures name.

"""
# What the experiments of a theme ask.
ASKED = {
    "dispatching": "BentoML's dispatcher alone, before a stand-in for a model that sleeps (c08: the stand-in alone)",
    "serving": "`bentoml serve` of a service without a model",
    "storing": "the model store, with models of one function or text",
    "building": "`bentoml build` of a service without a model",
    "forms": "what is installed here, with what the course module writes (c33: lab 08's kept run in a cluster)",
    "computing": "the two models of lab 01",
    "accelerated": "the kit's embedding runner on a GPU, on a machine that has one",
    "walked": "what a walk of the labs measured, in a cluster or under load",
}


def made(runs: Sequence[Path]) -> str:
    """The page of this kit's ledger; its run files are those that the ledger names."""
    root = Kit().root
    return to_page(read_claims(root), root)


def to_page(claims: list[Claim], root: Path) -> str:
    counts = Counter(claim.outcome for claim in claims)
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome)
    rows = ["| | claim | who says so | outcome | what was seen | date | lab |", "|---|---|---|---|---|---|---|"]
    rows += [to_row(claim, root) for claim in claims]
    return f"{HEAD}{asked(claims, root)}\n\n{len(claims)} claims: {told}.\n\n" + "\n".join(rows) + "\n"


def asked(claims: list[Claim], root: Path) -> str:
    """What the experiments of each theme ask, and on which machines they were made."""
    themes: dict[str, list[str]] = {}
    for claim in claims:
        if claim.experiment:
            themes.setdefault(claim.experiment.partition(".")[0], []).append(claim.id)
    lines = [f"- {' to '.join(dict.fromkeys((ids[0], ids[-1])))}: {ASKED[theme]}" for theme, ids in themes.items()]
    return "\n".join(
        ["What was asked:", "", *lines, "", f"All of it on {', '.join(machines(claims, root)) or 'no machine yet'}."]
    )


def machines(claims: list[Claim], root: Path) -> list[str]:
    """Those that the runs were made on; of all but the commonest, with the claims."""
    found: dict[str, list[str]] = {}
    for claim in claims:
        if claim.evidence and (about := json.loads((root / claim.evidence).read_text()).get("machine")):
            found.setdefault(f"{about['cpus']} cores, BentoML {about['bentoml']}", []).append(claim.id)
    names = sorted(found, key=lambda name: -len(found[name]))
    return [f"but {' and '.join(found[name])} on {name}" if at else name for at, name in enumerate(names)]


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
