"""Fake GPUs, to see scheduling on a machine that has none: `python -m cluster.devices advertise`, later `withdraw`.

One worker says that it has `nvidia.com/gpu: 1` (a patch of its status, where a device plugin would report it), and a
ResourceSlice says that it has one device of the driver fake.serving-lab.example (where a DRA driver would publish it).
The scheduler believes both. Nothing can be computed on them: a pod with `nvidia.com/gpu` starts and finds no GPU, and a
pod with a claim is given a node but never starts, since the kubelet there knows no such driver.

The node is labelled as fake while it lasts. A kubelet that restarts forgets the first and may delete the second:
`advertise` again. After a kill -9, `withdraw` cleans up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster.names import Names, kubeconfig, read_names, state
from grader.errors import LabError, WrongCall
from grader.workspace import locked

RESOURCE, VENDOR = "nvidia.com/gpu", "nvidia.com/"
DRIVER = "fake.serving-lab.example"
LABEL = "serving-lab/fake-devices"  # on the node, and on the ResourceSlice
WARNING = f"{RESOURCE} and {DRIVER} are not there: advertised by cluster/devices.py to show scheduling"
MEND = "`./lab cluster up` makes or repairs it."
Say = Callable[[str], None]


@dataclass(frozen=True)
class Cluster:
    """The clients for one cluster, and the node that gets the devices."""

    node: str
    core: Any
    resource: Any
    refused: type[Exception]  # the client's error for every answer that is not 2xx

    def labels(self) -> dict[str, str]:
        return dict(self.core.read_node(self.node).metadata.labels)

    @property
    def slice_name(self) -> str:
        return f"{self.node}-{DRIVER}"


def connect(names: Names) -> Cluster:
    """Raises LabError where the kit's kubeconfig does not lead to a cluster that answers."""
    import kubernetes  # takes a second or more, which whoever imports this file need not wait for
    from urllib3.exceptions import HTTPError

    path = kubeconfig()
    try:
        client = kubernetes.config.new_client_from_config(str(path), context=names.context)
    except kubernetes.config.ConfigException as wrong:
        raise LabError(f"{path} does not name the cluster {names.cluster}.", MEND) from wrong
    api = kubernetes.client
    cluster = Cluster(names.nodes[1], api.CoreV1Api(client), api.ResourceV1Api(client), api.ApiException)
    try:
        cluster.labels()
    except (HTTPError, api.ApiException) as wrong:
        raise LabError(
            f"The cluster {names.cluster} does not answer, or not with {cluster.node}: {wrong}", MEND
        ) from wrong
    return cluster


@contextmanager
def fake_devices(names: Names, say: Say = print, counts: dict[str, int] | None = None) -> Iterator[str]:
    """The node that has the devices, for as long as the block lasts, also when it fails. Nobody else changes them then.
    `counts`: of each name, how many (one nvidia.com/gpu).

    Devices that were advertised before it stay after it. Not to be nested: the inner one would wait for the outer one.
    """
    with held(say):
        cluster = connect(names)
        before = LABEL in cluster.labels()
        try:
            yield advertise(cluster, counts)
        finally:
            if not before:
                withdraw(cluster)


def held(say: Say) -> Any:
    return locked(state() / "devices.lock", "the nodes' fake devices", say)


def advertise(cluster: Cluster, counts: dict[str, int] | None = None) -> str:
    """Make both, or what of them is lacking, and return the node's name. The label comes first, so that an end in the
    middle leaves nothing fake without it. Raises LabError for a node that has a GPU of its own."""
    node = cluster.core.read_node(cluster.node)
    if RESOURCE in (node.status.capacity or {}) and LABEL not in node.metadata.labels:
        raise LabError(f"{cluster.node} has {RESOURCE} already, and not from here.", "Use that one.")
    mark = {"labels": {LABEL: "true"}, "annotations": {LABEL: WARNING}}
    cluster.core.patch_node(cluster.node, {"metadata": mark})
    counts = counts or {RESOURCE: 1}
    add = [{"op": "add", "path": p, "value": str(n)} for name, n in counts.items() for p in _status_paths(name)]
    cluster.core.patch_node_status(cluster.node, add)
    with _unless(cluster, 409):  # it is there
        cluster.resource.create_resource_slice(slice_of(cluster))
    return cluster.node


def withdraw(cluster: Cluster) -> None:
    """Take both away, then the label. Does nothing to a node without the label, whose devices are not ours."""
    with _unless(cluster, 404):
        cluster.resource.delete_resource_slice(cluster.slice_name)
    node = cluster.core.read_node(cluster.node)
    if LABEL not in node.metadata.labels:
        return
    advertised = {*(node.status.capacity or {}), *(node.status.allocatable or {}), RESOURCE}
    for path in (p for name in advertised if name.startswith(VENDOR) for p in _status_paths(name)):
        with _unless(cluster, 422):  # "the path does not exist": the kubelet has forgotten it by itself
            cluster.core.patch_node_status(cluster.node, [{"op": "remove", "path": path}])
    cluster.core.patch_node(cluster.node, {"metadata": {"labels": {LABEL: None}, "annotations": {LABEL: None}}})


def slice_of(cluster: Cluster) -> dict[str, Any]:
    """One device that looks like a GPU with 10 GiB to a claim's selectors, and says itself that it is fake."""
    device = {
        "name": "gpu-0",
        "attributes": {"type": {"string": "gpu"}, "fake": {"bool": True}},
        "capacity": {"memory": {"value": "10Gi"}},
    }
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": cluster.slice_name, "labels": {LABEL: "true"}},
        "spec": {
            "driver": DRIVER,
            "nodeName": cluster.node,
            "pool": {"name": cluster.node, "generation": 1, "resourceSliceCount": 1},
            "devices": [device],
        },
    }


def _status_paths(name: str) -> list[str]:
    # The kubelet works out `allocatable` from `capacity` by itself, but only at its next report, some 10 s later.
    key = name.replace("/", "~1")
    return [f"/status/{field}/{key}" for field in ("capacity", "allocatable")]


@contextmanager
def _unless(cluster: Cluster, status: int) -> Iterator[None]:
    """Lets that answer of the API server pass."""
    try:
        yield
    except cluster.refused as error:
        if getattr(error, "status", None) != status:
            raise


def main(words: list[str]) -> int:
    names = read_names()
    if words not in (["advertise"], ["withdraw"]):
        raise WrongCall("Usage: python -m cluster.devices advertise|withdraw", "")
    with held(print):
        cluster = connect(names)
        if words == ["withdraw"]:
            withdraw(cluster)
            print(f"{cluster.node}: nothing fake any more")
        else:
            advertise(cluster)
            print(f"{cluster.node}: {RESOURCE}: 1, and one device of {DRIVER}")
            print("Both are fake: pods are scheduled on them, and nothing can be computed on them.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
