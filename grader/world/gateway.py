"""The platform's part of a canary: the Gateway API's definitions, Traefik, and one Gateway (manifests/gateway)."""

from __future__ import annotations

import time

from cluster.material import find_manifest, load_images
from cluster.names import KIT
from grader.errors import LabError
from grader.world.objects import kubectl


def bring() -> float:
    """All of it, ready; it may be called again. Returns the seconds that it took."""
    began = time.monotonic()
    load_images("06")
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


def take_away() -> None:
    """Traefik, its node port and its Gateway; the definitions stay."""
    kubectl("delete", "-k", str(KIT / "manifests" / "gateway"), "--ignore-not-found", "--wait=false", limit=60)
