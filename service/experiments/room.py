"""What a container of the image takes, with the limits and restrictions of the manifests: memory, processor, texts/s.

    python experiments/room.py IMAGE [--seconds 20] [--cpus 1]

Prints a table with a row for each load. Memory is what `docker stats` says: without the files that the kernel keeps at
hand, so what the kubelet counts too (the working set). The container is gone afterwards.
"""

import argparse
import asyncio
import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
from load import Load, closed_loop
from serving import SERVICE, free_port

UNITS = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}
LOADS = (  # clients, texts, characters of a text: the last one is the largest that limits.py lets in
    ("at rest", 0, 0, 0),
    ("80 clients, 1 text", 80, 1, 0),
    ("80 clients, 64 texts of 2,000 characters", 80, 64, 2000),
)


@dataclass
class Watch:
    """MiB and cores of a container, as often as Docker says them."""

    name: str
    mib: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        while not self.over.is_set():
            said = docker("stats", "--no-stream", "--format", "{{.MemUsage}} {{.CPUPerc}}", self.name).split()
            self.mib.append(float(said[0][:-3]) * UNITS[said[0][-3:]])
            self.cores.append(float(said[-1].rstrip("%")) / 100)


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


@contextlib.contextmanager
def container(image: str, cpus: float) -> Iterator[tuple[str, str]]:
    """Its name and address, once it is ready."""
    port = free_port()
    name = f"room-{port}"
    files = f"{SERVICE / 'bentoml_configuration.yml'}:/etc/serving-lab/bentoml_configuration.yml:ro"
    given = {"BENTOML_CONFIG": "/etc/serving-lab/bentoml_configuration.yml", "BENTOML_HOME": "/var/lib/bentoml"}
    given |= {"BENTOML_DO_NOT_TRACK": "True", "OMP_WAIT_POLICY": "PASSIVE"}
    options = [word for key, value in given.items() for word in ("--env", f"{key}={value}")]
    options += ["--publish", f"127.0.0.1:{port}:3000", "--volume", files, "--cpus", f"{cpus:g}", "--memory", "1536m"]
    options += [
        "--read-only",
        "--tmpfs",
        "/var/lib/bentoml:mode=1777",
        "--tmpfs",
        "/tmp:mode=1777,exec",
        "--cap-drop",
        "ALL",
    ]
    docker("run", "--detach", "--rm", "--name", name, *options, image, "serve", "--host", "0.0.0.0", "--port", "3000")
    try:
        wait_ready(url := f"http://127.0.0.1:{port}")
        yield name, url
    finally:
        docker("rm", "--force", name)


def wait_ready(url: str, limit: float = 120.0) -> None:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        time.sleep(0.3)
    raise RuntimeError(f"the container was not ready in {limit:.0f} s")


def measure(name: str, url: str, clients: int, texts: int, characters: int, seconds: float) -> tuple[Load, Watch]:
    watch, load = Watch(name), Load()
    thread = threading.Thread(target=watch.look)
    thread.start()
    try:
        if clients:
            load = asyncio.run(closed_loop(url, clients=clients, seconds=seconds, texts=texts, characters=characters))
        else:
            time.sleep(seconds)
    finally:
        watch.over.set()
        thread.join()
    return load, watch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cpus", type=float, default=1)
    options = parser.parse_args()
    print("| load | MiB, on average | MiB, at most | cores | texts/s | ends |\n|---|---|---|---|---|---|")
    with container(options.image, options.cpus) as (name, url):
        for title, clients, texts, characters in LOADS:
            load, watch = measure(name, url, clients, texts, characters, options.seconds)
            mean, cores = (sum(some) / len(some) for some in (watch.mib, watch.cores))
            rate = f"{len(load.good()) * texts / options.seconds:.0f}" if clients else ""
            ends = ", ".join(f"{count} x {end}" for end, count in load.ends().items())
            print(f"| {title} | {mean:.0f} | {max(watch.mib):.0f} | {cores:.2f} | {rate} | {ends} |", flush=True)


if __name__ == "__main__":
    main()
