"""Starts a peer and waits for its first answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from cluster.names import KIT
from grader.environ import put_first, subject_environ
from grader.errors import LabError
from grader.processes import free_port, is_ours, listener, started
from grader.world.servers import QUIET
from labs.helpers.peers import environments
from labs.helpers.peers.peers import HERE, Peer

FIRST = 120.0  # seconds until the first answer; Ray starts six processes before it imports torch
TEXT = "I was charged twice for one order"


class NotServing(LabError):
    """The peer `name` gives no answer; `log` is the end of what it printed."""

    def __init__(self, name: str, problem: str, log: str) -> None:
        super().__init__(f"{name}: {problem}", f"The end of its log:\n{log}")
        self.name, self.problem, self.log = name, problem, log


@dataclass
class Running:
    """A peer that has answered, as labs.helpers.limit measures it. `seconds`: from its start to its first answer."""

    peer: Peer
    url: str
    mark: str
    process: subprocess.Popen[str]
    log_file: Path
    seconds: float = 0.0
    problem: str = ""

    def log(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-12:])


@contextlib.contextmanager
def serving(peer: Peer, store: Path, patience: float = FIRST) -> Iterator[Running]:
    """That peer with the models of `store`, on a free port of 127.0.0.1; nothing of it is left afterwards. Raises
    NotServing, and environments.Absent where this machine cannot have it."""
    environments.bring(peer)
    with tempfile.TemporaryDirectory(prefix="peer-", ignore_cleanup_errors=True) as temporary:
        home, log, port = Path(temporary) / "home", Path(temporary) / "log", free_port()
        project = prepare_project(home, store, peer)
        program, own = peer.filled(port=port, free=free_port(), cores=os.cpu_count() or 1, project=project)
        command = [str(environments.bin_of(peer) / program[0]), *program[1:]]
        environ = environ_of(peer, home, own)
        began = time.monotonic()
        with started(command, project, environ, log) as (process, mark):
            running = Running(peer, f"http://127.0.0.1:{port}", mark, process, log)
            wait_for_answer(running, port, patience)
            running.seconds = round(time.monotonic() - began, 2)
            yield running


def prepare_project(home: Path, store: Path, peer: Peer) -> Path:
    """home/service or home/servers, with what a peer needs of the kit; home/models: a link into the store."""
    project = home / peer.folder
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(KIT / "service" if peer.folder == "service" else HERE / peer.folder, project, ignore=ignored)
    if not (project / "preprocess.py").is_file():
        shutil.copy(KIT / "service" / "preprocess.py", project)
    (home / "models").symlink_to((store / "models").absolute())
    return project


def environ_of(peer: Peer, home: Path, own: dict[str, str]) -> dict[str, str]:
    environ = {**subject_environ(), **QUIET, "BENTOML_HOME": str(home), "HF_HUB_OFFLINE": "1", **own}
    if peer.folder != "service":  # BentoML puts the working folder there by itself
        environ["PYTHONPATH"] = str(home / peer.folder)
    return {**environ, "PATH": put_first(environ["PATH"], environments.bin_of(peer))}


def wait_for_answer(running: Running, port: int, patience: float) -> None:
    """Asks until there is an answer. Raises NotServing."""
    deadline, said = time.monotonic() + patience, "no answer"
    with httpx.Client(timeout=20) as client:
        while time.monotonic() < deadline:
            if (code := running.process.poll()) is not None:
                raise NotServing(running.peer.title, f"it ended with exit code {code}", running.log())
            try:
                got = client.post(f"{running.url}{running.peer.form.path}", json=running.peer.form.body(TEXT))
                said = f"{got.status_code} {got.text[:120]}"
                if got.status_code == 200 and is_ours(listener(port), running.mark):
                    running.peer.form.read(got.json())
                    return
            except (httpx.HTTPError, LookupError, TypeError, ValueError) as none:
                said = f"{type(none).__name__}: {none}"[:160]
            time.sleep(0.1)
    raise NotServing(running.peer.title, f"no answer in {patience:g} s, the last try: {said}", running.log())
