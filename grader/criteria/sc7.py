"""sc7: Prometheus scrapes the service, its queries say what the service does, its rules fire when they should.

`written` reads the files of deploy/monitoring and asks promtool. `remembered` asks the queries of a Prometheus that
holds 110 minutes with known answers (grader/world/history.py). `lived` serves the learner's service at 4 and at 32
requests a batch and with batching off, under load; that takes most of the time, so it comes after all the rest.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from cluster.names import IMAGE, NAMESPACE
from grader.errors import LabError
from grader.kit import check, probe
from grader.look import seen_by
from grader.model import Facts, Finding
from grader.processes import wait_until
from grader.world import history, rules
from grader.world.load import closed
from grader.world.load.metrics import batches, mean_batch
from grader.world.metrics import fetch
from grader.world.monitors import scraped
from grader.world.prometheus import BadQuery, Prometheus, remembering, scraping
from grader.world.servers import Served, served

PLACE = "deploy/monitoring"
QUERIES = ("latency", "batch_size", "queueing")
ALERTS = {"SlowAnswers": "slow", "BudgetBurnsFast": "errors"}  # which of history's troubles each is there for
LEAST, KILLED = 6, 0.9  # mutants of a rule; the share of them that its tests have to kill
ROWS = ("service", "runners", "pods")
OF_ROW = {"service": "bentoml_api_server", "runners": "bentoml_runner"}  # series that a row is there for
BARE = ("text", "news", "dashlist", "alertlist", "annolist")  # panels that ask nothing
VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::\w+)?\}|\[\[(\w+)(?::\w+)?\]\]")
ANYTHING = ".*"
COUNTER = re.compile(r"\bbentoml_\w+_(total|sum|count|bucket)\b")
GROWTH = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv|changes|resets)\s*\(")
USERS, SECONDS = 40, 5.0
PATIENCE = 6.0  # seconds, for a page of metrics that came too late
WORDS = 12  # of a note
LIMITS = {"small": 4, "large": 32}  # requests a batch, of the note's two settings
MOST_TEXTS = 64  # of one request; a service may hand each to the runner by itself
LONGEST = 60_000  # milliseconds; nobody waits longer, whatever a note or a query says
MONITORS = "monitoring.coreos.com/v1"
CODE = ("job_name", "metrics_path", "scheme", "params", "relabel_configs", "metric_relabel_configs", "honor_labels")
# The Service that lab 05 applies; a ServiceMonitor is judged by it, with a cluster and without.
SERVICE: Facts = {"labels": {"app.kubernetes.io/name": IMAGE}, "ports": ["http"]}
# How the cluster's Prometheus is known and what it reads (manifests/observability), and its custom metric.
SELECTS = {"release": "monitoring"}
WATCHER = ({"kubernetes.io/metadata.name": "monitoring"}, {"app.kubernetes.io/name": "prometheus"})
PAGE = {"__name__": "bentoml_api_server_request_total", "endpoint": "/classify", "http_response_code": "200"}
QUEUE = "embeddingrunner_in_progress"
ELSEWHERE = {"kubernetes.io/metadata.name": "elsewhere"}
ADMITS = ("namespaceSelector", "podSelector", "ipBlock")
POLICY, SCALER = "networking.k8s.io/v1 NetworkPolicy", "autoscaling/v2 HorizontalPodAutoscaler"


@probe(limit=90, ahead=True)
def written(ws: Any) -> Facts:
    """The files, as they are, and what promtool says of the rules and their tests; 10 s."""
    home = ws.root / PLACE
    facts = look_at_files(home)
    tests = facts.pop("tests")
    document, facts["rules_problem"] = told(lambda: rules.read_yaml(home / "rules.yml"))
    if not facts["rules_problem"] and document is not None:
        facts["rules_problem"] = rules.check_rules(home / "rules.yml")
    facts["rules"] = rules.all_rules(document)[:20] if not facts["rules_problem"] else []
    try:
        facts["fired"] = situations(document, facts["rules"]) if facts["rules"] else {}
    except rules.BadRule as wrong:
        facts |= {"rules": [], "fired": {}, "rules_problem": str(wrong)[:300]}
    if not facts["rules"] or not tests:
        return facts | {"tested": {"passed": False, "said": "there is no *_test.yml" if not tests else ""}}
    passed, said = rules.run_tests(document, tests)
    tested: Facts = {"passed": passed, "said": said[-600:]}
    tested["covered"] = rules.covered(facts["rules"], tests) if passed else []
    tested["killed"] = rules.try_mutants(document, tests) if passed else {}
    return facts | {"tested": tested}


def look_at_files(home: Path) -> Facts:
    """What is read at once; `tests` are the paths of the rules' unit tests."""
    facts: Facts = {"files": sorted(p.name for p in home.glob("*")) if home.is_dir() else []}
    facts["tests"] = sorted(home.glob("*_test.yml"))[:10]
    facts["jobs"], facts["jobs_problem"] = told(lambda: read_jobs(home))
    if not facts["jobs_problem"] and "prometheus.yml" in facts["files"]:
        facts["jobs_problem"] = rules.check_config(home / "prometheus.yml")
    facts["note"], facts["note_problem"] = told(lambda: read_toml(home / "note.toml"))
    facts["monitor"], facts["monitor_problem"] = told(lambda: rules.read_yaml(home / "servicemonitor.yaml"))
    facts["policy"], facts["policy_problem"] = told(lambda: read_policy(rules.read_yaml(home / "policy.yaml")))
    facts["hpa"], facts["hpa_problem"] = told(lambda: read_scaler(rules.read_yaml(home / "hpa.yaml")))
    return facts


