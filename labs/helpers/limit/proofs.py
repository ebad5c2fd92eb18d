"""Whether a step is applied in the running server, seen from outside: one that is not would be measured as if it
were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import httpx
import psutil

from labs.helpers.limit.contestant import TEXT

TRACED = "x-bentoml-request-id"  # in every answer of a path that is traced
EMBEDDER = "embeddingrunner"


class Serving(Protocol):
    @property
    def url(self) -> str: ...
    def workers(self) -> dict[str, list[int]]: ...


def not_applied(server: Serving, wanted: Mapping[str, object]) -> str:
    """In words, what is not as wanted (see `seen`); "" when all is."""
    found = dict(seen(server))
    wrong = [f"{key} is {found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]
    return f"the step is not applied: {'; '.join(wrong)}" if wrong else ""


def seen(server: Serving) -> Iterator[tuple[str, object]]:
    """uvloop, httptools: loaded by the API server's process; traced: a request gets an id; embedders: how many
    processes; onnxruntime: loaded by all of these; nice: by how much they give way to the API server."""
    pids = server.workers()
    api, embedders = pids.get("api", []), pids.get(EMBEDDER, [])
    for name in ("uvloop", "httptools"):
        yield name, bool(api) and all(has_loaded(pid, name) for pid in api)
    body = {"texts": [TEXT]}
    yield "traced", TRACED in httpx.post(f"{server.url}/classify", json=body, timeout=30).headers
    yield "embedders", len(embedders)
    yield "onnxruntime", bool(embedders) and all(has_loaded(pid, "onnxruntime") for pid in embedders)
    yield "nice", niceness(embedders) - niceness(api)


def niceness(pids: Sequence[int]) -> int:
    return max((int(psutil.Process(pid).nice()) for pid in pids), default=0)


def has_loaded(pid: int, name: str) -> bool:
    """Whether a compiled module of that package is in the process's memory (Linux; elsewhere as psutil sees it)."""
    maps = Path(f"/proc/{pid}/maps")
    if maps.exists():
        return f"/{name}/" in maps.read_text()
    return any(f"/{name}/" in one.path for one in psutil.Process(pid).memory_maps())
