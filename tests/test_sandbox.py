"""Each way to make a box: what is asked is answered, nobody else can be reached, and nothing outlives it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from grader import sandbox
from grader.processes import free_port, run, started, wait_until

LOOK = """
import json, os, pathlib, socket, sys
told = {"uid": os.getuid()}
for name, act in {
    "home": lambda: os.listdir(sys.argv[1]),
    "shown": lambda: (pathlib.Path(sys.argv[2]) / "new").write_text("x"),
    "written": lambda: (pathlib.Path(sys.argv[3]) / "new").write_text("x"),
    "neighbour": lambda: socket.create_connection(("127.0.0.1", int(sys.argv[4])), 2),
    "engine": lambda: socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock"),
    "inherited": lambda: os.write(int(sys.argv[5]), b"from inside"),
}.items():
    try:
        act()
        told[name] = "yes"
    except OSError as refused:
        told[name] = type(refused).__name__
print(json.dumps(told), flush=True)
"""
SERVE = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(params=sandbox.WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if problem := sandbox.try_way(request.param):
        pytest.skip(f"not run: {problem}")
    monkeypatch.setenv(sandbox.WANTED, request.param)
    return str(request.param)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    made = tuple(tmp_path / name for name in ("home", "shown, with a comma and ü", "written"))
    for folder in made:
        folder.mkdir()
    return made  # type: ignore[return-value]


def test_what_is_in_it_can_reach_nobody(way: str, folders: tuple[Path, Path, Path]) -> None:
    home, shown, written = folders
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as neighbour:
        words = [str(home), str(shown), str(written), str(neighbour.getsockname()[1]), str(theirs.fileno())]
        command = [sys.executable, "-c", LOOK, *words]
        with sandbox.boxed(command, written, {}, [shown], [written], [theirs.fileno()]) as box:
            done = run(box.command, 60, box.cwd, box.environ, pass_fds=box.pass_fds)
        told = json.loads(done.stdout.strip().splitlines()[-1])
        assert ours.recv(100) == b"from inside"
    assert told["written"] == "yes" and (written / "new").read_text() == "x", told
    assert told["home"] == "FileNotFoundError" and told["shown"] in ("OSError", "PermissionError"), told
    assert told["neighbour"] == "ConnectionRefusedError" and told["engine"] == "FileNotFoundError", told


def test_a_server_in_it_is_asked_from_outside(way: str, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("served")
    port = free_port()
    with (
        sandbox.boxed([sys.executable, "-c", SERVE, str(port)], tmp_path, {}, [tmp_path], port=port) as box,
        started(box.command, box.cwd, box.environ, tmp_path / "log", pass_fds=box.pass_fds),
    ):
        assert wait_until(lambda: asked(port) == "served", 30), (tmp_path / "log").read_text()
    assert asked(port) == ""


def asked(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/page", timeout=2, trust_env=False).text
    except httpx.HTTPError:
        return ""


@pytest.fixture
def orphan(way: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A box whose owner can be killed: `written/beat` is touched in it ten times a second."""
    beat = (
        "import pathlib, sys, time\nwhile True:\n    pathlib.Path(sys.argv[1]).write_text('x')\n    time.sleep(0.1)\n"
    )
    with sandbox.boxed([sys.executable, "-c", beat, str(tmp_path / "beat")], tmp_path, {}, [], [tmp_path]) as box:
        process = subprocess.Popen(box.command, env=box.environ, start_new_session=True)
        yield process
        process.kill()
        process.wait()


def test_nothing_of_it_outlives_its_owner(orphan: subprocess.Popen[bytes], tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    assert wait_until(beat.exists, 30)
    os.kill(orphan.pid, signal.SIGKILL)
    orphan.wait()

    def still() -> bool:
        beat.unlink(missing_ok=True)
        return not wait_until(beat.exists, 1.0)

    assert wait_until(still, 20)
