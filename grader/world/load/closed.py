"""The closed loop: each user asks, waits for the answer, and asks again. Locust, without its web page.

What a closed loop cannot show: while the server stalls nobody asks, so the requests that would have waited are missing
from its figures (poisson.py sends them all the same).
"""

from __future__ import annotations

import json
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from grader.world.load.log import Log, Request
from grader.world.load.sender import PATH, PATIENCE, Meter, send
from grader.world.load.texts import pick


def run(url: str, users: int = 80, seconds: float = 15, first: int = 0, repeat: int = 0) -> Log:
    """Lets that many users ask for `seconds`, one text a request: numbers `first` and up (texts.py), or the same
    `repeat` texts over and over. Raises LabError when the address is no place to measure."""
    options = {"url": url, "users": users, "seconds": seconds, "first": first, "repeat": repeat}
    return send("closed", options)


def main(options: dict[str, Any], folder: Path) -> None:
    """In the sender's own process: importing Locust makes Python's sockets cooperative, for good."""
    import gevent
    from locust import FastHttpUser, constant, task
    from locust.env import Environment
    from locust.exception import StopUser

    asked, names, requests = count(), count(), list[Request]()

    class Person(FastHttpUser):
        host = options["url"]
        wait_time = constant(0)
        network_timeout = connection_timeout = PATIENCE

        def on_start(self) -> None:
            self.name = next(names)

        @task
        def ask(self) -> None:
            sent = time.monotonic() - meter.began
            if sent >= options["seconds"]:
                raise StopUser
            text = pick(next(asked), options["first"], options["repeat"])
            with self.client.post(PATH, json={"texts": [text]}, catch_response=True) as answer:
                ended = time.monotonic() - meter.began
                requests.append(Request(self.name, sent, sent, ended, end_of(answer)))
                answer.success()
            if requests[-1].end == "refused":
                gevent.sleep(0.1)  # nobody listens: do not spin

    environment = Environment(user_classes=[Person])
    runner = environment.create_local_runner()
    meter = Meter()
    runner.start(options["users"], spawn_rate=options["users"])
    gevent.sleep(options["seconds"])
    facts = {"loop": "closed", "users": options["users"], "seconds": options["seconds"], **meter.read()}
    deadline = time.monotonic() + PATIENCE
    while runner.user_count and time.monotonic() < deadline:
        gevent.sleep(0.05)
    runner.quit()
    Log(requests, facts).save(folder)


def end_of(answer: Any) -> str:
    """The status, or in one word why there is none."""
    if answer.status_code:
        return str(answer.status_code)
    name = type(answer.error).__name__
    return {"ConnectionRefusedError": "refused", "timeout": "timeout", "TimeoutError": "timeout"}.get(name, name)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
