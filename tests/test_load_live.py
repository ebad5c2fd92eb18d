"""The load and its witnesses at the reference service, really served; some 40 s on two cores."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from service_server import SERVICE

from grader.world.load import measure, poisson, runs
from grader.world.load.servers import Measured, serving
from grader.world.load.settings import Setting
from grader.world.load.summary import summarise

pytest_plugins = ["service_server"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Measured]:
    base = yaml.safe_load((SERVICE / "bentoml_configuration.yml").read_text())
    with serving(Setting("16-10s", max_batch_size=16), base, SERVICE, store) as made:
        yield made


def test_a_setting_is_seen_in_the_runners_own_processes(server: Measured, tmp_path: Path) -> None:
    run = measure.measure(server, {"users": 40, "seconds": 8}, 1, 0, tmp_path / "16-10s-1")
    assert [p for p in run.problems() if p.kind == "setting"] == []
    assert run.log.ends().keys() == {"200"}
    assert 0 < run.facts["trained"] < 8
    assert run.mean_batch is not None and 1 < run.mean_batch <= 16
    assert abs(run.little) < 0.2  # what is asked of a measurement is less; this machine may be busy
    lines = (run.folder / "dispatchers.csv").read_text().splitlines()
    assert any(",embeddingrunner,encode,1," in line for line in lines)

    path = run.folder / "run.json"  # the same run, under the name of a setting that nobody applied
    other = Setting("32-10s", max_batch_size=32).facts()
    path.write_text(json.dumps({**json.loads(path.read_text()), "setting": other}))
    told = [p.text for p in runs.read(run.folder).problems() if p.kind == "setting"]
    assert "in the process of embeddingrunner" in told[0] or "in the process of classifierrunner" in told[0]
    assert "/metrics shows batches of up to 16" in told[1]


def test_a_stall_of_a_runner_shows_from_the_scheduled_time_alone(server: Measured) -> None:
    (embedder,) = server.served.workers()["embeddingrunner"]

    def stall() -> None:
        time.sleep(5)
        os.kill(embedder, signal.SIGSTOP)
        time.sleep(1.4)
        os.kill(embedder, signal.SIGCONT)

    threading.Thread(target=stall, daemon=True).start()
    log = poisson.run(server.url, rate=50, seconds=16, connections=4)
    seen = summarise(log, begin=4.0)
    assert seen.p99_ms > 700
    assert seen.naive_p99_ms < seen.p99_ms / 2, dataclasses.asdict(seen)
