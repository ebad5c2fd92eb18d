"""Every name and host port of the cluster, from one setting, so that several people can share a host.

LAB_SLOT (0 to 9, default 0) moves all of them together: slot 2 has the cluster serving-lab-2 and ports 200 higher.
LAB_REGISTRY_PORT and LAB_SERVER_PORT move one port alone. Host ports are on 127.0.0.1, and reserved when the cluster is
made: a port more would mean another cluster.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from grader.errors import WrongCall
from grader.workspace import write_atomic

KIT = Path(__file__).resolve().parent.parent
IMAGE = "demo-text-intelligence"  # also the Deployment's and the Service's name
TAG = "bento-v1"
NAMESPACE = "ml-serving"
# What answers on which node port; the host port is the same number in slot 0. kind.yaml maps them.
NODE_PORTS = {
    "service": 30080, "walk": 30081, "gateway": 30082, "prometheus": 30083, "jaeger": 30084,
    "bench": 30085, "seen": 30086, "walk-seen": 30087, "walk-bench": 30088, "graded-bench": 30089,
}  # fmt: skip


@dataclass(frozen=True)
class Names:
    """The names of one slot."""

    slot: int = 0
    registry_port: int = 5001
    server_port: int = 3000

    @property
    def cluster(self) -> str:
        return f"serving-lab-{self.slot}" if self.slot else "serving-lab"

    @property
    def registry(self) -> str:
        """The registry's container; nodes reach it by this name."""
        return f"{self.cluster}-registry"

    @property
    def address(self) -> str:
        """The registry as images name it: 127.0.0.1:5001."""
        return f"127.0.0.1:{self.registry_port}"

    @property
    def context(self) -> str:
        return f"kind-{self.cluster}"

    @property
    def nodes(self) -> tuple[str, str, str]:
        return f"{self.cluster}-control-plane", f"{self.cluster}-worker", f"{self.cluster}-worker2"

    @property
    def elsewhere(self) -> int:
        """A slot that is not this one, for messages that advise another."""
        return (self.slot + 1) % 10

    def host_port(self, what: str) -> int:
        """Where `what` (a name in NODE_PORTS) answers on 127.0.0.1."""
        return NODE_PORTS[what] + 100 * self.slot

    def repository(self, workspace: str) -> str:
        """127.0.0.1:5001/demo-text-intelligence; the walk's and scratch workspaces' have a prefix of their own."""
        return "/".join([self.address, *([plain(workspace)] if workspace else []), IMAGE])

    def namespace(self, workspace: str) -> str:
        return f"{NAMESPACE}-{plain(workspace)}" if workspace else NAMESPACE

    def serve_port(self, workspace: str) -> int:
        """Where a server that is typed by hand (`bentoml serve`) listens: the walk's beside the learner's."""
        return self.server_port + {"": 0, "walk": 1}.get(workspace, 2)

    def service_port(self, workspace: str) -> str:
        """The key in NODE_PORTS of that workspace's Service; "" for scratch workspaces, which have none."""
        return {"": "service", "walk": "walk"}.get(workspace, "")

    def bench(self, workspace: str) -> str:
        """The namespace of lab 07's copies of the service."""
        return f"{self.namespace(workspace)}-bench"

    def split(self, workspace: str) -> str:
        """The namespace of lab 06, where API server and runners are apart."""
        return f"{self.namespace(workspace)}-split"

    def release(self, workspace: str) -> str:
        """The namespace of lab 06's releases."""
        return f"{self.namespace(workspace)}-release"

    def staging(self, workspace: str) -> str:
        """The namespace of lab 12 in which a release is tried."""
        return f"{self.namespace(workspace)}-staging"

    def production(self, workspace: str) -> str:
        """The namespace of lab 12 to which a release is promoted."""
        return f"{self.namespace(workspace)}-production"

    def bench_port(self, workspace: str) -> str:
        """The key in NODE_PORTS of those copies, which are asked in turn."""
        return {"": "bench", "walk": "walk-bench"}.get(workspace, "graded-bench")


def plain(workspace: str) -> str:
    """A workspace's name as registries and Kubernetes allow it, in a namespace of at most 63 characters."""
    return re.sub(r"[^a-z0-9]+", "-", workspace.lower())[:40].strip("-") or "nameless"


def read_names() -> Names:
    """The names for LAB_SLOT, LAB_REGISTRY_PORT and LAB_SERVER_PORT as they are set now."""
    slot, ports = read_slot(), range(1024, 65530)
    registry = _number("LAB_REGISTRY_PORT", 5001 + 10 * slot, ports)
    return Names(slot, registry, _number("LAB_SERVER_PORT", 3000 + 10 * slot, ports))


def read_slot() -> int:
    return _number("LAB_SLOT", 0, range(10))


def _number(variable: str, usual: int, allowed: range) -> int:
    text = os.environ.get(variable) or str(usual)
    if not re.fullmatch(r"\d+", text) or int(text) not in allowed:
        raise WrongCall(
            f"{variable} is {text!r}, which is no number from {allowed[0]} to {allowed[-1]}.",
            f"Set it to such a number, or leave it out for {usual}.",
        )
    return int(text)


def state() -> Path:
    """.lab of the kit (LAB_KIT names another one's): the kubeconfig and the tools lie there."""
    return Path(os.environ.get("LAB_KIT") or KIT) / ".lab"


def kubeconfig() -> Path:
    """The only kubeconfig that the kit writes or reads; each slot has one of its own."""
    slot = read_slot()
    return state() / (f"kubeconfig-{slot}" if slot else "kubeconfig")


# ---------------------------------------------------------------- what typed commands find in their environment


def context_file(workspace: str) -> Path:
    """Lies over the slot's kubeconfig (kubectl merges the two): the same context, with the workspace's namespace."""
    names = read_names()
    return state() / "contexts" / f"{names.cluster}.{names.namespace(workspace)}"


def variables(workspace: str) -> dict[str, str]:
    """So that a command reads the same in every workspace and slot (grader/kit.toml, `variables`)."""
    names = read_names()
    port = names.service_port(workspace)
    return {
        "KUBECONFIG": f"{context_file(workspace)}{os.pathsep}{kubeconfig()}",
        "NAMESPACE": names.namespace(workspace),
        "BENCH": names.bench(workspace),
        "SPLIT": names.split(workspace),
        "RELEASE": names.release(workspace),
        "STAGING": names.staging(workspace),
        "PRODUCTION": names.production(workspace),
        "REGISTRY": names.address,
        "REPOSITORY": names.repository(workspace),
        "IMAGE": f"{names.repository(workspace)}:{TAG}",
        "BENTOML_PORT": str(names.serve_port(workspace)),
        **({"NODE_PORT": str(names.host_port(port))} if port else {}),
    }


def prepare(workspace: str) -> None:
    """Writes the context file, before a person or a notebook types commands in that workspace."""
    names, path = read_names(), context_file(workspace)
    context = {"cluster": names.context, "user": names.context, "namespace": names.namespace(workspace)}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": names.context,
              "contexts": [{"name": names.context, "context": context}]}  # fmt: skip
    write_atomic(path, (json.dumps(config, indent=1) + "\n").encode())
