"""Support-ticket triage: POST /classify {"texts": [...]} -> {"labels": [...], "scores": [...]}, one of each a text.

The API function stays thin: prepare as in training, ask the two runners, name the labels. What a request may be is in
limits.py, the layer that holds to it in guard.py, and why a request is one call to a runner in runnable.py.
"""

from typing import Any

from bentoml.io import JSON
from contract import DescribedService
from frame import count_labels, open_models, protect
from preprocess import prepare
from runnable import classifier_runner, embedding_runner

models = open_models()
embedder = embedding_runner(models.embedder)
classifier = classifier_runner(models.classifier)
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request: dict[str, Any]) -> dict[str, list[Any]]:
    """Give each text a label and that label's score (0 to 1), in order. An empty list is answered with empty lists."""
    if not request["texts"]:
        return {"labels": [], "scores": []}
    (vectors,) = await embedder.encode.async_run([prepare(request["texts"])])  # float32 (texts, 384)
    (scores,) = await classifier.predict_proba.async_run([vectors])  # (texts, classes)
    labels = [models.classes[best] for best in scores.argmax(axis=1)]
    count_labels(labels)
    return {"labels": labels, "scores": scores.max(axis=1).tolist()}
