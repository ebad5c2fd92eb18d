"""Lab 08 in the cluster: what a Prometheus there says of a copy of the service, in a namespace of its own.

`run()` tells a run that is kept (in_cluster.json); `run(live=True)` makes it on your cluster, with your files in
deploy/monitoring, in four minutes. Lab 05's pods stay as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import yaml

from cluster import registry
from cluster.engine import inspect
from cluster.names import IMAGE, NODE_PORTS, read_names
from grader.model import Facts
from grader.processes import wait_until
from grader.world import rules
from grader.world.load import closed
from grader.world.prometheus import BadQuery
from labs.helpers.monitoring import drills, platform
from labs.helpers.monitoring.asking import HOME, query
from labs.helpers.service.traces import Span

KEPT = Path(__file__).with_name("in_cluster.json")
SEEN = Path("seen")  # the copy's manifests
FASTER = 20  # durations of the rules are divided by this, so that an hour is three minutes
QUERIES = ("latency", "batch_size", "queueing")
POD_ROW = {"Up": 'up{namespace="SPACE"}',
           "Memory": 'container_memory_working_set_bytes{container!="",namespace="SPACE"}'}  # fmt: skip
# what a ServiceMonitor lacks, one thing after the other, from the course module's to one that works
STEPS = (
    "the course module's", "with the Kubernetes label that Prometheus selects by", "with a selector that fits",
    "with the port by its name", "with honorLabels",
)  # fmt: skip
TRACING = """tracing:
  exporter_type: otlp
  sample_rate: 1.0
  otlp: {protocol: http, endpoint: "http://jaeger.monitoring.svc:4318/v1/traces"}
"""


def run(live: bool = False, say: Callable[[str], None] = print) -> Facts:
    """The facts of the kept run, or of one that is made now. Raises RuntimeError with kubectl's complaint."""
    return dict(json.loads(KEPT.read_text())) if not live else make(say)


def make(say: Callable[[str], None] = print) -> Facts:
    """Each part in turn, timed. The copy's namespace is gone afterwards; the platform stays."""
    facts: Facts = {"made": str(date.today()), "seconds": {}}
    parts: dict[str, Callable[[], Any]] = {
        "platform": lambda: platform.bring(say), "copy": copy_service, "monitors": try_monitors,
        "answers": ask_under_load, "trace": trace_one, "scaling": scale, "alerts": burn,
    }  # fmt: skip
    try:
        for name, part in parts.items():
            began = time.monotonic()
            facts[name] = part()
            facts["seconds"][name] = round(time.monotonic() - began)
            say(f"{name}: {facts['seconds'][name]} s")
    finally:
        platform.kubectl("delete", "namespace", space(), "--ignore-not-found", "--wait=false")
    return facts


def space() -> str:
    """The copy's namespace."""
    return f"{read_names().namespace(os.environ.get('LAB_WORKSPACE', ''))}-seen"


def port() -> str:
    """The key in NODE_PORTS of the copy's Service."""
    return "walk-seen" if os.environ.get("LAB_WORKSPACE") else "seen"


def url() -> str:
    return f"http://127.0.0.1:{read_names().host_port(port())}"


# ---------------------------------------------------------------- the copy


def copy_service(budget: int = 0) -> list[str]:
    """deploy/, once more, with one replica, a node port, traces, and your policy; `budget` in ms, or yours. Returns the
    pods."""
    shutil.rmtree(SEEN, ignore_errors=True)
    shutil.copytree("deploy", SEEN, ignore=shutil.ignore_patterns("monitoring"))
    text = (SEEN / "kustomization.yaml").read_text()
    text = re.sub(r"^namespace: .*", f"namespace: {space()}", text, flags=re.M)
    text = re.sub(r"^patches: \[", "patches: [{path: copy.yaml}, {path: policy.yaml}, ", text, flags=re.M)
    (SEEN / "kustomization.yaml").write_text(text)
    (SEEN / "policy.yaml").write_text(policy())
    (SEEN / "copy.yaml").write_text(yaml.safe_dump_all(shape()))
    config = SEEN / "bentoml_configuration.yml"
    put = f"max_latency_ms: {budget}" if budget else r"\g<0>"
    config.write_text(re.sub(r"max_latency_ms: \d+", put, config.read_text()) + TRACING)
    platform.kubectl("apply", "-k", str(SEEN))
    platform.kubectl("-n", space(), "rollout", "status", f"deployment/{IMAGE}", "--timeout=240s", limit=250)
    return platform.kubectl("-n", space(), "get", "pods", "-o", "name").split()


