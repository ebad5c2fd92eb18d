"""The ASGI layer around the service: refuses what `limits.py` refuses, speaks JSON in errors, and signs every answer.

BentoML's JSON endpoint alone reads a body of any size and any content type, answers 500 to deep nesting, and writes an
error's body as a bare JSON string (measured on 1.4.39: tests/test_service_live.py).

BentoML puts such a layer outside its own metrics, so a request refused here is in none of BentoML's counters: hence the
`refused` counter that is passed in.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from limits import MAX_BYTES, Refused, check_content_type, read_texts, refuse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# A client that is still sending may never read an answer: the closed connection reaches it first. So what is too large
# is read to its end and thrown away, up to here.
DRAIN_BYTES = 64 << 20
ERROR_WORDS = {405: "method_not_allowed", 500: "internal", 503: "overloaded"}


class Guard:
    """ASGI middleware for one path. `headers()` gives the headers of every answer; `refused(error)` counts refusals."""

    def __init__(
        self, app: Any, *, path: str, headers: Callable[[], dict[str, str]], refused: Callable[[str], None]
    ) -> None:
        self.app, self.path, self.headers, self.refused = app, path, headers, refused

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        signed = self._signed(send)
        if scope["path"] != self.path:
            return await self.app(scope, receive, signed)
        if scope["method"] != "POST":
            return await self.app(scope, receive, _json_errors(signed))
        try:
            body = await read_body(scope, receive)
            read_texts(body)
        except Refused as refusal:
            self.refused(refusal.error)
            return await send_error(signed, refusal.status, refusal.error, refusal.message)
        except ConnectionResetError:  # the client went away while sending: nobody is left to answer
            return None
        return await self.app(scope, _replay(body, receive), _json_errors(signed))

    def _signed(self, send: Send) -> Send:
        async def send_signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in self.headers().items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        return send_signed


async def read_body(scope: Message, receive: Receive) -> bytes:
    """Return the body, at most MAX_BYTES of it held in memory. Raises Refused, or ConnectionResetError."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    parts: list[bytes] = []
    size, more = 0, True
    while more and size <= DRAIN_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= MAX_BYTES:
            parts.append(part)
    if size > MAX_BYTES:
        raise refuse("body_too_large", f"more than {MAX_BYTES} bytes")
    check_content_type(headers.get(b"content-type", ""))
    return b"".join(parts)


async def send_error(send: Send, status: int, error: str, message: str) -> None:
    """Answer with the one form that all errors have: {"error": a word, "message": a sentence}."""
    body = json.dumps({"error": error, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read to the application once; what follows (a disconnect) comes from the server."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _json_errors(send: Send) -> Send:
    """Put BentoML's own errors (a JSON string, or plain text) into the form of `send_error`."""
    failed = 0

    async def send_json(message: Message) -> None:
        nonlocal failed
        if message["type"] == "http.response.start" and message["status"] >= 400:
            failed = message["status"]
        elif not failed:
            await send(message)
        elif not message.get("more_body", False):
            word = ERROR_WORDS.get(failed, "failed")
            await send_error(send, failed, word, EXPLANATIONS.get(word, f"the service answered {failed}"))

    return send_json


EXPLANATIONS = {
    "method_not_allowed": "POST a JSON object to this path",
    "internal": "the service failed; its log has the reason",
    "overloaded": "a runner gave up on this request after its max_latency_ms; try again",
}
