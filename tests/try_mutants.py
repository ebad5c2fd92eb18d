"""`./lab mutants`: proves the graders on mutants and right submissions (mutants/)."""

from __future__ import annotations

import sys

import click
from mutants.prove import to_lines, try_mutants, try_only

from grader.entry import run_command, say
from grader.kit import Kit
from grader.model import Verdict
from grader.walk import walk


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--live", is_flag=True, help="look at the world also where evidence is recorded, stale evidence first")
@click.option("--record", is_flag=True, help="with --live: keep the evidence")
@click.option("--minutes", type=float, help="start from the checkpoints, without a walk, and end in time")
@click.option("--only", multiple=True, metavar="ID", help="that mutant or right submission alone, live (repeatable)")
@click.argument("criteria", nargs=-1)
def main(criteria: tuple[str, ...], live: bool, record: bool, minutes: float | None, only: tuple[str, ...]) -> None:
    """Prove the graders: each wrong submission must fail exactly its check, each right one pass."""
    kit = Kit()
    shorts = [c.short for c in kit.criteria(list(criteria)) if c.checks]
    if minutes is None and not only:
        walk(kit, say, shorts=shorts)
    results = try_only(kit, shorts, say, only, record) if only else try_mutants(kit, shorts, say, live, record, minutes)
    print("\n".join(to_lines(results)))
    tried = [r.verdict for r in results if r.verdict is not Verdict.NOT_RUN]
    sys.exit(2 if Verdict.ERROR in tried else int(Verdict.FAIL in tried))


if __name__ == "__main__":
    run_command(main, name="./lab mutants")
