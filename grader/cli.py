"""The command line. Imports nothing heavy until a command needs it: `./lab --help` answers at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from grader.errors import LabError, WrongCall
from grader.kit import Kit

if TYPE_CHECKING:
    from grader.model import Report
    from grader.workspace import Workspace

EXAMPLES = """
Examples:

\b
  ./lab walk              run every solution and grade it: is this machine fine?
  ./lab start             open JupyterLab in your own workspace
  ./lab grade sc1         grade one criterion of your work
  ./lab hint              a hint for the last check that failed
  ./lab start-at 03       begin at lab 03 with what 00-02 would have left

\b
Exit code: 0 nothing wrong, 1 something failed, 2 an error, 3 (--strict) something was not run, 64 a wrong call.
"""


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The serving lab: learn to serve models by doing it, and have it checked against the real world."""


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--work", "folder", metavar="DIR", help="the workspace (default: work/ or LAB_WORK; for walk: .lab/walk)"
        ),
        click.option("--json", "json_file", metavar="FILE", help="write the report as JSON"),
        click.option("--html", "html_file", metavar="FILE", help="write the report as a page"),
        click.option("--junit", "junit_file", metavar="FILE", help="write the report as JUnit XML"),
        click.option("--strict", is_flag=True, help="exit 3 when something was not run"),
    ):
        command = option(command)
    return command


@main.command()
@output_options
@click.option("--details", is_flag=True, help="show every check, the passed ones too")
@click.option("--fragment", metavar="FILE", hidden=True)
@click.argument("criteria", nargs=-1)
def grade(criteria: tuple[str, ...], folder: str, details: bool, fragment: str, **outputs: Any) -> None:
    """Grade your work: all criteria, or those named. Example: ./lab grade sc1 --json report.json"""
    from grader.grade import grade_criterion, make_report
    from grader.progress import Progress
    from grader.workspace import at, learner_workspace

    check_paths(outputs)
    kit = Kit()
    chosen = kit.criteria(list(criteria))
    ws = at(kit, Path(folder)) if folder else learner_workspace(kit)
    results = []
    for criterion in chosen:
        if criterion.checks:
            with Progress(f"grading {criterion.short}") as progress:
                results.append(grade_criterion(ws, criterion, progress.note))
        else:
            results.append(grade_criterion(ws, criterion))
    report = make_report(ws, results)
    if fragment:
        from grader.report import to_html

        Path(fragment).write_text(to_html(report, kit, fragment=True))
    finish(ws, report, details=details, **outputs)


@main.command()
@output_options
def walk(folder: str, **outputs: Any) -> None:
    """Run the solution notebooks in order, grade everything, write the report. What has not changed is skipped."""
    from grader.walk import walk as run_walk
    from grader.workspace import Workspace, walk_workspace

    check_paths(outputs)
    kit = Kit()
    ws = Workspace(kit, Path(folder).absolute(), "walk") if folder else walk_workspace(kit)
    if ws.root.exists() and not ws.root.is_dir():
        raise WrongCall(f"{ws.root} is a file, not a folder.", "Name a folder: --work DIR.")
    finish(ws, run_walk(kit, say, ws), **outputs)


def check_paths(outputs: dict[str, Any]) -> None:
    """Before the work, not after it."""
    for name in ("json_file", "html_file", "junit_file"):
        path = outputs[name] and Path(outputs[name])
        if path and (
            path.is_dir() or not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK)
        ):
            raise WrongCall(
                f"{path} cannot be written.", "Name a file in a folder that exists and is yours to write in."
            )


def finish(
    ws: Workspace, report: Report, json_file: str, html_file: str, junit_file: str, strict: bool, details: bool = False
) -> None:
    from grader.grade import save_report
    from grader.report import to_html, to_junit, to_terminal
    from grader.workspace import write_atomic

    page = save_report(ws, report)
    for name, text in (
        (json_file, lambda: json.dumps(report.to_json(), indent=1) + "\n"),
        (html_file, lambda: to_html(report, ws.kit)),
        (junit_file, lambda: to_junit(report)),
    ):
        if name:
            write_atomic(Path(name), text().encode())
    to_terminal(report, ws.kit, details)
    print(f"Report: {page}")
    sys.exit(report.exit_code(strict))


@main.command()
def start() -> None:
    """Open JupyterLab in your workspace (this machine only, with a token). Your notebooks are never overwritten."""
    from grader.workspace import Workspace

    kit = Kit()
    ws = Workspace(kit, Path(os.environ.get("LAB_WORK") or kit.root / "work").absolute())
    for line in ws.provide():
        say(line)
    jupyter = Path(sys.executable).with_name("jupyter")
    options = [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={ws.root}",
        f"--ServerApp.port={os.environ.get('LAB_PORT', '8888')}",
    ]
    if os.geteuid() == 0:
        options.append("--ServerApp.allow_root=True")
    os.chdir(ws.root)
    os.execve(jupyter, [str(jupyter), "lab", *options], ws.environ())


@main.command()
def status() -> None:
    """Where am I: the next cell to do, and the last check that failed."""
    from grader import guide

    print("\n".join(guide.status(learner())))


