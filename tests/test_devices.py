"""Fake devices on the kit's cluster: the first pod is scheduled, the second waits, and nothing is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import ROOT
from live_cluster import apply, get, kubectl, namespace_for, need_cluster, wait_for

from cluster.devices import DRIVER, LABEL, RESOURCE, advertise, connect, fake_devices, withdraw
from cluster.names import read_names
from grader.errors import LabError

pytestmark = pytest.mark.cluster
DRA = ROOT / "manifests" / "overlays" / "gpu-dra"
NODE = read_names().nodes[1]


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> None:
    need_cluster()


@pytest.fixture
def devices() -> Iterator[str]:
    with fake_devices(read_names()) as node:
        yield node


def pod(name: str, **spec: Any) -> dict[str, Any]:
    """A pod that does nothing: what is checked is where it goes."""
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10.1", "resources": spec.pop("resources")}
    spec |= {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def scheduled(namespace: str, name: str) -> dict[str, Any]:
    """That pod's PodScheduled condition, once the scheduler has decided."""

    def look() -> dict[str, Any] | None:
        conditions = get("pod", name, "-n", namespace)["status"].get("conditions", [])
        return next((dict(c) for c in conditions if c["type"] == "PodScheduled"), None)

    return dict(wait_for(look, f"the scheduler's word on {name}"))


def reasons(namespace: str, name: str) -> list[str]:
    found = get("events", "-n", namespace, "--field-selector", f"involvedObject.name={name}")["items"]
    return [f"{event['reason']}: {event['message']}" for event in found]


def traces() -> list[str]:
    """All that advertising leaves in the cluster."""
    node = get("node", NODE)
    slices = [s["metadata"]["name"] for s in get("resourceslices")["items"] if s["spec"]["driver"] == DRIVER]
    marks = [word for word in (*node["metadata"]["labels"], *node["metadata"]["annotations"]) if word == LABEL]
    counts = [field for field in ("capacity", "allocatable") if RESOURCE in node["status"][field]]
    return slices + marks + counts


def test_a_whole_device_goes_to_one_pod(devices: str) -> None:
    with namespace_for("gpu") as namespace:
        wanted = {"limits": {RESOURCE: "1"}}
        apply(pod("first", resources=wanted), namespace=namespace)
        assert scheduled(namespace, "first")["status"] == "True"
        apply(pod("second", resources=wanted), namespace=namespace)
        waits = scheduled(namespace, "second")
        assert get("pod", "first", "-n", namespace)["spec"]["nodeName"] == devices
        assert waits["reason"] == "Unschedulable" and f"Insufficient {RESOURCE}" in waits["message"]


def test_a_claim_is_allocated_and_its_pod_never_starts(devices: str) -> None:
    device_class = yaml.safe_load((DRA / "deviceclass.yaml").read_text())
    device_class["metadata"]["name"] = f"serving-lab-test-{NODE}"  # the cluster's own may be in use
    template = yaml.safe_load((DRA / "claim.yaml").read_text())
    template["spec"]["spec"]["devices"]["requests"][0]["exactly"]["deviceClassName"] = device_class["metadata"]["name"]
    try:
        with namespace_for("dra") as namespace:
            apply(device_class, template, namespace=namespace)
            see_two_claims(namespace, devices)
    finally:
        kubectl("delete", "deviceclass", device_class["metadata"]["name"], "--ignore-not-found")


def see_two_claims(namespace: str, node: str) -> None:
    claim = {"name": "gpu", "resourceClaimTemplateName": "embedding-gpu"}
    for name in ("first", "second"):
        apply(pod(name, resourceClaims=[claim], resources={"claims": [{"name": "gpu"}]}), namespace=namespace)
        decided = scheduled(namespace, name)
    assert "cannot allocate all claims" in decided["message"]
    claims = {
        c["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"]: c for c in owned(namespace, "first")
    }
    (result,) = claims["gpu"]["status"]["allocation"]["devices"]["results"]
    assert (result["driver"], result["pool"], result["device"]) == (DRIVER, node, "gpu-0")
    assert not owned(namespace, "second")[0].get("status")
    # where it ends on kind: scheduled, and the kubelet looks for a driver that does not exist
    wait_for(
        lambda: [r for r in reasons(namespace, "first") if f"{DRIVER} is not registered" in r], "the kubelet's word"
    )
    first = get("pod", "first", "-n", namespace)
    assert (first["spec"]["nodeName"], first["status"]["phase"]) == (node, "Pending")


def owned(namespace: str, name: str) -> list[dict[str, Any]]:
    found = get("resourceclaims", "-n", namespace)["items"]
    return [claim for claim in found if claim["metadata"]["ownerReferences"][0]["name"] == name]


def test_nothing_is_left_behind() -> None:
    if traces():
        pytest.skip("somebody advertises at this moment")
    with pytest.raises(ZeroDivisionError), fake_devices(read_names()):
        assert len(traces()) == 5
        raise ZeroDivisionError
    assert traces() == []


def test_twice_is_once() -> None:
    """`advertise` and `withdraw` mend what an interrupted one left, and a block leaves what was there before it."""
    cluster = connect(read_names())
    if traces():
        pytest.skip("somebody advertises at this moment")
    try:
        advertise(cluster)
        kubectl("delete", "resourceslice", cluster.slice_name)
        advertise(cluster)
        with fake_devices(read_names()):
            assert len(traces()) == 5
        assert len(traces()) == 5
    finally:
        withdraw(cluster)
        withdraw(cluster)
    assert traces() == []


def test_a_real_device_is_left_alone(devices: str) -> None:
    """Without the label, the device counts as somebody's own."""
    cluster = connect(read_names())
    kubectl("label", "node", devices, f"{LABEL}-")
    try:
        with pytest.raises(LabError, match="not from here"):
            advertise(cluster)
        withdraw(cluster)
        assert "capacity" in traces()
    finally:
        kubectl("label", "node", devices, f"{LABEL}=true")
