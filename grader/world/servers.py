"""Serves a scratch copy of a BentoML project, for probes. Nothing of it is left, also when the probe is killed.

with served(ws.service, ws.store) as server:
    if server.problem:  # it exited, never got ready, or somebody else holds the port: facts, not exceptions
        return {"problem": server.problem, "log": server.log()}
    httpx.post(f"{server.url}/classify", json={"texts": ["..."]}, timeout=10)
    server.runner_calls()  # {"embeddingrunner": 1, "classifierrunner": 1}
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import httpx
import psutil
import yaml

from grader.errors import LabError
from grader.model import Facts
from grader.processes import (
    carriers,
    free_port,
    is_ours,
    listener,
    memory_kills,
    refuse_want,
    started,
    wait_until,
)
from grader.sandbox import WANTED, boxed, check_built
from grader.workspace import copy_tree
from grader.world import pace, web
from grader.world.metrics import Sample, read

PORT = "LAB_SERVICE_PORT"  # names the port, for whoever has to know it beforehand (a mutant whose server holds it)
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}
LISTENS = "0A"  # a state of a connection in the kernel's tables
LOG_END = 200_000  # bytes of a log that are read
HEALTH = ("/readyz", "/livez", "/healthz", "/metrics")
# `bentoml`, whose supervisor starts again within a second what died; its own looks each ten.
WATCHFUL = """
from bentoml._internal.utils import circus
from bentoml_cli.cli import cli
create = circus.create_standalone_arbiter
circus.create_standalone_arbiter = lambda *given, **more: create(*given, **{**more, "check_delay": 1})
cli()
"""


@dataclass
class Served:
    """A server that was started, ready when `problem` is empty."""

    url: str
    home: Path  # its BENTOML_HOME: a start wipes the metrics folder of its home, so no two servers share one
    log_file: Path  # out of its reach
    mark: str
    process: subprocess.Popen[str]
    problem: str = ""
    boxed: bool = False  # in a sandbox, where nobody else can listen
    foreign: str = ""  # who listens on the port, when it is not ours
    seconds: float = 0.0  # until it was ready, or was given up
    memory_kills: int = field(default_factory=memory_kills)  # of the kernel, up to its start

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self, lines: int = 8) -> str:
        """The end of what the server printed, without the warnings that every classic service gets."""
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - LOG_END))
            text = file.read().decode(errors="replace")
        return "\n".join([line for line in text.splitlines() if "Deprecat" not in line][-lines:])

    def holder(self) -> psutil.Process | None:
        """Who listens on the port now."""
        return listener(self.port) if has_listener(self.port) else None

    def alive(self) -> bool:
        """Whether it runs and the one that listens is ours."""
        if not (there := self.process.poll() is None and (self.boxed or is_ours(self.holder(), self.mark))):
            refuse_want(self.memory_kills)
        return there

    def answers(self, path: str, limit: float) -> bool:
        """Whether it says anything there."""
        with contextlib.suppress(httpx.HTTPError):
            return bool(web.get(f"{self.url}{path}", timeout=limit).status_code)
        return False

    def workers(self) -> dict[str, list[int]]:
        """The process ids of each runner, by the name that `bentoml serve` gave it, and of "api"."""
        found: dict[str, list[int]] = {}
        for process in carriers(self.mark):
            with contextlib.suppress(psutil.Error):
                if role := role_of(process.cmdline()):
                    found.setdefault(role, []).append(process.pid)
        return found

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that each runner and the API server have used so far, with what they started; "": the rest."""
        roles = {pid: name for name, pids in self.workers().items() for pid in pids}
        found = dict.fromkeys(["", *roles.values()], 0.0)
        for process in carriers(self.mark):
            with contextlib.suppress(psutil.Error):
                used = sum(process.cpu_times()[:4])  # its own, and those of its children that have ended
                found[next((roles[p.pid] for p in (process, *process.parents()) if p.pid in roles), "")] += used
        return found

    def metrics(self) -> list[Sample]:
        """(name, labels, value) of each sample; empty when it does not answer. One that answers elsewhere and is still
        at work on them has a slow machine."""
        limit = pace.patience(5.0)
        try:
            return list(read(self.url, limit))
        except httpx.TimeoutException:
            if self.answers("/livez", limit) and pace.is_at_work(pace.cpu_of(self.mark)):
                raise pace.too_slow("the server, asked for its /metrics,", limit) from None
        except (httpx.HTTPError, ValueError):
            pass
        return []

    def runner_calls(self) -> dict[str, int]:
        """How many calls each runner has answered since the start; those of BentoML's own health checks left out."""
        found: dict[str, int] = {}
        for name, labels, value in self.metrics():
            if name == "bentoml_runner_request_total" and labels["endpoint"] not in HEALTH:
                found[labels["runner_name"]] = found.get(labels["runner_name"], 0) + int(value)
        return found

    def batches(self) -> dict[str, list[int]]:
        """[batches, calls in them] of each runner since the start; none of a runner that makes no batches."""
        found: dict[str, list[int]] = {}
        for name, labels, value in self.metrics():
            what = name.removeprefix("bentoml_runner_adaptive_batch_size_")
            if what in ("count", "sum"):
                found.setdefault(labels["runner_name"], [0, 0])[what == "sum"] += int(value)
        return found

    def kill(self, runner: str) -> None:
        """Ends that runner's processes as a lack of memory would: at once, and without a word."""
        send(self.workers().get(runner, []), signal.SIGKILL)

    def close_store(self) -> None:
        """Takes the models away from the running server: whoever opens one from now on does not find it."""
        (self.home / "models").unlink(missing_ok=True)

    def open_store(self, store: Path) -> None:
        """As before `close_store`. A server that asked meanwhile for a model has made itself an empty store."""
        place = self.home / "models"
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        place.symlink_to((store / "models").absolute())

    def bare_store(self, names: Sequence[str]) -> None:
        """Of those models the running server's store then has the description alone: who loads one from now on cannot.
        They are some of those that it was started with as `bare`."""
        self.close_store()
        (self.home / "models").symlink_to(bare_place(self.home, names))


