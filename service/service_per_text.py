"""The same service with the runners that the store gives, as the module has them, made safe: a text is a runner call.

`to_runner` uses the signatures that save_models.py stored. A call of one text counts as 1 and is never divided, so the
dispatcher's deadlock (see runnable.py) is out of reach here too, at the price of an inner HTTP request for each text
and runner. max_batch_size counts texts. Serve it with `bentoml serve service_per_text:svc`.
"""

import asyncio
from typing import Any

import bentoml
from bentoml.io import JSON
from contract import DescribedService
from frame import count_labels, open_models, protect
from preprocess import prepare

models = open_models()
embedder = bentoml.picklable_model.get(models.embedder.tag).to_runner(name="embeddingrunner")
classifier = bentoml.sklearn.get(models.classifier.tag).to_runner(name="classifierrunner")
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request: dict[str, Any]) -> dict[str, list[Any]]:
    """Give each text a label and that label's score (0 to 1), in order."""
    answers = await asyncio.gather(*(triage(text) for text in prepare(request["texts"])))
    labels = [label for label, _ in answers]
    count_labels(labels)
    return {"labels": labels, "scores": [score for _, score in answers]}


async def triage(text: str) -> tuple[str, float]:
    vector = await embedder.encode.async_run([text])  # float32 (1, 384)
    scores = (await classifier.predict_proba.async_run(vector))[0]  # (classes,)
    best = int(scores.argmax())
    return models.classes[best], float(scores[best])
