"""Makes, mends, describes and removes the kind cluster and its registry. `./lab cluster up` may be run at any time.

A cluster is ours if its nodes carry this checkout's mark, a folder mounted at MARK: the engine tells it also of a node
that is stopped, half made or broken. It is whole if the control plane has the file WHOLE, which is written last.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from cluster import freezer, registry
from cluster.engine import ToolFailed, call, docker, failed, inspect, kubectl, need_engine, port_taken
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
    """`status` is the engine's word: running, exited, paused, ...; `owner` the checkout that made it, "" if unknown;
    `started` when the container was, last."""

    name: str
    status: str
    owner: str
    started: str


def look(names: Names) -> list[Node]:
    """The cluster's node containers, as the engine has them."""
    label = f"label=io.x-k8s.kind.cluster={names.cluster}"
    found = docker("ps", "--all", "--filter", label, "--format", "{{.Names}}").split()
    nodes = []
    for name in sorted(found):
        about = inspect("container", name)
        if about:
            nodes.append(Node(name, about["State"]["Status"], owner_of(about), about["State"]["StartedAt"]))
    return nodes


def owner_of(container: dict[str, Any]) -> str:
    """From the folder as we named it: where Docker runs in a machine of its own, `Mounts` has that machine's path."""
    marks = [bind.split(f":{MARK}")[0] for bind in container["HostConfig"]["Binds"] or [] if f":{MARK}" in bind]
    return str(marks[0]).removesuffix("/.lab/cluster-mark") if marks else ""


def up(names: Names, say: Say, anew: Callable[[str], bool] = lambda why: False) -> None:
    """Registry and cluster, made or mended; at the end all nodes are Ready and pull from the registry.

    What cannot be mended is removed only if `anew` agrees, which is told why, and what is lost. A cluster that was
    never whole, or has lost its control plane, has nothing left to lose."""
    need_engine()
    find("kind", say=say)
    find("kubectl", say=say)
    refuse_foreign(names, nodes := look(names))
    say(f"registry {names.address}: {registry.start(names)}")
    if nodes:
        trouble, lost = mend(names, nodes, say)
        if not trouble:
            return finish(names)
        if lost and not anew(f"{trouble} {lost}"):
            raise LabError(f"{trouble} {lost}", "`./lab cluster up --anew` removes it and makes another.")
        say(f"{trouble} It is made again")
        remove_nodes(names)
    make(names, say)


def refuse_foreign(names: Names, nodes: list[Node]) -> None:
    for node in nodes:
        if node.owner != str(KIT):
            raise registry.foreign(names, f"cluster {names.cluster}", node.owner or "someone who made it by hand")


def mend(names: Names, nodes: list[Node], say: Say) -> tuple[str, str]:
    """Brings back a cluster that is stopped, paused or rebooted. Returns what stands in the way, and what would be lost
    with it, each "" if nothing."""
    name, control = names.cluster, names.nodes[0]
    lost = "With it goes all that runs in it: namespaces, Deployments, Secrets (the registry's images stay)."
    there = {n.name for n in nodes}
    if control not in there:
        return f"The cluster {name} has lost its control plane.", ""
    asleep = [n for n in nodes if n.status != "running"]
    if gone := [n.name for n in asleep if not wake(names, n)]:
        return f"The cluster {name} cannot start {' and '.join(gone)}: the network that they were in is gone.", lost
    words = call("docker", "exec", control, "sh", "-c", f"test -e {WHOLE} && echo whole || echo half", good=False)
    if words.stdout.strip() == "half":
        return f"The cluster {name} was left half made.", ""
    if missing := set(names.nodes) - there:
        return f"The cluster {name} has no {' and no '.join(sorted(missing))} any more.", lost
    if words.stdout.strip() != "whole":
        return f"The cluster {name} cannot be looked into: {words.tail(2) or 'docker exec says nothing'}.", lost
    with new_kubeconfig() as path:
        call("kind", "export", "kubeconfig", "--name", name, "--kubeconfig", str(path))
    say(f"cluster {name}: " + (f"{len(asleep)} nodes were stopped, and run again" if asleep else "is there"))
    if wait_ready(names, READY_LIMIT):
        return "", ""
    return f"The nodes of {name} were not Ready after {READY_LIMIT:g} s: {state_of(names)}.", lost


