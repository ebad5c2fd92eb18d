"""Starts, waits for and ends processes so that none is left behind, whatever happens to us.

BentoML's workers call setsid(), so ending a process group leaves them alive, and the next server then looks ready
because an orphan answers. So every child carries a mark in its environment; whoever carries our mark is ours to end,
and a guard process does it even after our own SIGKILL (see grader/guard.py).
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from grader.environ import child_environ
from grader.errors import LabError

MOST_LINES, LONGEST_LINE = 20_000, 65_536  # kept of what a process prints: the last ones
MARK = "SERVING_LAB_MARK"  # a path-like list: a child of a child carries every ancestor's mark
_lock = threading.Lock()
_mark: str | None = None
_guard: subprocess.Popen[bytes] | None = None


@dataclass(frozen=True)
class Completed:
    """`code` is None when the process ran past its limit and was ended. `output` is all that it said, for messages;
    `stdout` is what a program reads: tools print their warnings to stderr."""

    code: int | None
    output: str
    seconds: float
    stdout: str = ""

    @property
    def ok(self) -> bool:
        return self.code == 0

    def tail(self, lines: int = 12) -> str:
        return "\n".join(self.output.strip().splitlines()[-lines:])


def own_mark() -> str:
    """This process's mark, made on first use together with the guard that reaps whoever carries it."""
    global _mark, _guard
    with _lock:
        if _mark is not None:
            return _mark
        _mark = uuid.uuid4().hex[:12]
        # The guard reads a pipe that only we hold open: end of file means that we are gone, by whatever signal.
        _guard = subprocess.Popen(
            [sys.executable, "-P", "-m", "grader.guard", _mark],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
            env={**child_environ(), MARK: ""},  # or an outer guard would wait for this one
        )  # fmt: skip
    return _mark


def marked(environ: Mapping[str, str]) -> dict[str, str]:
    """That environment with our mark beside those that are there."""
    marks = [m for m in environ.get(MARK, "").split(":") if m]
    return {**environ, MARK: ":".join([*marks, own_mark()])}


def carriers(mark: str) -> list[psutil.Process]:
    """Every live process that carries the mark, ourselves excluded."""
    found = []
    for process in psutil.process_iter():
        # A process that ends while it is looked at, or belongs to someone else, is not ours.
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and mark in process.environ().get(MARK, "").split(":"):
                found.append(process)
    return found


def reap(mark: str, patience: float = 5.0) -> int:
    """Ends all that carry the mark: TERM, then KILL after `patience` seconds. Returns how many there were."""
    ended: set[int] = set()
    for sign, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 2.0), (signal.SIGKILL, 2.0)):
        for process in carriers(mark):
            ended.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.send_signal(sign)
        # A zombie carries no mark any more; waiting for its pid to go would take as long as its parent pleases.
        if wait_until(lambda: not carriers(mark), wait, pause=0.02):
            break
    return len(ended)


def run(
    command: Sequence[str], limit: float, cwd: Path | None = None, env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None, pass_fds: Sequence[int] = (),
) -> Completed:  # fmt: skip
    """Runs a command to its end; after `limit` seconds ends it and all that it started. No exit code raises."""
    began = time.monotonic()
    lines: deque[tuple[IO[str], str]] = deque(maxlen=MOST_LINES)

    def read(pipe: IO[str]) -> None:
        for line in iter(lambda: pipe.readline(LONGEST_LINE), ""):
            lines.append((pipe, line))
            if on_line:
                on_line(line.rstrip())

    with started(command, cwd, env, errors=subprocess.PIPE, pass_fds=pass_fds) as (process, mark):
        assert process.stdout and process.stderr
        out = process.stdout
        readers = [threading.Thread(target=read, args=[pipe], daemon=True) for pipe in (out, process.stderr)]
        for reader in readers:
            reader.start()
        code: int | None = None
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            pass
        finally:
            reap(mark)  # an orphan that holds the pipe open would keep the reader waiting
            for reader in readers:
                reader.join(2)
            if any(reader.is_alive() for reader in readers):  # one without our mark holds a pipe: closing would wait
                process.stdout = process.stderr = None
    seconds, said = time.monotonic() - began, "".join(line for _, line in list(lines))
    return Completed(code, said, seconds, "".join(line for pipe, line in list(lines) if pipe is out))


@contextlib.contextmanager
def started(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None, log: Path | None = None,
    apart: bool = False, errors: int = subprocess.STDOUT, pass_fds: Sequence[int] = (),
) -> Iterator[tuple[subprocess.Popen[str], str]]:  # fmt: skip
    """A running process and its own mark; ends it and all that it started when the block is left.

    Its output goes to `log`, or to a pipe (`process.stdout`) without one; `env` is its whole environment. `apart`: a
    Ctrl-C meant for us spares it.
    """
    mark = uuid.uuid4().hex[:12]
    full = marked(env if env is not None else child_environ())
    full[MARK] += f":{mark}"
    with log.open("w") if log else contextlib.nullcontext(subprocess.PIPE) as out:
        process = subprocess.Popen(
            list(command), cwd=cwd, env=full, stdin=subprocess.DEVNULL, stdout=out, stderr=errors,
            text=True, errors="replace", start_new_session=apart, pass_fds=pass_fds,
        )  # fmt: skip
        try:
            yield process, mark
        finally:
            reap(mark)
            process.wait()
            for pipe in filter(None, (process.stdout, process.stderr)):
                pipe.close()


def memory_kills() -> int:
    """How many processes the kernel has ended for want of memory, ever; 0 where it does not say."""
    with contextlib.suppress(OSError):
        rows = map(str.split, Path("/proc/vmstat").read_text().splitlines())
        return next((int(value) for name, value in rows if name == "oom_kill"), 0)
    return 0


def refuse_want(kills: int) -> None:
    """For what is found dead: raises where the kernel has ended a process for want of memory since it counted these."""
    if memory_kills() > kills:
        problem = "This machine ran out of memory meanwhile: its kernel ended a process."
        raise LabError(problem, "End what else is running here, then grade again.")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def listener(port: int) -> psutil.Process | None:
    """The process that listens on that TCP port, if we may see it."""
    return next(iter(holders(port)), None)


def holders(port: int) -> list[psutil.Process]:
    """Every process that listens on that TCP port, as far as we may see. macOS lists everybody's sockets to root alone;
    there our own children are asked, one by one."""
    with contextlib.suppress(psutil.Error):
        return [psutil.Process(c.pid) for c in psutil.net_connections("tcp") if is_listening(c, port) and c.pid]
    return [p for p in carriers(own_mark()) if port in ports_of(p)]


def ports_of(process: psutil.Process) -> set[int]:
    """The TCP ports on which it listens."""
    with contextlib.suppress(psutil.Error):
        return {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return set()


def is_listening(connection: Any, port: int) -> bool:
    """Whether that one of psutil's connections is an open door at this port."""
    return bool(connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN)


def is_ours(process: psutil.Process | None, mark: str) -> bool:
    """Whether that process carries the mark: a server is ready only if the one that listens was started by us."""
    try:
        return process is not None and mark in process.environ().get(MARK, "").split(":")
    except psutil.Error:
        return False


def wait_until(holds: Callable[[], bool], limit: float, pause: float = 0.1) -> bool:
    """Whether `holds()` became true within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (true := holds()) and time.monotonic() < deadline:
        time.sleep(pause)
    return true
