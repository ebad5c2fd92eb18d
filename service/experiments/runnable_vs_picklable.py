"""The kit's runners (service.py) against those that the store gives (service_per_text.py), under the same loads.

    python experiments/runnable_vs_picklable.py [--seconds 8]

Cost is processor time of all the server's processes for each text; memory is what the processes do not share (USS).
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import psutil
from burst import batching
from load import Load, closed_loop
from serving import Server, make_store, serve

LOADS = ((1, 1), (80, 1), (8, 64))  # clients, texts a request


def spent(server: Server) -> dict[int, float]:
    """Processor seconds of each process so far."""
    return {process.pid: sum(process.cpu_times()[:2]) for process in server.processes()}


def measure(server: Server, clients: int, texts: int, seconds: float) -> tuple[Load, float, float]:
    """Returns the load after a warm-up, the texts answered a second, and the processor milliseconds a text."""
    asyncio.run(closed_loop(server.url, clients=clients, seconds=2, texts=texts))
    before, began = spent(server), time.monotonic()
    load = asyncio.run(closed_loop(server.url, clients=clients, seconds=seconds, texts=texts))
    took, after = time.monotonic() - began, spent(server)
    answered = len(load.good()) * texts
    used = sum(after[pid] - before[pid] for pid in after if pid in before)
    return load, answered / took, 1000 * used / max(answered, 1)


def memory(server: Server) -> str:
    """Megabytes that each process has for itself, by its part in the server."""
    parts = []
    for process in server.processes():
        line = process.cmdline()
        name = line[line.index("--runner-name") + 1] if "--runner-name" in line else "api server or supervisor"
        parts.append(f"{name} {process.memory_full_info().uss / 1e6:.0f}")
    return ", ".join(sorted(parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    seconds = parser.parse_args().seconds
    heads = ["runners", "clients x texts", "texts/s", "p50, p95 ms", "ms of processor a text", "ends"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    with tempfile.TemporaryDirectory() as home:
        store = make_store(Path(home))
        for target in ("service:svc", "service_per_text:svc"):
            with serve(store=store, config=batching(64), target=target) as server:
                for clients, texts in LOADS:
                    load, rate, cost = measure(server, clients, texts, seconds)
                    waits = f"{1000 * load.percentile(0.5):.0f}, {1000 * load.percentile(0.95):.0f}"
                    ends = ", ".join(f"{count} x {end}" for end, count in load.ends().items())
                    cells = [target, f"{clients} x {texts}", f"{rate:.0f}", waits, f"{cost:.1f}", ends]
                    print(f"| {' | '.join(cells)} |", flush=True)
                load_average = f"machine's load {psutil.getloadavg()[0]:.1f}"
                print(f"| {target} | MB of its own: {memory(server)} | | | | {load_average} |", flush=True)


if __name__ == "__main__":
    main()
