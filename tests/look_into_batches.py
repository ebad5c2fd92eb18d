"""Each runner's batches under two budgets, seen by the X-ray of lab 07: `.venv/bin/python tests/look_into_batches.py`.

Prints a table: docs/releases.md has one. It fails where what was seen leaving is not what /metrics counted. A minute.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

from service_server import SERVICE, service_module, serving

from labs.helpers.load import xray

BUDGETS = {"10 s": 10_000, "150 ms": 150}
CLIENTS, SECONDS, SIZE = 40, 6, 32
RUNNERS = {"embedder": "embeddingrunner", "classifier": "classifierrunner"}


def look(store: Path, milliseconds: int) -> xray.Xray:
    config = service_module("burst").batching(SIZE, milliseconds)
    with xray.looked_into(config, SERVICE, store) as server:
        return xray.load(server, CLIENTS, SECONDS)


def row(seen: xray.Xray, budget: str, title: str) -> str:
    runner = RUNNERS[title]
    whys = Counter(event["why"] for event in seen.events if event["runner"] == runner)
    told = ", ".join(f"{whys[why]} {why}" for why in xray.WHYS if whys[why])
    cells = [budget, title, *map(str, seen.sums(runner)), told, str(whys["cancelled"])]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    print("| budget | runner | batches | requests in them | why they left | cancelled |\n|---|---|---|---|---|---|")
    agree = True
    with tempfile.TemporaryDirectory() as home:
        store = serving.make_store(Path(home))
        for budget, milliseconds in BUDGETS.items():
            seen = look(store, milliseconds)
            agree &= seen.agrees()
            print("\n".join(row(seen, budget, title) for title in RUNNERS), flush=True)
    sys.exit(not agree)


if __name__ == "__main__":
    main()
