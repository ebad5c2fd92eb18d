"""The kit's embedding runner on a GPU, beside the same runner on the machine's cores: the encoder alone, and the
reference service under a load. Both in one run, since a GPU's machine has other cores than the next."""

from __future__ import annotations

import shutil
import statistics
import sys
from collections.abc import Sequence

import psutil
import yaml

from grader.entry import say
from grader.environ import child_environ
from grader.errors import LabError
from grader.model import Facts
from grader.processes import run
from grader.workspace import copy_tree
from grader.world.servers import Served
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment
from labs.helpers.limit import rounds
from labs.helpers.limit.asker import Load
from labs.helpers.limit.contestant import Contestant

EMBEDDER = "embeddingrunner"
ROUNDS, LOAD = 3, Load(clients=80, seconds=4, warm=3)
SETTINGS = {"cpu": False, "gpu": True}  # whether the embedder is on a GPU
SERVERS = 8  # API processes: one of them reads and writes JSON for so many callers that it is the narrow place

# In service/, with the store: milliseconds of one `encode` of so many texts, the devices in turn, without the first of
# each. What comes back is an array of numpy, so the GPU has ended.
ALONE = """
import json, sys, time
import bentoml, torch
from tickets import held_out

texts = [text for text, _ in held_out(600)]
encoders = {"cpu": bentoml.picklable_model.load_model("demo_embedder:latest").to("cpu"),
            "gpu": bentoml.picklable_model.load_model("demo_embedder:latest").to("cuda")}

def milliseconds(name, size, turn):
    some = (texts[turn:] + texts[:turn])[:size]
    began = time.perf_counter()
    encoders[name].encode(some, batch_size=size, show_progress_bar=False)
    return 1000 * (time.perf_counter() - began)

seen = {name: {} for name in encoders}
for size in (1, 8, 32, 256):
    times = {name: [] for name in encoders}
    for turn in range(11):
        for name in encoders:
            times[name].append(milliseconds(name, size, turn))
    for name, found in times.items():
        seen[name][str(size)] = found[1:]
largest = abs(encoders["cpu"].encode(texts) - encoders["gpu"].encode(texts)).max()
print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "largest_difference": float(largest),
                  "alone": seen}))
"""
HAS_GPU = "import torch; print(torch.cuda.is_available())"


def decide_faster(seen: Facts) -> Said:
    """Confirmed where it is faster alone and behind the service, by more than the rounds' own spread."""
    alone = {size: ratio(seen["alone"]["cpu"][size], seen["alone"]["gpu"][size]) for size in ("1", "32")}
    rates = {name: [entry["goodput"] for entry in entries] for name, entries in seen["served"].items()}
    named = {name: f"{statistics.median(found):.0f}" for name, found in rates.items()}
    faster = [*(one > 1 for one in alone.values()), min(rates["gpu"]) > max(rates["cpu"])]
    told = f"{seen['gpu']}, {seen['cpus']} cores: a text alone {alone['1']:.1f} times as fast, 32 together "
    told += f"{alone['32']:.1f} times; good answers a second: {', '.join(f'{n} {r}' for n, r in named.items())}"
    return Said(Outcome.CONFIRMED if all(faster) else Outcome.DEPENDS if any(faster) else Outcome.REFUTED, told)


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    return statistics.median(slow) / statistics.median(fast)


@experiment(decide_faster, minutes=True)
def faster(place: Place) -> Facts:
    """Raises NotRun without a GPU, or where a setting does not run on what it names."""
    if run([sys.executable, "-c", HAS_GPU], 120, place.scratch, child_environ()).stdout.split()[-1:] != ["True"]:
        raise NotRun("No GPU that this torch can use.", "It needs a CUDA build of torch, and a driver.")
    service, store = place.kit / "service", str(place.store())
    alone = served.last_line(served.python(place, ["-W", "ignore", "-c", ALONE], service, BENTOML_HOME=store))
    copy_tree(service, place.scratch / "service")
    seen: dict[str, list[Facts]] = {name: [] for name in SETTINGS}
    for turn in range(ROUNDS):
        for at, (name, gpu) in enumerate(SETTINGS.items()):
            seen[name].append(measure(place, gpu, turn * len(SETTINGS) + at))
            say(f"{name}: {seen[name][-1]['goodput']:.0f} good answers a second, {seen[name][-1]['cores']}")
    return {**alone, "cpus": psutil.cpu_count(), "served": seen}


def measure(place: Place, gpu: bool, number: int) -> Facts:
    options = ["--api-workers", str(SERVERS)]
    config = configuration(place, gpu)
    with served.in_folder(place.scratch / "service", place.store(), "service:svc", config, None, options, 90) as server:
        served.ask(server)
        if on_gpu(server) is not gpu:
            raise NotRun(f"The embedding runner is {'not ' * gpu}on the GPU.", server.log(20))
        before = batches(server)
        found = rounds.ask(Contestant("", "", lambda: None), server, LOAD, number * rounds.APART)  # type: ignore[arg-type,return-value]
        made, requests = (now - then for now, then in zip(batches(server), before, strict=True))
    kept = {key: found[key] for key in ("goodput", "p50_ms", "p95_ms", "ends", "cores", "busy")}
    return {**kept, "mean_batch": round(requests / made, 1) if made else None}


def batches(server: Served) -> list[int]:
    """[batches, calls in them] of the embedder so far."""
    return server.batches().get(EMBEDDER, [0, 0])


def configuration(place: Place, gpu: bool) -> Facts:
    """The kit's own. Without `resources` BentoML gives a runner that can use one the GPU that it finds."""
    made: Facts = yaml.safe_load((place.kit / "service" / "bentoml_configuration.yml").read_text())
    if not gpu:
        made["runners"][EMBEDDER]["resources"] = {"cpu": psutil.cpu_count()}
    return made


def on_gpu(server: Served) -> bool:
    """Whether the driver names one of the embedder's processes among those that compute on a GPU."""
    tool = shutil.which("nvidia-smi") or "/usr/bin/nvidia-smi"
    words = [tool, "--query-compute-apps=pid", "--format=csv,noheader"]
    told = run(words, 30, server.home, child_environ())
    if not told.ok:
        raise LabError("nvidia-smi does not answer.", told.tail())
    return not {str(pid) for pid in server.workers()[EMBEDDER]}.isdisjoint(told.stdout.split())
