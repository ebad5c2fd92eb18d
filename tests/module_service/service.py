"""The service as Module 9.10 has it, made to run on BentoML 1.4.39 (legacy.Service, lowercase runner names).

A fixture: it hands all texts of a request to a runner in one call; a burst of such calls locks its runners for good.
"""

from typing import Any

import bentoml
from bentoml.io import JSON

embedder: Any = bentoml.picklable_model.get("demo_embedder:latest").to_runner(name="embeddingrunner")
classifier: Any = bentoml.sklearn.get("demo_classifier:latest").to_runner(name="classifierrunner")
svc: Any = bentoml.legacy.Service("demo_text_intelligence", runners=[embedder, classifier])


@svc.api(input=JSON(), output=JSON(), route="/classify")  # type: ignore[untyped-decorator]
async def classify(payload: dict[str, Any]) -> dict[str, list[Any]]:
    vectors = await embedder.encode.async_run(payload["texts"])
    labels = await classifier.predict.async_run(vectors)
    probabilities = await classifier.predict_proba.async_run(vectors)
    return {"labels": labels.tolist(), "scores": probabilities.max(axis=1).tolist()}
