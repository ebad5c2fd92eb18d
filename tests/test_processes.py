"""Nothing that we start outlives us, not even what left its session and group, as BentoML's workers do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from grader.processes import (
    MARK,
    carriers,
    free_port,
    is_ours,
    listener,
    marked,
    own_mark,
    reap,
    run,
    started,
    wait_until,
)

ORPHAN = "import subprocess; print(subprocess.Popen(['sleep', '300'], start_new_session=True).pid, flush=True); {}"


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_command_past_its_limit_is_ended_with_its_orphans() -> None:
    done = run([sys.executable, "-c", ORPHAN.format("import time; time.sleep(300)")], limit=1.5)
    assert done.code is None and not done.ok and 1.4 < done.seconds < 8
    assert gone(int(done.output))


def test_a_command_that_ends_does_not_leave_its_orphans() -> None:
    done = run([sys.executable, "-c", ORPHAN.format("")], limit=20)  # the orphan holds our pipe open, too
    assert done.ok and done.seconds < 10
    assert gone(int(done.output))


def test_the_exit_code_and_the_lines_are_told() -> None:
    lines: list[str] = []
    done = run(["sh", "-c", "echo one; echo two >&2; exit 7"], limit=10, on_line=lines.append)
    assert (done.code, sorted(lines), done.tail(1)) == (7, ["one", "two"], lines[-1])


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_guard_reaps_after_the_owner_was_killed(sign: signal.Signals, tmp_path: Path) -> None:
    owner = f"""
import sys
from pathlib import Path
from grader.processes import started
with started(["sleep", "300"]) as (process, mark):
    Path({str(tmp_path / "pid")!r}).write_text(str(process.pid))
    process.wait()
"""
    process = subprocess.Popen([sys.executable, "-c", owner])
    assert wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "", 20)
    process.send_signal(sign)
    process.wait()
    pid = int((tmp_path / "pid").read_text())
    assert wait_until(lambda: gone(pid), 15)


def test_a_process_that_ignores_term_is_killed() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
    )
    with started([sys.executable, "-c", stubborn]) as (process, mark):
        assert process.stdout and process.stdout.readline() == "up\n"
        began = time.monotonic()
        assert reap(mark, patience=0.5) == 1
        assert time.monotonic() - began < 5
        assert gone(process.pid)


def test_processes_of_others_are_not_ours() -> None:
    other = subprocess.Popen(["sleep", "300"])
    try:
        assert all(p.pid != other.pid for p in carriers(own_mark()))
        assert not is_ours(psutil.Process(other.pid), own_mark())
    finally:
        other.kill()
        other.wait()


def test_marks_are_nested() -> None:
    env = marked({MARK: "outer", "HOME": "/root"})
    assert env[MARK].split(":") == ["outer", own_mark()] and env["HOME"] == "/root"


def test_the_listener_of_a_port_is_found() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        found = listener(s.getsockname()[1])
        assert found is not None and found.pid == os.getpid()
    assert listener(free_port()) is None
