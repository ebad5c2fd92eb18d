"""Mixed bursts: many requests at once, of 1, 2, 10 and 64 texts. Who is answered, and who hangs?

    python experiments/burst.py [--sizes 2 32 128] [--requests 48] [--limit 15] [FOLDER/TARGET ...]

Prints a table with a row for each max_batch_size and a column for each service; without one named, this folder's two.
Two bursts a cell: the second meets a dispatcher that has ended its training. `hung` counts requests without an answer
within --limit seconds.
"""

import argparse
import asyncio
import collections
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from serving import SERVICE, make_store, serve

TEXTS_A_REQUEST = (1, 2, 10, 64)
OURS = ("service:svc", "service_per_text:svc")


async def burst(url: str, *, requests: int, limit: float = 30.0) -> tuple[collections.Counter[str], float]:
    """Send `requests` mixed requests at once; returns how each ended ("200", "503", "hung", ...) and the seconds."""
    began = time.monotonic()
    async with httpx.AsyncClient(timeout=limit, limits=httpx.Limits(max_connections=None)) as client:
        sizes = [TEXTS_A_REQUEST[number % len(TEXTS_A_REQUEST)] for number in range(requests)]
        ends = await asyncio.gather(*(_ask(client, url, size, number) for number, size in enumerate(sizes)))
    return collections.Counter(ends), time.monotonic() - began


async def _ask(client: httpx.AsyncClient, url: str, size: int, number: int) -> str:
    texts = [f"parcel number {number} of {index} has not arrived" for index in range(size)]
    try:
        response = await client.post(f"{url}/classify", json={"texts": texts})
    except httpx.TimeoutException:
        return "hung"
    except httpx.HTTPError as error:
        return type(error).__name__
    if response.status_code == 200 and len(response.json()["labels"]) != size:
        return "wrong length"
    return str(response.status_code)


def batching(max_batch_size: int, max_latency_ms: int = 60_000) -> dict[str, Any]:
    """A whole configuration: both runners batch up to `max_batch_size`, and the budget is too long to shed anything."""
    settings = {"enabled": True, "max_batch_size": max_batch_size, "max_latency_ms": max_latency_ms}
    runners = {name: {"batching": settings} for name in ("embeddingrunner", "classifierrunner")}
    return {"version": 1, "api_server": {"max_runner_connections": 64}, "runners": runners}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 32, 128])
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument("--limit", type=float, default=15.0)
    parser.add_argument("services", nargs="*", metavar="FOLDER/TARGET", default=[SERVICE / s for s in OURS])
    options = parser.parse_args()
    services = [Path(service).resolve() for service in options.services]
    heads = ["max_batch_size", *(f"`{path.parent.name}/{path.name.partition(':')[0]}.py`" for path in services)]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    with tempfile.TemporaryDirectory() as home:
        store = make_store(Path(home))
        for size in options.sizes:
            cells = [twice(path, store, size, options.requests, options.limit) for path in services]
            print(f"| {size} | {' | '.join(cells)} |", flush=True)


def twice(path: Path, store: Path, size: int, requests: int, limit: float) -> str:
    with serve(path.parent, store=store, config=batching(size), target=path.name) as server:
        return ", then ".join(told(*asyncio.run(burst(server.url, requests=requests, limit=limit))) for _ in range(2))


def told(ends: collections.Counter[str], seconds: float) -> str:
    return ", ".join(f"{count} x {end}" for end, count in sorted(ends.items())) + f" in {seconds:.1f} s"


if __name__ == "__main__":
    main()
