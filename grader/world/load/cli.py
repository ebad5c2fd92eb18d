"""./lab bench: measures batching settings in your workspace. Long work says what it does, run by run."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

import click

from grader.entry import run_command
from grader.kit import ROOT, Kit
from grader.model import Facts
from grader.workspace import Workspace, at, learner_workspace
from grader.world.load import experiment

EXAMPLES = """Examples:

\b
  ./lab bench                 the full grid: 13 settings, three times each; about 25 minutes; into bench-grid/
  ./lab bench quick           batching off and three settings; about 4 minutes; into bench/
  ./lab bench cluster         copies of it in the cluster, which lab 07 rolls out; into bench/, too
  ./lab bench capacity        the highest rate at which 95% of the answers come within 500 ms; about 5 minutes
  ./lab bench ladder          the reference service, step by step to close to what the machine can do; see docs/limit.md
  ./lab bench peers           the same models behind FastAPI, LitServe, MLServer, Ray Serve, too; about 15 minutes
  ./lab bench growth          1 to 400 clients, 1 to 4 replicas, short and long texts
  ./lab bench kit             how long the kit itself takes, for work on it; --light: some minutes
  ./lab bench drain           ten roll-outs and drained nodes under load: is a request lost? About 15 minutes

\b
Interrupted? The same command goes on where it stopped.
"""


def workspace(folder: str) -> Workspace:
    return at(Kit(), Path(folder)) if folder else learner_workspace(Kit())


@click.group(invoke_without_command=True, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--work", metavar="DIR", default="", help="the workspace (default: work/ or LAB_WORK)")
@click.pass_context
def main(context: click.Context, work: str) -> None:
    """Measure batching settings under one load, and write a table that is computed from what was seen."""
    context.obj = work  # looked for by the command that measures: --help needs no workspace
    if context.invoked_subcommand is None:
        measure(workspace(work), "grid", "bench-grid")


@main.command()
@click.pass_obj
def quick(work: str) -> None:
    """Batching off and three settings."""
    measure(workspace(work), "quick", "bench")


@main.command()
@click.pass_obj
def cluster(work: str) -> None:
    """Copies of the service in the cluster, one a setting, in turn (lab 07)."""
    measure(workspace(work), "cluster", "bench", "cluster.toml")


@main.command()
@click.option("--goal", default=500.0, help="milliseconds within which 95% of the answers come")
@click.option("--size", default=32, help="max_batch_size of both runners")
@click.pass_obj
def capacity(work: str, goal: float, size: int) -> None:
    """The highest rate of random arrivals that holds the goal, with less than 0.1% errors."""
    from grader.world.load.capacity import find_in

    ws = workspace(work)
    found = find_in(ws.service, ws.store, size, goal, print)
    print("\n".join(line for line in (found.told(), found.disturbed()) if line))


@main.command()
@click.option("--runs", default=10, help="how many times pods are replaced, or a node is drained, in turn")
@click.option("--requests", default=500, help="at least so many requests are sent in each")
@click.option("--kept", is_flag=True, help="callers keep their connections open")
@click.pass_obj
def drain(work: str, runs: int, requests: int, kept: bool) -> None:
    """Replace the pods, or drain a node of theirs, under load (lab 06): what is lost?"""
    from cluster.names import read_names
    from grader.world import drain as drains

    ws = workspace(work)
    source = read_names().namespace(ws.name)
    rows = drains.measure(source, f"{source}-drain", runs, requests, kept, print)
    (ws.root / "bench").mkdir(exist_ok=True)
    drains.write(rows, ws.root / "bench" / ("drain-kept.csv" if kept else "drain.csv"))
    print(drains.table(rows))


def pass_on(name: str, program: list[str], text: str) -> None:
    """`./lab bench NAME` is a program of labs/helpers or of tests, which the grader does not import."""

    @main.command(name, help=text, context_settings={"ignore_unknown_options": True, "help_option_names": []})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(words: tuple[str, ...]) -> None:
        os.execv(sys.executable, [sys.executable, *program, *words])


LIMIT = ["-P", "-m", "labs.helpers.limit.cli"]
pass_on(
    "ladder",
    [*LIMIT, "ladder"],
    "From the reference service to close to the limit, step by step (docs/limit.md).",
)
pass_on("senders", [*LIMIT, "senders"], "What the load's own sender uses of a core, beside Locust and wrk.")
pass_on(
    "growth",
    [*LIMIT, "growth"],
    "1 to 400 clients; 1, 2 and 4 replicas; texts of 8 to 256 tokens, for your machine: no run is kept.",
)


pass_on(
    "peers",
    ["-P", "-m", "labs.helpers.peers.cli", "peers"],
    "The same models behind other servers, too, under one load.",
)


pass_on(
    "kit",
    [str(ROOT / "tests" / "measure_kit.py")],
    "The kit's own speed, beside a yardstick of the same run; --keep NAME writes docs/kit.md.",
)


def measure(ws: Workspace, name: str, into: str, asked: str = "experiment.toml") -> None:
    """Puts the kit's experiment file there unless there is one, and measures what it asks for."""
    bench = ws.root / into
    bench.mkdir(exist_ok=True)
    file = bench / asked
    if not file.exists():
        file.write_text((resources.files("grader.world.load") / f"{name}.toml").read_text())
    show(experiment.run(file, bench, workspace=ws.name))
    print(f"{bench / 'table.csv'}")


def show(rows: list[Facts]) -> None:
    """The table's columns that one looks at first."""
    columns = ("setting", "where", "goodput", "p50_ms", "p95_ms", "share_503", "mean_batch", "verdict", "why")
    for row in [dict(zip(columns, columns, strict=True)), *rows]:
        print("  ".join(f"{'-' if row[c] is None else row[c]!s:>10}" for c in columns))


if __name__ == "__main__":
    run_command(main, name="./lab bench")
