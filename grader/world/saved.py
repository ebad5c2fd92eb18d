"""The saved models and service/preprocess.py, as a subject answers for them (grader/subject.py): loads, prepares,
encodes, classifies. Everything here runs beside the learner's code, so nothing here compares or judges.

The store is asked before any of the learner's code is imported or unpickled: what it lists cannot be talked into.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grader.model import Facts
from grader.subject import subject
from grader.world.paced import PacedSubject

EMBEDDER, CLASSIFIER = "demo_embedder", "demo_classifier"
METHODS = {EMBEDDER: ("encode",), CLASSIFIER: ("predict", "predict_proba")}  # what the service of lab 02 calls
_loaded: dict[str, Any] = {}


class SavedModels(PacedSubject):
    does = "loads the models"


@contextmanager
def saved_models(ws: Any) -> Iterator[SavedModels]:
    """A subject that answers for the saved models of that workspace; ask `use_service` before its code is wanted. Its
    BENTOML_HOME is its own, with the models linked: BentoML makes folders there that an archive of a store may lack."""
    with tempfile.TemporaryDirectory(prefix="store-", ignore_cleanup_errors=True) as home:
        if (ws.store / "models").is_dir():
            (Path(home) / "models").symlink_to((ws.store / "models").absolute())
        environ = {"BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True", "OMP_NUM_THREADS": "1",
                   "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}  # fmt: skip
        shown = [ws.service, ws.store]
        with subject("grader.world.saved", shown, environ, SavedModels, written=[Path(home)]) as asked:
            yield asked


# ---------------------------------------------------------------- the subject's end


def ready(torch: bool) -> str:
    """Imports what a server has imported, outside the learner's time: on a cold disk this takes half a minute."""
    import bentoml
    import sklearn.base  # noqa: F401

    if torch:
        import sentence_transformers  # noqa: F401
    return str(bentoml.__version__)


def list_models() -> list[str]:
    """What `bentoml models list` shows."""
    import bentoml

    return [str(m.tag) for m in bentoml.models.list()]


def describe_model(name: str) -> Facts:
    """Its latest version and the older ones."""
    import bentoml

    latest = bentoml.models.get(name)
    older = [m for m in bentoml.models.list(name) if m.tag != latest.tag]
    return {**describe(latest), "older": [describe(m) for m in older]}


def describe(model: Any) -> Facts:
    """Its tag and, for each method that a runner would have, what the store says about batching."""
    told = model.info.signatures.items()
    signatures = {name: {"batchable": s.batchable, "batch_dim": list(s.batch_dim)} for name, s in told}
    return {"tag": str(model.tag), "signatures": signatures}


def use_service(folder: str) -> None:
    """From here on, imports look into service/ first, as in a server; nothing beside the notebooks is seen."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()


def prepare(texts: list[str]) -> Any:
    """What service/preprocess.py makes of them."""
    return importlib.import_module("preprocess").prepare(texts)


def load(tag: str) -> Facts:
    """Loads that model under its tag; its kind, and which of the methods that a server calls it has."""
    import bentoml

    model = _loaded[tag] = bentoml.models.get(tag).load_model()
    methods = [m for methods in METHODS.values() for m in methods if callable(getattr(model, m, None))]
    return {"kind": type(model).__name__, "methods": methods}


def encode(tag: str, texts: list[str]) -> Any:
    import numpy as np

    return np.asarray(_loaded[tag].encode(texts), dtype=float)


def predict(tag: str, rows: list[list[float]]) -> Any:
    import numpy as np

    return np.asarray(_loaded[tag].predict(np.asarray(rows, dtype=np.float32)))


def predict_proba(tag: str, rows: list[list[float]]) -> Any:
    import numpy as np

    return np.asarray(_loaded[tag].predict_proba(np.asarray(rows, dtype=np.float32)), dtype=float)


def classes(tag: str) -> Any:
    import numpy as np

    return np.asarray(_loaded[tag].classes_)


def estimator(tag: str) -> Any:
    """How it was made, as plain as JSON: {"class": "sklearn....", "params": {...}}, parts of a pipeline likewise."""
    return as_plain(_loaded[tag])


def as_plain(value: Any) -> Any:
    if hasattr(value, "get_params"):
        params = {name: as_plain(part) for name, part in value.get_params(deep=False).items()}
        return {"class": f"{type(value).__module__}.{type(value).__qualname__}", "params": params}
    if type(value).__module__ == "sklearn.model_selection._split":  # how a search divides its rows
        params = {name: as_plain(part) for name, part in vars(value).items()}
        return {"class": f"sklearn.model_selection.{type(value).__qualname__}", "params": params}
    value = value.tolist() if hasattr(value, "tolist") else value  # numpy's numbers and arrays
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    if isinstance(value, dict):
        return {"dict": [[as_plain(k), as_plain(v)] for k, v in value.items()]}
    return value if isinstance(value, str | int | float | bool | None) else {"unknown": repr(value)[:80]}


QUESTIONS = {
    f.__name__: f
    for f in (ready, list_models, describe_model, use_service, prepare, load, encode, predict, predict_proba, classes,
              estimator)
}  # fmt: skip
