"""The exported models: made once from the store's encoder, by service/limit/export_onnx.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from grader.environ import child_environ
from grader.model import Facts
from grader.processes import run
from labs.helpers.limit import extras
from labs.helpers.limit.store import CannotPrepare, service, state


def folder() -> Path:
    return state() / "models"


def made(home: Path) -> Path:
    """The folder with onnx.onnx and int8.onnx of that store's encoder. Raises CannotPrepare."""
    about = folder() / "about.json"
    if not (about.is_file() and "int8" in json.loads(about.read_text())):
        paths = os.pathsep.join([str(service() / "limit"), str(extras.bring("onnx"))])
        environ = {**child_environ(), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": paths}
        # `-c`, so that service/ is on the path, too
        command = ["-W", "ignore", "-c", "import export_onnx as e, sys; e.main(e.Path(sys.argv[1]))", str(folder())]
        done = run([sys.executable, *command], 300, service(), environ)
        if not done.ok:
            raise CannotPrepare("The ONNX models", done.tail(6))
    return folder()


def about(kind: str) -> Facts:
    """Cosines and agreement of that kind with torch's vectors; empty when it was not made."""
    path = folder() / "about.json"
    return dict(json.loads(path.read_text()).get(kind, {})) if path.is_file() else {}