def told(read: Any) -> tuple[Any, str]:
    """What it returns and no problem, or nothing and the problem: a file that cannot be read is the learner's."""
    try:
        return read(), ""
    except (ValueError, OSError) as wrong:
        return None, str(wrong)[:300]


def part(thing: Any, *path: str) -> Facts:
    """The mapping at that path; {} where there is none."""
    for key in path:
        thing = thing.get(key) if isinstance(thing, dict) else None
    return thing if isinstance(thing, dict) else {}


def parts(thing: Facts, key: str) -> list[Facts]:
    found = thing.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def read_policy(thing: Any) -> Facts:
    """What a NetworkPolicy lets in: for each way its entries, and its ports."""
    ways = [
        {"from": [{n: part(f, n) for n in ADMITS if f.get(n) is not None} for f in parts(way, "from")],
         "ports": [p.get("port") for p in parts(way, "ports")]}
        for way in parts(part(thing, "spec"), "ingress")
    ]  # fmt: skip
    return {"kind": kind_of(thing), "name": str(part(thing, "metadata").get("name")), "ways": ways}


def read_scaler(thing: Any) -> Facts:
    """What a HorizontalPodAutoscaler scales, by which metrics of the pods, from how many replicas to how many."""
    spec = part(thing, "spec")
    metrics = [
        {"type": m.get("type"), "name": part(m, "pods", "metric").get("name"),
         "target": part(m, "pods", "target").get("type"), "value": str(part(m, "pods", "target").get("averageValue"))}
        for m in parts(spec, "metrics")
    ]  # fmt: skip
    target = part(spec, "scaleTargetRef")
    return {"kind": kind_of(thing), "target": f"{kind_of(target)} {target.get('name')}", "metrics": metrics,
            "least": spec.get("minReplicas", 1), "most": spec.get("maxReplicas")}  # fmt: skip


def kind_of(thing: Any) -> str:
    return f"{thing.get('apiVersion')} {thing.get('kind')}" if isinstance(thing, dict) else "nothing"


def situations(document: Facts, found: list[Facts]) -> dict[str, dict[str, bool]]:
    """For each situation: which alert of theirs fires in it."""
    names = [rules.name_of(r) for r in found if "alert" in r]
    tries = rules.situations()
    with ThreadPoolExecutor(2) as pool:
        fired = pool.map(lambda situation: rules.fired(document, names, situation), tries.values())
        return dict(zip(tries, fired, strict=True))


def read_toml(path: Path) -> Facts:
    """The file's tables; {} when it is not there. Raises ValueError."""
    if not path.is_file():
        return {}
    text = path.read_bytes()[: rules.MOST].decode(errors="replace")
    return dict(json.loads(json.dumps(tomllib.loads(text), default=str)))


def read_queries(home: Path) -> dict[str, str]:
    """Each query by its name, over series that are scraped: those that rules.yml records are put in."""
    found, _ = told(lambda: rules.all_rules(rules.read_yaml(home / "rules.yml")))
    queries = {name: query for name, query in read_toml(home / "queries.toml").items() if isinstance(query, str)}
    return {name: rules.unrecorded(query, found or []) for name, query in queries.items()}


def read_jobs(home: Path) -> list[Facts]:
    """The scrape jobs without their targets: how to ask, not whom."""
    document = rules.read_yaml(home / "prometheus.yml")
    jobs = document.get("scrape_configs") if isinstance(document, dict) else None
    return [{k: v for k, v in job.items() if k in CODE} for job in jobs or [] if isinstance(job, dict)]


def is_for_the_service(job: Facts) -> bool:
    """Whether it asks as one asks the service; another job is for another page, a kubelet's for example."""
    return (job.get("metrics_path", "/metrics"), job.get("scheme", "http")) == ("/metrics", "http")


def panels_of(home: Path) -> list[Facts]:
    """Each panel with its row, title and queries. Raises ValueError for what is no dashboard."""
    path = home / "dashboard.json"
    if not path.is_file():
        return []
    board = json.loads(path.read_bytes()[: rules.MOST])
    if not isinstance(board, dict) or not isinstance(board.get("panels"), list) or not board.get("title"):
        raise ValueError("dashboard.json has no title or no list of panels")
    row, found, known = "", [], variables(board)
    recorded, _ = told(lambda: rules.all_rules(rules.read_yaml(home / "rules.yml")))
    for panel in board["panels"]:
        if not isinstance(panel, dict) or not isinstance(panel.get("type"), str) or "gridPos" not in panel:
            raise ValueError("a panel without a type or a gridPos: Grafana does not draw it")
        if panel["type"] == "row":
            row = str(panel.get("title", "")).lower()
        inner = panel.get("panels") or [] if panel["type"] == "row" else [panel]
        for one in inner:
            if one.get("type") in BARE:
                continue
            queries = [rules.unrecorded(filled(query, known), recorded or []) for query in queries_of(one)]
            found.append({"row": row, "title": str(one.get("title", "")), "queries": queries})
    return found[:40]


def shown(panel: Facts) -> list[Facts]:
    """The panel's targets without those that Grafana does not draw."""
    return [target for target in parts(panel, "targets") if target.get("hide") is not True]


