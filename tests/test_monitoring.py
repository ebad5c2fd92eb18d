"""What lab 08 and sc7 stand on: files read with care, rules broken in small ways, queries with known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.tools import look
from grader.errors import LabError
from grader.processes import Completed
from grader.world import history, metrics, prometheus, rules
from grader.world.metrics import Sample
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


def test_a_mistake_that_changes_nothing_is_not_made() -> None:
    """Nobody could notice it: in a comment, or a nothing times four."""
    guard = "\nand sum(rate(x[5m])) > 0  # > 7 for a share, and [1h]"
    told = {**RULE, "expr": '# "p95 > 500 ms"\n' + RULE["expr"] + guard, "annotations": {"text": "{{ $value }}"}}
    made = dict(rules.mutants_of(told))
    assert len(made) == 13 and "comparison > 0 reversed" in made  # RULE's, and this one
    assert not any("#" in m["expr"] or " 7" in name or "500" in name or "1h" in name for name, m in made.items())
    assert all(m["annotations"] == told["annotations"] for m in made.values())
    assert [name for name, _ in rules.mutants_of({"alert": "Watchdog", "expr": "vector(1)"})] == []
    kept = """a{b="#1"} > 2 or label_replace(a, 'b', '#"', `#`, "\\"#")"""
    assert rules.bare(f"{kept}# c") == kept


def test_of_two_mistakes_of_one_name_each_has_to_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "x > 2 and y > 2"}]}]}

    def passes(broken: dict[str, Any], _: object) -> tuple[bool, str]:
        return broken["groups"][0]["rules"][0]["expr"] == "x > 8 and y > 2", ""

    monkeypatch.setattr(rules, "run_tests", passes)
    assert [what for what, dead in rules.try_mutants(document, [])["A"].items() if not dead] == ["threshold 2 times 4"]


@pytest.mark.parametrize(
    ("query", "same"),
    [
        ("a:b > 1", "(sum(rate(m[5m]))) > 1"),
        ('max(a:c{x="}"} > 0)', "max(((sum(rate(m[5m]))) / 2) > 0)"),
        ("max_over_time(a:b[10m])", "max_over_time((sum(rate(m[5m])))[10m:])"),
        ("rate(a:b[$__rate_interval])", "rate((sum(rate(m[5m])))[$__rate_interval:])"),
        ("max_over_time(a:b[1h:5m])", "max_over_time((sum(rate(m[5m])))[1h:5m])"),
        ('other:a:b + label_replace(m, "a:b", "", "", "")', 'other:a:b + label_replace(m, "a:b", "", "", "")'),
    ],
)
def test_a_recorded_series_is_asked_for_by_its_rule(query: str, same: str) -> None:
    recorded = [{"record": "a:b", "expr": "sum(rate(m[5m]))  # a mean"}, {"record": "a:c", "expr": "a:b / 2"}]
    found = rules.unrecorded(query, [*recorded, {"alert": "m", "expr": "y"}])
    assert found.replace("  )", ")") == same


def test_recorded_series_cannot_grow_without_end() -> None:
    chain = [
        {"record": "r:0", "expr": "x"},
        *({"record": f"r:{n}", "expr": f"r:{n - 1} + r:{n - 1}"} for n in range(1, 60)),
    ]
    assert len(rules.unrecorded("r:59", chain)) < 3 * rules.MOST


@pytest.mark.parametrize("code", [None, 2, -9, 137])
def test_a_promtool_that_breaks_down_says_nothing_of_the_rules(
    code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that an alert fires, nor that a file is well, nor that a mistake was noticed."""
    (tmp_path / "rules.yml").write_text("groups: []\n")
    monkeypatch.setattr(prometheus, "find", lambda *_, **__: tmp_path / "promtool")
    monkeypatch.setattr(prometheus, "run", lambda *_, **__: Completed(code, "", 30.0))
    calm = rules.Situation([], "1m", {})
    asks: list[Callable[[], object]] = [
        lambda: rules.fired({"groups": []}, ["Slow"], calm), lambda: rules.check_rules(tmp_path / "rules.yml"),
        lambda: rules.check_config(tmp_path / "rules.yml"), lambda: rules.run_tests({"groups": []}, []),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(LabError, match="promtool"):
            ask()


def test_a_refusal_without_a_word_is_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"": LabError, "rule: Slow, time: 0s, err: many-to-many matching not allowed": rules.BadRule}
    for output, kind in said.items():
        monkeypatch.setattr(rules, "promtool", lambda *_, output=output, **__: Completed(1, output, 0.1))
        with pytest.raises(kind):
            rules.fired({"groups": []}, ["Slow"], rules.Situation([], "1m", {}))


def test_durations_are_scaled_and_thresholds_are_not() -> None:
    assert rules.scale("expr: rate(x[1h]) > 0.144\nfor: 2m", 60) == "expr: rate(x[60s]) > 0.144\nfor: 2s"


def test_an_empty_answer_is_told_in_words_where_a_value_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "value", {"latency": 0.4, "batch_size": None}.get)
    assert asking.require("latency") == 0.4
    with pytest.raises(LabError, match="batch_size returns nothing"):
        asking.require("batch_size")


def test_an_answer_is_told_with_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Some:
        asked = ""

        def ask(self, text: str) -> list[Sample]:
            self.asked = text
            return [Sample("a", {"__name__": "a", "runner_name": "embeddingrunner"}, 13.26), Sample("", {}, 5)]

    some = Some()
    monkeypatch.setattr(asking, "connect", lambda: some)
    assert asking.tell("a") == "embeddingrunner 13.26, 5"
    assert asking.lately("sum(a)") == "embeddingrunner 13.26, 5"
    assert some.asked == "avg_over_time((sum(a))[5s:1s])"


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
def test_what_fires_is_told_by_name() -> None:
    """All alerts of a document in one run, whatever they are called; and what cannot be computed is the rule's."""
    names = ['Slow "5 s"', "Slow", "Gone", "Zoë"]
    exprs = ["x > 1", "x > 5", "absent(y)", "x > 0"]
    found = [{"alert": name, "expr": expr} for name, expr in zip(names, exprs, strict=True)]
    document = {"groups": [{"name": "g", "rules": found}]}
    there = rules.Situation(
        [{"series": 'x{a="1"}', "values": "2x10"}, {"series": 'x{a="2"}', "values": "3x10"}], "5m", {}
    )
    assert rules.fired(document, names, there) == dict(zip(names, [True, False, True, True], strict=True))
    assert rules.fired(document, names, there._replace(within="4m"))[names[0]]
    found[1]["expr"] = "x * on() group_left x"
    with pytest.raises(rules.BadRule, match="rule: Slow, time: 0s, err: found duplicate series"):
        rules.fired(document, names, there)


@needs_prometheus
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scrape_configs: [{job_name: a, file_sd_configs: [{files: [not-here.json]}]}]\nrule_files: [none.yml]\n", ""),
        ("scrape_configs: [{job_name: a, metric_path: /metrics}]\n", "metric_path not found"),
        ("scrape_config: [{job_name: a}]\n", "scrape_config not found"),
        ("scrape_configs: [{metrics_path: /metrics}]\n", "job_name is empty"),
        ("scrape_configs: [{job_name: a}, {job_name: a}]\n", "multiple scrape configs"),
        ("scrape_configs: [{job_name: a, scrape_interval: 5}]\n", "not a valid duration"),
    ],
)
def test_a_configuration_that_prometheus_does_not_start_with_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(text)
    found = rules.check_config(tmp_path / "prometheus.yml")
    assert said in found and bool(found) == bool(said)


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
