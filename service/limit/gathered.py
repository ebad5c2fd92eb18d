"""The API function gathers (gather.py): many requests, few calls to each runner. All of it is BentoML's public API.

    cd service && PYTHONPATH=limit bentoml serve gathered:svc

Each of the 80 requests no longer pays two inner HTTP requests. A call is one item for the runner (runnable.py), so
no call is ever divided and the dispatcher's deadlock is out of reach, whatever the sizes. What it costs: a request
that fails takes the others of its call with it, and the runner's own batch-size metric counts calls, so
`demo_texts_a_call` counts texts.
"""

from typing import Any

import workers
from answers import answering, count_texts, told
from bentoml.io import JSON
from contract import DescribedService
from frame import open_models, protect
from gather import Gather
from preprocess import prepare
from runnable import classifier_runner

models = open_models()
embedder = workers.embedding_runner(models.embedder)
classifier = classifier_runner(models.classifier)
svc = DescribedService("demo_text_intelligence", runners=[embedder, classifier])
protect(svc, models)


class Slot:
    """A call through BentoML's own client: to whichever worker accepted the connection that it takes."""

    async def call(self, texts: list[str]) -> Any:
        (rows,) = await embedder.encode.async_run([texts])
        return rows


gather = Gather(answering(classifier, models), seen=count_texts)


@svc.on_startup
async def open_slots(_: Any) -> None:
    for _slot in range(embedder.scheduled_worker_count + 1):  # one more, since calls do not spread evenly
        gather.add(Slot())


@svc.api(input=JSON(), output=JSON(), route="/classify")
async def classify(request: dict[str, Any]) -> dict[str, list[Any]]:
    """As service.py's."""
    return told(await gather.ask(prepare(request["texts"])))
