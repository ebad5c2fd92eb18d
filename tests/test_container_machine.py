"""What doctor says about Docker's engine, asked of a fake `docker` on the PATH."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT
from test_doctor import DENIED, NO_DAEMON, put_tool

from cluster import container_machine, machine
from cluster.container_machine import QUESTIONS, read_engine
from cluster.container_network import CERTIFICATES
from grader.kit import Kit
from grader.needs import look_for

KIT = Kit(ROOT)
NEEDS = [f"docker-{question}" for question in QUESTIONS]
PROXY = "http://me:secret@proxy.invalid:3128"
ENGINE = {
    "ServerVersion": "29.1.3",
    "MemTotal": 8 * 2**30,
    "NCPU": 4,
    "DockerRootDir": "/nowhere/docker",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
    "CgroupVersion": "2",
    "KernelVersion": platform.release(),
    "Architecture": platform.machine(),
    "OSType": "linux",
    "HttpProxy": "",
    "HttpsProxy": "",
    "NoProxy": "",
}


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and empty; no proxy, no certificates, no settings of Docker's client."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("LAB_WITHOUT", "LAB_SLOT", *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put_docker(folder: Path, **changed: Any) -> None:
    text = json.dumps({**ENGINE, **changed})
    put_tool(folder, "docker", f"echo 'WARNING: a word of the client' >&2\necho '{text}'")


def ask(question: str) -> str:
    """The need's line of doctor, `found` or `missing` first."""
    need = look_for(KIT, f"docker-{question}")
    return f"{'found' if need.there else 'missing'} {need}"


def answer(question: str, **changed: Any) -> tuple[bool, str]:
    return QUESTIONS[question]({**ENGINE, **changed})


def test_each_question_is_a_need_that_fits_one_line(bare: Path) -> None:
    put_docker(bare, KernelVersion="of Docker Desktop")  # else this machine's inotify limits would be judged
    for name in NEEDS:
        need = look_for(KIT, name)
        assert need.there and "\n" not in need.found and len(need.found) < 160, need


def test_a_good_engine(bare: Path) -> None:
    put_docker(bare)
    assert ask("memory") == "found containers have 8.0 GiB of memory and 4 CPUs (6 GiB and 2 are wanted)"
    assert ask("images") == "found Docker keeps images in its own store (overlay2)"
    assert ask("cgroup") == "found containers have cgroup v2"
    assert ask("proxy") == "found containers have no proxy"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("", "no docker on the PATH"),
        (f"echo '{NO_DAEMON}' >&2; exit 1", "Docker is installed, but its daemon does not run"),
        (f"""echo '{{"ServerErrors":["{NO_DAEMON}"]}}'""", "Docker is installed, but its daemon does not run"),
        (f"""echo '{{"ServerErrors":["{DENIED}"]}}'""", "Docker runs, but you may not use it"),
        ("""echo '{"host":{"arch":"amd64"},"version":{}}'""", "what answers as docker is no Docker Engine"),
        ("echo '{\"ServerVersion\":'", '{"ServerVersion":'),
    ],
)
def test_no_engine(bare: Path, script: str, why: str) -> None:
    if script:
        put_tool(bare, "docker", script)
    assert read_engine()[0] == {} and read_engine()[1].startswith(why)
    assert ask("memory").startswith(f"missing no word on containers' memory: {why}")


def test_without_docker_every_need_says_so_quickly(bare: Path) -> None:
    began = time.monotonic()
    found = [look_for(KIT, name) for name in NEEDS]
    assert [n.found for n in found] == [f"no word on containers' {q}: no docker on the PATH" for q in QUESTIONS]
    assert not any(n.there for n in found) and time.monotonic() - began < 10


def test_a_hanging_docker_is_ended(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LIMIT", 0.5)
    put_tool(bare, "docker", "exec /bin/sleep 600.35")
    began = time.monotonic()
    assert read_engine() == ({}, "docker did not answer within 0.5 s")
    assert time.monotonic() - began < 3


def test_memory_processors_and_version() -> None:
    assert answer("memory", MemTotal=2 * 2**30)[0] is False
    assert answer("memory", MemTotal=2 * 2**30)[1].startswith("containers have 2.0 GiB of memory and 4 CPUs (6 GiB")
    assert answer("memory", MemTotal=5.8 * 2**30)[0]  # a Docker Desktop that is given 6
    assert answer("memory", NCPU=1)[0] is False
    old = "Docker Engine 19.03.15 is older than 20.10, which kind needs"
    assert answer("memory", ServerVersion="19.03.15") == (False, old)
    assert answer("memory", ServerVersion="20.10.24+dfsg1")[0]


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=4 * 2**30))
    there = str(tmp_path)
    assert answer("disk", DockerRootDir=there) == (False, f"4 GiB free on Docker's disk, {there} (15 are wanted)")
    unseen = (True, "Docker's disk is not visible from here (15 GiB free are wanted there)")
    assert answer("disk") == unseen
    assert answer("disk", DockerRootDir=there, KernelVersion="6.12.5-linuxkit") == unseen


