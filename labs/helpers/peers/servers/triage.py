"""The two models of the store, opened without BentoML, and what they say of texts: for peers that are not BentoML."""

import os
import pickle
from pathlib import Path

import joblib
from preprocess import prepare


def find_saved(name: str) -> Path:
    """The newest version's file of that model."""
    versions = Path(os.environ["BENTOML_HOME"]) / "models" / name
    return versions / (versions / "latest").read_text().strip() / "saved_model.pkl"


class Triage:
    def __init__(self) -> None:
        self.encoder = pickle.loads(find_saved("demo_embedder").read_bytes())
        self.classifier = joblib.load(find_saved("demo_classifier"))

    def __call__(self, texts: list[str]) -> list[tuple[str, float]]:
        """A label and its score for each text, in order."""
        vectors = self.encoder.encode(prepare(texts), show_progress_bar=False)
        scores = self.classifier.predict_proba(vectors)
        labels = self.classifier.classes_[scores.argmax(axis=1)]
        return list(zip(labels.tolist(), scores.max(axis=1).tolist(), strict=True))
