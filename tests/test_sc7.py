"""sc7 without a service: cluster files by what they do, dashboards, alerts of one's own, jobs, scrapes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import KEPT, read_evidence

from cluster.names import IMAGE
from grader.criteria import sc7
from grader.errors import LabError
from grader.world import prometheus, rules
from grader.world.monitors import scraped

KEEP = {"regex": "exported_(.+)", "action": "labelmap"}
DROP = {"action": "labeldrop", "regex": "endpoint"}
BACK = {"sourceLabels": ["exported_endpoint"], "regex": "(.+)", "targetLabel": "endpoint"}


def written(**changes: Any) -> dict[str, Any]:
    return read_evidence(KEPT / "sc7.json")["written"].facts | changes


@pytest.mark.parametrize(
    ("end", "endpoint"),
    [
        ({"honorLabels": True}, "/classify"),
        ({}, "http"),
        ({"relabelings": [DROP]}, "/classify"),
        ({"relabelings": [{"action": "LabelDrop", "regex": "end"}]}, "http"),
        ({"metricRelabelings": [DROP]}, ""),
        ({"metricRelabelings": [KEEP]}, "/classify"),
        ({"metricRelabelings": [{**KEEP, "replacement": "${1}"}, DROP | {"regex": "exported_.*"}]}, "/classify"),
        ({"relabelings": [KEEP]}, "http"),
        ({"metricRelabelings": [BACK]}, "/classify"),
        ({"metricRelabelings": [{**BACK, "action": "Replace", "replacement": "$2"}]}, ""),
        ({"relabelings": [BACK]}, "http"),  # no target has a label of that name
        ({"relabelings": [{"targetLabel": "endpoint", "replacement": "http"}]}, "http"),
        ({"relabelings": [{"targetLabel": "endpoint", "replacement": ""}]}, "/classify"),
        ({"relabelings": [{**BACK, "targetLabel": "a"}, {"action": "labelkeep", "regex": "a|job"}]}, "/classify"),
        ({"honorLabels": True, "metricRelabelings": [{"action": "labelkeep", "regex": "__name__|le"}]}, ""),
        ({"honorLabels": True, "metricRelabelings": [
            {"action": "drop", "sourceLabels": ["__name__"], "regex": "bentoml_.*"}]}, ""),
        ({"honorLabels": True, "metricRelabelings": [
            {"action": "keep", "sourceLabels": ["__name__"], "regex": "bentoml_.*"}]}, "/classify"),
        ({"honorLabels": True, "relabelings": [
            {"action": "keep", "sourceLabels": ["__meta_kubernetes_pod_label_app"], "regex": "a"}]}, "/classify"),
        ({"honorLabels": True, "relabelings": "none", "metricRelabelings": ["none", {"regex": "("}]}, "/classify"),
    ],
)  # fmt: skip
def test_a_label_is_followed_through_both_relabellings(end: dict[str, Any], endpoint: str) -> None:
    assert scraped({"port": "http", **end}, "a", sc7.PAGE).get("endpoint", "") == endpoint
    monitor = {"spec": {"endpoints": [{"port": "http", **end}, {"port": "another"}]}}
    assert sc7.monitor_keeps_the_labels.judge({"monitor": monitor}).ok is (endpoint == "/classify")


NAMESPACE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
POD = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}
TERM = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring"]}


def is_let_in(*entries: dict[str, Any], ports: tuple[Any, ...] = (3000,)) -> bool:
    way = {"from": list(entries), "ports": [{"port": port} for port in ports]}
    text = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": IMAGE}}
    policy = sc7.read_policy({**text, "spec": {"ingress": [way]}})
    return sc7.prometheus_is_let_in.judge(written(policy=policy)).ok


def test_a_policy_is_judged_by_whom_it_lets_in() -> None:
    assert is_let_in(NAMESPACE | POD)
    assert is_let_in(NAMESPACE | POD, {"podSelector": {}}, ports=("http",))  # the pods of its own namespace
    assert is_let_in({"namespaceSelector": {"matchExpressions": [TERM]}} | POD, {"ipBlock": {"cidr": "10.1.0.0/16"}})
    assert is_let_in(NAMESPACE | POD | {"ipBlock": None}, {"namespaceSelector": {"matchLabels": {"team": "gateway"}}})
    assert not is_let_in(NAMESPACE, POD) and not is_let_in(NAMESPACE) and not is_let_in(POD)
    assert not is_let_in(NAMESPACE | POD, ports=(3001,)) and not is_let_in(NAMESPACE | POD, ports=())


@pytest.mark.parametrize(
    "entry",
    [
        {"namespaceSelector": {}}, {"namespaceSelector": {}} | POD, {"ipBlock": {"cidr": "0.0.0.0/0"}},
        {"ipBlock": {"cidr": "::/0", "except": ["fd00::/8"]}},
        {"namespaceSelector": {"matchExpressions": [TERM | {"operator": "Exists"}]}},
        {"namespaceSelector": {"matchExpressions": [TERM | {"operator": "NotIn", "values": ["kube-system"]}]}} | POD,
    ],
)  # fmt: skip
def test_an_entry_for_everybody_is_one_beside_the_right_one_too(entry: dict[str, Any]) -> None:
    assert not is_let_in(NAMESPACE | POD, entry)


def test_alerts_of_ones_own_are_silent_where_nothing_is_the_matter() -> None:
    """They may fire in any trouble; one that fires without data is about what is missing, and is not judged."""

    def fires_in(*moments: str) -> bool:
        kept = written()
        fired = {what: {**alerts, "Mine": what in moments} for what, alerts in kept["fired"].items()}
        seen = {**kept, "fired": fired, "rules": [*kept["rules"], {"alert": "Mine", "expr": "x"}]}
        return sc7.alerts_stay_silent.judge(seen).ok

    still = [what for what, situation in rules.situations().items() if situation.still]
    assert len(still) == 3 and not any(fires_in(what) for what in still)
    assert fires_in(*(set(rules.situations()) - set(still) - {rules.NO_DATA}))
    assert fires_in(*rules.situations())
    kept = written()["fired"]
    for name in sc7.ALERTS:
        loud = {what: {**alerts, name: True} for what, alerts in kept.items()}
        assert not sc7.alerts_stay_silent.judge(written(fired=loud)).ok


@pytest.mark.parametrize(
    ("listed", "query", "asked"),
    [
        ({"type": "custom", "current": {"value": "/a"}}, 'x{p="$v"}', 'x{p="/a"}'),
        ({"type": "custom", "current": {"value": ["/a", "/b"]}}, 'x{p=~"${v:regex}"}', 'x{p=~"/a|/b"}'),
        ({"type": "custom", "query": "5m, 1h"}, "rate(x[$v])", "rate(x[5m])"),
        ({"type": "custom", "current": {"value": ["$__all"]}}, 'x{p=~"[[v]]"}', 'x{p=~".*"}'),
        ({"type": "query", "current": {"value": "127.0.0.1:3000"}}, 'x{p="$v", q!="a"}', 'x{p=~".*", q!="a"}'),
        ({"type": "query", "query": "label_values(up, v)"}, "x{p=~'$v', q=\"$w\"}", "x{p=~'.*', q=\"$w\"}"),
    ],
)
def test_a_dashboards_variables_are_put_in(listed: dict[str, Any], query: str, asked: str) -> None:
    known = sc7.variables({"templating": {"list": [{"name": "v", **listed}]}})
    assert sc7.filled(query, known) == asked


def test_queries_over_recorded_series_are_asked_by_their_rules(tmp_path: Path) -> None:
    recorded = {"groups": [{"name": "a", "rules": [{"record": "a:mean", "expr": "sum(x) # all"}]}]}
    (tmp_path / "queries.toml").write_text('batch_size = "a:mean"\n')
    assert sc7.read_queries(tmp_path) == {"batch_size": "a:mean"}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(recorded))
    assert sc7.read_queries(tmp_path) == {"batch_size": "(sum(x) )"}
    panel = {"type": "stat", "title": "t", "gridPos": {}, "targets": [{"expr": "a:mean"}]}
    (tmp_path / "dashboard.json").write_text(json.dumps({"title": "b", "panels": [panel]}))
    assert sc7.panels_of(tmp_path)[0]["queries"] == ["(sum(x) )"]


def test_a_job_for_another_page_is_not_for_the_service() -> None:
    kubelet, secret = {"metrics_path": "/metrics/cadvisor"}, {"scheme": "https"}
    for jobs, good in (([kubelet, {}], True), ([kubelet], False), ([secret], False), ([{"scheme": "http"}], True)):
        assert sc7.scrapes_the_service.judge(written(jobs=jobs)).ok is good


class Scraped(prometheus.Prometheus):
    """Says these of its target, one after the other, and then the last for ever."""

    def targets(self) -> list[dict[str, Any]]:
        errors = self.folder.read_text().splitlines()
        self.folder.write_text("\n".join(errors[1:] or errors))
        return [{"scrapeUrl": "u", "health": "down" if errors[0] != "-" else "up", "lastError": errors[0].strip("-")}]


def test_a_page_that_came_too_late_is_the_machines_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = 'Get "http://127.0.0.1:1/metrics": context deadline exceeded'
    monkeypatch.setattr(sc7, "PATIENCE", 0.3)
    file = tmp_path / "errors"
    file.write_text(f"{late}\n-")
    assert sc7.targets_of(Scraped("", file)) == [{"scrapeUrl": "u", "health": "up", "lastError": ""}]
    file.write_text("server returned HTTP status 404")
    assert sc7.targets_of(Scraped("", file))[0]["health"] == "down"
    file.write_text(late)
    with pytest.raises(LabError, match="too busy"):
        sc7.targets_of(Scraped("", file))


def test_a_rule_that_cannot_be_computed_is_the_learners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise rules.BadRule("rule: Slow, time: 0s, err: many-to-many matching not allowed")

    home = tmp_path / sc7.PLACE
    home.mkdir(parents=True)
    (home / "rules.yml").write_text("groups: [{name: a, rules: [{alert: Slow, expr: x}]}]\n")
    monkeypatch.setattr(rules, "fired", breaks)
    monkeypatch.setattr(rules, "check_rules", lambda _: "")
    seen = sc7.written.look(type("Workspace", (), {"root": tmp_path}))
    assert "many-to-many" in sc7.alerts_are_there.judge(seen).message
