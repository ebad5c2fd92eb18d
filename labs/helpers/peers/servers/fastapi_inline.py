"""FastAPI, and the models called where the request is handled: what most teams begin with."""

from fastapi import FastAPI
from pydantic import BaseModel
from triage import Triage

app = FastAPI()
triage = Triage()


class Request(BaseModel):
    texts: list[str]


class Answer(BaseModel):
    labels: list[str]
    scores: list[float]


# async: a process computes one request at a time. A plain `def` would run in up to forty threads on one core.
@app.post("/classify")
async def classify(request: Request) -> Answer:
    answers = triage(request.texts)
    return Answer(labels=[label for label, _ in answers], scores=[score for _, score in answers])
