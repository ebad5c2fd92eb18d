"""The yardstick: `SentenceTransformer.encode` at batch 32 in as many processes as cores, a thread each, nothing else.

What it gives is the most that a server of the same model on the same machine could answer if all that is not the model
cost nothing. It is measured beside each round, since machines differ, and one machine differs from hour to hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil

from grader.environ import child_environ
from grader.errors import LabError
from grader.processes import marked

BATCH = 32
# Run in service/, whose preprocess.py and weights.py are the ones that are served.
WORKER = f"""
import json, sys, time
import torch
from grader.world.load.texts import text
from labs.helpers.limit.asker import sized
from preprocess import prepare
from weights import load_encoder
torch.set_num_threads(1)
encoder = load_encoder()
first, made = int(sys.argv[1]), {{}}

def texts(tokens):
    if tokens not in made:
        numbers = range(first, first + 4096)
        made[tokens] = prepare([sized(n, tokens) if tokens else text(n) for n in numbers])
    return made[tokens]

encoder.encode(texts(0)[:64], batch_size={BATCH}, show_progress_bar=False)
print("ready", flush=True)
at = 0
for line in sys.stdin:
    begin, seconds, tokens = json.loads(line)
    given, size = texts(tokens), {BATCH} * (10 if tokens < 64 else 2)
    time.sleep(max(0.0, begin - time.monotonic()))
    began, done = time.monotonic(), 0
    while (spent := time.monotonic() - began) < seconds:
        chunk = [given[(at + i) % len(given)] for i in range(size)]
        encoder.encode(chunk, batch_size={BATCH}, show_progress_bar=False)
        at, done = at + size, done + size
    print(json.dumps([done, spent]), flush=True)
"""


class YardstickBroke(LabError):
    """A process of the yardstick ended: `output` is what it said."""

    def __init__(self, output: str) -> None:
        super().__init__("A process that encodes for the yardstick ended.", output[-600:])
        self.output = output


class Yardstick:
    """`with Yardstick(service) as raw: raw.measure()`: texts a second. The processes load the model once, and use no
    core between two measurements."""

    def __init__(self, service: Path, count: int = 0) -> None:
        self.service, self.count = service, count or psutil.cpu_count() or 1
        self.workers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Yardstick:
        environ = marked({**child_environ(), "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
        for number in range(self.count):
            command = [sys.executable, "-c", WORKER, str(900_000_000 + 10_000 * number)]
            pipe = subprocess.PIPE
            self.workers.append(
                subprocess.Popen(
                    command, cwd=self.service, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True
                )
            )
        for worker in self.workers:
            self.read(worker)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        for worker in self.workers:
            worker.kill()
            worker.communicate()

    def measure(self, seconds: float = 3.0, tokens: int = 0) -> float:
        """Texts a second of all processes together; texts of so many tokens, or (0) the tickets that a load sends.
        Raises YardstickBroke."""
        begin = time.monotonic() + 0.3
        for worker in self.workers:
            assert worker.stdin
            worker.stdin.write(json.dumps([begin, seconds, tokens]) + "\n")
            worker.stdin.flush()
        told = [json.loads(self.read(worker)) for worker in self.workers]
        return float(sum(done / spent for done, spent in told))

    def read(self, worker: subprocess.Popen[str]) -> str:
        assert worker.stdout and worker.stderr
        if not (line := worker.stdout.readline()):
            raise YardstickBroke(worker.stderr.read())
        return line
