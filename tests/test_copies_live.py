"""Lab 07's copies in the cluster, really rolled out and asked; some two minutes on two cores.

The copies are made as the grader makes them, of a Deployment of lab 05; and the files that the learner applies are
checked by the API server.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import live_cluster
import pytest
import yaml
from conftest import ROOT

from cluster.names import IMAGE, read_names
from grader.errors import LabError
from grader.world.load import measure, runs
from grader.world.load.copies import Copy, behind, find, rolled_out
from grader.world.load.settings import Setting
from grader.world.objects import get

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
BASE = yaml.safe_load((ROOT / "service" / "bentoml_configuration.yml").read_text())
SETTINGS = [
    Setting("cluster-disabled", batching=False, where="cluster"),
    Setting("cluster-32", max_batch_size=32, where="cluster"),
]


@pytest.fixture(scope="module")
def source() -> str:
    """A namespace in which lab 05's service runs: the walk's, or the learner's."""
    live_cluster.need_cluster()
    names = read_names()
    for workspace in ("walk", ""):
        if get(names.namespace(workspace), "deployment", IMAGE):
            return names.namespace(workspace)
    live_cluster.not_run("lab 05's service is not in the cluster (./lab walk)")


@pytest.fixture(scope="module")
def copies(source: str) -> Iterator[list[Copy]]:
    wanted = [(setting, yaml.safe_dump(setting.configuration(BASE))) for setting in SETTINGS]
    with rolled_out(source, wanted) as made:
        yield made


def test_each_copy_is_asked_in_its_turn_and_says_what_holds_in_it(copies: list[Copy], tmp_path: Path) -> None:
    load, seen = {"users": 40, "seconds": 6}, []
    for order, one in enumerate(copies):
        one.take_turn()
        assert behind(one.namespace) == [one.pod]
        run = measure.measure(one, load, 2, order, tmp_path / f"{one.setting.name}-1")
        assert [p for p in run.problems() if p.kind in ("setting", "place")] == []
        assert {w["place"]["pod"] for w in run.facts["witnesses"]} == {one.pod}
        assert run.log.ends().keys() == {"200"}
        seen.append(run)
    assert seen[1].summary.goodput > 1.2 * seen[0].summary.goodput
    assert seen[0].mean_batch is None and (seen[1].mean_batch or 0) > 2
    named = runs.read(seen[1].folder)
    assert named.setting.where == "cluster" and 0 < named.facts["trained"] < 6


def test_who_looks_for_another_setting_is_told_what_to_apply(copies: list[Copy]) -> None:
    with pytest.raises(LabError, match="0 ready pods with the Kubernetes label serving-lab/setting=cluster-4"):
        find(copies[0].namespace, Setting("cluster-4", max_batch_size=4, where="cluster"), copies[0].url)


def test_the_source_stays_as_it_is(source: str, copies: list[Copy]) -> None:
    deployment = get(source, "deployment", IMAGE)
    assert deployment["metadata"]["generation"] == deployment["status"]["observedGeneration"]
    assert deployment["status"]["readyReplicas"] == deployment["spec"]["replicas"]
    assert {one.namespace for one in copies} != {source}
