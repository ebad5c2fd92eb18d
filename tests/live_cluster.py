"""The kit's cluster for tests: kubectl with the kit's kubeconfig, and a namespace that goes when the test ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from conftest import ROOT

from cluster.names import kubeconfig

RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "v1.35",
}


def not_run(lacking: str) -> NoReturn:
    """Skips with the reason; under LAB_STRICT, so in CI, what is not run is a failure."""
    (pytest.fail if os.environ.get("LAB_STRICT") else pytest.skip)(f"not run: {lacking}")
    raise AssertionError("unreachable")


def need_kubectl() -> None:
    if shutil.which("kubectl") is None:
        not_run("no kubectl (https://kubernetes.io/docs/tasks/tools/)")


def need_cluster() -> None:
    need_kubectl()
    if not kubeconfig().is_file() or kubectl("get", "nodes", "--request-timeout=5s", good=False).returncode != 0:
        not_run("no cluster (./lab cluster up)")


def kubectl(*words: str, text: str = "", good: bool = True) -> subprocess.CompletedProcess[str]:
    """Never with the user's own kubeconfig. `good`: anything but exit code 0 is a failure, with what kubectl said."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig())}
    command = ["kubectl", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=120)
    if good and done.returncode != 0:
        pytest.fail(f"{' '.join(command)}: {done.stderr}")
    return done


def get(*words: str) -> Any:
    return json.loads(kubectl("get", *words, "-o", "json").stdout)


def apply(*objects: dict[str, Any], namespace: str = "default", dry: bool = False) -> str:
    """Applies them, or lets the API server check them (`dry`), and returns what kubectl said."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    words = ["apply", "-n", namespace, "--validate=strict", *(["--dry-run=server"] if dry else []), "-f", "-"]
    return kubectl(*words, text=listed).stdout


def refusal(thing: dict[str, Any], namespace: str, validate: str = "strict") -> str:
    """What the API server says against that object; "" when it would take it. strict: an unknown field is an error."""
    words = ["apply", "-n", namespace, f"--validate={validate}", "--dry-run=server", "-f", "-"]
    return kubectl(*words, text=json.dumps(thing), good=False).stderr


@contextmanager
def namespace_for(purpose: str, labels: dict[str, str] | None = None) -> Iterator[str]:
    """A namespace that tells which checkout made it; deleted afterwards, with all that it holds."""
    checkout = re.sub("[^a-z0-9]+", "-", ROOT.name.lower()).strip("-")[:20]
    name = f"ml-serving-{checkout}-{purpose}-{os.getpid()}"
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=90s")


def wait_for(look: Callable[[], Any], what: str, seconds: float = 40) -> Any:
    """The first answer of `look` that is true."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.5)
    return found
