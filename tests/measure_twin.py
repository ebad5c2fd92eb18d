"""Measures what the dispatcher's twin is held against in tests/test_twin.py: 14 settings of the reference service.

    .venv/bin/python tests/measure_twin.py STORE [--minutes 3]     # STORE: a BENTOML_HOME with both models

Goes on where it stopped. Each round has an order of its own, so that a slow quarter of an hour hits all settings alike.
Writes tests/twin_measured.json, one entry a run. The dispatcher is trained before a run, and two seconds are left out.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import yaml
from conftest import ROOT

from grader.model import Facts
from grader.workspace import write_atomic
from grader.world.load import closed, machine, metrics
from grader.world.load.servers import serving
from grader.world.load.settings import Setting
from grader.world.load.summary import summarise

FILE = ROOT / "tests" / "twin_measured.json"
ROUNDS = 3
PEOPLE, SECONDS, WARM_UP = 80, 9, 2
FIT = ("32-60s", "32-10ms")
SETTINGS = [
    Setting("disabled", batching=False),
    *(Setting(f"{size}-60s", True, size, 60_000) for size in (4, 8, 16, 32, 64)),
    *(Setting(f"32-{ms}ms", True, 32, ms) for ms in (5, 10, 25, 50, 250, 500)),
    Setting("8-250ms", True, 8, 250),
    Setting("16-150ms", True, 16, 150),
]


def plan() -> list[tuple[int, Setting]]:
    chance = random.Random(13)
    return [(number, setting) for number in range(ROUNDS) for setting in chance.sample(SETTINGS, len(SETTINGS))]


def measure(setting: Setting, store: Path) -> Facts:
    base = yaml.safe_load((ROOT / "service" / "bentoml_configuration.yml").read_text())
    with serving(setting, base, ROOT / "service", store) as server:
        closed.run(server.url, PEOPLE, 4, first=500_000_000)
        before = metrics.read(server.url)
        log = closed.run(server.url, PEOPLE, SECONDS)
        batch = metrics.mean_batch(before, metrics.read(server.url))
    seen = summarise(log, begin=WARM_UP)
    figures = {"goodput": seen.goodput, "rate": seen.rate, "p50_ms": seen.p50_ms, "p95_ms": seen.p95_ms}
    rounded = {key: round(value, 1) for key, value in figures.items()}
    return {**rounded, "share_503": round(seen.share_503, 4), "mean_batch": batch, "idle": log.sender["idle"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    asked = parser.parse_args()
    kept: Facts = (
        json.loads(FILE.read_text()) if FILE.exists() else {"machine": machine.facts(), "people": PEOPLE, "runs": {}}
    )
    end = time.monotonic() + 60 * asked.minutes
    for number, setting in plan():
        name = f"{setting.name}/{number + 1}"
        if name in kept["runs"] or time.monotonic() > end - 25:
            continue
        kept["runs"][name] = {"setting": setting.facts(), **measure(setting, asked.store)}
        write_atomic(FILE, (json.dumps(kept, indent=1) + "\n").encode())
        print(name, kept["runs"][name], flush=True)


if __name__ == "__main__":
    main()
