"""BentoML's modern API, two services: one that callers ask, one that embeds, in a worker a core."""

import os

import bentoml
import numpy as np
from bentoml.models import BentoModel
from preprocess import prepare
from pydantic import BaseModel

# The inner client closes its session after 100 calls, and loses those that are under way (lab 11).
KEPT = {"max_requests": 100_000_000, "max_age": 86400.0}


class Answer(BaseModel):
    labels: list[str]
    scores: list[float]


@bentoml.service(workers=os.cpu_count(), runner_connection=KEPT)
class Embedder:
    model = BentoModel("demo_embedder:latest")

    def __init__(self):
        self.encoder = self.model.load_model()

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=10000)
    def encode(self, texts: list[str]) -> np.ndarray:
        return self.encoder.encode(texts)


@bentoml.service
class Triage:
    embedder = bentoml.depends(Embedder)
    model = BentoModel("demo_classifier:latest")

    def __init__(self):
        self.classifier = self.model.load_model()

    @bentoml.api(route="/classify")
    async def classify(self, texts: list[str]) -> Answer:
        vectors = await self.embedder.to_async.encode(prepare(texts))
        scores = self.classifier.predict_proba(vectors)
        labels = self.classifier.classes_[scores.argmax(axis=1)]
        return Answer(labels=labels.tolist(), scores=scores.max(axis=1).tolist())
