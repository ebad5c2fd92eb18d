"""Lies beside the learner's service while it is measured, and is what is served: `labwitness:svc`.

Each process of the server loads it, so it can say what holds in that very process: the file that BENTOML_CONFIG names,
BentoML's effective configuration, and what each dispatcher has learnt so far. It changes nothing.
"""

import hashlib
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer

svc = importlib.import_module("service").svc  # the learner's: no installation makes the kit's importable
EVERY = 0.25  # seconds between two lines
TRAINED = 9  # of the 11 batches of its training a dispatcher forgets the first two
FOLDER = Path(os.environ["BENTOML_HOME"]) / "witness"
ROLE = sys.argv[sys.argv.index("--runner-name") + 1] if "--runner-name" in sys.argv else "api"
dispatchers: dict[str, Any] = {}


def about() -> dict[str, Any]:
    """What holds in this process."""
    config = os.environ.get("BENTOML_CONFIG", "")
    runners = BentoMLContainer.runners_config.get()
    batching = {r.name: dict(runners[r.name]["batching"]) for r in svc.runners if r.name in runners}
    return {
        "pid": os.getpid(),
        "role": ROLE,
        "config": config,
        "sha256": hashlib.sha256(Path(config).read_bytes()).hexdigest() if config else "",
        "batching": batching,
    }


def state(method: str, dispatcher: Any) -> dict[str, Any]:
    """What BentoML's CorkDispatcher has learnt: it thinks that n requests take a * n + b seconds."""
    learnt = dispatcher.optimizer
    return {
        "at": time.monotonic(),
        "method": method,
        "trained": len(learnt.o_stat) >= TRAINED,
        "a": float(learnt.o_a),
        "b": float(learnt.o_b),
        "wait": float(learnt.wait),
        "queued": len(dispatcher._queue),
        "max_batch_size": dispatcher.max_batch_size,
        "max_latency_ms": round(dispatcher.max_latency * 1000),
    }


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{ROLE}-{os.getpid()}.jsonl").open("w", buffering=1) as file:
        file.write(json.dumps(about()) + "\n")
        while True:
            time.sleep(EVERY)
            for method, dispatcher in list(dispatchers.items()):
                file.write(json.dumps(state(method, dispatcher)) + "\n")


def notice_dispatchers() -> None:
    """A runner's process makes its dispatchers once, in RunnerAppFactory: look at them there."""
    from bentoml._internal.server.runner_app import RunnerAppFactory

    make = RunnerAppFactory.__init__

    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        make(self, *args, **kwargs)
        dispatchers.update(self.dispatchers)

    RunnerAppFactory.__init__ = made  # type: ignore[method-assign]


if ROLE != "api":
    notice_dispatchers()
if any("bentoml_cli.worker" in word or "bentoml_cli/worker" in word for word in sys.argv):  # not in the parent process
    threading.Thread(target=write, daemon=True).start()
