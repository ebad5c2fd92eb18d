"""FastAPI with a batcher of one's own, in each of its processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from batcher import Batcher
from fastapi import FastAPI
from pydantic import BaseModel
from triage import Triage

batcher = Batcher(Triage(), largest=32)


@asynccontextmanager
async def batching(app: FastAPI) -> AsyncIterator[None]:
    task = asyncio.create_task(batcher.run())
    yield
    task.cancel()


app = FastAPI(lifespan=batching)


class Request(BaseModel):
    texts: list[str]


class Answer(BaseModel):
    labels: list[str]
    scores: list[float]


@app.post("/classify")
async def classify(request: Request) -> Answer:
    answers = await asyncio.gather(*map(batcher.ask, request.texts))
    return Answer(labels=[label for label, _ in answers], scores=[score for _, score in answers])
