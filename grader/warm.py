"""A process that has imported what subjects import, and has seen no submission; subjects are forked off it.

Most of a grading is those imports. `%grade` keeps one from its first use on, as long as its kernel lives. It has a
subject's environment, and what is forked has nothing of it but its modules: the channel to the asker and a log are its
only open files, its environment and folder are as if it had been started. A box is made round a new process, so what is
boxed is never forked.

    warm = keep_warm(kit.settings["warm"])      # {"LAB_WARM": a socket}, for whom to tell; {} where it cannot be
    with forked(module, channel, folder, environ, log) as process:      # None: start one
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from grader.environ import subject_environ
from grader.processes import MARK, marked, reap

WARM = "LAB_WARM"  # where it listens; no subject gets the name
PATIENCE = 60.0  # seconds until it has imported all
PAUSE = 0.02

_kept = contextlib.ExitStack()  # what lives as long as this process


def keep_warm(settings: Mapping[str, Any]) -> dict[str, str]:
    """Starts one that lives as long as we do. Nothing where a fork of what imported so much is not safe (macOS)."""
    if sys.platform != "linux":
        return {}
    folder = tempfile.TemporaryDirectory(prefix="warm-", ignore_cleanup_errors=True)
    path = f"{folder.name}/socket"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.suppress(OSError):
        listener.bind(path)
        listener.listen()
        command = [sys.executable, "-P", "-m", "grader.subject", "--warm", str(listener.fileno()), *settings["modules"]]
        null, environ = subprocess.DEVNULL, marked({**subject_environ(), **settings["env"]})
        process = subprocess.Popen(
            command, cwd="/", env=environ, stdin=null, stdout=null, stderr=null, pass_fds=[listener.fileno()],
            start_new_session=True,
        )  # fmt: skip
        _kept.callback(process.wait)
        _kept.callback(process.kill)
        _kept.enter_context(folder)
        return {WARM: path}
    return {}


def stop_warm() -> None:
    """Sooner than with our end; what was forked off is ended by those who asked for it."""
    _kept.close()


# ---------------------------------------------------------------- the asker's end


class Forked:
    """A process that is nobody's child here: who forked it tells how it ended."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line

    def wait(self, timeout: float) -> int:
        self.line.settimeout(timeout)
        try:
            return json.loads(self.line.recv(16) or b"-9")  # type: ignore[no-any-return]
        except TimeoutError:
            raise subprocess.TimeoutExpired("a fork", timeout) from None


@contextlib.contextmanager
def forked(module: str, channel: int, cwd: Path, environ: Mapping[str, str], log: Path) -> Iterator["Forked | None"]:
    """`grader.subject MODULE CHANNEL`, forked off the warm process, ended when the block is left; None without one."""
    mark, whole = uuid.uuid4().hex[:12], marked({**subject_environ(), **environ})
    whole[MARK] += f":{mark}"
    asked = json.dumps({"module": module, "cwd": str(cwd), "environ": whole}).encode()
    with socket.socket(socket.AF_UNIX) as line, log.open("w") as out:
        try:
            line.settimeout(PATIENCE)
            line.connect(os.environ[WARM])
            socket.send_fds(line, [b"%08d" % len(asked)], [channel, out.fileno()])
            line.sendall(asked)
            begun = line.recv(1) == b"+"
        except (KeyError, OSError):
            begun = False
        if not begun:
            yield None
            return
        try:
            yield Forked(line)
        finally:
            line.close()  # which ends it
            reap(mark)  # and what it started


# ---------------------------------------------------------------- the warm process


def serve_forks(listener: int, modules: Sequence[str], act: Callable[[str, int], None]) -> NoReturn:
    """Imports, then forks for whoever asks. Between asker and fork stands a process that tells one of the other's end:
    a child of ours would have to be waited for here."""
    for name in modules:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    place = socket.socket(fileno=listener)
    while True:
        line, _ = place.accept()
        if os.fork() == 0:
            with contextlib.suppress(OSError, ValueError):
                stand_between(line, act)
            os._exit(0)
        line.close()


def stand_between(line: socket.socket, act: Callable[[str, int], None]) -> None:
    head, files, _, _ = socket.recv_fds(line, 8, 2)
    asked, size = b"", int(head)
    while len(asked) < size:
        if not (data := line.recv(size - len(asked))):
            return
        asked += data
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (child := os.fork()) == 0:
        become(json.loads(asked), files[0], files[1], act)
    for file in files:
        os.close(file)
    line.sendall(b"+")
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if select.select([line], [], [], PAUSE)[0]:  # nothing more is asked: the asker is gone
            os.kill(child, signal.SIGKILL)
    line.sendall(json.dumps(os.waitstatus_to_exitcode(ended[1])).encode())


def become(asked: dict[str, Any], channel: int, log: int, act: Callable[[str, int], None]) -> NoReturn:
    """The fork: as if it had been started to do this, in that folder, with that environment, and no other open file."""
    os.dup2(log, 1)
    os.dup2(log, 2)
    for number in (int(path.name) for path in list(Path("/proc/self/fd").iterdir())):
        if number not in (0, 1, 2, channel):
            with contextlib.suppress(OSError):  # the one that read the list
                os.close(number)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv[1:] = [asked["module"], str(channel)]
    code = 1
    try:
        act(asked["module"], channel)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