def policy() -> str:
    """Yours, and with it the way in for the node port: its requests come from a node's own address."""
    policy = yaml.safe_load((HOME / "policy.yaml").read_text())
    policy["spec"]["ingress"][0]["from"].append({"ipBlock": {"cidr": nodes_network()}})
    return yaml.safe_dump(policy)


def nodes_network() -> str:
    """kind's network in Docker, as IPv4."""
    parts = (inspect("network", registry.NETWORK) or {})["IPAM"]["Config"]
    return next(str(part["Subnet"]) for part in parts if "." in part["Subnet"])


def shape() -> list[Facts]:
    way = {"name": "http", "port": 80, "targetPort": "http", "nodePort": NODE_PORTS[port()]}
    name = {"name": IMAGE}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": name, "spec": {"replicas": 1}},
        {"apiVersion": "v1", "kind": "Service", "metadata": name, "spec": {"type": "NodePort", "ports": [way]}},
    ]


# ---------------------------------------------------------------- ServiceMonitors


def try_monitors() -> list[Facts]:
    """From the course module's to yours, one repair after the other: the jobs that Prometheus has, its targets of this
    namespace, and what your latency query's series returns."""
    httpx.post(f"{url()}/classify", json={"texts": ["I was charged twice"]}, timeout=20).raise_for_status()
    return [{"step": step, **try_monitor(monitor)} for step, monitor in zip(STEPS, monitors(), strict=True)]


def monitors() -> list[Facts]:
    """Each with one repair more than the one before; the last is yours."""
    mine = yaml.safe_load((HOME / "servicemonitor.yaml").read_text())
    mine["spec"]["endpoints"][0]["interval"] = "2s"  # 15 s are long in a lesson
    number = json.loads(json.dumps(mine))
    number["spec"]["endpoints"] = [{"port": "3000", "path": "/metrics", "interval": "2s"}]
    by_name = json.loads(json.dumps(number))
    by_name["spec"]["endpoints"][0]["port"] = "http"
    labelled = json.loads(json.dumps(number))
    labelled["spec"]["selector"] = {"matchLabels": {"app": "support-ticket-intelligence"}}
    module = json.loads(json.dumps(labelled))
    module["metadata"].pop("labels", None)
    return [module, labelled, number, by_name, mine]


def try_monitor(monitor: Facts) -> Facts:
    """Applied, and seen by Prometheus: {jobs, targets, answers}."""
    # a namespace's old target is gone first, so that what is seen now is this one's
    platform.kubectl("-n", space(), "delete", "servicemonitor", "--all", "--wait=true")
    settle(lambda: not jobs())
    apply(monitor)
    wanted = "release" in monitor["metadata"].get("labels", {})
    settle(lambda: bool(jobs()) == wanted, least=3)
    wait_until(lambda: bool(targets()) and all(t["health"] != "unknown" for t in targets()), 8, pause=0.5)
    up = [t["health"] for t in targets()]
    # of the last seconds: Prometheus goes on answering with a series' last value for five minutes
    found = "last_over_time(bentoml_api_server_request_total{endpoint='/classify',namespace='SPACE'}[5s])"
    if up:
        wait_until(lambda: value("up{namespace='SPACE'}") == 1, 10, pause=0.5)
        wait_until(lambda: bool(value(found)), 4, pause=0.5)
    now = "count_over_time(bentoml_api_server_request_total{namespace='SPACE'}[5s])"
    seen = {"classify": value(found), "endpoints": labels_of(now, "endpoint")} if up else {}
    return {"jobs": len(jobs()), "targets": up, "classify": None, "endpoints": [], **seen}


