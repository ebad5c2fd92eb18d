"""`./lab numbers`: every figure in what people read comes from a run file, or says what it is (figures/)."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click
from figures import logs, walks
from figures.check import ADVICE, Checked, check, dates
from figures.drift import find_drifts
from figures.rewrite import write_figures, write_tables

from grader.entry import run_command
from grader.kit import Kit
from grader.workspace import write_atomic


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--check", "checking", is_flag=True, help="the problems alone; exit 1 if there is one")
@click.option("--write", "writing", is_flag=True, help="put what the run files say into the pages, first")
@click.option("--keep-walk", metavar="DIR", default="", help="keep the walk in that workspace: docs/runs/walk.json")
@click.option("--keep-lab", metavar="DIR NUMBER", nargs=2, help="keep one lab walked there: docs/runs/labNUMBER.json")
@click.option("--keep-ci", metavar="LOG", multiple=True, help="keep what .ci/run printed: docs/runs/ci.json")
@click.option(
    "--keep-drains", metavar="FILE", multiple=True, help="keep runs of `./lab bench drain`: docs/runs/drain.json"
)
@click.option("--keep-table", metavar="NAME FILE COMMAND", nargs=3, help="keep a table that COMMAND printed into FILE")
def main(
    checking: bool, writing: bool, keep_walk: str, keep_lab: tuple[str, str] | None, keep_ci: tuple[str, ...],
    keep_drains: tuple[str, ...], keep_table: tuple[str, str, str] | None,
) -> None:  # fmt: skip
    """Hold every figure of README, docs, manifests and notebooks to its run file; say which must be measured again."""
    root = Kit().root
    if keep_walk:
        keep(root, "walk", walks.keep_walk(Path(keep_walk)))
    if keep_lab:
        keep(root, f"lab{keep_lab[1]}", walks.keep_lab(Path(keep_lab[0]), keep_lab[1]))
    if keep_ci:
        keep(root, "ci", logs.keep_ci([Path(log) for log in keep_ci]))
    if keep_drains:
        keep(root, "drain", logs.keep_drains([Path(file) for file in keep_drains]))
    if keep_table:
        name, file, command = keep_table
        keep(root, name, logs.keep_table(Path(file), command))
    if writing:
        print("\n".join([*write_figures(root), *write_tables(root)]))
    done = check(root)
    if not checking:
        print("\n".join([*told_lost(done), *told_runs(root), *find_drifts(root)]))
    advice = [ADVICE] if any("is in no run file" in problem for problem in done.problems) else []
    print("\n".join([*done.problems, *advice, counted(done)]))
    sys.exit(bool(done.problems))


def keep(root: Path, name: str, run: dict[str, Any]) -> None:
    write_atomic(root / "docs" / "runs" / f"{name}.json", (json.dumps(run, indent=1) + "\n").encode())


def counted(done: Checked) -> str:
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(done.counts.items()))
    return f"{done.counts.total()} figures: {told}; {len(done.problems)} problems."


def told_lost(done: Checked) -> list[str]:
    """The figures to be measured again, by the command that does it."""
    commands = sorted({entry["again"] for entry, _ in done.lost})
    lines = []
    for command in commands:
        mine = [(entry, found) for entry, found in done.lost if entry["again"] == command]
        count = sum(len(found) for _, found in mine)
        first = min(str(entry["date"]) for entry, _ in mine)
        lines.append(f"{count:4} figures since {first}, no run file; again: {command}")
    return lines


def told_runs(root: Path) -> list[str]:
    today = date.today()
    return [f"{(today - date.fromisoformat(day)).days:4} days old: {name}" for day, name in dates(root)]


if __name__ == "__main__":
    run_command(main, name="./lab numbers")
