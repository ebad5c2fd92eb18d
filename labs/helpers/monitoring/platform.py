"""What a platform's people run beside the service: the Prometheus operator, its Prometheus, custom metrics, traces.

`bring()` applies all of it (manifests/observability), once a cluster; it may be called again. `take_away()` removes it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from cluster.material import find_manifest, load_images
from cluster.names import KIT, read_names, variables
from cluster.tools import path_with_tools
from grader.processes import wait_until
from grader.world.prometheus import Prometheus

SPACE, POD = "monitoring", "prometheus-watch-0"
ESTABLISHED = "jsonpath={range .items[*]}{.status.conditions[?(@.type=='Established')].status}{end}"
KINDS = ("prometheuses", "servicemonitors", "prometheusrules")
Say = Callable[[str], None]


def kubectl(*words: str, given: str = "", limit: float = 240, good: bool = True) -> str:
    """What kubectl prints, with the workspace's own kubeconfig; its complaint as an error."""
    workspace = os.environ.get("LAB_WORKSPACE", "")
    environ = {**os.environ, "PATH": path_with_tools(), "KUBECONFIG": variables(workspace)["KUBECONFIG"]}
    done = subprocess.run(["kubectl", *words], capture_output=True, text=True, timeout=limit, input=given, env=environ)
    if good and done.returncode:
        raise RuntimeError(f"kubectl {' '.join(words)[:90]}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def bring(say: Say = print) -> float:
    """The operator and what it keeps, ready. Returns the seconds that it took."""
    began = time.monotonic()
    load_images("08")
    kubectl("apply", "-f", str(KIT / "manifests/observability/namespace.yaml"))
    kubectl("apply", "--server-side", "-f", "-", given=operator_manifest(say))
    names = [f"crd/{kind}.monitoring.coreos.com" for kind in KINDS]
    wait_until(lambda: kubectl("get", *names, "-o", ESTABLISHED) == "True" * len(names), 60)
    kubectl("apply", "-k", str(KIT / "manifests/observability"))
    for deployment in ("prometheus-operator", "prometheus-adapter", "jaeger"):
        kubectl("-n", SPACE, "rollout", "status", f"deployment/{deployment}", "--timeout=180s")
    kubectl("-n", SPACE, "wait", "--for=condition=Available", "prometheus/watch", "--timeout=180s")
    return time.monotonic() - began


def operator_manifest(say: Say = print) -> str:
    """The operator's own, which puts it into the namespace default; here it is in that of what it keeps."""
    return find_manifest("prometheus-operator", say).read_text().replace("namespace: default", f"namespace: {SPACE}")


def take_away() -> None:
    """All of it: the operator's kinds go last, and with them whatever is still of these kinds."""
    kubectl("delete", "-k", str(KIT / "manifests/observability"), "--ignore-not-found", "--timeout=90s", good=False)
    kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=90s", given=operator_manifest(), good=False)


def prometheus() -> Prometheus:
    """The cluster's own, at its node port on 127.0.0.1."""
    return Prometheus(f"http://127.0.0.1:{read_names().host_port('prometheus')}")


def hurry() -> None:
    """The kubelet brings a changed configuration into a running pod within a minute, and at once when the pod's own
    object changes: so this changes an annotation of it."""
    kubectl("-n", SPACE, "annotate", "pod", POD, f"serving-lab/hurry={time.time_ns()}", "--overwrite")
