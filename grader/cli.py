"""The command line. Imports nothing heavy until a command needs it: `./lab --help` answers at once."""

import contextlib
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from grader import report
from grader.classroom import grade_class, judge_class
from grader.doctor import examine, to_json
from grader.entry import ask, run_command, say, show
from grader.errors import LabError, WrongCall
from grader.grade import grade_criterion
from grader.intake import opened
from grader.kit import ROOT, Kit
from grader.model import Report, Verdict
from grader.notebooks import build as build_all
from grader.processes import run
from grader.walk import start_at, walk_workspace
from grader.walk import walk as run_walk
from grader.workspace import Workspace, digest, learner_workspace, locked, write_atomic

EXAMPLES = """Examples:

\b
  ./lab walk              run every solution and grade it: is this machine fine?
  ./lab start             open JupyterLab in your own workspace
  ./lab grade sc1         grade one criterion of your work
  ./lab hint              a hint for the last check that failed
  ./lab start-at 03       begin at lab 03 with what 00-02 would have left

\b
Exit code: 0 nothing wrong, 1 something failed, 2 an error, 3 (--strict) something was not run, 64 a wrong call.
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The serving lab: learn to serve models by doing it, and have it checked against the real world."""


OUTPUT_OPTIONS = (
    click.option("--work", "folder", metavar="DIR", help="the workspace (default: work/ or LAB_WORK; walk: .lab/walk)"),
    click.option("--json", "json_file", metavar="FILE", help="write the report as JSON"),
    click.option("--html", "html_file", metavar="FILE", help="write the report as a page"),
    click.option("--junit", "junit_file", metavar="FILE", help="write the report as JUnit XML"),
    click.option("--strict", is_flag=True, help="exit 3 when something was not run"),
)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    return functools.reduce(lambda done, option: option(done), OUTPUT_OPTIONS, command)


@main.command()
@output_options
@click.option("--details", is_flag=True, help="show every check, the passed ones too")
@click.option("--out", metavar="DIR", default="", help="where reports go (default: results/ beside the work)")
@click.option("--trust", is_flag=True, help="with --work: run its code as you, without a sandbox")
@click.option("--fragment", metavar="FILE", hidden=True)
@click.argument("criteria", nargs=-1)
def grade(criteria: tuple[str, ...], folder: str, fragment: str, out: str, trust: bool, **outputs: Any) -> None:
    """Grade your work: all criteria, or those named. Example: ./lab grade sc1 --json report.json

    --work DIR is others' work: a copy is graded, in a sandbox, and without one on this machine it is refused."""
    check_paths(outputs)
    kit = Kit()
    chosen = kit.criteria(list(criteria))
    with opened(kit, folder, out, trust, say) as ws, graded_alone(ws):
        ws.answers()  # a damaged file is told before the work, not after it
        made = report.make_report(ws, [grade_criterion(ws, c) for c in chosen])
        if fragment:
            Path(fragment).write_text(report.to_html(made, kit, fragment=True))
        finish(ws, made, **outputs)


def graded_alone(ws: Workspace) -> contextlib.AbstractContextManager[None]:
    """One grading at a time writes into a folder of reports; a second one says who is at it, and waits."""
    lock = ws.kit.state / f"grading-{digest(os.fsencode(ws.results.absolute()))}.lock"
    return locked(lock, f"the folder of reports {ws.results}", say)


@main.command("class")
@click.option("--out", metavar="DIR", default="", help="where reports and the table go (default: FOLDER-graded)")
@click.option("--judge", is_flag=True, help="judge the kept evidence again, and say whose verdict changed and why")
@click.option("--jobs", default=1, type=click.IntRange(1, 16), help="how many at a time (torch wants two cores each)")
@click.argument("folder")
@click.argument("criteria", nargs=-1)
def class_command(folder: str, criteria: tuple[str, ...], out: str, judge: bool, jobs: int) -> None:
    """Grade a room: each submission (a folder or an archive) in FOLDER, in a sandbox. Example: ./lab class room/

    Stopped in the middle, it goes on from there; what is unchanged is not graded again."""
    kit, source = Kit(), Path(folder).absolute()
    target = Path(out).absolute() if out else source.with_name(f"{source.name}-graded")
    if judge:
        show(judge_class(kit, target, say) or ["No verdict changed."])
        return
    graded = grade_class(kit, source, target, say, list(criteria), jobs)
    print(f"{len(graded)} submissions are graded: {target / 'class.html'}, {target / 'class.csv'}")
    verdicts = [result.verdict for one in graded for result in one.report.criteria]
    sys.exit(2 if Verdict.ERROR in verdicts else 0)


@main.command()
@click.option("--all", "every", is_flag=True, help="the later labs, too, which the walk leaves out")
@click.option("--later", metavar="NN", multiple=True, help="that later lab, too (more than once: those)")
@output_options
def walk(folder: str, every: bool, later: tuple[str, ...], **outputs: Any) -> None:
    """Run the solution notebooks in order, grade everything, write the report. What has not changed is skipped."""
    check_paths(outputs)
    kit = Kit()
    chosen = [lab.number for lab in kit.labs()] if every else [kit.lab(number).number for number in later]
    finish(walk_workspace(kit, folder), run_walk(kit, say, folder, later=chosen), pages=True, **outputs)


def check_paths(outputs: dict[str, Any]) -> None:
    """Before the work, not after it."""
    for path in [Path(v).absolute() for k, v in outputs.items() if k.endswith("_file") and v]:
        if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            raise WrongCall(
                f"{path} cannot be written.", "Name a file in a folder that exists and is yours to write in."
            )


