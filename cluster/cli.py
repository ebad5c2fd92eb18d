"""`./lab cluster up | down | status | tools | pull`: the kind cluster and the image registry of the labs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from cluster import material
from cluster import up as parts
from cluster.names import Names, kubeconfig, read_names, state
from cluster.tools import find
from grader.entry import run_command
from grader.workspace import locked

BEGAN = time.monotonic()


def say(line: str) -> None:
    if line:
        print(f"  [{time.monotonic() - BEGAN:4.0f}s] {line}", file=sys.stderr, flush=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cluster() -> None:
    """The kind cluster and the image registry of the labs. Needs Docker; nothing of yours is touched.

    LAB_SLOT=1..9 makes another set of names and ports, for a second checkout or person on this host."""


@cluster.command()
@click.option("--anew", is_flag=True, help="remove a cluster that cannot be repaired, with all that runs in it")
def up(anew: bool) -> None:
    """Make the cluster and its registry, or mend them. May be run at any time."""
    with held() as names:
        parts.up(names, say, lambda why: anew or (sys.stdin.isatty() and click.confirm(f"{why}\nMake it again?")))
    say(f"ready: KUBECONFIG=.lab/{kubeconfig().name} is the only kubeconfig that has been written")


@cluster.command()
@click.option("--images", is_flag=True, help="remove the images of this registry from the engine, too")
def down(images: bool) -> None:
    """Remove the cluster, the registry and all that is in them."""
    with held() as names:
        parts.down(names, say, images)


@cluster.command()
def status() -> None:
    """What there is of it. Exit code 1 unless all of it can be used."""
    good, lines = parts.status(read_names())
    print("\n".join(lines))
    sys.exit(0 if good else 1)


@cluster.command()
@click.argument("names", nargs=-1, type=click.Choice(material.PROGRAMS))
def tools(names: tuple[str, ...]) -> None:
    """Fetch NAMES (kind, kubectl, prometheus, promtool; all without any) into .lab/bin, where the PATH has none that
    will do. Needs neither Docker nor root."""
    for name in names or material.PROGRAMS:
        print(f"{name}: {find(name, say=say)}")


@cluster.command()
def pull() -> None:
    """Fetch what the labs need, before a class: programs, manifests, images. Exit code 1 if something is missing."""
    missing = material.pull(say)
    print("\n".join(missing) or "all of it is here")
    sys.exit(1 if missing else 0)


@contextmanager
def held() -> Iterator[Names]:
    """One at a time for each cluster: two `up` at once would each find the other's half."""
    names = read_names()
    with locked(state() / f"{names.cluster}.lock", f"the cluster {names.cluster}", say):
        yield names


if __name__ == "__main__":
    run_command(cluster, "`./lab cluster up` repairs what was left", "./lab cluster")
