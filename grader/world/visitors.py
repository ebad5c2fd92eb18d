"""Sends pods to a service's door: who gets in, from its own namespace and from another one.

A policy can reach a new pod some seconds late, so an answer that is not as wanted is asked for again. If then a
stranger is let in, a control tells whose fault that is: a pod of ours under a policy that lets in nobody. Whoever
reaches that one, too, is in a cluster that enforces no policies.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from grader.errors import LabError
from grader.model import Facts
from grader.world.objects import get, kubectl

LABEL = {"serving-lab/client": "true"}
# Labels that many pods of the namespace have, and the client's own key with another value: none of these is a client.
LIKE = {"serving-lab/client": "false", "app.kubernetes.io/part-of": "serving-lab", "app": "client"}
STRANGERS = ("stranger", "likeness", "neighbour")
ELSEWHERE = "serving-lab-visitors"  # a namespace of the kit's own, which stays; its pods do not
PATIENCE = 15.0  # seconds until a policy has to hold
KNOCK = """
import sys, urllib.request
said = ""
for url in sys.argv[1:]:
    try:
        said = str(urllib.request.urlopen(url, timeout=3).status)
        break
    except urllib.error.HTTPError as answer:
        said = str(answer.code)
        break
    except Exception as broken:
        said = type(getattr(broken, "reason", broken)).__name__
print(said)
"""
SERVE = ["python", "-m", "http.server", "3000", "--directory", "/var"]


@dataclass(frozen=True)
class Visitor:
    """Who knocks: `role` client, stranger, likeness (with labels that are nearly right), or neighbour (with the label,
    in another namespace)."""

    role: str
    namespace: str
    pod: str
    labels: Mapping[str, str]


def visit(namespace: str, image: str, node: str, service: str, doors: Sequence[str]) -> dict[str, str]:
    """What each visitor gets: a status, or the kind of its error. `service` is asked by the client, each of `doors` (a
    pod's own address) by the others. Raises LabError if the visitors cannot be sent, or no policy is enforced here."""
    tag = secrets.token_hex(3)
    prepare_elsewhere()
    who = [
        Visitor("client", namespace, f"client-{tag}", LABEL),
        Visitor("stranger", namespace, f"stranger-{tag}", {}),
        Visitor("likeness", namespace, f"likeness-{tag}", LIKE),
        Visitor("neighbour", ELSEWHERE, f"neighbour-{tag}", LABEL),
    ]
    with sent(who, image, node):
        deadline = time.monotonic() + PATIENCE
        while True:
            with ThreadPoolExecutor(len(who)) as pool:
                answers = pool.map(lambda v: knock(v, [service] if v.role == "client" else [*doors, service]), who)
                found = dict(zip([v.role for v in who], answers, strict=True))
            good = found["client"] == "200" and not any(found[v].isdigit() for v in STRANGERS)
            if good or time.monotonic() > deadline:
                break
            time.sleep(1)
        if not good and any(found[v].isdigit() for v in STRANGERS):
            prove_enforcement(who[-1], image, node)
    return found


def knock(visitor: Visitor, urls: Sequence[str]) -> str:
    done = kubectl("-n", visitor.namespace, "exec", visitor.pod, "--", "python", "-c", KNOCK, *urls, limit=60)
    if not done.ok:
        raise LabError(f"The visitor {visitor.pod} cannot be asked: {done.tail(2)}", "Grade again.")
    return (done.stdout.strip().splitlines() or ["silence"])[-1]


def prove_enforcement(neighbour: Visitor, image: str, node: str) -> None:
    """Raises where a policy that lets in nobody lets in somebody: no policy of the learner's could do better."""
    control = Visitor("control", ELSEWHERE, neighbour.pod.replace("neighbour", "control"), {"serving-lab/door": "shut"})
    with sent([control], image, node, SERVE):
        address = get(ELSEWHERE, "pod", control.pod)["status"]["podIP"]
        deadline = time.monotonic() + PATIENCE
        while (told := knock(neighbour, [f"http://{address}:3000/"])).isdigit():
            if time.monotonic() > deadline:
                raise LabError(
                    f"This cluster enforces no network policies: one that lets in nobody let a visitor in ({told}).",
                    "The nodes' kernel lacks what kind's network needs (nftables); on WSL2 or a VM take a newer one.",
                )
            time.sleep(1)


def prepare_elsewhere() -> None:
    """The visitors' own namespace, with a policy that shuts the door of whoever has the label; idempotent."""
    policy: Facts = {"podSelector": {"matchLabels": {"serving-lab/door": "shut"}}, "policyTypes": ["Ingress"]}
    things = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
         "metadata": {"name": "shut", "namespace": ELSEWHERE}, "spec": policy},
    ]  # fmt: skip
    done = kubectl("apply", "-f", "-", given=as_list(things))
    if not done.ok:
        raise LabError(f"The visitors' namespace cannot be made: {done.tail(2)}", "Grade again.")


@contextmanager
def sent(who: Sequence[Visitor], image: str, node: str, command: Sequence[str] = ("sleep", "180")) -> Iterator[None]:
    """Those visitors, Ready; gone afterwards. One that a killed grading leaves ends by itself."""
    try:
        done = kubectl("apply", "-f", "-", given=as_list([pod_of(v, image, node, command) for v in who]))
        if not done.ok:
            raise LabError(f"The visitors cannot be sent: {done.tail(2)}", "Grade again.")
        for visitor in who:
            words = ["wait", "--for=condition=Ready", f"pod/{visitor.pod}", "--timeout=60s"]
            if not (done := kubectl("-n", visitor.namespace, *words, limit=70)).ok:
                state = get(visitor.namespace, "pod", visitor.pod).get("status", {})
                why = json.dumps(state.get("containerStatuses") or state.get("message") or done.tail(1))[:300]
                raise LabError(f"The visitor {visitor.pod} did not get ready: {why}", "Grade again.")
        yield
    finally:
        for visitor in who:
            words = ["--ignore-not-found", "--wait=false", "--grace-period=0", "--force"]
            kubectl("-n", visitor.namespace, "delete", f"pod/{visitor.pod}", *words)


def as_list(things: Sequence[Facts]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(things)})


def pod_of(visitor: Visitor, image: str, node: str, command: Sequence[str]) -> Facts:
    """A pod that fits the restricted profile and ends by itself, of the service's own image, on a node that has it."""
    inner = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    outer = {"runAsNonRoot": True, "runAsUser": 1034, "runAsGroup": 1034, "seccompProfile": {"type": "RuntimeDefault"}}
    room = {"cpu": "10m", "memory": "64Mi"}
    container = {"name": "visitor", "image": image, "command": list(command), "securityContext": inner,
                 "imagePullPolicy": "IfNotPresent",
                 "resources": {"requests": room, "limits": {"cpu": "500m", "memory": "128Mi"}}}  # fmt: skip
    meta: Facts = {"name": visitor.pod, "namespace": visitor.namespace, "labels": dict(visitor.labels)}
    spec = {"containers": [container], "securityContext": outer, "automountServiceAccountToken": False,
            "restartPolicy": "Never", "activeDeadlineSeconds": 240, "nodeName": node}  # fmt: skip
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
