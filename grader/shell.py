"""Commands typed in a notebook: `%%shell` runs bash in the workspace, `%%shell --serve NAME` keeps a server running.

What the kit's servers need (a home of their own, the path that says ready) is in kit.toml, `[serve]`; this module knows
nothing of BentoML.
"""

import atexit
import codecs
import contextlib
import http.client
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from grader.errors import Refused
from grader.kit import Kit
from grader.model import Facts
from grader.processes import MARK, carriers, free_port, started, wait_until
from grader.workspace import Workspace, learner_workspace

BEAT = 5.0  # seconds of silence after which a command's time is shown
# Any part of a pipeline that fails ends the command; the trap says which line, since `set -e` alone is silent.
BASH = ["bash", "-euo", "pipefail", "-c"]
TRAP = """trap 'echo "line $LINENO ended with exit code $?" >&2' ERR; """
LINE = re.compile(r"(--serve +(?P<name>[A-Za-z][\w-]*)( +--ready +(?P<path>/\S*))?( +--within +(?P<limit>[\d.]+))?)?")
NO_COLOURS = ("FORCE_COLOR", "CLICOLOR_FORCE", "CLICOLOR")  # kernels ask for escape sequences


@dataclass
class Server:
    """A server that a cell keeps running; `home` is its own folder of state, `mark` what all its processes carry."""

    name: str
    home: Path
    log: Path
    mark: str
    process: subprocess.Popen[str]
    context: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)
    port: int = 0
    seconds: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def state(self) -> str:
        code = self.process.poll()
        return "running" if code is None else f"ended with {describe(code)}"


_servers: dict[str, Server] = {}


def shell(line: str, cell: str) -> None:
    """`%%shell`: runs the cell with bash in the workspace. `--serve NAME [--ready PATH] [--within SECONDS]` keeps it
    running as a server and returns when it is ready."""
    ws, asked = learner_workspace(Kit()), LINE.fullmatch(line.strip())
    if not asked:
        remedy = "Write %%shell, or %%shell --serve NAME [--ready PATH] [--within SECONDS]."
        raise Refused(f"%%shell does not know {line.strip()!r}.", remedy)
    if asked["name"]:
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