def queries_of(panel: Facts) -> list[str]:
    """Its PromQL; "" for a target that asks another data source. Sums over other targets are left out."""
    pairs = [(str(t.get("expr", "")), kind_of_source(t, panel)) for t in shown(panel)]
    return [expr if kind in ("prometheus", "datasource") else "" for expr, kind in pairs if kind != "__expr__"]


def variables(board: Facts) -> dict[str, str]:
    """The dashboard's own variables, each with its value. What Grafana asks Prometheus for is another here, so such a
    one matches anything, as All does."""
    found = {}
    for one in parts(part(board, "templating"), "list"):
        value = part(one, "current").get("value") or str(one.get("query")).split(",")[0].strip()
        chosen = [str(v) for v in value] if isinstance(value, list) else [str(value)]
        anything = one.get("type") == "query" or "$__all" in chosen
        found[str(one.get("name"))] = ANYTHING if anything else "|".join(chosen)
    return found


def filled(query: str, known: dict[str, str]) -> str:
    """The query with those variables put in: $name, ${name} or ${name:format}, [[name]]."""
    text = VARIABLE.sub(lambda m: known.get(m[1] or m[2] or m[3], m[0]), query)
    return re.sub(rf"""(?<!!)=\s*(["']){re.escape(ANYTHING)}\1""", rf'=~"{ANYTHING}"', text)


def kind_of_source(target: Facts, panel: Facts) -> str:
    """The type of the data source that it asks; Prometheus unless another one is named."""
    source = target.get("datasource") or panel.get("datasource")
    return str(source.get("type", "prometheus")) if isinstance(source, dict) else "prometheus"


def bare_row(panels: list[Facts]) -> str:
    """The first row none of whose queries names its series, or nothing."""
    for row, series in OF_ROW.items():
        texts = [q for p in panels if row in p["row"] for q in p["queries"]]
        if texts and not any(re.search(series, q) for q in texts):
            return f"no panel of the row {row} asks for {series.replace('|', ', ')}"
    return ""


def ask_panel(prometheus: Prometheus, query: str, at: float, empty: float) -> Facts:
    """What a panel shows, or why that is nothing: it says the same where Prometheus holds no data at all, or it draws a
    counter as it has grown since the process started."""
    answer = ask(prometheus, query, at)
    if answer["values"] and ask(prometheus, query, empty) == answer:
        return {"problem": "it shows the same where there are no data", "values": []}
    if COUNTER.search(query) and not GROWTH.search(query):
        return {"problem": "a counter without rate: it shows what was counted since the start", "values": []}
    return answer


@probe(limit=40, ahead=True)
def remembered(ws: Any) -> Facts:
    """What each query answers at known moments, and each panel's at one of them; 2 s."""
    home = ws.root / PLACE
    queries, _ = told(lambda: read_queries(home))
    panels, problem = told(lambda: panels_of(home))
    jobs, _ = told(lambda: read_jobs(home))
    begin = int(time.time()) // 7200 * 7200 - 4 * 3600
    name = next((str(job.get("job_name")) for job in jobs or [] if is_for_the_service(job)), "triage")
    moments = history.ends(begin)
    judged = {"latency": history.P95, "batch_size": moments, "queueing": history.QUEUED}
    with remembering(history.text(begin, name)) as prometheus:
        facts: Facts = {"answers": {}, "panels": panels or [], "panels_problem": problem}
        for query in QUERIES:
            if query in (queries or {}):
                facts["answers"][query] = {m: ask(prometheus, queries[query], moments[m]) for m in judged[query]}
        for panel in facts["panels"]:
            asked = [plain(q) for q in panel["queries"]]
            panel["answers"] = [ask_panel(prometheus, q, moments["large"], begin - 7200) for q in asked]
    facts["panels_problem"] = facts["panels_problem"] or bare_row(facts["panels"])
    return facts


def plain(query: str) -> str:
    """A panel's query with Grafana's own variables filled in."""
    for name in ("__rate_interval", "__interval", "__range"):
        query = query.replace(f"${name}", "5m").replace(f"${{{name}}}", "5m")
    return query


def ask(prometheus: Prometheus, query: str, at: float | None = None) -> Facts:
    """The values (at most 50) with their labels, or why there are none."""
    try:
        found = prometheus.ask(query, at)
    except BadQuery as refused:
        return {"problem": refused.reason[:300], "values": []}
    finite = [s for s in found if math.isfinite(s.value)]
    return {"problem": "", "values": [[s.labels, s.value] for s in finite[:50]]}


@probe(limit=200, ahead=True)
def lived(ws: Any) -> Facts:
    """The learner's service at 4 and at 32 requests a batch and with batching off, each scraped by a Prometheus of its
    own, under a short load; 40 s. No load while the files are not right, which their checks say, and none before the
    other probes have ended, whose time the servers take to start."""
    home = ws.root / PLACE
    if not are_right(files := look_at_files(home)):
        return {"settings": {}}
    settings = {"disabled": {"enabled": False}, "4": batching(4), "32": batching(32)}
    with all_watched(ws, settings, read_jobs(home)) as starts:
        if not is_worth_it(seen_by(written, ws), seen_by(remembered, ws)):
            return {"settings": {}}
        queries, running = read_queries(home), {name: start.result() for name, start in starts.items()}
        noted = {str(limit): files["note"][name]["batch"] for name, limit in LIMITS.items()}
        return {"settings": {n: under_load(*pair, queries) for n, pair in running.items()}, "noted": noted}


