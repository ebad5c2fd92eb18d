"""./lab claims: the ledger; its experiments, run here; and what they say beside what is kept."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

from grader.entry import say
from grader.kit import Kit
from grader.model import Facts
from grader.workspace import learner_workspace, write_atomic
from labs.helpers.ledger import page, runs
from labs.helpers.ledger.entries import FILE, Claim, choose, read_claims, write_result
from labs.helpers.ledger.experiment import NotRun, Outcome, find

EXAMPLES = """Examples:

\b
  ./lab claims                  the ledger: what each says, and what came out when
  ./lab claims c01 c12          tries these two on this machine
  ./lab claims --quick          all that take seconds and need no cluster; about four minutes
  ./lab claims --check          is the ledger what its run files say?
  ./lab claims --keep c01       for who works on the kit: keeps the run, and writes the ledger and docs/claims.md

\b
Exit code: 0 as kept, 1 another outcome than the kept one, 2 an experiment broke.
"""


@dataclass(frozen=True)
class Tried:
    """`run` is None where none could be made; `why` says why not, and `broke` that the experiment is at fault."""

    claim: Claim
    run: Facts | None
    why: str
    broke: bool = False

    @property
    def differs(self) -> bool:
        kept = self.claim.outcome
        return bool(self.run) and kept is not Outcome.NOT_RUN and self.run["outcome"] != kept  # type: ignore[index]

    def told(self) -> str:
        outcome = self.run["outcome"] if self.run else "error" if self.broke else "not run"
        kept = f" (kept: {self.claim.outcome}, {self.claim.date})" if self.differs else ""
        return f"{self.claim.id}  {outcome}{kept}: {self.claim.statement}\n       {self.why}"


@click.command(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--all", "every", is_flag=True, help="try every claim")
@click.option("--quick", is_flag=True, help="try those that take seconds")
@click.option("--keep", is_flag=True, help="keep the runs: write run files, docs/claims.toml and docs/claims.md")
@click.option("--check", is_flag=True, help="try nothing; exit 1 unless each outcome is what its run file says")
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...], every: bool, quick: bool, keep: bool, check: bool) -> None:
    """Try what is said about serving with BentoML, and see what is true on this machine."""
    root = Kit().root
    claims = read_claims(root)
    if check:
        problems = find_all_problems(claims, root)
        print("\n".join(problems or [f"{len(claims)} claims: each outcome is what its run file says."]))
        sys.exit(bool(problems))
    chosen = claims if every else [c for c in claims if is_quick(c)] if quick else choose(claims, list(names))
    if not chosen:
        print("\n".join(f"{c.id}  {c.outcome.value:<10} {c.date or '-':<11} {c.statement}" for c in claims))
        return
    tried = list(show(try_claims(chosen, root)))
    if keep:
        keep_runs(tried, root)
    sys.exit(2 if any(t.broke for t in tried) else int(not keep and any(t.differs for t in tried)))


def is_quick(claim: Claim) -> bool:
    return bool(claim.experiment) and not find(claim.experiment).minutes


def find_all_problems(claims: list[Claim], root: Path) -> list[str]:
    problems = [problem for claim in claims for problem in runs.find_problems(claim, root)]
    shown = root / page.FILE
    if not problems and (not shown.is_file() or shown.read_text() != page.to_page(claims, root)):
        problems = [f"{page.FILE} is not what the ledger says: `./lab claims --keep ID` writes it"]
    return problems


def try_claims(claims: list[Claim], root: Path) -> Iterator[Tried]:
    """Each in turn; one that breaks ends none of the others."""
    kit = Kit(root)
    works = tuple(w for w in (kit.state / "walk", learner_workspace_root(kit)) if w.is_dir())
    for claim in claims:
        say(f"trying {claim.id}: {claim.experiment or 'no experiment'}")
        try:
            run = runs.measure(claim, root, works)
            yield Tried(claim, run, run["why"])
        except NotRun as lacking:
            yield Tried(claim, None, " ".join(p for p in (lacking.problem, lacking.remedy) if p))
        except Exception as broken:
            say(traceback.format_exc())
            yield Tried(claim, None, f"{type(broken).__name__}: {broken}", broke=True)


def learner_workspace_root(kit: Kit) -> Path:
    """Where the learner's workspace is, or would be."""
    try:
        return learner_workspace(kit).root
    except Exception:
        return kit.root / "work"


def show(tried: Iterable[Tried]) -> Iterator[Tried]:
    for one in tried:
        print(one.told(), flush=True)
        yield one


def keep_runs(tried: list[Tried], root: Path) -> None:
    """Writes the run files, the ledger and its page. What could not be run here keeps what it had."""
    text = (root / FILE).read_text()
    for one in tried:
        if one.run:
            name, data = f"{runs.KEPT}/{one.claim.id}.json", runs.to_bytes(one.run)
            write_atomic(root / name, data)
            values = {"outcome": one.run["outcome"], "evidence": name}
            text = write_result(
                text, one.claim.id, {**values, "sha256": runs.digest(data), "date": runs.date_of(one.run)}
            )
    write_atomic(root / FILE, text.encode())
    write_atomic(root / page.FILE, page.to_page(read_claims(root), root).encode())
