"""Claims about a running server: `bentoml serve` of a small service without a model (tiny.py)."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from grader.model import Facts
from grader.processes import wait_until
from grader.world.load import metrics
from grader.world.load.log import Log
from grader.world.metrics import fetch
from grader.world.servers import Served, frozen
from labs.helpers.ledger import served
from labs.helpers.ledger.experiment import NotRun, Outcome, Place, Said, experiment
from labs.helpers.service.servers import parent

# -- what a metric is called

MODULE_NAMES = ("bentoml_request_duration_seconds_bucket", "bentoml_request_total", "bentoml_runner_batch_size_sum")


def decide_names(seen: Facts) -> Said:
    there = [name for name in MODULE_NAMES if name in seen["names"]]
    real = sorted({n.removesuffix("_bucket").removesuffix("_total") for n in seen["names"] if n.startswith("bentoml_")})
    told = (
        f"{len(there)} of {len(MODULE_NAMES)} names are on the page; it has {', '.join(real[:3])} and others, and its "
    )
    told += f"endpoint is {' or '.join(map(repr, seen['endpoints']))}"
    right = "classify" in seen["endpoints"]
    if len(there) == len(MODULE_NAMES) and right:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.DEPENDS if there or right else Outcome.REFUTED, told)


def read_page(place: Place) -> Facts:
    """All series of /metrics after some requests."""
    with served.tiny(place, served.batching()) as server:
        for _ in range(3):
            served.ask(server)
        samples = server.metrics()
    endpoints = {labels["endpoint"] for name, labels, _ in samples if name == "bentoml_api_server_request_total"}
    return {"names": sorted({name for name, _, _ in samples}), "endpoints": sorted(endpoints - {"/readyz", "/metrics"})}


names = experiment(decide_names)(read_page)


def decide_queue(seen: Facts) -> Said:
    found = [name for name in seen["names"] if "queue" in name or "waiting" in name]
    told = f"of {len(seen['names'])} series {len(found)} names a queue"
    return Said(Outcome.CONFIRMED if found else Outcome.REFUTED, f"{told}: {', '.join(found)}" if found else told)


queue = experiment(decide_queue)(read_page)


# -- a call of more items than a batch may have


def lock_up(place: Place) -> Facts:
    """A request of ten texts in one call, at a max_batch_size of four; then one of one text. Raises NotRun where a
    request before these gets no answer: then their silence says nothing."""
    with served.tiny(place, served.batching(max_batch_size=4)) as server:
        if served.ask(server) is None:
            raise NotRun("The server does not answer one text.", "Try it on a quiet machine.")
        large = served.ask(server, ["a"] * 10, patience=3)
        later = [served.ask(server, patience=3) for _ in range(2)]
        ready = served.status(server, "/readyz")
    return {"ten": large is not None, "later": sum(a is not None for a in later), "ready": ready}


def decide_cut(seen: Facts) -> Said:
    told = f"ten texts in one call at max_batch_size 4: {'answered' if seen['ten'] else 'no answer in 3 s'}; "
    told += f"then {seen['later']} of 2 requests of one text answered"
    return Said(Outcome.CONFIRMED if seen["ten"] and seen["later"] == 2 else Outcome.REFUTED, told)


cut = experiment(decide_cut)(lock_up)


def decide_ready(seen: Facts) -> Said:
    told = f"/readyz says {seen['ready']} while {2 - seen['later']} of 2 requests get no answer"
    wrong = seen["ready"] == 200 and seen["later"] < 2
    return Said(Outcome.REFUTED if wrong else Outcome.CONFIRMED, told)


ready = experiment(decide_ready)(lock_up)


# -- a runner that stands still


def decide_frozen(seen: Facts) -> Said:
    told = f"the embedder frozen: /readyz says {seen['ready']} after {seen['seconds']:.1f} s, /livez {seen['live']}"
    return Said(Outcome.CONFIRMED if seen["ready"] != 200 and seen["live"] == 200 else Outcome.REFUTED, told)


@experiment(decide_frozen)
def frozen_runner(place: Place) -> Facts:
    with served.tiny(place, served.batching()) as server, frozen(server.workers()["embeddingrunner"]):
        began = time.monotonic()
        asked = served.status(server, "/readyz", patience=20)
        seconds = round(time.monotonic() - began, 2)
        return {"ready": asked, "seconds": seconds, "live": served.status(server, "/livez")}


# -- which configuration is read


def decide_file(seen: Facts) -> Said:
    told = f"the file in the folder says 7; the largest batch is {seen['beside']:g} without BENTOML_CONFIG, and "
    told += f"{seen['named']:g} with it"
    if seen["beside"] == 7:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.REFUTED if seen["named"] == 7 else Outcome.DEPENDS, told)


@experiment(decide_file)
def file_beside(place: Place) -> Facts:
    """A Bento that holds a bentoml_configuration.yml, served where the file lies, without naming it and with."""
    import yaml

    project = served.lay_out(place)
    (project / "bentoml_configuration.yml").write_text(yaml.safe_dump(served.batching(max_batch_size=7)))
    (project / "bentofile.yaml").write_text("service: service:svc\npython: {lock_packages: false}\n")
    source = served.build(place, project) / "src"
    named = {"BENTOML_CONFIG": str(source / "bentoml_configuration.yml")}
    return {"beside": largest_batch(place, source), "named": largest_batch(place, source, named)}


def largest_batch(place: Place, source: Path, env: dict[str, str] | None = None) -> float:
    """The largest edge of the embedder's histogram: the running process's max_batch_size."""
    with served.in_folder(source, place.scratch / "store", env=env) as server:
        served.ask(server)
        return metrics.largest_edges(fetch(server.url))["embeddingrunner"]


# -- batching off


def decide_off(seen: Facts) -> Said:
    told = f"{seen['answers']} answers, {seen['batches']:g} batches counted"
    return Said(Outcome.CONFIRMED if seen["answers"] and not seen["batches"] else Outcome.REFUTED, told)


@experiment(decide_off)
def off(place: Place) -> Facts:
    with served.tiny(place, served.batching(enabled=False), TINY_FIXED="5") as server:
        log = served.load(server, people=20, seconds=1.5)
        return {"answers": log.ends().get("200", 0), "batches": counted(server)[0]}


def counted(server: Served) -> tuple[float, float]:
    """Batches of the embedder so far, and requests in them."""
    return metrics.batches(fetch(server.url)).get("embeddingrunner", (0.0, 0.0))


# -- a batch of one


def decide_one(seen: Facts) -> Said:
    if not seen["ready"]:
        return Said(Outcome.REFUTED, f"the server does not start: {seen['said']}")
    return Said(
        Outcome.CONFIRMED if seen["status"] == 200 else Outcome.REFUTED, f"a request is answered with {seen['status']}"
    )


@experiment(decide_one)
def batch_of_one(place: Place) -> Facts:
    try:
        with served.tiny(place, served.batching(max_batch_size=1), limit=15) as server:
            answer = served.ask(server)
            return {"ready": True, "status": answer.status_code if answer else 0, "said": ""}
    except served.NotServed as refused:
        if "AssertionError" not in refused.log:  # a slow machine is no answer
            raise
        return {"ready": False, "status": 0, "said": "an AssertionError in the runner"}


# -- connections to a runner


def decide_connections(seen: Facts) -> Said:
    told = f"40 people, max_batch_size 100: {seen['16']} of {seen['batches']} batches have more than 16 requests, "
    told += f"{seen['64']} with max_runner_connections 64"
    if seen["16"]:
        return Said(Outcome.CONFIRMED, told)
    return Said(Outcome.REFUTED if seen["64"] else Outcome.DEPENDS, told)


@experiment(decide_connections)
def connections(place: Place) -> Facts:
    default, batches = larger_than_16(place, served.batching())
    wide = {**served.batching(), "api_server": {"max_runner_connections": 64}}
    return {"16": default, "batches": batches, "64": larger_than_16(place, wide)[0]}


def larger_than_16(place: Place, config: Facts) -> tuple[int, int]:
    """How many batches of the embedder had more than 16 requests, of how many."""
    with served.tiny(place, config, TINY_FIXED="40", TINY_EACH="1") as server:
        served.load(server, people=40, seconds=3)
        rows = [(labels, value) for name, labels, value in server.metrics() if name == f"{metrics.BATCH}_bucket"]
    mine = {labels["le"]: int(value) for labels, value in rows if labels["runner_name"] == "embeddingrunner"}
    return mine["+Inf"] - mine["16.0"], mine["+Inf"]


# -- processes


def decide_processes(seen: Facts) -> Said:
    told = ", ".join(f"{role}: {count} process{'es' if count > 1 else ''}" for role, count in seen["roles"].items())
    apart = seen["distinct"] and {"embeddingrunner", "classifierrunner"} <= set(seen["roles"])
    return Said(Outcome.CONFIRMED if apart else Outcome.REFUTED, told)


@experiment(decide_processes)
def processes(place: Place) -> Facts:
    with served.tiny(place, served.batching()) as server:
        workers = server.workers()
    ids = [one for some in workers.values() for one in some]
    return {"roles": {role: len(some) for role, some in sorted(workers.items())}, "distinct": len(set(ids)) == len(ids)}


# -- the edit loop


def decide_reload(seen: Facts) -> Said:
    old = f"{seen['kept']} of {seen['workers']} processes are still those of before the edit"
    told = f"the file's {seen['answer']} version answers after an edit" if seen["answer"] != "none" else "no answer"
    told = f"{told}; {old}"
    return Said(Outcome.CONFIRMED if seen["answer"] == "second" and not seen["kept"] else Outcome.REFUTED, told)


@experiment(decide_reload)
def reload(place: Place) -> Facts:
    return edited(place, "plain")


@experiment(decide_reload)
def reload_in_a_space(place: Place) -> Facts:
    return edited(place, "with a space")


def edited(place: Place, folder: str, patience: float = 20.0) -> Facts:
    """`bentoml serve --reload` in that folder: VERSION is changed in its file; which processes answer afterwards?
    Raises NotServed, and NotRun where it does not answer before the edit: neither says anything of a reload."""
    with served.tiny(place, served.batching(), ["--reload"], folder) as server:
        if version(server) != "first":
            raise NotRun("The server does not answer before the edit.", "Try it on a quiet machine.")
        before = all_ids(server)
        file = place.scratch / folder / "service.py"
        file.write_text(file.read_text().replace('VERSION = "first"', 'VERSION = "second"'))
        wait_until(lambda: version(server) == "second", patience, pause=0.3)
        return {"answer": version(server), "workers": len(before), "kept": len(before & all_ids(server))}


def all_ids(server: Served) -> set[int]:
    return {one for some in server.workers().values() for one in some}


def version(server: Served) -> str:
    answer = served.ask(server, patience=3)
    return str(answer.json()["version"]) if answer is not None and answer.status_code == 200 else "none"


# -- the end of a server


def decide_term(seen: Facts) -> Said:
    told = "20 people at a SIGTERM: " + ", ".join(f"{count} x {end}" for end, count in seen["ends"].items())
    broken = sum(count for end, count in seen["ends"].items() if end not in ("200", "refused"))
    return Said(Outcome.REFUTED if broken else Outcome.CONFIRMED, told)


@experiment(decide_term)
def term(place: Place) -> Facts:
    with served.tiny(place, served.batching(), TINY_FIXED="150") as server:
        logs: list[Log] = []
        people = threading.Thread(target=lambda: logs.append(served.load(server, people=20, seconds=4)))
        people.start()
        wait_until(lambda: counted(server)[0] > 5, 20, pause=0.2)
        if process := parent(server):
            process.terminate()
        people.join()
    return {"ends": logs[0].ends()}
