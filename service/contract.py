"""What the service promises, as an OpenAPI document: BentoML's own, with every status that is really answered.

BentoML 1.4.39 lists 200, 400, 404 and 500, says no more of an answer than "object", and promises an object for an error
that it sends as a string. `tests/test_service_live.py` holds generated requests against this document.
"""

from typing import Any

import bentoml
from limits import MAX_CHARACTERS, MAX_TEXTS, STATUS

REQUEST = {
    "type": "object",
    "required": ["texts"],
    "properties": {
        "texts": {
            "type": "array",
            "maxItems": MAX_TEXTS,
            "items": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": r"\S"},
        }
    },
}
# OpenAPI cannot say "as many as there were texts": a test does.
ANSWER = {
    "type": "object",
    "required": ["labels", "scores"],
    "additionalProperties": False,
    "properties": {
        "labels": {"type": "array", "maxItems": MAX_TEXTS, "items": {"type": "string"}},
        "scores": {"type": "array", "maxItems": MAX_TEXTS, "items": {"type": "number", "minimum": 0, "maximum": 1}},
    },
}
# BentoML's own middleware, outside of ours, answers 429 and 504 with `error` alone.
SERVER_ERRORS = {
    405: "Not a POST",
    429: "More requests at once than api_server.traffic.max_concurrency",
    500: "The service failed",
    503: "Overloaded: the request waited in a runner longer than max_latency_ms",
    504: "No answer within api_server.traffic.timeout",
}


class DescribedService(bentoml.legacy.Service):
    """A classic service whose OpenAPI document (/docs.json, and apis/openapi.yaml in a Bento) tells all answers."""

    @property
    def openapi_spec(self) -> Any:
        document = super().openapi_spec
        described = document.paths["/classify"].post
        described["requestBody"]["content"] = _json(REQUEST)
        described["responses"][200]["content"] = _json(ANSWER)
        del described["responses"][404]
        described["responses"].update(_errors())
        return document


def _errors() -> dict[int, dict[str, Any]]:
    words: dict[int, list[str]] = {}
    for word, status in STATUS.items():
        words.setdefault(status, []).append(word)
    errors = {status: _error("Refused: " + ", ".join(these), these) for status, these in words.items()}
    return errors | {status: _error(text) for status, text in SERVER_ERRORS.items()}


def _error(description: str, words: list[str] | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"type": "string"} | ({"enum": words} if words else {})
    schema = {
        "type": "object",
        "required": ["error", "message"] if words else ["error"],
        "properties": {"error": error, "message": {"type": "string"}},
    }
    return {"description": description, "content": _json(schema)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