def state_of(names: Names) -> str:
    """What the API server says of the nodes, for whoever has to decide about them."""
    done = kubectl(names, "get", "nodes", "--no-headers", "--request-timeout=5s", limit=10, good=False)
    return "; ".join(" ".join(line.split()[:2]) for line in done.stdout.splitlines()) or done.tail(1) or "no word"


def wake(names: Names, node: Node) -> bool:
    """Starts that node again. False: it cannot be, since the network that it was in is gone."""
    mark_folder().mkdir(parents=True, exist_ok=True)  # it goes with .lab, and without it no node starts
    command = ["docker", "unpause" if node.status == "paused" else "start", node.name]
    done = call(*command, good=False)
    if not done.ok and not re.search("network .* not found", done.output):
        raise not_made(names, command, done)
    return done.ok


@contextmanager
def new_kubeconfig() -> Iterator[Path]:
    """Where kind is to write it; then put in place, if it did. kind would add to a file that is there, so a damaged
    one, or the .lock beside it of a kind that was killed, would stop it for good."""
    new = kubeconfig().with_name(f"{kubeconfig().name}.new")
    for path in (new, new.with_name(f"{new.name}.lock")):
        path.unlink(missing_ok=True)
    yield new
    if new.exists():
        new.replace(kubeconfig())


def make(names: Names, say: Say) -> None:
    """Creates the cluster; some 25 s with the image here, and the download of 0.5 GB before it without."""
    path = state() / f"{names.cluster}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(configuration(names), sort_keys=False))
    mark_folder().mkdir(parents=True, exist_ok=True)
    say(f"cluster {names.cluster}: making three nodes (about half a minute; longer if an image must come first)")
    create(names, path, say)
    if not wait_ready(names, READY_LIMIT):
        raise LabError(
            f"The nodes of {names.cluster} do not become Ready: {state_of(names)}",
            "`./lab cluster up` tries again.",
        )
    finish(names)
    docker("exec", names.nodes[0], "touch", WHOLE)


def create(names: Names, config: Path, say: Say, again: bool = True) -> None:
    with new_kubeconfig() as path:
        command = ["kind", "create", "cluster", "--name", names.cluster, "--config", str(config)]
        command += ["--kubeconfig", str(path), "--retain"]  # or the nodes' logs would go with the nodes
        done = call(*command, limit=600, on_line=lambda line: say(step(line)), good=False)
        if done.ok:
            return
    if not port_taken(done.output):
        done = replace(done, output=done.output + words_of(names))
    remove_nodes(names)
    if not again or "already exist for a cluster" not in done.output:
        raise not_made(names, command, done)
    create(names, config, say, again=False)  # the last container of an `up` that was killed came after we had looked


def words_of(names: Names) -> str:
    """What the nodes and their kubelets said last. kind's own output tells only that kubeadm gave up on them."""
    said = []
    for node in look(names):
        said += [call("docker", "logs", "--tail", "40", node.name, good=False).output]
        journal = ["journalctl", "--unit=kubelet", "--no-pager", "--lines=300"]
        said += [call("docker", "exec", node.name, *journal, good=False).output]
    return "\n".join(said)


def step(line: str) -> str:
    """What kind begins, or what stops it; "" for its ticks, and for its farewell, which names a passing kubeconfig."""
    return f"kind: {line.strip()}" if line.lstrip().startswith(("•", "✗", "ERROR")) else ""


def not_made(names: Names, command: list[str], done: Completed) -> LabError:
    """The failures of kind, and of a node's start, that people meet, each with what mends it."""
    if address := port_taken(done.output):
        return LabError(
            f"The cluster {names.cluster} cannot have its ports: {address} is taken by another program.",
            f"End that program, or make another cluster with other ports: LAB_SLOT={names.elsewhere} ./lab cluster up",
        )
    causes = {
        "too many open files": "Raise inotify's limits: `./lab doctor` names the command.",
        "failed to pull image": "Is the network there? Else load the node image (`docker load`) under its own name.",
        "no space left on device": "Free some disk: `docker system df` shows what Docker takes.",
    }
    lines = [line.strip() for line in done.output.splitlines()]
    sign = next((sign for sign in causes if sign in done.output.lower()), "")
    telling = [line for line in lines if line.startswith("ERROR")][:1]
    telling += [line for line in lines if sign and sign in line.lower()][-1:]
    said = replace(done, output="\n".join(dict.fromkeys(telling)) or done.output)
    return ToolFailed(command[:3], said, causes.get(sign, "`./lab doctor` may know why."))


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
    deadline, nodes = time.monotonic() + limit, look(names)
    while (left := deadline - time.monotonic()) > 0:
        if len(ready := readiness(names, nodes)) == len(names.nodes) and all(ready.values()):
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


