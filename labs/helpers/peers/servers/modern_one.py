"""BentoML's modern API, one service: its endpoint itself is batched, in a worker a core. It answers with rows."""

import os

import bentoml
from bentoml.models import BentoModel
from preprocess import prepare
from pydantic import BaseModel


class Row(BaseModel):
    label: str
    score: float


@bentoml.service(workers=os.cpu_count())
class Triage:
    embedder = BentoModel("demo_embedder:latest")
    sorter = BentoModel("demo_classifier:latest")

    def __init__(self):
        self.encoder = self.embedder.load_model()
        self.classifier = self.sorter.load_model()

    @bentoml.api(route="/classify", batchable=True, max_batch_size=32, max_latency_ms=10000)
    def classify(self, texts: list[str]) -> list[Row]:
        scores = self.classifier.predict_proba(self.encoder.encode(prepare(texts)))
        labels = self.classifier.classes_[scores.argmax(axis=1)]
        return [Row(label=label, score=score) for label, score in zip(labels, scores.max(axis=1), strict=True)]
