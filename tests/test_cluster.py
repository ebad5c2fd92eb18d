"""`./lab cluster` against engines that say what a test wants: refusals, what is wrong and what to do, names and ports.

tests/test_cluster_live.py has the same commands on a real cluster.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from fake_tools import FakeTools, tools
from hypothesis import given
from hypothesis import strategies as st

from cluster import engine, registry, up
from cluster.names import KIT, NODE_PORTS, Names, kubeconfig, read_names
from grader.errors import LabError
from grader.processes import Completed

__all__ = ["tools"]  # the fixture
SLOT = Names(9, 5091)
PINNED = yaml.safe_load((ROOT / "cluster" / "kind.yaml").read_text())["nodes"][0]["image"]


def quiet(_: str) -> None:
    pass


def cli(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cluster.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env}, timeout=60)


# What belongs to others


@pytest.mark.parametrize("action", [up.up, up.down])
@pytest.mark.parametrize("owner", ["/somewhere/else", "", f"{KIT}-2"])
def test_a_foreign_cluster_is_refused_and_left_alone(tools: FakeTools, action: object, owner: str) -> None:
    tools.nodes(*Names().nodes, owner=owner)
    with pytest.raises(LabError, match=owner or "someone who made it by hand") as refused:
        action(Names(), quiet)  # type: ignore[operator]
    assert "LAB_SLOT=1 ./lab cluster up" in refused.value.remedy
    assert tools.changed() == []


@pytest.mark.parametrize("action", [up.up, up.down])
@pytest.mark.parametrize("owner", ["/somewhere/else", ""])
def test_a_foreign_registry_is_refused_and_left_alone(tools: FakeTools, action: object, owner: str) -> None:
    tools.registry(Names().registry, owner=owner)
    with pytest.raises(LabError, match=f"container serving-lab-registry belongs to {owner or 'someone else'}"):
        action(Names(), quiet)  # type: ignore[operator]
    assert tools.changed() == []


def test_another_slot_is_advised_than_ones_own(tools: FakeTools, tmp_path: Path) -> None:
    here = str(registry.foreign(Names(1), "cluster x", str(tmp_path)))
    assert "LAB_SLOT=2" in here and "take it down there" in here
    gone = str(registry.foreign(Names(9), "cluster x", "/no/such/checkout"))
    assert "LAB_SLOT=0" in gone and "kind delete cluster --name serving-lab-9" in gone


def test_a_cluster_that_comes_while_kind_is_at_work_is_not_removed(tools: FakeTools) -> None:
    """Another checkout was quicker: kind says so, and what is there now is theirs."""
    tools.nodes(*Names().nodes, owner="/somewhere/else")
    tools.answer("kind create*", "ERROR: node(s) already exist for a cluster with the name", 1)
    with pytest.raises(LabError, match="belongs to /somewhere/else"):
        up.make(Names(), quiet)
    assert not [call for call in tools.said() if "delete" in call]


def test_the_owner_is_known_where_docker_has_a_machine_of_its_own() -> None:
    mounts = [{"Source": "/host_mnt/Users/me/lab/.lab/cluster-mark", "Destination": up.MARK}]
    about = {"Mounts": mounts, "HostConfig": {"Binds": ["/Users/me/lab/.lab/cluster-mark:/serving-lab:ro"]}}
    assert up.owner_of(about) == "/Users/me/lab"


# What goes wrong, and what to do


def test_without_an_engine(tools: FakeTools, tmp_path: Path) -> None:
    tools.answer("docker version*", "Cannot connect to the Docker daemon at unix:///x. Is it running?", 1)
    for word in ("up", "down", "status"):
        done = cli(word)
        assert done.returncode == 2
        assert done.stderr.startswith("not run: no container engine: Cannot connect to the Docker daemon")
        assert "`./lab doctor` names the one command" in done.stderr
    done = cli("up", PATH=str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        "not run: no container engine: there is no `docker` on the PATH.",
    )


def test_an_engine_that_goes_away_in_the_middle(tools: FakeTools) -> None:
    gone = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
    tools.answer("kind create*", f"ERROR: failed to create cluster\n{gone}", 1)
    tools.answer("docker ps*", gone, 1)
    for act in (up.up, up.make):
        with pytest.raises(LabError, match="not run: no container engine: Cannot connect"):
            act(SLOT, quiet)


REGISTRY_FAILS = {
    "Error response from daemon: driver failed: Bind for 127.0.0.1:5091 failed: port is already allocated.": (
        "127.0.0.1:5091 is taken",
        "LAB_REGISTRY_PORT=5092",
    ),
    "listen tcp4 127.0.0.1:5091: bind: address already in use": ("127.0.0.1:5091 is taken", "LAB_REGISTRY_PORT=5092"),
    "Unable to find image 'registry:3' locally\ndocker: Error: pull access denied": ("pull access", "docker load"),
}


@pytest.mark.parametrize("said", REGISTRY_FAILS)
def test_why_a_registry_does_not_start(tools: FakeTools, said: str) -> None:
    problem, remedy = REGISTRY_FAILS[said]
    tools.answer("docker run*", said, 125)
    with pytest.raises(LabError) as wrong:
        registry.start(SLOT)
    assert problem in wrong.value.problem and remedy in wrong.value.remedy
    assert not [call for call in tools.said() if " rm " in call]  # nothing of ours is there to be removed
    tools.registry(SLOT.registry, "exited", port=5091)
    tools.answer("docker start*", said, 1)
    with pytest.raises(LabError) as wrong:
        registry.start(SLOT)
    assert problem in wrong.value.problem and remedy in wrong.value.remedy


KIND_FAILS = {
    "failed to create fsnotify watcher: too many open files": "inotify",
    'command "docker run --publish=127.0.0.1:1:1/TCP" failed\nBind for 127.0.0.1:30980 failed: port is already '
    "allocated": "LAB_SLOT=0",
    "listen tcp4 127.0.0.1:30984: bind: address already in use": "LAB_SLOT=0",
    'ERROR: failed to pull image "kindest/node:v1.35.8@sha256:x"': "docker load",
    "write /var/lib/docker/x: no space left on device": "docker system df",
    "something that nobody has seen": "doctor",
}


@pytest.mark.parametrize("said", KIND_FAILS)
def test_why_kind_fails(tools: FakeTools, said: str) -> None:
    tools.answer("kind create*", f"ERROR: failed to create cluster\n{said}", 1)
    with pytest.raises(LabError) as wrong:
        up.make(SLOT, quiet)
    assert KIND_FAILS[said] in wrong.value.remedy
    if found := re.search(r"127\S+:\d+(?= failed|: bind)", said):
        assert f"{found[0]} is taken" in wrong.value.problem
    else:
        assert (said in wrong.value.problem) != (said == "something that nobody has seen")
    assert "kind delete cluster --name serving-lab-9" in "\n".join(tools.said())
    assert not kubeconfig().exists()


def test_why_kubeadm_gave_up_is_in_the_kubelets_log(tools: FakeTools) -> None:
    """Seen with a third cluster under the usual limit of inotify; kind ends with a trace of calls."""
    tools.answer("kind create*", "ERROR: failed to init node with kubeadm\nruntime.main\n", 1)
    tools.nodes(*SLOT.nodes)
    tools.answer(f"docker exec {SLOT.nodes[0]} journalctl*", "kubelet: inotify_init: too many open files\n")
    with pytest.raises(LabError) as wrong:
        up.make(SLOT, quiet)
    assert wrong.value.problem.endswith("failed to init node with kubeadm\nkubelet: inotify_init: too many open files")
    assert "inotify" in wrong.value.remedy


def test_a_port_that_is_taken_while_the_nodes_are_stopped(tools: FakeTools) -> None:
    """The cluster stays, with all that runs in it."""
    tools.nodes(*SLOT.nodes)
    tools.node(SLOT.nodes[0], "exited")
    tools.answer("docker start*", "Bind for 127.0.0.1:30980 failed: port is already allocated", 1)
    with pytest.raises(LabError, match=r"127\.0\.0\.1:30980 is taken"):
        up.mend(SLOT, up.look(SLOT), quiet)
    assert not [call for call in tools.said() if "delete" in call]


def test_a_node_that_was_killed_while_something_in_it_was_frozen(tools: FakeTools) -> None:
    """The engine cannot end it; thawed, it can. It is tried once."""
    tools.nodes(*SLOT.nodes)
    tools.answer("kind delete*", "tried to kill container, but did not receive an exit event", 1)
    with pytest.raises(LabError, match="exit event"):
        up.remove_nodes(SLOT)
    changed = tools.changed()
    assert [call.split()[1] for call in changed] == ["delete", "run", "run", "run", "delete"]
    assert changed[1].endswith(f"sh id-of-{sorted(SLOT.nodes)[0]}")


def test_a_container_of_a_killed_up_that_comes_late(tools: FakeTools) -> None:
    tools.answer("kind create*", "ERROR: node(s) already exist for a cluster with the name", 1)
    with pytest.raises(LabError):
        up.make(SLOT, quiet)
    assert [call.split()[1] for call in tools.said() if call.startswith("kind")] == ["create", "delete"] * 2


@pytest.mark.parametrize("status, word", [("paused", "unpause"), ("exited", "start"), ("created", "start")])
def test_a_registry_is_woken_as_its_state_asks(
    tools: FakeTools, monkeypatch: pytest.MonkeyPatch, status: str, word: str
) -> None:
    tools.registry(SLOT.registry, status, port=5091)
    monkeypatch.setattr(registry, "answers", lambda names: bool(tools.changed()))
    assert "serves again" in registry.start(SLOT)
    assert tools.changed() == [f"docker {word} {SLOT.registry}"]


def test_a_registry_that_runs_and_is_silent_is_started_anew(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.registry(SLOT.registry, "running", port=5091)
    monkeypatch.setattr(registry, "answers", lambda names: bool(tools.changed()))
    monkeypatch.setattr(registry, "wait_until", lambda holds, limit: holds())
    registry.start(SLOT)
    assert tools.changed() == [f"docker restart {SLOT.registry}"]


def test_a_registry_on_another_port_is_made_anew(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    """5091 is part of 50910, and not the same."""
    tools.registry(SLOT.registry, port=50910)
    monkeypatch.setattr(registry, "answers", lambda names: True)
    assert registry.start(SLOT) == "made"
    assert [call.split()[1] for call in tools.changed()] == ["rm", "run"]


def test_a_node_is_ready_only_if_it_spoke_since_its_start(tools: FakeTools) -> None:
    tools.nodes(*SLOT.nodes)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    said = {SLOT.nodes[0]: "2026-11-24T14:33:56.100000Z", SLOT.nodes[1]: "2026-11-24T14:33:50.000000Z"}
    items = [{"kind": "Node", "metadata": {"name": name}, "status": ready} for name in SLOT.nodes]
    items += [{"kind": "Lease", "metadata": {"name": n}, "spec": {"renewTime": at}} for n, at in said.items()]
    tools.answer("kubectl --context kind-serving-lab-9 get nodes,leases*", json.dumps({"items": items}))
    assert list(up.readiness(SLOT, up.look(SLOT)).values()) == [True, False, False]


# Names, ports and settings


def test_the_configuration_of_a_slot(tools: FakeTools) -> None:
    config = up.configuration(SLOT)
    assert config["name"] == "serving-lab-9"
    nodes: list[dict[str, object]] = config["nodes"]  # type: ignore[assignment]
    assert [node["image"] for node in nodes] == [PINNED] * 3 and re.search(r"@sha256:[0-9a-f]{64}$", PINNED)
    mappings: list[dict[str, object]] = nodes[0]["extraPortMappings"]  # type: ignore[assignment]
    wanted = list(NODE_PORTS.values())
    assert [(m["containerPort"], m["hostPort"]) for m in mappings] == [(port, port + 900) for port in wanted]
    assert {m["listenAddress"] for m in mappings} == {"127.0.0.1"}
    mark = {"hostPath": str(KIT / ".lab/cluster-mark"), "containerPath": up.MARK, "readOnly": True}
    assert all(node["extraMounts"] == [mark] for node in nodes)


def test_an_image_of_that_name_that_is_loaded_here_will_do(tools: FakeTools) -> None:
    name = PINNED.split("@")[0]
    assert up.node_image(PINNED) == PINNED
    tools.answer(f"docker inspect --type=image {name}", '[{"Id": "sha256:1"}]')
    assert up.node_image(PINNED) == name
    tools.answer(f"docker inspect --type=image {PINNED}", '[{"Id": "sha256:2"}]')
    assert up.node_image(PINNED) == PINNED


@pytest.mark.parametrize(
    "variable, value", [("LAB_SLOT", "10"), ("LAB_SLOT", "-1"), ("LAB_SLOT", "two"), ("LAB_REGISTRY_PORT", "80")]
)
def test_a_setting_that_is_no_such_number(tools: FakeTools, variable: str, value: str) -> None:
    done = cli("up", **{variable: value})
    assert done.returncode == 64
    assert done.stderr.startswith(f"lab: {variable} is {value!r}, which is no number from ")
    assert tools.said() == []


def test_slots_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_REGISTRY_PORT", raising=False)
    monkeypatch.setenv("LAB_KIT", "/kit")
    seen: list[object] = []
    for slot in range(10):
        monkeypatch.setenv("LAB_SLOT", str(slot))
        names = read_names()
        seen += [names.cluster, names.registry, names.address, kubeconfig(), *map(names.host_port, NODE_PORTS)]
    assert len(set(seen)) == len(seen) == 10 * (4 + len(NODE_PORTS))
    assert Path("/kit/.lab/kubeconfig") in seen and Path("/kit/.lab/kubeconfig-9") in seen


@given(st.one_of(st.sampled_from(["walk", "scratch-tmp_x9__", "Ümlaut!"]), st.text(min_size=1)))
def test_a_workspaces_names_are_ones_that_registries_and_kubernetes_take(workspace: str) -> None:
    component = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    assert re.fullmatch(rf"127\.0\.0\.1:5001(/{component})+", Names().repository(workspace))
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", Names().namespace(workspace))


def test_kind_gets_none_of_its_own_variables(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    """KIND_CLUSTER_NAME alone would make a cluster of that name, which nobody finds again."""
    for name in ("KIND_CLUSTER_NAME", "KIND_EXPERIMENTAL_PROVIDER", "KIND_EXPERIMENTAL_DOCKER_NETWORK"):
        monkeypatch.setenv(name, "mine")
    assert not [name for name in engine.environ() if name.startswith("KIND_")]
    assert engine.environ()["KUBECONFIG"] == str(kubeconfig())


def test_a_proxy_spares_the_registry(tools: FakeTools, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "NO_PROXY" not in engine.environ()
    monkeypatch.setenv("https_proxy", "http://me:secret@proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "127.0.0.1,.local")
    monkeypatch.setenv("LAB_SLOT", "2")
    found = engine.environ()
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,.local,localhost,::1,serving-lab-2-registry"


def test_down_removes_its_own_kubeconfig_alone(
    tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lab").mkdir()
    for name in ("kubeconfig", "kubeconfig-1", "kubeconfig-2"):
        (tmp_path / ".lab" / name).touch()
    monkeypatch.setenv("LAB_SLOT", "1")
    up.down(read_names(), quiet)
    assert sorted(path.name for path in (tmp_path / ".lab").iterdir()) == ["kubeconfig", "kubeconfig-2"]
    assert tools.changed() == []


def test_what_kind_says_to_those_who_wait() -> None:
    assert up.step(" • Preparing nodes 📦 ...") == "kind: • Preparing nodes 📦 ..."
    assert up.step("ERROR: failed") and not up.step('Set kubectl context to "kind-x"') and not up.step("")
    done = Completed(1, "ERROR: x", 1.0)
    assert (
        up.not_made(SLOT, ["kind", "create", "cluster"], done).problem == "`kind create cluster` ended with 1: ERROR: x"
    )
