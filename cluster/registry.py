"""The image registry of the labs: registry:3 on 127.0.0.1, and the files that make the nodes pull from it.

An image is called 127.0.0.1:5001/... on the host. For a node that address is the node itself, so containerd is told, in
certs.d, that the registry of that name is the container beside it (https://kind.sigs.k8s.io/docs/user/local-registry/).
"""

from __future__ import annotations

import http.client
import time

from cluster.engine import call, docker, inspect
from cluster.names import KIT, Names
from grader.errors import LabError

IMAGE = "registry:3"
OWNER = "serving-lab.checkout"  # the label that says whose a container is
NETWORK = "kind"


def start(names: Names) -> str:
    """Makes the registry run, and says what it did. Idempotent."""
    found = inspect("container", names.registry)
    if found and (owner := found["Config"]["Labels"].get(OWNER)) != str(KIT):
        raise foreign(f"container {names.registry}", owner or "somebody else")
    if found and str(names.registry_port) not in str(found["HostConfig"]["PortBindings"]):
        docker("rm", "--force", "--volumes", names.registry)  # LAB_REGISTRY_PORT has changed
        found = None
    if found and found["State"]["Running"] and answers(names):
        return "runs already"
    if found:
        docker("start", names.registry)
    else:
        create(names)
    wait(names)
    return "was stopped, and runs again" if found else "made"


def create(names: Names) -> None:
    options = ["--detach", "--restart=unless-stopped", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    options += ["--label", f"{OWNER}={KIT}", "--name", names.registry]
    options += ["--publish", f"127.0.0.1:{names.registry_port}:5000", "--env", "OTEL_TRACES_EXPORTER=none"]
    remedy = f"Is port {names.registry_port} taken? LAB_REGISTRY_PORT={names.registry_port + 1} takes another."
    done = call("docker", "run", *options, IMAGE, limit=180, remedy=remedy, good=False)
    if not done.ok:
        docker("rm", "--force", "--volumes", names.registry, good=False)
        raise LabError(f"The registry does not start: {done.tail(2)}", remedy)


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
            log = docker("logs", "--tail", "4", names.registry, good=False)
            raise LabError(f"The registry does not answer on {names.address}: {log}", "`./lab cluster up` tries again.")
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


def foreign(what: str, owner: str) -> LabError:
    """The refusal to touch what another checkout or a person made."""
    return LabError(
        f"The {what} belongs to {owner}, not to this checkout ({KIT}).",
        "LAB_SLOT=1 ./lab cluster up makes another beside it (names and ports differ); or take it down there.",
    )


def stop(names: Names) -> bool:
    """Removes the registry with all its images. False where there was none."""
    found = inspect("container", names.registry)
    if not found:
        return False
    if (owner := found["Config"]["Labels"].get(OWNER)) != str(KIT):
        raise foreign(f"container {names.registry}", owner or "somebody else")
    docker("rm", "--force", "--volumes", names.registry)
    return True
