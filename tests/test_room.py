"""A pod without a node: who took the room?"""

from __future__ import annotations

from typing import Any

import pytest

from grader.errors import LabError
from grader.model import Facts
from grader.world import room

NODE = {"metadata": {"name": "worker"}, "spec": {}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}
TAINTED = {**NODE, "metadata": {"name": "control"}, "spec": {"taints": [{"effect": "NoSchedule"}]}}
SAID = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."


def pod(namespace: str, name: str, cpu: str, node: str = "", said: str = "") -> Facts:
    condition = [{"type": "PodScheduled", "reason": "Unschedulable", "message": said}] if said else []
    asks = [{"resources": {"requests": {"cpu": cpu, "memory": "100Mi"}}}, {}]
    spec = {"containers": asks} | ({"nodeName": node} if node else {})
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec, "status": {"conditions": condition}}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    pods = [pod("kube-system", "net", "200m", "worker"), pod("others", "seen", "1500m", "worker")]

    def get(_: str, what: str, *__: str) -> dict[str, Any]:
        return {"items": pods if what == "pods" else [TAINTED, NODE]}

    monkeypatch.setattr(room, "get", get)
    return pods


def test_other_labs_took_it_is_the_machines_trouble(cluster: list[Facts]) -> None:
    cluster.append(pod("mine", "embedder", "1", said=SAID))
    with pytest.raises(LabError, match="The pod embedder finds no node: cpu is taken by the pods in others"):
        room.need_room("mine")


@pytest.mark.parametrize("cpu", ["1900m", "64"])
def test_who_asks_for_more_than_a_node_has_is_told_by_a_check(cluster: list[Facts], cpu: str) -> None:
    cluster.append(pod("mine", "embedder", cpu, said=SAID))
    room.need_room("mine")


def test_its_own_pods_are_no_excuse(cluster: list[Facts]) -> None:
    cluster += [pod("mine", "first", "1500m", "worker"), pod("mine", "second", "1", said=SAID)]
    room.need_room("mine")


def test_a_pod_that_waits_for_something_else(cluster: list[Facts]) -> None:
    cluster.append(pod("mine", "apart", "100m", said="0/2 nodes: 1 node(s) didn't match pod anti-affinity rules."))
    cluster.append(pod("mine", "starts", "100m", "worker"))
    room.need_room("mine")


@pytest.mark.parametrize(
    ("warning", "wrong"),
    [
        ("Failed to pull image x: connection refused", "cannot pull"),
        ("Error: ErrImagePull", "cannot pull"),
        ("The node was low on resource: ephemeral-storage.", "disk is full"),
        (
            "0/2 nodes are available: 2 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }",
            "disk is full",
        ),
    ],
)
def test_what_the_cluster_says_of_this_machine(
    cluster: list[Facts], warning: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "registry_answers", lambda _: False)
    with pytest.raises(LabError, match=wrong):
        room.refuse_trouble("mine", ["Readiness probe failed", warning])


def test_what_the_cluster_says_of_a_pod(cluster: list[Facts], monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that the registry has not, and probes."""
    monkeypatch.setattr(room, "registry_answers", lambda _: True)
    room.refuse_trouble("mine", ["Failed to pull image x: not found", "Readiness probe failed: 503"])
