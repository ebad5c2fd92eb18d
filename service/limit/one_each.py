"""The API function gathers, and each embedding worker has one connection and one call at a time (lanes.py).

    cd service && PYTHONPATH=limit bentoml serve one_each:svc

What it costs is in wire.py: it speaks the runner's private protocol.
"""

from typing import Any

import workers
from answers import answering, count_texts, told
from bentoml.io import JSON
from contract import DescribedService
from frame import open_models, protect
from preprocess import prepare
from runnable import classifier_runner
from wire import lanes_of

models = open_models()
embedder = workers.embedding_runner(models.embedder)
classifier = classifier_runner(models.classifier)
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)
lanes = lanes_of(embedder, "encode", answering(classifier, models), seen=count_texts)


@svc.on_startup
async def find_workers(_: Any) -> None:
    lanes.start()


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request: dict[str, Any]) -> dict[str, list[Any]]:
    """As service.py's."""
    return told(await lanes.gather.ask(prepare(request["texts"])))