def finish(ws: Workspace, made: Report, strict: bool, details: bool = False, pages: bool = False, **files: str) -> None:
    """Writes and shows the report, and with `pages` the executed notebooks as pages; its exit code is ours."""
    report.to_terminal(made, ws.kit, details)
    print(f"Report: {report.save(made, ws, files)}")
    if pages and (index := ws.kit.call("pages", ws, made)):
        print(f"Each lab with its outputs: {index}")
    sys.exit(made.exit_code(strict))


@main.command("start-at")
@click.argument("number")
@click.option("--yes", is_flag=True, help="do not ask")
def start_at_command(number: str, yes: bool) -> None:
    """Begin at lab NUMBER with what the labs before it leave; yours goes to backups/. Example: ./lab start-at 02"""
    Kit().lab(number)
    ws = learner_workspace(Kit(), make=True)
    ask(f"Put your files away and take those that come before lab {number}?", yes or not any(ws.root.iterdir()))
    show([*ws.provide(), *start_at(ws, number)])


@main.command("report")
@click.option("--details", is_flag=True, help="show every check, the passed ones too")
@click.option("--json", "json_file", metavar="FILE", help="write it as JSON, predictions included")
def last_report(details: bool, json_file: str) -> None:
    """The last report again, without grading, and each prediction beside what was measured."""
    check_paths({"json_file": json_file})
    ws = learner_workspace(Kit())
    found = replace(report.read_last(ws) or report.make_report(ws, []), answers=tuple(report.list_answers(ws)))
    if not found.answers and not found.criteria:
        raise LabError(f"There is no report in {ws.results} yet.", "`./lab grade` makes one.")
    report.to_terminal(found, ws.kit, details, predictions=True)
    if json_file:
        write_atomic(Path(json_file), (json.dumps(found.to_json(), indent=1) + "\n").encode())
    print(f"Made {found.made}. Page: {ws.results / 'report.html'}")


@main.command()
@click.option("--json", "json_file", metavar="FILE", help="write what was found as JSON ('-': standard output)")
def doctor(json_file: str) -> None:
    """What this machine has and lacks, and the one command that adds what is missing."""
    needs = examine(Kit())
    if json_file != "-":
        show([f"{'found  ' if n.there else 'missing'}  {n}" for n in needs])
    if json_file:
        with click.open_file(json_file, "w") as file:
            file.write(to_json(needs))


@main.command()
@click.option("--check", is_flag=True, help="write nothing; exit 1 when a notebook is out of date")
def build(check: bool) -> None:
    """Make labs/ and solutions/ notebooks from their sources (solutions/NN_name.py)."""
    stale = build_all(Kit(), write=not check)
    for name in stale:
        print(f"{'out of date' if check else 'made'}: {name}")
    sys.exit(1 if check and stale else 0)


def pass_on(name: str, program: list[str], text: str) -> None:
    """A command that is a program of its own, which has all the words that follow."""

    @main.command(name, help=text, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        os.execv(sys.executable, [sys.executable, *program, *words])


TEACHING = {
    "start": "Open JupyterLab in your workspace (this machine only, with a token). Your notebooks are never "
    "overwritten.",
    "status": "Where am I: the next cell to do, and the last check that failed.",
    "hint": "A hint for the last check that failed, for CHECK, or for a TODO: nudge, then pointer, then the "
    "worked step.",
    "diff": "Your notebook NUMBER beside the solution. Example: ./lab diff 01",
    "reset": "Notebook NUMBER as the kit has it; yours goes to backups/. Example: ./lab reset 01",
    "incident": "Break your own work of lab NUMBER, find out how, repair it; again: is it over? "
    "Example: ./lab incident 05",
    "update": "Notebook NUMBER in the kit's newest version, with what you wrote at its TODOs; yours goes to backups/.",
}
for name, text in TEACHING.items():
    pass_on(name, ["-P", "-m", "labs.helpers.teaching", name], text)
pass_on(
    "mutants",
    [str(ROOT / "tests" / "try_mutants.py")],
    "Prove the graders: each wrong submission must fail exactly its check, each right one pass.",
)
pass_on(
    "cluster",
    ["-P", "-m", "cluster.cli"],
    "Make, describe or remove the kind cluster and its registry: ./lab cluster up | status | down | tools | pull",
)
pass_on(
    "clean",
    ["-P", "-m", "labs.helpers.kube.clean"],
    "Free what 06 to 08, 10, 12 took of the cluster: ./lab clean | clean 06. Your files and lab 05's service stay.",
)
pass_on(
    "bench",
    ["-P", "-m", "grader.world.load.cli"],
    "Measure settings of the service under load, the full grid or less: ./lab bench | bench quick | bench capacity",
)
pass_on(
    "claims",
    ["-P", "-m", "labs.helpers.ledger"],
    "Try what is said about serving with BentoML, and see what holds here: ./lab claims | claims c01 | claims --quick",
)
pass_on(
    "numbers",
    [str(ROOT / "tests" / "check_numbers.py")],
    "Hold every figure of README, docs, manifests and notebooks to its run file: ./lab numbers | numbers --check",
)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
def test(pytest_options: tuple[str, ...]) -> None:
    """Pass the kit's own tests (PYTEST_OPTIONS go to pytest). First of all: planted failures are caught."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-v", *pytest_options]
    done = run(
        command, 3600, Kit().root, on_line=lambda line: print(f"[{time.monotonic() - began:4.0f}s] {line}", flush=True)
    )
    sys.exit(1 if done.code is None else done.code)


if __name__ == "__main__":
    run_command(main)
