"""What lab 08 and sc7 stand on: files read with care, rules broken in small ways, queries with known answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cluster.tools import look
from grader.errors import LabError
from grader.world import history, metrics, prometheus, rules
from labs.helpers.monitoring import asking, drills

needs_prometheus = pytest.mark.skipif(not look("promtool")[0], reason="no promtool: ./lab cluster tools prometheus")
RULE = {
    "alert": "Slow",
    "expr": 'histogram_quantile(0.95, sum by (le) (rate(x_bucket{path="/a"}[5m]))) > 0.5 and sum(rate(x[5m])) > 1',
    "for": "5m",
}


def test_a_page_of_metrics_is_read() -> None:
    page = '# TYPE a counter\na_total{x="1"} 3\n# TYPE g gauge\ng 0.5\n'
    assert metrics.parse(page) == [("a_total", {"x": "1"}, 3.0), ("g", {}, 0.5)]
    with pytest.raises(ValueError, match=r".+"):
        metrics.parse("<html>not found</html>")


@pytest.mark.parametrize(
    ("text", "why"), [("a: &x 1\nb: *x\n", "anchors"), ("a: [", "no YAML"), ("#" * 100_001, "more than")]
)
def test_yaml_that_could_cost_the_reader_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        rules.read_yaml(path)
    assert rules.read_yaml(tmp_path / "none.yml") is None


def test_every_kind_of_mistake_is_made_once() -> None:
    made = dict(rules.mutants_of(RULE))
    kinds = {name.split()[0] for name in made}
    assert kinds == {"threshold", "comparison", "without", "window", "`or`", "the", "true"} and len(made) == 12
    assert all(mutant != RULE for mutant in made.values())
    assert "for" not in made["without `for`"] and "{}" in made['without the label path="/a"']["expr"]
    longer = made["window [5m] six times as long"]["expr"]
    assert "[30m]" in longer and "[5m]" not in longer


def test_durations_are_scaled_and_thresholds_are_not() -> None:
    assert rules.scale("expr: rate(x[1h]) > 0.144\nfor: 2m", 60) == "expr: rate(x[60s]) > 0.144\nfor: 2s"


def test_an_empty_answer_is_told_in_words_where_a_value_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "value", {"latency": 0.4, "batch_size": None}.get)
    assert asking.require("latency") == 0.4
    with pytest.raises(LabError, match="batch_size returns nothing"):
        asking.require("batch_size")


def test_what_an_earlier_run_has_left_is_no_answer_to_a_question() -> None:
    assert [asking.letter(found) for found in (0.0, 1.0, None)] == ["a", "b", "c"]
    with pytest.raises(LabError, match=r"batch_size says 19\.4"):
        asking.letter(19.4)


@pytest.mark.parametrize("passes", [True, False])
def test_tests_that_fail_on_the_rules_themselves_notice_no_mistake(
    passes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "a", "rules": [RULE]}]}))
    monkeypatch.setattr(drills, "HOME", tmp_path)
    whole = rules.read_yaml(tmp_path / "rules.yml")
    monkeypatch.setattr(rules, "run_tests", lambda document, tests: (passes and document == whole, "FAILED: 45m"))
    if passes:
        assert drills.survivors() == "Slow: 12 of 12 mistakes noticed"
    else:
        with pytest.raises(LabError, match="FAILED: 45m"):
            drills.survivors()


def test_a_recording_rule_is_covered_by_whoever_reads_it(tmp_path: Path) -> None:
    found = [{"record": "a:b", "expr": "x"}, {"alert": "Slow", "expr": "a:b > 1"}, {"alert": "Bare", "expr": "y"}]
    test = {"tests": [{"alert_rule_test": [{"alertname": "Slow", "exp_alerts": [{}]}, {"alertname": "Bare"}]}]}
    (tmp_path / "t.yml").write_text(yaml.safe_dump(test))
    assert rules.covered(found, [tmp_path / "t.yml"]) == ["a:b", "Slow"]


@needs_prometheus
def test_known_answers_come_back_from_history() -> None:
    begin = 1_760_000_400 // 7200 * 7200
    text = history.text(begin, "triage")
    with prometheus.remembering(text) as asked:
        for name, at in history.ends(begin).items():
            rate = asked.ask('sum(rate(bentoml_api_server_request_total{endpoint="/classify"}[5m]))', at)
            wanted = next(p.rate for p in history.PHASES if p.name == name)
            assert rate[0].value == pytest.approx(wanted, rel=0.01)
        with pytest.raises(prometheus.BadQuery, match="parse error"):
            asked.ask("rate(")


@needs_prometheus
def test_a_broken_rule_is_told_from_one_that_is_no_promql(tmp_path: Path) -> None:
    document = {"groups": [{"name": "g", "rules": [{**RULE, "expr": "x > 1", "for": "1m"}]}]}
    series = [{"series": "x", "values": "0x10 2x10"}]
    moments = [{"eval_time": "5m", "alertname": "Slow"}, {"eval_time": "15m", "alertname": "Slow", "exp_alerts": [{}]}]
    case = {"interval": "1m", "input_series": series, "alert_rule_test": moments}
    (tmp_path / "x_test.yml").write_text(yaml.safe_dump({"rule_files": ["/etc/passwd"], "tests": [case]}))
    tests = [tmp_path / "x_test.yml"]
    assert rules.run_tests(document, tests)[0]  # whatever file the test names, it reads these rules
    killed = rules.try_mutants(document, tests)["Slow"]
    assert killed["true without data"] and not killed["without `for`"]
