"""A low, steady load: four requests a second, three on connections of their own and one on a connection that stays."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

PATIENCE = 20  # seconds for an answer; the service itself gives up after 15
JSON = {"content-type": "application/json"}


@dataclass
class Clients:
    """`answers` has (when it was asked, "200" or how else it ended); a request's end never holds up the next."""

    port: int
    answers: list[tuple[float, str]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    open: Counter[float] = field(default_factory=Counter)

    def ask(self, connection: http.client.HTTPConnection) -> str:
        began = time.monotonic()
        self.open[began] += 1
        try:
            how = post(connection, json.dumps({"texts": [f"my parcel is late, {began}"]}).encode())
        finally:
            del self.open[began]
        self.answers.append((began, how))
        return how

    def ask_once(self) -> None:
        self.ask(connect(self.port))

    def keep_asking(self) -> None:
        connection = connect(self.port)
        while not self.stop.wait(1):
            self.ask(connection)  # after a failure it connects anew by itself

    def between(self, began: float, ended: float) -> dict[str, int]:
        """How the requests that were asked in that time ended; waits for those that are still open."""
        while any(began <= at <= ended for at in list(self.open)):
            time.sleep(0.1)
        return dict(sorted(Counter(how for at, how in list(self.answers) if began <= at <= ended).items()))


def connect(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)


def post(connection: http.client.HTTPConnection, body: bytes, stay: bool = True) -> str:
    """The status of the answer, or the name of what came in place of one."""
    try:
        connection.request("POST", "/classify", body, JSON)
        answer = connection.getresponse()
        answer.read()
        return str(answer.status)
    except (OSError, http.client.HTTPException) as broken:
        connection.close()
        return {"TimeoutError": "time-out"}.get(type(broken).__name__, "cut off")


@contextmanager
def steady_clients(port: int) -> Iterator[Clients]:
    clients = Clients(port)
    with ThreadPoolExecutor(200) as pool:
        pool.submit(clients.keep_asking)

        def ask_on_time() -> None:
            while not clients.stop.wait(1 / 3):
                pool.submit(clients.ask_once)

        pool.submit(ask_on_time)
        try:
            yield clients
        finally:
            clients.stop.set()
