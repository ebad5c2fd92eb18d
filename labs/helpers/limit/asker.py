"""The closed loop at the least cost: each client asks, waits for the answer and asks again, on a connection of its own.

What a sender uses of a core is taken from the server, so a request here is bytes that are ready, and an answer is whole
when the length that its head names has come. `./lab bench senders` measures what it uses, beside Locust and aiohttp.
Its log has the form of grader/world/load/log.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from grader.world.load.log import Log, Request
from grader.world.load.texts import pick
from labs.helpers.limit.contestant import TEXT

PATIENCE = 20.0  # seconds that a request waits for its answer; the reference service gives up after 15
AGAIN = 0.05  # seconds before a client whose connection broke opens another


@dataclass(frozen=True)
class Load:
    """`warm` seconds come before the `seconds` that count. `tokens`: of each text; 0: the kit's tickets as they are."""

    clients: int = 80
    seconds: float = 8.0
    warm: float = 4.0
    tokens: int = 0


class Answer(NamedTuple):
    status: int
    closes: bool  # the server ends the connection after it


def read_answer(data: bytes) -> Answer | None:
    """The answer in these bytes; None while it is not whole. Raises ValueError for what is no HTTP/1.x."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return None
    fields = head.lower() + b"\r\n"
    at = fields.find(b"\r\ncontent-length:")
    if at >= 0:
        whole = len(body) >= int(fields[at + 17 : fields.index(b"\r\n", at + 17)])
    else:
        whole = b"chunked" in fields and body.endswith(b"0\r\n\r\n")
    return Answer(int(head[9:12]), b"\r\nconnection: close\r\n" in fields) if whole else None


class Requests:
    """Makes requests as bytes, a new text in each."""

    def __init__(self, path: str, template: str, first: int, tokens: int) -> None:
        self.before, self.after = (part.encode() for part in template.split(TEXT))
        self.head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self.numbers, self.tokens = count(first), tokens

    def make(self) -> bytes:
        number = next(self.numbers)
        text = sized(number, self.tokens) if self.tokens else pick(number, 0, 0)
        body = self.before + json.dumps(text)[1:-1].encode() + self.after
        return f"{self.head}{len(body)}\r\n\r\n".encode() + body


# Each is one token of MiniLM's vocabulary (tests/test_limit.py), so a text of n of them has n tokens and the two that
# frame every text.
WORDS = """
parcel order late card money account email phone street house city letter price paid lost sent box door week month
morning evening driver office shop store customer service help need want change wrong right open close today again
""".split()  # noqa: SIM905


def sized(number: int, tokens: int) -> str:
    """A text of so many tokens, framing ones included: the number's digits to the base of len(WORDS), as words. No
    other number gives it, as long as the number has no more digits than the text has words."""
    words, rest = list[str](), number
    for place in range(max(1, tokens - 2)):
        rest, digit = divmod(rest, len(WORDS))
        words.append(WORDS[(digit + place) % len(WORDS)])
    return " ".join(words)


class Crowd:
    """All clients of one load, and what became of their requests."""

    def __init__(self, places: Sequence[tuple[str, int]], load: Load, requests: Requests) -> None:
        self.places, self.load, self.requests = places, load, requests
        self.ended = list[Request]()
        self.people = [Person(self, number) for number in range(load.clients)]
        self.begin = self.stop = 0.0

    async def run(self) -> None:
        await asyncio.gather(*(person.connect() for person in self.people))
        self.begin = time.monotonic()
        self.stop = self.begin + self.load.warm + self.load.seconds
        print(json.dumps({"begin": self.begin}), flush=True)
        for person in self.people:
            person.ask()
        while time.monotonic() < self.stop or any(person.sent for person in self.people):
            await asyncio.sleep(0.25)
            self.give_up()

    def give_up(self) -> None:
        for person in self.people:
            if person.sent and time.monotonic() - person.sent > PATIENCE:
                person.finish("timeout")
                person.leave()


class Person(asyncio.Protocol):
    def __init__(self, crowd: Crowd, number: int) -> None:
        self.crowd, self.number = crowd, number
        self.sent, self.data = 0.0, b""
        self.transport: asyncio.Transport | None = None

    async def connect(self) -> None:
        try:
            host, port = self.crowd.places[self.number % len(self.crowd.places)]
            await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        except OSError:
            self.sent = time.monotonic()
            self.finish("refused")
            self.come_again()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self.crowd.begin:
            self.ask()

    def ask(self) -> None:
        if self.transport is None or time.monotonic() >= self.crowd.stop:
            return self.leave()
        self.data, self.sent = b"", time.monotonic()
        self.transport.write(self.crowd.requests.make())

    def data_received(self, data: bytes) -> None:
        self.data += data
        if self.sent and (answer := read_answer(self.data)):
            self.finish(str(answer.status))
            if answer.closes:
                self.leave()  # connection_lost comes, and another is opened
            else:
                self.ask()

    def finish(self, end: str) -> None:
        begin, now = self.crowd.begin, time.monotonic()
        self.crowd.ended.append(Request(self.number, self.sent - begin, self.sent - begin, now - begin, end))
        self.sent = 0.0

    def connection_lost(self, _: Exception | None) -> None:
        self.transport = None
        if self.sent:
            self.finish("closed")
        self.come_again()

    def come_again(self) -> None:
        loop = asyncio.get_running_loop()
        if not self.crowd.begin or time.monotonic() + AGAIN < self.crowd.stop:
            loop.call_later(AGAIN, lambda: loop.create_task(self.connect()))

    def leave(self) -> None:
        if self.transport:
            self.transport.abort()


def main(options: dict[str, Any], folder: Path) -> None:
    """In the sender's own process: the first line that it prints says when it began (time.monotonic())."""
    load, urls = Load(**options["load"]), [urlsplit(url) for url in options["urls"]]
    requests = Requests(options["path"], options["template"], options["first"], load.tokens)
    crowd = Crowd([(url.hostname or "", url.port or 80) for url in urls], load, requests)
    asyncio.run(crowd.run())
    sender = {"loop": "closed", "users": load.clients, "seconds": load.warm + load.seconds, "began": crowd.begin}
    Log(crowd.ended, {**sender, "load": asdict(load)}).save(folder)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
