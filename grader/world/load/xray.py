"""Looks into each runner of a server that is measured: writes a line for each batch that leaves its dispatcher, and for
each request that the dispatcher gives up. Nothing of it is in the Bento: this file lies beside a copy of the service,
and `labxray:svc` is served.

A batch's `why`: `trained` (while it learns how long a batch takes, BentoML sends requests by rules of their own),
`full`, `alone` (one request, nobody with it) or `waited` (some, after the wait that it learnt, or behind a batch that
was computed).
"""

import asyncio
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Any

FOLDER = Path(os.environ.get("LAB_XRAY") or Path(os.environ.get("BENTOML_HOME", "/tmp")) / "xray")
COMMAND = sys.orig_argv
ROLE = COMMAND[COMMAND.index("--runner-name") + 1] if "--runner-name" in COMMAND else ""


def reason(size: int, most: int, training: bool) -> str:
    if training:
        return "trained"
    return "full" if size >= most else "alone" if size == 1 else "waited"


def look_into(dispatcher: Any, file: IO[str], role: str) -> None:
    """Wraps two methods of BentoML's CorkDispatcher (1.4.39): what comes in, and what leaves as a batch."""
    inbound, outbound = dispatcher.inbound_call, dispatcher.outbound_call

    def write(**facts: Any) -> None:
        file.write(json.dumps({"runner": role, **facts}) + "\n")

    async def sent(self: Any, jobs: Any, training: bool = False) -> None:
        now, began = time.time(), time.monotonic()
        size = sum(self.get_batch_size(job.data) for job in jobs)
        waits = [round(now - job.enqueue_time, 5) for job in jobs]
        await outbound(self, jobs, training=training)
        why = reason(size, self.max_batch_size, training)
        left = len(self._queue)
        took = round(time.monotonic() - began, 5)
        write(at=began, size=size, why=why, first=waits[0], last=waits[-1], took=took, left=left)

    async def asked(self: Any, data: Any) -> Any:
        began, task = time.monotonic(), asyncio.current_task()
        try:
            return await inbound(self, data)
        except asyncio.CancelledError:
            if task and not task.cancelling():  # given up by the dispatcher, not by who asked
                write(at=time.monotonic(), why="cancelled", waited=round(time.monotonic() - began, 5))
            raise

    dispatcher.inbound_call, dispatcher.outbound_call = asked, sent


def begin() -> None:
    from bentoml._internal.marshal.dispatcher import CorkDispatcher

    FOLDER.mkdir(exist_ok=True)
    look_into(CorkDispatcher, (FOLDER / f"{ROLE}-{os.getpid()}.jsonl").open("w", buffering=1), ROLE)


if ROLE and any("bentoml_cli.worker" in word or "bentoml_cli/worker" in word for word in COMMAND):
    begin()
if __name__ == "labxray":
    svc = importlib.import_module("service").svc  # the learner's
