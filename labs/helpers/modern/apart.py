"""The processes of one `bentoml serve` of a modern service, and what it says of itself while one stands still."""

from __future__ import annotations

import contextlib
import time

import httpx
import psutil

from grader.world.asker import Services
from grader.world.servers import Served, frozen

LARGE = 300.0  # MB: more than a process without torch and its model has
PATIENCE = 8.0  # seconds for an answer about health; a probe of the kubelet has five or fewer


def processes(server: Served) -> dict[str, float]:
    """The memory in MB of each worker process, by the service that it runs; "api" is the one that callers ask."""
    found: dict[str, float] = {}
    for role, ids in Services().workers(server).items():
        for one in ids:
            with contextlib.suppress(psutil.Error):
                found[role] = found.get(role, 0.0) + psutil.Process(one).memory_info().rss / 1e6
    return dict(sorted(found.items(), key=lambda item: item[0] != "api"))


def table(found: dict[str, float]) -> str:
    return "\n".join(f"{name:<14}{memory:6.0f} MB" for name, memory in found.items())


def stand_still(server: Served, part: str) -> dict[str, str]:
    """What two health paths say while that part's processes do nothing, and after how long."""
    parts = Services()
    with frozen(parts.workers(server).get(part, [])):
        return {path: ask(server, path) for path in ("/livez", "/readyz")}


def ask(server: Served, path: str) -> str:
    """The status, or why there is none, and the seconds that it took."""
    began = time.monotonic()
    try:
        told = str(httpx.get(f"{server.url}{path}", timeout=PATIENCE).status_code)
    except httpx.HTTPError as broken:
        told = f"no answer ({type(broken).__name__})"
    return f"{told} after {time.monotonic() - began:.1f} s"


def letter(found: dict[str, float]) -> str:
    """Question 11a's option that came true: which processes hold a model, by what they have in memory."""
    others = [name for name in found if name != "api"]
    if not others:
        return "a" if found.get("api", 0) > LARGE else "c"
    return "b"
