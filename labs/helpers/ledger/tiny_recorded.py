"""A service that says which version of the model `thing` its process has: copied as service.py by the experiments."""

from typing import Any

import bentoml
from bentoml.io import JSON

model: Any = bentoml.models.get("thing:latest")
runner: Any = bentoml.picklable_model.get("thing:latest").to_runner(name="thingrunner")
svc: Any = bentoml.legacy.Service("recorded", runners=[runner])


@svc.api(input=JSON(), output=JSON(), route="/classify")  # type: ignore[untyped-decorator]
async def classify(request: dict[str, Any]) -> dict[str, Any]:
    return {"version": str(model.tag), "answer": await runner.async_run(request["texts"])}
