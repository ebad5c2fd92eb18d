"""Holds the dispatcher's twin against the reference service: 14 settings, two of which it is fitted to.

    .venv/bin/python tests/measure_twin.py STORE [--minutes 3]     # STORE: a BENTOML_HOME with both models
    .venv/bin/python tests/measure_twin.py --kept tests/hours/*.json   # hours that were measured, judged again

Some five minutes a round, five rounds; run nothing beside it. Goes on where it stopped. Each round has an order of its
own, so that a slow quarter of an hour hits all settings alike. Writes .lab/twin.json, one entry a run, and prints the
table: good answers within 10% and refusals within 5 points in the median, none off by more than 25% or 15 points. Exit
code 1 when it is not so, 2 while a round is missing. The dispatcher is trained before a run; two seconds are left out.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
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
from grader.world.metrics import fetch
from labs.helpers.load import fit, twin

FILE = ROOT / ".lab" / "twin.json"
ROUNDS = 5  # one setting's runs of one hour can be 28, 36 and 41 good answers a second (at 50 ms)
PLAYS = 15  # of the twin, whose runs differ as well: cheap
PEOPLE, TRAINING, SECONDS, WARM_UP = 80, 4, 9, 2
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


def base() -> Facts:
    return dict(yaml.safe_load((ROOT / "service" / "bentoml_configuration.yml").read_text()))


def measure(setting: Setting, store: Path) -> Facts:
    with serving(setting, base(), ROOT / "service", store) as server:
        closed.run(server.url, PEOPLE, TRAINING, first=500_000_000)
        before = fetch(server.url)
        log = closed.run(server.url, PEOPLE, SECONDS)
        batch = metrics.mean_batch(before, fetch(server.url))
    seen = summarise(log, begin=WARM_UP)
    figures = {"goodput": seen.goodput, "rate": seen.rate, "p50_ms": seen.p50_ms, "p95_ms": seen.p95_ms}
    rounded = {key: round(value, 1) for key, value in figures.items()}
    return {**rounded, "share_503": round(seen.share_503, 4), "mean_batch": batch, "idle": log.sender["idle"]}


def pooled(runs: Facts) -> dict[str, Facts]:
    """Each setting's answers in all its rounds, by their seconds. A mean and no median: at 50 ms a run has one of two
    states, 27 or 47 good answers a second, and the median of five jumped from 32 to 45 between hours (34 to 40)."""
    found = {}
    for setting in SETTINGS:
        group = [run for key, run in runs.items() if key.partition("/")[0] == setting.name]
        figures = {key: statistics.fmean(run[key] for run in group) for key in ("goodput", "rate", "share_503")}
        found[setting.name] = {"setting": setting, **figures}
    return found


def played_as(setting: Setting) -> twin.Setting:
    connections = base()["api_server"]["max_runner_connections"]
    return twin.Setting(setting.max_batch_size, setting.max_latency_ms / 1000, connections, setting.batching)


def play(service: twin.Service, setting: Setting) -> tuple[float, float]:
    """Good answers a second and the share refused, at the same time after the start as they are measured (a dispatcher
    that is flooded makes smaller and smaller batches for a quarter of a minute); all its plays pooled, too."""
    seconds, left_out = SECONDS - WARM_UP, TRAINING + WARM_UP
    plays = [
        twin.play(service, played_as(setting), PEOPLE, seconds=seconds, warm_up=left_out, seed=seed)
        for seed in range(PLAYS)
    ]
    return statistics.fmean(p.goodput for p in plays), statistics.fmean(p.refused for p in plays)


def hold(runs: Facts) -> bool:
    """Prints the table, and says whether the twin is as near as it has to be."""
    known = pooled(runs)
    seen = [
        fit.Observed(played_as(row["setting"]), row["goodput"], row["rate"]) for row in (known[name] for name in FIT)
    ]
    service, off, points = fit.fit(*seen), [], []
    print(f"fitted to {' and '.join(FIT)}: {service}\nsetting     good answers/s: measured, played     refused: both")
    for name, row in known.items():
        goodput, refused = play(service, row["setting"])
        gap, apart = goodput / row["goodput"] - 1, 100 * (refused - row["share_503"])
        figures = f"{row['goodput']:8.1f} {goodput:8.1f} {gap:+7.0%}"
        print(f"{name:<12}{figures}    {row['share_503']:6.0%} {refused:6.0%}{'   (fit)' * (name in FIT)}")
        if name not in FIT:
            off.append(abs(gap))
            points.append(abs(apart))
    print(f"median {statistics.median(off):.0%} and {statistics.median(points):.0f} points", end="; ")
    print(f"at most {max(off):.0%} and {max(points):.0f} points, of {len(off)} settings")
    near = statistics.median(off) <= 0.10 and statistics.median(points) <= 5
    return bool(near and max(off) <= 0.25 and max(points) <= 15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, nargs="?")
    parser.add_argument("--kept", type=Path, nargs="+", help="hours that were measured before: judged again")
    parser.add_argument("--minutes", type=float, default=60)
    asked = parser.parse_args()
    if asked.kept:
        held = [hold(json.loads(path.read_text())["runs"]) for path in asked.kept]
        sys.exit(0 if all(held) else 1)
    if asked.store is None:
        parser.error("a STORE is wanted, or --kept")
    new: Facts = {"machine": machine.facts(), "people": PEOPLE, "runs": {}}
    kept = json.loads(FILE.read_text()) if FILE.exists() else new
    end = time.monotonic() + 60 * asked.minutes
    for number, setting in plan():
        name = f"{setting.name}/{number + 1}"
        if name in kept["runs"] or time.monotonic() > end - 30:
            continue
        kept["runs"][name] = {"setting": setting.facts(), **measure(setting, asked.store)}
        write_atomic(FILE, (json.dumps(kept, indent=1) + "\n").encode())
        print(name, kept["runs"][name], flush=True)
    if any(not any(key.startswith(f"{s.name}/") for key in kept["runs"]) for s in SETTINGS):
        sys.exit(2)
    sys.exit(0 if hold(kept["runs"]) else 1)


if __name__ == "__main__":
    main()
