"""Servers that a notebook's cells keep running: `%%shell --serve NAME` starts one, `%stop NAME` ends it.

What the kit's servers need (a home of their own, the path that says ready) is in kit.toml, `[serve]`; this module knows
nothing of BentoML. Its servers end with the kernel.
"""

import atexit
import contextlib
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from grader.errors import Refused
from grader.model import Facts
from grader.processes import MARK, carriers, free_port, holders, is_ours, own_mark, ports_of, started, wait_until
from grader.workspace import Workspace

BEAT = 5.0  # seconds of silence after which a command's time is shown
# Any part of a pipeline that fails ends the command; the trap says which line, since `set -e` alone is silent.
BASH = ["bash", "-euo", "pipefail", "-c"]
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
        return "is running" if code is None else f"ended with {describe(code)}"


kept: dict[str, Server] = {}


def serve(ws: Workspace, name: str, script: str, path: str | None = None, limit: float = 0) -> Server:
    """Keeps the script running and waits until one of its processes answers 200 at `path` (kit.toml's, without one).
    Raises Refused, with the end of the log, when that does not come within `limit` seconds."""
    settings = ws.kit.settings.get("serve", {})
    end(name)
    context = contextlib.ExitStack()
    server = context.enter_context(launched(ws, name, script, settings))
    server.context, log = context, server.log
    try:
        trouble = wait_ready(server, path or settings.get("ready", "/"), limit or settings.get("limit", 60))
    except KeyboardInterrupt:
        trouble = f"was interrupted after {server.seconds:.1f} s"
    if trouble:
        context.close()
        raise Refused(f"{name} {trouble}. {busy_port(ws)}The end of its log, {short(ws, log)}:", tail(log, 12))
    kept[name] = server
    port_file(server).write_text(f"export PORT_{variable(name)}={server.port}\n")
    print(f"{name} is ready after {server.seconds:.1f} s, at {server.url}")
    print(f"Its log: %log {name}, or the file {short(ws, log)}. %stop {name} ends it.", flush=True)
    return server


@contextlib.contextmanager
def launched(ws: Workspace, name: str, script: str, settings: Facts) -> Iterator[Server]:
    """The script, started in a home of its own, writing to logs/NAME.log."""
    log = ws.root / "logs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        environ = {**typed_environ(ws), **own_home(ws, home, settings), "PORT": str(free_port())}
        wait_until(lambda: not is_leaving(usual_port(ws)), 8)
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


def usual_port(ws: Workspace) -> int:
    """Where servers listen unless their command says otherwise; 0 where the kit names no such port."""
    return int(ws.environ().get(ws.kit.settings.get("serve", {}).get("port", ""), 0))


def is_leaving(port: int) -> bool:
    """Whether a server of a kernel that has ended still holds that port: its guard is ending it."""
    with contextlib.suppress(psutil.Error):
        return any(MARK in p.environ() and not is_ours(p, own_mark()) for p in holders(port))
    return False


def busy_port(ws: Workspace) -> str:
    """A sentence about who holds the usual port; "" where it is free."""
    port = usual_port(ws)
    ours = next((s.name for s in kept.values() if s.port == port), "")
    who = ours or next((f"{p.name()} (process {p.pid})" for p in holders(port)), "")
    return f"Port {port} is held by {who}. " if who else ""


def wait_ready(server: Server, path: str, limit: float) -> str:
    """Empty when it is ready; else what went wrong, as the end of a sentence that begins with its name."""
    began = told = time.monotonic()
    speaking: set[int] = set()  # a supervisor has ports of its own, which take a request and never answer
    patience = 0.2  # for each port, and more each time: a slow machine's server shall be heard, too
    while time.monotonic() - began < limit:
        server.seconds = time.monotonic() - began
        if server.process.poll() is not None:
            return server.state()
        ports = {port for p in carriers(server.mark) for port in ports_of(p)}
        for port in sorted(ports & speaking or ports):
            if (status := ask(port, path, patience)) == 200:
                server.port, server.seconds = port, time.monotonic() - began
                foreign = [p for p in holders(port) if p.pid not in {c.pid for c in carriers(server.mark)}]
                return f"shares port {port} with {foreign[0].name()} (process {foreign[0].pid})" if foreign else ""
            speaking |= {port} if status else set()
        if time.monotonic() - told >= BEAT:
            told = time.monotonic()
            print(f"  [{told - began:.0f} s] {server.name} is starting", flush=True)
        patience = min(2.0, 1.3 * patience)
        time.sleep(0.2)
    return f"was not ready after {limit:g} s: none of its processes answered 200 at {path}"


def ask(port: int, path: str, patience: float) -> int:
    """The status of its answer, or 0."""
    import httpx  # 70 ms, which each notebook's first cell would wait for

    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=patience, trust_env=False).status_code
    return 0


def end(name: str) -> float:
    """Ends that server and all that it started; the seconds that it took."""
    began = time.monotonic()
    if server := kept.pop(name, None):
        port_file(server).unlink(missing_ok=True)
        server.context.close()
    return time.monotonic() - began


# with the kernel, in order; where that is killed, the guard does it
atexit.register(lambda: [end(name) for name in list(kept)])


def port_file(server: Server) -> Path:
    """Read by each prompt of a terminal (terminal.bash), so that $PORT_NAME is known there, too."""
    return server.log.with_suffix(".port")


def find_server(name: str) -> Server:
    """The server that a cell keeps under that name."""
    if name not in kept:
        problem = f"No server called {name!r} is kept here; there is: {', '.join(kept) or 'none'}."
        raise Refused(problem, "`%%shell --serve NAME` starts one.")
    return kept[name]


def describe(code: int) -> str:
    """ "exit code 1", or the signal that ended it."""
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def typed_environ(ws: Workspace) -> dict[str, str]:
    """The workspace's environment, for commands whose output is read in a notebook; $PORT is the last server's."""
    ports = {f"PORT_{variable(s.name)}": str(s.port) for s in kept.values()}
    last = {"PORT": str(list(kept.values())[-1].port)} if kept else {}
    plain = {k: v for k, v in ws.environ().items() if k not in NO_COLOURS}
    return {**plain, **ports, **last, "PYTHONUNBUFFERED": "1", "COLUMNS": "88"}


def variable(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()


def tail(path: Path, lines: int) -> str:
    return "\n".join(path.read_text(errors="replace").rstrip().splitlines()[-lines:])


def short(ws: Workspace, path: Path) -> str:
    return str(path.relative_to(ws.root))
