"""./lab bench peers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from cluster.names import KIT, state
from grader.entry import run_command, say
from grader.errors import LabError
from grader.workspace import write_atomic
from labs.helpers.limit import interleave, runs
from labs.helpers.limit.asker import Load
from labs.helpers.limit.store import service, store
from labs.helpers.peers import environments, page
from labs.helpers.peers.asking import Answer
from labs.helpers.peers.contestants import contestant, right_answers
from labs.helpers.peers.peers import Peer, choose, read

KIND, REFERENCE = "peers", "reference"
EXAMPLES = """Examples:

\b
  ./lab bench peers                       all, three rounds: about 15 minutes, if nothing else runs
  ./lab bench peers --minutes 5           as much of it as five minutes hold; the next call goes on
  ./lab bench peers reference litserve    these alone
  ./lab bench peers --bring               their environments, and nothing measured
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """This kit's service and others, measured under one load."""


@main.command(name="peers", epilog=EXAMPLES)
@click.option("--rounds", default=3, type=click.IntRange(1, 20), help="of each peer, in a random order each (3)")
@click.option("--seconds", default=8.0, type=click.FloatRange(1, 120), help="measured in each, after 4 of warm-up (8)")
@click.option("--minutes", default=0.0, help="stop before this; the next call goes on (0: to the end)")
@click.option("--bring", is_flag=True, help="make the environments, and say which cannot be had here")
@click.option("--fresh", is_flag=True, help="forget what was measured so far")
@click.option("--so-far", is_flag=True, help="measure nothing more: show, or keep, what there is")
@click.option("--keep", is_flag=True, help="for work on the kit: write the run file, docs/peers.md and its picture")
@click.option("--page", "only_page", is_flag=True, help="measure nothing: make docs/peers.md of the run file")
@click.argument("names", nargs=-1)
def measure(
    names: tuple[str, ...],
    rounds: int,
    seconds: float,
    minutes: float,
    bring: bool,
    fresh: bool,
    so_far: bool,
    keep: bool,
    only_page: bool,
) -> None:
    """Serve the two models with other servers, too, and measure all of them under one load.

    NAMES are in labs/helpers/peers/peers.toml; without one, all. Nothing else should use the machine meanwhile."""
    folder = state() / "peers" / "run"
    if only_page:
        return write_page(runs.path_of(KIND))
    if so_far:
        return show(folder, keep)
    chosen = choose(names)
    there, absent = bring_all(chosen)
    if bring:
        return
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    plan = interleave.Plan(
        KIND, tuple(peer.name for peer in there), rounds, loads=(Load(seconds=seconds),), facts={"absent": absent}
    )
    right = read_right(folder)
    them = [contestant(peer, store(), right) for peer in there]
    if not interleave.run(plan, them, folder, service(), minutes, say):
        print("There is more to measure: the same command goes on.")
        return
    show(folder, keep)


def bring_all(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Those that can be had here, and why the others cannot."""
    there, absent = [], {}
    for peer in peers:
        try:
            say(f"{peer.title}: {environments.bring(peer)}")
            there.append(peer)
        except environments.Absent as lacking:
            absent[peer.title] = lacking.problem
            say(f"{peer.title}: not run: {lacking.problem}")
    if not there:
        raise LabError("not run: none of them can be had on this machine.")
    return there, absent


def read_right(folder: Path) -> dict[str, Answer]:
    """The reference's answers to the held-out texts; asked for once a run."""
    kept = folder / "right.json"
    if not kept.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        say("asking the reference for its answers, which all others are held against")
        found = right_answers(read()[REFERENCE], store())
        write_atomic(kept, (json.dumps(found, indent=1) + "\n").encode())
    return {text: (label, score) for text, (label, score) in json.loads(kept.read_text()).items()}


def show(folder: Path, keep: bool) -> None:
    """What came out; kept in docs/ if that is wanted. Raises LabError where nothing was measured."""
    if not interleave.entries(folder):
        raise LabError("Nothing is measured yet.", "`./lab bench peers` measures.")
    if not keep:
        print(page.told(interleave.entries(folder)))
        return
    file = runs.keep(folder)
    write_page(file)
    print(page.finding(page.rows(runs.read(file)["entries"])))
    print(f"{file}, {page.PAGE}, {page.PICTURE}")


def write_page(file: Path) -> None:
    """docs/peers.md and its picture, of that run file."""
    (KIT / page.PAGE).write_text(page.to_page(file))
    (KIT / page.PICTURE).write_bytes(page.to_png(file))


if __name__ == "__main__":
    run_command(main, name="./lab bench")