def are_right(files: Facts) -> bool:
    """Whether the checks pass that come before, of those that read files alone."""
    monitored = (monitor_finds_the_service, monitor_is_read, monitor_keeps_the_labels)
    quick = (scrapes_the_service, *monitored, prometheus_is_let_in, scaler_reads_the_queue, note_says_what_moved)
    return bool(files["tests"]) and all(c.judge(files).ok for c in quick)


def is_worth_it(files: Facts, answers: Facts) -> bool:
    """Whether all that come before pass."""
    rules_hold = (alerts_are_there, alerts_fire_in_time, alerts_stay_silent, tests_kill_mutants)
    asked = (queries_answer, latency_is_a_percentile, batch_size_moves, queueing_is_disjoint, dashboard_answers)
    if not files or not all(c.judge(files).ok for c in rules_hold):
        return False
    return bool(answers) and all(c.judge(answers).ok for c in asked)


def batching(size: int) -> Facts:
    return {"enabled": True, "max_batch_size": size, "max_latency_ms": 60_000}


@contextlib.contextmanager
def all_watched(
    ws: Any, settings: dict[str, Facts], jobs: list[Facts]
) -> Iterator[dict[str, Future[tuple[Served, Prometheus]]]]:
    """They start at once and end at once: most of the first is torch's time, and all of the second is waiting."""
    stacks = {name: contextlib.ExitStack() for name in settings}
    with ThreadPoolExecutor(len(settings)) as pool:
        starts = {n: pool.submit(stacks[n].enter_context, watched(ws, s, jobs)) for n, s in settings.items()}
        try:
            yield starts
        finally:
            wait(starts.values())
            list(pool.map(contextlib.ExitStack.close, stacks.values()))


@contextlib.contextmanager
def watched(ws: Any, setting: Facts, jobs: list[Facts]) -> Iterator[tuple[Served, Prometheus]]:
    """The service with that setting for both runners, and a Prometheus that scrapes it by the learner's jobs."""
    runner = {"batching": setting, "resources": {"cpu": 1}}
    config = {
        "version": 1,
        "api_server": {"max_runner_connections": 64, "traffic": {"timeout": 30}},
        "runners": dict.fromkeys(history.RUNNERS, runner),
    }
    with served(ws.service, ws.store, config=config, limit=90) as server:
        address = server.url.removeprefix("http://")
        here = [{**job, "static_configs": [{"targets": [address]}]} for job in jobs if is_for_the_service(job)]
        with scraping(here[:3]) as prometheus:
            yield server, prometheus


def under_load(server: Served, prometheus: Prometheus, queries: dict[str, str]) -> Facts:
    """What the queries say in the last second of the load, and what the service's own counters say."""
    if server.problem:
        return {"problem": server.problem, "log": server.log()}
    closed.run(server.url, users=USERS, seconds=1)  # the dispatcher begins to learn
    prometheus.wait_for_scrapes(2)
    before = fetch(server.url)
    log = closed.run(server.url, users=USERS, seconds=SECONDS, first=10_000)
    time.sleep(1.2)  # one more scrape
    after = fetch(server.url)
    facts: Facts = {"problem": "", "mean_batch": mean_batch(before, after), "answered": log.ends().get("200", 0)}
    facts["batched"] = batched(after) - batched(before)
    facts["answers"] = {name: ask(prometheus, queries[name]) for name in QUERIES}
    facts["targets"] = targets_of(prometheus)
    facts["families"] = len([n for n in prometheus.names() if n.startswith("bentoml_")])
    return facts


def targets_of(prometheus: Prometheus) -> list[Facts]:
    """How Prometheus fares with each. The page has a second, beside three services on a few cores: one that was not in
    time has some more scrapes, and then it is this machine that is too slow, which raises LabError."""

    def late() -> list[Facts]:
        return [t for t in prometheus.targets() if "context deadline exceeded" in t.get("lastError", "")]

    if not wait_until(lambda: not late(), PATIENCE, pause=0.5):
        raise LabError("This machine is too busy: no page of metrics came within a second.", "Grade sc7 once more.")
    return [{k: t.get(k, "") for k in ("scrapeUrl", "health", "lastError")} for t in prometheus.targets()]


def batched(text: str) -> float:
    """How many requests the embedding runner says it had in its batches."""
    return batches(text).get("embeddingrunner", (0.0, 0.0))[1]


def values(answer: Facts, **of: str) -> list[float]:
    """Its values; of a query by endpoint, or by runner, those of the one that is meant."""
    found = [(labels, float(v)) for labels, v in answer.get("values", [])]
    return [value for labels, value in found if all(labels.get(key, want) == want for key, want in of.items())]


def p95s(answer: Facts) -> list[float]:
    return values(answer, endpoint="/classify")


def sizes(answer: Facts) -> list[float]:
    return values(answer, runner_name="embeddingrunner")


@check(written)
def scrapes_the_service(seen: Facts) -> Finding:
    """prometheus.yml has a job that asks for /metrics."""
    wanted = f"{PLACE}/prometheus.yml with a scrape job for /metrics, by http"
    if seen["jobs_problem"] or not seen["jobs"]:
        problem = seen["jobs_problem"] or f"{PLACE}/prometheus.yml has no scrape job"
        return Finding(False, problem, seen["files"], wanted)
    paths = [f"{job.get('scheme', 'http')}://...{job.get('metrics_path', '/metrics')}" for job in seen["jobs"]]
    good = any(is_for_the_service(job) for job in seen["jobs"])
    return Finding(good, f"your job asks for {', '.join(paths)}", paths, wanted)


