"""MLServer, in an environment of its own, and a model folder served by it. `python -m grader.world.mlserver` says
whether the environment is there; with the word `bring` it makes it: a minute at most, 150 MB.

Its pins (fastapi below 0.116, protobuf below 7) clash with the kit's. So .lab/mlserver has them, from mlserver.txt with
hashes; what it lacks (torch, sentence-transformers, scikit-learn, numpy, bentoml) it finds in the kit's environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import httpx

from cluster.names import state
from grader.environ import child_environ
from grader.errors import LabError
from grader.model import Facts
from grader.processes import free_port, is_ours, listener, refuse_want, run, started, wait_until
from grader.progress import Progress
from grader.sandbox import WANTED, boxed, check_built
from grader.workspace import copy_tree, locked, write_atomic
from grader.world import pace, web
from grader.world.servers import QUIET, Served, check_port

PINS = Path(__file__).with_name("mlserver.txt")
OLDEST, NEWEST = (3, 11), (3, 12)  # Pythons that MLServer 1.7 runs on, as far as the kit does
LIMIT = 60.0  # seconds until a model is ready
READY = "/v2/health/ready"
KINDS = ("http_port", "grpc_port", "metrics_port")  # in its settings


def folder() -> Path:
    return state() / "mlserver"


def program() -> Path:
    return folder() / "bin" / "mlserver"


def digest() -> str:
    """Of what the environment is made of: the pins, and the Python whose packages it shares."""
    return hashlib.sha256(PINS.read_bytes() + sys.prefix.encode() + sys.version.encode()).hexdigest()[:16]


def is_supported() -> bool:
    return OLDEST <= sys.version_info[:2] <= NEWEST


def look() -> tuple[bool, str]:
    """Whether it is there, and one sentence about it."""
    if not is_supported():
        return False, f"MLServer 1.7 runs on Python 3.11 and 3.12, and this is {platform.python_version()}"
    made = folder() / "made"
    if not (program().is_file() and made.is_file() and made.read_text() == digest()):
        return False, f"no MLServer in {folder()}"
    return True, "MLServer 1.7.1"


def bring() -> str:
    """Makes the environment unless it is there, and says how it is then. Never raises for a machine that cannot have
    it: what needs MLServer is "not run" there."""
    there, said = look()
    if there or not is_supported():
        return said if there else f"not run: {said}"
    with locked(state() / "mlserver.lock", "MLServer's environment", print):
        if look()[0]:
            return look()[1]
        began = time.monotonic()
        with Progress("installing MLServer"):
            trouble = make()
    return f"not run: {trouble}" if trouble else f"{look()[1]}, installed in {time.monotonic() - began:.0f} s"


def make() -> str:
    """Nothing, or why it cannot be made."""
    uv, python = Path(sys.executable).with_name("uv"), folder() / "bin" / "python"
    environ = {**child_environ(), "UV_NO_CONFIG": "1"}
    empty = ["venv", "--clear", "--python", sys.executable, str(folder())]
    fill = ["pip", "install", "--python", str(python), "--no-deps", "--require-hashes", "-r", str(PINS)]
    for words in (empty, fill):
        if not (done := run([str(uv), "--quiet", *words], 300, env=environ)).ok:
            return f"MLServer could not be installed: {done.tail(2) or 'it took more than five minutes'}"
    share_packages()
    tried = run([str(python), "-c", "import mlserver.server, sentence_transformers"], 120, env=environ)
    if not tried.ok:
        return f"MLServer does not start here: {tried.tail(1) or 'no answer in two minutes'}"
    write_atomic(folder() / "made", digest().encode())
    return ""


def share_packages() -> None:
    """The kit's packages come after its own."""
    own = next(folder().glob("lib/python3*/site-packages"))
    kit = Path(sys.prefix) / own.relative_to(folder())
    (own / "kit.pth").write_text(f"{kit}\n")


# ---------------------------------------------------------------- serving


@contextlib.contextmanager
def serving(root: Path, store: Path, model: str = "choice/mlserver", limit: float = LIMIT) -> Iterator[Served]:
    """Serves a copy of that model folder of a workspace, with its service/ on Python's path, on free ports of
    127.0.0.1; boxed where others' work is graded. `problem` of what is given is a fact about the submission."""
    with tempfile.TemporaryDirectory(prefix="served-", ignore_cleanup_errors=True) as temporary:
        home, log, ports = Path(temporary) / "home", Path(temporary) / "log", [free_port() for _ in KINDS]
        project, port = prepare_project(home, root, store, model), ports[0]
        problem = write_settings(project / model / "settings.json", ports)
        environ = {**QUIET, "BENTOML_HOME": str(home), "PYTHONPATH": str(project / "service"), "HF_HUB_OFFLINE": "1"}
        shown = [store.absolute(), folder(), Path(sys.prefix)]
        with (
            boxed([str(program()), "start", model], project, environ, shown, [home], port=port) as box,
            started(box.command, box.cwd, box.environ, log, pass_fds=box.pass_fds) as (process, mark),
        ):
            is_boxed = bool(os.environ.get(WANTED))
            server = Served(f"http://127.0.0.1:{port}", home, log, mark, process, problem, boxed=is_boxed)
            if not problem:
                wait_ready(server, limit, ports)
            yield server


def prepare_project(home: Path, root: Path, store: Path, model: str) -> Path:
    """home/project: the model folder and service/, in the places that they have in a workspace; home/models: a link."""
    project = home / "project"
    for part in (model, "service"):
        (project / part).mkdir(parents=True)
        if (root / part).is_dir():
            copy_tree(root / part, project / part)
    if (store / "models").is_dir():
        (home / "models").symlink_to((store / "models").absolute())
    return project