@main.command()
@click.argument("check", default="")
def hint(check: str) -> None:
    """A hint for the last check that failed, or for CHECK: nudge, then pointer, then the worked step."""
    from grader import guide

    print("\n".join(guide.hint(learner(), check)))


@main.command()
@click.argument("number")
@click.option("--anyway", is_flag=True, help="do not wait for the third hint")
def diff(number: str, anyway: bool) -> None:
    """Your notebook NUMBER beside the solution. Example: ./lab diff 01"""
    from grader import guide

    print("\n".join(guide.diff(learner(), number, anyway)))


@main.command()
@click.argument("number")
@click.option("--yes", is_flag=True, help="do not ask")
def reset(number: str, yes: bool) -> None:
    """Notebook NUMBER as the kit has it; yours goes to backups/. Example: ./lab reset 01"""
    from grader import guide

    Kit().lab(number)
    ask(f"Put your notebook {number} away and begin it again?", yes)
    print("\n".join(guide.reset(learner(), number)))


@main.command("start-at")
@click.argument("number")
@click.option("--yes", is_flag=True, help="do not ask")
def start_at_command(number: str, yes: bool) -> None:
    """Begin at lab NUMBER, with the files that the labs before it leave. Yours go to backups/. Example: ./lab start-at 02"""
    from grader.walk import start_at
    from grader.workspace import Workspace

    kit = Kit()
    kit.lab(number)
    ask(f"Put your files away and take those that come before lab {number}?", yes)
    ws = Workspace(kit, Path(os.environ.get("LAB_WORK") or kit.root / "work").absolute())
    print("\n".join([*ws.provide(), *start_at(ws, number)]))


def ask(question: str, yes: bool) -> None:
    if not yes and not sys.stdin.isatty():
        raise WrongCall("This moves your files to backups/, and there is nobody to ask.", "Say --yes.")
    if not yes and not click.confirm(question):
        sys.exit(0)


@main.command()
@click.option("--details", is_flag=True, help="show every check, the passed ones too")
def report(details: bool) -> None:
    """The last report again, without grading."""
    from grader.guide import last_report
    from grader.report import to_terminal

    ws = learner()
    found = last_report(ws)
    if found is None:
        raise LabError(f"There is no report in {ws.results} yet.", "`./lab grade` makes one.")
    to_terminal(found, ws.kit, details)
    print(f"Made {found.made}. Page: {ws.results / 'report.html'}")


@main.command()
@click.option("--json", "json_file", metavar="FILE", help="write what was found as JSON ('-': standard output)")
def doctor(json_file: str) -> None:
    """What this machine has and lacks, and the one command that adds what is missing."""
    from grader.doctor import examine, to_json, to_lines

    needs = examine(Kit())
    if json_file == "-":
        print(json.dumps(to_json(needs), indent=1))
    else:
        print("\n".join(to_lines(needs)))
        if json_file:
            Path(json_file).write_text(json.dumps(to_json(needs), indent=1) + "\n")


@main.command()
@click.option("--check", is_flag=True, help="write nothing; exit 1 when a notebook is out of date")
def build(check: bool) -> None:
    """Make labs/ and solutions/ notebooks from their sources (solutions/NN_name.py)."""
    from grader.notebooks import build as build_all

    stale = build_all(Kit(), write=not check)
    for name in stale:
        print(f"{'out of date' if check else 'made'}: {name}")
    sys.exit(1 if check and stale else 0)


@main.command()
@click.option("--live", is_flag=True, help="look at the world also where evidence is recorded")
@click.option("--record", is_flag=True, help="with --live: keep the evidence")
@click.argument("criteria", nargs=-1)
def mutants(criteria: tuple[str, ...], live: bool, record: bool) -> None:
    """Prove the graders: each wrong submission must fail exactly its check. Example: ./lab mutants sc1"""
    from grader.model import Verdict
    from grader.mutants import try_mutants
    from grader.report import SIGNS
    from grader.walk import walk as run_walk

    kit = Kit()
    shorts = [c.short for c in kit.criteria(list(criteria))]
    run_walk(kit, say, shorts=shorts)
    results = try_mutants(kit, shorts, say, live, record)
    for r in results:
        print(
            f"{'caught' if r.verdict is Verdict.PASS else SIGNS[r.verdict]:9} {r.criterion} {r.id:32} {r.fails:32} {r.seconds:5.1f} s  {r.message}"
        )
    caught = sum(r.verdict is Verdict.PASS for r in results)
    print(f"{caught} of {len(results)} mutants caught, each by its own check alone")
    sys.exit(2 if any(r.verdict is Verdict.ERROR for r in results) else int(caught < len(results)))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
def test(pytest_options: tuple[str, ...]) -> None:
    """Pass the kit's own tests; options go to pytest. First of all, that planted failures are caught."""
    from grader.selftest import run_tests

    sys.exit(run_tests(Kit().root, list(pytest_options)))


def learner() -> Workspace:
    from grader.workspace import learner_workspace

    return learner_workspace(Kit())


def run() -> None:
    """Every way out: an exit code, and for a mistake two sentences in the place of a traceback."""
    # so that a TERM, too, unwinds and ends what we started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(standalone_mode=False)
    except LabError as problem:
        print(f"lab: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(64)
    except KeyboardInterrupt:
        print("lab: interrupted; what was done is kept, and the next run goes on from there", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