@check(remembered)
def queries_answer(seen: Facts) -> Finding:
    """The queries for latency, batch size and queueing return data over BentoML's real series."""
    for name in QUERIES:
        answer = seen["answers"].get(name)
        if answer is None:
            return Finding(False, f"{PLACE}/queries.toml has no {name}", sorted(seen["answers"]), list(QUERIES))
        now = answer["large"]
        if now["problem"] or not now["values"]:
            why = now["problem"] or "it returns nothing: does a series of that name, with those labels, exist?"
            return Finding(False, f"{name}: {why}", now["values"], "one value or more")
    return Finding(True, "all three queries return data", list(QUERIES), list(QUERIES))


@check(remembered, after=queries_answer)
def latency_is_a_percentile(seen: Facts) -> Finding:
    """The latency query gives the p95 of /classify over the last minutes: by the histogram, not by a mean."""
    found = {m: p95s(seen["answers"]["latency"][m]) for m in history.P95}
    good = all(found[m] and all(abs(v - p) <= 0.02 * p for v in found[m]) for m, p in history.P95.items())
    known = {"mean": 0.5, "median": 0.385, "p99": 2.35}
    like = [n for n, v in known.items() if any(abs(x - v) < 0.12 * v for x in found["large"])]
    hint = f", which looks like a {like[0]}" if like and not good else ""
    text = "where p95 is 0.175 s, then 1.75 s and then 0.175 s again, your query says"
    return Finding(good, f"{text} {found}{hint}", found, history.P95)


@check(remembered, after=queries_answer)
def batch_size_moves(seen: Facts) -> Finding:
    """The batch-size query follows the embedding runner's batches: small, large, small again, and nothing while
    batching is off. A mean, also by runner or worker, or a percentile."""
    found = {m: sizes(seen["answers"]["batch_size"][m]) for m in ("disabled", *history.BATCH)}
    wanted = {"disabled": [], "small": "about 3", "large": "about 18", "again": "about 3"}
    if found["disabled"]:
        return Finding(
            False, f"with batching off there is no batch, and your query says {found['disabled']}", found, wanted
        )
    moves = all(found[m] and all(0.75 * b <= v <= history.LIMIT[m] for v in found[m]) for m, b in history.BATCH.items())
    text = "where batches have 3 requests, later 18, and later 3 again, your query says"
    return Finding(moves, f"{text} {found['small']}, {found['large']} and {found['again']}", found, wanted)


@check(remembered, after=queries_answer)
def queueing_is_disjoint(seen: Facts) -> Finding:
    """The queueing query counts each request once: those in the API server that are in no runner."""
    found = {m: values(seen["answers"]["queueing"][m]) for m in history.QUEUED}
    good = all(len(found[m]) == 1 and abs(found[m][0] - q) < 0.01 for m, q in history.QUEUED.items())
    text = "with 15 requests in the API server, 9 of them in one runner and 1 in the other, 5 are in front; you say"
    return Finding(good, f"{text} {found['small']}", found, history.QUEUED)


@check(written)
def alerts_are_there(seen: Facts) -> Finding:
    """rules.yml has the alerts SlowAnswers and BudgetBurnsFast, and promtool reads it."""
    if seen["rules_problem"]:
        return Finding(False, seen["rules_problem"], seen["files"], "rules that promtool reads")
    found = [rules.name_of(r) for r in seen["rules"]]
    good = set(ALERTS) <= set(found)
    return Finding(good, f"{PLACE}/rules.yml has {', '.join(found) or 'no rule'}", found, list(ALERTS))


@check(written, after=alerts_are_there)
def alerts_fire_in_time(seen: Facts) -> Finding:
    """Each alert fires in the trouble that it is named for."""
    for what, situation in rules.situations().items():
        wanted = situation.wanted
        fired = seen["fired"][what]
        for alert, trouble in ALERTS.items():
            if wanted[trouble] and not fired.get(alert):
                return Finding(False, f"{alert} does not fire in {what}", fired, {alert: True})
    return Finding(True, "each alert fires in its trouble", seen["fired"], "")


@check(written, after=alerts_are_there)
def alerts_stay_silent(seen: Facts) -> Finding:
    """No alert fires over an idle hour, without data, in good hours, or in the other one's trouble."""
    for what, situation in rules.situations().items():
        fired = seen["fired"][what]
        for alert in [rules.name_of(r) for r in seen["rules"] if "alert" in r]:
            if fired[alert] and not may_fire(alert, situation, seen):
                return Finding(False, f"{alert} fires in {what}", fired, {alert: False})
    return Finding(True, "silent over an idle hour, without data, and when all is good", seen["fired"], "")


def may_fire(alert: str, situation: rules.Situation, seen: Facts) -> bool:
    """Whether the alert may fire there. One that the kit did not ask for may see trouble in any but a still hour, and
    one that fires without data is about what is missing: these hours do not have all that there could be."""
    if alert in ALERTS:
        return situation.wanted[ALERTS[alert]]
    return not situation.still or bool(seen["fired"][rules.NO_DATA][alert])


