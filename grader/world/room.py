"""Pods that are not ready for the machine's sake, which is no fail: nobody can pull, a disk is full, or they find no
node and would find one without the other namespaces' pods."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cluster.names import read_names
from cluster.registry import answers as registry_answers
from grader.errors import LabError
from grader.model import Facts
from grader.world.objects import get, quantity

KINDS = ("cpu", "memory")
SYSTEM = frozenset({"kube-system", "local-path-storage"})
FULL = re.compile("(?i)low on resource: ephemeral|DiskPressure|disk.pressure|no space left")


def refuse_trouble(namespace: str, warnings: Iterable[str]) -> None:
    """Raises LabError where one of these is why pods of that namespace are late: `warnings` is what the cluster said
    of them."""
    told = "; ".join(warnings)
    if re.search("pull|ErrImage", told) and not registry_answers(read_names()):
        raise LabError(f"The registry is silent, so pods cannot pull: {told[:300]}", "`./lab cluster up` starts it.")
    if FULL.search(told):
        raise LabError(f"A node's disk is full: {told[:300]}", "Free some: `docker system df` shows what takes it.")
    need_room(namespace)


def need_room(namespace: str) -> None:
    """Raises LabError where a pod of that namespace waits for a node that it would have if the other namespaces had no
    pods. Where it would wait then, too, the pod asks for too much, which its owner can change: nothing is raised."""
    pods = get("default", "pods", "--all-namespaces").get("items", [])
    nodes = [n for n in get("default", "nodes").get("items", []) if is_open(n)]
    here = [p for p in pods if p["metadata"]["namespace"] == namespace]
    for pod in (p for p in here if short_of(p)):
        around = [p for p in pods if p["metadata"]["namespace"] in {*SYSTEM, namespace} and p is not pod]
        if any(fits(asked_by([pod]), free(node, around)) for node in nodes):
            others = sorted({p["metadata"]["namespace"] for p in pods} - {*SYSTEM, namespace})
            raise LabError(
                f"The pod {pod['metadata']['name']} finds no node: {', '.join(short_of(pod))} is taken by the pods in "
                f"{', '.join(others)}.",
                "`./lab clean` frees what labs left in the cluster; then grade again.",
            )


def short_of(pod: Facts) -> list[str]:
    """What the scheduler says that every node lacks for it: "cpu", "memory"."""
    said = [c for c in pod.get("status", {}).get("conditions") or [] if c.get("reason") == "Unschedulable"]
    return [kind for kind in KINDS if any(f"Insufficient {kind}" in c.get("message", "") for c in said)]


def is_open(node: Facts) -> bool:
    """Takes pods that tolerate nothing."""
    spec = node.get("spec", {})
    shut = {"NoSchedule", "NoExecute"} & {taint["effect"] for taint in spec.get("taints") or []}
    return not shut and not spec.get("unschedulable")


def asked_by(pods: Iterable[Facts]) -> dict[str, float]:
    """Cores and bytes that their containers ask for. (A limit without a request counts as one: the API server fills it
    in.)"""
    asks = [c.get("resources", {}).get("requests", {}) for p in pods for c in p["spec"]["containers"]]
    return {kind: sum(quantity(ask.get(kind, "0")) for ask in asks) for kind in KINDS}


def free(node: Facts, pods: Iterable[Facts]) -> dict[str, float]:
    """What is left of a node beside those of the pods that are on it."""
    on_it = [p for p in pods if p["spec"].get("nodeName") == node["metadata"]["name"]]
    taken = asked_by(on_it)
    return {kind: quantity(node["status"]["allocatable"][kind]) - taken[kind] for kind in KINDS}


def fits(asked: dict[str, float], left: dict[str, float]) -> bool:
    return all(asked[kind] <= left[kind] for kind in KINDS)
