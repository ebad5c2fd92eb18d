"""./lab bench ladder | growth: how close the service comes to the limit, and how it grows."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from grader.entry import run_command
from grader.errors import UnknownName
from labs.helpers.limit import extras, growth, interleave, page, rounds, runs, steps
from labs.helpers.limit.asker import Load
from labs.helpers.limit.interleave import Plan
from labs.helpers.limit.senders import measure as measure_senders
from labs.helpers.limit.store import service, state

WHOLE = "the run is whole"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure beside the yardstick: raw encode in as many processes as cores, on this machine, in the same minutes."""


@main.command()
@click.option("--rounds", default=3, show_default=True, help="of each step, each round in a random order")
@click.option("--minutes", default=0.0, help="stop after so many; the same command goes on (default: to the end)")
@click.option("--step", "names", multiple=True, help="this step alone (several: --step A --step B)")
@click.option("--seconds", default=8.0, show_default=True, help="that count, of each round")
@click.option("--fresh", is_flag=True, help="throw a begun run away")
@click.option("--keep", is_flag=True, help="when the run is whole, write the run file and the page")
@click.option("--page", "only_page", is_flag=True, help="measure nothing: make docs/limit.md of the run files")
def ladder(
    rounds: int, minutes: float, names: tuple[str, ...], seconds: float, fresh: bool, keep: bool, only_page: bool
) -> None:
    """From the reference service to close to the limit, step by step; 25 s a round and step. End all else first."""
    if only_page:
        return print(page.write())
    if unknown := [name for name in names if name not in steps.KNOWN]:
        raise UnknownName("step", unknown[0], list(steps.KNOWN))
    chosen = steps.contestants(names)
    folder = begun(state() / ("ladder" if not names else "ladder-" + "-".join(names)), fresh)
    plan = Plan("ladder", tuple(c.name for c in chosen), rounds, loads=(Load(seconds=seconds),))
    if interleave.run(plan, chosen, folder, service(), minutes):
        end(folder, keep)


@main.command(name="growth")
@click.option("--rounds", default=2, show_default=True)
@click.option("--minutes", default=0.0, help="stop after so many; the same command goes on (default: to the end)")
@click.option("--part", type=click.Choice(list(growth.PARTS)), multiple=True, help="this part alone")
@click.option("--fresh", is_flag=True, help="throw a begun run away")
@click.option("--keep", is_flag=True, help="when the run is whole, write the run file and the page")
def grow(rounds: int, minutes: float, part: tuple[str, ...], fresh: bool, keep: bool) -> None:
    """From 1 to 400 clients; 1, 2 and 4 replicas; texts of 8 to 256 tokens."""
    for name in part or tuple(growth.PARTS):
        folder = begun(state() / f"growth-{name}", fresh)
        plan, chosen = growth.PARTS[name](rounds)
        if not interleave.run(plan, chosen, folder, service(), minutes):
            return
        end(folder, keep)


@main.command()
@click.option("--keep", is_flag=True, help="write the run file and the page")
def senders(keep: bool) -> None:
    """What the load's own sender uses of a core for a request, beside Locust and (where it is installed) wrk."""
    found = measure_senders()
    if keep:
        print(runs.write("senders", {"made": rounds.now(), "senders": found}, versions=runs.packages(("locust",))))
        print(page.write())
    for name, told in found.items():
        print(f"{name:>14}  {told['rate']:7.0f} requests a second, {told['ms_a_request']:.3f} ms of a core for each")


def begun(folder: Path, fresh: bool) -> Path:
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    return folder


def end(folder: Path, keep: bool) -> None:
    print(f"{WHOLE}: {folder}")
    if keep:
        print(runs.keep(folder, versions=extras.versions("fast", "onnx")))
        print(page.write())


if __name__ == "__main__":
    run_command(main, name="./lab bench")
