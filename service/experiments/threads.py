"""What a spinning OpenMP costs where cores are shared: encode with a thread a core, alone and beside a busy neighbour.

    python experiments/threads.py

Each row is a process of its own, since OpenMP reads OMP_WAIT_POLICY once. The neighbour keeps one core busy.
"""

import multiprocessing
import os
import subprocess
import sys
import time

from serving import SERVICE, clean_environment

MEASURE = """
import sys, time
import torch
from weights import load_encoder
encoder = load_encoder()
for size in (1, 8, 32):
    texts = [f"parcel number {number} has not arrived" for number in range(size)]
    encoder.encode(texts, batch_size=size)
    began, count = time.monotonic(), 0
    while time.monotonic() - began < 2:
        encoder.encode(texts, batch_size=size)
        count += size
    print(f"{count / (time.monotonic() - began):.0f}", end=" | ")
print(torch.get_num_threads())
"""


def burn() -> None:
    while True:
        pass


def measure(title: str, **extra: str) -> None:
    environment = clean_environment() | extra
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=SERVICE, env=environment, capture_output=True, text=True, check=True
    )
    print(f"| {title} | {done.stdout.strip()} |", flush=True)


def main() -> None:
    print("| texts/s by batch size | 1 | 8 | 32 | threads |\n|---|---|---|---|---|")
    for neighbour in (False, True):
        busy = multiprocessing.Process(target=burn, daemon=True)
        if neighbour:
            busy.start()
            time.sleep(0.1)
        where = "one core busy: " if neighbour else "alone: "
        measure(where + "spinning (default)")
        measure(where + "OMP_WAIT_POLICY=PASSIVE", OMP_WAIT_POLICY="PASSIVE")
        measure(where + "one thread", OMP_NUM_THREADS="1")
        if neighbour:
            busy.kill()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
