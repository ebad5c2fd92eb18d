"""What a notebook offers, typed in a terminal. grader/cli.py lists these commands, with the same words."""

import os
import sys
from pathlib import Path

import click

from grader.entry import ask, say, show
from grader.kit import Kit
from grader.workspace import learner_workspace
from labs.helpers.teaching import guide
from labs.helpers.teaching.incidents import incident
from labs.helpers.teaching.kernel import prepare
from labs.helpers.teaching.update import update as update_notebook


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What a notebook offers, typed in a terminal."""


@main.command()
def start() -> None:
    """Open JupyterLab in your workspace (this machine only, with a token). Your notebooks are never overwritten."""
    ws = learner_workspace(Kit(), make=True)
    for line in ws.provide():
        say(line)
    options = ["--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={ws.root}"]
    # its own tabs: the user's other JupyterLab keeps its own, and this one does not open those
    options += [f"--LabApp.workspaces_dir={ws.root / '.jupyterlab'}"]
    options += [f"--ServerApp.allow_root={os.geteuid() == 0}", f"--ServerApp.port={os.environ.get('LAB_PORT', '8888')}"]
    # bash, since the labs' commands are; not as a login shell, which would begin with the system's PATH
    terminal = {"shell_command": ["bash", "--rcfile", str(Path(__file__).with_name("terminal.bash")), "-i"]}
    options += [f"--ServerApp.terminado_settings={terminal}"]
    prepare(ws)
    os.chdir(ws.root)
    os.execve(sys.executable, [sys.executable, "-P", "-m", "jupyterlab", *options], ws.environ())


@main.command()
def status() -> None:
    """Where am I: the next cell to do, and the last check that failed."""
    show(guide.status(learner_workspace(Kit())))


@main.command()
@click.argument("check", default="")
def hint(check: str) -> None:
    """A hint for the last check that failed, for CHECK, or for a TODO: nudge, then pointer, then the worked step."""
    show(guide.hint(learner_workspace(Kit()), check))


@main.command()
@click.argument("number")
@click.option("--anyway", is_flag=True, help="do not wait for the third hint")
def diff(number: str, anyway: bool) -> None:
    """Your notebook NUMBER beside the solution. Example: ./lab diff 01"""
    show(guide.diff(learner_workspace(Kit()), number, anyway))


@main.command()
@click.argument("number")
@click.option("--yes", is_flag=True, help="do not ask")
def reset(number: str, yes: bool) -> None:
    """Notebook NUMBER as the kit has it; yours goes to backups/. Example: ./lab reset 01"""
    Kit().lab(number)
    ask(f"Put your notebook {number} away and begin it again?", yes)
    show(guide.reset(learner_workspace(Kit()), number))


@main.command("incident")
@click.argument("number")
@click.argument("letter", default="")
@click.option("--give-up", is_flag=True, help="put everything back and tell what it was")
def incident_command(number: str, letter: str, give_up: bool) -> None:
    """Break your own work of lab NUMBER, find out how, repair it; again: is it over? Example: ./lab incident 05"""
    show(incident(learner_workspace(Kit()), number, letter, give_up, say))


@main.command()
@click.argument("number")
def update(number: str) -> None:
    """Notebook NUMBER in the kit's newest version, with what you wrote at its TODOs; yours goes to backups/."""
    show(update_notebook(learner_workspace(Kit()), number))
