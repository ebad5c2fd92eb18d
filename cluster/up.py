"""Makes, mends, describes and removes the kind cluster and its registry. `./lab cluster up` may be run at any time.

A cluster is ours if its nodes carry this checkout's mark, a folder mounted at MARK: the engine tells it also of a node
that is stopped, half made or broken. It is whole if the control plane has the file WHOLE, which is written last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from cluster import registry
from cluster.engine import ToolFailed, call, docker, inspect, kubectl, need_engine
from cluster.names import KIT, NODE_PORTS, Names, kubeconfig, state
from cluster.tools import find
from grader.errors import LabError
from grader.processes import Completed

MARK = "/serving-lab"  # where a node has the folder of the checkout that made it
WHOLE = "/kind/serving-lab-whole"
READY_LIMIT = 90.0  # seconds until all nodes are Ready after a start
Say = Callable[[str], None]


@dataclass(frozen=True)
class Node:
    """`status` is the engine's word: running, exited, paused, ...; `owner` the checkout that made it, "" if unknown."""

    name: str
    status: str
    owner: str


def look(names: Names) -> list[Node]:
    """The cluster's node containers, as the engine has them."""
    label = f"label=io.x-k8s.kind.cluster={names.cluster}"
    found = docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
    nodes = []
    for name in sorted(found):
        about = inspect("container", name)
        if about:
            owner = next((m["Source"] for m in about["Mounts"] if m["Destination"] == MARK), "")
            nodes.append(Node(name, about["State"]["Status"], owner.removesuffix("/.lab/cluster-mark")))
    return nodes


def up(names: Names, say: Say) -> None:
    """Registry and cluster, made or mended; at the end all nodes are Ready and pull from the registry."""
    need_engine()
    find("kind", say=say)
    find("kubectl", say=say)
    refuse_foreign(names, nodes := look(names))
    say(f"registry {names.address}: {registry.start(names)}")
    if nodes and mend(names, nodes, say):
        finish(names)
    else:
        make(names, say)


def refuse_foreign(names: Names, nodes: list[Node]) -> None:
    for node in nodes:
        if node.owner != str(KIT):
            raise registry.foreign(f"cluster {names.cluster}", node.owner or "somebody who made it by hand")


def mend(names: Names, nodes: list[Node], say: Say) -> bool:
    """Brings back a cluster that is stopped, paused or rebooted. False: it was half made, and has been removed."""
    whole = {n.name for n in nodes} == set(names.nodes)
    asleep = [n for n in nodes if n.status != "running"]
    for node in asleep if whole else []:
        docker("unpause" if node.status == "paused" else "start", node.name)
    whole = whole and call("docker", "exec", names.nodes[0], "test", "-e", WHOLE, good=False).ok
    if whole:
        call("kind", "export", "kubeconfig", "--name", names.cluster, "--kubeconfig", str(kubeconfig()))
        say(
            f"cluster {names.cluster}: "
            + (f"{len(asleep)} nodes were stopped, and run again" if asleep else "is there")
        )
        if wait_ready(names, READY_LIMIT):
            return True
    why = "its nodes do not become Ready" if whole else "it was left half made"
    say(f"cluster {names.cluster}: {why}, so it is made anew (what ran in it has to be applied again)")
    remove_nodes(names)
    return False


def make(names: Names, say: Say) -> None:
    """Creates the cluster; some 25 s with the image here, and the download of 0.5 GB before it without."""
    config = configuration(names)
    path = state() / f"{names.cluster}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    mark_folder().mkdir(parents=True, exist_ok=True)
    say(f"cluster {names.cluster}: making three nodes (about half a minute; longer if an image has to come first)")
    command = ["kind", "create", "cluster", "--config", str(path), "--kubeconfig", str(kubeconfig())]
    done = call(*command, limit=600, on_line=lambda line: say(f"kind: {line.strip()}"), good=False)
    if not done.ok:
        remove_nodes(names)
        raise not_made(names, command, done)
    if not wait_ready(names, READY_LIMIT):
        raise LabError(
            f"The nodes of {names.cluster} do not become Ready: {readiness(names)}", "`./lab cluster up` tries again."
        )
    finish(names)
    docker("exec", names.nodes[0], "touch", WHOLE)


def not_made(names: Names, command: list[str], done: Completed) -> LabError:
    """kind's failures that people meet, each with what mends it."""
    causes = {
        "too many open files": "Raise inotify's limits: `./lab doctor` names the command.",
        "address already in use": f"A port from {names.host_port('service')} on is taken: LAB_SLOT=1 uses others.",
        "port is already allocated": f"A port from {names.host_port('service')} on is taken: LAB_SLOT=1 uses others.",
        "failed to pull image": "Is the network there? Else load the node image (`docker load`) under its own name.",
    }
    remedy = next(
        (text for sign, text in causes.items() if sign in done.output.lower()), "`./lab doctor` may know why."
    )
    return ToolFailed(command[:4], done, remedy)


