"""`./lab bench kit`: the kit's own speed, beside a yardstick of the same run (speed/)."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from speed.measures import Place, all_measures, light
from speed.page import PAGE, RUNS, to_page
from speed.rounds import measure_all

from grader.entry import run_command
from grader.errors import UnknownName, WrongCall
from grader.kit import Kit
from grader.workspace import copy_tree, write_atomic


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--light", "only_light", is_flag=True, help="--help and the grades of a class: some minutes")
@click.option("--rounds", default=3, type=click.IntRange(1, 20), help="how often each of them is measured")
@click.option("--of", "other", metavar="DIR", default="", help="an earlier checkout, in the same rounds")
@click.option("--work", metavar="DIR", default="", help="a walked workspace, which is copied (default: .lab/walk)")
@click.option("--in", "into", metavar="DIR", default="", help="a new folder for the clone and its walks, which stay")
@click.option("--keep", metavar="NAME", default="", help="write docs/kit/runs/NAME.json, and docs/kit.md")
@click.option("--page", "only_page", is_flag=True, help="measure nothing: make docs/kit.md of the run files")
@click.argument("names", nargs=-1)
def main(
    names: tuple[str, ...], only_light: bool, rounds: int, other: str, work: str, into: str, keep: str, only_page: bool
) -> None:
    """Measure how long the kit takes: all, or NAMES (help, sc1, ..., first, alone, walk, unchanged). All of it takes
    hours, and makes a clone and a cluster; run nothing beside it. Example: ./lab bench kit --light"""
    kit = Kit()
    if only_page:
        return print(write_page(kit))
    known, walked = all_measures(kit), Path(work).absolute() if work else kit.state / "walk"
    asked = list(names) or (light(kit) if only_light else list(known))
    if unknown := [name for name in asked if name not in known]:
        raise UnknownName("measure", unknown[0], list(known))
    if into and Path(into).exists():
        raise WrongCall(f"{into} is there already.", "Name a new folder: --in DIR.")
    if not (walked / "store").is_dir():
        raise WrongCall(f"{walked} was not walked.", "`./lab walk` makes it; --work names another one.")
    with scratch(into) as folder:
        places = [make_place(root, walked, folder / str(i)) for i, root in enumerate(roots(kit, other))]
        run = measure_all([known[name] for name in known if name in asked], places, rounds, print)
    if keep:
        write_atomic(kit.root / RUNS / f"{keep}.json", (json.dumps(run, indent=1) + "\n").encode())
        print(write_page(kit))
    else:
        print(to_page([run]))


def roots(kit: Kit, other: str) -> list[Path]:
    found = [kit.root, *([Path(other).absolute()] if other else [])]
    if bare := [root for root in found if not (root / ".venv").is_dir()]:
        raise WrongCall(f"{bare[0]} has no environment.", f"Run {bare[0] / 'lab'} --help once.")
    return found


@contextlib.contextmanager
def scratch(into: str) -> Iterator[Path]:
    """A folder for what the measures make: that one, or one that goes."""
    if into:
        Path(into).mkdir(parents=True)
        yield Path(into).absolute()
        return
    with tempfile.TemporaryDirectory(prefix="kit-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def make_place(root: Path, walked: Path, scratch: Path) -> Place:
    """With a copy of the workspace, as a learner's would be; reports go elsewhere."""
    copy_tree(walked, scratch / "work", skip={"results"})
    return Place(root, scratch / "work", scratch)


def write_page(kit: Kit) -> str:
    runs = sorted(
        (json.loads(path.read_text()) for path in (kit.root / RUNS).glob("*.json")), key=lambda run: str(run["made"])
    )
    write_atomic(kit.root / PAGE, to_page(runs).encode())
    return str(kit.root / PAGE)


if __name__ == "__main__":
    run_command(main, name="./lab bench kit")
