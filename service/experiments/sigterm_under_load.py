"""What is lost when `bentoml serve` gets SIGTERM under load, as Kubernetes sends it when a pod goes.

    python experiments/sigterm_under_load.py [--clients 20] [--target service:svc]

API server and runners get the signal together, so a request that is between them loses its runner.
"""

import argparse
import asyncio
import tempfile
import threading
import time
from pathlib import Path

from burst import batching
from load import Load, closed_loop
from serving import Server, make_store, serve, stop


def end_under_load(server: Server, clients: int) -> tuple[dict[str, int], float]:
    """Load for 8 s, SIGTERM in the middle: how the requests ended that ended after it, and when the server was gone."""
    loads: list[Load] = []
    load = closed_loop(server.url, clients=clients, seconds=8)
    thread = threading.Thread(target=lambda: loads.append(asyncio.run(load)))
    thread.start()
    time.sleep(4)
    signalled = time.monotonic()
    seconds = stop(server, grace=30)
    thread.join()
    return loads[0].since(signalled).ends(), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default="service:svc")
    options = parser.parse_args()
    print("| round | how requests ended after SIGTERM | all processes gone after |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as home:
        store = make_store(Path(home))
        for number in range(1, options.rounds + 1):
            with serve(store=store, config=batching(32), target=options.target) as server:
                after, seconds = end_under_load(server, options.clients)
            told = ", ".join(f"{count} x {end}" for end, count in after.items())
            print(f"| {number} | {told} | {seconds:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
