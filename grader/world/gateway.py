"""The platform's part of a canary: the Gateway API's definitions, Traefik, and one Gateway (manifests/gateway)."""

from __future__ import annotations

import time

from cluster.engine import call
from cluster.material import find_manifest, images_of
from cluster.names import KIT, read_names
from grader.errors import LabError
from grader.world.objects import kubectl


def bring() -> float:
    """All of it, ready; it may be called again. Returns the seconds that it took."""
    began = time.monotonic()
    load_images()
    definitions = find_manifest("gateway-api", print)
    for words in (["--server-side", "-f", str(definitions)], ["-k", str(KIT / "manifests" / "gateway")]):
        if not (done := kubectl("apply", *words, limit=60)).ok:
            raise LabError(
                f"The gateway was refused: {done.tail(3)}", "`./lab cluster status` says how the cluster is."
            )
    words = ["rollout", "status", "deployment/traefik", "--timeout=120s"]
    if not (done := kubectl("-n", "gateway", *words, limit=130)).ok:
        raise LabError(f"Traefik is not ready: {done.tail(2)}", "kubectl -n gateway get events")
    return time.monotonic() - began


def load_images() -> None:
    """Those that the container engine has go to the nodes; nodes pull the others."""
    names = read_names()
    there = [i for i in images_of("06") if call("docker", "image", "inspect", i, good=False).ok]
    words = ["exec", names.nodes[0], "ctr", "--namespace=k8s.io", "images", "ls", "--quiet"]
    known = call("docker", *words, good=False).output.split()
    lacking = [i for i in there if not any(k.endswith(i) for k in known)]
    if lacking:
        call("kind", "load", "docker-image", "--name", names.cluster, *lacking, limit=300, good=False)


def take_away() -> None:
    """Traefik, its node port and its Gateway; the definitions stay."""
    kubectl("delete", "-k", str(KIT / "manifests" / "gateway"), "--ignore-not-found", "--wait=false", limit=60)
