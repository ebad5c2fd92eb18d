"""`./lab cluster up` and `down` on a real engine: one cluster, of slot 9, is carried through the faults in this order.

Nobody's own cluster is touched. Six minutes on two busy cores; `pytest -s` shows the seconds of each step. With two
other clusters on the machine, inotify's usual limit of 128 instances is too low for a third: `./lab doctor`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from live_cluster import not_run

from cluster import registry, up
from cluster.names import KIT, Names

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.fault]
NAMES = Names(9, 5091)
KUBECONFIG = ROOT / ".lab" / "kubeconfig-9"
SPARE_PORT = 30989
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith(("LAB_", "KIND_"))} | {"LAB_SLOT": "9"}


def sh(*words: str, good: bool = True, **env: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, env={**ENVIRONMENT, **env}, timeout=180)
    assert not good or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


def begin(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cluster.cli", *words]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=ENVIRONMENT
    )


def cluster(*words: str, code: int = 0) -> str:
    """What the command said, which must end with that code."""
    began = time.monotonic()
    with begin(*words) as process:
        said = process.communicate(timeout=300)[0]
    print(f"\n  {time.monotonic() - began:5.1f} s  cluster {' '.join(words)}: {said.strip().splitlines()[-1].strip()}")
    assert process.returncode == code, said
    return said


def interrupted(sign: signal.Signals, at: str) -> tuple[int, str]:
    """An `up` that gets that signal once it has said `at`: its exit code, and all that it said."""
    with begin("up") as process:
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if at in line:
                time.sleep(2)  # in the middle of it
                process.send_signal(sign)
        return process.wait(60), said


def freeze_one_in(node: str) -> None:
    """What a kill in the wrong moment leaves: a process that the kernel does not end (cluster/freezer.py)."""
    group = "/sys/fs/cgroup/freezer/kubelet.slice/frozen"
    script = f"mkdir -p {group}; sleep 9999 & echo $! >{group}/tasks; echo FROZEN >{group}/freezer.state"
    sh("docker", "exec", "--detach", node, "sh", "-c", script)


def containers() -> list[str]:
    found = sh("docker", "ps", "--all", "--format", "{{.Names}}").split()
    return sorted(name for name in found if name in NAMES.nodes or name == NAMES.registry)


def kubectl(*words: str) -> str:
    return sh("kubectl", "--kubeconfig", str(KUBECONFIG), "--context", NAMES.context, *words)


def uid() -> str:
    """Another one means that the cluster was made anew, and all that ran in it is gone."""
    return kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def works() -> str:
    """The cluster's UID, once a pod has been scheduled, has started, and has found a Service by its name."""
    kubectl("get", "configmap", "local-registry-hosting", "-n", "kube-public")
    found = [line.split()[:2] for line in kubectl("get", "nodes", "--no-headers").splitlines()]
    assert found == [[node, "Ready"] for node in NAMES.nodes]
    assert "3 of 3 nodes Ready" in cluster("status")
    for node in NAMES.nodes:
        sh("docker", "exec", node, "curl", "--silent", "--fail", f"http://{NAMES.registry}:5000/v2/")
    return uid()


@pytest.fixture(scope="module", autouse=True)
def _clean() -> Iterator[None]:
    """Begins and ends without a cluster in this slot. Somebody else's there is left alone: then nothing is run."""
    if subprocess.run(["docker", "version"], capture_output=True).returncode != 0:
        not_run("no container engine (./lab doctor)")
    if any(node.owner != str(KIT) for node in up.look(NAMES)):
        not_run("slot 9 is somebody else's")
    cluster("down")
    yield
    cluster("down")


@pytest.fixture(scope="module")
def volumes(_clean: None) -> set[str]:
    return set(sh("docker", "volume", "ls", "--quiet").split())


def test_a_port_that_is_taken_is_named_and_nothing_is_left_half_made(volumes: set[str]) -> None:
    with socket.create_server(("127.0.0.1", SPARE_PORT)):
        said = cluster("up", code=2)
    assert f"127.0.0.1:{SPARE_PORT} is taken by another program" in said and "LAB_SLOT=0 ./lab cluster up" in said
    assert containers() == [NAMES.registry] and not KUBECONFIG.exists()


def test_up_from_nothing_and_again() -> None:
    cluster("down")
    began = time.monotonic()
    cluster("up")
    print(f"\n  from nothing: {time.monotonic() - began:.0f} s")
    before = works()
    began = time.monotonic()
    said = cluster("up")
    assert "runs already" in said and "is there" in said and uid() == before
    assert time.monotonic() - began < 45  # a few seconds on an idle machine