@check(written, after=[alerts_fire_in_time, alerts_stay_silent])
def tests_kill_mutants(seen: Facts) -> Finding:
    """Your promtool tests pass on your rules, make each one fire once, and fail on nine of ten small mistakes in it."""
    tested, names = seen["tested"], [rules.name_of(r) for r in seen["rules"]]
    wanted = f"all rules covered, {KILLED:.0%} of each one's mutants killed"
    if not tested["passed"]:
        return Finding(False, f"the unit tests of the rules do not pass: {tested['said']}", [], wanted)
    if bare := [n for n in names if n not in tested["covered"]]:
        return Finding(False, f"no test makes {bare[0]} fire", tested["covered"], wanted)
    for name in names:
        killed = tested["killed"].get(name, {})
        alive = [what for what, dead in killed.items() if not dead]
        if name in ALERTS and (parts := parts_of(name, seen)) < LEAST:
            return Finding(False, f"{name} has only {parts} parts that a test could find broken", killed, LEAST)
        if len(alive) > (1 - KILLED) * len(killed):
            text = f"{name}: with one part changed your tests still pass: {'; '.join(alive[:4])}"
            return Finding(False, text, f"{len(killed) - len(alive)} of {len(killed)} killed", wanted)
    counts = {n: f"{sum(k.values())} of {len(k)}" for n, k in tested["killed"].items()}
    return Finding(True, f"every rule is covered; mutants killed: {counts}", counts, wanted)


def parts_of(name: str, seen: Facts) -> int:
    """How many mutants the alert has, with those of the recording rules that it reads."""
    reads = [r for r in seen["rules"] if rules.name_of(r) == name]
    read = [rules.name_of(r) for r in seen["rules"] if "record" in r and str(r["record"]) in str(reads)]
    return sum(len(seen["tested"]["killed"].get(n, {})) for n in (name, *read))


@check(remembered)
def dashboard_answers(seen: Facts) -> Finding:
    """dashboard.json has the rows service, runners and pods, in that order, and every panel's query returns data."""
    if seen["panels_problem"] or not seen["panels"]:
        return Finding(False, seen["panels_problem"] or f"there is no {PLACE}/dashboard.json", [], list(ROWS))
    found = list(dict.fromkeys(p["row"] for p in seen["panels"]))
    order = [next((r for r in ROWS if r in row), row) for row in found]
    if order != list(ROWS):
        return Finding(False, "the rows of the dashboard", found, list(ROWS))
    for panel in seen["panels"]:
        bad = [q for q, a in zip(panel["queries"], panel["answers"], strict=True) if a["problem"] or not a["values"]]
        if bad or not panel["queries"]:
            why = next((f": {a['problem']}" for a in panel["answers"] if a["problem"]), "")
            return Finding(False, f"the panel {panel['title']!r} shows nothing{why}", bad, "a query that returns data")
    return Finding(True, f"{len(seen['panels'])} panels, each with data", found, list(ROWS))


@check(written)
def monitor_finds_the_service(seen: Facts) -> Finding:
    """servicemonitor.yaml selects the Service of lab 05 by its Kubernetes labels, and its port by name."""
    wanted = {"matchLabels": SERVICE["labels"], "port": SERVICE["ports"][0]}
    monitor = seen["monitor"] if isinstance(seen["monitor"], dict) else {}
    spec = monitor.get("spec") if isinstance(monitor.get("spec"), dict) else None
    if seen["monitor_problem"] or monitor.get("kind") != "ServiceMonitor" or not spec:
        problem = seen["monitor_problem"] or f"there is no ServiceMonitor in {PLACE}/servicemonitor.yaml"
        return Finding(False, problem, monitor.get("kind"), wanted)
    if problem := monitor_defect(monitor, spec):
        return Finding(False, problem, monitor, wanted)
    chosen = part(spec, "selector", "matchLabels")
    terms = parts(part(spec, "selector"), "matchExpressions")
    ends = [e for e in spec.get("endpoints") or [] if isinstance(e, dict)]
    lacking = {k: v for k, v in chosen.items() if SERVICE["labels"].get(k) != v}
    found = {"matchLabels": chosen, "ports": [e.get("port") for e in ends]}
    if lacking or not (chosen or terms) or not all(selects(term, SERVICE["labels"]) for term in terms):
        return Finding(False, f"the Service has no Kubernetes label {lacking or 'that is asked for'}", found, wanted)
    places = part(spec, "namespaceSelector")
    named = places.get("matchNames") or [NAMESPACE]
    if not places.get("any") and not any(str(n).startswith(NAMESPACE) for n in named):
        return Finding(False, f"it looks in {places}, where the Service is not", places, wanted)
    good = any(finds(end) for end in ends)
    return Finding(good, f"the Service's port is called {SERVICE['ports'][0]}, the path /metrics", found, wanted)


def selects(term: Facts, labels: Facts) -> bool:
    """Whether one of matchExpressions holds of those labels."""
    value = labels.get(str(term.get("key")))
    given = [str(v) for v in term.get("values") or []]
    known = {"In": value in given, "NotIn": value not in given, "Exists": value is not None}
    return bool(known.get(str(term.get("operator")), value is None))


def finds(end: Facts) -> bool:
    plain_http = str(end.get("scheme", "http")).lower() == "http"
    return end.get("port") in SERVICE["ports"] and end.get("path", "/metrics") == "/metrics" and plain_http


def monitor_defect(monitor: Facts, spec: Facts) -> str:
    """What the operator's own definition of a ServiceMonitor refuses, or nothing."""
    if monitor.get("apiVersion") != MONITORS:
        return f"no ServiceMonitor has the apiVersion {monitor.get('apiVersion')}: it is {MONITORS}"
    metadata = monitor.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        return "the ServiceMonitor has no name"
    times = [str(e["interval"]) for e in spec.get("endpoints") or [] if isinstance(e, dict) and e.get("interval")]
    wrong = [t for t in times if not re.fullmatch(r"(\d+(y|w|d|h|m|s|ms))+|0", t)]
    return f"an interval of {wrong[0]} is none that Prometheus reads" if wrong else ""


