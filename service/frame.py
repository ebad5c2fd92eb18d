"""What stands around the API function: which models, who answered, what is counted. Both service files use it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import bentoml
import preprocess
import yaml
from guard import Guard


@dataclass(frozen=True)
class Models:
    embedder: bentoml.Model
    classifier: bentoml.Model
    classes: list[str]  # in the order of predict_proba's columns


def open_models() -> Models:
    """Look both models up in the store: in a Bento the versions that bento.yaml names, otherwise the latest ones.

    Raises bentoml.exceptions.NotFound when one is missing, and RuntimeError when the classifier was trained with
    another preprocessing than the one beside this file.
    """
    embedder = bentoml.models.get(_tag("demo_embedder"))
    classifier = bentoml.models.get(_tag("demo_classifier"))
    about = classifier.info.metadata
    if about.get("preprocess") != preprocess.VERSION or "classes" not in about:
        raise RuntimeError(f"{classifier.tag} was not trained with this preprocess.py; run save_models.py again")
    return Models(embedder, classifier, list(about["classes"]))


def _tag(name: str) -> str:
    # A Bento served from a store that holds newer models would load those: `latest` is looked up at each start, and
    # BentoML 1.4.39 does not look into the Bento for it (tests/test_service_live.py).
    bento = Path(__file__).resolve().parents[1] / "bento.yaml"  # this file is then the Bento's src/frame.py
    if bento.is_file():
        for model in yaml.safe_load(bento.read_text())["models"]:
            if model["tag"].partition(":")[0] == name:
                return str(model["tag"])
    return f"{name}:latest"


def protect(svc: bentoml.legacy.Service, models: Models) -> None:
    """Put guard.py around the service."""

    def headers() -> dict[str, str]:
        # Asked at each answer: `svc.bento` is set after this module was loaded, and only when a Bento is served.
        # `svc.tag` is never set (1.4.39), so the service_version of BentoML's own metrics stays "not available".
        return {
            "x-service-version": str(svc.bento.tag.version) if svc.bento else "not-built",
            "x-model-embedder": str(models.embedder.tag),
            "x-model-classifier": str(models.classifier.tag),
        }

    svc.add_asgi_middleware(Guard, path="/classify", headers=headers, refused=count_refused)


def count_labels(labels: list[str]) -> None:
    for label in labels:
        _texts().labels(label=label).inc()


def count_refused(error: str) -> None:
    _refused().labels(error=error).inc()


# Made at the first use: made before a worker has set PROMETHEUS_MULTIPROC_DIR, a metric would never show in /metrics.
@lru_cache
def _texts() -> Any:
    return bentoml.metrics.Counter("demo_texts_total", "Texts answered, by the label they got", ["label"])


@lru_cache
def _refused() -> Any:
    return bentoml.metrics.Counter("demo_refused_total", "Requests refused by guard.py, by what was wrong", ["error"])
