"""A classic service of two runners without a model, for claims about BentoML itself: quick to start, no torch.

`serving.tiny` copies this file into an empty folder as service.py. A call of the first runner takes TINY_FIXED +
TINY_EACH * n ms. All texts of a request are one call, as the course module writes it; with TINY_EACH_ALONE=1 each text
is a call of its own.
"""

import asyncio
import os
import time
from typing import Any

import bentoml
from bentoml.io import JSON

FIXED, EACH = (float(os.environ.get(name, "0")) / 1000 for name in ("TINY_FIXED", "TINY_EACH"))
VERSION = "first"


class Embedder(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = True

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def encode(self, texts: list[str]) -> list[str]:
        time.sleep(FIXED + EACH * len(texts))
        return texts


class Classifier(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = True

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def predict(self, texts: list[str]) -> list[str]:
        return ["shipping"] * len(texts)


embedder: Any = bentoml.legacy.Runner(Embedder, name="embeddingrunner")
classifier: Any = bentoml.legacy.Runner(Classifier, name="classifierrunner")
svc: Any = bentoml.legacy.Service("tiny", runners=[embedder, classifier])


@svc.api(input=JSON(), output=JSON(), route="/classify")  # type: ignore[untyped-decorator]
async def classify(request: dict[str, Any]) -> dict[str, Any]:
    texts = request["texts"]
    if os.environ.get("TINY_EACH_ALONE"):
        rows = [row for (row,) in await asyncio.gather(*[embedder.encode.async_run([text]) for text in texts])]
    else:
        rows = await embedder.encode.async_run(texts)
    return {"labels": await classifier.predict.async_run(rows), "version": VERSION}
