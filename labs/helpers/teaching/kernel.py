"""Gives a kernel the environment of its workspace, whether `./lab start` started it or an editor, a hub or a person."""

import os
import shlex
import sys
from pathlib import Path

from grader.errors import Refused
from grader.kit import Kit
from grader.workspace import Workspace, at, learner_workspace, write_atomic


def enter() -> Workspace:
    """Finds the workspace, sets its variables in this process and makes it the working folder. Raises Refused where
    there is none, or where a module has been imported that read its variable before."""
    kit = Kit()
    ws = find_workspace(kit, Path.cwd())
    wanted = ws.environ()
    refuse_early_import(kit, wanted)
    # what the user has set for these modules is for the user's own work
    for name in [n for n in os.environ if n not in wanted and n.startswith(own_names(kit))]:
        del os.environ[name]
    os.environ.update(wanted)
    os.chdir(ws.root)
    prepare(ws)
    return ws


def find_workspace(kit: Kit, folder: Path) -> Workspace:
    """The one that LAB_WORK names, or the folder (or one above it) that the kit has put its files into."""
    if os.environ.get("LAB_WORK"):
        return learner_workspace(kit)
    found = next((f for f in (folder, *folder.parents) if (f / ".lab.json").is_file()), None)
    if found is None:
        remedy = f"Run `./lab start` in {kit.root}; another editor can then open the notebooks in {kit.root / 'work'}."
        raise Refused(f"This notebook's folder, {folder}, is no workspace of the kit.", remedy)
    return at(kit, found, "walk" if found == kit.state / "walk" else "")


def own_names(kit: Kit) -> tuple[str, ...]:
    """How the variables of kit.toml's `imported` modules begin."""
    return tuple(f"{module.upper()}_" for module in kit.settings.get("imported", {}))


def refuse_early_import(kit: Kit, wanted: dict[str, str]) -> None:
    for module, name in kit.settings.get("imported", {}).items():
        if module in sys.modules and os.environ.get(name) != wanted[name]:
            problem = f"{module} was imported before the kit could set {name} for this workspace."
            raise Refused(problem, "Restart the kernel and run the notebook from its first cell.")


def prepare(ws: Workspace) -> None:
    """Before commands are typed: what kit.toml's `prepare` does, and `./lab`, so that it can be typed here, too."""
    ws.kit.call("prepare", ws.name)
    kit_lab, launcher = ws.kit.root / "lab", ws.root / "lab"
    text = f'#!/bin/sh\nexec "$(dirname "$0")"/{shlex.quote(os.path.relpath(kit_lab, ws.root))} "$@"\n'
    if kit_lab.is_file() and not (launcher.is_file() and launcher.read_text() == text):
        write_atomic(launcher, text.encode())
        launcher.chmod(0o755)
