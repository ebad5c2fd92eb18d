"""The service close to the limit, really served: workers that die, bursts, a slow text, a lone client, calls of many
texts."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from service_server import SERVICE, direct_answers, service_module, serving

pytest_plugins = ["service_server"]
pytestmark = [pytest.mark.slow, pytest.mark.turn]

load = service_module("load")
tickets = service_module("tickets")
CORES = psutil.cpu_count() or 1
CONFIG = yaml.safe_load((SERVICE / "bentoml_configuration.yml").read_text())


@pytest.fixture(scope="module")
def close(store: Path) -> Iterator[Any]:
    env = {"PYTHONPATH": "limit"}
    with serving.serve(SERVICE, store=store, config=CONFIG, env=env, target="one_each:svc") as server:
        yield server


def embedders(server: Any) -> list[psutil.Process]:
    """Its embedding workers' processes."""
    return [p for p in server.processes() if "embeddingrunner" in p.cmdline() and "--worker-id" in p.cmdline()]


def calls(server: Any) -> dict[str, float]:
    """Calls so far, by embedding worker."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(server.metrics()):
        for sample in family.samples:
            if sample.name.endswith("adaptive_batch_size_count") and sample.labels["runner_name"] == "embeddingrunner":
                worker = sample.labels["worker_index"]
                found[worker] = found.get(worker, 0.0) + sample.value
    return found


def crowd(server: Any, clients: int, seconds: float, texts: int = 1) -> Any:
    return asyncio.run(load.closed_loop(server.url, clients=clients, seconds=seconds, texts=texts))


def ask(url: str, texts: list[str]) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    answer = httpx.post(f"{url}/classify", json={"texts": texts}, timeout=30)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began, answer.json()


def test_answers_are_the_models_own_and_in_order(close: Any, store: Path) -> None:
    """Requests of 1, 2, 10 and 64 texts at once, long and short ones mixed."""
    texts = [text for text, _ in tickets.held_out(154)]
    texts[5] = texts[5] + " and the parcel is late" * 60
    direct = direct_answers(store, service_module("preprocess").prepare(texts))
    chunks, rest = [], list(texts)
    for size in (1, 2, 10, 64, 1, 2, 10, 64):
        chunks.append(rest[:size])
        rest = rest[size:]
    with ThreadPoolExecutor(len(chunks)) as pool:
        answers = [answer for _, answer in pool.map(lambda some: ask(close.url, some), chunks)]
    labels = [label for answer in answers for label in answer["labels"]]
    scores = [score for answer in answers for score in answer["scores"]]
    for text, label, score, (right, wanted, lead) in zip(texts, labels, scores, direct, strict=True):
        assert label == right or lead < 1e-5, text
        assert score == pytest.approx(wanted, abs=1e-5), text
    assert ask(close.url, [])[1] == {"labels": [], "scores": []}


def test_every_worker_has_its_share_and_texts_a_call_are_counted(close: Any) -> None:
    before = calls(close)
    seen = crowd(close, 80, 4)
    assert set(seen.ends()) == {"200"}
    made = {worker: count - before.get(worker, 0) for worker, count in calls(close).items()}
    assert len(made) == CORES and min(made.values()) > 0.6 * max(made.values()), made
    assert "demo_texts_a_call_bucket" in close.metrics()


def test_calls_of_many_texts_cannot_lock_the_runner(close: Any) -> None:
    """What locks a runner that divides calls: sizes that cross max_batch_size unevenly, at once."""
    with ThreadPoolExecutor(40) as pool:
        sizes = [(1, 2, 3, 10, 33, 64)[number % 6] for number in range(60)]
        answers = list(pool.map(lambda size: ask(close.url, [f"parcel {n} of {size}" for n in range(size)])[1], sizes))
    assert [len(answer["labels"]) for answer in answers] == sizes
    assert ask(close.url, ["still there?"])[0] < 2


def test_a_burst_is_answered_whole(close: Any) -> None:
    seen = crowd(close, 400, 3)
    assert set(seen.ends()) == {"200"} and len(seen.good()) >= 400
    assert ask(close.url, ["after the burst"])[0] < 2


def test_a_slow_text_holds_up_few(close: Any) -> None:
    """One client sends texts of 256 tokens beside 16 with short ones; theirs wait for a call, never for all of them."""
    quiet = crowd(close, 16, 3).percentile(0.5)
    over = threading.Event()

    def send_long() -> None:
        number = 0
        while not over.is_set():
            number += 1
            ask(close.url, [f"number {number} " + "the parcel never came and " * 60])

    slow = threading.Thread(target=send_long)
    slow.start()
    beside = crowd(close, 16, 3)
    over.set()
    slow.join()
    assert set(beside.ends()) == {"200"}
    assert beside.percentile(0.5) < 4 * quiet + 0.1


def test_a_lone_client_waits_no_longer_than_at_the_reference(close: Any, ours: Any) -> None:
    """In turns, so that the machine is the same for both."""
    waits: dict[str, list[float]] = {"close": [], "ours": []}
    for number in range(60):
        for name, server in (("close", close), ("ours", ours)):
            waits[name].append(ask(server.url, [f"where is my parcel {number}"])[0])
    lone, reference = (statistics.median(waits[name][10:]) for name in ("close", "ours"))
    assert lone <= 1.15 * reference, f"{1000 * lone:.1f} ms; the reference {1000 * reference:.1f} ms"


@pytest.mark.skipif(CORES < 2, reason="one worker: nothing is left while it is down")
def test_a_killed_worker_costs_nothing_and_is_found_again(close: Any) -> None:
    """`bentoml serve` starts it again (a container does not); its lane comes back without a restart of the API
    server."""
    workers = embedders(close)
    assert len(workers) == CORES
    seen: list[Any] = []
    thread = threading.Thread(target=lambda: seen.append(crowd(close, 24, 30)))
    thread.start()
    time.sleep(2)
    os.kill(workers[0].pid, signal.SIGKILL)
    thread.join()
    assert set(seen[0].ends()) == {"200"}
    assert len(embedders(close)) == CORES
    before = calls(close)
    crowd(close, 24, 3)
    made = {worker: count - before.get(worker, 0) for worker, count in calls(close).items()}
    assert sum(count > 10 for count in made.values()) == CORES, made
