"""From a call's rows to answers: what the variants share. One call to the classifier for all texts of a call."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import bentoml
from frame import Models, _texts

Answer = tuple[str, float]


def answering(classifier: bentoml.legacy.Runner, models: Models) -> Callable[[Any], Awaitable[list[Answer]]]:
    """finish(rows) -> (label, score) of each row: float32 (texts, 384) in, labels counted."""

    async def finish(rows: Any) -> list[Answer]:
        (scores,) = await classifier.predict_proba.async_run([rows])  # (texts, classes)
        labels = [models.classes[best] for best in scores.argmax(axis=1)]
        for label, count in Counter(labels).items():
            _texts().labels(label=label).inc(count)
        return list(zip(labels, scores.max(axis=1).tolist(), strict=True))

    return finish


def count_texts(texts: int) -> None:
    """How many texts each call held: what the runner's own histogram cannot say, since a call is one item there."""
    _texts_a_call().observe(texts)


@lru_cache
def _texts_a_call() -> Any:
    buckets = [1, 2, 4, 8, 16, 24, 32, 64]
    return bentoml.metrics.Histogram("demo_texts_a_call", "Texts in one call to the embedder", buckets=buckets)


def told(answers: list[Answer]) -> dict[str, list[Any]]:
    return {"labels": [label for label, _ in answers], "scores": [score for _, score in answers]}