def write_settings(path: Path, ports: Sequence[int]) -> str:
    """The learner's settings with our ports in them, since a file overrules variables; or what is wrong with them."""
    try:
        settings = json.loads(path.read_text()) if path.is_file() else {}
        ours = {"host": "127.0.0.1", **dict(zip(KINDS, ports, strict=True))}
        path.write_text(json.dumps({**settings, **ours}))
    except (OSError, ValueError, TypeError) as wrong:
        return f"settings.json: {type(wrong).__name__}: {wrong}"
    return ""


def wait_ready(server: Served, limit: float, ports: Sequence[int]) -> None:
    """Waits until it says that every model is ready, or until it is clear that this will not come. Raises LabError
    where another program has one of its ports."""
    began = time.monotonic()
    limit = pace.patience(limit)
    settled = wait_until(lambda: server.process.poll() is not None or is_ready(server), limit, 0.2)
    server.seconds = round(time.monotonic() - began, 1)
    code = server.process.poll()
    check_built(code, server.log())
    if not server.boxed and (code is not None or not settled):  # in a sandbox nobody else can listen
        for port in ports:
            check_port(port, server.mark)
    if code is not None or not settled:
        refuse_want(server.memory_kills)
    if code is not None:
        server.problem = f"the server ended with exit code {code} after {server.seconds:g} s"
    elif not settled:
        if pace.has_lived(server.mark, limit / 2) and pace.is_at_work(pace.cpu_of(server.mark)):
            raise pace.too_slow("MLServer", limit)
        server.problem = f"the model was not ready after {limit:g} s"


def is_ready(server: Served) -> bool:
    """Its health alone says 200 again once a model that failed has been dropped, so the models are asked for, too."""
    if not server.boxed and not is_ours(listener(server.port), server.mark):
        return False
    with contextlib.suppress(httpx.HTTPError, ValueError):
        healthy = web.get(f"{server.url}{READY}", timeout=5).status_code == 200
        return healthy and all(m["state"] == "READY" for m in index(server.url))
    return False


def complaint(server: Served) -> str:
    """The errors in its log, which has a line for each time that it was asked whether it is ready."""
    lines = [line for line in server.log(400).splitlines() if '"GET /v2/' not in line]
    errors = [line.strip() for line in lines if re.match(r"\s*[\w.]*(Error|Exception|NotFound|Stop)\b", line)]
    return "; ".join(dict.fromkeys(errors[:3] or lines[-3:]))[:600]


# ---------------------------------------------------------------- asking, as V2 has it


def index(url: str) -> list[Facts]:
    """Name and state of each of its models. Raises httpx.HTTPError, ValueError."""
    told = web.post(f"{url}/v2/repository/index", json={}, timeout=10).json()
    return [{"name": str(m.get("name")), "state": str(m.get("state"))} for m in told if isinstance(m, dict)]


def models_of(url: str) -> list[Facts]:
    """The same; none of a server that does not say."""
    try:
        return index(url)
    except (httpx.HTTPError, ValueError):
        return []


def metadata_of(url: str, name: str) -> Facts:
    """Its inputs and outputs, name -> datatype, as /v2/models/NAME tells every client, and the shape of each."""
    try:
        told = web.get(f"{url}/v2/models/{name}", timeout=10).json()
        tensors = {k: list(told.get(k) or []) for k in ("inputs", "outputs")}
        shapes = {k: {str(t["name"]): t.get("shape") for t in some} for k, some in tensors.items()}
        return {k: {str(t["name"]): str(t["datatype"]) for t in some} for k, some in tensors.items()} | {
            "shapes": shapes
        }
    except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
        return {"inputs": {}, "outputs": {}, "shapes": {"inputs": {}, "outputs": {}}}


def is_fixed(shape: Any) -> bool:
    """Whether the first number of a shape, which counts the texts, is one; -1 is any."""
    return isinstance(shape, list) and bool(shape) and shape[0] != -1


def holds(shape: Any, sent: Sequence[int]) -> bool:
    """Whether a client that goes by this shape expects of each text what came: [-1] is [-1, 1], -1 any number."""
    told, came = list(shape or [])[1:], sent[1:]
    return -1 in told or prod(told) == prod(came)


def request_of(texts: list[str], name: str = "texts") -> dict[str, Any]:
    """One tensor of texts."""
    tensor = {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": texts}
    return {"inputs": [tensor]}


def infer(url: str, model: str, texts: list[str], name: str = "texts", patience: float = 15.0) -> Facts:
    """The answer's status and outputs (name -> datatype, shape, data); without an answer `status` is None."""
    try:
        got = web.post(f"{url}/v2/models/{model}/infer", json=request_of(texts, name), timeout=patience)
    except httpx.HTTPError as broken:
        return {"status": None, "outputs": {}, "problem": f"{type(broken).__name__}: {broken}"[:200]}
    try:
        outputs = {str(o["name"]): {k: o[k] for k in ("datatype", "shape", "data")} for o in got.json()["outputs"]}
        return {"status": got.status_code, "outputs": outputs, "problem": ""}
    except (ValueError, KeyError, TypeError):
        return {"status": got.status_code, "outputs": {}, "problem": f"{got.text[:160]!r}"}


def main(words: list[str]) -> int:
    print(bring() if words == ["bring"] else look()[1])
    return 0 if look()[0] else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as trouble:
        sys.exit(str(trouble))
