"""What a caller sees, and nothing more: `python -m labs.helpers.lesson.caller service|bento|image|cluster`.

Asks two texts of the service in service/, of the newest Bento in an empty folder, of the pushed image, or of the
Service in the cluster, and prints the status and the body, or why there is none. Incidents begin with it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import httpx

TEXTS = ["I was charged twice", "Where is my parcel?"]


def ask(url: str) -> str:
    """One line: the status and the body, or why there is no answer."""
    try:
        got = httpx.post(f"{url}/classify", json={"texts": TEXTS}, timeout=15)
        return f"POST /classify {TEXTS}\n{got.status_code} {got.text[:300]}"
    except httpx.HTTPError as broken:
        return f"POST /classify: {type(broken).__name__}: {broken}"


def ask_service() -> str:
    from grader.world.servers import served

    with served(Path("service"), Path("store")) as server:
        return server.problem or ask(server.url)


def ask_bento() -> str:
    from grader.world.servers import served

    with served(None, Path("store"), target="demo_text_intelligence:latest") as server:
        return server.problem or ask(server.url)


def ask_image() -> str:
    from grader.world.containers import running

    with running(os.environ["IMAGE"]) as box:
        return box.problem or ask(box.url)


def ask_cluster() -> str:
    from cluster.forward import forward
    from cluster.names import read_names

    with forward(read_names(), os.environ["NAMESPACE"], "service/demo-text-intelligence", "http") as way:
        return way.problem or ask(way.url)


if __name__ == "__main__":
    print({"service": ask_service, "bento": ask_bento, "image": ask_image, "cluster": ask_cluster}[sys.argv[1]]())
