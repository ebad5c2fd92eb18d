"""docs/claims.toml: what is claimed, by whom, and what came out. People write the first four keys of an entry; outcome,
evidence, sha256 and date are written by `./lab claims --keep` alone."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grader.errors import BadKit, UnknownName
from labs.helpers.ledger.experiment import Outcome

FILE = "docs/claims.toml"
PEOPLE = ("statement", "source", "taught", "experiment", "lacks")
MACHINE = ("outcome", "evidence", "sha256", "date")


@dataclass(frozen=True)
class Claim:
    """`taught`: the labs that show it. `lacks`: why there is no experiment, for a claim without one. `evidence`: its
    run file, from the kit's root; empty until it is kept."""

    id: str
    statement: str
    source: str
    taught: tuple[str, ...]
    experiment: str = ""
    lacks: str = ""
    outcome: Outcome = Outcome.NOT_RUN
    evidence: str = ""
    sha256: str = ""
    date: str = ""


def read_claims(root: Path) -> list[Claim]:
    """In the file's order. Raises BadKit for an entry that is not well formed."""
    path = root / FILE
    return [read_claim(path, name, entry) for name, entry in tomllib.loads(path.read_text()).items()]


def read_claim(path: Path, name: str, entry: dict[str, Any]) -> Claim:
    if unknown := sorted(set(entry) - {*PEOPLE, *MACHINE}):
        raise BadKit(path, f"{name} has a key that is not known: {unknown[0]}")
    if bool(entry.get("experiment")) == bool(entry.get("lacks")):
        raise BadKit(path, f"{name} needs an experiment, or else `lacks`: why there is none")
    try:
        outcome = Outcome(entry.get("outcome", Outcome.NOT_RUN))
        return Claim(name, **{**entry, "taught": tuple(entry["taught"]), "outcome": outcome})
    except (TypeError, KeyError, ValueError) as wrong:
        raise BadKit(path, f"{name}: {wrong}") from wrong


def choose(claims: list[Claim], names: list[str]) -> list[Claim]:
    """Those with that id, in the ledger's order. Raises UnknownName."""
    for name in names:
        if name not in [claim.id for claim in claims]:
            raise UnknownName("claim", name, [claim.id for claim in claims])
    return [claim for claim in claims if claim.id in names]


def write_result(text: str, name: str, values: dict[str, str]) -> str:
    """The ledger's text with these keys of that entry, and nothing else, written again."""
    lines = text.splitlines()
    first = lines.index(f"[{name}]") + 1
    last = next((at for at in range(first, len(lines)) if not lines[at] or lines[at].startswith("[")), len(lines))
    kept = [line for line in lines[first:last] if line.partition(" = ")[0] not in MACHINE]
    written = [f'{key} = "{values[key]}"' for key in MACHINE]
    return "\n".join([*lines[:first], *kept, *written, *lines[last:]]) + "\n"