def configuration(names: Names) -> dict[str, object]:
    """kind.yaml with this slot's name and ports, this checkout's mark, and the node image that is here."""
    config = yaml.safe_load((KIT / "cluster" / "kind.yaml").read_text())
    config["name"] = names.cluster
    for node in config["nodes"]:
        node["image"] = node_image(node["image"])
        node["extraMounts"] = [{"hostPath": str(mark_folder()), "containerPath": MARK, "readOnly": True}]
        for mapping in node.get("extraPortMappings", []):
            mapping["hostPort"] = mapping["containerPort"] + 100 * names.slot
    return dict(config)


def mark_folder() -> Path:
    return KIT / ".lab" / "cluster-mark"


def node_image(pinned: str) -> str:
    """The pinned image; one of the same name and version that somebody loaded here is as good, and needs no network."""
    if inspect("image", pinned) is None and inspect("image", name := pinned.split("@")[0]) is not None:
        return name
    return pinned


def finish(names: Names) -> None:
    """What a cluster needs besides its nodes; repeated at each `up`, since a node may have been made anew."""
    registry.connect(names)
    path = state() / "local-registry-hosting.yaml"
    path.write_text(registry.config_map(names))
    kubectl(names, "apply", "--server-side", "--force-conflicts", "-f", str(path))


def wait_ready(names: Names, limit: float) -> bool:
    """Whether all three nodes are Ready and CoreDNS answers, within `limit` seconds."""
    deadline = time.monotonic() + limit
    while (left := deadline - time.monotonic()) > 0:
        if len(ready := readiness(names)) == len(names.nodes) and all(ready.values()):
            command = [
                "-n",
                "kube-system",
                "rollout",
                "status",
                "deployment/coredns",
                f"--timeout={max(int(left), 1)}s",
            ]
            return kubectl(names, *command, limit=left + 5, good=False).ok
        time.sleep(1)
    return False


def readiness(names: Names) -> dict[str, bool]:
    """Which nodes are Ready, as the API server says; empty when it does not answer."""
    done = kubectl(names, "get", "nodes", "-o", "json", "--request-timeout=5s", limit=10, good=False)
    try:
        items = json.loads(done.output)["items"] if done.ok else []
    except ValueError:
        return {}
    return {
        item["metadata"]["name"]: any(
            c["type"] == "Ready" and c["status"] == "True" for c in item["status"]["conditions"]
        )
        for item in items
    }


def remove_nodes(names: Names) -> None:
    call("kind", "delete", "cluster", "--name", names.cluster, "--kubeconfig", str(kubeconfig()), limit=120)


def down(names: Names, say: Say, images: bool = False) -> None:
    """Removes cluster, registry (with its images), kubeconfig, and the network where nobody else uses it."""
    need_engine()
    refuse_foreign(names, nodes := look(names))
    say(f"registry {names.address}: {'removed, with its images' if registry.stop(names) else 'there was none'}")
    if nodes:
        find("kind", say=say)
        remove_nodes(names)
    say(f"cluster {names.cluster}: {'removed' if nodes else 'there was none'}")
    kubeconfig().unlink(missing_ok=True)
    if inspect("network", registry.NETWORK) and not docker("ps", "-aq", "--filter", f"network={registry.NETWORK}"):
        docker("network", "rm", registry.NETWORK)
    if images:
        remove_images(names, say)


def remove_images(names: Names, say: Say) -> None:
    """Takes every name of this registry from the engine, those that are digests alone, too."""
    rows = docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}").splitlines()
    ours = [row.split() for row in rows if row.startswith(f"{names.address}/")]
    for repository, tag, digest in ours:
        name = f"{repository}@{digest}" if tag == "<none>" else f"{repository}:{tag}"
        docker("image", "rm", "--force", name, good=False)  # one image may have had both
    say(f"images: {len(ours)} names removed")


def status(names: Names) -> tuple[bool, list[str]]:
    """Whether the cluster can be used, and a line for each part of it."""
    need_engine()
    nodes = look(names)
    if not nodes:
        return False, [f"no cluster {names.cluster}"]
    foreign = [n for n in nodes if n.owner != str(KIT)]
    ready = readiness(names) if kubeconfig().is_file() else {}
    lines = [f"{n.name}: {n.status}, {'Ready' if ready.get(n.name) else 'not Ready'}" for n in nodes]
    good = not foreign and len(ready) == len(names.nodes) and all(ready.values()) and registry.answers(names)
    lines.append(f"registry {names.address}: {'answers' if registry.answers(names) else 'does not answer'}")
    lines += [f"made by {n.owner or 'hand'}, not by this checkout" for n in foreign[:1]]
    ports = ", ".join(f"{what} {names.host_port(what)}" for what in NODE_PORTS)
    whole = (
        f"cluster {names.cluster}: {sum(ready.values())} of {len(names.nodes)} nodes Ready, registry on {names.address}"
    )
    return good, [
        whole if good else f"cluster {names.cluster} is there, but not well",
        *lines,
        f"ports on 127.0.0.1: {ports}",
    ]