def describe(code: int) -> str:
    """ "exit code 1", or the signal that ended it."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def typed_environ(ws: Workspace) -> dict[str, str]:
    """The workspace's environment, for commands whose output is read in a notebook; $PORT is the last server's."""
    ports = {f"PORT_{variable(s.name)}": str(s.port) for s in _servers.values()}
    last = {"PORT": str(list(_servers.values())[-1].port)} if _servers else {}
    plain = {k: v for k, v in ws.environ().items() if k not in NO_COLOURS}
    return {**plain, **ports, **last, "PYTHONUNBUFFERED": "1", "COLUMNS": "88"}


def variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


# ---------------------------------------------------------------- servers


def serve(ws: Workspace, name: str, script: str, path: str | None = None, limit: float = 0) -> Server:
    """Keeps the script running and waits until one of its processes answers 200 at `path` (kit.toml's, without one).
    Raises Refused, with the end of the log, when that does not come within `limit` seconds."""
    settings = ws.kit.settings.get("serve", {})
    end(name)
    context = contextlib.ExitStack()
    server = context.enter_context(launched(ws, name, script, settings))
    server.context = context
    try:
        trouble = wait_ready(server, path or settings.get("ready", "/"), limit or settings.get("limit", 60))
    except KeyboardInterrupt:
        trouble = f"was interrupted after {server.seconds:.1f} s"
    if trouble:
        context.close()
        busy = busy_port(typed_environ(ws), settings)
        raise Refused(f"{name} {trouble}. {busy}The end of its log, {short(ws, server.log)}:", tail(server.log, 12))
    _servers[name] = server
    print(f"{name} is ready after {server.seconds:.1f} s, at {server.url}")
    print(f"Its log: %log {name}, or the file {short(ws, server.log)}. %stop {name} ends it.", flush=True)
    return server


@contextlib.contextmanager
def launched(ws: Workspace, name: str, script: str, settings: Facts) -> Iterator[Server]:
    """The script, started in a home of its own, writing to logs/NAME.log."""
    log = ws.root / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        environ = {**typed_environ(ws), **own_home(ws, home, settings), "PORT": str(free_port())}
        wait_until(lambda: not leftover(environ, settings), 8)
        (home / "log").symlink_to(log)
        with started([*BASH, script], ws.root, environ, log, apart=True) as (process, mark):
            yield Server(name, home, log, mark, process, port=int(environ["PORT"]))


def own_home(ws: Workspace, home: Path, settings: Facts) -> dict[str, str]:
    """The variable that names a server's home, which is `home`, with links into the workspace's own."""
    if not (name := settings.get("home", "")):
        return {}
    shared = Path(ws.environ()[name])
    for part in settings.get("links", []):
        (shared / part).mkdir(parents=True, exist_ok=True)
        (home / part).symlink_to((shared / part).absolute())
    return {name: str(home)}


def leftover(environ: Mapping[str, str], settings: Facts) -> bool:
    """Whether a server of a kernel that has ended still holds the usual port: the guard is ending it."""
    usual = int(environ.get(settings.get("port", ""), 0))
    with contextlib.suppress(psutil.Error):
        return any(MARK in p.environ() for p in holders(usual))
    return False


def busy_port(environ: Mapping[str, str], settings: Facts) -> str:
    """A sentence about who holds the port on which servers listen unless their command says otherwise; "" if free."""
    usual = int(environ.get(settings.get("port", ""), 0))
    ours = next((s.name for s in _servers.values() if s.port == usual), "")
    who = ours or next((f"{p.name()} (process {p.pid})" for p in holders(usual)), "")
    return f"Port {usual} is held by {who}. " if who else ""


def wait_ready(server: Server, path: str, limit: float) -> str:
    """Empty when it is ready; else what went wrong, as the end of a sentence that begins with its name."""
    began = told = time.monotonic()
    while time.monotonic() - began < limit:
        server.seconds = time.monotonic() - began
        if server.process.poll() is not None:
            return server.state()
        for port in listening(server.mark):
            if answers(port, path):
                server.port, server.seconds = port, time.monotonic() - began
                foreign = [p for p in holders(port) if p.pid not in {c.pid for c in carriers(server.mark)}]
                return f"shares port {port} with {foreign[0].name()} (process {foreign[0].pid})" if foreign else ""
        if time.monotonic() - told >= BEAT:
            told = time.monotonic()
            print(f"  [{told - began:.0f} s] {server.name} is starting", flush=True)
        time.sleep(0.2)
    return f"was not ready after {limit:g} s: none of its processes answered 200 at {path}"


def listening(mark: str) -> list[int]:
    """The TCP ports on which processes that carry the mark listen."""
    found = set()
    for process in carriers(mark):
        with contextlib.suppress(psutil.Error):
            found |= {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return sorted(found)


def holders(port: int) -> list[psutil.Process]:
    """Every process that listens on that TCP port, as far as we may see."""
    found = []
    with contextlib.suppress(psutil.Error):
        for c in psutil.net_connections("tcp"):
            if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN and c.pid:
                found.append(psutil.Process(c.pid))
    return found


def answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def end(name: str) -> float:
    """Ends that server and all that it started; the seconds that it took."""
    began = time.monotonic()
    if server := _servers.pop(name, None):
        server.context.close()
    return time.monotonic() - began


@atexit.register
def end_all() -> None:
    """With the kernel; where that is killed, the guard does it."""
    for name in list(_servers):
        end(name)


def find_server(name: str) -> Server:
    """The server that a cell keeps under that name."""
    if name not in _servers:
        problem = f"No server called {name!r} is kept here; there is: {', '.join(_servers) or 'none'}."
        raise Refused(problem, "`%%shell --serve NAME` starts one.")
    return _servers[name]


def log(line: str) -> None:
    """`%log NAME [LINES]`: the end of a server's log, also after it has ended."""
    ws, words = learner_workspace(Kit()), line.split()
    name = words[0] if words else next(iter(_servers), "")
    path = ws.root / "logs" / f"{name}.log"
    if not name or not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.log"))) or "none"
        raise Refused(f"There is no log of a server called {name!r}; there is: {there}.", "Write %log NAME.")
    count = int(words[1]) if words[1:] and words[1].isdigit() else 20
    print(tail(path, count))
    state = _servers[name].state() if name in _servers else "stopped"
    print(f"-- {name} is {state}" if state != "stopped" else f"-- {name} is not running", flush=True)


def stop(line: str) -> None:
    """`%stop NAME` ends a server; `%stop` ends all that this kernel keeps."""
    for name in [find_server(line.strip()).name] if line.strip() else list(_servers):
        print(f"{name} ended after {end(name):.1f} s", flush=True)


def tail(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(errors="replace").rstrip().splitlines()[-lines:])


def short(ws: Workspace, path: Path) -> str:
    return str(path.relative_to(ws.root))
