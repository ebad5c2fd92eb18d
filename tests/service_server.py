"""Fixtures of the service's tests: its modules, a store with both models, servers that leave nothing behind.

A test file takes them with `pytest_plugins = ["service_server"]`. PYTEST_DONT_REWRITE: it is imported before that.
"""

import contextlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

SERVICE = Path(__file__).resolve().parents[1] / "service"
MODULE_SERVICE = Path(__file__).resolve().parent / "module_service"


@contextlib.contextmanager
def on_path(folder: Path) -> Iterator[None]:
    """Put a folder on the import path, and take it off again: `service/` must not stay importable."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def service_module(name: str) -> Any:
    """Import one of the flat modules of service/ or of service/experiments/ (`serving`, `burst`)."""
    with on_path(SERVICE), on_path(SERVICE / "experiments"):
        return importlib.import_module(name)


serving = service_module("serving")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BENTOML_HOME with both models, saved by save_models.py."""
    return Path(serving.make_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def ours(store: Path) -> Iterator[Any]:
    """The reference service with the configuration file beside it."""
    config = {"BENTOML_CONFIG": str(SERVICE / "bentoml_configuration.yml")}
    with serving.serve(SERVICE, store=store, env=config) as server:
        yield server


# In a process of its own: torch has no place in pytest's, and BENTOML_HOME is read when bentoml is imported.
_DIRECT = """
import json, sys
import bentoml
texts = json.load(sys.stdin)
encoder = bentoml.picklable_model.load_model("demo_embedder:latest")
classifier = bentoml.sklearn.load_model("demo_classifier:latest")
items = [texts] if sys.argv[1:] else [[text] for text in texts]
scores = [row for item in items for row in classifier.predict_proba(encoder.encode(item))]
best = [int(row.argmax()) for row in scores]
labels = [str(classifier.classes_[index]) for index in best]
leads = [float(sorted(row)[-1] - sorted(row)[-2]) for row in scores]
print(json.dumps([[label, float(max(row)), lead] for label, row, lead in zip(labels, scores, leads)]))
"""


def direct_answers(store: Path, texts: Sequence[str], *options: str) -> list[tuple[str, float, float]]:
    """Ask the stored models themselves: label, score, and the score's lead over the second, for each text.

    One text at a time; with the option "together" all in one call, which is quicker.
    """
    environment = serving.clean_environment() | {"BENTOML_HOME": str(store), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _DIRECT, *options],
        input=json.dumps(list(texts)),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [(label, score, lead) for label, score, lead in json.loads(done.stdout.splitlines()[-1])]