@check(written, after=monitor_finds_the_service)
def monitor_is_read(seen: Facts) -> Finding:
    """servicemonitor.yaml carries the Kubernetes label by which the cluster's Prometheus selects what it reads."""
    labels = part(seen["monitor"], "metadata", "labels")
    good = all(labels.get(key) == value for key, value in SELECTS.items())
    text = f"the cluster's Prometheus reads ServiceMonitors with {SELECTS}; yours has {labels or 'no label'}"
    return Finding(good, text, labels, SELECTS)


@check(written, after=monitor_finds_the_service)
def monitor_keeps_the_labels(seen: Facts) -> Finding:
    """Scraped by it, BentoML's label `endpoint` stays what it is, so that the queries find the same in the cluster."""
    ends = [end for end in parts(seen["monitor"]["spec"], "endpoints") if finds(end)]
    found = [scraped(end, IMAGE, PAGE).get("endpoint", "") for end in ends]
    wrong = [value for value in found if value != PAGE["endpoint"]]
    text = "the operator gives each target a label `endpoint`, the port's name, and BentoML's own is then"
    said = f"{text} {wrong[0] or 'gone'}" if wrong else "BentoML's label `endpoint` is kept"
    return Finding(not wrong, said, found, "honorLabels: true")


@check(written)
def prometheus_is_let_in(seen: Facts) -> Finding:
    """policy.yaml, a NetworkPolicy, lets the cluster's Prometheus in at port 3000, and not everybody."""
    wanted = (
        f"a NetworkPolicy {IMAGE}: ingress from pods with {WATCHER[1]} in the namespace with {WATCHER[0]}, port 3000"
    )
    policy = seen["policy"]
    if seen["policy_problem"] or (policy["kind"], policy["name"]) != (POLICY, IMAGE):
        return Finding(False, seen["policy_problem"] or f"{PLACE}/policy.yaml is none for {IMAGE}", policy, wanted)
    if any(not way["from"] for way in policy["ways"]):
        return Finding(False, "a way in without `from` is open to everybody", policy["ways"], wanted)
    found = [entry for way in policy["ways"] for entry in way["from"]]
    ports = [port for way in policy["ways"] for port in way["ports"]]
    if wide := [e for e in found if admits(e, ELSEWHERE, {}) or admits(e, ELSEWHERE, WATCHER[1])]:
        return Finding(False, f"{wide[0]} lets in pods of any namespace", found, wanted)
    good = any(admits(e, *WATCHER) and not admits(e, WATCHER[0], {}) for e in found)
    good = good and bool(ports) and all(port in (3000, *SERVICE["ports"]) for port in ports)
    return Finding(good, f"the policy lets in {found} at {ports}", found, wanted)


def admits(entry: Facts, namespace: Facts, pod: Facts) -> bool:
    """Whether an entry of `from` lets in a pod with those labels, of another namespace, which has those labels."""
    if "ipBlock" in entry:
        return str(entry["ipBlock"].get("cidr")).endswith("/0")
    pairs = [(entry[n], labels) for n, labels in zip(ADMITS, (namespace, pod), strict=False) if n in entry]
    return ADMITS[0] in entry and all(is_selected(*pair) for pair in pairs)


def is_selected(selector: Facts, labels: Facts) -> bool:
    """Whether a selector's matchLabels and matchExpressions hold of those labels; an empty one holds of any."""
    same = all(labels.get(key) == value for key, value in part(selector, "matchLabels").items())
    return same and all(selects(term, labels) for term in parts(selector, "matchExpressions"))


@check(written)
def scaler_reads_the_queue(seen: Facts) -> Finding:
    """hpa.yaml scales the Deployment by the requests inside the embedding runner, an average a pod."""
    wanted = f"metrics of type Pods: {QUEUE}, AverageValue; minReplicas below maxReplicas, which is at most 10"
    scaler = seen["hpa"]
    if seen["hpa_problem"] or (scaler["kind"], scaler["target"]) != (SCALER, f"apps/v1 Deployment {IMAGE}"):
        return Finding(False, seen["hpa_problem"] or f"{PLACE}/hpa.yaml is none of {IMAGE}", scaler, wanted)
    least, most = scaler["least"], scaler["most"]
    enough = all(isinstance(n, int) for n in (least, most)) and 1 <= least < most <= 10
    read = any(reads_the_queue(metric) for metric in scaler["metrics"])
    return Finding(enough and read, f"it scales {least} to {most} replicas by {scaler['metrics']}", scaler, wanted)


def reads_the_queue(metric: Facts) -> bool:
    asked = (metric["type"], metric["name"], metric["target"])
    return asked == ("Pods", QUEUE, "AverageValue") and is_quantity(metric["value"])


def is_quantity(text: Any) -> bool:
    """A positive number as Kubernetes writes one: 8, 7.5 or 7500m."""
    return bool(re.fullmatch(r"(?!0+(\.0+)?m?$)\d+(\.\d+)?m?", str(text)))