def test_a_lost_kubeconfig_and_a_killed_registry() -> None:
    before = uid()
    KUBECONFIG.unlink()
    sh("docker", "kill", NAMES.registry)
    assert "serves again" in cluster("up")
    assert works() == before


def test_a_broken_kubeconfig_kinds_old_lock_and_all_paused() -> None:
    before = uid()
    KUBECONFIG.write_text("{ half a file")
    for lock in (".lock", ".new.lock"):  # kind's, which a kind that is killed leaves
        KUBECONFIG.with_name(f"{KUBECONFIG.name}{lock}").touch()
    sh("docker", "pause", NAMES.nodes[1], NAMES.registry)
    assert "serves again" in (said := cluster("up")) and "1 nodes were stopped" in said
    assert works() == before
    KUBECONFIG.with_name(f"{KUBECONFIG.name}.lock").unlink()


def test_a_reboot_without_the_registry_and_two_at_once() -> None:
    """The nodes come back under other addresses, since a container that was started before them has theirs."""
    before = uid()
    sh("docker", "stop", *NAMES.nodes)
    sh("docker", "rm", "--force", "--volumes", NAMES.registry)
    with begin("up") as first:
        assert first.stdout and "registry" in first.stdout.readline()
        second = cluster("up")
        said = first.stdout.read()
    assert first.returncode == 0 and "3 nodes were stopped, and run again" in said
    assert f"waiting: the cluster {NAMES.cluster} is in use by process {first.pid}" in second and "is there" in second
    assert works() == before


def test_an_up_that_is_interrupted_or_killed_is_mended_by_the_next() -> None:
    """Each of them meets what the one before left: no marker, nodes in the making, a node that is gone."""
    before = uid()
    sh("docker", "exec", NAMES.nodes[0], "rm", up.WHOLE)
    code, said = interrupted(signal.SIGINT, at="Preparing nodes")
    assert code == 130 and "left half made. It is made again" in said and "`./lab cluster up` repairs" in said
    code, said = interrupted(signal.SIGKILL, at="Starting control-plane")
    assert code == -signal.SIGKILL
    sh("docker", "rm", "--force", "--volumes", NAMES.nodes[2], good=False)
    assert "half made" in cluster("up")
    assert works() != before


def test_down_leaves_nothing(volumes: set[str]) -> None:
    if sh("docker", "info", "--format", "{{.CgroupVersion}}") == "1":
        freeze_one_in(NAMES.nodes[1])
    alone = not [n for n in sh("docker", "ps", "-aq", "--filter", "network=kind", "--format", "{{.Names}}").split()
                 if n not in (*NAMES.nodes, NAMES.registry)]  # fmt: skip
    cluster("down")
    assert containers() == [] and not KUBECONFIG.exists()
    assert [path.name for path in (ROOT / ".lab").glob("kubeconfig-9*")] == []
    left = set(sh("docker", "volume", "ls", "--quiet").split()) - volumes
    assert not [v for v in left if not sh("docker", "ps", "-aq", "--filter", f"volume={v}")]  # others make some too
    networks = sh("docker", "network", "ls", "--format", "{{.Name}}").split()
    assert (registry.NETWORK in networks) != alone
    assert "there was none" in cluster("down")


def test_a_cluster_made_by_hand_is_refused_and_left_alone(tmp_path: Path) -> None:
    """kind is ended once its node is there: what makes a cluster somebody's is that, and it saves 40 s."""
    mine = ["--name", NAMES.cluster, "--kubeconfig", str(tmp_path / "mine")]
    image = up.node_image(yaml.safe_load((ROOT / "cluster" / "kind.yaml").read_text())["nodes"][0]["image"])
    command = ["kind", "create", "cluster", *mine, "--image", image, "--retain"]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as kind:
            assert kind.stderr and any("Writing configuration" in line for line in kind.stderr)
            kind.kill()
        before = sh("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", NAMES.nodes[0])
        for word in ("up", "down"):
            assert "belongs to someone who made it by hand" in cluster(word, code=2)
        assert "made by hand, not by this checkout" in cluster("status", code=1)
        assert sh("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", NAMES.nodes[0]) == before
        assert containers() == [NAMES.nodes[0]]
    finally:
        sh("kind", "delete", "cluster", *mine, good=False)
