"""`./lab clean`: takes away what labs 06 to 08, 10 and 12 left in the cluster. Each lab makes again what it needs.

Files, images and lab 05's service stay; so do definitions of kinds, which take no room in a node.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence

import click

from cluster.names import KIT, NAMESPACE
from cluster.up import status
from grader.entry import run_command
from grader.errors import LabError
from grader.processes import wait_until
from grader.world import gateway
from grader.world.objects import get, kubectl
from grader.world.room import asked_by
from labs.helpers.kube.objects import NAMES
from labs.helpers.monitoring import platform

# Copies of the service, each in a namespace of its own: what comes after the name of the workspace's.
COPIES = {
    "06": ("split", "release", "ramp", "drain"),
    "07": ("bench",),
    "08": ("seen",),
    "10": ("choice",),
    "12": ("staging", "production"),
}


def take_figures_away() -> None:
    folder = str(KIT / "manifests/metrics-server")
    kubectl("delete", "-k", folder, "-n", "kube-system", "--ignore-not-found", "--wait=false", limit=60)


# What the platform's people would run: lab -> (an object that tells whether it is there, what takes it away).
PLATFORM: dict[str, list[tuple[tuple[str, str, str], Callable[[], None]]]] = {
    "06": [
        (("gateway", "deployment", "traefik"), gateway.take_away),
        (("kube-system", "deployment", "metrics-server"), take_figures_away),
    ],
    "08": [(("monitoring", "deployment", "prometheus-operator"), platform.take_away)],
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("labs", nargs=-1, type=click.Choice(sorted(COPIES)))
def clean(labs: tuple[str, ...]) -> None:
    """Free what LABS (06, 07, 08, 10, 12; all without any) took of the cluster: their copies of the service, and what
    was brought for them. Your files stay, and lab 05's service runs on; a lab makes again what it needs."""
    need_cluster()
    chosen, before = labs or tuple(sorted(COPIES)), asked_for()
    there = namespaces()
    spaces = [space for lab in chosen for space in copies_of(lab, there)]
    parts = [(seen, take) for lab in chosen for seen, take in PLATFORM.get(lab, []) if get(*seen)]
    for space in spaces:
        say(f"namespace {space}")
        kubectl("delete", "namespace", space, "--ignore-not-found", "--wait=false")
    for (space, _, name), take in parts:
        say(f"{name} in {space}")
        take()
    if not wait_until(lambda: set(spaces).isdisjoint(namespaces()), 120, pause=2.0):
        raise LabError("Some of it is still there after two minutes.", "`./lab clean` again, or kubectl get events -A.")
    freed = before - asked_for()
    asked = f"their pods had asked for {freed / 2**20:.0f} MiB" if spaces or parts else "there was nothing to free"
    print(f"freed: {len(spaces)} namespaces and {len(parts)} of the platform's parts; {asked}")


def need_cluster() -> None:
    good, lines = status(NAMES)
    if not good:
        raise LabError(
            f"not run: {lines[0]}.", "`./lab cluster up` repairs it; without a cluster there is nothing to free."
        )


def namespaces() -> list[str]:
    return [n["metadata"]["name"] for n in get("default", "namespaces").get("items", [])]


def copies_of(lab: str, there: Sequence[str]) -> list[str]:
    """Those of that lab's copies, of each workspace: the learner's, the walk's, those that tests left."""
    form = re.compile(rf"{NAMESPACE}(-[a-z0-9-]+)?-({'|'.join(COPIES[lab])})")
    return [name for name in there if form.fullmatch(name)]


def asked_for() -> float:
    """Bytes of memory that the pods of the cluster ask for."""
    return asked_by(get("default", "pods", "--all-namespaces").get("items", []))["memory"]


BEGAN = time.monotonic()


def say(line: str) -> None:
    print(f"  [{time.monotonic() - BEGAN:4.0f}s] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(clean, "`./lab clean` goes on where it stopped", "./lab clean")
