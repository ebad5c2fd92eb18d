"""The running service under faults: what is lost to a few steady clients, and how long until both replicas are Ready.

The reference manifests in a namespace of their own, on the kit's cluster. Only recovery is asserted; what was measured
goes to .lab/faults.json, and as a table to the terminal (`pytest -s`): docs/faults.md has one. 6-9 minutes.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from live_cluster import apply, get, kubectl, need_cluster, not_run, wait_for
from service_server import service_module
from steady_clients import Clients, connect, post, steady_clients

from cluster import registry
from cluster.engine import docker, inspect
from cluster.names import IMAGE, NAMESPACE, NODE_PORTS, TAG, Names, read_names, state

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.fault]
NAMES = read_names()
SPACE = f"{NAMESPACE}-faults"
NODE_PORT = NODE_PORTS["gateway"]  # of no lab that the walk runs
PORT = NODE_PORT + 100 * NAMES.slot
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
RUNNER = "python -m bentoml_cli.worker.runner * --runner-name embeddingrunner"
API_SERVER = "python -m bentoml_cli.worker.http_api_server"
# the processes of a container by their command lines; $1 is a shell pattern, in which sh's own line must not be found
KILL = 'for p in /proc/[0-9]*; do case "$(tr "\\0" " " <$p/cmdline)" in sh*) ;; *$1*) kill -9 ${p#/proc/};; esac; done'


@dataclass(frozen=True)
class Pod:
    name: str
    node: str
    ready: bool
    restarts: int


def pods() -> list[Pod]:
    """The replicas that are not on their way out."""
    return sorted((pod_of(item) for item in listed() if "deletionTimestamp" not in item["metadata"]), key=str)


def listed() -> list[dict[str, Any]]:
    return list(get("pods", "-n", SPACE, "-l", f"app.kubernetes.io/name={IMAGE}")["items"])


def pod_of(item: dict[str, Any]) -> Pod:
    conditions = {c["type"]: c["status"] for c in item["status"].get("conditions", [])}
    restarts = sum(c["restartCount"] for c in item["status"].get("containerStatuses", []))
    return Pod(item["metadata"]["name"], item["spec"].get("nodeName", ""), conditions.get("Ready") == "True", restarts)


def well() -> bool:
    return [pod.ready for pod in pods()] == [True, True]


# The service, deployed as manifests/README.md says


def image() -> str:
    """The newest image of the labs in this slot's registry, by digest."""
    for repository in (NAMES.repository(""), NAMES.repository("walk")):
        path = repository.removeprefix(f"{NAMES.address}/")
        connection = http.client.HTTPConnection(NAMES.address, timeout=5)
        connection.request("HEAD", f"/v2/{path}/manifests/{TAG}", headers={"Accept": MANIFEST})
        answer = connection.getresponse()
        if answer.status == 200:
            return f"{repository}@{answer.getheader('Docker-Content-Digest')}"
    return not_run(f"no image {IMAGE}:{TAG} in the registry {NAMES.address} (lab 04 pushes one)")


def kustomization(folder: Path, name: str) -> None:
    """The plain overlay in another namespace, with a node port that the network policy lets in."""
    nodes = (inspect("network", registry.NETWORK) or {})["IPAM"]["Config"][0]["Subnet"]
    open_port = [
        {"op": "replace", "path": "/spec/type", "value": "NodePort"},
        {"op": "add", "path": "/spec/ports/0/nodePort", "value": NODE_PORT},
    ]
    let_in = [{"op": "add", "path": "/spec/ingress/0/from/-", "value": {"ipBlock": {"cidr": nodes}}}]
    new_name, digest = name.split("@")
    what = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": SPACE,
        "resources": [os.path.relpath(ROOT / "manifests" / "overlays" / "plain", folder.resolve())],
        "images": [{"name": f"{Names().address}/{IMAGE}", "newName": new_name, "digest": digest}],
        "patches": [
            {"target": {"kind": "Service"}, "patch": json.dumps(open_port)},
            {"target": {"kind": "NetworkPolicy"}, "patch": json.dumps(let_in)},
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(what))


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_cluster()
    folder, name = tmp_path_factory.mktemp("faults"), image()
    kustomization(folder, name)
    try:
        kubectl("apply", "-k", str(folder))
        wait_for(well, "two replicas Ready", 280)
        yield name
    finally:
        kubectl("delete", "namespace", SPACE, "--timeout=90s", "--ignore-not-found")


@pytest.fixture(scope="module")
def clients(deployed: str) -> Iterator[Clients]:
    with steady_clients(PORT) as some:
        wait_for(lambda: some.between(0, time.monotonic()).get("200", 0) > 8, "answers before any fault")
        yield some


# The table


Row = dict[str, Any]


@pytest.fixture(scope="module")
def table() -> Iterator[list[Row]]:
    rows: list[Row] = []
    yield rows
    (state() / "faults.json").write_text(json.dumps(rows, indent=1))
    print("\n" + markdown(rows))


