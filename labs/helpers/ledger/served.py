"""Small services for the experiments: copied into the scratch folder, served, asked, loaded."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import httpx

from grader.environ import child_environ
from grader.errors import LabError
from grader.processes import Completed, run
from grader.world.load import closed
from grader.world.load.log import Log
from grader.world.servers import QUIET, Served, served
from labs.helpers.ledger.experiment import Place

BATCHED = {"enabled": True, "max_batch_size": 100, "max_latency_ms": 60_000}


class NotServed(LabError):
    """A server that an experiment needs did not start: `log` is the end of what it said."""

    def __init__(self, problem: str, log: str) -> None:
        super().__init__(problem, log)
        self.log = log


def lay_out(place: Place, name: str = "tiny", folder: str = "project") -> Path:
    """A project with that service as service.py."""
    project = place.scratch / folder
    project.mkdir(parents=True, exist_ok=True)
    source = resources.files("labs.helpers.ledger") / f"{name}.py"
    (project / "service.py").write_text(source.read_text())
    return project


@contextlib.contextmanager
def tiny(
    place: Place, config: dict[str, Any] | None = None, options: Sequence[str] = (), folder: str = "",
    limit: float = 60.0, **env: str
) -> Iterator[Served]:  # fmt: skip
    """tiny.py, served with that configuration from a folder of that name. Raises NotServed."""
    project = lay_out(place, "tiny", folder or "project")
    with in_folder(project, place.scratch / "store", config=config, env=env, options=options, limit=limit) as server:
        yield server


@contextlib.contextmanager
def in_folder(
    folder: Path | None, store: Path, target: str = "service:svc", config: dict[str, Any] | None = None,
    env: Mapping[str, str] | None = None, options: Sequence[str] = (), limit: float = 60.0,
) -> Iterator[Served]:  # fmt: skip
    """What that folder (or, without one, the Bento `target`) serves, where it lies. Raises NotServed."""
    in_place = folder is not None
    with served(folder, store, target, config, env, limit, options, in_place) as server:
        if server.problem:
            raise NotServed(server.problem, server.log(60))
        yield server


def batching(**more: Any) -> dict[str, Any]:
    """A configuration in which both runners batch with these settings."""
    block = {"batching": {**BATCHED, **more}, "resources": {"cpu": 1}}
    return {"version": 1, "runners": {"embeddingrunner": block, "classifierrunner": block}}


def ask(server: Served, texts: Sequence[str] = ("a",), patience: float = 10.0) -> httpx.Response | None:
    """The answer of /classify; None if none comes in time, or the connection breaks."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.post(f"{server.url}/classify", json={"texts": list(texts)}, timeout=patience)
    return None


def status(server: Served, path: str, patience: float = 10.0) -> int:
    """Of a GET; 0 if no answer comes in time."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{server.url}{path}", timeout=patience).status_code
    return 0


def load(server: Served, people: int = 40, seconds: float = 2.0) -> Log:
    return closed.run(server.url, users=people, seconds=seconds)


def python(place: Place, words: Sequence[str], cwd: Path, **env: str) -> Completed:
    """`python WORDS` in that folder, with a store of the experiment's own. Raises NotServed where it fails."""
    store = place.scratch / "store"
    store.mkdir(exist_ok=True)
    environ = {**child_environ(), **QUIET, "PYTHONWARNINGS": "ignore", "BENTOML_HOME": str(store), **env}
    done = run([sys.executable, *words], 300, cwd, environ)
    if not done.ok:
        raise NotServed(f"python {' '.join(words)[:60]} ended with {done.code}.", done.tail())
    return done


def told(place: Place, program: str, cwd: Path | None = None, **env: str) -> Any:
    """What that program prints as JSON in its last line."""
    return last_line(python(place, ["-c", program], cwd or place.scratch, **env))


def last_line(done: Completed) -> Any:
    """As JSON; what stands before it are libraries' own words."""
    return json.loads(done.stdout.splitlines()[-1])


def build(place: Place, project: Path) -> Path:
    """`bentoml build` of the project; the Bento's folder."""
    python(place, ["-m", "bentoml", "build"], project)
    (bento,) = sorted((place.scratch / "store" / "bentos").glob("*/*/bento.yaml"))
    return bento.parent