def apply(*things: Facts) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(things)}
    platform.kubectl("-n", space(), "apply", "-f", "-", given=json.dumps(listed))


def settle(holds: Callable[[], bool], limit: float = 40.0, least: float = 0.0) -> bool:
    """Waits until Prometheus has a changed configuration, and hurries the kubelet, which would take its minute."""
    time.sleep(1 + least)  # the operator writes
    platform.hurry()
    return wait_until(holds, limit, pause=0.5)


def jobs() -> list[str]:
    text = httpx.get(f"{platform.prometheus().url}/api/v1/status/config", timeout=10).json()["data"]["yaml"]
    return re.findall(rf"job_name: (serviceMonitor/{space()}/\S+)", text)


def targets() -> list[Facts]:
    return [t for t in platform.prometheus().targets() if t["labels"].get("namespace") == space()]


def value(text: str) -> float | None:
    """The largest value of a query (SPACE: the copy's namespace); None when it returns nothing, or is refused."""
    try:
        return max((s.value for s in platform.prometheus().ask(text.replace("SPACE", space()))), default=None)
    except BadQuery:
        return None


def labels_of(text: str, label: str) -> list[str]:
    found = platform.prometheus().ask(text.replace("SPACE", space()))
    return sorted({str(s.labels.get(label, "")) for s in found})


# ---------------------------------------------------------------- queries, traces


def ask_under_load(users: int = 40, seconds: float = 14) -> Facts:
    """The queries of queries.toml as they are, and the dashboard's row of pods, while people ask."""
    with ThreadPoolExecutor(1) as pool:
        people = pool.submit(closed.run, url(), users, seconds)
        time.sleep(seconds - 1)
        facts: Facts = {name: value(query(name)) for name in QUERIES}
        facts |= {title: value(text) for title, text in POD_ROW.items()}
        facts["ends"] = people.result().ends()
    return facts


def trace_one(limit: float = 15.0) -> list[Facts]:
    """One request's steps, as Jaeger has them from the three processes: {process, name, kind, begin, end}."""
    time.sleep(2)
    began = time.time()
    httpx.post(f"{url()}/classify", json={"texts": ["Where is my parcel?"]}, timeout=20).raise_for_status()
    ended = time.time()
    spans: list[Facts] = []

    def look() -> bool:
        spans[:] = [s for trace in jaeger(began) for s in read_trace(trace)]
        return len({s["process"] for s in spans}) == 3

    wait_until(look, limit, pause=0.5)
    caller = {"process": "caller", "name": "asks, and has the answer", "kind": 0, "begin": began, "end": ended}
    return [caller, *sorted(spans, key=lambda s: float(s["begin"]))]


def jaeger(began: float) -> list[Facts]:
    port = read_names().host_port("jaeger")
    asked: dict[str, str | int] = {"service": "demo_text_intelligence", "operation": "POST /classify", "limit": 1}
    asked["start"] = int(began * 1e6)
    answer = httpx.get(f"http://127.0.0.1:{port}/api/traces", params=asked, timeout=10).json()
    return list(answer.get("data") or [])


def read_trace(trace: Facts) -> list[Facts]:
    kinds, found = {"server": 2, "client": 3}, []
    for span in trace["spans"]:
        tags = {t["key"]: t["value"] for t in span["tags"]}
        begin = span["startTime"] / 1e6
        found.append({"process": trace["processes"][span["processID"]]["serviceName"], "name": span["operationName"],
                      "kind": kinds.get(str(tags.get("span.kind")), 1), "begin": begin,
                      "end": begin + span["duration"] / 1e6})  # fmt: skip
    return found


