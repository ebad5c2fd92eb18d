"""For how long a modern service keeps its connections to those that it depends on: a subject imports the service and
reads what its classes say (grader/subject.py). BentoML tells that nowhere else: no route and no metric has it.

    look_up(Path("modern"), store, "service:Triage")["parts"]  # {"Embedder": {"max_requests": 100, "max_age": 300.0}}
"""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path
from typing import Any

from grader.model import Facts
from grader.subject import subject
from grader.world.paced import PacedSubject
from grader.world.servers import QUIET

IMPORTS = 40.0  # seconds for the learner's modules, which may import torch


class ClassReader(PacedSubject):
    does = "reads classes"


def look_up(folder: Path, store: Path, target: str) -> Facts:
    """`parts`: the limits of each service that others depend on, by its name; `problem`: why they cannot be read."""
    with tempfile.TemporaryDirectory(prefix="store-", ignore_cleanup_errors=True) as home:
        if (store / "models").is_dir():
            (Path(home) / "models").symlink_to((store / "models").absolute())
        environ = {**QUIET, "BENTOML_HOME": home, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
        shown = [folder, store]
        with subject("grader.world.connections", shown, environ, ClassReader, written=[Path(home)]) as asked:
            asked.get_ready()
            given = {"folder": str(folder.absolute()), "target": target}
            parts, problem = asked.ask("limits", patience=IMPORTS, **given)
            return {"parts": parts or {}, "problem": problem}


# ---------------------------------------------------------------- the subject's end


def ready() -> str:
    import bentoml
    from _bentoml_impl import loader  # noqa: F401

    return str(bentoml.__version__)


def limits(folder: str, target: str) -> dict[str, dict[str, Any]]:
    """As BentoML's client reads them; what a class does not say is that client's own default."""
    from _bentoml_impl.client.proxy2 import SessionManager
    from _bentoml_impl.loader import import_service
    from bentoml._internal.configuration.containers import BentoMLContainer

    service = import_service(target, working_dir=folder, standalone_load=True)
    service.inject_config()
    usual = inspect.signature(SessionManager).parameters
    told = BentoMLContainer.config.services.get()
    found = {}
    for name in service.all_services():
        said = told.get(name, {}).get("runner_connection", {})
        found[name] = {key: said.get(key, usual[key].default) for key in ("max_requests", "max_age")}
    del found[service.name]
    return found


QUESTIONS = {f.__name__: f for f in (ready, limits)}