def markdown(rows: list[Row]) -> str:
    lines = [
        "| fault | asked meanwhile | not answered with 200 | both Ready again after | note |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lost = ", ".join(f"{count} {how}" for how, count in row["answers"].items() if how != "200") or "none"
        lines.append(f"| {row['fault']} | {sum(row['answers'].values())} | {lost} | {row['seconds']} | {row['note']} |")
    return "\n".join(lines)


@dataclass
class Fault:
    """Runs from its making to `over`; waits for both replicas, and adds its row to the table."""

    name: str
    clients: Clients
    table: list[Row]

    def __post_init__(self) -> None:
        wait_for(well, "two replicas Ready before the next fault", 60)
        self.began, self.before = time.monotonic(), pods()

    def since(self) -> float:
        return round(time.monotonic() - self.began, 1)

    def over(self, seen: Callable[[], Any], note: str = "", limit: float = 180) -> None:
        """`seen` is true once the fault has shown itself in the pods: a probe takes its time to notice."""
        wait_for(seen, f"{self.name}: its effect", limit)
        note = note.replace("{seen}", f"{self.since():.0f} s")
        wait_for(well, f"{self.name}: two replicas Ready", limit)
        self.write(f"{self.since():.0f} s", note)

    def untouched(self, note: str = "") -> None:
        assert pods() == self.before, "no pod was restarted, replaced or unready"
        self.write("never unready", note)

    def write(self, seconds: str, note: str) -> None:
        answers = self.clients.between(self.began, time.monotonic())
        self.table.append({"fault": self.name, "answers": answers, "seconds": seconds, "note": note})
        time.sleep(2)
        assert post(connect(PORT), b'{"texts": ["is it there?"]}') == "200"

    def restarted(self) -> bool:
        return sum(pod.restarts for pod in pods()) > sum(pod.restarts for pod in self.before)


# The faults


@pytest.mark.parametrize(
    "number, process, name", [(0, RUNNER, "a runner killed"), (1, API_SERVER, "API server killed")]
)
def test_a_killed_process(clients: Clients, table: list[Row], number: int, process: str, name: str) -> None:
    fault = Fault(f"{name}, in one pod", clients, table)
    victim = fault.before[number].name
    pattern = process.replace(" ", "\\ ").replace("\\ *\\ ", "*")
    kubectl("exec", "-n", SPACE, victim, "--", "sh", "-c", KILL.replace("$1", pattern))
    fault.over(fault.restarted, "the container was started again after {seen}")


def test_what_no_service_takes(clients: Clients, table: list[Row]) -> None:
    fault = Fault("10 MB body; broken JSON", clients, table)
    large = json.dumps({"texts": ["x" * 10_000_000]}).encode()
    said = [post(connect(PORT), body) for body in (large, b'{"texts": ["half', b"\xff\xfe", large)]
    assert said == ["413", "400", "400", "413"]
    fault.untouched("answered with 413 and 400")


def test_the_queue_is_full(clients: Clients, table: list[Row]) -> None:
    fault = Fault("400 clients more, 16 texts a request, 15 s", clients, table)
    load = asyncio.run(
        service_module("load").closed_loop(f"http://127.0.0.1:{PORT}", clients=400, seconds=15, texts=16)
    )
    ends = load.ends()
    assert ends.get("200") and ends.keys() <= {"200", "500", "503", "504", "refused"}
    assert ends.keys() & {"503", "504"}, "what does not fit is refused"
    fault.over(lambda: True, "theirs: " + ", ".join(f"{count} x {how}" for how, count in ends.items()))


def test_the_registry_stops(clients: Clients, table: list[Row], deployed: str) -> None:
    """Who runs needs none; a node with the image needs none (IfNotPresent); one without waits for it to be back."""
    docker("stop", NAMES.registry)
    try:
        fault = Fault("registry stopped, for 8 s", clients, table)
        time.sleep(8)
        fault.untouched()
        fault = Fault("registry stopped, and one pod deleted", clients, table)
        kubectl("delete", "pod", "-n", SPACE, fault.before[0].name, "--wait=false")
        fault.over(lambda: fault.before[0] not in pods(), "its node has the image, and needs no registry")
        fault = Fault("registry stopped, a new pod on a node without the image", clients, table)
        with_stranger(deployed, fault)
    finally:
        docker("start", NAMES.registry, good=False)


def with_stranger(name: str, fault: Fault) -> None:
    """A pod of the same template, put on the control plane, which has never had one, and so has no image."""
    node = NAMES.nodes[0]
    docker("exec", node, "crictl", "rmi", name, good=False)
    (template,) = [d["spec"]["template"] for d in get("deployments", "-n", SPACE)["items"]]
    spec = {**template["spec"], "nodeName": node, "terminationGracePeriodSeconds": 1}
    del spec["topologySpreadConstraints"], spec["containers"][0]["lifecycle"]  # it goes at once, and serves nobody
    try:
        apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": spec}, namespace=SPACE)
        said = wait_for(lambda: waits_for(stranger()), "ErrImagePull", 60)
        assert said in ("ErrImagePull", "ImagePullBackOff")
        docker("start", NAMES.registry)
        back = time.monotonic()
        wait_for(lambda: pod_of(stranger()).ready, "the stranger Ready", 240)
        fault.untouched(f"ErrImagePull; Ready {time.monotonic() - back:.0f} s after the registry was back")
    finally:
        kubectl("delete", "pod", "stranger", "-n", SPACE, "--ignore-not-found", "--timeout=60s")
        docker("exec", node, "crictl", "rmi", name, good=False)


def stranger() -> dict[str, Any]:
    return dict(get("pod", "stranger", "-n", SPACE))


def waits_for(item: dict[str, Any]) -> str:
    states = [status["state"] for status in item["status"].get("containerStatuses", [])]
    reasons = [s["waiting"].get("reason", "") for s in states if "waiting" in s]
    return next((reason for reason in reasons if "Pull" in reason), "")


def test_a_worker_stops(clients: Clients, table: list[Row]) -> None:
    fault = Fault("", clients, table)
    node = fault.before[0].node
    docker("stop", node)
    try:
        wait_for(lambda: not well(), "the loss is seen", 120)
        seen = fault.since()
        time.sleep(10)  # from here on the other replica alone answers
        down = fault.since()
    finally:
        docker("start", node)
    fault.name = f"a worker's container stopped, for {down:.0f} s"
    fault.over(fault.restarted, f"taken out of the Service {seen:.0f} s after the stop began")