def way(facts: Facts) -> list[Span]:
    """The trace as labs.helpers.service.traces draws it."""
    return [Span(s["process"], s["name"], s["kind"], b"", s["begin"], s["end"]) for s in facts["trace"]]


# ---------------------------------------------------------------- replicas, alerts


def scale(users: int = 40, most: float = 75) -> list[Facts]:
    """Your HorizontalPodAutoscaler under load and after it: {at, load, metric, wanted, ready}, about once a second."""
    apply(yaml.safe_load((HOME / "hpa.yaml").read_text()))
    seen: list[Facts] = []
    began = time.monotonic()

    def look(loaded: bool, until: Callable[[Facts], bool]) -> Callable[[], bool]:
        def once() -> bool:
            seen.append({"at": round(time.monotonic() - began, 1), "load": loaded, **replicas()})
            return until(seen[-1])

        return once

    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        people = pool.submit(ask_in_turns, over, users, most)
        wait_until(look(True, lambda s: s["ready"] >= 2), most, pause=1)
        wait_until(look(True, lambda s: False), 6, pause=1)
        over.set()
        people.result()
    wait_until(look(False, lambda s: s["wanted"] == 1 and s["ready"] == 1), 100, pause=1)
    platform.kubectl("-n", space(), "delete", "hpa", "--all")
    return seen


def ask_in_turns(over: threading.Event, users: int, most: float) -> None:
    """New people every few seconds: a connection that is kept stays with its pod, and a new pod would get nobody."""
    began = time.monotonic()
    while not over.is_set() and time.monotonic() - began < most:
        closed.run(url(), users=users, seconds=5)


def replicas() -> Facts:
    """What the controller sees and wants, and how many pods are ready."""
    hpa = json.loads(platform.kubectl("-n", space(), "get", "hpa", IMAGE, "-o", "json"))
    metrics = hpa["status"].get("currentMetrics") or []
    now = metrics[0]["pods"]["current"].get("averageValue") if metrics and "pods" in metrics[0] else None
    ready = platform.kubectl("-n", space(), "get", "deployment", IMAGE, "-o", "jsonpath={.status.readyReplicas}")
    wanted = hpa["status"].get("desiredReplicas", 0)
    return {"metric": quantity(now), "wanted": wanted, "ready": int(ready or 0)}


def quantity(text: str | None) -> float | None:
    """Kubernetes' way of writing a number: 7500m is 7.5."""
    return None if text is None else float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def burn(users: int = 40, seconds: float = 24, quiet: float = 40) -> Facts:
    """Your rules, twenty times as fast, while a budget of 10 ms refuses most, and while one person asks afterwards."""
    copy_service(budget=10)
    spec = yaml.safe_load(rules.scale((HOME / "rules.yml").read_text(), FASTER))
    apply({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
           "metadata": {"name": IMAGE, "labels": {"release": "monitoring"}}, "spec": spec})  # fmt: skip
    settle(lambda: bool(platform.prometheus().get("rules")["groups"]))
    wait_until(lambda: value("min(count_over_time(up{namespace='SPACE'}[20s]))") is not None, 20)
    with ThreadPoolExecutor(1) as pool:
        people = pool.submit(closed.run, url(), users, seconds)
        under = drills.watch_alerts(seconds, platform.prometheus())
        ends = people.result().ends()
        one = pool.submit(closed.run, url(), 1, quiet)
        after = drills.watch_alerts(quiet, platform.prometheus())
        silent = drills.last_firing(after)
        return {"ends": ends, "later": one.result().ends(), "fired": drills.first_firing(under), "until": silent,
                "watched": quiet}  # fmt: skip


def keep(facts: Facts) -> None:
    """Writes the run that notebooks tell where there is no cluster."""
    KEPT.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    made: dict[str, Any] = make()
    keep(made)