@check(written)
def note_says_what_moved(seen: Facts) -> Finding:
    """note.toml names mean batch and p95 of both settings, the one that you choose, and why."""
    note = seen["note"] or {}
    wanted = f"[small] and [large] with batch and p95_ms, chosen = small or large, why in {WORDS} words or more"
    parts: list[Facts] = [note[n] if isinstance(note.get(n), dict) else {} for n in ("small", "large")]
    numbers = [float(p[k]) if isinstance(p.get(k), int | float) else 0.0 for p in parts for k in ("batch", "p95_ms")]
    if seen["note_problem"] or min(numbers) <= 0:
        return Finding(False, seen["note_problem"] or f"{PLACE}/note.toml lacks figures", note, wanted)
    if numbers[0] >= numbers[2]:
        return Finding(False, "the note's batches do not grow with the limit", numbers, wanted)
    for name, (batch, p95), limit in zip(LIMITS, (numbers[:2], numbers[2:]), LIMITS.values(), strict=True):
        if not 1 <= batch <= limit or not 1 <= p95 <= LONGEST:
            text = f"the note says batches of {batch:g} and a p95 of {p95:g} ms of the {name} setting"
            return Finding(False, f"{text}, whose limit is {limit} requests", numbers, wanted)
    said = re.findall(r"\w+", str(note.get("why", "")))
    words = len(said)
    good = note.get("chosen") in ("small", "large") and words >= WORDS and len(set(said)) >= WORDS // 2
    return Finding(
        good, f"the note chooses {note.get('chosen') or 'nothing'} and says why in {words} words", words, wanted
    )


BEFORE_LOAD = [
    scrapes_the_service, latency_is_a_percentile, batch_size_moves, queueing_is_disjoint, tests_kill_mutants,
    dashboard_answers, monitor_is_read, monitor_keeps_the_labels, prometheus_is_let_in, scaler_reads_the_queue,
    note_says_what_moved,
]  # fmt: skip


@check(lived, after=BEFORE_LOAD)
def scrape_finds_bentoml(seen: Facts) -> Finding:
    """Pointed at your own service, your scrape job finds BentoML's series."""
    for name, found in seen["settings"].items():
        if found["problem"]:
            log = found.get("log", "")
            return Finding(False, f"batching {name}: {found['problem']}: {log}", found, "a service that runs")
        down = [t for t in found["targets"] if t["health"] != "up"]
        if down or not found["targets"] or found["families"] < 1:
            why = down[0]["lastError"] if down else "nothing of BentoML's is on that page"
            return Finding(False, f"your job scrapes, and {why}", found["targets"], "BentoML's families")
    return Finding(bool(seen["settings"]), "your job finds BentoML's families", list(seen["settings"]), "")


@check(lived, after=scrape_finds_bentoml)
def metrics_are_counted(seen: Facts) -> Finding:
    """The page is the service's own word, so it is compared with what came back: each answer was in a batch."""
    told = {n: [s["answered"], s["batched"]] for n, s in seen["settings"].items()}
    wanted = "with batching at least as many requests in batches as were answered, without it none"
    for name, (answered, in_batches) in told.items():
        least, most = (0, 0) if name == "disabled" else (0.85 * answered, MOST_TEXTS * answered)
        if answered < 1 or not least <= in_batches <= most:
            text = f"batching {name}: {answered} requests were answered, and /metrics has {in_batches:g} in batches"
            return Finding(False, f"{text} of the embedding runner", told, wanted)
    return Finding(True, "what /metrics counts is what was answered", told, wanted)


@check(lived, after=metrics_are_counted)
def queries_move_live(seen: Facts) -> Finding:
    """Under load your batch-size query is larger at 32 than at 4, as the counters are, and returns nothing when off."""
    found = {n: sizes(s["answers"]["batch_size"]) for n, s in seen["settings"].items()}
    truth = {n: s["mean_batch"] for n, s in seen["settings"].items()}
    for name in ("latency", "queueing"):
        told = {n: values(s["answers"][name], endpoint="/classify") for n, s in seen["settings"].items()}
        if not all(told.values()):
            text = f"the {name} query returns nothing of your own service"
            return Finding(False, text, told, "a value in each setting")
        if name == "latency" and not all(0 < v <= LONGEST / 1000 for some in told.values() for v in some):
            return Finding(False, "the latency query says what no p95 in seconds is", told, "a p95 in each setting")
    if found["disabled"]:
        return Finding(False, f"with batching off your query says {found['disabled']}", found, "nothing")
    moved = bool(found["4"] and found["32"]) and max(found["32"]) > 1.3 * max(found["4"])
    moved = moved and all(any(near(v, truth[n]) for v in found[n]) for n in ("4", "32"))
    text = f"requests a batch at most 4: {found['4']}, at most 32: {found['32']}; the counters say {truth}"
    return Finding(moved, text, found, "more at 32 than at 4, and near what the counters say")


@check(lived, after=queries_move_live)
def note_holds(seen: Facts) -> Finding:
    """The note's mean batches are like those that the same forty people make here, of both settings."""
    noted, truth = seen["noted"], {n: seen["settings"][n]["mean_batch"] for n in ("4", "32")}
    # At most 4 are full whatever the machine does; how full one of 32 is depends on what else it does.
    good = near(noted["4"], truth["4"]) and near(noted["32"], truth["32"], factor=3)
    said = [f"{found['4']:.1f} and {found['32']:.1f}" for found in (noted, truth)]
    text = f"requests a batch, at most 4 and at most 32: your note says {said[0]}, the counters say {said[1]} here"
    return Finding(good, text, noted, truth)


def near(value: float, truth: float | None, factor: float = 2) -> bool:
    """Whether a query over the last seconds, or one at another time, tells what the counters tell of the whole load."""
    return truth is not None and truth <= factor * value and value <= factor * truth
