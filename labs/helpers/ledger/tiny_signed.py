"""One model saved without a batchable signature, behind two runners: the store's, and a Runnable of one's own that says
it is batchable. Copied as service.py by the experiments."""

from typing import Any

import bentoml
from bentoml.io import JSON


class Own(bentoml.legacy.Runnable):
    SUPPORTED_RESOURCES = ("cpu",)
    SUPPORTS_CPU_MULTI_THREADING = True

    def __init__(self) -> None:
        self.model = bentoml.picklable_model.load_model("thing:latest")

    @bentoml.legacy.Runnable.method(batchable=True, batch_dim=0)
    def run(self, texts: list[str]) -> list[str]:
        return list(self.model(texts))


stored: Any = bentoml.picklable_model.get("thing:latest").to_runner(name="storedrunner")
own: Any = bentoml.legacy.Runner(Own, name="ownrunner")
svc: Any = bentoml.legacy.Service("signed", runners=[stored, own])


@svc.api(input=JSON(), output=JSON(), route="/classify")  # type: ignore[untyped-decorator]
async def classify(request: dict[str, Any]) -> dict[str, Any]:
    return {"stored": await stored.async_run(request["texts"]), "own": await own.run.async_run(request["texts"])}
