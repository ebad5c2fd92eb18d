"""The reference service with an embedding process a core (workers.py), and nothing else changed.

cd service && PYTHONPATH=limit bentoml serve per_core:svc
"""

from typing import Any

import workers
from bentoml.io import JSON
from contract import DescribedService
from frame import count_labels, open_models, protect
from preprocess import prepare
from runnable import classifier_runner

models = open_models()
embedder = workers.embedding_runner(models.embedder)
classifier = classifier_runner(models.classifier)
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request: dict[str, Any]) -> dict[str, list[Any]]:
    """As service.py's."""
    if not request["texts"]:
        return {"labels": [], "scores": []}
    (vectors,) = await embedder.encode.async_run([prepare(request["texts"])])
    (scores,) = await classifier.predict_proba.async_run([vectors])
    labels = [models.classes[best] for best in scores.argmax(axis=1)]
    count_labels(labels)
    return {"labels": labels, "scores": scores.max(axis=1).tolist()}