def test_image_store() -> None:
    good, said = answer("images", Driver="overlayfs", DriverStatus=[["driver-type", "io.containerd.snapshotter.v1"]])
    assert good and "`kind load docker-image` can fail" in said


def test_cgroup() -> None:
    good, said = answer("cgroup", CgroupVersion="1")
    assert good and said.startswith("containers have cgroup v1, on which") and "failCgroupV1: false" in said
    assert "failCgroupV1: false" in (ROOT / "cluster" / "kind.yaml").read_text()
    assert answer("cgroup", CgroupVersion="") == (False, "containers have cgroup v?")


def test_inotify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_machine, "INOTIFY", tmp_path)
    assert answer("inotify") == (True, "inotify's limits are not visible from here")
    for watches, instances, enough in ((8192, 512, False), (524288, 64, False), (65536, 128, True)):
        (tmp_path / "max_user_watches").write_text(f"{watches}\n")
        (tmp_path / "max_user_instances").write_text(f"{instances}\n")
        good, said = answer("inotify")
        assert good is enough and f"a user {watches} watches and {instances} instances (65536 and 128" in said
    assert answer("inotify", KernelVersion="another")[1].endswith("not visible from here")
    assert KIT.needs["docker-inotify"]["add"].startswith("sudo sysctl fs.inotify.max_user_watches=524288")


def test_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert answer("architecture", Architecture="x86_64") == (True, "containers are for amd64")
    assert answer("architecture", Architecture="aarch64") == (
        False, "containers are for arm64, and this machine is amd64",
    )  # fmt: skip
    assert answer("architecture", OSType="windows")[0] is False


def test_the_proxy_that_kind_hands_to_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """kind adds its networks and names itself, and the kit its registry: tests/test_cluster.py."""
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert answer("proxy") == (True, "proxy for containers: this shell's, and the cluster is spared")


def test_the_proxy_that_dockers_client_hands_to_containers(bare: Path) -> None:
    put_docker(bare)

    def settings(**proxies: str) -> None:
        (bare / "config.json").write_text(json.dumps({"proxies": {"default": proxies}}))

    settings(httpProxy=PROXY)
    said = ask("proxy")
    assert said.startswith("missing proxy for containers: noProxy (config.json) lacks 127.0.0.1, localhost, .svc")
    assert ".cluster.local, 10.96.0.0/12, 10.244.0.0/16, 172.16.0.0/12, serving-lab-registry: add what" in said
    assert "secret" not in said
    settings(httpProxy=PROXY, noProxy="127.0.0.0/8,localhost,svc,.local,10.0.0.0/8,172.16.0.0/12")
    assert answer("proxy")[1].endswith("lacks serving-lab-registry")
    settings(httpProxy=PROXY, noProxy="*")
    assert answer("proxy")[0]
    (bare / "config.json").write_text("{ half")
    assert answer("proxy") == (True, "containers have no proxy")


def test_the_proxy_through_which_the_engine_pulls() -> None:
    pulls = (True, "Docker pulls images through a proxy; containers have none")
    assert answer("proxy", HttpProxy=PROXY) == pulls
    desktop = "http.docker.internal:3128"
    assert answer("proxy", HttpProxy=desktop, HttpsProxy=desktop)[1] == "containers have no proxy"


def test_certificates(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer("certificates") == (True, "no certificates of your own are set")
    (bare / "ca.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bare / "ca.pem"))
    assert answer("certificates") == (True, "SSL_CERT_FILE: if that is a private CA, image builds need it, too")
    monkeypatch.setenv("PIP_CERT", str(bare / "gone.pem"))
    assert answer("certificates") == (False, "PIP_CERT names a file of certificates that is not there")


def test_no_question_uses_the_network(bare: Path) -> None:
    put_docker(bare)
    hook = (
        "import sys\n"
        "def watch(event, args):\n"
        "    if event in ('socket.getaddrinfo', 'socket.connect'):\n"
        "        raise SystemExit(f'network: {event} {args}')\n"
        "sys.addaudithook(watch)\n"
        "from cluster.container_machine import QUESTIONS, read_engine\n"
        "from cluster import tools\n"
        "print([ask(read_engine()[0])[0] for ask in QUESTIONS.values()], tools.look('kind')[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", hook], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
