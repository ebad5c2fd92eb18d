"""Lab 08 in the cluster, with the solution's files: found, let in, answered, scaled, traced, alarmed; and both ways.

The run that the notebook tells (labs/helpers/monitoring/in_cluster.json) is made once more here, on the kit's cluster,
of the image that the walk pushed; about four minutes. `pytest -s` shows the seconds of each part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from live_cluster import need_cluster, not_run

from grader.kit import Kit
from grader.walk import checkpoint
from grader.workspace import copy_tree
from labs.helpers.monitoring import incluster, pictures, platform, telling

Facts = dict[str, Any]


def kept() -> Facts:
    return dict(json.loads(incluster.KEPT.read_text()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Facts]:
    """The run, made in a copy of the walk's workspace; then the platform is gone, too."""
    need_cluster()
    source = checkpoint(Kit(ROOT), "08")
    if not (source / "deploy" / "kustomization.yaml").is_file():
        not_run("no checkpoint after lab 08 with lab 05's files: ./lab walk")
    home = tmp_path_factory.mktemp("incluster") / "walk"
    copy_tree(source, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("LAB_WORKSPACE", "walk")
        try:
            yield incluster.make(say=lambda line: print(f"  {line}", flush=True))
        finally:
            platform.take_away()


def check_monitors(facts: Facts) -> None:
    """Each repair but the last leaves the query empty, in another way."""
    rows = [(m["jobs"], m["targets"], m["endpoints"][:1]) for m in facts["monitors"]]
    assert rows == [(0, [], []), (1, [], []), (1, [], []), (1, ["up"], ["http"]), (1, ["up"], ["/classify"])]
    assert [bool(m["classify"]) for m in facts["monitors"]] == [False] * 4 + [True]
    assert telling.letter(facts) == "b"


def check_answers(facts: Facts) -> None:
    said = facts["answers"]
    assert 4 < said["batch_size"] <= 32 and 0.05 < said["latency"] < 10 and said["queueing"] >= 0
    assert said["Up"] == 1 and 3e8 < said["Memory"] < 1.7e9 and set(said["ends"]) == {"200"}


def check_trace(facts: Facts) -> None:
    way = incluster.way(facts)
    served = {s.process: s for s in way if s.kind == 2}
    assert set(served) == {"demo_text_intelligence", "embeddingrunner", "classifierrunner"}
    api = served.pop("demo_text_intelligence")
    assert all(api.begin <= s.begin and s.end <= api.end + 0.005 for s in served.values())


def check_scaling(facts: Facts) -> None:
    seen = facts["scaling"]
    assert max(s["metric"] or 0 for s in seen) > 8 and max(s["ready"] for s in seen) == 2
    assert seen[-1]["wanted"] == seen[-1]["ready"] == 1
    assert "the second is ready after" in pictures.scaling_finding(seen)


def check_alerts(facts: Facts) -> None:
    """Fires under 503s, and is silent when they have stopped."""
    burnt = facts["alerts"]
    assert burnt["ends"]["503"] > burnt["ends"].get("200", 0) and set(burnt["later"]) == {"200"}
    assert "BudgetBurnsFast" in burnt["fired"]
    assert burnt["until"].get("BudgetBurnsFast", 0) < burnt["watched"] - 2


PARTS = [check_monitors, check_answers, check_trace, check_scaling, check_alerts]


def test_in_the_kept_run_the_other_alert_is_silent() -> None:
    """On a machine that is busy with something else the few answers are slow, and it fires with reason."""
    assert set(kept()["alerts"]["fired"]) == {"BudgetBurnsFast"}
    assert "SlowAnswers does not fire" in telling.alerts(kept())


@pytest.mark.parametrize("check", PARTS, ids=lambda c: c.__name__)
def test_the_kept_run_holds(check: Any) -> None:
    check(kept())


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.turn
@pytest.mark.parametrize("check", PARTS, ids=lambda c: c.__name__)
def test_the_run_made_here_holds(check: Any, made: Facts) -> None:
    check(made)


def test_what_the_grader_says_of_the_cluster_is_in_its_manifests() -> None:
    from grader.criteria import sc7

    text = Path(ROOT / "manifests/observability/prometheus.yaml").read_text()
    assert all(f"{key}: {value}" in text for key, value in sc7.SELECTS.items())
    assert sc7.QUEUE in Path(ROOT / "manifests/observability/adapter.yaml").read_text()