def has_listener(port: int) -> bool:
    """Whether anybody listens on that TCP port, or the kernel does not say: a third of the time of finding out who,
    and a server that starts is asked for many times."""
    try:
        tables = [path.read_text() for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.is_file()]
    except OSError:
        return True
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return not tables or any(row[1].endswith(f":{port:04X}") and row[3] == LISTENS for row in rows)


def role_of(command: list[str]) -> str:
    """ "api", a runner's name, or nothing, from the command line of one of BentoML's workers."""
    line = " ".join(command)
    if "bentoml_cli.worker.http_api_server" in line:
        return "api"
    if "bentoml_cli.worker.runner" in line and "--runner-name" in command:
        return command[command.index("--runner-name") + 1]
    return ""


@contextlib.contextmanager
def served(
    folder: Path | None, store: Path, target: str = "service:svc", config: Facts | None = None,
    env: Mapping[str, str] | None = None, limit: float = 60.0, options: Sequence[str] = (), in_place: bool = False,
    bare: Sequence[str] = (), watchful: bool = False,
) -> Iterator[Served]:  # fmt: skip
    """Serves `target` from a copy of `folder` (or from an empty one: a Bento needs none), with the models and Bentos of
    `store`, on a free port of 127.0.0.1. `config` is a whole BentoML configuration; without one BentoML's own holds.
    `in_place` serves the folder itself, for whoever wants to edit what is served; `bare` names the models for
    `bare_store`; `watchful`: workers that die are started again at once. What is served gets little of this process's
    environment, and runs in a box where others' work is graded."""
    with tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True) as temporary:
        home, log = Path(temporary) / "home", Path(temporary) / "log"
        prepare_home(home, None if in_place else folder, store)
        for names in (some for count in range(len(bare)) for some in combinations(bare, count + 1)):
            prepare_bare(bare_place(home, names), store / "models", names)
        environ = {**QUIET, "BENTOML_HOME": str(home), **(env or {})}
        if config is not None:
            (home / "configuration.yml").write_text(yaml.safe_dump(config))
            environ["BENTOML_CONFIG"] = str(home / "configuration.yml")
        is_boxed = bool(os.environ.get(WANTED))
        port = free_port() if is_boxed else int(os.environ.get(PORT) or free_port())
        where = (folder if in_place else None) or home / "project"
        bentoml = ["-c", WATCHFUL] if watchful else ["-m", "bentoml"]
        command = [sys.executable, *bentoml, "serve", target, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--api-workers", "1", *options]
        with (
            boxed(command, where.absolute(), environ, [store.absolute(), where.absolute()], [home], port=port) as box,
            started(box.command, box.cwd, box.environ, log, pass_fds=box.pass_fds) as (process, mark),
        ):
            server = Served(f"http://127.0.0.1:{port}", home, log, mark, process, boxed=is_boxed)
            wait_ready(server, limit)
            if server.problem and (hidden := hides(where)):
                server.problem += f" ({hidden})"
            yield server


def hides(folder: Path) -> str:
    """Says which of Python's own modules a file in that folder stands before: a queue.py breaks whatever imports queue.
    Beside the notebooks it harms nothing; in the folder that is served it does."""
    names = sorted({p.stem for p in folder.glob("*.py")} & sys.stdlib_module_names)
    return f"{names[0]}.py stands before Python's own module {names[0]}: give it another name" if names else ""


def prepare_home(home: Path, folder: Path | None, store: Path) -> None:
    """home/project, the copy that is served, and home/models and home/bentos, links into the store."""
    (home / "project").mkdir(parents=True)
    if folder and folder.is_dir():
        copy_tree(folder, home / "project")
    for name in ("models", "bentos"):
        if (store / name).is_dir():
            (home / name).symlink_to((store / name).absolute())


def bare_place(home: Path, names: Sequence[str]) -> Path:
    return home / "-".join(["without", *sorted(names)])


def prepare_bare(place: Path, models: Path, names: Sequence[str]) -> None:
    """A folder of models as that one, in which each version of those has its description and no more."""
    place.mkdir()
    for folder in models.iterdir() if models.is_dir() else ():
        if folder.name not in names or not folder.is_dir():
            (place / folder.name).symlink_to(folder.absolute())
            continue
        for path in [folder / "latest", *folder.glob("*/model.yaml")]:
            if path.is_file() and not path.is_symlink():
                target = place / path.relative_to(models)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def wait_ready(server: Served, limit: float) -> None:
    """Waits until our process listens and says ready, or until it is clear that this will not come."""
    began = time.monotonic()
    settled = wait_until(lambda: is_settled(server), limit := pace.patience(limit), pause=0.2)
    server.seconds = round(time.monotonic() - began, 1)
    code = server.process.poll()
    check_built(code, server.log())
    if (code is not None or server.foreign) and not os.environ.get(PORT) and not server.boxed:
        check_port(server.port, server.mark)
    if not server.foreign and (code is not None or not settled):
        refuse_want(server.memory_kills)
    if server.foreign:
        server.problem = f"port {server.port} is held by {server.foreign}, which was not started here"
    elif code is not None:
        server.problem = f"the server exited with code {code} after {server.seconds:g} s"
    elif not settled:
        if pace.has_lived(server.mark, limit / 2) and pace.is_at_work(pace.cpu_of(server.mark)):
            raise pace.too_slow("the server", limit)
        server.problem = f"the server was not ready after {limit:g} s"


def check_port(port: int, mark: str) -> None:
    """Raises where another program took the free port that was chosen, between the choice and the server's start."""
    holder = listener(port)
    if holder is not None and not is_ours(holder, mark):
        raise LabError(f"Another program, process {holder.pid}, took port {port} meanwhile.", "Grade again.")


def is_settled(server: Served) -> bool:
    """Ready, ended, or kept out by somebody else's server."""
    if server.process.poll() is not None:
        return True
    if server.boxed:
        return is_ready(server)
    holder = server.holder()
    if holder is not None and not is_ours(holder, server.mark):
        with contextlib.suppress(psutil.Error):
            server.foreign = f"{holder.name()} (process {holder.pid})"
        return bool(server.foreign)
    return holder is not None and is_ready(server)


def is_ready(server: Served) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return web.get(f"{server.url}/readyz", timeout=5).status_code == 200
    return False


@contextlib.contextmanager
def frozen(processes: Sequence[int]) -> Iterator[None]:
    """Those processes do nothing meanwhile, and know nothing of it."""
    try:
        send(processes, signal.SIGSTOP)
        yield
    finally:
        send(processes, signal.SIGCONT)


def send(processes: Sequence[int], sign: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
