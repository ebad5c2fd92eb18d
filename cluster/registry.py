"""The image registry of the labs: registry:3 on 127.0.0.1, and the files that make the nodes pull from it.

An image is called 127.0.0.1:5001/... on the host. For a node that address is the node itself, so containerd is told, in
certs.d, that the registry of that name is the container beside it (https://kind.sigs.k8s.io/docs/user/local-registry/).
"""

from __future__ import annotations

import http.client
import time
from pathlib import Path
from typing import Any

from cluster.engine import ToolFailed, call, docker, inspect, port_taken
from cluster.names import KIT, Names
from grader.errors import LabError
from grader.processes import Completed, wait_until

IMAGE = "registry:3"
OWNER = "serving-lab.checkout"  # the label that says whose a container is
NETWORK = "kind"


def start(names: Names) -> str:
    """Makes the registry run, and says what it did. Idempotent."""
    found = ours(names)
    if found and names.registry_port not in host_ports(found):
        docker("rm", "--force", "--volumes", names.registry)  # LAB_REGISTRY_PORT has changed
        found = None
    if not found:
        create(names)
        wait(names)
        return "made"
    status = found["State"]["Status"]
    # Docker may have started it a moment ago, with itself
    if status == "running" and wait_until(lambda: answers(names), 3):
        return "runs already"
    wake(names, status)
    wait(names)
    return f"was {'stopped' if status == 'exited' else status}, without an answer, and serves again"


def ours(names: Names) -> dict[str, Any] | None:
    """What the engine knows of the registry's container, None where there is none. Raises for somebody else's."""
    found = inspect("container", names.registry)
    if found and (owner := (found["Config"]["Labels"] or {}).get(OWNER)) != str(KIT):
        raise foreign(names, f"container {names.registry}", owner or "someone else")
    return found


def host_ports(container: dict[str, Any]) -> list[int]:
    bindings = container["HostConfig"]["PortBindings"] or {}
    return [int(binding["HostPort"]) for entry in bindings.values() for binding in entry or []]


def wake(names: Names, status: str) -> None:
    """Starts what is there, with the images in it; one that runs and does not answer is started anew."""
    word = {"paused": "unpause", "running": "restart"}.get(status, "start")
    done = call("docker", word, names.registry, good=False)
    if not done.ok and "network" in done.output:
        # kind's network went while it was stopped (`docker network prune`); connect() joins the new one
        docker("network", "disconnect", "--force", NETWORK, names.registry, good=False)
        done = call("docker", word, names.registry, good=False)
    if not done.ok:
        raise not_started(names, ["docker", word, names.registry], done)


def not_started(names: Names, command: list[str], done: Completed) -> LabError:
    if address := port_taken(done.output):
        return LabError(
            f"The registry does not start: {address} is taken by another program.",
            f"LAB_REGISTRY_PORT={names.registry_port + 1} takes another port; set it for each command of the lab.",
        )
    remedy = f"Is the network there? Else load the image {IMAGE} (`docker load`) under its own name."
    pulls = "pull" in done.output.lower() or "manifest" in done.output.lower()
    return ToolFailed(command, done, remedy if pulls else "`./lab doctor` may know why.")


def create(names: Names) -> None:
    options = ["--detach", "--restart=unless-stopped", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    options += ["--label", f"{OWNER}={KIT}", "--name", names.registry]
    options += ["--publish", f"127.0.0.1:{names.registry_port}:5000", "--env", "OTEL_TRACES_EXPORTER=none"]
    done = call("docker", "run", *options, IMAGE, limit=180, good=False)
    if not done.ok:
        if ours(names):  # made, but not started
            docker("rm", "--force", "--volumes", names.registry, good=False)
        raise not_started(names, ["docker", "run", IMAGE], done)


def answers(names: Names) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", names.registry_port, timeout=2)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait(names: Names, limit: float = 20) -> None:
    deadline = time.monotonic() + limit
    while not answers(names):
        if time.monotonic() > deadline:
            log = call("docker", "logs", "--tail", "4", names.registry, good=False).tail(4)
            raise LabError(
                f"The registry's container runs, and nothing answers on {names.address}: {log}",
                "Is the engine on another machine (DOCKER_HOST, a dev container)? Its ports must be on this one. "
                "Else `./lab cluster up` tries again.",
            )
        time.sleep(0.1)


def connect(names: Names) -> None:
    """Puts the registry into the nodes' network, and tells every node where its images come from."""
    found = inspect("container", names.registry) or {}
    if NETWORK not in found["NetworkSettings"]["Networks"]:
        docker("network", "connect", NETWORK, names.registry)
    folder = f"/etc/containerd/certs.d/{names.address}"
    hosts = f'[host."http://{names.registry}:5000"]'
    for node in names.nodes:
        docker("exec", node, "sh", "-c", f"mkdir -p {folder} && printf '%s\\n' '{hosts}' >{folder}/hosts.toml")


def config_map(names: Names) -> str:
    """The documented way to tell tools of a cluster's registry (KEP-1755), as YAML."""
    return f"""apiVersion: v1
kind: ConfigMap
metadata: {{name: local-registry-hosting, namespace: kube-public}}
data:
  localRegistryHosting.v1: |
    host: "{names.address}"
    hostFromContainerRuntime: "{names.registry}:5000"
    help: "https://kind.sigs.k8s.io/docs/user/local-registry/"
"""


def foreign(names: Names, what: str, owner: str) -> LabError:
    """The refusal to touch what another checkout or a person made."""
    gone = owner.startswith("/") and not Path(owner).exists()
    by_hand = f"`kind delete cluster --name {names.cluster}; docker rm -fv {names.registry}` removes it."
    return LabError(
        f"The {what} belongs to {owner}, not to this checkout ({KIT}).",
        f"LAB_SLOT={names.elsewhere} ./lab cluster up makes another beside it (names and ports differ); "
        + (f"or, since that folder is gone: {by_hand}" if gone else "or take it down there."),
    )


def stop(names: Names) -> bool:
    """Removes the registry with all its images. False where there was none."""
    if not ours(names):
        return False
    docker("rm", "--force", "--volumes", names.registry)
    return True
