"""Commands typed in a notebook: `%%shell` runs bash in the workspace; `%log` and `%stop` are for its servers."""

import codecs
import os
import re
import select
import signal
import subprocess
import sys
import time

from grader.errors import Refused
from grader.kit import Kit
from grader.processes import carriers, started
from grader.workspace import Workspace, learner_workspace
from labs.helpers.teaching.serve import BASH, BEAT, describe, end, kept, serve, tail, typed_environ
from labs.helpers.teaching.serve import find_server as find_server  # where notebooks of older kits look for it

SERVE = r"--serve +(?P<name>[A-Za-z][\w-]*)( +--ready +(?P<path>/\S*))?( +--within +(?P<limit>[\d.]+))?"
LINE = re.compile(rf"(--if +(?P<there>\S+) *)?({SERVE})?")
TRAP = """trap 'echo "line $LINENO ended with exit code $?" >&2' ERR; """


def shell(line: str, cell: str) -> None:
    """`%%shell`: runs the cell with bash in the workspace. `--serve NAME [--ready PATH] [--within SECONDS]` keeps it
    running as a server and returns when it is ready. `--if PATH`: only where the workspace has that file or folder."""
    ws, asked = learner_workspace(Kit()), LINE.fullmatch(line.strip())
    if not asked:
        remedy = "Write %%shell, %%shell --if PATH, or %%shell --serve NAME [--ready PATH] [--within SECONDS]."
        raise Refused(f"%%shell does not know {line.strip()!r}.", remedy)
    if asked["there"] and not (ws.root / asked["there"]).exists():
        print(f"not run: there is no {asked['there']}")
    elif asked["name"]:
        serve(ws, asked["name"], cell, asked["path"], float(asked["limit"] or 0))
    else:
        run_command(ws, cell)


def run_command(ws: Workspace, script: str, beat: float = BEAT) -> None:
    """Streams what the script says, then its time. Raises Refused when any part of it fails or it is interrupted; what
    it leaves in the background is ended."""
    began = time.monotonic()
    with started([*BASH, TRAP + script], ws.root, typed_environ(ws)) as (process, mark):
        try:
            stream(process, beat)
        except KeyboardInterrupt:
            stopped = f"Interrupted after {time.monotonic() - began:.1f} s; all that the command started is ended."
            raise Refused(stopped) from None
        code, seconds = process.wait(), time.monotonic() - began
        left = len(carriers(mark))
    print(f"[{seconds:.1f} s]", flush=True)
    if left:
        print("What it left in the background is ended; `%%shell --serve NAME` keeps a server.")
    if code:
        remedy = "Its own message is above."
        if code == 128 + signal.SIGPIPE:
            remedy = "A part of the pipeline was still writing when the one after it ended (as `head` does)."
        raise Refused(f"The command failed: {describe(code)}.", remedy)


def stream(process: subprocess.Popen[str], beat: float) -> None:
    """Prints what the process says as it comes, and after `beat` silent seconds that it still runs."""
    assert process.stdout
    text = "\n"
    pipe, decoder = process.stdout.fileno(), codecs.getincrementaldecoder("utf-8")("replace")
    began = heard = time.monotonic()
    while True:
        ended = process.poll() is not None
        if select.select([pipe], [], [], 0 if ended else min(beat, 0.2))[0]:
            if not (data := os.read(pipe, 65536)):
                break
            new = decoder.decode(data)
            text = new or text
            sys.stdout.write(new)
            sys.stdout.flush()
            heard = time.monotonic()
        elif ended:  # a process in the background may hold the pipe open
            break
        elif time.monotonic() - heard >= beat:
            heard = time.monotonic()
            print(f"  [{heard - began:.0f} s] still running", flush=True)
    if not text.endswith("\n"):
        print()


def log(line: str) -> None:
    """`%log NAME [LINES]`: the end of a server's log, also after it has ended."""
    ws, words = learner_workspace(Kit()), line.split()
    name = words[0] if words else next(iter(kept), "")
    path = ws.root / "logs" / f"{name}.log"
    if not name or not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.log"))) or "none"
        raise Refused(f"There is no log of a server called {name!r}; there is: {there}.", "Write %log NAME.")
    count = int(words[1]) if words[1:] and words[1].isdigit() else 20
    print(tail(path, count))
    print(f"-- {name} {kept[name].state() if name in kept else 'is not running'}", flush=True)


def stop(line: str) -> None:
    """`%stop NAME` ends a server; `%stop` ends all that this kernel keeps. A name without one is no mistake: a cell
    that stops its server and grades may run again."""
    for name in [line.strip()] if line.strip() else list(kept):
        print(f"{name} ended after {end(name):.1f} s" if name in kept else f"{name} is not running", flush=True)
