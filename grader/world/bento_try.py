"""A Bento as a subject answers for it (grader/subject.py), in a process that has the Bento and its models alone."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

_service: Any = None


def ready() -> str:
    """Imports what a server has imported, outside the learner's time."""
    import bentoml
    import sentence_transformers  # noqa: F401

    warnings.simplefilter("ignore")
    return str(bentoml.__version__)


def load(tag: str) -> dict[str, str]:
    """Loads it as a server does; the tag of each model that its code asked the store for, by name."""
    global _service
    import bentoml

    _service = bentoml.load(tag)
    models = [m for runner in _service.runners for m in runner.models] + list(_service.models)
    return {m.tag.name: str(m.tag) for m in models}


def classify(texts: list[str]) -> Any:
    """What it answers, its runners in this same process."""
    for runner in _service.runners:
        runner.init_local(quiet=True)
    answer = _service.apis["classify"].func({"texts": texts})
    answer = asyncio.run(answer) if asyncio.iscoroutine(answer) else answer
    return as_plain(answer)


def as_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(v) for v in value]
    return value.tolist() if hasattr(value, "tolist") else value


QUESTIONS = {f.__name__: f for f in (ready, load, classify)}
