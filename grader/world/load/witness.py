"""Says what holds in each worker process of a server that is measured, and changes nothing there: the file that
BENTOML_CONFIG names, BentoML's effective configuration, and what each dispatcher has learnt so far.

On this machine it lies beside the learner's service and is what is served: `labwitness:svc`. In a pod, which serves
the image as it is, PYTHONPATH leads to it under the name sitecustomize, which Python imports at its start.
"""

import gc
import hashlib
import importlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

EVERY = 0.25  # seconds between two lines
TRAINED = 9  # of the 11 batches of its training a dispatcher forgets the first two
FOLDER = Path(os.environ.get("LAB_WITNESS") or Path(os.environ.get("BENTOML_HOME", "/tmp")) / "witness")
COMMAND = sys.orig_argv
ROLE = COMMAND[COMMAND.index("--runner-name") + 1] if "--runner-name" in COMMAND else "api"


def about() -> dict[str, Any]:
    """What holds in this process."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    config = os.environ.get("BENTOML_CONFIG", "")
    runners = BentoMLContainer.runners_config.get()
    return {
        "pid": os.getpid(),
        "role": ROLE,
        "config": config,
        "sha256": hashlib.sha256(Path(config).read_bytes()).hexdigest() if config else "",
        "batching": {} if ROLE == "api" else {ROLE: dict(runners.get(ROLE, runners)["batching"])},
    }


def state(method: str, dispatcher: Any) -> dict[str, Any]:
    """What BentoML's CorkDispatcher has learnt: it thinks that n requests take a * n + b seconds."""
    learnt = dispatcher.optimizer
    return {
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
    """One line about the process, then one whenever something of a dispatcher has changed."""
    factory = None if ROLE == "api" else find_factory()
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / f"{ROLE}-{os.getpid()}.jsonl").open("w", buffering=1) as file:
        file.write(json.dumps(about()) + "\n")
        known: dict[str, Any] = {}
        while True:
            time.sleep(EVERY)
            for method, dispatcher in list(factory.dispatchers.items()) if factory else ():  # may come late
                if (now := state(method, dispatcher)) != known.get(method):
                    known[method] = now
                    file.write(json.dumps({"at": time.monotonic(), **now}) + "\n")


def find_factory() -> Any:
    """A runner's process has one RunnerAppFactory, with all of its dispatchers by method, soon after its start."""
    while "bentoml._internal.server.runner_app" not in sys.modules or not factories():
        time.sleep(EVERY)
    time.sleep(EVERY)  # until it is made whole
    return factories()[0]


def factories() -> list[Any]:
    return [thing for thing in gc.get_objects() if type(thing).__name__ == "RunnerAppFactory"]


if __name__ != "sitecustomize":
    svc = importlib.import_module("service").svc  # the learner's: no installation makes the kit's importable
if any("bentoml_cli.worker" in word or "bentoml_cli/worker" in word for word in COMMAND):  # not in the parent process
    threading.Thread(target=write, daemon=True).start()
