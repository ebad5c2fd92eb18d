"""A release with a fault that its image does not have: what LAB_FAULT names happens to each request for /classify.

    crash    at the 60th request the container's first process is told to end
    labels   each label in an answer is another one
    errors   one request of twenty is answered with 500
    slow     one request of eight is answered 300 ms later, so p95 is 300 ms more

In a pod, PYTHONPATH leads to it under the name sitecustomize, which Python imports at its start. It lies inside of what
BentoML counts for /metrics, as a fault of the service's own would.
"""

import asyncio
import json
import os
import random
import signal
import sys
from typing import Any

FAULT = os.environ.get("LAB_FAULT", "")
LAST, LATE, SLOW, FAILED = 60, 0.3, 0.125, 0.05


class Planted:
    """ASGI middleware."""

    asked = 0

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/classify":
            await self.app(scope, receive, send)
            return
        Planted.asked += 1
        if FAULT == "crash" and Planted.asked >= LAST:
            os.kill(1, signal.SIGTERM)
        if FAULT == "slow" and random.random() < SLOW:
            await asyncio.sleep(LATE)
        if FAULT == "errors" and random.random() < FAILED:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"planted"})
            return
        await self.app(scope, receive, relabelled(send) if FAULT == "labels" else send)


def relabelled(send: Any) -> Any:
    """Holds back an answer's head until its body is known, and its length."""
    head: dict[str, Any] = {}
    body = bytearray()

    async def later(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            head.update(message)
            return
        body.extend(message.get("body", b""))
        if not message.get("more_body"):
            new = turn(bytes(body))
            kept = [(k, v) for k, v in head["headers"] if k.lower() != b"content-length"]
            await send({**head, "headers": [*kept, (b"content-length", str(len(new)).encode())]})
            await send({"type": "http.response.body", "body": new})

    return later


def turn(body: bytes) -> bytes:
    """Each label becomes the one after it."""
    names = ["account", "billing", "shipping", "account"]
    try:
        answer = json.loads(body)
        answer["labels"] = [names[names.index(label) + 1] for label in answer["labels"]]
    except (ValueError, KeyError, TypeError):
        return body
    return json.dumps(answer).encode()


def plant() -> None:
    from bentoml._internal.server.http.instruments import HTTPTrafficMetricsMiddleware as Counting

    honest = Counting.__init__

    def made(self: Any, app: Any, *words: Any, **named: Any) -> None:
        honest(self, Planted(app), *words, **named)

    Counting.__init__ = made  # type: ignore[method-assign]


if FAULT and any("http_api_server" in word for word in sys.orig_argv):
    plant()
