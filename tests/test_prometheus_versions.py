"""promtool 2.42 (Debian's) tries the rules, Prometheus 3.11 runs them in the cluster: where do the two differ?

Both hold the same 110 minutes. The rules and queries of lab 08 say the same in both; each known difference is
asked of both as well, so that one that goes away, or comes, is seen here. 3.11 is the cluster's image, run by Docker.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from live_cluster import not_run

from cluster.material import images_of, pull_image
from cluster.tools import look
from grader.kit import Kit
from grader.processes import wait_until
from grader.world import history, rules
from grader.world.prometheus import BadQuery, Prometheus, promtool, remembering
from labs.helpers.teaching import incidents

pytestmark = [pytest.mark.cluster, pytest.mark.skipif(not look("promtool")[0], reason="no promtool")]
BEGIN = 1_760_000_400 // 7200 * 7200
ENDS = history.ends(BEGIN)
JOB = 'bentoml_api_server_request_total{job="triage",endpoint="/readyz"}'
# query -> what an old one says, what a new one says; None: refused
DIFFERENCES: dict[str, tuple[float | None, float | None]] = {
    # a range is open on the left: of samples each 5 s, 15 s before a sample hold three, where they used to hold four
    f"count_over_time({JOB}[15s])": (4, 3),
    # so a window of one scrape interval has one sample, and no rate
    f"count(rate({JOB}[5s]))": (1, 0),
    # `.` matches a line's end, too
    'count(label_replace(label_replace(vector(1), "x", "a\\nb", "", ""), "y", "found", "x", "a.b") == 1 and on(y) '
    'label_replace(vector(1), "y", "found", "", ""))': (0, 1),
    # renamed: double_exponential_smoothing, behind a feature flag
    f"count(holt_winters({JOB}[1m], 0.5, 0.5))": (1, None),
    # names beyond letters, digits and _: in quotes among the labels
    'count({"bentoml_api_server_request_total"}) == bool count(bentoml_api_server_request_total)': (None, 1),
}


def image() -> str:
    return next(i for i in images_of("08") if i.startswith("prom/prometheus"))


@pytest.fixture(scope="module")
def old() -> Iterator[Prometheus]:
    found = promtool("--version", cwd=ROOT).output
    if not re.search(r"version 2\.", found):
        pytest.skip(f"promtool is no 2.x here: {found.splitlines()[0]}")
    with remembering(history.text(BEGIN, "triage")) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The cluster's version, with the same blocks, on a free port of 127.0.0.1; its container is removed."""
    home = tmp_path_factory.mktemp("new")
    (home / "history.txt").write_text(history.text(BEGIN, "triage"))
    made = promtool("tsdb", "create-blocks-from", "openmetrics", "history.txt", "data", cwd=home)
    assert made.ok, made.output
    (home / "prometheus.yml").write_text("scrape_configs: []\n")
    words = ["docker", "run", "--detach", "--user=0", "--publish=127.0.0.1::9090", f"--volume={home}:/home:rw", image()]
    words += [
        "--config.file=/home/prometheus.yml",
        "--storage.tsdb.path=/home/data",
        "--storage.tsdb.retention.time=20y",
    ]
    if trouble := pull_image(image(), print):
        not_run(trouble)
    box = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    try:
        port = subprocess.run(["docker", "port", box, "9090"], capture_output=True, text=True, check=True).stdout
        prometheus = Prometheus(f"http://127.0.0.1:{port.split()[0].rpartition(':')[2]}")
        assert wait_until(lambda: answers(prometheus), 20, pause=0.3)
        yield prometheus
    finally:
        subprocess.run(["docker", "rm", "--force", box], capture_output=True, timeout=60)


def answers(prometheus: Prometheus) -> bool:
    try:
        return bool(prometheus.ask("vector(1)"))
    except Exception:
        return False


def told(prometheus: Prometheus, query: str, at: float) -> float | None:
    """The largest value, 0 for an empty answer, None for a refusal."""
    try:
        return max((s.value for s in prometheus.ask(query, at)), default=0.0)
    except BadQuery:
        return None


def written(name: str) -> str:
    return incidents.solution_file(Kit(ROOT), "08", f"deploy/monitoring/{name}")


def asked() -> dict[str, str]:
    """The solution's queries, and each rule's expression, whole and in its parts."""
    found: dict[str, Any] = dict(tomllib.loads(written("queries.toml")))
    for rule in rules.all_rules(yaml.safe_load(written("rules.yml"))):
        found[rule["alert"]] = rule["expr"]
        plain = re.sub(r"#.*", "", rule["expr"])
        parts = re.split(r"\band\b|[<>]=? ?[\d.]+", plain)
        found |= {f"{rule['alert']} {n}": part for n, part in enumerate(parts) if part.strip()}
    return found


@pytest.mark.slow
def test_the_rules_and_queries_say_the_same_in_both(old: Prometheus, new: Prometheus) -> None:
    for name, query in asked().items():
        for phase, at in ENDS.items():
            for moment in (at, at + 2):  # on a sample, and between two
                wanted = told(old, query, moment)
                assert wanted is not None, (name, query)
                assert told(new, query, moment) == pytest.approx(wanted, rel=0.02), (name, phase, moment)


@pytest.mark.slow
@pytest.mark.parametrize("query", DIFFERENCES)
def test_where_they_differ(query: str, old: Prometheus, new: Prometheus) -> None:
    at = ENDS["large"]  # on a sample: BEGIN and the steps are whole multiples of five seconds
    assert (told(old, query, at), told(new, query, at)) == DIFFERENCES[query]


def test_no_rule_has_a_window_of_one_scrape(tmp_path: Path) -> None:
    """What the first differences could break: every window holds four scrapes or more, as the lesson scrapes them."""
    text = yaml.safe_dump(yaml.safe_load(rules.scale(written("rules.yml"), 60)))
    assert min(int(seconds) for seconds in re.findall(r"\[(\d+)s\]", text)) >= 4
