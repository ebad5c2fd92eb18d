"""`kubectl port-forward`, and proof that what answers on the local port is ours.

with forward(names, "ml-serving", "service/demo-text-intelligence", 80) as local:
    if local.problem:  # a taken port, no such Service, no pod behind it: facts, not exceptions
        ...
    httpx.get(local.url)

With a port that is taken on 127.0.0.1, kubectl still starts, on [::1] alone, and requests to 127.0.0.1 reach whoever
holds the port. So the address is named, and the listener has to be the process that was started here.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.engine import environ
from cluster.names import Names
from grader.processes import free_port, is_ours, listener, started


@dataclass
class Forward:
    """A forward; `problem` is empty while it works, and otherwise what kubectl said, or who holds the port."""

    url: str
    problem: str = ""


@contextlib.contextmanager
def forward(
    names: Names, namespace: str, target: str, port: int | str, local: int | None = None, limit: float = 15.0
) -> Iterator[Forward]:
    """A forward from a port of this machine (`local`, or a free one) to `target`; gone when the block is left."""
    number = local or free_port()
    one = Forward(f"http://127.0.0.1:{number}")
    command = ["kubectl", "--context", names.context, "-n", namespace, "port-forward", "--address", "127.0.0.1"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "log"
        with started([*command, target, f"{number}:{port}"], env=environ(), log=log) as (process, mark):
            deadline = time.monotonic() + limit
            while not one.problem and not is_ours(holder := listener(number), mark):
                if process.poll() is not None:
                    one.problem = log.read_text().strip() or f"kubectl ended with {process.returncode}"
                elif holder is not None:
                    one.problem = (
                        f"port {number} is held by {holder.name()} (process {holder.pid}), not by this forward"
                    )
                elif time.monotonic() > deadline:
                    one.problem = f"no forward after {limit:g} s: {log.read_text().strip()}"
                time.sleep(0.05)
            yield one
