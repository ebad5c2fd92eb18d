"""The cluster's objects for probes: read through kubectl, and what their words mean.

get("ml-serving", "deployment", "demo-text-intelligence")  # {} where there is none; a silent API server raises LabError
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from cluster.engine import environ
from cluster.names import read_names
from grader.errors import LabError
from grader.model import Facts
from grader.processes import Completed, run
from grader.world.listeners import BENTO

HOST = "kubernetes.io/hostname"
MEND = "`./lab cluster up` repairs it."
OUTAGE = re.compile(
    r"unable to connect to the server|connection to the server .* was refused|dial tcp|i/o timeout|TLS handshake"
    r"|etcdserver|ServiceUnavailable|InternalError|TooManyRequests",
    re.I,
)
# What runs, in the image: the Bento, its packages, and what these need.
PROGRAMS = tuple(map(PurePosixPath, (BENTO, "/app/.venv", "/usr", "/bin", "/sbin", "/lib", "/lib64")))
UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
UNITS |= {f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", 1)}


def kubectl(*words: str, limit: float = 30, given: str | None = None) -> Completed:
    """kubectl on the kit's cluster; raises if the cluster is silent, since that is no learner's fault."""
    command = ["kubectl", "--context", read_names().context, *words]
    if given is None:
        done = run(command, limit, env=environ())
    else:
        done = run(["sh", "-c", 'printf %s "$GIVEN" | "$@"', "sh", *command], limit, env={**environ(), "GIVEN": given})
    if done.code is None:
        raise LabError(f"kubectl {' '.join(words[:4])} did not end within {limit:g} s.", MEND)
    if not done.ok and OUTAGE.search(done.output):
        raise LabError(f"The cluster does not answer: {done.tail(2)}", MEND)
    return done


def get(namespace: str, *words: str) -> Facts:
    """Objects as JSON; {} where there are none of that name. Warnings go to stderr, so only stdout is read."""
    done = kubectl("-n", namespace, "get", *words, "-o", "json", "--request-timeout=10s")
    if not done.ok and ("NotFound" in done.output or "not found" in done.output):
        return {}
    if done.ok and not done.stdout.strip():  # --ignore-not-found
        return {}
    try:
        return dict(json.loads(done.stdout))
    except ValueError:
        raise LabError(f"The cluster's answer cannot be read: {done.tail(2)}", MEND) from None


def labels_of(thing: Facts) -> dict[str, str]:
    return dict(thing.get("metadata", {}).get("labels") or {})


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector fits; an empty one fits all, none at all fits nothing."""
    if selector is None:
        return False
    equal = all(labels.get(k) == v for k, v in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(e, labels) for e in selector.get("matchExpressions") or [])


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or []
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


def quantity(text: object) -> float:
    """A Kubernetes quantity: 500m, 1Gi, 1e9, 1.5G; not a number for what is none."""
    found = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]*)", str(text))
    return float(found[1]) * UNITS[found[2]] if found and found[2] in UNITS else math.nan


def server_of(spec: Facts, release: str = "") -> Facts:
    """The container that serves, wherever it stands: on port 3000, of the released repository, or else the first."""
    repository = repository_of(release)

    def likeness(container: Facts) -> tuple[bool, bool, bool]:
        ports = [p.get("containerPort") for p in container.get("ports") or []]
        released = bool(release) and repository_of(container.get("image", "")) == repository
        return 3000 in ports, released, "readinessProbe" in container

    containers: list[Facts] = spec.get("containers") or [{}]
    return max(containers, key=likeness)


def repository_of(image: str) -> str:
    """Without digest and tag."""
    return re.split(r"@|:(?=[^/]*$)", image)[0]


def port_of(server: Facts) -> int:
    """Where it listens: the port that is called http, or 3000, or the first one."""
    ports = server.get("ports") or [{"containerPort": 3000}]
    wanted = [p for p in ports if p.get("name") == "http" or p["containerPort"] == 3000]
    return int([*wanted, *ports][0]["containerPort"])


def way_in(service: Facts) -> Facts:
    """The port of a Service's spec that callers take: the one called http, or 80, or the first one."""
    ports: list[Facts] = service.get("ports") or [{"port": 80, "targetPort": 80}]
    return [*(p for p in ports if p.get("name") == "http" or p["port"] == 80), *ports][0]


def expand(volume: Facts) -> list[Facts]:
    """A volume, and what is projected into it."""
    return [volume, *((volume.get("projected") or {}).get("sources") or [])]


def over_bento(server: Facts) -> list[str]:
    """Volumes that hide the Bento or its packages, or a part of them: what runs then is not what was released."""
    paths = [PurePosixPath(posixpath.normpath(str(m.get("mountPath")))) for m in server.get("volumeMounts") or []]
    hidden = [p for p in paths for place in PROGRAMS if p.is_relative_to(place) or place.is_relative_to(p)]
    return sorted({str(p) for p in [*hidden, *(p for p in paths if {"site-packages", "dist-packages"} & set(p.parts))]})


def addresses_of(endpoint: Facts) -> list[str]:
    return list(endpoint.get("addresses") or ["an address"])


def is_spread(template: Facts, replicas: int = 2) -> bool:
    """Whether its pods keep apart by node: a spread constraint, or an anti-affinity, that is about themselves. A skew
    of as many as there are lets them all be on one."""
    spec, labels = template.get("spec", {}), labels_of(template)
    apart = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
    rules = [c for c in spec.get("topologySpreadConstraints") or [] if c.get("maxSkew", 1) < max(replicas, 2)]
    rules += apart.get("requiredDuringSchedulingIgnoredDuringExecution") or []
    rules += [r["podAffinityTerm"] for r in apart.get("preferredDuringSchedulingIgnoredDuringExecution") or []]
    return any(r.get("topologyKey") == HOST and matches(r.get("labelSelector"), labels) for r in rules)


def left_by(budget: Facts, replicas: int) -> int:
    """How many of that many pods a PodDisruptionBudget keeps at least; percentages are rounded up, as there."""

    def count(value: object) -> int:
        text = str(value)
        return math.ceil(int(text[:-1]) * replicas / 100) if text.endswith("%") else int(text)

    if budget.get("maxUnavailable") is not None:
        return max(replicas - count(budget["maxUnavailable"]), 0)
    return count(budget.get("minAvailable", 0))
