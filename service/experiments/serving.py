"""Start a BentoML server for an experiment or a test, and leave nothing behind.

BentoML's workers call setsid(), so killing the server's process group leaves them alive, and a later server on the port
looks ready because an orphan answers. Hence a mark in the environment, by which every process is found and ended.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

SERVICE = Path(__file__).resolve().parents[1]
MARK = "SERVICE_EXPERIMENT"


@dataclass
class Server:
    url: str
    home: Path  # its BENTOML_HOME: a start wipes the metrics folder of its home, so no two servers share one
    mark: str
    parent: subprocess.Popen[bytes] = field(repr=False)

    def processes(self) -> list[psutil.Process]:
        """All processes that carry this server's mark, orphans included."""
        return [process for process in psutil.process_iter() if _environment(process).get(MARK) == self.mark]

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=10).text


@contextlib.contextmanager
def serve(
    folder: Path = SERVICE,
    *,
    store: Path,
    config: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    target: str = "service:svc",
    workers: int = 1,
    grace: float = 5.0,
) -> Iterator[Server]:
    """Serve `target` in `folder` with the models of the BENTOML_HOME `store`, on a free port of 127.0.0.1.

    `config` is the whole BentoML configuration. Raises RuntimeError, with the end of the log, when the server is not
    ready in 90 s. Afterwards no process of it is left.
    """
    with tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as home:
        server = _start(Path(home), folder, store, config, env or {}, target, workers)
        try:
            _wait_ready(server)
            yield server
        finally:
            stop(server, grace)


def stop(server: Server, grace: float = 5.0) -> float:
    """TERM, `grace` seconds, then KILL for every process that carries the mark; returns the seconds until all ended."""
    began = time.monotonic()
    if server.parent.poll() is None:
        server.parent.send_signal(signal.SIGTERM)
    left = server.processes()
    while left and time.monotonic() - began < grace:
        server.parent.poll()  # reaps it, or it would stay as a zombie
        time.sleep(0.05)
        left = [process for process in left if _runs(process)]
    ended = time.monotonic() - began
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.parent.wait(10)
    return ended


def make_store(home: Path) -> Path:
    """Save both models with save_models.py into the BENTOML_HOME `home`, in a process of its own; returns `home`."""
    home.mkdir(parents=True, exist_ok=True)
    environment = clean_environment() | {"BENTOML_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "save_models.py"], cwd=SERVICE, env=environment, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"save_models.py failed:\n{done.stderr[-2000:]}")
    return home


def _start(
    home: Path, folder: Path, store: Path, config: dict[str, Any] | None, env: dict[str, str], target: str, workers: int
) -> Server:
    for name in ("models", "bentos"):
        (store / name).mkdir(exist_ok=True)
        (home / name).symlink_to(store / name)
    environment = clean_environment() | {"BENTOML_HOME": str(home), MARK: uuid.uuid4().hex} | env
    if config is not None:
        (home / "configuration.yml").write_text(yaml.safe_dump(config))
        environment["BENTOML_CONFIG"] = str(home / "configuration.yml")
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    with (home / "log").open("wb") as log:
        parent = subprocess.Popen(
            [*command, "--api-workers", str(workers)], cwd=folder, env=environment, stdout=log, stderr=log
        )
    return Server(f"http://127.0.0.1:{port}", home, environment[MARK], parent)


def _wait_ready(server: Server, limit: float = 90.0) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end and server.parent.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200 and _is_ours(server):
                return
        time.sleep(0.2)
    raise RuntimeError(f"the server did not get ready; the end of its log:\n{server.log()[-3000:]}")


def _is_ours(server: Server) -> bool:
    port = int(server.url.rpartition(":")[2])
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for process in server.processes()
        for connection in process.net_connections("tcp")
    )


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def clean_environment() -> dict[str, str]:
    """The environment without what would change a server: other modules on its path, slow imports, phoning home."""
    unwanted = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "BENTOML_CONFIG", "BENTOML_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    return kept | {"BENTOML_DO_NOT_TRACK": "True"}


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
