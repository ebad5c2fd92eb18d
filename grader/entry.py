"""Every way out of a command: an exit code, and for a mistake two sentences instead of a traceback."""

import contextlib
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import click

from grader.errors import LabError, WrongCall
from grader.kit import Kit
from grader.model import clean


def run_command(command: click.Command, goes_on: str = "the next run goes on from there", name: str = "./lab") -> None:
    """Runs it and exits. `goes_on`: what is said to who interrupts it."""
    # so that a TERM, too, unwinds and ends what we started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    try:
        command(prog_name=name, standalone_mode=False)
    except LabError as problem:
        print(f"{'' if str(problem).startswith('not run') else 'lab: '}{clean(str(problem))}", file=sys.stderr)
        sys.exit(problem.exit_code)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(64)
    except Exception as broken:
        path = keep_traceback()
        print(f"lab: {type(broken).__name__}: {clean(str(broken))}", file=sys.stderr)
        print(f"  The kit did not expect this. What it was doing is in {path}.", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"lab: interrupted; what was done is kept, and {goes_on}", file=sys.stderr)
        sys.exit(130)


def say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def show(lines: list[str]) -> None:
    print("\n".join(lines))


def ask(question: str, yes: bool) -> None:
    """Goes on after a yes; `yes`: it was said on the command line."""
    if not yes and not sys.stdin.isatty():
        raise WrongCall("This moves your files to backups/, and there is nobody to ask.", "Say --yes.")
    if not yes and not click.confirm(question):
        sys.exit(0)


def keep_traceback() -> Path:
    """Of the exception that is being handled; in .lab/, or where temporary files go if that cannot be written."""
    for folder in (Kit().state, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "traceback.txt").write_text(traceback.format_exc(), errors="replace")
            return folder / "traceback.txt"
    return Path(os.devnull)
