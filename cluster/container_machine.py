"""What Docker's engine offers the cluster: `python -m cluster.container_machine memory`.

Like cluster/machine.py: one sentence, exit code 1 when it is not enough, no network, an answer within LIMIT. Docker
Desktop or a remote engine has a machine of its own: what cannot be seen from here is said to be so, and is no fault.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster import machine
from cluster.container_network import certificates, proxy, read_client
from cluster.tools import ARCHITECTURES

ENGINE = (20, 10)  # kind starts its nodes with --cgroupns
# GiB: three nodes at about 0.6, two replicas of the service at about 1.5, and a third while they are replaced
MEMORY = 6
CPUS = 2
DISK = 15  # GiB: the node image, the service's images of some GB, once more in the registry and once on each node
# Three nodes at rest hold 55 instances and 600 watches (measured), all of root's. 128, the usual limit, is
# enough for them; a second cluster, or much else on the host, wants more. kind advises 524288 and 512.
WATCHES, INSTANCES = 65536, 128
INOTIFY = Path("/proc/sys/fs/inotify")
Facts = dict[str, Any]
Finding = tuple[bool, str]


def memory(engine: Facts) -> Finding:
    found, cpus, version = engine["MemTotal"] / 2**30, engine["NCPU"], engine["ServerVersion"]
    if old := tuple(map(int, re.findall(r"\d+", version)[:2])) < ENGINE:
        return not old, f"Docker Engine {version} is older than {ENGINE[0]}.{ENGINE[1]}, which kind needs"
    # a machine that is given 6 GiB shows somewhat less, since its kernel takes its part
    enough = found >= MEMORY - 0.5 and cpus >= CPUS
    return enough, f"containers have {found:.1f} GiB of memory and {cpus} CPUs ({MEMORY} GiB and {CPUS} are wanted)"


def disk(engine: Facts) -> Finding:
    root = Path(engine["DockerRootDir"])
    if not _is_here(engine) or not root.exists():
        return True, f"Docker's disk is not visible from here ({DISK} GiB free are wanted there)"
    free = shutil.disk_usage(root).free / 2**30
    return free >= DISK, f"{free:.0f} GiB free on Docker's disk, {root} ({DISK} are wanted)"


def images(engine: Facts) -> Finding:
    if "io.containerd.snapshotter.v1" in str(engine.get("DriverStatus")):
        return True, "Docker keeps images in containerd's store: `kind load docker-image` can fail, the registry works"
    return True, f"Docker keeps images in its own store ({engine['Driver']})"


def cgroup(engine: Facts) -> Finding:
    found = engine.get("CgroupVersion") or "?"
    aside = ", on which this cluster's kubelet starts all the same (failCgroupV1: false)" if found == "1" else ""
    return found in ("1", "2"), f"containers have cgroup v{found}{aside}"


def inotify(engine: Facts) -> Finding:
    files = [INOTIFY / "max_user_watches", INOTIFY / "max_user_instances"]
    if not _is_here(engine) or not all(f.is_file() for f in files):
        return True, "inotify's limits are not visible from here"
    watches, instances = (int(f.read_text()) for f in files)
    enough = watches >= WATCHES and instances >= INSTANCES
    return enough, (
        f"inotify allows a user {watches} watches and {instances} instances "
        f"({WATCHES} and {INSTANCES} are wanted, or pods may meet `too many open files`)"
    )


def architecture(engine: Facts) -> Finding:
    theirs, ours = (ARCHITECTURES.get(name.lower(), name) for name in (engine["Architecture"], platform.machine()))
    if engine["OSType"] != "linux":
        return False, f"Docker runs {engine['OSType']} containers, and Linux ones are wanted"
    return theirs == ours, f"containers are for {theirs}" + ("" if theirs == ours else f", and this machine is {ours}")


def here(engine: Facts) -> Finding:
    """Whether the engine sees this machine's files, and this machine its ports."""
    place = os.environ.get("DOCKER_HOST", "")
    client = Path(shutil.which("docker") or "docker")
    if "snap" in client.parts or client.resolve().name == "snap":
        return False, "Docker is a snap: it sees no hidden folders, and a /tmp of its own\nremedy: " + NO_SNAP
    if re.match(r"(?:tcp|ssh)://(?!(?:[^@/]*@)?(?:127\.|localhost|\[::1\]))", place):
        return False, "DOCKER_HOST names another machine, whose ports are not on this one\nremedy: unset DOCKER_HOST"
    return True, "Docker sees this machine's files"


def login(_: Facts) -> Finding:
    """Whether the login helpers that the client's settings name are there; without one each pull and push fails."""
    settings = read_client()
    helpers = [settings.get("credsStore"), *dict(settings.get("credHelpers") or {}).values()]
    gone = [f"docker-credential-{h}" for h in helpers if h and not shutil.which(f"docker-credential-{h}")]
    if gone:
        return False, f"Docker's settings name the login helper {gone[0]}, which is not there"
    return True, "Docker needs no login helper, or has it"


def buildx(_: Facts) -> Finding:
    """Whether `docker build` has BuildKit, for which Dockerfiles with mounts ask: a plug-in, built in before 23."""
    if machine.ask("docker", "buildx", "version")[0]:
        return True, "Docker has buildx"
    client = machine.ask("docker", "version", "--format", "client {{.Client.Version}}")[1]
    found = re.search(r"client (\d+)", client)
    if found and int(found[1]) < 23:
        return True, f"Docker {found[1]} has BuildKit built in"
    return False, "Docker has no buildx, without which it builds none of the images here"


NO_SNAP = "sudo snap remove docker, then Docker Engine from https://docs.docker.com/engine/install/"


def _is_here(engine: Facts) -> bool:
    """Whether the engine shares this kernel: if not, it has another machine's disk and limits."""
    return bool(engine.get("KernelVersion") == platform.release())


def read_engine() -> tuple[Facts, str]:
    """What `docker info` says, or else one sentence that says why it does not."""
    _, said = machine.ask("docker", "info", "--format", "{{json .}}")
    text = next((line for line in said.splitlines() if line.startswith("{")), "")
    try:
        facts = dict(json.loads(text))
    except ValueError:
        return {}, machine.engine_trouble(said)
    if not facts.get("ServerVersion"):  # the client alone answers, or another tool (podman) in docker's name
        why = " ".join(facts.get("ServerErrors") or [])
        return {}, machine.engine_trouble(why) if why else "what answers as docker is no Docker Engine"
    return facts, ""


ALL = (memory, disk, images, cgroup, inotify, architecture, proxy, certificates, here, login, buildx)
QUESTIONS: dict[str, Callable[[Facts], Finding]] = {q.__name__: q for q in ALL}


def main(question: str) -> None:
    engine, trouble = read_engine()
    good, said = QUESTIONS[question](engine) if engine else (False, f"no word on containers' {question}: {trouble}")
    print(said)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
