"""Run folders without a server: a closed loop, simulated, written as grader.world.load.measure writes it."""

from __future__ import annotations

import hashlib
import heapq
import json
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from grader.world.load import machine, table
from grader.world.load.log import Request, write_requests
from grader.world.load.metrics import RUNNERS
from grader.world.load.settings import Setting

SETTINGS = (
    Setting("disabled", batching=False),
    Setting("4-10s", max_batch_size=4),
    Setting("16-10s", max_batch_size=16),
    Setting("32-10s", max_batch_size=32),
)
IN_CLUSTER = (
    Setting("cluster-disabled", batching=False, where="cluster"),
    Setting("cluster-32", max_batch_size=32, where="cluster"),
)
CALL, ITEM = 0.010, 0.003  # seconds that a batch takes, whatever is in it, and each request of it


def make_bench(bench: Path, settings: tuple[Setting, ...] = SETTINGS, repeats: int = 3, users: int = 80) -> None:
    """bench/ with runs/, table.csv and note.toml, all of it right."""
    order = 0
    for repeat in range(1, repeats + 1):
        for setting in settings:
            make_run(bench / "runs" / f"{setting.name}-{repeat}", setting, repeat, order, users)
            order += 1
    rows = {row["setting"]: row for row in table.write(bench)}
    best = sorted(rows, key=lambda name: -rows[name]["goodput"])
    parts = [part(name, rows[name], key) for key, name in zip(("chosen", "runner_up"), best, strict=False)]
    (bench / "experiment.toml").write_text(
        experiment_text(tuple(s for s in settings if s.where == "local"), repeats, users)
    )
    (bench / "note.toml").write_text('why = "It answers most, and nobody is refused."\n' + "\n".join(parts))


def experiment_text(settings: tuple[Setting, ...], repeats: int, users: int) -> str:
    lines = [f"repeats = {repeats}", "", "[load]", f"users = {users}", "seconds = 15"]
    for setting in settings:
        lines += ["", "[[setting]]", f'name = "{setting.name}"']
        figures = [f"max_batch_size = {setting.max_batch_size}", f"max_latency_ms = {setting.max_latency_ms}"]
        lines += figures if setting.batching else ["batching = false"]
    return "\n".join(lines) + "\n"


def part(name: str, row: dict[str, Any], key: str) -> str:
    figures = "\n".join(f"{figure} = {row[figure]}" for figure in ("goodput", "p95_ms", "share_503"))
    return f'[{key}]\nsetting = "{name}"\n{figures}\n'


def make_run(folder: Path, setting: Setting, repeat: int, order: int, users: int = 80, seconds: float = 15.0) -> None:
    folder.mkdir(parents=True)
    requests, sizes = simulate(setting, users, seconds, order)
    config = yaml.safe_dump(setting.configuration({"version": 1}))
    sender = {"loop": "closed", "users": users, "seconds": seconds, "began": 100.0, "cpu": 0.1, "idle": 0.1}
    facts = {
        "schema": 1, "setting": setting.facts(), "load": {"users": users, "seconds": seconds}, "repeat": repeat,
        "order": order, "began": "2026-01-01T00:00:00+00:00", "machine": machine.facts(), "sender": sender,
        "cpu": {"server": 1.5, "others": 0.05}, "cache": cache(100, 101),
        "trained": 0.4 if setting.batching and repeat == 1 else 0.0,
        "witnesses": [witness(role, setting, config) | placed(setting, len(requests)) for role in ("api", *RUNNERS)],
    }  # fmt: skip
    write_requests(folder / "requests.csv", requests)
    (folder / "configuration.yml").write_text(config)
    (folder / "before.prom").write_text(metrics_text(setting, []))
    (folder / "after.prom").write_text(metrics_text(setting, sizes) + counted(len(requests)))
    looks = [at / 10 for at in range(1, int(seconds * 10))]
    lines = [f"{at},0.006,{inside(requests, at)},10,2,{spent(requests, at):.3f}" for at in looks]
    head = "at,took,api,embeddingrunner,classifierrunner,spent"
    (folder / "inflight.csv").write_text("\n".join([head, *lines]) + "\n")
    (folder / "run.json").write_text(json.dumps(facts))


def simulate(setting: Setting, users: int, seconds: float, seed: int) -> tuple[list[Request], list[int]]:
    """The requests of a closed loop at one server that takes max_batch_size of those who wait, and its batches."""
    chance, limit = random.Random(seed), setting.max_batch_size if setting.batching else 1
    waiting = [(chance.random() * 0.01, user) for user in range(users)]
    heapq.heapify(waiting)
    requests, sizes, now = list[Request](), list[int](), 0.0
    while waiting:
        now = max(now, waiting[0][0])
        batch: list[tuple[float, int]] = []
        while waiting and waiting[0][0] <= now and len(batch) < limit:
            batch.append(heapq.heappop(waiting))
        now += (CALL + ITEM * len(batch)) * chance.uniform(0.9, 1.1)
        sizes.append(len(batch))
        for sent, user in batch:
            requests.append(Request(user, sent, sent, now, "200"))
            if now + 0.001 < seconds:
                heapq.heappush(waiting, (now + 0.001, user))
    return requests, sizes


def cache(fresh: float, again: float) -> dict[str, Any]:
    return {"fresh_ms": fresh, "again_ms": again, "rounds": [[fresh * k, again * k] for k in (0.9, 1.0, 1.1)]}


def spent(requests: list[Request], at: float) -> float:
    """Seconds that those who have left by then were in the server."""
    return sum(r.ended - r.scheduled for r in requests if r.ended <= at)


def inside(requests: list[Request], at: float) -> int:
    return sum(r.sent <= at < r.ended for r in requests)


def witness(role: str, setting: Setting, config: str) -> dict[str, Any]:
    limits = {"max_batch_size": setting.max_batch_size, "max_latency_ms": setting.max_latency_ms}
    with_dispatcher = setting.batching and role != "api"
    return {
        "pid": 1, "role": role, "config": "/configuration.yml", "sha256": hashlib.sha256(config.encode()).hexdigest(),
        "batching": dict.fromkeys(RUNNERS, setting.block()), "dispatchers": {"m": limits} if with_dispatcher else {},
    }  # fmt: skip


def placed(setting: Setting, answered: int) -> dict[str, Any]:
    """Of a run in the cluster: the pod, and what it counted."""
    return (
        {"place": {"pod": "p-1", "namespace": "ml-serving-bench", "answered": answered}}
        if setting.where == "cluster"
        else {}
    )


def counted(answered: int) -> str:
    name = "bentoml_api_server_request_total"
    return f'# TYPE {name[:-6]} counter\n{name}{{endpoint="/classify",http_response_code="200"}} {answered}\n'


def metrics_text(setting: Setting, sizes: list[int]) -> str:
    if not setting.batching:
        return ""
    name = "bentoml_runner_adaptive_batch_size"
    edges = [*(2**k for k in range(10) if 2**k < setting.max_batch_size), setting.max_batch_size]
    assert all(a < b for a, b in pairwise(edges))
    lines = [f"# TYPE {name} histogram"]
    for runner in RUNNERS:
        counts = [(f"{float(edge)}", sum(size <= edge for size in sizes)) for edge in edges] + [("+Inf", len(sizes))]
        lines += [f'{name}_bucket{{runner_name="{runner}",le="{edge}"}} {count}' for edge, count in counts]
        lines += [
            f'{name}_count{{runner_name="{runner}"}} {len(sizes)}',
            f'{name}_sum{{runner_name="{runner}"}} {sum(sizes)}',
        ]
    return "\n".join(lines) + "\n"
