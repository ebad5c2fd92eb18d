"""Code that runs in a pod beside the service: callers who ask at a steady rate, and a look at pods' pages.

What `kubectl exec` started goes on when kubectl is ended, so each of these ends when nobody holds its input any more.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cluster.engine import environ
from cluster.names import read_names
from grader.processes import wait_until

# A request each 1/rate seconds, whether the ones before were answered or not, as people come. Each has a connection of
# its own, so that a Service chooses a pod each time. Arguments: URL, seconds, rate, and the Host header, if any.
ASK = """
import json, sys, threading, time, urllib.error, urllib.request
url, seconds, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
headers = {"content-type": "application/json", **({"host": sys.argv[4]} if len(sys.argv) > 4 else {})}
body = json.dumps({"texts": ["I was charged twice"]}).encode()
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

def ask():
    t = time.time()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as got:
            said = str(got.status)
    except urllib.error.HTTPError as refused:
        said = str(refused.code)
    except Exception as broken:
        said = type(getattr(broken, "reason", broken)).__name__
    print(f"{t:.3f} {said} {time.time() - t:.3f}\\n", end="", flush=True)

began, asked = time.time(), []
while not over.wait(max(0, began + len(asked) / rate - time.time())) and time.time() - began < seconds:
    asked.append(threading.Thread(target=ask, daemon=True))
    asked[-1].start()
for one in asked:
    one.join(11)
"""
# The same from eight callers who keep their connections open, as clients with a pool do: each asks, waits, and asks
# again at its time. One that finds its connection cut has lost that request: it may not ask twice what changes things.
ASK_KEPT = """
import http.client, json, sys, threading, time
from urllib.parse import urlsplit
url, seconds, rate = urlsplit(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
body, over = json.dumps({"texts": ["I was charged twice"]}).encode(), threading.Event()
headers = {"content-type": "application/json", **({"host": sys.argv[4]} if len(sys.argv) > 4 else {})}
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
began, people = time.time(), 8

def ask_on(number):
    connection, due = None, began + number / rate
    while not over.wait(max(0, due - time.time())) and time.time() - began < seconds:
        t = time.time()
        try:
            connection = connection or http.client.HTTPConnection(url.hostname, url.port, timeout=10)
            connection.request("POST", url.path, body, headers)
            answer = connection.getresponse()
            answer.read()
            said = str(answer.status)
        except Exception as broken:
            said, connection = type(broken).__name__, None
        print(f"{t:.3f} {said} {time.time() - t:.3f}\\n", end="", flush=True)
        due += people / rate

crowd = [threading.Thread(target=ask_on, args=(number,)) for number in range(people)]
for one in crowd: one.start()
for one in crowd: one.join()
"""


class Answer(NamedTuple):
    """`at`: the pod's clock, seconds; `said`: a status, or the kind of the error; `waited`: seconds."""

    at: float
    said: str
    waited: float


@contextlib.contextmanager
def running(namespace: str, pod: str, code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Python code in a pod, its output at hand; told to end when the block is left."""
    command = ["kubectl", "--context", read_names().context, "-n", namespace, "exec", "-i", pod, "--", "python", "-c"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*command, code, *words], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environ()
    )
    try:
        yield process
    finally:
        if process.stdin:
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


@contextlib.contextmanager
def asking(
    namespace: str, pod: str, url: str, rate: float, host: str = "", most: float = 600, code: str = ASK
) -> Iterator[list[Answer]]:
    """What callers in that pod were answered so far: grows while the block runs, complete when it is left."""
    answers: list[Answer] = []
    with running(namespace, pod, code, url, str(most), str(rate), *([host] if host else [])) as process:
        reader = threading.Thread(target=collect, args=(process, answers))
        reader.start()
        wait_until(lambda: bool(answers), 20)
        yield answers
    reader.join(5)
    answers.sort()


def lateness(answers: Sequence[Answer], rate: float) -> float:
    """By how many seconds a request of ASK left after its time, at most: `answers` in the order in which they left."""
    return max((a.at - answers[0].at - i / rate for i, a in enumerate(answers)), default=0.0)


def collect(process: subprocess.Popen[str], answers: list[Answer]) -> None:
    for line in process.stdout or ():
        at, said, waited = line.split()
        answers.append(Answer(float(at), said, float(waited)))