def readiness(names: Names, nodes: list[Node]) -> dict[str, bool]:
    """Which nodes are Ready, as the API server says; empty when it does not answer. For up to a minute after a reboot
    it says what it knew before, so a node counts only if it has reported since its container started; or, where the
    clock was set back since, within the last minute."""
    words = ["get", "nodes,leases", "-n", "kube-node-lease", "-o", "json", "--request-timeout=5s"]
    done = kubectl(names, *words, limit=10, good=False)
    try:
        items = json.loads(done.stdout)["items"] if done.ok else []
    except ValueError:
        return {}
    seen = {i["metadata"]["name"]: i["spec"].get("renewTime", "") for i in items if i["kind"] == "Lease"}
    started, now = {node.name: node.started for node in nodes}, datetime.now(UTC)
    return {
        name: is_fresh(seen.get(name, ""), started.get(name, ""), now) and says_ready(item)
        for item in items
        if item["kind"] == "Node" and (name := item["metadata"]["name"])
    }


def is_fresh(renewed: str, started: str, now: datetime) -> bool:
    """Times as RFC 3339 in UTC, compared to the second: 19 signs."""
    this = now.isoformat()[:19]
    if started[:19] <= this:
        return renewed[:19] >= started[:19]
    return (now - timedelta(minutes=1)).isoformat()[:19] <= renewed[:19] <= this  # started in the future, it seems


def says_ready(node: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])


def remove_nodes(names: Names) -> None:
    """Also what is half made; never another's, who may have come with the same name while kind was at work."""
    refuse_foreign(names, look(names))
    path = state() / "no-kubeconfig"  # ours needs no entry taken out, and kind would stop at a .lock beside it
    command = ["kind", "delete", "cluster", "--name", names.cluster, "--kubeconfig", str(path)]
    done = call(*command, limit=120, good=False)
    if freezer.SIGN in done.output:
        for node in look(names):
            freezer.thaw(node.name)
        done = call(*command, limit=120, good=False)
    if not done.ok:
        raise failed(command, done, "`./lab cluster down` tries again.")
    kubeconfig().unlink(missing_ok=True)


def down(names: Names, say: Say, images: bool = False) -> None:
    """Removes cluster, registry (with its images), kubeconfig, and the network where nobody else uses it."""
    need_engine()
    refuse_foreign(names, nodes := look(names))
    say(f"registry {names.address}: {'removed, with its images' if registry.stop(names) else 'there was none'}")
    if nodes:
        find("kind", say=say)
        remove_nodes(names)
    say(f"cluster {names.cluster}: {'removed' if nodes else 'there was none'}")
    for name in (kubeconfig().name, f"{kubeconfig().name}.new", f"{names.cluster}.yaml"):
        (state() / name).unlink(missing_ok=True)
    if inspect("network", registry.NETWORK) and not docker("ps", "-aq", "--filter", f"network={registry.NETWORK}"):
        docker("network", "rm", registry.NETWORK, good=False)  # somebody's cluster may join it at this moment
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
    ready = readiness(names, nodes) if kubeconfig().is_file() else {}
    lines = [f"{n.name}: {n.status}, {'Ready' if ready.get(n.name) else 'not Ready'}" for n in nodes]
    good = not foreign and len(ready) == len(names.nodes) and all(ready.values()) and registry.answers(names)
    lines.append(f"registry {names.address}: {'answers' if registry.answers(names) else 'does not answer'}")
    ports = ", ".join(f"{what} {names.host_port(what)}" for what in NODE_PORTS)
    whole = (
        f"cluster {names.cluster}: {sum(ready.values())} of {len(names.nodes)} nodes Ready, registry on {names.address}"
    )
    owner = (foreign[0].owner or "hand") if foreign else ""
    another = f"cluster {names.cluster} was made by {owner}, not by this checkout" if owner else ""
    return good, [
        whole if good else another or f"cluster {names.cluster} is there, but not well",
        *lines,
        f"ports on 127.0.0.1: {ports}",
    ]
